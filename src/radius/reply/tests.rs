//! What every reply must look like, for any contents.
#![allow(clippy::cast_possible_truncation)]

use proptest::prelude::*;

use super::*;
use crate::radius::attribute::Attributes;
use crate::radius::authenticator::{RequestAuthenticator, Signature};
use crate::radius::packet::MAX_LENGTH;
use crate::radius::request::RequestBuilder;
use crate::radius::verify::Rule;
use crate::radius::{Discard, password, verify};
use crate::secret::{SecretBytes, SharedSecret};

fn keys() -> SecretKeys {
    SecretKeys::new(SharedSecret::new(SecretBytes::from(&b"xyzzy5461"[..])).unwrap())
}

const AUTHENTICATOR: RequestAuthenticator = RequestAuthenticator([0x5a; 16]);

/// An Access-Request with these Proxy-States.
fn request(proxy_states: &[&[u8]]) -> Vec<u8> {
    let mut buffer = Vec::new();
    let mut request = RequestBuilder::new(
        &mut buffer,
        Code::AccessRequest,
        42,
        AUTHENTICATOR,
        MessageAuthenticator::First,
    );
    request.attribute(Type::UserName, b"alice").unwrap();
    request.user_password(b"123456", &keys()).unwrap();
    for value in proxy_states {
        request.attribute(Type::ProxyState, value).unwrap();
    }
    request.finish(&keys()).unwrap();
    buffer
}

