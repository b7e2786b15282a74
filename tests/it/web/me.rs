//! Self-service over a plain HTTP client: contacts, consents, the way in by a device, prints; and who may not.

use std::sync::Arc;
use std::time::Duration;

use oncegate::core::directory::{
    Asking, Checked, Directory, DirectoryError, People, Person, Said, SourceInfo,
};
use oncegate::model::user::DirectoryId;
use oncegate::secret::SecretString;
use serde_json::{Value, json};

use crate::support::app::ask;
use crate::support::console::{Console, HOST, cookie, text};
use crate::support::device::{Phone, Sent};
use crate::support::outbox::outbox;

pub(super) const PASSWORD: &str = "correct horse battery";

/// A user who knows [`PASSWORD`]; the key of their authenticator app.
pub(super) async fn user(console: &Console, name: &str, more: Value) -> String {
    let mut body = json!({ "user": name, "password": PASSWORD });
    for (field, value) in more.as_object().expect("fields") {
        body[field] = value.clone();
    }
    console.admin("POST", "/v1/admin/users", Some(body)).await;
    let token = json!({ "user": name, "kind": "totp", "active": true });
    let made = console.admin("POST", "/v1/admin/tokens", Some(token)).await;
    made["otpauth_uri"].as_str().expect("a URI").to_owned()
}

pub(super) async fn signed_in(console: &Console, name: &str, uri: &str) -> String {
    let code = console.code(uri);
    let form = [("name", name), ("password", PASSWORD), ("code", &code)];
    let answer = console.post("/me/sign-in", &form, None).await;
    assert_eq!(answer.status, 303, "{}", text(&answer));
    cookie(&answer).expect("a session")
}

pub(super) async fn shown(console: &Console, name: &str) -> Value {
    let path = format!("/v1/admin/users/{name}");
    console.admin("GET", &path, None).await
}

#[tokio::test]
async fn a_contact_needs_password_and_code_and_the_former_one_is_remembered() {
    let console = Console::new();
    let (courier, _inbox) = outbox();
    console.service.core.set_courier(Arc::new(courier));
    let contacts = json!({ "phone": "+82-10-1234-5678", "email": "alice@example.com" });
    let uri = user(&console, "alice", contacts).await;
    let session = signed_in(&console, "alice", &uri).await;
    let page = text(&console.get("/me", Some(&session)).await);
    assert!(
        !page.contains("1234-5678") && !page.contains("alice@example.com"),
        "most is hidden"
    );
    let change = async |session: &str, which: &str, address: &str, password: &str, code: &str| {
        let form = [
            ("which", which),
            ("address", address),
            ("password", password),
            ("code", code),
        ];
        console.post("/me/contact", &form, Some(session)).await
    };
    // Without a session, with a wrong password, with a used code, with what is no address: nothing changes.
    let code = console.code(&uri);
    assert_eq!(
        change(
            "oncegate-me=none",
            "email",
            "x@example.com",
            PASSWORD,
            &code
        )
        .await
        .status,
        303
    );
    assert_eq!(
        change(&session, "email", "not an address", PASSWORD, &code)
            .await
            .status,
        400
    );
    assert_eq!(
        change(
            &session,
            "email",
            "x@example.com",
            "wrong horse battery",
            "000000"
        )
        .await
        .status,
        401
    );
    console.clock.advance(Duration::from_mins(1));
    let now = shown(&console, "alice").await;
    assert_eq!(now["email"], "alice@example.com");
    let code = console.code(&uri);
    let done = change(&session, "email", "alice@new.example", PASSWORD, &code).await;
    assert_eq!(done.status, 200, "{}", text(&done));
    let session = cookie(&done).expect("the session goes on");
    let again = change(&session, "email", "mallory@evil.example", PASSWORD, &code).await;
    assert_eq!(again.status, 401, "once");
    let code = console.code(&uri);
    let done = change(&session, "phone", "+82 10 9999 0000", PASSWORD, &code).await;
    assert_eq!(done.status, 200, "{}", text(&done));
    let now = shown(&console, "alice").await;
    assert_eq!(
        (&now["email"], &now["phone"]),
        (&json!("alice@new.example"), &json!("+821099990000"))
    );
    let audit = console
        .admin("GET", "/v1/admin/audit?action=user_set&limit=2", None)
        .await;
    for record in audit["records"].as_array().expect("records") {
        assert_eq!(record["actor"], "user alice@default");
    }
}

