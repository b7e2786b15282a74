//! One person, one key: what is shown parses to the same key (threats T43).

#![no_main]

use libfuzzer_sys::fuzz_target;
use oncegate::model::user_key::{InvalidUserKey, UserKey};

fuzz_target!(|text: &str| {
    match UserKey::parse(text) {
        Ok(key) => {
            let shown = key.to_string();
            assert!(shown.len() <= UserKey::MAX);
            assert!(!shown.contains('\\') && !shown.chars().any(char::is_control));
            assert_eq!(UserKey::parse(&shown).as_ref(), Ok(&key));
            assert_eq!(
                UserKey::with_realm(key.name(), key.realm()).as_ref(),
                Ok(&key)
            );
            assert_eq!(UserKey::parse(&format!(" {text} ")).as_ref(), Ok(&key));
        }
        Err(error) => assert_ne!(error, InvalidUserKey::Unstable),
    }
});
