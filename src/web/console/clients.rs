//! Clients: who asks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::api::call::NoQuery;
use crate::api::{self, ListClients, Page, ShowClient};
use crate::model::profile;
use crate::time::UnixTime;
use crate::web::Desk;
use crate::web::console::sentence::{utc, when};
use crate::web::console::{acts, frame};
use crate::web::text::Text;
use crate::web::view::{Block, Cell, Form, Input, Piece, Table, Tone};
use crate::web::visit::Signed;
use crate::wire::percent_encode;

/// `GET /console/clients`
pub(super) async fn list(
    State(desk): State<Desk>,
    signed: Signed,
    Query(wanted): Query<frame::Listed>,
) -> Response {
    let t = signed.visit.t;
    let page = Page {
        after: wanted.after,
        limit: Some(PAGE),
    };
    let found = match desk.read::<ListClients>(&signed.caller(), (), &page).await {
        Ok(found) => found,
        Err(refused) => return frame::refused(&signed, &refused),
    };
    let mut blocks = frame::done(&signed, wanted.done.as_deref());
    let next = found.next.as_deref().map(|next| {
        let mut to = "/console/clients?after=".to_owned();
        percent_encode(next, &mut to);
        to
    });
    blocks.push(Block::Table(Table {
        label: t.get("menu.clients").to_owned(),
        head: [
            t.get("head.name"),
            t.get("head.kind"),
            t.get("head.address"),
            t.get("head.policy"),
            t.get("head.state"),
            t.get("head.seen"),
            t.get("head.failed"),
        ]
        .map(str::to_owned)
        .into(),
        rows: found
            .clients
            .iter()
            .map(|client| row(&desk, &signed, client))
            .collect(),
        empty: t.get("clients.none").to_owned(),
        next,
        live: None,
    }));
    let mut forms = Vec::new();
    for id in ["add_radius", "add_api"] {
        let form = acts::find(id).and_then(|act| act.form(&signed, "", &[]));
        forms.extend(form.map(with_profiles));
    }
    blocks.push(Block::Actions(forms));
    frame::page(&signed, t.get("menu.clients"), blocks).answer(StatusCode::OK)
}

/// The field of the profile offers those there are.
fn with_profiles(mut form: Form) -> Form {
    for field in &mut form.fields {
        if field.name == "profile" {
            field.input = Input::Select;
            let names = profile::names();
            field.options = names
                .map(|name| (name.to_owned(), name.to_owned()))
                .collect();
            "generic".clone_into(&mut field.value);
        }
    }
    form
}

fn row(desk: &Desk, signed: &Signed, client: &api::Client) -> Vec<Cell> {
    let t = signed.visit.t;
    let seen = last_asked(desk, client).map_or_else(|| "-".to_owned(), |seen| when(&seen));
    let mut to = "/console/clients/".to_owned();
    percent_encode(&client.name, &mut to);
    let mut what = vec![Piece::text(kind(client))];
    what.extend(client.profile.clone().map(Piece::Faint));
    what.extend(scopes(t, client).map(Piece::Faint));
    let addresses = client.addresses.clone().unwrap_or_default().join(", ");
    let mut state = Vec::new();
    if client.weak_secret.is_some() {
        state.push(Piece::chip(Tone::Warn, t.get("clients.weak")));
    }
    if client.require_message_authenticator.as_deref() == Some("false") {
        state.push(Piece::chip(Tone::Warn, t.get("clients.unsigned")));
    }
    if client.previous_until.is_some() {
        state.push(Piece::chip(Tone::Plain, t.get("clients.rotating")));
    }
    vec![
        vec![Piece::link(to, client.name.clone())],
        what,
        vec![Piece::text(addresses)],
        vec![Piece::text(
            client
                .policy
                .clone()
                .unwrap_or_else(|| "default".to_owned()),
        )],
        state,
        vec![Piece::text(seen)],
        failed(t, &desk.app.client_counters(&client.name)),
    ]
}

/// When a client asked last, as far as the daemon knows.
fn last_asked(desk: &Desk, client: &api::Client) -> Option<String> {
    let made = UnixTime::parse_rfc3339(&client.created)?;
    let asked = desk.app.core().clients().last_asked(&client.name, made);
    asked.map(UnixTime::rfc3339)
}

