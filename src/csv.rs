//! Comma-separated files as spreadsheets and other systems write them, read one line at a time.
//!
//! Source: RFC 4180. The first line names the columns, in any order; a field may stand in double
//! quotes, where two of them mean one. Unlike there, a field ends with its line: what spans lines is
//! a quote that was left out, and the error would name the last line of the file. Fields are separated
//! by a comma, a semicolon or a tab, whichever makes most columns of the heading, or by what a first
//! line `sep=X` says. Rows without content are skipped.
//!
//! Invariants: every fault has the number of its line, from 1; nothing of a row is quoted in a
//! fault, because some columns are secrets; the buffers are allocated once and overwritten at the end.
//!
//! Threat: a file without line ends that fills memory: a line has at most [`LINE_MAX`] octets.

use std::io;
use std::io::{BufRead, Read as _};

use zeroize::Zeroizing;

use crate::diagnostic::did_you_mean;
use crate::diagnostic::units::count;

pub(crate) mod encoding;
mod heading;
mod line;

use line::{Fields, column, declared_separator, guess_separator, split};

pub(crate) use heading::renamed;
pub(crate) use line::{cell, quoted};

/// A file whose first line was understood.
pub(crate) struct Reader<R> {
    from: R,
    line: Zeroizing<String>,
    /// The fields of the present line one after the other, without quotes.
    text: Zeroizing<String>,
    /// Where each of them ends.
    ends: Vec<usize>,
    /// Where in the line each of them starts.
    starts: Vec<usize>,
    separator: char,
    number: u64,
    /// Names of columns that are left out on request.
    ignored: Vec<String>,
    /// For each column of the caller, the field that holds it.
    places: Vec<Option<usize>>,
    width: usize,
    /// The file broke, not a line of it.
    over: bool,
    /// The first line is no heading and waits to be a row.
    kept: bool,
    /// The lines that the rows were made from, where they were made from another file.
    lines: Vec<u64>,
}

/// What is wrong, and in which line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    /// From 1.
    pub(crate) line: u64,
    /// The character where it is wrong, from 1, where that is known.
    pub(crate) column: Option<usize>,
    /// One sentence without a full stop.
    pub(crate) what: String,
    /// Which one of the things in the line, where a line of the file holds several.
    pub(crate) token: Option<String>,
}

impl Fault {
    pub(crate) fn new(line: u64, what: impl Into<String>) -> Self {
        Self {
            line,
            column: None,
            what: what.into(),
            token: None,
        }
    }

    /// What is wrong, and with which one.
    pub(crate) fn told(&self) -> String {
        match &self.token {
            Some(token) => format!("{} ({token})", self.what),
            None => self.what.clone(),
        }
    }
}

/// What to do about columns that are not known.
#[derive(Clone, Debug, Default)]
pub(crate) enum Ignore {
    /// They are a fault: a misspelt name would leave a column out in silence.
    #[default]
    Nothing,
    /// These are left out.
    Named(Vec<String>),
    /// All are left out.
    Unknown,
}

impl Ignore {
    fn covers(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Named(names) => names
                .iter()
                .any(|one| one.trim().eq_ignore_ascii_case(name)),
            Self::Unknown => true,
        }
    }
}

/// One line below the heading.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    /// Its number in the file, from 1.
    pub(crate) line: u64,
    /// The same in what was read, where that was made from another file.
    pub(crate) number: u64,
    raw: &'a str,
    starts: &'a [usize],
    text: &'a str,
    ends: &'a [usize],
    places: &'a [Option<usize>],
}

impl<'a> Row<'a> {
    /// Octets of all fields.
    pub(crate) const fn length(&self) -> usize {
        self.text.len()
    }

    /// The field of a column, by the column's index in what [`Reader::open`] was given, without
    /// space around it; `None` where the file has no such column or the field is empty.
    pub(crate) fn get(&self, column: usize) -> Option<&'a str> {
        let index = (*self.places.get(column)?)?;
        let end = *self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        Some(self.text.get(start..end)?.trim()).filter(|field| !field.is_empty())
    }
}

impl Row<'_> {
    /// A fault of this row, at the field of the column by whose name it begins (`secret: ..`).
    pub(crate) fn fault(&self, columns: &[&str], what: impl Into<String>) -> Fault {
        let what = what.into();
        let name = what.split(':').next().unwrap_or_default();
        let index = columns.iter().position(|column| *column == name);
        let place = index.and_then(|index| *self.places.get(index)?);
        let start = place.and_then(|place| self.starts.get(place));
        Fault {
            column: start.map(|start| column(self.raw, *start)),
            ..Fault::new(self.line, what)
        }
    }
}

