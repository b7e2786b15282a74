//! Policies: their rules, their tests, who uses them, and what would happen to a login.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::api::call::{Call as _, NoQuery};
use crate::api::explain::{ExplainLogin, ForeseeLogin};
use crate::api::{ListPolicies, SetDraft};
use crate::policy::{Factor, Policy, Rule};
use crate::web::Desk;
use crate::web::console::{acts, drafts, explained, frame};
use crate::web::text::Text;
use crate::web::view::{Block, Cell, Field, Form, Input, Piece, Table, Tone};
use crate::web::visit::Signed;
use crate::wire::percent_encode;

/// What the address says.
#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    user: String,
    #[serde(default)]
    client: String,
    #[serde(default)]
    ip: String,
    done: Option<String>,
}

/// `GET /console/policies`
pub(super) async fn list(
    State(desk): State<Desk>,
    signed: Signed,
    Query(wanted): Query<Wanted>,
) -> Response {
    let (t, caller) = (signed.visit.t, signed.caller());
    if let Err(refused) = desk.read::<ListPolicies>(&caller, (), &NoQuery {}).await {
        return frame::refused(&signed, &refused);
    }
    let policies = desk.app.core().policies();
    let tests = policies.run_tests();
    let clients = desk.app.core().clients().all();
    let row = |policy: &Policy| {
        let mut to = "/console/policies/".to_owned();
        percent_encode(&policy.name, &mut to);
        let own = tests.iter().filter(|test| test.policy == policy.name);
        let failed = own.clone().filter(|test| test.failure.is_some()).count();
        let count = own.count();
        let outcome = if failed > 0 {
            Piece::chip(
                Tone::Bad,
                t.with("policies.failed", &[("count", &failed.to_string())]),
            )
        } else if count == 0 {
            Piece::Faint(t.get("policies.untested").to_owned())
        } else {
            Piece::chip(
                Tone::Good,
                t.with("policies.passed", &[("count", &count.to_string())]),
            )
        };
        let users = clients
            .iter()
            .filter(|client| client.policy.as_deref().unwrap_or("default") == policy.name);
        let users: Vec<&str> = users.map(|client| client.name.as_str()).collect();
        vec![
            vec![Piece::link(to, policy.name.clone())],
            vec![Piece::text(policy.description.clone())],
            vec![Piece::text(policy.rules.len().to_string())],
            vec![outcome],
            vec![Piece::text(users.join(", "))],
        ]
    };
    let mut blocks = frame::done(&signed, wanted.done.as_deref());
    blocks.push(Block::Table(Table {
        label: t.get("menu.policies").to_owned(),
        head: [
            t.get("head.name"),
            t.get("head.about"),
            t.get("head.rules"),
            t.get("head.tests"),
            t.get("menu.clients"),
        ]
        .map(str::to_owned)
        .into(),
        rows: policies.iter().map(row).collect(),
        ..Table::default()
    }));
    let reload = acts::find("reload").and_then(|act| act.form(&signed, "", &[]));
    blocks.extend(reload.map(Block::Form));
    blocks.extend(proposed(&desk, &signed).await);
    blocks.extend(would_get_in(&desk, &signed, &wanted).await);
    frame::page(&signed, t.get("menu.policies"), blocks).answer(StatusCode::OK)
}

/// Drafts that wait, and the way to one for a new policy.
async fn proposed(desk: &Desk, signed: &Signed) -> Vec<Block> {
    let t = signed.visit.t;
    let mut blocks = Vec::new();
    let waiting = drafts::waiting(desk, signed).await;
    if !waiting.is_empty() {
        blocks.push(Block::Heading(t.get("draft.heading").to_owned()));
        blocks.push(drafts::table(t, &waiting));
    }
    if signed.person.may(SetDraft::OPERATION.access) {
        if !desk.app.admin().edits_policies() {
            blocks.push(Block::Text(t.get("draft.off").to_owned()));
            return blocks;
        }
        let mut new = Form::new("/console/draft", t.get("draft.new"));
        (new.asks, new.folded) = (true, true);
        let name = Field::new("policy", t.get("head.name"), Input::Text);
        blocks.push(Block::Form(new.field(name.required())));
    }
    blocks
}