fn types(packet: &Packet<'_>) -> Vec<Type> {
    packet
        .attributes
        .iter()
        .map(|attribute| attribute.r#type)
        .collect()
}

#[test]
fn request_passes_our_own_checks() {
    let octets = request(&[]);
    let packet = Packet::parse(&octets).unwrap();
    assert_eq!(
        verify::request(&packet, &keys(), Rule::Required),
        Ok(Signature::Valid)
    );
    let hidden = packet.first(Type::UserPassword).unwrap();
    let password = password::reveal(hidden, &packet.request_authenticator(), &keys()).unwrap();
    assert_eq!(password.expose(), b"123456");
}

#[test]
fn signature_is_first_and_proxy_states_last_in_order() {
    let octets = request(&[b"one", b"", b"three"]);
    let packet = Packet::parse(&octets).unwrap();
    let mut buffer = vec![1; 99];
    let mut reply = ReplyBuilder::new(
        &mut buffer,
        Code::AccessAccept,
        &packet,
        MessageAuthenticator::First,
    );
    reply
        .attribute(Type::Class, b"ou=vpn")
        .unwrap()
        .vendor(12356, 1, b"staff")
        .unwrap();
    reply.encoded(&[11, 5, b'a', b'c', b'l']).unwrap();
    reply.finish(&keys()).unwrap();
    let reply = Packet::parse(&buffer).unwrap();
    assert_eq!(reply.octets().len(), buffer.len());
    assert_eq!((reply.code, reply.identifier), (Code::AccessAccept, 42));
    assert_eq!(
        types(&reply),
        [
            Type::MessageAuthenticator,
            Type::Class,
            Type::VendorSpecific,
            Type::FilterId,
            Type::ProxyState,
            Type::ProxyState,
            Type::ProxyState
        ]
    );
    assert!(reply.all(Type::ProxyState).eq(packet.all(Type::ProxyState)));
    assert_eq!(
        verify::response(&reply, 42, &AUTHENTICATOR, &keys()),
        Ok(Signature::Valid)
    );
}

#[test]
fn exempt_client_gets_no_signature_but_an_authentic_reply() {
    let octets = request(&[]);
    let mut buffer = Vec::new();
    let packet = Packet::parse(&octets).unwrap();
    ReplyBuilder::new(
        &mut buffer,
        Code::AccessReject,
        &packet,
        MessageAuthenticator::Omit,
    )
    .finish(&keys())
    .unwrap();
    let reply = Packet::parse(&buffer).unwrap();
    assert_eq!(buffer.len(), 20);
    assert_eq!(
        verify::response(&reply, 42, &AUTHENTICATOR, &keys()),
        Ok(Signature::Absent)
    );
}

#[test]
fn nothing_is_truncated() {
    let octets = request(&[[7; 253].as_slice(); 3]);
    let packet = Packet::parse(&octets).unwrap();
    let mut buffer = Vec::new();
    let mut reply = ReplyBuilder::new(
        &mut buffer,
        Code::AccessAccept,
        &packet,
        MessageAuthenticator::First,
    );
    let class = Type::Class;
    assert_eq!(
        reply.attribute(class, &[0; 254]).err(),
        Some(BuildError::ValueTooLong(class))
    );
    let vendor = BuildError::ValueTooLong(Type::VendorSpecific);
    assert_eq!(reply.vendor(9, 1, &[0; 248]).err(), Some(vendor));
    assert_eq!(reply.vendor(9, 1, &[0; 300]).err(), Some(vendor));
    reply.vendor(9, 1, &[0; 247]).unwrap();
    while reply.attribute(class, &[0; 253]).is_ok() {}
    assert_eq!(
        reply.attribute(class, &[0; 253]).err(),
        Some(BuildError::PacketTooLong)
    );
    assert_eq!(reply.finish(&keys()), Err(BuildError::PacketTooLong));
    assert!(buffer.is_empty(), "nothing that could be sent is left");
}

#[test]
fn callers_cannot_set_what_the_builder_sets() {
    let octets = request(&[]);
    let packet = Packet::parse(&octets).unwrap();
    let mut buffer = Vec::new();
    let mut reply = ReplyBuilder::new(
        &mut buffer,
        Code::AccessAccept,
        &packet,
        MessageAuthenticator::First,
    );
    for reserved in [Type::MessageAuthenticator, Type::ProxyState] {
        let error = Some(BuildError::Reserved(reserved));
        assert_eq!(reply.attribute(reserved, &[0; 16]).err(), error);
        assert_eq!(reply.encoded(&[reserved.0, 2]).err(), error);
    }
    assert_eq!(
        reply.encoded(&[11, 9, 0]).err(),
        Some(BuildError::Malformed)
    );
}

#[test]
fn half_built_packet_cannot_be_parsed() {
    let octets = request(&[]);
    let packet = Packet::parse(&octets).unwrap();
    let mut buffer = Vec::new();
    let sign = MessageAuthenticator::First;
    let _ = ReplyBuilder::new(&mut buffer, Code::AccessAccept, &packet, sign);
    buffer.resize(70_000, 0);
    assert_eq!(Packet::parse(&buffer), Err(Discard::BadLength));
}

#[test]
fn reply_of_another_request_is_not_believed() {
    let octets = request(&[]);
    let packet = Packet::parse(&octets).unwrap();
    let mut buffer = Vec::new();
    let sign = MessageAuthenticator::First;
    ReplyBuilder::new(&mut buffer, Code::AccessAccept, &packet, sign)
        .finish(&keys())
        .unwrap();
    let reply = Packet::parse(&buffer).unwrap();
    let other = RequestAuthenticator([1; 16]);
    let response = |id, authenticator| verify::response(&reply, id, authenticator, &keys());
    assert_eq!(
        response(41, &AUTHENTICATOR),
        Err(Discard::UnexpectedIdentifier)
    );
    assert_eq!(response(42, &other), Err(Discard::BadResponseAuthenticator));
}

#[test]
fn accounting_request_is_a_digest() {
    let mut buffer = Vec::new();
    for sign in [MessageAuthenticator::First, MessageAuthenticator::Omit] {
        let code = Code::AccountingRequest;
        let mut request = RequestBuilder::new(&mut buffer, code, 1, AUTHENTICATOR, sign);
        request
            .attribute(Type::AcctStatusType, &1_u32.to_be_bytes())
            .unwrap();
        request.finish(&keys()).unwrap();
        let packet = Packet::parse(&buffer).unwrap();
        let signature = match sign {
            MessageAuthenticator::First => Signature::Valid,
            MessageAuthenticator::Omit => Signature::Absent,
        };
        assert_eq!(verify::accounting_request(&packet, &keys()), Ok(signature));
        let rule = Rule::Optional;
        assert_eq!(
            verify::request(&packet, &keys(), rule),
            Err(Discard::UnexpectedCode)
        );
    }
}

fn attributes() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let r#type = any::<u8>().prop_filter("set by the builder", |n| ![33, 80].contains(n));
    prop::collection::vec((r#type, prop::collection::vec(any::<u8>(), 0..=255)), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn parse_is_the_inverse_of_encode(
        given in attributes(),
        proxy_states in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=253), 0..4),
        code in prop::sample::select(vec![2_u8, 3, 11]),
        signed in any::<bool>(),
    ) {
        let proxy_states: Vec<&[u8]> = proxy_states.iter().map(Vec::as_slice).collect();
        let octets = request(&proxy_states);
        let packet = Packet::parse(&octets).unwrap();
        let sign = if signed { MessageAuthenticator::First } else { MessageAuthenticator::Omit };
        let mut buffer = Vec::new();
        let mut reply = ReplyBuilder::new(&mut buffer, Code(code), &packet, sign);
        let mut expected = Vec::new();
        for (r#type, value) in &given {
            match reply.attribute(Type(*r#type), value) {
                Ok(_) => expected.push((*r#type, value.as_slice())),
                Err(BuildError::ValueTooLong(_)) => prop_assert!(value.len() > 253),
                Err(error) => prop_assert_eq!(error, BuildError::PacketTooLong),
            }
        }
        let finished = reply.finish(&keys());
        if finished.is_err() {
            prop_assert!(buffer.is_empty());
            return Ok(());
        }
        prop_assert!(buffer.len() <= MAX_LENGTH);
        expected.extend(proxy_states.iter().map(|value| (33, *value)));
        let reply = Packet::parse(&buffer).unwrap();
        let skip = usize::from(signed);
        let parsed: Vec<_> =
            reply.attributes.iter().skip(skip).map(|a| (a.r#type.0, a.value)).collect();
        prop_assert_eq!(parsed, expected);
        let signature = if signed { Signature::Valid } else { Signature::Absent };
        prop_assert_eq!(verify::response(&reply, 42, &AUTHENTICATOR, &keys()), Ok(signature));
    }

    #[test]
    fn no_octets_panic(octets in prop::collection::vec(any::<u8>(), 0..600), honest in any::<bool>()) {
        let mut octets = octets;
        if honest && octets.len() >= 20 {
            let length = (octets.len() as u16).to_be_bytes();
            octets.splice(2..4, length);
            octets[0] = 1;
        }
        if let Ok(packet) = Packet::parse(&octets) {
            for attribute in packet.attributes {
                let _ = (attribute.to_string(), attribute.integer());
                let _ = attribute.vendor().map(|vendor| vendor.iter().count());
            }
            let _ = verify::request(&packet, &keys(), Rule::Optional);
            let _ = verify::response(&packet, 1, &AUTHENTICATOR, &keys());
            prop_assert_eq!(
                Attributes::parse(packet.attributes.octets()),
                Ok(packet.attributes)
            );
        }
    }
}
