//! Sessions as a NAS reports them (RFC 2866): what a report makes of what is known.
//!
//! Invariant: reports of one session come to the same whatever their order and however often each
//! arrives. A NAS retransmits with a new Identifier and another Acct-Delay-Time (RFC 2866 s5.2), and
//! what it kept while no server answered arrives late.
//!
//! Accounting lets no user in and keeps none out: it is what a NAS says.

use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::model::id::RequestId;
use crate::secret::Key256;
use crate::time::UnixTime;

/// What names a session: Acct-Session-Id is unique on one NAS only, and one client may be a proxy of
/// several.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionKey {
    /// The RADIUS client that reports it.
    pub client: String,
    /// NAS-Identifier, else the NAS's address.
    pub nas: String,
    /// Acct-Session-Id.
    pub id: String,
}

/// A session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    /// Its name.
    pub key: SessionKey,
    /// The user, canonical; as sent when it is no name of ours.
    pub user: String,
    /// The login that began it, where the NAS returned the Class of the Access-Accept.
    pub login: Option<RequestId>,
    /// The User-Name as sent, where that is another text than `user`: a NAS knows its sessions by it.
    pub user_name: Option<String>,
    /// NAS-IP-Address, else NAS-IPv6-Address.
    pub nas_ip: Option<IpAddr>,
    /// Where the newest report came from: requests about the session go there.
    pub source: Option<IpAddr>,
    /// Calling-Station-Id: where the user is.
    pub calling_station: Option<String>,
    /// Framed-IP-Address: which address the user was given.
    pub framed_ip: Option<IpAddr>,
    /// When it began.
    pub started: UnixTime,
    /// Time of the newest report.
    pub updated: UnixTime,
    /// When it ended, if it has.
    pub ended: Option<UnixTime>,
    /// Acct-Terminate-Cause.
    pub cause: Option<u32>,
    /// What it used.
    pub usage: Usage,
}

/// What a session used up to some moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// Acct-Session-Time, in seconds.
    pub seconds: u64,
    /// Octets from the user.
    pub octets_in: u64,
    /// Octets to the user.
    pub octets_out: u64,
}

/// Acct-Status-Type of a report about one session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// Start.
    Start,
    /// Interim-Update.
    Interim,
    /// Stop.
    Stop,
}

/// What an Accounting-Request says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Accounting {
    /// About one session.
    Session(Box<Report>),
    /// A NAS begins or ends its accounting (Accounting-On, Accounting-Off): none of its sessions goes on.
    Nas {
        /// NAS-Identifier, else the NAS's address.
        nas: String,
        /// Whether it begins.
        on: bool,
        /// When.
        at: UnixTime,
    },
    /// Another Acct-Status-Type: of tunnels, of failures.
    Other {
        /// NAS-Identifier, else the NAS's address.
        nas: String,
        /// Its number.
        status: u32,
        /// Acct-Session-Id, if there is one.
        session: Option<String>,
        /// The user, as in a session.
        user: String,
    },
}

/// What an Accounting-Request says of one session: the session as it would be known by this report
/// alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// Which kind.
    pub status: Status,
    /// The rest. It is ended when this is a Stop.
    pub session: Session,
}

impl Report {
    /// What is known after it; `None`: nothing new.
    pub fn apply(self, known: Option<&Session>) -> Option<Session> {
        let Some(known) = known else {
            return Some(self.session);
        };
        match self.beside(known) {
            Beside::Earlier => None,
            Beside::Later => Some(self.session),
            Beside::Same => {
                let merged = merged(known, self.session);
                (merged != *known).then_some(merged)
            }
        }
    }

    /// Numbers begin anew with a restart of many a NAS: is it the session that is known by this name?
    fn beside(&self, known: &Session) -> Beside {
        let new = &self.session;
        // Request ids begin with the time.
        match (new.login, known.login) {
            (Some(new), Some(known)) if new > known => return Beside::Later,
            (Some(new), Some(known)) if new < known => return Beside::Earlier,
            (Some(_), Some(_)) => return Beside::Same,
            _ => {}
        }
        let after = known.ended.is_some_and(|ended| new.started > ended);
        if after && self.status == Status::Start {
            Beside::Later
        } else if new.ended.is_some_and(|ended| ended < known.started) {
            Beside::Earlier
        } else {
            Beside::Same
        }
    }
}

