//! What changes nothing and is on record all the same: notes, secrets that were printed, records that left the system.

use crate::admin::{Admin, AdminError, check_text};
use crate::model::user_key::UserKey;
use crate::store::{By, Change};

/// What is noted of.
#[derive(Clone, Copy, Debug)]
pub enum Noted<'a> {
    /// A user.
    User(&'a UserKey),
    /// A token, by its serial.
    Token(&'a str),
    /// The audit.
    Audit,
}

impl Admin {
    /// Puts on record that this was done, and what a reader must know of it. Of a user that is one line of at most 256
    /// octets, which is gone when the user is erased; of all else what is longer than 512 characters is cut.
    pub async fn note(
        &self,
        action: &'static str,
        about: Noted<'_>,
        detail: &str,
        by: By,
    ) -> Result<(), AdminError> {
        let (target, user) = match about {
            Noted::User(key) => {
                check_text("text", detail)?;
                let change = Change::NoteUser {
                    action,
                    user: self.user(key)?.key,
                    text: detail.to_owned(),
                };
                return Ok(self.core.store.change(change, by).await?);
            }
            Noted::Token(serial) => {
                let serial = serial.parse().map_err(|_| AdminError::NotFound("token"))?;
                let (token, _) = self.token(&serial)?;
                (serial.to_string(), Some(token.user.to_string()))
            }
            Noted::Audit => ("audit".to_owned(), None),
        };
        let change = Change::Note {
            action,
            target,
            user,
            detail: detail.chars().take(LONGEST).collect(),
        };
        Ok(self.core.store.change(change, by).await?)
    }
}

const LONGEST: usize = 512;
