//! The people of the console: whom others see, a set-up that was broken off, names of this server.

use std::time::Duration;

use axum::http::StatusCode;
use oncegate::model::user_key::UserKey;
use oncegate::secret::SecretString;
use serde_json::{Value, json};

use crate::device::devices::CODE;
use crate::support::app::{ask, request};
use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::console::{Console, built, cookie, text};
use crate::support::daemon::Site;
use crate::support::device::{Phone, hand_out, pending};

#[tokio::test]
async fn who_helps_users_does_not_see_the_people_of_the_console() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    for user in ["alice", "zoe@zebra"] {
        console
            .admin("POST", "/v1/admin/users", Some(json!({ "user": user })))
            .await;
    }
    let serial = console.admin("GET", "/v1/admin/tokens", None).await;
    let serial = serial["tokens"][0]["serial"].as_str().expect("a token");
    let paths = [
        "/v1/admin/users".to_owned(),
        "/v1/admin/users?after=!@console".to_owned(),
        "/v1/admin/users?search=kim".to_owned(),
        "/v1/admin/users/kim@console".to_owned(),
        "/v1/admin/tokens".to_owned(),
        "/v1/admin/tokens?user=kim@console".to_owned(),
        format!("/v1/admin/tokens/{serial}"),
        "/v1/admin/devices?user=kim@console".to_owned(),
    ];
    for (scope, sees) in [("operator", false), ("auditor", true), ("admin", true)] {
        let key = console.key(scope, scope).await;
        let mut seen = 0;
        for path in &paths {
            let answer = ask(&console.pages, request("GET", path, Some(&key), None)).await;
            let is_seen = text(&answer).contains("kim@console") && answer.status.is_success();
            assert!(sees || !is_seen, "{scope} {path}: {}", text(&answer));
            seen += usize::from(is_seen);
        }
        assert!(!sees || seen >= 7, "{scope}: {seen}");
    }
    // The others are all there, on both sides of the realm.
    let key = console.key("desk", "operator").await;
    let answer = ask(
        &console.pages,
        request("GET", "/v1/admin/users?limit=1", Some(&key), None),
    )
    .await;
    let first = answer.json();
    assert_eq!(first["users"][0]["user"], "alice@default");
    let next = format!(
        "/v1/admin/users?limit=1&after={}",
        first["next"].as_str().expect("more")
    );
    let answer = ask(&console.pages, request("GET", &next, Some(&key), None)).await;
    assert_eq!(answer.json()["users"][0]["user"], "zoe@zebra");
    // In the browser as well; one's own page is one's own.
    let operator = console.person("op", &["operator"]).await;
    let session = console.sign_in(&operator).await;
    for (path, status) in [
        ("/console/users/kim@console", 404),
        ("/console/users/op@console", 200),
    ] {
        assert_eq!(
            console.get(path, Some(&session)).await.status,
            status,
            "{path}"
        );
    }
    let list = text(
        &console
            .get("/console/users?tab=console", Some(&session))
            .await,
    );
    assert!(!list.contains("kim@console"), "{list}");
    let session = console.sign_in(&kim).await;
    let list = text(
        &console
            .get("/console/users?tab=console", Some(&session))
            .await,
    );
    assert!(list.contains("kim@console"));
}

/// The key that a set-up shows, as a URI.
fn key_of(page: &str) -> String {
    let key = page
        .split("<output")
        .nth(1)
        .and_then(|rest| rest.split('>').nth(1));
    let key = key.and_then(|rest| rest.split('<').next()).expect("a key");
    format!("otpauth://totp/x?secret={}", key.replace(' ', ""))
}

