//! What an administrator does next.

use crate::model::audit::DecisionEvent;
use crate::model::audit::Purpose;
use crate::model::kind::Kind;
use crate::model::reason::Reason;
use crate::model::token::LifeCycle;
use crate::model::user_key::UserKey;
use crate::service::explain::Past;
use crate::service::explain::Situation;
use crate::service::explain::demand::TokenShown;
use crate::service::explain::rules::Held;

/// One thing to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// What, in one sentence.
    pub text: String,
    /// The words of the command that does it, the program's name first; never through a shell
    /// unquoted: a user's name may hold anything.
    pub command: Vec<String>,
}

fn step(text: impl Into<String>, words: &[&str]) -> Step {
    let program = (!words.is_empty()).then_some("oncegate");
    let words = program.into_iter().chain(words.iter().copied());
    Step {
        text: text.into(),
        command: words.map(str::to_owned).collect(),
    }
}

fn say(text: impl Into<String>) -> Step {
    step(text, &[])
}

/// After a login that nobody has tried.
pub(super) fn supposed(situation: &Situation) -> Vec<Step> {
    match situation.refused {
        Some(reason) => of_reason(reason, situation),
        None => Vec::new(),
    }
}

/// After a decision.
pub(super) fn past(event: &DecisionEvent, past: &Past) -> Vec<Step> {
    let situation = &past.situation;
    if event.purpose != Purpose::Login {
        let again = match event.purpose {
            Purpose::Resync => "token resync",
            _ => "token confirm",
        };
        let serial = event.serial.as_ref();
        let serial = serial.map_or("SERIAL", crate::model::id::Serial::as_str);
        let (noun, verb) = again.split_once(' ').unwrap_or_default();
        return match event.reason {
            Reason::TotpOk | Reason::HotpOk => Vec::new(),
            _ => vec![step("Try again with fresh codes", &[noun, verb, serial])],
        };
    }
    match event.reason {
        Reason::UsedCode => used(past),
        Reason::Locked | Reason::Throttled | Reason::SourceBlocked => {
            let counters = situation.counters.as_ref();
            match counters.and_then(|counters| counters.blocked) {
                Some(blocked) => {
                    let mut steps = of_reason(blocked, situation);
                    if blocked != event.reason {
                        let now = format!("By now it would be {blocked}: {}.", blocked.advice());
                        steps.insert(0, say(now));
                    }
                    steps
                }
                None if counters.is_some() => vec![say("It is over: let the person try again.")],
                None => of_reason(event.reason, situation),
            }
        }
        reason => of_reason(reason, situation),
    }
}

fn used(past: &Past) -> Vec<Step> {
    let mut steps = vec![say("Let the person wait for the next code and try again.")];
    if let Some(token) = &past.token {
        let serial = token.serial.as_str();
        if token.used_by.is_some() {
            steps.push(step(
                "If that was somebody else, they have seen the code: take the token out of use",
                &["token", "suspend", serial],
            ));
        }
    }
    steps.push(say(
        "If it happens at every login, the gear sends each password twice: look for a second \
         server, a health check or a cached password there.",
    ));
    steps
}

fn of_reason(reason: Reason, situation: &Situation) -> Vec<Step> {
    let user = situation.name.as_str();
    match reason {
        Reason::TotpOk
        | Reason::HotpOk
        | Reason::ServerOk
        | Reason::SmsOk
        | Reason::EmailOk
        | Reason::VoiceOk
        | Reason::CardOk
        | Reason::PinOk
        | Reason::PasswordOk
        | Reason::EnrolOk => Vec::new(),
        Reason::RecoveryOk => vec![step(
            "Give the user a token that works again",
            &["token", "add", user, "--kind", "totp"],
        )],
        Reason::BypassOk => vec![step(
            "End the bypass before its time",
            &["user", "bypass", user, "--end"],
        )],
        Reason::ExemptOk => vec![step(
            "End the exemption before its time",
            &["user", "exempt", user, "--end"],
        )],
        Reason::Challenged | Reason::Answered => vec![step(
            "The answer is a request of its own, with its own id",
            &["audit", "list", "--user", user],
        )],
        Reason::WrongCode => wrong_code(situation),
        Reason::ExpiredCode => vec![say(
            "Let the person ask for a new code and type it within its time. If messages come too late, \
             look at the gateway: `oncegate delivery list`.",
        )],
        Reason::NotAnswered => vec![say(
            "The application asks too early: it polls `GET /v1/challenges/{id}` until it says `accepted`.",
        )],
        Reason::WrongSender => vec![say(
            "Compare the number with the address of the user's token: the message must come from there.",
        )],
        Reason::UsedCode => vec![say("Let the person wait for the next code and try again.")],
        Reason::MalformedCode => vec![say(
            "Tell the person what to type. An empty box, and a NAS that sends something of its own, \
             end here too.",
        )],
        Reason::WrongPin | Reason::NoPin => vec![step(
            "Set a PIN, and tell it to nobody but the person",
            &["user", "set", user, "--pin-stdin"],
        )],
        Reason::WrongPassword | Reason::NoPassword => vec![step(
            "Set a password, and tell it to nobody but the person",
            &["user", "set", user, "--password-stdin"],
        )],
        Reason::MustChange => must_change(situation),
        Reason::UnknownUser => unknown(situation),
        Reason::UserDisabled => vec![step(
            "If the person may come in again",
            &["user", "enable", user],
        )],
        Reason::NoToken => vec![step(
            "Give the user a token",
            &["token", "add", user, "--kind", "totp"],
        )],
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
        Reason::OtherRealm => vec![step(
            "The client is bound to another realm",
            &["client", "show", &situation.asker.name],
        )],
        Reason::StaleChallenge => vec![say(
            "Let the person begin again with the first factor. If answers always come too late, \
             raise `life` under `[challenge]` of the policy.",
        )],
        Reason::LowAssurance => vec![low(situation)],
        Reason::MethodNotAllowed => vec![say(
            "Set the NAS to PAP for this server; Message-Authenticator and a long shared secret protect \
             the password. Where it offers a list of methods, take all others out of it.",
        )],
        Reason::ReplyTooLong => vec![step(
            "Shorten the attributes under `[reply]` of the policy, or the names that they are filled \
             with; warnings say which can become too long",
            &["policy", "check"],
        )],
    }
}

