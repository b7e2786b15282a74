//! What a page shows, as data: titles, facts, tables, forms. Templates turn it into HTML, and escape all of it.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use crate::web::text::Text;
use crate::web::{answer, assets, theme as look};

/// A page around its blocks.
#[derive(Template)]
#[template(path = "page.html")]
pub(crate) struct Page {
    pub(crate) t: Text,
    pub(crate) theme: &'static str,
    pub(crate) title: String,
    /// Where the pages of this kind begin: `/console`, `/me`.
    pub(crate) home: &'static str,
    /// Where the page's own address leads, for forms that come back to it.
    pub(crate) target: String,
    /// Who has signed in.
    pub(crate) person: Option<String>,
    pub(crate) menu: Vec<Entry>,
    /// A narrow column, for a single task.
    pub(crate) narrow: bool,
    pub(crate) blocks: Vec<Block>,
}

impl Page {
    /// The answer with it.
    pub(crate) fn answer(&self, status: StatusCode) -> Response {
        answer::page(status, self)
    }

    /// Whether there is a search: for who sees users.
    fn finds(&self) -> bool {
        self.menu.iter().any(|entry| entry.to == "/console/users")
    }

    fn block(&self, block: &Block) -> String {
        let view = BlockView { t: self.t, block };
        // Written to memory: only a defect of the template fails, and then there is nothing to show.
        view.render().unwrap_or_default()
    }
}

#[derive(Template)]
#[template(path = "block.html")]
struct BlockView<'a> {
    t: Text,
    block: &'a Block,
}

impl BlockView<'_> {
    fn inner(&self, block: &Block) -> String {
        let view = BlockView { t: self.t, block };
        view.render().unwrap_or_default()
    }
}

/// Rows of a table without the table.
#[derive(Template)]
#[template(path = "rows.html")]
pub(crate) struct Rows<'a> {
    /// What the columns are called.
    pub(crate) heads: &'a [String],
    pub(crate) rows: &'a [Vec<Cell>],
}

#[derive(Template)]
#[template(path = "form.html")]
struct FormView<'a> {
    form: &'a Form,
}

impl FormView<'_> {
    fn html(form: &Form) -> String {
        let view = FormView { form };
        view.render().unwrap_or_default()
    }
}

/// A part of a sentence: what stands between backticks is typed as it is, and shown so.
pub(crate) struct Span<'a> {
    is_code: bool,
    text: &'a str,
}

impl<'a> Span<'a> {
    /// The parts of a sentence; with an odd number of backticks it is shown as it is.
    fn all(text: &'a str) -> Vec<Self> {
        let is_even = text.matches('`').count().is_multiple_of(2);
        let parts = text.split(|sign| sign == '`' && is_even).enumerate();
        let spans = parts.map(|(place, text)| Self {
            is_code: place % 2 == 1,
            text,
        });
        spans.filter(|span| !span.text.is_empty()).collect()
    }
}

/// An entry of the menu.
pub(crate) struct Entry {
    pub(crate) to: &'static str,
    pub(crate) label: &'static str,
    /// With `g` before it, the key that leads there.
    pub(crate) key: char,
    pub(crate) count: usize,
    pub(crate) is_here: bool,
}

/// How something is to be taken; never by its colour alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Bad,
    Warn,
}

impl Tone {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Warn => "warn",
        }
    }

    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\u{2713}",
            Self::Bad => "\u{2715}",
            Self::Warn => "!",
        }
    }
}

