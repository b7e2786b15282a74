//! The words that changes have in the audit: `src/explain/actions.toml` has all of them, and no others.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use oncegate::explain::ACTIONS;

/// What stands before the word where a change is made.
const BEFORE: [&str; 8] = [
    "Plan::new(",
    "Plan::of_user(",
    "Plan::of_token(",
    ".note(",
    "plan(",
    "action: ",
    "end_draft(policy, ",
    "note(store, by, ",
];

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder of src") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|ending| ending == "rs")
            && !path.ends_with("tests.rs")
        {
            text.push_str(&fs::read_to_string(&path).expect("a source"));
        }
    }
}

/// The words in quotes that follow one of [`BEFORE`].
fn made(text: &str) -> BTreeSet<&str> {
    let mut all = BTreeSet::new();
    for before in BEFORE {
        for (place, _) in text.match_indices(before) {
            let Some(rest) = text[place + before.len()..].trim_start().strip_prefix('"') else {
                continue;
            };
            let word = rest.split('"').next().unwrap_or_default();
            let is_action = word
                .bytes()
                .all(|octet| octet.is_ascii_lowercase() || octet == b'_');
            if is_action && word.len() > 4 {
                all.insert(word);
            }
        }
    }
    all
}

#[test]
fn every_action_has_its_sentence_and_every_sentence_an_action() {
    let mut text = String::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut text,
    );
    let made = made(&text);
    assert!(made.len() >= 40, "{made:?}");
    let missing: Vec<_> = made
        .iter()
        .filter(|word| !ACTIONS.contains_key(**word))
        .collect();
    assert!(
        missing.is_empty(),
        "not in src/explain/actions.toml: {missing:?}"
    );
    let dead: Vec<_> = ACTIONS
        .keys()
        .filter(|word| !text.contains(&format!("\"{word}\"")))
        .collect();
    assert!(dead.is_empty(), "no change has these actions: {dead:?}");
}
