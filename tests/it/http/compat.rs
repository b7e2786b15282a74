//! Clients of other products, unchanged: the requests that were captured from them, and FreeRADIUS.

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use oncegate::config::compat::{Compat, Shape};
use oncegate::model::client::Scope;
use oncegate::model::kind::Kind;
use serde_json::{Value, json};

use crate::support::app::{TestApp, send};
use crate::support::slow::slowly;

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

const POLICY: &str = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"pin\", \"otp\"]\n\
                      present = \"either\"\n";

async fn lab(compat: Compat) -> TestApp {
    let app = TestApp::with(POLICY, false);
    app.key(&compat.client, Scope::Verify, None).await;
    app.app.set_compat(vec![compat]);
    let pin = json!({ "user": "alice", "pin": "48201973" });
    assert_eq!(
        app.admin("POST", "/v1/admin/users", Some(pin)).await.status,
        201
    );
    let token = json!({ "user": "alice", "kind": "totp", "active": true,
                        "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" });
    assert_eq!(
        app.admin("POST", "/v1/admin/tokens", Some(token))
            .await
            .status,
        201
    );
    app
}

/// As a client of another product asks; in process, which counts as an address of its own.
async fn ask(
    app: &TestApp,
    method: &str,
    target: &str,
    agent: &str,
    form: &str,
) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("user-agent", agent)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form.to_owned()))
        .unwrap();
    let answer: Response<Body> = send(&app.local, request).await;
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// The answers that the Java client, the PAM module and the FreeRADIUS module read.
#[tokio::test]
async fn captured_requests_of_privacyidea_are_answered_in_its_shape() {
    let app = lab(compat("keycloak", Shape::PrivacyIdea)).await;
    let check = "/compat/keycloak/validate/check";
    let form = |pass: &str| format!("user=alice&pass={pass}&realm=default");
    let right = format!("48201973{}", app.code(0));
    let (status, answer) = ask(&app, "POST", check, "PAM/1.1.0", &form(&right)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        answer["result"],
        json!({ "status": true, "value": true, "authentication": "ACCEPT" })
    );
    assert_eq!(
        (&answer["id"], &answer["jsonrpc"]),
        (&json!(2), &json!("2.0"))
    );
    assert_eq!(answer["detail"]["type"], "totp");
    assert!(answer["time"].is_u64() && answer["versionnumber"].is_string());

    let mut rejects = Vec::new();
    for form in [
        form(&right),
        form("48201973000000"),
        form("11111111000000"),
        form("x"),
        "user=nemo&pass=x&realm=default".to_owned(),
        "user=nemo%5C%5C&pass=x".to_owned(),
    ] {
        let (status, mut answer) = ask(&app, "POST", check, "PAM/1.1.0", &form).await;
        assert_eq!(
            (status, &answer["result"]["authentication"]),
            (StatusCode::OK, &json!("REJECT"))
        );
        answer["time"] = json!(0);
        rejects.push(answer);
    }
    assert!(rejects.iter().all(|one| *one == rejects[0]), "{rejects:?}");

    app.clock.advance(std::time::Duration::from_mins(30));
    let agent = "privacyIDEA-Keycloak";
    let (_, asked) = ask(&app, "POST", check, agent, &form("48201973")).await;
    assert_eq!(asked["result"]["authentication"], "CHALLENGE", "{asked}");
    let detail = &asked["detail"];
    let id = detail["transaction_id"].as_str().unwrap().to_owned();
    assert!(id.len() <= 253 && id.bytes().all(|octet| octet.is_ascii_graphic()));
    assert_eq!(detail["multi_challenge"][0]["transaction_id"], json!(id));
    assert_eq!(detail["preferred_client_mode"], "interactive");
    let poll = format!("/compat/keycloak/validate/polltransaction?transaction_id={id}");
    let (status, standing) = ask(&app, "GET", &poll, agent, "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        standing["detail"]["challenge_status"], "pending",
        "{standing}"
    );
    let answer = format!("user=alice&pass={}&transaction_id={id}", app.code(0));
    let (_, done) = ask(&app, "POST", check, agent, &answer).await;
    assert_eq!(done["result"]["value"], true, "{done}");
    assert_eq!(done["detail"]["message"], "Found matching challenge");
    let (_, again) = ask(&app, "POST", check, agent, &answer).await;
    assert_eq!(again["result"]["value"], false);
    for missing in ["pass=x", "user=alice", ""] {
        let (status, answer) = ask(&app, "POST", check, agent, missing).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let error = &answer["result"]["error"];
        assert_eq!(error["code"], 905);
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("ERR905: Missing parameter"), "{answer}");
    }
    let (status, _) = ask(&app, "POST", check, agent, "user=a&user=b&pass=x").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = ask(&app, "POST", check, agent, &"a".repeat(20_000)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

/// Passwords that the Java client and the FreeRADIUS module encode twice, and others once.
#[tokio::test]
async fn values_are_decoded_twice_for_those_who_encode_twice() {
    let app = TestApp::with(
        "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"password\"]\n",
        false,
    );
    app.key("keycloak", Scope::Verify, None).await;
    app.app
        .set_compat(vec![compat("keycloak", Shape::PrivacyIdea)]);
    let user = json!({ "user": "alice", "password": "a b+c%41\u{e9}-lang" });
    assert_eq!(
        app.admin("POST", "/v1/admin/users", Some(user))
            .await
            .status,
        201
    );
    let check = "/compat/keycloak/validate/check";
    let once = "user=alice&pass=a%20b%2Bc%2541%C3%A9-lang";
    let twice = "user=alice&pass=a%2520b%2Bc%252541%25C3%25A9-lang";
    for (agent, form, value) in [
        ("PAM/1.1.0", once, true),
        ("curl/8.0", once, true),
        ("privacyIDEA-Keycloak", twice, true),
        ("FreeRADIUS", twice, true),
        ("curl/8.0", twice, false),
    ] {
        let (_, answer) = ask(&app, "POST", check, agent, form).await;
        assert_eq!(answer["result"]["value"], value, "{agent} {form} {answer}");
        app.clock.advance(std::time::Duration::from_secs(20));
    }
}

/// 204, 400: what `rlm_rest` and nginx look at; and `LinOTP`'s shape.
#[tokio::test]
async fn radiuscheck_and_linotp_say_yes_and_no_in_their_way() {
    let app = lab(compat("nas", Shape::PrivacyIdea)).await;
    let path = "/compat/nas/validate/radiuscheck";
    let right = format!("user=alice&pass=48201973{}", app.code(0));
    assert_eq!(
        ask(&app, "POST", path, "rest", &right).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        ask(&app, "POST", path, "rest", &right).await.0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        ask(&app, "POST", path, "rest", "user=alice&pass=48201973")
            .await
            .0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        ask(&app, "GET", path, "rest", "").await.0,
        StatusCode::BAD_REQUEST
    );

    let app = lab(compat("old", Shape::LinOtp)).await;
    let path = "/compat/old/validate/check";
    let right = format!("{path}?user=alice&pass=48201973{}", app.code(0));
    let (status, answer) = ask(&app, "GET", &right, "x", "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["result"], json!({ "status": true, "value": true }));
    assert_eq!(answer["id"], 0);
    let (_, answer) = ask(&app, "GET", &right, "x", "").await;
    assert_eq!(answer["result"]["value"], false);
    let (status, answer) = ask(&app, "POST", path, "x", "user=alice").await;
    assert_eq!(
        (status, &answer["result"]["status"]),
        (StatusCode::OK, &json!(false))
    );
}

/// `check_s` names the token, `check_t` the challenge: neither says who the user is.
#[tokio::test]
async fn linotp_checks_by_token_and_by_challenge() {
    let app = lab(compat("old", Shape::LinOtp)).await;
    let other = json!({ "user": "alice", "kind": "hotp", "active": true, "serial": "OTHER1",
                        "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJR" });
    let other = app.admin("POST", "/v1/admin/tokens", Some(other)).await;
    assert_eq!(other.status, 201);
    let tokens = app.admin("GET", "/v1/admin/tokens?user=alice", None).await;
    let tokens = tokens.json()["tokens"].as_array().unwrap().clone();
    let totp = tokens.iter().find(|token| token["kind"] == "totp").unwrap();
    let serial = totp["serial"].as_str().unwrap();
    let value = async |path: &str, form: &str| {
        let path = format!("/compat/old/validate/{path}");
        let (status, answer) = ask(&app, "POST", &path, "x", form).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    };
    let pass = format!("48201973{}", app.code(0));
    // The code is right, and not of the token that is named.
    for serial in ["OTHER1", "NONE1", "%00", ""] {
        let answer = value("check_s", &format!("serial={serial}&pass={pass}")).await;
        assert_ne!(answer["result"]["value"], true, "{serial}: {answer}");
    }
    let right = format!("serial={serial}&pass={pass}");
    assert_eq!(value("check_s", &right).await["result"]["value"], true);
    assert_eq!(value("check_s", &right).await["result"]["value"], false);

    app.clock.advance(std::time::Duration::from_mins(1));
    let begun = value("check", "user=alice&pass=48201973").await;
    let id = begun["detail"]["transactionid"]
        .as_str()
        .unwrap()
        .to_owned();
    let code = app.code(0);
    for (form, status) in [
        (format!("transactionid={id}&pass=000000"), true),
        (format!("transactionid=nothing&pass={code}"), true),
        (format!("pass={code}"), false),
        (format!("state={id}"), false),
    ] {
        let answer = value("check_t", &form).await;
        assert_eq!(answer["result"]["status"], status, "{answer}");
        assert_ne!(answer["result"]["value"]["value"], true, "{answer}");
    }
    let begun = value("check", "user=alice&pass=48201973").await;
    let id = begun["detail"]["transactionid"].as_str().unwrap();
    for wanted in [true, false] {
        let answer = value("check_t", &format!("state={id}&pass={code}")).await;
        assert_eq!(answer["result"]["value"]["value"], wanted, "{answer}");
    }
}

/// Off by default; only for the clients that are named, from their own addresses; and no user is told of unless
/// that was asked for.
#[tokio::test]
async fn the_shapes_are_off_and_for_named_addresses_only() {
    let app = TestApp::new();
    app.user_with("alice", Kind::Totp, true).await;
    let form = format!("user=alice&pass={}", app.code(0));
    for path in [
        "/validate/check",
        "/compat/keycloak/validate/check",
        "/compat//validate/check",
    ] {
        assert_eq!(
            ask(&app, "POST", path, "x", &form).await.0,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let app = lab(compat("keycloak", Shape::PrivacyIdea)).await;
    let form = format!("user=alice&pass=48201973{}", app.code(0));
    let (status, _) = ask(&app, "POST", "/compat/other/validate/check", "x", &form).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    // Over TCP, from an address that is not the client's.
    let from = |address: &str| {
        let request = Request::builder()
            .method("POST")
            .uri("/compat/keycloak/validate/check");
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let mut request = request.body(Body::from(form.clone())).unwrap();
        let peer = format!("{address}:4711").parse().unwrap();
        request
            .extensions_mut()
            .insert(oncegate::server::http::Peer(peer));
        request
    };
    for (address, status) in [("192.0.2.8", 404), ("127.0.0.1", 404), ("192.0.2.7", 200)] {
        let answer = send(&app.keyed, from(address)).await;
        assert_eq!(answer.status(), status, "{address}");
    }

    let app = lab(Compat {
        show_unknown_user: true,
        ..compat("keycloak", Shape::PrivacyIdea)
    })
    .await;
    let path = "/compat/keycloak/validate/check";
    for (form, wanted) in [
        ("user=nemo&pass=x", (400, 904)),
        ("serial=NONE1&pass=x", (404, 601)),
    ] {
        let (status, answer) = ask(&app, "POST", path, "x", form).await;
        assert_eq!(status, wanted.0, "{form}: {answer}");
        assert_eq!(answer["result"]["error"]["code"], wanted.1);
        let message = answer["result"]["error"]["message"].as_str().unwrap();
        // As of privacyIDEA 3.14: users with the number in front, tokens without.
        assert_eq!(
            message.starts_with("ERR904: "),
            wanted.1 == 904,
            "{message}"
        );
        assert_eq!(answer["detail"], Value::Null);
    }
}

/// privacyIDEA takes the challenge in the query and in the path, where that one counts.
#[tokio::test]
async fn a_challenge_is_polled_by_query_and_by_path() {
    let app = lab(compat("keycloak", Shape::PrivacyIdea)).await;
    let check = "/compat/keycloak/validate/check";
    let (_, asked) = ask(&app, "POST", check, "x", "user=alice&pass=48201973").await;
    let id = asked["detail"]["transaction_id"].as_str().unwrap();
    let base = "/compat/keycloak/validate/polltransaction";
    let poll = async |rest: &str| ask(&app, "GET", &format!("{base}{rest}"), "x", "").await;
    let pending = json!({ "status": true, "value": false, "authentication": "REJECT" });
    for rest in [
        format!("/{id}"),
        format!("?transaction_id={id}"),
        format!("/{id}?transaction_id=another"),
        "/123".to_owned(),
        "/..%2F..%2Fcheck".to_owned(),
        "/%00".to_owned(),
        format!("/{}", "7".repeat(5000)),
    ] {
        let (status, answer) = poll(&rest).await;
        assert_eq!(status, StatusCode::OK, "{rest}: {answer}");
        assert_eq!(answer["result"], pending, "{rest}");
        assert_eq!(answer["detail"]["challenge_status"], "pending", "{rest}");
    }
    for rest in ["", "?transaction_id="] {
        let (status, answer) = poll(rest).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{rest}");
        let error = json!({ "code": 905, "message": "ERR905: Missing parameter: transaction_id" });
        assert_eq!(answer["result"], json!({ "status": false, "error": error }));
    }
    for (method, rest, status) in [
        ("POST", format!("/{id}"), StatusCode::METHOD_NOT_ALLOWED),
        ("GET", format!("/{id}/more"), StatusCode::NOT_FOUND),
        ("GET", "/".to_owned(), StatusCode::NOT_FOUND),
    ] {
        let target = format!("{base}{rest}");
        assert_eq!(
            ask(&app, method, &target, "x", "").await.0,
            status,
            "{target}"
        );
    }
}

/// What `LinOTP`'s PAM module asks: the answer is text.
#[tokio::test]
async fn linotp_says_yes_and_no_in_signs() {
    let app = lab(compat("old", Shape::LinOtp)).await;
    let simple = async |form: &str| {
        let request = Request::builder()
            .method("POST")
            .uri("/compat/old/validate/simplecheck")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(form.to_owned()))
            .unwrap();
        let answer: Response<Body> = send(&app.local, request).await;
        assert_eq!(answer.status(), StatusCode::OK, "{form}");
        let kind = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(kind.starts_with("text/plain"), "{kind}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    };
    let right = format!("user=alice&pass=48201973{}", app.code(0));
    assert_eq!(simple(&right).await, ":-)");
    for no in [
        right.as_str(),
        "user=nemo&pass=x",
        "user=alice",
        "pass=x",
        "",
    ] {
        assert_eq!(simple(no).await, ":-(", "{no}");
    }
    app.clock.advance(std::time::Duration::from_mins(1));
    let asked = simple("user=alice&pass=48201973").await;
    let mut words = asked.splitn(3, ' ');
    assert_eq!(words.next(), Some(":-("));
    let (id, prompt) = (words.next().unwrap(), words.next().unwrap());
    assert!(!prompt.is_empty());
    let answer = format!("user=alice&pass={}&state={id}", app.code(0));
    assert_eq!(simple(&answer).await, ":-)");
    assert_eq!(simple(&answer).await, ":-(");
    // By GET, as it was asked in the beginning.
    let target = "/compat/old/validate/simplecheck?user=alice&pass=x";
    assert_eq!(ask(&app, "GET", target, "x", "").await.0, StatusCode::OK);
}

/// A body in JSON, with numbers and flags as they are.
#[tokio::test]
async fn a_body_in_json_is_read_as_a_form() {
    let app = lab(compat("app", Shape::PrivacyIdea)).await;
    let token = json!({ "user": "alice", "kind": "hotp", "active": true, "serial": "H1",
                        "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJR" });
    let made = app.admin("POST", "/v1/admin/tokens", Some(token)).await;
    assert_eq!(made.status, 201);
    let written = async |body: String| {
        let request = Request::builder()
            .method("POST")
            .uri("/compat/app/validate/check")
            .header("content-type", "application/json; charset=utf-8")
            .body(Body::from(body))
            .unwrap();
        send(&app.local, request).await.status().as_u16()
    };
    let check = async |body: Value| written(body.to_string()).await;
    // Of a value that is there twice no one knows which one counts.
    let twice = r#"{"user":"alice","pass":"x","pass":"y"}"#;
    assert_eq!(written(twice.to_owned()).await, 400);
    for (body, status) in [
        (
            json!({ "user": "alice", "pass": 755_224, "otponly": true }),
            200,
        ),
        (json!({ "serial": "H1", "pass": "x" }), 200),
        (json!({ "user": ["alice"], "pass": "x" }), 400),
        (json!({ "user": { "a": 1 }, "pass": "x" }), 400),
        (json!([1]), 400),
    ] {
        assert_eq!(check(body.clone()).await, status, "{body}");
    }
}

/// A client that was removed while the form came lets no one in.
#[tokio::test]
async fn a_client_that_is_none_any_more_when_the_form_has_come_decides_nothing() {
    let app = lab(compat("keycloak", Shape::PrivacyIdea)).await;
    let form = format!("user=alice&pass=48201973{}&realm=default", app.code(0));
    let request = Request::builder()
        .method("POST")
        .uri("/compat/keycloak/validate/check")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap();
    let removed = async {
        let path = "/v1/admin/clients/keycloak";
        let gone = app.admin("DELETE", path, None).await;
        assert!(gone.status.is_success(), "{gone:?}");
    };
    let late = slowly(&app.local, request, removed).await;
    assert_eq!(late.status, 503, "{late:?}");
}
