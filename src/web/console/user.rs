//! The help desk's page of one user: what happened, why, one act that helps; all that is known, and all that can be
//! done.

use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use tokio::time::timeout;

use crate::api::call::NoQuery;
use crate::api::{
    self, AuditEvent, AuditRecord, DevicesOf, ListDevices, ListSessions, SessionQuery, ShowUser,
    forms,
};
use crate::model::id::Serial;
use crate::store::AuditQuery;
use crate::time::UnixTime;
use crate::web::Desk;
use crate::web::console::act::is_of_console;
use crate::web::console::sentence::{heads, reason, row, user_path, utc, when};
use crate::web::console::{acts, frame, users};
use crate::web::text::Text;
use crate::web::view::{Block, Cell, Form, Piece, Table, Tone};
use crate::web::visit::Signed;

/// What the address says.
#[derive(Deserialize)]
pub(super) struct Wanted {
    done: Option<String>,
}

/// `GET /console/users/{user}`
pub(super) async fn show(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
    signed: Signed,
) -> Response {
    let (t, caller) = (signed.visit.t, signed.caller());
    let user = match desk.read::<ShowUser>(&caller, &name, &NoQuery {}).await {
        Ok(user) => user,
        Err(refused) => return frame::refused(&signed, &refused),
    };
    let records = history(&desk, &user.user).await;
    let mut blocks = frame::done(&signed, wanted.done.as_deref());
    blocks.extend(happened(&signed, &user, &records));
    let left = vec![
        Block::Heading(t.get("user.tokens").to_owned()),
        Block::Table(tokens(&desk, &signed, &user)),
        Block::Actions(forms_of(&signed, &user, token_acts(&user))),
        Block::Heading(t.get("user.history").to_owned()),
        Block::Table(Table {
            label: t.get("user.history").to_owned(),
            head: own(heads(t)),
            rows: records
                .iter()
                .map(|record| own(row(t, record, &signed.person)))
                .collect(),
            empty: t.get("user.no_history").to_owned(),
            ..Table::default()
        }),
    ];
    let mut right = vec![Block::Card(vec![
        Block::Heading(t.get("user.about").to_owned()),
        Block::Facts(facts(t, &user)),
        Block::Actions(forms_of(
            &signed,
            &user,
            &["set_user", "set_password", "set_pin"],
        )),
    ])];
    right.push(Block::Card(vec![
        Block::Heading(t.get("user.access").to_owned()),
        Block::Actions(access(&signed, &user)),
    ]));
    right.extend(devices(&desk, &signed, &user).await);
    right.extend(sessions(&desk, &signed, &user).await);
    blocks.push(Block::Columns(vec![left, right]));
    frame::page(&signed, user.user, blocks).answer(StatusCode::OK)
}

/// What is done about the user's tokens as a whole.
fn token_acts(user: &api::User) -> &'static [&'static str] {
    let tokens = user.tokens.as_deref().unwrap_or_default();
    let in_use = |token: &api::Token| token.state == "active" && token.owner() == user.user;
    if tokens.iter().any(in_use) {
        &["enrol_link", "add_token", "freeze"]
    } else {
        &["enrol_link", "add_token"]
    }
}

/// What became of the user's logins lately, and what was changed. Who may see the user sees it: without it a help
/// desk cannot help. A long trail is not read to its beginning: the days that can be read in time.
async fn history(desk: &Desk, user: &str) -> Vec<AuditRecord> {
    let (store, now) = (desk.app.core().store(), desk.app.core().now());
    for days in [31, 1] {
        let since = now.as_millis().saturating_sub(days * 24 * 3600 * 1000);
        let query = AuditQuery {
            user: Some(user.to_owned()),
            since: Some(UnixTime::from_millis(since)),
            limit: HISTORY,
            ..AuditQuery::default()
        };
        if let Ok(Ok(records)) = timeout(PATIENCE, store.audit(query)).await {
            return records.iter().map(forms::audit).collect();
        }
    }
    Vec::new()
}

/// A row without the user, whose page it is.
fn own<T>(mut row: Vec<T>) -> Vec<T> {
    if row.len() > USER_COLUMN {
        row.remove(USER_COLUMN);
    }
    row
}

