//! What an audit record says was changed, for people.

use crate::api::FieldChange;

/// `phone: +821012345678 -> +821087654321`, `groups: +admins -staff`, `password: changed`.
pub(super) fn text(one: &FieldChange) -> String {
    let record = one.record.as_deref();
    let record = record
        .map(|record| format!("{record}, "))
        .unwrap_or_default();
    format!("{record}{}: {}", one.field, became(one))
}

fn became(one: &FieldChange) -> String {
    if let Some(word) = &one.secret {
        return word.clone();
    }
    if let Some(why) = &one.hidden {
        return format!("({why})");
    }
    let signed = |sign: char, list: &Option<Vec<String>>| {
        let list = list.iter().flatten();
        list.map(|item| format!("{sign}{item}")).collect::<Vec<_>>()
    };
    let items = [signed('+', &one.added), signed('-', &one.removed)].concat();
    if !items.is_empty() {
        return items.join(" ");
    }
    match (&one.before, &one.after) {
        (None, Some(after)) => after.clone(),
        (before, after) => {
            let value = |value: &Option<String>| value.as_deref().unwrap_or("none").to_owned();
            format!("{} -> {}", value(before), value(after))
        }
    }
}

/// All of them in one cell of a table; what does not fit is counted.
pub(super) fn brief(changes: &[FieldChange]) -> String {
    let mut line = String::new();
    for (index, one) in changes.iter().enumerate() {
        let more = text(one);
        let room = line.chars().count() + more.chars().count() <= CELL;
        if index > 0 && !room {
            push!(line, "; {} more", changes.len() - index);
            return line;
        }
        if index > 0 {
            line.push_str("; ");
        }
        match more.char_indices().nth(CELL) {
            Some((end, _)) => push!(line, "{}...", more.get(..end).unwrap_or_default()),
            None => line.push_str(&more),
        }
    }
    line
}

/// A text that fits into a cell.
pub(super) fn cell(text: &str) -> String {
    match text.char_indices().nth(CELL) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Characters of a cell.
const CELL: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn value(before: Option<&str>, after: Option<&str>) -> FieldChange {
        FieldChange {
            record: None,
            field: "phone".to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
            added: None,
            removed: None,
            secret: None,
            hidden: None,
        }
    }

    #[test]
    fn every_form_is_one_short_line() {
        assert_eq!(text(&value(Some("1"), Some("2"))), "phone: 1 -> 2");
        assert_eq!(text(&value(None, Some("2"))), "phone: 2");
        let list = FieldChange {
            record: Some("token T-1".to_owned()),
            field: "approvals".to_owned(),
            added: Some(vec!["a".to_owned(), "b".to_owned()]),
            removed: Some(vec!["c".to_owned()]),
            ..value(None, None)
        };
        assert_eq!(text(&list), "token T-1, approvals: +a +b -c");
        let secret = FieldChange {
            secret: Some("changed".to_owned()),
            ..value(None, None)
        };
        assert_eq!(text(&secret), "phone: changed");
    }

    #[test]
    fn a_cell_is_bounded_and_says_what_it_left_out() {
        let long = "\u{c190}".repeat(500);
        let many = vec![value(None, Some(&long)); 9];
        let cell = brief(&many);
        assert!(cell.ends_with("; 8 more"), "{cell}");
        assert!(cell.chars().count() < 60);
        assert_eq!(brief(&[]), "");
    }
}
