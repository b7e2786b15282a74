//! What an audit record must be like to be found, and the words by which the indexes of the journal find it.

use std::net::IpAddr;

use memchr::memmem::Finder;

use crate::model::audit::{AuditRecord, ChangeEvent, Event, Origin};
use crate::model::reason::{Decision, Reason};
use crate::store::AuditQuery;
use crate::store::StoreError;
use crate::store::journal::Search;
use crate::store::record::Entry;
use crate::time::UnixTime;

/// What indexes are asked for a query: whatever it selects has these words.
pub(super) fn of(query: &AuditQuery) -> Search {
    let mut words = Vec::new();
    let mut all = |letter: char, text: Option<&str>| {
        words.extend(text.map(|text| vec![word(letter, text)]));
    };
    all('u', query.user.as_deref());
    all('c', query.client.as_deref());
    all('r', query.reason.map(Reason::as_str));
    all('a', query.action.as_deref());
    all('d', query.decision.map(Decision::as_str));
    all('k', query.actor.as_deref());
    if let Some((nas, clients)) = &query.nas {
        let mut any = vec![word('n', &nas.to_lowercase())];
        any.extend(
            nas.parse::<IpAddr>()
                .ok()
                .map(|at| word('i', &at.to_string())),
        );
        any.extend(clients.iter().map(|client| word('c', client)));
        words.push(any);
    }
    if let Some(reason) = query.reason {
        // Each of them may be in every block, and both in none.
        let pairs = [('p', &query.client), ('q', &query.user)];
        let pairs = pairs.map(|(letter, with)| Some(word(letter, &pair(with.as_deref()?, reason))));
        words.extend(pairs.into_iter().flatten().map(|pair| vec![pair]));
    }
    // As they stand in a record; of an actor the query may have the first part.
    let texts = [&query.user, &query.client, &query.action, &query.actor];
    let texts = texts.into_iter().flatten();
    Search {
        words,
        texts: texts.map(|text| Finder::new(text).into_owned()).collect(),
        since: query.since,
        until: query.until,
    }
}

fn pair(text: &str, reason: Reason) -> String {
    format!("{text}{BETWEEN}{}", reason.as_str())
}

/// Tells the words of a stored entry, each in parts, and returns its time.
pub(super) fn words_of(
    entry: &[u8],
    tell: &mut dyn FnMut(&[&str]),
) -> Result<UnixTime, StoreError> {
    let (at, event) = Entry::event(entry)?;
    let mut add = |letter: &str, text: &str| tell(&[letter, text]);
    match &event {
        Event::Decision(event) => {
            let reason = event.reason.as_str();
            add("u", &event.user);
            add("c", &event.client);
            add("r", reason);
            add("d", event.decision.as_str());
            if let Some(origin) = &event.origin {
                if let Some(nas) = &origin.nas {
                    add("n", &nas.to_lowercase());
                }
                if let Some(at) = origin.nas_ip {
                    add("i", &at.to_string());
                }
            }
            tell(&["p", &event.client, BETWEEN, reason]);
            tell(&["q", &event.user, BETWEEN, reason]);
        }
        Event::Change(event) => {
            if let Some(user) = &event.user {
                add("u", user);
            }
            add("a", &event.action);
            for name in actors(&event.actor) {
                add("k", name);
            }
            if let Some(client) = event.actor.strip_prefix("radius:") {
                add("c", client);
            }
            // As far as `accounts` looks: a name may hold what parts it from the rest.
            let detail = event.detail.as_deref().unwrap_or_default().to_lowercase();
            if let Some(rest) = detail.strip_prefix("nas ") {
                for (end, _) in rest.match_indices(", ").chain([(rest.len(), "")]) {
                    add("n", rest.get(..end).unwrap_or_default());
                }
            }
            if BY_TARGET.contains(&event.action.as_str()) {
                add("n", &event.target.to_lowercase());
            }
        }
    }
    Ok(at)
}

/// The names by which who made a change is found: `alice(uid 1000)`, and `alice`.
fn actors(actor: &str) -> impl Iterator<Item = &str> {
    let short = actor.split_once('(').map(|(name, _)| name);
    [Some(actor), short].into_iter().flatten()
}

fn word(letter: char, text: &str) -> String {
    format!("{letter}{text}")
}

/// Whether a query is for this record.
pub(super) fn selects(query: &AuditQuery, record: &AuditRecord) -> bool {
    let (user, decided, changed) = match &record.event {
        Event::Decision(event) => (Some(&event.user), Some(event), None),
        Event::Change(event) => (event.user.as_ref(), None, Some(event)),
    };
    let action = changed.map(|event| &event.action);
    let is_by = |actor: &String| {
        changed.is_some_and(|event| actors(&event.actor).any(|name| name == actor))
    };
    let decision = decided.map(|event| event.decision);
    let client = decided.map(|event| &*event.client);
    let reason = decided.map(|event| event.reason);
    query.until.is_none_or(|until| record.at < until)
        && (query.client.is_none() || query.client.as_deref() == client)
        && (query.reason.is_none() || query.reason == reason)
        && query.actor.as_ref().is_none_or(is_by)
        && (query.action.is_none() || query.action.as_ref() == action)
        && query.nas.as_ref().is_none_or(|(nas, clients)| {
            let origin = decided.and_then(|event| event.origin.as_deref());
            let names = |origin: &Origin| {
                let address = nas.parse::<IpAddr>().ok();
                let name = origin.nas.as_deref();
                name.is_some_and(|name| name.to_lowercase() == nas.to_lowercase())
                    || (address.is_some() && origin.nas_ip == address)
            };
            origin.is_some_and(names)
                || client.is_some_and(|client| clients.iter().any(|one| one == client))
                || matches!(&record.event, Event::Change(event) if accounts(event, nas, clients))
        })
        && (query.user.is_none() || query.user.as_ref() == user)
        && query
            .request
            .is_none_or(|wanted| wanted == record.event.request())
        && (query.decision.is_none() || query.decision == decision)
}

/// Whether a change is what this NAS reported of its sessions, or one of these clients for it.
fn accounts(event: &ChangeEvent, nas: &str, clients: &[String]) -> bool {
    let client = event.actor.strip_prefix("radius:");
    if client.is_some_and(|client| clients.iter().any(|one| one == client)) {
        return true;
    }
    let nas = nas.to_lowercase();
    match event.action.as_str() {
        "session_start" | "session_update" | "session_stop" | "session_disconnect"
        | "session_change" | "accounting_other" => {
            let detail = event.detail.as_deref().unwrap_or_default().to_lowercase();
            let rest = detail.strip_prefix("nas ");
            let rest = rest.and_then(|rest| rest.strip_prefix(&nas));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(", "))
        }
        action if BY_TARGET.contains(&action) => event.target.to_lowercase() == nas,
        _ => false,
    }
}

/// Stands between the parts of a pair.
const BETWEEN: &str = "\0";
/// Changes whose target is a NAS.
const BY_TARGET: [&str; 3] = ["sessions_end", "accounting_on", "accounting_off"];
