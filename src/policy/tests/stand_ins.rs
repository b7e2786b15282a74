//! What a rule takes instead of `otp`, always or in an outage, and rules with more than one code.

use super::{FACTS, errors, policy};
use crate::diagnostic::Colour;
use crate::policy::{Factor, Policy, Present, Rule, TestOutcome};

fn rule(lines: &str) -> Rule {
    let policy = policy(&format!("[[rule]]\nname = \"all\"\n{lines}\n"));
    policy.rules.into_iter().next().unwrap()
}

/// The faults of a rule whose lines begin with the third.
fn faults(lines: &str) -> Vec<String> {
    errors(&format!("[[rule]]\nname = \"all\"\n{lines}\n"))
}

fn accepts(rule: &Rule, slot: Factor, outage: bool) -> Vec<Factor> {
    rule.accepts(slot, outage).collect()
}

#[test]
fn only_otp_has_stand_ins_and_the_outage_counts_only_while_it_is_declared() {
    use Factor::{Card, Email, Otp, Password, Recovery, Sms, Voice};
    let both = "alternatives = [\"card\", \"recovery\"]\noutage = { factor = \"sms\" }";
    let twice = "alternatives = [\"sms\", \"card\"]\noutage = { factor = \"sms\" }";
    let cases: [(&str, Factor, &[Factor], &[Factor]); 8] = [
        ("require = \"otp\"", Otp, &[Otp], &[Otp]),
        (
            "require = \"otp\"\nalternatives = \"voice\"",
            Otp,
            &[Otp, Voice],
            &[Otp, Voice],
        ),
        (
            "require = \"otp\"\noutage = { factor = \"email\" }",
            Otp,
            &[Otp],
            &[Otp, Email],
        ),
        (
            &format!("require = [\"password\", \"otp\"]\n{both}"),
            Otp,
            &[Otp, Card, Recovery],
            &[Otp, Card, Recovery, Sms],
        ),
        (
            &format!("require = [\"password\", \"otp\"]\n{both}"),
            Password,
            &[Password],
            &[Password],
        ),
        (
            &format!("require = [\"password\", \"otp\"]\n{twice}"),
            Otp,
            &[Otp, Sms, Card],
            &[Otp, Sms, Card],
        ),
        (
            &format!("require = [\"voice\", \"otp\"]\npresent = \"challenge\"\n{both}"),
            Voice,
            &[Voice],
            &[Voice],
        ),
        ("require = [\"pin\", \"sms\"]", Sms, &[Sms], &[Sms]),
    ];
    for (lines, slot, always, declared) in cases {
        let rule = rule(lines);
        assert_eq!(accepts(&rule, slot, false), always, "{lines}");
        assert_eq!(accepts(&rule, slot, true), declared, "{lines}");
    }
}

#[test]
fn the_slot_is_otp_before_any_other() {
    for (lines, slot) in [
        ("require = \"otp\"", Some(Factor::Otp)),
        (
            "require = [\"sms\", \"otp\"]\npresent = \"challenge\"",
            Some(Factor::Otp),
        ),
        ("require = [\"pin\", \"card\"]", Some(Factor::Card)),
        ("require = [\"password\", \"pin\"]", None),
    ] {
        assert_eq!(rule(lines).slot(), slot, "{lines}");
    }
}

#[test]
fn one_code_goes_with_every_way_to_present_it() {
    for factor in Factor::STAND_INS {
        for present in ["joined", "challenge", "either"] {
            for others in ["", "\"password\", ", "\"password\", \"pin\", "] {
                let lines = format!("require = [{others}\"{factor}\"]\npresent = \"{present}\"");
                if *factor == Factor::Recovery && others.is_empty() && present != "joined" {
                    // Nothing is issued that a second round could ask for.
                    assert_eq!(faults(&lines).len(), 1, "{lines}");
                } else {
                    assert_eq!(rule(&lines).present.as_str(), present, "{lines}");
                }
            }
        }
    }
    let asked = rule("require = \"otp\"\nalternatives = \"sms\"\npresent = \"either\"");
    assert_eq!(asked.present, Present::Either);
}

