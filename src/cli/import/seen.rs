//! What the rows so far have said: nothing may be said twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher as _, Hash, RandomState};

use zeroize::Zeroizing;

use crate::cli::columns;
use crate::cli::columns::{Brought, Factor};
use crate::cli::import::{Make, Source};
use crate::csv::Row;
use crate::model::user_key::UserKey;

/// Users, serials and keys of the rows so far: what stands twice is a mistake, and would be refused when
/// half is made.
///
/// Rows are known by the numbers of their lines in the text that is read.
#[derive(Default)]
pub(super) struct Seen<'t> {
    source: Source<'t>,
    /// Whether one token may count for two users.
    link: bool,
    /// The row that made the user, by a hash of the name: a million names are megabytes.
    users: HashMap<u64, u64>,
    serials: HashMap<u64, u64>,
    /// Rows by a hash of user and key.
    keys: HashMap<u64, u64>,
    /// By a hash of the key, whosever it is.
    secrets: HashMap<u64, Secret>,
    last: Option<First>,
    state: RandomState,
}

/// The first row that has a key.
#[derive(Clone, Copy)]
struct Secret {
    row: u64,
    /// Hash of what kind of codes it makes.
    codes: u64,
    /// Hash of what its steps are.
    steps: u64,
    in_stock: bool,
}

/// What a row is to those before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Again {
    /// Something new.
    New,
    /// The token of one of them, for another user.
    ForAnother,
}

/// The first row of the user whose rows are read.
struct First {
    user: UserKey,
    row: u64,
    /// Hash of the user's details; none where there are none.
    details: Option<u64>,
}

impl<'t> Seen<'t> {
    pub(super) fn new(source: Source<'t>, link: bool) -> Self {
        Self {
            source,
            link,
            ..Self::default()
        }
    }

    pub(super) fn check(
        &mut self,
        row: &Row<'_>,
        (user, factor): (&UserKey, Option<&Brought>),
        make: Make,
    ) -> Result<Again, String> {
        let mut again = Again::New;
        if make == Make::Users {
            self.check_user(row, user)?;
        }
        if let Some(secret) = row.get(columns::SECRET) {
            // Blanks, hyphens and letter case make no other key.
            let letters = secret.bytes().filter(u8::is_ascii_alphanumeric);
            let letters = letters.map(|letter| letter.to_ascii_uppercase());
            let letters: Zeroizing<Vec<u8>> = Zeroizing::new(letters.collect());
            let hash = self.state.hash_one((user, letters.as_slice()));
            let own = (!user.is_stock()).then(|| self.keys.insert(hash, row.number));
            if let Some(Some(first)) = own {
                let first = self.source.told(first);
                return Err(format!("secret: the same user and key as in {first}"));
            }
            let hash = self.state.hash_one(letters.as_slice());
            let secret = Secret {
                row: row.number,
                codes: self.state.hash_one(codes(factor)),
                steps: self.state.hash_one(steps(factor)),
                in_stock: user.is_stock(),
            };
            match self.secrets.entry(hash) {
                Entry::Occupied(first) => {
                    let at = self.source.told(first.get().row);
                    again = Self::twin(self.link, make, (*first.get(), &at), secret)?;
                }
                Entry::Vacant(free) => drop(free.insert(secret)),
            }
        }
        if let Some(serial) = row.get(columns::SERIAL) {
            let hash = self.state.hash_one(serial.to_ascii_uppercase());
            if let Some(first) = self.serials.insert(hash, row.number) {
                let first = self.source.told(first);
                return Err(format!("serial: the same as in {first}"));
            }
        }
        Ok(again)
    }

