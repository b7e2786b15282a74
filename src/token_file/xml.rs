//! XML: what the formats in it have in common, and `SafeNet`'s.
//!
//! Threat: entities that grow without bound. A document with a DTD is refused.

use roxmltree::{Document, Node};

use crate::token_file::{Fault, Format, Parts, Remedy, Tokens, hex_key};

pub(super) fn format(text: &str) -> Option<Format> {
    // By the name alone: a document that cannot be read is to be refused as what it is.
    let lower = text.to_ascii_lowercase();
    if lower.contains("keycontainer") {
        Some(Format::Pskc)
    } else if lower.contains("<tokens") {
        Some(Format::SafeNet)
    } else {
        None
    }
}

pub(super) fn document(text: &str) -> Result<Document<'_>, Fault> {
    Document::parse(text).map_err(|error| {
        let line = usize::try_from(error.pos().row).unwrap_or_default();
        let wrong = match error {
            roxmltree::Error::DtdDetected => Remedy::DropDtd.of("a DTD is not allowed"),
            _ => Remedy::ExportAgain.of("not well-formed XML"),
        };
        Fault::new(line, wrong)
    })
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

pub(super) fn line(node: Node<'_, '_>) -> usize {
    let position = node.document().text_pos_at(node.range().start);
    usize::try_from(position.row).unwrap_or_default()
}

/// `Token serial` with `Applications/Application` of `Seed` (hex) and `MovingFactor`.
pub(super) fn safenet(text_: &str) -> Result<Tokens, Fault> {
    let document = document(text_)?;
    let mut tokens = Tokens::default();
    for token in children(document.root_element(), "Token") {
        let number = line(token);
        let Some(serial) = attribute(token, "serial") else {
            tokens.add(Err(Fault::new(number, "the token has no serial number")));
            continue;
        };
        let applications = child(token, &["Applications"]);
        let application = applications.and_then(|all| children(all, "Application").next());
        let Some(application) = application else {
            tokens.add(Err(Fault::new(number, "the token has no Application")));
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
