//! The shape of the sources: the layer table in `src/lib.rs` is true, files import each other in no
//! circle, files and functions are short.

use std::collections::{BTreeMap, BTreeSet};
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
const WRAPPERS: [(&str, &str); 3] = [
    ("time", "SystemTime::now"),
    ("time", "Instant::now"),
    ("secret", "getrandom::"),
];

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

/// Import paths of a use tree that begins here: `a::{b, c::D}` has two.
fn use_tree(text: &mut &str, prefix: &str, found: &mut Vec<String>) {
    let is_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let end = text.find(|c| !is_path(c)).unwrap_or(text.len());
    let (path, rest) = text.split_at(end);
    let path = format!("{prefix}{path}");
    *text = rest;
    let Some(inner) = rest.strip_prefix('{').filter(|_| path.ends_with("::")) else {
        let path = path.trim_end_matches(':').trim_end_matches("::self");
        found.push(path.to_owned());
        return;
    };
    *text = inner;
    while let Some(next) = text.chars().next() {
        if next.is_ascii_alphabetic() {
            use_tree(text, &path, found);
            continue;
        }
        *text = &text[next.len_utf8()..];
        if next == '}' {
            return;
        }
    }
}

/// The files of `src` by module path, as `cli::token::add`.
struct House {
    code: BTreeMap<String, String>,
    /// Of each module, what it passes on: name -> path.
    passed_on: BTreeMap<String, BTreeMap<String, String>>,
}

impl House {
    fn new(code: BTreeMap<String, String>) -> Self {
        let mut passed_on = BTreeMap::new();
        for (module, code) in &code {
            let mut names = BTreeMap::new();
            for line in code.split_inclusive('\n') {
                let place = line.as_ptr() as usize - code.as_ptr() as usize;
                let Some((head, _)) = line.split_once("use ").filter(|_| line.starts_with("pub"))
                else {
                    continue;
                };
                let mut tree = &code[place + head.len() + "use ".len()..];
                let mut paths = Vec::new();
                use_tree(&mut tree, "", &mut paths);
                for path in paths {
                    let name = path.rsplit("::").next().unwrap_or_default().to_owned();
                    let full = match path.strip_prefix("crate::") {
                        Some(path) => path.to_owned(),
                        None => format!("{module}::{path}"),
                    };
                    names.insert(name, full);
                }
            }
            passed_on.insert(module.clone(), names);
        }
        Self { code, passed_on }
    }

    /// The sources as they are.
    fn read() -> Self {
        let src = root().join("src");
        let mut files = Vec::new();
        sources(&src, &mut files);
        let mut all = BTreeMap::new();
        for file in files {
            let name = file.strip_prefix(&src).unwrap().with_extension("");
            let parts: Vec<&str> = name.iter().map(|part| part.to_str().unwrap()).collect();
            if parts.contains(&"tests") || matches!(*parts, ["lib" | "main"]) {
                continue;
            }
            let module = parts.join("::");
            let module = module.strip_suffix("::mod").unwrap_or(&module).to_owned();
            all.insert(module, code(&file));
        }
        Self::new(all)
    }

    /// The file that defines what a path names.
    fn definer(&self, path: &str) -> Option<&str> {
        let mut module = path;
        loop {
            if let Some((found, _)) = self.code.get_key_value(module) {
                let rest = path[module.len()..].trim_start_matches(':');
                let name = rest.split("::").next().unwrap_or_default();
                let passed = self.passed_on[found].get(name);
                let passed = passed.filter(|target| *target != path);
                return passed
                    .and_then(|target| self.definer(target))
                    .or(Some(found));
            }
            module = &path[..module.rfind("::")?];
        }
    }

    /// The files that a file imports from. A module and its own submodules are one thing: what it
    /// takes from them is no import.
    fn imports(&self, module: &str) -> BTreeSet<&str> {
        let code = &self.code[module];
        let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
        let mut paths = Vec::new();
        for (word, prefix) in [
            ("crate::", String::new()),
            ("super::", format!("{parent}::")),
        ] {
            for (index, _) in code.match_indices(word) {
                use_tree(&mut &code[index + word.len()..], &prefix, &mut paths);
            }
        }
        let inside = format!("{module}::");
        let found = paths.iter().filter_map(|path| self.definer(path));
        found
            .filter(|found| *found != module && !found.starts_with(&inside))
            .collect()
    }

    /// Sets of files that import each other in a circle, each with the imports that close it.
    fn circles(&self) -> BTreeMap<Vec<&str>, Vec<String>> {
        let modules = self.code.keys().map(String::as_str);
        let imports: BTreeMap<&str, BTreeSet<&str>> = modules
            .map(|module| (module, self.imports(module)))
            .collect();
        let reached = |from: &str| {
            let mut seen = BTreeSet::new();
            let mut open: Vec<&str> = imports[from].iter().copied().collect();
            while let Some(module) = open.pop() {
                if seen.insert(module) {
                    open.extend(&imports[module]);
                }
            }
            seen
        };
        let reach: BTreeMap<&str, BTreeSet<&str>> = imports
            .keys()
            .map(|module| (*module, reached(module)))
            .collect();
        let mut circles = BTreeMap::new();
        for module in imports.keys() {
            let both = |other: &&str| reach[other].contains(module);
            let circle: Vec<&str> = reach[module].iter().copied().filter(both).collect();
            if circle.is_empty() {
                continue;
            }
            let pairs = circle.iter().flat_map(|from| {
                let inside = imports[from].iter().filter(|to| circle.contains(to));
                inside.map(move |to| format!("{from} -> {to}"))
            });
            let pairs = pairs.collect();
            circles.insert(circle, pairs);
        }
        circles
    }
}

