//! An attempt in closed form: what was presented, what was found of it, and the verdict on it.
//!
//! Evidence is a comparison with a *view* of the user's tokens; [`crate::model::settle`] decides against the
//! newest state.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::audit::{Channel, DecisionEvent, Origin, Purpose};
use crate::model::credential::Knowledge;
use crate::model::device::Device;
use crate::model::id::{RequestId, Serial};
use crate::model::issue::Way;
use crate::model::kind::Kind;
use crate::model::reason::{Decision, Reason};
use crate::model::source::{Source, SourceState};
use crate::model::token::{LifeCycle, Moving, Token, TokenState};
use crate::model::user_key::UserKey;
use crate::model::user_state::{Answered, UserState};
use crate::otp::Matches;
use crate::otp::throttle::Lockout;
use crate::otp::totp::{Drift, TimeStep};
use crate::time::{UnixTime, millis};

/// One presentation of credentials, evaluated against a view but not yet decided.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Names the attempt.
    pub request: RequestId,
    /// When it arrived.
    pub at: UnixTime,
    /// After this no one waits for the answer: it is dropped unconsumed.
    pub deadline: UnixTime,
    /// What the code is for.
    pub purpose: Purpose,
    /// The user as the audit shows it.
    pub user: String,
    /// What was typed, where it is an alias of the user: the source counts what is typed.
    pub alias: Option<String>,
    /// Who asked.
    pub client: Arc<str>,
    /// Over which front end.
    pub channel: Channel,
    /// How the credential travelled.
    pub method: Arc<str>,
    /// Where the person is, if the client says so.
    pub source: Option<IpAddr>,
    /// Where failures are counted when it does not: at the known source that the login began at.
    pub began_at: Option<Source>,
    /// What the client said of itself and of the person's line.
    pub origin: Option<Arc<Origin>>,
    /// `policy:rule` that applies.
    pub rule: Option<Arc<str>>,
    /// What the audit says beside the reason.
    pub note: Note,
    /// The exception in force.
    pub waived: Option<Waived>,
    /// Limits of the policy that applies.
    pub lockout: Lockout,
    /// What was found.
    pub evidence: Evidence,
    /// Tokens whose codes were right in earlier rounds of the login, which rests on them too.
    pub proven: Vec<Proven>,
    /// The device that takes the token over when its enrolment or transfer code is right.
    pub enrols: Option<Box<Device>>,
}

impl Attempt {
    /// Where the attempt comes from, as failures are counted.
    pub fn source(&self) -> Option<Source> {
        self.source.map(Source::from).or(self.began_at)
    }

    /// The name by which its source counts it.
    pub fn name(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.user)
    }

    /// The audit event of this attempt with its outcome, decided at `now`.
    pub fn event(&self, verdict: &Verdict, now: UnixTime) -> DecisionEvent {
        DecisionEvent {
            request: self.request,
            purpose: self.purpose,
            decision: self.note.said.of(verdict.decision),
            reason: verdict.reason,
            user: self.user.clone(),
            serial: verdict.serial.clone(),
            step: verdict.step,
            client: Arc::clone(&self.client),
            channel: self.channel,
            method: Arc::clone(&self.method),
            source: self.source,
            origin: self.origin.clone(),
            rule: self.rule.clone(),
            note: self.note.of(verdict),
            waiver: self.waived.as_ref().map(|waived| waived.text.clone()),
            failures: verdict.failures,
            locked: verdict.locked,
            latency: u32::try_from(millis(now.since(self.at))).unwrap_or(u32::MAX),
        }
    }

    /// What is presented outside a login: with no rule, exception, source or device.
    pub fn outside_login(
        (request, at): (RequestId, UnixTime),
        channel: Channel,
        purpose: Purpose,
        evidence: Evidence,
    ) -> Self {
        Self {
            request,
            at,
            deadline: at,
            purpose,
            user: String::new(),
            alias: None,
            client: Arc::default(),
            channel,
            method: Arc::default(),
            source: None,
            began_at: None,
            origin: None,
            rule: None,
            note: Note::default(),
            waived: None,
            lockout: Lockout::default(),
            evidence,
            proven: Vec::new(),
            enrols: None,
        }
    }
}

