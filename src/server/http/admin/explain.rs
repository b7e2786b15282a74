//! `/v1/admin/explain`: why was it decided so, and what would happen. Changes nothing.

use std::sync::Arc;

use crate::api;
use crate::api::explain as form;
use crate::api::explain::{ExplainRequest, ForeseeLogin};
use crate::explain::demand::{Asked, FormShown, TokenShown};
use crate::explain::past::{TokenThen, changed};
use crate::explain::rules::RuleShown;
use crate::explain::{
    Counters, Foresight, Person, Situation, Step, Story, Supposed, counts_as_used,
};
use crate::model::audit::{AuditRecord, Event};
use crate::model::reason::Reason;
use crate::otp::throttle::Throttle;
use crate::policy::METHODS;
use crate::server::http::error::Failure;
use crate::server::http::read::time;
use crate::server::http::route::{Admin, Routes};
use crate::server::http::{App, forms, tell};
use crate::time::UnixTime;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.on(request).on(login_to_come)
}

async fn request(
    app: Arc<App>,
    call: Admin<ExplainRequest>,
) -> Result<form::Explanations, Failure> {
    let stories = app.explain().explain(call.place).await?;
    if stories.is_empty() {
        return Err(Failure::not_found(
            "there is no record of this request; ids are in `oncegate audit list`, and a request \
             that could not be decided, or was sent again by the NAS, has none of its own",
        ));
    }
    let now = app.core().now();
    Ok(form::Explanations {
        request_id: call.place.to_string(),
        records: stories.iter().map(|one| story(one, now)).collect(),
    })
}

async fn login_to_come(
    app: Arc<App>,
    call: Admin<ForeseeLogin>,
) -> Result<form::Explanation, Failure> {
    let value = call.body;
    let at = value.at.as_deref().map(|text| time("at", text));
    let method = value.method.as_deref();
    if method.is_some_and(|method| !METHODS.contains(&method)) {
        let words = METHODS.join(", ");
        return Err(Failure::malformed(format!("method: one of {words}")));
    }
    let attributes = value.attributes.iter().flat_map(|(name, values)| {
        let values = values.iter();
        values.map(move |value| (name.as_str(), value.as_str()))
    });
    let attributes: Vec<(&str, &str)> = attributes.collect();
    let context = value.context.iter();
    let context: Vec<(&str, &str)> = context.map(|(name, value)| (&**name, &**value)).collect();
    let supposed = Supposed {
        user: &value.user,
        client: &value.client,
        at: at.transpose()?,
        source: value.client_ip,
        method,
        attributes: &attributes,
        context: &context,
    };
    let foresight = app.explain().foresee(supposed);
    let foresight = foresight.map_err(|error| tell::client(&app, &value.client, error))?;
    Ok(foreseen(&foresight))
}

fn foreseen(foresight: &Foresight) -> form::Explanation {
    let Foresight { situation, next } = foresight;
    let refused = situation.refused;
    let (user, client) = (&situation.name, &situation.asker.name);
    let repair = situation.repair_refuses();
    let repair = repair.filter(|_| refused == Some(Reason::UsedCode));
    let advice = repair
        .map(counts_as_used)
        .or_else(|| refused.map(|reason| reason.advice().to_owned()));
    let summary = match (refused, &situation.asked) {
        (None, Some(asked)) => {
            let left = asked.factors.iter().filter(|factor| !factor.waived);
            let left: Vec<_> = left.map(|factor| factor.factor.as_str()).collect();
            let left = left.join(" + ");
            format!("{user} would be let in at {client} with a right {left}.")
        }
        (None, None) => format!("{user} would be asked at {client}."),
        (Some(_), _) => format!(
            "{user} would be rejected at {client} whatever is typed: {}.",
            advice.as_deref().unwrap_or_default()
        ),
    };
    form::Explanation {
        summary,
        decision: refused.map_or("accept_if", |_| "reject").to_owned(),
        reason: refused.map(word),
        advice,
        time: situation.at.rfc3339(),
        record: None,
        login: Some(login(situation, None)),
        token: None,
        before: Vec::new(),
        since: Vec::new(),
        notes: situation.notes.clone(),
        next: steps(next),
    }
}

fn story(story: &Story, now: UnixTime) -> form::Explanation {
    let mut shown = form::Explanation {
        summary: story.sentence.clone(),
        decision: "change".to_owned(),
        reason: None,
        advice: None,
        time: story.record.at.rfc3339(),
        record: Some(forms::audit(&story.record)),
        login: None,
        token: None,
        before: Vec::new(),
        since: Vec::new(),
        notes: Vec::new(),
        next: Vec::new(),
    };
    if let (Event::Decision(event), Some(past)) = (&story.record.event, &story.past) {
        event.decision.as_str().clone_into(&mut shown.decision);
        shown.reason = Some(word(event.reason));
        shown.advice = Some(event.reason.advice().to_owned());
        let mut login = login(&past.situation, past.failures);
        login.waiver.clone_from(&event.waiver);
        shown.login = Some(login);
        let repair = past.token.as_ref().and_then(|token| token.repair);
        if let Some(repair) = repair {
            shown.advice = Some(counts_as_used(repair));
            let who = &event.user;
            shown.summary = format!("{who} was rejected: {}.", counts_as_used(repair));
        }
        shown.token = past.token.as_ref().map(|token| token_then(token, now));
        shown.before = past.before.iter().map(forms::audit).collect();
        shown.since = past.since.iter().filter_map(since).collect();
        shown.notes.clone_from(&past.situation.notes);
        shown.next = steps(&past.next);
    }
    shown
}

