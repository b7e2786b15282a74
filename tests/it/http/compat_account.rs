//! privacyIDEA's `/auth` and what a service account may ask then, by the requests of its Java client; `LinOTP`'s
//! differences.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use oncegate::config::compat::{Compat, Shape};
use oncegate::model::client::Scope;
use oncegate::secret::SecretString;
use serde_json::{Value, json};

use crate::support::app::{TestApp, send};
use crate::support::yubikey::Key;

const OTP_ALONE: &str = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";
const PIN_FIRST: &str = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"pin\", \"otp\"]\n\
                         present = \"either\"\n";
const AGENT: &str = "privacyIDEA-Keycloak";

fn compat(client: &str, shape: Shape) -> Compat {
    Compat {
        client: client.to_owned(),
        shape,
        networks: vec!["192.0.2.7/32".parse().unwrap()],
        double_decode: None,
        show_unknown_user: false,
        yubico: None,
    }
}

async fn lab(shape: Shape, policy: &str) -> TestApp {
    let app = TestApp::with(policy, false);
    for client in ["keycloak", "other"] {
        app.key(client, Scope::Verify, None).await;
    }
    let clients = vec![compat("keycloak", shape), compat("other", shape)];
    app.app.set_compat(clients);
    let user = json!({ "user": "alice", "pin": "48201973" });
    let token = json!({ "user": "alice", "kind": "totp", "active": true,
                        "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" });
    for (path, body) in [("users", user), ("tokens", token)] {
        let path = format!("/v1/admin/{path}");
        assert_eq!(app.admin("POST", &path, Some(body)).await.status, 201);
    }
    app
}

