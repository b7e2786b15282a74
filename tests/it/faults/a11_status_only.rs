//! Callers that look at the status only: FreeRADIUS's `rlm_rest`, `curl -f`, nginx's `auth_request`.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use axum::http::{Request, StatusCode};
use oncegate::model::client::Scope;
use oncegate::model::kind::Kind;
use oncegate::secret::SecretString;
use oncegate::server::http::serve_tcp;
use oncegate::time::UnixTime;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::app::{Answer, TestApp, ask, request};
use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::Site;
use crate::support::freeradius::Freeradius;
use crate::support::require;

/// Asks a server by `rlm_rest`, as the README says.
const CONFIGURATION: &str = r#"
modules {
    always handled {
        rcode = handled
    }
    rest {
        connect_uri = "http://@HTTP@"
        pool {
            start = 0
            min = 0
            max = 2
            spare = 1
            uses = 0
            lifetime = 0
            idle_timeout = 30
        }
        authenticate {
            uri = "${..connect_uri}/v1/verify@QUERY@"
            method = 'post'
            body = 'json'
            data = '{"user":"%{User-Name}","passcode":"%{User-Password}"}'
            force_to = 'json'
            tls {
            }
            timeout = 4.0
        }
    }
}
server rest {
    listen {
        type = auth
        ipaddr = 127.0.0.1
        port = @PORT@
    }
    authorize {
        update control {
            Auth-Type := rest
            REST-HTTP-Header += "Authorization: Bearer @KEY@"
            @HEADER@
        }
    }
    authenticate {
        Auth-Type rest {
            rest {
                fail = 1
            }
            if (fail) {
                update control {
                    Response-Packet-Type := Do-Not-Respond
                }
                handled
            }
        }
    }
}
"#;

/// `wish`: `header`, `query`, or neither, as `rlm_rest` is used by those who did not read on.
fn asking(http: SocketAddr, key: &str, wish: &str) -> Freeradius {
    let header = if wish == "header" {
        "REST-HTTP-Header += \"Prefer: status\""
    } else {
        ""
    };
    let query = if wish == "query" { "?status=1" } else { "" };
    let text = if wish == "compat" {
        let path = "/compat/freeradius/validate/radiuscheck";
        let text = CONFIGURATION.replace("/v1/verify@QUERY@", path);
        text.replace("\"passcode\"", "\"pass\"")
    } else {
        CONFIGURATION.to_owned()
    };
    let text = text
        .replace("@HTTP@", &http.to_string())
        .replace("@QUERY@", query)
        .replace("@HEADER@", header)
        .replace("@KEY@", key);
    Freeradius::start(&text)
}

fn has_freeradius() -> bool {
    let modules = ["/usr/lib/freeradius/rlm_rest.so"];
    let Some(missing) = modules
        .iter()
        .find(|file| !std::path::Path::new(file).is_file())
    else {
        return require("radclient", "freeradius-utils");
    };
    crate::support::skip(&format!(
        "{missing} not found (apt install freeradius freeradius-rest)"
    ));
    false
}

#[test]
fn rlm_rest_lets_in_who_has_a_fresh_code_and_no_one_else() {
    if !has_freeradius() {
        return;
    }
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    let key = site.api_client("freeradius");
    let daemon = site.serve();
    let (accept, reject) = (
        Some("Access-Accept".to_owned()),
        Some("Access-Reject".to_owned()),
    );
    let mut counter = 0;
    for wish in ["header", "query"] {
        let radius = asking(daemon.http, &key, wish);
        assert_eq!(radius.login("alice", &hotp(counter)), accept, "{wish}");
        assert_eq!(
            radius.login("alice", &hotp(counter)),
            reject,
            "{wish}: used"
        );
        assert_eq!(radius.login("alice", "000000"), reject, "{wish}: wrong");
        assert_eq!(radius.login("nobody", "000000"), reject, "{wish}: unknown");
        assert_eq!(radius.login("alice", "letmein"), reject, "{wish}: no code");
        counter += 1;
    }
    // What the README warns of.
    let careless = asking(daemon.http, &key, "none");
    assert_eq!(careless.login("nobody", "000000"), accept);
    // A key that is not valid is no way in.
    let stranger = asking(daemon.http, "og_no_such_key", "header");
    assert_eq!(stranger.login("alice", &hotp(counter)), reject);
}

