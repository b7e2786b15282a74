//! Who has departed, and which address lies in which country: two tables that other systems write,
//! for overseas exemptions (capabilities C5).
//!
//! Threat: an exemption asks for less. So whatever is not known is not abroad and not departed.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use sha2::{Digest as _, Sha256};

use crate::model::user_key::UserKey;
use crate::policy::Exemption;
use crate::time::UnixTime;

/// Both tables; immutable, replaced whole.
#[derive(Clone, Debug, Default)]
pub struct Travel {
    departures: HashMap<UserKey, Vec<(UnixTime, Option<UnixTime>)>>,
    /// The narrowest networks first.
    countries: Vec<(IpNet, String)>,
    /// SHA-256 of the texts of both.
    hashes: [[u8; 32]; 2],
}

/// Which table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Table {
    /// Who has departed.
    Departures,
    /// Which network lies where.
    Countries,
}

/// A line of a table that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct TableError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl Travel {
    /// Reads both tables. `departures`: `user,departed,returned` with RFC 3339 times, `returned`
    /// empty while away. `countries`: `network,country`. Lines that begin with `#` are comments.
    pub fn parse(departures: &str, countries: &str) -> Result<Self, (Table, TableError)> {
        let hashes = [departures, countries].map(|text| Sha256::digest(text).into());
        let mut travel = Self {
            hashes,
            ..Self::default()
        };
        for (line, fields) in lines(departures) {
            let bad = |what| (Table::Departures, TableError { line, what });
            let [user, departed, rest @ ..] = fields.as_slice() else {
                return Err(bad("write user,departed,returned"));
            };
            let user = UserKey::parse(user).map_err(|_| bad("this is no user name"))?;
            let time = |text: &str| UnixTime::parse_rfc3339(text).ok_or(());
            let departed = time(departed).map_err(|()| bad("`departed` is no RFC 3339 time"))?;
            let returned = match rest {
                [] | [""] => None,
                [text] => Some(time(text).map_err(|()| bad("`returned` is no RFC 3339 time"))?),
                _ => return Err(bad("write user,departed,returned")),
            };
            let times = travel.departures.entry(user).or_default();
            times.push((departed, returned));
        }
        for (line, fields) in lines(countries) {
            let bad = |what| (Table::Countries, TableError { line, what });
            let [network, country] = fields.as_slice() else {
                return Err(bad("write network,country"));
            };
            let network: IpNet = network.parse().map_err(|_| bad("this is no network"))?;
            travel.countries.push((network, (*country).to_owned()));
        }
        // The narrowest network that holds an address is the one that counts.
        let width = |(network, _): &(IpNet, String)| std::cmp::Reverse(network.prefix_len());
        travel.countries.sort_by_key(width);
        Ok(travel)
    }

    /// SHA-256 of the tables of departures and countries.
    pub const fn hashes(&self) -> [[u8; 32]; 2] {
        self.hashes
    }

    /// Whether the user is on record as having left and not come back.
    pub fn departed(&self, user: &UserKey, at: UnixTime) -> bool {
        self.departures.get(user).is_some_and(|times| {
            times.iter().any(|(departed, returned)| {
                *departed <= at && returned.is_none_or(|returned| at < returned)
            })
        })
    }

    /// Whether the address is known to lie abroad.
    pub fn abroad(&self, home: &Exemption, source: Option<IpAddr>) -> bool {
        let country = source.and_then(|source| {
            let source = source.to_canonical();
            let mut countries = self.countries.iter();
            countries.find(|(network, _)| network.contains(&source))
        });
        home.abroad(country.map(|(_, country)| country.as_str()))
    }
}

fn lines(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    let lines = text.lines().enumerate();
    lines
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| (number, line.split(',').map(str::trim).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPARTURES: &str = "# from the border\nalice,2026-11-01T00:00:00Z,\n\
                              bob,2026-11-01T00:00:00Z,2026-11-20T09:00:00+09:00\n";
    const COUNTRIES: &str = "192.0.2.0/24,KR\n192.0.2.128/25,JP\n2001:db8::/32,US\n";

    fn at(text: &str) -> UnixTime {
        UnixTime::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn who_has_come_back_is_not_away() {
        let travel = Travel::parse(DEPARTURES, "").unwrap();
        let departed = |user: &str, time| travel.departed(&UserKey::parse(user).unwrap(), at(time));
        assert!(departed("alice", "2026-11-24T00:00:00Z"));
        assert!(!departed("alice", "2026-10-31T23:59:59Z"));
        assert!(departed("bob", "2026-11-19T23:59:59Z"));
        assert!(!departed("bob", "2026-11-20T00:00:00Z"));
        assert!(!departed("carol", "2026-11-24T00:00:00Z"));
    }

    #[test]
    fn the_narrowest_network_says_the_country_and_the_unknown_is_at_home() {
        let travel = Travel::parse("", COUNTRIES).unwrap();
        let home = Exemption {
            home: vec!["KR".parse().unwrap()],
        };
        let abroad = |address: &str| travel.abroad(&home, Some(address.parse().unwrap()));
        assert!(!abroad("192.0.2.1"));
        assert!(abroad("192.0.2.200") && abroad("::ffff:192.0.2.200") && abroad("2001:db8::1"));
        assert!(!abroad("198.51.100.1"), "unknown");
        assert!(!travel.abroad(&home, None));
        assert!(!travel.abroad(&Exemption::default(), Some("2001:db8::1".parse().unwrap())));
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = |departures, countries| {
            let (table, error) = Travel::parse(departures, countries).unwrap_err();
            (table, error.line)
        };
        assert_eq!(error("\nalice", ""), (Table::Departures, 2));
        assert_eq!(error("alice,monday,", ""), (Table::Departures, 1));
        assert_eq!(error("", "10.0.0.0/99,KR"), (Table::Countries, 1));
    }
}
