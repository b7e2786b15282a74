//! A file cut into batches, each as the body of a request.

use std::collections::HashSet;

use crate::api::{ImportRequest, ImportRow};
use crate::cli::columns;
use crate::cli::columns::{Brought, Factor};
use crate::cli::error::CliError;
use crate::cli::import::rows::understood;
use crate::cli::import::seen::{aliases, groups};
use crate::cli::import::{Import, Make, OnConflict, Source};
use crate::csv::{Reader, Row};
use crate::model::user_key::UserKey;
use crate::secret::SecretString;

/// Rows that are sent together, and the lines they come from.
pub(super) struct Batch {
    pub(super) request: ImportRequest,
    pub(super) from: Vec<Stands>,
}

/// Where a row stands: its place among the rows, from 0, its line in the file, and that in the text that is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stands {
    pub(super) place: u64,
    pub(super) line: u64,
    pub(super) number: u64,
}

/// Some rows of a file, by their places.
#[derive(Clone, Copy)]
pub(super) enum Rows<'t> {
    /// All but those in either.
    AllBut(&'t HashSet<u64>, &'t HashSet<u64>),
    /// These.
    Only(&'t HashSet<u64>),
}

impl Rows<'_> {
    fn have(self, place: u64) -> bool {
        match self {
            Self::AllBut(some, others) => !some.contains(&place) && !others.contains(&place),
            Self::Only(some) => some.contains(&place),
        }
    }
}

/// The file cut into batches. Rows of one user are never in two.
pub(super) struct Batches<'t> {
    pub(super) source: Source<'t>,
    rows: Reader<&'t [u8]>,
    make: Make,
    /// Whether the server is only asked.
    pub(super) dry_run: bool,
    existing: &'static str,
    link: bool,
    /// Which rows.
    wanted: Rows<'t>,
    /// The place of the next row in the file.
    place: u64,
    /// The row that did not fit into the batch before.
    kept: Option<Kept>,
}

struct Kept {
    from: Stands,
    user: UserKey,
    row: ImportRow,
    /// What it takes in JSON at most.
    octets: usize,
}

impl<'t> Batches<'t> {
    pub(super) fn new(
        source: Source<'t>,
        make: Make,
        import: &Import,
        (wanted, dry_run): (Rows<'t>, bool),
    ) -> Result<Self, CliError> {
        let rows = source.rows(&import.ignore());
        let rows = rows.map_err(|fault| CliError::usage(fault.what))?;
        let existing = match import.on_conflict {
            OnConflict::Skip => "skip",
            OnConflict::Fail => "fail",
        };
        Ok(Self {
            source,
            rows,
            make,
            dry_run,
            existing,
            link: import.link,
            wanted,
            place: 0,
            kept: None,
        })
    }

    /// The next good row.
    fn row(&mut self) -> Option<Kept> {
        if let Some(kept) = self.kept.take() {
            return Some(kept);
        }
        loop {
            let row = self.rows.next()?;
            let place = self.place;
            self.place += 1;
            // What is wrong was said when all rows were looked at.
            let Ok(row) = row else { continue };
            if !self.wanted.have(place) {
                continue;
            }
            let Some((user, factor)) = understood(&row, self.make) else {
                continue;
            };
            let written = written(&row, &user, factor.as_ref(), self.make);
            // An octet of a text is six at most when it is escaped.
            let octets = FIELDS + 6 * (written.user.len() + row.length());
            let from = Stands {
                place,
                line: row.line,
                number: row.number,
            };
            return Some(Kept {
                from,
                user,
                row: written,
                octets,
            });
        }
    }

    pub(super) fn next(&mut self) -> Option<Batch> {
        let (mut from, mut rows) = (Vec::new(), Vec::new());
        let (mut last, mut octets): (Option<UserKey>, _) = (None, HEAD);
        while let Some(row) = self.row() {
            let same = last.as_ref() == Some(&row.user) && !row.user.is_stock();
            let full = rows.len() >= ROWS || octets + row.octets > BODY;
            if full && !same || rows.len() >= MOST || octets + row.octets > LARGE {
                self.kept = Some(row);
                break;
            }
            octets += row.octets;
            from.push(row.from);
            rows.push(row.row);
            last = Some(row.user);
        }
        let make = match self.make {
            Make::Tokens => "tokens",
            Make::Users => "users",
        };
        (!rows.is_empty()).then(|| Batch {
            request: ImportRequest {
                make: make.to_owned(),
                on_conflict: Some(self.existing.to_owned()),
                dry_run: self.dry_run,
                link: self.link,
                rows,
            },
            from,
        })
    }
}

fn written(row: &Row<'_>, user: &UserKey, factor: Option<&Brought>, make: Make) -> ImportRow {
    let users = make == Make::Users;
    let about = |text: Option<&str>| text.filter(|_| users).map(str::to_owned);
    let user = if user.is_stock() {
        String::new()
    } else {
        user.to_string()
    };
    let mut written = ImportRow {
        user,
        aliases: aliases(row).filter(|_| users).map(str::to_owned).collect(),
        groups: groups(row).filter(|_| users).map(str::to_owned).collect(),
        display_name: about(columns::display_name(row)),
        phone: about(row.get(columns::PHONE)),
        email: about(row.get(columns::EMAIL)),
        class: about(row.get(columns::CLASS)),
        secret: row.get(columns::SECRET).map(SecretString::from),
        kind: None,
        algorithm: None,
        digits: None,
        period: None,
        counter: None,
        serial: row.get(columns::SERIAL).map(str::to_owned),
        pin_hash: row.get(columns::PIN_HASH).map(SecretString::from),
        password_hash: row.get(columns::PASSWORD_HASH).map(SecretString::from),
    };
    match factor {
        Some(Brought::Factor(Factor::Hotp {
            algorithm,
            digits,
            counter,
            ..
        })) => {
            written.kind = Some("hotp".to_owned());
            written.algorithm = Some(algorithm.as_str().to_owned());
            written.digits = Some(digits.get());
            written.counter = Some(*counter);
        }
        Some(Brought::Factor(Factor::Totp { parameters, .. })) => {
            written.kind = Some("totp".to_owned());
            written.algorithm = Some(parameters.algorithm.as_str().to_owned());
            written.digits = Some(parameters.digits.get());
            written.period = Some(parameters.period.as_secs());
        }
        Some(Brought::Yubikey { counter }) => {
            written.kind = Some("yubikey".to_owned());
            written.counter = Some(*counter);
        }
        Some(Brought::Factor(Factor::Password(_))) | None => {}
    }
    written
}

/// Rows of a batch, unless a user's own rows are more.
pub(super) const ROWS: usize = 400;
/// What the server takes.
const MOST: usize = 500;
/// Octets of a batch in JSON, unless a user's own rows are more.
pub(super) const BODY: usize = 512 * 1024;
/// What the server takes.
const LARGE: usize = 1024 * 1024;
/// Octets of a body that are not rows.
const HEAD: usize = 128;
/// Octets of a row that are not text of the file: the names of its fields, numbers, the kind.
const FIELDS: usize = 380;
