//! Fault C8: a client bound to a realm supplies it for names that come without one.

use oncegate::admin::ClientPatch;
use oncegate::model::kind::Kind;
use oncegate::otp::Digits;
use serde_json::json;

use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::Site;
use crate::support::lab::{Lab, code_of};

const CORP: &str = "alice@corp";

async fn lab() -> Lab {
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";
    let lab = Lab::new(&[("vpn", policy)]).await;
    for user in [CORP, "alice", "alice@lab"] {
        lab.user(user, None, None).await;
        lab.token(user, Kind::Hotp, Digits::SIX).await;
    }
    for client in ["app-vpn", "nas-vpn"] {
        let patch = ClientPatch {
            realm: Some(Some("corp".to_owned())),
            ..ClientPatch::default()
        };
        let set = lab
            .service()
            .admin
            .set_client(client, patch, None, lab.by());
        set.await.unwrap();
    }
    lab
}

fn code(counter: u64) -> String {
    code_of(CORP, Digits::SIX, counter)
}

#[tokio::test]
async fn a_bare_name_is_of_the_clients_realm() {
    let lab = lab().await;
    for (counter, name) in [
        (0, "alice"),
        (1, "ALICE"),
        (2, CORP),
        (3, "CORP\\alice"),
        (4, " alice "),
    ] {
        let heard = lab.radius("vpn", name, &code(counter), None, None).await;
        assert_eq!(heard.decision, "accept", "{name}");
        let event = lab.decision(CORP).await;
        assert_eq!((event.user.as_str(), event.step), (CORP, Some(counter)));
    }
    let heard = lab
        .http("vpn", json!({"user": "alice", "otp": code(5)}))
        .await;
    assert_eq!(heard.body["user"], CORP);
}

#[tokio::test]
async fn another_realm_that_is_named_is_still_refused() {
    let lab = lab().await;
    for name in ["alice@default", "alice@lab", "LAB\\alice"] {
        let user = if name.contains("default") {
            "alice"
        } else {
            "alice@lab"
        };
        let typed = code_of(user, Digits::SIX, 0);
        let heard = lab.radius("vpn", name, &typed, None, None).await;
        assert_eq!(heard.decision, "reject", "{name}");
        assert_eq!(lab.reason(user).await, "other_realm", "{name}");
        let body = json!({"user": name, "otp": typed});
        assert_eq!(lab.status("vpn", "/v1/verify", body).await, 403, "{name}");
    }
    // What is no user of the realm is unknown there, whoever has the name elsewhere.
    lab.user("bob", None, None).await;
    lab.radius("vpn", "bob", "123456", None, None).await;
    assert_eq!(lab.reason("bob@corp").await, "unknown_user");
}

/// A round that an application begins, and its own way to another PIN, mean the same user.
#[tokio::test]
async fn rounds_and_changes_mean_the_same_user() {
    let lab = lab().await;
    let body = json!({"user": "alice", "factor": "sms"});
    lab.begin("vpn", "/v1/challenges", body).await;
    let page = lab.admin("GET", "/v1/admin/audit?limit=1").await;
    assert_eq!(page["records"][0]["target"], CORP);
}

#[test]
fn the_command_line_and_explain_do_the_same() {
    let site = Site::new();
    site.enrol(CORP, "hotp", RFC_SECRET);
    site.api_client("app");
    site.json(&["client", "set", "app", "--realm", "corp"]);
    let _daemon = site.serve();
    let foreseen = site.json(&["explain", "--user", "alice", "--client", "app"]);
    assert_eq!(foreseen["login"]["user"]["user"], CORP);
    assert_eq!(foreseen["login"]["user"]["known"], true);
    let words = ["verify", "alice", "--client", "app", "--otp-stdin"];
    let answer = site.json_with(&words, &hotp(0));
    assert_eq!(answer["user"], CORP);
}
