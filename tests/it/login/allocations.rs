//! A decision, and the reading of a password box, allocate nothing.

use allocation_counter::measure;
use oncegate::diagnostic::Source;
use oncegate::otp::Digits;
use oncegate::policy::split::{Extra, IdLengths, split};
use oncegate::policy::{Factor, Facts, Policies, kinds_of};
use oncegate::time::UnixTime;

/// Every kind of condition; the first rule fails at its last one.
const POLICY: &str = r#"
[[rule]]
name = "first"
when = { client = "vpn", group = "staff", realm = "DEFAULT", user_class = "x", network = "::/0", method = "PAP", attribute."Class" = "a", context."app" = "b", time = ["mon 08:00-09:00 Asia/Seoul", "tue Europe/Berlin"] }
require = ["password", "otp"]

[[rule]]
name = "last"
require = ["password", "otp"]
alternatives = ["card", "recovery"]
outage = { factor = "sms" }
"#;

const EXTRA: Extra<'static> = Extra {
    keywords: &["sms"],
    recovery: true,
    yubikeys: IdLengths::NONE,
};

#[test]
fn deciding_allocates_nothing() {
    let policy = Source::new("policies/vpn.toml", POLICY);
    let policies = Policies::parse(&[policy], &|_, _| Ok(())).unwrap();
    let policy = policies.get("vpn").unwrap();
    let groups = ["everybody".to_owned(), "staff".to_owned()];
    let facts = Facts {
        now: UnixTime::from_secs(1_795_000_000),
        client: "vpn",
        user: "alice",
        realm: "default",
        groups: &groups,
        user_class: Some("x"),
        source: "2001:db8::1".parse().ok(),
        method: "pap",
        attributes: &[("Class", "a")],
        context: &[("app", "b")],
    };
    let counted = measure(|| {
        let rule = policy.decide(&facts).rule().unwrap();
        let read = split(
            &rule.require,
            "hunter2,123456",
            [Digits::SIX],
            None,
            Extra::default(),
        );
        assert_eq!(read.len(), 1);
        for typed in ["hunter2,sms", "hunter2K7QF2-9XM4T"] {
            let read = split(&rule.require, typed, [Digits::SIX], None, EXTRA);
            assert_eq!(read.len(), 1);
        }
        let slot = rule.slot().unwrap();
        assert_eq!(rule.accepts(slot, false).count(), 3);
        let kinds = rule.accepts(slot, true);
        let kinds = kinds.flat_map(|factor| kinds_of(factor, &policy.otp));
        assert_eq!(kinds.count(), 7);
        assert_eq!(rule.name, "last");
        assert_eq!(rule.require, [Factor::Password, Factor::Otp]);
    });
    assert_eq!(counted.count_total, 0);
    assert!(
        measure(|| drop(policy.trace(&facts))).count_total > 0,
        "the counter counts"
    );
}
