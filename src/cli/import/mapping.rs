//! `--map`: columns that a file calls by names of its own.

use crate::cli::columns::NAMES;

/// `OWN=NAME`: what the file calls a column, and which one it is.
pub(super) fn pair(text: &str) -> Result<(String, &'static str), String> {
    let (own, name) = text
        .rsplit_once('=')
        .ok_or("write OWN=NAME, as `Login=user`")?;
    let mut names = NAMES.iter();
    let known = names.find(|known| known.eq_ignore_ascii_case(name.trim()));
    let known = known.copied();
    let known =
        known.ok_or_else(|| format!("`{name}` is no column; they are {}", NAMES.join(", ")))?;
    if own.trim().is_empty() {
        return Err("write OWN=NAME, as `Login=user`".to_owned());
    }
    Ok((own.trim().to_owned(), known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_names_a_column() {
        assert!(pair("login").is_err() && pair("=user").is_err() && pair("a=nosuch").is_err());
        assert_eq!(pair("a=b=user").unwrap().0, "a=b");
    }
}
