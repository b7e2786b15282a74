//! The rules one by one, then any sequence of events against a naive model.
#![allow(clippy::cast_possible_truncation)]

use proptest::prelude::*;

use super::*;

fn key(host: u8, identifier: u8) -> Key {
    Key {
        listener: 0,
        source: SocketAddr::from(([10, 0, 0, host], 1645)),
        identifier,
        code: Code::AccessRequest,
    }
}

fn request(n: u8) -> Fingerprint {
    Fingerprint([n; 32])
}

fn at(secs: u64) -> UnixTime {
    UnixTime::from_secs(1_000_000 + secs)
}

fn reply(n: u8) -> Arc<[u8]> {
    Arc::from([n; 20])
}

fn new(begin: Begin) -> Ticket {
    match begin {
        Begin::New(ticket) => ticket,
        other => panic!("expected New, got {other:?}"),
    }
}

/// A key that was answered with `reply(n)`.
fn answered(cache: &mut Duplicates, key: Key, n: u8, now: UnixTime) {
    let ticket = new(cache.begin(key, request(n), now));
    assert_eq!(cache.finish(ticket, reply(n), now), Finish::Current);
}

fn resent(begin: Begin) -> u8 {
    match begin {
        Begin::Resend(octets) => octets[0],
        other => panic!("expected Resend, got {other:?}"),
    }
}

#[test]
fn rfc5080_2_2_2_same_answer_without_working_twice() {
    let mut cache = Duplicates::new(Limits::default());
    let ticket = new(cache.begin(key(1, 1), request(1), at(0)));
    assert!(matches!(
        cache.begin(key(1, 1), request(1), at(1)),
        Begin::InFlight
    ));
    assert_eq!(cache.finish(ticket, reply(1), at(2)), Finish::Current);
    assert_eq!(resent(cache.begin(key(1, 1), request(1), at(2))), 1);
    assert_eq!(resent(cache.begin(key(1, 1), request(1), at(31))), 1);
    let _ = new(cache.begin(key(1, 1), request(1), at(32)));
}

#[test]
fn every_part_of_the_key_tells_requests_apart() {
    let mut cache = Duplicates::new(Limits::default());
    let base = key(1, 1);
    answered(&mut cache, base, 1, at(0));
    for other in [
        Key {
            listener: 1,
            ..base
        },
        Key {
            source: SocketAddr::from(([10, 0, 0, 1], 1646)),
            ..base
        },
        Key {
            identifier: 2,
            ..base
        },
        Key {
            code: Code::StatusServer,
            ..base
        },
    ] {
        let _ = new(cache.begin(other, request(1), at(0)));
    }
    assert_eq!(resent(cache.begin(base, request(1), at(0))), 1);
}

#[test]
fn rfc5080_2_2_2_another_request_replaces_the_answer() {
    let mut cache = Duplicates::new(Limits::default());
    answered(&mut cache, key(1, 1), 1, at(0));
    let ticket = new(cache.begin(key(1, 1), request(2), at(1)));
    assert!(matches!(
        cache.begin(key(1, 1), request(2), at(1)),
        Begin::InFlight
    ));
    assert_eq!(cache.finish(ticket, reply(2), at(1)), Finish::Current);
    assert_eq!(resent(cache.begin(key(1, 1), request(2), at(1))), 2);
}

#[test]
fn overtaken_work_answers_nothing() {
    let mut cache = Duplicates::new(Limits::default());
    let old = new(cache.begin(key(1, 1), request(1), at(0)));
    let young = new(cache.begin(key(1, 1), request(2), at(1)));
    assert_eq!(cache.finish(old, reply(1), at(2)), Finish::Stale);
    assert!(matches!(
        cache.begin(key(1, 1), request(2), at(2)),
        Begin::InFlight
    ));
    assert_eq!(cache.finish(young, reply(2), at(3)), Finish::Current);
    assert_eq!(resent(cache.begin(key(1, 1), request(2), at(3))), 2);
}

#[test]
fn overtaken_work_abandons_nothing() {
    let mut cache = Duplicates::new(Limits::default());
    let old = new(cache.begin(key(1, 1), request(1), at(0)));
    let _young = new(cache.begin(key(1, 1), request(2), at(0)));
    cache.abandon(old);
    assert!(matches!(
        cache.begin(key(1, 1), request(2), at(0)),
        Begin::InFlight
    ));
}

