use super::*;
use crate::model::audit::Channel;
use crate::model::id::RequestId;

fn record(event: Happened) -> AuditRecord {
    AuditRecord {
        seq: 7,
        at: UnixTime::from_secs(1_795_000_000),
        event,
        changes: Vec::new(),
        mac: [0; 32],
    }
}

fn change(action: &str, detail: Option<&str>) -> AuditRecord {
    record(Happened::Change(ChangeEvent {
        request: RequestId::from_bytes([1; 16]),
        actor: "uid 0".to_owned(),
        action: action.to_owned(),
        target: "TOTP-7F3K9Q2M".to_owned(),
        user: Some("alice@default".to_owned()),
        detail: detail.map(str::to_owned),
    }))
}

fn decision(purpose: Purpose, reason: Reason, locked: bool) -> AuditRecord {
    record(Happened::Decision(DecisionEvent {
        request: RequestId::from_bytes([1; 16]),
        purpose,
        decision: reason.decision(),
        reason,
        user: "alice@default".to_owned(),
        serial: Some("TOTP-7F3K9Q2M".parse().unwrap()),
        step: None,
        client: "nas".into(),
        channel: Channel::Radius,
        source: None,
        rule: Some("vpn:staff".into()),
        method: "pap".into(),
        origin: None,
        note: None,
        waiver: None,
        failures: 0,
        locked,
        latency: 0,
    }))
}

const PURPOSES: [Purpose; 5] = [
    Purpose::Login,
    Purpose::Confirm,
    Purpose::Resync,
    Purpose::Enrol,
    Purpose::Inbound,
];

/// Every action of the audit that tells nothing.
const SILENT: [&str; 35] = [
    "user_unlock",
    "user_end_waits",
    "bypass_grant",
    "bypass_end",
    "exemption_grant",
    "exemption_end",
    "credentials_renew",
    "sources_forget",
    "token_offer",
    "token_approve",
    "token_expire",
    "token_renew",
    "token_unlink",
    "code_issue",
    "device_ask",
    "device_rename",
    "device_sign_in",
    "sheet_print",
    "audit_export",
    "outage_declare",
    "outage_end",
    "approval_lend",
    "approval_take_back",
    "client_add",
    "client_set",
    "client_remove",
    "client_learn",
    "clock_accept",
    "import",
    "message_sent",
    "message_failed",
    "notified",
    "notice_sent",
    "notice_failed",
    "what_is_not_known_yet",
];

#[test]
fn every_action_of_the_audit() {
    use Topic::*;
    for (action, detail, wanted) in [
        ("token_add", Some("pending"), Some(EnrolmentStarted)),
        ("token_add", Some("requested"), Some(EnrolmentStarted)),
        ("token_add", Some("approved"), Some(EnrolmentStarted)),
        (
            "token_add",
            Some("pending, replaces TOTP-1"),
            Some(EnrolmentStarted),
        ),
        ("token_add", Some("active"), Some(EnrolmentEnded)),
        (
            "token_add",
            Some("active, replaces TOTP-1"),
            Some(EnrolmentEnded),
        ),
        ("token_add", Some("suspended"), None),
        ("token_add", None, None),
        ("token_request", None, Some(EnrolmentStarted)),
        ("token_resume", None, Some(TokenResumed)),
        ("token_suspend", None, Some(TokenSuspended)),
        ("token_suspend", Some("frozen"), Some(TokenSuspended)),
        ("token_revoke", Some("lost"), Some(TokenRevoked)),
        ("token_remove", None, Some(TokenRemoved)),
        ("token_link", None, None),
        ("device_revoke", Some("administrator"), Some(DeviceRevoked)),
        (
            "credentials_set",
            Some("new PIN, no password"),
            Some(CredentialsChanged),
        ),
        (
            "credentials_set",
            Some("same PIN, new password"),
            Some(CredentialsChanged),
        ),
        (
            "credentials_set",
            Some("new imported PIN, no password"),
            Some(CredentialsChanged),
        ),
        (
            "credentials_set",
            Some("no PIN, same password"),
            Some(CredentialsChanged),
        ),
        (
            "credentials_set",
            Some("new PIN to be changed, no password"),
            Some(CredentialsChanged),
        ),
        (
            "credentials_set",
            Some("same PIN to be changed, no password"),
            None,
        ),
        ("credentials_set", Some("same PIN, same password"), None),
        ("user_add", None, None),
        (
            "user_add",
            Some("new PIN, no password"),
            Some(CredentialsChanged),
        ),
        ("user_set", None, None),
        ("user_set", Some("phone"), Some(PhoneChanged)),
        ("user_set", Some("email"), Some(EmailChanged)),
        ("user_set", Some("phone, email"), Some(ContactsChanged)),
    ] {
        let told = notice(&change(action, detail));
        assert_eq!(
            told.as_ref().map(|told| told.topic),
            wanted,
            "{action} {detail:?}"
        );
        let of_user = matches!(action, "credentials_set" | "user_add" | "user_set");
        if let Some(told) = told {
            assert_eq!(told.user.to_string(), "alice@default");
            let target = (!of_user).then_some("TOTP-7F3K9Q2M");
            assert_eq!(told.target.as_deref(), target, "{action}");
            assert_eq!((told.client, told.policy), (None, None));
        }
    }
    for action in SILENT {
        for detail in [
            None,
            Some("active"),
            Some("phone"),
            Some("new PIN, no password"),
        ] {
            assert_eq!(notice(&change(action, detail)), None, "{action} {detail:?}");
        }
    }
}

