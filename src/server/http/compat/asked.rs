//! A request of a client of another product, read, and the login behind it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use tokio::time::Instant;

use crate::config::compat::{Compat, Shape};
use crate::login::{LoginOutcome, LoginRequest, Presented};
use crate::model::audit::Channel;
use crate::model::client::Client;
use crate::model::id::Serial;
use crate::secret::SecretString;
use crate::server::http::App;
use crate::server::http::caller::{Arrival, Caller};
use crate::server::http::compat::form::Form;
use crate::server::http::error::Failure;
use crate::server::http::origin::Origin;

/// How a request is decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum How {
    /// `pass` is one box, and challenges may follow.
    Rounds,
    /// `pass` is one box, and the answer yes or no.
    Once,
    /// `otp`, with `LinOTP` `pass`, is the code alone.
    Otp,
    /// Nothing was typed yet: challenges are asked for.
    Trigger,
}

/// As for a path that is none: who may ask here is no one else's business.
pub(super) fn no_route() -> Failure {
    Failure::not_found("there is no such route; GET /openapi.json")
}

/// A request of such a client, read.
pub(super) struct Asked {
    pub(super) compat: Compat,
    pub(super) client: Arc<Client>,
    pub(super) arrival: Arrival,
    pub(super) form: Form,
}

impl Asked {
    pub(super) async fn read(
        app: &Arc<App>,
        name: &str,
        request: Request<Body>,
    ) -> Result<(Self, Parts), Failure> {
        let (parts, body) = request.into_parts();
        let mut named = app.compat().iter();
        let named = named.find(|compat| compat.client == name && compat.shape != Shape::Yubico);
        let compat = named.filter(|compat| is_known(compat, &parts));
        let compat = compat.ok_or_else(no_route)?;
        let (_, arrival) = Self::admitted(app, compat, &parts)?;
        let form = Form::read(app, &parts, body, compat.double_decode).await?;
        // As it is now that the body has come.
        let client = Self::client(app, compat)?;
        let asked = Self {
            compat: compat.clone(),
            client,
            arrival,
            form,
        };
        Ok((asked, parts))
    }

    fn client(app: &App, compat: &Compat) -> Result<Arc<Client>, Failure> {
        let name = &compat.client;
        let found = app.core().clients().all();
        let mut found = found.iter();
        let client = found.find(|client| client.name == *name).map(Arc::clone);
        client.ok_or_else(|| {
            Failure::unavailable(format!(
                "http.compat names API client {name}: there is none"
            ))
        })
    }

    /// The client, which asks no more often than it may.
    fn admitted(
        app: &Arc<App>,
        compat: &Compat,
        parts: &Parts,
    ) -> Result<(Arc<Client>, Arrival), Failure> {
        let name = &compat.client;
        let client = Self::client(app, compat)?;
        if let Some(rate) = app.limits().http_client_rate
            && !app.rates().take(name, rate, Instant::now())
        {
            return Err(Failure::TOO_MANY);
        }
        let arrival = parts.extensions.get().copied().ok_or(Failure::INTERNAL)?;
        Ok((client, arrival))
    }

    /// A request that is read already.
    pub(super) fn of(
        app: &Arc<App>,
        compat: &Compat,
        parts: &Parts,
        form: Form,
    ) -> Result<Self, Failure> {
        let (client, arrival) = Self::admitted(app, compat, parts)?;
        Ok(Self {
            compat: compat.clone(),
            client,
            arrival,
            form,
        })
    }

    /// `name`, or `name@realm` where the request says a realm and the client is not bound to one.
    pub(super) fn user(&self) -> Option<String> {
        let user = self.form.text("user").filter(|user| !user.is_empty())?;
        let split = user.contains(['@', '\\']) || self.client.realm.is_some();
        let realm = self.form.text("realm").filter(|realm| !realm.is_empty());
        Some(match realm.filter(|_| !split) {
            Some(realm) => format!("{user}@{realm}"),
            None => user.to_owned(),
        })
    }

