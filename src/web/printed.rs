//! Sheets that are printed from a page: recovery codes, security cards, letters with a link.
//!
//! The page tells when it is printed, by its button or by the browser's menu, and that is on record with the person.
//! That it was shown is on record with what made it, also where scripts are off.

use axum::http::StatusCode;

use crate::admin::{AdminError, Noted};
use crate::store::By;
use crate::web::Desk;
use crate::web::fields::Fields;
use crate::web::text::Text;
use crate::web::view::Block;

/// What is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sheet {
    /// Recovery codes.
    Recovery,
    /// A security card.
    Card,
    /// A letter with an enrolment link.
    Letter,
}

impl Sheet {
    const ALL: [Self; 3] = [Self::Recovery, Self::Card, Self::Letter];

    const fn word(self) -> &'static str {
        match self {
            Self::Recovery => "recovery",
            Self::Card => "card",
            Self::Letter => "letter",
        }
    }

    /// What the audit calls it.
    const fn detail(self) -> &'static str {
        match self {
            Self::Recovery => "recovery codes",
            Self::Card => "security card",
            Self::Letter => "enrolment letter",
        }
    }
}

/// A block that prints the sheet of this token; `to` is where the page tells of it.
pub(crate) fn sheet(t: Text, to: &'static str, sheet: Sheet, serial: &str) -> Option<Block> {
    let word = sheet.word();
    Some(Block::Sheet {
        text: t.find(&format!("sheet.{word}"))?,
        to,
        what: word,
        serial: serial.to_owned(),
    })
}

/// Puts on record what a page tells.
pub(crate) async fn noted(desk: &Desk, fields: &Fields, by: By) -> StatusCode {
    let what = fields.get("what");
    let Some(sheet) = Sheet::ALL.into_iter().find(|one| Some(one.word()) == what) else {
        return StatusCode::BAD_REQUEST;
    };
    let serial = fields.get("serial").unwrap_or_default();
    let noted = desk.app.admin();
    let noted = noted.note("sheet_print", Noted::Token(serial), sheet.detail(), by);
    match noted.await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(AdminError::NotFound(_)) => StatusCode::NOT_FOUND,
        Err(error) => {
            tracing::warn!(%error, "that a sheet was printed is not on record");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}