/// What was refused of a client, and what was not even decided.
fn failed(t: Text, counters: &BTreeMap<String, u64>) -> Cell {
    let of = |wanted: &str| {
        let found = COUNTED.iter().find(|(key, _)| *key == wanted);
        found.map_or(0, |(_, objects)| counted(counters, objects))
    };
    let all = ["counted.rejects", "counted.secret", "counted.malformed"];
    let all = all.into_iter().chain(["counted.dropped"]);
    let some = all
        .map(|key| (key, of(key)))
        .filter(|(_, count)| *count > 0);
    let shown = some.map(|(key, count)| {
        let label = t.find(key).unwrap_or(key);
        Piece::Faint(format!("{label}: {count}"))
    });
    shown.collect()
}

/// How often any of these objects was counted.
fn counted(counters: &BTreeMap<String, u64>, objects: &[&str]) -> u64 {
    let found = objects.iter().filter_map(|object| counters.get(*object));
    found.sum()
}

fn kind(client: &api::Client) -> &'static str {
    match client.kind.as_str() {
        "radius" => "RADIUS",
        _ => "API",
    }
}

/// What a client of the API may.
fn scopes(t: Text, client: &api::Client) -> Option<String> {
    let scopes = client.scopes.as_ref()?.iter();
    let scopes = scopes.map(|scope| t.find(&format!("word.{scope}")).unwrap_or(scope));
    Some(scopes.collect::<Vec<_>>().join(", "))
}

/// `GET /console/clients/{name}`
pub(super) async fn show(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    Query(wanted): Query<frame::Done>,
    signed: Signed,
) -> Response {
    let t = signed.visit.t;
    let client = desk
        .read::<ShowClient>(&signed.caller(), &name, &NoQuery {})
        .await;
    let client = match client {
        Ok(client) => client,
        Err(refused) => return frame::refused(&signed, &refused),
    };
    let mut blocks = frame::done(&signed, wanted.done.as_deref());
    let revision = client.revision.to_string();
    let addresses = client.addresses.clone().unwrap_or_default().join(" ");
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (policy, realm) = (text(&client.policy), text(&client.realm));
    let required = text(&client.require_message_authenticator);
    let methods = client.methods.clone().unwrap_or_default().join(" ");
    let challenge = client.challenge.unwrap_or(true);
    let retry = client.retry_window_secs.unwrap_or_default().to_string();
    let given = [
        ("revision", revision.as_str()),
        ("addresses", &addresses),
        ("policy", &policy),
        ("realm", &realm),
        ("require_message_authenticator", &required),
        ("challenge", if challenge { "yes" } else { "no" }),
        ("methods", &methods),
        ("retry_window_secs", &retry),
    ];
    let set = if client.kind == "radius" {
        "set_radius"
    } else {
        "set_api"
    };
    // Over TLS there is no secret of its own.
    let rotate = client.certificate.is_none().then_some("rotate");
    let mut forms: Vec<Form> = rotate
        .into_iter()
        .chain([set])
        .filter_map(|id| acts::find(id)?.form(&signed, &client.name, &given))
        .collect();
    let gone = [
        ("revision", revision.as_str()),
        ("back", "/console/clients"),
    ];
    forms
        .extend(acts::find("remove_client").and_then(|act| act.form(&signed, &client.name, &gone)));
    blocks.push(Block::Card(vec![
        Block::Facts(facts(&desk, &signed, &client)),
        Block::Actions(forms),
    ]));
    blocks.extend(packets(t, &client));
    blocks.extend(steps(t, &client));
    frame::page(&signed, client.name, blocks).answer(StatusCode::OK)
}

/// What is to be entered at an appliance, where its profile says so.
fn steps(t: Text, client: &api::Client) -> Vec<Block> {
    let profile = client.profile.as_deref().and_then(profile::profile);
    let Some(profile) = profile.filter(|profile| !profile.enter.is_empty()) else {
        return Vec::new();
    };
    let steps = profile.enter.iter().chain(profile.known);
    let steps = steps.map(|fact| {
        (
            t.said(fact.about).replace('`', ""),
            vec![Piece::Said(t.said(fact.says).to_owned())],
        )
    });
    let title = t.with("clients.steps", &[("appliance", profile.appliance)]);
    vec![
        Block::Heading(title),
        Block::Card(vec![Block::Facts(steps.collect())]),
    ]
}

