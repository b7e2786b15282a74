//! One record of the audit: what was changed, field by field.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::api::call::NoQuery;
use crate::api::{FieldChange, ShowAudit};
use crate::web::Desk;
use crate::web::console::frame;
use crate::web::console::sentence::{heads, row};
use crate::web::text::Text;
use crate::web::view::{Block, Cell, Piece, Table, Tone};
use crate::web::visit::Signed;

/// `GET /console/audit/{seq}`
pub(super) async fn show(
    State(desk): State<Desk>,
    Path(seq): Path<String>,
    signed: Signed,
) -> Response {
    let t = signed.visit.t;
    let found = desk
        .read::<ShowAudit>(&signed.caller(), &seq, &NoQuery {})
        .await;
    let entry = match found {
        Ok(entry) => entry,
        Err(refused) => return frame::refused(&signed, &refused),
    };
    let title = t.with("audit.record", &[("seq", &entry.record.seq.to_string())]);
    let mut blocks = vec![
        Block::Table(Table {
            label: title.clone(),
            head: heads(t),
            rows: vec![row(t, &entry.record, &signed.person)],
            ..Table::default()
        }),
        Block::Heading(t.get("audit.changed").to_owned()),
        Block::Table(Table {
            label: t.get("audit.changed").to_owned(),
            head: [
                t.get("head.field"),
                t.get("audit.before"),
                t.get("audit.after"),
            ]
            .map(str::to_owned)
            .into(),
            rows: entry
                .record
                .changes
                .iter()
                .map(|one| changed(t, one))
                .collect(),
            empty: t.get("audit.nothing_changed").to_owned(),
            ..Table::default()
        }),
    ];
    if !entry.records.is_empty() {
        blocks.push(Block::Heading(t.get("audit.written").to_owned()));
        let shown = entry.records.iter().take(MOST).cloned();
        blocks.push(Block::Source(shown.collect()));
        let hash = vec![Piece::Mono(entry.records_sha256)];
        blocks.push(Block::Facts(vec![(t.get("fact.hash").to_owned(), hash)]));
    }
    frame::page(&signed, title, blocks).answer(StatusCode::OK)
}

fn changed(t: Text, one: &FieldChange) -> Vec<Cell> {
    let mut field: Cell = vec![Piece::Mono(one.field.clone())];
    field.extend(one.record.clone().map(Piece::Faint));
    let list = |sign: &str, list: &Option<Vec<String>>| -> Cell {
        let items = list.iter().flatten();
        items
            .map(|item| Piece::text(format!("{sign}{item}")))
            .collect()
    };
    let mut before: Cell = one.before.clone().map(Piece::Text).into_iter().collect();
    before.extend(list("-", &one.removed));
    let mut after: Cell = one.after.clone().map(Piece::Text).into_iter().collect();
    after.extend(list("+", &one.added));
    let words = [&one.secret, &one.hidden].into_iter().flatten();
    after.extend(words.map(|word| Piece::chip(Tone::Plain, t.said(word))));
    vec![field, before, after]
}

/// Records of the list that are shown.
const MOST: usize = 200;
