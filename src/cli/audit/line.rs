//! Records as cells of a table and as lines.

use owo_colors::OwoColorize as _;

use crate::api::{AuditEvent, AuditRecord, FieldChange};
use crate::cli::changes;
use crate::cli::output::{local_time, or_dash, printable};

pub(super) fn cells(record: &AuditRecord) -> [String; 8] {
    let time = local_time(&record.time);
    let id = record.request_id.clone();
    match &record.event {
        AuditEvent::Decision {
            decision,
            reason,
            purpose,
            user,
            serial,
            client,
            channel,
            rule,
            ..
        } => {
            let what = match purpose.as_str() {
                "login" => decision.clone(),
                other => format!("{decision} ({other})"),
            };
            [
                time,
                what,
                or_dash(Some(user.as_str()).filter(|user| !user.is_empty())),
                reason.clone(),
                format!("{channel} {client}"),
                or_dash(serial.as_deref()),
                or_dash(rule.as_deref()),
                id,
            ]
        }
        AuditEvent::Change {
            actor,
            action,
            target,
            detail,
            ..
        } => [
            time,
            "change".to_owned(),
            actor.clone(),
            action.clone(),
            "-".to_owned(),
            target.clone(),
            or_dash(brief(&record.changes, detail.as_deref()).as_deref()),
            id,
        ],
    }
}

/// What changed; where no field did, what the record says besides.
fn brief(fields: &[FieldChange], detail: Option<&str>) -> Option<String> {
    let fields = changes::brief(fields);
    let detail = detail.filter(|_| fields.is_empty()).map(changes::cell);
    detail.or(Some(fields)).filter(|text| !text.is_empty())
}

/// One line of `tail`.
pub(super) fn line(record: &AuditRecord) -> String {
    spaced(record, cells(record))
}

/// The same with nothing cut: what a change says stands below it.
pub(super) fn whole(record: &AuditRecord) -> String {
    let mut cells = cells(record);
    let said = match &record.event {
        AuditEvent::Change { detail, .. } => {
            "-".clone_into(&mut cells[6]);
            detail
        }
        AuditEvent::Decision { note, .. } => note,
    };
    let mut text = spaced(record, cells);
    if let Some(said) = said {
        push!(text, "  {}\n", printable(said));
    }
    text
}

/// Columns are wide enough for most; a wider value pushes the rest.
fn spaced(record: &AuditRecord, cells: [String; 8]) -> String {
    let [time, what, who, rest @ ..] = cells.map(|cell| printable(&cell).into_owned());
    let [why, client, token, rule, id] = rest;
    let padded = format!("{what:<9}");
    let what = match what.as_str() {
        what if what.starts_with("accept") => padded.green().to_string(),
        what if what.starts_with("reject") => padded.red().to_string(),
        _ => padded,
    };
    let mut text = String::new();
    push!(
        text,
        "{time}  {what}  {who:<20}  {why:<15}  {client:<20}  {token:<14}"
    );
    push!(text, "  {rule:<18}  {id}");
    if let AuditEvent::Decision { latency_ms, .. } = &record.event {
        push!(text, "  {latency_ms} ms");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(user: &str) -> AuditRecord {
        AuditRecord {
            seq: 1,
            time: "2026-11-23T07:56:39Z".to_owned(),
            request_id: "r-1".to_owned(),
            event: AuditEvent::Decision {
                decision: "reject".to_owned(),
                reason: "unknown_user".to_owned(),
                purpose: "login".to_owned(),
                user: user.to_owned(),
                serial: None,
                step: None,
                client: "vpn".to_owned(),
                channel: "radius".to_owned(),
                client_ip: None,
                nas: None,
                nas_ip: None,
                calling_station: None,
                note: None,
                method: "pap".to_owned(),
                rule: None,
                waiver: None,
                failures: 0,
                latency_ms: 2,
            },
            changes: Vec::new(),
        }
    }

    #[test]
    fn an_empty_user_has_a_mark() {
        let mut record = decision("");
        assert_eq!(cells(&record)[2], "-");
        record = decision("alice@default");
        assert_eq!(cells(&record)[2], "alice@default");
    }

    #[test]
    fn a_line_shows_a_hostile_user_name_harmlessly() {
        let record = decision("a\u{1b}[2J\nroot");
        let text = line(&record);
        assert!(text.contains("a\\u{1b}[2J\\u{a}root"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}
