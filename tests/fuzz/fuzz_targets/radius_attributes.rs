//! Any attributes, with vendors', TLVs, extended and long extended ones: those that the dictionary names have texts that
//! are safe in a log, whatever their octets are.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use oncegate::radius::attribute::Attributes;
use oncegate::radius::dictionary::Dictionary;

/// The dictionary of the program, with a TLV and attributes of the extended space on top.
static DICTIONARY: LazyLock<Dictionary> = LazyLock::new(|| {
    let more = "ATTRIBUTE Fuzz-Outer 241.249 tlv\n\
                ATTRIBUTE Fuzz-Number 241.249.1 integer\n\
                ATTRIBUTE Fuzz-Inner 241.249.2 tlv\n\
                ATTRIBUTE Fuzz-Text 241.249.2.1 string\n\
                ATTRIBUTE Fuzz-Address 241.249.2.2 ipv6prefix\n\
                ATTRIBUTE Fuzz-Long 245.249 octets\n";
    let builtin = Dictionary::builtin().expect("the program's own");
    builtin
        .with("fuzz", |name| (name == "fuzz").then(|| more.to_owned()))
        .expect("the lines above")
});

fuzz_target!(|octets: &[u8]| {
    let Ok(attributes) = Attributes::parse(octets) else {
        return;
    };
    let mut named = 0;
    DICTIONARY.describe(attributes, |(name, text)| {
        named += 1;
        assert!(DICTIONARY.attribute(name).is_some(), "{name}");
        assert!(
            !text.chars().any(char::is_control),
            "{name}: unsafe for a log"
        );
    });
    // An attribute of at least three octets inside another is the least that has a name of its own.
    assert!(named <= octets.len());
});