#[tokio::test]
async fn a_set_up_that_was_broken_off_is_begun_again_by_the_next_link() {
    let console = Console::new();
    let strong = "correct horse staple";
    let begun = |code: String| {
        [
            ("link", code),
            ("name", "kim".to_owned()),
            ("password", strong.to_owned()),
            ("again", strong.to_owned()),
        ]
    };
    let mut keys = Vec::new();
    for _ in 0..2 {
        // No one can sign in yet: the next start makes a link again, without a name.
        let link = oncegate::web::first_link(&console.app).expect("no administrator yet");
        let (_, code) = link.expose().split_once('#').expect("a fragment");
        let form = begun(code.to_owned());
        let form: Vec<_> = form
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let answer = console.post("/console/setup", &form, None).await;
        assert_eq!(answer.status, 200, "{}", text(&answer));
        keys.push((code.to_owned(), key_of(&text(&answer))));
    }
    let (code, key) = keys.pop().expect("the last");
    // A wrong code, and one that came too soon after others and was not compared: which it was is said.
    for _ in 0..4 {
        let wrong = [("link", code.as_str()), ("code", "000000")];
        let answer = console.post("/console/setup/code", &wrong, None).await;
        assert_eq!(answer.status, 400);
        let page = text(&answer);
        assert!(
            page.contains("That code is not right.") || page.contains("too soon"),
            "{page}"
        );
    }
    let typed = console.code(&key);
    let right = [("link", code.as_str()), ("code", typed.as_str())];
    let done = console.post("/console/setup/code", &right, None).await;
    assert_eq!(done.status, 200, "{}", text(&done));
    assert!(cookie(&done).is_some());
    // Now the name is taken, and no link of its own is made any more.
    assert!(oncegate::web::first_link(&console.app).is_none());
    let made = console
        .admin("POST", "/v1/admin/console/link", Some(json!({})))
        .await;
    let form = begun(made["code"].as_str().expect("a code").to_owned());
    let form: Vec<_> = form
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    assert_eq!(
        console.post("/console/setup", &form, None).await.status,
        400
    );
    let kim = console
        .admin("GET", "/v1/admin/users/kim@console", None)
        .await;
    assert_eq!(kim["groups"], json!(["admin"]));
}

/// A name that another made point at this machine is no name of it, with and without `http.public_url`.
#[tokio::test]
async fn a_foreign_name_leads_nowhere() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let session = console.sign_in(&kim).await;
    let form: &[(&str, &str)] = &[("user", "mallory"), ("back", "/console")];
    for (host, status) in [
        ("evil.example", StatusCode::MISDIRECTED_REQUEST),
        (
            "127.0.0.1.evil.example:8080",
            StatusCode::MISDIRECTED_REQUEST,
        ),
        ("localhost:8080", StatusCode::SEE_OTHER),
    ] {
        let mut request = built("POST", "/console/act/add_user", Some(&session), Some(form));
        let headers = request.headers_mut();
        headers.insert("host", host.parse().expect("a value"));
        headers.insert("origin", format!("http://{host}").parse().expect("a value"));
        assert_eq!(ask(&console.pages, request).await.status, status, "{host}");
    }
}

#[tokio::test]
async fn the_refusal_of_an_alias_says_what_to_do() {
    let console = Console::new();
    console
        .admin("POST", "/v1/admin/users", Some(json!({ "user": "alice" })))
        .await;
    let change = Some(json!({ "aliases": ["chief@console"] }));
    let asked = request("PATCH", "/v1/admin/users/alice", None, change);
    let answer = ask(&console.local, asked).await;
    assert_eq!(answer.status, 409);
    assert!(
        text(&answer).contains("choose an alias of another realm"),
        "{}",
        text(&answer)
    );
}

