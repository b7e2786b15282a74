//! Who has departed, and which address lies in which country: two tables that other systems write,
//! for overseas exemptions (CAPABILITIES row C5).
//!
//! Threat: an exemption asks for less. So whatever is not known is not abroad and not departed.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::user_key::UserKey;
use crate::policy::Exemption;
use crate::time::UnixTime;

/// Both tables; immutable, replaced whole.
#[derive(Clone, Debug, Default)]
pub struct Travel {
    departures: HashMap<UserKey, Vec<(UnixTime, Option<UnixTime>)>>,
    /// By first address, without overlaps among the same prefix length.
    countries: Vec<(IpNet, String)>,
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
    pub fn parse(departures: &str, countries: &str) -> Result<Self, (bool, TableError)> {
        let mut travel = Self::default();
        for (line, fields) in lines(departures) {
            let bad = |what| (true, TableError { line, what });
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
            let bad = |what| (false, TableError { line, what });
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
