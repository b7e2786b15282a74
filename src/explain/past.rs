//! Why it was decided so: a record of the audit against the records as they are now.

use std::time::Duration;

use crate::api::explain::{Explanation, Since, Span, TokenThen};
use crate::api::forms;
use crate::core::CoreError;
use crate::explain::rules::Reading;
use crate::explain::situation::{Decider, Situation};
use crate::explain::{ACTIONS, Explain, Frame, next, question, rules, speaks, word};
use crate::login::LoginRequest;
use crate::model::audit::{AuditRecord, ChangeEvent, DecisionEvent, Event, Purpose};
use crate::model::client::Client;
use crate::model::id::RequestId;
use crate::model::kind::Kind;
use crate::model::reason::{Decision, Reason};
use crate::otp::totp::{TimeStep, Window};
use crate::otp::{Period, totp};
use crate::policy::{Policies, Policy};
use crate::store::AuditQuery;
use crate::time::UnixTime;

impl Explain {
    /// The records of a request, the oldest first.
    pub(super) async fn records_of(&self, id: RequestId) -> Result<Vec<AuditRecord>, CoreError> {
        let query = AuditQuery {
            request: Some(id),
            since: Some(before(id.at(), SLACK)),
            limit: RECORDS,
            ..AuditQuery::default()
        };
        let mut records = self.core.store.audit(query.clone()).await?;
        if records.is_empty() {
            // Where a clock ran ahead for a while, times are not in the order of the records.
            let all = AuditQuery {
                since: None,
                ..query
            };
            records = self.core.store.audit(all).await?;
        }
        records.reverse();
        Ok(records)
    }

    /// A record, explained.
    pub(super) async fn explained(&self, record: &AuditRecord) -> Result<Explanation, CoreError> {
        match &record.event {
            Event::Change(event) => Ok(Explanation {
                summary: changed(event),
                decision: "change".to_owned(),
                time: record.at.rfc3339(),
                record: Some(forms::audit(record)),
                ..Explanation::default()
            }),
            Event::Decision(event) => self.decision(record, event).await,
        }
    }

    async fn decision(
        &self,
        record: &AuditRecord,
        event: &DecisionEvent,
    ) -> Result<Explanation, CoreError> {
        let policies = self.core.policies();
        let (situation, policy) = self.read_again(record, event, &policies)?;
        let decided_as = event.reason.decision();
        let before = match decided_as {
            Decision::Reject => self.before(record, event).await?,
            Decision::Accept | Decision::Challenge => Vec::new(),
        };
        let token = self.decider(record, event, policy, &before)?;
        let next = next::past(event, &situation, token.as_ref());
        let compared =
            !matches!(decided_as, Decision::Reject) || event.serial.is_some() || event.failures > 0;
        let mut login = situation.shown;
        login.waiver.clone_from(&event.waiver);
        if let Some(counters) = &mut login.counters {
            counters.failures_then = compared.then_some(event.failures);
        }
        let told = (token.as_ref()).is_some_and(|token| token.shown.used_by.is_some());
        let counted = |record: &&AuditRecord| matches!(&record.event, Event::Decision(event) if event.purpose == Purpose::Login);
        let before = before.iter().filter(|record| !told && counted(record));
        let before = before.take(SHOWN).map(forms::audit).collect();
        let repair = token.as_ref().and_then(|token| token.repair);
        let (summary, advice) = match repair.map(counts_as_used) {
            Some(why) => (format!("{} was rejected: {why}.", event.user), why),
            None => (decided(event), advice(event).to_owned()),
        };
        Ok(Explanation {
            summary,
            decision: event.decision.as_str().to_owned(),
            reason: Some(word(event.reason)),
            advice: Some(advice),
            time: record.at.rfc3339(),
            record: Some(forms::audit(record)),
            login: Some(login),
            token: token.map(|token| token.shown),
            before,
            since: self.since(record, event).await?,
            notes: situation.notes,
            next,
        })
    }

