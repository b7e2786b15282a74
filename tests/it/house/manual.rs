//! The manual says what the program has: commands, options, keys, metrics, tests, and what code refers to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use oncegate::config::keys;
use oncegate::manual::{PAGES, page};
use oncegate::radius::dictionary::Dictionary;

#[test]
fn topics_are_listed_and_printed() {
    let (code, list, _) = oncegate(&["manual"]);
    assert_eq!(code, 0);
    for page in PAGES {
        assert!(list.contains(&format!("\n{}", page.topic)) || list.starts_with(page.topic));
        assert!(list.contains(page.title), "{}", page.topic);
        let (code, text, _) = oncegate(&["manual", page.topic]);
        assert_eq!((code, text.as_str()), (0, page.text));
        let (code, json, _) = oncegate(&["manual", page.topic, "--json"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(code, 0);
        assert_eq!(json["topic"], page.topic);
        assert_eq!(json["text"], page.text);
    }
    let (_, json, _) = oncegate(&["manual", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["topics"].as_array().unwrap().len(), PAGES.len());
}

#[test]
fn an_unknown_topic_is_named_with_the_nearest() {
    let (code, out, err) = oncegate(&["manual", "polices"]);
    assert_eq!((code, out.as_str()), (4, ""));
    assert!(err.contains("`polices`"), "{err}");
    assert!(err.contains("did you mean `policies`?"), "{err}");
    let (code, out, _) = oncegate(&["manual", "weather", "--json"]);
    assert_eq!(code, 4);
    assert!(out.contains("oncegate manual"), "{out}");
}

#[test]
fn every_command_that_is_named_exists() {
    let mut tool = Tool::default();
    let mut faults = Vec::new();
    let mut seen = 0;
    for (name, text) in documents() {
        for command in commands(&text) {
            seen += 1;
            if let Err(why) = tool.path(&command) {
                faults.push(format!("{name}: `{command}`: {why}"));
            }
        }
    }
    assert!(seen > 150, "{seen}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The table of contract s2 has every command, and no other.
#[test]
fn the_contract_has_every_command() {
    let mut tool = Tool::default();
    let contract = page("contract").unwrap().text;
    let chapter = contract.split("\n## 2. Commands\n").nth(1).unwrap();
    let chapter = chapter.split("\n## ").next().unwrap();
    let mut named = BTreeSet::new();
    for row in chapter.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split('|').nth(1).unwrap();
        let mut noun: Vec<String> = Vec::new();
        for span in spans(cell) {
            let path = if span.starts_with("oncegate ") {
                tool.path(&span)
                    .unwrap_or_else(|why| panic!("{span}: {why}"))
            } else {
                let last = noun.len() - 1;
                noun[..last].iter().cloned().chain([span]).collect()
            };
            noun.clone_from(&path);
            named.insert(path.join(" "));
        }
    }
    let mut all = BTreeSet::new();
    tool.leaves(&mut Vec::new(), &mut all);
    assert_eq!(named, all);
}

#[test]
fn every_key_of_the_configuration_that_is_named_exists() {
    let known: BTreeSet<&str> = keys::ALL.iter().map(|key| key.path).collect();
    let sections: BTreeSet<&str> = known
        .iter()
        .filter_map(|path| path.split('.').next())
        .collect();
    let mut faults = Vec::new();
    for (name, text) in documents() {
        for span in spans(&text) {
            let word = span.split([' ', '=']).next().unwrap_or_default();
            let is_key = word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c == '_' || c == '.');
            let section = word.split('.').next().unwrap_or_default();
            if is_key && word.contains('.') && sections.contains(section) && !known.contains(word) {
                faults.push(format!("{name}: `{word}`"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_contract_has_every_key_with_its_default() {
    let contract = page("contract").unwrap().text;
    let last = |path: &'static str| path.split_once(".*.").map_or(path, |(_, last)| last);
    for key in [keys::ALL, keys::GATEWAY, keys::SOURCE, keys::WEBHOOK].concat() {
        let default = match key.default {
            "" => "-".to_owned(),
            default => format!("`{default}`"),
        };
        let row = format!("\n| `{}` | {default} | ", last(key.path));
        assert!(contract.contains(&row), "{row}");
    }
}

/// What is in the table is what is served: `faults::d7_metrics`.
#[test]
fn every_metric_that_is_named_is_in_the_table() {
    let operate = page("operate").unwrap().text;
    let mut faults = Vec::new();
    for (name, text) in documents() {
        for span in spans(&text).filter(|span| span.starts_with("oncegate_")) {
            let family = span.trim_end_matches("_total");
            if !operate.contains(&format!("\n| `{family}` |")) {
                faults.push(format!("{name}: `{span}`"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn attributes_of_appliances_are_in_the_dictionary() {
    let dictionary = Dictionary::builtin().unwrap();
    let mut seen = 0;
    for span in spans(page("appliances").unwrap().text) {
        let Some((name, _)) = span
            .strip_prefix('"')
            .and_then(|rest| rest.split_once("\" = "))
        else {
            continue;
        };
        seen += 1;
        assert!(dictionary.attribute(name).is_some(), "{name}");
    }
    assert!(seen > 10);
}

#[test]
fn every_test_that_is_named_exists() {
    let mut seen = 0;
    for page in PAGES {
        for span in spans(page.text).filter(|span| span.contains("::") && !span.contains(' ')) {
            seen += 1;
            assert!(is_test(&span), "{}: there is no {span}", page.topic);
        }
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn the_threats_are_numbered_without_a_gap() {
    let threats = page("threats").unwrap().text;
    let numbers: Vec<u32> = threats
        .lines()
        .filter_map(|line| line.strip_prefix("### T"))
        .filter_map(|line| line.split('.').next()?.parse().ok())
        .collect();
    assert_eq!(numbers, (1..=48).collect::<Vec<_>>());
}

#[test]
fn every_reference_points_to_what_is_there() {
    let mut faults = Vec::new();
    let mut seen = 0;
    for (file, text) in sources() {
        for (word, reference) in references(&text) {
            seen += 1;
            if !is_there(word, &reference) {
                faults.push(format!("{}: {word} {reference}", file.display()));
            }
        }
        for gone in gone(&text) {
            faults.push(format!("{}: {gone} is in no page", file.display()));
        }
    }
    assert!(seen > 100, "{seen}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn planted_references_are_found() {
    let found = |text: &str| -> Vec<String> {
        let found = references(text).into_iter();
        found.map(|(word, it)| format!("{word} {it}")).collect()
    };
    assert_eq!(
        found("//! See threats T12, T13 and T20-T22; contract s8.1."),
        [
            "contract s8.1",
            "threats T12",
            "threats T13",
            "threats T20",
            "threats T22"
        ]
    );
    assert_eq!(
        found("    // (capabilities\n    // A1, C6): no"),
        ["capabilities A1", "capabilities C6"]
    );
    for (word, reference) in [
        ("contract", "s9"),
        ("contract", "s8.10"),
        ("threats", "T49"),
        ("capabilities", "A20"),
    ] {
        assert!(!is_there(word, reference), "{word} {reference}");
    }
    for (word, reference) in [
        ("contract", "s2"),
        ("contract", "s8.9"),
        ("threats", "T48"),
        ("capabilities", "D6"),
    ] {
        assert!(is_there(word, reference), "{word} {reference}");
    }
    assert_eq!(gone(concat!("SP", "EC section 7, ro", "w C6")).len(), 2);
}

#[test]
fn links_of_the_readme_lead_somewhere() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for link in readme.split("](").skip(1) {
        let target = link.split([')', '#']).next().unwrap();
        if !target.is_empty() && !target.contains("://") {
            assert!(root().join(target).exists(), "{target}");
        }
    }
    for page in PAGES {
        if let Some((parent, name)) = page.topic.split_once('/') {
            let parent = oncegate::manual::page(parent).unwrap();
            let named = parent.text.contains(&format!("`{name}`"));
            assert!(named || parent.text.contains(page.topic), "{name}");
            continue;
        }
        let link = format!("src/manual/{}.md", page.topic);
        assert!(readme.contains(&link), "{link}");
    }
}

/// The pages, and the README.
fn documents() -> Vec<(String, String)> {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let pages = PAGES.iter();
    let pages = pages.map(|page| (format!("{}.md", page.topic), page.text.to_owned()));
    pages.chain([("README.md".to_owned(), readme)]).collect()
}

/// What stands between backticks, outside of blocks.
fn spans(text: &str) -> impl Iterator<Item = String> {
    let mut inline = String::new();
    for part in text.split("```").step_by(2) {
        // The end of a line inside a span is a blank.
        inline.push_str(&part.replace('\n', " "));
        inline.push('\n');
    }
    let spans: Vec<String> = inline
        .lines()
        .flat_map(|part| part.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect();
    spans.into_iter()
}

/// The commands in backticks and in console blocks.
fn commands(text: &str) -> Vec<String> {
    let named = spans(text).filter(|span| span.starts_with("oncegate "));
    let blocks = text.split("```console\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap_or_default());
    let lines = blocks.flat_map(|block| block.lines().filter_map(|line| line.strip_prefix("$ ")));
    let typed = lines.filter_map(|line| {
        let from = line
            .match_indices("oncegate ")
            .find(|(at, _)| *at == 0 || line[..*at].ends_with(['(', ' ']))?
            .0;
        let command = line[from..].split(['|', ';', '>', '#']).next()?;
        Some(command.split(") ").next()?.trim().to_owned())
    });
    named.chain(typed).collect()
}

/// The command line as its help describes it.
#[derive(Default)]
struct Tool(BTreeMap<String, Help>);

#[derive(Clone, Default)]
struct Help {
    commands: BTreeSet<String>,
    /// Options, and whether a value follows.
    options: BTreeMap<String, bool>,
}

impl Tool {
    fn help(&mut self, path: &[String]) -> Help {
        let name = path.join(" ");
        if let Some(help) = self.0.get(&name) {
            return help.clone();
        }
        let words: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let (code, text, err) = oncegate(&words);
        assert_eq!(code, 0, "{name}: {err}");
        let mut help = Help::default();
        let mut part = "";
        for line in text.lines() {
            if !line.is_empty() && !line.starts_with(' ') {
                part = line;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let option = words.iter().position(|word| word.starts_with("--"));
            if part.starts_with("Commands") && line.starts_with("  ") && !line.starts_with("   ") {
                help.commands
                    .extend(words.first().map(|word| (*word).to_owned()));
            } else if part.contains("Options") && option.is_some_and(|at| at < 2) {
                let at = option.unwrap_or_default();
                let name = words[at].split(['[', '=', ',']).next().unwrap_or_default();
                let value = words.get(at + 1).is_some_and(|word| word.starts_with('<'));
                help.options.insert(name.to_owned(), value);
                if at == 1 {
                    help.options
                        .insert(words[0].trim_end_matches(',').to_owned(), value);
                }
            }
        }
        self.0.insert(name, help.clone());
        help
    }

    /// The commands that a command line names; an error where it has what the program has not.
    fn path(&mut self, command: &str) -> Result<Vec<String>, String> {
        let mut path: Vec<String> = Vec::new();
        let mut help = self.help(&path);
        let mut words = shell_words(command).into_iter().skip(1);
        while let Some(word) = words.next() {
            if word.starts_with('-') && word.len() > 1 {
                let (name, value) = word.split_once('=').unwrap_or((&word, ""));
                let Some(takes) = help.options.get(name) else {
                    return Err(format!("no option {name}"));
                };
                if *takes && value.is_empty() {
                    words.next();
                }
            } else if help.commands.contains(&word) {
                path.push(word);
                help = self.help(&path);
            } else if !help.commands.is_empty() {
                return Err(format!("no command {word}"));
            }
        }
        Ok(path)
    }

    /// All commands without commands below them.
    fn leaves(&mut self, path: &mut Vec<String>, all: &mut BTreeSet<String>) {
        let help = self.help(path);
        if help.commands.is_empty() {
            all.insert(path.join(" "));
        }
        for command in help.commands.into_iter().filter(|name| name != "help") {
            path.push(command);
            self.leaves(path, all);
            path.pop();
        }
    }
}

fn shell_words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in command.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().expect("never empty").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn oncegate(words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oncegate"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ONCEGATE")) {
        command.env_remove(name);
    }
    let output = command.args(words).output().unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Whether there is such a test, by the name that `cargo test` gives it.
fn is_test(name: &str) -> bool {
    let (module, function) = name.rsplit_once("::").unwrap_or_default();
    let place = module.replace("::", "/");
    let own = place.trim_end_matches("/tests");
    let files = [
        format!("tests/it/{place}.rs"),
        format!("src/{own}/tests.rs"),
        format!("src/{own}.rs"),
        format!("src/{own}/mod.rs"),
    ];
    files.iter().any(|file| {
        let text = fs::read_to_string(root().join(file)).unwrap_or_default();
        text.contains(&format!("fn {function}("))
    })
}

const WORDS: [(&str, &str); 3] = [
    ("contract", "s"),
    ("threats", "T"),
    ("capabilities", "ABCD"),
];

/// What a text refers to: `contract s8.1`, `threats T12, T13`, `capabilities A1`.
fn references(text: &str) -> Vec<(&'static str, String)> {
    let text = joined(text);
    let mut found = Vec::new();
    for (word, letters) in WORDS {
        let lower = text.to_ascii_lowercase();
        for (at, _) in lower.match_indices(word) {
            let mut rest = &text[at + word.len()..];
            // One after the other, as in `T12, T13 and T20-T22`.
            for between in [" "]
                .into_iter()
                .chain([", ", " and ", "-", " to "].repeat(8))
            {
                let Some(next) = rest.strip_prefix(between) else {
                    continue;
                };
                let Some((reference, after)) = number(next, letters) else {
                    continue;
                };
                found.push((word, reference));
                rest = after;
            }
        }
    }
    found
}

/// A letter of `letters` and the number behind it, and what follows.
fn number<'t>(text: &'t str, letters: &str) -> Option<(String, &'t str)> {
    let letter = text.chars().next().filter(|c| letters.contains(*c))?;
    let end = text[1..]
        .find(|c: char| !c.is_ascii_digit() && (c != '.' || letter != 's'))
        .map_or(text.len(), |end| end + 1);
    let number = text[1..end].trim_end_matches('.');
    let is_number = number.starts_with(|c: char| c.is_ascii_digit());
    is_number.then(|| (format!("{letter}{number}"), &text[1 + number.len()..]))
}

fn is_there(word: &str, reference: &str) -> bool {
    let text = page(word).expect("a page").text;
    match word {
        "contract" => {
            let number = reference.trim_start_matches('s');
            let (section, item) = number.split_once('.').unwrap_or((number, ""));
            let chapter = text.split(&format!("\n## {section}. ")).nth(1);
            chapter.is_some_and(|chapter| {
                let chapter = chapter.split("\n## ").next().unwrap_or_default();
                item.is_empty() || chapter.contains(&format!("\n{item}. "))
            })
        }
        "threats" => text.contains(&format!("\n### {reference}. ")),
        _ => text.contains(&format!("\n| {reference} | ")),
    }
}

/// References to documents that are not in the repository.
fn gone(text: &str) -> Vec<&'static str> {
    let text = joined(text);
    let documents = [
        concat!("SP", "EC s"),
        concat!("SP", "EC 8"),
        concat!("SECU", "RITY T"),
        concat!("CAPAB", "ILITIES"),
        concat!("../sha", "red"),
    ];
    let mut found: Vec<&'static str> = documents
        .into_iter()
        .filter(|document| text.contains(document))
        .collect();
    let rows = [concat!("ro", "w "), concat!("ro", "ws ")];
    let lower = text.to_ascii_lowercase();
    found.extend(rows.into_iter().filter(|row| {
        lower
            .match_indices(row)
            .any(|(at, _)| number(&text[at + row.len()..], "ABCD").is_some())
    }));
    found
}

/// The text without its line ends and comment marks.
fn joined(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("//").unwrap_or(line);
        line.trim_start_matches(['/', '!']).trim()
    });
    lines.collect::<Vec<_>>().join(" ")
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for dir in ["src", "tests/it", "tests/fuzz/fuzz_targets", "benches"] {
        walk(&root().join(dir), &mut files);
    }
    let texts = files.into_iter().map(|file| {
        let text = fs::read_to_string(&file).unwrap();
        (file.strip_prefix(root()).unwrap().to_owned(), text)
    });
    texts.collect()
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
