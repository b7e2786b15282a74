//! Tokens in stock: imported without an owner, given to users, taken back.

use std::fmt::Write as _;
use std::time::Duration;

use oncegate::model::client::Scope;
use oncegate::otp::{Algorithm, Digits, hotp};
use oncegate::secret::{OtpKey, SecretBytes};
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp};
use crate::support::daemon::Site;
use crate::user::enrolment::{last, state};

const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

fn code(counter: u64) -> String {
    let key = OtpKey::new(SecretBytes::from(&b"12345678901234567890"[..])).unwrap();
    let code = hotp::generate(&key, Algorithm::Sha1, Digits::SIX, counter);
    code.expose().expose().to_owned()
}

async fn post(app: &TestApp, path: &str, body: Value) -> Answer {
    let path = format!("/v1/admin/{path}");
    app.admin("POST", &path, Some(body)).await
}

async fn stocked(app: &TestApp) -> Answer {
    let row = json!({ "user": "", "kind": "hotp", "secret": SECRET, "serial": "STOCK-1" });
    post(app, "import", json!({ "make": "tokens", "rows": [row] })).await
}

/// A token goes to a user, is used, goes back and to another: what was used stays used.
#[tokio::test]
async fn a_token_goes_from_stock_to_users_and_back() {
    let app = TestApp::new();
    for user in ["alice", "bob"] {
        app.user(user).await;
    }
    let verify = app.key("web", Scope::Verify, None).await;
    assert_eq!(stocked(&app).await.json()["tokens"], 1);
    let shown = async || {
        let path = "/v1/admin/tokens/STOCK-1";
        app.admin("GET", path, None).await.json()
    };
    let token = shown().await;
    assert_eq!(
        (&token["state"], &token["user"]),
        (&json!("unassigned"), &Value::Null)
    );
    let path = "/v1/admin/tokens?state=unassigned";
    let stock = app.admin("GET", path, None).await;
    assert_eq!(stock.json()["tokens"][0]["serial"], "STOCK-1");
    let again = stocked(&app).await.json();
    assert_eq!(
        (&again["there"], &again["tokens"]),
        (&json!(1), &json!(0)),
        "{again}"
    );

    let given = post(&app, "tokens/STOCK-1/assign", json!({ "user": "alice" })).await;
    assert_eq!(given.json()["user"], "alice@default");
    assert_eq!(given.json()["state"], "pending");
    let login = app.verify(&verify, "alice", &code(1)).await.json();
    assert_eq!(login["decision"], "accept", "her first right code");
    assert_eq!(shown().await["state"], "active");
    let taken = post(&app, "tokens/STOCK-1/assign", json!({ "user": "bob" })).await;
    assert_eq!(taken.problem().0, 409, "it is hers");

    let back = post(&app, "tokens/STOCK-1/unassign", json!({})).await;
    assert_eq!(back.json()["state"], "unassigned", "{back:?}");
    assert_eq!(back.json()["user"], Value::Null);
    let login = app.verify(&verify, "alice", &code(2)).await.json();
    assert_eq!(login["decision"], "reject");
    let codes = json!({ "user": "bob", "first": code(0), "second": code(1) });
    let used = post(&app, "tokens/STOCK-1/assign", codes).await;
    assert_eq!(used.problem().0, 409, "alice used these");
    assert_eq!(
        shown().await["state"],
        "unassigned",
        "a wrong pair changes nothing"
    );
    let codes = json!({ "user": "bob", "first": code(3), "second": code(4) });
    let given = post(&app, "tokens/STOCK-1/assign", codes).await;
    assert_eq!(given.json()["state"], "active", "{given:?}");
    for (code, decision) in [(code(4), "reject"), (code(5), "accept")] {
        app.clock.advance(Duration::from_mins(1));
        let login = app.verify(&verify, "bob", &code).await.json();
        assert_eq!(login["decision"], decision);
    }
    let audit = app.admin("GET", "/v1/admin/audit?limit=100", None).await;
    let audit = audit.json();
    let of = |action: &str| {
        let records = audit["records"].as_array().unwrap().iter();
        records.filter(|one| one["action"] == action).count()
    };
    assert_eq!((of("token_assign"), of("token_unassign")), (2, 1));
}