    /// The login as it would be read now, by the policy on record.
    fn read_again<'p>(
        &self,
        record: &AuditRecord,
        event: &DecisionEvent,
        policies: &'p Policies,
    ) -> Result<(Situation, Option<&'p Policy>), CoreError> {
        let mut notes = Vec::new();
        let login = event.purpose == Purpose::Login;
        let (client, known) = match self.client(&event.client) {
            Some(client) => (client, true),
            None => (Client::without_record(&event.client), false),
        };
        if login && !known {
            notes.push(format!("There is no client {} any more.", event.client));
        }
        let policy = login
            .then(|| policy_then(event, &client, known, policies, &mut notes))
            .flatten();
        let request = LoginRequest {
            method: &event.method,
            source: event.source,
            rounds: speaks(&client).1,
            ..question(
                event.request,
                record.at,
                &client,
                event.channel,
                &event.user,
            )
        };
        let recorded = event.rule.as_deref().and_then(|rule| rule.split_once(':'));
        let frame = Frame {
            request: &request,
            policy,
            known,
            locks_at: self.core.now(),
            reading: Reading::Past(event.channel, recorded.map(|(_, rule)| rule)),
        };
        let mut situation = self.situation(frame)?;
        match &situation.shown.policy {
            Some(_) => notes.extend(rules::differences(&situation.shown.rules, event)),
            None if recorded.is_some() && situation.user.is_none() => notes.push(
                "The user is gone, and with it the groups: conditions cannot be read again."
                    .to_owned(),
            ),
            None => {}
        }
        notes.extend(exception(event, &situation));
        situation.notes.extend(notes);
        Ok((situation, policy))
    }

    fn decider(
        &self,
        record: &AuditRecord,
        event: &DecisionEvent,
        policy: Option<&Policy>,
        before: &[AuditRecord],
    ) -> Result<Option<Decider>, CoreError> {
        let Some(serial) = &event.serial else {
            return Ok(None);
        };
        let now = self.core.store.token(serial)?;
        let timed = now.as_ref().filter(|(token, _)| token.kind == Kind::Totp);
        let span = |first: u64, last: u64, period: Period| {
            let period = u64::from(period.as_secs());
            let time = |step: u64| UnixTime::from_secs(step.saturating_mul(period)).rfc3339();
            Span {
                from: time(first),
                to: time(last.saturating_add(1)),
            }
        };
        let searched = match (timed, policy, event.reason) {
            (Some((token, state)), Some(policy), Reason::WrongCode) => {
                let window = Window {
                    back: policy.otp.back,
                    ahead: policy.otp.ahead,
                };
                let drift = state.moving.drift;
                let (first, last): (TimeStep, TimeStep) =
                    totp::searched(token.period, record.at, drift, window);
                Some(span(first.get(), last.get(), token.period))
            }
            _ => None,
        };
        let uses = |record: &&AuditRecord| match &record.event {
            Event::Decision(earlier) => {
                earlier.serial.as_ref() == Some(serial)
                    && earlier.step.is_some()
                    && earlier.step == event.step
                    && earlier.reason != Reason::UsedCode
            }
            Event::Change(_) => false,
        };
        let used = event.reason == Reason::UsedCode;
        let used_by = before.iter().find(uses).filter(|_| used);
        let repair = now.as_ref().and_then(|(_, state)| {
            let (at, until) = state.refused_until(record.at)?;
            let is_cause = used && used_by.is_none() && record.at >= at;
            is_cause.then_some((at, until))
        });
        let shown = timed.zip(event.step);
        let present = now.as_ref();
        Ok(Some(Decider {
            shown: TokenThen {
                serial: serial.to_string(),
                step: event.step,
                shown: shown.map(|((token, _), step)| span(step, step, token.period)),
                searched,
                used_by: used_by.map(forms::audit),
                store_repaired: repair.map(|(at, _)| at.rfc3339()),
                now: present.map(|(token, state)| forms::token(token, state, self.core.now())),
            },
            state: present.map(|(token, _)| token.state_at(self.core.now())),
            repair,
        }))
    }

    /// The user's decisions before this one, newest first.
    async fn before(
        &self,
        record: &AuditRecord,
        event: &DecisionEvent,
    ) -> Result<Vec<AuditRecord>, CoreError> {
        let query = AuditQuery {
            before: Some(record.seq),
            since: Some(before(record.at, LOOK_BACK)),
            user: Some(event.user.clone()),
            limit: HISTORY,
            ..AuditQuery::default()
        };
        let records = self.core.store.audit(query).await?.into_iter();
        let decision = |record: &AuditRecord| matches!(record.event, Event::Decision(_));
        Ok(records.filter(decision).collect())
    }

    /// What was changed about the user after this record, oldest first.
    async fn since(
        &self,
        record: &AuditRecord,
        event: &DecisionEvent,
    ) -> Result<Vec<Since>, CoreError> {
        let query = AuditQuery {
            since: Some(record.at),
            user: Some(event.user.clone()),
            limit: HISTORY,
            ..AuditQuery::default()
        };
        let records = self.core.store.audit(query).await?;
        let later = records.iter().filter(|later| later.seq > record.seq);
        let changes = later.filter_map(|record| match &record.event {
            Event::Change(event) => Some(Since {
                summary: changed(event),
                record: forms::audit(record),
            }),
            Event::Decision(_) => None,
        });
        let mut changes: Vec<_> = changes.take(SHOWN).collect();
        changes.reverse();
        Ok(changes)
    }
}

