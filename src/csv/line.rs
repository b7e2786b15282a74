//! One line of a file: its separator, and its fields with their places.

use std::borrow::Cow;

/// The separator that a first line `sep=X` declares.
pub(super) fn declared_separator(line: &str) -> Option<char> {
    let (name, separator) = line.trim_matches('"').split_at_checked(4)?;
    let mut separator = separator.chars();
    let one = separator.next().filter(|_| separator.next().is_none())?;
    (name.eq_ignore_ascii_case("sep=") && one != '"').then_some(one)
}

/// The separator that makes most columns of a heading; a comma if none makes one.
pub(super) fn guess_separator(line: &str, columns: &[&str], without: &[&str]) -> char {
    let names = |separator: &char| {
        let fields = line.split(*separator);
        let fields = fields.map(|field| field.trim().trim_matches('"').trim().to_ascii_lowercase());
        let fields: Vec<String> = fields.collect();
        let known = fields
            .iter()
            .filter(|name| columns.contains(&name.as_str()));
        (known.count(), fields.len() == without.len())
    };
    // Of equal ones the last is taken.
    let by_content = ['\t', ';', ','].into_iter().max_by_key(names);
    by_content.unwrap_or(',')
}

/// The number of the character at an octet of a line, from 1.
pub(super) fn column(line: &str, octet: usize) -> usize {
    line.get(..octet).unwrap_or(line).chars().count() + 1
}

/// Where the fields of a line are put.
pub(super) struct Fields<'a> {
    pub(super) text: &'a mut String,
    pub(super) ends: &'a mut Vec<usize>,
    pub(super) starts: &'a mut Vec<usize>,
}

/// Takes a line apart into the text of its fields, their ends there, and their starts in the line.
pub(super) fn split(
    line: &str,
    separator: char,
    fields: Fields<'_>,
) -> Result<(), (usize, &'static str)> {
    let Fields { text, ends, starts } = fields;
    let at = |rest: &str| line.len() - rest.len();
    if !line.contains('"') {
        let mut start = 0;
        for field in line.split(separator) {
            starts.push(start);
            start += field.len() + separator.len_utf8();
            text.push_str(field);
            ends.push(text.len());
        }
        return Ok(());
    }
    let mut rest = line;
    loop {
        starts.push(at(rest));
        // A tab may be the separator of an empty field.
        let quoted = rest.trim_start_matches(' ').strip_prefix('"');
        let after = match quoted {
            None => {
                let end = rest.find(separator).unwrap_or(rest.len());
                let (field, after) = rest.split_at(end);
                if let Some(quote) = field.find('"') {
                    let why = "a double quote inside a field without quotes around it";
                    return Err((at(rest) + quote, why));
                }
                text.push_str(field);
                after
            }
            Some(mut inside) => {
                let open = at(inside) - 1;
                loop {
                    let Some((part, after)) = inside.split_once('"') else {
                        return Err((open, "a double quote is not closed in its line"));
                    };
                    text.push_str(part);
                    match after.strip_prefix('"') {
                        Some(more) => {
                            text.push('"');
                            inside = more;
                        }
                        None => break after.trim_start_matches(' '),
                    }
                }
            }
        };
        ends.push(text.len());
        rest = match after.strip_prefix(separator) {
            Some(rest) => rest,
            None if after.trim().is_empty() => return Ok(()),
            None => return Err((at(after), "something follows a closing double quote")),
        };
    }
}

/// A field with quotes where it needs them.
pub(crate) fn quoted(field: &str) -> Cow<'_, str> {
    if field.contains([',', '"', ' ']) {
        format!("\"{}\"", field.replace('"', "\"\"")).into()
    } else {
        field.into()
    }
}
