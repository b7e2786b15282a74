//! Keys that contradict each other, and sources and homes that are none.

use super::{RULE, errors};

/// The third and further lines of a policy, each at fault once, and the finding.
#[test]
fn contradictions_of_a_rule_are_refused_at_their_place() {
    let cases = [
        (
            "require = \"otp\"\npresent = \"either\"",
            "4:11: error: `present = \"either\"` asks for nothing in a second round: the rule requires \
             only `otp` (require a second factor, or leave `present` out)",
        ),
        (
            "present = \"challenge\"\nrequire = [\"pin\"]",
            "3:11: error: `present = \"challenge\"` asks for nothing",
        ),
        (
            "require = [\"pin\", \"otp\"]\npresent = \"joind\"",
            "4:11: error: unknown value `joind` of `present` (did you mean `joined`?)",
        ),
        (
            "require = [\"password\", \"pin\"]\nmin_assurance = 2",
            "4:17: error: `min_assurance` 2 can never be reached (the factors of this rule reach 1)",
        ),
        (
            "require = [\"password\", \"otp\"]\nmin_assurance = 3",
            "4:17: error: `min_assurance` 3 can never be reached (the factors of this rule reach 2)",
        ),
        (
            "require = [\"password\", \"otp\"]\nexemt = [\"otp\"]",
            "4:1: error: unknown key `rule.exemt` (did you mean `exempt`?)",
        ),
        (
            "require = [\"password\", \"otp\"]\nexempt = [\"otp\"]",
            "4:10: error: `exempt` needs `[exemption]`: no user would be known to be abroad",
        ),
        (
            "require = [\"password\", \"otp\"]\nexempt = [\"pin\"]\n[exemption]\nhome = \"KR\"",
            "4:11: error: the rule does not require `pin`",
        ),
        (
            "require = [\"password\", \"otp\"]\nexempt = [\"opt\"]\n[exemption]\nhome = \"KR\"",
            "4:11: error: unknown factor `opt` (did you mean `otp`?)",
        ),
        (
            "require = [\"pin\", \"otp\"]\nexempt = [\"otp\", \"otp\"]\n[exemption]\nhome = \"KR\"",
            "4:18: error: `otp` is exempt twice",
        ),
        (
            "require = \"otp\"\nexempt = \"otp\"\n[exemption]\nhome = \"KR\"",
            "4:10: error: `exempt` leaves nothing to present",
        ),
        (
            "require = \"otp\"\nexempt = []\n[exemption]\nhome = \"KR\"",
            "4:10: error: `exempt` is empty",
        ),
        (
            "require = [\"pin\", \"otp\"]\nexempt = \"otp\"\nmin_assurance = 2\n[exemption]\nhome = \"KR\"",
            "5:17: error: `min_assurance` 2 contradicts `exempt` (an exempted user reaches 1",
        ),
    ];
    for (lines, wanted) in cases {
        let found = errors(&format!("[[rule]]\nname = \"all\"\n{lines}\n"));
        let wanted = format!("policies/vpn.toml:{wanted}");
        assert!(
            found.len() == 1 && found.concat().starts_with(&wanted),
            "{lines}\n{found:?}"
        );
    }
}

#[test]
fn what_follows_from_a_fault_is_not_reported() {
    let text = "[[rule]]\nname = \"a\"\nrequire = [\"otp\", \"pni\"]\npresent = \"either\"\n\
                min_assurance = 2\nexempt = [\"pin\"]\n[exemption]\nhome = [\"kr\"]\n";
    assert_eq!(
        errors(text),
        [
            "policies/vpn.toml:3:19: error: unknown factor `pni` (did you mean `pin`?)",
            "policies/vpn.toml:8:9: error: `kr` is not a country: write `KR`",
        ]
    );
}

#[test]
fn a_broken_section_is_one_fault() {
    let text =
        "exemption = 5\n[[rule]]\nname = \"a\"\nrequire = [\"pin\", \"otp\"]\nexempt = \"otp\"\n";
    assert_eq!(
        errors(text),
        ["policies/vpn.toml:1:13: error: `exemption` must be a table"]
    );
}

#[test]
fn wrong_sources_and_homes_are_refused_at_their_place() {
    let cases = [
        (
            "[lockout]\nsource_fre = 1",
            "5:1: error: unknown key `lockout.source_fre` (did you mean `source_free`?)",
        ),
        (
            "[lockout]\nsource_lock_after = 2",
            "4:1: error: `source_free` (3) is above `source_lock_after` (2)",
        ),
        (
            "[lockout]\nsource_lock_after = -1",
            "5:21: error: `lockout.source_lock_after` must be 0 to 10000",
        ),
        (
            "[exemption]\nhome = [\"KR\", \"RK\"]",
            "5:15: error: `RK` is not a country",
        ),
        (
            "[exemption]\nhome = []",
            "5:8: error: `exemption.home` is empty",
        ),
        ("[exemption]", "4:1: error: `exemption.home` is missing"),
        (
            "[exemptions]\nhome = \"KR\"",
            "4:2: error: unknown key `exemptions` (did you mean `exemption`?)",
        ),
    ];
    for (text, wanted) in cases {
        let found = errors(&format!("{RULE}{text}\n"));
        let wanted = format!("policies/vpn.toml:{wanted}");
        assert!(
            found.len() == 1 && found.concat().starts_with(&wanted),
            "{text}\n{found:?}"
        );
    }
    let found = errors(&format!("bypas = true\n{RULE}"));
    assert_eq!(
        found,
        ["policies/vpn.toml:1:1: error: unknown key `bypas` (did you mean `bypass`?)"]
    );
    let found = errors(&format!("bypass = \"no\"\n{RULE}"));
    assert_eq!(
        found,
        ["policies/vpn.toml:1:10: error: `bypass` must be true or false"]
    );
}
