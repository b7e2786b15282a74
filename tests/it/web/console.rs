//! The console over a plain HTTP client: first run, sign-in, sessions, forms from elsewhere, roles, what strangers write.

use axum::http::StatusCode;
use serde_json::json;

use crate::support::app::{ask, request};
use crate::support::console::{Console, PAGES, built, cookie, text};

#[tokio::test]
async fn a_link_makes_the_first_administrator_once() {
    let console = Console::new();
    let link = oncegate::web::first_link(&console.app).expect("no administrator yet");
    let (base, code) = link.expose().split_once('#').expect("a fragment");
    assert_eq!(base, "http://127.0.0.1:8080/console/setup");
    assert_eq!(code.len(), 14);
    assert!(text(&console.get("/console/sign-in", None).await).contains("console-link"));
    let form = |link: &str, password: &str, again: &str| {
        [
            ("link", link.to_owned()),
            ("name", "Kim".to_owned()),
            ("password", password.to_owned()),
            ("again", again.to_owned()),
        ]
    };
    let strong = "correct horse staple";
    for (link, password, again) in [
        ("AAAA-BBBB-CCCC", strong, strong),
        (code, strong, "another one"),
        (code, "short", "short"),
    ] {
        let form = form(link, password, again);
        let form: Vec<_> = form
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let answer = console.post("/console/setup", &form, None).await;
        assert_eq!(answer.status, 400, "{}", text(&answer));
    }
    let form = form(&code.to_lowercase(), strong, strong);
    let form: Vec<_> = form
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let answer = console.post("/console/setup", &form, None).await;
    let page = text(&answer);
    assert_eq!(answer.status, 200, "{page}");
    let key = page
        .split("<output")
        .nth(1)
        .and_then(|rest| rest.split('>').nth(1));
    let key = key.and_then(|rest| rest.split('<').next()).expect("a key");
    let key = key.replace(' ', "");
    let uri = format!("otpauth://totp/x?secret={key}");
    let wrong = [("link", code), ("code", "000000")];
    assert_eq!(
        console
            .post("/console/setup/code", &wrong, None)
            .await
            .status,
        400
    );
    let typed = console.code(&uri);
    let right = [("link", code), ("code", typed.as_str())];
    let done = console.post("/console/setup/code", &right, None).await;
    let page = text(&done);
    assert_eq!(done.status, 200, "{page}");
    assert!(page.contains("data-copy"), "recovery codes");
    let session = cookie(&done).expect("a session");
    assert_eq!(console.get("/console", Some(&session)).await.status, 200);
    // Once; and there is an administrator now.
    assert_eq!(
        console
            .post("/console/setup/code", &right, None)
            .await
            .status,
        400
    );
    assert!(oncegate::web::first_link(&console.app).is_none());
    // The audit names the person.
    let add = [("user", "alice"), ("back", "/console/users")];
    let added = console
        .post("/console/act/add_user", &add, Some(&session))
        .await;
    assert_eq!(added.status, StatusCode::SEE_OTHER, "{}", text(&added));
    let audit = console
        .admin("GET", "/v1/admin/audit?action=user_add&limit=1", None)
        .await;
    assert_eq!(audit["records"][0]["actor"], "kim@console");
}

#[tokio::test]
async fn a_link_is_made_on_the_machine_only_and_for_whom_it_names() {
    let console = Console::new();
    let key = console.key("ops", "admin").await;
    let asked = request(
        "POST",
        "/v1/admin/console/link",
        Some(&key),
        Some(json!({})),
    );
    assert_eq!(ask(&console.pages, asked).await.status, 403);
    let made = console
        .admin(
            "POST",
            "/v1/admin/console/link",
            Some(json!({"for": "lee", "role": "auditor"})),
        )
        .await;
    let code = made["code"].as_str().expect("a code");
    assert_eq!(made["expires_in"], 600);
    let form = [
        ("link", code),
        ("name", "kim"),
        ("password", "correct horse staple"),
        ("again", "correct horse staple"),
    ];
    assert_eq!(
        console.post("/console/setup", &form, None).await.status,
        400
    );
    let bad = request(
        "POST",
        "/v1/admin/console/link",
        None,
        Some(json!({"role": "emperor"})),
    );
    assert_eq!(ask(&console.local, bad).await.status, 400);
}

