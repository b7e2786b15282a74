//! Many new users and tokens in one change: one audit record, all or nothing.
//!
//! Invariant: what is refused one by one is refused here, also against what the same change makes:
//! rows of a change are not among the rows it is decided on.

use std::collections::{HashMap, HashSet};

use crate::diagnostic::units::count;
use crate::model::credential::Credentials;
use crate::model::enrolment::Enrolment;
use crate::model::id::Serial;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user::User;
use crate::model::user_key::UserKey;
use crate::otp::normal::NormalKey;
use crate::store::record::{RowWrite, Table};
use crate::store::transition::changed;
use crate::store::transition::plan::Plan;
use crate::store::transition::rows::{Keys, put, refuse_if};
use crate::store::transition::tokens::{self, Made, SEED_TAKEN, TWIN};
use crate::store::transition::users;
use crate::store::transition::users::{ALIAS_TAKEN, NAME_IS_ALIAS};
use crate::store::transition::working::Working;
use crate::store::{StoreError, record};

/// A new record among many.
#[derive(Clone, Debug)]
pub enum Import {
    /// As `Change::CreateUser`.
    User(Box<User>),
    /// As `Change::CreateToken`; its user may be one of those before it.
    Token(Box<(Token, TokenState)>),
    /// As `Change::SetCredentials`, once for a user, who may be one of those before it.
    Credentials(UserKey, Box<Credentials>),
    /// As `Change::LinkToken`; token and user may be of those before it.
    Link(Serial, UserKey),
}

/// An import with all made that can be made without a row: keys sealed, rows written. The caller does
/// that, several at a time; the writer, of which there is one, is left with what only it can know.
#[derive(Clone, Debug)]
pub struct Prepared {
    records: Vec<Ready>,
    /// The digest of the list of the records, where that does not depend on any row.
    digest: Option<String>,
}

#[derive(Clone, Debug)]
enum Ready {
    User(Box<NewUser>),
    /// A token that changes nothing but itself: in stock, or a new user's first one, which comes into use at once and
    /// under no limit.
    Alone(Box<(Token, TokenState)>, Made),
    Token(Box<(Token, TokenState)>),
    Credentials(UserKey, Box<Credentials>),
    Link(Serial, UserKey),
}

#[derive(Clone, Debug)]
struct NewUser {
    user: User,
    write: RowWrite,
    /// What stands for the name among the aliases.
    alias: Vec<u8>,
    /// The number of the key of the personal data.
    person: u64,
}

impl Ready {
    fn name(&self) -> String {
        match self {
            Self::User(new) => new.user.key.joined(),
            Self::Alone(token, _) | Self::Token(token) if token.0.user.is_stock() => {
                token.0.serial.to_string()
            }
            Self::Alone(token, _) | Self::Token(token) => token.0.user.joined(),
            Self::Credentials(user, _) | Self::Link(_, user) => user.joined(),
        }
    }

    /// As [`changed::listed`] has the rows of it; `None`: that depends on others.
    fn listed(&self) -> Option<String> {
        match self {
            Self::User(new) => Some(format!("user {}", new.user.key)),
            Self::Alone(token, _) => {
                let (Token { serial, user, .. }, _) = &**token;
                Some(if user.is_stock() {
                    format!("token {serial} of stock")
                } else {
                    format!("token {serial} of {user}")
                })
            }
            Self::Token(_) | Self::Credentials(..) | Self::Link(..) => None,
        }
    }
}