#[test]
fn a_linked_token_is_told_to_whom_it_counts_for() {
    let told = notice(&change("token_link", Some("bob@default"))).unwrap();
    assert_eq!((told.topic, told.user.name()), (Topic::TokenLinked, "bob"));
}

#[test]
fn every_purpose_and_reason() {
    for purpose in PURPOSES {
        for reason in &Reason::ALL {
            let accepted = reason.decision() == Decision::Accept;
            let wanted = match purpose {
                Purpose::Confirm if accepted => Some(Topic::EnrolmentEnded),
                Purpose::Enrol if accepted => Some(Topic::DeviceBound),
                Purpose::Login if *reason == Reason::RecoveryOk => Some(Topic::RecoveryUsed),
                _ => None,
            };
            let told = notice(&decision(purpose, *reason, false));
            assert_eq!(
                told.as_ref().map(|told| told.topic),
                wanted,
                "{purpose:?} {reason}"
            );
            if let Some(told) = told {
                assert_eq!(told.target.as_deref(), Some("TOTP-7F3K9Q2M"));
            }
            let told = notice(&decision(purpose, *reason, true)).unwrap();
            assert_eq!((told.topic, told.target.as_deref()), (Topic::Locked, None));
            assert_eq!(told.client.as_deref(), Some("nas"));
            assert_eq!(told.policy.as_deref(), Some("vpn"));
        }
    }
}

/// A policy that does not say what is told leaves the lock that only an administrator ends.
#[test]
fn a_lock_for_good_is_told_unless_the_policy_says_what_is() {
    let rule = "[[rule]]\nname = \"staff\"\nrequire = [\"otp\"]\n";
    let mut for_good = decision(Purpose::Login, Reason::WrongCode, true);
    if let Happened::Decision(event) = &mut for_good.event {
        event.note = Some(format!("seen; {}", DecisionEvent::FOR_GOOD));
    }
    let timed = decision(Purpose::Login, Reason::WrongCode, true);
    for (notify, told) in [
        ("", [true, false]),
        ("[notify]\nevents = []\n", [false, false]),
        ("[notify]\nevents = [\"recovery\"]\n", [false, false]),
        ("[notify]\nevents = [\"lock\"]\n", [true, true]),
    ] {
        let text = format!("{rule}{notify}");
        let source = crate::diagnostic::Source::new("vpn.toml", text);
        let policies = Policies::parse(&[source], &|_, _| Ok(())).unwrap();
        let wanted = [&for_good, &timed].map(|one| notice(one).unwrap().is_wanted(&policies));
        assert_eq!(wanted, told, "{notify}");
    }
}

#[test]
fn a_record_without_a_user_makes_no_notice() {
    let mut no_user = change("token_revoke", None);
    if let Happened::Change(event) = &mut no_user.event {
        event.user = None;
    }
    assert_eq!(notice(&no_user), None);
    if let Happened::Change(event) = &mut no_user.event {
        event.user = Some("a\\b@c".to_owned());
    }
    assert_eq!(notice(&no_user), None);
}

#[test]
fn the_policy_of_the_rule_says_what_is_told() {
    let rule = "[[rule]]\nname = \"staff\"\nrequire = [\"otp\"]\n";
    let source = |name: &str, events: &str| {
        let text = format!("{rule}[notify]\nevents = [{events}]\n");
        crate::diagnostic::Source::new(name, text)
    };
    let files = [
        source("default.toml", "\"enrolment\", \"lock\""),
        source("vpn.toml", "\"recovery\", \"factor_change\""),
    ];
    let policies = Policies::parse(&files, &|_, _| Ok(())).unwrap();
    let wanted = |record: &AuditRecord| notice(record).unwrap().is_wanted(&policies);
    assert!(!wanted(&decision(Purpose::Login, Reason::WrongCode, true)));
    assert!(wanted(&decision(Purpose::Login, Reason::RecoveryOk, false)));
    assert!(wanted(&change("token_add", Some("pending"))));
    assert!(!wanted(&change("token_revoke", None)));
    // Either event will do for a token that comes into use again.
    assert!(wanted(&change("token_resume", None)));
    let mut gone = notice(&decision(Purpose::Login, Reason::WrongCode, true)).unwrap();
    gone.policy = Some("gone".to_owned());
    assert!(
        gone.is_wanted(&policies),
        "default decides for a policy that is no more"
    );
}
