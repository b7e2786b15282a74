//! Fair shares: requests of one key, tries of those who have none.
//!
//! Threats T20: one application whose loop of failed requests fills the queue and the audit trail for all; a
//! stranger who does the same at a form that needs no key. Each such form has tries of its own: a flood at one does not close the others.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::source::Source;

/// Requests by client, as a virtual schedule: when the client's requests, each taking its even
/// share of a second, would be done. Who is more than a second ahead waits.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<HashMap<String, Instant>>);

impl Rates {
    /// Takes a request into account; whether it may be served. Who is refused waits a second at most.
    pub(crate) fn take(&self, client: &str, per_second: u32, now: Instant) -> bool {
        let mut rates = self.0.lock().expect(UNPOISONED);
        let busy_until = rates.get(client).copied().unwrap_or(now).max(now);
        let ahead = busy_until - now;
        let each = Duration::from_secs(1) / per_second.max(1);
        let within = ahead + each <= Duration::from_secs(1);
        if within {
            rates.insert(client.to_owned(), busy_until + each);
        }
        within
    }
}

/// Tries by address and in all, as [`Rates`] but by the minute: an attacker who tries codes has no
/// key that names them.
#[derive(Debug)]
pub(crate) struct Tries {
    busy: Mutex<Busy>,
    /// An address's share of a minute for one.
    each: Duration,
    /// The share of one in all.
    each_in_all: Duration,
}

#[derive(Debug, Default)]
struct Busy {
    /// By [`Source::site`].
    by_address: HashMap<Source, Instant>,
    in_all: Option<Instant>,
}

impl Tries {
    fn new(each: Duration, each_in_all: Duration) -> Self {
        Self {
            busy: Mutex::default(),
            each,
            each_in_all,
        }
    }

    /// Codes of devices.
    pub(crate) fn of_devices() -> Self {
        Self::new(EACH_ENROLMENT, EACH_IN_ALL)
    }

    /// Codes of links, which are too long to be guessed: the limit is one of load.
    pub(crate) fn of_links() -> Self {
        Self::new(EACH_LINK, EACH_LINK_IN_ALL)
    }

    /// Passwords and codes of people who sign in: the limit of an address is as for devices, the one in all is of load.
    pub(crate) fn of_sign_ins() -> Self {
        Self::new(EACH_SIGN_IN, EACH_SIGN_IN_IN_ALL)
    }

    /// Takes a try into account; whether it may be looked at. Who is refused takes nothing from
    /// others. Of IPv6 a /56 is one address.
    pub(crate) fn take(&self, from: Option<Source>, now: Instant) -> bool {
        let from = from.map(Source::site);
        let mut busy = self.busy.lock().expect(UNPOISONED);
        let in_all = busy.in_all.unwrap_or(now).max(now);
        if !within(in_all, self.each_in_all, now) {
            return false;
        }
        if let Some(from) = from {
            let known = &mut busy.by_address;
            if known.len() >= ADDRESSES {
                known.retain(|_, until| *until > now);
            }
            if known.len() >= ADDRESSES && !known.contains_key(&from) {
                return false;
            }
            let until = known.get(&from).copied().unwrap_or(now).max(now);
            if !within(until, self.each, now) {
                return false;
            }
            known.insert(from, until + self.each);
        }
        busy.in_all = Some(in_all + self.each_in_all);
        true
    }
}

/// Whether one more is done within a minute.
fn within(busy_until: Instant, each: Duration, now: Instant) -> bool {
    busy_until - now + each <= Duration::from_mins(1)
}