fn since(record: &AuditRecord) -> Option<form::Since> {
    let Event::Change(event) = &record.event else {
        return None;
    };
    Some(form::Since {
        summary: changed(event),
        record: forms::audit(record),
    })
}

fn login(situation: &Situation, failures: Option<u32>) -> form::Login {
    let asked = situation.asked.as_ref();
    let policy = situation.policy.as_ref();
    let rules = policy.iter().flat_map(|policy| &policy.rules);
    let factors = asked.iter().flat_map(|asked| &asked.factors);
    let counters = situation.counters.as_ref();
    form::Login {
        client: form::Asker {
            name: situation.asker.name.clone(),
            known: situation.asker.known,
            channel: situation.asker.channel.to_string(),
            policy: situation.asker.policy.clone(),
            challenge: situation.asker.rounds,
        },
        method: situation.method.clone(),
        client_ip: situation.source,
        user: person(&situation.name, situation.user.as_ref()),
        policy: policy.map(|policy| policy.name.clone()),
        rules: rules.map(rule).collect(),
        rule: asked.map(decider),
        factors: factors
            .map(|factor| form::Factor {
                factor: factor.factor.to_string(),
                waived: factor.waived,
            })
            .collect(),
        forms: asked
            .iter()
            .flat_map(|asked| &asked.forms)
            .map(typed)
            .collect(),
        reply: situation
            .reply
            .iter()
            .map(|(name, value)| form::ReplyAttribute {
                name: name.clone(),
                value: value.clone(),
            })
            .collect(),
        tokens: situation
            .tokens
            .iter()
            .map(|token| token_now(token, situation))
            .collect(),
        counters: counters.map(|counters| counted(counters, failures)),
        waiver: asked.and_then(|asked| asked.waiver.clone()),
    }
}

fn person(name: &str, person: Option<&Person>) -> form::Person {
    let verifier = |must_change: Option<bool>| {
        let word = match must_change {
            None => "none",
            Some(false) => "set",
            Some(true) => "must_change",
        };
        word.to_owned()
    };
    form::Person {
        user: name.to_owned(),
        known: person.is_some(),
        disabled: person.is_some_and(|person| person.user.disabled),
        groups: person.map_or_else(Vec::new, |person| person.user.groups.clone()),
        class: person.and_then(|person| person.user.class.clone()),
        pin: verifier(person.and_then(|person| person.pin)),
        password: verifier(person.and_then(|person| person.password)),
    }
}

fn rule(rule: &RuleShown) -> form::Rule {
    let conditions = rule.conditions.iter();
    form::Rule {
        name: rule.name.clone(),
        place: rule.place.clone(),
        holds: rule.holds.as_str().to_owned(),
        decides: rule.decides,
        read: !rule.below,
        require: rule.require.iter().map(ToString::to_string).collect(),
        conditions: conditions
            .map(|condition| form::Condition {
                key: condition.key.clone(),
                wanted: condition.wanted.clone(),
                found: condition.found.clone(),
                held: condition.held.as_str().to_owned(),
                why: condition.why.clone(),
                place: condition.place.clone(),
            })
            .collect(),
    }
}

fn decider(asked: &Asked) -> form::Asked {
    form::Asked {
        name: asked.rule.clone(),
        place: asked.place.clone(),
        assurance: asked.reaches,
        min_assurance: asked.min_assurance,
    }
}

fn typed(shown: &FormShown) -> form::Form {
    let rounds = shown.rounds.iter().map(|round| form::Typed {
        prompt: round.prompt.clone(),
        shapes: round.shapes.clone(),
    });
    form::Form {
        how: shown.how.as_str().to_owned(),
        rounds: rounds.collect(),
    }
}

fn token_now(shown: &TokenShown, situation: &Situation) -> form::TokenNow {
    let at = situation
        .counters
        .as_ref()
        .map_or(situation.at, |all| all.at);
    form::TokenNow {
        token: forms::token(&shown.token, &shown.state, at),
        counts: shown.counts && shown.why.is_none(),
        why: shown.why.clone(),
    }
}

fn token_then(token: &TokenThen, now: UnixTime) -> form::TokenThen {
    let span = |(from, to): (UnixTime, UnixTime)| form::Span {
        from: from.rfc3339(),
        to: to.rfc3339(),
    };
    let present = token.now.as_ref();
    form::TokenThen {
        serial: token.serial.to_string(),
        step: token.step,
        shown: token.shown.map(span),
        searched: token.searched.map(span),
        used_by: token.used_by.as_ref().map(forms::audit),
        store_repaired: token.repair.map(|(at, _)| at.rfc3339()),
        now: present.map(|(token, state)| forms::token(token, state, now)),
    }
}

fn counted(counters: &Counters, failures: Option<u32>) -> form::Counters {
    let lock = |throttle: &Throttle| -> api::Lock { forms::lock(throttle, counters.at) };
    form::Counters {
        failures_then: failures,
        at: counters.at.rfc3339(),
        user: lock(&counters.user),
        known: counters.known.as_ref().map(lock),
        source: counters
            .source
            .as_ref()
            .map(|(source, throttle)| form::SourceLock {
                source: source.to_string(),
                lock: lock(throttle),
            }),
        blocked: counters.blocked.map(word),
        lock_after: counters.lock_after,
        hard_lock_after: counters.hard_lock_after,
    }
}

fn steps(steps: &[Step]) -> Vec<form::Next> {
    let steps = steps.iter().map(|step| form::Next {
        text: step.text.clone(),
        command: step.command.clone(),
    });
    steps.collect()
}

fn word(reason: Reason) -> String {
    reason.as_str().to_owned()
}