/// What a report is about, beside the session that is known by the same name.
enum Beside {
    /// One before it.
    Earlier,
    /// The same.
    Same,
    /// One after it.
    Later,
}

fn merged(known: &Session, new: Session) -> Session {
    let usage = Usage {
        seconds: known.usage.seconds.max(new.usage.seconds),
        octets_in: known.usage.octets_in.max(new.usage.octets_in),
        octets_out: known.usage.octets_out.max(new.usage.octets_out),
    };
    // Of two ends the first is true: what follows is a repetition.
    let (ended, cause) = match (known.ended, new.ended) {
        (Some(known_end), Some(new_end)) if new_end < known_end => (Some(new_end), new.cause),
        (Some(end), _) => (Some(end), known.cause),
        (None, end) => (end, new.cause),
    };
    let newer = new.updated > known.updated;
    Session {
        user: if known.user.is_empty() {
            new.user
        } else {
            known.user.clone()
        },
        login: known.login.or(new.login),
        user_name: newest(newer, known.user_name.clone(), new.user_name),
        source: newest(newer, known.source, new.source),
        nas_ip: newest(newer, known.nas_ip, new.nas_ip),
        calling_station: newest(newer, known.calling_station.clone(), new.calling_station),
        framed_ip: newest(newer, known.framed_ip, new.framed_ip),
        started: known.started.min(new.started),
        updated: known.updated.max(new.updated),
        ended,
        cause,
        usage,
        key: new.key,
    }
}

/// The value of the newer report, where it has one.
fn newest<T>(newer: bool, known: Option<T>, new: Option<T>) -> Option<T> {
    if newer { new.or(known) } else { known.or(new) }
}

/// The Class of an Access-Accept: the login's id, with a MAC that binds it to the client and the user, so
/// that no NAS claims the login of another.
pub fn class(key: &ClassKey, login: RequestId, client: &str, user: &str) -> Class {
    let mac = key.mac(login, client, user);
    let mut class = [0; _];
    let (name, proof) = class.split_at_mut(RequestId::LENGTH);
    name.copy_from_slice(&login.text());
    data_encoding::BASE32_NOPAD.encode_mut(&mac[..PROOF], proof);
    class
}

/// A Class as it is sent, in ASCII.
pub type Class = [u8; RequestId::LENGTH + PROOF / 5 * 8];

/// Octets of the MAC that a Class has.
const PROOF: usize = 10;

/// What makes Classes. It was fed its key before: that is half of the work for one as short.
#[derive(Clone)]
pub struct ClassKey(Hmac<Sha256>);

impl ClassKey {
    /// From the key of this purpose.
    #[allow(clippy::expect_used)] // HMAC takes keys of any length
    pub fn new(key: &Key256) -> Self {
        Self(Hmac::new_from_slice(key.expose()).expect("any length of key"))
    }

    fn mac(&self, login: RequestId, client: &str, user: &str) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(&login.to_bytes());
        // Neither name has this octet.
        for part in [client, user] {
            mac.update(part.as_bytes());
            mac.update(&[0]);
        }
        mac.finalize().into_bytes().into()
    }
}

/// The login that a Class names, when it is ours and of this client and user.
pub fn login_of(key: &ClassKey, sent: &[u8], client: &str, user: &str) -> Option<RequestId> {
    let login = std::str::from_utf8(sent.get(..RequestId::LENGTH)?)
        .ok()?
        .parse()
        .ok()?;
    let right = class(key, login, client, user);
    bool::from(right.as_slice().ct_eq(sent)).then_some(login)
}

