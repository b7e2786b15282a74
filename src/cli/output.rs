//! What a command prints: one JSON document for programs, tables and sentences for people.
//!
//! Data goes to stdout, talk to stderr. Invariant: with `--json` nothing but the document is
//! written to stdout.
//!
//! Threat: user names, token names and audit records hold what a stranger typed into a VPN's
//! password box. [`text::printable`](crate::text::printable) keeps escape sequences and text direction marks of theirs from
//! reaching the terminal; every cell of a [`Table`] goes through it.

use std::io;
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::{AutoStream, ColorChoice};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::cli::error::CliError;
use crate::daemon::logging;
use crate::diagnostic::Colour;
pub(crate) use crate::diagnostic::shell::word as shell_word;
pub(crate) use crate::diagnostic::units::count;
use crate::qr::Style;
pub(crate) use crate::text::printable;

/// How a command prints.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

impl Output {
    /// Prints the result: `value` for programs, what `text` makes of it for people.
    pub(crate) fn show<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), CliError> {
        if self.json {
            self.record(value)
        } else {
            self.say(&text(value))
        }
    }

    /// One line of JSON.
    pub(crate) fn record<T: Serialize>(self, value: &T) -> Result<(), CliError> {
        let line = serde_json::to_string(value)
            .map_err(|error| CliError::unavailable(format!("cannot write JSON: {error}")))?;
        STARTED.store(true, Ordering::Relaxed);
        self.say(&line)
    }

    /// A piece of a JSON document on stdout, as it is.
    #[allow(clippy::unused_self)] // as below
    pub(crate) fn piece(self, text: &str) -> Result<(), CliError> {
        Ok(anstream::stdout().lock().write_all(text.as_bytes())?)
    }

    /// Text on stdout; a newline is added where it does not end with one.
    #[allow(clippy::unused_self)] // `out.say(..)` beside `out.show(..)`
    pub(crate) fn say(self, text: &str) -> Result<(), CliError> {
        let mut stdout = anstream::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        if !text.is_empty() && !text.ends_with('\n') {
            stdout.write_all(b"\n")?;
        }
        Ok(stdout.flush()?)
    }

    /// Talk on stderr, silenced by `--quiet`. Losing it is no failure.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet {
            warn(text);
        }
    }

    /// How QR codes are drawn on stdout.
    #[allow(clippy::unused_self)] // as above
    pub(crate) fn qr_style(self) -> Style {
        match stdout_colour() {
            Colour::Plain => Style::Plain,
            Colour::Ansi => Style::Colour,
        }
    }
}

/// Whether JSON was written to stdout already.
pub(crate) fn has_document() -> bool {
    STARTED.load(Ordering::Relaxed)
}

/// Stdout belongs to the process; so does what is known about it.
static STARTED: AtomicBool = AtomicBool::new(false);

type Words = Box<dyn Fn(&str) -> String + Send + Sync>;

/// The installation that was named belongs to the process, too.
static HINTS: OnceLock<Words> = OnceLock::new();

/// Takes what puts commands into words that mean the installation that was named.
pub(crate) fn hint_by(words: impl Fn(&str) -> String + Send + Sync + 'static) {
    let _ = HINTS.set(Box::new(words));
}

/// A text of ours with commands that can be pasted.
pub(crate) fn hint(text: &str) -> String {
    HINTS
        .get()
        .map_or_else(|| text.to_owned(), |words| words(text))
}

/// Where something has effect.
pub(crate) fn effect(places: &[String]) -> String {
    if places.is_empty() {
        return "under no client's policy today".to_owned();
    }
    format!("under {}", joined(places))
}

/// A sentence on stderr that `--quiet` does not silence.
pub(crate) fn warn(text: &str) {
    // The daemon's standard error is written by one thread, which may wait for its reader.
    if logging::hand_over(text) {
        return;
    }
    let mut stderr = anstream::stderr().lock();
    // A closed stderr must not turn a success into a failure.
    let _ = writeln!(stderr, "{}", text.trim_end());
}

/// Names rows that a list could not show.
pub(crate) fn damaged(rows: &[String]) {
    for row in rows {
        let row = printable(row);
        warn(&format!("not in the list, because it is damaged: {row}\n"));
    }
}

/// A bar over `length` things, shown where stderr is a terminal.
pub(crate) fn progress(out: Output, what: &'static str, length: u64) -> ProgressBar {
    let template = "{prefix} [{bar:30}] {percent:>3}%  {msg}";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(length), target(out));
    bar.set_style(style.progress_chars("=> "));
    bar.set_prefix(what);
    bar
}

