//! What changes nothing and is on record all the same: secrets that were printed, records that left the system.

use crate::admin::{Admin, AdminError};
use crate::store::{By, Change};

/// What is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sheet {
    /// Recovery codes.
    Recovery,
    /// A security card.
    Card,
    /// A letter with an enrolment link.
    Letter,
}

impl Sheet {
    /// The word in the audit.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recovery => "recovery codes",
            Self::Card => "security card",
            Self::Letter => "enrolment letter",
        }
    }
}

impl Admin {
    /// Puts on record that a person printed what was shown of this token.
    pub async fn note_print(&self, sheet: Sheet, serial: &str, by: By) -> Result<(), AdminError> {
        let serial = serial.parse().map_err(|_| AdminError::NotFound("token"))?;
        let (token, _) = self.token(&serial)?;
        let change = Change::Note {
            action: "sheet_print",
            target: serial.to_string(),
            user: Some(token.user.to_string()),
            detail: sheet.as_str().to_owned(),
        };
        Ok(self.core.store.change(change, by).await?)
    }

    /// Puts on record that records are exported, and by which filters.
    pub async fn note_export(&self, filters: &str, by: By) -> Result<(), AdminError> {
        let change = Change::Note {
            action: "audit_export",
            target: "audit".to_owned(),
            user: None,
            detail: filters.chars().take(LONGEST).collect(),
        };
        Ok(self.core.store.change(change, by).await?)
    }
}

/// Most characters of the filters that are put on record.
const LONGEST: usize = 512;