impl<R: BufRead> Reader<R> {
    /// The rows were made from another file: of which of its lines, row by row.
    pub(crate) fn made_from(self, lines: Vec<u64>) -> Self {
        Self { lines, ..self }
    }

    /// Reads the heading. `columns` are the names that are understood. Where the first line names
    /// none of them, `without` says which columns such a file has, if it may have no heading at all.
    pub(crate) fn open(
        from: R,
        columns: &[&str],
        without: &[&str],
        ignore: &Ignore,
    ) -> Result<Self, Fault> {
        let mut reader = Self {
            from,
            line: Zeroizing::new(String::with_capacity(LINE_MAX)),
            text: Zeroizing::new(String::with_capacity(LINE_MAX)),
            ends: Vec::new(),
            starts: Vec::new(),
            separator: ',',
            number: 0,
            ignored: Vec::new(),
            places: vec![None; columns.len()],
            width: 0,
            over: false,
            kept: false,
            lines: Vec::new(),
        };
        if !reader.read_line()? {
            return Err(Fault::new(1, "the file is empty"));
        }
        reader.separator = match declared_separator(&reader.line) {
            Some(separator) => {
                if !reader.read_line()? {
                    return Err(Fault::new(1, "the file has no heading"));
                }
                separator
            }
            None => guess_separator(&reader.line, columns, without),
        };
        reader.cut()?;
        reader.read_heading(columns, without, ignore)?;
        Ok(reader)
    }

    /// Understands the first line: the names of columns, or a row of a file without a heading.
    fn read_heading(
        &mut self,
        columns: &[&str],
        without: &[&str],
        ignore: &Ignore,
    ) -> Result<(), Fault> {
        let shown: Vec<String> = self.fields().map(str::to_owned).collect();
        let names: Vec<String> = shown.iter().map(|name| name.to_ascii_lowercase()).collect();
        let known = |name: &String| columns.contains(&name.as_str());
        if !names.iter().any(known) {
            if !without.is_empty() {
                // The line stays where it is and is the first row.
                self.place(columns, without)?;
                self.kept = true;
                return Ok(());
            }
            let what = format!(
                "the first line names no column; known columns: {}",
                columns.join(", ")
            );
            return Err(Fault::new(self.number, what));
        }
        let is_unknown = |name: &String| !known(name) && !ignore.covers(name);
        if names.iter().any(is_unknown) {
            let fields = shown.iter().zip(&names).enumerate();
            let unknown = fields.filter(|(_, (_, name))| is_unknown(name));
            let unknown = unknown.map(|(index, (shown, _))| unknown_column(index, shown, columns));
            let unknown: Vec<String> = unknown.collect();
            let what = format!(
                "{}; known columns: {}",
                unknown.join("; "),
                columns.join(", ")
            );
            return Err(Fault::new(self.number, what));
        }
        self.ignored = shown
            .into_iter()
            .zip(&names)
            .filter(|(_, name)| !known(name))
            .map(|(shown, _)| shown)
            .filter(|name| !name.is_empty())
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.place(columns, &names)?;
        self.line.clear();
        Ok(())
    }

