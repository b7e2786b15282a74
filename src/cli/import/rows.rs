//! What the rows of a file are, known before anything is sent.

use std::collections::HashSet;

use crate::admin::About;
use crate::api::weak_keys;
use crate::cli::columns;
use crate::cli::columns::{Brought, Factor};
use crate::cli::import::seen::{Again, Seen, aliases, details, groups};
use crate::cli::import::{Make, Source};
use crate::credential::Hash;
use crate::csv::{Fault, Ignore, Reader, Row};
use crate::model::id::Serial;
use crate::model::user_key::UserKey;
use crate::secret::OtpKey;
use crate::time::{Clock as _, SystemClock, UnixTime};

/// What the rows of a file are, before anything is done with them.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) rows: u64,
    pub(super) bad: u64,
    /// Those of the bad ones that another row has made already.
    pub(super) twice: u64,
    /// The first [`SHOWN`] of the bad ones.
    pub(super) faults: Vec<Fault>,
    /// Columns that are left out.
    pub(super) ignored: Vec<String>,
    /// What to do where the heading is what is wrong.
    pub(super) heading: Option<&'static str>,
    /// Which rows are left out, by their place in the file from 0.
    pub(super) left: HashSet<u64>,
    /// Those whose token another row makes, for another user: it counts for theirs, too.
    pub(super) twins: HashSet<u64>,
    /// Those whose keys are shorter than advised.
    pub(super) weak: Vec<Weak>,
}

/// A good row with a key that is shorter than advised.
pub(super) struct Weak {
    place: u64,
    /// Its line in the text that was read.
    number: u64,
    pub(super) user: UserKey,
}

impl Looked {
    /// What is weak about the rows.
    pub(super) fn warnings(&self, source: Source<'_>) -> Vec<String> {
        let first = self.weak.first();
        let warning = first.map(|weak| weak_keys(self.weak.len(), &source.told(weak.number)));
        warning.into_iter().collect()
    }

    /// Leaves further rows out.
    pub(super) fn leave(&mut self, places: Vec<u64>) {
        for place in places {
            self.bad += 1;
            if !self.twins.remove(&place) {
                self.rows = self.rows.saturating_sub(1);
            }
            self.left.insert(place);
        }
        let left = &self.left;
        self.weak.retain(|weak| !left.contains(&weak.place));
    }
}

/// Looks at every row; `link`: one token may count for the users of two rows.
pub(super) fn look(source: Source<'_>, make: Make, ignore: &Ignore, link: bool) -> Looked {
    let mut looked = Looked::default();
    let mut seen = Seen::new(source, link);
    let mut rows = match source.rows(ignore) {
        Ok(rows) => rows,
        Err(fault) => {
            looked.heading = Some(unknown_columns(source, make));
            looked.bad = 1;
            looked.faults.push(fault);
            return looked;
        }
    };
    let faults = missing_columns(&rows, make);
    if !faults.is_empty() {
        looked.heading = Some("name the columns in the first line");
        looked.bad = 1;
        looked.faults = faults;
        return looked;
    }
    looked.ignored = rows.ignored().to_vec();
    let now = SystemClock.now();
    let mut place = 0;
    while let Some(row) = rows.next() {
        place += 1;
        let faults = match row {
            Err(fault) => vec![fault],
            Ok(row) => {
                let checked = check(&row, make, now).and_then(|(user, factor)| {
                    let first = seen.check(&row, (&user, factor.as_ref()), make);
                    looked.twice += u64::from(first.is_err());
                    if first == Ok(Again::New) && factor.as_ref().is_some_and(is_weak) {
                        let (place, number) = (place - 1, row.number);
                        looked.weak.push(Weak {
                            place,
                            number,
                            user,
                        });
                    }
                    first.map_err(|what| vec![what])
                });
                if checked == Ok(Again::ForAnother) {
                    looked.twins.insert(place - 1);
                    continue;
                }
                let faults = checked.err().unwrap_or_default().into_iter();
                let fault = |what: String| Fault {
                    token: source.which(row.number),
                    ..row.fault(&columns::NAMES, what)
                };
                faults.map(fault).collect()
            }
        };
        if faults.is_empty() {
            looked.rows += 1;
            continue;
        }
        looked.bad += 1;
        looked.left.insert(place - 1);
        if looked.faults.len() < SHOWN {
            looked.faults.extend(faults);
        }
    }
    looked
}

/// Columns that are needed and that the heading does not have.
fn missing_columns(rows: &Reader<&[u8]>, make: Make) -> Vec<Fault> {
    let needed = [
        (columns::USER, true),
        (columns::SECRET, make == Make::Tokens),
    ];
    let missing = needed
        .into_iter()
        .filter(|(column, needed)| *needed && !rows.has(*column));
    let fault = |(column, _): (usize, bool)| {
        let name = columns::NAMES.get(column).copied().unwrap_or_default();
        let what = format!(
            "the heading has no column `{name}`; known columns: {}",
            columns::NAMES.join(", ")
        );
        Fault::new(rows.line(), what)
    };
    missing.map(fault).collect()
}

