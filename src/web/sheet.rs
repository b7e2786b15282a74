//! Rows of a pasted table: comma, semicolon or tab between fields, quotes as in RFC 4180.
//!
//! Fields may hold keys of tokens: what is copied of them is wiped.

use zeroize::Zeroizing;

/// A row: the line in which it begins, from 1, and its fields.
pub(crate) type Row = (usize, Vec<Zeroizing<String>>);

/// The rows of a text without those that are empty, the heading first; the error is the line in which a quote is not
/// closed.
pub(crate) fn rows(text: &str) -> Result<Vec<Row>, usize> {
    let text = text.trim_start_matches('\u{feff}');
    let heading = text.lines().next().unwrap_or_default();
    let count = |sign: char| heading.matches(sign).count();
    let separator = [',', ';', '\t'].into_iter().max_by_key(|sign| count(*sign));
    let separator = separator.filter(|sign| count(*sign) > 0).unwrap_or(',');
    let (mut rows, mut row) = (Vec::new(), Vec::new());
    let (mut line, mut begins) = (1, 1);
    let mut field = Field::default();
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '"' if field.quoted && signs.peek() == Some(&'"') => {
                field.text.push('"');
                signs.next();
            }
            '"' if field.quoted => field.quoted = false,
            '"' if field.text.trim().is_empty() && !field.was_quoted => {
                field.text.clear();
                (field.quoted, field.was_quoted) = (true, true);
            }
            '\n' if !field.quoted => {
                row.push(field.end());
                push(&mut rows, begins, &mut row);
                line += 1;
                begins = line;
            }
            sign if sign == separator && !field.quoted => row.push(field.end()),
            sign => {
                line += usize::from(sign == '\n');
                field.text.push(sign);
            }
        }
    }
    if field.quoted {
        return Err(begins);
    }
    row.push(field.end());
    push(&mut rows, begins, &mut row);
    Ok(rows)
}

fn push(rows: &mut Vec<Row>, line: usize, row: &mut Vec<Zeroizing<String>>) {
    let row = std::mem::take(row);
    if row.iter().any(|field| !field.is_empty()) {
        rows.push((line, row));
    }
}

/// A field that is being read.
#[derive(Default)]
struct Field {
    text: Zeroizing<String>,
    quoted: bool,
    was_quoted: bool,
}

impl Field {
    /// It without blanks around it, unless they were in quotes.
    fn end(&mut self) -> Zeroizing<String> {
        let field = std::mem::take(self);
        if field.was_quoted {
            return field.text;
        }
        Zeroizing::new(field.text.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(usize, Vec<String>)> {
        let rows = rows(text).unwrap().into_iter();
        rows.map(|(line, row)| (line, row.iter().map(|field| field.to_string()).collect()))
            .collect()
    }

    #[test]
    fn fields_are_separated_as_the_heading_is() {
        for text in [
            "user,groups\r\nalice,staff\r\n",
            "user;groups\nalice;staff",
            "\u{feff}user\tgroups\nalice\tstaff",
        ] {
            let wanted = vec![
                (1, vec!["user".to_owned(), "groups".to_owned()]),
                (2, vec!["alice".to_owned(), "staff".to_owned()]),
            ];
            assert_eq!(read(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn quotes_hold_separators_lines_and_quotes() {
        let read = read("user,name\nalice,\"Kim, \"\"A\"\"\nB\"\n\n,,\nbo,  Lee \n");
        assert_eq!(
            read[1],
            (2, vec!["alice".to_owned(), "Kim, \"A\"\nB".to_owned()])
        );
        assert_eq!(read[2], (6, vec!["bo".to_owned(), "Lee".to_owned()]));
        assert_eq!(read.len(), 3);
        assert_eq!(rows("user\n\"open"), Err(2));
    }
}
