//! `[notify]`: which events users are notified of, and by which media.
//!
//! Threat: only the user can find out that an attacker enrolled a token in the user's name. A notice of it
//! is worth as much as the way it takes is not in the attacker's hands; so the order is the
//! operator's.

/// Which events users are notified of; by default none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notify {
    /// The events; none twice.
    pub events: Vec<Event>,
    /// The ways, the preferred one first; never empty, none twice.
    pub media: Vec<Medium>,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            events: Vec::new(),
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

/// The events that users can be notified of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// An enrolment began or ended.
    Enrolment,
    /// The user was locked.
    Lock,
    /// A token, the password or the PIN was changed or removed.
    FactorChange,
    /// A recovery code was used.
    Recovery,
}

impl Event {
    /// All, in the order of the documentation.
    pub const ALL: &'static [Self] = &[
        Self::Enrolment,
        Self::Lock,
        Self::FactorChange,
        Self::Recovery,
    ];

    /// The word used in files and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enrolment => "enrolment",
            Self::Lock => "lock",
            Self::FactorChange => "factor_change",
            Self::Recovery => "recovery",
        }
    }
}

/// A way to reach users.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Medium {
    /// Text message.
    Sms,
    /// E-mail.
    Email,
}

impl Medium {
    /// All, in the order of preference where the policy says nothing.
    pub const ALL: &'static [Self] = &[Self::Sms, Self::Email];

    /// The word used in files and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sms => "sms",
            Self::Email => "email",
        }
    }
}
