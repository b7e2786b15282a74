//! Requests as gear makes them, and replies as it reads them.

use std::fmt::Write as _;
use std::net::IpAddr;

use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator::{RequestAuthenticator, SecretKeys};
use oncegate::radius::encode::{BuildError, MessageAuthenticator};
use oncegate::radius::packet::{Code, Packet};
use oncegate::radius::request::RequestBuilder;
use oncegate::radius::{password, verify};
use serde_json::Value;

use crate::radius::dialogue::{SECRET, keys};
use crate::support::lab::Heard;

/// An Access-Request by PAP.
pub(crate) fn access_request(
    number: u64,
    keys: &SecretKeys,
    user: &str,
    typed: &str,
    state: Option<&str>,
    station: Option<IpAddr>,
) -> Vec<u8> {
    let mut authenticator = [0x5c; 16];
    authenticator[..8].copy_from_slice(&number.to_be_bytes());
    let mut packet = Vec::new();
    let mut builder = RequestBuilder::new(
        &mut packet,
        Code::AccessRequest,
        number.to_be_bytes()[7],
        RequestAuthenticator(authenticator),
        MessageAuthenticator::First,
    );
    builder
        .attribute(Type::UserName, user.as_bytes())
        .expect("it fits");
    builder
        .user_password(typed.as_bytes(), keys)
        .expect("it fits");
    if let Some(state) = state {
        builder
            .attribute(Type::State, state.as_bytes())
            .expect("it fits");
    }
    if let Some(station) = station {
        let text = station.to_string();
        builder
            .attribute(Type::CallingStationId, text.as_bytes())
            .expect("it fits");
    }
    builder.finish(keys).expect("it fits");
    packet
}

/// A signed Access-Request of whatever is put into it.
pub(crate) fn request_of(
    number: u64,
    keys: &SecretKeys,
    build: impl FnOnce(&mut RequestBuilder<'_>),
) -> Vec<u8> {
    let mut authenticator = [0x5d; 16];
    authenticator[..8].copy_from_slice(&number.to_be_bytes());
    let mut packet = Vec::new();
    let mut builder = RequestBuilder::new(
        &mut packet,
        Code::AccessRequest,
        number.to_be_bytes()[7],
        RequestAuthenticator(authenticator),
        MessageAuthenticator::First,
    );
    build(&mut builder);
    builder.finish(keys).expect("it fits");
    packet
}

/// Reads a reply as gear does.
pub(crate) fn heard(request: &[u8], reply: &[u8], keys: &SecretKeys) -> Heard {
    let asked = Packet::parse(request).expect("our request");
    let answer = Packet::parse(reply).expect("a packet");
    let authenticator = asked.request_authenticator();
    verify::response(&answer, asked.identifier, &authenticator, keys).expect("a genuine answer");
    let mut seen = format!("{:?}", &reply[2..4]);
    for attribute in &answer.attributes {
        let signs = attribute.r#type == Type::MessageAuthenticator;
        let value = if signs { &[] } else { attribute.value };
        write!(seen, " {:?} {value:02x?}", attribute.r#type).expect("memory");
    }
    let decision = match answer.code {
        Code::AccessAccept => "accept",
        Code::AccessChallenge => "challenge",
        Code::AccessReject => "reject",
        other => panic!("{other:?}"),
    };
    let state = answer.first(Type::State);
    Heard {
        decision: decision.to_owned(),
        challenge: state.map(|state| String::from_utf8(state.to_vec()).expect("text")),
        seen,
        body: Value::Null,
    }
}

/// A password as it travels, if it can.
pub(crate) fn hide(typed: &str) -> Result<Vec<u8>, BuildError> {
    let authenticator = RequestAuthenticator([0; 16]);
    password::hide(typed.as_bytes(), &authenticator, &keys(SECRET))
}