/// The policy on record, or the one that the client names now.
fn policy_then<'p>(
    event: &DecisionEvent,
    client: &Client,
    known: bool,
    policies: &'p Policies,
    notes: &mut Vec<String>,
) -> Option<&'p Policy> {
    let recorded = event.rule.as_deref().and_then(|rule| rule.split_once(':'));
    let Some((name, _)) = recorded else {
        // What a client without a record had for a policy is not known.
        return known
            .then(|| policies.resolve(client.policy.as_deref()))
            .flatten();
    };
    let policy = policies.get(name);
    if policy.is_none() {
        notes.push(format!(
            "The policy on record, {name}, is not loaded any more: its rules cannot be shown."
        ));
    }
    let now = client.policy.as_deref().unwrap_or(crate::policy::DEFAULT);
    if known && now != name {
        notes.push(format!(
            "Client {} has policy {now} now; {name} decided then.",
            client.name
        ));
    }
    policy
}

/// How the exception of today differs from what was.
fn exception(event: &DecisionEvent, situation: &Situation) -> Option<String> {
    situation.shown.rule.as_ref()?;
    let waived = situation.shown.factors.iter().any(|factor| factor.waived);
    let applied = matches!(event.reason, Reason::BypassOk | Reason::ExemptOk);
    if event.waiver.is_some() && situation.shown.waiver.is_none() {
        Some(
            "The exception on record was ended since; what is asked for is shown without it."
                .into(),
        )
    } else if waived && event.decision == Decision::Accept && !applied {
        Some("What is waived was presented all the same, was right, and is used up.".into())
    } else {
        None
    }
}

fn decided(event: &DecisionEvent) -> String {
    let verb = match (event.purpose, event.reason.decision()) {
        (Purpose::Login, Decision::Reject) if event.decision == Decision::Challenge => {
            "was rejected, and answered with a challenge, as for any name"
        }
        (Purpose::Login, Decision::Challenge) if event.decision == Decision::Reject => {
            "was right so far, and was answered with a reject"
        }
        (Purpose::Confirm, Decision::Accept) => "proved that a new token works",
        (Purpose::Confirm, _) => "did not prove that a new token works",
        (Purpose::Resync, Decision::Accept) => "had a token's clock or counter found again",
        (Purpose::Resync, _) => "did not have a token's clock or counter found again",
        (Purpose::Enrol, Decision::Accept) => "had a device bound",
        (Purpose::Enrol, _) => "did not have a device bound",
        (Purpose::Inbound, Decision::Reject) => "did not answer right on the other channel",
        (Purpose::Inbound, _) => "answered on the other channel",
        (Purpose::Login, Decision::Accept) => "was let in",
        (Purpose::Login, Decision::Reject) => "was rejected",
        (Purpose::Login, Decision::Challenge) => "was right so far and asked for more",
    };
    format!("{} {verb}: {}.", event.user, advice(event))
}

/// What the reason means here.
fn advice(event: &DecisionEvent) -> &'static str {
    if next::is_eap(event) {
        "a conversation of EAP ended before a login (the note says why); nothing was compared and nothing was counted"
    } else {
        event.reason.advice()
    }
}

/// A change in one sentence.
fn changed(event: &ChangeEvent) -> String {
    let verb = ACTIONS.get(&event.action);
    let verb = verb.map_or("did something else to", String::as_str);
    let whose = event.user.as_deref().filter(|user| *user != event.target);
    let whose = whose.map(|user| format!(" of {user}")).unwrap_or_default();
    let detail = event.detail.as_deref();
    let detail = detail.map(|text| format!(" ({text})")).unwrap_or_default();
    format!("{} {verb} {}{whose}{detail}.", event.actor, event.target)
}

/// Why a right code counts as used although it was not used.
pub(super) fn counts_as_used((repaired, until): (UnixTime, UnixTime)) -> String {
    format!(
        "the code was right, but counts as used because the store was repaired or restored on {}; codes of the \
         token are refused until {}",
        repaired.rfc3339(),
        until.rfc3339()
    )
}

fn before(at: UnixTime, by: Duration) -> UnixTime {
    UnixTime::from_millis(at.as_millis().saturating_sub(crate::time::millis(by)))
}

/// How much earlier than its request's arrival a record may say it was made.
const SLACK: Duration = Duration::from_mins(1);
/// Most records of one request that are explained; there are two at most as far as we know.
const RECORDS: usize = 16;
/// How far back the cause of a reject is looked for.
const LOOK_BACK: Duration = Duration::from_hours(24);
/// Most records of a user that are read for it.
const HISTORY: usize = 200;
/// Most of them that are shown.
const SHOWN: usize = 3;