/// Capabilities C2: a code that went to the former number says nothing of the new one.
#[tokio::test]
async fn a_code_that_goes_to_the_old_number_does_not_change_it() {
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"password\", \"sms\"]\n\
                  present = \"either\"\n";
    let console = Console::with_own(policy);
    let (courier, mut inbox) = outbox();
    console.service.core.set_courier(Arc::new(courier));
    let body = json!({ "user": "bo", "password": PASSWORD, "phone": "+821012345678", "email": "bo@example.com" });
    console.admin("POST", "/v1/admin/users", Some(body)).await;
    let token = json!({ "user": "bo", "kind": "sms", "active": true });
    console.admin("POST", "/v1/admin/tokens", Some(token)).await;
    let session = {
        let form = [("name", "bo"), ("password", PASSWORD)];
        let asked = console.post("/me/sign-in", &form, None).await;
        assert_eq!(asked.status, 200, "{}", text(&asked));
        let page = text(&asked);
        let (_, rest) = page
            .split_once("name=\"challenge\" value=\"")
            .expect("a challenge");
        let challenge = rest.split('"').next().expect("an id");
        let (_, _, code) = inbox.next().await;
        let form = [("name", "bo"), ("challenge", challenge), ("code", &code)];
        let answer = console.post("/me/sign-in", &form, None).await;
        assert_eq!(answer.status, 303, "{}", text(&answer));
        cookie(&answer).expect("a session")
    };
    console.clock.advance(Duration::from_mins(5));
    // A round sends a code; it is typed into the form.
    console
        .post(
            "/me/sign-in",
            &[("name", "bo"), ("password", PASSWORD)],
            None,
        )
        .await;
    let (_, _, code) = inbox.next().await;
    let form = [
        ("which", "phone"),
        ("address", "+821000000000"),
        ("password", PASSWORD),
        ("code", &code),
    ];
    let answer = console.post("/me/contact", &form, Some(&session)).await;
    assert!(
        [401, 403].contains(&answer.status.as_u16()),
        "{}",
        text(&answer)
    );
    assert_eq!(shown(&console, "bo").await["phone"], "+821012345678");
}

#[tokio::test]
async fn a_consent_is_seen_and_withdrawn_and_a_sheet_that_is_printed_is_on_record() {
    let console = Console::new();
    let uri = user(&console, "alice", json!({ "remote_issue": true })).await;
    let other = user(&console, "bo", json!({})).await;
    let session = signed_in(&console, "alice", &uri).await;
    let page = text(&console.get("/me", Some(&session)).await);
    assert!(page.contains("action=\"/me/consent\""), "{page}");
    let done = console.post("/me/consent", &[], Some(&session)).await;
    assert_eq!(done.status, 200, "{}", text(&done));
    let session = cookie(&done).expect("the session goes on");
    assert_eq!(shown(&console, "alice").await["remote_issue"], false);
    let page = text(&console.get("/me", Some(&session)).await);
    assert!(!page.contains("action=\"/me/consent\""));

    let code = console.code(&uri);
    let form = [("password", PASSWORD), ("code", code.as_str())];
    let sheet = console.post("/me/recovery", &form, Some(&session)).await;
    let page = text(&sheet);
    assert_eq!(sheet.status, 200, "{page}");
    let session = cookie(&sheet).expect("the session goes on");
    let (_, rest) = page.split_once("data-serial=\"").expect("a sheet");
    let serial = rest.split('"').next().expect("a serial").to_owned();
    let print = async |session: &str, what: &str, serial: &str| {
        let form = [("what", what), ("serial", serial)];
        console
            .post("/me/printed", &form, Some(session))
            .await
            .status
            .as_u16()
    };
    assert_eq!(print(&session, "recovery", &serial).await, 204);
    assert_eq!(print(&session, "poem", &serial).await, 400);
    assert_eq!(print(&session, "recovery", "TOTP-00000000").await, 404);
    let foreign = signed_in(&console, "bo", &other).await;
    assert_eq!(print(&foreign, "recovery", &serial).await, 404, "another's");
    let audit = console
        .admin("GET", "/v1/admin/audit?action=sheet_print", None)
        .await;
    let records = audit["records"].as_array().expect("records");
    assert_eq!(records.len(), 1);
    assert_eq!(
        (
            &records[0]["actor"],
            &records[0]["target"],
            &records[0]["user"],
            &records[0]["detail"]
        ),
        (
            &json!("user alice@default"),
            &json!(serial),
            &json!("alice@default"),
            &json!("recovery codes")
        )
    );
}

