//! What waits for an approval: tokens that were asked for, drafts of policies.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::api::call::{Call as _, NoQuery};
use crate::api::{self, ListDelegations, ListDrafts, ListTokens, TokenPage};
use crate::model::client::Scope;
use crate::web::Desk;
use crate::web::console::sentence::{sees_users, user_path, utc, when};
use crate::web::console::{acts, drafts, frame};
use crate::web::view::{Block, Cell, Piece, Table, Tone};
use crate::web::visit::Signed;

/// `GET /console/requests`
pub(super) async fn show(
    State(desk): State<Desk>,
    signed: Signed,
    Query(wanted): Query<frame::Done>,
) -> Response {
    let t = signed.visit.t;
    let page = TokenPage {
        state: Some("requested".to_owned()),
        limit: Some(MOST),
        ..TokenPage::default()
    };
    let found = match desk.read::<ListTokens>(&signed.caller(), (), &page).await {
        Ok(found) => found,
        Err(refused) => return frame::refused(&signed, &refused),
    };
    let mut blocks = frame::done(&signed, wanted.done.as_deref());
    blocks.push(Block::Table(Table {
        label: t.get("menu.requests").to_owned(),
        head: [
            t.get("head.time"),
            t.get("head.user"),
            t.get("head.token"),
            t.get("head.asked_by"),
            t.get("head.approvals"),
            t.get("head.acts"),
        ]
        .map(str::to_owned)
        .into(),
        rows: found
            .tokens
            .iter()
            .map(|token| row(&signed, token))
            .collect(),
        empty: t.get("requests.none").to_owned(),
        ..Table::default()
    }));
    if signed.person.may(ListDrafts::OPERATION.access) {
        let waiting = drafts::waiting(&desk, &signed).await;
        blocks.push(Block::Heading(t.get("draft.heading").to_owned()));
        blocks.push(drafts::table(t, &waiting));
    }
    blocks.extend(lent(&desk, &signed).await);
    frame::page(&signed, t.get("menu.requests"), blocks).answer(StatusCode::OK)
}

/// Rights to approve that are lent, for who may look at them.
async fn lent(desk: &Desk, signed: &Signed) -> Vec<Block> {
    let (t, caller) = (signed.visit.t, signed.caller());
    let Ok(found) = desk.read::<ListDelegations>(&caller, (), &NoQuery {}).await else {
        return Vec::new();
    };
    let row = |one: &api::Delegation| {
        let state = if one.holds {
            Piece::chip(Tone::Good, t.get("requests.holds"))
        } else {
            Piece::chip(Tone::Plain, t.get("requests.over"))
        };
        let given = [("from", one.from.as_str()), ("to", &one.to)];
        let end = acts::find("take_back").filter(|_| one.holds);
        let end = end.and_then(|act| act.form(signed, "", &given));
        vec![
            vec![Piece::text(one.from.clone())],
            vec![Piece::text(one.to.clone())],
            vec![state, Piece::Faint(utc(&one.until))],
            vec![Piece::text(one.reason.clone())],
            end.map(Piece::Form).into_iter().collect(),
        ]
    };
    let mut blocks = vec![
        Block::Heading(t.get("requests.lent").to_owned()),
        Block::Table(Table {
            label: t.get("requests.lent").to_owned(),
            head: [
                t.get("head.by"),
                t.get("field.to"),
                t.get("field.until"),
                t.get("head.why"),
                t.get("head.acts"),
            ]
            .map(str::to_owned)
            .into(),
            rows: found.delegations.iter().map(row).collect(),
            empty: t.get("requests.none_lent").to_owned(),
            ..Table::default()
        }),
    ];
    let lend = acts::find("lend").and_then(|act| act.form(signed, "", &[("until", "14")]));
    blocks.extend(lend.map(Block::Form));
    blocks
}

fn row(signed: &Signed, token: &api::Token) -> Vec<Cell> {
    let t = signed.visit.t;
    let own = signed.person.user.to_string();
    let requester = token.requester.clone().unwrap_or_default();
    let owner = token.owner();
    let user = if sees_users(&signed.person) {
        Piece::link(user_path(owner), owner)
    } else {
        Piece::text(owner)
    };
    let given: Vec<String> = token.approvals.iter().map(|one| one.by.clone()).collect();
    let count = format!("{}/{}", given.len(), token.approvals_needed.unwrap_or(1));
    let mut approvals = vec![Piece::text(count)];
    approvals.extend((!given.is_empty()).then(|| Piece::Faint(given.join(", "))));
    let acts = if requester == own {
        vec![Piece::chip(Tone::Plain, t.get("requests.own"))]
    } else if given.contains(&own) {
        vec![Piece::chip(Tone::Good, t.get("requests.given"))]
    } else {
        let revision = token.revision.to_string();
        let given = [("revision", revision.as_str())];
        // An operator approves by a right that was lent only: on the command line, which names whose.
        let own = [Scope::Admin, Scope::Approver];
        let may = signed.person.roles.iter().any(|role| own.contains(role));
        let acts = ["approve", "deny"].into_iter().filter(|_| may);
        let acts = acts.filter_map(acts::find);
        let forms = acts.filter_map(|act| act.form(signed, &token.serial, &given));
        forms.map(Piece::Form).collect()
    };
    let kind = t.find(&format!("word.{}", token.kind));
    vec![
        vec![Piece::text(when(&token.created))],
        vec![user],
        vec![
            Piece::Mono(token.serial.clone()),
            Piece::Faint(kind.unwrap_or(&token.kind).to_owned()),
        ],
        vec![Piece::text(requester)],
        approvals,
        acts,
    ]
}

/// Requests on the page.
const MOST: usize = 200;