/// As the Java client asks: the token as it is in `Authorization`.
async fn ask(app: &TestApp, method: &str, target: &str, token: &str, form: &str) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("user-agent", AGENT)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", token)
        .body(Body::from(form.to_owned()))
        .unwrap();
    let answer = send(&app.local, request).await;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn token(app: &TestApp, client: &str, account: &str, key: &SecretString) -> String {
    let form = format!("username={account}&password={}&realm=eco", key.expose());
    let (status, answer) = ask(app, "POST", &format!("/compat/{client}/auth"), "", &form).await;
    assert_eq!(
        (status, &answer["result"]["authentication"]),
        (200, &json!("ACCEPT")),
        "{answer}"
    );
    assert!(answer["time"].is_u64());
    answer["result"]["value"]["token"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_service_account_triggers_challenges() {
    let app = lab(Shape::PrivacyIdea, PIN_FIRST).await;
    let key = app.key("service", Scope::Verify, None).await;
    let jwt = token(&app, "keycloak", "service", &key).await;
    let payload = jwt.split('.').nth(1).unwrap();
    assert!(!payload.contains(['-', '_']), "{payload}");
    let trigger = "/compat/keycloak/validate/triggerchallenge";
    let (status, asked) = ask(&app, "POST", trigger, &jwt, "user=alice&realm=default").await;
    assert_eq!(
        (status, &asked["result"]["value"]),
        (200, &json!(1)),
        "{asked}"
    );
    assert_eq!(asked["result"]["authentication"], "CHALLENGE");
    let by_get = format!("{trigger}?user=alice&realm=default");
    let (status, again) = ask(&app, "GET", &by_get, &jwt, "").await;
    assert_eq!((status, &again["result"]), (200, &asked["result"]));
    assert_eq!(ask(&app, "GET", &by_get, "", "").await.0, 401);
    let id = asked["detail"]["transaction_id"].as_str().unwrap();
    assert_eq!(
        asked["detail"]["multi_challenge"][0]["transaction_id"],
        json!(id)
    );
    // The first factor is left out for no one.
    let answer =
        |pass: &str, id: &str| format!("user=alice&pass={pass}&realm=default&transaction_id={id}");
    let check = "/compat/keycloak/validate/check";
    let (_, next) = ask(&app, "POST", check, "", &answer("48201973", id)).await;
    assert_eq!(next["result"]["authentication"], "CHALLENGE", "{next}");
    let id = next["detail"]["transaction_id"].as_str().unwrap();
    let (_, done) = ask(&app, "POST", check, "", &answer(&app.code(0), id)).await;
    assert_eq!(done["result"]["authentication"], "ACCEPT", "{done}");
    assert_eq!(
        (&done["detail"]["type"], &done["detail"]["otplen"]),
        (&json!("totp"), &json!(6))
    );
    // Without a token, with a bad one, with another client's, and of an account without the right.
    let other = token(&app, "other", "service", &key).await;
    let auditor = app.key("auditor", Scope::Auditor, None).await;
    let auditor = token(&app, "keycloak", "auditor", &auditor).await;
    let longer = format!("{jwt}A");
    for (jwt, wanted, code) in [
        ("", 401, 4033),
        ("Bearer x.y.z", 401, 4033),
        (longer.as_str(), 401, 4033),
        (other.as_str(), 401, 4033),
        (auditor.as_str(), 403, 303),
    ] {
        let (status, answer) = ask(&app, "POST", trigger, jwt, "user=alice").await;
        assert_eq!(
            (status, &answer["result"]["error"]["code"]),
            (wanted, &json!(code)),
            "{answer}"
        );
    }
    let (_, unknown) = ask(&app, "POST", trigger, &jwt, "user=nemo").await;
    assert!(unknown["result"]["value"].is_u64(), "{unknown}");
    // It ends with its hour, and with its key.
    app.clock.advance(std::time::Duration::from_mins(61));
    assert_eq!(ask(&app, "POST", trigger, &jwt, "user=alice").await.0, 401);
    let jwt = token(&app, "keycloak", "service", &key).await;
    assert_eq!(ask(&app, "POST", trigger, &jwt, "user=alice").await.0, 200);
    let rotated = app
        .admin("POST", "/v1/admin/clients/service/rotate", Some(json!({})))
        .await;
    assert_eq!(rotated.status, 200, "{}", rotated.json());
    assert_eq!(ask(&app, "POST", trigger, &jwt, "user=alice").await.0, 401);
}

#[tokio::test]
async fn a_wrong_account_gets_no_token() {
    let app = lab(Shape::PrivacyIdea, OTP_ALONE).await;
    let key = app.key("service", Scope::Verify, None).await;
    let key = key.expose();
    for (form, code) in [
        (format!("username=keycloak&password={key}"), 4031),
        (format!("username=service&password={key}x"), 4031),
        ("username=service&password=".to_owned(), 4031),
        ("username=service".to_owned(), 4031),
        ("password=x".to_owned(), 4032),
        ("username=&password=x".to_owned(), 4032),
        (String::new(), 4032),
    ] {
        let (status, answer) = ask(&app, "POST", "/compat/keycloak/auth", "", &form).await;
        assert_eq!(
            (status, &answer["result"]["error"]["code"]),
            (401, &json!(code)),
            "{form}"
        );
        assert!(!answer.to_string().contains(key));
    }
    let form = format!("username=service&password={key}");
    assert_eq!(
        ask(&app, "POST", "/compat/nobody/auth", "", &form).await.0,
        404
    );
    assert_eq!(ask(&app, "POST", "/auth", "", &form).await.0, 404);
}

#[tokio::test]
async fn tokens_are_listed_and_made_by_role() {
    let app = lab(Shape::PrivacyIdea, OTP_ALONE).await;
    let admin = app.key("enroller", Scope::Admin, None).await;
    let admin = token(&app, "keycloak", "enroller", &admin).await;
    let verify = app.key("service", Scope::Verify, None).await;
    let verify = token(&app, "keycloak", "service", &verify).await;
    let (list, init) = (
        "/compat/keycloak/token/?user=alice",
        "/compat/keycloak/token/init",
    );
    let (status, answer) = ask(&app, "GET", list, &admin, "").await;
    assert_eq!(
        (status, &answer["result"]["value"]["count"]),
        (200, &json!(1)),
        "{answer}"
    );
    assert_eq!(answer["result"]["value"]["tokens"][0]["tokentype"], "totp");
    // As privacyIDEA answers about records: no decision, and no detail.
    assert_eq!(
        (
            &answer["id"],
            &answer["result"]["authentication"],
            answer.get("detail")
        ),
        (&json!(1), &Value::Null, None)
    );
    let here = "/compat/keycloak/token?user=alice";
    let (status, same) = ask(&app, "GET", here, &admin, "").await;
    assert_eq!((status, &same["result"]), (200, &answer["result"]));
    assert_eq!(ask(&app, "GET", list, &verify, "").await.0, 403);
    assert_eq!(
        ask(&app, "POST", init, &verify, "user=alice&genkey=1")
            .await
            .0,
        403
    );
    assert_eq!(
        ask(&app, "POST", init, "", "user=alice&genkey=1").await.0,
        401
    );
    let form = "user=alice&type=hotp&genkey=1";
    let (status, made) = ask(&app, "POST", init, &admin, form).await;
    assert_eq!(
        (status, &made["result"]["value"]),
        (200, &json!(true)),
        "{made}"
    );
    let detail = &made["detail"];
    assert!(
        detail["googleurl"]["value"]
            .as_str()
            .unwrap()
            .starts_with("otpauth://hotp/")
    );
    assert!(
        detail["googleurl"]["img"]
            .as_str()
            .unwrap()
            .starts_with("data:image/svg+xml;base64,")
    );
    assert!(
        detail["otpkey"]["value"]
            .as_str()
            .unwrap()
            .starts_with("seed://")
    );
    let serial = detail["serial"].as_str().unwrap();
    let shown = app
        .admin("GET", &format!("/v1/admin/tokens/{serial}"), None)
        .await
        .json();
    assert_eq!(
        (&shown["state"], &shown["requester"]),
        (&json!("pending"), &json!("api:enroller"))
    );
    for form in [
        "user=alice",
        "user=nemo&genkey=1",
        "genkey=1",
        "user=alice&genkey=1&type=radius",
        "user=alice&genkey=1&otpkey=00",
        "user=alice&otpkey=00",
        "user=alice&otpkey=xx",
        "user=alice&genkey=1&otplen=5",
        "user=alice&genkey=1&type=totp&timeStep=0",
        "user=alice&genkey=1&hashlib=md5",
        "user=alice&genkey=1&pin=1234",
        "user=alice&genkey=1&serial=a%20b",
    ] {
        let (status, answer) = ask(&app, "POST", init, &admin, form).await;
        assert_eq!(
            (status, &answer["result"]["error"]["code"]),
            (400, &json!(905)),
            "{form} {answer}"
        );
    }
}

#[tokio::test]
async fn linotp_finds_the_owner_of_a_yubikey() {
    let app = lab(Shape::LinOtp, OTP_ALONE).await;
    let key = Key::of_the_files();
    let made = app
        .admin("POST", "/v1/admin/tokens", Some(key.token("alice")))
        .await;
    assert_eq!(made.status, 201);
    let path = "/compat/keycloak/validate/check_yubikey";
    let pass = |session| format!("{path}?pass={}", key.types(1, session));
    let (_, right) = ask(&app, "GET", &pass(1), "", "").await;
    assert_eq!(
        right["result"],
        json!({ "status": true, "value": true }),
        "{right}"
    );
    assert_eq!(
        right["detail"],
        json!({ "user": "alice", "realm": "default" })
    );
    let (_, again) = ask(&app, "GET", &pass(1), "", "").await;
    assert_eq!(
        (&again["result"]["value"], &again["detail"]),
        (&json!(false), &Value::Null)
    );
    for other in ["755224", "x", ""] {
        let (status, answer) = ask(&app, "GET", &format!("{path}?pass={other}"), "", "").await;
        assert_eq!(
            (status, &answer["result"]["value"]),
            (200, &json!(false)),
            "{other}"
        );
    }
    let status = "/compat/keycloak/validate/check_status?transactionid=x";
    let (_, answer) = ask(&app, "GET", status, "", "").await;
    assert_eq!(
        answer["detail"]["transactions"]["x"]["status"], "open",
        "{answer}"
    );
}

/// The people of the console have no tokens for an account that does not see them, as at `/v1/admin`.
#[tokio::test]
async fn an_operators_account_sees_no_token_of_the_console() {
    let app = lab(Shape::PrivacyIdea, OTP_ALONE).await;
    let user = json!({ "user": "kim@console", "groups": ["admin"] });
    let own = json!({ "user": "kim@console", "kind": "totp", "active": true });
    for (path, body) in [("users", user), ("tokens", own)] {
        let path = format!("/v1/admin/{path}");
        assert_eq!(app.admin("POST", &path, Some(body)).await.status, 201);
    }
    let list = |user: &str| format!("/compat/keycloak/token/?user={user}");
    let mut seen = Vec::new();
    for (name, scope) in [("desk", Scope::Operator), ("revision", Scope::Auditor)] {
        let key = app.key(name, scope, None).await;
        let jwt = token(&app, "keycloak", name, &key).await;
        let (_, alice) = ask(&app, "GET", &list("alice"), &jwt, "").await;
        assert_eq!(alice["result"]["value"]["count"], json!(1), "{name}");
        let (status, kim) = ask(&app, "GET", &list("kim@console"), &jwt, "").await;
        let (_, nemo) = ask(&app, "GET", &list("nemo@console"), &jwt, "").await;
        assert_eq!(status, 200);
        assert_eq!(nemo["result"]["value"]["count"], json!(0), "{name}");
        seen.push(kim["result"]["value"]["count"].clone());
        if scope == Scope::Operator {
            assert_eq!(kim["result"], nemo["result"]);
            let init = "/compat/keycloak/token/init";
            let form = |user: &str| format!("user={user}&type=totp&genkey=1");
            let (_, kim) = ask(&app, "POST", init, &jwt, &form("kim@console")).await;
            let (_, nemo) = ask(&app, "POST", init, &jwt, &form("nemo@console")).await;
            assert_eq!(kim["result"], nemo["result"], "{kim}");
        }
    }
    assert_eq!(seen, [json!(0), json!(1)]);
}
