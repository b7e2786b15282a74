use proptest::prelude::*;

use super::*;
use crate::diagnostic::{Colour, render_all};
use crate::time::UnixTime;

/// Text attributes take any text, `Session-Timeout` only numbers, the rest is unknown.
fn known_attribute(name: &str, value: Option<&str>) -> Result<(), String> {
    match name {
        "Filter-Id" | "Class" | "NAS-Port-Type" => Ok(()),
        "Session-Timeout" if value.is_none_or(|value| value.parse::<u32>().is_ok()) => Ok(()),
        "Session-Timeout" => Err(format!("`{name}` takes a number")),
        _ => Err(format!("unknown attribute `{name}`")),
    }
}

fn parse(text: &str) -> Result<Policies, Vec<Diagnostic>> {
    Policies::parse(&[Source::new("policies/vpn.toml", text)], &known_attribute)
}

fn policy(text: &str) -> Policy {
    let policies = parse(text)
        .map_err(|all| render_all(&all, Colour::Plain))
        .unwrap();
    policies.get("vpn").unwrap().clone()
}

fn errors(text: &str) -> Vec<String> {
    parse(text)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

mod contradictions;
mod deciding;
mod sections;
mod stand_ins;

const RULE: &str = "[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";

const FACTS: Facts<'_> = Facts {
    now: UnixTime::EPOCH,
    client: "vpn",
    user: "alice",
    realm: "default",
    groups: &[],
    user_class: None,
    source: None,
    method: "pap",
    attributes: &[],
    context: &[],
};

#[test]
fn shipped_policies_load_and_pass_their_tests() {
    let policies = Policies::parse(&shipped(), &known_attribute).unwrap();
    let outcomes = policies.run_tests();
    assert!(outcomes.iter().all(TestOutcome::passed), "{outcomes:?}");
    let default = policies.resolve(None).unwrap();
    assert_eq!(default.name, DEFAULT);
    assert_eq!(default.reject_delay, Duration::from_secs(1));
    assert_eq!(
        default
            .rules
            .iter()
            .map(Rule::file_line)
            .collect::<Vec<_>>(),
        ["policies/default.toml:6"]
    );
    assert!(policies.resolve(Some("missing")).is_none());
    let only_otp = policies.iter().filter(|policy| policy.only_otp());
    let only_otp: Vec<_> = only_otp.map(|policy| policy.name.as_str()).collect();
    assert_eq!(only_otp, ["default", "otp"]);
}

#[test]
fn shipped_policies_show_every_rule_and_whom_they_refuse() {
    let policies = Policies::parse(&shipped(), &known_attribute).unwrap();
    assert_eq!(policies.iter().count(), shipped().len());
    for policy in policies.iter() {
        for rule in &policy.rules {
            let shown = policy.tests.iter().any(|case| match &case.expect {
                Expect::Rule { name, require, .. } => {
                    name.as_ref() == Some(&rule.name) && require.as_ref() == Some(&rule.require)
                }
                Expect::Reject => false,
            });
            assert!(shown, "no test shows {}:{}", policy.name, rule.name);
        }
        let always = policy.rules.iter().any(|rule| rule.when.is_empty());
        let mut cases = policy.tests.iter();
        let refused = cases.any(|case| case.expect == Expect::Reject);
        assert!(
            always || refused,
            "no test shows whom {} refuses",
            policy.name
        );
    }
}

#[test]
fn what_is_not_written_has_the_documented_default() {
    let policy = policy(RULE);
    assert_eq!(policy.reject_delay, REJECT_DELAY);
    assert_eq!(
        (policy.otp.back, policy.otp.ahead, policy.otp.look_ahead),
        (1, 0, 5)
    );
    assert!(policy.bypass && policy.only_otp());
    assert_eq!(policy.exemption, Exemption::default());
    assert_eq!(
        policy.otp.kinds,
        [Kind::Totp, Kind::Hotp, Kind::Server, Kind::Yubikey]
    );
    assert_eq!(policy.lockout, Lockout::default());
    assert_eq!(policy.challenge.life, Duration::from_mins(2));
    assert_eq!(policy.codes, Codes::default());
    assert_eq!(policy.enrolment, Enrolment::default());
    assert_eq!(policy.notify, Notify::default());
    assert_eq!(
        policy
            .rules
            .first()
            .map(|rule| (rule.present, rule.min_assurance)),
        Some((Present::Joined, 1))
    );
}

