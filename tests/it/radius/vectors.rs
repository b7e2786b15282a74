//! The RFCs' own packets: read, checked, revealed, and written again octet for octet.

use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator::{SecretKeys, Signature};
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::{Code, Packet};
use oncegate::radius::reply::ReplyBuilder;
use oncegate::radius::request::RequestBuilder;
use oncegate::radius::verify::Rule;
use oncegate::radius::{authenticator, password, verify};
use oncegate::secret::{SecretBytes, SharedSecret};

use crate::house::hex_case::Case;

const KEYS: &[&str] = &["source", "section", "secret", "user", "password", "expect"];

#[test]
fn rfc_packets() {
    let cases = Case::load_all("vectors/radius", KEYS, &["request", "response"]);
    assert_eq!(cases.len(), 6);
    for case in &cases {
        check(case);
    }
}

fn check(case: &Case) {
    let name = format!(
        "{} ({} s{})",
        case.name,
        case.get("source"),
        case.get("section")
    );
    let secret = SharedSecret::new(SecretBytes::from(case.get("secret").as_bytes())).unwrap();
    let keys = SecretKeys::new(secret);
    let request = Packet::parse(case.block("request")).expect(&name);
    let signature = match case.get("expect") {
        "signed" => Signature::Valid,
        "unsigned" => Signature::Absent,
        other => panic!("{name}: expect {other}?"),
    };
    assert_eq!(
        verify::request(&request, &keys, Rule::Optional),
        Ok(signature),
        "{name}"
    );

    if let Some(user) = case.find("user") {
        assert_eq!(
            request.first(Type::UserName),
            Some(user.as_bytes()),
            "{name}"
        );
    }
    let password = case.find("password").map(str::as_bytes);
    if let Some(password) = password {
        let hidden = request.first(Type::UserPassword).expect(&name);
        let revealed = password::reveal(hidden, &request.request_authenticator(), &keys).unwrap();
        assert_eq!(revealed.expose(), password, "{name}");
    }
    assert_eq!(
        rewrite_request(&request, password, &keys),
        request.octets(),
        "{name}"
    );

    let response = Packet::parse(case.block("response")).expect(&name);
    let authenticator = request.request_authenticator();
    let verified = verify::response(&response, request.identifier, &authenticator, &keys);
    assert_eq!(verified, Ok(Signature::Absent), "{name}");
    assert_eq!(
        authenticator::response_authenticator(&response, &authenticator, &keys),
        response.response_authenticator(),
        "{name}"
    );
    assert_eq!(
        rewrite_response(&response, &request, &keys),
        response.octets(),
        "{name}"
    );
}

/// The request as our builder makes it. Its signature, if any, comes first there too.
fn rewrite_request(packet: &Packet<'_>, password: Option<&[u8]>, keys: &SecretKeys) -> Vec<u8> {
    let signed = packet.has(Type::MessageAuthenticator);
    let sign = if signed {
        MessageAuthenticator::First
    } else {
        MessageAuthenticator::Omit
    };
    let mut buffer = Vec::new();
    let authenticator = packet.request_authenticator();
    let mut builder = RequestBuilder::new(
        &mut buffer,
        packet.code,
        packet.identifier,
        authenticator,
        sign,
    );
    for attribute in packet.attributes {
        match (attribute.r#type, password) {
            (Type::MessageAuthenticator, _) => {}
            (Type::UserPassword, Some(password)) => {
                builder.user_password(password, keys).unwrap();
            }
            (r#type, _) => {
                builder.attribute(r#type, attribute.value).unwrap();
            }
        }
    }
    builder.finish(keys).unwrap();
    buffer
}

fn rewrite_response(packet: &Packet<'_>, request: &Packet<'_>, keys: &SecretKeys) -> Vec<u8> {
    let mut buffer = Vec::new();
    let mut builder = ReplyBuilder::new(
        &mut buffer,
        packet.code,
        request,
        MessageAuthenticator::Omit,
    );
    assert_ne!(packet.code, Code::AccessRequest);
    for attribute in packet.attributes {
        builder
            .attribute(attribute.r#type, attribute.value)
            .unwrap();
    }
    builder.finish(keys).unwrap();
    buffer
}
