//! What is wrong in a file an operator wrote, shown as a compiler would show it.
//!
//! A [`Diagnostic`] names the fault, its [`Place`] (file, line, column, caret) and what to do next.
//! Parsers gather them in [`Findings`] and go on, so that one run shows every fault of every file.
//! [`document`] reads TOML with places kept, [`units`] reads durations and sizes; the configuration
//! and the policies share both, and so fail in one voice.
//!
//! Invariants: lines and columns count from 1, columns in characters; a span always lies inside its
//! text and on character boundaries (`Place::new` clamps), so rendering cannot fail.
//!
//! Threats: a diagnostic quotes the line it points at. Configuration names where a secret is kept, never
//! the secret; what was pasted there all the same must not reach a terminal or a log. So the line of an
//! unknown key is quoted up to its `=` ([`Place::without_value`]), and a line whose value may be a
//! secret is named only ([`Diagnostic::unquoted`]). Control characters of a hostile file do not reach the
//! terminal: names and messages lose them here, quoted lines in `annotate-snippets`.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::text::is_unsafe;

pub mod document;
pub mod shell;
pub mod units;

/// A text and the name people know it by, usually a path as they wrote it. Clones are cheap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    name: Arc<str>,
    text: Arc<str>,
}

impl Source {
    /// A text under a name.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self {
            name: printable(&name.into()).into(),
            text: text.into(),
        }
    }

    /// The name, as shown before `:line`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The place covering `span` (byte offsets), clamped to the text.
    pub fn place(&self, span: Range<usize>) -> Place {
        Place::new(self.clone(), span)
    }
}

/// A range of a source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    source: Source,
    span: Range<usize>,
    /// Where the text ends that may be quoted, not before the span does; `None`: none of it may.
    quoted: Option<usize>,
}

impl Place {
    /// The bytes `span` of `source`, clamped to its length and to character boundaries.
    pub fn new(source: Source, span: Range<usize>) -> Self {
        let floor = |mut at: usize| {
            at = at.min(source.text.len());
            while !source.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = floor(span.start);
        let span = start..floor(span.end).max(start);
        let quoted = Some(source.text.len());
        Self {
            source,
            span,
            quoted,
        }
    }

    /// The same place of a text that is not quoted.
    fn unquoted(mut self) -> Self {
        self.quoted = None;
        self
    }

    /// The place of a key whose value may be a secret: its line is quoted up to and with the `=`, or to the end
    /// of a header; not at all where a value stands before the key.
    pub fn without_value(mut self) -> Self {
        let names = |sign: char| sign.is_ascii_alphanumeric() || "-_.={[ \t".contains(sign);
        if !self.line_before().chars().all(names) {
            return self.unquoted();
        }
        let rest = self.source.text.get(self.span.end..).unwrap_or_default();
        let rest = rest.split('\n').next().unwrap_or_default();
        let mut end = rest.find(['=', ']']).map_or(0, |at| at.saturating_add(1));
        // The header of a list of tables.
        if rest.get(end..).is_some_and(|more| more.starts_with(']')) {
            end = end.saturating_add(1);
        }
        self.quoted = Some(self.span.end.saturating_add(end));
        self
    }

    /// Whether it is inside an inline table, whose other values stand in the same line.
    pub fn is_inline(&self) -> bool {
        self.line_before().contains('{')
    }

    /// The text that may be quoted.
    fn quotable(&self) -> Option<&str> {
        self.source.text.get(..self.quoted?)
    }

    /// Its line, up to where it begins.
    fn line_before(&self) -> &str {
        self.before().rsplit('\n').next().unwrap_or_default()
    }

    /// The source's name.
    pub fn file(&self) -> &str {
        self.source.name()
    }

    /// Line of the first character, from 1.
    pub fn line(&self) -> usize {
        self.before().matches('\n').count().saturating_add(1)
    }

    /// Column of the first character in its line, in characters, from 1.
    pub fn column(&self) -> usize {
        self.line_before().chars().count().saturating_add(1)
    }

    /// `name:line`, the short form of audit records and tables.
    pub fn file_line(&self) -> String {
        format!("{}:{}", self.file(), self.line())
    }

    fn before(&self) -> &str {
        self.source.text.get(..self.span.start).unwrap_or_default()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file(), self.line(), self.column())
    }
}

