//! The tables of the store.

use serde::{Deserialize, Serialize};

/// The tables of rows, by their number in log entries; numbers are never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(crate) enum Table {
    Users,
    Tokens,
    Owners,
    TokenStates,
    UserStates,
    Clients,
    Lessons,
    Retired,
    Credentials,
    Sources,
    Devices,
    DeviceOwners,
    DeviceStates,
    Addresses,
    Quotas,
    Expiries,
    Settings,
    Delegations,
    Links,
    Former,
    Erased,
    Sessions,
    OpenSessions,
    Seeds,
}

impl Table {
    /// Every table, in order of its number.
    pub(crate) const ALL: [Self; 24] = [
        Self::Users,
        Self::Tokens,
        Self::Owners,
        Self::TokenStates,
        Self::UserStates,
        Self::Clients,
        Self::Lessons,
        Self::Retired,
        Self::Credentials,
        Self::Sources,
        Self::Devices,
        Self::DeviceOwners,
        Self::DeviceStates,
        Self::Addresses,
        Self::Quotas,
        Self::Expiries,
        Self::Settings,
        Self::Delegations,
        Self::Links,
        Self::Former,
        Self::Erased,
        Self::Sessions,
        Self::OpenSessions,
        Self::Seeds,
    ];

    /// Its name in the file and in associated data.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Tokens => "tokens",
            Self::Owners => "owners",
            Self::TokenStates => "token_states",
            Self::UserStates => "user_states",
            Self::Clients => "clients",
            Self::Lessons => "lessons",
            Self::Retired => "retired",
            Self::Credentials => "credentials",
            Self::Sources => "sources",
            Self::Devices => "devices",
            Self::DeviceOwners => "device_owners",
            Self::DeviceStates => "device_states",
            Self::Addresses => "addresses",
            Self::Quotas => "quotas",
            Self::Expiries => "expiries",
            Self::Settings => "settings",
            Self::Delegations => "delegations",
            Self::Links => "links",
            Self::Former => "former",
            Self::Erased => "erased",
            Self::Sessions => "sessions",
            Self::OpenSessions => "open_sessions",
            Self::Seeds => "seeds",
        }
    }

    /// Whether evaluations read it: a change of such a row makes views stale.
    pub(crate) const fn is_static(self) -> bool {
        matches!(
            self,
            Self::Users | Self::Tokens | Self::Owners | Self::Credentials
        )
    }

    /// Whether logins change it, row by row; such a table is never read by prefix.
    pub(crate) const fn is_hot(self) -> bool {
        matches!(self, Self::TokenStates | Self::UserStates)
    }
}

/// Keys of the table of settings.
pub(crate) const OUTAGE: &[u8] = b"outage";
pub(crate) const NOTIFIED: &[u8] = b"notified";
pub(crate) const PRUNED: &[u8] = b"pruned";
pub(crate) const LOADED: &[u8] = b"loaded";
pub(crate) const EPOCH: &[u8] = b"epoch";
pub(crate) const BACKUP: &[u8] = b"backup";
