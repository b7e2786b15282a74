//! Which client a datagram comes from, with what is needed to check it worked out ahead of time.
//!
//! Rebuilt whole whenever clients change, before the administrator is told that the change is done,
//! and swapped in one step: a packet sees the old clients or the new ones, never half of each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::model::client::{Access, Client, RadiusAccess, Require, canonical_network};
use crate::radius::authenticator::SecretKeys;
use crate::radius::client::PrefixTable;
use crate::secret::{SecretBytes, SharedSecret};
use crate::server::radius::counters::{Counters, PeerCounters};
use crate::time::UnixTime;

/// Source address, or name in a certificate, to client.
#[derive(Default)]
pub(super) struct Table {
    addresses: PrefixTable<Arc<Peer>>,
    /// All of them.
    networks: Vec<IpNet>,
    /// Clients that come over TLS only, by the name in their certificate.
    certificates: HashMap<String, Arc<Peer>>,
}

/// A RADIUS client as the pipeline needs it.
pub(super) struct Peer {
    /// The record.
    pub(super) client: Arc<Client>,
    /// Whether its requests must be signed.
    pub(super) require: Require,
    /// Whether it can carry challenges.
    pub(super) challenge: bool,
    /// Whether an unsigned request with a Proxy-State is dropped.
    pub(super) limit_proxy_state: bool,
    /// How long the answer to one human attempt is given again.
    pub(super) retry_window: Duration,
    /// Until when replies to it are not signed.
    pub(super) unsigned_until: Option<UnixTime>,
    /// Whether its packets come over TLS, under the fixed secret of it.
    pub(super) tls: bool,
    /// The present secret.
    pub(super) present: SecretKeys,
    /// The secret before the last rotation, and until when it still opens packets.
    pub(super) previous: Option<(SecretKeys, UnixTime)>,
    /// What was received and answered.
    pub(super) counters: Arc<PeerCounters>,
}

/// Which of a client's secrets a request was made with; the reply is signed with the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Secret {
    Present,
    Previous,
}

impl Table {
    pub(super) fn new(clients: &[Arc<Client>], counters: &Counters) -> Self {
        let (mut networks, mut certificates) = (Vec::new(), HashMap::new());
        counters.keep(clients.iter().map(|client| client.name.as_str()));
        let mut radius: Vec<(&Arc<Client>, &RadiusAccess)> = clients
            .iter()
            .filter_map(|client| Some((client, radius(client)?)))
            .collect();
        radius.sort_by_key(|(client, _)| client.created);
        for (client, access) in radius {
            let peer = Arc::new(Peer::new(client, access, counters));
            if let Some(name) = &access.settings.certificate {
                certificates.entry(name.clone()).or_insert(peer);
                continue;
            }
            networks.extend(
                access
                    .addresses
                    .iter()
                    .map(|network| (*network, Arc::clone(&peer))),
            );
        }
        // The service refuses a network that another client has. Should a store hold one all the
        // same, the client that was there first keeps it: a new record must not silence old NAS devices.
        loop {
            match PrefixTable::new(networks.clone()) {
                Ok(addresses) => {
                    return Self {
                        addresses,
                        networks: (networks.into_iter())
                            .map(|(network, _)| canonical_network(network))
                            .collect(),
                        certificates,
                    };
                }
                Err(twice) => {
                    let Some(at) = networks
                        .iter()
                        .rposition(|(network, _)| *network == twice.0)
                    else {
                        return Self::default();
                    };
                    let (network, peer) = networks.remove(at);
                    let client = peer.client.name.as_str();
                    tracing::error!(%network, client, "another client has this network already");
                }
            }
        }
    }

    /// The networks that datagrams of clients come from.
    pub(super) fn networks(&self) -> &[IpNet] {
        &self.networks
    }

    pub(super) fn lookup(&self, address: IpAddr) -> Option<&Arc<Peer>> {
        self.addresses.lookup(address)
    }

    /// Whether a client with a certificate is held to addresses, of which this is one.
    pub(super) fn expects(&self, address: IpAddr) -> bool {
        let mut peers = self.certificates.values();
        peers.any(|peer| {
            radius(&peer.client)
                .is_some_and(|access| access.addresses.iter().any(|net| net.contains(&address)))
        })
    }

    /// The client with this name in its certificate, when it may come from the address.
    pub(super) fn certified(&self, name: &str, address: IpAddr) -> Option<&Arc<Peer>> {
        let peer = self.certificates.get(name)?;
        let addresses = &radius(&peer.client)?.addresses;
        let from = addresses.is_empty() || addresses.iter().any(|net| net.contains(&address));
        from.then_some(peer)
    }
}

impl Peer {
    fn new(client: &Arc<Client>, access: &RadiusAccess, counters: &Counters) -> Self {
        let tls = access.settings.certificate.is_some();
        let previous = access.previous.as_ref().filter(|_| !tls);
        Self {
            limit_proxy_state: access.settings.limit_proxy_state,
            retry_window: access.settings.retry_window,
            unsigned_until: access.settings.unsigned_until.filter(|_| !tls),
            tls,
            client: Arc::clone(client),
            require: access.message_authenticator,
            challenge: access.challenge,
            present: if tls {
                radsec_keys()
            } else {
                SecretKeys::new(access.secret.clone())
            },
            previous: previous.map(|(secret, until)| (SecretKeys::new(secret.clone()), *until)),
            counters: counters.peer(&client.name),
        }
    }

    /// The previous secret while its time has not run out.
    pub(super) fn previous(&self, now: UnixTime) -> Option<&SecretKeys> {
        self.previous
            .as_ref()
            .filter(|(_, until)| now < *until)
            .map(|(keys, _)| keys)
    }

    /// The keys of a secret that opened a request of this peer.
    pub(super) fn keys(&self, secret: Secret) -> &SecretKeys {
        match (secret, &self.previous) {
            (Secret::Previous, Some((keys, _))) => keys,
            _ => &self.present,
        }
    }
}

/// The fixed secret of RADIUS over TLS (RFC 6614 s2.3): what protects its packets is TLS.
pub(super) fn radsec_keys() -> SecretKeys {
    let secret = SharedSecret::new(SecretBytes::from(&b"radsec"[..]));
    SecretKeys::new(secret.expect("6 octets are a secret"))
}

fn radius(client: &Client) -> Option<&RadiusAccess> {
    match &client.access {
        Access::Radius(access) => Some(access),
        Access::Api(_) => None,
    }
}
