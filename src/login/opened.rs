//! The challenge that a request answers: which rule began its login, and why it is stale, if so.

use std::time::Duration;

use crate::core::{CoreError, policy_of};
use crate::login::Login;
use crate::login::Presented;
use crate::login::candidates::{Slot, is_usable};
use crate::login::case::Case;
use crate::login::challenge::{Binding, Closed, Inside, Opened};
use crate::login::match_otp::{MOST, codes};
use crate::login::round::is_match;
use crate::login::ticket::{self, end};
use crate::login::{LoginRequest, challenge};
use crate::model::attempt::Proven;
use crate::model::audit::Channel;
use crate::model::settle::ANSWERED_BEFORE;
use crate::model::source::Source;
use crate::model::token::Token;
use crate::model::user_state::Answered;
use crate::otp::Typed;
use crate::policy::split::CodePart;
use crate::policy::{Factor, Policy, Rule};
use crate::store::View;
use crate::time::UnixTime;

/// The challenge that is answered and the rule that began its login; none: a login begins.
type Begun<'p> = Option<(Opened, &'p Rule)>;

impl Login {
    /// The challenge that is answered, and the rule that began its login. One that is not ours, has expired
    /// or was answered starts a login again, as RFC 5080 s2.1.1 asks: a NAS gives an old State back. But a code
    /// that comes with it is no first factor, and comparing it with one would be a failure that the person did
    /// not commit. An application gets no second login by an old challenge. `Err`: why it cannot be answered
    /// any more.
    pub(crate) fn opened<'p>(
        &self,
        request: &LoginRequest<'_>,
        policy: &'p Policy,
        by_request: Option<&'p Rule>,
        view: &View,
        at: UnixTime,
    ) -> Result<Result<Begun<'p>, String>, CoreError> {
        let Some(text) = request.challenge else {
            return Ok(Ok(None));
        };
        let (id, _) = ticket::parts(text);
        let closed = Closed::read(&self.challenge_key, id, at);
        let revision = self.core.store.credentials(&view.user.key)?.revision;
        let user = view.user.key.to_string();
        let binding = Binding {
            client: &request.client.name,
            user: &user,
            policy: &policy.name,
            text: policy.text,
            since: view.user.created,
            credentials: revision,
            held: &[],
        };
        let sets = sets(view, policy, at);
        let found = closed
            .as_ref()
            .and_then(|closed| open(closed, binding, policy, &sets));
        let why = match (&closed, found) {
            (_, Some((opened, rule))) => match self.why_over(request, policy, &opened, view, at) {
                None => return Ok(Ok(Some((opened, rule)))),
                Some(why) => why,
            },
            (Some(closed), None) => self.why_closed(closed, binding, (view, &sets)),
            (None, None) => NOT_OURS.to_owned(),
        };
        if request.channel == Channel::Http
            || self.is_late_code(request, policy, by_request, view, at)?
        {
            return Ok(Err(why));
        }
        Ok(Ok(None))
    }

    /// Why a challenge that opens is answered no more, if so.
    fn why_over(
        &self,
        request: &LoginRequest<'_>,
        policy: &Policy,
        opened: &Opened,
        view: &View,
        at: UnixTime,
    ) -> Option<String> {
        let (key, client) = (&self.challenge_key, &request.client.name);
        let ticket = request
            .challenge
            .and_then(|text| ticket::open_ticket(key, client, text));
        let Some(expires) = end(policy, opened.inside, ticket.as_ref()) else {
            return Some(NOT_WHOLE.to_owned());
        };
        let answer = Answered {
            challenge: opened.id,
            expires,
        };
        let restarts = request.channel != Channel::Http;
        if restarts && view.state.has_answered(answer, at) {
            return Some(ANSWERED_BEFORE.to_owned());
        }
        // One of a time to come was made while the clock was ahead.
        let made = opened.inside.issued <= at.plus(AHEAD);
        let open = made && at < expires;
        (!open).then(|| format!("the challenge expired at {}", expires.rfc3339()))
    }

    /// Whether what comes with a void challenge was typed for it, and is no first factor: a code, or the word
    /// that asks for one.
    ///
    /// Digits are a code, but where the login begins with digits. Where it begins with a PIN, a code of the
    /// user's is told from it by comparing: with a void challenge it is not used up. A wrong one may be a wrong
    /// PIN, and counts: else a void challenge would buy guesses. For who is blocked nothing is compared: what the
    /// audit says would tell hits from misses, and a hit would not be counted.
    fn is_late_code(
        &self,
        request: &LoginRequest<'_>,
        policy: &Policy,
        by_request: Option<&Rule>,
        view: &View,
        at: UnixTime,
    ) -> Result<bool, CoreError> {
        let (digits, word) = match request.presented {
            Presented::Passcode(text) => (
                Typed::parse(text.expose()).is_ok(),
                Factor::of_keyword(text.expose()).is_some(),
            ),
            Presented::Response(_) => (true, false),
            Presented::Fields { .. } => return Ok(true),
        };
        let Some(rule) = by_request else {
            return Ok(digits);
        };
        match rule.require.split_first() {
            None | Some((_, [])) => Ok(false),
            Some((Factor::Password, _)) if digits => Ok(true),
            Some((Factor::Password | Factor::Pin, _)) if word => Ok(true),
            Some((Factor::Password | Factor::Pin, _)) => {
                let case = Case {
                    request,
                    policy,
                    rule,
                    at,
                    least: 0,
                };
                Ok(self.unblocked(case, view)?.is_ok() && self.is_code_now(case, view)?)
            }
            Some((_, rest)) => Ok(digits && rest.iter().any(|one| *one != Factor::Password)),
        }
    }

    /// Whether what was typed is a code of the user's now, or the one used last. All codes are compared, whichever
    /// is right: the time tells nothing. What follows costs alike as well: [`Login::miss`] hashes as often as a wrong
    /// first factor makes it.
    fn is_code_now(&self, case: Case<'_, '_>, view: &View) -> Result<bool, CoreError> {
        let (rule, policy, at) = (case.rule, case.policy, case.at);
        let outage = self.relief(rule, at)?.is_some();
        let place = case.place(view, &rule.require, 1, outage);
        let held = rule.require.iter().filter(|factor| !factor.is_knowledge());
        Ok(held.fold(false, |found, factor| {
            let Ok(slot) = Slot::of(*factor, place) else {
                return found;
            };
            let right = match case.request.presented {
                Presented::Passcode(text) => {
                    let part = CodePart::alone(text.expose(), slot.extra());
                    let compared = case.compare(&slot, part);
                    compared.is_ok_and(|compared| is_match(&compared))
                }
                Presented::Response(Some(response)) => {
                    let codes = codes(&slot.tokens, &policy.otp, at);
                    let codes = codes.iter().take(MOST);
                    codes.fold(false, |found, code| response.is_of(code.expose()) | found)
                }
                Presented::Response(None) | Presented::Fields { .. } => false,
            };
            found | right
        }))
    }

    /// What was changed since the challenge was made, where that can be found out.
    fn why_closed(
        &self,
        closed: &Closed,
        binding: Binding<'_>,
        (view, sets): (&View, &[Vec<Proven>]),
    ) -> String {
        let opens_with = |binding: Binding<'_>| {
            let without = Binding {
                credentials: 0,
                ..binding
            };
            let mut both = [binding, without].into_iter();
            both.any(|binding| closed.open(binding).is_some())
        };
        let opens = |binding: Binding<'_>| {
            let mut sets = sets.iter().take(REASONED);
            sets.any(|held| opens_with(Binding { held, ..binding }))
        };
        if let Some(token) = changed(view, |held| opens_with(Binding { held, ..binding })) {
            let serial = &token.serial;
            return format!(
                "token {serial} was changed, or is not in use any more, since its code was right"
            );
        }
        let policies = self.core.policies();
        let earlier = self.core.earlier.load();
        let texts = earlier.iter().filter(|(name, _)| name == binding.policy);
        for (_, text) in texts {
            let text = *text;
            if opens(Binding { text, ..binding }) {
                let name = binding.policy;
                return format!("policy {name} was changed since the challenge was made");
            }
        }
        for revision in 1..=REVISIONS.min(binding.credentials) {
            let credentials = binding.credentials - revision;
            if opens(Binding {
                credentials,
                ..binding
            }) {
                return "the PIN or password was changed since the challenge was made".to_owned();
            }
        }
        for policy in policies.iter().take(CANDIDATES) {
            let (policy, text) = (policy.name.as_str(), policy.text);
            if opens(Binding {
                policy,
                text,
                ..binding
            }) {
                return format!("the client had policy {policy} when the challenge was made");
            }
        }
        for client in self.core.clients.all().iter().take(CANDIDATES) {
            let Ok(policy) = policy_of(client, &policies) else {
                continue;
            };
            if opens(Binding {
                client: &client.name,
                policy: &policy.name,
                text: policy.text,
                ..binding
            }) {
                return format!("the challenge was made for client {}", client.name);
            }
        }
        NOT_OURS.to_owned()
    }
}

