//! A conversation: datagrams, honest and not, through parse, verify, duplicates and reveal.
//!
//! The input is cut into events. The first octet of each says who sends, whether the sender knows
//! the secret, how much time passes, and what becomes of the work.
#![no_main]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator::{RequestAuthenticator, SecretKeys};
use oncegate::radius::duplicate::{Begin, Duplicates, Fingerprint, Finish, Key, Limits, Ticket};
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::{Code, Packet};
use oncegate::radius::request::RequestBuilder;
use oncegate::radius::verify::Rule;
use oncegate::radius::{password, verify};
use oncegate::secret::{SecretBytes, SharedSecret};
use oncegate::time::UnixTime;
use oncegate::wire::Reader;

const LIMITS: Limits = Limits {
    entries: 6,
    per_source: 4,
};

fuzz_target!(|input: &[u8]| {
    let keys = SecretKeys::new(SharedSecret::new(SecretBytes::from(&b"fuzz"[..])).unwrap());
    let mut cache = Duplicates::new(LIMITS);
    let mut work: Vec<Ticket> = Vec::new();
    let mut now = UnixTime::from_secs(1_000_000);
    let mut reader = Reader::new(input);
    while let (Some(control), Some(size)) = (reader.u8(), reader.u8()) {
        let Some(payload) = reader.take(usize::from(size)) else {
            break;
        };
        now = now.plus(Duration::from_secs(u64::from(control >> 6) * 13));
        let datagram = if control & 1 == 1 {
            honest(payload, &keys)
        } else {
            Some(payload.to_vec())
        };
        let source = SocketAddr::from(([10, 0, 0, control >> 1 & 3], 1812));
        if let Some(datagram) = datagram
            && let Some(ticket) = receive(&datagram, source, &keys, &mut cache, now)
        {
            work.push(ticket);
        }
        assert!(cache.len() <= LIMITS.entries);
        assert!(work.len() <= input.len());
        match control >> 3 & 7 {
            0..=2 => {}
            3 => work.drain(..).for_each(|ticket| cache.abandon(ticket)),
            _ => {
                for ticket in work.drain(..) {
                    let finish = cache.finish(ticket, Arc::from([control]), now);
                    assert!(matches!(finish, Finish::Current | Finish::Stale));
                }
            }
        }
    }
});

/// A signed request whose Identifier, authenticator and password are the payload.
fn honest(payload: &[u8], keys: &SecretKeys) -> Option<Vec<u8>> {
    let mut reader = Reader::new(payload);
    let (identifier, seed) = (reader.u8()? & 3, reader.u8()? & 3);
    let mut buffer = Vec::new();
    let mut builder = RequestBuilder::new(
        &mut buffer,
        Code::AccessRequest,
        identifier,
        RequestAuthenticator([seed; 16]),
        MessageAuthenticator::First,
    );
    builder.user_password(reader.rest(), keys).ok()?;
    builder.finish(keys).unwrap();
    Some(buffer)
}

fn receive(
    datagram: &[u8],
    source: SocketAddr,
    keys: &SecretKeys,
    cache: &mut Duplicates,
    now: UnixTime,
) -> Option<Ticket> {
    let packet = Packet::parse(datagram).ok()?;
    let rule = if packet.identifier & 1 == 0 {
        Rule::Required
    } else {
        Rule::LimitProxyState
    };
    verify::request(&packet, keys, rule).ok()?;
    let key = Key {
        listener: 0,
        source,
        identifier: packet.identifier,
        code: packet.code,
    };
    let (authenticator, fingerprint) = (packet.request_authenticator(), Fingerprint::of(&packet));
    let ticket = match cache.begin(key, fingerprint, now) {
        Begin::New(ticket) => ticket,
        Begin::InFlight | Begin::Resend(_) | Begin::Overload => return None,
    };
    assert!(
        matches!(cache.begin(key, fingerprint, now), Begin::InFlight),
        "worked on once"
    );
    if let Some(hidden) = packet.first(Type::UserPassword)
        && let Ok(password) = password::reveal(hidden, &authenticator, keys)
    {
        assert!(password.expose().len() <= password::MAX_LENGTH);
        assert_ne!(password.expose().last(), Some(&0));
    }
    Some(ticket)
}
