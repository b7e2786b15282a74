//! Import in the console in two steps, and sheets that are printed.

use serde_json::json;

use crate::support::console::{Console, text};

const ROWS: &str = "user;groups;display_name;secret\n\
    ann;staff|vpn;Ann Lee;\n\
    bob;;\"Bob; Jr\";GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n\
    alice;;;\n";

#[tokio::test]
async fn rows_are_planned_first_and_made_then() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    console
        .admin("POST", "/v1/admin/users", Some(json!({ "user": "alice" })))
        .await;
    let session = console.sign_in(&kim).await;
    let plan = async |rows: &str| {
        let form = [("make", "users"), ("conflict", "skip"), ("rows", rows)];
        console.post("/console/import", &form, Some(&session)).await
    };
    // What is broken is named by its line, and nothing is offered.
    let page = text(&plan(&ROWS.replace("GEZDGNBVGY3TQOJQ", "not base 32!")).await);
    assert!(
        page.contains("<span>3</span>") && page.contains("Broken rows: 1."),
        "{page}"
    );
    assert!(!page.contains("/console/act/import"), "{page}");
    for (rows, why) in [
        ("user;color\nx;red\n", "unknown column <code>color</code>"),
        ("name\nx\n", "one of them is <code>user</code>"),
        ("user\n\"open\n", "a quote is not closed"),
    ] {
        let answer = plan(rows).await;
        assert_eq!(answer.status, 400);
        assert!(text(&answer).contains(why), "{why}: {}", text(&answer));
    }
    let answer = plan(ROWS).await;
    let page = text(&answer);
    assert!(
        page.contains(
            "People: 2. Tokens: 1; there already: 0. Rows that exist: 1. Broken rows: 0."
        ),
        "{page}"
    );
    assert!(!page.contains("GEZDGNBVGY3TQOJQ"), "keys are not sent back");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let users = console
        .admin("GET", "/v1/admin/users?search=bob", None)
        .await;
    assert_eq!(users["users"], json!([]), "nothing is made by a plan");
    let id = page
        .split("name=\"plan\" value=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let form = [("plan", id.expect("a plan"))];
    // It is another's.
    let lee = console.person("lee", &["admin"]).await;
    let other = console.sign_in(&lee).await;
    let stolen = console
        .post("/console/act/import", &form, Some(&other))
        .await;
    assert_eq!(stolen.status, 409, "{}", text(&stolen));
    let made = console
        .post("/console/act/import", &form, Some(&session))
        .await;
    assert!(
        text(&made).contains("People: 2. Tokens: 1;"),
        "{}",
        text(&made)
    );
    let bob = console.admin("GET", "/v1/admin/users/bob", None).await;
    assert_eq!(
        (&bob["display_name"], bob["tokens"].as_array().map(Vec::len)),
        (&json!("Bob; Jr"), Some(1))
    );
    let ann = console.admin("GET", "/v1/admin/users/ann", None).await;
    assert_eq!(ann["groups"], json!(["staff", "vpn"]));
    let again = console
        .post("/console/act/import", &form, Some(&session))
        .await;
    assert_eq!(again.status, 409, "once");
    let audit = console
        .admin("GET", "/v1/admin/audit?action=import&limit=1", None)
        .await;
    assert_eq!(audit["records"][0]["actor"], "kim@console");
    // Too long, and for others.
    let long = plan(&"x".repeat(4 * 1024 * 1024)).await;
    assert_eq!(long.status, 413);
    assert!(
        text(&long).contains("oncegate user import"),
        "{}",
        text(&long)
    );
    let op = console.person("op", &["operator"]).await;
    let op = console.sign_in(&op).await;
    for path in ["/console/import", "/console/act/import"] {
        let form = [("plan", "x"), ("rows", ROWS)];
        assert_eq!(
            console.post(path, &form, Some(&op)).await.status,
            403,
            "{path}"
        );
    }
    assert_eq!(console.get("/console/import", Some(&op)).await.status, 403);
}

/// What is weak about the tokens is said before they are made and after, of the line that was pasted.
#[tokio::test]
async fn weak_keys_are_told_by_their_lines() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    let session = console.sign_in(&kim).await;
    let rows = "user;secret\nann;GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\nbob;GEZDGNBVGY3TQOJQ\n";
    let form = [("make", "users"), ("conflict", "skip"), ("rows", rows)];
    let korean = format!("{session}; oncegate-language=ko");
    let page = text(&console.post("/console/import", &form, Some(&korean)).await);
    assert!(page.contains("3\u{bc88}\u{c9f8} \u{c904}"), "{page}");
    let page = text(&console.post("/console/import", &form, Some(&session)).await);
    let weak = "keys of less than 112 bits: 1, the first of them in line 3; ";
    assert!(page.contains(weak), "{page}");
    let id = page
        .split("name=\"plan\" value=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let form = [("plan", id.expect("a plan"))];
    let made = console
        .post("/console/act/import", &form, Some(&session))
        .await;
    assert!(text(&made).contains(weak), "{}", text(&made));
}

#[tokio::test]
async fn sheets_are_shown_once_to_be_printed() {
    let console = Console::new();
    let kim = console.person("kim", &["admin"]).await;
    console
        .admin("POST", "/v1/admin/users", Some(json!({ "user": "alice" })))
        .await;
    let session = console.sign_in(&kim).await;
    for (act, form, says) in [
        (
            "add_token",
            &[("user", "alice"), ("kind", "recovery")][..],
            "Keep this sheet apart",
        ),
        (
            "add_token",
            &[("user", "alice"), ("kind", "card")][..],
            "Security card.",
        ),
        (
            "enrol_link",
            &[("place", "alice"), ("deliver", "link")][..],
            "follow the three steps",
        ),
    ] {
        let answer = console
            .post(&format!("/console/act/{act}"), form, Some(&session))
            .await;
        let page = text(&answer);
        assert!(
            page.contains(says) && page.contains("data-print"),
            "{says}: {page}"
        );
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    let card = console.post(
        "/console/act/add_token",
        &[("user", "alice"), ("kind", "card")],
        Some(&session),
    );
    // Beside the seven entries of the menu.
    assert_eq!(text(&card.await).matches("<li>").count(), 7 + 35);
}
