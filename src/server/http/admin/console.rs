//! `/v1/admin/console/link`.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::api::{ConsoleLink, MakeConsoleLink};
use crate::net::reachable;
use crate::server::http::App;
use crate::server::http::caller::Caller;
use crate::server::http::error::Failure;
use crate::server::http::route::{Received, Routes};
use crate::store::By;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.on(make)
}

async fn make(
    app: Arc<App>,
    call: Received<MakeConsoleLink, (Caller, By)>,
) -> Result<ConsoleLink, Failure> {
    let (caller, _) = call.from;
    if !matches!(caller, Caller::Local { .. }) {
        return Err(Failure::forbidden(
            "links into the console are made on the machine of the daemon: `oncegate console-link`",
        ));
    }
    let made = app.console_link(&call.body, caller);
    let made = made.ok_or_else(|| Failure::not_found(NONE))?;
    made.map_err(Failure::malformed)
}

impl App {
    /// Makes a link into the console; `None` where none is served.
    pub(crate) fn console_link(
        &self,
        wanted: &crate::api::ConsoleLinkWanted,
        by: Caller,
    ) -> Option<Result<ConsoleLink, String>> {
        let made = self.console_links()?(wanted, by);
        Some(made.map(|made| {
            let base = self.console_base();
            let link = base.map(|base| format!("{base}/console/setup#{}", made.code));
            ConsoleLink { link, ..made }
        }))
    }

    /// Where people reach the console.
    fn console_base(&self) -> Option<String> {
        match self.info().console_http.first() {
            Some(own) => Some(self.base(*own)),
            None => self.pages_base(),
        }
    }

    /// Where people reach the other pages.
    pub(crate) fn pages_base(&self) -> Option<String> {
        if let Some(url) = &self.info().public_url {
            return Some(url.trim_end_matches('/').to_owned());
        }
        let address = self.info().http.first()?;
        Some(self.base(*address))
    }

    fn base(&self, address: SocketAddr) -> String {
        let scheme = if self.certificate().is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", reachable(address))
    }
}

const NONE: &str = "no daemon serves the console here: start it with `oncegate serve`, and see `web.console` in \
                    oncegate.toml";
