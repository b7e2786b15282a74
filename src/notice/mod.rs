//! Notices: messages to users about changes of their accounts. Pure.
//!
//! ```text
//! audit record --notice--> Notice --recipients--> addresses --catalogue--> text
//! ```
//!
//! Sources: SP 800-63B s6.1.2 and OWASP ASVS 6.3.7 (the user is notified of new authenticators), capabilities C9
//! and D5.
//!
//! Invariants: the audit trail is the only source, so that nothing happens without a notice and
//! nothing secret can be in one: no code, key, PIN or password is in a record. What sending
//! notices writes into the trail makes none.

use crate::model::audit::{
    AuditRecord, ChangeEvent, Changed, DecisionEvent, Event as Happened, FieldChange, Purpose,
};
use crate::model::id::Serial;
use crate::model::reason::{Decision, Reason};
use crate::model::user::{FormerContact, User};
use crate::model::user_key::UserKey;
use crate::policy::{Event, Policies, Policy};
use crate::time::UnixTime;

mod catalogue;
mod recipients;
mod template;

pub use catalogue::{Catalogue, Text};
pub use recipients::{Recipient, recipients};
pub use template::Place;

/// A message to a user about a change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// What happened.
    pub topic: Topic,
    /// To whom.
    pub user: UserKey,
    /// To which token or device, when to one.
    pub target: Option<String>,
    /// Which client asked, when one did.
    pub client: Option<String>,
    /// The policy that decided, when one did.
    pub policy: Option<String>,
    /// Whether it is of a lock that only an administrator ends.
    pub for_good: bool,
    /// Of a user who was removed, the addresses for the notice.
    pub left: Option<Box<User>>,
    /// When.
    pub at: UnixTime,
}

/// What happened.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Topic {
    /// A token was made or asked for, and is not in use yet.
    EnrolmentStarted,
    /// A token came into use.
    EnrolmentEnded,
    /// A device took a token over.
    DeviceBound,
    /// Another user's token counts for this user too.
    TokenLinked,
    /// A token came into use again; or for the first time, without a code.
    TokenResumed,
    /// A token was suspended.
    TokenSuspended,
    /// A token was ended.
    TokenRevoked,
    /// A token was removed.
    TokenRemoved,
    /// A device was ended, with what it carried.
    DeviceRevoked,
    /// PIN or password were changed.
    CredentialsChanged,
    /// The telephone number was changed.
    PhoneChanged,
    /// The mail address was changed.
    EmailChanged,
    /// Both were changed.
    ContactsChanged,
    /// The user was removed.
    UserRemoved,
    /// The user was locked.
    Locked,
    /// A recovery code was used.
    RecoveryUsed,
}

