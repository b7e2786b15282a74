//! How the server is at present.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::api::ShowStatus;
use crate::api::call::NoQuery;
use crate::web::Desk;
use crate::web::console::frame;
use crate::web::view::{Block, Tile, Tone};
use crate::web::visit::Signed;

/// `GET /console`
pub(super) async fn show(State(desk): State<Desk>, signed: Signed) -> Response {
    let t = signed.visit.t;
    let caller = signed.caller();
    let status = desk.read::<ShowStatus>(&caller, (), &NoQuery {}).await;
    let status = match status {
        Ok(status) => status,
        Err(refused) => return frame::refused(&signed, &refused),
    };
    let notice = match &status.fault {
        None => Block::Notice {
            tone: Tone::Good,
            text: t.get("now.ready").to_owned(),
            detail: String::new(),
        },
        Some(fault) => Block::Notice {
            tone: Tone::Bad,
            text: t.get("now.fault").to_owned(),
            detail: fault.clone(),
        },
    };
    let tile = |key: &'static str, value: u64| Tile {
        label: t.get(key).to_owned(),
        value: value.to_string(),
        tone: Tone::Plain,
    };
    let tiles = vec![
        tile("now.accepts", status.accepts),
        tile("now.rejects", status.rejects),
        tile("now.undecided", status.undecided),
    ];
    let blocks = vec![notice, Block::Tiles(tiles)];
    frame::page(&signed, t.get("menu.now"), blocks).answer(StatusCode::OK)
}
