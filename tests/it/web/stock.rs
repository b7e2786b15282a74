//! Tokens in stock: given to users at the help desk, and taken into use by those who hold them.

use std::time::Duration;

use oncegate::otp::{Algorithm, Digits, hotp};
use oncegate::secret::{OtpKey, SecretBytes};
use serde_json::{Value, json};

use crate::support::app::Answer;
use crate::support::console::{Console, cookie, text};
use crate::web::me::{PASSWORD, signed_in, user};

const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

fn code(counter: u64) -> String {
    let key = OtpKey::new(SecretBytes::from(&b"12345678901234567890"[..])).expect("a key");
    let code = hotp::generate(&key, Algorithm::Sha1, Digits::SIX, counter);
    code.expose().expose().to_owned()
}

/// A console whose users may enrol this by themselves, and a token in stock.
async fn stocked(enrolment: &str) -> Console {
    let own = include_str!("../../../policies/self-service.toml");
    let own = own
        .replace("reject_delay = \"1s\"", "reject_delay = \"0s\"")
        .replace("self_service = [\"totp\", \"recovery\"]", enrolment);
    assert!(own.contains(enrolment), "{own}");
    let console = Console::with_own(&own);
    let row = json!({ "user": "", "kind": "hotp", "secret": SECRET, "serial": "STOCK-1" });
    let import = json!({ "make": "tokens", "rows": [row] });
    console
        .admin("POST", "/v1/admin/import", Some(import))
        .await;
    console
}

async fn token(console: &Console) -> Value {
    console.admin("GET", "/v1/admin/tokens/STOCK-1", None).await
}

/// The newest record of alice.
async fn last(console: &Console) -> Value {
    let path = "/v1/admin/audit?user=alice&limit=1";
    let audit = console.admin("GET", path, None).await;
    audit["records"][0].clone()
}

/// What a person sends who has this password and code, and these two codes of a token.
async fn taken(
    console: &Console,
    session: &str,
    (password, own): (&str, &str),
    (serial, first, second): (&str, &str, &str),
) -> Answer {
    let form = [
        ("password", password),
        ("code", own),
        ("serial", serial),
        ("first", first),
        ("second", second),
    ];
    console.post("/me/stock", &form, Some(session)).await
}

#[tokio::test]
async fn the_holder_takes_a_token_into_use_by_two_codes() {
    let console = stocked("self_service = [\"totp\", \"hotp\"]").await;
    let uri = user(&console, "alice", json!({})).await;
    let session = signed_in(&console, "alice", &uri).await;
    let page = text(&console.get("/me", Some(&session)).await);
    assert!(page.contains("action=\"/me/stock\""), "{page}");
    let (first, second) = (code(0), code(1));
    let pair = ("stock-1", first.as_str(), second.as_str());

    // The session alone, and a wrong password: nothing is told of the token, nor is it anyone's.
    for (password, own) in [("", ""), ("wrong horse battery", "000000")] {
        let refused = taken(&console, &session, (password, own), pair).await;
        assert_eq!(refused.status, 401, "{}", text(&refused));
        assert_eq!(token(&console).await["state"], "unassigned");
        console.clock.advance(Duration::from_mins(1));
    }

    // What has not the form of a code uses up none of one's own.
    let own = console.code(&uri);
    let proof = (PASSWORD, own.as_str());
    let malformed = taken(&console, &session, proof, ("STOCK-1", "12", &second)).await;
    assert_eq!(malformed.status, 400, "{}", text(&malformed));

    // Two codes that are not the token's look like a token that is not there, and count.
    let wrong = ("STOCK-1", second.as_str(), first.as_str());
    let refused = taken(&console, &session, proof, wrong).await;
    assert_eq!(refused.status, 401, "{}", text(&refused));
    let record = last(&console).await;
    assert_eq!(
        (&record["reason"], &record["purpose"]),
        (&json!("wrong_code"), &json!("confirm")),
        "{record}"
    );
    assert!(record["failures"].as_u64() > Some(0), "{record}");
    assert_eq!(record["client"], "self-service");
    assert_eq!(record["note"], "token STOCK-1 in stock");
    assert_eq!(token(&console).await["state"], "unassigned");
    console.clock.advance(Duration::from_mins(1));
    let own = console.code(&uri);
    let none = ("STOCK-9", first.as_str(), second.as_str());
    let missing = taken(&console, &session, (PASSWORD, &own), none).await;
    assert_eq!(missing.status, 401);
    assert_eq!(text(&missing), text(&refused));
    let record = last(&console).await;
    assert_eq!(record["reason"], "no_token", "{record}");

    console.clock.advance(Duration::from_mins(1));
    let own = console.code(&uri);
    let done = taken(&console, &session, (PASSWORD, &own), pair).await;
    assert_eq!(done.status, 200, "{}", text(&done));
    let session = cookie(&done).expect("the session goes on");
    let token = token(&console).await;
    assert_eq!(
        (&token["state"], &token["user"]),
        (&json!("active"), &json!("alice@default"))
    );
    let page = text(&console.get("/me", Some(&session)).await);
    assert!(page.contains("STOCK-1"), "{page}");
    let path = "/v1/admin/audit?action=token_assign&limit=1";
    let audit = console.admin("GET", path, None).await;
    assert_eq!(audit["records"][0]["actor"], "user alice@default");
}

#[tokio::test]
async fn a_policy_says_whether_users_take_tokens_into_use() {
    for enrolment in [
        "self_service = [\"recovery\"]",
        "self_service = [\"hotp\"]\napprovers = 1",
        "self_service = [\"hotp\"]\nstep_up = [\"sms\"]",
    ] {
        let console = stocked(enrolment).await;
        let uri = user(&console, "alice", json!({})).await;
        let session = signed_in(&console, "alice", &uri).await;
        let page = text(&console.get("/me", Some(&session)).await);
        assert!(!page.contains("/me/stock"), "{enrolment}: {page}");
        let (own, first, second) = (console.code(&uri), code(0), code(1));
        let pair = ("STOCK-1", first.as_str(), second.as_str());
        let refused = taken(&console, &session, (PASSWORD, &own), pair).await;
        assert_eq!(refused.status, 403, "{enrolment}: {}", text(&refused));
        assert_eq!(token(&console).await["state"], "unassigned", "{enrolment}");
    }
}

#[tokio::test]
async fn the_help_desk_assigns_by_two_codes() {
    let console = stocked("self_service = [\"totp\"]").await;
    user(&console, "alice", json!({})).await;
    let operator = console.person("op", &["operator"]).await;
    let session = console.sign_in(&operator).await;
    let page = text(&console.get("/console/stock", Some(&session)).await);
    assert!(
        page.contains("name=\"first\"") && page.contains("name=\"second\""),
        "{page}"
    );
    let assign = async |first: &str, second: &str| {
        let form = [
            ("place", "STOCK-1"),
            ("back", "/console/stock"),
            ("user", "alice"),
            ("first", first),
            ("second", second),
        ];
        let done = console.post("/console/act/assign", &form, Some(&session));
        let status = done.await.status.as_u16();
        (status, token(&console).await["state"].clone())
    };
    assert_eq!(assign(&code(1), &code(0)).await, (409, json!("unassigned")));
    assert_eq!(assign(&code(0), "").await, (400, json!("unassigned")));
    assert_eq!(assign(&code(0), &code(1)).await, (303, json!("active")));
    let back = console.post(
        "/console/act/unassign",
        &[("place", "STOCK-1")],
        Some(&session),
    );
    assert_eq!(back.await.status, 303);
    assert_eq!(assign("", "").await, (303, json!("pending")));
}