/// Whether a finding stops what was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// What was read cannot be used.
    Error,
    /// It can be used; the operator should know.
    Warning,
}

/// A line of a file that is not kept: a row of it may hold a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LineOf {
    /// Name of the file.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1, where it is known.
    pub column: Option<usize>,
}

impl fmt::Display for LineOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", printable(&self.file), self.line)?;
        self.column.map_or(Ok(()), |column| write!(f, ":{column}"))
    }
}

/// One finding.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// Whether it stops what was asked for.
    pub severity: Severity,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// Where, when there is a text to point into.
    pub place: Option<Place>,
    /// Where, when the text there may hold secrets and is not shown.
    pub line: Option<LineOf>,
    /// Words beside the caret.
    pub label: Option<String>,
    /// What to do next.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: printable(&message.into()),
            place: None,
            line: None,
            label: None,
            help: None,
        }
    }

    /// A warning without a place.
    pub fn warning(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(message)
        }
    }

    /// Says where.
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// The same, its line named and not quoted: a secret may stand there.
    pub fn unquoted(mut self) -> Self {
        self.place = self.place.map(Place::unquoted);
        self
    }

    /// Says in which line of a file, without its text.
    pub fn in_line(mut self, line: LineOf) -> Self {
        self.line = Some(line);
        self
    }

    /// Says something beside the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(printable(&label.into()));
        self
    }

    /// Says what to do next.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(printable(&help.into()));
        self
    }

    /// Says `did you mean ...?` when a candidate is close to `word`; otherwise lists a short choice.
    pub fn suggest<'a>(self, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        let candidates: Vec<&str> = candidates.into_iter().collect();
        if let Some(close) = did_you_mean(word, candidates.iter().copied()) {
            return self.help(format!("did you mean `{close}`?"));
        }
        if candidates.is_empty() {
            return self;
        }
        let list: Vec<String> = candidates.iter().map(|word| format!("`{word}`")).collect();
        self.help(format!("known here: {}", list.join(", ")))
    }

    /// The diagnostic of a TOML error: its span becomes the caret, serde's list of expected fields a
    /// suggestion.
    pub fn from_toml(source: &Source, error: &toml::de::Error) -> Self {
        let (message, expected) = match error.message().split_once(", expected ") {
            Some((message, list)) if message.starts_with("unknown ") => (message, list),
            _ => (error.message(), ""),
        };
        let word = message.split('`').nth(1).unwrap_or_default();
        let candidates = expected.split('`').skip(1).step_by(2);
        Self::error(message.lines().next().unwrap_or_default())
            .at(source.place(error.span().unwrap_or(0..0)))
            .suggest(word, candidates)
    }

    /// `name:line` of the place, if there is one.
    pub fn file_line(&self) -> Option<String> {
        self.place.as_ref().map(Place::file_line)
    }

    /// The text for people: message, place, caret, help. No newline at the end.
    pub fn render(&self, colour: Colour) -> String {
        let renderer = match colour {
            Colour::Plain => Renderer::plain(),
            Colour::Ansi => Renderer::styled(),
        };
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let unquoted = self.place.as_ref().filter(|place| place.quoted.is_none());
        let mut message = match (&self.line, unquoted) {
            (Some(line), _) => format!("{line}: {}", self.message),
            (None, Some(place)) => format!("{place}: {}", self.message),
            (None, None) => self.message.clone(),
        };
        if let (Some(_), Some(label)) = (unquoted, &self.label) {
            message.push_str(", ");
            message.push_str(label);
        }
        let mut group = Group::with_title(level.primary_title(message.as_str()));
        if let Some(place) = &self.place
            && let Some(text) = place.quotable()
        {
            let caret = AnnotationKind::Primary
                .span(place.span.clone())
                .label(self.label.as_deref());
            group = group.element(
                Snippet::source(text)
                    .path(place.source.name())
                    .annotation(caret),
            );
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }

    /// The same for programs.
    pub fn finding(&self) -> Finding<'_> {
        let (place, line) = (self.place.as_ref(), self.line.as_ref());
        Finding {
            severity: self.severity,
            message: &self.message,
            file: place
                .map(Place::file)
                .or_else(|| line.map(|line| line.file.as_str())),
            line: place
                .map(Place::line)
                .or_else(|| line.map(|line| line.line)),
            column: place
                .map(Place::column)
                .or_else(|| line.and_then(|line| line.column)),
            label: self.label.as_deref(),
            help: self.help.as_deref(),
        }
    }
}

