//! XML: what the formats in it have in common, and `SafeNet`'s.
//!
//! Threats: entities that grow without bound: a document with a DTD is refused; names and namespaces that the parser
//! compares each with each: a document with more of them than such files have is refused before.

use roxmltree::{Document, Node};

use crate::token_file::{Fault, Format, Lines, Parts, Remedy, Tokens, hex_key};

pub(super) fn format(text: &str) -> Option<Format> {
    // By names alone: a document that cannot be read is to be refused as what it is.
    if text.to_ascii_lowercase().contains("keycontainer") {
        Some(Format::Pskc)
    } else if root(text).is_some_and(|name| name.eq_ignore_ascii_case(TOKENS)) {
        Some(Format::SafeNet)
    } else {
        None
    }
}

/// The local name of the root element, of a document that need not be well-formed.
pub fn root(text: &str) -> Option<&str> {
    let mut rest = text;
    loop {
        let (_, markup) = rest.split_once('<')?;
        rest = if let Some(comment) = markup.strip_prefix("!--") {
            behind(comment, "-->")
        } else if markup.starts_with('?') {
            behind(markup, "?>")
        } else if markup.starts_with('!') {
            behind(markup, ">")
        } else {
            let ends = |sign: char| sign.is_whitespace() || matches!(sign, '>' | '/');
            let name = markup.split(ends).next()?;
            return name.rsplit(':').next();
        };
    }
}

pub(super) fn document(text: &str) -> Result<Document<'_>, Fault> {
    bounded(text)
        .map_err(|(at, what)| Fault::new(Lines::of(text).at(at), Remedy::ExportAgain.of(what)))?;
    Document::parse(text).map_err(|error| {
        let line = usize::try_from(error.pos().row).unwrap_or_default();
        let wrong = match error {
            roxmltree::Error::DtdDetected => Remedy::DropDtd.of("a DTD is not allowed"),
            _ => Remedy::ExportAgain.of("not well-formed XML"),
        };
        Fault::new(line, wrong)
    })
}

/// Refuses what takes the parser more time than there are octets; where, and why. What is no XML is its to refuse.
fn bounded(text: &str) -> Result<(), (usize, &'static str)> {
    // How many namespaces are declared at and around each open element.
    let mut open: Vec<usize> = Vec::new();
    let mut rest = text;
    while let Some((_, markup)) = rest.split_once('<') {
        let at = text.len() - markup.len();
        rest = if let Some(comment) = markup.strip_prefix("!--") {
            behind(comment, "-->")
        } else if let Some(data) = markup.strip_prefix("![CDATA[") {
            behind(data, "]]>")
        } else if markup.starts_with('?') {
            behind(markup, "?>")
        } else if markup.starts_with('!') {
            // A DTD, or nothing: the parser goes no further.
            return Ok(());
        } else if markup.starts_with('/') {
            open.pop();
            behind(markup, ">")
        } else {
            let tag = Tag::read(markup);
            if tag.attributes > ATTRIBUTES {
                return Err((at, "an element has more than 64 attributes"));
            }
            let around = open.last().copied().unwrap_or_default();
            let namespaces = around + tag.namespaces;
            if namespaces > NAMESPACES {
                return Err((at, "more than 32 namespaces are declared around an element"));
            }
            if !tag.is_empty {
                open.push(namespaces);
            }
            if open.len() > DEPTH {
                return Err((at, "elements are in each other more than 64 deep"));
            }
            tag.rest
        };
    }
    Ok(())
}

fn behind<'t>(text: &'t str, end: &str) -> &'t str {
    text.split_once(end).map_or("", |(_, rest)| rest)
}

/// How an element begins.
#[derive(Default)]
struct Tag<'t> {
    attributes: usize,
    namespaces: usize,
    /// Whether it ends there, too.
    is_empty: bool,
    /// What stands behind it.
    rest: &'t str,
}

impl<'t> Tag<'t> {
    /// Reads from the name on.
    fn read(text: &'t str) -> Self {
        let mut tag = Self::default();
        let (mut quote, mut before) = (None, ' ');
        for (at, sign) in text.char_indices() {
            match (quote, sign) {
                (Some(open), _) if open == sign => quote = None,
                (None, '"' | '\'') => quote = Some(sign),
                (None, '=') => tag.attributes += 1,
                (None, '>') => {
                    let (head, rest) = text.split_at_checked(at).unwrap_or_default();
                    tag.namespaces = head.matches("xmlns").count();
                    tag.is_empty = before == '/';
                    tag.rest = rest.strip_prefix('>').unwrap_or_default();
                    break;
                }
                _ => {}
            }
            before = sign;
        }
        tag
    }
}

/// Elements in this one, by local name in any case.
pub(super) fn children<'a, 'i>(
    node: Node<'a, 'i>,
    name: &'a str,
) -> impl Iterator<Item = Node<'a, 'i>> {
    let elements = node.children().filter(Node::is_element);
    elements.filter(move |node| node.tag_name().name().eq_ignore_ascii_case(name))
}

/// The first element on a path of names.
pub(super) fn child<'a, 'i>(node: Node<'a, 'i>, path: &[&'a str]) -> Option<Node<'a, 'i>> {
    path.iter()
        .try_fold(node, |node, name| children(node, name).next())
}

/// The text of the first element on a path of names; `None`: there is none, or it is empty.
pub(super) fn text<'a>(node: Node<'a, '_>, path: &[&'a str]) -> Option<&'a str> {
    let text = child(node, path)?.text()?.trim();
    (!text.is_empty()).then_some(text)
}

pub(super) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let mut attributes = node.attributes();
    let found = attributes.find(|one| one.name().eq_ignore_ascii_case(name))?;
    Some(found.value().trim()).filter(|value| !value.is_empty())
}

pub(super) fn line(node: Node<'_, '_>, lines: &Lines) -> usize {
    lines.at(node.range().start)
}

/// `Tokens` with each `Token serial` and in it `Applications/Application` of `Seed` (hex) and `MovingFactor`.
pub(super) fn safenet(text_: &str) -> Result<Tokens, Fault> {
    let document = document(text_)?;
    let (root, lines) = (document.root_element(), Lines::of(text_));
    if !root.tag_name().name().eq_ignore_ascii_case(TOKENS) {
        let what = "the outermost element is not Tokens";
        let number = line(root, &lines);
        return Err(Fault::new(number, Remedy::NameFormat.of(what)));
    }
    let mut tokens = Tokens::default();
    for token in children(root, "Token") {
        let number = line(token, &lines);
        let Some(serial) = attribute(token, "serial") else {
            tokens.add(Err(Fault::new(number, "the token has no serial number")));
            continue;
        };
        let applications = child(token, &["Applications"]);
        let application = applications.and_then(|all| children(all, "Application").next());
        let Some(application) = application else {
            let fault = Fault::new(number, "the token has no Application");
            tokens.add(Err(fault.named(Some(serial), None)));
            continue;
        };
        let parts = Parts {
            serial: Some(serial),
            kind: "hotp",
            counter: text(application, &["MovingFactor"]),
            ..Parts::default()
        };
        let seed = text(application, &["Seed"]).unwrap_or_default();
        tokens.add(parts.found(number, hex_key(seed)));
    }
    Ok(tokens)
}

/// The outermost element of `SafeNet`'s files.
const TOKENS: &str = "Tokens";
/// Deepest nesting of elements.
const DEPTH: usize = 64;
/// Most attributes of an element.
const ATTRIBUTES: usize = 64;
/// Most namespaces that are declared at an element and at those around it.
const NAMESPACES: usize = 32;
