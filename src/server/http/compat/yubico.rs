//! `/wsapi/2.0/verify`: Yubico's validation protocol, for clients of `YubiCloud` or yubikey-val.
//!
//! ```text
//! no such route from elsewhere -> parameters -> client by `id` -> signature -> login of the key's owner -> reply
//! ```
//!
//! The login is that of `/v1/verify` with a code alone, by the client's policy: same counters, locks and audit.
//!
//! Invariants: a reply is signed with the client's key once the client is known; OK leaves only after the press
//! is used up, durably. The protocol tells a used OTP from a wrong one; what else was refused is `BAD_OTP`, or
//! `OPERATION_NOT_ALLOWED` where the client's policy does not take the OTP alone.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

use crate::api::validation::{Question, Reply, Status, is_signed};
use crate::config::compat::Compat;
use crate::login::LoginAnswer;
use crate::model::reason::Reason;
use crate::secret::SecretBytes;
use crate::server::http::App;
use crate::server::http::caller::{Arrival, Caller};
use crate::server::http::compat::asked::{Asked, How, UNKNOWN, is_known, no_route};
use crate::server::http::compat::form::Form;
use crate::server::http::error::Failure;

/// What questions of this protocol need beside the configuration.
#[derive(Debug, Default)]
pub(crate) struct Validation {
    /// The keys of the clients, by name.
    keys: HashMap<String, SecretBytes>,
    nonces: Mutex<Nonces>,
}

/// The nonce that came first with each of the last OTPs; only digests.
///
/// Limits: in memory; after a restart a repeated request is `REPLAYED_OTP`.
#[derive(Debug, Default)]
struct Nonces {
    first: HashMap<[u8; 32], [u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl Nonces {
    /// Whether this OTP came with this nonce first, in an earlier request.
    fn repeated(&mut self, otp: &str, nonce: &str) -> bool {
        let digest = |text: &str| Sha256::digest(text.as_bytes()).into();
        let (otp, nonce): ([u8; 32], [u8; 32]) = (digest(otp), digest(nonce));
        if let Some(first) = self.first.get(&otp) {
            return *first == nonce;
        }
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.first.remove(&oldest);
        }
        self.order.push_back(otp);
        self.first.insert(otp, nonce);
        false
    }
}

impl Validation {
    pub(crate) fn new(keys: HashMap<String, SecretBytes>) -> Self {
        Self {
            keys,
            nonces: Mutex::default(),
        }
    }

    fn repeated(&self, question: &Question<'_>) -> bool {
        let nonces = self.nonces.lock();
        let mut nonces = nonces.unwrap_or_else(PoisonError::into_inner);
        nonces.repeated(question.otp, question.nonce)
    }
}

pub(crate) async fn verify(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    validate(&app, request, |compat| compat.client == name).await
}

/// The same where a client's address ends with the path: `id` names it.
pub(crate) async fn verify_by_id(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Failure> {
    validate(&app, request, |_| true).await
}

async fn validate(
    app: &Arc<App>,
    request: Request,
    here: impl Fn(&Compat) -> bool,
) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let served =
        |compat: &&Compat| compat.yubico().is_some() && here(compat) && is_known(compat, &parts);
    let clients: Vec<&Compat> = app.compat().iter().filter(served).collect();
    if clients.is_empty() {
        return Err(no_route());
    }
    let arrival: Arrival = parts.extensions.get().copied().ok_or(Failure::INTERNAL)?;
    let form = Form::read(app, &parts, body, Some(false)).await?;
    let pairs: Vec<(&str, &str)> = form.pairs().collect();
    let reply = |status, question| Reply {
        status,
        at: arrival.at,
        question,
        press: None,
    };
    let question = match Question::parse(&pairs) {
        Ok(question) => question,
        Err(status) => return Ok(sent(&reply(status, None), None)),
    };
    let mut named = clients.into_iter();
    let named = named.find(|compat| compat.yubico() == Some(question.id));
    let validation = app.validation();
    let key = named.and_then(|compat| validation.keys.get(&compat.client));
    let (Some(compat), Some(key)) = (named, key) else {
        return Ok(sent(&reply(Status::NoSuchClient, Some(question)), None));
    };
    if !is_signed(&pairs, key) {
        return Ok(sent(
            &reply(Status::BadSignature, Some(question)),
            Some(key),
        ));
    }
    let mut reply = reply(Status::BackendError, Some(question));
    let repeated = validation.repeated(&question);
    match decided(app, compat, &parts, &form, &question).await {
        Ok((status, press)) => {
            reply.status = match status {
                Status::ReplayedOtp if repeated => Status::ReplayedRequest,
                status => status,
            };
            reply.press = press;
        }
        // The cause is in the server's log.
        Err(failure) if failure.is_unavailable() => {}
        Err(failure) => return Err(failure),
    }
    Ok(sent(&reply, Some(key)))
}

/// What the login of the key's owner comes to.
async fn decided(
    app: &Arc<App>,
    compat: &Compat,
    parts: &Parts,
    form: &Form,
    question: &Question<'_>,
) -> Result<(Status, Option<crate::otp::yubikey::Press>), Failure> {
    let asked = Asked::of(app, compat, parts, form.clone())?;
    if !Caller::Key(Arc::clone(&asked.client)).may_verify() {
        return Ok((Status::OperationNotAllowed, None));
    }
    let pressed = app.login().pressed(question.otp)?;
    // Whose key it is not known to be is refused as an unknown user, and on record as one.
    let (user, press) = match pressed {
        Some(pressed) => (pressed.user.to_string(), pressed.press),
        None => (UNKNOWN.to_owned(), None),
    };
    let decided = asked.decide(app, user, How::Otp).await?;
    Ok(match decided.answer {
        LoginAnswer::Accept(_) => (Status::Ok, press),
        LoginAnswer::Challenge(_) => (Status::OperationNotAllowed, None),
        LoginAnswer::Reject => (refused(decided.reason), None),
    })
}

const fn refused(reason: Reason) -> Status {
    match reason {
        Reason::UsedCode => Status::ReplayedOtp,
        // Right or not, the policy asks for more, or for something else.
        Reason::NoRule
        | Reason::OtherRealm
        | Reason::MethodNotAllowed
        | Reason::LowAssurance
        | Reason::WrongPin
        | Reason::WrongPassword
        | Reason::NoPin
        | Reason::NoPassword
        | Reason::MustChange
        | Reason::Challenged => Status::OperationNotAllowed,
        _ => Status::BadOtp,
    }
}

fn sent(reply: &Reply<'_>, key: Option<&SecretBytes>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain;charset=utf-8")];
    (headers, reply.text(key)).into_response()
}

/// OTPs whose nonces are remembered: some minutes of a busy site, 300 KiB.
const REMEMBERED: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_remembered_with_its_otp_for_a_while() {
        let mut nonces = Nonces::default();
        assert!(!nonces.repeated("otp", "one"));
        assert!(nonces.repeated("otp", "one"));
        assert!(!nonces.repeated("otp", "two"));
        assert!(nonces.repeated("otp", "one"));
        for number in 0..REMEMBERED {
            assert!(!nonces.repeated(&format!("otp{number}"), "one"));
        }
        assert_eq!(nonces.first.len(), REMEMBERED);
        assert!(!nonces.repeated("otp", "one"), "long ago");
    }
}
