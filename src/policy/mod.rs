//! Policies: what a client's users must present, and the limits.
//!
//! A policy is a TOML file; its name is the file's stem. Its rules are read top to bottom and the
//! first whose `when` holds decides; when none holds the answer is reject. The texts are arguments:
//! the caller reads the directory, and swaps the whole immutable [`Policies`] on reload.
//!
//! ```text
//! files --parse--> Policies --resolve(client)--> Policy --decide(Facts)--> Rule | none: reject
//! ```
//!
//! Invariants:
//! - What is loaded was checked: zones, networks, placeholders, attribute names, windows, factors.
//! - Everything fails towards reject: an unknown fact makes a condition fail, a missing policy is no
//!   policy, and a factor this version cannot check is refused when read ([`Factor::SUPPORTED`]).
//! - [`Policy::decide`] allocates nothing and [`Policy::trace`] asks the same conditions, so an
//!   explanation cannot differ from the decision.
//!
//! Threats: rules that silently never hold (misspelt keys, methods, zones, rules behind an
//! unconditional one) are errors, because the rule below them may ask for less.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::diagnostic::{Diagnostic, Place, Source};
use crate::model::kind::Kind;
use crate::model::name_rule::NameRule;
use crate::otp::Digits;
use crate::otp::throttle::Lockout;

mod accept;
mod case;
mod compare;
mod condition;
mod country;
mod enrolment;
mod eval;
mod factor;
mod facts;
mod hours;
mod naming;
mod notify;
mod parse;
mod reply;
pub mod split;

pub use case::{Case, Expect, Given, TestOutcome};
pub use compare::{KeyDifference, PolicyDifference, compare};
pub use condition::{Condition, Subject, Wanted};
pub use country::{Country, Exemption};
pub use enrolment::{Activate, Enrolment, PerKind, StepUp};
pub use eval::{ConditionTrace, RuleTrace, Ruling, Trace};
pub(crate) use factor::adds;
pub use factor::{Factor, assurance, kinds_of};
pub use facts::Facts;
pub use hours::Hours;
pub(crate) use hours::zone_named;
pub use naming::Naming;
pub use notify::{Event, Medium, Notify};
pub use reply::{Groups, Reply, ReplyAttribute, ReplyFacts, Template};

/// Checks a RADIUS attribute by dictionary name and, when there is one to check, its text value; the
/// error says what is wrong. The dictionary belongs to another layer and comes in as this function.
/// A value with placeholders arrives with `x` in the place of each: only text attributes fit it.
pub type KnownAttribute<'a> = &'a dyn Fn(&str, Option<&str>) -> Result<(), String>;

/// All policies, immutable; shared as a snapshot and replaced whole.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    by_name: BTreeMap<String, Policy>,
    /// What they were read from, by name.
    texts: BTreeMap<String, Source>,
    warnings: Vec<Diagnostic>,
}

impl Policies {
    /// Reads policy files. The name of each is the stem of its source's name, `policies/vpn.toml`
    /// is `vpn`. All findings of all files are returned together; nothing is loaded if one is an
    /// error.
    pub fn parse(
        files: &[Source],
        known_attribute: KnownAttribute<'_>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut policies = parse::policies(files, known_attribute)?;
        let texts = files.iter();
        let texts = texts.map(|file| (parse::stem(file.name()).to_owned(), file.clone()));
        policies.texts = texts.collect();
        Ok(policies)
    }

    /// The text that a policy was read from.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(Source::text)
    }

    /// The policy of a client: the named one, or `default` when it names none. A name that does not
    /// exist gives `None`, never `default`: the caller must refuse.
    pub fn resolve(&self, name: Option<&str>) -> Option<&Policy> {
        self.get(name.unwrap_or(DEFAULT))
    }

    /// What is not wrong, but may not be meant.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// A policy by name.
    pub fn get(&self, name: &str) -> Option<&Policy> {
        self.by_name.get(name)
    }

    /// All policies, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.by_name.values()
    }

    /// Runs the `[[test]]` cases of all policies; a failing one must block a reload.
    pub fn run_tests(&self) -> Vec<TestOutcome> {
        self.iter().flat_map(Policy::run_tests).collect()
    }
}

