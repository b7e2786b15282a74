//! What an administrator does next.

use crate::api::explain::{Held, Next};
use crate::explain::demand;
use crate::explain::situation::{Decider, Situation, TokenShown};
use crate::login::read::asked_in_vain;
use crate::model::audit::{DecisionEvent, Purpose};
use crate::model::credential::Verifier;
use crate::model::kind::Kind;
use crate::model::reason::{Decision, Reason};
use crate::model::token::{LifeCycle, Token};
use crate::model::user::User;
use crate::model::user_key::UserKey;
use crate::policy::{Factor, OtpWindows, kinds_of};

fn step(text: impl Into<String>, words: &[&str]) -> Next {
    let program = (!words.is_empty()).then_some("oncegate");
    let words = program.into_iter().chain(words.iter().copied());
    Next {
        text: text.into(),
        command: words.map(str::to_owned).collect(),
    }
}

fn say(text: impl Into<String>) -> Next {
    step(text, &[])
}

/// After a login that no one has tried.
pub(super) fn supposed(situation: &Situation) -> Vec<Next> {
    match situation.refused {
        Some(reason) => of_reason(reason, situation),
        None => Vec::new(),
    }
}

/// After a decision.
pub(super) fn past(
    event: &DecisionEvent,
    situation: &Situation,
    decider: Option<&Decider>,
) -> Vec<Next> {
    if event.decision == Decision::Reject && event.purpose != Purpose::Login {
        return outside(event, situation, decider);
    }
    if let Some(factor) = asked_by_word(event).filter(|_| situation.user.is_some()) {
        return of_word(factor, event.reason, situation);
    }
    match event.reason {
        reason if counts(reason) => {
            let mut steps = still_blocked(situation);
            steps.extend(match reason {
                Reason::UsedCode => used(decider),
                reason => of_reason(reason, situation),
            });
            steps
        }
        Reason::Locked | Reason::Throttled | Reason::SourceBlocked => match situation.blocked {
            Some(blocked) => {
                let mut steps = of_reason(blocked, situation);
                if blocked != event.reason {
                    let now = format!("By now it would be {blocked}: {}.", blocked.advice());
                    steps.insert(0, say(now));
                }
                steps
            }
            None if situation.shown.counters.is_some() => {
                vec![say("It is over: let the person try again.")]
            }
            None => of_reason(event.reason, situation),
        },
        Reason::LowAssurance if event.note.is_some() => vec![say(
            "Finish the login with a code that the user types, or let the rule require something the user \
             knows beside it: the answer on the other channel alone is not enough (see the note).",
        )],
        Reason::MethodNotAllowed if is_eap(event) => other_eap(situation),
        reason => of_reason(reason, situation),
    }
}

/// Whether a conversation of EAP ended without a login: then the note says why.
pub(super) fn is_eap(event: &DecisionEvent) -> bool {
    event.reason == Reason::MethodNotAllowed && &*event.method == "eap"
}

/// What to do about it: who speaks EAP cannot speak PAP.
fn other_eap(situation: &Situation) -> Vec<Next> {
    let mut steps = vec![say(
        "Set on the device a method of EAP that its client is offered. EAP-TTLS with PAP or GTC inside takes every \
         factor; it needs `radius.eap.certificate`, which the device must trust. Outside of the tunnel the name is \
         `anonymous` or that of the same user.",
    )];
    let client = &situation.shown.client;
    if client.known {
        let words = ["client", "show", client.name.as_str()];
        steps.push(step("See which methods the client is allowed", &words));
    }
    steps
}

/// The factor that a word asked for, where the user had no token in use for it.
fn asked_by_word(event: &DecisionEvent) -> Option<Factor> {
    let is_about_tokens = matches!(event.reason, Reason::NoToken | Reason::NotActive);
    let note = event.note.as_deref().filter(|_| is_about_tokens)?;
    let mut factors = Factor::ALL.into_iter();
    factors.find(|factor| note.contains(&asked_in_vain(*factor)))
}

/// What to do about it.
fn of_word(factor: Factor, reason: Reason, situation: &Situation) -> Vec<Next> {
    let kinds = OtpWindows::default();
    let kinds = kinds_of(factor, &kinds);
    let of_factor = |token: &&TokenShown| kinds.contains(&token.token.kind);
    let mut tokens = situation.tokens.iter().filter(of_factor);
    if tokens.any(|token| token.counts) {
        return vec![say("The user has such a token by now: let them try again.")];
    }
    let other = say("Or tell the user what else to type: see the forms above.");
    let first = match (reason, kinds.first()) {
        (Reason::NoToken, Some(kind)) => added(
            situation,
            *kind,
            &format!("Give the user a token for `{factor}`"),
        ),
        _ => step(
            format!("See why the token for `{factor}` is not in use"),
            &["token", "list", "--user", situation.name()],
        ),
    };
    vec![first, other]
}

