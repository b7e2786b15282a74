//! Sheets that are printed from a page: recovery codes, security cards, letters with a link.
//!
//! The page tells when it is printed, by its button or by the browser's menu, and that is on record with the person.
//! That it was shown is on record with what made it, also where scripts are off.

use axum::http::StatusCode;

use crate::admin::{AdminError, Sheet};
use crate::store::By;
use crate::web::Desk;
use crate::web::fields::Fields;
use crate::web::text::Text;
use crate::web::view::Block;

/// A block that prints the sheet of this token; `to` is where the page tells of it.
pub(crate) fn sheet(t: Text, to: &'static str, sheet: Sheet, serial: &str) -> Option<Block> {
    let word = word(sheet);
    Some(Block::Sheet {
        text: t.find(&format!("sheet.{word}"))?,
        to,
        what: word,
        serial: serial.to_owned(),
    })
}

/// Puts on record what a page tells.
pub(crate) async fn noted(desk: &Desk, fields: &Fields, by: By) -> StatusCode {
    let sheets = [Sheet::Recovery, Sheet::Card, Sheet::Letter].into_iter();
    let what = fields.get("what");
    let Some(sheet) = sheets.into_iter().find(|one| Some(word(*one)) == what) else {
        return StatusCode::BAD_REQUEST;
    };
    let serial = fields.get("serial").unwrap_or_default();
    match desk.app.admin().note_print(sheet, serial, by).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(AdminError::NotFound(_)) => StatusCode::NOT_FOUND,
        Err(error) => {
            tracing::warn!(%error, "that a sheet was printed is not on record");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

const fn word(sheet: Sheet) -> &'static str {
    match sheet {
        Sheet::Recovery => "recovery",
        Sheet::Card => "card",
        Sheet::Letter => "letter",
    }
}