/// Codes that the help desk has read are used up, or the token is no one's; and what was refused is on record.
#[tokio::test]
async fn codes_that_are_refused_leave_the_token_in_stock() {
    let app = TestApp::new();
    app.user("alice").await;
    stocked(&app).await;
    let own = json!({ "user": "alice", "kind": "totp", "active": true });
    post(&app, "tokens", own).await;
    let verify = app.key("web", Scope::Verify, None).await;
    let refused = async |pair: [String; 2], reason: &str, next: &str| {
        let [first, second] = pair;
        let codes = json!({ "user": "alice", "first": first, "second": second });
        let answer = post(&app, "tokens/STOCK-1/assign", codes).await;
        assert_eq!(answer.problem().0, 409, "{reason}: {answer:?}");
        let said = answer.json().to_string();
        assert!(said.contains(next), "{said}");
        let record = last(&app).await;
        assert_eq!(
            (&record["user"], &record["reason"], &record["purpose"]),
            (&json!("alice@default"), &json!(reason), &json!("confirm")),
            "{record}"
        );
        assert_eq!(record["note"], "token STOCK-1");
        assert_eq!(state(&app, "STOCK-1").await, "unassigned", "{reason}");
    };
    let right = || [code(0), code(1)];
    let wrong = || ["111111".to_owned(), "222222".to_owned()];
    refused(wrong(), "wrong_code", "press the token twice").await;
    for _ in 0..5 {
        app.verify(&verify, "alice", "000000").await;
    }
    refused(right(), "throttled", "wait some seconds").await;
    app.clock.advance(Duration::from_mins(1));
    let disabled = async |disabled: bool| {
        let body = Some(json!({ "disabled": disabled }));
        app.admin("PATCH", "/v1/admin/users/alice", body).await;
    };
    disabled(true).await;
    refused(
        right(),
        "user_disabled",
        "oncegate user enable alice@default",
    )
    .await;
    disabled(false).await;
    let codes = json!({ "user": "alice", "first": code(0), "second": code(1) });
    let given = post(&app, "tokens/STOCK-1/assign", codes).await;
    assert_eq!(given.json()["state"], "active", "{given:?}");
}

/// What does not go into stock or out of it, and who may not.
#[tokio::test]
async fn stock_has_rules() {
    let app = TestApp::new();
    app.user("alice").await;
    stocked(&app).await;
    for (path, body, status) in [
        ("tokens/STOCK-1/assign", json!({ "user": "nemo" }), 404),
        ("tokens/STOCK-1/assign", json!({ "user": "" }), 400),
        ("tokens/STOCK-1/assign", json!({ "user": "@" }), 400),
        (
            "tokens/STOCK-1/assign",
            json!({ "user": "alice", "first": "123456" }),
            400,
        ),
        ("tokens/STOCK-1/unassign", json!({}), 409),
        ("tokens/STOCK-1/confirm", json!({ "otp": "755224" }), 409),
        ("tokens/STOCK-1/resume", json!({}), 409),
        ("tokens/NONE-1/assign", json!({ "user": "alice" }), 404),
    ] {
        let answer = post(&app, path, body.clone()).await;
        assert_eq!(answer.status, status, "{path} {body}: {answer:?}");
    }
    let operator = app.key("desk", Scope::Operator, None).await;
    let path = "/v1/admin/tokens/STOCK-1/assign";
    let active = json!({ "user": "alice", "active": true });
    let refused = app.keyed("POST", path, Some(&operator), Some(active)).await;
    assert_eq!(refused.problem().0, 403);
    let pending = json!({ "user": "alice" });
    let given = app
        .keyed("POST", path, Some(&operator), Some(pending))
        .await;
    assert_eq!(given.status, 200, "{given:?}");
    let sheet = json!({ "user": "alice", "kind": "recovery", "serial": "SHEET-1" });
    post(&app, "tokens", sheet).await;
    let refused = post(&app, "tokens/SHEET-1/unassign", json!({})).await;
    assert_eq!(refused.problem().0, 409);
}

/// On the command line, and past a page boundary of the list.
#[test]
fn the_commands_of_the_stock() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    let mut file = "serial,kind,secret,user\n".to_owned();
    for number in 0..1200 {
        let key = format!("key of a token {number:05}");
        let key = oncegate::otpauth::encode_base32(key.as_bytes());
        let _ = writeln!(file, "STOCK-{number:05},hotp,{},", key.expose());
    }
    let output = site.run_with(&["token", "import", "-"], &file);
    assert!(output.status.success(), "{output:?}");
    let stock = site.json(&["token", "list", "--unassigned"]);
    assert_eq!(stock["tokens"].as_array().unwrap().len(), 1200);
    let given = site.json(&["token", "assign", "STOCK-00007", "alice", "--active"]);
    assert_eq!(
        (&given["user"], &given["state"]),
        (&json!("alice@default"), &json!("active"))
    );
    let back = site.json(&["token", "unassign", "STOCK-00007"]);
    assert_eq!(back["state"], "unassigned");
    let shown = site.run(&["token", "show", "STOCK-00007"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("none: in stock"));
    let verified = site.run(&["store", "verify"]);
    assert!(verified.status.success(), "{verified:?}");
}