/// `[admin]`: what administrators and operators may do alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Admin {
    /// Whether one operator may not change contact data and, within 24 hours, password, PIN or tokens
    /// of the same user. Administrators may.
    pub four_eyes: bool,
}

impl Default for Admin {
    fn default() -> Self {
        Self { four_eyes: true }
    }
}

/// One policy file.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The file's stem.
    pub name: String,
    /// One line for people; may be empty.
    pub description: String,
    /// What is done with the user names that its clients send, after the rules of the client.
    pub name_rules: Vec<NameRule>,
    /// How long after arrival the reply to a reject leaves; 0 to 10 s.
    pub reject_delay: Duration,
    /// Whether a temporary bypass granted by an administrator may waive the held factors of the
    /// rules. It lowers no rule's `min_assurance`, and something must be left to present.
    pub bypass: bool,
    /// From where an overseas exemption counts; has a home country if a rule has `exempt`.
    pub exemption: Exemption,
    /// Read in order, the first that holds decides; never empty.
    pub rules: Vec<Rule>,
    /// Which codes count as `otp`, and how far around now they are looked for.
    pub otp: OtpWindows,
    /// Limits on guessing.
    pub lockout: Lockout,
    /// What is kept of PINs.
    pub pin: Pin,
    /// Second rounds.
    pub challenge: Challenge,
    /// Codes that the server makes.
    pub codes: Codes,
    /// How users come by tokens, and how long these last.
    pub enrolment: Enrolment,
    /// The events that users are notified of.
    pub notify: Notify,
    /// What administrators and operators may do alone; that of the policy `default` counts.
    pub admin: Admin,
    /// What goes with an accept by a rule that says nothing of its own.
    pub reply: Reply,
    /// The file's own tests.
    pub tests: Vec<Case>,
    /// Stands for the text of the file: it differs when anything in it was changed.
    pub text: u64,
    /// See [`Policy::only_otp`].
    codes_only: bool,
}

impl Policy {
    /// The first factor of a user who has typed nothing yet, where a rule reads one factor after
    /// the other; and whether such rules begin with different factors.
    pub fn opening(&self) -> Option<(Factor, bool)> {
        let rounds = |rule: &&Rule| rule.present != Present::Joined;
        let rules = self.rules.iter().filter(rounds);
        let mut firsts = rules.filter_map(|rule| rule.require.first().copied());
        let first = firsts.next()?;
        if firsts.all(|factor| factor == first) {
            return Some((first, false));
        }
        Some((Factor::Password, true))
    }

    /// Whether some rule asks for a PIN or a password.
    pub fn asks_for_knowledge(&self) -> bool {
        let mut factors = self.rules.iter().flat_map(|rule| &rule.require);
        factors.any(|factor| factor.is_knowledge())
    }

    /// Whether every rule asks for one code of a token and takes nothing else: what is not a code can
    /// be refused before anything is looked up.
    pub const fn only_otp(&self) -> bool {
        self.codes_only
    }
}

/// One rule: when it holds, and what it asks for.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique in its policy.
    pub name: String,
    /// `policy:rule`, as the audit names it.
    pub label: Arc<str>,
    /// All must hold; none: always holds.
    pub when: Vec<Condition>,
    /// What must be presented, all of it; never empty, no factor twice.
    pub require: Vec<Factor>,
    /// What may be asked for or presented instead of `otp`, see [`Factor::STAND_INS`]; empty without
    /// `otp` in `require`, nothing of it required besides.
    pub alternatives: Vec<Factor>,
    /// What a user with a granted overseas exemption need not present while abroad: a part of
    /// `require`, never all of it.
    pub exempt: Vec<Factor>,
    /// How one password box is read.
    pub present: Present,
    /// Assurance the accept must reach, 1 to 3; never above [`Rule::assurance`].
    pub min_assurance: u8,
    /// What is accepted instead of `otp` as well while outage mode is declared; only with `otp` in
    /// `require`.
    pub outage: Option<Outage>,
    /// What goes with an accept by it, where that is not the policy's.
    pub reply: Option<Reply>,
    /// The rule's header.
    pub place: Place,
}