#[tokio::test]
async fn a_refused_sign_in_says_nothing_and_opens_nothing() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    console.person("none", &["staff"]).await;
    let code = console.code(&kim.uri);
    let mut pages = Vec::new();
    for (name, password, code) in [
        ("kim", "wrong horse staple", code.as_str()),
        ("kim", "correct horse staple", "000000"),
        ("nobody", "correct horse staple", "000000"),
        ("\u{7}", "x", "y"),
        ("kim@default", "correct horse staple", "000000"),
    ] {
        let form = [("name", name), ("password", password), ("code", code)];
        let answer = console.post("/console/sign-in", &form, None).await;
        assert_eq!(answer.status, 401, "{name}");
        assert!(cookie(&answer).is_none());
        pages.push(answer.body);
    }
    assert!(pages.windows(2).all(|two| two[0] == two[1]), "all alike");
    for path in PAGES {
        let answer = console.get(path, None).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
        assert_eq!(answer.headers["location"], "/console/sign-in");
    }
}

#[tokio::test]
async fn a_sign_in_is_never_with_a_session_that_was_there_before() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let code = console.code(&kim.uri);
    let form = [
        ("name", "kim"),
        ("password", "correct horse staple"),
        ("code", code.as_str()),
    ];
    let fixed = "oncegate=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let answer = console.post("/console/sign-in", &form, Some(fixed)).await;
    let first = cookie(&answer).expect("a session");
    assert_ne!(first, fixed);
    let line = answer.headers["set-cookie"].to_str().expect("text");
    assert!(line.contains("HttpOnly; SameSite=Strict; Path=/"), "{line}");
    // The code again opens nothing; signing in again leaves the session before behind.
    assert_eq!(
        console.post("/console/sign-in", &form, None).await.status,
        401
    );
    let code = console.code(&kim.uri);
    let form = [
        ("name", "kim"),
        ("password", "correct horse staple"),
        ("code", code.as_str()),
    ];
    let answer = console.post("/console/sign-in", &form, Some(&first)).await;
    let second = cookie(&answer).expect("a session");
    assert_ne!(first, second);
    assert_eq!(console.get("/console", Some(&first)).await.status, 303);
    assert_eq!(console.get("/console", Some(&second)).await.status, 200);
    // Two cookies of the name: one of them is another's.
    let both = format!("{second}; {fixed}");
    assert_eq!(console.get("/console", Some(&both)).await.status, 303);
    let out = console.post("/console/sign-out", &[], Some(&second)).await;
    assert!(
        out.headers["set-cookie"]
            .to_str()
            .expect("text")
            .contains("Max-Age=0")
    );
    assert_eq!(console.get("/console", Some(&second)).await.status, 303);
}

#[tokio::test]
async fn a_session_ends_when_the_person_changes() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let user = "/v1/admin/users/kim@console";
    for (method, path, body) in [
        (
            "PATCH",
            user.to_owned(),
            Some(json!({"groups": ["operator"]})),
        ),
        ("PATCH", user.to_owned(), Some(json!({"groups": ["admin"]}))),
        (
            "PATCH",
            user.to_owned(),
            Some(json!({"password": "another horse staple"})),
        ),
        (
            "PATCH",
            user.to_owned(),
            Some(json!({"password": "correct horse staple!"})),
        ),
    ] {
        let session = match body.as_ref().and_then(|body| body["password"].as_str()) {
            Some("correct horse staple!") => continue,
            _ => console.sign_in(&kim).await,
        };
        assert_eq!(console.get("/console", Some(&session)).await.status, 200);
        console.admin(method, &path, body).await;
        assert_eq!(
            console.get("/console", Some(&session)).await.status,
            303,
            "{path}"
        );
        let act = [("place", "kim@console")];
        let stolen = console
            .post("/console/act/unlock", &act, Some(&session))
            .await;
        assert_eq!(stolen.status, 303);
        assert_eq!(stolen.headers["location"], "/console/sign-in");
    }
}

