//! Clients: who asks.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::api::call::NoQuery;
use crate::api::{self, ListClients, Page, ShowClient};
use crate::model::profile;
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
        ]
        .map(str::to_owned)
        .into(),
        rows: found
            .clients
            .iter()
            .map(|client| row(&signed, client))
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

fn row(signed: &Signed, client: &api::Client) -> Vec<Cell> {
    let t = signed.visit.t;
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
    ]
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
    let given = [
        ("revision", revision.as_str()),
        ("addresses", &addresses),
        ("policy", &policy),
        ("realm", &realm),
        ("require_message_authenticator", &required),
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
        Block::Facts(facts(&signed, &client)),
        Block::Actions(forms),
    ]));
    let profile = client.profile.as_deref().and_then(profile::profile);
    if let Some(profile) = profile.filter(|profile| !profile.enter.is_empty()) {
        blocks.push(Block::Heading(
            t.with("clients.steps", &[("appliance", profile.appliance)]),
        ));
        let steps = profile.enter.iter().chain(profile.known);
        let steps = steps.map(|fact| {
            (
                t.said(fact.about).replace('`', ""),
                vec![Piece::Said(t.said(fact.says).to_owned())],
            )
        });
        blocks.push(Block::Card(vec![Block::Facts(steps.collect())]));
    }
    frame::page(&signed, client.name, blocks).answer(StatusCode::OK)
}

fn facts(signed: &Signed, client: &api::Client) -> Vec<(String, Cell)> {
    let t = signed.visit.t;
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
        ("fact.challenge", client.challenge.map(yes)),
        (
            "fact.methods",
            list(&client.methods).filter(|list| !list.is_empty()),
        ),
        ("fact.certificate", client.certificate.clone()),
        ("fact.weak_secret", client.weak_secret.clone()),
        (
            "fact.previous_until",
            client.previous_until.as_deref().map(utc),
        ),
        ("head.made", Some(when(&client.created))),
    ];
    let facts = facts.into_iter().filter_map(|(key, value)| {
        let label = t.find(key).unwrap_or(key);
        Some((label.to_owned(), vec![Piece::text(value?)]))
    });
    facts.collect()
}

/// Clients on a page.
const PAGE: usize = 100;
