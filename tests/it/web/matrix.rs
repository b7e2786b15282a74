//! Every route of the pages against every role, and against what belongs to others: who may not see or do something
//! is refused, and nothing has changed.

use std::collections::BTreeSet;
use std::path::Path;

use axum::http::Method;
use oncegate::api::call::Access;
use oncegate::model::client::Scope;
use oncegate::server::http::operations;
use serde_json::{Value, json};

use crate::support::console::{Console, text};

/// The routes that a router's source names.
fn routes(source: &str) -> BTreeSet<String> {
    let named = source.split(".route(\"").skip(1);
    named
        .map(|rest| rest.split('"').next().expect("a path").to_owned())
        .collect()
}

/// The text of all sources in a directory.
fn sources(directory: &Path) -> String {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let files = entries.map(|entry| entry.expect("an entry").path());
    let texts = files.filter_map(|file| std::fs::read_to_string(file).ok());
    texts.collect()
}

/// An act: its word, the call that it makes, and whose it is.
struct Act {
    id: &'static str,
    access: Access,
}

/// All acts, as their table has them.
fn acts() -> Vec<Act> {
    let source = include_str!("../../../src/web/console/acts.rs");
    let table = source.split("\nacts! {").nth(1).expect("the table");
    let table = table.split("\n}").next().expect("its end");
    let operations = operations();
    let api = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api"));
    let named = table.lines().filter_map(|line| {
        let (id, rest) = line.strip_prefix("    \"")?.split_once("\" = ")?;
        let call = rest.split([':', ',']).next()?.trim();
        let declared = format!(" {call} = ");
        let name = api.split(&declared).nth(1)?.split(':').next()?;
        let found = operations.iter().find(|operation| operation.id == name);
        let operation = found.unwrap_or_else(|| panic!("{id}: no call {name}"));
        let access = operation.access;
        Some(Act { id, access })
    });
    named.collect()
}

impl Act {
    /// Whether a role may make its call.
    fn is_for(&self, role: Scope) -> bool {
        match self.access {
            Access::Admin(scopes) => role == Scope::Admin || scopes.contains(&role),
            _ => false,
        }
    }

    /// Its form about a record, with something in every field that any act has.
    fn form<'a>(place: &'a str, user: &'a str) -> Vec<(&'a str, &'a str)> {
        vec![
            ("place", place),
            ("user", user),
            ("back", "/console"),
            ("reason", "other"),
            ("until", "1"),
            ("password", "mine is this one 1"),
            ("pin", "90517342"),
            ("groups", "admin"),
            ("display_name", "Mallory"),
            ("email", "mallory@evil.example"),
            ("phone", "+82 10 6666 6666"),
            ("kind", "totp"),
            ("deliver", "link"),
            ("otp", "000000"),
            ("first", "000000"),
            ("second", "000001"),
            ("name", "mallory"),
            ("policy", "default"),
            ("to", "op@console"),
            ("from", "kim@console"),
            ("note", "of another"),
        ]
    }
}

const ROLES: [Scope; 4] = [
    Scope::Admin,
    Scope::Operator,
    Scope::Approver,
    Scope::Auditor,
];

/// A page of the console: its route, an address of it that is there, and the roles that see it.
const PAGES: &[(&str, &str, &[Scope])] = &[
    ("/console", "/console", &ROLES),
    ("/console/find", "/console/find?q=alice", &ROLES),
    (
        "/console/users",
        "/console/users",
        &[Scope::Admin, Scope::Operator, Scope::Auditor],
    ),
    (
        "/console/users/{user}",
        "/console/users/alice@default",
        &[Scope::Admin, Scope::Operator, Scope::Auditor],
    ),
    ("/console/stock", "/console/stock", &ROLES),
    ("/console/import", "/console/import", &[Scope::Admin]),
    ("/console/requests", "/console/requests", &ROLES),
    (
        "/console/clients",
        "/console/clients",
        &[Scope::Admin, Scope::Auditor],
    ),
    (
        "/console/clients/{name}",
        "/console/clients/vpn",
        &[Scope::Admin, Scope::Auditor],
    ),
    (
        "/console/policies",
        "/console/policies",
        &[Scope::Admin, Scope::Operator, Scope::Auditor],
    ),
    (
        "/console/policies/{name}",
        "/console/policies/default",
        &[Scope::Admin, Scope::Operator, Scope::Auditor],
    ),
    // Policies are not edited here: no one has a draft.
    ("/console/draft", "/console/draft?policy=default", &[]),
    (
        "/console/draft/replay",
        "/console/draft/replay?policy=default",
        &[],
    ),
    (
        "/console/why/{request}",
        "WHY",
        &[Scope::Admin, Scope::Auditor],
    ),
    (
        "/console/audit",
        "/console/audit",
        &[Scope::Admin, Scope::Auditor],
    ),
    (
        "/console/audit/export",
        "/console/audit/export?format=csv",
        &[Scope::Admin, Scope::Auditor],
    ),
    (
        "/console/audit/{seq}",
        "/console/audit/1",
        &[Scope::Admin, Scope::Auditor],
    ),
    ("/console/health", "/console/health", &ROLES),
    ("/console/account", "/console/account", &ROLES),
    ("/console/live", "", &[]),
];

