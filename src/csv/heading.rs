//! Columns that a file calls by names of its own.

use zeroize::Zeroizing;

/// The text with the names in its heading exchanged.
///
/// # Errors
/// The name that is not in the heading.
pub(crate) fn renamed(
    text: Zeroizing<Vec<u8>>,
    map: &[(String, impl AsRef<str>)],
) -> Result<Zeroizing<Vec<u8>>, String> {
    if map.is_empty() {
        return Ok(text);
    }
    let utf8 = std::str::from_utf8(&text).map_err(|_| "the text cannot be read".to_owned())?;
    let first = utf8.split('\n').next().unwrap_or_default();
    let declares = first.trim_matches(['"', '\r']).to_ascii_lowercase();
    let begin = if declares.starts_with("sep=") {
        first.len().saturating_add(1).min(utf8.len())
    } else {
        0
    };
    let (before, rest) = utf8.split_at(begin);
    let (heading, rows) = rest.split_once('\n').unwrap_or((rest, ""));
    let separator = match declares
        .strip_prefix("sep=")
        .and_then(|rest| rest.chars().next())
    {
        Some(declared) => declared,
        None => ['\t', ';', ',']
            .into_iter()
            .max_by_key(|separator| heading.matches(*separator).count())
            .unwrap_or(','),
    };
    let bare = |field: &str| {
        let field = field.trim_start_matches('\u{feff}').trim();
        field.trim_matches('"').trim().to_lowercase()
    };
    let mut fields: Vec<String> = heading.split(separator).map(str::to_owned).collect();
    for (own, name) in map {
        let wanted = own.to_lowercase();
        let found = fields.iter_mut().find(|field| bare(field) == wanted);
        let field = found.ok_or_else(|| format!("the heading has no column `{own}`"))?;
        name.as_ref().clone_into(field);
    }
    let heading = fields.join(&separator.to_string());
    // Allocated once: a string that grows leaves copies of keys behind.
    let length = before.len() + heading.len() + 1 + rows.len();
    let mut all = Zeroizing::new(Vec::with_capacity(length));
    for part in [before, &heading, "\n", rows] {
        all.extend_from_slice(part.as_bytes());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str, pairs: &[&str]) -> Result<String, String> {
        let pairs = pairs.iter().map(|text| text.rsplit_once('=').unwrap());
        let pairs: Vec<_> = pairs.map(|(own, name)| (own.to_owned(), name)).collect();
        let text = Zeroizing::new(text.as_bytes().to_vec());
        let renamed = renamed(text, &pairs)?;
        Ok(String::from_utf8(renamed.to_vec()).unwrap())
    }

    #[test]
    fn names_of_the_heading_are_exchanged() {
        let own = "\u{c0ac}\u{bc88}=user";
        let text = "\u{c0ac}\u{bc88};\"Full Name\";Dept\r\n7;Kim;x\r\n";
        assert_eq!(
            map(text, &[own, "full name=display_name"]).unwrap(),
            "user;display_name;Dept\r\n7;Kim;x\r\n"
        );
        assert_eq!(
            map("sep=|\nA|B\n1|2\n", &["b=user"]).unwrap(),
            "sep=|\nA|user\n1|2\n"
        );
        assert_eq!(map("login", &["login=user"]).unwrap(), "user\n");
        let marked = map("\u{feff}A,B\n", &["a=user"]);
        assert_eq!(marked.unwrap(), "user,B\n");
        assert!(map("a,b\n", &["c=user"]).unwrap_err().contains("`c`"));
    }
}
