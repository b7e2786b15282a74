//! `[enrolment]`: how users come by tokens, and how long these last.
//!
//! The default is the way by an operator: no user enrols without one, nothing is approved, and a
//! token counts after its first right code.

use std::time::Duration;

use crate::model::kind::Kind;
use crate::policy::factor::Factor;
use crate::policy::naming::Naming;

/// How users come by tokens, and how long these last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Enrolment {
    /// Kinds that users may request themselves.
    pub self_service: Vec<Kind>,
    /// Kinds that an enrolled device may carry; `server` always.
    pub device: Vec<Kind>,
    /// What a user who has no token, and had none lately, must present for a request: password, PIN or both; `None`:
    /// the factors of the rule.
    pub proof: Option<Vec<Factor>>,
    /// How long `proof` alone is not enough after a user's last token went, 1 d to 3650 d.
    pub factor_memory: Duration,
    /// How many others must approve a requested token before it goes on, 0 to 5.
    pub approvers: PerKind<u8>,
    /// Of these one must be passed in addition; empty: none.
    pub step_up: Vec<StepUp>,
    /// Whether a token counts only after its first right code.
    pub verify: bool,
    /// Where that first right code is presented.
    pub activate: Activate,
    /// How long after a `totp` or `hotp` token was handed out its first right code at any front end brings it
    /// into use, 1 h to 365 d.
    pub first_use_within: Duration,
    /// Most active tokens of a user, 1 to 20; `None`: no limit.
    pub max_active: PerKind<Option<u8>>,
    /// How long a token lasts, 1 d to 3650 d; `None`: it does not expire.
    pub valid_for: Option<Duration>,
    /// How long before its end a token may be renewed, 1 d and more, shorter than `valid_for`.
    pub renew_from: Option<Duration>,
    /// What authenticator apps show.
    pub naming: Naming,
    /// Whether every user may enrol from afar; otherwise only those whose record says so.
    pub remote: bool,
}

impl Default for Enrolment {
    fn default() -> Self {
        Self {
            self_service: Vec::new(),
            device: vec![Kind::Server, Kind::Totp],
            proof: None,
            factor_memory: Duration::from_hours(24 * 90),
            approvers: PerKind::default(),
            step_up: Vec::new(),
            verify: true,
            activate: Activate::FirstUse,
            first_use_within: Duration::from_hours(24 * 14),
            max_active: PerKind::default(),
            valid_for: None,
            renew_from: None,
            naming: Naming::default(),
            remote: true,
        }
    }
}

impl Enrolment {
    /// How long a token that is handed out waits for its first right code at any front end; `None`: it is
    /// confirmed.
    pub fn first_use(&self) -> Option<Duration> {
        (self.activate == Activate::FirstUse).then_some(self.first_use_within)
    }
}

words! {
    /// Where the first right code of a token is presented.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum Activate {
        /// At any front end: the owner's first login with it. A token on a device is in use once the device has
        /// redeemed its code.
        FirstUse = "first_use",
        /// In a confirmation, before any login.
        Confirm = "confirm",
    }
}

/// A value for all kinds of token, and other ones for some.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PerKind<T> {
    /// For kinds that have none of their own.
    pub others: T,
    /// No kind twice.
    pub by_kind: Vec<(Kind, T)>,
}

impl<T: Copy> PerKind<T> {
    /// The value for a kind.
    pub fn of(&self, kind: Kind) -> T {
        let own = self.by_kind.iter().find(|(one, _)| *one == kind);
        own.map_or(self.others, |(_, value)| *value)
    }
}

/// What may be asked for in addition when a token is issued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StepUp {
    /// A code sent by text message.
    Sms,
    /// A code read out by a telephone call.
    Voice,
    /// A printed code that an operator issues for one use.
    BranchCode,
}

impl StepUp {
    /// All, in the order of the documentation.
    pub const ALL: &'static [Self] = &[Self::Sms, Self::Voice, Self::BranchCode];

    /// The word used in files and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sms => "sms",
            Self::Voice => "voice",
            Self::BranchCode => "branch_code",
        }
    }
}