    /// A row whose key another row, at that place, has for another user.
    fn twin(
        link: bool,
        make: Make,
        (first, at): (Secret, &str),
        second: Secret,
    ) -> Result<Again, String> {
        let what = format!(
            "secret: the same as in {at}; two tokens of one key would accept one code twice"
        );
        if first.steps != second.steps {
            Err(format!(
                "secret: the same as in {at}, as another kind or with another period: what one of them has used \
                 up says nothing about the other, so that used codes could be right again; leave one of them out, or \
                 give it a key of its own"
            ))
        } else if first.codes != second.codes {
            Err(format!(
                "secret: the same as in {at}, with another algorithm or number of digits: one token of the key \
                 cannot make both codes; leave one of them out, or give it a key of its own"
            ))
        } else if first.in_stock || second.in_stock {
            Err(format!("{what}: leave one of them out"))
        } else if link {
            Ok(Again::ForAnother)
        } else if make == Make::Tokens {
            Err(format!(
                "{what}: if the two users share the device, let one token count for both: --link"
            ))
        } else {
            Err(format!(
                "{what}: import it for one user, then `oncegate token link SERIAL USER`"
            ))
        }
    }

    /// A further row of a user is for a further token, and says nothing else of the user.
    fn check_user(&mut self, row: &Row<'_>, user: &UserKey) -> Result<(), String> {
        let details = details(row).map(|details| self.state.hash_one(details));
        if let Some(first) = self.last.as_ref().filter(|first| first.user == *user) {
            let at = self.source.told(first.row);
            if row.get(columns::SECRET).is_none() {
                return Err(format!(
                    "user: the same as in {at}; a further row of a user has a secret of its own"
                ));
            }
            if details.is_some() && details != first.details {
                return Err(format!(
                    "user: the same as in {at}, with other details; give them in one of the rows"
                ));
            }
            return Ok(());
        }
        let hash = self.state.hash_one(user);
        if let Some(first) = self.users.insert(hash, row.number) {
            let at = self.source.told(first);
            return Err(format!(
                "user: the same as in {at}; rows of one user stand together"
            ));
        }
        self.last = Some(First {
            user: user.clone(),
            row: row.number,
            details,
        });
        Ok(())
    }
}

/// What kind of codes a token makes.
fn codes(factor: Option<&Brought>) -> impl Hash {
    match factor {
        Some(Brought::Factor(Factor::Totp { parameters, .. })) => {
            let (algorithm, digits) = (parameters.algorithm, parameters.digits);
            let period = parameters.period.as_secs();
            ("totp", algorithm.as_str(), digits.get(), period)
        }
        Some(Brought::Factor(Factor::Hotp {
            algorithm, digits, ..
        })) => ("hotp", algorithm.as_str(), digits.get(), 0),
        Some(Brought::Yubikey { .. }) => ("yubikey", "", 0, 0),
        Some(Brought::Factor(Factor::Password(_))) | None => ("", "", 0, 0),
    }
}

/// What the steps of a token are: a counter, steps of time of a length, or presses.
fn steps(factor: Option<&Brought>) -> impl Hash {
    match factor {
        Some(Brought::Factor(Factor::Totp { parameters, .. })) => {
            ("totp", parameters.period.as_secs())
        }
        Some(Brought::Factor(Factor::Hotp { .. })) => ("hotp", 0),
        Some(Brought::Yubikey { .. }) => ("yubikey", 0),
        Some(Brought::Factor(Factor::Password(_))) | None => ("", 0),
    }
}

/// What a row says of its user beside the name; none where it says nothing.
pub(super) fn details<'a>(row: &Row<'a>) -> Option<(Vec<&'a str>, [Option<&'a str>; 5])> {
    let groups: Vec<&str> = groups(row).collect();
    let others = [
        row.get(columns::ALIAS),
        columns::display_name(row),
        row.get(columns::PHONE),
        row.get(columns::EMAIL),
        row.get(columns::CLASS),
    ];
    let any = !groups.is_empty() || others.iter().any(Option::is_some);
    any.then_some((groups, others))
}

/// The groups of a row, between semicolons.
pub(super) fn groups<'a>(row: &Row<'a>) -> impl Iterator<Item = &'a str> {
    several(row, columns::GROUPS)
}

/// The aliases of a row, between semicolons.
pub(super) fn aliases<'a>(row: &Row<'a>) -> impl Iterator<Item = &'a str> {
    several(row, columns::ALIAS)
}

fn several<'a>(row: &Row<'a>, column: usize) -> impl Iterator<Item = &'a str> {
    let texts = row.get(column).unwrap_or_default().split(';');
    texts.map(str::trim).filter(|text| !text.is_empty())
}
