//! Why something was decided, or would be.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::api::call::NoQuery;
use crate::api::explain::{Condition, ExplainRequest, Explanation, Held, Login, Next};
use crate::model::message::Language;
use crate::web::Desk;
use crate::web::console::frame;
use crate::web::console::sentence::{decision, reason, sees_users, user_path, when};
use crate::web::text::Text;
use crate::web::view::{Block, Cell, Form, Piece, Table, Tone};
use crate::web::visit::Signed;

/// `GET /console/why/{request}`
pub(super) async fn show(
    State(desk): State<Desk>,
    Path(request): Path<String>,
    signed: Signed,
) -> Response {
    let t = signed.visit.t;
    let found = desk
        .read::<ExplainRequest>(&signed.caller(), &request, &NoQuery {})
        .await;
    let found = match found {
        Ok(found) => found,
        Err(refused) => return frame::refused(&signed, &refused),
    };
    let mut all = vec![Block::Facts(vec![(
        t.get("why.request").to_owned(),
        vec![Piece::Mono(found.request_id.clone())],
    )])];
    for explanation in &found.records {
        all.extend(blocks(&signed, explanation));
    }
    frame::page(&signed, t.get("why.title"), all).answer(StatusCode::OK)
}

/// One explanation: the sentence, the rule and its conditions, what was asked for, what to do next.
pub(super) fn blocks(signed: &Signed, one: &Explanation) -> Vec<Block> {
    let t = signed.visit.t;
    let tone = match one.decision.as_str() {
        "accept" | "accept_if" => Tone::Good,
        "reject" => Tone::Bad,
        _ => Tone::Plain,
    };
    let cause = one.reason.as_deref().map(|word| reason(t, word).to_owned());
    let is_english = t.0 == Language::En;
    let mut blocks = vec![match (cause, foreseen(t, one)) {
        (Some(cause), _) => Block::told(t, tone, &cause, &one.summary),
        // Of a login that was not tried the sentence says all.
        (None, Some(text)) => Block::Notice {
            tone,
            text,
            detail: String::new(),
        },
        (None, None) => match t.told(&one.summary) {
            Some(text) => Block::Notice {
                tone,
                text,
                detail: String::new(),
            },
            None => Block::told(t, tone, t.get("why.title"), &one.summary),
        },
    }];
    let mut facts: Vec<(String, Cell)> = vec![
        (
            t.get("head.time").to_owned(),
            vec![Piece::text(when(&one.time))],
        ),
        (
            t.get("head.what").to_owned(),
            vec![decision(t, &one.decision)],
        ),
    ];
    facts.extend(
        one.login
            .as_ref()
            .map(|login| asked(t, login))
            .unwrap_or_default(),
    );
    let mut card = vec![Block::Facts(facts)];
    let advice = one.reason.as_deref();
    let advice = advice.and_then(|word| t.find(&format!("next.{word}")));
    // The server's own sentences are English; what leads to a command is done on the page of the user.
    let is_said = |next: &&Next| advice.is_none() || (is_english && next.command.is_empty());
    let own = one.next.iter().filter(is_said);
    let mut steps: Cell = advice.map(Piece::text).into_iter().collect();
    steps.extend(own.map(|next| Piece::told(t, &next.text)));
    if !steps.is_empty() {
        card.push(Block::Heading(t.get("why.next").to_owned()));
        card.extend(steps.into_iter().map(Block::Line));
    }
    let notes = one.notes.iter().map(|note| Piece::told(t, note));
    card.extend(notes.map(Block::Line));
    card.extend(to_user(signed, one).map(Block::Form));
    blocks.push(Block::Card(card));
    blocks.extend(rules(signed, one));
    blocks
}

/// The way to where something is done about it.
fn to_user(signed: &Signed, one: &Explanation) -> Option<Form> {
    let user = one.login.as_ref().map(|login| &login.user)?;
    let is_there = user.known && sees_users(&signed.person);
    let label = signed.visit.t.with("why.to_user", &[("user", &user.user)]);
    is_there.then(|| Form {
        asks: true,
        ..Form::new(user_path(&user.user), label)
    })
}

/// What would come of a login that was not tried.
fn foreseen(t: Text, one: &Explanation) -> Option<String> {
    let login = one.login.as_ref();
    let login = login.filter(|_| one.decision == "accept_if")?;
    let left = login.factors.iter().filter(|factor| !factor.waived);
    let left: Vec<&str> = left.map(|factor| factor_name(t, &factor.factor)).collect();
    if left.is_empty() {
        return None;
    }
    let values = [
        ("user", login.user.user.as_str()),
        ("client", &login.client.name),
        ("factors", &left.join(" + ")),
    ];
    Some(t.with("foresee.let_in", &values))
}