/// On the machine the people of the console are listed and given roles; no one is locked out of their own machine.
#[test]
fn roles_are_granted_and_revoked_on_the_machine() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    site.json(&["user", "add", "zoe@zebra"]);
    assert_eq!(site.json(&["admin", "list"])["people"], json!([]));
    let missing = site.run(&["admin", "grant", "kim", "operator"]);
    assert_eq!(missing.status.code(), Some(4));
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(said.contains("oncegate console-link --for kim"), "{said}");
    site.json(&[
        "user",
        "add",
        "kim@console",
        "--group",
        "admin",
        "--group",
        "staff",
    ]);
    site.json(&["user", "add", "lee@console", "--group", "operator"]);
    let people = site.json(&["admin", "list"]);
    let names: Vec<_> = people["people"]
        .as_array()
        .expect("people")
        .iter()
        .map(|one| (&one["name"], &one["roles"]))
        .collect();
    assert_eq!(
        names,
        [
            (&json!("kim"), &json!(["admin"])),
            (&json!("lee"), &json!(["operator"]))
        ]
    );
    assert_eq!(
        site.json(&["admin", "grant", "lee", "approver"])["roles"],
        json!(["operator", "approver"])
    );
    assert_eq!(
        site.json(&["admin", "revoke", "lee", "operator", "--yes"])["roles"],
        json!(["approver"])
    );
    let last = site.run(&["admin", "revoke", "kim", "--yes"]);
    assert_eq!(last.status.code(), Some(0));
    let said = String::from_utf8_lossy(&last.stderr).into_owned();
    assert!(
        said.contains("no one is an administrator of the console any more"),
        "{said}"
    );
    let kim = site.json(&["user", "show", "kim@console"]);
    assert_eq!(kim["groups"], json!(["staff"]), "other groups stay");
    assert_eq!(
        site.run(&["admin", "grant", "kim", "emperor"])
            .status
            .code(),
        Some(2)
    );
    assert_eq!(
        site.run(&["admin", "grant", "alice@default", "admin"])
            .status
            .code(),
        Some(2)
    );
}

/// With a listener of its own the console is served there and nowhere else.
#[test]
fn the_console_has_a_listener_of_its_own() {
    let site = Site::new();
    let daemon = site.serve_with(&[("ONCEGATE__WEB__CONSOLE_LISTEN", "127.0.0.1:0")]);
    let link = site.json(&["console-link"]);
    let link = link["link"].as_str().expect("a link");
    let own = link.split("/console/").next().expect("a base").to_owned();
    assert_ne!(own, format!("http://{}", daemon.http));
    let status = |base: &str, path: &str| {
        use std::io::{Read as _, Write as _};
        let at = base.strip_prefix("http://").expect("an address");
        let mut stream = std::net::TcpStream::connect(at).expect("a listener");
        let head = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.split(' ').nth(1).expect("a status").to_owned()
    };
    let main = format!("http://{}", daemon.http);
    for (base, path, wanted) in [
        (&main, "/console/sign-in", "404"),
        (&own, "/console/sign-in", "200"),
        (&main, "/me/sign-in", "200"),
        (&main, "/healthz", "200"),
    ] {
        assert_eq!(status(base, path), wanted, "{base}{path}");
    }
}

/// A token is shared with its codes; that this ends is offered only while someone shares it, on both pages.
#[tokio::test]
async fn a_token_is_shared_and_taken_back_on_a_page() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    for user in ["alice", "bob"] {
        console
            .admin("POST", "/v1/admin/users", Some(json!({ "user": user })))
            .await;
    }
    let token = json!({
        "user": "alice", "kind": "hotp", "serial": "T", "secret": RFC_SECRET, "active": true,
    });
    console.admin("POST", "/v1/admin/tokens", Some(token)).await;
    let session = console.sign_in(&kim).await;
    let page = async |user: &str| {
        let path = format!("/console/users/{user}@default");
        text(&console.get(&path, Some(&session)).await)
    };
    let alone = page("alice").await;
    assert!(alone.contains("/console/act/link") && !alone.contains("/console/act/unlink"));
    let (first, second) = (hotp(0), hotp(1));
    let form = [
        ("place", "T"),
        ("user", "bob"),
        ("first", &first),
        ("second", &second),
        ("back", "/console"),
    ];
    let done = console.post("/console/act/link", &form, Some(&session));
    let done = done.await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", text(&done));
    for (user, other) in [("alice", "bob"), ("bob", "alice")] {
        let shared = page(user).await;
        assert!(shared.contains("/console/act/unlink"), "{user}: {shared}");
        assert!(shared.contains(&format!("/console/users/{other}%40default")));
        assert!(shared.contains("name=\"user\" value=\"bob@default\""));
    }
    let form = [
        ("place", "T"),
        ("user", "bob@default"),
        ("back", "/console"),
    ];
    let done = console.post("/console/act/unlink", &form, Some(&session));
    let done = done.await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", text(&done));
    assert!(!page("alice").await.contains("/console/act/unlink"));
}

