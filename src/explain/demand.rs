//! What must be presented, in which forms, and with which tokens.

use crate::api::explain as doc;
use crate::api::explain::{Asked, Typed};
use crate::explain::situation::{Situation, TokenShown};
use crate::login::case::Case;
use crate::login::demand::Demand;
use crate::login::prompt::prompt;
use crate::login::round::Form;
use crate::model::credential::Credentials;
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::reason::Reason;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::notice::Text;
use crate::otp::throttle::Blocked;
use crate::policy::{Factor, Policy, assurance, kinds_of};
use crate::store::View;
use crate::time::UnixTime;

/// Enters what the deciding rule asks for.
pub(super) fn enter(
    case: Case<'_, '_>,
    demand: &Demand<'_>,
    asks: &dyn Fn(Text) -> String,
    situation: &mut Situation,
) {
    let left = demand.factors.as_ref();
    let best = situation.tokens.iter().find(|token| token.counts);
    let shown = &mut situation.shown;
    shown.rule = Some(Asked {
        name: case.rule.name.clone(),
        place: case.rule.file_line(),
        assurance: assurance(left, best.map(|token| token.token.kind)),
        min_assurance: case.rule.min_assurance,
    });
    let factors = case.rule.require.iter().map(|factor| doc::Factor {
        factor: factor.to_string(),
        waived: !left.contains(factor),
    });
    shown.factors = factors.collect();
    shown.waiver = demand.waived.as_ref().map(|waived| waived.text.clone());
    shown.forms = forms(case, left, &situation.credentials, best, asks);
    situation.kinds = kinds(case, demand);
}

/// Kinds that prove the first held factor which is asked for.
fn kinds(case: Case<'_, '_>, demand: &Demand<'_>) -> Vec<Kind> {
    let mut held = demand
        .factors
        .iter()
        .filter(|factor| !factor.is_knowledge());
    let Some(held) = held.next() else {
        return Vec::new();
    };
    let accepted = case.rule.accepts(*held, demand.outage);
    let kinds = accepted.flat_map(|factor| kinds_of(factor, &case.policy.otp).iter().copied());
    kinds.filter(|kind| *kind != Kind::Push).collect()
}

fn forms(
    case: Case<'_, '_>,
    left: &[Factor],
    credentials: &Credentials,
    best: Option<&TokenShown>,
    asks: &dyn Fn(Text) -> String,
) -> Vec<doc::Form> {
    let digits = best.map_or(6, |token| token.token.digits.get());
    let yubikey = best.is_some_and(|token| token.token.kind == Kind::Yubikey);
    let shape = |factor: &Factor| match factor {
        Factor::Password => "<password>".to_owned(),
        Factor::Pin => "<PIN>".to_owned(),
        _ if yubikey => "<OTP of the yubikey>".to_owned(),
        _ => format!("<code of {digits} digits>"),
    };
    let parts: Vec<String> = left.iter().map(shape).collect();
    let form = case.form(false);
    let mut forms = Vec::new();
    if form != Form::One || parts.len() == 1 {
        let mut shapes = vec![parts.join(",")];
        // Without the PIN's length it cannot be said where the password ends.
        let length = credentials.pin.as_ref().and_then(|pin| pin.length);
        let both = left.contains(&Factor::Password) && left.contains(&Factor::Pin);
        if parts.len() > 1 && (!both || length.is_some()) {
            shapes.push(parts.concat());
        }
        forms.push(doc::Form {
            how: "one_box".to_owned(),
            rounds: vec![Typed {
                prompt: None,
                shapes,
            }],
        });
    }
    if form != Form::Joined && parts.len() > 1 {
        let rounds = left.iter().zip(&parts).enumerate();
        let rounds = rounds.map(|(round, (factor, shape))| Typed {
            prompt: (round > 0).then(|| asks(prompt(*factor))),
            shapes: vec![shape.clone()],
        });
        forms.push(doc::Form {
            how: "rounds".to_owned(),
            rounds: rounds.collect(),
        });
    }
    if case.request.method == "http" {
        let fields = left.iter().zip(&parts);
        let fields = fields.map(|(factor, shape)| format!("\"{factor}\":\"{shape}\""));
        let fields: Vec<String> = fields.collect();
        forms.push(doc::Form {
            how: "fields".to_owned(),
            rounds: vec![Typed {
                prompt: None,
                shapes: vec![format!("{{{}}}", fields.join(","))],
            }],
        });
    }
    forms
}

