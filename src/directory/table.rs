//! Tables of people: a row of a database or a file is a person.
//!
//! Invariant: a row that is not understood is an error of the whole table. Were it left out, its person would be
//! gone from the source.

use serde_json::{Map, Value};

use crate::config::sources::GroupName;
use crate::config::sources::tables::COLUMNS;
use crate::core::directory::{People, Person, Said};
use crate::diagnostic::did_you_mean;

/// A row: columns and what is in them.
pub(super) type Row = Map<String, Value>;

/// Rows on their way to people.
pub(super) struct Rows<'g> {
    groups: &'g [GroupName],
    found: People,
}

impl<'g> Rows<'g> {
    /// None yet; of people's groups those are taken.
    pub(super) fn new(groups: &'g [GroupName]) -> Self {
        Self {
            groups,
            found: People::default(),
        }
    }

    /// The columns of a table; those of its rows count too.
    pub(super) fn says(&mut self, column: &str) {
        let said = match column {
            "display_name" | "name" => Said::DisplayName,
            "phone" => Said::Phone,
            "email" => Said::Email,
            "groups" => Said::Groups,
            "alias" => Said::Aliases,
            _ => return,
        };
        if !self.found.says.contains(&said) {
            self.found.says.push(said);
        }
    }

    /// Takes a row.
    pub(super) fn take(&mut self, row: &Row) -> Result<(), String> {
        if self.found.people.len() == PEOPLE {
            return Err(format!("more than {PEOPLE} people"));
        }
        for column in row.keys() {
            if !COLUMNS.contains(&column.as_str()) {
                return Err(unknown(column));
            }
            self.says(column);
        }
        let login = text(row, "user")?.ok_or("`user` is missing")?;
        let id = text(row, "id")?;
        if row.contains_key("id") && id.is_none() {
            return Err("`id` is empty".to_owned());
        }
        let id = id.unwrap_or_else(|| login.to_lowercase());
        if id.len() > ID || id.chars().any(char::is_control) {
            return Err(format!(
                "`id` is no identity: at most {ID} octets, no control characters"
            ));
        }
        let mut groups = list(row, "groups")?;
        groups.retain(|group| self.groups.iter().any(|taken| taken.fits(group)));
        groups.sort_unstable();
        groups.dedup();
        let full = text(row, "display_name")?;
        self.found.people.push(Person {
            id,
            external: None,
            login,
            display_name: full.map_or_else(|| text(row, "name"), |name| Ok(Some(name)))?,
            phone: text(row, "phone")?,
            email: text(row, "email")?,
            groups,
            aliases: list(row, "alias")?,
            disabled: flag(row, "disabled")?,
        });
        Ok(())
    }

    /// All of them.
    pub(super) fn people(self) -> People {
        self.found
    }
}

fn unknown(column: &str) -> String {
    let shown: String = column
        .chars()
        .filter(|one| !one.is_control())
        .take(40)
        .collect();
    match did_you_mean(&shown, COLUMNS) {
        Some(close) => format!("unknown column `{shown}`: did you mean `{close}`?"),
        None => format!("unknown column `{shown}`; known are {}", COLUMNS.join(", ")),
    }
}

/// The text in a column, without blanks around it; `None` where there is none.
fn text(row: &Row, column: &str) -> Result<Option<String>, String> {
    let text = match row.get(column) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        Some(_) => return Err(format!("`{column}` is no text")),
    };
    if text.len() > TEXT {
        return Err(format!("`{column}` has more than {TEXT} octets"));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// The texts in a column: a list, or a text with `;` between them.
fn list(row: &Row, column: &str) -> Result<Vec<String>, String> {
    let texts: Vec<String> = match row.get(column) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => text.split(';').map(str::to_owned).collect(),
        Some(Value::Array(texts)) => {
            let texts = texts.iter().filter(|text| !text.is_null());
            let texts = texts.map(|text| text.as_str().map(str::to_owned));
            let texts: Option<_> = texts.collect();
            texts.ok_or_else(|| format!("`{column}` is no list of texts"))?
        }
        Some(_) => return Err(format!("`{column}` is no list of texts")),
    };
    let texts = texts.iter().map(|text| text.trim().to_owned());
    let texts: Vec<String> = texts.filter(|text| !text.is_empty()).collect();
    if texts.iter().any(|text| text.len() > TEXT) || texts.len() > TEXTS {
        return Err(format!(
            "`{column}` has more than {TEXTS} texts of {TEXT} octets"
        ));
    }
    Ok(texts)
}

/// Yes or no in a column; an empty one is no.
fn flag(row: &Row, column: &str) -> Result<bool, String> {
    let text = match row.get(column) {
        None | Some(Value::Null) => return Ok(false),
        Some(Value::Bool(flag)) => return Ok(*flag),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) => text.trim().to_ascii_lowercase(),
        Some(_) => String::from("-"),
    };
    match text.as_str() {
        "" | "0" | "f" | "false" | "n" | "no" => Ok(false),
        "1" | "t" | "true" | "y" | "yes" => Ok(true),
        _ => Err(format!("`{column}` is neither true nor false")),
    }
}

/// Most people of a source.
const PEOPLE: usize = 1_000_000;
/// Longest identity.
const ID: usize = 128;
/// Longest text in a row.
const TEXT: usize = 1024;
/// Most texts of a list.
const TEXTS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(rows: &[Value]) -> Result<People, String> {
        let mut found = Rows::new(&[]);
        for row in rows {
            found.take(row.as_object().unwrap())?;
        }
        Ok(found.people())
    }

    #[test]
    fn a_row_is_a_person() {
        let found = read(&[
            json!({"id": 7, "user": " ann ", "name": "Ann", "phone": null, "disabled": "f"}),
            json!({"id": 8, "user": "bob", "alias": "b;;b@example.org", "disabled": 1}),
        ]);
        let found = found.unwrap();
        assert_eq!(found.says, [Said::DisplayName, Said::Phone, Said::Aliases]);
        let [ann, bob] = found.people.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!((ann.id.as_str(), ann.login.as_str()), ("7", "ann"));
        assert_eq!(
            (ann.display_name.as_deref(), ann.disabled),
            (Some("Ann"), false)
        );
        assert_eq!(bob.aliases, ["b", "b@example.org"]);
        assert!(bob.disabled);
        assert_eq!(
            read(&[json!({"user": "Carol"})]).unwrap().people[0].id,
            "carol"
        );
    }

    #[test]
    fn a_row_that_is_none_is_an_error() {
        for (row, wanted) in [
            (json!({}), "`user` is missing"),
            (json!({"user": ""}), "`user` is missing"),
            (json!({"user": "a", "id": null}), "`id` is empty"),
            (json!({"user": "a", "id": "x\u{0}"}), "`id` is no identity"),
            (json!({"user": ["a"]}), "`user` is no text"),
            (json!({"user": "a", "groups": 5}), "`groups` is no list"),
            (json!({"user": "a", "groups": [5]}), "`groups` is no list"),
            (
                json!({"user": "a", "disabled": "maybe"}),
                "neither true nor false",
            ),
            (json!({"user": "a", "grups": []}), "did you mean `groups`?"),
            (
                json!({"user": "a", "password": "x"}),
                "unknown column `password`",
            ),
            (json!({"user": "a".repeat(2000)}), "more than 1024 octets"),
        ] {
            let why = read(&[row]).unwrap_err();
            assert!(why.contains(wanted), "{why}");
        }
    }
}