/// A call: its method and path, and its body.
type Asked = ((&'static str, String), Option<Value>);

/// A call over the network: its status, and all that it says.
async fn said(
    console: &Console,
    key: &SecretString,
    (method, path): (&str, &str),
    body: Option<Value>,
) -> (u16, String) {
    let path = format!("/v1/admin/{path}");
    let answer = ask(&console.pages, request(method, &path, Some(key), body)).await;
    (answer.status.as_u16(), text(&answer))
}

/// Alice's token `T`, which counts for kim@console, too.
async fn shared(console: &Console) {
    for user in ["alice", "bob"] {
        let user = Some(json!({ "user": user }));
        console.admin("POST", "/v1/admin/users", user).await;
    }
    let token = json!({
        "user": "alice", "kind": "hotp", "serial": "T", "secret": RFC_SECRET, "active": true,
    });
    console.admin("POST", "/v1/admin/tokens", Some(token)).await;
    let codes = json!({ "user": "kim@console", "first": hotp(0), "second": hotp(1) });
    let path = "/v1/admin/tokens/T/link";
    console.admin("POST", path, Some(codes)).await;
}

/// Without the token the administrator does not sign in, by whichever of its users it is taken away.
#[tokio::test]
async fn a_token_that_counts_for_an_administrator_is_the_administrators() {
    let console = Console::new();
    console.person("kim", &["admin"]).await;
    shared(&console).await;
    let key = console.key("desk", "operator").await;
    let unlink = |user: &str| Some(json!({ "user": user }));
    let wrong = json!({ "first": "000000", "second": "000001" });
    for (call, body) in [
        (("POST", "tokens/T/unlink"), unlink("kim@console")),
        (("POST", "tokens/T/suspend"), None),
        (("POST", "tokens/T/revoke"), Some(json!({}))),
        (("POST", "tokens/T/unassign"), None),
        (("POST", "tokens/T/resync"), Some(wrong)),
        (("DELETE", "tokens/T"), None),
        (("DELETE", "users/alice"), None),
    ] {
        let (status, answer) = said(&console, &key, call, body).await;
        assert_eq!(status, 409, "{call:?}: {answer}");
        // What a link forbids to everyone is said first.
        let linked = call.1.ends_with("unassign") || call.1 == "users/alice";
        let why = answer.contains("by administrators only") || linked;
        assert!(why, "{call:?}: {answer}");
    }
    let kim = console
        .admin("GET", "/v1/admin/users/kim@console", None)
        .await;
    assert_eq!(kim["tokens"].as_array().map(Vec::len), Some(2), "{kim}");
    let token = console.admin("GET", "/v1/admin/tokens/T", None).await;
    assert_eq!(token["state"], "active");
    // What is alice's alone is changed by operators, and so is the token when it is.
    let name = Some(json!({ "display_name": "Alice" }));
    let (status, answer) = said(&console, &key, ("PATCH", "users/alice"), name).await;
    assert_eq!(status, 200, "{answer}");
    let path = "/v1/admin/tokens/T/unlink";
    console.admin("POST", path, unlink("kim@console")).await;
    let (status, answer) = said(&console, &key, ("POST", "tokens/T/suspend"), None).await;
    assert_eq!(status, 200, "{answer}");
    let (status, answer) = said(&console, &key, ("DELETE", "users/alice"), None).await;
    assert_eq!(status, 204, "{answer}");
}

/// A token of a person of the console may count for another user: that this ends changes nothing of the person's.
#[tokio::test]
async fn a_user_who_shares_an_administrators_token_is_removed_by_an_operator() {
    let console = Console::new();
    console.person("kim", &["admin"]).await;
    let alice = Some(json!({ "user": "alice" }));
    console.admin("POST", "/v1/admin/users", alice).await;
    let token = json!({
        "user": "kim@console", "kind": "hotp", "serial": "T", "secret": RFC_SECRET, "active": true,
    });
    console.admin("POST", "/v1/admin/tokens", Some(token)).await;
    let codes = json!({ "user": "alice", "first": hotp(0), "second": hotp(1) });
    let path = "/v1/admin/tokens/T/link";
    console.admin("POST", path, Some(codes)).await;
    let key = console.key("desk", "operator").await;
    // Whose it is is not told to who does not see them.
    let (status, answer) = said(&console, &key, ("GET", "users/alice"), None).await;
    assert_eq!(status, 200);
    assert!(!answer.contains("kim@console"), "{answer}");
    let operator = console.person("op", &["operator"]).await;
    let session = console.sign_in(&operator).await;
    let page = console
        .get("/console/users/alice@default", Some(&session))
        .await;
    let page = text(&page);
    assert!(page.contains("alice"), "{page}");
    assert!(!page.contains("kim@") && !page.contains("kim%40"), "{page}");
    let (status, answer) = said(&console, &key, ("DELETE", "users/alice"), None).await;
    assert_eq!(status, 204, "{answer}");
    let kim = console
        .admin("GET", "/v1/admin/users/kim@console", None)
        .await;
    assert_eq!(kim["tokens"].as_array().map(Vec::len), Some(2), "{kim}");
}

/// The page of a user does not name who of the console shares a token of theirs.
#[tokio::test]
async fn who_shares_a_token_is_shown_to_who_sees_them() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    shared(&console).await;
    let operator = console.person("op", &["operator"]).await;
    for (person, sees) in [(&kim, true), (&operator, false)] {
        let session = console.sign_in(person).await;
        let page = console
            .get("/console/users/alice@default", Some(&session))
            .await;
        let page = text(&page);
        assert_eq!(page.contains("kim%40console"), sees, "{page}");
        assert_eq!(page.contains("/console/act/unlink"), sees, "{page}");
    }
}

/// What is said of a name in the console to who does not see it is the same whether or not there is someone of it.
#[tokio::test]
async fn who_helps_users_learns_no_name_of_the_console() {
    let console = Console::new();
    console.person("kim", &["admin"]).await;
    let alias = Some(json!({ "aliases": ["boss"] }));
    let path = "/v1/admin/users/kim@console";
    console.admin("PATCH", path, alias).await;
    let alice = Some(json!({ "user": "alice" }));
    console.admin("POST", "/v1/admin/users", alice).await;
    let tokens = console.admin("GET", "/v1/admin/tokens", None).await;
    let serial = tokens["tokens"][0]["serial"].as_str().expect("a token");
    let owner = UserKey::parse("kim@console").expect("a name");
    pending(&console.service, &owner, "SERVER-KIM", false).await;
    hand_out(&console.service, "SERVER-KIM", CODE).await;
    let phone = Phone::new(1);
    let enrol = phone.enrol(console.service.core.now(), "kim@console", CODE);
    let enrolled = ask(&console.pages, enrol.request()).await;
    assert_eq!(enrolled.status, 201, "{}", text(&enrolled));
    let device = phone.id().to_string();
    let key = console.key("desk", "operator").await;
    let user = |name: &str| Some(json!({ "user": name }));
    let add = |name: &str| Some(json!({ "add_aliases": [name] }));
    let token = |name: &str| Some(json!({ "user": name, "kind": "totp" }));
    let rename = || Some(json!({ "name": "mine" }));
    let disable = || Some(json!({ "disabled": true }));
    let asked = |name: &str| -> Vec<Asked> {
        vec![
            (("GET", format!("users/{name}")), None),
            (("GET", format!("tokens?user={name}")), None),
            (("GET", format!("devices?user={name}")), None),
            (("PATCH", format!("users/{name}")), disable()),
            (("DELETE", format!("users/{name}")), None),
            (("POST", format!("users/{name}/unlock")), None),
            (("POST", "users".to_owned()), user(name)),
            (("POST", "tokens".to_owned()), token(name)),
            (("POST", "tokens/NONE-1/unlink".to_owned()), user(name)),
            (("PATCH", "users/alice".to_owned()), add(name)),
        ]
    };
    for name in ["kim@console", "boss@console"] {
        for ((there, body), (none, other)) in asked(name).into_iter().zip(asked("zzz@console")) {
            let (method, path) = &there;
            let found = said(&console, &key, (method, path), body).await;
            let missing = said(&console, &key, (none.0, &none.1), other).await;
            assert_eq!(found, missing, "{there:?}");
            assert!(found.0 >= 400 && !found.1.contains("kim"), "{found:?}");
        }
    }
    // Of records of theirs it is told what is told of none.
    for (kind, own, none) in [
        ("tokens", serial, "TOTP-ZZZZZZZZ"),
        ("tokens", "SERVER-KIM", "SERVER-ZZZ"),
        ("devices", device.as_str(), "ZZZZZZZZ"),
    ] {
        for (method, act, body) in [
            ("GET", "", None),
            ("DELETE", "", None),
            ("PATCH", "", rename()),
            ("POST", "/suspend", None),
        ] {
            if (method, kind) == ("PATCH", "tokens") || (method, kind) == ("POST", "devices") {
                continue;
            }
            let of = |id: &str| format!("{kind}/{id}{act}");
            let (own_path, none_path) = (of(own), of(none));
            let found = said(&console, &key, (method, &own_path), body.clone()).await;
            let missing = said(&console, &key, (method, &none_path), body).await;
            assert_eq!(found.0, 404, "{method} {own_path}: {}", found.1);
            assert_eq!(found.1.replace(own, none), missing.1, "{method} {own_path}");
        }
    }
    // A name without a realm is that of a user who is not there.
    let (status, answer) = said(&console, &key, ("GET", "users/kim"), None).await;
    assert_eq!(status, 404);
    assert!(!answer.contains("@console"), "{answer}");
    let key = console.key("chief", "admin").await;
    let (_, answer) = said(&console, &key, ("GET", "users/kim"), None).await;
    assert!(answer.contains("kim@console"), "{answer}");
}

/// A token or device of a person of the console is theirs by whichever name a form has for it.
#[tokio::test]
async fn an_act_on_a_token_of_the_console_asks_for_a_code_again() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    shared(&console).await;
    let token = json!({ "user": "bob", "kind": "totp", "serial": "B", "active": true });
    console.admin("POST", "/v1/admin/tokens", Some(token)).await;
    let token = json!({ "user": "kim@console", "kind": "totp", "serial": "K", "active": true });
    console.admin("POST", "/v1/admin/tokens", Some(token)).await;
    let session = console.sign_in(&kim).await;
    console.clock.advance(Duration::from_mins(6));
    for (serial, status) in [
        ("K", StatusCode::UNAUTHORIZED),
        ("T", StatusCode::UNAUTHORIZED),
        ("B", StatusCode::SEE_OTHER),
    ] {
        let form = [("place", serial), ("back", "/console")];
        let done = console
            .post("/console/act/suspend", &form, Some(&session))
            .await;
        assert_eq!(done.status, status, "{serial}: {}", text(&done));
    }
}