/// `/validate/radiuscheck`, which such configurations ask a privacyIDEA today.
#[test]
fn rlm_rest_asks_radiuscheck_as_it_asked_privacyidea() {
    if !has_freeradius() {
        return;
    }
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    site.api_client("freeradius");
    let compat = "freeradius privacyidea 127.0.0.1";
    let daemon = site.serve_with(&[("ONCEGATE__HTTP__COMPAT", compat)]);
    let radius = asking(daemon.http, "none", "compat");
    for (user, code, reply) in [
        ("alice", hotp(0), "Access-Accept"),
        ("alice", hotp(0), "Access-Reject"),
        ("alice", "000000".to_owned(), "Access-Reject"),
        ("nemo", hotp(1), "Access-Reject"),
        ("alice", hotp(1), "Access-Accept"),
    ] {
        let answer = radius.login(user, &code);
        assert_eq!(answer.as_deref(), Some(reply), "{user} {code}");
    }
}

/// The clock is behind the audit: no decision can be made.
#[tokio::test]
async fn rlm_rest_does_not_answer_what_is_undecided() {
    if !has_freeradius() {
        return;
    }
    let app = TestApp::new();
    app.user_with("alice", Kind::Totp, true).await;
    let key = app.key("freeradius", Scope::Verify, None).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, places) = (
        CancellationToken::new(),
        Arc::new(tokio::sync::Semaphore::new(8)),
    );
    let serve = serve_tcp(listener, None, Arc::clone(&app.app), places, stop.clone());
    let served = tokio::spawn(serve);
    let code = app.code(0);
    let now = app.service.core.now();
    app.clock.set(UnixTime::from_secs(1_700_000_000));
    let secret = key.expose().to_owned();
    let radius = tokio::task::spawn_blocking(move || {
        let radius = asking(address, &secret, "header");
        let undecided = radius.login("alice", &code);
        (radius, undecided, code)
    });
    let (radius, undecided, code) = radius.await.unwrap();
    assert_eq!(undecided, None);
    // Nothing was used up.
    app.clock.set(now);
    let login = tokio::task::spawn_blocking(move || radius.login("alice", &code));
    assert_eq!(login.await.unwrap().as_deref(), Some("Access-Accept"));
    stop.cancel();
    served.await.unwrap();
}