/// A part of a page.
pub(crate) enum Block {
    Heading(String),
    Text(String),
    /// The same in one piece.
    Line(Piece),
    Notice {
        tone: Tone,
        text: String,
        detail: String,
    },
    /// A notice with the server's own words, which are English, behind a fold.
    Told {
        tone: Tone,
        text: String,
        english: String,
    },
    Facts(Vec<(String, Cell)>),
    Table(Table),
    Form(Form),
    Actions(Vec<Form>),
    Tabs(Vec<Tab>),
    /// What is shown only now.
    Once {
        label: String,
        value: String,
    },
    Qr {
        label: String,
        side: usize,
        path: String,
    },
    /// Takes a file into the field of several lines on the page, in the browser; says what it is.
    File(&'static str),
    /// The cells of a security card, in their order.
    Cells(Vec<String>),
    /// What this sheet is, for who holds it in the hand, and the button that prints it.
    Sheet {
        text: &'static str,
        /// Where the page tells that it was printed.
        to: &'static str,
        what: &'static str,
        serial: String,
    },
    Chart(Chart),
    Tiles(Vec<Tile>),
    /// A text with numbered lines.
    Source(Vec<String>),
    /// Two texts compared: number, how the line is (`same`, `added`, `removed`, `gap`), the line.
    Diff(Vec<DiffLine>),
    Card(Vec<Self>),
    /// Over the whole width.
    Wide(Vec<Self>),
    Columns(Vec<Vec<Self>>),
}

impl Block {
    /// A notice with what the server says in English: in the page's language where that is known.
    pub(crate) fn told(t: Text, tone: Tone, text: &str, english: &str) -> Self {
        let text = text.to_owned();
        match t.told(english) {
            Some(detail) => Self::Notice { tone, text, detail },
            None => Self::Told {
                tone,
                text,
                english: english.to_owned(),
            },
        }
    }
}

/// A line of a comparison.
pub(crate) struct DiffLine {
    pub(crate) kind: &'static str,
    pub(crate) sign: &'static str,
    /// Says how it is to those who do not see the sign.
    pub(crate) word: &'static str,
    pub(crate) number: String,
    pub(crate) text: String,
}

/// What stands in a place of a table or of facts.
pub(crate) type Cell = Vec<Piece>;

/// A part of a cell.
pub(crate) enum Piece {
    Text(String),
    /// A sentence of this program, with what is typed between backticks.
    Said(String),
    Faint(String),
    /// The server's own words, which are English, behind a fold.
    Told {
        label: String,
        english: String,
    },
    Mono(String),
    Link {
        to: String,
        text: String,
    },
    Chip {
        tone: Tone,
        text: String,
    },
    Form(Form),
}

impl Piece {
    /// What the server says in English: in the page's language where that is known.
    pub(crate) fn told(t: Text, english: &str) -> Self {
        match t.told(english) {
            Some(text) => Self::Said(text),
            None => Self::Told {
                label: t.get("shell.own_words").to_owned(),
                english: english.to_owned(),
            },
        }
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn link(to: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Link {
            to: to.into(),
            text: text.into(),
        }
    }

    pub(crate) fn chip(tone: Tone, text: impl Into<String>) -> Self {
        Self::Chip {
            tone,
            text: text.into(),
        }
    }
}

/// A table.
#[derive(Default)]
pub(crate) struct Table {
    /// Names it for those who do not see it.
    pub(crate) label: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<Cell>>,
    /// What is said when there is no row.
    pub(crate) empty: String,
    /// The page behind.
    pub(crate) next: Option<String>,
    /// Where further rows come from as they happen, and the number of the last row that is shown.
    pub(crate) live: Option<(&'static str, u64)>,
}

/// A page beside this one.
pub(crate) struct Tab {
    pub(crate) to: String,
    pub(crate) label: String,
    pub(crate) is_here: bool,
}

/// A number that is looked at often.
pub(crate) struct Tile {
    pub(crate) label: String,
    pub(crate) value: String,
    pub(crate) tone: Tone,
}

/// Columns over time, stacked: what is below first.
pub(crate) struct Chart {
    pub(crate) label: String,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) bars: Vec<Bar>,
    /// Name of each kind with its total.
    pub(crate) legend: Vec<(&'static str, String)>,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) most: String,
}

/// A part of a column.
pub(crate) struct Bar {
    pub(crate) kind: &'static str,
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// A form.
pub(crate) struct Form {
    pub(crate) to: String,
    /// Whether it only asks, so that its address can be kept.
    pub(crate) asks: bool,
    pub(crate) hidden: Vec<(String, String)>,
    pub(crate) fields: Vec<Field>,
    pub(crate) button: String,
    pub(crate) tone: Tone,
    /// Closed until it is wanted.
    pub(crate) folded: bool,
    /// In one line.
    pub(crate) inline: bool,
    pub(crate) hint: String,
}

impl Form {
    pub(crate) fn new(to: impl Into<String>, button: impl Into<String>) -> Self {
        Self {
            to: to.into(),
            asks: false,
            hidden: Vec::new(),
            fields: Vec::new(),
            button: button.into(),
            tone: Tone::Plain,
            folded: false,
            inline: false,
            hint: String::new(),
        }
    }

    pub(crate) fn hidden(mut self, name: &str, value: &str) -> Self {
        self.hidden.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn field(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    pub(crate) fn main(mut self) -> Self {
        self.tone = Tone::Good;
        self
    }
}

/// A field of a form.
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) input: Input,
    pub(crate) value: String,
    pub(crate) hint: String,
    pub(crate) required: bool,
    pub(crate) options: Vec<(String, String)>,
}

/// How a field is filled in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Input {
    Text,
    /// A user's name of this console.
    Name,
    Password,
    NewPassword,
    /// A code of an authenticator.
    Code,
    /// A text of several lines.
    Lines,
    Number,
    Search,
    Check,
    Select,
}

impl Field {
    pub(crate) fn new(name: &str, label: impl Into<String>, input: Input) -> Self {
        Self {
            name: name.to_owned(),
            label: label.into(),
            input,
            value: String::new(),
            hint: String::new(),
            required: false,
            options: Vec::new(),
        }
    }

    pub(crate) fn value(mut self, value: impl Into<String>) -> Self {
        self.value = value.into();
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    pub(crate) fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(crate) fn options(mut self, options: Vec<(String, String)>) -> Self {
        self.options = options;
        self
    }
}