fn target(out: Output) -> ProgressDrawTarget {
    if out.quiet {
        ProgressDrawTarget::hidden()
    } else {
        // Hidden by itself where stderr is no terminal.
        ProgressDrawTarget::stderr()
    }
}

/// Whether text on stderr may carry colours.
pub(crate) fn stderr_colour() -> Colour {
    match AutoStream::choice(&io::stderr()) {
        ColorChoice::Never => Colour::Plain,
        _ => Colour::Ansi,
    }
}

/// Whether text on stdout may carry colours.
pub(crate) fn stdout_colour() -> Colour {
    match AutoStream::choice(&io::stdout()) {
        ColorChoice::Never => Colour::Plain,
        _ => Colour::Ansi,
    }
}

/// Rows under a heading, columns aligned, no lines.
pub(crate) struct Table(comfy_table::Table);

impl Table {
    pub(crate) fn new(columns: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        if !columns.is_empty() {
            table.set_header(columns.iter().map(|name| name.to_ascii_uppercase()));
        }
        Self(table)
    }

    /// A table of names and values, without a heading.
    pub(crate) fn pairs() -> Self {
        Self::new(&[])
    }

    pub(crate) fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells = cells.into_iter();
        self.0
            .add_row(cells.map(|cell| printable(cell.as_ref()).into_owned()));
    }

    /// A name and its value; absent values are left out.
    pub(crate) fn pair(&mut self, name: &str, value: impl Into<Option<String>>) {
        if let Some(value) = value.into() {
            self.row([name, &value]);
        }
    }

    /// A name and the lines of our own text, one under the other.
    pub(crate) fn lines(&mut self, name: &str, text: &str) {
        let mut name = name;
        for line in text.lines() {
            self.row([name, line]);
            name = "";
        }
    }

    /// The table, or `empty`, whose commands can be pasted, when it has no row.
    pub(crate) fn or(&self, empty: &str) -> String {
        if self.0.row_iter().next().is_none() {
            return format!("{}\n", hint(empty));
        }
        self.text()
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for line in self.0.to_string().lines() {
            let line = line.strip_prefix(' ').unwrap_or(line);
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A time of the API in the local zone with its offset; as it is when it is no time.
pub(crate) fn local_time(text: &str) -> String {
    in_zone(text, TimeZone::system())
}

fn in_zone(text: &str, zone: TimeZone) -> String {
    text.parse::<Timestamp>().map_or_else(
        |_| text.to_owned(),
        |time| {
            let zoned = time.to_zoned(zone);
            zoned.strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
        },
    )
}

/// `a, b` or a dash.
pub(crate) fn joined(items: &[String]) -> String {
    if items.is_empty() {
        "-".to_owned()
    } else {
        items.join(", ")
    }
}

/// The value or a dash.
pub(crate) fn or_dash(value: Option<&str>) -> String {
    value.unwrap_or("-").to_owned()
}

/// Whether what is written goes into the journal of the system (systemd.exec: `JOURNAL_STREAM`).
pub(super) fn is_journal() -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_and_have_no_trailing_spaces() {
        let mut table = Table::new(&["user", "state"]);
        table.row(["alice@default", "active"]);
        table.row(["bob", "-"]);
        assert_eq!(
            table.text(),
            "USER           STATE\nalice@default  active\nbob            -\n"
        );
    }

    #[test]
    fn an_empty_table_is_a_sentence() {
        assert_eq!(Table::new(&["user"]).or("No users."), "No users.\n");
    }

    #[test]
    fn a_cell_cannot_break_its_row() {
        let mut table = Table::pairs();
        table.pair("user", "a\nb\u{1b}".to_owned());
        table.pair("phone", None);
        assert_eq!(table.text(), "user  a\\u{a}b\\u{1b}\n");
    }

    #[test]
    fn lines_stand_one_under_the_other() {
        let mut table = Table::pairs();
        table.lines("damage", "row 1\u{1b}\nrow 2");
        table.pair("clock", "now".to_owned());
        assert_eq!(
            table.text(),
            "damage  row 1\\u{1b}\n        row 2\nclock   now\n"
        );
    }

    #[test]
    fn times_are_local_with_offset() {
        let seoul = TimeZone::get("Asia/Seoul").unwrap();
        assert_eq!(
            in_zone("2026-11-23T07:56:39.001Z", seoul.clone()),
            "2026-11-23 16:56:39 +09:00"
        );
        assert_eq!(in_zone("never", seoul), "never");
    }
}
