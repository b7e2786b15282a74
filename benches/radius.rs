//! One PAP login without IO: parse, verify, reveal, compare with the window, build, sign.
//!
//! `cargo bench --bench radius`. The goal is 5 us per exchange on one core.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use oncegate::otp::totp::{Drift, Parameters, TimeStep, Window};
use oncegate::otp::{Algorithm, Code as Otp, Digits, Period, totp};
use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator::{RequestAuthenticator, SecretKeys};
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::{Code, Packet};
use oncegate::radius::reply::ReplyBuilder;
use oncegate::radius::request::RequestBuilder;
use oncegate::radius::verify::Rule;
use oncegate::radius::{password, verify};
use oncegate::secret::{OtpKey, SecretBytes, SharedSecret};
use oncegate::time::UnixTime;

const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);
const PARAMETERS: Parameters = Parameters {
    algorithm: Algorithm::Sha1,
    digits: Digits::SIX,
    period: Period::THIRTY,
};

fn keys() -> SecretKeys {
    let secret = SecretBytes::from(&b"kq3h5wz7tq2m4x6c8v0b1n9l5j3g7f2d"[..]);
    SecretKeys::new(SharedSecret::new(secret).expect("a valid secret"))
}

fn otp_key() -> OtpKey {
    OtpKey::new(SecretBytes::from(&b"12345678901234567890"[..])).expect("a valid key")
}

/// What a VPN gateway sends.
fn request(keys: &SecretKeys, code: &str) -> Vec<u8> {
    let mut packet = Vec::new();
    let mut builder = RequestBuilder::new(
        &mut packet,
        Code::AccessRequest,
        7,
        RequestAuthenticator(*b"sixteen octets!!"),
        MessageAuthenticator::First,
    );
    builder
        .attribute(Type::UserName, b"alice@example.org")
        .expect("fits");
    builder.user_password(code.as_bytes(), keys).expect("fits");
    builder
        .attribute(Type::NasIdentifier, b"vpn-gateway-1")
        .expect("fits");
    builder
        .attribute(Type::CallingStationId, b"203.0.113.7")
        .expect("fits");
    builder.finish(keys).expect("fits");
    packet
}

/// The exchange; answers whether the code was right.
fn exchange(datagram: &[u8], keys: &SecretKeys, otp_key: &OtpKey, reply: &mut Vec<u8>) -> bool {
    let packet = Packet::parse(datagram).expect("well-formed");
    verify::request(&packet, keys, Rule::Required).expect("signed");
    let hidden = packet.first(Type::UserPassword).expect("present");
    let authenticator = packet.request_authenticator();
    let password = password::reveal(hidden, &authenticator, keys).expect("hidden right");
    let typed = std::str::from_utf8(password.expose()).expect("text");
    let code = Otp::parse(typed).expect("six digits");
    let window = Window { back: 1, ahead: 1 };
    let matches = totp::find(otp_key, PARAMETERS, &code, NOW, Drift::default(), window);
    let right = !matches.is_empty();
    let answer = if right {
        Code::AccessAccept
    } else {
        Code::AccessReject
    };
    reply.clear();
    let builder = ReplyBuilder::new(reply, answer, &packet, MessageAuthenticator::First);
    builder.finish(keys).expect("fits");
    right
}

fn benches(criterion: &mut Criterion) {
    let (keys, otp_key) = (keys(), otp_key());
    let code = totp::generate(&otp_key, PARAMETERS, TimeStep::at(NOW, Period::THIRTY));
    let right = request(&keys, code.expose().expose());
    let wrong = request(&keys, "000000");
    let mut reply = Vec::new();
    criterion.bench_function("PAP exchange, right code", |bencher| {
        bencher.iter(|| assert!(exchange(black_box(&right), &keys, &otp_key, &mut reply)));
    });
    criterion.bench_function("PAP exchange, wrong code", |bencher| {
        bencher.iter(|| assert!(!exchange(black_box(&wrong), &keys, &otp_key, &mut reply)));
    });
}

criterion_group!(all, benches);
criterion_main!(all);