impl Topic {
    /// The events of a policy that include it.
    pub const fn events(self) -> &'static [Event] {
        match self {
            Self::EnrolmentStarted
            | Self::EnrolmentEnded
            | Self::DeviceBound
            | Self::TokenLinked => &[Event::Enrolment],
            // One word in the audit for both ways there.
            Self::TokenResumed => &[Event::Enrolment, Event::FactorChange],
            Self::TokenSuspended
            | Self::TokenRevoked
            | Self::TokenRemoved
            | Self::DeviceRevoked
            | Self::CredentialsChanged
            | Self::PhoneChanged
            | Self::EmailChanged
            | Self::ContactsChanged
            | Self::UserRemoved => &[Event::FactorChange],
            Self::Locked => &[Event::Lock],
            Self::RecoveryUsed => &[Event::Recovery],
        }
    }

    /// Its text.
    pub const fn text(self) -> Text {
        match self {
            Self::EnrolmentStarted => Text::EnrolmentStarted,
            Self::EnrolmentEnded => Text::EnrolmentEnded,
            Self::DeviceBound => Text::DeviceBound,
            Self::TokenLinked => Text::TokenLinked,
            Self::TokenResumed => Text::TokenResumed,
            Self::TokenSuspended => Text::TokenSuspended,
            Self::TokenRevoked => Text::TokenRevoked,
            Self::TokenRemoved => Text::TokenRemoved,
            Self::DeviceRevoked => Text::DeviceRevoked,
            Self::CredentialsChanged => Text::CredentialsChanged,
            Self::PhoneChanged | Self::EmailChanged | Self::ContactsChanged => {
                Text::ContactsChanged
            }
            Self::UserRemoved => Text::UserRemoved,
            Self::Locked => Text::Locked,
            Self::RecoveryUsed => Text::RecoveryUsed,
        }
    }

    /// Whether it goes to every address that the user had within the last 30 days; what says only
    /// that a login was tried, or that the user logged in, goes to the best one.
    pub const fn goes_everywhere(self) -> bool {
        !matches!(self, Self::Locked | Self::RecoveryUsed)
    }

    /// Whether freezing the token that it is about would change anything (capabilities D5).
    pub const fn can_freeze(self) -> bool {
        matches!(
            self,
            Self::EnrolmentStarted
                | Self::EnrolmentEnded
                | Self::DeviceBound
                | Self::TokenLinked
                | Self::TokenResumed
                | Self::RecoveryUsed
        )
    }
}

impl Notice {
    /// The policy that says whether it is sent, and how.
    pub fn policy<'p>(&self, policies: &'p Policies) -> Option<&'p Policy> {
        let named = self.policy.as_deref().and_then(|name| policies.get(name));
        named.or_else(|| policies.resolve(None))
    }

    /// Whether a policy asks for it, or leaves it at what everyone is told.
    pub fn is_wanted(&self, policies: &Policies) -> bool {
        let tells = |policy: &Policy| {
            let mut events = self.topic.events().iter();
            let asked = events.any(|event| policy.notify.tells(*event));
            asked || (self.for_good && policy.notify.unsaid)
        };
        self.policy(policies).is_some_and(tells)
    }
}

/// The notice about a record; most have none.
pub fn notice(record: &AuditRecord) -> Option<Notice> {
    match &record.event {
        Happened::Decision(event) => decided(event, record),
        Happened::Change(event) if event.action == "user_remove" => removed(event, record),
        Happened::Change(event) => changed(event, record.at),
    }
}

fn decided(event: &DecisionEvent, record: &AuditRecord) -> Option<Notice> {
    let accepted = event.decision == Decision::Accept;
    let topic = match event.purpose {
        _ if event.locked => Topic::Locked,
        Purpose::Confirm if accepted => Topic::EnrolmentEnded,
        Purpose::Enrol if accepted => Topic::DeviceBound,
        Purpose::Login if event.reason == Reason::RecoveryOk => Topic::RecoveryUsed,
        Purpose::Login if record.activated().is_some() => Topic::EnrolmentEnded,
        _ => return None,
    };
    // Of a lock no token is to be named: the word that freezes one would not end it.
    let decided = || event.serial.as_ref().map(Serial::as_str);
    let target = record.activated().or_else(decided);
    let target = target.filter(|_| topic != Topic::Locked);
    let policy = event.rule.as_deref().and_then(|rule| rule.split_once(':'));
    Some(Notice {
        topic,
        user: UserKey::parse(&event.user).ok()?,
        target: target.map(ToOwned::to_owned),
        client: Some(event.client.to_string()),
        policy: policy.map(|(policy, _)| policy.to_owned()),
        for_good: event.locks_for_good(),
        left: None,
        at: record.at,
    })
}