/// The forms of these acts that the person may do to this user.
fn forms_of(signed: &Signed, user: &api::User, ids: &[&str]) -> Vec<Form> {
    // People of the console are changed by administrators.
    let is_admin = signed
        .person
        .roles
        .contains(&crate::model::client::Scope::Admin);
    if is_of_console(&user.user) && !is_admin {
        return Vec::new();
    }
    let revision = user.revision.to_string();
    let groups = user.groups.join(" ");
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (display, email, phone, class) = (
        text(&user.display_name),
        text(&user.email),
        text(&user.phone),
        text(&user.class),
    );
    let given = [
        ("revision", revision.as_str()),
        ("user", &user.user),
        ("groups", &groups),
        ("display_name", &display),
        ("email", &email),
        ("phone", &phone),
        ("class", &class),
        ("until", "4"),
    ];
    let found = ids.iter().filter_map(|id| acts::find(id));
    found
        .filter_map(|act| act.form(signed, &user.user, &given))
        .collect()
}

fn access(signed: &Signed, user: &api::User) -> Vec<Form> {
    let mut ids = Vec::new();
    if user.lock.as_ref().is_some_and(|lock| lock.failures > 0) {
        ids.push("unlock");
    }
    ids.push("note");
    ids.push(if user.disabled { "enable" } else { "disable" });
    let holds = |waiver: &Option<api::Waiver>| waiver.as_ref().is_some_and(|one| one.holds);
    ids.push(if holds(&user.bypass) {
        "end_bypass"
    } else {
        "bypass"
    });
    ids.push(if holds(&user.exemption) {
        "end_exemption"
    } else {
        "exemption"
    });
    ids.push("disconnect");
    ids.push("remove_user");
    ids.push("erase_user");
    forms_of(signed, user, &ids)
}

/// What happened last, in a sentence; why; and the one act that is most likely to help.
fn happened(signed: &Signed, user: &api::User, records: &[AuditRecord]) -> Vec<Block> {
    let t = signed.visit.t;
    let last = records.iter().find_map(|record| match &record.event {
        AuditEvent::Decision {
            decision,
            reason,
            client,
            ..
        } => Some((record, decision, reason, client)),
        AuditEvent::Change { .. } => None,
    });
    let (tone, text) = match &last {
        None => (Tone::Plain, t.get("user.never").to_owned()),
        Some((record, decision, cause, client)) => {
            let tone = if decision.as_str() == "accept" {
                Tone::Good
            } else {
                Tone::Bad
            };
            let time = utc(&record.time);
            let values = [
                ("time", time.as_str()),
                ("client", client.as_str()),
                ("why", reason(t, cause)),
            ];
            (tone, t.with("user.last", &values))
        }
    };
    let cause = last.map(|(_, _, reason, _)| reason.as_str());
    let (advice, act) = helps(user, cause);
    let advice = t.find(advice).unwrap_or_default().to_owned();
    let mut blocks = vec![Block::Notice {
        tone,
        text,
        detail: advice,
    }];
    if let Some(act) = act {
        let forms = forms_of(signed, user, &[act]);
        let forms = forms.into_iter().map(Form::main);
        blocks.push(Block::Actions(forms.collect()));
    }
    blocks
}

/// The advice, and the act, for how the user is now.
fn helps(user: &api::User, cause: Option<&str>) -> (&'static str, Option<&'static str>) {
    let tokens = user.tokens.as_deref().unwrap_or_default();
    let is_alive = |token: &&api::Token| !matches!(token.state.as_str(), "revoked" | "expired");
    if user.disabled {
        return ("advice.disabled", Some("enable"));
    }
    if user.lock.as_ref().is_some_and(|lock| !lock.is_open()) {
        return ("advice.locked", Some("unlock"));
    }
    if tokens.iter().filter(is_alive).count() == 0 {
        return ("advice.no_token", Some("enrol_link"));
    }
    let all = |states: &[&str]| {
        let mut alive = tokens.iter().filter(is_alive);
        alive.all(|token| states.contains(&token.state.as_str()))
    };
    if all(&["suspended"]) {
        return ("advice.suspended", None);
    }
    if all(&["pending", "suspended"]) {
        return ("advice.not_active", None);
    }
    match cause {
        Some("wrong_code") => ("advice.wrong_code", None),
        Some("used_code") => ("advice.used_code", None),
        Some("wrong_pin" | "no_pin") => ("advice.wrong_pin", Some("set_pin")),
        Some("wrong_password" | "no_password" | "must_change") => {
            ("advice.wrong_password", Some("set_password"))
        }
        Some("not_active") => ("advice.not_active", None),
        Some("no_rule" | "low_assurance" | "other_realm" | "method_not_allowed") => {
            ("advice.policy", None)
        }
        _ => ("advice.none", None),
    }
}

