//! Any text: a dictionary, or a fault with its line; files that include each other end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oncegate::radius::dictionary::Dictionary;

fuzz_target!(|text: &[u8]| {
    let text = String::from_utf8_lossy(text).into_owned();
    let lines = text.lines().count();
    let read = Dictionary::default().with("fuzz", |name| (name == "fuzz").then(|| text.clone()));
    match read {
        Ok(dictionary) => {
            for attribute in dictionary.attributes().take(64) {
                let _ = format!("{attribute:?}");
            }
        }
        Err(error) => assert!((1..=lines.max(1)).contains(&error.line), "{error}"),
    }
});