impl Diagnostic {
    /// Where and what, without the severity: for a sentence that says that itself.
    pub fn placed(&self) -> String {
        let mut text = String::new();
        for place in [
            self.place.as_ref().map(ToString::to_string),
            self.line.as_ref().map(ToString::to_string),
        ] {
            text.extend(place.map(|place| format!("{place}: ")));
        }
        text + &self.message
    }
}

/// `file:line:column: error: message (help)`: one line, for logs.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if let Some(line) = &self.line {
            write!(f, "{line}: ")?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}", self.message)?;
        self.help
            .as_ref()
            .map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

/// Whether rendered text carries ANSI colours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Colour {
    /// Plain ASCII.
    Plain,
    /// ANSI escape sequences.
    Ansi,
}

/// The machine form of a diagnostic, for `--json`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Finding<'a> {
    /// `error` or `warning`.
    pub severity: Severity,
    /// What is wrong.
    pub message: &'a str,
    /// Name of the source.
    pub file: Option<&'a str>,
    /// Line, from 1.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: Option<usize>,
    /// Words beside the caret.
    pub label: Option<&'a str>,
    /// What to do next.
    pub help: Option<&'a str>,
}

/// Findings gathered while reading goes on.
#[derive(Debug, Default)]
pub struct Findings(Vec<Diagnostic>);

impl Findings {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Adds those of others, their lines named and not quoted.
    pub fn push_unquoted(&mut self, others: Self) {
        self.0
            .extend(others.0.into_iter().map(Diagnostic::unquoted));
    }

    /// Adds the error of a `Result` and passes its value on.
    pub fn take<T>(&mut self, result: Result<T, Diagnostic>) -> Option<T> {
        result.map_err(|diagnostic| self.push(diagnostic)).ok()
    }

    /// Adds the findings of one file in the order of its text; those without a place come first.
    pub fn append(&mut self, mut file: Self) {
        file.0
            .sort_by_key(|one| one.place.as_ref().map(|place| place.span.start));
        self.0.append(&mut file.0);
    }

    /// Whether any of them is an error.
    pub fn has_errors(&self) -> bool {
        self.0
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// The value with the warnings, or, if there is an error or no value, all findings.
    pub fn conclude<T>(self, value: Option<T>) -> Result<(T, Vec<Diagnostic>), Vec<Diagnostic>> {
        match value {
            Some(value) if !self.has_errors() => Ok((value, self.0)),
            _ => Err(self.0),
        }
    }
}

/// All diagnostics rendered, an empty line between two.
pub fn render_all(diagnostics: &[Diagnostic], colour: Colour) -> String {
    let texts: Vec<String> = diagnostics.iter().map(|one| one.render(colour)).collect();
    texts.join("\n\n")
}

/// The candidate closest to `word`, if one is close enough to be a slip of the fingers: at most one
/// edit in three characters.
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > LONGEST_WORD {
        return None;
    }
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            // Two neighbours exchanged, the commonest slip, count as one edit.
            let (word, other) = (word.to_lowercase(), candidate.to_lowercase());
            (strsim::osa_distance(&word, &other), candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The text with each unsafe character replaced by one character, so that carets stay below their place.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if is_unsafe(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// Longer words are not slips of the fingers; the work grows with the square.
const LONGEST_WORD: usize = 64;

#[cfg(test)]
mod tests;
