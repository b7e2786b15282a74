//! Every page in Korean: what is English on it is a name, a command, or a file of the installation.

use oncegate::model::profile;
use serde_json::json;

use crate::support::console::{Console, text};

/// The texts between tags, but for code and what is marked as of another language.
fn texts(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    // The tag whose text is English by its own account: the server's own words, behind a fold.
    let mut foreign: Option<&str> = None;
    let body = page.split_once("<main").map_or(page, |(_, body)| body);
    let mut skipped = 0_usize;
    for piece in body.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap_or((piece, ""));
        let name = tag
            .split([' ', '/'])
            .find(|part| !part.is_empty())
            .unwrap_or_default();
        if foreign == Some(name) && tag.starts_with('/') {
            foreign = None;
        } else if tag.contains(" lang=\"en\"") {
            foreign = Some(name);
        }
        if foreign.is_some() {
            continue;
        }
        if ["code", "textarea", "option", "output", "kbd"].contains(&name) {
            if tag.starts_with('/') {
                skipped = skipped.saturating_sub(1);
            } else {
                skipped += 1;
            }
        }
        for attribute in ["placeholder=\"", "aria-label=\""] {
            let value = tag
                .split_once(attribute)
                .and_then(|(_, rest)| rest.split('"').next());
            found.extend(value.map(str::to_owned));
        }
        if skipped == 0 {
            found.push(text.to_owned());
        }
    }
    found
}

/// Whether it reads as English: two words in small letters side by side, and no Hangul.
fn is_english(text: &str) -> bool {
    let is_hangul = |sign: char| ('\u{ac00}'..='\u{d7a3}').contains(&sign);
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_word = |word: &str| {
        let word = word.trim_end_matches([',', '.', ':', ';', '?']);
        word.len() > 1 && word.bytes().all(|octet| octet.is_ascii_lowercase())
    };
    let beside = words
        .windows(2)
        .any(|two| two.iter().all(|word| is_word(word)));
    beside && !text.chars().any(is_hangul)
}

#[test]
fn what_is_english_is_found() {
    assert!(is_english("the user is disabled"));
    for text in [
        "oncegate",
        "set timeout \u{c81c}\u{d55c}",
        "uid 0",
        "PAP",
        "2026-01-31 10:00",
    ] {
        assert!(!is_english(text), "{text}");
    }
    let page = "<main><p>one two</p><code>three four</code><b aria-label=\"five six\">7</b>";
    let all = texts(page);
    assert!(all.contains(&"one two".to_owned()) && all.contains(&"five six".to_owned()));
    assert!(!all.contains(&"three four".to_owned()));
    let told = "<main><details><summary>one</summary><p lang=\"en\">two <code>x</code> three</p></details><p>four</p>";
    assert_eq!(texts(told).concat(), "onefour");
}

#[tokio::test]
async fn every_page_in_korean_is_korean() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let session = console.sign_in(&kim).await;
    let session = format!("{session}; oncegate-language=ko");
    let mut paths: Vec<String> = Vec::new();
    for (number, name) in profile::names().enumerate() {
        let body = json!({
            "kind": "radius", "name": name, "profile": name, "addresses": [format!("192.0.2.{number}")],
        });
        console.admin("POST", "/v1/admin/clients", Some(body)).await;
        paths.push(format!("/console/clients/{name}"));
    }
    let key = console.key("app", "verify").await;
    let user = json!({ "user": "alice", "groups": ["staff"], "email": "a@example.com", "phone": "+821012345678" });
    console.admin("POST", "/v1/admin/users", Some(user)).await;
    for kind in ["totp", "recovery", "server"] {
        let token = json!({ "user": "alice", "kind": kind, "active": kind == "totp" });
        console.admin("POST", "/v1/admin/tokens", Some(token)).await;
    }
    for otp in ["000000", "nonsense"] {
        let login = json!({ "user": "alice", "otp": otp });
        let asked = crate::support::app::request("POST", "/v1/verify", Some(&key), Some(login));
        crate::support::app::ask(&console.pages, asked).await;
    }
    let audit = text(&console.get("/console/audit", Some(&session)).await);
    let whys = audit.split("href=\"/console/why/").skip(1);
    paths.extend(whys.filter_map(|rest| Some(format!("/console/why/{}", rest.split('"').next()?))));
    for path in [
        "/console",
        "/console?span=day",
        "/console/users",
        "/console/users?tab=pending",
        "/console/users?q=nobody",
        "/console/users/alice@default",
        "/console/users/none",
        "/console/stock",
        "/console/import",
        "/console/requests",
        "/console/clients",
        "/console/policies",
        "/console/policies/default",
        "/console/policies?user=alice&client=app&ip=",
        "/console/policies?user=nobody&client=app&ip=203.0.113.7",
        "/console/audit",
        "/console/audit?since=yesterday",
        "/console/audit/1",
        "/console/health",
        "/console/account",
        "/console/none",
        "/me/sign-in",
    ] {
        paths.push(path.to_owned());
    }
    let mut english: Vec<(String, String)> = Vec::new();
    for path in &paths {
        let page = text(&console.get(path, Some(&session)).await);
        assert!(page.contains("lang=\"ko\""), "{path}: {page}");
        let found = texts(&page).into_iter();
        let found = found.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        for text in found.filter(|text| is_english(text)) {
            // What a policy file says of itself.
            let own = console.service.core.policies();
            let is_own = own
                .iter()
                .any(|policy| policy.description == text || text.starts_with(&policy.description));
            if !is_own {
                english.push((path.clone(), text));
            }
        }
    }
    english.sort();
    english.dedup_by(|one, other| one.1 == other.1);
    assert!(english.is_empty(), "{english:#?}");
}