/// The console is a client without a record: what was decided there is read by the records of its people all the same.
#[tokio::test]
async fn a_sign_in_to_the_console_is_explained() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    console.sign_in(&kim).await;
    let audit = console.admin("GET", "/v1/admin/audit?limit=50", None).await;
    let mut records = audit["records"].as_array().expect("records").iter();
    let decided = records.find(|one| one["client"] == "console");
    let id = decided.expect("a decision")["request_id"].clone();
    let path = format!("/v1/admin/explain/{}", id.as_str().expect("an id"));
    let told = console.admin("GET", &path, None).await;
    let login = &told["records"][0]["login"];
    assert_eq!(
        (&login["client"]["known"], &login["user"]["known"]),
        (&json!(true), &json!(true)),
        "{told}"
    );
    let notes = told["records"][0]["notes"].to_string();
    assert!(!notes.contains("no client"), "{notes}");
    console.key("web", "verify").await;
    for (client, reason) in [("console", Value::Null), ("web", json!("unknown_user"))] {
        let body = json!({ "user": "kim@console", "client": client });
        let told = console.admin("POST", "/v1/admin/explain", Some(body)).await;
        assert_eq!(told["reason"], reason, "{client}: {told}");
        let next = told["next"].to_string();
        assert_eq!(
            next.contains("sign in to the console only"),
            client == "web",
            "{next}"
        );
    }
}
