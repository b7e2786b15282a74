//! `[notify]`: which events users are notified of, and by which media.
//!
//! Threat: only the user can find out that an attacker enrolled a token in the user's name. A notice of it
//! is worth as much as the way it takes is not in the attacker's hands; so the order is the
//! operator's.
//!
//! Invariant: a user whom only an administrator can let in again is notified of it unless the policy says which events
//! users are notified of.

/// Which events users are notified of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notify {
    /// The events; none twice.
    pub events: Vec<Event>,
    /// Whether the policy names no events: then it is a lock that only an administrator ends.
    pub unsaid: bool,
    /// The ways, the preferred one first; never empty, none twice.
    pub media: Vec<Medium>,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            events: Vec::new(),
            unsaid: true,
            media: Medium::ALL.to_vec(),
        }
    }
}

impl Notify {
    /// Whether users are notified of it.
    pub fn tells(&self, event: Event) -> bool {
        self.events.contains(&event)
    }
}

words! {
    /// The events that users can be notified of.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum Event {
        /// An enrolment began or ended.
        Enrolment = "enrolment",
        /// The user was locked.
        Lock = "lock",
        /// A token, the password or the PIN was changed or removed.
        FactorChange = "factor_change",
        /// A recovery code was used.
        Recovery = "recovery",
    }
}

words! {
    /// A way to reach users.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum Medium {
        /// Text message.
        Sms = "sms",
        /// E-mail.
        Email = "email",
    }
}
