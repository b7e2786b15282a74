//! A person who authenticates.

use crate::model::user_key::UserKey;
use crate::otp::throttle::Throttle;
use crate::time::UnixTime;

/// A user as the administrator describes them; counters live in [`UserState`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Canonical name and realm; the identity.
    pub key: UserKey,
    /// Groups, in the order given; policy rules match any of them.
    pub groups: Vec<String>,
    /// Telephone number as entered.
    pub phone: Option<String>,
    /// Mail address as entered.
    pub email: Option<String>,
    /// Birth date `YYYY-MM-DD`.
    pub birth_date: Option<String>,
    /// Class of user, for policy rules (`individual`, `corporate`, ...).
    pub class: Option<String>,
    /// A disabled user is always rejected.
    pub disabled: bool,
    /// When the record was made.
    pub created: UnixTime,
    /// Rises by one with every change; what a conditional change compares.
    pub revision: u64,
}

/// What attempts change about a user.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UserState {
    /// Failures over all channels and tokens since the last success, and the lock.
    pub throttle: Throttle,
}