/// A step for every token of these.
fn tokens(
    situation: &Situation,
    text: &str,
    verb: &str,
    wanted: impl Fn(&TokenShown) -> bool,
) -> Vec<Step> {
    let tokens = situation.tokens.iter().filter(|token| wanted(token));
    let serials = tokens.map(|token| token.token.serial.as_str());
    serials
        .map(|serial| step(text, &["token", verb, serial]))
        .collect()
}

fn wrong_code(situation: &Situation) -> Vec<Step> {
    let mut steps = vec![say(
        "Once is a slip: let the person try the next code, of the right entry in the app.",
    )];
    let off = "If it repeats, the token's clock is off: two codes in a row find it again";
    let ahead = "If it repeats, the counter ran ahead: two codes in a row find it again";
    let hotp = |token: &TokenShown| token.token.kind == Kind::Hotp;
    let timed = |token: &TokenShown| token.counts && !hotp(token);
    steps.extend(tokens(situation, off, "resync", timed));
    let counted = |token: &TokenShown| token.counts && hotp(token);
    steps.extend(tokens(situation, ahead, "resync", counted));
    steps
}

fn not_active(situation: &Situation) -> Vec<Step> {
    let in_state = |state: LifeCycle| move |token: &TokenShown| token.token.state == state;
    let pending = "Prove that the token works by its first code";
    let mut steps = tokens(situation, pending, "confirm", in_state(LifeCycle::Pending));
    let suspended = in_state(LifeCycle::Suspended);
    let again = "Put it into use again, if it is in the right hands";
    steps.extend(tokens(situation, again, "resume", suspended));
    if steps.is_empty() {
        let words = ["token", "add", &situation.name, "--kind", "totp"];
        steps.push(step("All are revoked: give the user another", &words));
    }
    steps
}

fn locked(situation: &Situation) -> Vec<Step> {
    let user = situation.name.as_str();
    let mut steps = vec![
        step(
            "See where the failures came from before you unlock",
            &["audit", "list", "--user", user, "--decision", "reject"],
        ),
        step("End the lock", &["user", "unlock", user]),
    ];
    let counters = situation.counters.as_ref();
    let source = counters.and_then(|counters| Some((counters.at, counters.source?)));
    if source.is_some_and(|(at, (_, throttle))| throttle.check(at).is_err()) {
        steps.push(say(
            "The address is blocked as well: from there it goes on only when that has ended too.",
        ));
    }
    steps
}

fn low(situation: &Situation) -> Step {
    let asked = situation.asked.as_ref();
    if asked.is_some_and(|asked| asked.reaches >= asked.min_assurance) {
        return say(
            "The rule is content with that: the application asked for more (`min_assurance` of its \
             context). Give it a policy whose rule requires something known and something held, as \
             `pin-otp`.",
        );
    }
    say(
        "Ask for something known and something held together: `require` of the rule, or another \
         kind of token.",
    )
}

fn must_change(situation: &Situation) -> Vec<Step> {
    let user = situation.name.as_str();
    let must = |verifier: Option<bool>| verifier == Some(true);
    let person = situation.user.as_ref();
    let mut steps = vec![say(
        "The person chooses another in the application (`POST /v1/credentials`), or:",
    )];
    if person.is_some_and(|person| must(person.pin)) {
        steps.push(step("Set a PIN", &["user", "set", user, "--pin-stdin"]));
    }
    if person.is_some_and(|person| must(person.password)) {
        let words = ["user", "set", user, "--password-stdin"];
        steps.push(step("Set a password", &words));
    }
    steps
}

fn unknown(situation: &Situation) -> Vec<Step> {
    let user = situation.name.as_str();
    if situation.user.is_some() {
        return vec![say("The user was made since: try again.")];
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

fn no_rule(situation: &Situation) -> Vec<Step> {
    let user = situation.name.as_str();
    let rules = situation.policy.iter().flat_map(|policy| &policy.rules);
    // The rules that one more group, and nothing else, would make hold.
    let groups = rules.filter_map(|rule| {
        let mut failed = rule.conditions.iter().filter(|one| one.held != Held::Yes);
        let only = failed.next().filter(|one| one.key == "group")?;
        failed.next().is_none().then_some((rule, only))
    });
    let mut steps: Vec<Step> = groups
        .map(|(rule, group)| {
            let wanted = group.wanted.split(" or ").next().unwrap_or_default();
            let present = situation.user.iter().flat_map(|person| &person.user.groups);
            let mut words = vec!["user", "set", user];
            for name in present.map(String::as_str).chain([wanted]) {
                words.extend(["--group", name]);
            }
            let text = format!("If the person belongs there, rule {} holds with", rule.name);
            step(text, &words)
        })
        .collect();
    if let Some(rule) = situation.policy.iter().flat_map(|one| &one.rules).next() {
        let file = rule.place.rsplit_once(':').map_or("", |(file, _)| file);
        steps.push(say(format!(
            "Otherwise that is what {file} says: whoever should come in needs a rule there whose \
             conditions all hold."
        )));
    }
    steps
}