fn facts(t: Text, user: &api::User) -> Vec<(String, Cell)> {
    let mut facts = Vec::new();
    let mut fact = |key: &'static str, value: Cell| {
        if !value.is_empty() {
            let label = t.find(key).unwrap_or(key);
            facts.push((label.to_owned(), value));
        }
    };
    let text =
        |value: &Option<String>| value.iter().map(|text| Piece::text(text.clone())).collect();
    fact("fact.state", users::states(t, user));
    fact("head.name", text(&user.display_name));
    let groups = user.groups.iter();
    let groups = groups.map(|group| Piece::chip(Tone::Plain, group.clone()));
    fact("head.groups", groups.collect());
    fact("fact.email", text(&user.email));
    fact("fact.phone", text(&user.phone));
    fact("fact.class", text(&user.class));
    let set = |info: &Option<api::VerifierInfo>| {
        let info = info.iter();
        info.map(|info| Piece::text(t.with("user.set_at", &[("time", &utc(&info.set))])))
            .collect()
    };
    fact("fact.password", set(&user.password));
    fact("fact.pin", set(&user.pin));
    if let Some(lock) = user.lock.as_ref().filter(|lock| lock.failures > 0) {
        fact(
            "fact.failures",
            vec![Piece::text(lock.failures.to_string())],
        );
    }
    for (key, waiver) in [
        ("state.bypass", &user.bypass),
        ("state.exemption", &user.exemption),
    ] {
        if let Some(waiver) = waiver.as_ref().filter(|waiver| waiver.holds) {
            let until = utc(&waiver.until);
            let values = [
                ("until", until.as_str()),
                ("reason", &waiver.reason),
                ("owner", &waiver.owner),
            ];
            fact(key, vec![Piece::text(t.with("user.waiver", &values))]);
        }
    }
    fact("head.made", vec![Piece::text(when(&user.created))]);
    facts
}

fn tokens(desk: &Desk, signed: &Signed, user: &api::User) -> Table {
    let t = signed.visit.t;
    let tokens = user.tokens.as_deref().unwrap_or_default();
    let row = |token: &api::Token| {
        let sharers = sharers(desk, signed, token);
        let mut acts: Vec<&str> = match token.state.as_str() {
            "active" => vec!["resync", "suspend", "link", "revoke"],
            "suspended" => vec!["resume", "revoke"],
            "pending" => vec!["confirm", "revoke"],
            "approved" => vec!["offer", "revoke"],
            "requested" => vec!["approve", "deny"],
            _ => vec!["remove_token"],
        };
        if !matches!(token.kind.as_str(), "totp" | "hotp") {
            acts.retain(|act| !["resync", "link"].contains(act));
        }
        let revision = token.revision.to_string();
        let given = [("revision", revision.as_str())];
        let is_admin = signed
            .person
            .roles
            .contains(&crate::model::client::Scope::Admin);
        let may = is_admin || !is_of_console(&user.user);
        let forms = acts.iter().filter(|_| may).filter_map(|id| acts::find(id));
        let forms = forms.filter_map(|act| act.form(signed, &token.serial, &given));
        let mut forms: Vec<Form> = forms.collect();
        forms.extend(sharers.iter().filter(|_| may).filter_map(|sharer| {
            acts::find("unlink")?.form(signed, &token.serial, &[("user", sharer.as_str())])
        }));
        let last = token.last_accept.as_deref().map(when);
        vec![
            vec![Piece::Mono(token.serial.clone())],
            kind(t, user, token, &sharers),
            vec![state(t, token)],
            vec![Piece::text(last.unwrap_or_else(|| "-".to_owned()))],
            forms.into_iter().map(Piece::Form).collect(),
        ]
    };
    Table {
        label: t.get("user.tokens").to_owned(),
        head: [
            t.get("head.token"),
            t.get("head.kind"),
            t.get("head.state"),
            t.get("head.last"),
            t.get("head.acts"),
        ]
        .map(str::to_owned)
        .into(),
        rows: tokens.iter().map(row).collect(),
        empty: t.get("user.no_token").to_owned(),
        ..Table::default()
    }
}

