//! Who asks: a RADIUS client (NAS, VPN gateway, proxy) or an API client (web application).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use crate::model::method::Allowed;
use crate::model::name_rule;
use crate::model::name_rule::NameRule;
use crate::model::user_key::{CONSOLE, DEFAULT_REALM, InvalidUserKey, SELF_SERVICE, UserKey};
use crate::secret::SharedSecret;
use crate::time::UnixTime;

/// A configured asker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Client {
    /// Its name: the identity; letters, digits, dot, dash, underscore.
    pub name: String,
    /// Policy that applies to its users; `default` when none.
    pub policy: Option<String>,
    /// When set, a user name without a realm is of this one, and users of others are refused.
    pub realm: Option<String>,
    /// How it speaks to us.
    pub access: Access,
    /// When the record was made.
    pub created: UnixTime,
    /// Rises by one with every change.
    pub revision: u64,
}

impl Client {
    /// Stands for one that has no record: a local administrator, or one that was removed.
    pub fn without_record(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            policy: None,
            realm: None,
            access: Access::Api(ApiAccess {
                key_hash: [0; 32],
                previous: None,
                scopes: Vec::new(),
            }),
            created: UnixTime::EPOCH,
            revision: 0,
        }
    }

    /// A client of the server's own, which has no record: the console, self-service, a local administrator.
    pub fn own(name: &str) -> Option<Self> {
        let named = match name {
            CONSOLE | SELF_SERVICE => Some(name.to_owned()),
            LOCAL => None,
            _ => return None,
        };
        Some(Self {
            realm: named.clone().filter(|name| name == CONSOLE),
            policy: named,
            ..Self::without_record(name)
        })
    }

    /// Who is meant by what this client calls a user: a name without a realm is of the client's. The rules of its
    /// policy are taken after its own.
    pub fn key(&self, user: &str, policy: &[NameRule]) -> Result<UserKey, InvalidUserKey> {
        let rules: &[NameRule] = match &self.access {
            Access::Radius(radius) => &radius.settings.names,
            Access::Api(_) => &[],
        };
        let realm = self.realm.as_deref().unwrap_or(DEFAULT_REALM);
        let name = name_rule::apply(rules, user);
        UserKey::parse_in(&name_rule::apply(policy, &name), realm)
    }
}

impl Client {
    /// Whether it may ask about this user. The people of the console log in to the console only: a code that
    /// opens it is worth nothing at any other client.
    pub fn is_of_realm(&self, user: &UserKey) -> bool {
        match &self.realm {
            Some(realm) => realm == user.realm(),
            None => user.realm() != CONSOLE,
        }
    }

    /// Whether a credential may come from it by this method.
    pub fn takes(&self, method: &str) -> bool {
        match &self.access {
            Access::Radius(radius) => radius.methods.takes(method),
            Access::Api(_) => true,
        }
    }
}

/// How a client speaks to us and proves who it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Access {
    /// Over RADIUS, by source address and shared secret.
    Radius(RadiusAccess),
    /// Over HTTP, by API key.
    Api(ApiAccess),
}

/// A RADIUS client's side.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RadiusAccess {
    /// Networks its packets come from; the longest prefix over all clients wins.
    pub addresses: Vec<IpNet>,
    /// The present secret.
    pub secret: SharedSecret,
    /// The secret before the last rotation, and until when it still opens packets.
    pub previous: Option<(SharedSecret, UnixTime)>,
    /// Whether requests must carry a Message-Authenticator.
    pub message_authenticator: Require,
    /// Whether it can ask the person again (Access-Challenge). One that cannot takes a challenge
    /// for a reject (RFC 2865 s4.4): its users type everything at once.
    pub challenge: bool,
    /// The methods by which its users' credentials may come.
    pub methods: Allowed,
    /// What an administrator may leave as it is.
    pub settings: RadiusSettings,
}

/// What is known of a NAS beside its addresses and secrets; each has a default that fits most.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RadiusSettings {
    /// The appliance, by the name of its profile.
    pub profile: String,
    /// Until when replies leave without a Message-Authenticator, for a NAS that drops those with one: open to
    /// CVE-2024-3596.
    pub unsigned_until: Option<UnixTime>,
    /// The port of the NAS for Disconnect-Requests (RFC 5176 s2.3); none are sent when none.
    pub disconnect_port: Option<u16>,
    /// Whether an unsigned request with a Proxy-State is dropped where no signature is required
    /// (CVE-2024-3596).
    pub limit_proxy_state: bool,
    /// What is done with user names before they are read.
    pub names: Vec<NameRule>,
    /// The name in the certificate with which it comes over TLS, in lower case. It is not served over UDP
    /// then, and comes from its addresses, from any where it has none.
    pub certificate: Option<String>,
    /// How long the answer to one human attempt is given again to its other packets; zero: not at all.
    pub retry_window: Duration,
}

impl RadiusSettings {
    /// Longest retry window: a code of a token is used up for good behind it.
    pub const RETRY_MAX: Duration = Duration::from_secs(30);
}

impl Default for RadiusSettings {
    fn default() -> Self {
        Self {
            profile: "generic".to_owned(),
            unsigned_until: None,
            limit_proxy_state: true,
            names: Vec::new(),
            disconnect_port: Some(3799),
            certificate: None,
            retry_window: Duration::ZERO,
        }
    }
}

/// An API client's side. Keys are 256 random bits; only their SHA-256 is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiAccess {
    /// SHA-256 of the present key.
    pub key_hash: [u8; 32],
    /// The key before the last rotation, and until when it still works.
    pub previous: Option<([u8; 32], UnixTime)>,
    /// What the key may do.
    pub scopes: Vec<Scope>,
}

words! {
    /// Whether an Access-Request must carry a Message-Authenticator (RFC 3579 s3.2, CVE-2024-3596).
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub enum Require {
        /// Packets without it are dropped.
        #[default]
        True = "true",
        /// Packets without it are answered; for NAS devices that cannot send it.
        False = "false",
        /// Required from a source address once it has sent a valid one; the lesson is stored.
        Auto = "auto",
    }
}

words! {
    /// What an API key may do.
    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    pub enum Scope {
        /// Ask about codes.
        Verify = "verify",
        /// Everything the command line can do.
        Admin = "admin",
        /// Users, tokens and devices: no clients, no approvals.
        Operator = "operator",
        /// Approve what others asked for, or deny it.
        Approver = "approver",
        /// Read everything, change nothing.
        Auditor = "auditor",
        /// Push the users of a source over SCIM.
        Scim = "scim",
    }
}

/// Stands in the audit for administrators who ask on this machine; no client may be called so.
pub const LOCAL: &str = "local";

/// Whether a text may name a client.
pub fn is_client_name(name: &str) -> bool {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b".-_".contains(&octet);
    (1..=64).contains(&name.len())
        && name.bytes().all(plain)
        && ![LOCAL, CONSOLE, SELF_SERVICE].contains(&name)
}

/// A network inside `::ffff:0:0/96` is an IPv4 network.
pub fn canonical_network(network: IpNet) -> IpNet {
    let mapped = |address: Ipv6Addr, length: u8| -> Option<Ipv4Net> {
        let address: Ipv4Addr = address.to_ipv4_mapped()?;
        Ipv4Net::new(address, length.checked_sub(96)?).ok()
    };
    match network {
        IpNet::V4(_) => network,
        IpNet::V6(net) => mapped(net.addr(), net.prefix_len()).map_or(network, IpNet::V4),
    }
}
