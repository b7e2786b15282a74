//! Tokens that are no user's yet.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::api::{self, ListTokens, TokenPage};
use crate::web::Desk;
use crate::web::console::sentence::{sees_users, when};
use crate::web::console::{acts, frame, users};
use crate::web::view::{Block, Cell, Piece, Table};
use crate::web::visit::Signed;
use crate::wire::percent_encode;

/// `GET /console/stock`
pub(super) async fn show(
    State(desk): State<Desk>,
    signed: Signed,
    Query(wanted): Query<frame::Listed>,
) -> Response {
    let t = signed.visit.t;
    let page = TokenPage {
        state: Some("unassigned".to_owned()),
        after: wanted.after,
        limit: Some(PAGE),
        ..TokenPage::default()
    };
    let found = match desk.read::<ListTokens>(&signed.caller(), (), &page).await {
        Ok(found) => found,
        Err(refused) => return frame::refused(&signed, &refused),
    };
    let next = found.next.as_deref().map(|next| {
        let mut to = "/console/stock?after=".to_owned();
        percent_encode(next, &mut to);
        to
    });
    let row = |token: &api::Token| -> Vec<Cell> {
        let revision = token.revision.to_string();
        let given = [("revision", revision.as_str())];
        let forms = ["assign", "remove_token"].into_iter();
        let forms = forms.filter_map(|id| acts::find(id)?.form(&signed, &token.serial, &given));
        let kind = t
            .find(&format!("word.{}", token.kind))
            .unwrap_or(&token.kind);
        vec![
            vec![Piece::Mono(token.serial.clone())],
            vec![Piece::text(kind)],
            vec![Piece::text(when(&token.created))],
            forms.map(Piece::Form).collect(),
        ]
    };
    let mut blocks = frame::done(&signed, wanted.done.as_deref());
    if sees_users(&signed.person) {
        blocks.push(Block::Tabs(
            users::tabs(&desk, &signed, Some("stock")).await,
        ));
    }
    blocks.push(Block::Table(Table {
        label: t.get("users.stock").to_owned(),
        head: [
            t.get("head.token"),
            t.get("head.kind"),
            t.get("head.made"),
            t.get("head.acts"),
        ]
        .map(str::to_owned)
        .into(),
        rows: found.tokens.iter().map(row).collect(),
        empty: t.get("users.stock_none").to_owned(),
        next,
        live: None,
    }));
    frame::page(&signed, t.get("users.stock"), blocks).answer(StatusCode::OK)
}

/// Tokens on a page.
const PAGE: usize = 100;