/// Whether a refusal for this reason counts as a failure, and may have led to a pause or a lock.
const fn counts(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::WrongCode
            | Reason::UsedCode
            | Reason::ExpiredCode
            | Reason::WrongPin
            | Reason::WrongPassword
    )
}

/// What must end before anything else can help.
fn still_blocked(situation: &Situation) -> Vec<Next> {
    match situation.blocked {
        Some(Reason::Locked) => {
            let words = ["user", "unlock", situation.name()];
            let text =
                "The user is locked by now, and right codes are refused too: end the lock first";
            vec![step(text, &words)]
        }
        Some(Reason::Throttled) => {
            vec![say(
                "First let the pause after the failures pass: some seconds.",
            )]
        }
        _ => Vec::new(),
    }
}

/// After a code outside a login that was refused.
fn outside(event: &DecisionEvent, situation: &Situation, decider: Option<&Decider>) -> Vec<Next> {
    let user = situation.name();
    let mut steps = Vec::new();
    match event.reason {
        // The record has the sender's number in the place of a user.
        Reason::WrongSender => return of_reason(event.reason, situation),
        Reason::Locked => steps.push(step(
            "The codes were not looked at: end the lock first",
            &["user", "unlock", user],
        )),
        Reason::Throttled => steps.push(say(
            "The codes were not looked at: wait some seconds. It says nothing about the token.",
        )),
        _ => {}
    }
    let present = decider.and_then(|token| Some((token, token.state?)));
    let Some((token, state)) = present else {
        steps.push(step(
            "See the user's tokens",
            &["token", "list", "--user", user],
        ));
        return steps;
    };
    let serial = token.shown.serial.as_str();
    steps.push(match (event.purpose, state) {
        (Purpose::Resync, LifeCycle::Active) => step(
            "Give two fresh codes that follow each other",
            &["token", "resync", serial],
        ),
        (Purpose::Confirm, LifeCycle::Pending) => {
            step("Try again with a fresh code", &["token", "confirm", serial])
        }
        (Purpose::Enrol, LifeCycle::Pending) => step(
            "Give the user a new enrolment code",
            &["token", "offer", serial],
        ),
        (Purpose::Inbound, _) => say("Let the person begin the login again."),
        (_, state) => step(
            format!("The token is {state} by now"),
            &["token", "show", serial],
        ),
    });
    steps
}

/// After a used code, or where every code counts as used because of a repair of the store.
fn used_code(situation: &Situation) -> Vec<Next> {
    let counting = situation.tokens.iter().filter(|token| token.counts);
    let refused = counting.filter_map(|token| {
        let (_, until) = token.state.refused_until(situation.at)?;
        Some(say(format!(
            "Let the person try again after {}, when codes of {} are taken again, or use another token until \
             then.",
            until.rfc3339(),
            token.token.serial
        )))
    });
    let mut steps: Vec<Next> = refused.collect();
    if steps.is_empty() {
        steps.push(say("Let the person wait for the next code and try again."));
    }
    steps
}

fn used(decider: Option<&Decider>) -> Vec<Next> {
    if let Some((_, until)) = decider.and_then(|token| token.repair) {
        return vec![say(format!(
            "Let the person try again after {}, or use another token until then.",
            until.rfc3339()
        ))];
    }
    let mut steps = vec![say("Let the person wait for the next code and try again.")];
    if let Some(token) = decider.filter(|token| token.shown.used_by.is_some()) {
        steps.push(step(
            "If that was not the user, the code has been seen: take the token out of use",
            &["token", "suspend", &token.shown.serial],
        ));
    }
    steps.push(say(
        "If it happens at every login, the NAS sends each password twice: look for a second \
         server, a health check or a cached password there.",
    ));
    steps
}

