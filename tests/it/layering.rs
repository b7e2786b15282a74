//! The layer table in `src/lib.rs` is true: modules import only what their row names, and pure
//! modules touch no IO, clock, random source or runtime.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

struct Row {
    layer: u32,
    pure: bool,
    may: Vec<String>,
}

/// What a pure module must not name.
const EFFECTS: [&str; 14] = [
    "tokio::",
    "std::fs",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "SystemTime::now",
    "Instant::now",
    "getrandom::",
    "tracing::",
    "println!",
];

/// Effects that a base module exists to wrap.
const WRAPPERS: [(&str, &str); 2] = [("time", "SystemTime::now"), ("secret", "getrandom::")];

fn table() -> BTreeMap<String, Row> {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("//! "));
    let mut rows = BTreeMap::new();
    for line in lines
        .skip_while(|line| !line.starts_with("layer module"))
        .skip(1)
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [layer, module, pure, may @ ..] = words.as_slice() else {
            break;
        };
        let Ok(layer) = layer.parse() else { break };
        let may = may.iter().map(|word| (*word).to_owned()).collect();
        rows.insert(
            (*module).to_owned(),
            Row {
                layer,
                pure: *pure == "yes",
                may,
            },
        );
    }
    assert!(rows.len() > 10, "the table was not found");
    rows
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file: without comments and without its tests at the end.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines
        .map(|line| line.split(" // ").next().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

fn faults(module: &str, row: &Row, code: &str, rows: &BTreeMap<String, Row>) -> Vec<String> {
    let mut faults = Vec::new();
    if code.contains("crate::{") || code.contains("super::super::") {
        faults.push("writes paths this test cannot read: one `crate::` path per line".to_owned());
    }
    for (index, _) in code.match_indices("crate::") {
        let target: String = code[index + 7..]
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        if target == module {
            continue;
        }
        let Some(imported) = rows.get(&target) else {
            faults.push(format!("imports `{target}`, which the table does not know"));
            continue;
        };
        let allowed = row
            .may
            .iter()
            .any(|word| *word == target || *word == imported.layer.to_string());
        if !allowed {
            faults.push(format!(
                "may not import `{target}` (layer {})",
                imported.layer
            ));
        }
    }
    if row.pure {
        for effect in EFFECTS {
            if code.contains(effect) && !WRAPPERS.contains(&(module, effect)) {
                faults.push(format!("is pure and must not name `{effect}`"));
            }
        }
    }
    faults
}

#[test]
fn modules_keep_to_their_layer() {
    let rows = table();
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let mut all = Vec::new();
    for file in files {
        let name = file.strip_prefix(root().join("src")).unwrap().to_owned();
        let first = name.iter().next().unwrap().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        let is_tests = file.file_stem().is_some_and(|stem| stem == "tests");
        if module == "lib" || module == "main" || is_tests {
            continue;
        }
        let Some(row) = rows.get(module) else {
            all.push(format!(
                "{}: module `{module}` is not in the table",
                name.display()
            ));
            continue;
        };
        let found = faults(module, row, &code(&file), &rows);
        all.extend(
            found
                .into_iter()
                .map(|fault| format!("{}: {fault}", name.display())),
        );
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn planted_faults_are_found() {
    let rows = table();
    let planted = |module: &str, code: &str| faults(module, &rows[module], code, &rows).len();
    assert_eq!(planted("otp", "use crate::store::Store;"), 1);
    assert_eq!(planted("otp", "let now = SystemTime::now();"), 1);
    assert_eq!(planted("login", "use crate::radius::Code;"), 1);
    assert_eq!(planted("policy", "use crate::{otp, store};"), 2);
    assert_eq!(planted("store", "use crate::nowhere::X;"), 1);
    assert_eq!(planted("login", "use crate::store::Store;"), 0);
}

#[test]
fn sources_are_ascii_and_short() {
    let mut files = Vec::new();
    for dir in ["src", "tests/it", "benches"] {
        sources(&root().join(dir), &mut files);
    }
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.is_ascii(), "{} is not ASCII", file.display());
        assert!(
            text.lines().count() <= 800,
            "{} has over 800 lines",
            file.display()
        );
    }
}
