//! What may be left out: a bypass, an overseas exemption; and what an assurance demands anyway.

use std::net::IpAddr;
use std::time::Duration;

use oncegate::admin::Grant;
use oncegate::login::travel::Travel;
use oncegate::model::kind::Kind;
use oncegate::otp::Digits;
use oncegate::store::WaiverKind;
use oncegate::time::UnixTime;
use serde_json::json;

use crate::support::expected::{PASSWORD, PIN};
use crate::support::lab::{Lab, START, code_of, key};

const PIN_OTP: &str = r#"
reject_delay = "0s"
[[rule]]
name = "all"
require = ["pin", "otp"]
"#;

async fn grant(lab: &Lab, user: &str, which: WaiverKind, length: Duration) {
    let grant = Grant {
        reason: "telephone lost".to_owned(),
        from: lab.service().core.now(),
        until: lab.service().core.now().plus(length),
    };
    let (user, by) = (key(user), lab.by());
    let granted = lab.service().admin.grant(&user, which, grant, by).await;
    granted.expect("a grant");
}

fn code(counter: u64) -> String {
    code_of("alice", Digits::SIX, counter)
}

/// The word for what was typed in one box.
async fn typed(lab: &Lab, policy: &str, typed: &str) -> &'static str {
    lab.radius(policy, "alice", typed, None, None).await;
    lab.reason("alice").await
}

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn a_bypass_leaves_out_the_code_where_something_else_is_asked_for() {
    let strict = format!("bypass = false\n{PIN_OTP}");
    let only_otp = PIN_OTP.replace("\"pin\", ", "");
    let rounds = format!("{PIN_OTP}present = \"challenge\"\n");
    let first = PIN_OTP.replace("\"pin\", \"otp\"", "\"otp\", \"pin\"");
    let policies = [
        ("vpn", PIN_OTP),
        ("strict", &strict),
        ("otp", &only_otp),
        ("rounds", &rounds),
        ("first", &first),
    ];
    let lab = Lab::new(&policies).await;
    lab.user("alice", Some(PIN), None).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    assert_eq!(typed(&lab, "vpn", PIN).await, "malformed_code");
    grant(&lab, "alice", WaiverKind::Bypass, HOUR).await;
    for policy in ["vpn", "rounds", "first"] {
        assert_eq!(typed(&lab, policy, PIN).await, "bypass_ok", "{policy}");
        let decision = lab.decision("alice").await;
        let waiver = decision.waiver.expect("the exception");
        assert!(waiver.starts_with("bypass by test until 20"), "{waiver}");
        assert!(waiver.ends_with(": telephone lost"), "{waiver}");
        assert_eq!((decision.serial, decision.step), (None, None));
        assert_eq!(typed(&lab, policy, "280466").await, "wrong_pin", "{policy}");
    }
    let body = json!({ "user": "alice", "pin": PIN });
    let heard = lab.http("vpn", body).await;
    assert_eq!(
        (heard.body["assurance"].as_u64(), heard.decision.as_str()),
        (Some(1), "accept")
    );
    // Not where it is all that is asked for, nor where the policy knows no bypass.
    assert_eq!(typed(&lab, "otp", PIN).await, "wrong_code");
    assert_eq!(typed(&lab, "otp", &code(0)).await, "hotp_ok");
    assert_eq!(typed(&lab, "strict", PIN).await, "malformed_code");
    // It ends by itself.
    lab.clock
        .set(UnixTime::from_millis(START.plus(HOUR).as_millis() - 1));
    assert_eq!(typed(&lab, "vpn", PIN).await, "bypass_ok");
    lab.clock.set(START.plus(HOUR));
    assert_eq!(typed(&lab, "vpn", PIN).await, "malformed_code");
    assert_eq!(lab.decision("alice").await.waiver, None);
    assert_eq!(lab.last("alice"), Some(0));
}

#[tokio::test]
async fn a_right_code_presented_all_the_same_is_used_up() {
    let lab = Lab::new(&[("vpn", PIN_OTP)]).await;
    lab.user("alice", Some(PIN), None).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    grant(&lab, "alice", WaiverKind::Bypass, HOUR).await;
    let joined = format!("{PIN}{}", code(0));
    assert_eq!(typed(&lab, "vpn", &joined).await, "hotp_ok");
    assert_eq!(lab.last("alice"), Some(0));
    assert!(
        lab.decision("alice").await.waiver.is_some(),
        "it was in force"
    );
    assert_eq!(typed(&lab, "vpn", &joined).await, "used_code");
    let fields = async |pin: &str, otp: &str| {
        let body = json!({ "user": "alice", "pin": pin, "otp": otp });
        lab.http("vpn", body).await;
        (lab.reason("alice").await, lab.last("alice"))
    };
    assert_eq!(fields(PIN, &code(1)).await, ("hotp_ok", Some(1)));
    assert_eq!(fields("280466", &code(2)).await, ("wrong_pin", Some(2)));
    // A wrong one was not asked for.
    assert_eq!(fields(PIN, &code(999)).await, ("bypass_ok", Some(2)));
}