#[allow(clippy::too_many_lines)] // a row a word
fn of_reason(reason: Reason, situation: &Situation) -> Vec<Next> {
    let user = situation.name();
    let record = situation.user.as_ref();
    if record.is_none() && is_about_record(reason) {
        return vec![say(
            "There is no such user any more: there is nothing to do.",
        )];
    }
    match reason {
        Reason::TotpOk
        | Reason::HotpOk
        | Reason::YubikeyOk
        | Reason::ServerOk
        | Reason::SmsOk
        | Reason::EmailOk
        | Reason::VoiceOk
        | Reason::CardOk
        | Reason::PinOk
        | Reason::PasswordOk
        | Reason::RepeatedOk
        | Reason::RepeatedReject
        | Reason::EnrolOk => Vec::new(),
        Reason::RecoveryOk => vec![step(
            "If the user's token is lost, make another",
            &["token", "add", user, "--kind", "totp"],
        )],
        Reason::BypassOk if record.is_some_and(|user| user.bypass.is_some()) => vec![step(
            "End the bypass before its time",
            &["user", "bypass", user, "--end"],
        )],
        Reason::ExemptOk if record.is_some_and(|user| user.exemption.is_some()) => vec![step(
            "End the exemption before its time",
            &["user", "exempt", user, "--end"],
        )],
        Reason::BypassOk | Reason::ExemptOk => vec![say("The exception has ended since.")],
        Reason::Challenged | Reason::Answered => vec![step(
            "The answer is a request of its own, with its own id",
            &["audit", "list", "--user", user],
        )],
        Reason::WrongCode => wrong_code(situation),
        Reason::ExpiredCode => vec![say(
            "Let the person ask for a new code and type it within its time. If messages come too late, \
             look at the gateway: `oncegate delivery list`.",
        )],
        Reason::NotAnswered => vec![say(EARLY)],
        Reason::WrongSender => vec![say(
            "Compare the number with the address of the user's token: the message must come from there, while \
             a login waits for it.",
        )],
        Reason::UsedCode => used_code(situation),
        Reason::MalformedCode => vec![say(
            "Tell the user what to type: see the forms above. A PIN or password without its code, an empty \
             box, and a NAS that sends a value of its own end here too; so does one that does not sign its requests \
             and has another shared secret: the server's log says so.",
        )],
        Reason::WrongPin | Reason::WrongPassword => forgotten(reason, situation),
        Reason::NoPin | Reason::NoPassword => not_set(reason, situation),
        Reason::MustChange => must_change(situation),
        Reason::UnknownUser => unknown(situation),
        Reason::UserDisabled if record.is_some_and(|user| !user.disabled) => {
            vec![say("The user is enabled by now: let them try again.")]
        }
        Reason::UserDisabled => vec![step(
            "If the user may log in again",
            &["user", "enable", user],
        )],
        Reason::AccountDisabled
        | Reason::AccountExpired
        | Reason::AccountMustChange
        | Reason::AccountLocked => account(reason, record),
        Reason::NoToken => no_token(situation),
        Reason::NotActive => not_active(situation),
        Reason::Locked => locked(situation),
        Reason::Throttled => vec![say("Wait some seconds between attempts.")],
        Reason::SourceBlocked => vec![
            step(
                "See who failed from there",
                &["audit", "list", "--decision", "reject", "--since", "1h"],
            ),
            say(
                "If it is a gateway behind which many people sit, raise `source_lock_after` under \
                 `[lockout]` of the policy.",
            ),
        ],
        Reason::NoRule => no_rule(situation),
        Reason::OtherRealm if !situation.shown.client.known => vec![say(
            "There is no such client any more: there is nothing to do.",
        )],
        Reason::OtherRealm => vec![step(
            "The client is bound to another realm",
            &["client", "show", &situation.shown.client.name],
        )],
        Reason::StaleChallenge => vec![say(
            "Let the person begin again with the first factor. If answers always come too late, \
             raise `life` under `[challenge]` of the policy.",
        )],
        Reason::LowAssurance => low(situation),
        Reason::MethodNotAllowed => vec![say(OTHER_METHOD)],
        Reason::ReplyTooLong => vec![step(
            "Shorten the attributes under `[reply]` of the policy, or the names that they are filled \
             with; warnings say which can become too long",
            &["policy", "check"],
        )],
    }
}

/// What to do about a name of the console at another client.
const CONSOLE_ONLY: &str = "People of the console (realm `console`) sign in to the console only: at every \
                            other client they are unknown. For other logins let the person use a user \
                            of another realm.";

/// What to do where a login was to be finished too early.
const EARLY: &str =
    "The application asks too early: it polls `GET /v1/challenges/{id}` until it says `accepted`.";