impl Rule {
    /// The best assurance that all the rule asks for can reach; what was reached depends on the kind
    /// of the accepted token and on what was waived, see [`assurance`].
    pub fn assurance(&self) -> u8 {
        assurance(&self.require, None)
    }

    /// `file:line`, as audit records name the rule.
    pub fn file_line(&self) -> String {
        self.place.file_line()
    }
}

words! {
    /// How one password box is read; separate HTTP fields are always understood.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub enum Present {
        /// Everything at once: `PIN` + code.
        #[default]
        Joined = "joined",
        /// One after another, by Access-Challenge: what is typed is the first factor alone.
        Challenge = "challenge",
        /// Joined is accepted; when no reading fits, what is typed is the first factor alone and the
        /// rest is asked for.
        Either = "either",
    }
}

/// The relaxed requirement while outage mode is declared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outage {
    /// The factor accepted instead of `otp`: one of [`Factor::STAND_INS`].
    pub factor: Factor,
}

/// `[otp]`: which tokens count, and the windows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OtpWindows {
    /// Kinds of token whose codes count as `otp`.
    pub kinds: Vec<Kind>,
    /// TOTP steps before now (RFC 6238 s5.2), 0 to 10.
    pub back: u8,
    /// TOTP steps after now, 0 to 10.
    pub ahead: u8,
    /// HOTP counters after the expected one (RFC 4226 s7.2), 0 to 10.
    pub look_ahead: u32,
}

impl Default for OtpWindows {
    fn default() -> Self {
        Self {
            kinds: vec![Kind::Totp, Kind::Hotp, Kind::Server, Kind::Yubikey],
            back: 1,
            ahead: 0,
            look_ahead: 5,
        }
    }
}

/// `[pin]`: what is kept of PINs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pin {
    /// Whether a PIN that is set is kept itself, sealed, beside its hash, so that what is made of it and
    /// a code by CHAP or MS-CHAP can be told. Any policy that says so has PINs kept; a login looks at
    /// them where its own policy says so.
    pub recoverable: bool,
}

/// `[challenge]`: second rounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Challenge {
    /// How long an answer is awaited, 10 s to 10 min.
    pub life: Duration,
}

impl Default for Challenge {
    fn default() -> Self {
        Self {
            life: Duration::from_mins(2),
        }
    }
}

/// `[codes]`: codes that the server makes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Codes {
    /// How long a code sent by text message, e-mail or call can be used, 30 s to 10 min.
    pub life: Duration,
    /// How long a code that an enrolled device asked for can be used, 15 s to 2 min.
    pub server_life: Duration,
    /// Their length, 6 to 8.
    pub digits: Digits,
}

impl Default for Codes {
    fn default() -> Self {
        Self {
            life: Duration::from_mins(3),
            server_life: Duration::from_mins(1),
            digits: Digits::SIX,
        }
    }
}

/// The policies built into the program, as `init` writes them.
pub fn shipped() -> [Source; 11] {
    macro_rules! shipped {
        ($($name:literal),+ $(,)?) => {
            [$(Source::new(
                concat!("policies/", $name, ".toml"),
                include_str!(concat!("../../policies/", $name, ".toml")),
            )),+]
        };
    }
    shipped![
        "default",
        "otp",
        "pin-otp",
        "password-otp",
        "password-pin-otp",
        "sms-otp",
        "nist-aal2",
        "pci",
        "kr-finance",
        "console",
        "self-service",
    ]
}

/// The policy of clients that name none.
pub const DEFAULT: &str = "default";

/// Delay of replies to rejects where the policy says nothing.
pub const REJECT_DELAY: Duration = Duration::from_secs(1);

/// Longest delay: RADIUS clients give up after some 3 tries of 3 to 5 s.
pub const REJECT_DELAY_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