    /// The owner of the token that the request names; `None`: it names none. One that is in stock, or nowhere, has an owner whom
    /// no one is.
    pub(super) fn owner(&self, app: &App) -> Result<Option<String>, Failure> {
        let Some(serial) = self.form.text("serial").filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let found = match serial.parse() {
            Ok(serial) => app.core().store().token(&serial)?,
            Err(_) => None,
        };
        let owner = found.filter(|(token, _)| !token.user.is_stock());
        let owner = owner.map(|(token, _)| token.user.to_string());
        Ok(Some(owner.unwrap_or_else(|| UNKNOWN.to_owned())))
    }

    pub(super) fn transaction(&self) -> Option<&str> {
        let named = ["transaction_id", "state", "transactionid"];
        let mut named = named.iter().filter_map(|name| self.form.text(name));
        named.find(|id| !id.is_empty())
    }

    /// Where the person is, if the client says so.
    fn source(&self) -> Option<IpAddr> {
        // The FreeRADIUS module sends the address of the gateway there.
        let said = self
            .form
            .text("client")
            .or_else(|| self.form.text("clientip"));
        said.filter(|_| !self.form.is_agent("freeradius"))?
            .parse()
            .ok()
    }

    pub(super) async fn decide(
        self,
        app: &Arc<App>,
        user: String,
        how: How,
    ) -> Result<LoginOutcome, Failure> {
        let turn = app.turn(&self.client)?;
        let arrival = self.arrival;
        let task = Arc::clone(app);
        let decided = app.finish(async move {
            let nothing = SecretString::default();
            let yubico = self.compat.shape == Shape::Yubico;
            let typed = self.form.secret(if yubico { "otp" } else { "pass" });
            let typed = typed.filter(|_| how != How::Trigger);
            let typed = typed.unwrap_or(&nothing);
            // A press names its key itself.
            let serial = self.form.text("serial").filter(|_| how != How::Otp);
            let serial: Option<Serial> = serial.and_then(|serial| serial.parse().ok());
            let request = LoginRequest {
                id: arrival.id,
                at: arrival.at,
                deadline: arrival.at.plus(task.limits().request_timeout),
                client: &self.client,
                channel: Channel::Http,
                method: "http",
                user: &user,
                presented: match how {
                    How::Rounds | How::Once | How::Trigger => Presented::Passcode(typed),
                    How::Otp => Presented::Fields {
                        password: None,
                        pin: None,
                        otp: Some(typed),
                    },
                },
                challenge: self
                    .transaction()
                    .filter(|_| matches!(how, How::Rounds | How::Once)),
                rounds: matches!(how, How::Rounds | How::Trigger),
                source: self.source(),
                attributes: &[],
                context: &[],
                origin: None,
                serial: serial.as_ref(),
                carrier: None,
            };
            task.login().authenticate(&request).await
        });
        let decided = decided.await?;
        // The cause is in the server's log.
        let decided = decided.map_err(|_| Failure::unavailable(UNDECIDED))?;
        turn.hold(arrival.instant, decided.delay).await;
        Ok(decided)
    }
}

/// Whether it asks from an address of the client; on this machine's own socket everyone may.
pub(super) fn is_known(compat: &Compat, parts: &Parts) -> bool {
    let origin: Option<&Origin> = parts.extensions.get();
    match origin.and_then(|origin| origin.address) {
        Some(address) => {
            let address = address.to_canonical();
            let mut networks = compat.networks.iter();
            networks.any(|network| network.contains(&address))
        }
        None => parts.extensions.get::<Caller>().is_some(),
    }
}

/// Stands for the owner of a token that is not known; no name of a user has blanks in it.
pub(super) const UNKNOWN: &str = "unknown token";
pub(super) const UNDECIDED: &str = "try again, or ask another server";
