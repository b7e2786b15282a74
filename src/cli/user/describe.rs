//! A user, with everything that is known.

use crate::api::{User as Record, VerifierInfo, Waiver};
use crate::cli::output;
use crate::cli::output::{Table, joined, local_time, printable, shell_word};
use crate::cli::token::shown;
use crate::cli::token::shown::lock;

pub(super) fn describe(user: &Record) -> String {
    let mut table = Table::pairs();
    let state = ["enabled", "disabled: always rejected"][usize::from(user.disabled)];
    table.pair("user", user.user.clone());
    let aliases = Some(joined(&user.aliases)).filter(|_| !user.aliases.is_empty());
    table.pair("aliases", aliases);
    table.pair("name", user.display_name.clone());
    table.pair("state", state.to_owned());
    table.pair("lock", user.lock.as_ref().map(lock));
    table.pair("groups", joined(&user.groups));
    table.pair("class", user.class.clone());
    table.pair("phone", user.phone.clone());
    table.pair("email", user.email.clone());
    table.pair("language", user.language.clone());
    let remote = user.remote_issue.then(|| "consented".to_owned());
    table.pair("remote enrolment", remote);
    table.pair("birth date", user.birth_date.clone());
    let verifier = |info: &VerifierInfo| {
        let mut text = format!("set {}", local_time(&info.set));
        if let Some(form) = &info.imported {
            push!(text, ", imported ({form})");
        }
        if info.must_change {
            text.push_str(", must be changed");
        }
        text
    };
    table.pair("PIN", user.pin.as_ref().map(verifier));
    table.pair("password", user.password.as_ref().map(verifier));
    let waiver = |waiver: &Waiver| {
        let nowhere = waiver.effect.as_ref().is_some_and(Vec::is_empty);
        let holds = match waiver.holds {
            true if nowhere => "granted, without effect",
            true => "holds",
            false => "past",
        };
        let until = local_time(&waiver.until);
        format!(
            "{holds}, until {until}, by {}: {}",
            waiver.owner, waiver.reason
        )
    };
    let effect = |waiver: Option<&Waiver>| {
        let waiver = waiver.filter(|waiver| waiver.holds)?;
        waiver.effect.as_deref().map(output::effect)
    };
    table.pair("bypass", user.bypass.as_ref().map(waiver));
    table.pair("has effect", effect(user.bypass.as_ref()));
    table.pair("exemption", user.exemption.as_ref().map(waiver));
    table.pair("has effect", effect(user.exemption.as_ref()));
    table.pair(
        "follows",
        user.source.as_ref().map(|name| format!("source {name}")),
    );
    table.pair("created", local_time(&user.created));
    let mut text = table.text();
    if let Some(tokens) = &user.tokens {
        text.push('\n');
        let name = printable(&user.user);
        let empty = format!(
            "No tokens. Add one: oncegate token add {}",
            shell_word(&name)
        );
        text.push_str(&shown::table(tokens).or(&empty));
    }
    text
}