fn factor_name(t: Text, word: &str) -> &str {
    t.find(&format!("factor.{word}")).unwrap_or(word)
}

/// What is typed, in the words of the language: `<code of 6 digits>`.
fn shape(t: Text, english: &str) -> String {
    let mut text = english.to_owned();
    for (word, key) in [
        ("<password>", "why.shape_password"),
        ("<PIN>", "why.shape_pin"),
        ("<OTP of the yubikey>", "why.shape_yubikey"),
    ] {
        text = text.replace(word, t.find(key).unwrap_or(word));
    }
    for digits in 6..=9 {
        let word = format!("<code of {digits} digits>");
        let shown = t.with("why.shape_code", &[("digits", &digits.to_string())]);
        text = text.replace(&word, &shown);
    }
    text
}

/// Why a condition of a rule held or did not.
fn condition(t: Text, one: &Condition) -> String {
    let key = t.find(&format!("when.{}", one.key)).unwrap_or(&one.key);
    let or = format!(" {} ", t.get("why.or"));
    let wanted = one.wanted.replace(" or ", &or);
    let text = match (one.held, &one.found) {
        (Held::Unknown, _) => "why.unkept",
        (_, None) => "why.lacking",
        (Held::Yes, Some(_)) => "why.met",
        (Held::No, Some(_)) => "why.unmet",
    };
    let found = one.found.as_deref().unwrap_or_default();
    t.with(text, &[("key", key), ("found", found), ("wanted", &wanted)])
}

/// Who asked for whom, by which rule, and what would be typed.
fn asked(t: Text, login: &Login) -> Vec<(String, Cell)> {
    let mut facts: Vec<(String, Cell)> = Vec::new();
    let user = &login.user;
    let link = Piece::link(user_path(&user.user), user.user.clone());
    let shown = if user.known {
        link
    } else {
        Piece::text(user.user.clone())
    };
    facts.push((t.get("head.user").to_owned(), vec![shown]));
    facts.push((
        t.get("head.by").to_owned(),
        vec![Piece::text(login.client.name.clone())],
    ));
    if let Some(policy) = &login.policy {
        let to = format!("/console/policies/{policy}");
        facts.push((
            t.get("head.policy").to_owned(),
            vec![Piece::link(to, policy.clone())],
        ));
    }
    if let Some(rule) = &login.rule {
        let rule = vec![
            Piece::text(rule.name.clone()),
            Piece::Faint(file(&rule.place)),
        ];
        facts.push((t.get("why.rule").to_owned(), rule));
    }
    let shapes = login.forms.iter().flat_map(|form| &form.rounds);
    let shapes: Vec<String> = shapes.flat_map(|round| round.shapes.clone()).collect();
    if !shapes.is_empty() {
        facts.push((
            t.get("why.type").to_owned(),
            shapes
                .iter()
                .map(|one| Piece::Mono(shape(t, one)))
                .collect(),
        ));
    }
    facts
}

fn rules(signed: &Signed, one: &Explanation) -> Option<Block> {
    let t = signed.visit.t;
    let rules = &one.login.as_ref()?.rules;
    if rules.is_empty() {
        return None;
    }
    let mut rows = Vec::new();
    for rule in rules {
        let held = if rule.decides {
            Piece::chip(Tone::Good, t.get("why.decides"))
        } else {
            match rule.holds {
                Held::Yes => Piece::chip(Tone::Plain, t.get("why.held")),
                Held::No => Piece::chip(Tone::Plain, t.get("why.not_held")),
                Held::Unknown => Piece::chip(Tone::Warn, t.get("why.unknown")),
            }
        };
        let conditions = rule.conditions.iter();
        let conditions = conditions.map(|one| Piece::text(condition(t, one)));
        rows.push(vec![
            vec![
                Piece::text(rule.name.clone()),
                Piece::Faint(file(&rule.place)),
            ],
            vec![held],
            conditions.collect(),
            vec![Piece::text(
                rule.require
                    .iter()
                    .map(|word| factor_name(t, word))
                    .collect::<Vec<_>>()
                    .join(" + "),
            )],
        ]);
    }
    Some(Block::Table(Table {
        label: t.get("head.rules").to_owned(),
        head: [
            t.get("why.rule"),
            t.get("head.state"),
            t.get("policies.when"),
            t.get("policies.asks"),
        ]
        .map(str::to_owned)
        .into(),
        rows,
        ..Table::default()
    }))
}

/// A place without the directories before it.
pub(super) fn file(place: &str) -> String {
    place.rsplit('/').next().unwrap_or_default().to_owned()
}