    /// Columns of the heading that are left out because the caller said so.
    pub(crate) fn ignored(&self) -> &[String] {
        &self.ignored
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

    /// The number of the line that was read last; of the heading before the first row.
    pub(crate) const fn line(&self) -> u64 {
        self.number
    }

    /// Whether the file has this column, by its index.
    pub(crate) fn has(&self, column: usize) -> bool {
        self.places.get(column).is_some_and(Option::is_some)
    }

    /// The next row; `None` at the end. Empty lines are no rows. After a fault the next call goes
    /// on with the next line.
    pub(crate) fn next(&mut self) -> Option<Result<Row<'_>, Fault>> {
        // A first line that is no heading is there already.
        if !std::mem::take(&mut self.kept) {
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(fault) => return Some(Err(fault)),
            }
        }
        if self.ends.len() != self.width {
            let what = format!(
                "{} instead of {}",
                count(self.ends.len() as u64, "field"),
                self.width
            );
            return Some(Err(Fault::new(self.number, what)));
        }
        let row = usize::try_from(self.number).unwrap_or_default();
        let made_from = row.checked_sub(2).and_then(|row| self.lines.get(row));
        Some(Ok(Row {
            line: made_from.copied().unwrap_or(self.number),
            number: self.number,
            raw: &self.line,
            starts: if made_from.is_some() {
                &[]
            } else {
                &self.starts
            },
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

    /// Reads and splits the next line with content; false at the end.
    fn advance(&mut self) -> Result<bool, Fault> {
        while self.read_line()? {
            self.cut()?;
            if !self.text.trim().is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Splits the line.
    fn cut(&mut self) -> Result<(), Fault> {
        self.text.clear();
        self.ends.clear();
        self.starts.clear();
        let fields = Fields {
            text: &mut self.text,
            ends: &mut self.ends,
            starts: &mut self.starts,
        };
        split(&self.line, self.separator, fields).map_err(|(at, what)| Fault {
            column: Some(column(&self.line, at)),
            ..Fault::new(self.number, what)
        })
    }

    /// Reads the next line that is not empty, without its end; false at the end.
    fn read_line(&mut self) -> Result<bool, Fault> {
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
            let length = self.line.trim_end_matches(['\r', '\n']).len();
            self.line.truncate(length);
            // What Windows programs put in front of UTF-8.
            if self.line.starts_with('\u{feff}') {
                self.line.remove(0);
            }
            if !self.line.trim().is_empty() {
                return Ok(true);
            }
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

/// A column that is not known. Its name is shown where it cannot be a key or a password of a file
/// without heading.
fn unknown_column(index: usize, shown: &str, columns: &[&str]) -> String {
    let number = index + 1;
    let is_name = |c: char| c.is_alphabetic() || matches!(c, ' ' | '_' | '-');
    if shown.is_empty() || shown.len() > NAME_MAX || !shown.chars().all(is_name) {
        return format!("column {number} is unknown");
    }
    match did_you_mean(shown, columns.iter().copied()) {
        Some(close) => format!("unknown column `{shown}`: did you mean `{close}`?"),
        None => format!("unknown column `{shown}`"),
    }
}

/// Longest line. A user with forty groups and the longest secret has a quarter of it.
pub(crate) const LINE_MAX: usize = 16 * 1024;
/// Longest name of a column that is shown in a fault.
const NAME_MAX: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [&str; 3] = ["user", "secret", "groups"];

    fn rows(text: &str) -> Vec<Result<Vec<Option<String>>, Fault>> {
        let mut reader = match Reader::open(
            text.as_bytes(),
            &COLUMNS,
            &["user", "secret"],
            &Ignore::Nothing,
        ) {
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
            (
                "user,sekret\n",
                "unknown column `sekret`: did you mean `secret`?",
            ),
            ("user,GEZDGNBVGY3TQOJQ\n", "column 2 is unknown"),
            ("user,user\n", "twice"),
        ] {
            let fault = rows(text).remove(0).unwrap_err();
            assert!(fault.what.contains(word), "{fault:?}");
            assert_eq!(fault.line, 1);
        }
    }

    #[test]
    fn separators_are_found_or_told() {
        for text in [
            "user;secret;groups\nalice;x;\"a;b\"\n;;\n",
            "user\tsecret\tgroups\nalice\tx\ta;b\n\t\t\n",
            "sep=;\r\nuser;secret;groups\r\nalice;x;\"a;b\"\r\n",
            "SEP=|\nuser|secret|groups\nalice|x|a;b\n",
            "user,secret,groups\n,,\nalice,x,a;b\n \n\"\",,\"\"\n",
        ] {
            assert_eq!(rows(text), [row(["alice", "x", "a;b"])], "{text:?}");
        }
        let tabs = "user\tsecret\tgroups\nalice\t\t\"a;b\"\n";
        assert_eq!(rows(tabs), [row(["alice", "", "a;b"])]);
        // Without a heading, too.
        assert_eq!(rows("alice;x\n"), [row(["alice", "x", ""])]);
    }

    #[test]
    fn faults_have_a_column() {
        let columns = |text: &str| {
            let rows = rows(text);
            let of = |row: &Result<_, Fault>| row.as_ref().err().and_then(|fault| fault.column);
            rows.iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(
            columns("user,secret\n\u{ac00}\"b,x\na,\"b\n"),
            [Some(2), Some(3)]
        );
        assert_eq!(columns("user;secret\n\"a\"b;x\n"), [Some(4)]);
    }

    #[test]
    fn columns_are_left_out_on_request_only() {
        let open = |ignore| Reader::open(&b"user,Note,Dept\na,b,c\n"[..], &COLUMNS, &[], &ignore);
        let named = Ignore::Named(vec![" note ".to_owned()]);
        let fault = open(named).err().unwrap();
        assert!(
            fault.what.contains("`Dept`") && !fault.what.contains("`Note`"),
            "{fault:?}"
        );
        let mut reader = open(Ignore::Unknown).ok().unwrap();
        assert_eq!(reader.ignored(), ["Note", "Dept"]);
        assert_eq!(reader.next().unwrap().unwrap().get(0), Some("a"));
    }
}