#[tokio::test]
async fn forms_of_other_sites_and_other_hosts_are_refused() {
    let console = Console::with(Vec::new(), Some("https://otp.example.com"));
    let kim = console.person("kim", &["admin"]).await;
    let session = console.sign_in(&kim).await;
    let form: &[(&str, &str)] = &[("user", "mallory"), ("back", "/console")];
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "none"),
        ("origin", "https://evil.example"),
        ("x-none", ""),
    ] {
        let mut request = built("POST", "/console/act/add_user", Some(&session), Some(form));
        let name: axum::http::HeaderName = name.parse().expect("a name");
        request
            .headers_mut()
            .insert(name, value.parse().expect("a value"));
        assert_eq!(ask(&console.pages, request).await.status, 403, "{value}");
    }
    let mut request = built("GET", "/console", Some(&session), None);
    request
        .headers_mut()
        .insert("host", "evil.example".parse().expect("a value"));
    assert_eq!(ask(&console.pages, request).await.status, 421);
    let mut request = built("POST", "/console/act/add_user", Some(&session), None);
    request
        .headers_mut()
        .insert("sec-fetch-site", "same-origin".parse().expect("a value"));
    request
        .headers_mut()
        .insert("content-type", "application/json".parse().expect("a value"));
    assert_eq!(ask(&console.pages, request).await.status, 415);
    let long = "x".repeat(20_000);
    let answer = console
        .post("/console/act/add_user", &[("user", &long)], Some(&session))
        .await;
    assert_eq!(answer.status, 413);
    let users = console.admin("GET", "/v1/admin/users", None).await;
    assert!(!users.to_string().contains("mallory"));
    // Under the public name the cookie is for TLS.
    let mut request = built("POST", "/console/sign-out", Some(&session), Some(&[]));
    request
        .headers_mut()
        .insert("host", "otp.example.com".parse().expect("a value"));
    request.headers_mut().insert(
        "origin",
        "https://otp.example.com".parse().expect("a value"),
    );
    let answer = ask(&console.pages, request).await;
    let line = answer.headers["set-cookie"].to_str().expect("text");
    assert!(
        line.starts_with("__Host-oncegate=;") && line.contains("; Secure"),
        "{line}"
    );
}

#[tokio::test]
async fn every_page_has_its_headers_and_the_console_its_networks() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let session = console.sign_in(&kim).await;
    console
        .admin("POST", "/v1/admin/users", Some(json!({"user": "alice"})))
        .await;
    for path in PAGES
        .iter()
        .chain(&["/console/sign-in", "/console/setup", "/console/none"])
    {
        let answer = console.get(path, Some(&session)).await;
        let header = |name: &str| answer.headers[name].to_str().expect("text").to_owned();
        assert!(
            header("content-security-policy").starts_with("default-src 'none';"),
            "{path}"
        );
        assert_eq!(header("cache-control"), "no-store", "{path}");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("x-content-type-options"), "nosniff");
        let page = text(&answer);
        for word in ["<style", "style=\"", "onclick", "javascript:", "<script>"] {
            assert!(!page.contains(word), "{path}: {word}");
        }
    }
    let page = text(&console.get("/console/sign-in", None).await);
    let asset = page
        .split('"')
        .find(|part| part.starts_with("/assets/"))
        .expect("an asset");
    let answer = console.get(asset, None).await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.headers["cache-control"]
            .to_str()
            .expect("text")
            .contains("immutable")
    );
    let far = Console::with(vec!["10.20.0.0/16".parse().expect("a network")], None);
    assert_eq!(far.get("/console/sign-in", None).await.status, 404);
}

/// A page is there for who may make its call, and no form on it is for a call that its reader may not make.
#[tokio::test]
async fn every_role_sees_its_own_pages_and_acts() {
    let console = Console::new();
    console
        .admin("POST", "/v1/admin/users", Some(json!({"user": "alice"})))
        .await;
    let body = json!({"kind": "radius", "name": "vpn", "addresses": ["192.0.2.1"]});
    console.admin("POST", "/v1/admin/clients", Some(body)).await;
    // Now, Users, alice, Requests, Clients, Policies, Audit, Health.
    for (role, opens) in [
        ("admin", [true; 8]),
        ("auditor", [true; 8]),
        (
            "operator",
            [true, true, true, true, false, true, false, true],
        ),
        (
            "approver",
            [true, false, false, true, false, false, false, true],
        ),
    ] {
        let person = console.person(role, &[role]).await;
        let session = console.sign_in(&person).await;
        for (path, opens) in PAGES.iter().zip(opens) {
            let answer = console.get(path, Some(&session)).await;
            let wanted = if opens { 200 } else { 403 };
            assert_eq!(answer.status, wanted, "{role} {path}: {}", text(&answer));
            let page = text(&answer);
            let acts = page.split("/console/act/").skip(1);
            let acts: Vec<&str> = acts.filter_map(|rest| rest.split('"').next()).collect();
            match role {
                "auditor" => {
                    let reading = ["verify_store", "verify_audit"];
                    assert!(
                        acts.iter().all(|act| reading.contains(act)),
                        "{path}: {acts:?}"
                    );
                }
                "approver" => {
                    let own = acts.iter().all(|act| *act == "lend");
                    assert!(own, "{path}: {acts:?}");
                }
                _ => {}
            }
        }
        // What belongs to others is not there, or not theirs; no act stands on it.
        for (path, roles) in [
            (
                "/console/stock",
                &["admin", "operator", "approver", "auditor"][..],
            ),
            ("/console/import", &["admin"]),
            ("/console/audit/1", &["admin", "auditor"]),
            ("/console/audit/999999", &[]),
            ("/console/clients/vpn", &["admin", "auditor"]),
            (
                "/console/policies/default",
                &["admin", "operator", "auditor"],
            ),
            ("/console/draft?policy=default", &[]),
            ("/console/draft/replay?policy=default", &[]),
            ("/console/users/admin@console", &["admin", "auditor"]),
            ("/console/users/none", &[]),
            ("/console/why/01M85J3KY28Q1C9WJCP9C5VPRY", &[]),
        ] {
            let answer = console.get(path, Some(&session)).await;
            let opens = roles.contains(&role);
            let refused = [403, 404, 409].contains(&answer.status.as_u16());
            let wanted = if opens { answer.status == 200 } else { refused };
            assert!(wanted, "{role} {path}: {}", answer.status);
            assert!(
                opens || !text(&answer).contains("/console/act/"),
                "{role} {path}"
            );
        }
        // What is absent is refused, too.
        for (act, roles) in [
            ("add_user", &["admin", "operator"][..]),
            ("remove_client", &["admin"]),
            ("reload", &["admin"]),
            ("approve", &["admin", "approver", "operator"]),
        ] {
            let form = [("place", "none"), ("user", "bob"), ("back", "/console")];
            let answer = console
                .post(&format!("/console/act/{act}"), &form, Some(&session))
                .await;
            // An operator approves by a right that was lent only.
            let lent = role == "operator" && act == "approve";
            let may = roles.contains(&role) && !lent;
            assert_eq!(answer.status != 403, may, "{role} {act}");
        }
    }
}