#[test]
fn curl_fails_on_a_reject_that_it_asked_to_see() {
    if !require("curl", "curl") {
        return;
    }
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    let key = site.api_client("script");
    let daemon = site.serve();
    let ask = |code: &str, prefer: &[&str]| {
        let output = Command::new("curl")
            .args(["-fsS", &format!("http://{}/v1/verify", daemon.http)])
            .args(["-H", &format!("Authorization: Bearer {key}")])
            .args(prefer)
            .args(["--json", &format!(r#"{{"user":"alice","otp":"{code}"}}"#)])
            .output()
            .unwrap();
        output.status.success()
    };
    assert!(ask(&hotp(0), &["-H", "Prefer: status"]));
    assert!(!ask(&hotp(0), &["-H", "Prefer: status"]));
    assert!(!ask("000000", &["-H", "prefer: wait=5, STATUS"]));
    assert!(ask("000000", &[]), "without asking a reject is 200");
}

async fn preferring(
    app: &TestApp,
    key: &SecretString,
    method: &str,
    path: &str,
    extra: &[(&'static str, &str)],
    body: Option<Value>,
) -> Answer {
    let mut asked: Request<_> = request(method, path, Some(key), body);
    for (name, value) in extra {
        asked.headers_mut().insert(*name, value.parse().unwrap());
    }
    ask(&app.keyed, asked).await
}

const PREFER: &[(&str, &str)] = &[("prefer", "status")];

/// Body and headers of a rejected request are the same for every cause, and differ from those of an
/// accepted one in the status as well.
#[tokio::test]
async fn rejects_look_the_same_and_say_that_they_are_decisions() {
    let app = TestApp::new();
    app.user_with("alice", Kind::Totp, true).await;
    app.user("bob").await;
    let key = app.key("web", Scope::Verify, None).await;
    let verify = async |user: &str, otp: &str, extra| {
        let body = json!({ "user": user, "otp": otp });
        preferring(&app, &key, "POST", "/v1/verify", extra, Some(body)).await
    };
    let code = app.code(0);
    let accepted = verify("alice", &code, PREFER).await;
    assert_eq!(accepted.status, StatusCode::OK);
    assert_eq!(accepted.headers["preference-applied"], "status");
    assert!(!accepted.headers.contains_key("www-authenticate"));
    let mut seen = Vec::new();
    for (user, otp) in [
        ("alice", code.as_str()),
        ("alice", "000000"),
        ("alice", "x"),
        ("bob", "000000"),
        ("nobody", "000000"),
        ("not a\u{7} name", "000000"),
    ] {
        let answer = verify(user, otp, PREFER).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{user} {otp}");
        assert_eq!(answer.json()["decision"], "reject");
        assert_eq!(answer.headers["preference-applied"], "status");
        assert_eq!(answer.headers["content-type"], "application/json");
        let scheme = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(scheme.starts_with("OTP "), "no browser asks for a password");
        let mut headers = answer.headers.clone();
        headers.remove("x-request-id");
        let mut names: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect();
        names.sort();
        seen.push((names, answer.body.len()));
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
    // Without the preference nothing is different from before.
    let plain = verify("nobody", "000000", &[]).await;
    assert_eq!(plain.status, StatusCode::OK);
    assert!(!plain.headers.contains_key("preference-applied"));
    assert_eq!(plain.body.len(), seen[0].1);
    // A key that is not valid is no decision.
    let stranger = SecretString::from("og_no_such_key");
    let body = json!({ "user": "alice", "otp": "000000" });
    let refused = preferring(&app, &stranger, "POST", "/v1/verify", PREFER, Some(body)).await;
    assert_eq!(refused.problem(), (401, "no-key".to_owned()));
    assert!(!refused.headers.contains_key("preference-applied"));
}

#[tokio::test]
async fn a_retry_gets_the_first_decision_whatever_it_looks_at() {
    let app = TestApp::new();
    app.user_with("alice", Kind::Totp, true).await;
    let key = app.key("web", Scope::Verify, None).await;
    let body = json!({ "user": "alice", "otp": app.code(0) });
    let ask = async |path: &str, extra: &[(&'static str, &str)], body: &Value| {
        preferring(&app, &key, "POST", path, extra, Some(body.clone())).await
    };
    let first = ask("/v1/verify", &[("idempotency-key", "one")], &body).await;
    assert_eq!(first.json()["decision"], "accept");
    let both = [("idempotency-key", "one"), ("prefer", "status")];
    let again = ask("/v1/verify", &both, &body).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &first.body));
    let wrong = json!({ "user": "alice", "otp": "000000" });
    let other = [("idempotency-key", "two"), ("prefer", "status")];
    let first = ask("/v1/verify", &other, &wrong).await;
    assert_eq!(first.status, StatusCode::UNAUTHORIZED);
    let again = ask("/v1/verify?status=1", &[("idempotency-key", "two")], &wrong).await;
    assert_eq!(
        (again.status, again.body),
        (StatusCode::UNAUTHORIZED, first.body)
    );
    let other = ask("/v1/verify", &both, &wrong).await;
    assert_eq!(other.problem(), (422, "key-reused".to_owned()));
    let bad = ask("/v1/verify?status=yes", &[], &wrong).await;
    assert_eq!(bad.problem().0, 400);
}

#[tokio::test]
async fn a_challenge_is_no_yes_and_no_decision_is_503() {
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"password\", \"otp\"]\n\
                  present = \"challenge\"\n";
    let app = TestApp::with(policy, false);
    app.user_with("alice", Kind::Totp, true).await;
    let made = json!({ "password": "Tr0ub4dor&3x" });
    let set = app
        .admin("PATCH", "/v1/admin/users/alice", Some(made))
        .await;
    assert!(set.status.is_success(), "{set:?}");
    let key = app.key("web", Scope::Verify, None).await;
    let body = json!({ "user": "alice", "passcode": "Tr0ub4dor&3x" });
    let asked = preferring(&app, &key, "POST", "/v1/verify", PREFER, Some(body.clone())).await;
    assert_eq!(asked.json()["decision"], "challenge");
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    let id = asked.json()["challenge"]["id"].as_str().unwrap().to_owned();
    let answer = json!({ "user": "alice", "otp": app.code(0), "challenge": id });
    let answered = preferring(&app, &key, "POST", "/v1/verify", PREFER, Some(answer)).await;
    assert_eq!(answered.status, StatusCode::OK, "{answered:?}");
    app.clock.set(UnixTime::from_secs(1_700_000_000));
    let undecided = preferring(&app, &key, "POST", "/v1/verify", PREFER, Some(body)).await;
    assert_eq!(undecided.problem(), (503, "unavailable".to_owned()));
    assert!(undecided.headers.contains_key("retry-after"));
}

/// The other routes whose answer is a decision.
#[tokio::test]
async fn changes_and_enrolments_say_no_in_the_status_too() {
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n\
                  [enrolment]\nself_service = [\"totp\"]\n";
    let app = TestApp::with(policy, false);
    let serial = app.user_with("alice", Kind::Totp, true).await;
    let key = app.key("web", Scope::Verify, None).await;
    for (path, body) in [
        (
            "/v1/credentials".to_owned(),
            json!({ "user": "alice", "otp": "000000", "new_pin": "739164" }),
        ),
        (
            "/v1/enrolments".to_owned(),
            json!({ "user": "alice", "otp": "000000", "kind": "totp" }),
        ),
        (
            format!("/v1/enrolments/{serial}/confirm"),
            json!({ "user": "alice", "otp": "000000" }),
        ),
    ] {
        let plain = preferring(&app, &key, "POST", &path, &[], Some(body.clone())).await;
        assert_eq!(plain.status, StatusCode::OK, "{path}: {plain:?}");
        assert_eq!(plain.json()["decision"], "reject", "{path}");
        for path in [path.clone(), format!("{path}?status=1")] {
            let extra = if path.contains('?') { &[][..] } else { PREFER };
            let asked = preferring(&app, &key, "POST", &path, extra, Some(body.clone())).await;
            assert_eq!(asked.status, StatusCode::UNAUTHORIZED, "{path}");
            assert_eq!(asked.body.len(), plain.body.len(), "{path}");
        }
    }
    // A round that is begun is no yes, and neither is one that is pending.
    let begun = json!({ "user": "nobody", "factor": "sms" });
    let begun = preferring(&app, &key, "POST", "/v1/challenges", PREFER, Some(begun)).await;
    assert_eq!(begun.status, StatusCode::CREATED);
    assert!(!begun.headers.contains_key("preference-applied"));
    let path = format!("/v1/challenges/{}", begun.json()["id"].as_str().unwrap());
    let pending = preferring(&app, &key, "GET", &path, PREFER, None).await;
    assert_eq!(pending.json()["status"], "pending");
    assert_eq!(pending.status, StatusCode::UNAUTHORIZED);
    let plain = preferring(&app, &key, "GET", &path, &[], None).await;
    assert_eq!(plain.status, StatusCode::OK);
}

/// Beyond the client's rate nothing is looked at: undecided, and FreeRADIUS asks elsewhere.
#[test]
fn the_rate_of_a_client_is_no_reject() {
    let site = Site::new();
    let key = site.api_client("busy");
    let daemon = site.serve_with(&[("ONCEGATE__LIMITS__HTTP_CLIENT_RATE", "2")]);
    let mut http = crate::support::net::Http::new(daemon.http, &key);
    let body = json!({ "user": "nobody", "otp": "000000" }).to_string();
    let mut ask = |path: &str| http.send("POST", path, body.as_bytes()).unwrap().0;
    let statuses: Vec<u16> = (0..20).map(|_| ask("/v1/verify?status=1")).collect();
    assert!(
        statuses.contains(&401) && statuses.contains(&503),
        "{statuses:?}"
    );
    assert!(statuses.iter().all(|status| [401, 503].contains(status)));
    let statuses: Vec<u16> = (0..20).map(|_| ask("/v1/verify")).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
}
