//! A record in the Common Event Format, version 0, with the standard keys of `ArcSight`'s dictionary.
//!
//! `CEF:0|Oncegate|oncegate|VERSION|WORD|Name|Severity|key=value ...`. In the header `\` and `|` are escaped, in values `\`
//! and `=`; line ends become `\n`.

use crate::model::audit::{AuditRecord, ChangeEvent, DecisionEvent, Event};
use crate::model::reason::Decision;

/// The record as one line.
pub(super) fn line(record: &AuditRecord) -> String {
    let (word, name, severity) = match &record.event {
        Event::Decision(event) => decision(event),
        Event::Change(event) => (event.action.as_str(), event.action.replace('_', " "), 4),
    };
    let mut out = format!("CEF:0|Oncegate|oncegate|{}|", env!("CARGO_PKG_VERSION"));
    put_escaped(&mut out, word, '|');
    out.push('|');
    put_escaped(&mut out, &name, '|');
    push!(out, "|{severity}|rt={}", record.at.as_millis());
    let mut pair = |key: &str, value: &str| {
        if !value.is_empty() {
            push!(out, " {key}=");
            put_escaped(&mut out, value, '=');
        }
    };
    pair("externalId", &record.seq.to_string());
    match &record.event {
        Event::Decision(event) => put_decision(event, &mut pair),
        Event::Change(event) => put_change(event, &mut pair),
    }
    out
}

fn decision(event: &DecisionEvent) -> (&str, String, u8) {
    // What was answered has a name, and what was decided a severity.
    let (name, severity) = match (event.decision, event.reason.decision()) {
        (Decision::Accept, _) => ("login accepted", 1),
        (Decision::Challenge, Decision::Reject) => ("login rejected behind a challenge", 5),
        (Decision::Challenge, _) => ("login challenged", 1),
        (Decision::Reject, Decision::Challenge) => ("login rejected, right so far", 1),
        (Decision::Reject, _) if event.locked => ("login rejected, user locked", 8),
        (Decision::Reject, _) => ("login rejected", 5),
    };
    (event.reason.as_str(), name.to_owned(), severity)
}

fn put_decision(event: &DecisionEvent, pair: &mut impl FnMut(&str, &str)) {
    pair("act", event.decision.as_str());
    pair("reason", event.reason.as_str());
    pair("suser", &event.user);
    let source = event.source.map(|address| address.to_canonical());
    if let Some(address) = source {
        let key = if address.is_ipv4() { "src" } else { "c6a2" };
        pair(key, &address.to_string());
        if address.is_ipv6() {
            pair("c6a2Label", "source");
        }
    }
    pair("requestClientApplication", &event.client);
    pair("app", event.channel.as_str());
    put_custom(pair, 1, "request", &event.request.to_string());
    let serial = event.serial.as_ref().map_or("", |serial| serial.as_str());
    put_custom(pair, 2, "token", serial);
    put_custom(pair, 3, "rule", event.rule.as_deref().unwrap_or_default());
    put_custom(pair, 4, "method", &event.method);
    pair("msg", event.note.as_deref().unwrap_or_default());
}

fn put_change(event: &ChangeEvent, pair: &mut impl FnMut(&str, &str)) {
    pair("act", &event.action);
    pair("suser", &event.actor);
    pair("duser", event.user.as_deref().unwrap_or_default());
    put_custom(pair, 1, "request", &event.request.to_string());
    put_custom(pair, 5, "target", &event.target);
    pair("msg", event.detail.as_deref().unwrap_or_default());
}

/// One of the strings whose meaning the sender names.
fn put_custom(pair: &mut impl FnMut(&str, &str), number: u8, label: &str, value: &str) {
    if !value.is_empty() {
        pair(&format!("cs{number}"), value);
        pair(&format!("cs{number}Label"), label);
    }
}

/// Escapes the backslash, the separator and line ends: a value that a user or a NAS chose begins no field of its own.
fn put_escaped(out: &mut String, text: &str, separator: char) {
    for letter in text.chars() {
        match letter {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            _ if letter == '\\' || letter == separator => {
                out.push('\\');
                out.push(letter);
            }
            _ if letter.is_control() => out.push(' '),
            _ => out.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit::{Channel, Purpose};
    use crate::model::id::RequestId;
    use crate::model::reason::Reason;
    use crate::time::UnixTime;

    #[test]
    fn nothing_in_a_value_begins_another_one() {
        let at = UnixTime::from_secs(1_795_000_000);
        let record = AuditRecord {
            seq: 7,
            at,
            event: Event::Change(ChangeEvent {
                request: RequestId::new(at, [0; 10]),
                actor: "kim|x=1\\".to_owned(),
                action: "user_add".to_owned(),
                target: "user a=b\nCEF:0|forged".to_owned(),
                user: None,
                detail: Some("line\r\nsrc=1.2.3.4".to_owned()),
            }),
            changes: Vec::new(),
            mac: [0; 32],
        };
        let line = line(&record);
        let head = format!(
            "CEF:0|Oncegate|oncegate|{}|user_add|user add|4|rt=1795000000000 externalId=7 act=user_add ",
            env!("CARGO_PKG_VERSION")
        );
        assert!(line.starts_with(&head), "{line}");
        assert!(line.contains(r" suser=kim|x\=1\\ cs1="), "{line}");
        assert!(
            line.contains(r" cs5=user a\=b\nCEF:0|forged cs5Label=target"),
            "{line}"
        );
        assert!(line.ends_with(r" msg=line\r\nsrc\=1.2.3.4"), "{line}");
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn a_decision_is_named_by_the_answer_and_weighed_by_the_reason() {
        let at = UnixTime::from_secs(1_795_000_000);
        for (decision, reason, says) in [
            (
                Decision::Challenge,
                Reason::UnknownUser,
                "|unknown_user|login rejected behind a challenge|5|",
            ),
            (
                Decision::Reject,
                Reason::UnknownUser,
                "|unknown_user|login rejected|5|",
            ),
            (
                Decision::Challenge,
                Reason::Challenged,
                "|challenged|login challenged|1|",
            ),
            (
                Decision::Reject,
                Reason::Challenged,
                "|challenged|login rejected, right so far|1|",
            ),
        ] {
            let event = DecisionEvent {
                request: RequestId::new(at, [0; 10]),
                purpose: Purpose::Login,
                decision,
                reason,
                user: "alice@default".to_owned(),
                serial: None,
                step: None,
                client: "vpn".into(),
                channel: Channel::Radius,
                source: None,
                rule: None,
                method: "pap".into(),
                origin: None,
                waiver: None,
                note: None,
                failures: 0,
                locked: false,
                latency: 1,
            };
            let record = AuditRecord {
                seq: 7,
                at,
                event: Event::Decision(event),
                changes: Vec::new(),
                mac: [0; 32],
            };
            let line = line(&record);
            assert!(line.contains(says), "{line}");
            assert!(line.contains(&format!(" act={decision} ")), "{line}");
        }
    }
}