/// What takes forms, or is no page of one who has signed in; each has its tests elsewhere.
const OTHERS: &[&str] = &[
    "/console/sign-in",
    "/console/sign-out",
    "/console/look",
    "/console/setup",
    "/console/setup/code",
    "/console/printed",
    "/console/account/end",
    "/console/act/{id}",
    "/console/{*page}",
];

/// Records of everyone: what an act of another could have changed.
async fn state(console: &Console) -> Value {
    let mut all = Vec::new();
    for path in [
        "/v1/admin/users",
        "/v1/admin/tokens",
        "/v1/admin/clients",
        "/v1/admin/delegations",
        "/v1/admin/outage",
    ] {
        all.push(console.admin("GET", path, None).await);
    }
    Value::Array(all)
}

/// A console with a user, a client, a login that was refused, and where that is explained.
async fn house() -> (Console, String) {
    let console = Console::new();
    let user = json!({ "user": "alice", "email": "alice@example.com" });
    console.admin("POST", "/v1/admin/users", Some(user)).await;
    let token = json!({ "user": "alice", "kind": "totp", "active": true });
    console.admin("POST", "/v1/admin/tokens", Some(token)).await;
    let client = json!({ "kind": "radius", "name": "vpn", "addresses": ["192.0.2.1"] });
    console
        .admin("POST", "/v1/admin/clients", Some(client))
        .await;
    let key = console.key("app", "verify").await;
    let login = json!({ "user": "alice", "otp": "000000" });
    let asked = crate::support::app::request("POST", "/v1/verify", Some(&key), Some(login));
    crate::support::app::ask(&console.pages, asked).await;
    let audit = console
        .admin("GET", "/v1/admin/audit?user=alice&decision=reject", None)
        .await;
    let request = audit["records"][0]["request_id"].as_str().expect("a login");
    let why = format!("/console/why/{request}");
    (console, why)
}

#[tokio::test]
async fn every_page_is_for_its_roles() {
    let known: BTreeSet<String> = PAGES
        .iter()
        .map(|page| page.0)
        .chain(OTHERS.iter().copied())
        .map(str::to_owned)
        .collect();
    assert_eq!(
        known,
        routes(include_str!("../../../src/web/console/mod.rs"))
    );
    let (console, why) = house().await;
    for role in ROLES {
        let person = console.person(role.as_str(), &[role.as_str()]).await;
        let session = console.sign_in(&person).await;
        for (route, path, roles) in PAGES.iter().filter(|page| !page.1.is_empty()) {
            let path = if *path == "WHY" { why.as_str() } else { path };
            let answer = console.get(path, Some(&session)).await;
            let status = answer.status.as_u16();
            let opens = roles.contains(&role);
            let expected = if opens {
                [200, 303].contains(&status)
            } else {
                [403, 404, 409].contains(&status)
            };
            assert!(expected, "{role} {route}: {status}");
            // Nor does what is refused show anything of it.
            let page = text(&answer);
            assert!(
                opens || !page.contains("alice@example.com"),
                "{role} {route}"
            );
            assert!(opens || !page.contains("/console/act/"), "{role} {route}");
        }
        let live = console.get("/console/live?after=x", Some(&session)).await;
        assert_eq!(live.status, 400, "{role}");
    }
    // No one, and who has a session of self-service or an invented one.
    for session in [None, Some("oncegate=none"), Some("oncegate-me=none")] {
        for (route, path, _) in PAGES.iter().filter(|page| !page.1.is_empty()) {
            let path = if *path == "WHY" { why.as_str() } else { path };
            let answer = console.get(path, session).await;
            assert_eq!(answer.status, 303, "{route} {session:?}");
            assert_eq!(answer.headers["location"], "/console/sign-in", "{route}");
        }
        assert_eq!(console.get("/console/live", session).await.status, 303);
    }
}