/// A telephone in use for alice.
async fn telephone(console: &Console, octet: u8) -> (Phone, String) {
    telephone_of(console, "alice", octet).await
}

/// The same for another user.
async fn telephone_of(console: &Console, user: &str, octet: u8) -> (Phone, String) {
    let token = json!({ "user": user, "kind": "server" });
    let token = console.admin("POST", "/v1/admin/tokens", Some(token)).await;
    let serial = token["serial"].as_str().expect("a serial").to_owned();
    let path = format!("/v1/admin/tokens/{serial}/offer");
    let offered = console.admin("POST", &path, Some(json!({}))).await;
    let code = offered["code"].as_str().expect("a code");
    let phone = Phone::new(octet);
    let sent = phone.enrol(console.service.core.now(), user, code);
    let answer = ask(&console.pages, sent.request()).await;
    assert_eq!(answer.status, 201, "{}", text(&answer));
    (phone, serial)
}

/// People of the console sign in to the console only, a device of theirs too.
#[tokio::test]
async fn a_device_of_the_console_signs_no_one_in() {
    let console = Console::new();
    console.person("kim", &["admin"]).await;
    let (phone, _) = telephone_of(&console, "kim@console", 1).await;
    console.clock.advance(Duration::from_secs(2));
    let now = console.service.core.now();
    let sent = phone.ask(now, "POST", "/me/sign-in/device", Some(json!({})));
    let mut request = sent.request();
    let headers = request.headers_mut();
    headers.insert("host", HOST.parse().expect("a value"));
    headers.insert("sec-fetch-site", "same-origin".parse().expect("a value"));
    let answer = ask(&console.pages, request).await;
    assert_eq!(answer.status, 409, "{}", text(&answer));
    assert!(cookie(&answer).is_none());
}

#[tokio::test]
async fn a_device_signs_its_user_in_once_for_each_signature() {
    let console = Console::new();
    user(&console, "alice", json!({})).await;
    let (phone, serial) = telephone(&console, 1).await;
    console.clock.advance(Duration::from_secs(2));
    let path = "/me/sign-in/device";
    let send = async |sent: &Sent, site: &str| {
        let mut request = sent.request();
        let headers = request.headers_mut();
        headers.insert("host", HOST.parse().expect("a value"));
        headers.insert("sec-fetch-site", site.parse().expect("a value"));
        ask(&console.pages, request).await
    };
    let signed =
        |phone: &Phone| phone.ask(console.service.core.now(), "POST", path, Some(json!({})));
    let sent = signed(&phone);
    assert_eq!(send(&sent, "cross-site").await.status, 403, "another site");
    let answer = send(&sent, "same-origin").await;
    assert_eq!(answer.status, 204, "{}", text(&answer));
    let session = cookie(&answer).expect("a session");
    assert_eq!(console.get("/me", Some(&session)).await.status, 200);
    let again = send(&sent, "same-origin").await;
    assert_eq!(again.status, 401, "a signature is taken once");
    assert!(cookie(&again).is_none());
    let strange = send(&signed(&Phone::new(9)), "same-origin").await;
    assert_eq!(strange.status, 401, "no device of anyone");
    let mut changed = signed(&phone);
    changed.body = "{ }".to_owned();
    assert_eq!(send(&changed, "same-origin").await.status, 401);
    let audit = console
        .admin("GET", "/v1/admin/audit?action=device_sign_in", None)
        .await;
    let records = audit["records"].as_array().expect("records");
    assert_eq!(records.len(), 1, "{audit}");
    assert_eq!(records[0]["user"], "alice@default");
    // What was lost opens nothing, and ends what it had opened.
    let path = format!("/v1/admin/tokens/{serial}/suspend");
    console.admin("POST", &path, None).await;
    assert_eq!(console.get("/me", Some(&session)).await.status, 303);
    console.clock.advance(Duration::from_secs(2));
    let lost = send(&signed(&phone), "same-origin").await;
    assert_eq!(lost.status, 409, "{}", text(&lost));
    assert!(cookie(&lost).is_none());
    // The console is not opened by it, nor is /me without a signature.
    let bare = console.post("/me/sign-in/device", &[], None).await;
    assert_eq!(bare.status, 401, "{}", text(&bare));
    assert_eq!(console.get("/me", None).await.status, 303);
}