fn changed(event: &ChangeEvent, at: UnixTime) -> Option<Notice> {
    let detail = event.detail.as_deref().unwrap_or_default();
    let user = event.user.as_deref();
    let (topic, user) = match event.action.as_str() {
        "token_add" => (topic_of_added(detail)?, user),
        "token_request" => (Topic::EnrolmentStarted, user),
        "token_resume" => (Topic::TokenResumed, user),
        "token_suspend" => (Topic::TokenSuspended, user),
        "token_revoke" => (Topic::TokenRevoked, user),
        "token_remove" => (Topic::TokenRemoved, user),
        // The owner loses nothing by it; the other gains a token that may not be theirs.
        "token_link" => (Topic::TokenLinked, Some(detail)),
        "device_revoke" => (Topic::DeviceRevoked, user),
        "credentials_set" | "user_add" if has_new(detail) => (Topic::CredentialsChanged, user),
        "user_set" => match detail {
            "phone" => (Topic::PhoneChanged, user),
            "email" => (Topic::EmailChanged, user),
            "phone, email" => (Topic::ContactsChanged, user),
            _ => return None,
        },
        _ => return None,
    };
    let of_user = event.action == "credentials_set" || event.action.starts_with("user_");
    Some(Notice {
        topic,
        user: UserKey::parse(user?).ok()?,
        target: (!of_user).then(|| event.target.clone()),
        client: None,
        policy: None,
        for_good: false,
        left: None,
        at,
    })
}

/// A user who was removed is notified where the record of the removal says that they were reached.
fn removed(event: &ChangeEvent, record: &AuditRecord) -> Option<Notice> {
    let key = UserKey::parse(event.user.as_deref()?).ok()?;
    let mut left = User::new(key.clone(), record.at);
    let before = |change: &FieldChange| match &change.change {
        Changed::Text { before, .. } => before.clone(),
        _ => None,
    };
    let field = |of: &Option<String>, name: &str| {
        let mut changes = record.changes.iter();
        let found = changes.find(|one| one.record == *of && one.field == name);
        found.and_then(before)
    };
    let language = field(&None, "language").and_then(|word| word.parse().ok());
    left.language = language.unwrap_or_default();
    left.phone = field(&None, "phone");
    left.email = field(&None, "email");
    let former = field(&None, FORMER_CONTACTS).unwrap_or_default();
    let mut former: Vec<(String, String)> = former
        .split(", ")
        .filter_map(|one| one.split_once(' '))
        .map(|(medium, address)| (medium.to_owned(), address.to_owned()))
        .collect();
    for change in record.changes.iter().filter(|one| one.field == "address") {
        let state = field(&change.record, "state");
        let in_use = matches!(state.as_deref(), Some("active" | "suspended"));
        let kind = field(&change.record, "kind").filter(|_| in_use);
        former.extend(kind.zip(before(change)));
    }
    let former = former.into_iter().filter_map(|(medium, address)| {
        Some(FormerContact {
            medium: medium.parse().ok()?,
            address,
            until: UnixTime::from_millis(u64::MAX),
        })
    });
    left.former = former.collect();
    Some(Notice {
        topic: Topic::UserRemoved,
        user: key,
        target: None,
        client: None,
        policy: None,
        for_good: false,
        left: Some(Box::new(left)),
        at: record.at,
    })
}

/// The field of a record about addresses that a removed user had until lately: `sms +8210123, email a@b`.
pub const FORMER_CONTACTS: &str = "former_contacts";

/// A new token, by the state that it was made in.
fn topic_of_added(detail: &str) -> Option<Topic> {
    match detail.split(", ").next() {
        Some("requested" | "approved" | "pending") => Some(Topic::EnrolmentStarted),
        Some("active") => Some(Topic::EnrolmentEnded),
        _ => None,
    }
}

/// Whether PIN or password are others than before: `new PIN, no password`. That one must be changed
/// is notified at the next login.
fn has_new(detail: &str) -> bool {
    let words = |verifier: &str, word: &str| verifier.split(' ').next() == Some(word);
    let mut verifiers = detail.split(", ");
    let ordered = detail.contains("to be changed");
    verifiers.any(|verifier| words(verifier, "new") || (words(verifier, "no") && !ordered))
}

#[cfg(test)]
mod tests;
