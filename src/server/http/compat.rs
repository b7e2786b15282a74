//! `/compat/NAME/...`: the request shapes of other products, for clients that are not changed.
//!
//! Source: privacyIDEA 3.14 as its clients send and read it (FreeRADIUS and PAM modules, the Java client);
//! `LinOTP` where it differs.
//!
//! ```text
//! POST /validate/check          200, result.value and result.authentication: ACCEPT, CHALLENGE, REJECT
//!      /validate/radiuscheck    204 yes, 400 no, 503 undecided
//!      /validate/check_s, check_t, check_yubikey, check_status  of LinOTP: by token, by challenge
//! GET  /validate/polltransaction  pending, accept, declined
//!      /validate/simplecheck    of LinOTP, in text: :-) and :-(
//!      /wsapi/2.0/verify        see `yubico`
//! ```
//!
//! Invariants: such clients send no key, so that they are known by their address, and only those that
//! `http.compat` names; every reject is the same octets, whatever the cause, unless the client is to be told of
//! unknown users; what cannot be decided is 503, which their gateways take for a server that is down.
//!
//! Threats T12, T44: a client behind a proxy that is not listed is that proxy.

mod account;
mod answer;
mod asked;
mod check;
mod form;
mod rounds;
mod yubico;

pub(crate) use account::{auth, init, list, trigger};
pub(crate) use check::{
    check, poll, poll_by_id, press, radius, simple, status, token, transaction,
};
pub(crate) use rounds::Rounds;
pub(crate) use yubico::{Validation, verify as validate, verify_by_id as validate_by_id};
