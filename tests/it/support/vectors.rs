//! Published test vectors: `tests/vectors/*.txt`.
//!
//! ```text
//! source: RFC 4226              where the numbers come from
//! section: appendix D
//! expect: hotp-truncation       what must hold, a word of a closed list (the caller names it)
//! # comment
//! column column column          everything after the header; columns separated by spaces
//! ```
//!
//! An unknown header key, a missing one, a repeated one or another expectation than the caller's
//! fails: a vector that is not understood must not look as if it had passed.

use std::path::Path;

/// The rows of `tests/vectors/{name}`, each of `N` columns. Panics on anything odd.
pub(crate) fn load<const N: usize>(name: &str, expect: &str) -> Vec<[String; N]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    parse(&text, expect).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn parse<const N: usize>(text: &str, expect: &str) -> Result<Vec<[String; N]>, String> {
    let mut header: Vec<(&str, &str)> = Vec::new();
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let place = format!("line {}", index + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some((key, value)) = line.split_once(": ") {
            if !KEYS.contains(&key) {
                return Err(format!("{place}: unknown header key {key}"));
            }
            if header.iter().any(|(known, _)| *known == key) {
                return Err(format!("{place}: {key} is given twice"));
            }
            if !rows.is_empty() {
                return Err(format!("{place}: header after the first row"));
            }
            header.push((key, value.trim()));
            continue;
        }
        let columns: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let count = columns.len();
        rows.push(
            columns
                .try_into()
                .map_err(|_| format!("{place}: {count} columns, not {N}"))?,
        );
    }
    for key in KEYS {
        let (_, value) = header
            .iter()
            .find(|(known, _)| *known == key)
            .ok_or_else(|| format!("no {key}"))?;
        if key == "expect" && *value != expect {
            return Err(format!("expects {value}, which this test does not prove"));
        }
    }
    if rows.is_empty() {
        Err("no rows".to_owned())
    } else {
        Ok(rows)
    }
}

/// Octets written in hexadecimal.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    assert!(
        text.is_ascii() && text.len().is_multiple_of(2),
        "{text}: not hexadecimal"
    );
    let octet = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(octet).collect()
}

/// The header keys; all are required.
const KEYS: [&str; 3] = ["source", "section", "expect"];

#[test]
fn odd_files_fail() {
    let good = "source: x\nsection: y\nexpect: z\n# c\n1 2\n";
    assert_eq!(
        parse::<2>(good, "z"),
        Ok(vec![["1".to_owned(), "2".to_owned()]])
    );
    for (text, error) in [
        (
            "source: x\nsection: y\nexpect: z\nexcept: z\n1 2\n",
            "line 4: unknown header key except",
        ),
        ("source: x\nsource: y\n", "line 2: source is given twice"),
        ("source: x\nexpect: z\n1 2\n", "no section"),
        (
            "source: x\nsection: y\nexpect: q\n1 2\n",
            "expects q, which this test does not prove",
        ),
        (
            "source: x\nsection: y\nexpect: z\n1 2 3\n",
            "line 4: 3 columns, not 2",
        ),
        (
            "source: x\nsection: y\n1 2\nexpect: z\n",
            "line 4: header after the first row",
        ),
        ("source: x\nsection: y\nexpect: z\n", "no rows"),
    ] {
        assert_eq!(parse::<2>(text, "z"), Err(error.to_owned()));
    }
}
