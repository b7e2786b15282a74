//! Shares of connections: what one subscriber may take of the places that all have.
//!
//! Threats T20: one host, or one network of a home, that opens all the connections there are.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

/// Open connections by where they come from: for strangers [`Source::site`](crate::model::source::Source::site),
/// for those who have shown who they are their address.
#[derive(Debug)]
pub(crate) struct Shares<K>(Mutex<HashMap<K, usize>>);

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// A connection's share; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share<K: Eq + Hash> {
    shares: Arc<Shares<K>>,
    of: K,
}

impl<K: Copy + Eq + Hash> Shares<K> {
    /// A share for one more connection from there, unless there are `most` already.
    pub(crate) fn share(self: &Arc<Self>, of: K, most: usize) -> Option<Share<K>> {
        let mut open = self.0.lock().expect(UNPOISONED);
        let count = open.get(&of).copied().unwrap_or_default();
        if count >= most {
            return None;
        }
        open.insert(of, count + 1);
        Some(Share {
            shares: Arc::clone(self),
            of,
        })
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut open = self.shares.0.lock().expect(UNPOISONED);
        if let Some(count) = open.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.of);
            }
        }
    }
}

const UNPOISONED: &str = "no panic while the lock is held";

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::model::source::Source;

    fn source(address: &str) -> Source {
        Source::from(address.parse::<IpAddr>().unwrap()).site()
    }

    #[test]
    fn an_address_has_its_share_and_gives_it_back() {
        let addresses = Arc::new(Shares::default());
        let (here, there) = (source("192.0.2.1"), source("192.0.2.2"));
        let first = addresses.share(here, 2);
        let second = addresses.share(here, 2);
        assert!(first.is_some() && second.is_some());
        assert!(addresses.share(here, 2).is_none());
        assert!(addresses.share(there, 2).is_some());
        drop(second);
        assert!(addresses.share(here, 2).is_some());
        drop(first);
        assert!(addresses.0.lock().unwrap().is_empty());
    }

    #[test]
    fn the_networks_of_a_home_are_one_address() {
        let addresses = Arc::new(Shares::default());
        let share = |address: &str| addresses.share(source(address), 1);
        let first = share("2001:db8:1:200::1");
        assert!(first.is_some());
        assert!(share("2001:db8:1:200:ffff:ffff:ffff:ffff").is_none());
        assert!(share("2001:db8:1:2ff::1").is_none());
        assert!(share("2001:db8:1:300::1").is_some());
        let mapped = share("::ffff:192.0.2.1");
        assert!(mapped.is_some() && share("192.0.2.1").is_none());
    }
}