#[test]
fn what_is_no_code_is_looked_at_where_it_may_stand_in() {
    let only = |lines| policy(&format!("[[rule]]\nname = \"a\"\n{lines}\n")).only_otp();
    assert!(only("require = \"otp\""));
    assert!(!only("require = \"otp\"\nalternatives = \"recovery\""));
    assert!(!only("require = \"otp\"\noutage = { factor = \"sms\" }"));
    assert!(!only("require = \"sms\""));
}

/// Rules whose lines begin with the third, each at fault once, and the finding.
fn refused(cases: &[(&str, &str)]) {
    for (lines, wanted) in cases {
        let found = faults(lines);
        let wanted = format!("policies/vpn.toml:{wanted}");
        assert!(
            found.len() == 1 && found.concat().starts_with(&wanted),
            "{lines}\n{found:?}"
        );
    }
}

#[test]
fn wrong_alternatives_are_refused_at_their_place() {
    refused(&[
        (
            "require = \"otp\"\nalternatives = []",
            "4:16: error: `alternatives` is empty: nothing stands in for `otp` (leave it out)",
        ),
        (
            "require = \"otp\"\nalternatives = [\"sms\", \"sms\"]",
            "4:24: error: `sms` is an alternative twice",
        ),
        (
            "require = \"otp\"\nalternatives = [\"smss\"]",
            "4:17: error: unknown factor `smss` (did you mean `sms`?)",
        ),
        (
            "require = \"otp\"\nalternativs = [\"sms\"]",
            "4:1: error: unknown key `rule.alternativs` (did you mean `alternatives`?)",
        ),
        (
            "require = \"otp\"\nalternatives = 5",
            "4:16: error: `rule.alternatives` must be a string or a list of strings",
        ),
        (
            "require = [\"password\", \"sms\"]\nalternatives = [\"card\"]",
            "4:16: error: `alternatives` stands in for `otp`, which is not required (add \"otp\" to \
             `require`, or leave it out)",
        ),
        (
            "require = [\"otp\", \"sms\"]\npresent = \"challenge\"\nalternatives = [\"sms\"]",
            "5:17: error: `sms` cannot stand in for `otp`: it is required itself (one proof must not \
             count twice: take it out of one of the two)",
        ),
    ]);
}

#[test]
fn wrong_outages_are_refused_at_their_place() {
    refused(&[
        (
            "require = \"otp\"\noutage = \"sms\"",
            "4:10: error: `rule.outage` must be a table",
        ),
        (
            "require = \"otp\"\noutage = {}",
            "4:10: error: `rule.outage.factor` is missing",
        ),
        (
            "require = \"otp\"\noutage = { factor = \"sms\", facter = \"sms\" }",
            "4:28: error: unknown key `rule.outage.facter` (did you mean `factor`?)",
        ),
        (
            "require = \"otp\"\noutage = { factor = [\"sms\"] }",
            "4:21: error: `rule.outage.factor` must be a string",
        ),
        (
            "require = \"otp\"\noutage = { factor = \"emial\" }",
            "4:21: error: unknown factor `emial` (did you mean `email`?)",
        ),
        (
            "require = [\"password\", \"pin\"]\noutage = { factor = \"sms\" }",
            "4:10: error: `outage` stands in for `otp`, which is not required",
        ),
        (
            "require = [\"otp\", \"sms\"]\npresent = \"challenge\"\noutage = { factor = \"sms\" }",
            "5:21: error: `sms` cannot stand in for `otp`: it is required itself",
        ),
    ]);
}

#[test]
fn what_a_stand_in_cannot_keep_is_refused_at_its_place() {
    refused(&[
        (
            "require = [\"password\", \"otp\"]\nmin_assurance = 2\nalternatives = [\"sms\", \"email\"]",
            "4:17: error: `min_assurance` 2 contradicts `email` instead of `otp` (with it 1 is \
             reached: drop one of the two)",
        ),
        (
            "require = [\"password\", \"otp\"]\nmin_assurance = 2\noutage = { factor = \"email\" }",
            "4:17: error: `min_assurance` 2 contradicts `email` instead of `otp`",
        ),
        (
            "require = [\"password\", \"email\"]\nmin_assurance = 2",
            "4:17: error: `min_assurance` 2 can never be reached",
        ),
        (
            "require = \"otp\"\nalternatives = \"recovery\"\npresent = \"either\"",
            "5:11: error: `present = \"either\"` asks for nothing in a second round",
        ),
    ]);
}