/// An address's share of a minute for one enrolment: 30 at once, as an office behind one address on
/// its first day, then one every two seconds. The limits on guessing are the lockout's.
const EACH_ENROLMENT: Duration = Duration::from_secs(2);
/// The share of one enrolment in all: 600 at once, then ten a second.
const EACH_IN_ALL: Duration = Duration::from_millis(100);
/// The same for a link: 600 at once, as a whole office that was sent links by one mail, then ten a second.
const EACH_LINK: Duration = Duration::from_millis(100);
/// 3,000 at once, then 50 a second.
const EACH_LINK_IN_ALL: Duration = Duration::from_millis(20);
/// The same for a sign-in: 30 at once, then one every two seconds.
const EACH_SIGN_IN: Duration = Duration::from_secs(2);
/// 3,000 at once, then 50 a second: less than a hundred addresses do not reach it.
const EACH_SIGN_IN_IN_ALL: Duration = Duration::from_millis(20);
/// Addresses remembered: who comes from more of them a minute is not served.
const ADDRESSES: usize = 10_000;
const UNPOISONED: &str = "no panic while the lock is held";

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn source(address: &str) -> Source {
        Source::from(address.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn an_address_enrols_so_many_a_minute_and_is_forgotten() {
        let enrolments = Tries::of_devices();
        let now = Instant::now();
        let from = |last: u8| Some(source(&format!("192.0.2.{last}")));
        let taken = (0..100).filter(|_| enrolments.take(from(1), now)).count();
        assert_eq!(taken, 30);
        assert!(enrolments.take(from(2), now), "another address");
        assert!(enrolments.take(from(1), now + EACH_ENROLMENT));
        let known = || enrolments.busy.lock().unwrap().by_address.len();
        for number in 0..ADDRESSES as u64 * 2 {
            let address = IpAddr::from((u128::from(number) << 72).to_be_bytes());
            // One by one: what is tested is the memory of addresses, not the limit in all.
            enrolments.busy.lock().unwrap().in_all = None;
            enrolments.take(Some(Source::from(address)), now);
        }
        assert_eq!(known(), ADDRESSES);
        assert!(enrolments.take(from(3), now + Duration::from_mins(2)));
        assert_eq!(known(), 1);
    }

    #[test]
    fn so_many_enrol_in_all_however_many_addresses_they_have() {
        let enrolments = Tries::of_devices();
        let now = Instant::now();
        let each = |number: u64| IpAddr::from((u128::from(number) << 72).to_be_bytes());
        let taken = (0..2000).filter(|number| enrolments.take(Some(each(*number).into()), now));
        assert_eq!(taken.count(), 600);
        assert!(!enrolments.take(None, now));
        assert!(enrolments.take(None, now + EACH_IN_ALL));
    }

    #[test]
    fn a_sign_in_has_its_limit_by_address_and_a_high_one_in_all() {
        let (tries, now) = (Tries::of_sign_ins(), Instant::now());
        let of = |number: u8| Some(source(&format!("192.0.2.{number}")));
        let taken = (0..1000).filter(|_| tries.take(of(1), now));
        assert_eq!(taken.count(), 30);
        // A network of strangers leaves room for the people.
        for number in 2..=90 {
            assert_eq!((0..40).filter(|_| tries.take(of(number), now)).count(), 30);
        }
        assert!(tries.take(of(200), now));
        assert!(tries.take(of(1), now + EACH_SIGN_IN));
    }

    #[test]
    fn the_networks_of_a_home_are_one_address() {
        let (tries, now) = (Tries::of_sign_ins(), Instant::now());
        let of = |home: u8, number: u8| source(&format!("2001:db8:1:{home:x}{number:02x}::1"));
        let taken = (0..=255).filter(|number| tries.take(Some(of(1, *number)), now));
        assert_eq!(taken.count(), 30);
        assert!(tries.take(Some(of(2, 0)), now));
    }

    #[test]
    fn a_client_is_held_to_its_rate_and_others_are_not() {
        let rates = Rates::default();
        let now = Instant::now();
        let taken = (0..100).filter(|_| rates.take("app", 10, now));
        assert_eq!(taken.count(), 10, "a second's worth at once");
        assert!(rates.take("other", 10, now));
        let later = now + Duration::from_millis(500);
        let taken = (0..100).filter(|_| rates.take("app", 10, later));
        assert_eq!(taken.count(), 5);
    }
}