/// A request id in the search leads to what the role may see of it, or to a page that says why not.
#[tokio::test]
async fn a_request_is_found_by_those_who_may_see_it() {
    let (console, why) = house().await;
    let request = why.rsplit('/').next().expect("a request");
    for (role, to) in [
        (Scope::Admin, Some(why.as_str())),
        (Scope::Auditor, Some(why.as_str())),
        (Scope::Operator, Some("/console/users/alice%40default")),
        (Scope::Approver, None),
    ] {
        let person = console.person(role.as_str(), &[role.as_str()]).await;
        let session = console.sign_in(&person).await;
        let path = format!("/console/find?q={request}");
        let answer = console.get(&path, Some(&session)).await;
        let location = answer.headers.get("location");
        let location = location.map(|value| value.to_str().expect("text"));
        assert_eq!(location, to, "{role}");
        assert!(
            to.is_some() || answer.status == 403,
            "{role}: {}",
            answer.status
        );
        // Who sees no users has no search.
        let now = text(&console.get("/console", Some(&session)).await);
        assert_eq!(now.contains("role=\"search\""), to.is_some(), "{role}");
    }
}

#[tokio::test]
async fn every_act_is_for_its_roles() {
    let acts = acts();
    assert!(acts.len() > 45, "{}", acts.len());
    let (console, _) = house().await;
    for role in ROLES {
        let person = console.person(role.as_str(), &[role.as_str()]).await;
        let session = console.sign_in(&person).await;
        for act in &acts {
            // An operator decides about requests only where an approver lent the right.
            if role == Scope::Operator && ["approve", "deny"].contains(&act.id) {
                continue;
            }
            // Nothing that is there is named, so that what may be done is not.
            let form = [("place", "none"), ("user", ""), ("back", "/console")];
            let path = format!("/console/act/{}", act.id);
            let before = state(&console).await;
            let answer = console.post(&path, &form, Some(&session)).await;
            let status = answer.status.as_u16();
            if act.is_for(role) {
                assert_ne!(status, 403, "{role} {}", act.id);
            } else {
                assert_eq!(status, 403, "{role} {}: {}", act.id, text(&answer));
                assert_eq!(state(&console).await, before, "{role} {}", act.id);
            }
        }
    }
    for session in [None, Some("oncegate=none"), Some("oncegate-me=none")] {
        for act in &acts {
            let path = format!("/console/act/{}", act.id);
            let form = Act::form("alice", "alice");
            let answer = console.post(&path, &form, session).await;
            assert_eq!(answer.status, 303, "{}", act.id);
        }
    }
}

/// The people of the console, their tokens and their clients are no objects of an operator, an approver or an auditor.
#[tokio::test]
async fn no_act_of_others_touches_the_people_of_the_console() {
    let (console, _) = house().await;
    let kim = console.person("kim", &["admin"]).await;
    let tokens = console
        .admin("GET", "/v1/admin/tokens?user=kim@console", None)
        .await;
    let serial = tokens["tokens"][0]["serial"]
        .as_str()
        .expect("a token")
        .to_owned();
    console.person("op", &["operator"]).await;
    for role in [Scope::Operator, Scope::Approver, Scope::Auditor] {
        let person = console.person(role.as_str(), &[role.as_str()]).await;
        let session = console.sign_in(&person).await;
        let mut before = state(&console).await;
        // The outage is no one's, and one's own right is lent by oneself.
        let free = ["lend", "take_back", "declare_outage", "end_outage"];
        for act in acts().iter().filter(|act| !free.contains(&act.id)) {
            for (place, user) in [
                ("kim@console", "kim@console"),
                (serial.as_str(), "kim@console"),
                ("kim@console", "op@console"),
                (serial.as_str(), "alice"),
                ("vpn", "kim@console"),
            ] {
                let path = format!("/console/act/{}", act.id);
                let form = Act::form(place, user);
                let answer = console.post(&path, &form, Some(&session)).await;
                let what = format!("{role} {} {place} {user}", act.id);
                let after = state(&console).await;
                // A token of alice's own is the operator's to make, whatever is in `place`.
                let is_own = user == "alice" && act.id == "add_token";
                assert!(is_own || after == before, "{what}: {}", text(&answer));
                before = after;
            }
        }
    }
    // Kim is who she was.
    console.sign_in(&kim).await;
}