/// Who could change the people of the console could become one of them.
#[tokio::test]
async fn an_operator_cannot_change_the_people_of_the_console() {
    let console = Console::new();
    console.person("kim", &["admin"]).await;
    let operator = console.person("op", &["operator"]).await;
    let session = console.sign_in(&operator).await;
    let forms: &[(&str, &[(&str, &str)])] = &[
        (
            "set_password",
            &[("place", "kim@console"), ("password", "mine is this one")],
        ),
        ("set_user", &[("place", "op@console"), ("groups", "admin")]),
        ("add_token", &[("user", "kim@console"), ("kind", "totp")]),
        (
            "enrol_link",
            &[("place", "kim@console"), ("deliver", "link")],
        ),
        ("disable", &[("place", "kim@console")]),
        ("remove_user", &[("place", "kim@console")]),
        (
            "bypass",
            &[("place", "kim@console"), ("reason", "x"), ("until", "1")],
        ),
        ("add_user", &[("user", "me@console"), ("groups", "admin")]),
        ("unlock", &[("place", "kim@console")]),
    ];
    for (act, form) in forms {
        let answer = console
            .post(&format!("/console/act/{act}"), form, Some(&session))
            .await;
        assert!(answer.status.is_client_error(), "{act}: {}", answer.status);
    }
    let key = console.key("desk", "operator").await;
    let change = Some(json!({"password": "mine is this one"}));
    let asked = request("PATCH", "/v1/admin/users/kim@console", Some(&key), change);
    assert_eq!(ask(&console.pages, asked).await.status, 409);
    let new = Some(json!({"user": "evil@console"}));
    let asked = request("POST", "/v1/admin/users", Some(&key), new);
    let answer = ask(&console.pages, asked).await;
    assert!(
        text(&answer).contains("by administrators only"),
        "{}",
        text(&answer)
    );
    let kim = console
        .admin("GET", "/v1/admin/users/kim@console", None)
        .await;
    assert_eq!(kim["groups"], json!(["admin"]));
    assert_eq!(kim["tokens"].as_array().map(Vec::len), Some(1));
    assert_eq!(kim["disabled"], false);
}

/// Neither a name nor a code of the console leads anywhere else: no alias of another user stands for an administrator,
/// and their codes are no logins at other clients.
#[tokio::test]
async fn the_realm_of_the_console_is_apart() {
    let console = Console::new();
    let user = Some(json!({"user": "mallory"}));
    console.admin("POST", "/v1/admin/users", user).await;
    let kim = console.person("kim", &["admin"]).await;
    for (user, alias) in [("mallory", "chief@console"), ("kim@console", "kim@default")] {
        let path = format!("/v1/admin/users/{user}");
        let asked = request("PATCH", &path, None, Some(json!({"aliases": [alias]})));
        let answer = ask(&console.local, asked).await;
        assert_eq!(answer.status, 409, "{alias}: {}", text(&answer));
    }
    let key = console.key("web", "verify").await;
    let code = console.code(&kim.uri);
    let login = Some(json!({"user": "kim@console", "otp": code}));
    let login = request("POST", "/v1/verify", Some(&key), login);
    let answer = ask(&console.pages, login).await;
    assert_eq!(answer.json()["decision"], "reject");
    // It is not used up: the console takes it.
    let password = ("password", "correct horse staple");
    let form = [("name", "kim"), password, ("code", &code)];
    let answer = console.post("/console/sign-in", &form, None).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", text(&answer));
}

