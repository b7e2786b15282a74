//! The table of capabilities in `tests/README.md`: every test it names exists and names its row.

use std::path::Path;

#[test]
fn every_capability_has_tests_that_name_it() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let readme = std::fs::read_to_string(tests.join("README.md")).expect("tests/README.md");
    let mut seen = Vec::new();
    for line in readme.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, row, _, named, _] = cells.as_slice() else {
            continue;
        };
        let is_row = row.len() >= 2 && row[1..].bytes().all(|octet| octet.is_ascii_digit());
        if !is_row {
            continue;
        }
        seen.push((*row).to_owned());
        let mut named_in_any = false;
        for test in named.split('`').filter(|word| word.contains("::")) {
            let (module, function) = test.rsplit_once("::").expect("module::function");
            let file = tests
                .join("it")
                .join(format!("{}.rs", module.replace("::", "/")));
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let place = text.find(&format!("fn {function}("));
            let place = place.unwrap_or_else(|| panic!("row {row}: there is no {test}"));
            // In its name, or in what is said above it.
            let above = text[..place].rsplit("\n\n").next().unwrap_or_default();
            let said = format!(
                "{above} {function} {}",
                text.lines().take(12).collect::<String>()
            );
            let word = row.to_ascii_lowercase();
            named_in_any |= said.contains(row) || said.contains(&format!("_{word}_"));
        }
        assert!(named_in_any, "no test of row {row} says so");
    }
    let wanted =
        "A1 A2 A3 A4 A5 A6 A7 A10 A11 A16 C1 C2 C3 C7 C9 C10 C11 C12 C13 C14 D1 D2 D3 D5 D6";
    assert_eq!(seen.join(" "), wanted);
}

/// The table of faults: every test it names exists, in a module that is named by the fault, and every
/// module is in the table.
#[test]
fn every_fault_has_tests_that_exist() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let readme = std::fs::read_to_string(tests.join("README.md")).expect("tests/README.md");
    let folder = tests.join("it/faults");
    let mut modules: Vec<String> = std::fs::read_dir(&folder)
        .expect("tests/it/faults")
        .map(|entry| entry.expect("an entry").file_name())
        .filter_map(|name| name.to_str()?.strip_suffix(".rs").map(str::to_owned))
        .filter(|name| name != "mod")
        .collect();
    for line in readme.lines() {
        let Some(row) = line.strip_prefix("| fault ") else {
            continue;
        };
        let fault = row.split_whitespace().next().expect("a number");
        if fault == "|" {
            continue;
        }
        let named = row.split('`').filter(|word| word.starts_with("faults::"));
        let mut seen = 0;
        for test in named {
            let path: Vec<&str> = test.split("::").collect();
            let [_, module, function] = path.as_slice() else {
                panic!("fault {fault}: {test}");
            };
            assert!(module.starts_with(&format!("{fault}_")), "{fault}: {test}");
            let text = std::fs::read_to_string(folder.join(format!("{module}.rs")));
            let text = text.unwrap_or_else(|_| panic!("fault {fault}: no {module}.rs"));
            assert!(
                text.contains(&format!("fn {function}(")),
                "fault {fault}: there is no {test}"
            );
            modules.retain(|known| known != module);
            seen += 1;
        }
        assert!(seen > 0, "fault {fault} names no test");
    }
    assert!(modules.is_empty(), "not in the table: {modules:?}");
}