#[test]
fn everything_written_is_read() {
    let policy = policy(
        r#"
description = "VPN"
reject_delay = "500ms"
bypass = false
[[rule]]
name = "payroll"
when = { client = "payroll" }
require = ["otp", "password", "pin"]
exempt = ["otp"]
present = "either"
[[rule]]
name = "all"
require = "otp"
present = "joined"
min_assurance = 1
[exemption]
home = ["KR", "US"]
[otp]
kinds = ["totp"]
back = 2
ahead = 1
look_ahead = 10
[lockout]
free = 1
lock_after = 5
lock_for = "1h"
hard_lock_after = 50
year_lock_after = 900
source_free = 2
source_lock_after = 0
[challenge]
life = "60s"
[reply]
"Filter-Id" = "{group}"
Class = ["a", "b"]
"Session-Timeout" = 3600
"#,
    );
    assert_eq!(policy.description, "VPN");
    assert_eq!(policy.reject_delay, Duration::from_millis(500));
    assert_eq!(
        policy.otp,
        OtpWindows {
            kinds: vec![Kind::Totp],
            back: 2,
            ahead: 1,
            look_ahead: 10
        }
    );
    assert_eq!(
        policy.lockout,
        Lockout {
            free: 1,
            lock_after: 5,
            lock_for: Duration::from_hours(1),
            hard_lock_after: 50,
            year_lock_after: 900,
            source_free: 2,
            source_lock_after: 0,
        }
    );
    assert!(!policy.bypass && !policy.only_otp());
    let home = policy.exemption.home.iter();
    assert_eq!(
        home.map(|home| home.as_str()).collect::<Vec<_>>(),
        ["KR", "US"]
    );
    let payroll = policy.rules.first().unwrap();
    assert_eq!(
        payroll.require,
        [Factor::Otp, Factor::Password, Factor::Pin]
    );
    assert_eq!(
        (payroll.exempt.as_slice(), payroll.present),
        (&[Factor::Otp][..], Present::Either)
    );
    assert_eq!(policy.challenge.life, Duration::from_mins(1));
    let facts = ReplyFacts {
        user: "alice",
        group: Some("staff"),
        ..ReplyFacts::default()
    };
    let expanded = policy.expand(payroll, &facts);
    let pairs: Vec<_> = expanded
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    assert_eq!(
        pairs,
        [
            ("Filter-Id", "staff"),
            ("Class", "a"),
            ("Class", "b"),
            ("Session-Timeout", "3600")
        ]
    );
    let without_group = policy.expand(payroll, &ReplyFacts::default());
    assert!(without_group.iter().all(|(name, _)| name != "Filter-Id"));
}