#[tokio::test]
async fn what_strangers_write_is_text() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let session = console.sign_in(&kim).await;
    let evil = "<script>alert(1)</script>\"'&";
    let body = json!({"user": "alice", "display_name": evil, "groups": [evil], "class": evil});
    console.admin("POST", "/v1/admin/users", Some(body)).await;
    // The name of a login that no one can read is on record as it was typed.
    let key = console.key("app", "verify").await;
    let login = json!({"user": evil, "otp": "123456"});
    ask(
        &console.pages,
        request("POST", "/v1/verify", Some(&key), Some(login)),
    )
    .await;
    let mut paths = PAGES.to_vec();
    let query = "/console/users?q=%3Cscript%3Ealert(1)%3C/script%3E%22'%26";
    paths.extend([
        query,
        "/console/audit?user=%3Cscript%3E%22",
        "/console?done=%3Cscript%3E",
    ]);
    let mut seen = 0;
    for path in paths {
        let page = text(&console.get(path, Some(&session)).await);
        assert!(!page.contains("<script>"), "{path}");
        seen += page.matches("&#60;script&#62;").count();
    }
    assert!(seen > 3, "the texts were shown: {seen}");
    let why = "/console/audit/export?format=csv";
    assert_eq!(console.get(why, Some(&session)).await.status, 200);
}

#[tokio::test]
async fn grave_acts_ask_for_a_code_again() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let session = console.sign_in(&kim).await;
    console
        .admin("POST", "/v1/admin/users", Some(json!({"user": "alice"})))
        .await;
    let form = [
        ("place", "alice@default"),
        ("deliver", "link"),
        ("back", "/console/users/alice%40default"),
    ];
    let shown = console
        .post("/console/act/enrol_link", &form, Some(&session))
        .await;
    let page = text(&shown);
    assert_eq!(shown.status, 200, "{page}");
    assert!(page.contains("http://127.0.0.1:8080/enrol#"), "{page}");
    assert_eq!(shown.headers["cache-control"], "no-store");
    // An ordinary act asks for none, and leads back to where it was.
    let unlock = [("place", "alice@default"), ("back", "//evil.example")];
    let done = console
        .post("/console/act/disable", &unlock, Some(&session))
        .await;
    assert_eq!(done.headers["location"], "/console?done=disable");
}

#[tokio::test]
async fn a_person_speaks_their_language() {
    let console = Console::new();
    let look = [
        ("language", "ko"),
        ("theme", "dark"),
        ("back", "/console/sign-in"),
    ];
    let answer = console.post("/console/look", &look, None).await;
    assert_eq!(answer.headers["location"], "/console/sign-in");
    let lines = answer.headers.get_all("set-cookie").iter();
    let kept: Vec<_> = lines
        .filter_map(|line| line.to_str().ok()?.split(';').next())
        .collect();
    let page = text(
        &console
            .get("/console/sign-in", Some(&kept.join("; ")))
            .await,
    );
    assert!(page.contains("lang=\"ko\" data-theme=\"dark\""), "{page}");
    assert!(page.contains("\u{b85c}\u{adf8}\u{c778}"), "{page}");
}

#[tokio::test]
async fn of_two_who_change_one_record_the_second_is_told() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let session = console.sign_in(&kim).await;
    console
        .admin("POST", "/v1/admin/users", Some(json!({"user": "alice"})))
        .await;
    let page = text(
        &console
            .get("/console/users/alice@default", Some(&session))
            .await,
    );
    let revision = page.split("name=\"revision\" value=\"").nth(1);
    let revision = revision
        .and_then(|rest| rest.split('"').next())
        .expect("a revision");
    let form = [
        ("place", "alice@default"),
        ("revision", revision),
        ("display_name", "Alice"),
        ("back", "/console/users/alice%40default"),
    ];
    let first = console
        .post("/console/act/set_user", &form, Some(&session))
        .await;
    assert_eq!(first.status, StatusCode::SEE_OTHER, "{}", text(&first));
    let second = console
        .post("/console/act/set_user", &form, Some(&session))
        .await;
    assert_eq!(
        second.status,
        StatusCode::PRECONDITION_FAILED,
        "{}",
        text(&second)
    );
}
