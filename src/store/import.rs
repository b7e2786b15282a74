//! Many new users and tokens in one change: one audit record, all or nothing.
//!
//! Invariant: what is refused one by one is refused here, also against what the same change makes:
//! rows of a change are not among the rows it is decided on.

use std::collections::{HashMap, HashSet};

use crate::diagnostic::units::count;
use crate::model::enrolment::Enrolment;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user::User;
use crate::model::user_key::UserKey;
use crate::otp::normal::NormalKey;
use crate::secret::Entropy;
use crate::store::change::Keys;
use crate::store::new_token::{Made, SEED_TAKEN};
use crate::store::record::RowWrite;
use crate::store::seal::Sealer;
use crate::store::working::Working;
use crate::store::{StoreError, change, new_token, record, users};
use crate::time::UnixTime;

/// A new record among many.
#[derive(Clone, Debug)]
pub enum Import {
    /// As `Change::CreateUser`.
    User(Box<User>),
    /// As `Change::CreateToken`; its user may be one of those before it.
    Token(Box<(Token, TokenState)>),
}

/// An import with all made that can be made without a row: keys sealed, rows written. The asker does
/// that, several at a time; the writer, of whom there is one, is left with what only it can know.
pub(crate) struct Prepared(Vec<Ready>);

enum Ready {
    /// With the number of the key of the personal data.
    User(UserKey, RowWrite, u64),
    /// A new user's first token that comes into use at once, under no limit: what coming into use does
    /// is known.
    First(Box<(Token, TokenState)>, Made),
    Token(Box<(Token, TokenState)>),
}

impl Ready {
    fn name(&self) -> String {
        match self {
            Self::User(key, ..) => key.joined(),
            Self::First(token, _) | Self::Token(token) => token.0.user.joined(),
        }
    }
}

impl Prepared {
    pub(crate) fn new(
        records: Vec<Import>,
        sealer: &Sealer,
        entropy: &dyn Entropy,
        now: UnixTime,
    ) -> Result<Self, StoreError> {
        let keys = Keys {
            now,
            actor: "",
            sealer,
            entropy,
        };
        let mut ready = Vec::with_capacity(records.len());
        // The new user before, whose first token may follow.
        let mut fresh: Option<(UserKey, u64)> = None;
        for record in records {
            ready.push(match record {
                Import::User(user) => {
                    let person = sealer.personal()?.draw(sealer, entropy)?;
                    let write = users::user_write(&user, person, keys)?;
                    fresh = Some((user.key.clone(), person));
                    Ready::User(user.key, write, person)
                }
                Import::Token(token) => {
                    let first = fresh.take().filter(|(user, _)| *user == token.0.user);
                    match first {
                        Some((_, person)) if is_unlimited(&token.0) => {
                            let made = Made::first(&token.0, person, keys)?;
                            Ready::First(token, made)
                        }
                        _ => Ready::Token(token),
                    }
                }
            });
        }
        Ok(Self(ready))
    }

    /// How many users and tokens, and the first and the last of whom, for the audit.
    pub(super) fn words(&self) -> (String, Option<String>) {
        let is_user = |ready: &&Ready| matches!(ready, Ready::User(..));
        let users = self.0.iter().filter(is_user).count();
        let tokens = self.0.len() - users;
        let counts = format!(
            "{}, {}",
            count(users as u64, "user"),
            count(tokens as u64, "token")
        );
        let ends = self.0.first().zip(self.0.last());
        let ends = ends.map(|(first, last)| format!("{} to {}", first.name(), last.name()));
        (counts, ends)
    }

    /// The rows of all of them.
    pub(super) fn writes(
        self,
        rows: &Working<'_>,
        keys: Keys<'_>,
    ) -> Result<Vec<RowWrite>, StoreError> {
        let mut writes = Vec::with_capacity(self.0.len() * 2);
        let mut users: HashMap<UserKey, u64> = HashMap::new();
        let (mut serials, mut seeds) = (HashSet::new(), HashSet::new());
        let mut tokens: HashMap<UserKey, Vec<NormalKey>> = HashMap::new();
        for ready in self.0 {
            let (token, made) = match ready {
                Ready::User(key, write, person) => {
                    let twice = users.insert(key, person).is_some();
                    change::refuse_if(twice, "the user is there twice")?;
                    users::refuse_user(rows, &write.key)?;
                    writes.push(write);
                    continue;
                }
                Ready::First(token, made) => (token, Some(made)),
                Ready::Token(token) => (token, None),
            };
            let (token, state) = *token;
            let twice = !serials.insert(token.serial.clone());
            change::refuse_if(twice, "a serial is there twice")?;
            let owner = record::user_key(&token.user);
            // A user who is new has no tokens but those of this change.
            let made_here = users.get(&token.user).copied();
            if made_here.is_none() {
                change::refuse_twin(rows, &owner, &token, keys)?;
            }
            let others = tokens.entry(token.user.clone()).or_default();
            let normal = token.normal_key();
            let twin = others.contains(&normal);
            change::refuse_if(twin, "the user has a token with this key already")?;
            others.push(normal);
            let seed = record::seed_of(&token, keys.sealer);
            let twice = seed.is_some_and(|seed| !seeds.insert(seed));
            change::refuse_if(twice, SEED_TAKEN)?;
            writes.extend(match made {
                Some(made) => new_token::made_token(rows, owner, &token, &state, made)?,
                None => {
                    let person = match made_here {
                        Some(person) => person,
                        None => users::person_of(rows, &owner)?,
                    };
                    new_token::token_writes(rows, owner, &token, &state, person, keys)?
                }
            });
        }
        Ok(writes)
    }
}

/// Whether coming into use at once asks for nothing and changes nothing else.
fn is_unlimited(token: &Token) -> bool {
    let Enrolment {
        replaces,
        max_active,
        valid_for,
        ..
    } = &token.enrolment;
    token.state == LifeCycle::Active
        && replaces.is_none()
        && *max_active != Some(0)
        && valid_for.is_none()
}
