//! `[codes]`, `[enrolment]` and `[notify]`.

use std::time::Duration;

use super::{RULE, errors, known_attribute, policy};
use crate::diagnostic::Source;
use crate::model::kind::Kind;
use crate::otp::Digits;
use crate::policy::{
    Activate, Codes, Enrolment, Event, Factor, Medium, Naming, Notify, PerKind, Policies, StepUp,
    TestOutcome,
};

const fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

#[test]
fn nothing_written_is_the_way_by_an_operator() {
    let policy = policy(RULE);
    assert_eq!(
        policy.codes,
        Codes {
            life: Duration::from_mins(3),
            server_life: Duration::from_mins(1),
            digits: Digits::SIX,
        }
    );
    let enrolment = policy.enrolment;
    assert!(enrolment.self_service.is_empty() && enrolment.step_up.is_empty());
    assert!(enrolment.verify && enrolment.remote);
    assert_eq!(enrolment.device, [Kind::Server, Kind::Totp]);
    assert_eq!(enrolment.first_use(), Some(days(14)));
    assert_eq!((enrolment.proof, enrolment.valid_for), (None, None));
    for kind in &Kind::ALL {
        assert_eq!(enrolment.approvers.of(*kind), 0);
        assert_eq!(enrolment.max_active.of(*kind), None);
    }
    assert!(policy.notify.events.is_empty() && policy.notify.unsaid);
    assert_eq!(policy.notify.media, [Medium::Sms, Medium::Email]);
}

#[test]
fn everything_written_is_read() {
    let policy = policy(&format!(
        r#"{RULE}
[codes]
life = "10m"
server_life = "15s"
digits = 8
[enrolment]
self_service = ["totp", "server", "sms"]
device = "server"
proof = ["password"]
factor_memory = "30d"
approvers = 1
approvers_for = {{ server = 2, sms = 0 }}
step_up = ["sms", "voice", "branch_code"]
verify = false
first_use_within = "7d"
max_active = 3
valid_for = "1095d"
renew_from = "30d"
remote = false
[notify]
events = ["lock", "enrolment"]
media = "email"
"#
    ));
    assert_eq!(
        policy.codes,
        Codes {
            life: Duration::from_mins(10),
            server_life: Duration::from_secs(15),
            digits: Digits::EIGHT,
        }
    );
    let enrolment = policy.enrolment;
    assert_eq!(
        enrolment,
        Enrolment {
            self_service: vec![Kind::Totp, Kind::Server, Kind::Sms],
            device: vec![Kind::Server],
            proof: Some(vec![Factor::Password]),
            factor_memory: days(30),
            approvers: PerKind {
                others: 1,
                by_kind: vec![(Kind::Server, 2), (Kind::Sms, 0)],
            },
            step_up: StepUp::ALL.to_vec(),
            verify: false,
            activate: Activate::FirstUse,
            first_use_within: days(7),
            max_active: PerKind {
                others: Some(3),
                by_kind: Vec::new(),
            },
            valid_for: Some(days(1095)),
            renew_from: Some(days(30)),
            naming: Naming::default(),
            remote: false,
        }
    );
    let approvers = [Kind::Server, Kind::Sms, Kind::Totp].map(|kind| enrolment.approvers.of(kind));
    assert_eq!(approvers, [2, 0, 1]);
    assert_eq!(
        policy.notify,
        Notify {
            events: vec![Event::Lock, Event::Enrolment],
            unsaid: false,
            media: vec![Medium::Email],
        }
    );
    let notify = &policy.notify;
    assert!(notify.tells(Event::Lock) && !notify.tells(Event::Recovery));
}

/// A policy that names no events leaves the lock that an administrator ends; one that names none of them says so.
#[test]
fn a_policy_can_say_that_nothing_is_told() {
    for (written, unsaid) in [
        ("", true),
        ("[notify]\n", true),
        ("[notify]\nevents = []\n", false),
        ("[notify]\nevents = [\"recovery\"]\n", false),
    ] {
        let notify = policy(&format!("{RULE}{written}")).notify;
        assert_eq!(notify.unsaid, unsaid, "{written}");
        assert!(!notify.tells(Event::Lock), "{written}");
    }
}

