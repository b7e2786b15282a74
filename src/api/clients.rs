//! Clients.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::call::{ADMIN, AUDITOR, ClientName, calls, pages};
use crate::api::{Page, in_clear, present, unless_null};
use crate::secret::SecretString;

calls! {
    /// Clients, a page at a time.
    ListClients = list_clients: GET "/v1/admin/clients" in "clients" for AUDITOR,
        query Page,
        200 "A page": Clients;

    /// Makes a client. The answer holds its secret or key: the only time it is shown.
    AddClient = create_client: POST "/v1/admin/clients" in "clients" for ADMIN,
        body ClientCreate,
        201 "Made": ClientCreated, etag client.revision;

    /// A client.
    ShowClient = show_client: GET "/v1/admin/clients/{name}" in "clients" for AUDITOR,
        at ClientName,
        200 "The client": Client, etag revision;

    /// Changes a client: what is absent stays, `null` clears.
    SetClient = change_client: PATCH "/v1/admin/clients/{name}" in "clients" for ADMIN,
        at ClientName, body ClientChange,
        200 "Changed": Client, etag revision => if_match();

    /// Removes a client.
    RemoveClient = remove_client: DELETE "/v1/admin/clients/{name}" in "clients" for ADMIN,
        at ClientName,
        204 "Removed": () => if_match();

    /// Gives a client a new secret or key; the old one stays valid beside it for a while.
    RotateClient = rotate_client: POST "/v1/admin/clients/{name}/rotate" in "clients" for ADMIN,
        at ClientName, optional Rotate,
        200 "Rotated": ClientCreated, etag client.revision;
}

pages!(ListClients: clients by after String, damaged);

/// A client to be made.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum ClientCreate {
    /// Speaks RADIUS.
    Radius {
        /// Its name.
        name: String,
        /// Addresses or networks its packets come from. A client with `certificate` may have none.
        #[serde(default, deserialize_with = "unless_null")]
        addresses: Vec<String>,
        /// Its secret; generated when absent.
        #[schema(value_type = Option<String>)]
        #[serde(serialize_with = "in_clear")]
        secret: Option<SecretString>,
        /// Policy of its users.
        policy: Option<String>,
        /// Only users of this realm.
        realm: Option<String>,
        /// The kind of appliance, as `fortigate`; `generic` when absent. What else is absent is as it needs it.
        profile: Option<String>,
        /// `true` (default), `false`, `auto`.
        require_message_authenticator: Option<String>,
        /// Whether it can ask the person again (Access-Challenge); `true` when absent.
        challenge: Option<bool>,
        /// Methods by which credentials may come, as in policies; every method when absent.
        #[serde(default, deserialize_with = "unless_null")]
        #[schema(nullable)]
        methods: Vec<String>,
        /// UDP port at which it takes Disconnect-Requests (RFC 5176): 3799 when absent, 0 for none.
        disconnect_port: Option<u16>,
        /// Name in the certificate with which it comes over TLS, and then not over UDP.
        certificate: Option<String>,
        /// Whether an unsigned request with a Proxy-State is dropped where no signature is required; `true` when
        /// absent.
        limit_proxy_state: Option<bool>,
        /// What is done with user names before they are read, in this order: `strip-domain`, `strip-realm`,
        /// `strip-host`, `FROM=REALM` for a domain or realm. 32 at most.
        #[serde(default, deserialize_with = "unless_null")]
        #[schema(nullable)]
        name_rules: Vec<String>,
        /// For how many seconds replies leave without Message-Authenticator, for a NAS that drops those with
        /// one: open to CVE-2024-3596. 366 days at most.
        unsigned_replies_secs: Option<u64>,
        /// For how many seconds the answer to one human attempt is given again to its other packets: 30 at most, 0
        /// for none; by the profile when absent.
        retry_window_secs: Option<u64>,
    },
    /// Speaks HTTP.
    Api {
        /// Its name.
        name: String,
        /// `verify` (default), `admin`, `operator`, `approver`, `auditor`.
        #[serde(default, deserialize_with = "unless_null")]
        #[schema(nullable)]
        scopes: Vec<String>,
        /// Policy of its users.
        policy: Option<String>,
        /// Only users of this realm.
        realm: Option<String>,
    },
}