#[test]
fn an_error_reads_like_a_compilers() {
    let text =
        "[[rule]]\nname = \"staff\"\nrequire = [\"pasword\", \"push\"]\nwhen = { gruop = \"x\" }\n";
    assert_eq!(
        render_all(&parse(text).unwrap_err(), Colour::Plain),
        r#"error: unknown factor `pasword`
 --> policies/vpn.toml:3:12
  |
3 | require = ["pasword", "push"]
  |            ^^^^^^^^^
  |
  = help: did you mean `password`?

error: factor `push` is not supported by this version
 --> policies/vpn.toml:3:23
  |
3 | require = ["pasword", "push"]
  |                       ^^^^^^
  |
  = help: this version supports `password`, `pin`, `otp`, `sms`, `email`, `voice`, `card`, `recovery`

error: unknown key `rule.when.gruop`
 --> policies/vpn.toml:4:10
  |
4 | when = { gruop =
  |          ^^^^^
  |
  = help: did you mean `group`?"#
    );
}

#[test]
fn what_this_version_cannot_do_is_refused() {
    let text = "[[rule]]\nname = \"a\"\nrequire = [\"password\", \"push\"]\n";
    let wanted = "policies/vpn.toml:3:24: error: factor `push` is not supported by this version (this \
                  version supports `password`, `pin`, `otp`, `sms`, `email`, `voice`, `card`, `recovery`)";
    assert_eq!(errors(text), [wanted]);
    for factor in Factor::SUPPORTED {
        policy(&format!(
            "[[rule]]\nname = \"a\"\nrequire = [\"{factor}\"]\n"
        ));
    }
    let found = errors(&format!("{RULE}min_assurance = 2\n"));
    assert!(
        found.len() == 1
            && found
                .concat()
                .contains("`min_assurance` 2 can never be reached"),
        "{found:?}"
    );
}

#[test]
fn impossible_policies_are_refused_at_their_place() {
    let cases = [
        ("", "1:1: error: the policy has no rule"),
        ("rule = []", "1:8: error: the list of rules is empty"),
        (
            "[[rule]]\nname = \"a\"\nrequire = []",
            "3:11: error: `require` is empty",
        ),
        (
            "[[rule]]\nname = \"a\"",
            "1:1: error: `rule.require` is missing",
        ),
        (
            "[[rule]]\nrequire = [\"otp\"]",
            "1:1: error: `rule.name` is missing",
        ),
        (
            "[[rule]]\nname = \"a b\"\nrequire = [\"otp\"]",
            "2:8: error: `a b` is not a name",
        ),
        (
            "[[rule]]\nname = \"a\"\nrequire = [\"otp\", \"otp\"]",
            "3:19: error: `otp` is required twice",
        ),
        (
            "[[rule]]\nname = \"a\"\nrequire = [\"otp\"]\n[[rule]]\nname = \"b\"\nrequire = \"otp\"",
            "4:1: error: rule `b` can never decide (rule `a` at line 1 has no `when`",
        ),
        (
            "[[rule]]\nname = \"a\"\nwhen = { group = \"g\" }\nrequire = \"otp\"\n[[rule]]\n\
             name = \"a\"\nrequire = \"otp\"",
            "5:1: error: rule `a` is already at line 1",
        ),
    ];
    for (text, wanted) in cases {
        let found = errors(text);
        let wanted = format!("policies/vpn.toml:{wanted}");
        assert!(
            found.len() == 1 && found.concat().starts_with(&wanted),
            "{text}\n{found:?}"
        );
    }
}

#[test]
fn wrong_values_are_refused_at_their_place() {
    let cases = [
        (
            "[lockout]\nfree = 11",
            "4:1: error: `free` (11) is above `lock_after` (10)",
        ),
        (
            "[lockout]\nlock_after = 101",
            "4:1: error: `lock_after` (101) is above `hard_lock_after`",
        ),
        (
            "[lockout]\nyear_lock_after = 99",
            "4:1: error: `hard_lock_after` (100) is above `year_lock_after`",
        ),
        (
            "[lockout]\nlock_for = \"30\"",
            "5:12: error: `30` is not a duration",
        ),
        ("[otp]\nback = 11", "5:8: error: `otp.back` must be 0 to 10"),
        (
            "[otp]\nlook_ahead = -1",
            "5:14: error: `otp.look_ahead` must be 0 to 10",
        ),
        (
            "[otp]\nkinds = [\"topt\"]",
            "5:10: error: unknown kind of token `topt` (did you mean `totp`",
        ),
        (
            "[otp]\nkinds = [\"sms\"]",
            "5:10: error: codes of `sms` do not count as `otp`",
        ),
        (
            "[otp]\nkinds = [\"push\"]",
            "5:10: error: tokens of the kind `push` are not supported by this version (leave it out)",
        ),
        ("[otp]\nkinds = []", "5:9: error: `otp.kinds` is empty"),
        (
            "[challenge]\nlife = \"1h\"",
            "5:8: error: `challenge.life` must be 10s to 10m",
        ),
        (
            "[reply]\nFilter-Id = \"{gruop}\"",
            "5:13: error: unknown placeholder `{gruop}`: did you",
        ),
        (
            "[reply]\nFilterId = \"x\"",
            "5:1: error: unknown attribute `FilterId`",
        ),
        (
            "[reply]\nClass = \"{attribute.Nope}\"",
            "5:9: error: unknown attribute `Nope`",
        ),
        (
            "[reply]\nSession-Timeout = \"{user}\"",
            "5:1: error: `Session-Timeout` takes a number",
        ),
        (
            "[repyl]\nClass = \"x\"",
            "4:2: error: unknown key `repyl` (did you mean `reply`?)",
        ),
        (
            "[zebra]\nstripes = 1",
            "4:2: error: unknown key `zebra` (known here: `description`, `name_rules`, `reject_delay`, `bypass`, `otp`, \
             `exemption`, `rule`, `lockout`",
        ),
        (
            "[[test]]\nname = \"t\"\ngiven = {}\nexpect = { rule = \"al\" }",
            "7:19: error: there is no rule `al`",
        ),
        (
            "[[test]]\nname = \"t\"\ngiven = {}\nexpect = {}",
            "7:10: error: `expect` must say",
        ),
        (
            "[[test]]\nname = \"t\"\ngiven = { outage = \"yes\" }\nexpect = { rule = \"all\" }",
            "6:20: error: `test.given.outage` must be true or false",
        ),
        (
            "[[test]]\nname = \"t\"\ngiven = {}\nexpect = { accepts = [\"opt\"] }",
            "7:23: error: unknown factor `opt` (did you mean `otp`?)",
        ),
        (
            "[[test]]\nname = \"t\"\ngiven = {}\nexpect = { accepts = \"push\" }",
            "7:22: error: unknown factor `push` (known here: `password`, `pin`, `otp`, `sms`",
        ),
        (
            "[[test]]\nname = \"t\"\ngiven = {}\nexpect = { decision = \"reject\", accepts = \"otp\" }",
            "7:10: error: `expect` must say",
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
}

#[test]
fn a_delay_of_rejects_has_bounds() {
    let found = errors(&format!("reject_delay = \"11s\"\n{RULE}"));
    assert_eq!(
        found,
        ["policies/vpn.toml:1:16: error: `reject_delay` must be 0s to 10s"]
    );
}

#[test]
fn wrong_conditions_are_refused_at_their_place() {
    let cases = [
        (
            "network = \"10.0.0.0/99\"",
            "`10.0.0.0/99` is not a network",
        ),
        (
            "network = \"10.1.2.3/8\"",
            "`10.1.2.3/8` has bits set beyond its prefix: write 10.0.0.0/8",
        ),
        (
            "time = \"mon-fri 07:00-20:00 Asia/Soul\"",
            "unknown time zone `Asia/Soul`: did you mean `Asia/Seoul`?",
        ),
        (
            "time = \"mon-fri 07:00-20:00 KST\"",
            "unknown time zone `KST`: write an IANA name",
        ),
        (
            "time = \"mon Etc/Unknown\"",
            "unknown time zone `Etc/Unknown`: ",
        ),
        (
            "time = [\"mon UTC\", \"tue 07:00-07:00 UTC\"]",
            "`07:00-07:00` is empty",
        ),
        (
            "tiem = \"mon UTC\"",
            "unknown key `rule.when.tiem` (did you mean `time`?)",
        ),
        (
            "time = \"mon-fri 25:00-20:00 UTC\"",
            "`25:00-20:00` is not a range of hours",
        ),
        ("method = \"papp\"", "unknown method `papp`"),
        ("group = []", "`rule.when.group` is an empty list"),
        ("group = \"\"", "`group` can never be empty"),
        (
            "group = 5",
            "`rule.when.group` must be a string or a list of strings",
        ),
        ("attribute.\"Nope\" = \"x\"", "unknown attribute `Nope`"),
    ];
    for (condition, wanted) in cases {
        let found = errors(&format!("{RULE}when = {{ {condition} }}\n"));
        assert!(
            found.len() == 1 && found.concat().contains(wanted),
            "{condition}\n{found:?}"
        );
        assert!(
            found.concat().starts_with("policies/vpn.toml:4:"),
            "{found:?}"
        );
    }
}

#[test]
fn all_findings_of_all_files_come_together() {
    let files = [
        Source::new("policies/a.toml", "reject_delay = \"1x\"\n"),
        Source::new("policies/b.toml", "[[rule]\n"),
        Source::new("other/a.toml", RULE),
    ];
    let found = Policies::parse(&files, &known_attribute).unwrap_err();
    let places: Vec<_> = found.iter().filter_map(Diagnostic::file_line).collect();
    assert_eq!(
        places,
        [
            "policies/a.toml:1",
            "policies/a.toml:1",
            "policies/b.toml:1",
            "other/a.toml:1"
        ]
    );
}
