//! Comma-separated files as spreadsheets and other systems write them, read one line at a time.
//!
//! Source: RFC 4180. The first line names the columns, in any order; a field may stand in double
//! quotes, where two of them mean one. Unlike there, a field ends with its line: what spans lines is
//! a quote somebody forgot, and the error would name the last line of the file.
//!
//! Invariants: every fault has the number of its line, from 1; nothing of a line is quoted in a
//! fault, because some columns are secrets; the buffers are allocated once and overwritten at the end.
//!
//! Threat: a file without line ends that fills memory: a line has at most [`LINE_MAX`] octets.

use std::borrow::Cow;
use std::io;
use std::io::BufRead;
use std::io::Read as _;

use zeroize::Zeroizing;

/// A file whose first line was understood.
pub(super) struct Reader<R> {
    from: R,
    line: Zeroizing<String>,
    /// The fields of the present line one after the other, without quotes.
    text: Zeroizing<String>,
    /// Where each of them ends.
    ends: Vec<usize>,
    number: u64,
    /// For each column of the caller, the field that holds it.
    places: Vec<Option<usize>>,
    width: usize,
    /// The file broke, not a line of it.
    over: bool,
}

/// What is wrong, and in which line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Fault {
    /// From 1.
    pub(super) line: u64,
    /// One sentence without a full stop.
    pub(super) what: String,
}

impl Fault {
    pub(super) fn new(line: u64, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { line, what }
    }
}

/// One line below the heading.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    /// Its number in the file, from 1.
    pub(super) line: u64,
    text: &'a str,
    ends: &'a [usize],
    places: &'a [Option<usize>],
}

impl<'a> Row<'a> {
    /// Octets of all fields.
    pub(super) const fn length(&self) -> usize {
        self.text.len()
    }

    /// The field of a column, by the column's index in what [`Reader::open`] was given, without
    /// space around it; `None` where the file has no such column or the field is empty.
    pub(super) fn get(&self, column: usize) -> Option<&'a str> {
        let index = (*self.places.get(column)?)?;
        let end = *self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        Some(self.text.get(start..end)?.trim()).filter(|field| !field.is_empty())
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads the heading. `columns` are the names that are understood; others are a fault, since a
    /// misspelt one would be a column that is silently left out. Where the first line names none of
    /// them, `without` says which columns such a file has, if it may have no heading at all.
    pub(super) fn open(from: R, columns: &[&str], without: &[&str]) -> Result<Self, Fault> {
        let mut reader = Self {
            from,
            line: Zeroizing::new(String::with_capacity(LINE_MAX)),
            text: Zeroizing::new(String::with_capacity(LINE_MAX)),
            ends: Vec::new(),
            number: 0,
            places: vec![None; columns.len()],
            width: 0,
            over: false,
        };
        if !reader.advance()? {
            return Err(Fault::new(1, "the file is empty"));
        }
        let names: Vec<String> = reader.fields().map(str::to_ascii_lowercase).collect();
        let known = |name: &String| columns.contains(&name.as_str());
        if !names.iter().any(known) && !without.is_empty() {
            // The line stays where it is and is the first row.
            reader.place(columns, without)?;
            reader.number = 0;
            return Ok(reader);
        }
        if let Some(position) = names.iter().position(|name| !known(name)) {
            let what = format!(
                "the heading's column {} is none of: {}",
                position + 1,
                columns.join(", ")
            );
            return Err(Fault::new(1, what));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        reader.place(columns, &names)?;
        reader.line.clear();
        Ok(reader)
    }

    fn place(&mut self, columns: &[&str], names: &[&str]) -> Result<(), Fault> {
        self.width = names.len();
        for (index, name) in names.iter().enumerate() {
            let column = columns.iter().position(|column| column == name);
            let place = column.and_then(|column| self.places.get_mut(column));
            if place.is_some_and(|place| place.replace(index).is_some()) {
                return Err(Fault::new(1, format!("the column `{name}` is there twice")));
            }
        }
        Ok(())
    }

    /// Whether the file has this column, by its index.
    pub(super) fn has(&self, column: usize) -> bool {
        self.places.get(column).is_some_and(Option::is_some)
    }

    /// The next row; `None` at the end. Empty lines are no rows. After a fault the next call goes
    /// on with the next line.
    pub(super) fn next(&mut self) -> Option<Result<Row<'_>, Fault>> {
        // A first line that is no heading is there already.
        let kept = self.number == 0 && !self.line.is_empty();
        if kept {
            self.number = 1;
        } else {
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(fault) => return Some(Err(fault)),
            }
        }
        if self.ends.len() != self.width {
            let what = format!("{} fields instead of {}", self.ends.len(), self.width);
            return Some(Err(Fault::new(self.number, what)));
        }
        Some(Ok(Row {
            line: self.number,
            text: &self.text,
            ends: &self.ends,
            places: &self.places,
        }))
    }

    fn fields(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| self.text.get(start..*end).unwrap_or_default().trim())
    }

    /// Reads and splits the next line that is not empty; false at the end.
    fn advance(&mut self) -> Result<bool, Fault> {
        while !self.over {
            self.line.clear();
            self.number += 1;
            let number = self.number;
            let mut limited = (&mut self.from).take(LINE_MAX as u64);
            let read = limited.read_line(&mut self.line);
            let read = read.map_err(|error| {
                self.over = error.kind() != io::ErrorKind::InvalidData;
                Fault::new(number, format!("not readable: {error}"))
            })?;
            if read == 0 {
                return Ok(false);
            }
            if read == LINE_MAX && !self.line.ends_with('\n') {
                self.skip_line();
                let what = format!("the line has more than {LINE_MAX} octets");
                return Err(Fault::new(number, what));
            }
            // What Windows programs put in front of UTF-8.
            let line = self.line.trim_end_matches(['\r', '\n']);
            let line = line.strip_prefix('\u{feff}').unwrap_or(line);
            if line.trim().is_empty() {
                continue;
            }
            self.text.clear();
            self.ends.clear();
            split(line, &mut self.text, &mut self.ends).map_err(|what| Fault::new(number, what))?;
            return Ok(true);
        }
        Ok(false)
    }

    fn skip_line(&mut self) {
        loop {
            let Ok(buffer) = self.from.fill_buf() else {
                return;
            };
            let (used, done) = match buffer.iter().position(|octet| *octet == b'\n') {
                Some(end) => (end + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            self.from.consume(used);
            if done {
                return;
            }
        }
    }
}

/// Takes a line apart into the text of its fields and their ends.
fn split(line: &str, text: &mut String, ends: &mut Vec<usize>) -> Result<(), &'static str> {
    if !line.contains('"') {
        for field in line.split(',') {
            text.push_str(field);
            ends.push(text.len());
        }
        return Ok(());
    }
    let mut rest = line;
    loop {
        let quoted = rest.trim_start().strip_prefix('"');
        let after = match quoted {
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (field, after) = rest.split_at(end);
                if field.contains('"') {
                    return Err("a double quote inside a field without quotes around it");
                }
                text.push_str(field);
                after
            }
            Some(mut inside) => loop {
                let Some((part, after)) = inside.split_once('"') else {
                    return Err("a double quote is not closed in its line");
                };
                text.push_str(part);
                match after.strip_prefix('"') {
                    Some(more) => {
                        text.push('"');
                        inside = more;
                    }
                    None => break after.trim_start(),
                }
            },
        };
        ends.push(text.len());
        rest = match after.strip_prefix(',') {
            Some(rest) => rest,
            None if after.is_empty() => return Ok(()),
            None => return Err("something follows a closing double quote"),
        };
    }
}

