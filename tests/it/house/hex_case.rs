//! Packets as text files: a header of `key: value` lines from a closed vocabulary, then blocks of
//! hex, each optionally after a line naming it.
//!
//! An unknown or repeated key, or anything else that is not understood, fails the run: a test that
//! is skipped by a misspelling looks like a test that passes.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One file.
pub(crate) struct Case {
    pub(crate) name: String,
    header: HashMap<String, String>,
    blocks: HashMap<String, Vec<u8>>,
}

impl Case {
    /// All files of a directory below `tests/`, in the order of their names.
    pub(crate) fn load_all(directory: &str, keys: &[&str], blocks: &[&str]) -> Vec<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests")
            .join(directory);
        let mut paths: Vec<PathBuf> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        paths
            .iter()
            .map(|path| Self::load(path, keys, blocks))
            .collect()
    }

    fn load(path: &Path, keys: &[&str], blocks: &[&str]) -> Self {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(path).unwrap();
        Self::parse(name, &text, keys, blocks).unwrap_or_else(|fault| panic!("{fault}"))
    }

    fn parse(name: String, text: &str, keys: &[&str], names: &[&str]) -> Result<Self, String> {
        let mut case = Self {
            name,
            header: HashMap::new(),
            blocks: HashMap::new(),
        };
        let mut lines = text.lines().enumerate();
        let at = |line: usize, fault: &str| format!("{}:{}: {fault}", case.name, line + 1);
        for (number, line) in lines.by_ref().take_while(|(_, line)| !line.is_empty()) {
            let (key, value) = line
                .split_once(": ")
                .ok_or_else(|| at(number, "no header line"))?;
            if !keys.contains(&key) {
                return Err(at(number, "unknown header key"));
            }
            if case
                .header
                .insert(key.to_owned(), value.to_owned())
                .is_some()
            {
                return Err(at(number, "repeated header key"));
            }
        }
        let mut block = names.first().copied().unwrap_or("packet");
        for (number, line) in lines {
            if let Some(name) = names.iter().find(|name| **name == line) {
                block = name;
                continue;
            }
            let octets: Result<Vec<u8>, _> = line
                .split_whitespace()
                .map(|octet| u8::from_str_radix(octet, 16))
                .collect();
            let octets = octets.map_err(|_| at(number, "neither hex nor the name of a block"))?;
            case.blocks
                .entry(block.to_owned())
                .or_default()
                .extend(octets);
        }
        Ok(case)
    }

    /// A header value that must be there.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.find(key)
            .unwrap_or_else(|| panic!("{}: no {key}", self.name))
    }

    /// A header value that may be there.
    pub(crate) fn find(&self, key: &str) -> Option<&str> {
        self.header.get(key).map(String::as_str)
    }

    /// The octets of a block, empty if it is not there.
    pub(crate) fn block(&self, name: &str) -> &[u8] {
        self.blocks.get(name).map_or(&[], Vec::as_slice)
    }
}

#[test]
fn what_is_not_understood_fails() {
    for (text, fault) in [
        ("expct: x\n", "t:1: unknown header key"),
        ("expect: x\nexpect: y\n", "t:2: repeated header key"),
        ("expect x\n", "t:1: no header line"),
        (
            "expect: x\n\n01 0g\n",
            "t:3: neither hex nor the name of a block",
        ),
        (
            "expect: x\n\nreqest\n",
            "t:3: neither hex nor the name of a block",
        ),
    ] {
        let parsed = Case::parse("t".to_owned(), text, &["expect"], &["request"]);
        assert_eq!(parsed.map(|_| ()), Err(fault.to_owned()));
    }
}
