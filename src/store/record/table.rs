//! The tables of the store.

use serde::{Deserialize, Serialize};

words! {
    /// The tables of rows, by their number in log entries; numbers are never reused. The word is the name in
    /// the file and in associated data.
    #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
    pub(crate) enum Table {
        Users = "users",
        Tokens = "tokens",
        Owners = "owners",
        TokenStates = "token_states",
        UserStates = "user_states",
        Clients = "clients",
        Lessons = "lessons",
        Retired = "retired",
        Credentials = "credentials",
        Sources = "sources",
        Devices = "devices",
        DeviceOwners = "device_owners",
        DeviceStates = "device_states",
        Addresses = "addresses",
        Quotas = "quotas",
        Expiries = "expiries",
        Settings = "settings",
        Delegations = "delegations",
        Links = "links",
        Former = "former",
        Erased = "erased",
        Sessions = "sessions",
        OpenSessions = "open_sessions",
        Seeds = "seeds",
        Aliases = "aliases",
    }
}

impl Table {
    /// Whether evaluations read it: a change of such a row makes views stale.
    pub(crate) const fn is_static(self) -> bool {
        matches!(
            self,
            Self::Users | Self::Tokens | Self::Owners | Self::Credentials | Self::Aliases
        )
    }

    /// Whether logins read its rows by their keys: they are kept in memory once read.
    pub(crate) const fn is_kept(self) -> bool {
        matches!(self, Self::Users | Self::Sources)
    }

    /// Whether logins read the rows of an owner together: these are kept as well.
    pub(crate) const fn is_listed(self) -> bool {
        matches!(self, Self::Tokens)
    }

    /// Those that logins change, row by row; such a table is never read by prefix.
    pub(crate) const HOT: [Self; 2] = [Self::TokenStates, Self::UserStates];

    /// Whether it is one of [`Table::HOT`].
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
pub(crate) const FLOOR: &[u8] = b"floor";
pub(crate) const BACKUP: &[u8] = b"backup";
pub(crate) const MASTER: &[u8] = b"master";
pub(crate) const DATA_KEY: &[u8] = b"data_key";