/// Whether its key is shorter than advised.
fn is_weak(brought: &Brought) -> bool {
    match brought {
        Brought::Factor(Factor::Hotp { key, .. } | Factor::Totp { key, .. }) => {
            key.expose().len() < OtpKey::ADVISED
        }
        Brought::Factor(Factor::Password(_)) | Brought::Yubikey { .. } => false,
    }
}

/// What to do about columns that are not known. Where what is needed goes by another name, leaving columns out would not
/// help.
fn unknown_columns(source: Source<'_>, make: Make) -> &'static str {
    let needed = |rows: &Reader<_>| {
        rows.has(columns::USER) && (make == Make::Users || rows.has(columns::SECRET))
    };
    match source.rows(&Ignore::Unknown) {
        Ok(rows) if needed(&rows) => "correct it, or leave columns out: --ignore-columns",
        _ => NAMES,
    }
}

/// User and factor of a row that was looked at.
pub(super) fn understood(row: &Row<'_>, make: Make) -> Option<(UserKey, Option<Brought>)> {
    let stock = make == Make::Tokens && row.get(columns::USER).is_none();
    let user = if stock {
        UserKey::stock()
    } else {
        columns::user_key(row).ok()?
    };
    Some((user, columns::brought(row).ok()?))
}

/// Everything about a row that can be known without the server: all that is wrong with it.
pub(super) fn check(
    row: &Row<'_>,
    make: Make,
    now: UnixTime,
) -> Result<(UserKey, Option<Brought>), Vec<String>> {
    let mut faults = Vec::new();
    let stock = make == Make::Tokens && row.get(columns::USER).is_none();
    let user = if stock {
        Ok(UserKey::stock())
    } else {
        columns::user_key(row).map_err(|why| faults.push(why))
    };
    let factor = columns::brought(row).map_err(|why| faults.extend(why));
    match &factor {
        Ok(Some(Brought::Factor(Factor::Password(_)))) => {
            faults.push("password: set it with `oncegate user set --password-stdin`".to_owned());
        }
        Ok(None) if make == Make::Tokens => faults.push("secret: empty".to_owned()),
        Ok(None) => {
            let given = OF_TOKENS.iter().find(|column| row.get(**column).is_some());
            let name = given.and_then(|column| columns::NAMES.get(*column));
            faults.extend(name.map(|name| format!("{name}: a row without a secret has no token")));
        }
        _ => {}
    }
    if let Some(serial) = row.get(columns::SERIAL)
        && serial.parse::<Serial>().is_err()
    {
        faults.push("serial: 1 to 40 letters, digits, dashes, underscores".to_owned());
    }
    for (column, name) in [
        (columns::PIN_HASH, "pin_hash"),
        (columns::PASSWORD_HASH, "password_hash"),
    ] {
        let bad = row.get(column).and_then(|text| Hash::import(text).err());
        faults.extend(bad.map(|error| format!("{name}: {error}")));
    }
    if make == Make::Users {
        faults.extend(about_faults(row, now));
    }
    match (user, factor) {
        (Ok(user), Ok(factor)) if faults.is_empty() => Ok((user, factor)),
        _ => Err(faults),
    }
}

/// What is wrong with the user's details: each column is looked at alone.
fn about_faults(row: &Row<'_>, now: UnixTime) -> Vec<String> {
    let mut all = Vec::new();
    let text = |column| row.get(column).map(str::to_owned);
    if details(row).is_none() {
        return all;
    }
    // Details do not depend on the name.
    let Ok(user) = UserKey::parse("user") else {
        return all;
    };
    let whole = About {
        aliases: aliases(row).map(str::to_owned).collect(),
        groups: groups(row).map(str::to_owned).collect(),
        display_name: columns::display_name(row).map(str::to_owned),
        phone: text(columns::PHONE),
        email: text(columns::EMAIL),
        class: text(columns::CLASS),
    };
    if whole.check(user.clone(), now).is_ok() {
        return all;
    }
    for part in [
        About {
            aliases: aliases(row).map(str::to_owned).collect(),
            ..About::default()
        },
        About {
            groups: groups(row).map(str::to_owned).collect(),
            ..About::default()
        },
        About {
            display_name: columns::display_name(row).map(str::to_owned),
            ..About::default()
        },
        About {
            phone: text(columns::PHONE),
            ..About::default()
        },
        About {
            email: text(columns::EMAIL),
            ..About::default()
        },
        About {
            class: text(columns::CLASS),
            ..About::default()
        },
    ] {
        let checked = part.check(user.clone(), now);
        all.extend(checked.err().map(|why| why.to_string()));
    }
    all
}

/// Columns that say something of a token only.
const OF_TOKENS: [usize; 6] = [
    columns::KIND,
    columns::ALGORITHM,
    columns::DIGITS,
    columns::PERIOD,
    columns::COUNTER,
    columns::SERIAL,
];

/// What to do about a heading of other names.
const NAMES: &str = "say what the file calls its columns, as --map Login=user,Mobile=phone, or have its first line name \
                     them, as `user,groups,phone`";

/// Most bad rows that are shown.
pub(super) const SHOWN: usize = 100;
