//! Many new users and tokens in one change: one audit record, all or nothing.
//!
//! Invariant: what is refused one by one is refused here, also against what the same change makes:
//! rows of a change are not among the rows it is decided on.

use std::collections::HashMap;
use std::collections::HashSet;

use crate::model::token::Token;
use crate::model::token::TokenState;
use crate::model::user::User;
use crate::store::StoreError;
use crate::store::change;
use crate::store::change::Keys;
use crate::store::fold::Working;
use crate::store::record;
use crate::store::record::RowWrite;

/// A new record among many.
#[derive(Clone, Debug)]
pub enum Import {
    /// As `Change::CreateUser`.
    User(Box<User>),
    /// As `Change::CreateToken`; its user may be one of those before it.
    Token(Box<(Token, TokenState)>),
}

/// How many users and tokens, and the first and the last of whom, for the audit.
pub(super) fn words(records: &[Import]) -> (String, Option<String>) {
    let name = |record: &Import| match record {
        Import::User(user) => user.key.to_string(),
        Import::Token(token) => token.0.user.to_string(),
    };
    let is_user = |record: &&Import| matches!(record, Import::User(_));
    let users = records.iter().filter(is_user).count();
    let counts = format!("{users} users, {} tokens", records.len() - users);
    let ends = records.first().zip(records.last());
    (
        counts,
        ends.map(|(first, last)| format!("{} to {}", name(first), name(last))),
    )
}

/// The rows of all of them.
pub(super) fn writes(
    rows: &Working<'_>,
    records: &[Import],
    keys: Keys<'_>,
) -> Result<Vec<RowWrite>, StoreError> {
    let mut writes = Vec::with_capacity(records.len() * 2);
    let mut users = HashSet::new();
    let mut serials = HashSet::new();
    let mut tokens: HashMap<Vec<u8>, Vec<&Token>> = HashMap::new();
    for record in records {
        match record {
            Import::User(user) => {
                change::refuse_if(!users.insert(&user.key), "the user is there twice")?;
                writes.extend(change::create_user(rows, user)?);
            }
            Import::Token(token) => {
                let (token, state) = token.as_ref();
                let twice = !serials.insert(&token.serial);
                change::refuse_if(twice, "a serial is there twice")?;
                let owner = record::user_key(&token.user);
                // A user who is new has no tokens but those of this change.
                if !users.contains(&token.user) {
                    change::refuse_twin(rows, &owner, token, keys)?;
                }
                let others = tokens.entry(owner.clone()).or_default();
                let twin = others.iter().any(|other| other.key == token.key);
                change::refuse_if(twin, "the user has a token with this key already")?;
                others.push(token);
                writes.extend(change::token_writes(rows, owner, token, state, keys)?);
            }
        }
    }
    Ok(writes)
}