#[test]
fn what_is_known_or_asked_for_already_stands_in_for_nothing() {
    for word in ["password", "pin", "otp", "push"] {
        let help = "these can: sms, email, voice, card, recovery";
        let message = format!("error: `{word}` cannot stand in for `otp` ({help})");
        let found = faults(&format!("require = \"otp\"\nalternatives = \"{word}\""));
        assert_eq!(found, [format!("policies/vpn.toml:4:16: {message}")]);
        let found = faults(&format!(
            "require = \"otp\"\noutage = {{ factor = \"{word}\" }}"
        ));
        assert_eq!(found, [format!("policies/vpn.toml:4:21: {message}")]);
    }
}

#[test]
fn two_codes_are_asked_for_one_after_the_other() {
    let held: Vec<Factor> = Factor::SUPPORTED
        .iter()
        .copied()
        .filter(|factor| !factor.is_knowledge())
        .collect();
    for one in &held {
        for other in held.iter().filter(|other| *other != one) {
            let require = format!("require = [\"{one}\", \"password\", \"{other}\"]");
            let wanted = format!(
                "policies/vpn.toml:3:11: error: `{one}` and `{other}` cannot be typed at once (write \
                 present = \"challenge\": one code is asked for after the other)"
            );
            for present in ["", "present = \"joined\"", "present = \"either\""] {
                assert_eq!(faults(&format!("{require}\n{present}")), [wanted.as_str()]);
            }
            let rule = rule(&format!("{require}\npresent = \"challenge\""));
            assert_eq!(rule.require, [*one, Factor::Password, *other]);
        }
    }
    let misspelt = faults("require = [\"otp\", \"sms\"]\npresent = \"chalenge\"");
    assert_eq!(
        misspelt,
        [
            "policies/vpn.toml:4:11: error: unknown value `chalenge` of `present` (did you mean \
             `challenge`?)"
        ]
    );
}

const CASES: &str = r#"
[[rule]]
name = "known"
when = { group = "known" }
require = ["password", "pin"]

[[rule]]
name = "all"
require = ["password", "otp"]
alternatives = ["card"]
outage = { factor = "sms" }
"#;

fn case(given: &str, accepts: &str) -> Policy {
    policy(&format!(
        "{CASES}[[test]]\nname = \"t\"\ngiven = {{ {given} }}\nexpect = {{ accepts = {accepts} }}\n"
    ))
}

#[test]
fn cases_tell_what_is_accepted_in_an_outage_and_without() {
    for (given, accepts) in [
        ("user = \"a\"", "[\"card\", \"otp\"]"),
        ("outage = false", "[\"otp\", \"card\"]"),
        ("outage = true", "[\"otp\", \"sms\", \"card\"]"),
    ] {
        let outcomes = case(given, accepts).run_tests();
        assert!(outcomes.iter().all(TestOutcome::passed), "{outcomes:?}");
    }
    for (given, accepts, wanted) in [
        (
            "user = \"a\"",
            "[\"otp\", \"sms\"]",
            "rule `all` accepts otp, card for `otp`",
        ),
        (
            "outage = true",
            "\"otp\"",
            "rule `all` accepts otp, card, sms for `otp` in an outage",
        ),
        (
            "groups = [\"known\"]",
            "\"otp\"",
            "rule `known` accepts no code: it requires none",
        ),
    ] {
        let outcomes = case(given, accepts).run_tests();
        let failure = outcomes.first().unwrap().failure.clone().unwrap();
        assert_eq!(failure.message, format!("test `t` failed: {wanted}"));
        let text = failure.render(Colour::Plain);
        assert!(text.contains("policies/vpn.toml:12:1"), "{text}");
    }
}

#[test]
fn the_trace_shows_stand_ins() {
    let trace = policy(CASES).trace(&FACTS);
    let shown: Vec<_> = trace
        .rules
        .iter()
        .map(|rule| (rule.alternatives.as_slice(), rule.outage))
        .collect();
    assert_eq!(shown, [(&[][..], None), (&["card"][..], Some("sms"))]);
}