/// What to do about an account that the directory does not let in.
fn account(reason: Reason, record: Option<&User>) -> Vec<Next> {
    let text = match reason {
        Reason::AccountDisabled => {
            "Enable the account in the directory, if the user may log in again."
        }
        Reason::AccountExpired => {
            "Prolong the account in the directory, if the user may log in again."
        }
        Reason::AccountLocked => {
            "Unlock the account in the directory, or wait until it does so itself."
        }
        _ => {
            "The user changes the password where the directory lets them, then logs in with the new one."
        }
    };
    let mut steps = vec![say(text)];
    let source = record.and_then(|user| user.directory.as_ref());
    if let Some(source) = source.filter(|_| reason != Reason::AccountMustChange) {
        let words = ["source", "show", source.source.as_str()];
        steps.push(step("See that the directory is followed", &words));
    }
    steps
}

/// What to do where a credential came by a method that is not taken.
const OTHER_METHOD: &str = "Set the NAS to PAP for this server, which every rule can take; \
                            Message-Authenticator and a long shared secret protect the password. The \
                            client's record lists the methods that it is allowed; a PIN or password that \
                            is kept hashed cannot come by CHAP or MS-CHAP.";

/// A step for every token of these.
fn tokens(
    situation: &Situation,
    text: &str,
    verb: &str,
    wanted: impl Fn(&TokenShown) -> bool,
) -> Vec<Next> {
    let tokens = situation.tokens.iter().filter(|token| wanted(token));
    let serials = tokens.map(|token| token.token.serial.as_str());
    serials
        .map(|serial| step(text, &["token", verb, serial]))
        .collect()
}

fn wrong_code(situation: &Situation) -> Vec<Next> {
    let mut steps = vec![say(
        "Once is a slip: let the person try the next code, of the right entry in the app.",
    )];
    let off = "If it repeats, the token's clock is off: two codes in a row find it again";
    let ahead = "If it repeats, the counter ran ahead: two codes in a row find it again";
    let counts = |wanted: Kind| {
        move |token: &TokenShown| {
            token.counts && token.token.kind == wanted && token.token.state == LifeCycle::Active
        }
    };
    let first = |token: &TokenShown| token.counts && token.token.state == LifeCycle::Pending;
    let scanned =
        "It waits for its first code: perhaps another QR code was scanned; see what it is";
    steps.extend(tokens(situation, scanned, "show", first));
    steps.extend(tokens(situation, off, "resync", counts(Kind::Totp)));
    steps.extend(tokens(situation, ahead, "resync", counts(Kind::Hotp)));
    let mut shown = situation.tokens.iter().filter(|token| token.counts);
    if shown.any(|token| token.token.kind.is_issued()) {
        steps.push(say(
            "Of codes that are sent only the newest is good, and only for the login that asked for it.",
        ));
    }
    steps
}

/// The password or PIN was wrong: a new one is the last resort.
fn forgotten(reason: Reason, situation: &Situation) -> Vec<Next> {
    let user = situation.name();
    let slip = say("Once is a slip: let the user try again, with a fresh code.");
    let record = situation.user.as_ref();
    let follows = record.is_some_and(|user| user.directory.is_some());
    if follows && reason == Reason::WrongPassword && situation.credentials.password.is_none() {
        let text =
            "The password is that of the directory: if the user has forgotten it, it is set there.";
        return vec![slip, say(text)];
    }
    let (text, option) = match reason {
        Reason::WrongPin => (
            "If the user has forgotten the PIN, set another",
            "--pin-stdin",
        ),
        _ => (
            "If the user has forgotten the password, set another",
            "--password-stdin",
        ),
    };
    vec![slip, step(text, &["user", "set", user, option])]
}

/// The user had no PIN or no password.
fn not_set(reason: Reason, situation: &Situation) -> Vec<Next> {
    let known = &situation.credentials;
    let (set, name, option) = match reason {
        Reason::NoPin => (known.pin.is_some(), "PIN", "--pin-stdin"),
        _ => (known.password.is_some(), "password", "--password-stdin"),
    };
    if set {
        return vec![say(format!(
            "The user has a {name} by now: let them try again."
        ))];
    }
    let text = format!("Set a {name}, and give it to the user only");
    vec![step(text, &["user", "set", situation.name(), option])]
}

