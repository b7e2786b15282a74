//! Which client a source address belongs to: the longest configured prefix wins.
//!
//! RFC 2865 s3: the secret is chosen by the source address of the datagram, never by
//! NAS-IP-Address, which any sender can write into a packet.
//!
//! Invariants: an address is looked up in its IPv4 form if it has one, so a dual-stack socket's
//! `::ffff:a.b.c.d` and `a.b.c.d` are the same client; no two entries are the same network.
//!
//! One hash table per prefix length, longest first: a table of single hosts costs one look-up.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::client::canonical_network;

/// Networks and what belongs to them.
#[derive(Clone, Debug)]
pub struct PrefixTable<T> {
    entries: Vec<T>,
    v4: Family<u32>,
    v6: Family<u128>,
}

/// Two entries are exactly the same network.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the network {0} is given twice")]
pub struct DuplicateNetwork(pub IpNet);

impl<T> PrefixTable<T> {
    /// Builds the table; host bits of the networks are ignored.
    ///
    /// # Errors
    /// [`DuplicateNetwork`]: the operator must say which one is meant.
    pub fn new(networks: Vec<(IpNet, T)>) -> Result<Self, DuplicateNetwork> {
        let mut table = Self {
            entries: Vec::with_capacity(networks.len()),
            v4: Family(Vec::new()),
            v6: Family(Vec::new()),
        };
        for (network, entry) in networks {
            let index = table.entries.len();
            let fresh = match canonical_network(network) {
                IpNet::V4(net) => {
                    table
                        .v4
                        .insert(net.network().to_bits(), net.netmask().to_bits(), index)
                }
                IpNet::V6(net) => {
                    table
                        .v6
                        .insert(net.network().to_bits(), net.netmask().to_bits(), index)
                }
            };
            if !fresh {
                return Err(DuplicateNetwork(network));
            }
            table.entries.push(entry);
        }
        Ok(table)
    }

    /// What the longest prefix containing the address belongs to.
    pub fn lookup(&self, address: IpAddr) -> Option<&T> {
        let index = match address.to_canonical() {
            IpAddr::V4(address) => self.v4.lookup(address.to_bits()),
            IpAddr::V6(address) => self.v6.lookup(address.to_bits()),
        }?;
        self.entries.get(index)
    }

    /// All entries, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter()
    }
}

/// No client: every look-up fails.
impl<T> Default for PrefixTable<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            v4: Family(Vec::new()),
            v6: Family(Vec::new()),
        }
    }
}

/// Per mask, longest first: network -> index of its entry.
#[derive(Clone, Debug)]
struct Family<A>(Vec<(A, HashMap<A, usize>)>);

impl<A: Copy + Eq + Hash + Ord + std::ops::BitAnd<Output = A>> Family<A> {
    fn insert(&mut self, network: A, mask: A, index: usize) -> bool {
        // A longer prefix is a larger mask.
        let at = self.0.partition_point(|(other, _)| *other > mask);
        if self.0.get(at).is_none_or(|(other, _)| *other != mask) {
            self.0.insert(at, (mask, HashMap::new()));
        }
        let networks = self.0.get_mut(at).map(|(_, networks)| networks);
        networks.is_some_and(|networks| networks.insert(network, index).is_none())
    }

    fn lookup(&self, address: A) -> Option<usize> {
        self.0
            .iter()
            .find_map(|(mask, networks)| networks.get(&(address & *mask)))
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ipnet::Ipv4Net;
    use proptest::prelude::*;

    use super::*;

    fn table(networks: &[&'static str]) -> Result<PrefixTable<&'static str>, DuplicateNetwork> {
        PrefixTable::new(
            networks
                .iter()
                .map(|text| (text.parse().unwrap(), *text))
                .collect(),
        )
    }

    fn lookup(networks: &[&'static str], address: &str) -> Option<&'static str> {
        table(networks)
            .unwrap()
            .lookup(address.parse().unwrap())
            .copied()
    }

    #[test]
    fn longest_prefix_wins_whatever_the_order() {
        let networks = ["0.0.0.0/0", "10.0.0.0/8", "10.1.2.3/32", "10.1.0.0/16"];
        assert_eq!(lookup(&networks, "10.1.2.3"), Some("10.1.2.3/32"));
        assert_eq!(lookup(&networks, "10.1.9.9"), Some("10.1.0.0/16"));
        assert_eq!(lookup(&networks, "10.9.9.9"), Some("10.0.0.0/8"));
        assert_eq!(lookup(&networks, "192.0.2.1"), Some("0.0.0.0/0"));
        assert_eq!(lookup(&networks, "2001:db8::1"), None);
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        assert_eq!(
            lookup(&["10.0.0.0/8"], "::ffff:10.1.1.1"),
            Some("10.0.0.0/8")
        );
        assert_eq!(
            lookup(&["::ffff:10.0.0.0/104"], "10.1.1.1"),
            Some("::ffff:10.0.0.0/104")
        );
        assert_eq!(
            lookup(&["::/0"], "10.1.1.1"),
            None,
            "an IPv6 default is not an IPv4 one"
        );
        assert_eq!(lookup(&["::/0"], "::1"), Some("::/0"));
    }

    #[test]
    fn equal_networks_are_refused() {
        for pair in [
            ["10.0.0.0/8", "10.9.9.9/8"],
            ["10.0.0.1/32", "::ffff:10.0.0.1/128"],
            ["2001:db8::/32", "2001:db8::1/32"],
        ] {
            assert!(table(&pair).is_err(), "{pair:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

        #[test]
        fn agrees_with_a_linear_search(
            networks in prop::collection::vec((any::<[u8; 2]>(), 0_u8..=16), 0..20),
            address in any::<[u8; 2]>(),
        ) {
            let v4 = |[a, b]: [u8; 2]| Ipv4Addr::new(a, b, 0, 0);
            let mut nets: Vec<IpNet> = networks
                .into_iter()
                .map(|(address, length)| Ipv4Net::new(v4(address), length).unwrap().trunc().into())
                .collect();
            nets.sort_unstable();
            nets.dedup();
            let address = IpAddr::V4(v4(address));
            let expected = nets
                .iter()
                .filter(|net| net.contains(&address))
                .max_by_key(|net| net.prefix_len())
                .copied();
            let table = PrefixTable::new(nets.iter().map(|net| (*net, *net)).collect()).unwrap();
            prop_assert_eq!(table.lookup(address).copied(), expected);
        }
    }
}
