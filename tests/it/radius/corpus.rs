//! Datagrams named by their fault, each with the word of its Discard; and odd ones that must pass.

use oncegate::model::client::{Access, ApiAccess, Client};
use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator::SecretKeys;
use oncegate::radius::packet::{Code, Packet};
use oncegate::radius::verify::Rule;
use oncegate::radius::{Discard, accounting, password, verify};
use oncegate::secret::{SecretBytes, SharedSecret};
use oncegate::time::UnixTime;

use crate::house::hex_case::Case;

const KEYS: &[&str] = &["about", "cve", "secret", "rule", "expect"];

#[test]
fn every_datagram_meets_its_fate() {
    let cases = Case::load_all("corpus/radius", KEYS, &[]);
    assert!(cases.len() >= 60, "the corpus only grows");
    for case in &cases {
        let expected = match case.get("expect") {
            "accepted" => Ok(()),
            word => Err(word
                .parse::<Discard>()
                .unwrap_or_else(|()| panic!("{word}?"))),
        };
        assert_eq!(
            receive(case),
            expected,
            "{}: {}",
            case.name,
            case.get("about")
        );
    }
}

#[test]
fn every_discard_a_datagram_can_meet_is_in_the_corpus() {
    let cases = Case::load_all("corpus/radius", KEYS, &[]);
    // These are about the sender, the moment or the other side, not about the octets.
    let elsewhere = [
        Discard::UnknownClient,
        Discard::DuplicateInFlight,
        Discard::Overload,
        Discard::UnexpectedIdentifier,
        Discard::BadResponseAuthenticator,
    ];
    for discard in Discard::ALL
        .iter()
        .filter(|discard| !elsewhere.contains(discard))
    {
        let word = discard.as_str();
        assert!(
            cases.iter().any(|case| case.get("expect") == word),
            "no datagram for {word}"
        );
    }
}

/// What the accounting port does with a datagram before it is put on record.
fn report(case: &Case, keys: &SecretKeys) -> Result<(), Discard> {
    let packet = Packet::parse(case.block("packet"))?;
    verify::accounting_request(&packet, keys)?;
    let client = Client {
        name: "vpn".to_owned(),
        policy: None,
        realm: None,
        access: Access::Api(ApiAccess {
            key_hash: [0; 32],
            previous: None,
            scopes: Vec::new(),
        }),
        created: UnixTime::from_millis(0),
        revision: 1,
    };
    let now = UnixTime::from_millis(1_800_000_000_000);
    let arrived = ([192, 0, 2, 1].into(), now);
    accounting::read(&packet, (&client, &[]), arrived, |_, _| None).map(drop)
}

/// What the authentication port does with a datagram before anybody decides.
fn receive(case: &Case) -> Result<(), Discard> {
    let secret = SharedSecret::new(SecretBytes::from(case.get("secret").as_bytes())).unwrap();
    let keys = SecretKeys::new(secret);
    let rule = match case.get("rule") {
        "accounting" => return report(case, &keys),
        "required" => Rule::Required,
        "limit_proxy_state" => Rule::LimitProxyState,
        "optional" => Rule::Optional,
        other => panic!("{}: rule {other}?", case.name),
    };
    let datagram = case.block("packet");
    let packet = Packet::parse(datagram)?;
    assert_eq!(packet.octets(), &datagram[..packet.octets().len()]);
    for attribute in packet.attributes {
        if let Some(vendor) = attribute.vendor() {
            assert!(vendor.iter().count() <= 253 / 2);
        }
    }
    verify::request(&packet, &keys, rule)?;
    if packet.code == Code::AccessRequest
        && let Some(hidden) = packet.first(Type::UserPassword)
    {
        password::reveal(hidden, &packet.request_authenticator(), &keys)?;
    }
    Ok(())
}
