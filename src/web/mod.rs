//! Pages for people: the console of the administrators, self-service, the authenticator of telephones, and what
//! all pages share.
//!
//! ```text
//! browser -> guard (host, origin, network) -> session -> page
//!            page -> calls of the API, in this process, in the name of the person
//!                    -> roles, limits, audit: those of the API
//! ```
//!
//! Pages are HTML made on the server ([`view`], templates in `src/web/templates`); scripts only add to what works
//! without them. Nothing is loaded from elsewhere, and no script or style stands in a page ([`answer::POLICY`]).
//!
//! Threats: cross-site posts and forged hosts ([`guard`]), a stolen or fixed session ([`session`]), and text of
//! strangers in a page: templates escape everything.

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::get;

use crate::api::ConsoleLinkWanted;
use crate::config;
use crate::secret::{Entropy, SecretString};
use crate::server::http::caller::Caller;
use crate::server::http::{self, App};

pub(crate) mod answer;
mod app;
pub(crate) mod assets;
pub(crate) mod call;
mod console;
pub(crate) mod fields;
pub(crate) mod guard;
pub(crate) mod link;
pub(crate) mod person;
mod portal;
mod printed;
pub(crate) mod session;
mod sheet;
pub(crate) mod text;
pub(crate) mod theme;
pub(crate) mod view;
pub(crate) mod visit;

pub use theme::Theme;

/// What the pages keep between requests.
pub struct Web {
    settings: config::Web,
    sessions: session::Sessions,
    /// Of self-service.
    own_sessions: session::Sessions,
    links: link::Links,
    plans: console::Plans,
    live: console::Live,
    entropy: Arc<dyn Entropy>,
}

impl Web {
    /// No one has signed in yet.
    pub fn new(settings: config::Web, entropy: Arc<dyn Entropy>) -> Arc<Self> {
        Arc::new(Self {
            settings,
            sessions: session::Sessions::default(),
            own_sessions: session::Sessions::default(),
            links: link::Links::default(),
            plans: console::Plans::default(),
            live: console::Live::default(),
            entropy,
        })
    }

    /// Serves the pages beside the API, and makes links into the console.
    pub fn serve(self: &Arc<Self>, app: &Arc<App>) {
        let web = Arc::clone(self);
        app.set_pages(Box::new(move |app| pages(&web, app)));
        if self.settings.console {
            let web = Arc::clone(self);
            app.set_console_links(Box::new(move |wanted, by| web.make_link(wanted, by)));
        }
    }
}

/// A link for the first administrator, where there is none and the console is served.
pub fn first_link(app: &App) -> Option<SecretString> {
    app.console_links()?;
    if person::has_administrator(app) {
        return None;
    }
    let by = Caller::Local {
        uid: nix::unistd::geteuid().as_raw(),
        person: "console-link".into(),
    };
    let made = app.console_link(&ConsoleLinkWanted::default(), by)?;
    made.ok()?.link.map(SecretString::new)
}

/// What a page is given: the pages' own state, and the API.
#[derive(Clone)]
pub(crate) struct Desk {
    web: Arc<Web>,
    app: Arc<App>,
    calls: Router,
}

fn pages(web: &Arc<Web>, app: &Arc<App>) -> Router {
    let desk = Desk {
        web: Arc::clone(web),
        app: Arc::clone(app),
        calls: http::calls(Arc::clone(app)),
    };
    let mut routes = Router::new()
        .route("/assets/{file}", get(assets::serve))
        .route("/assets/theme.css", get(theme::css))
        .route("/assets/logo.svg", get(theme::logo));
    if web.settings.console {
        routes = routes.merge(console::routes(&desk));
    }
    if web.settings.portal {
        routes = routes.merge(portal::routes());
    }
    if web.settings.app {
        routes = routes.merge(app::routes());
    }
    let guard = middleware::from_fn_with_state(desk.clone(), guard::guard);
    routes.route_layer(guard).with_state(desk)
}
