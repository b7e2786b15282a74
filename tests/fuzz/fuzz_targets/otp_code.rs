//! What is accepted as a code is exactly what is shown again (threats T5).

#![no_main]

use libfuzzer_sys::fuzz_target;
use oncegate::otp::Code;

fuzz_target!(|text: &str| {
    let canonical = (6..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    match Code::parse(text) {
        Ok(code) => {
            assert!(canonical);
            assert_eq!(code.expose().expose(), text);
            assert_eq!(Code::parse(code.expose().expose()), Ok(code));
        }
        Err(_) => assert!(!canonical),
    }
});
