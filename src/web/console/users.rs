//! The list of users.

use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use tokio::time::timeout;

use crate::api::call::{Call as _, NoQuery};
use crate::api::explain::ExplainRequest;
use crate::api::{self, CountUsers, ImportUsers, ListUsers, ShowToken, ShowUser, UserPage};
use crate::model::audit::Event;
use crate::model::id::RequestId;
use crate::model::token::LifeCycle;
use crate::model::user_key::UserKey;
use crate::store::AuditQuery;
use crate::time::UnixTime;
use crate::web::console::sentence::{sees_users, user_path, why_path};
use crate::web::console::{acts, frame};
use crate::web::text::Text;
use crate::web::view::{Block, Cell, Field, Form, Input, Piece, Tab, Table, Tone};
use crate::web::visit::Signed;
use crate::web::{Desk, answer};
use crate::wire::percent_encode;

/// What an address of the list says.
#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    q: String,
    #[serde(default)]
    tab: String,
    after: Option<String>,
    done: Option<String>,
}

/// `GET /console/users`
pub(super) async fn show(
    State(desk): State<Desk>,
    signed: Signed,
    Query(wanted): Query<Wanted>,
) -> Response {
    let t = signed.visit.t;
    let q = wanted.q.trim();
    let found = match find(&desk, &signed, &wanted).await {
        Ok(found) => found,
        Err(refused) => return frame::refused(&signed, &refused),
    };
    let mut blocks = frame::done(&signed, wanted.done.as_deref());
    let mut search = Form::new("/console/users", t.get("users.search"));
    search.asks = true;
    search.inline = true;
    search = search.field(Field::new("q", t.get("users.search_by"), Input::Search).value(q));
    blocks.push(Block::Form(search));
    let here = q.is_empty().then_some(wanted.tab.as_str());
    blocks.push(Block::Tabs(tabs(&desk, &signed, here).await));
    let next = found.next.as_deref().map(|next| {
        let mut to = format!("/console/users?tab={}&q=", word(&wanted.tab));
        percent_encode(q, &mut to);
        to.push_str("&after=");
        percent_encode(next, &mut to);
        to
    });
    blocks.push(Block::Table(Table {
        label: t.get("menu.users").to_owned(),
        head: [
            t.get("head.user"),
            t.get("head.name"),
            t.get("head.groups"),
            t.get("head.tokens"),
            t.get("head.state"),
            t.get("head.last_code"),
            t.get("head.made"),
        ]
        .map(str::to_owned)
        .into(),
        rows: found
            .users
            .iter()
            .map(|user| row(&desk, &signed, user))
            .collect(),
        empty: match q {
            "" => t.get("users.none"),
            _ => t.get("users.not_found"),
        }
        .to_owned(),
        next,
        live: None,
    }));
    let add = acts::find("add_user").and_then(|act| act.form(&signed, "", &[]));
    let mut forms: Vec<Form> = add.into_iter().collect();
    if signed.person.may(ImportUsers::OPERATION.access) {
        let mut import = Form::new("/console/import", t.get("import.title"));
        import.asks = true;
        forms.push(import);
    }
    blocks.push(Block::Actions(forms));
    frame::page(&signed, t.get("menu.users"), blocks).answer(StatusCode::OK)
}

/// The tabs, with how many are behind each, as far as it is known; `here` is the one that is shown.
pub(super) async fn tabs(desk: &Desk, signed: &Signed, here: Option<&str>) -> Vec<Tab> {
    let (t, caller) = (signed.visit.t, signed.caller());
    let counts = desk.read::<CountUsers>(&caller, (), &NoQuery {}).await.ok();
    let counts = counts.and_then(|summary| summary.users);
    let of = |count: fn(&api::UserCounts) -> u64| counts.as_ref().map(count);
    let tabs = [
        ("", t.get("users.all"), of(|counts| counts.all)),
        (
            "no-token",
            t.get("users.no_token"),
            of(|counts| counts.without_token),
        ),
        (
            "pending",
            t.get("users.pending"),
            of(|counts| counts.pending),
        ),
        ("locked", t.get("users.locked"), of(|counts| counts.locked)),
        (
            "suspended",
            t.get("users.suspended"),
            of(|counts| counts.suspended),
        ),
        ("exempt", t.get("users.exempt"), of(|counts| counts.exempt)),
        ("console", t.get("users.console"), None),
    ];
    let tab = |(word, label, count): (&str, &str, Option<u64>)| Tab {
        to: format!("/console/users?tab={word}"),
        label: match count {
            Some(count) => format!("{label} {count}"),
            None => label.to_owned(),
        },
        is_here: here == Some(word),
    };
    let mut tabs: Vec<Tab> = tabs.map(tab).into();
    tabs.push(Tab {
        to: "/console/stock".to_owned(),
        label: t.get("users.stock").to_owned(),
        is_here: here == Some("stock"),
    });
    tabs
}

