//! Any octets: parsed or refused; what was parsed is consistent, and writes itself again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oncegate::radius::attribute::{Attributes, MAX_ATTRIBUTES, Type};
use oncegate::radius::authenticator::{RequestAuthenticator, SecretKeys, Signature};
use oncegate::radius::encode::{BuildError, MessageAuthenticator};
use oncegate::radius::packet::{Code, HEADER, MAX_LENGTH, Packet};
use oncegate::radius::reply::ReplyBuilder;
use oncegate::radius::request::RequestBuilder;
use oncegate::radius::verify;
use oncegate::secret::{SecretBytes, SharedSecret};

fuzz_target!(|datagram: &[u8]| {
    let Ok(packet) = Packet::parse(datagram) else {
        return;
    };
    let octets = packet.octets();
    assert!(datagram.starts_with(octets));
    assert!((HEADER..=MAX_LENGTH).contains(&octets.len()));
    assert_eq!(Packet::parse(octets), Ok(packet), "padding changes nothing");

    let mut length = HEADER;
    for attribute in packet.attributes {
        length += attribute.value.len() + 2;
        let text = attribute.to_string();
        assert!(!text.chars().any(char::is_control), "unsafe for a log");
        if let Some(vendor) = attribute.vendor() {
            let inner: usize = vendor.iter().map(|(_, value)| value.len() + 2).sum();
            assert_eq!(inner + 4, attribute.value.len());
        }
    }
    assert_eq!(length, octets.len(), "every octet belongs to an attribute");
    assert!(packet.attributes.iter().count() <= MAX_ATTRIBUTES);

    rewritten(&packet);
    answered(&packet);
});

fn keys() -> SecretKeys {
    SecretKeys::new(SharedSecret::new(SecretBytes::from(&b"fuzz"[..])).unwrap())
}

/// Without its signature, the packet is what the builder makes of its attributes.
fn rewritten(packet: &Packet<'_>) {
    if packet.has(Type::MessageAuthenticator) {
        return;
    }
    let mut buffer = Vec::new();
    let mut builder = RequestBuilder::new(
        &mut buffer,
        Code::AccessRequest,
        packet.identifier,
        RequestAuthenticator(*packet.authenticator),
        MessageAuthenticator::Omit,
    );
    for attribute in packet.attributes {
        builder
            .attribute(attribute.r#type, attribute.value)
            .unwrap();
    }
    builder.finish(&keys()).unwrap();
    assert_eq!(buffer.get(1..), packet.octets().get(1..));
}

/// A reply is believed by the one who asked, and brings every Proxy-State back.
fn answered(packet: &Packet<'_>) {
    let keys = keys();
    let mut buffer = Vec::new();
    let sign = MessageAuthenticator::First;
    let mut builder = ReplyBuilder::new(&mut buffer, Code::AccessAccept, packet, sign);
    let encoded = packet.attributes.octets();
    if Attributes::parse(encoded).is_ok() {
        let _ = builder.encoded(encoded).map(|_| ());
    }
    match builder.finish(&keys) {
        Ok(()) => {
            let reply = Packet::parse(&buffer).unwrap();
            let authenticator = packet.request_authenticator();
            let verified = verify::response(&reply, packet.identifier, &authenticator, &keys);
            assert_eq!(verified, Ok(Signature::Valid));
            let first = reply.attributes.iter().next().unwrap();
            assert_eq!(first.r#type, Type::MessageAuthenticator);
            assert!(reply.all(Type::ProxyState).eq(packet.all(Type::ProxyState)));
        }
        Err(BuildError::PacketTooLong | BuildError::TooManyAttributes) => {
            assert!(buffer.is_empty());
        }
        Err(other) => panic!("{other}"),
    }
}
