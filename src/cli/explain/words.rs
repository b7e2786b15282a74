//! Parts of explanations in words.

use crate::api::explain::{Form, Held, Rule, Span};
use crate::api::{AuditEvent, AuditRecord, Token};
use crate::cli::output::local_time;
use crate::cli::token::shown;

/// What came of a rule.
pub(super) fn said(rule: &Rule) -> String {
    let asks = rule.require.join(" + ");
    match (rule.decides, rule.holds) {
        (true, _) => format!("decides: {asks}"),
        (false, Held::Yes) => format!("would hold: {asks}"),
        (false, Held::Unknown) => "may hold: depends on what was not kept".to_owned(),
        (false, Held::No) => "does not hold".to_owned(),
    }
}

/// What the person types.
pub(super) fn typed(form: &Form) -> String {
    let shapes = |shapes: &[String]| shapes.join(" or ");
    let rounds: Vec<String> = form
        .rounds
        .iter()
        .map(|round| match &round.prompt {
            None => shapes(&round.shapes),
            Some(prompt) => format!("asked \"{prompt}\", {}", shapes(&round.shapes)),
        })
        .collect();
    match form.how.as_str() {
        "rounds" => rounds.join("; then, "),
        "fields" => format!("{} (HTTP)", rounds.join(" ")),
        _ => format!("{} (in one box)", rounds.join(" ")),
    }
}

/// A token as it is now.
pub(super) fn about(token: &Token) -> String {
    let mut text = format!("{}: {}, {}", token.serial, shown::makes(token), token.state);
    if let Some(repair) = shown::repaired(token) {
        push!(text, " ({repair})");
    }
    if token.lock.state != "open" {
        push!(text, ", {}", shown::lock(&token.lock));
    }
    if let Some(drift) = token.drift.filter(|drift| *drift != 0) {
        push!(text, ", clock {drift:+} steps");
    }
    text
}

/// `00:00:00 to 00:00:30`.
pub(super) fn span(span: &Span) -> String {
    let (from, to) = (local_time(&span.from), local_time(&span.to));
    let (from, to) = (clock(&from), clock(&to));
    format!("{from} to {to}")
}

/// The clock of a time as [`local_time`] shows it.
fn clock(text: &str) -> &str {
    text.split(' ').nth(1).unwrap_or(text)
}

/// A decision on one line.
pub(super) fn brief(record: &AuditRecord) -> String {
    let time = local_time(&record.time);
    match &record.event {
        AuditEvent::Decision {
            reason,
            client,
            client_ip,
            ..
        } => {
            let from = client_ip.map(|from| format!(" from {from}"));
            let from = from.unwrap_or_default();
            let id = &record.request_id;
            format!("{time}  {reason} at {client}{from}, {id}")
        }
        AuditEvent::Change { action, .. } => format!("{time}  {action}"),
    }
}

/// With a capital letter and a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}