/// A field with quotes where it needs them.
pub(super) fn quoted(field: &str) -> Cow<'_, str> {
    if field.contains([',', '"', ' ']) {
        format!("\"{}\"", field.replace('"', "\"\"")).into()
    } else {
        field.into()
    }
}

/// Longest line. A user with forty groups and the longest secret has a quarter of it.
pub(super) const LINE_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [&str; 3] = ["user", "secret", "groups"];

    fn rows(text: &str) -> Vec<Result<Vec<Option<String>>, Fault>> {
        let mut reader = match Reader::open(text.as_bytes(), &COLUMNS, &["user", "secret"]) {
            Ok(reader) => reader,
            Err(fault) => return vec![Err(fault)],
        };
        let mut rows = Vec::new();
        while let Some(row) = reader.next() {
            rows.push(row.map(|row| {
                (0..COLUMNS.len())
                    .map(|column| row.get(column).map(str::to_owned))
                    .collect()
            }));
        }
        rows
    }

    #[allow(clippy::unnecessary_wraps)] // it is compared with rows that can be faults
    fn row(fields: [&str; 3]) -> Result<Vec<Option<String>>, Fault> {
        let some = |field: &str| Some(field.to_owned()).filter(|field| !field.is_empty());
        Ok(fields.into_iter().map(some).collect())
    }

    #[test]
    fn columns_are_found_by_name() {
        assert_eq!(
            rows("Groups,user\r\n\"a,\"\"b\"\"\", alice \r\n\r\n,bob\n"),
            [row(["alice", "", "a,\"b\""]), row(["bob", "", ""])]
        );
        assert_eq!(rows("\u{feff}user\nx"), [row(["x", "", ""])]);
    }

    #[test]
    fn a_file_without_heading_has_the_usual_columns() {
        assert_eq!(
            rows("alice,p w\nbob,\"x\"\n"),
            [row(["alice", "p w", ""]), row(["bob", "x", ""])]
        );
    }

    #[test]
    fn faults_name_their_line_and_reading_goes_on() {
        let long = "x".repeat(LINE_MAX + 9);
        let text = format!("user,groups\na\n\"b\nb\"c,\n{long}\n\"d\"e,\nf,g\n");
        let rows = rows(&text);
        let lines: Vec<_> = rows
            .iter()
            .map(|row| row.as_ref().err().map(|fault| fault.line))
            .collect();
        assert_eq!(lines, [Some(2), Some(3), Some(4), Some(5), Some(6), None]);
    }

    #[test]
    fn headings_are_strict() {
        for (text, word) in [
            ("", "empty"),
            ("user,sekret\n", "column 2"),
            ("user,user\n", "twice"),
        ] {
            let fault = rows(text).remove(0).unwrap_err();
            assert!(fault.what.contains(word), "{fault:?}");
            assert_eq!(fault.line, 1);
        }
    }

    #[test]
    fn quoted_fields_read_back() {
        for field in ["plain", "a,b", "say \"x\"", "two words"] {
            let text = format!("user\n{}\n", quoted(field));
            assert_eq!(rows(&text), [row([field, "", ""])]);
        }
    }
}