/// Opens a challenge with the rule that it names.
fn open<'p>(
    closed: &Closed,
    binding: Binding<'_>,
    policy: &'p Policy,
    sets: &[Vec<Proven>],
) -> Option<(Opened, &'p Rule)> {
    let mut bindings = sets.iter().flat_map(|held| {
        let binding = Binding { held, ..binding };
        let without = Binding {
            credentials: 0,
            ..binding
        };
        [binding, without]
    });
    bindings.find_map(|binding| {
        let opened = closed.open(binding)?;
        let rule = policy.rules.get(usize::from(opened.inside.rule))?;
        let knows = rule.require.iter().any(|factor| factor.is_knowledge());
        let bound = if knows { binding.credentials } else { 0 };
        // What the user has was proven by a token.
        let rests = opened.inside.passed.has_held() != binding.held.is_empty();
        (rests && bound == binding.credentials).then_some((opened, rule))
    })
}

/// The sets of the user's tokens on which a challenge may rest, the empty one first, since none names its own. Where
/// each rule asks for its code last, as most policies do, there is no other.
fn sets(view: &View, policy: &Policy, at: UnixTime) -> Vec<Vec<Proven>> {
    let before_last = |rule: &Rule| {
        let before = rule.require.split_last().map(|(_, before)| before);
        let held = before.unwrap_or_default().iter();
        held.filter(|factor| !factor.is_knowledge()).count()
    };
    let most = policy.rules.iter().map(before_last).max().unwrap_or(0);
    let mut sets = vec![Vec::new()];
    if most == 0 {
        return sets;
    }
    let usable = view.tokens.iter();
    let usable = usable.filter(|(token, state)| is_usable((token, state), &view.user.key, at));
    let tokens: Vec<Proven> = usable.map(|(token, _)| Proven::of(token)).collect();
    for size in 0..most {
        let shorter = sets.iter().filter(|set: &&Vec<Proven>| set.len() == size);
        let longer = shorter.flat_map(|set| {
            let later = move |token: &&Proven| {
                let last = set.last();
                last.is_none_or(|last| last.serial < token.serial)
            };
            let later = tokens.iter().filter(later);
            later.map(move |token| [set.as_slice(), std::slice::from_ref(token)].concat())
        });
        let longer: Vec<Vec<Proven>> = longer.take(SETS).collect();
        sets.extend(longer);
    }
    sets.truncate(SETS);
    sets
}