/// A granted record, a departure, an address abroad: only all three.
#[tokio::test]
async fn an_exemption_needs_all_three() {
    let policy = r#"
reject_delay = "0s"
[exemption]
home = ["KR"]
[[rule]]
name = "all"
require = ["password", "otp"]
exempt = ["otp"]
"#;
    let lab = Lab::new(&[("vpn", policy)]).await;
    let countries = "192.0.2.0/24,KR\n198.51.100.0/24,JP\n";
    let (home, abroad) = ("192.0.2.7", "198.51.100.7");
    let departed = "2026-01-01T00:00:00Z";
    lab.user("first", None, Some(PASSWORD)).await;
    let mut departures = Vec::new();
    for case in 0..8 {
        let user = format!("user{case}");
        lab.same_user(&user, "first").await;
        lab.token(&user, Kind::Hotp, Digits::SIX).await;
        if case & 1 > 0 {
            grant(&lab, &user, WaiverKind::Exemption, HOUR).await;
        }
        let returned = if case & 2 > 0 {
            ""
        } else {
            "2026-02-01T00:00:00Z"
        };
        departures.push(format!("{user},{departed},{returned}"));
    }
    let travel = Travel::parse(&departures.join("\n"), countries).unwrap();
    lab.service().login.replace_travel(travel);
    for case in 0..8 {
        let user = format!("user{case}");
        let address = if case & 4 > 0 { abroad } else { home };
        let exempt = case == 7;
        let expected = if exempt {
            "exempt_ok"
        } else {
            "malformed_code"
        };
        let body = json!({ "user": user, "password": PASSWORD, "client_ip": address });
        lab.http("vpn", body).await;
        assert_eq!(lab.reason(&user).await, expected, "{case:03b}");
        let address: IpAddr = address.parse().unwrap();
        let station = Some(address);
        lab.radius("vpn", &user, PASSWORD, None, station).await;
        let decision = lab.decision(&user).await;
        assert_eq!(decision.reason.as_str(), expected, "{case:03b}");
        if exempt {
            let waiver = decision.waiver.expect("the exception");
            assert!(waiver.starts_with("exemption by test until 20"), "{waiver}");
            assert!(waiver.ends_with(": telephone lost"), "{waiver}");
        }
        // With the code everybody comes in.
        let typed = format!("{PASSWORD}{}", code_of(&user, Digits::SIX, 0));
        lab.radius("vpn", &user, &typed, None, station).await;
        assert_eq!(lab.reason(&user).await, "hotp_ok", "{case:03b}");
    }
    // From nowhere is at home; and it ends by itself.
    lab.radius("vpn", "user7", PASSWORD, None, None).await;
    assert_eq!(lab.reason("user7").await, "malformed_code");
    lab.clock.advance(HOUR);
    let body = json!({ "user": "user7", "password": PASSWORD, "client_ip": abroad });
    lab.http("vpn", body).await;
    assert_eq!(lab.reason("user7").await, "malformed_code");
}

#[tokio::test]
async fn an_assurance_that_is_not_reached_is_refused() {
    let otp = PIN_OTP.replace("\"pin\", ", "");
    let least = format!("{PIN_OTP}min_assurance = 2\n");
    let lab = Lab::new(&[("otp", &otp), ("vpn", PIN_OTP), ("least", &least)]).await;
    lab.user("alice", Some(PIN), None).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    let mut counter = 0;
    for (policy, asked, word) in [
        ("otp", "1", "hotp_ok"),
        ("otp", "2", "low_assurance"),
        ("otp", "3", "low_assurance"),
        ("vpn", "1", "hotp_ok"),
        ("vpn", "2", "hotp_ok"),
        ("vpn", "3", "low_assurance"),
        ("least", "1", "hotp_ok"),
        ("least", "3", "low_assurance"),
    ] {
        let fields =
            json!({ "user": "alice", "otp": code(counter), "context": { "min_assurance": asked } });
        let mut body = fields;
        if policy != "otp" {
            body["pin"] = json!(PIN);
        }
        lab.http(policy, body).await;
        assert_eq!(lab.reason("alice").await, word, "{policy} {asked}");
        counter += u64::from(word == "hotp_ok");
    }
    assert_eq!(lab.decision("alice").await.failures, 0);
    // A bypass leaves less than the rule wants.
    grant(&lab, "alice", WaiverKind::Bypass, HOUR).await;
    assert_eq!(typed(&lab, "vpn", PIN).await, "bypass_ok");
    assert_eq!(typed(&lab, "least", PIN).await, "low_assurance");
    let joined = format!("{PIN}{}", code(counter));
    assert_eq!(typed(&lab, "least", &joined).await, "hotp_ok");
}
