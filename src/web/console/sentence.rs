//! What is on record, as rows and sentences.

use crate::api::call::Call as _;
use crate::api::explain::ExplainRequest;
use crate::api::{AuditEvent, AuditRecord, ShowAudit};
use crate::model::client::Scope;
use crate::server::http::caller::Person;
use crate::web::text::Text;
use crate::web::view::{Cell, Piece, Tone};
use crate::wire::percent_encode;

/// A time as people read it; in UTC, as everywhere on record.
pub(super) fn when(rfc3339: &str) -> String {
    let plain = rfc3339.trim_end_matches('Z').replace('T', " ");
    plain.split('.').next().unwrap_or_default().to_owned()
}

/// The same where no head says the zone.
pub(super) fn utc(rfc3339: &str) -> String {
    format!("{} UTC", when(rfc3339))
}

/// A text of a record with its times as people read them.
fn with_times(text: &str) -> String {
    let is_time = |word: &str| {
        let figures = |sign: char| sign.is_ascii_digit() || "-:.T".contains(sign);
        word.len() >= "2026-01-31T00:00:00".len() && word.chars().all(figures)
    };
    let words = text.split(' ').map(|word| match word.split_once('Z') {
        Some((time, rest)) if is_time(time) => format!("{}{rest}", utc(time)),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Where the page of a user is.
pub(super) fn user_path(user: &str) -> String {
    let mut path = "/console/users/".to_owned();
    percent_encode(user, &mut path);
    path
}

/// Where it is explained why a request was decided so.
pub(super) fn why_path(request: &str) -> String {
    let mut path = "/console/why/".to_owned();
    percent_encode(request, &mut path);
    path
}

/// How a decision is marked.
pub(super) fn decision(t: Text, word: &str) -> Piece {
    let tone = match word {
        "accept" => Tone::Good,
        "reject" => Tone::Bad,
        _ => Tone::Plain,
    };
    let key = format!("decision.{word}");
    Piece::chip(tone, t.find(&key).unwrap_or(word))
}

/// The cause in words, or the word itself.
pub(super) fn reason(t: Text, word: &str) -> &str {
    t.find(&format!("reason.{word}")).unwrap_or(word)
}

/// Whether a person sees more of users than their names.
pub(super) fn sees_users(person: &Person) -> bool {
    let roles = [Scope::Admin, Scope::Operator, Scope::Auditor];
    person.roles.iter().any(|role| roles.contains(role))
}

/// The cause, with the way to its explanation for who may read it: an operator is told on the page of the user.
fn because(t: Text, record: &AuditRecord, person: &Person, cause: &str) -> Piece {
    if person.may(ExplainRequest::OPERATION.access) {
        Piece::link(why_path(&record.request_id), reason(t, cause))
    } else {
        Piece::text(reason(t, cause))
    }
}

/// A record as a row: time, what, whom, why, by whom.
pub(super) fn row(t: Text, record: &AuditRecord, person: &Person) -> Vec<Cell> {
    let time = match &record.event {
        AuditEvent::Change { .. } if person.may(ShowAudit::OPERATION.access) => {
            vec![Piece::link(
                format!("/console/audit/{}", record.seq),
                when(&record.time),
            )]
        }
        _ => vec![Piece::text(when(&record.time))],
    };
    let user = |name: &str| {
        if name.contains('@') && sees_users(person) {
            Piece::link(user_path(name), name)
        } else {
            Piece::text(name)
        }
    };
    match &record.event {
        AuditEvent::Decision {
            decision: word,
            reason: cause,
            user: name,
            client,
            client_ip,
            serial,
            note,
            ..
        } => {
            let mut why = vec![because(t, record, person, cause)];
            why.push(Piece::Faint(cause.clone()));
            if let Some(note) = note {
                why.push(Piece::Faint(note.clone()));
            }
            let mut from = vec![Piece::text(client.clone())];
            from.extend(client_ip.map(|address| Piece::Faint(address.to_string())));
            from.extend(serial.clone().map(Piece::Mono));
            vec![time, vec![decision(t, word)], vec![user(name)], why, from]
        }
        AuditEvent::Change {
            actor,
            action,
            target,
            user: name,
            detail,
        } => {
            let mut what = vec![
                Piece::text(action_name(t, action)),
                Piece::Mono(target.clone()),
            ];
            let detail = detail.as_deref();
            what.extend(detail.map(|detail| {
                let told = t.told(detail).unwrap_or_else(|| detail.to_owned());
                Piece::Faint(with_times(&told))
            }));
            let whom = name.as_deref().map(user);
            vec![
                time,
                vec![Piece::chip(Tone::Plain, t.get("decision.change"))],
                whom.into_iter().collect(),
                what,
                vec![Piece::text(actor.clone())],
            ]
        }
    }
}

fn action_name(t: Text, action: &str) -> String {
    let found = t.find(&format!("action.{action}"));
    found.map_or_else(|| action.replace('_', " "), str::to_owned)
}

/// The heads of such rows.
pub(super) fn heads(t: Text) -> Vec<String> {
    let heads = [
        t.get("head.time"),
        t.get("head.what"),
        t.get("head.user"),
        t.get("head.why"),
        t.get("head.by"),
    ];
    heads.map(str::to_owned).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_zone() {
        let told = with_times("good until 2026-12-14T04:32:02.235Z, Z");
        assert_eq!(told, "good until 2026-12-14 04:32:02 UTC, Z");
        assert_eq!(
            with_times("TOTP-00000000000000000000Z"),
            "TOTP-00000000000000000000Z"
        );
    }
}
