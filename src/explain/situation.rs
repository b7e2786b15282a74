//! Where a login stands without what is typed: what is shown of it, and what advice needs beside that.

use crate::api::explain::{Asker, Login, Person, TokenNow, TokenThen};
use crate::api::forms;
use crate::explain::Frame;
use crate::model::credential::{Credentials, Verifier};
use crate::model::kind::Kind;
use crate::model::reason::Reason;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user::User;
use crate::otp::throttle::Blocked;
use crate::time::UnixTime;

/// What is known about one login.
pub(super) struct Situation {
    /// What is shown.
    pub(super) shown: Login,
    /// The time by which rules and waivers were read.
    pub(super) at: UnixTime,
    /// The user's record, if there is one.
    pub(super) user: Option<User>,
    /// What the user knows.
    pub(super) credentials: Credentials,
    /// Whether the name is of the console, and the client is not: it is no user's there, whether or not it has a
    /// record.
    pub(super) barred: bool,
    /// Users of the same name in other realms, where there is no record.
    pub(super) namesakes: Vec<String>,
    /// Kinds of tokens that prove the held factor.
    pub(super) kinds: Vec<Kind>,
    /// All tokens of the user.
    pub(super) tokens: Vec<TokenShown>,
    /// Why nothing is evaluated by the time of the locks, if so.
    pub(super) blocked: Option<Reason>,
    /// Why everything would be rejected, if so.
    pub(super) refused: Option<Reason>,
    /// What else a reader must know, in sentences.
    pub(super) notes: Vec<String>,
}

/// A token, and whether its codes count for this login.
#[derive(Debug)]
pub(super) struct TokenShown {
    /// The token.
    pub(super) token: Token,
    /// What attempts changed about it.
    pub(super) state: TokenState,
    /// Whether its codes count.
    pub(super) counts: bool,
    /// Why not, or why its codes are not looked at now.
    pub(super) why: Option<String>,
}

impl TokenShown {
    /// As it is shown.
    pub(super) fn shown(&self, at: UnixTime) -> TokenNow {
        TokenNow {
            token: forms::token(&self.token, &self.state, at),
            counts: self.counts && self.why.is_none(),
            why: self.why.clone(),
        }
    }
}

/// The token that decided.
pub(super) struct Decider {
    /// What is shown of it.
    pub(super) shown: TokenThen,
    /// Its state now, if it still is.
    pub(super) state: Option<LifeCycle>,
    /// The repair of the store for which the code counted as used, and until when codes were refused.
    pub(super) repair: Option<(UnixTime, UnixTime)>,
}

impl Situation {
    /// Before any policy was read; `name` is the user as the audit would show it.
    pub(super) fn new(
        frame: Frame<'_>,
        name: String,
        user: Option<&User>,
        credentials: Credentials,
    ) -> Self {
        let request = frame.request;
        let shown = Login {
            client: Asker {
                name: request.client.name.clone(),
                known: frame.known,
                channel: request.channel.to_string(),
                policy: request.client.policy.clone(),
                challenge: request.rounds,
            },
            method: request.method.to_owned(),
            client_ip: request.source,
            user: Person {
                user: name,
                known: user.is_some(),
                disabled: user.is_some_and(|user| user.disabled),
                groups: user.map_or_else(Vec::new, |user| user.groups.clone()),
                class: user.and_then(|user| user.class.clone()),
                pin: word(credentials.pin.as_ref()),
                password: word(credentials.password.as_ref()),
            },
            policy: None,
            rules: Vec::new(),
            rule: None,
            factors: Vec::new(),
            forms: Vec::new(),
            reply: Vec::new(),
            tokens: Vec::new(),
            counters: None,
            waiver: None,
        };
        Self {
            shown,
            at: request.at,
            user: user.cloned(),
            credentials,
            barred: false,
            namesakes: Vec::new(),
            kinds: Vec::new(),
            tokens: Vec::new(),
            blocked: None,
            refused: None,
            notes: Vec::new(),
        }
    }

    /// The user as the audit would show it.
    pub(super) fn name(&self) -> &str {
        &self.shown.user.user
    }

    /// The repair of the store for which codes that would count are refused, and until when.
    pub(super) fn repair_refuses(&self) -> Option<(UnixTime, UnixTime)> {
        let mut counting = self.tokens.iter().filter(|token| token.counts);
        counting.find_map(|token| token.state.refused_until(self.at))
    }

    /// Why no code is looked at although one is asked for: every token that counts is blocked.
    pub(super) fn tokens_blocked(&self, at: UnixTime) -> Option<Reason> {
        let counting = self.tokens.iter().filter(|token| token.counts);
        let mut reason = None;
        for token in counting {
            reason = match token.state.throttle.check(at) {
                // Its codes count as used.
                Ok(()) if token.state.refused_until(at).is_some() => Some(Reason::UsedCode),
                Ok(()) => return None,
                Err(Blocked::Throttled { .. }) => Some(Reason::Throttled),
                Err(Blocked::Locked { .. }) => Some(Reason::Locked),
            };
        }
        reason
    }
}

fn word(verifier: Option<&Verifier>) -> String {
    let word = match verifier {
        None => "none",
        Some(verifier) if verifier.must_change => "must_change",
        Some(_) => "set",
    };
    word.to_owned()
}