#[test]
fn abandoned_request_is_tried_again() {
    let mut cache = Duplicates::new(Limits::default());
    let ticket = new(cache.begin(key(1, 1), request(1), at(0)));
    cache.abandon(ticket);
    assert!(cache.is_empty());
    let _ = new(cache.begin(key(1, 1), request(1), at(1)));
}

#[test]
fn hanging_work_loses_its_place_and_its_voice() {
    let mut cache = Duplicates::new(Limits::default());
    let old = new(cache.begin(key(1, 1), request(1), at(0)));
    assert!(matches!(
        cache.begin(key(1, 1), request(1), at(59)),
        Begin::InFlight
    ));
    let young = new(cache.begin(key(1, 1), request(1), at(60)));
    assert_eq!(cache.finish(old, reply(1), at(61)), Finish::Stale);
    assert_eq!(cache.finish(young, reply(2), at(61)), Finish::Current);
    let late = new(cache.begin(key(1, 2), request(1), at(61)));
    assert_eq!(cache.finish(late, reply(3), at(121)), Finish::Stale);
}

#[test]
fn answer_at_half_time_outlives_the_first_reminder() {
    // The reminder made by `begin` and the one made by `finish` then have the same deadline.
    let mut cache = Duplicates::new(Limits::default());
    let ticket = new(cache.begin(key(1, 1), request(1), at(0)));
    assert_eq!(cache.finish(ticket, reply(1), at(30)), Finish::Current);
    assert_eq!(resent(cache.begin(key(1, 1), request(1), at(59))), 1);
    let _ = new(cache.begin(key(1, 1), request(1), at(60)));
}

#[test]
fn full_cache_evicts_the_oldest_answer_and_never_work() {
    let mut cache = Duplicates::new(Limits {
        entries: 3,
        per_source: 3,
    });
    let work = new(cache.begin(key(1, 1), request(1), at(0)));
    answered(&mut cache, key(2, 2), 2, at(1));
    answered(&mut cache, key(3, 3), 3, at(2));
    let _more = new(cache.begin(key(4, 4), request(4), at(3)));
    assert_eq!(resent(cache.begin(key(3, 3), request(3), at(3))), 3);
    let _still_more = new(cache.begin(key(5, 5), request(5), at(3)));
    assert!(matches!(
        cache.begin(key(6, 6), request(6), at(3)),
        Begin::Overload
    ));
    assert_eq!(cache.len(), 3);
    assert_eq!(cache.finish(work, reply(1), at(4)), Finish::Current);
    let _ = new(cache.begin(key(6, 6), request(6), at(4)));
}

#[test]
fn one_source_cannot_crowd_out_the_others() {
    let mut cache = Duplicates::new(Limits {
        entries: 100,
        per_source: 2,
    });
    answered(&mut cache, key(9, 0), 9, at(0));
    for n in 1..=50 {
        answered(&mut cache, key(1, n), n, at(1));
    }
    assert_eq!(cache.len(), 3);
    assert_eq!(resent(cache.begin(key(9, 0), request(9), at(1))), 9);
    assert_eq!(resent(cache.begin(key(1, 49), request(49), at(1))), 49);
    let _one = new(cache.begin(key(1, 101), request(1), at(1)));
    let _two = new(cache.begin(key(1, 102), request(1), at(1)));
    assert!(matches!(
        cache.begin(key(1, 103), request(1), at(1)),
        Begin::Overload
    ));
    let _ = new(cache.begin(key(2, 1), request(1), at(1)));
}

#[test]
fn replacing_one_entry_for_ever_does_not_grow_memory() {
    let mut cache = Duplicates::new(Limits::default());
    for n in 0..20_000_u32 {
        answered(&mut cache, key(1, 1), n as u8, at(0));
    }
    let queues = [&cache.in_flight, &cache.answered];
    assert!(
        queues
            .iter()
            .all(|queue| queue.items.len() <= 2 * SWEEP_MIN)
    );
    assert_eq!(cache.len(), 1);
}

/// What the cache promises, written down as slowly as possible.
#[derive(Default)]
struct Model(Vec<(Key, u8, u64, UnixTime, Option<u8>)>);

#[derive(Debug, PartialEq)]
enum Answer {
    New,
    InFlight,
    Resend(u8),
}