/// A token of a kind that the rule accepts is missing.
fn no_token(situation: &Situation) -> Vec<Next> {
    let mut steps = Vec::new();
    if situation.tokens.iter().any(|token| token.counts) {
        return vec![say("The user has such a token by now: let them try again.")];
    }
    let useless = situation
        .tokens
        .iter()
        .filter(|token| !matches!(token.token.state, LifeCycle::Revoked | LifeCycle::Expired));
    let useless: Vec<&str> = useless.map(|token| token.token.serial.as_str()).collect();
    if !useless.is_empty() {
        let named = useless.join(", ");
        steps.push(say(format!(
            "The rule does not accept what the user has: {named}."
        )));
    }
    steps.push(another(
        situation,
        "Give the user a token that the rule accepts",
    ));
    steps
}

/// A new token of a kind that the rule accepts.
fn another(situation: &Situation, text: &str) -> Next {
    let kinds = &situation.kinds;
    let kind = kinds.iter().find(|kind| **kind == Kind::Totp);
    let kind = kind.or_else(|| kinds.first()).copied();
    added(situation, kind.unwrap_or(Kind::Totp), text)
}

/// A new token of this kind.
fn added(situation: &Situation, kind: Kind, text: &str) -> Next {
    let record = situation.user.as_ref();
    let address = record.and_then(|user| match kind {
        Kind::Email => user.email.as_deref(),
        _ => user.phone.as_deref(),
    });
    let mut words = vec!["token", "add", situation.name(), "--kind", kind.as_str()];
    if matches!(kind, Kind::Sms | Kind::Email | Kind::Voice) && address.is_none() {
        words.extend(["--address", "ADDRESS"]);
    }
    step(text, &words)
}

/// Whether the advice for a reason is about a user on record.
const fn is_about_record(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::RecoveryOk
            | Reason::BypassOk
            | Reason::ExemptOk
            | Reason::WrongCode
            | Reason::WrongPin
            | Reason::WrongPassword
            | Reason::MustChange
            | Reason::UserDisabled
            | Reason::AccountDisabled
            | Reason::AccountExpired
            | Reason::AccountMustChange
            | Reason::AccountLocked
            | Reason::NoToken
            | Reason::NotActive
            | Reason::NoPin
            | Reason::NoPassword
            | Reason::Locked
    )
}

fn not_active(situation: &Situation) -> Vec<Next> {
    let mut steps = Vec::new();
    let kinds = &situation.kinds;
    for (state, verb, text) in [
        (
            LifeCycle::Pending,
            "confirm",
            "Prove that the token works by its first code",
        ),
        (
            LifeCycle::Suspended,
            "resume",
            "Put it into use again, if it is in the right hands",
        ),
        (
            LifeCycle::Requested,
            "approve",
            "It was requested: approve it",
        ),
        (LifeCycle::Approved, "offer", "It is approved: hand it out"),
    ] {
        let fits = |token: &Token| {
            token.state == state && (kinds.is_empty() || kinds.contains(&token.kind))
        };
        let unknown = |token: &TokenShown| {
            fits(&token.token) && demand::closed(&token.token, &token.state).is_some()
        };
        steps.extend(tokens(
            situation,
            "A repair or restore of the store closed it: first find its counter again by two codes",
            "resync",
            unknown,
        ));
        let wanted = |token: &TokenShown| fits(&token.token);
        steps.extend(tokens(situation, text, verb, wanted));
        let lapsed = |token: &TokenShown| {
            let waited = token.token.enrolment.first_use_until.is_some();
            state == LifeCycle::Pending && waited && fits(&token.token)
        };
        steps.extend(tokens(
            situation,
            "Or begin its time for a first code anew: then the user's next login proves it",
            "offer",
            lapsed,
        ));
    }
    let mut counting = situation.tokens.iter().filter(|token| token.counts);
    if let Some(first) = counting.next() {
        let text = match first.token.state {
            LifeCycle::Pending => {
                "A token waits for its first right code: let the user log in with it."
            }
            _ => "The user has an active token by now: let them try again.",
        };
        steps.insert(0, say(text));
    }
    if steps.is_empty() {
        let text = "All are revoked or expired: give the user another";
        steps.push(another(situation, text));
    }
    steps
}

fn locked(situation: &Situation) -> Vec<Next> {
    let user = situation.name();
    let mut steps = vec![
        step(
            "See where the failures came from before you unlock",
            &["audit", "list", "--user", user, "--decision", "reject"],
        ),
        step("End the lock", &["user", "unlock", user]),
    ];
    let counters = situation.shown.counters.as_ref();
    let source = counters.and_then(|counters| counters.source.as_ref());
    if source.is_some_and(|source| !source.lock.is_open()) {
        steps.push(say(
            "The address is blocked as well: from there it goes on only when that has ended too.",
        ));
    }
    steps
}

