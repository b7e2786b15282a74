//! Rules for user names in a policy: taken after those of the client, on every way in.

use oncegate::admin::ClientPatch;
use oncegate::model::kind::Kind;
use oncegate::otp::Digits;
use serde_json::json;

use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::Site;
use crate::support::lab::{Lab, code_of};

const ALICE: &str = "alice@staff";
const POLICY: &str = "reject_delay = \"0s\"\nname_rules = [\"strip-host\", \"CORP=staff\"]\n\
                      [[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";

#[tokio::test]
async fn rules_of_the_policy_are_taken_after_those_of_the_client() {
    let lab = Lab::new(&[("vpn", POLICY)]).await;
    lab.user(ALICE, None, None).await;
    lab.token(ALICE, Kind::Hotp, Digits::SIX).await;
    let code = |counter| code_of(ALICE, Digits::SIX, counter);
    for (counter, name) in [(0, r"CORP\alice"), (1, "host/alice@corp"), (2, ALICE)] {
        let heard = lab.radius("vpn", name, &code(counter), None, None).await;
        assert_eq!(heard.decision, "accept", "{name}");
    }
    // One user and one counter, however the name is written.
    let heard = lab.radius("vpn", r"corp\ALICE", &code(2), None, None).await;
    assert_eq!(heard.decision, "reject");
    let heard = lab.radius("vpn", r"OLD\alice", &code(3), None, None).await;
    assert_eq!(heard.decision, "reject");
    let patch = ClientPatch {
        names: Some(vec!["OLD=corp".parse().unwrap()]),
        ..ClientPatch::default()
    };
    let set = lab
        .service()
        .admin
        .set_client("nas-vpn", patch, None, lab.by());
    set.await.unwrap();
    let heard = lab.radius("vpn", r"OLD\alice", &code(3), None, None).await;
    assert_eq!(heard.decision, "accept");
    // Applications have no rules of their own, and those of the policy.
    let body = json!({"user": r"CORP\alice", "otp": code(4)});
    let heard = lab.http("vpn", body).await;
    assert_eq!(heard.body["user"], ALICE);
}

/// An application that is bound to a realm asks about its users by names of which only the rules say so.
#[tokio::test]
async fn rules_of_the_policy_are_taken_before_the_realm_is_looked_at() {
    let lab = Lab::new(&[("vpn", POLICY)]).await;
    lab.user(ALICE, None, None).await;
    lab.token(ALICE, Kind::Hotp, Digits::SIX).await;
    let patch = ClientPatch {
        realm: Some(Some("staff".to_owned())),
        ..ClientPatch::default()
    };
    let set = lab
        .service()
        .admin
        .set_client("app-vpn", patch, None, lab.by());
    set.await.unwrap();
    let body = json!({"user": r"CORP\alice", "otp": code_of(ALICE, Digits::SIX, 0)});
    assert_eq!(lab.status("vpn", "/v1/verify", body).await, 200);
    let body = json!({"user": r"LAB\alice", "otp": code_of(ALICE, Digits::SIX, 1)});
    assert_eq!(lab.status("vpn", "/v1/verify", body).await, 403);
}

#[test]
fn checks_tests_and_explanations_follow_the_rules_of_the_policy() {
    let site = Site::new();
    let file = site.path().join("policies/vpn.toml");
    let case = "[[test]]\nname = \"the domain is the realm\"\ngiven = { user = 'CORP\\alice' }\n\
                expect = { rule = \"staff\" }\n";
    let rule = "[[rule]]\nname = \"staff\"\nwhen = { realm = \"staff\" }\nrequire = [\"otp\"]\n";
    let text = format!("name_rules = \"CORP=staff\"\n{rule}{case}");
    std::fs::write(&file, text).unwrap();
    let checked = site.json(&["policy", "check"]);
    let rules = checked["rules"].as_array().unwrap();
    let of = |name: &str| rules.iter().find(|rule| rule["policy"] == name).unwrap();
    assert_eq!(of("vpn")["name_rules"], json!(["corp=staff"]));
    assert_eq!(of("default")["name_rules"], json!([]));
    let shown = site.run(&["policy", "check"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("vpn: user names by corp=staff"), "{shown}");
    let tested = site.json(&["policy", "test", file.to_str().unwrap()]);
    assert_eq!(tested["ok"], true, "{tested}");
    site.enrol(ALICE, "hotp", RFC_SECRET);
    site.api_client("app");
    site.json(&["client", "set", "app", "--policy", "vpn"]);
    let _daemon = site.serve();
    let words = ["explain", "--user", r"CORP\alice", "--client", "app"];
    let foreseen = site.json(&words);
    assert_eq!(foreseen["login"]["user"]["user"], ALICE);
    let notes = foreseen["notes"].to_string();
    assert!(notes.contains("Policy vpn reads the user name"), "{notes}");
    let words = ["verify", r"CORP\alice", "--client", "app", "--otp-stdin"];
    let answer = site.json_with(&words, &hotp(0));
    assert_eq!(answer["user"], ALICE);
}

/// The audit has the key: rules for what clients send would make another user of it.
#[tokio::test]
async fn what_is_on_record_is_not_put_through_the_rules_again() {
    let policy = "reject_delay = \"0s\"\nname_rules = [\"staff=lab\", \"CORP=staff\"]\n\
                  [[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";
    let lab = Lab::new(&[("vpn", policy)]).await;
    lab.user(ALICE, None, None).await;
    lab.token(ALICE, Kind::Hotp, Digits::SIX).await;
    let body = json!({"user": r"CORP\alice", "otp": code_of(ALICE, Digits::SIX, 0)});
    let heard = lab.http("vpn", body).await;
    let id = heard.body["request_id"].as_str().unwrap().to_owned();
    let told = lab.admin("GET", &format!("/v1/admin/explain/{id}")).await;
    let user = &told["records"][0]["login"]["user"];
    assert_eq!(
        (&user["user"], &user["known"]),
        (&json!(ALICE), &json!(true))
    );
}
