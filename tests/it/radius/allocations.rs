//! The codec allocates nothing for a request over UDP: framing, signature, attributes, and a reply in a buffer that
//! is there.

use allocation_counter::measure;
use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator::RequestAuthenticator;
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::{Code, MAX_LENGTH, Packet};
use oncegate::radius::reply::ReplyBuilder;
use oncegate::radius::request::RequestBuilder;
use oncegate::radius::verify::{self, Rule};
use oncegate::radius::{accounting, stream};

use crate::radius::dialogue::keys;

fn request(code: Code) -> Vec<u8> {
    let (mut request, keys) = (Vec::new(), keys("a shared secret"));
    let authenticator = RequestAuthenticator([7; 16]);
    let sign = MessageAuthenticator::First;
    let mut builder = RequestBuilder::new(&mut request, code, 1, authenticator, sign);
    builder.attribute(Type::UserName, b"alice").unwrap();
    builder
        .attribute(Type::NasIpAddress, &[192, 0, 2, 7])
        .unwrap();
    builder.attribute(Type::NasIdentifier, b"gate-1").unwrap();
    builder.attribute(Type::ProxyState, b"of a proxy").unwrap();
    builder.attribute(Type::ProxyState, b"of another").unwrap();
    if code == Code::AccessRequest {
        builder.user_password(b"755224", &keys).unwrap();
    }
    builder.finish(&keys).unwrap();
    request
}

#[test]
fn a_request_and_its_reply_allocate_nothing() {
    let keys = keys("a shared secret");
    let (login, report) = (
        request(Code::AccessRequest),
        request(Code::AccountingRequest),
    );
    let mut buffer = Vec::with_capacity(MAX_LENGTH);
    let counted = measure(|| {
        for (octets, answer) in [
            (&login, Code::AccessAccept),
            (&report, Code::AccountingResponse),
        ] {
            assert!(stream::next(octets) == stream::Framed::Packet(octets.len()));
            let packet = Packet::parse(octets).unwrap();
            if answer == Code::AccessAccept {
                verify::request(&packet, &keys, Rule::Required).unwrap();
            } else {
                verify::accounting_request(&packet, &keys).unwrap();
            }
            assert!(packet.attributes.into_iter().count() >= 5);
            assert_eq!(packet.first(Type::UserName), Some(&b"alice"[..]));
            assert!(accounting::nas_address(&packet).is_some());
            let sign = MessageAuthenticator::First;
            let mut reply = ReplyBuilder::new(&mut buffer, answer, &packet, sign);
            reply.attribute(Type::Class, b"staff").unwrap();
            reply.finish(&keys).unwrap();
        }
    });
    assert_eq!(counted.count_total, 0);
    let (asked, reply) = (
        Packet::parse(&report).unwrap(),
        Packet::parse(&buffer).unwrap(),
    );
    verify::response(&reply, 1, &asked.request_authenticator(), &keys).unwrap();
    assert_eq!(reply.all(Type::ProxyState).count(), 2);
}

#[test]
fn what_is_malformed_or_forged_allocates_nothing_either() {
    let (ours, theirs) = (keys("a shared secret"), keys("another secret"));
    let login = request(Code::AccessRequest);
    let counted = measure(|| {
        for end in 0..login.len() {
            assert!(Packet::parse(&login[..end]).is_err());
        }
        let packet = Packet::parse(&login).unwrap();
        assert!(verify::request(&packet, &theirs, Rule::Required).is_err());
        assert!(verify::request(&packet, &ours, Rule::Required).is_ok());
    });
    assert_eq!(counted.count_total, 0);
}
