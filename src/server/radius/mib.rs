//! A client's counters under the names of the MIBs: RFC 4669 (authentication), RFC 4671 (accounting).
//!
//! What the MIBs call malformed, badly authenticated, of an unknown type or dropped is told apart here, once,
//! from our own words.

use crate::radius::Discard;
use crate::server::radius::counters::{Counters, Event, PeerCounters, header, line};
use crate::server::radius::udp::Serves;

/// What a discarded packet is called.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Class {
    Malformed,
    BadAuthenticator,
    UnknownType,
    Duplicate,
    Dropped,
}

const fn class(discard: Discard) -> Class {
    match discard {
        Discard::TooShort
        | Discard::BadLength
        | Discard::MalformedAttribute
        | Discard::TooManyAttributes
        | Discard::DuplicateMessageAuthenticator
        | Discard::StatusServerWithCredentials
        | Discard::BadUserPasswordLength
        | Discard::IncompleteAccounting => Class::Malformed,
        Discard::BadMessageAuthenticator
        | Discard::MissingMessageAuthenticator
        | Discard::ProxyStateWithoutMessageAuthenticator
        | Discard::BadRequestAuthenticator
        | Discard::BadResponseAuthenticator
        | Discard::UnexpectedIdentifier => Class::BadAuthenticator,
        Discard::UnexpectedCode => Class::UnknownType,
        Discard::DuplicateInFlight => Class::Duplicate,
        Discard::Overload | Discard::UnknownClient => Class::Dropped,
    }
}

/// Appends them in the `OpenMetrics` text format.
pub(super) fn write_prometheus(counters: &Counters, out: &mut String) {
    header(
        out,
        "oncegate_radius_mib_total",
        "A client's packets by the objects of RFC 4669 and RFC 4671.",
    );
    for (name, peer) in counters.peers() {
        for (object, count) in columns(&peer) {
            line(
                out,
                format_args!(
                    "oncegate_radius_mib_total{{client=\"{name}\",object=\"{object}\"}} {count}"
                ),
            );
        }
    }
}

/// The columns of radiusAuthClientExtTable and radiusAccClientExtTable for a client, in their order.
pub(super) fn columns(counters: &PeerCounters) -> [(&'static str, u64); 17] {
    let discarded = |serves, wanted: Class| {
        let all = Discard::ALL.iter().filter(|one| class(**one) == wanted);
        let counts = all.map(|one| counters.discards_of(serves, *one));
        counts.sum::<u64>()
    };
    let event = |serves, event| counters.events_of(serves, event);
    let dropped = |serves| {
        let events = [
            Event::Undecided,
            Event::Superseded,
            Event::RejectQueueFull,
            Event::StoreFault,
        ];
        let events = events.into_iter().map(|one| event(serves, one));
        events.sum::<u64>() + discarded(serves, Class::Dropped)
    };
    let again = |serves| event(serves, Event::Resent) + discarded(serves, Class::Duplicate);
    let (auth, acct) = (Serves::Authentication, Serves::Accounting);
    let bad = Class::BadAuthenticator;
    [
        (
            "radiusAuthServExtAccessRequests",
            counters.received_of(auth),
        ),
        ("radiusAuthServExtDupAccessRequests", again(auth)),
        ("radiusAuthServExtAccessAccepts", event(auth, Event::Accept)),
        ("radiusAuthServExtAccessRejects", event(auth, Event::Reject)),
        (
            "radiusAuthServExtAccessChallenges",
            event(auth, Event::Challenge),
        ),
        (
            "radiusAuthServExtMalformedAccessRequests",
            discarded(auth, Class::Malformed),
        ),
        ("radiusAuthServExtBadAuthenticators", discarded(auth, bad)),
        ("radiusAuthServExtPacketsDropped", dropped(auth)),
        (
            "radiusAuthServExtUnknownTypes",
            discarded(auth, Class::UnknownType),
        ),
        ("radiusAccServExtPacketsDropped", dropped(acct)),
        ("radiusAccServExtRequests", counters.received_of(acct)),
        ("radiusAccServExtDupRequests", again(acct)),
        ("radiusAccServExtResponses", event(acct, Event::Accounting)),
        ("radiusAccServExtBadAuthenticators", discarded(acct, bad)),
        (
            "radiusAccServExtMalformedRequests",
            discarded(acct, Class::Malformed),
        ),
        // An answer leaves only when the report is on record.
        ("radiusAccServExtNoRecords", 0),
        (
            "radiusAccServExtUnknownTypes",
            discarded(acct, Class::UnknownType),
        ),
    ]
}