impl Prepared {
    pub(crate) fn new(records: Vec<Import>, keys: Keys<'_>) -> Result<Self, StoreError> {
        let mut ready = Vec::with_capacity(records.len());
        let is_user = |record: &&Import| matches!(record, Import::User(_));
        let users = records.iter().filter(is_user).count();
        let personal = keys.sealer.personal()?;
        let mut persons = personal.draw_many(users, keys.sealer, keys.entropy)?;
        // The new user before, whose first token may follow.
        let mut fresh: Option<(UserKey, u64)> = None;
        for record in records {
            ready.push(match record {
                Import::User(mut user) => {
                    user.revision = keys.first_revision()?;
                    let person = match persons.next() {
                        Some(person) => person,
                        None => personal.draw(keys.sealer, keys.entropy)?,
                    };
                    fresh = Some((user.key.clone(), person));
                    Ready::User(Box::new(NewUser {
                        write: users::new_row(&user, person, keys)?,
                        alias: record::alias_key(&user.key, keys.sealer),
                        user: *user,
                        person,
                    }))
                }
                Import::Credentials(user, known) => Ready::Credentials(user, known),
                Import::Link(serial, user) => Ready::Link(serial, user),
                Import::Token(token) => {
                    let first = fresh.take().filter(|(user, _)| *user == token.0.user);
                    match first {
                        Some((_, person)) if is_unlimited(&token.0) => {
                            let made = Made::first(&token.0, person, keys)?;
                            Ready::Alone(token, made)
                        }
                        _ if token.0.user.is_stock() && token.0.state == LifeCycle::Unassigned => {
                            let made = Made::at_rest(&token.0, keys)?;
                            Ready::Alone(token, made)
                        }
                        _ => Ready::Token(token),
                    }
                }
            });
        }
        let listed: Option<Vec<String>> = ready.iter().map(Ready::listed).collect();
        Ok(Self {
            digest: listed.map(|listed| changed::digest(&listed)),
            records: ready,
        })
    }

    /// How many users and tokens, and the first and the last of whom, for the audit.
    fn words(&self) -> (String, Option<String>) {
        let is_user = |ready: &&Ready| matches!(ready, Ready::User(_));
        let is_token = |ready: &&Ready| matches!(ready, Ready::Alone(..) | Ready::Token(_));
        let users = self.records.iter().filter(is_user).count();
        let tokens = self.records.iter().filter(is_token).count();
        let links = self.links().count();
        let mut counts = format!(
            "{}, {}",
            count(users as u64, "user"),
            count(tokens as u64, "token")
        );
        if links > 0 {
            counts.push_str(", ");
            counts.push_str(&count(links as u64, "link"));
        }
        let ends = self.records.first().zip(self.records.last());
        let ends = ends.map(|(first, last)| format!("{} to {}", first.name(), last.name()));
        (counts, ends)
    }

    /// Tokens that count for second users, too.
    fn links(&self) -> impl Iterator<Item = (&Serial, &UserKey)> {
        self.records.iter().filter_map(|ready| match ready {
            Ready::Link(serial, user) => Some((serial, user)),
            _ => None,
        })
    }

    /// All of them.
    pub(super) fn plan(mut self, rows: &Working<'_>, keys: Keys<'_>) -> Result<Plan, StoreError> {
        let (target, detail) = self.words();
        let digest = self.digest.take();
        let links = self.link_writes(rows, keys)?;
        let mut writes = self.writes(rows, keys)?;
        writes.extend(links);
        let digest = digest.unwrap_or_else(|| changed::digest(&changed::listed(&writes)));
        Ok(Plan::new("import", &target, writes)
            .detail(detail)
            .with_digest(digest))
    }

    fn link_writes(&self, rows: &Working<'_>, keys: Keys<'_>) -> Result<Vec<RowWrite>, StoreError> {
        let mut writes = Vec::new();
        let mut done = HashSet::new();
        for (serial, user) in self.links() {
            refuse_if(!done.insert((serial, user)), tokens::LINKED)?;
            let mut records = self.records.iter();
            let made_here = records.find_map(|ready| match ready {
                Ready::Alone(token, _) | Ready::Token(token) if token.0.serial == *serial => {
                    Some(&token.0)
                }
                _ => None,
            });
            let is_new = |ready: &Ready| matches!(ready, Ready::User(new) if new.user.key == *user);
            if !self.records.iter().any(is_new) {
                rows.require(Table::Users, &record::user_key(user))?;
            }
            writes.extend(match made_here {
                Some(token) => tokens::linked(rows, token, user, keys)?,
                None => {
                    let token = tokens::on_record(rows, serial, keys)?;
                    tokens::linked(rows, &token, user, keys)?
                }
            });
        }
        Ok(writes)
    }