/// What the audit says beside the reason, by the outcome that it goes with.
#[derive(Clone, Debug, Default)]
pub struct Note {
    /// With every outcome.
    pub always: Option<String>,
    /// With an accept.
    pub accept: Option<String>,
    /// What is answered.
    pub said: Said,
}

/// What is answered, where it may be another word than what is decided: the audit says what was answered
/// (contract s8.8), and the reason what was decided.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Said {
    /// What is decided.
    #[default]
    Decided,
    /// A reject in the place of a challenge: the client shows none.
    NoRounds,
    /// A challenge that nothing passes in the place of a reject: everybody is asked alike.
    Decoy,
}

impl Said {
    /// What is answered where this is decided.
    pub const fn of(self, decided: Decision) -> Decision {
        match (self, decided) {
            (Self::NoRounds, Decision::Challenge) => Decision::Reject,
            (Self::Decoy, Decision::Reject) => Decision::Challenge,
            (_, decided) => decided,
        }
    }

    /// What the audit says of it.
    const fn note(self, decided: Decision) -> Option<&'static str> {
        match (self, decided) {
            (Self::NoRounds, Decision::Challenge) => Some(NO_ROUNDS),
            (Self::Decoy, Decision::Reject) => Some(DECOY),
            _ => None,
        }
    }
}

/// What the audit says of a challenge that the client cannot show.
const NO_ROUNDS: &str = "answered with a reject: the client shows no challenges";
/// What the audit says of a reject that looks like a challenge.
const DECOY: &str = "answered with a challenge that nothing passes";

impl Note {
    fn of(&self, verdict: &Verdict) -> Option<String> {
        let said = self.said.note(verdict.decision);
        let own = match verdict.decision {
            Decision::Accept => self.accept.as_deref(),
            Decision::Challenge => said,
            Decision::Reject => said.filter(|_| verdict.note.is_none()),
        };
        let notes = self.always.as_deref().into_iter();
        let notes = notes.chain(verdict.note).chain(own);
        notes
            .map(str::to_owned)
            .reduce(|one, other| format!("{one}; {other}"))
    }
}

/// An exception in force.
#[derive(Clone, Debug)]
pub struct Waived {
    /// What an accept is called because of it; `None`: nothing was left out.
    pub reason: Option<Reason>,
    /// What the audit says.
    pub text: String,
}

/// What was found of what is presented.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// Refused without comparing anything; counted against the source only, if it is of a name.
    Refused(Reason),
    /// The same of a login, after the name was looked up.
    Missed {
        /// Why.
        reason: Reason,
        /// Whether something was typed that would have been compared. Where only a code was asked for nothing
        /// counts: nothing does for a user who is sent one.
        typed: bool,
    },
    /// Something was compared.
    Compared(Compared),
    /// Nothing was compared: an accept is given again to the attempt that it was for.
    Repeated(Repeated),
}

/// What must be as it was for an accept to be given again.
#[derive(Clone, Debug)]
pub struct Repeated {
    /// Whose.
    pub user: UserKey,
    /// Generation of the static records that were looked at.
    pub generation: u64,
    /// Revision of the user's record.
    pub revision: u64,
    /// Revision of PIN and password, where the rule asks for one.
    pub credentials: Option<u64>,
    /// The token whose code was consumed in the last round, if one was.
    pub serial: Option<Serial>,
    /// Revision of its record.
    pub token: u64,
    /// The tokens of earlier rounds.
    pub held: Vec<Proven>,
}

/// A token whose code was right in an earlier round of a login.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proven {
    /// Which token.
    pub serial: Serial,
    /// Revision of its record then.
    pub revision: u64,
    /// Whether it was the first right code, which brings the token into use when the rest is proven.
    pub first: bool,
}

impl Proven {
    /// A token as it is in a view.
    pub fn of(token: &Token) -> Self {
        Self {
            serial: token.serial.clone(),
            revision: token.revision,
            first: token.state == LifeCycle::Pending,
        }
    }
}