/// The tabs' own words alone go into addresses.
fn word(tab: &str) -> &'static str {
    [
        "no-token",
        "pending",
        "locked",
        "suspended",
        "exempt",
        "console",
    ]
    .into_iter()
    .find(|one| *one == tab)
    .unwrap_or_default()
}

async fn find(
    desk: &Desk,
    signed: &Signed,
    wanted: &Wanted,
) -> Result<api::Users, crate::web::call::Refused> {
    let caller = signed.caller();
    let q = wanted.q.trim();
    let mut page = UserPage {
        after: wanted.after.clone(),
        limit: Some(PAGE),
        ..UserPage::default()
    };
    match wanted.tab.as_str() {
        "no-token" => page.without_token = Some(true),
        "locked" => page.locked = Some(true),
        state @ ("pending" | "suspended" | "exempt") => page.state = Some(state.to_owned()),
        "console" if page.after.is_none() => page.after = Some("!@console".to_owned()),
        _ => {}
    }
    if q.is_empty() {
        let mut found = desk.read::<ListUsers>(&caller, (), &page).await?;
        if wanted.tab == "console" {
            found.users.retain(|user| user.realm == "console");
            if found.users.len() < PAGE {
                found.next = None;
            }
        }
        return Ok(found);
    }
    by_beginning(desk, signed, q, page).await
}

/// Users whose name begins so: in order, from where such names stand. Where there is none, those that have it as a
/// part.
async fn by_beginning(
    desk: &Desk,
    signed: &Signed,
    q: &str,
    page: UserPage,
) -> Result<api::Users, crate::web::call::Refused> {
    let caller = signed.caller();
    let begins = UserKey::parse(q).ok();
    if let Some(key) = &begins {
        let is_first = page.after.is_none();
        let from = UserPage {
            after: page.after.clone().or_else(|| Some(key.to_string())),
            limit: Some(PAGE),
            ..UserPage::default()
        };
        let mut found = desk.read::<ListUsers>(&caller, (), &from).await?;
        let all = found.users.len();
        found
            .users
            .retain(|user| user.name.starts_with(key.name()) && user.realm == key.realm());
        if found.users.len() < all {
            found.next = None;
        }
        if is_first {
            let name = key.to_string();
            let exact = desk.read::<ShowUser>(&caller, &name, &NoQuery {}).await;
            found.users.splice(0..0, exact.ok());
        }
        if !is_first || !found.users.is_empty() {
            return Ok(found);
        }
    }
    let part = UserPage {
        search: Some(q.to_owned()),
        ..page
    };
    desk.read::<ListUsers>(&caller, (), &part).await
}

fn row(desk: &Desk, signed: &Signed, user: &api::User) -> Vec<Cell> {
    let t = signed.visit.t;
    let (tokens, last) = tokens(desk, t, user);
    let groups = user.groups.iter();
    let groups = groups.map(|group| Piece::chip(Tone::Plain, group.clone()));
    vec![
        vec![Piece::link(user_path(&user.user), user.user.clone())],
        vec![Piece::text(user.display_name.clone().unwrap_or_default())],
        groups.collect(),
        tokens,
        states(t, user),
        vec![Piece::Faint(last.unwrap_or_else(|| "-".to_owned()))],
        vec![Piece::Faint(super::sentence::when(&user.created))],
    ]
}

/// The own tokens of a user that have not ended, and when a code of any of them was last right. Where they cannot be
/// read, the list has all else.
fn tokens(desk: &Desk, t: Text, user: &api::User) -> (Cell, Option<String>) {
    let (store, now) = (desk.app.core().store(), desk.app.core().now());
    let key = UserKey::parse(&user.user).ok();
    let view = key.and_then(|key| store.view(&key).ok().flatten());
    let Some(view) = view else {
        return (Vec::new(), None);
    };
    let own = view.tokens.iter();
    let own = own.filter(|(token, _)| token.user == view.user.key);
    let last = own.clone().filter_map(|(_, state)| state.last_accept).max();
    let chips = own.filter_map(|(token, _)| {
        let state = token.state_at(now);
        let tone = match state {
            LifeCycle::Revoked | LifeCycle::Expired => return None,
            LifeCycle::Active => Tone::Good,
            LifeCycle::Suspended => Tone::Bad,
            _ => Tone::Warn,
        };
        let kind = t.find(&format!("word.{}", token.kind));
        let kind = kind.unwrap_or(token.kind.as_str());
        let word = t.find(&format!("state.{state}"));
        let word = word.unwrap_or(state.as_str());
        Some(Piece::chip(tone, format!("{kind}: {word}")))
    });
    (
        chips.collect(),
        last.map(|last| super::sentence::when(&last.rfc3339())),
    )
}

