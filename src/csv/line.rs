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

/// A field of a file that people open in a spreadsheet: what that would take for a formula is a text.
///
/// Threat: who chooses a name lets it read other cells of the file, where links and addresses are, and send them away
/// (CSV injection). A telephone number, a sign and digits alone, computes nothing and stays as it is.
pub(crate) fn cell(field: &str) -> Cow<'_, str> {
    let digits = |rest: &str| rest.bytes().all(|octet| octet.is_ascii_digit());
    let is_number = field.strip_prefix('+').is_some_and(digits);
    let is_formula = field.trim_start_matches(' ').starts_with(FORMULA) && !is_number;
    let text = if is_formula {
        Cow::from(format!("'{field}"))
    } else {
        Cow::from(field)
    };
    if text.contains([',', ';', '"', ' ', '\t', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text
    }
}

/// What a formula begins with; the last four are typed in East Asia.
const FORMULA: [char; 10] = [
    '=', '+', '-', '@', '\t', '\r', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
];

/// A field with quotes where it needs them, for a file that a program reads.
pub(crate) fn quoted(field: &str) -> Cow<'_, str> {
    if field.contains([',', '"', ' ']) {
        format!("\"{}\"", field.replace('"', "\"\"")).into()
    } else {
        field.into()
    }
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn a_cell_cannot_be_a_formula_or_two() {
        for (field, written) in [
            ("plain", "plain"),
            ("", ""),
            ("a,b\"c", "\"a,b\"\"c\""),
            ("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\""),
            ("=HYPERLINK(\"x\"&E2,1)", "\"'=HYPERLINK(\"\"x\"\"&E2,1)\""),
            ("@x", "'@x"),
            ("-1+1", "'-1+1"),
            ("+1+1", "'+1+1"),
            ("+821012345678", "+821012345678"),
            (" =1", "\"' =1\""),
            ("\t=1", "\"'\t=1\""),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            // Where a semicolon separates, the rest would be a cell of its own.
            ("a;=1", "\"a;=1\""),
        ] {
            assert_eq!(cell(field), written, "{field}");
        }
    }
}