/// *Would X get in?*, with the answer where it was asked.
async fn would_get_in(desk: &Desk, signed: &Signed, wanted: &Wanted) -> Vec<Block> {
    let t = signed.visit.t;
    if !signed.person.may(ForeseeLogin::OPERATION.access) {
        return Vec::new();
    }
    let mut form = Form::new("/console/policies", t.get("foresee.button")).main();
    form.asks = true;
    form.inline = true;
    let clients = desk.app.core().clients().all();
    let clients = clients
        .iter()
        .map(|client| (client.name.clone(), client.name.clone()));
    let local = ("local".to_owned(), t.get("foresee.local").to_owned());
    let form = form
        .field(
            Field::new("user", t.get("head.user"), Input::Text)
                .value(wanted.user.clone())
                .required(),
        )
        .field(
            Field::new("client", t.get("foresee.client"), Input::Select)
                .options(clients.chain([local]).collect())
                .value(wanted.client.clone()),
        )
        .field(Field::new("ip", t.get("foresee.ip"), Input::Text).value(wanted.ip.clone()));
    let mut blocks = vec![
        Block::Heading(t.get("foresee.title").to_owned()),
        Block::Text(t.get("foresee.about").to_owned()),
        Block::Form(form),
    ];
    if wanted.user.trim().is_empty() {
        return blocks;
    }
    let Ok(client_ip) = (match wanted.ip.trim() {
        "" => Ok(None),
        text => text.parse().map(Some),
    }) else {
        blocks.push(frame::bad(t.get("foresee.no_ip"), ""));
        return blocks;
    };
    let question = ExplainLogin {
        user: wanted.user.trim().to_owned(),
        client: wanted.client.clone(),
        client_ip,
        ..ExplainLogin::default()
    };
    let answer = desk
        .call::<ForeseeLogin>(&signed.caller(), (), &NoQuery {}, &question)
        .await;
    match answer {
        Ok(answer) => blocks.extend(explained::blocks(signed, &answer)),
        Err(refused) => blocks.push(frame::told(t, t.get("refused.not_done"), &refused)),
    }
    blocks
}

/// `GET /console/policies/{name}`
pub(super) async fn show(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    signed: Signed,
) -> Response {
    let t = signed.visit.t;
    if let Err(refused) = desk
        .read::<ListPolicies>(&signed.caller(), (), &NoQuery {})
        .await
    {
        return frame::refused(&signed, &refused);
    }
    let policies = desk.app.core().policies();
    let Some(policy) = policies.get(&name) else {
        return frame::missing(signed).await;
    };
    let mut blocks = vec![
        Block::Text(policy.description.clone()),
        Block::Heading(t.get("head.rules").to_owned()),
        Block::Table(Table {
            label: t.get("head.rules").to_owned(),
            head: [
                t.get("head.name"),
                t.get("policies.when"),
                t.get("policies.asks"),
                t.get("policies.place"),
            ]
            .map(str::to_owned)
            .into(),
            rows: policy.rules.iter().map(|rule| rule_row(t, rule)).collect(),
            ..Table::default()
        }),
    ];
    let tests = policy.run_tests();
    let test_row = |test: &crate::policy::TestOutcome| {
        let outcome = match &test.failure {
            None => Piece::chip(Tone::Good, t.get("policies.good")),
            Some(_) => Piece::chip(Tone::Bad, t.get("policies.bad")),
        };
        vec![
            vec![outcome],
            vec![Piece::text(test.name.clone())],
            vec![Piece::Faint(explained::file(&test.place))],
        ]
    };
    blocks.push(Block::Heading(t.get("head.tests").to_owned()));
    blocks.push(Block::Table(Table {
        label: t.get("head.tests").to_owned(),
        head: [
            t.get("head.state"),
            t.get("head.name"),
            t.get("policies.place"),
        ]
        .map(str::to_owned)
        .into(),
        rows: tests.iter().map(test_row).collect(),
        empty: t.get("policies.no_tests").to_owned(),
        ..Table::default()
    }));
    blocks.push(Block::Heading(t.get("shell.source").to_owned()));
    if signed.person.may(SetDraft::OPERATION.access) && desk.app.admin().edits_policies() {
        let mut edit = Form::new("/console/draft", t.get("draft.edit")).hidden("policy", &name);
        edit.asks = true;
        blocks.push(Block::Form(edit));
    }
    let text = policies.text(&name).unwrap_or_default();
    blocks.push(Block::Source(text.lines().map(str::to_owned).collect()));
    frame::page(&signed, name, blocks).answer(StatusCode::OK)
}

/// A rule as a sentence: when it holds, and what it asks for then.
fn rule_row(t: Text, rule: &Rule) -> Vec<Cell> {
    let when = rule.when.iter();
    let when = when.map(|one| Piece::Mono(format!("{} {}", one.key(), one.wanted_text())));
    let mut when: Cell = when.collect();
    if when.is_empty() {
        when.push(Piece::text(t.get("policies.always")));
    }
    let words = |factors: &[Factor]| {
        let words = factors.iter().map(|factor| {
            let key = format!("factor.{factor}");
            t.find(&key)
                .map_or_else(|| factor.to_string(), str::to_owned)
        });
        words.collect::<Vec<_>>().join(" + ")
    };
    let mut asks = vec![Piece::text(words(&rule.require))];
    if !rule.alternatives.is_empty() {
        let instead = words(&rule.alternatives).replace(" + ", ", ");
        asks.push(Piece::Faint(
            t.with("policies.instead", &[("factors", &instead)]),
        ));
    }
    vec![
        vec![Piece::text(rule.name.clone())],
        when,
        asks,
        vec![Piece::Faint(explained::file(&rule.file_line()))],
    ]
}