/// Acts that are refused, and with what they are asked for; `serial` is a token of alice.
fn refused_acts(serial: &str) -> Vec<(&'static str, Vec<(&'static str, &str)>)> {
    let alice = ("place", "alice@default");
    let own = ("place", serial);
    let acts: &[(&'static str, &[(&'static str, &str)])] = &[
        ("add_user", &[("user", "alice")]),
        ("add_user", &[("user", "")]),
        ("add_user", &[("user", "bora"), ("phone", "12")]),
        ("add_user", &[("user", "bora"), ("email", "no address")]),
        (
            "set_user",
            &[alice, ("groups", "staff"), ("revision", "99")],
        ),
        ("set_user", &[("place", "none"), ("groups", "staff")]),
        ("set_password", &[alice, ("password", "1")]),
        ("set_pin", &[alice, ("pin", "1")]),
        ("unlock", &[("place", "none")]),
        ("freeze", &[("place", "none")]),
        ("bypass", &[alice, ("reason", "x"), ("until", "9999")]),
        ("bypass", &[alice, ("reason", "x"), ("until", "soon")]),
        ("end_bypass", &[alice]),
        ("end_exemption", &[alice]),
        ("enrol_link", &[alice, ("deliver", "email")]),
        ("add_token", &[("user", "none"), ("kind", "totp")]),
        ("add_token", &[("user", "alice"), ("kind", "sms")]),
        ("confirm", &[own, ("otp", "000000")]),
        ("resync", &[own, ("first", "000000"), ("second", "000001")]),
        ("resync", &[own, ("first", "x"), ("second", "y")]),
        ("resume", &[own]),
        ("offer", &[own]),
        ("renew", &[own]),
        ("assign", &[own, ("user", "alice")]),
        ("link", &[own, ("user", "alice")]),
        ("unlink", &[own, ("user", "bora")]),
        ("approve", &[own]),
        ("deny", &[own, ("reason", "x")]),
        (
            "lend",
            &[("to", "kim@console"), ("until", "1"), ("reason", "x")],
        ),
        ("revoke_device", &[("place", "DEVICE-00000000")]),
        (
            "add_radius",
            &[
                ("name", "vpn"),
                ("addresses", "192.0.2.9"),
                ("profile", "generic"),
            ],
        ),
        (
            "add_radius",
            &[("name", "a b"), ("addresses", "x"), ("profile", "none")],
        ),
        ("add_api", &[("name", "local"), ("scopes", "verify")]),
        ("rotate", &[("place", "none")]),
        ("remove_client", &[("place", "none")]),
        ("declare_outage", &[("for_secs", "999999"), ("reason", "x")]),
        ("end_outage", &[]),
        ("set_draft", &[("place", "default"), ("text", "x = ")]),
        ("approve_draft", &[("place", "default")]),
        ("import", &[("plan", "none")]),
        ("reload", &[]),
        ("recover_clock", &[]),
        ("sync_source", &[("place", "none")]),
        ("verify_store", &[]),
        ("verify_audit", &[]),
        ("prune_audit", &[("before", "yesterday")]),
        (
            "test_gateway",
            &[("place", "none"), ("to", "+821012345678")],
        ),
        ("disconnect", &[("user", "alice")]),
    ];
    acts.iter()
        .map(|(act, form)| (*act, form.to_vec()))
        .collect()
}

/// What is refused is said in Korean; what the server says beyond that stands behind a fold.
#[tokio::test]
async fn every_refusal_is_korean_or_behind_a_fold() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let session = console.sign_in(&kim).await;
    let session = format!("{session}; oncegate-language=ko");
    let user = json!({ "user": "alice", "groups": ["staff"] });
    console.admin("POST", "/v1/admin/users", Some(user)).await;
    let token = json!({ "user": "alice", "kind": "totp", "active": true });
    let token = console.admin("POST", "/v1/admin/tokens", Some(token)).await;
    let serial = token["serial"].as_str().expect("a serial").to_owned();
    let client = json!({ "kind": "radius", "name": "vpn", "addresses": ["192.0.2.1"] });
    console
        .admin("POST", "/v1/admin/clients", Some(client))
        .await;
    let mut english = Vec::new();
    let mut refused = 0;
    for (act, form) in refused_acts(&serial) {
        let answer = console
            .post(&format!("/console/act/{act}"), &form, Some(&session))
            .await;
        refused += usize::from(answer.status.is_client_error());
        let page = text(&answer);
        let found = texts(&page).into_iter();
        let found = found.filter(|text| is_english(text));
        english.extend(found.map(|text| format!("{act} {form:?}: {text}")));
    }
    let rows = "user,phone\nbora,12\nchul,\n,1\n";
    let form = [("make", "users"), ("conflict", "fail"), ("rows", rows)];
    let answer = console.post("/console/import", &form, Some(&session)).await;
    let found = texts(&text(&answer)).into_iter();
    english.extend(found.filter(|text| is_english(text)));
    let form = [
        ("make", "users"),
        ("conflict", "fail"),
        ("rows", "name\nx\n"),
    ];
    let answer = console.post("/console/import", &form, Some(&session)).await;
    let found = texts(&text(&answer)).into_iter();
    english.extend(found.filter(|text| is_english(text)));
    assert!(refused > 30, "{refused}");
    assert!(english.is_empty(), "{english:#?}");
}
