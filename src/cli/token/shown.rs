//! Tokens and locks in words and tables.

use jiff::Timestamp;

use crate::api::{Lock, Token as Record};
use crate::cli::output;
use crate::cli::output::{Table, local_time};

/// `1 of 2: api:kim`; absent where none is needed.
pub(super) fn approvals(token: &Record) -> Option<String> {
    let needed = token.approvals_needed?;
    let by: Vec<String> = token
        .approvals
        .iter()
        .map(|one| match &one.on_behalf {
            Some(owner) => format!("{} for {owner}", one.by),
            None => one.by.clone(),
        })
        .collect();
    let given = by.len();
    Some(format!("{given} of {needed}: {}", output::joined(&by)))
}

/// What makes its codes: `totp sha1, 6 digits, 30 s`; `sms, 6 digits`.
pub(in crate::cli) fn makes(token: &Record) -> String {
    match token.kind.as_str() {
        "recovery" => {
            let left = token.codes_left.unwrap_or_default();
            format!("recovery, {} left", output::count(left.into(), "code"))
        }
        "card" => "card, 35 cells".to_owned(),
        "yubikey" => format!("yubikey, OTPs of {} letters", token.digits),
        "totp" | "hotp" => {
            let period = token.period.map(|period| format!(", {period} s"));
            format!(
                "{} {}, {} digits{}",
                token.kind,
                token.algorithm,
                token.digits,
                period.unwrap_or_default()
            )
        }
        kind => format!("{kind}, {} digits", token.digits),
    }
}

/// What a repair of the store, or an older store that was put in its place, did to it, while that has effect.
pub(in crate::cli) fn repaired(token: &Record) -> Option<String> {
    let at = local_time(token.store_repaired.as_deref()?);
    Some(match &token.refused_until {
        Some(until) => format!(
            "codes are refused until {}: the store was repaired or restored on {at}",
            local_time(until)
        ),
        None => format!("closed by the repair or restore of the store on {at}: resync it first"),
    })
}

/// Whether which of its codes are used is not known since then.
pub(super) const fn is_closed(token: &Record) -> bool {
    token.store_repaired.is_some() && token.refused_until.is_none()
}

/// What its first right code does, while it waits for it; or what leads on where its time is over.
pub(super) fn first_code(token: &Record) -> Option<String> {
    first_code_at(token, Timestamp::now())
}

fn first_code_at(token: &Record, now: Timestamp) -> Option<String> {
    let text = token.first_use_until.as_deref()?;
    let until = local_time(text);
    let is_over = text.parse::<Timestamp>().is_ok_and(|until| until <= now);
    Some(if is_over {
        format!(
            "its time ended {until}: `token confirm` proves it by a code, `token offer` begins its time anew"
        )
    } else {
        format!("brings it into use, at any login until {until}")
    })
}

/// What brings a token in this state into use.
fn verb(state: &str) -> &'static str {
    match state {
        "requested" => "approve",
        "approved" => "offer",
        "pending" => "confirm",
        "unassigned" => "assign",
        _ => "resume",
    }
}