/// A change of a client: what is absent stays, `null` clears.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(clippy::option_option)] // absent, null and value are three things
pub struct ClientChange {
    /// All addresses or networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<String>>,
    /// Policy of its users.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub policy: Option<Option<String>>,
    /// Only users of this realm.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub realm: Option<Option<String>>,
    /// `true`, `false`, `auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_message_authenticator: Option<String>,
    /// Whether it can ask the person again (RADIUS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<bool>,
    /// All methods by which credentials may come; an empty list: every method (RADIUS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// UDP port at which it takes Disconnect-Requests (RADIUS); 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disconnect_port: Option<u16>,
    /// Name in the certificate with which it comes over TLS from now on, and no longer over UDP (RADIUS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Whether an unsigned request with a Proxy-State is dropped (RADIUS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_proxy_state: Option<bool>,
    /// All rules for user names (RADIUS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_rules: Option<Vec<String>>,
    /// For how many seconds from now replies leave without Message-Authenticator (RADIUS); 0 ends that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsigned_replies_secs: Option<u64>,
    /// For how many seconds the answer to one human attempt is given again (RADIUS): 30 at most, 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_window_secs: Option<u64>,
    /// All scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
}

/// A client.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Client {
    /// Its name.
    pub name: String,
    /// `radius` or `api`.
    pub kind: String,
    /// Policy of its users; `default` when absent.
    pub policy: Option<String>,
    /// Only users of this realm.
    pub realm: Option<String>,
    /// Networks its packets come from (RADIUS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<String>>,
    /// Appliance profile (RADIUS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// `true`, `false`, `auto` (RADIUS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_message_authenticator: Option<String>,
    /// Whether it can ask the person again (RADIUS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<bool>,
    /// Methods by which credentials may come; every method when empty (RADIUS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// UDP port at which it takes Disconnect-Requests; 0: none are sent (RADIUS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnect_port: Option<u16>,
    /// Name in the certificate with which it comes over TLS (RADIUS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Whether an unsigned request with a Proxy-State is dropped (RADIUS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_proxy_state: Option<bool>,
    /// What is done with user names before they are read (RADIUS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_rules: Option<Vec<String>>,
    /// For how many seconds the answer to one human attempt is given again to its other packets; 0: not at all
    /// (RADIUS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_window_secs: Option<u64>,
    /// Which secret each address used last, while the one before the last rotation is valid (RADIUS).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets_used: Vec<SecretUse>,
    /// Its packets since the daemon started, by the objects of RFC 4669 and RFC 4671; only where one client is
    /// shown, by a daemon (RADIUS).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, u64>,
    /// Until when replies leave without Message-Authenticator: open to CVE-2024-3596 (RADIUS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsigned_replies_until: Option<String>,
    /// Why the shared secret is weak, if it is (RADIUS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weak_secret: Option<String>,
    /// What the key may do (API).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Until when the secret or key before the last rotation works.
    pub previous_until: Option<String>,
    /// When the record was made.
    pub created: String,
    /// What `If-Match` compares.
    pub revision: u64,
}

/// Which secret an address used last.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct SecretUse {
    /// The address.
    pub address: String,
    /// `present`, or `previous`: the one before the last rotation.
    pub secret: String,
    /// When.
    pub at: String,
}

/// A client just made or rotated, with its secret or key: the only time it is shown.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ClientCreated {
    /// The client.
    #[serde(flatten)]
    pub client: Client,
    /// The shared secret (RADIUS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The key (API).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A rotation.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// The new shared secret (RADIUS); generated when absent.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "in_clear")]
    pub secret: Option<SecretString>,
    /// Seconds for which the old one stays valid; a day by default.
    pub grace_secs: Option<u64>,
    /// Rotates although the secret or key before the last rotation is still valid, and ends that one.
    #[serde(default, deserialize_with = "unless_null")]
    #[schema(nullable)]
    pub force: bool,
}

/// A page of clients.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Clients {
    /// In order of name.
    pub clients: Vec<Client>,
    /// `after` of the next page; absent on the last.
    pub next: Option<String>,
    /// Rows that are damaged and so are not in the list: table, key, and what is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
}
