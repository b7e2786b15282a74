//! People in a file: CSV, or JSON.

use std::fs::{self, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;

use encoding_rs::Encoding;
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::config::sources::GroupName;
use crate::config::sources::tables::{COLUMNS, PeopleFile};
use crate::core::directory::People;
use crate::csv::{Fault, Ignore, Reader, encoding, renamed};
use crate::directory::table::{Row, Rows};

/// The encoding that the configuration names.
pub(super) fn check(file: &PeopleFile) -> Result<(), String> {
    named(file).map(drop)
}

fn named(file: &PeopleFile) -> Result<Option<&'static Encoding>, String> {
    let name = file.encoding.as_deref();
    name.map(encoding::by_name).transpose()
}

/// All people of a file; an error if it may not be all.
pub(super) fn read(file: &PeopleFile, groups: &[GroupName]) -> Result<People, String> {
    let octets = whole(file)?;
    let json = file
        .path
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("json"));
    let mut rows = Rows::new(groups);
    let read = if json {
        from_json(&octets, &mut rows)
    } else {
        from_csv(octets, file, &mut rows)
    };
    read.map_err(|why| format!("{}{why}", file.path.display()))?;
    Ok(rows.people())
}

/// What is in the file, if no one is writing it.
fn whole(file: &PeopleFile) -> Result<Zeroizing<Vec<u8>>, String> {
    let path = file.path.display();
    let fault = |error: std::io::Error| format!("{path} cannot be read: {error}");
    let found = fs::metadata(&file.path).map_err(fault)?;
    if !found.is_file() {
        return Err(format!("{path} is no file"));
    }
    if found.mode() & 0o002 != 0 {
        return Err(format!(
            "{path} can be written by all users of this machine: chmod o-w"
        ));
    }
    if found.len() > OCTETS {
        return Err(format!("{path} has more than {OCTETS} octets"));
    }
    let open = fs::File::open(&file.path).map_err(fault)?;
    let before = open.metadata().map_err(fault)?;
    let mut octets = Zeroizing::new(Vec::with_capacity(
        usize::try_from(before.len()).unwrap_or(0),
    ));
    (&open)
        .take(OCTETS)
        .read_to_end(&mut octets)
        .map_err(fault)?;
    let state = |meta: &Metadata| (meta.len(), meta.mtime(), meta.mtime_nsec());
    let after = open.metadata().map_err(fault)?;
    if state(&before) != state(&after) || before.len() != octets.len() as u64 {
        return Err(format!("{path} changed while it was read"));
    }
    Ok(octets)
}

fn from_csv(
    octets: Zeroizing<Vec<u8>>,
    file: &PeopleFile,
    rows: &mut Rows<'_>,
) -> Result<(), String> {
    let place = |fault: Fault| match fault.column {
        Some(column) => format!(":{}:{column}: {}", fault.line, fault.what),
        None => format!(":{}: {}", fault.line, fault.what),
    };
    let text = encoding::decoded(octets, named(file).map_err(|why| format!(": {why}"))?);
    let text = text.map_err(|fault| place(fault).replace("--encoding ", "encoding = "))?;
    let text = renamed(text, &file.map).map_err(|why| format!(":1: map: {why}"))?;
    let ignore = match file.ignored.as_slice() {
        [] => Ignore::Nothing,
        names if names.iter().any(|name| name == "*") => Ignore::Unknown,
        names => Ignore::Named(names.to_vec()),
    };
    let mut reader = Reader::open(text.as_slice(), &COLUMNS, &[], &ignore).map_err(place)?;
    let there = |column: &usize| reader.has(*column);
    let columns: Vec<(usize, &str)> = (0..COLUMNS.len())
        .filter(there)
        .filter_map(|column| Some((column, *COLUMNS.get(column)?)))
        .collect();
    for (_, name) in &columns {
        rows.says(name);
    }
    while let Some(row) = reader.next() {
        let row = row.map_err(place)?;
        let fields = columns.iter().map(|(column, name)| {
            let field = row.get(*column).unwrap_or_default();
            ((*name).to_owned(), Value::from(field))
        });
        let taken = rows.take(&fields.collect());
        taken.map_err(|why| format!(":{}: {why}", row.line))?;
    }
    Ok(())
}

/// A list of people, by itself or as `people` or `users` of an object.
#[derive(Deserialize)]
#[serde(untagged)]
enum Document {
    List(Vec<Row>),
    #[serde(rename_all = "lowercase")]
    Named {
        #[serde(alias = "users")]
        people: Vec<Row>,
    },
}

fn from_json(octets: &[u8], rows: &mut Rows<'_>) -> Result<(), String> {
    // What is no JSON at all is said with its place.
    let value: Value = serde_json::from_slice(octets)
        .map_err(|error| format!(":{}:{}: no JSON", error.line(), error.column()))?;
    let document = serde_json::from_value(value)
        .map_err(|_| r#": write [{"user": "ann", ...}, ...]: a list of objects"#.to_owned())?;
    let (Document::List(people) | Document::Named { people }) = document;
    for (index, row) in people.iter().enumerate() {
        let taken = rows.take(row);
        taken.map_err(|why| format!(": person {}: {why}", index + 1))?;
    }
    Ok(())
}

/// Longest file.
const OCTETS: u64 = 256 * 1024 * 1024;