/// What was compared with what was presented.
#[derive(Clone, Debug)]
pub struct Compared {
    /// Whose.
    pub user: UserKey,
    /// Generation of the static records the view was read from.
    pub generation: u64,
    /// Revision of the user's record that was read.
    pub revision: u64,
    /// Revision of the verifiers that were read, if any were.
    pub credentials: Option<u64>,
    /// What the user knows, and whether it was right, in the order the rule asks for it.
    pub knowledge: Vec<(Knowledge, bool)>,
    /// One entry per token that the policy lets the user use; `None`: no code was asked for.
    pub tokens: Option<Vec<Comparison>>,
    /// What a success means.
    pub success: Success,
    /// The challenge that is answered with this.
    pub answers: Option<Answered>,
}

impl Compared {
    /// Whether a code that was sent can still be given after this answer, which was wrong. The challenge then goes
    /// on: each answer to it is a failure of the user, and one of the code's tries where it has its form (contract s7).
    pub(crate) fn leaves_tries(&self, current: &Current, at: UnixTime) -> bool {
        let mut tokens = self.tokens.iter().flatten().enumerate();
        tokens.any(|(index, token)| {
            let state = current.tokens.get(index).copied().unwrap_or_default();
            let sent = matches!(token.kind, Kind::Sms | Kind::Email | Kind::Voice);
            let mut live = state.issued.filter(|one| sent && one.way == Way::Code);
            if let Some(issued) = live.filter(|one| token.issued == Some(one.number)) {
                live = Some(issued.failed());
            }
            live.is_some_and(|issued| issued.is_open(state.moving.last, at))
        })
    }

    /// Whether anything was typed that is compared.
    pub fn is_guess(&self) -> bool {
        self.tokens.is_some() || !self.knowledge.is_empty()
    }
}

/// What it means when all that was compared is right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Success {
    /// The person is in.
    Accept,
    /// Another round follows.
    Challenge,
    /// Nothing yet: a PIN or password must be changed first.
    MustChange,
    /// Nothing yet: the person has answered on the other channel, and goes on where the login began.
    Answered,
}

/// The outcome of comparing the code with one token.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Which token.
    pub serial: Serial,
    /// Its kind.
    pub kind: Kind,
    /// Revision of the static record that was read.
    pub revision: u64,
    /// The moving factor the window was computed from.
    pub seen: Moving,
    /// Number of the issued code that was compared, when there was one and what was typed has its
    /// form: a wrong answer then counts against it.
    pub issued: Option<u64>,
    /// Steps in the window whose code this is, and the last accepted one if it is its code.
    pub matches: Matches,
    /// How the drift follows an accepted step.
    pub drift: DriftRule,
    /// Whether a right code brings it into use: it waits for its first one.
    pub first: bool,
}

/// How the drift follows an accepted step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DriftRule {
    /// Counters have none.
    None,
    /// Learn from the distance to the present step (RFC 6238 s6), within the clamp.
    Learn(TimeStep),
    /// Two consecutive codes fixed it.
    Fixed(Drift),
}

/// The newest state of everything an attempt touches; what has no row is as it began.
#[derive(Clone, Debug, Default)]
pub struct Current {
    /// Of the user.
    pub user: UserState,
    /// Of the compared tokens, in the same order.
    pub tokens: Vec<TokenState>,
    /// Of the source the attempt came from.
    pub source: SourceState,
}

/// What an attempt does to the state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// What the user is answered.
    pub decision: Decision,
    /// Why.
    pub reason: Reason,
    /// The token that decided.
    pub serial: Option<Serial>,
    /// The step consumed or found used.
    pub step: Option<u64>,
    /// The user's failures afterwards.
    pub failures: u32,
    /// The user's new state, if it changes.
    pub user: Option<UserState>,
    /// Whether a lock begins with it.
    pub locked: bool,
    /// The new states of the tokens that change: the one whose code was used, or those against whose
    /// issued codes a guess counts.
    pub tokens: Vec<(Serial, TokenState)>,
    /// What it is to the count of the source.
    pub source: Option<AtSource>,
    /// The token that comes into use with it: its first right code is among what was proven.
    pub activates: Option<Serial>,
    /// What a reader of the audit must know beside the reason.
    pub note: Option<&'static str>,
}

/// What an attempt is to the count of its source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AtSource {
    /// A failure by its name.
    Failed,
    /// A success of its user.
    Right,
}

/// The view was too old to decide; load it again and compare again. Nothing was counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stale;