/// What became of a client's packets, where any came.
fn packets(t: Text, client: &api::Client) -> Option<Block> {
    let all = COUNTED.iter();
    let all = all.map(|(key, objects)| (*key, counted(&client.counters, objects)));
    let some = all.filter(|(_, count)| *count > 0);
    let facts: Vec<(String, Cell)> = some
        .map(|(key, count)| {
            let label = t.find(key).unwrap_or(key);
            (label.to_owned(), vec![Piece::text(count.to_string())])
        })
        .collect();
    let heading = Block::Heading(t.get("clients.packets").to_owned());
    (!facts.is_empty()).then(|| Block::Card(vec![heading, Block::Facts(facts)]))
}

fn facts(desk: &Desk, signed: &Signed, client: &api::Client) -> Vec<(String, Cell)> {
    let t = signed.visit.t;
    let learned = desk.app.core().clients().lessons_of(&client.name);
    let learned: Vec<String> = learned.iter().map(IpAddr::to_string).collect();
    let retry = client.retry_window_secs.map(|secs| format!("{secs} s"));
    let yes = |flag: bool| t.get(if flag { "word.yes" } else { "word.no" }).to_owned();
    let list = |list: &Option<Vec<String>>| list.as_ref().map(|list| list.join(", "));
    let facts = [
        ("head.kind", Some(kind(client).to_owned())),
        ("fact.profile", client.profile.clone()),
        ("head.address", list(&client.addresses)),
        ("field.scopes", scopes(t, client)),
        (
            "head.policy",
            Some(
                client
                    .policy
                    .clone()
                    .unwrap_or_else(|| "default".to_owned()),
            ),
        ),
        ("field.realm", client.realm.clone()),
        (
            "field.require_message_authenticator",
            client
                .require_message_authenticator
                .as_ref()
                .map(|word| t.find(&format!("word.{word}")).unwrap_or(word).to_owned()),
        ),
        (
            "fact.learned",
            Some(learned.join(", ")).filter(|list| !list.is_empty()),
        ),
        ("fact.challenge", client.challenge.map(yes)),
        (
            "fact.methods",
            list(&client.methods).filter(|list| !list.is_empty()),
        ),
        ("fact.retry_window", retry),
        ("fact.certificate", client.certificate.clone()),
        ("fact.weak_secret", client.weak_secret.clone()),
        (
            "fact.previous_until",
            client.previous_until.as_deref().map(utc),
        ),
        ("head.seen", last_asked(desk, client).as_deref().map(when)),
        ("head.made", Some(when(&client.created))),
    ];
    let facts = facts.into_iter().filter_map(|(key, value)| {
        let label = t.find(key).unwrap_or(key);
        Some((label.to_owned(), vec![Piece::text(value?)]))
    });
    facts.collect()
}

/// What is shown of a client's packets, each as the sum of these objects of RFC 4669 and RFC 4671.
const COUNTED: [(&str, &[&str]); 8] = [
    ("counted.requests", &["radiusAuthServExtAccessRequests"]),
    ("counted.accepts", &["radiusAuthServExtAccessAccepts"]),
    ("counted.rejects", &["radiusAuthServExtAccessRejects"]),
    ("counted.challenges", &["radiusAuthServExtAccessChallenges"]),
    (
        "counted.secret",
        &[
            "radiusAuthServExtBadAuthenticators",
            "radiusAccServExtBadAuthenticators",
        ],
    ),
    (
        "counted.malformed",
        &[
            "radiusAuthServExtMalformedAccessRequests",
            "radiusAuthServExtUnknownTypes",
            "radiusAccServExtMalformedRequests",
            "radiusAccServExtUnknownTypes",
        ],
    ),
    (
        "counted.dropped",
        &[
            "radiusAuthServExtPacketsDropped",
            "radiusAccServExtPacketsDropped",
        ],
    ),
    ("counted.accounting", &["radiusAccServExtRequests"]),
];

/// Clients on a page.
const PAGE: usize = 100;
