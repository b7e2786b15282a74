//! A person who authenticates.

use std::time::Duration;

use crate::model::message::{Language, Medium};
use crate::model::user_key::UserKey;
use crate::time::UnixTime;

/// A user as the administrator describes them; counters live in [`crate::model::user_state`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Canonical name and realm; the identity.
    pub key: UserKey,
    /// Other names that lead to this user, in the order given; no other user has one of them as a name or an
    /// alias.
    pub aliases: Vec<UserKey>,
    /// Groups, in the order given; policy rules match any of them.
    pub groups: Vec<String>,
    /// The name as people write it.
    pub display_name: Option<String>,
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
    /// While it holds, the factors the user *has* are not asked for.
    pub bypass: Option<Waiver>,
    /// While it holds, and the user has departed and asks from abroad, the factors that a rule
    /// names under `exempt` are not asked for.
    pub exemption: Option<Waiver>,
    /// The language of messages to the user.
    pub language: Language,
    /// Whether the user may enrol tokens without coming in person, where a policy asks for this
    /// consent (capabilities C10).
    pub remote_issue: bool,
    /// Addresses that were on record until lately, the oldest first; personal data like the present
    /// ones.
    pub former: Vec<FormerContact>,
    /// What operators did to the account within the last day.
    pub acts: Vec<OperatorAct>,
    /// The directory that the record follows, if one.
    pub directory: Option<DirectoryId>,
    /// When the record was made.
    pub created: UnixTime,
    /// When it was last changed.
    pub modified: UnixTime,
    /// Rises by one with every change; what a conditional change compares.
    pub revision: u64,
}

/// Who a user is in a directory: `[source.NAME]` of the configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DirectoryId {
    /// Name of the source.
    pub source: String,
    /// The identity there, which no renaming changes: objectGUID, entryUUID.
    pub id: String,
    /// What the source calls it, where that is another text and may change.
    pub external: Option<String>,
    /// Whether the user is disabled because the directory says so, or does not know them any more; then the
    /// directory enables them again.
    pub disabled: bool,
}

/// An address that a user had.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FormerContact {
    /// How messages got there.
    pub medium: Medium,
    /// The address as it was on record.
    pub address: String,
    /// Until when the user is told there too.
    pub until: UnixTime,
}

/// A change of an account by an operator; another that completes it is a second person's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OperatorAct {
    /// What was changed.
    pub touched: Touched,
    /// By whom, as in the audit.
    pub actor: String,
    /// When.
    pub at: UnixTime,
}

words! {
    /// What an operator changed of an account.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum Touched {
        /// Where the user is reached: telephone number, mail address, the address of a token.
        Contact = "contact",
        /// PIN or password.
        Secret = "secret",
        /// The tokens: a new one, the code that hands one out, or one that comes into use again.
        Token = "token",
        /// An exception: what the user has is not asked for.
        Waiver = "waiver",
        /// Groups or class, where a policy has a rule for them.
        Groups = "groups",
        /// The aliases: a NAS takes the name that was typed for the name of the person.
        Alias = "alias",
        /// Nothing: the operator made the record, and sets it up.
        Made = "made",
    }
}

impl Touched {
    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contact => "the contact data",
            Self::Secret => "the PIN or password",
            Self::Token => "the tokens",
            Self::Waiver => "the bypass or exemption",
            Self::Groups => "the groups or the class",
            Self::Alias => "the aliases",
            Self::Made => "the record",
        }
    }

    /// Whether both together let the one who did them log in as the user: where the user is reached and
    /// what is proven with, what the user knows and what the user has (or need not have), the rule that
    /// decides and what it asks for.
    pub const fn completes(self, other: Self) -> bool {
        self.completes_later(other) || other.completes_later(self)
    }

    const fn completes_later(self, other: Self) -> bool {
        matches!(
            (self, other),
            (
                Self::Contact | Self::Groups | Self::Alias,
                Self::Secret | Self::Token
            ) | (Self::Secret, Self::Token | Self::Waiver)
        )
    }
}

