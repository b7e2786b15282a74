//! A file cut into batches, each as the body of a request.

use serde::Serialize;
use zeroize::Zeroizing;

use crate::cli::columns;
use crate::cli::columns::Factor;
use crate::cli::csv::{Ignore, Reader, Row};
use crate::cli::error::CliError;
use crate::cli::import::rows::check;
use crate::cli::import::seen::{Seen, groups};
use crate::cli::import::{Import, Make, OnConflict, Source};
use crate::model::user_key::UserKey;
use crate::time::{Clock as _, SystemClock, UnixTime};

/// Rows that are sent together, and the lines they come from.
pub(super) struct Batch {
    pub(super) body: Zeroizing<Vec<u8>>,
    pub(super) lines: Vec<u64>,
}

/// The body of a batch as it is written: `api::ImportRow`, borrowed.
#[derive(Serialize)]
struct Written<'a> {
    user: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digits: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counter: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<&'a str>,
}

/// The file cut into batches. Rows of one user are never in two.
pub(super) struct Batches<'t> {
    rows: Reader<&'t [u8]>,
    make: Make,
    /// Whether the server is only asked.
    pub(super) dry_run: bool,
    head: String,
    now: UnixTime,
    /// The same decisions as when all rows were looked at.
    seen: Seen,
    /// The row that did not fit into the batch before.
    kept: Option<Kept>,
}

struct Kept {
    line: u64,
    user: UserKey,
    json: Zeroizing<Vec<u8>>,
}

impl<'t> Batches<'t> {
    pub(super) fn new(
        source: Source<'t>,
        make: Make,
        import: &Import,
        ignore: &Ignore,
        dry_run: bool,
    ) -> Result<Self, CliError> {
        let rows = source
            .rows(ignore)
            .map_err(|fault| CliError::usage(fault.what))?;
        let word = match make {
            Make::Tokens => "tokens",
            Make::Users => "users",
        };
        let existing = match import.on_conflict {
            OnConflict::Skip => "skip",
            OnConflict::Fail => "fail",
        };
        Ok(Self {
            rows,
            make,
            dry_run,
            head: format!(
                "{{\"make\":\"{word}\",\"on_conflict\":\"{existing}\",\"dry_run\":{dry_run},\"rows\":["
            ),
            now: SystemClock.now(),
            seen: Seen::default(),
            kept: None,
        })
    }

    /// The next good row.
    fn row(&mut self) -> Option<Kept> {
        if let Some(kept) = self.kept.take() {
            return Some(kept);
        }
        loop {
            // What is wrong was said when all rows were looked at.
            let Ok(row) = self.rows.next()? else { continue };
            let Ok((user, factor)) = check(&row, self.make, self.now) else {
                continue;
            };
            if self.seen.check(&row, &user, self.make).is_err() {
                continue;
            }
            let json = row_json(&row, &user, factor.as_ref(), self.make);
            let line = row.line;
            return Some(Kept { line, user, json });
        }
    }

    pub(super) fn next(&mut self) -> Option<Batch> {
        let mut body = Zeroizing::new(Vec::with_capacity(BODY));
        body.extend_from_slice(self.head.as_bytes());
        let mut lines = Vec::new();
        let mut starts: Vec<(usize, UserKey)> = Vec::new();
        while let Some(row) = self.row() {
            let same = |user: &UserKey| *user == row.user && !user.is_stock();
            let same = starts.last().is_some_and(|(_, user)| same(user));
            let full = lines.len() >= ROWS || body.len() + row.json.len() > BODY - 8;
            if full && !same || lines.len() >= MOST || body.len() + row.json.len() > LARGE - 8 {
                self.kept = Some(row);
                break;
            }
            if !lines.is_empty() {
                body.push(b',');
            }
            starts.push((body.len(), row.user));
            body.extend_from_slice(&row.json);
            lines.push(row.line);
        }
        body.extend_from_slice(b"]}");
        (!lines.is_empty()).then_some(Batch { body, lines })
    }
}

fn row_json(
    row: &Row<'_>,
    user: &UserKey,
    factor: Option<&Factor>,
    make: Make,
) -> Zeroizing<Vec<u8>> {
    let user = if user.is_stock() {
        String::new()
    } else {
        user.to_string()
    };
    let about = |column| row.get(column).filter(|_| make == Make::Users);
    let mut written = Written {
        user: &user,
        groups: groups(row).filter(|_| make == Make::Users).collect(),
        display_name: columns::display_name(row).filter(|_| make == Make::Users),
        phone: about(columns::PHONE),
        email: about(columns::EMAIL),
        class: about(columns::CLASS),
        secret: row.get(columns::SECRET),
        kind: None,
        algorithm: None,
        digits: None,
        period: None,
        counter: None,
        serial: row.get(columns::SERIAL),
    };
    match factor {
        Some(Factor::Hotp {
            algorithm,
            digits,
            counter,
            ..
        }) => {
            written.kind = Some("hotp");
            written.algorithm = Some(algorithm.as_str());
            written.digits = Some(digits.get());
            written.counter = Some(*counter);
        }
        Some(Factor::Totp { parameters, .. }) => {
            written.kind = Some("totp");
            written.algorithm = Some(parameters.algorithm.as_str());
            written.digits = Some(parameters.digits.get());
            written.period = Some(parameters.period.as_secs());
        }
        Some(Factor::Password(_)) | None => {}
    }
    // Allocated once: a vector that grows leaves copies of the key behind.
    let mut json = Zeroizing::new(Vec::with_capacity(512 + row.length()));
    // Text and numbers can always be written.
    let _ = serde_json::to_writer(&mut *json, &written);
    json
}

/// Rows of a batch, unless a user's own rows are more.
pub(super) const ROWS: usize = 400;
/// What the server takes.
const MOST: usize = 500;
/// Octets of a batch, unless a user's own rows are more.
pub(super) const BODY: usize = 512 * 1024;
/// What the server takes.
const LARGE: usize = 1024 * 1024;
