//! The person's own sessions; an administrator sees everyone's.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::model::client::Scope;
use crate::web::console::frame;
use crate::web::fields::Sent;
use crate::web::session::Session;
use crate::web::view::{Block, Form, Piece, Table, Tone};
use crate::web::visit::Signed;
use crate::web::{Desk, answer};

/// `GET /console/account`
pub(super) async fn show(
    State(desk): State<Desk>,
    signed: Signed,
    Query(wanted): Query<frame::Done>,
) -> Response {
    let t = signed.visit.t;
    let roles = signed.person.roles.iter().map(|role| {
        let key = format!("role.{role}");
        Piece::chip(Tone::Plain, t.find(&key).unwrap_or(role.as_str()))
    });
    let sessions = desk
        .web
        .sessions
        .list(signed.now, |session| is_theirs(&signed, session));
    let row = |session: &Session| {
        let mut who = vec![Piece::text(session.user.to_string())];
        if session.id == signed.session.id {
            who.push(Piece::chip(Tone::Good, t.get("account.this")));
        }
        let address = session.address.map(|address| address.to_string());
        let end =
            Form::new("/console/account/end", t.get("account.end")).hidden("session", &session.id);
        vec![
            who,
            vec![Piece::text(super::sentence::when(&session.began.rfc3339()))],
            vec![Piece::text(super::sentence::when(&session.seen.rfc3339()))],
            vec![Piece::text(address.unwrap_or_default())],
            vec![Piece::Faint(session.browser.clone())],
            vec![Piece::Form(end)],
        ]
    };
    let mut blocks = frame::done(&signed, wanted.done.as_deref());
    blocks.push(Block::Card(vec![Block::Facts(vec![
        (
            t.get("sign_in.name").to_owned(),
            vec![Piece::text(signed.person.user.to_string())],
        ),
        (t.get("account.roles").to_owned(), roles.collect()),
    ])]));
    blocks.push(Block::Heading(t.get("account.sessions").to_owned()));
    blocks.push(Block::Table(Table {
        label: t.get("account.sessions").to_owned(),
        head: [
            t.get("sign_in.name"),
            t.get("account.began"),
            t.get("account.seen"),
            t.get("head.address"),
            t.get("account.browser"),
            t.get("head.acts"),
        ]
        .map(str::to_owned)
        .into(),
        rows: sessions.iter().map(row).collect(),
        ..Table::default()
    }));
    blocks.push(Block::Text(t.get("account.change").to_owned()));
    frame::page(&signed, t.get("account.title"), blocks).answer(StatusCode::OK)
}

/// Whether a session is the person's to see and to end.
fn is_theirs(signed: &Signed, session: &Session) -> bool {
    session.user == signed.person.user || signed.person.roles.contains(&Scope::Admin)
}

/// `POST /console/account/end`
pub(super) async fn end(State(desk): State<Desk>, Sent(signed, fields): Sent<Signed>) -> Response {
    let id = fields.get("session").unwrap_or_default().to_owned();
    let ended = desk
        .web
        .sessions
        .end_those(|session| session.id == id && is_theirs(&signed, session));
    if ended == 0 {
        return frame::missing(signed).await;
    }
    answer::see_other("/console/account?done=end_session")
}
