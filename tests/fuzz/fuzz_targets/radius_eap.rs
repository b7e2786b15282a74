//! Any octets as an EAP packet, a fragment of TLS, and what comes through a tunnel: read or refused, and
//! what is gathered stays within its limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oncegate::radius::attribute::Attributes;
use oncegate::radius::eap::tls::{Incoming, MOST, Outgoing, Taken};
use oncegate::radius::eap::ttls::Implicit;
use oncegate::radius::eap::{self, Message, mschap, peap, ttls};

fuzz_target!(|octets: &[u8]| {
    if let Some(message) = Message::parse(octets) {
        let again = message.octets().expect("it was a packet");
        assert!(octets.starts_with(&again), "padding is left out");
        let attributes = eap::attributes(&again);
        let attributes = Attributes::parse(&attributes).expect("encoded");
        let joined: Vec<u8> = attributes
            .iter()
            .flat_map(|one| one.value)
            .copied()
            .collect();
        assert_eq!(joined, again);
        let _ = eap::md5_response(message.identifier, message.data);
        let _ = mschap::read(message.data, 1, &[9; 16]);
    }
    let implicit = Implicit {
        long: [9; 17],
        short: [9; 9],
    };
    let _ = ttls::read(octets, &implicit);
    let _ = peap::read(octets);
    fragments(octets);
});

/// The octets as fragments, each with its length before it.
fn fragments(mut octets: &[u8]) {
    let mut incoming = Incoming::default();
    while let [length, rest @ ..] = octets {
        let (fragment, behind) = rest.split_at(rest.len().min(usize::from(*length)));
        octets = behind;
        match incoming.take(fragment) {
            None => return,
            Some(Taken::More) => {}
            Some(Taken::Whole(whole)) => {
                assert!(whole.len() <= MOST);
                sent(whole);
            }
        }
    }
}

fn sent(octets: Vec<u8>) {
    let mut outgoing = Outgoing::new(octets.clone());
    let mut incoming = Incoming::default();
    loop {
        match incoming.take(&outgoing.next(96)) {
            Some(Taken::More) => {}
            Some(Taken::Whole(whole)) => {
                assert_eq!(whole, octets);
                return;
            }
            None => panic!("our own fragments fit"),
        }
    }
}