impl Model {
    fn begin(&mut self, key: Key, request: u8, serial: u64, now: UnixTime) -> Answer {
        self.0.retain(|entry| entry.3 > now);
        if let Some(entry) = self
            .0
            .iter()
            .find(|entry| entry.0 == key && entry.1 == request)
        {
            return entry.4.map_or(Answer::InFlight, Answer::Resend);
        }
        self.0.retain(|entry| entry.0 != key);
        self.0
            .push((key, request, serial, now.plus(IN_FLIGHT_LIFETIME), None));
        Answer::New
    }

    fn finish(&mut self, serial: u64, reply: u8, now: UnixTime) -> Finish {
        self.0.retain(|entry| entry.3 > now);
        match self.0.iter_mut().find(|entry| entry.2 == serial) {
            Some(entry) => {
                (entry.3, entry.4) = (now.plus(REPLY_LIFETIME), Some(reply));
                Finish::Current
            }
            None => Finish::Stale,
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Begin {
        host: u8,
        identifier: u8,
        request: u8,
    },
    Finish {
        which: usize,
        reply: u8,
    },
    Abandon {
        which: usize,
    },
    Wait {
        secs: u64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..3_u8, 0..3_u8, 0..3_u8).prop_map(|(host, identifier, request)| {
            Event::Begin { host, identifier, request }
        }),
        3 => (any::<usize>(), any::<u8>()).prop_map(|(which, reply)| Event::Finish { which, reply }),
        1 => any::<usize>().prop_map(|which| Event::Abandon { which }),
        2 => (0..40_u64).prop_map(|secs| Event::Wait { secs }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn agrees_with_a_naive_model(events in prop::collection::vec(event(), 1..120)) {
        let (mut cache, mut model) = (Duplicates::new(Limits::default()), Model::default());
        let (mut now, mut serial) = (at(0), 0);
        let mut tickets: Vec<(Ticket, u64)> = Vec::new();
        for event in events {
            match event {
                Event::Begin { host, identifier, request: n } => {
                    serial += 1;
                    let key = key(host, identifier);
                    let answer = match cache.begin(key, request(n), now) {
                        Begin::New(ticket) => {
                            tickets.push((ticket, serial));
                            Answer::New
                        }
                        Begin::InFlight => Answer::InFlight,
                        Begin::Resend(octets) => Answer::Resend(octets[0]),
                        Begin::Overload => unreachable!("far below the limits"),
                    };
                    prop_assert_eq!(answer, model.begin(key, n, serial, now));
                }
                Event::Finish { which, reply: n } if !tickets.is_empty() => {
                    let (ticket, serial) = tickets.swap_remove(which % tickets.len());
                    let finish = cache.finish(ticket, reply(n), now);
                    prop_assert_eq!(finish, model.finish(serial, n, now));
                }
                Event::Abandon { which } if !tickets.is_empty() => {
                    let (ticket, serial) = tickets.swap_remove(which % tickets.len());
                    cache.abandon(ticket);
                    model.0.retain(|entry| entry.2 != serial);
                }
                Event::Wait { secs } => now = now.plus(Duration::from_secs(secs)),
                Event::Finish { .. } | Event::Abandon { .. } => {}
            }
        }
    }

    #[test]
    fn limits_hold_and_work_is_never_evicted(
        requests in prop::collection::vec((0..4_u8, any::<u8>(), any::<bool>()), 1..200),
    ) {
        let limits = Limits { entries: 12, per_source: 5 };
        let mut cache = Duplicates::new(limits);
        let mut work = Vec::new();
        for (host, identifier, answer) in requests {
            let key = key(host, identifier);
            if let Begin::New(ticket) = cache.begin(key, request(0), at(0)) {
                if answer {
                    prop_assert_eq!(cache.finish(ticket, reply(0), at(0)), Finish::Current);
                } else {
                    work.push(ticket);
                }
            }
            prop_assert!(cache.len() <= limits.entries);
            prop_assert!(cache.sources.values().all(|source| source.entries <= limits.per_source));
            let counted: usize = cache.sources.values().map(|source| source.entries).sum();
            prop_assert_eq!(counted, cache.len());
        }
        for ticket in work {
            prop_assert_eq!(cache.finish(ticket, reply(1), at(1)), Finish::Current);
        }
    }
}