impl User {
    /// How long the user is told at an address that is not on record any more.
    pub const TOLD_FOR: Duration = Duration::from_hours(24 * 30);
    /// How long one operator's changes count together.
    pub const ACTS_FOR: Duration = Duration::from_hours(24);
    /// Most aliases of one user.
    pub const ALIASES: usize = 32;
    /// Most former addresses that are kept.
    const FORMER: usize = 8;
    /// Most acts that are kept.
    const ACTS: usize = 16;

    /// A user of whom nothing is known but the name.
    pub fn new(key: UserKey, created: UnixTime) -> Self {
        Self {
            key,
            aliases: Vec::new(),
            groups: Vec::new(),
            display_name: None,
            phone: None,
            email: None,
            birth_date: None,
            class: None,
            disabled: false,
            bypass: None,
            exemption: None,
            remote_issue: false,
            former: Vec::new(),
            acts: Vec::new(),
            directory: None,
            language: Language::default(),
            created,
            modified: created,
            revision: 1,
        }
    }

    /// Remembers an address that leaves the record. Of too many the oldest are kept: changing an
    /// address often does not make its first owner forgotten.
    pub fn leaves(&mut self, medium: Medium, address: String, now: UnixTime) {
        let same = |one: &FormerContact| one.medium == medium && one.address == address;
        self.former.retain(|one| now < one.until && !same(one));
        if self.former.len() < Self::FORMER {
            let until = now.plus(Self::TOLD_FOR);
            self.former.push(FormerContact {
                medium,
                address,
                until,
            });
        }
    }

    /// The act of this operator that `touched` would complete, if there is one. An exception that the
    /// operator granted counts as long as it is on record, for a part of it is still to come.
    pub fn completed_by(
        &self,
        touched: Touched,
        actor: &str,
        now: UnixTime,
    ) -> Option<OperatorAct> {
        let mut acts = self.acts.iter();
        let act = acts.find(|act| {
            act.actor == actor
                && act.touched.completes(touched)
                && now < act.at.plus(Self::ACTS_FOR)
        });
        let waivers = [&self.bypass, &self.exemption].into_iter().flatten();
        let mut standing = waivers.filter(|one| {
            one.owner == actor && now < one.until && touched.completes(Touched::Waiver)
        });
        act.cloned().or_else(|| {
            standing.next().map(|waiver| OperatorAct {
                touched: Touched::Waiver,
                actor: actor.to_owned(),
                at: waiver.from,
            })
        })
    }

    /// Whether this operator made the record within the last day, and sets it up.
    pub fn is_set_up_by(&self, actor: &str, now: UnixTime) -> bool {
        self.did(Touched::Made, now).any(|act| act.actor == actor)
    }

    /// What of this kind operators did within the last day.
    pub fn did(&self, touched: Touched, now: UnixTime) -> impl Iterator<Item = &OperatorAct> {
        let acts = self.acts.iter();
        acts.filter(move |act| act.touched == touched && now < act.at.plus(Self::ACTS_FOR))
    }

    /// Remembers what an operator does.
    pub fn remember(&mut self, act: OperatorAct) {
        let now = act.at;
        let same = |one: &OperatorAct| one.actor == act.actor && one.touched == act.touched;
        self.acts
            .retain(|one| now < one.at.plus(Self::ACTS_FOR) && !same(one));
        self.acts.insert(0, act);
        self.acts.truncate(Self::ACTS);
    }
}

/// An exception someone answers for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiver {
    /// Why.
    pub reason: String,
    /// Who granted it.
    pub owner: String,
    /// From when.
    pub from: UnixTime,
    /// Until when; it ends by itself.
    pub until: UnixTime,
}

impl Waiver {
    /// Whether it holds at this time.
    pub fn holds(&self, at: UnixTime) -> bool {
        self.from <= at && at < self.until
    }
}