#[test]
fn files_import_each_other_in_no_circle() {
    let house = House::read();
    let circles: Vec<_> = house
        .circles()
        .into_values()
        .map(|imports| imports.join("\n"))
        .collect();
    assert!(circles.is_empty(), "{}", circles.join("\n\n"));
}

#[test]
fn planted_circles_are_found() {
    let circles = |files: &[(&str, &str)]| {
        let files = files.iter();
        let code = files.map(|(module, code)| ((*module).to_owned(), (*code).to_owned()));
        House::new(code.collect()).circles().len()
    };
    let two = [
        ("a", "use crate::b::{c, D};"),
        ("b", "fn f() { crate::a::g() }"),
    ];
    assert_eq!(circles(&two), 1);
    let passed_on = [
        ("a", "pub use one::X;\nmod one;\nmod two;"),
        ("a::one", "use crate::a::two::Y;"),
        ("a::two", "use crate::a::X;"),
    ];
    assert_eq!(circles(&passed_on), 1);
    let neighbours = [
        ("a::one", "use super::two::Y;"),
        ("a::two", "use super::one::Y;"),
    ];
    assert_eq!(circles(&neighbours), 1);
    let own_submodule = [
        ("a", "use crate::a::one::X;"),
        ("a::one", "use crate::a::Y;"),
    ];
    assert_eq!(circles(&own_submodule), 0);
}

/// Functions of a text with their lengths in lines.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let words: Vec<&str> = code.split(' ').collect();
        let Some(place) = words.iter().position(|word| *word == "fn") else {
            continue;
        };
        let before = &words[..place];
        if !before.iter().all(|word| {
            word.starts_with("pub") || matches!(*word, "const" | "async" | "crate::cli)")
        }) {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - code.len()]);
        let length = lines[index..].iter().position(|line| **line == end);
        let name = words.get(place + 1).copied().unwrap_or_default();
        let name = name.split(['(', '<']).next().unwrap_or_default();
        // A declaration without a body has no end of its own.
        if let Some(length) = length.filter(|_| !line.ends_with(';')) {
            found.push((name.to_owned(), length + 1));
        }
    }
    found
}

/// Files of more than [`FILE_LINES`], each with its reason.
const LONG_FILES: [(&str, &str); 1] = [(
    "src/explain/next.rs",
    "a table: the advice for every reason",
)];

/// Functions of more than [`FUNCTION_LINES`], each with its reason.
const LONG_FUNCTIONS: [(&str, &str, &str); 2] = [
    (
        "src/explain/next.rs",
        "of_reason",
        "a table: the advice for every reason",
    ),
    (
        "src/store/transition/mod.rs",
        "plan",
        "a table: every change",
    ),
];

/// Most lines of a file in `src`.
const FILE_LINES: usize = 600;
/// Most lines of a file in `tests` and `benches`.
const TEST_LINES: usize = 800;
/// Most lines of a function in `src`.
const FUNCTION_LINES: usize = 70;

#[test]
fn sources_are_ascii_and_short() {
    let mut faults = Vec::new();
    for dir in ["src", "tests/it", "benches"] {
        let mut files = Vec::new();
        sources(&root().join(dir), &mut files);
        let most = if dir == "src" { FILE_LINES } else { TEST_LINES };
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let name = file.strip_prefix(root()).unwrap().to_str().unwrap();
            let lines = text.lines().count();
            if !text.is_ascii() {
                faults.push(format!("{name} is not ASCII"));
            }
            if lines > most && !LONG_FILES.iter().any(|(known, _)| *known == name) {
                faults.push(format!("{name} has {lines} lines, more than {most}"));
            }
            if dir != "src" || name.contains("tests") {
                continue;
            }
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            for (function, lines) in functions(text) {
                let known = |(at, known, _): &(&str, &str, &str)| *at == name && *known == function;
                if lines > FUNCTION_LINES && !LONG_FUNCTIONS.iter().any(known) {
                    faults.push(format!(
                        "{name}: `{function}` has {lines} lines, more than {FUNCTION_LINES}"
                    ));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Words that have a plainer one, as whole words in any case.
const PLAINER: [(&str, &str); 7] = [
    ("whoever", "an attacker, the caller, a user"),
    ("nobody", "no user, no caller"),
    ("somebody", "a user, an attacker"),
    ("hears", "receives, is notified"),
    ("gear", "NAS, client"),
    ("approve of", "approve"),
    ("approves of", "approves"),
];

#[test]
fn sources_use_plain_words() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let mut faults = Vec::new();
    for file in files {
        let name = file.strip_prefix(root()).unwrap().to_str().unwrap();
        let text = fs::read_to_string(&file).unwrap().to_lowercase();
        for (number, line) in text.lines().enumerate() {
            for (word, plainer) in PLAINER {
                let whole = line.match_indices(word).any(|(start, _)| {
                    let ends = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphabetic());
                    let behind = line[start + word.len()..].chars().next();
                    ends(line[..start].chars().next_back()) && ends(behind)
                });
                if whole {
                    faults.push(format!("{name}:{}: {word}: {plainer}", number + 1));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