/// What keeps a user out, or lets them in with less.
pub(super) fn states(t: Text, user: &api::User) -> Cell {
    let mut states = Vec::new();
    if user.disabled {
        states.push(Piece::chip(Tone::Bad, t.get("state.disabled")));
    }
    if let Some(lock) = user.lock.as_ref().filter(|lock| !lock.is_open()) {
        let word = t.find(&format!("state.{}", lock.state)).unwrap_or("-");
        states.push(Piece::chip(Tone::Bad, word));
    }
    if user.bypass.as_ref().is_some_and(|waiver| waiver.holds) {
        states.push(Piece::chip(Tone::Warn, t.get("state.bypass")));
    }
    if user.exemption.as_ref().is_some_and(|waiver| waiver.holds) {
        states.push(Piece::chip(Tone::Warn, t.get("state.exemption")));
    }
    states
}

/// What was typed into the search above all pages.
#[derive(Deserialize)]
pub(super) struct Sought {
    #[serde(default)]
    q: String,
}

/// `GET /console/find`: leads to the one that is named, else to the list.
pub(super) async fn search(
    State(desk): State<Desk>,
    signed: Signed,
    Query(query): Query<Sought>,
) -> Response {
    let (q, caller) = (query.q.trim(), signed.caller());
    if q.is_empty() {
        return answer::see_other("/console/users");
    }
    if let Ok(request) = q.to_ascii_uppercase().parse::<RequestId>() {
        return of_request(&desk, &signed, request).await;
    }
    let token = desk
        .read::<ShowToken>(&caller, &q.to_ascii_uppercase(), &NoQuery {})
        .await;
    if let Some(user) = token.ok().and_then(|token| token.user) {
        return answer::see_other(&user_path(&user));
    }
    if let Ok(user) = desk.read::<ShowUser>(&caller, q, &NoQuery {}).await {
        return answer::see_other(&user_path(&user.user));
    }
    let mut to = "/console/users?q=".to_owned();
    percent_encode(q, &mut to);
    answer::see_other(&to)
}

/// Leads to why a request was decided so; who may not read that, to the user whose records it is among.
async fn of_request(desk: &Desk, signed: &Signed, request: RequestId) -> Response {
    if signed.person.may(ExplainRequest::OPERATION.access) {
        return answer::see_other(&why_path(&request.to_string()));
    }
    if sees_users(&signed.person)
        && let Some(user) = whose(desk, request).await
        && let Ok(user) = desk
            .read::<ShowUser>(&signed.caller(), &user, &NoQuery {})
            .await
    {
        return answer::see_other(&user_path(&user.user));
    }
    let t = signed.visit.t;
    let notice = Block::Notice {
        tone: Tone::Plain,
        text: t.get("users.no_request").to_owned(),
        detail: t.get("users.no_request_how").to_owned(),
    };
    frame::page(signed, t.get("refused.forbidden"), vec![notice]).answer(StatusCode::FORBIDDEN)
}

/// The user of a request, where it is found in time.
async fn whose(desk: &Desk, request: RequestId) -> Option<String> {
    let since = request.at().as_millis().saturating_sub(SLACK);
    let query = AuditQuery {
        request: Some(request),
        since: Some(UnixTime::from_millis(since)),
        limit: 1,
        ..AuditQuery::default()
    };
    let found = timeout(PATIENCE, desk.app.core().store().audit(query)).await;
    let record = found.ok()?.ok()?.into_iter().next()?;
    match record.event {
        Event::Decision(event) => Some(event.user),
        Event::Change(event) => event.user,
    }
}

/// Users on a page.
const PAGE: usize = 50;
/// How long a request is looked for.
const PATIENCE: Duration = Duration::from_millis(400);
/// How much earlier than its request a record may be dated, in milliseconds.
const SLACK: u64 = 60_000;