/// Tokens as a table.
pub(in crate::cli) fn table(tokens: &[Record]) -> Table {
    let mut table = Table::new(&["serial", "user", "type", "state", "lock", "last accept"]);
    for token in tokens {
        let accept = token.last_accept.as_deref().map(local_time);
        table.row([
            token.serial.clone(),
            std::iter::once(token.owner())
                .chain(token.linked.iter().map(String::as_str))
                .collect::<Vec<_>>()
                .join(", "),
            makes(token),
            match repaired(token) {
                Some(repair) => format!("{} ({repair})", token.state),
                None => token.state.clone(),
            },
            lock_state(&token.lock).to_owned(),
            accept.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table
}

/// Everything about a token.
pub(super) fn describe(token: &Record) -> String {
    let mut table = Table::pairs();
    table.pair("token", token.serial.clone());
    table.pair(
        "user",
        token
            .user
            .clone()
            .unwrap_or_else(|| "none: in stock".to_owned()),
    );
    let linked = (!token.linked.is_empty()).then(|| token.linked.join(", "));
    table.pair("counts for", linked);
    table.pair("type", makes(token));
    table.pair("public id", token.public_id.clone());
    table.pair("state", token.state.clone());
    table.pair("first code", first_code(token));
    let link = token.link.as_deref().zip(token.link_until.as_deref());
    let link = link.map(|(state, until)| match state {
        "open" => format!("not used yet; good until {}", local_time(until)),
        "used" => "used: its owner has the key".to_owned(),
        _ => format!("expired {}", local_time(until)),
    });
    table.pair("link", link);
    table.pair("store", repaired(token));
    if is_closed(token) {
        let (serial, verb) = (&token.serial, verb(&token.state));
        let resync = format!("oncegate token resync {serial}");
        // One in stock is found again by the user to whom it is given.
        let (next, then) = match token.user {
            Some(_) => (resync, format!("oncegate token {verb} {serial}")),
            None => (format!("oncegate token {verb} {serial} USER"), resync),
        };
        table.pair("next", output::hint(&next));
        table.pair("then", output::hint(&then));
    }
    table.pair("address", token.address.clone());
    table.pair("device", token.device.clone());
    table.pair("asked for by", token.requester.clone());
    table.pair("approvals", approvals(token));
    table.pair("replaces", token.replaces.clone());
    table.pair("expires", token.expires.as_deref().map(local_time));
    table.pair("lock", lock(&token.lock));
    table.pair(
        "last used step",
        token.last_step.map(|step| step.to_string()),
    );
    let steps = |drift: i32| {
        let plural = if drift.abs() == 1 { "" } else { "s" };
        format!("{drift} step{plural}")
    };
    table.pair("drift", token.drift.map(steps));
    let accept = token.last_accept.as_deref();
    table.pair(
        "last accept",
        accept.map_or_else(|| "never".to_owned(), local_time),
    );
    table.pair("created", local_time(&token.created));
    table.text()
}

/// The state of a lock.
fn lock_state(lock: &Lock) -> &str {
    match lock.state.as_str() {
        "open" => "unlocked",
        state => state,
    }
}

/// A lock in words.
pub(in crate::cli) fn lock(lock: &Lock) -> String {
    let state = lock_state(lock);
    let failures = match lock.failures {
        0 => "no failures".to_owned(),
        n => output::count(n.into(), "failure"),
    };
    match &lock.until {
        Some(until) => format!("{state}, {failures}, until {}", local_time(until)),
        None => format!("{state}, {failures}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_told_in_words() {
        let open = Lock {
            failures: 1,
            state: "open".to_owned(),
            until: None,
        };
        assert_eq!(lock(&open), "unlocked, 1 failure");
    }

    #[test]
    fn a_first_code_past_its_time_is_not_promised() {
        let token = serde_json::json!({
            "serial": "TOTP-1", "user": "alice@default", "kind": "totp", "state": "pending",
            "algorithm": "sha1", "digits": 6, "period": 30, "last_step": null, "drift": 0,
            "lock": {"failures": 0, "state": "open", "until": null}, "last_accept": null,
            "created": "2026-01-01T00:00:00Z", "revision": 1,
            "first_use_until": "2026-01-02T00:00:00Z",
        });
        let token: Record = serde_json::from_value(token).unwrap();
        let at = |now: &str| first_code_at(&token, now.parse().unwrap()).unwrap();
        assert!(at("2026-01-01T23:59:59Z").starts_with("brings it into use"));
        let over = at("2026-01-02T00:00:00Z");
        assert!(
            over.starts_with("its time ended ") && over.contains("`token offer`"),
            "{over}"
        );
    }

    /// A restore, and an older store that was accepted, close tokens as a repair does: none is named alone.
    #[test]
    fn what_closed_a_token_is_not_said_to_be_a_repair() {
        let token = |until: Option<&str>| -> Record {
            let token = serde_json::json!({
                "serial": "TOTP-1", "user": "alice@default", "kind": "totp", "state": "suspended",
                "algorithm": "sha1", "digits": 6, "period": 30, "last_step": null, "drift": 0,
                "lock": {"failures": 0, "state": "open", "until": null}, "last_accept": null,
                "created": "2026-01-01T00:00:00Z", "revision": 1,
                "store_repaired": "2026-01-02T00:00:00Z", "refused_until": until,
            });
            serde_json::from_value(token).unwrap()
        };
        let closed = repaired(&token(None)).unwrap();
        assert!(closed.starts_with("closed by the repair or restore of the store on "));
        let refused = repaired(&token(Some("2026-01-02T00:10:00Z"))).unwrap();
        assert!(refused.contains("the store was repaired or restored on "));
    }
}