/// The token that a challenge rests on which is not as it was, where it rests on one.
fn changed(view: &View, opens: impl Fn(&[Proven]) -> bool) -> Option<&Token> {
    let mut tokens = view.tokens.iter().map(|(token, _)| token).take(CANDIDATES);
    tokens.find(|token| {
        let before = (0..=REVISIONS).filter_map(|back| token.revision.checked_sub(back));
        let mut before = before.map(|revision| Proven {
            revision,
            ..Proven::of(token)
        });
        before.any(|was| opens(std::slice::from_ref(&was)))
    })
}

/// The known source that the login began at, where the answer names none.
pub(crate) fn began_at(request: &LoginRequest<'_>, view: &View, inside: Inside) -> Option<Source> {
    let known = view.state.known.iter().map(|known| known.source);
    let unnamed = request.source.is_none() && inside.source != 0;
    known
        .filter(|_| unnamed)
        .find(|source| challenge::mark_of(*source) == inside.source)
}

/// What the audit says where the answer alone would be judged by another rule.
pub(crate) fn other_rule(rule: &Rule, by_request: Option<&Rule>) -> Option<String> {
    if by_request.is_some_and(|other| other.name == rule.name) {
        return None;
    }
    let other = by_request.map_or("no rule", |other| &other.name);
    Some(format!(
        "rule {} began the login and ends it; by this request alone it would be {other}",
        rule.name
    ))
}

/// What the audit says of a challenge that was cut.
const NOT_WHOLE: &str =
    "the challenge is not whole: the application gives back the id as it was given";
/// What the audit says of a challenge of which nothing else is known.
const NOT_OURS: &str = "the challenge was not made here, or for another user";
/// Most sets of tokens that are tried to open a challenge. Two codes before the last factor are rare: of one token
/// each this is for as many tokens.
const SETS: usize = 256;
/// How many earlier revisions of the verifiers and of tokens, policies, clients and tokens are tried to say why a
/// challenge does not open, and how many sets of tokens with each: anyone may send one that does not.
const REVISIONS: u64 = 3;
const CANDIDATES: usize = 32;
const REASONED: usize = 4;
/// How far the times of decisions may lie apart.
const AHEAD: Duration = Duration::from_secs(30);