/// The word of an Acct-Terminate-Cause (RFC 2866 s5.10).
pub const fn cause_word(cause: u32) -> Option<&'static str> {
    Some(match cause {
        1 => "user_request",
        2 => "lost_carrier",
        3 => "lost_service",
        4 => "idle_timeout",
        5 => "session_timeout",
        6 => "admin_reset",
        7 => "admin_reboot",
        8 => "port_error",
        9 => "nas_error",
        10 => "nas_request",
        NAS_REBOOT => "nas_reboot",
        12 => "port_unneeded",
        13 => "port_preempted",
        14 => "port_suspended",
        15 => "service_unavailable",
        16 => "callback",
        17 => "user_error",
        18 => "host_request",
        _ => return None,
    })
}

/// Acct-Terminate-Cause of sessions that ended with their NAS.
pub const NAS_REBOOT: u32 = 11;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report(status: Status, at: u64, seconds: u64) -> Report {
        let time = |seconds| UnixTime::from_millis(seconds * 1_000);
        Report {
            status,
            session: Session {
                key: SessionKey {
                    client: "vpn".into(),
                    nas: "gate".into(),
                    id: "0001".into(),
                },
                user: "alice@default".into(),
                login: None,
                user_name: None,
                nas_ip: None,
                source: None,
                calling_station: None,
                framed_ip: None,
                started: time(at - seconds),
                updated: time(at),
                ended: (status == Status::Stop).then(|| time(at)),
                cause: (status == Status::Stop).then_some(1),
                usage: Usage {
                    seconds,
                    octets_in: seconds * 10,
                    octets_out: seconds * 100,
                },
            },
        }
    }

    fn fold(reports: &[Report]) -> Option<Session> {
        reports.iter().fold(None, |known, report| {
            report.clone().apply(known.as_ref()).or(known)
        })
    }

    fn all() -> Vec<Report> {
        vec![
            report(Status::Start, 1_000, 0),
            report(Status::Interim, 1_300, 300),
            report(Status::Interim, 1_600, 600),
            report(Status::Stop, 1_700, 700),
        ]
    }

    proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(
            order in Just(all()).prop_shuffle(),
            again in proptest::collection::vec(0..4_usize, 0..6),
        ) {
            let mut reports = order;
            for index in again {
                reports.push(reports[index].clone());
            }
            prop_assert_eq!(fold(&reports), fold(&all()));
        }
    }

    #[test]
    fn a_stop_that_arrives_alone_is_a_whole_session() {
        let session = fold(&[report(Status::Stop, 1_700, 700)]).unwrap();
        assert_eq!(session.started, UnixTime::from_millis(1_000_000));
        assert_eq!(session.ended, Some(UnixTime::from_millis(1_700_000)));
    }

    #[test]
    fn what_is_known_is_nothing_new() {
        let known = fold(&all());
        for report in all() {
            assert_eq!(report.apply(known.as_ref()), None);
        }
    }

    #[test]
    fn a_name_that_is_used_again_is_another_session() {
        let known = fold(&all());
        let again = report(Status::Start, 9_000, 0);
        let session = again.apply(known.as_ref()).unwrap();
        assert_eq!((session.ended, session.usage), (None, Usage::default()));
    }

    #[test]
    fn another_login_is_another_session_even_without_a_stop() {
        let with = |at: u64, mut report: Report| {
            report.session.login = Some(RequestId::new(UnixTime::from_millis(at), [0; 10]));
            report
        };
        let known = fold(&[with(1, report(Status::Start, 1_000, 0))]);
        let stop = with(1, report(Status::Stop, 1_700, 700));
        assert!(stop.apply(known.as_ref()).unwrap().ended.is_some());
        let next = with(2, report(Status::Interim, 2_000, 10));
        let next = next.apply(known.as_ref()).unwrap();
        assert_eq!(next.started, UnixTime::from_millis(1_990_000));
        // What was late of the one before changes nothing of it.
        let late = with(1, report(Status::Stop, 1_700, 700));
        assert_eq!(late.apply(Some(&next)), None);
    }
}
