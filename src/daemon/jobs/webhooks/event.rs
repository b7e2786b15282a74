//! What a program is told of a record.

use serde_json::{Map, Value, json};

use crate::config::webhooks::Topic;
use crate::model::audit::{AuditRecord, ChangeEvent, DecisionEvent, Event, Purpose};
use crate::model::id::Serial;
use crate::model::reason::Decision;
use crate::time::UnixTime;

/// An event of a record: its topic, its word, and the document that is sent.
pub(super) struct Told {
    pub(super) topic: Topic,
    pub(super) at: UnixTime,
    pub(super) id: String,
    pub(super) body: String,
}

/// What is told of a record, if anything.
pub(super) fn told(record: &AuditRecord) -> Option<Told> {
    let (topic, word, mut data) = match &record.event {
        Event::Decision(event) => decision(record, event)?,
        Event::Change(event) => change(event)?,
    };
    data.retain(|_, value| !value.is_null());
    let request = record.event.request();
    let body = json!({
        "type": word,
        "timestamp": record.at.rfc3339(),
        "data": {
            "topic": topic.as_str(),
            "record": record.seq,
            "request": request.to_string(),
            "about": data,
        },
    });
    Some(Told {
        topic,
        at: record.at,
        // The same for every attempt with it.
        id: format!("{request}-{}", record.seq),
        body: body.to_string(),
    })
}

type Found<'r> = (Topic, &'r str, Map<String, Value>);

fn decision<'r>(record: &AuditRecord, event: &'r DecisionEvent) -> Option<Found<'r>> {
    let accepted = event.decision == Decision::Accept;
    let activated = record.activated().filter(|_| accepted);
    let (topic, word) = if event.locked {
        (Topic::Locks, "user_locked")
    } else if accepted && event.purpose == Purpose::Enrol {
        (Topic::Enrolments, "device_enrolled")
    } else if activated.is_some() {
        (Topic::Enrolments, "token_activated")
    } else {
        return None;
    };
    let data = json!({
        "user": event.user,
        "token": activated.or_else(|| event.serial.as_ref().map(Serial::as_str)),
        "client": &*event.client,
        "channel": event.channel.as_str(),
        "reason": event.reason.as_str(),
        "source": event.source.map(|address| address.to_string()),
        "failures": event.locked.then_some(event.failures),
    });
    Some((topic, word, object(data)))
}

fn change(event: &ChangeEvent) -> Option<Found<'_>> {
    let word = event.action.as_str();
    let topic = match word {
        "token_request" | "token_approve" | "approval_lend" | "approval_take_back" => {
            Topic::Approvals
        }
        "user_unlock" | "user_end_waits" => Topic::Locks,
        // A source of users is followed by imports, too: they enrol no one.
        "import" if !brings_tokens(&event.target) => return None,
        "import" | "enrol_link" | "enrol_redeem" | "device_revoke" => Topic::Enrolments,
        _ if word.starts_with("token_") => Topic::Enrolments,
        _ => return None,
    };
    let data = json!({
        "actor": event.actor,
        "target": event.target,
        "user": event.user,
        "detail": event.detail,
    });
    Some((topic, word, object(data)))
}

/// Whether what was imported are tokens or links of them, as `3 users, 0 tokens, 1 link` says of it.
fn brings_tokens(target: &str) -> bool {
    !target.contains(", 0 tokens") || target.contains(" link")
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::RequestId;

    /// A source of users is no enrolment, and an import of tokens is one.
    #[test]
    fn an_import_is_told_where_it_brings_tokens() {
        let is_told = |target: &str| {
            let event = ChangeEvent {
                request: RequestId::from_bytes([1; 16]),
                actor: "daemon".to_owned(),
                action: "import".to_owned(),
                target: target.to_owned(),
                user: None,
                detail: None,
            };
            change(&event).is_some()
        };
        assert!(!is_told("250 users, 0 tokens"));
        assert!(is_told("0 users, 10 tokens"));
        assert!(is_told("1 user, 1 token"));
        assert!(is_told("1 user, 0 tokens, 1 link"));
    }
}
