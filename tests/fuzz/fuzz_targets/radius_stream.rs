//! Any octets of a connection: packets of RADIUS/1.0 and 1.1 are found or the connection is broken, however the
//! octets arrive; what became a packet of 1.0 is authentic, and its reply turns back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oncegate::radius::authenticator::SecretKeys;
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::{Code, MAX_LENGTH, Packet};
use oncegate::radius::reply::ReplyBuilder;
use oncegate::radius::stream::{Framed, next};
use oncegate::radius::verify::Rule;
use oncegate::radius::{v11, verify};
use oncegate::secret::{SecretBytes, SharedSecret};

fuzz_target!(|octets: &[u8]| {
    let mut rest = octets;
    while let Framed::Packet(length) = next(rest) {
        assert!(length <= MAX_LENGTH && length <= rest.len());
        // Less of it is not a packet yet.
        assert_eq!(next(&rest[..length - 1]), Framed::Incomplete);
        let (packet, behind) = rest.split_at(length);
        translated(packet);
        rest = behind;
    }
});

fn translated(octets: &[u8]) {
    let keys = SecretKeys::new(SharedSecret::new(SecretBytes::from(&b"radsec"[..])).unwrap());
    let mut old = Vec::new();
    let Ok(token) = v11::request(octets, &keys, &mut old) else {
        return;
    };
    let packet = Packet::parse(&old).unwrap();
    match packet.code {
        Code::AccessRequest => assert!(verify::request(&packet, &keys, Rule::Required).is_ok()),
        Code::AccountingRequest => assert!(verify::accounting_request(&packet, &keys).is_ok()),
        _ => {}
    }
    let mut reply = Vec::new();
    let sign = MessageAuthenticator::First;
    let builder = ReplyBuilder::new(&mut reply, Code::AccessReject, &packet, sign);
    if builder.finish(&keys).is_ok() {
        let new = v11::reply(&reply, token, &old, &keys).unwrap();
        assert_eq!(&new[4..8], &octets[4..8]);
        assert!(Packet::parse(&new).is_ok());
    }
}