#[test]
fn most_active_tokens_are_limited_for_all_kinds_or_for_some() {
    let most = |line: &str| {
        let enrolment = policy(&format!("{RULE}[enrolment]\n{line}\n")).enrolment;
        [Kind::Server, Kind::Totp, Kind::Sms].map(|kind| enrolment.max_active.of(kind))
    };
    assert_eq!(most("max_active = 1"), [Some(1); 3]);
    assert_eq!(most("max_active = 20"), [Some(20); 3]);
    assert_eq!(
        most("max_active = { server = 1, totp = 2 }"),
        [Some(1), Some(2), None]
    );
}

/// Sections that begin in the fourth line, each at fault once, and the finding.
fn refused(cases: &[(&str, &str)]) {
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
fn faults_of_codes_and_notices_are_refused_at_their_place() {
    refused(&[
        (
            "[code]\nlife = \"60s\"",
            "4:2: error: unknown key `code` (did you mean `codes`?)",
        ),
        (
            "[codes]\nlive = \"60s\"",
            "5:1: error: unknown key `codes.live` (did you mean `life`?)",
        ),
        (
            "[codes]\nlife = \"29s\"",
            "5:8: error: `codes.life` must be 30s to 10m",
        ),
        (
            "[codes]\nlife = \"601s\"",
            "5:8: error: `codes.life` must be 30s to 10m",
        ),
        (
            "[codes]\nlife = 180",
            "5:8: error: `codes.life` must be a string",
        ),
        (
            "[codes]\nlife = \"180\"",
            "5:8: error: `180` is not a duration: write a number and ms, s, m, h or d",
        ),
        (
            "[codes]\nserver_life = \"14s\"",
            "5:15: error: `codes.server_life` must be 15s to 2m",
        ),
        (
            "[codes]\nserver_life = \"121s\"",
            "5:15: error: `codes.server_life` must be 15s to 2m",
        ),
        (
            "[codes]\ndigits = 5",
            "5:10: error: `codes.digits` must be 6 to 8",
        ),
        (
            "[codes]\ndigits = 9",
            "5:10: error: `codes.digits` must be 6 to 8",
        ),
        (
            "[notfy]\nevents = \"lock\"",
            "4:2: error: unknown key `notfy` (did you mean `notify`?)",
        ),
        (
            "[notify]\nevents = [\"lock\", \"locks\"]",
            "5:19: error: unknown event `locks` (did you mean `lock`?)",
        ),
        (
            "[notify]\nevents = \"lock\"\nmedia = [\"mail\"]",
            "6:10: error: unknown medium `mail` (did you mean `email`?)",
        ),
        (
            "[notify]\nmedia = [\"sms\"]",
            "5:9: error: `notify.media` without `events`: no user would be notified (write events",
        ),
    ]);
}

#[test]
fn faults_of_requests_are_refused_at_their_place() {
    refused(&[
        (
            "[enrollment]\nverify = true",
            "4:2: error: unknown key `enrollment` (did you mean `enrolment`?)",
        ),
        (
            "[enrolment]\nself_service = [\"topt\"]",
            "5:17: error: unknown kind of token `topt` (did you mean `totp`?)",
        ),
        (
            "[enrolment]\nself_service = []",
            "5:16: error: `enrolment.self_service` is empty (leave it out)",
        ),
        (
            "[enrolment]\nself_service = [\"totp\", \"totp\"]",
            "5:25: error: `totp` is in `enrolment.self_service` twice",
        ),
        (
            "[enrolment]\nself_service = [\"totp\", \"push\"]",
            "5:25: error: tokens of the kind `push` are not supported by this version",
        ),
        (
            "[enrolment]\ndevice = [\"server\", \"sms\"]",
            "5:21: error: unknown kind of token on a device `sms`",
        ),
        (
            "[enrolment]\ndevice = \"totp\"",
            "5:10: error: `device` without server: enrolment codes are of server tokens (write device = \
             [\"server\"])",
        ),
        (
            "[enrolment]\nproof = \"password\"",
            "5:9: error: `proof` without `self_service`: no user may request a token (write \
             self_service = [\"totp\"], or leave `proof` out)",
        ),
        (
            "[enrolment]\nself_service = \"totp\"\nproof = []",
            "6:9: error: `enrolment.proof` is empty",
        ),
        (
            "[enrolment]\nself_service = \"totp\"\nproof = [\"pasword\"]",
            "6:10: error: unknown factor `pasword` (did you mean `password`?)",
        ),
    ]);
}

#[test]
fn faults_of_approval_and_step_up_are_refused_at_their_place() {
    refused(&[
        (
            "[enrolment]\naprovers = 1",
            "5:1: error: unknown key `enrolment.aprovers` (did you mean `approvers`?)",
        ),
        (
            "[enrolment]\nself_service = \"totp\"\nproof = [\"password\", \"sms\"]",
            "6:22: error: `sms` is no proof: it is asked of who never had a token (`proof` takes \
             password and pin; `step_up` asks for a code in addition)",
        ),
        (
            "[enrolment]\napprovers = 6",
            "5:13: error: `enrolment.approvers` must be 0 to 5",
        ),
        (
            "[enrolment]\napprovers = -1",
            "5:13: error: `enrolment.approvers` must be 0 to 5",
        ),
        (
            "[enrolment]\napprovers_for = 2",
            "5:17: error: `enrolment.approvers_for` must be a table",
        ),
        (
            "[enrolment]\napprovers_for = {}",
            "5:17: error: `enrolment.approvers_for` is empty (write { server = 2 }, or leave it out)",
        ),
        (
            "[enrolment]\napprovers_for = { srver = 2 }",
            "5:19: error: unknown kind of token `srver` (did you mean `server`?)",
        ),
        (
            "[enrolment]\napprovers_for = { server = 9 }",
            "5:28: error: `enrolment.approvers_for.server` must be 0 to 5",
        ),
        (
            "[enrolment]\napprovers_for = { push = 1 }",
            "5:19: error: tokens of the kind `push` are not supported by this version",
        ),
        (
            "[enrolment]\nstep_up = [\"sms\", \"branch\"]",
            "5:19: error: unknown step-up `branch` (known here: `sms`, `voice`, `branch_code`)",
        ),
        (
            "[enrolment]\nstep_up = []",
            "5:11: error: `enrolment.step_up` is empty",
        ),
        (
            "[enrolment]\nstep_up = [\"sms\", \"sms\"]",
            "5:19: error: `sms` is in `enrolment.step_up` twice",
        ),
        (
            "[enrolment]\nverify = \"no\"",
            "5:10: error: `enrolment.verify` must be true or false",
        ),
        (
            "[enrolment]\nactivate = \"confirmed\"",
            "5:12: error: unknown value `confirmed` of `activate`",
        ),
        (
            "[enrolment]\nverify = false\nactivate = \"confirm\"",
            "6:12: error: `activate` beside `verify = false`: no first right code is asked for",
        ),
        (
            "[enrolment]\nactivate = \"confirm\"\nfirst_use_within = \"7d\"",
            "6:20: error: `first_use_within` beside `activate = \"confirm\"`",
        ),
        (
            "[enrolment]\nremote = 0",
            "5:10: error: `enrolment.remote` must be true or false",
        ),
    ]);
}

#[test]
fn faults_of_number_and_validity_are_refused_at_their_place() {
    refused(&[
        (
            "[enrolment]\nmax_active = 0",
            "5:14: error: `enrolment.max_active` must be 1 to 20",
        ),
        (
            "[enrolment]\nmax_active = 21",
            "5:14: error: `enrolment.max_active` must be 1 to 20",
        ),
        (
            "[enrolment]\nmax_active = { totp = 0 }",
            "5:23: error: `enrolment.max_active.totp` must be 1 to 20",
        ),
        (
            "[enrolment]\nvalid_for = \"12h\"",
            "5:13: error: `enrolment.valid_for` must be 1d to 3650d",
        ),
        (
            "[enrolment]\nvalid_for = \"3y\"",
            "5:13: error: `3y` is not a duration",
        ),
        (
            "[enrolment]\nrenew_from = \"30d\"",
            "5:14: error: `renew_from` needs `valid_for`: these tokens never end (write valid_for = \
             \"1095d\", or leave `renew_from` out)",
        ),
        (
            "[enrolment]\nvalid_for = \"30d\"\nrenew_from = \"30d\"",
            "6:14: error: `renew_from` (30d) is not shorter than `valid_for` (30d) (it counts back \
             from the end: a new token would be due at once)",
        ),
    ]);
}

#[test]
fn sections_are_tables() {
    for section in ["codes", "enrolment", "notify"] {
        let column = section.len() + 4;
        let found = errors(&format!("{section} = 5\n{RULE}"));
        let wanted = format!("policies/vpn.toml:1:{column}: error: `{section}` must be a table");
        assert_eq!(found, [wanted]);
    }
}

#[test]
fn what_follows_from_a_fault_of_a_section_is_not_reported() {
    let text = format!(
        "{RULE}[enrolment]\nself_service = \"topt\"\nproof = \"password\"\nvalid_for = \"9y\"\n\
         renew_from = \"30d\"\n[notify]\nevents = \"lok\"\nmedia = \"sms\"\n"
    );
    let places: Vec<String> = errors(&text)
        .iter()
        .map(|one| one.split(": error").next().unwrap().to_owned())
        .collect();
    assert_eq!(
        places,
        [
            "policies/vpn.toml:5:16",
            "policies/vpn.toml:7:13",
            "policies/vpn.toml:10:10"
        ]
    );
}

#[test]
fn user_names_of_cases_are_read_by_the_policys_rules() {
    let rule = "[[rule]]\nname = \"staff\"\nwhen = { realm = \"staff\" }\nrequire = [\"otp\"]\n";
    let case = |user: &str| {
        format!(
            "[[test]]\nname = \"t\"\ngiven = {{ user = '{user}' }}\nexpect = {{ rule = \"staff\" }}\n"
        )
    };
    let names = "name_rules = [\"strip-host\", \"CORP=staff\"]\n";
    for user in [r"CORP\alice", "host/alice@corp", "alice@staff"] {
        let policy = policy(&format!("{names}{rule}{}", case(user)));
        assert_eq!(policy.name_rules.len(), 2);
        assert!(policy.run_tests().iter().all(TestOutcome::passed), "{user}");
    }
    let without = policy(&format!("{rule}{}", case(r"CORP\alice")));
    assert!(without.name_rules.is_empty());
    assert!(!without.run_tests().iter().all(TestOutcome::passed));
    let found = errors(&format!("{names}{rule}{}", case("@")));
    let wanted = "`@` is no user by `name_rules`";
    assert!(
        found.len() == 1 && found.concat().contains(wanted),
        "{found:?}"
    );
}

#[test]
fn rules_for_names_that_are_none_are_refused_at_their_place() {
    let found = errors(&format!("name_rules = [\"strip\"]\n{RULE}"));
    let wanted = "policies/vpn.toml:1:15: error: `strip` is no rule for names";
    assert!(
        found.len() == 1 && found.concat().starts_with(wanted),
        "{found:?}"
    );
    let many = vec!["\"strip-realm\""; 33].join(", ");
    let found = errors(&format!("name_rules = [{many}]\n{RULE}"));
    assert!(found.concat().contains("more than 32 rules"), "{found:?}");
    // Who signed in to our own pages is asked for again by the key.
    for name in ["console", "self-service"] {
        let text = format!("name_rules = [\"strip-realm\"]\n{RULE}");
        let file = Source::new(format!("policies/{name}.toml"), text);
        let found = Policies::parse(&[file], &known_attribute).unwrap_err();
        let wanted = format!("policy `{name}` takes no `name_rules`");
        assert!(found[0].to_string().contains(&wanted), "{}", found[0]);
    }
}
