//! Which rule decides, and what the trace and the tests of a policy say of it.

use super::*;

const RULES: &str = r#"
[[rule]]
name = "office"
when = { group = ["staff", "admins"], network = ["10.0.0.0/8", "2001:db8::/32"], time = "mon-fri 07:00-20:00 Asia/Seoul" }
require = ["otp"]

[[rule]]
name = "payroll"
when = { context."app" = "payroll", method = "http", user_class = "employee" }
require = ["otp"]

[[rule]]
name = "wireless"
when = { attribute."NAS-Port-Type" = ["Wireless-802.11", "Wireless-Other"], client = "wlan", realm = "Example.org" }
require = ["otp"]

[[test]]
name = "on Monday in the office"
given = { user = "bob", groups = ["x", "admins"], client = "vpn", source = "10.1.2.3", at = "2026-03-02T09:00:00+09:00[Asia/Seoul]" }
expect = { rule = "office", require = ["otp"] }

[[test]]
name = "on Sunday not"
given = { user = "bob", groups = ["admins"], source = "10.1.2.3", at = 2026-03-01T09:00:00+09:00 }
expect = { decision = "reject" }

[[test]]
name = "an application by its context"
given = { user = "bob", method = "http", user_class = "employee", context = { app = "payroll" }, at = "1970-01-01T00:00:00Z" }
expect = { rule = "payroll" }

[[test]]
name = "any value of an attribute"
given = { client = "wlan", realm = "example.org", attributes = { "NAS-Port-Type" = ["Virtual", "Wireless-Other"] }, at = "1970-01-01T00:00:00Z" }
expect = { rule = "wireless" }
"#;

#[test]
fn every_kind_of_condition_decides() {
    let outcomes = policy(RULES).run_tests();
    let failures: Vec<_> = outcomes
        .iter()
        .filter_map(|one| one.failure.as_ref())
        .collect();
    assert!(outcomes.len() == 4 && failures.is_empty(), "{failures:?}");
}

#[test]
fn mapped_addresses_meet_the_rules_of_their_v4_form() {
    let policy = policy(&format!("{RULE}when = {{ network = \"10.0.0.0/8\" }}\n"));
    let from = |source: &str| Facts {
        source: source.parse().ok(),
        ..FACTS
    };
    assert!(policy.decide(&from("::ffff:10.0.0.1")).rule().is_some());
    assert!(policy.decide(&from("11.0.0.1")).rule().is_none());
    assert!(policy.decide(&FACTS).rule().is_none());
}

#[test]
fn a_failing_test_says_why_and_where() {
    let text = format!(
        "{RULE}when = {{ group = \"staff\" }}\n\n[[test]]\nname = \"staff passes\"\n\
         given = {{ user = \"bob\", groups = [\"guests\"] }}\nexpect = {{ rule = \"all\" }}\n"
    );
    let outcomes = policy(&text).run_tests();
    let failure = outcomes
        .first()
        .and_then(|one| one.failure.as_ref())
        .unwrap();
    assert_eq!(
        failure.render(Colour::Plain),
        "error: test `staff passes` failed: expected rule `all`, but no rule holds: reject
 --> policies/vpn.toml:6:1
  |
6 | [[test]]
  | ^^^^^^^^
  |
  = help: rule `all` does not hold: group is guests, not staff"
    );
}

#[test]
fn the_trace_names_each_condition() {
    let groups = ["staff".to_owned()];
    let facts = Facts {
        groups: &groups,
        source: "192.0.2.1".parse().ok(),
        ..FACTS
    };
    let trace = policy(RULES).trace(&facts);
    assert!(!trace.decided);
    let office = trace.rules.first().unwrap();
    assert_eq!(
        (office.place.as_str(), office.holds),
        ("policies/vpn.toml:2", false)
    );
    let whys: Vec<_> = office
        .conditions
        .iter()
        .map(|one| (one.held, one.why.as_str()))
        .collect();
    assert_eq!(
        whys,
        [
            (true, "group is staff"),
            (
                false,
                "network is 192.0.2.1, not 10.0.0.0/8 or 2001:db8::/32"
            ),
            (true, "time is thu 09:00 Asia/Seoul"),
        ]
    );
    let payroll = trace.rules.get(1).unwrap();
    assert_eq!(
        payroll.conditions.first().map(|one| one.why.as_str()),
        Some("the request has no context.\"app\"")
    );
}

#[test]
fn the_group_of_a_reply_is_the_one_that_matched() {
    let groups = ["x".to_owned(), "staff".to_owned()];
    let facts = Facts {
        groups: &groups,
        ..FACTS
    };
    let with = policy(&format!("{RULE}when = {{ group = [\"staff\", \"y\"] }}\n"));
    let rule = with.decide(&facts).rule().unwrap();
    assert_eq!(rule.group_of(&facts, Some), Some("staff"));
    let without = policy(RULE);
    assert_eq!(
        without
            .decide(&facts)
            .rule()
            .unwrap()
            .group_of(&facts, Some),
        Some("x")
    );
}

proptest! {
    /// Every line of a good policy cut, doubled or bent somewhere: an answer or findings, no panic.
    #[test]
    fn bent_policies_are_read_or_refused(at in 0_usize..2000, with in "(?s)[\\[\\]\"={}a-z0-9:/\n,.-]{0,6}", cut in 0_usize..12) {
        let start = at.min(RULES.len());
        let end = (start + cut).min(RULES.len());
        if let (Some(head), Some(tail)) = (RULES.get(..start), RULES.get(end..)) {
            match parse(&format!("{head}{with}{tail}")) {
                Ok(policies) => drop(policies.run_tests()),
                Err(findings) => prop_assert!(!render_all(&findings, Colour::Plain).is_empty()),
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,200}") {
        let _ = parse(&text);
        let _ = Hours::parse(&text);
        let _ = Template::parse(&text);
    }

    #[test]
    fn the_trace_decides_as_the_policy_does(now in 0_u64..4_000_000_000, group in "[a-z]{5,6}|staff", source in any::<[u8; 4]>()) {
        let policy = policy(RULES);
        let groups = [group];
        let facts = Facts { now: UnixTime::from_secs(now), groups: &groups, source: Some(source.into()), ..FACTS };
        let trace = policy.trace(&facts);
        let decides = trace.rules.iter().position(|rule| rule.decides);
        let index = match policy.decide(&facts) {
            Ruling::NoRule => None,
            Ruling::Rule { index, .. } => Some(index),
        };
        prop_assert_eq!(decides, index);
        prop_assert_eq!(trace.decided, index.is_some());
    }
}
