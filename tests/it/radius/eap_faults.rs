//! EAP-TTLS from hostile peers over UDP: fragments that lie, that never end or come again, TLS that is none, other
//! methods in between. Each ends its conversation, counts nothing, and the daemon goes on.

use std::time::Duration;

use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator::RequestAuthenticator;
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::{Code, Packet};
use oncegate::radius::request::RequestBuilder;

use crate::radius::dialogue::keys;
use crate::radius::eap::certificate;
use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::Site;
use crate::support::net::Radius;

const SECRET: &str = "testing123";
const NAK: u8 = 3;
const MD5: u8 = 4;
const TTLS: u8 = 21;
const PEAP: u8 = 25;
const LENGTH: u8 = 0x80;
const MORE: u8 = 0x40;
const START: u8 = 0x20;

struct Peer {
    radius: Radius,
    sent: u8,
}

/// What the server said: the code of its packet, State, and the EAP packet.
struct Turn {
    code: Code,
    state: Vec<u8>,
    eap: Vec<u8>,
}

impl Peer {
    fn send(&mut self, state: &[u8], eap: &[u8]) -> Turn {
        self.sent = self.sent.wrapping_add(1);
        let mut request = Vec::new();
        let mut builder = RequestBuilder::new(
            &mut request,
            Code::AccessRequest,
            self.sent,
            RequestAuthenticator([self.sent; 16]),
            MessageAuthenticator::First,
        );
        builder.attribute(Type::UserName, b"anonymous").unwrap();
        if !state.is_empty() {
            builder.attribute(Type::State, state).unwrap();
        }
        for part in eap.chunks(253) {
            builder.attribute(Type::EapMessage, part).unwrap();
        }
        builder.finish(&keys(SECRET)).unwrap();
        self.radius.send(&request);
        let reply = self.radius.receive().expect("an answer");
        let code = self.radius.verified(&request, &reply);
        let reply = Packet::parse(&reply).unwrap();
        let state = reply.first(Type::State).unwrap_or_default().to_vec();
        let eap: Vec<u8> = reply.all(Type::EapMessage).flatten().copied().collect();
        let inside = if code == Code::AccessReject { 4 } else { 1 };
        assert_eq!(eap[0], inside, "the packet and what is inside say the same");
        Turn { code, state, eap }
    }

    /// Answers a request by a method with these octets.
    fn answer(&mut self, to: &Turn, kind: u8, data: &[u8]) -> Turn {
        self.send(&to.state, &response(to.eap[1], kind, data))
    }

    /// A conversation whose TLS has not begun.
    fn begun(&mut self) -> Turn {
        let first = self.send(b"", &response(1, 1, b"anonymous"));
        assert_eq!((first.eap[4], first.eap[5]), (TTLS, START));
        first
    }
}

fn response(identifier: u8, kind: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 5).unwrap().to_be_bytes();
    [&[2, identifier, length[0], length[1], kind], data].concat()
}

#[test]
fn what_is_no_tls_ends_the_conversation_and_nothing_else() {
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    site.radius_client("switch", SECRET);
    let env = certificate(&site);
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    let daemon = site.serve_with(&env);
    let radius = Radius::new(daemon.radius, SECRET);
    radius.patience(Duration::from_secs(20));
    let mut peer = Peer { radius, sent: 0 };

    let longest = [&[LENGTH, 0xff, 0xff, 0xff, 0xff][..], &[0x16; 40]].concat();
    let shorter = [&[LENGTH, 0, 0, 0, 10][..], &[0x16; 40]].concat();
    for (what, kind, data) in [
        ("4 GiB are announced", TTLS, longest.as_slice()),
        ("more than was announced", TTLS, &shorter),
        ("more follow nothing", TTLS, &[MORE]),
        ("a length that is cut", TTLS, &[LENGTH, 0, 0]),
        ("no flags", TTLS, &[]),
        ("the other tunnel", PEAP, &[0, 0x16, 3, 1]),
        ("a method that was not offered", NAK, &[99]),
        ("two methods at once", MD5, &[16; 17]),
    ] {
        let first = peer.begun();
        assert_eq!(
            peer.answer(&first, kind, data).code,
            Code::AccessReject,
            "{what}"
        );
        // It is over: nothing goes on by its State.
        let late = peer.answer(&first, TTLS, &[0, 0x16, 3, 1]);
        assert_eq!(late.code, Code::AccessReject, "{what}");
    }

    // What is no TLS gets an alert at most.
    let mut turn = peer.begun();
    turn = peer.answer(&turn, TTLS, &[0, 0x16, 3, 1, 0, 5, 9, 9, 9, 9, 9]);
    if turn.code == Code::AccessChallenge {
        turn = peer.answer(&turn, TTLS, &[0]);
    }
    assert_eq!(turn.code, Code::AccessReject);

    // A length that changes between fragments.
    let turn = peer.begun();
    let part = [&[LENGTH | MORE, 0, 0, 1, 0][..], &[0x16; 100]].concat();
    let turn = peer.answer(&turn, TTLS, &part);
    assert_eq!(
        (turn.code, &turn.eap[4..]),
        (Code::AccessChallenge, &[TTLS, 0][..])
    );
    let other = [&[LENGTH | MORE, 0, 0, 2, 0][..], &[0x16; 100]].concat();
    assert_eq!(peer.answer(&turn, TTLS, &other).code, Code::AccessReject);

    // A fragment that comes again after the next was asked for: the request is sent again, nothing is added.
    let first = peer.begun();
    let next = peer.answer(&first, TTLS, &part);
    let again = peer.send(&next.state, &response(first.eap[1], TTLS, &part));
    assert_eq!(again.eap, next.eap);
    // One from the future is none.
    let future = response(next.eap[1].wrapping_add(1), TTLS, &part);
    assert_eq!(peer.send(&again.state, &future).code, Code::AccessReject);

    // No way back to a weaker method once TLS has begun.
    let first = peer.begun();
    let next = peer.answer(&first, TTLS, &part);
    assert_eq!(peer.answer(&next, NAK, &[MD5]).code, Code::AccessReject);

    // Fragments without end: 16 KiB at most.
    let mut turn = peer.begun();
    let part = [&[MORE][..], &[0x16; 1000]].concat();
    let taken = (0..70).take_while(|_| {
        turn = peer.answer(&turn, TTLS, &part);
        turn.code == Code::AccessChallenge
    });
    let taken = taken.count();
    assert!(
        (1..=16).contains(&taken),
        "{taken} fragments of 1000 octets"
    );

    // A person is let in all the same, and nothing was counted.
    assert_eq!(peer.radius.ask("alice", &hotp(0)), Some(Code::AccessAccept));
    let audit = site.json(&["audit", "list", "--user", "alice"]);
    assert_eq!(audit["records"][0]["reason"], "hotp_ok", "{audit}");
}