/// A directory that says the telephone numbers of its people.
struct Hr;

impl Directory for Hr {
    fn sources(&self) -> Vec<SourceInfo> {
        vec![SourceInfo {
            name: "hr".to_owned(),
            kind: "ldap",
            servers: Vec::new(),
            realm: "default".to_owned(),
            every: None,
            password: None,
        }]
    }

    fn checks_passwords(&self, _: &str) -> bool {
        false
    }

    fn check<'a>(&'a self, user: &'a DirectoryId, _: &'a SecretString) -> Asking<'a, Checked> {
        let error = DirectoryError::Unknown(user.source.clone());
        Box::pin(async move { Err(error) })
    }

    fn read<'a>(&'a self, _: &'a str) -> Asking<'a, Result<People, DirectoryError>> {
        let person = Person {
            id: "1".to_owned(),
            login: "alice".to_owned(),
            phone: Some("+821012345678".to_owned()),
            ..Person::default()
        };
        let people = People {
            people: vec![person],
            says: vec![Said::Phone],
            ..People::default()
        };
        Box::pin(async move { Ok(people) })
    }
}

#[tokio::test]
async fn a_contact_that_follows_a_source_is_not_changed_here() {
    let console = Console::new();
    console.service.core.directories().set(Arc::new(Hr));
    let contacts = json!({ "phone": "+82-10-1234-5678", "email": "alice@example.com" });
    let uri = user(&console, "alice", contacts).await;
    let session = signed_in(&console, "alice", &uri).await;
    let page = text(&console.get("/me", Some(&session)).await);
    assert!(
        page.contains("value=\"phone\"") && page.contains("value=\"email\""),
        "{page}"
    );
    let adopt = json!({ "adopt": true });
    let synced = console
        .admin("POST", "/v1/admin/sources/hr/sync", Some(adopt))
        .await;
    assert_eq!(synced["counts"]["adopted"], 1, "{synced}");

    // A changed record ends sessions.
    console.clock.advance(Duration::from_mins(1));
    let session = signed_in(&console, "alice", &uri).await;
    let page = text(&console.get("/me", Some(&session)).await);
    assert!(
        !page.contains("value=\"phone\"") && page.contains("value=\"email\""),
        "{page}"
    );
    assert!(page.contains("come from the directory"), "{page}");
    // Who sends the form all the same has no code used up.
    console.clock.advance(Duration::from_mins(5));
    let code = console.code(&uri);
    for (which, address, status) in [
        ("phone", "+821099999999", 409),
        ("email", "other@example.com", 200),
    ] {
        let form = [
            ("which", which),
            ("address", address),
            ("password", PASSWORD),
            ("code", code.as_str()),
        ];
        let answer = console.post("/me/contact", &form, Some(&session)).await;
        let page = text(&answer);
        assert_eq!(answer.status.as_u16(), status, "{which}: {page}");
        assert_eq!(
            page.contains("come from the directory"),
            status == 409,
            "{page}"
        );
    }
    let alice = shown(&console, "alice").await;
    assert_eq!(
        (&alice["phone"], &alice["email"]),
        (&json!("+821012345678"), &json!("other@example.com"))
    );
}