/// What is sent to `/me` with another's token or device, or without a session of one's own, changes nothing.
#[tokio::test]
async fn self_service_is_of_ones_own() {
    let all = routes(include_str!("../../../src/web/portal/mod.rs"));
    let open = [
        "/me/sign-in",
        "/me/sign-in/device",
        "/me/sign-out",
        "/me/look",
    ];
    let own: Vec<&String> = all
        .iter()
        .filter(|path| !open.contains(&path.as_str()))
        .collect();
    assert!(own.len() >= 12, "{own:?}");
    let console = Console::new();
    let mut serials = Vec::new();
    let mut uris = Vec::new();
    for user in ["alice", "bora"] {
        let body =
            json!({ "user": user, "password": "correct horse battery", "remote_issue": true });
        console.admin("POST", "/v1/admin/users", Some(body)).await;
        let token = json!({ "user": user, "kind": "totp", "active": true });
        let made = console.admin("POST", "/v1/admin/tokens", Some(token)).await;
        serials.push(made["serial"].as_str().expect("a serial").to_owned());
        uris.push(made["otpauth_uri"].as_str().expect("a URI").to_owned());
    }
    let code = console.code(&uris[1]);
    let form = [
        ("name", "bora"),
        ("password", "correct horse battery"),
        ("code", &code),
    ];
    let answer = console.post("/me/sign-in", &form, None).await;
    let bora = crate::support::console::cookie(&answer).expect("a session");
    let kim = console.person("kim", &["admin"]).await;
    let kim = console.sign_in(&kim).await;
    let alice = async || {
        let user = console.admin("GET", "/v1/admin/users/alice", None).await;
        let tokens = console
            .admin("GET", "/v1/admin/tokens?user=alice", None)
            .await;
        (user, tokens)
    };
    let before = alice().await;
    let fields = [
        ("serial", serials[0].as_str()),
        ("replaces", &serials[0]),
        ("device", "DEVICE-00000000"),
        ("user", "alice"),
        ("name", "alice"),
        ("which", "email"),
        ("address", "mallory@evil.example"),
        ("password", "correct horse battery"),
        ("pin", "000000"),
        ("new", "905173"),
        ("again", "905173"),
        ("code", "000000"),
        ("language", "ko"),
    ];
    for path in own {
        // No session, an invented one, and an administrator's, which is none of self-service.
        for session in [None, Some("oncegate-me=none"), Some(kim.as_str())] {
            let read = console.get(path, session).await;
            assert!(
                [303, 405].contains(&read.status.as_u16()),
                "{path} {session:?}"
            );
            if *path != "/me" {
                let sent = console.post(path, &fields, session).await;
                assert_eq!(sent.status, 303, "{path} {session:?}: {}", text(&sent));
            }
        }
        if *path != "/me" {
            console.post(path, &fields, Some(&bora)).await;
            assert_eq!(alice().await, before, "{path}");
        }
    }
    assert_eq!(
        console.get("/me", Some(&kim)).await.headers["location"],
        "/me/sign-in"
    );
}

/// A method that a route does not have is none of a page either.
#[tokio::test]
async fn pages_are_not_changed_by_reading() {
    let (console, _) = house().await;
    let kim = console.person("kim", &["admin"]).await;
    let session = console.sign_in(&kim).await;
    let before = state(&console).await;
    for act in &acts() {
        let path = format!("/console/act/{}?place=alice&user=alice", act.id);
        let answer = console.get(&path, Some(&session)).await;
        assert_eq!(answer.status, 405, "{}", act.id);
    }
    for (_, path, _) in PAGES.iter().filter(|page| page.1.starts_with('/')) {
        console.get(path, Some(&session)).await;
        let mut head = crate::support::console::built("HEAD", path, Some(&session), None);
        *head.method_mut() = Method::HEAD;
        crate::support::app::ask(&console.pages, head).await;
    }
    assert_eq!(state(&console).await, before);
}