/// All tokens of the user; `counted` are those whose codes count; `missing` says why none does, where it is
/// not for the tokens alone.
pub(super) fn tokens(
    view: &View,
    policy: &Policy,
    factors: &[Factor],
    counted: &[&Serial],
    missing: Option<Reason>,
    locks_at: UnixTime,
) -> Vec<TokenShown> {
    let shown = view.tokens.iter().map(|(token, state)| {
        let token = at_present(token, locks_at);
        let counts = token.state != LifeCycle::Expired && counted.contains(&&token.serial);
        let why = if counts {
            let blocked = state.lock().check(locks_at).err();
            let blocked = blocked.map(|blocked| match blocked {
                Blocked::Locked { .. } => "it is locked".to_owned(),
                Blocked::Throttled { .. } => "too soon after a failure".to_owned(),
            });
            blocked.or_else(|| refused(state, locks_at))
        } else if let Some(at) = closed(&token, state) {
            Some(format!(
                "it is {} since the repair or restore of the store on {}",
                token.state,
                at.rfc3339()
            ))
        } else if token.state != LifeCycle::Active
            && (token.user != view.user.key || !token.awaits_first_code(locks_at))
        {
            Some(unused(&token, locks_at))
        } else if !factors.contains(&Factor::Otp) {
            Some("no code is asked for".to_owned())
        } else if !policy.otp.kinds.contains(&token.kind) {
            let kinds: Vec<_> = policy.otp.kinds.iter().map(|kind| kind.as_str()).collect();
            Some(format!("the policy takes {}", kinds.join(", ")))
        } else {
            Some(match missing {
                Some(Reason::NoPin) => {
                    "the rule asks for a PIN too, and the user has none".to_owned()
                }
                Some(Reason::NoPassword) => {
                    "the rule asks for a password too, and the user has none".to_owned()
                }
                None | Some(Reason::LowAssurance) => {
                    "with it too little assurance is reached".to_owned()
                }
                Some(Reason::NoToken | Reason::NotActive) => {
                    "the rule asks for another token too, which the user cannot use".to_owned()
                }
                Some(reason) => format!("the login is refused before that: {reason}"),
            })
        };
        TokenShown {
            token,
            state: *state,
            counts,
            why,
        }
    });
    shown.collect()
}

/// The token as it stands at a time: what has expired is not in use, whether or not that is noted yet.
fn at_present(token: &Token, at: UnixTime) -> Token {
    Token {
        state: token.state_at(at),
        ..token.clone()
    }
}

/// Why a token is not in use.
fn unused(token: &Token, at: UnixTime) -> String {
    let state = token.state;
    let until = token.enrolment.first_use_until;
    match until.filter(|until| state == LifeCycle::Pending && *until <= at) {
        Some(until) => format!(
            "it is {state}, and its time for a first code ended on {}",
            until.rfc3339()
        ),
        None => format!("it is {state}"),
    }
}

/// Why codes of a token that counts are refused for a while, and until when.
fn refused(state: &TokenState, at: UnixTime) -> Option<String> {
    let (repaired, until) = state.refused_until(at)?;
    Some(format!(
        "its codes are refused until {}: the store was repaired or restored on {}, and which were used before is not known",
        until.rfc3339(),
        repaired.rfc3339()
    ))
}

/// When a repair of the store closed a token that must be resynchronised before it comes into use.
pub(super) fn closed(token: &Token, state: &TokenState) -> Option<UnixTime> {
    let waits = matches!(token.state, LifeCycle::Suspended | LifeCycle::Pending);
    state.needs_resync().filter(|_| waits)
}

/// All tokens where no rule asks for any.
pub(super) fn idle(view: &View, at: UnixTime) -> Vec<TokenShown> {
    let shown = view.tokens.iter().map(|(token, state)| TokenShown {
        token: at_present(token, at),
        state: *state,
        counts: false,
        why: Some("no rule applies".to_owned()),
    });
    shown.collect()
}