fn low(situation: &Situation) -> Vec<Next> {
    let user = situation.name();
    let asked = situation.shown.rule.as_ref();
    let reached = asked.is_some_and(|asked| asked.assurance >= asked.min_assurance);
    let waived = situation.shown.factors.iter().any(|one| one.waived);
    let verb = match &situation.user {
        Some(user) if waived && user.bypass.is_some() => Some("bypass"),
        Some(user) if waived && user.exemption.is_some() => Some("exempt"),
        _ => None,
    };
    match verb {
        Some(verb) if !reached => vec![
            say("Let the user present all factors of the rule: the exception leaves too little."),
            step(
                "Or end the exception, so that all of them are asked for",
                &["user", verb, user, "--end"],
            ),
        ],
        _ if reached => vec![say(
            "The rule is content with that: the application asked for more (`min_assurance` of its \
             context, a number from 1 to 3). Give it a policy whose rule requires something known and \
             something held, as `pin-otp`.",
        )],
        _ => vec![say(
            "Ask for something known and something held together: `require` of the rule, or another \
             kind of token.",
        )],
    }
}

fn must_change(situation: &Situation) -> Vec<Next> {
    let user = situation.name();
    let must = |verifier: &Option<Verifier>| verifier.as_ref().is_some_and(|one| one.must_change);
    let known = &situation.credentials;
    let (pin, password) = (must(&known.pin), must(&known.password));
    if !pin && !password {
        return vec![say("It was changed since: let the user try again.")];
    }
    let mut steps = vec![say(
        "The user chooses another in the application (`POST /v1/credentials`), or:",
    )];
    if pin {
        steps.push(step("Set a PIN", &["user", "set", user, "--pin-stdin"]));
    }
    if password {
        let words = ["user", "set", user, "--password-stdin"];
        steps.push(step("Set a password", &words));
    }
    steps
}

fn unknown(situation: &Situation) -> Vec<Next> {
    let user = situation.name();
    if situation.barred {
        return vec![say(CONSOLE_ONLY)];
    }
    if situation.user.is_some() {
        return vec![say("The user was made since: try again.")];
    }
    if !situation.namesakes.is_empty() {
        let realm = UserKey::parse(user).map(|key| key.realm().to_owned());
        let realm = realm.unwrap_or_default();
        let shown = situation.namesakes.iter().map(|other| {
            step(
                format!("{other} exists: if that is the person, realm {realm} is the mistake"),
                &["user", "show", other],
            )
        });
        let mut steps: Vec<Next> = shown.collect();
        steps.push(say(
            "Let the person type the name without a realm, or correct the realm that the client sends \
             or has on record; do not add the person a second time.",
        ));
        return steps;
    }
    let mut steps = vec![step(
        "Compare the spelling and the realm",
        &["user", "list"],
    )];
    if UserKey::parse(user).is_ok_and(|key| key.to_string() == user) {
        steps.push(step("If the person is new", &["user", "add", user]));
    }
    steps
}

fn no_rule(situation: &Situation) -> Vec<Next> {
    let user = situation.name();
    let rules = situation.shown.rules.iter();
    // The rules that one more group, and nothing else, would make hold.
    let groups = rules.filter_map(|rule| {
        let mut failed = rule.conditions.iter().filter(|one| one.held != Held::Yes);
        let only = failed.next().filter(|one| one.key == "group")?;
        failed.next().is_none().then_some((rule, only))
    });
    let mut steps: Vec<Next> = groups
        .map(|(rule, group)| {
            let wanted = group.wanted.split(" or ").next().unwrap_or_default();
            let present = situation.shown.user.groups.iter();
            let mut words = vec!["user", "set", user];
            for name in present.map(String::as_str).chain([wanted]) {
                words.extend(["--group", name]);
            }
            let text = format!("If the person belongs there, rule {} holds with", rule.name);
            step(text, &words)
        })
        .collect();
    if let Some(rule) = situation.shown.rules.first() {
        let file = rule.place.rsplit_once(':').map_or("", |(file, _)| file);
        steps.push(say(format!(
            "Otherwise add a rule to {file} whose conditions this request meets: no rule there does."
        )));
    }
    steps
}