    fn writes(self, rows: &Working<'_>, keys: Keys<'_>) -> Result<Vec<RowWrite>, StoreError> {
        let mut writes = Vec::with_capacity(self.records.len() * 3);
        let mut users: HashMap<UserKey, u64> = HashMap::new();
        let mut names: HashSet<UserKey> = HashSet::new();
        let (mut serials, mut seeds) = (HashSet::new(), HashSet::new());
        let mut tokens: HashMap<UserKey, Vec<NormalKey>> = HashMap::new();
        for ready in self.records {
            let (token, made) = match ready {
                Ready::User(new) => {
                    let NewUser {
                        user,
                        write,
                        alias,
                        person,
                    } = *new;
                    let twice = users.insert(user.key.clone(), person).is_some();
                    refuse_if(twice, "the user is there twice")?;
                    users::refuse_taken(rows, &write.key, &alias)?;
                    // Names and aliases of this change: each leads to one user.
                    refuse_if(!names.insert(user.key.clone()), NAME_IS_ALIAS)?;
                    let mut aliases = user.aliases.iter();
                    let twice = aliases.any(|alias| !names.insert(alias.clone()));
                    refuse_if(twice, ALIAS_TAKEN)?;
                    writes.push(write);
                    writes.extend(users::aliases(rows, &[], &user, keys)?);
                    continue;
                }
                Ready::Credentials(user, known) => {
                    let is_new = users.contains_key(&user);
                    writes.extend(credentials(rows, &user, *known, is_new, keys)?);
                    continue;
                }
                Ready::Link(..) => continue,
                Ready::Alone(token, made) => (token, Some(made)),
                Ready::Token(token) => (token, None),
            };
            let (token, state) = *token;
            let first = serials.insert(token.serial.clone());
            refuse_if(!first, "a serial is there twice")?;
            let owner = record::user_key(&token.user);
            // A user who is new has no tokens but those of this change.
            let made_here = users.get(&token.user).copied();
            if made_here.is_none() {
                tokens::refuse_twin(rows, &owner, &token, keys)?;
            }
            // Of the stock, which is no one's, and of a first token the keys below are enough.
            if made.is_none() {
                let others = tokens.entry(token.user.clone()).or_default();
                let normal = token.normal_key();
                refuse_if(others.contains(&normal), TWIN)?;
                others.push(normal);
            }
            let seed = match &made {
                Some(made) => made.seed().cloned(),
                None => record::seed_of(&token, keys.sealer),
            };
            refuse_if(seed.is_some_and(|seed| !seeds.insert(seed)), SEED_TAKEN)?;
            writes.extend(match made {
                Some(made) => made.rows(rows, owner, &token, &state)?,
                None => {
                    let person = match made_here {
                        Some(person) => person,
                        None => tokens::owners_person(rows, &token)?,
                    };
                    tokens::created(rows, owner, &token, &state, person, keys)?
                }
            });
        }
        Ok(writes)
    }
}

/// The first verifiers of a user who is new, or the next ones of another.
fn credentials(
    rows: &Working<'_>,
    user: &UserKey,
    known: Credentials,
    is_new: bool,
    keys: Keys<'_>,
) -> Result<Vec<RowWrite>, StoreError> {
    let seen = known.revision;
    let next = Credentials {
        revision: match seen {
            0 => keys.first_revision()?,
            seen => seen + 1,
        },
        ..known
    };
    if !is_new {
        return users::credentials_row(rows, user, &next, seen, keys);
    }
    let key = record::user_key(user);
    let row = record::credentials_row(&key, &next, keys.sealer, keys.entropy)?;
    Ok(vec![put(Table::Credentials, key, row)])
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