/// The users beside its owner for whom a token counts, of those whom the person sees. Where that cannot be read, the
/// page has all else.
fn sharers(desk: &Desk, signed: &Signed, token: &api::Token) -> Vec<String> {
    let serial = token.serial.parse::<Serial>().ok();
    let users = serial.and_then(|serial| desk.app.core().store().sharers(&serial).ok());
    let users = users.unwrap_or_default();
    let caller = signed.caller();
    let seen = users.iter().filter(|user| caller.sees(user));
    seen.map(ToString::to_string).collect()
}

/// What a token is, and whose it is beside this user.
fn kind(t: Text, user: &api::User, token: &api::Token, sharers: &[String]) -> Cell {
    let word = t.find(&format!("word.{}", token.kind));
    let mut cell = vec![Piece::text(word.unwrap_or(&token.kind))];
    let others = std::iter::once(token.owner()).chain(sharers.iter().map(String::as_str));
    let others: Vec<&str> = others.filter(|other| *other != user.user).collect();
    if !others.is_empty() {
        cell.push(Piece::Faint(t.get("user.shared").to_owned()));
        cell.extend(
            others
                .iter()
                .map(|other| Piece::link(user_path(other), *other)),
        );
    }
    cell
}

fn state(t: Text, token: &api::Token) -> Piece {
    let (tone, key) = if token.lock.is_open() {
        let tone = match token.state.as_str() {
            "active" => Tone::Good,
            "revoked" | "expired" | "suspended" => Tone::Bad,
            _ => Tone::Warn,
        };
        (tone, token.state.as_str())
    } else {
        (Tone::Bad, token.lock.state.as_str())
    };
    let shown = t.find(&format!("state.{key}")).unwrap_or(key);
    Piece::chip(tone, shown)
}

async fn devices(desk: &Desk, signed: &Signed, user: &api::User) -> Option<Block> {
    let t = signed.visit.t;
    let query = DevicesOf {
        user: user.user.clone(),
    };
    let found = desk
        .read::<ListDevices>(&signed.caller(), (), &query)
        .await
        .ok()?;
    let live = found
        .devices
        .iter()
        .filter(|device| device.state == "active");
    if live.clone().count() == 0 {
        return None;
    }
    let row = |device: &api::Device| {
        let given = [("name", device.name.as_str())];
        let acts = ["rename_device", "revoke_device"].into_iter();
        let acts = acts.filter_map(|id| acts::find(id)?.form(signed, &device.device, &given));
        vec![
            vec![Piece::text(device.name.clone())],
            vec![Piece::Faint(when(&device.created))],
            acts.map(Piece::Form).collect(),
        ]
    };
    Some(Block::Card(vec![
        Block::Heading(t.get("user.devices").to_owned()),
        Block::Table(Table {
            label: t.get("user.devices").to_owned(),
            head: [t.get("head.name"), t.get("head.made"), t.get("head.acts")]
                .map(str::to_owned)
                .into(),
            rows: live.map(row).collect(),
            ..Table::default()
        }),
    ]))
}

async fn sessions(desk: &Desk, signed: &Signed, user: &api::User) -> Option<Block> {
    let t = signed.visit.t;
    let query = SessionQuery {
        user: Some(user.user.clone()),
        open: Some(true),
        limit: Some(10),
        ..SessionQuery::default()
    };
    let found = desk
        .read::<ListSessions>(&signed.caller(), (), &query)
        .await
        .ok()?;
    if found.sessions.is_empty() {
        return None;
    }
    let row = |session: &api::Session| {
        vec![
            vec![Piece::text(session.nas.clone())],
            vec![Piece::Faint(when(&session.started))],
            vec![Piece::text(session.framed_ip.clone().unwrap_or_default())],
        ]
    };
    Some(Block::Card(vec![
        Block::Heading(t.get("user.sessions").to_owned()),
        Block::Table(Table {
            label: t.get("user.sessions").to_owned(),
            head: [t.get("head.nas"), t.get("head.made"), t.get("head.address")]
                .map(str::to_owned)
                .into(),
            rows: found.sessions.iter().map(row).collect(),
            ..Table::default()
        }),
    ]))
}

/// Where rows have the user.
const USER_COLUMN: usize = 2;
/// Records of the user's history.
const HISTORY: usize = 20;
/// How long a history is read.
const PATIENCE: Duration = Duration::from_millis(400);
