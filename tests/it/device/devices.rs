//! The device protocol from outside: enrolment, codes, transfer, renewal, end (capabilities A1, A2, A10, B7,
//! C6, D6).

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use oncegate::model::issue::{Issued, Way};
use oncegate::model::token::{LifeCycle, Token, TokenState};
use oncegate::model::user_key::UserKey;
use oncegate::otp::issued::Mark;
use oncegate::secret::{Entropy, EntropyError};
use oncegate::signature::key::KeyAlgorithm;
use oncegate::store::medium::Memory;
use oncegate::time::{FixedClock, UnixTime};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::app::{Answer, TestApp, ask};
use crate::support::device::{Phone, Sent, hand_out, pending};

pub(crate) const POLICY: &str = r#"
reject_delay = "0s"
[[rule]]
name = "everyone"
require = ["otp"]
[enrolment]
valid_for = "30d"
renew_from = "7d"
"#;

pub(crate) const CODE: &str = "7F3K9Q2M44XZ";
pub(crate) const SERIAL: &str = "SERVER-7F3K9Q2M";
const DAY: Duration = Duration::from_hours(24);

/// A front end and a user with a token that waits for [`CODE`].
pub(crate) async fn invited(user: &str) -> TestApp {
    let app = TestApp::with(POLICY, false);
    invite(&app, user, SERIAL, CODE).await;
    app
}

pub(crate) async fn invite(app: &TestApp, user: &str, serial: &str, code: &str) {
    let user = app.user(user).await;
    pending(&app.service, &user, serial, false).await;
    hand_out(&app.service, serial, code).await;
}

/// The same with a phone that has redeemed it.
pub(crate) async fn enrolled() -> (TestApp, Phone) {
    let app = invited("alice").await;
    let phone = Phone::new(1);
    let answer = app
        .send(&phone.enrol(app.service.core.now(), "alice", CODE))
        .await;
    assert_eq!(answer.status, 201, "{:?}", answer.json());
    (app, phone)
}

impl TestApp {
    pub(crate) async fn send(&self, sent: &Sent) -> Answer {
        ask(&self.keyed, sent.request()).await
    }

    /// Asks as this phone, now.
    pub(crate) async fn as_phone(
        &self,
        phone: &Phone,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let sent = phone.ask(self.service.core.now(), method, path, body);
        self.send(&sent).await
    }

    pub(crate) fn found(&self, serial: &str) -> (Token, TokenState) {
        let serial = serial.parse().unwrap();
        self.service.core.store().token(&serial).unwrap().unwrap()
    }

    pub(crate) fn issued(&self) -> Issued {
        self.found(SERIAL).1.issued.unwrap()
    }
}

#[tokio::test]
async fn a_phone_enrols_fetches_codes_and_says_what_waits() {
    let (app, phone) = enrolled().await;
    let (token, state) = app.found(SERIAL);
    assert_eq!(token.state, LifeCycle::Active);
    assert_eq!(token.device, Some(phone.id()));
    let number = state.issued.unwrap().number;
    assert_eq!(state.moving.last, Some(number), "the code is used up");

    let code = app.as_phone(&phone, "POST", "/v1/device/otp", None).await;
    assert_eq!(code.status, 200);
    assert_eq!(code.headers["cache-control"], "no-store");
    let code = code.json();
    let text = code["code"].as_str().unwrap();
    assert!(text.len() == 6 && text.bytes().all(|octet| octet.is_ascii_digit()));
    assert_eq!(
        (&code["serial"], &code["expires_in"]),
        (&json!(SERIAL), &json!(60))
    );
    let issued = app.issued();
    let key = &app.found(SERIAL).0.key;
    assert_eq!(issued.mark, Mark::of(key, Way::Code.as_str(), None, text));
    assert_eq!(
        issued.expires,
        app.service.core.now().plus(Duration::from_mins(1))
    );

    app.key("web", oncegate::model::client::Scope::Verify, None)
        .await;
    let body = json!({ "client": "web" });
    let bound = app
        .as_phone(&phone, "POST", "/v1/device/otp", Some(body))
        .await
        .json();
    let mark = Mark::of(key, "code", Some("web"), bound["code"].as_str().unwrap());
    assert_eq!(app.issued().mark, mark);
    let body = Some(json!({ "client": "nobody" }));
    let answer = app.as_phone(&phone, "POST", "/v1/device/otp", body).await;
    assert_eq!(answer.problem(), (404, "not-found".to_owned()));

    let waits = app
        .as_phone(&phone, "GET", "/v1/device/pending", None)
        .await
        .json();
    let expires = app.service.core.now().plus(30 * DAY).rfc3339();
    let token = json!({
        "serial": SERIAL, "kind": "server", "state": "active", "expires": expires,
    });
    let wanted = json!({ "user": "alice@default", "tokens": [token], "codes": [] });
    assert_eq!(waits, wanted);
}

/// Capabilities B7: what was sent elsewhere is seen on the device, without what must not be seen.
#[tokio::test]
async fn live_codes_of_other_tokens_are_shown_without_themselves() {
    let (app, phone) = enrolled().await;
    let alice = UserKey::parse("alice").unwrap();
    pending(&app.service, &alice, "SERVER-OTHER", false).await;
    hand_out(&app.service, "SERVER-OTHER", "ANOTHERC0DE1").await;
    invite(&app, "bob", "SERVER-BOB", "B0BSC0DE0001").await;
    let waits = app
        .as_phone(&phone, "GET", "/v1/device/pending", None)
        .await;
    assert!(!String::from_utf8_lossy(&waits.body).contains("ANOTHER"));
    let expires = app
        .service
        .core
        .now()
        .plus(Duration::from_mins(10))
        .rfc3339();
    let code = json!({
        "serial": "SERVER-OTHER", "kind": "server", "way": "enrol", "to": null,
        "expires": expires,
    });
    assert_eq!(waits.json()["codes"], json!([code]));
    app.clock.advance(Duration::from_mins(10));
    let waits = app
        .as_phone(&phone, "GET", "/v1/device/pending", None)
        .await;
    assert_eq!(waits.json()["codes"], json!([]));
}

#[tokio::test]
async fn codes_are_typed_as_people_type_them_and_both_kinds_of_key_serve() {
    for (number, typed) in ["7f3k-9q2m-44xz", " 7F3K 9Q2M 44XZ"]
        .into_iter()
        .enumerate()
    {
        let app = invited("alice").await;
        let algorithm = KeyAlgorithm::ALL[number];
        let phone = Phone::with(algorithm, [9; 32]);
        let answer = app
            .send(&phone.enrol(app.service.core.now(), "ALICE@default", typed))
            .await;
        assert_eq!(answer.status, 201, "{:?}", answer.json());
        assert_eq!(answer.json()["device"], phone.id().to_string());
        let code = app.as_phone(&phone, "POST", "/v1/device/otp", None).await;
        assert_eq!(code.status, 200);
    }
}

/// A device that must prove its token by a first right code.
#[tokio::test]
async fn where_the_policy_says_so_the_token_waits_for_its_first_right_code() {
    let app = TestApp::with(POLICY, false);
    let alice = app.user("alice").await;
    pending(&app.service, &alice, SERIAL, true).await;
    hand_out(&app.service, SERIAL, CODE).await;
    let phone = Phone::new(1);
    let sent = phone.enrol(app.service.core.now(), "alice", CODE);
    let answer = app.send(&sent).await;
    assert_eq!(answer.json()["token"]["state"], "pending");
    // Redeemed twice: by the same phone and by another.
    for phone in [&phone, &Phone::new(2)] {
        let again = app
            .send(&phone.enrol(app.service.core.now(), "alice", CODE))
            .await;
        assert_eq!(again.problem(), (409, "refused".to_owned()));
    }
    assert_eq!(app.service.core.store().devices(&alice).unwrap().len(), 1);
    let code = app.as_phone(&phone, "POST", "/v1/device/otp", None).await;
    assert_eq!(code.status, 200);
}

/// Capabilities C6.
#[tokio::test]
async fn a_transfer_moves_everything_and_ends_the_old_phone() {
    let (app, old) = enrolled().await;
    let alice = UserKey::parse("alice").unwrap();
    let code = app
        .as_phone(&old, "POST", "/v1/device/transfer", None)
        .await
        .json();
    let text = code["code"].as_str().unwrap().to_owned();
    assert!(text.len() == 12 && text.bytes().all(|octet| octet.is_ascii_digit()));
    assert_eq!(code["expires_in"], 180);
    // Three wrong ones void it.
    let new = Phone::new(2);
    for wrong in ["000000000000", "111111111111", "222222222222"] {
        let answer = app
            .send(&new.enrol(app.service.core.now(), "alice", wrong))
            .await;
        assert_eq!(answer.problem(), (409, "refused".to_owned()));
        app.clock.advance(Duration::from_secs(5));
    }
    assert_eq!(app.issued().tries, 3);
    let late = app
        .send(&new.enrol(app.service.core.now(), "alice", &text))
        .await;
    assert_eq!(late.problem(), (409, "refused".to_owned()));
    app.clock.advance(Duration::from_secs(30));
    // The next one is good, and once.
    let code = app
        .as_phone(&old, "POST", "/v1/device/transfer", None)
        .await
        .json();
    let text = code["code"].as_str().unwrap().to_owned();
    let answer = app
        .send(&new.enrol(app.service.core.now(), "alice", &text))
        .await;
    assert_eq!(answer.status, 201, "{:?}", answer.json());
    let devices = app.service.core.store().devices(&alice).unwrap();
    let ended = |id| {
        let found = devices.iter().find(|(device, _)| device.id == id);
        found.expect("on record").0.revoked
    };
    assert_eq!((ended(old.id()), ended(new.id())), (true, false));
    let (token, _) = app.found(SERIAL);
    assert_eq!(
        (token.device, token.state),
        (Some(new.id()), LifeCycle::Active)
    );
    let dead = app.as_phone(&old, "POST", "/v1/device/otp", None).await;
    assert_eq!(dead.problem(), (401, "not-taken".to_owned()));
    let alive = app.as_phone(&new, "POST", "/v1/device/otp", None).await;
    assert_eq!(alive.status, 200);
    let again = app
        .send(&Phone::new(3).enrol(app.service.core.now(), "alice", &text))
        .await;
    assert_eq!(again.problem(), (409, "refused".to_owned()));
    let text = app.metrics().await;
    assert!(
        text.contains("oncegate_device_refusals_total{cause=\"revoked_device\"} 1"),
        "{text}"
    );
}

#[tokio::test]
async fn a_transfer_code_is_late_after_three_minutes() {
    let (app, old) = enrolled().await;
    let code = app
        .as_phone(&old, "POST", "/v1/device/transfer", None)
        .await
        .json();
    app.clock.advance(Duration::from_mins(3));
    let text = code["code"].as_str().unwrap();
    let answer = app
        .send(&Phone::new(2).enrol(app.service.core.now(), "alice", text))
        .await;
    assert_eq!(answer.problem(), (409, "refused".to_owned()));
}

/// Capabilities D6.
#[tokio::test]
async fn a_token_is_renewed_in_its_last_days_only() {
    let (app, phone) = enrolled().await;
    let early = app.as_phone(&phone, "POST", "/v1/device/renew", None).await;
    assert_eq!(early.problem(), (409, "conflict".to_owned()));
    app.clock.advance(Duration::from_secs(23 * 86_400 - 1));
    let early = app.as_phone(&phone, "POST", "/v1/device/renew", None).await;
    assert_eq!(early.status, 409);
    app.clock.advance(Duration::from_secs(1));
    let sent = phone.ask(app.service.core.now(), "POST", "/v1/device/renew", None);
    let renewed = app.send(&sent).await;
    assert_eq!(renewed.status, 200);
    let expires = app.service.core.now().plus(30 * DAY);
    assert_eq!(renewed.json()["expires"], expires.rfc3339());
    assert_eq!(app.found(SERIAL).0.expires, Some(expires));
    let again = app.send(&sent).await;
    assert_ne!(again.status, 200, "a replay");
    // Too late is too late.
    app.clock.advance(31 * DAY);
    let late = app.as_phone(&phone, "POST", "/v1/device/renew", None).await;
    assert_eq!(late.problem(), (409, "conflict".to_owned()));
    let code = app.as_phone(&phone, "POST", "/v1/device/otp", None).await;
    assert_eq!(code.status, 409, "an expired token makes no codes");
}

#[tokio::test]
async fn a_device_is_named_listed_and_ended_by_its_user() {
    let (app, phone) = enrolled().await;
    let alice = UserKey::parse("alice").unwrap();
    pending(&app.service, &alice, "SERVER-TABLET", false).await;
    hand_out(&app.service, "SERVER-TABLET", "TAB1ETC0DE00").await;
    let tablet = Phone::new(2);
    let sent = tablet.enrol(app.service.core.now(), "alice", "TABLETC0DE00");
    assert_eq!(app.send(&sent).await.status, 201, "L is read as 1");

    let name = "kitchen \u{c774}";
    let body = Some(json!({ "name": name }));
    let named = app.as_phone(&phone, "PATCH", "/v1/device", body).await;
    assert_eq!(named.status, 204);
    for bad in ["", "a\nb"] {
        let body = Some(json!({ "name": bad }));
        let answer = app.as_phone(&phone, "PATCH", "/v1/device", body).await;
        assert_eq!(answer.problem(), (400, "malformed".to_owned()));
    }
    let listed = app
        .as_phone(&tablet, "GET", "/v1/device", None)
        .await
        .json();
    let listed = listed["devices"].as_array().unwrap().clone();
    assert_eq!(listed.len(), 2);
    let of = |phone: &Phone| {
        let id = json!(phone.id().to_string());
        listed.iter().find(|one| one["device"] == id).unwrap()
    };
    assert_eq!(
        (&of(&phone)["name"], &of(&phone)["this"]),
        (&json!(name), &json!(false))
    );
    assert_eq!(of(&tablet)["this"], true);
    assert_eq!(of(&tablet)["last_seen"], app.service.core.now().rfc3339());

    let path = format!("/v1/device/{}", phone.id());
    let ended = app.as_phone(&tablet, "DELETE", &path, None).await;
    assert_eq!(ended.status, 204);
    assert_eq!(app.found(SERIAL).0.state, LifeCycle::Revoked);
    let twice = app.as_phone(&tablet, "DELETE", &path, None).await;
    assert_eq!(twice.status, 409);
    let path = format!("/v1/device/{}", tablet.id());
    assert_eq!(
        app.as_phone(&tablet, "DELETE", &path, None).await.status,
        204
    );
    let dead = app.as_phone(&tablet, "GET", "/v1/device", None).await;
    assert_eq!(dead.problem(), (401, "not-taken".to_owned()));
}

#[tokio::test]
async fn nobody_reaches_another_users_device() {
    let (app, phone) = enrolled().await;
    invite(&app, "bob", "SERVER-BOB", "B0BSC0DE0001").await;
    let bobs = Phone::new(2);
    let sent = bobs.enrol(app.service.core.now(), "bob", "B0BSC0DE0001");
    assert_eq!(app.send(&sent).await.status, 201);
    let theirs = app
        .as_phone(&bobs, "DELETE", &format!("/v1/device/{}", phone.id()), None)
        .await;
    let none = app
        .as_phone(&bobs, "DELETE", "/v1/device/DEVICE-00000000", None)
        .await;
    assert_eq!(theirs.problem(), (404, "not-found".to_owned()));
    assert_eq!(theirs.body, none.body, "no word about what exists");
    let listed = app.as_phone(&bobs, "GET", "/v1/device", None).await.json();
    assert_eq!(listed["devices"].as_array().unwrap().len(), 1);
    // Under the other's name, signed with their own key.
    let body = json!({ "name": "mine now" });
    let mut sent = bobs.ask(app.service.core.now(), "PATCH", "/v1/device", Some(body));
    for (_, value) in &mut sent.headers {
        let (own, other) = (bobs.key.public(), phone.key.public());
        *value = value.replace(&own.thumbprint(), &other.thumbprint());
    }
    let answer = app.send(&sent).await;
    assert_eq!(answer.problem(), (401, "not-taken".to_owned()));
    let body = Some(json!({ "serial": SERIAL }));
    let answer = app.as_phone(&bobs, "POST", "/v1/device/otp", body).await;
    assert_eq!(answer.problem(), (404, "not-found".to_owned()));
    let (device, _) = app.service.admin.device(&phone.id()).unwrap().unwrap();
    assert_eq!((device.name.as_str(), device.revoked), ("phone", false));
}

#[tokio::test]
async fn administrators_see_name_and_end_devices() {
    let (app, phone) = enrolled().await;
    let path = format!("/v1/admin/devices/{}", phone.id());
    let listed = app
        .admin("GET", "/v1/admin/devices?user=alice", None)
        .await
        .json();
    assert_eq!(listed["devices"][0]["device"], phone.id().to_string());
    assert!(listed["devices"][0].get("this").is_none());
    let nobody = app
        .admin("GET", "/v1/admin/devices?user=nobody", None)
        .await;
    assert_eq!(nobody.status, 404);
    assert_eq!(
        app.admin("GET", "/v1/admin/devices", None).await.status,
        400
    );
    let named = app
        .admin("PATCH", &path, Some(json!({ "name": "lost" })))
        .await;
    assert_eq!(named.json()["name"], "lost");
    assert_eq!(app.admin("DELETE", &path, None).await.status, 204);
    assert_eq!(
        app.admin("GET", &path, None).await.json()["state"],
        "revoked"
    );
    assert_eq!(app.admin("DELETE", &path, None).await.status, 409);
    let none = app
        .admin("DELETE", "/v1/admin/devices/DEVICE-00000000", None)
        .await;
    assert_eq!(none.status, 404);
    assert_eq!(app.found(SERIAL).0.state, LifeCycle::Revoked);
    let dead = app.as_phone(&phone, "POST", "/v1/device/otp", None).await;
    assert_eq!(dead.status, 401);
    // Its key is spent.
    let alice = UserKey::parse("alice").unwrap();
    pending(&app.service, &alice, "SERVER-NEXT", false).await;
    hand_out(&app.service, "SERVER-NEXT", "NEXTC0DE0000").await;
    let again = app
        .send(&phone.enrol(app.service.core.now(), "alice", "NEXTC0DE0000"))
        .await;
    assert_eq!(again.problem(), (409, "conflict".to_owned()));
    let fresh = Phone::new(2).enrol(app.service.core.now(), "alice", "NEXTC0DE0000");
    assert_eq!(
        app.send(&fresh).await.status,
        201,
        "the code was not used up by that"
    );
}

/// Capabilities A10: a new code voids the one before, however many are asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_codes_at_once_one_is_live() {
    let (app, phone) = enrolled().await;
    let app = Arc::new(app);
    let phone = Arc::new(phone);
    let mut asking = JoinSet::new();
    for _ in 0..64 {
        let (app, phone) = (Arc::clone(&app), Arc::clone(&phone));
        asking.spawn(async move {
            let answer = app.as_phone(&phone, "POST", "/v1/device/otp", None).await;
            assert!([200, 503].contains(&answer.status.as_u16()), "{answer:?}");
            (answer.status == 200).then(|| answer.json()["code"].as_str().unwrap().to_owned())
        });
    }
    let codes = asking.join_all().await;
    let codes: Vec<String> = codes.into_iter().flatten().collect();
    assert!(!codes.is_empty());
    let (token, state) = app.found(SERIAL);
    let issued = state.issued.unwrap();
    let live = codes
        .iter()
        .filter(|code| Mark::of(&token.key, "code", None, code) == issued.mark);
    assert_eq!(live.count(), 1);
    assert!(issued.is_open(state.moving.last, app.service.core.now()));
    assert_eq!(
        issued.number,
        1 + codes.len() as u64,
        "every code had a number"
    );
}

/// Random octets that are none: the same codes in every run.
struct Constant(u8);

impl Entropy for Constant {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        buffer.fill(self.0);
        Ok(())
    }
}

/// What the documentation of the protocol shows is what is sent and answered.
#[tokio::test]
async fn the_documented_requests_are_answered_byte_for_byte() {
    let now = UnixTime::from_secs(1_800_000_000);
    let clock = FixedClock::at(now);
    let entropy = Arc::new(Constant(0x2a));
    let app = TestApp::on(Arc::new(Memory::default()), clock, entropy, POLICY, false);
    invite(&app, "alice", SERIAL, CODE).await;
    // RFC 8032 s7.1 test 1.
    let key = b"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let key = data_encoding::HEXLOWER.decode(key).unwrap();
    let phone = Phone::with(KeyAlgorithm::Ed25519, key.try_into().unwrap());
    let nonce = |first: u8| std::array::from_fn(|index| first + u8::try_from(index).unwrap());
    let public = phone.key.public().base64url();
    let body = format!(
        r#"{{"user":"alice","code":"7F3K-9Q2M-44XZ","name":"phone","algorithm":"ed25519","public_key":"{public}"}}"#
    );
    let enrol = phone.signed(now, nonce(0), "POST", "/v1/device/enroll", body);
    let otp = phone.signed(
        now,
        nonce(16),
        "POST",
        "/v1/device/otp",
        r#"{"client":"web"}"#.into(),
    );
    app.key("web", oncegate::model::client::Scope::Verify, None)
        .await;
    let page = oncegate::manual::page("device-protocol").unwrap();
    let documented = page.text.replace("\n  ", "");
    for (sent, status) in [(enrol, "201 Created"), (otp, "200 OK")] {
        let mut text = format!(
            "{} {} HTTP/1.1\nHost: otp.example.com\n",
            sent.method, sent.target
        );
        for (name, value) in &sent.headers {
            writeln!(text, "{name}: {value}").unwrap();
        }
        writeln!(text, "\n{}", sent.body).unwrap();
        let answer = app.send(&sent).await;
        let body = String::from_utf8(answer.body).unwrap();
        writeln!(
            text,
            "\nHTTP/1.1 {status}\nContent-Type: application/json\n\n{body}"
        )
        .unwrap();
        assert_eq!(answer.status.to_string(), status, "{body}");
        assert!(documented.contains(&text), "not documented:\n{text}");
    }
}

/// Capabilities A2: how the device made sure of its owner is its own signed word, and on record.
#[tokio::test]
async fn row_a2_how_the_owner_was_known_is_signed_and_on_record() {
    let (app, phone) = enrolled().await;
    let body = Some(json!({ "uv": "bio" }));
    let code = app.as_phone(&phone, "POST", "/v1/device/otp", body).await;
    assert_eq!(code.status, 200);
    let records = app.service.core.store().audit_after(0, 100).await.unwrap();
    let noted = records.iter().any(|record| match &record.event {
        oncegate::model::audit::Event::Change(change) => {
            change.action == "code_issue" && change.detail.as_deref() == Some("code, uv bio")
        }
        oncegate::model::audit::Event::Decision(_) => false,
    });
    assert!(noted);
    // Nothing else is a way, and a word that was not signed is not taken.
    let body = Some(json!({ "uv": "magic" }));
    let answer = app.as_phone(&phone, "POST", "/v1/device/otp", body).await;
    assert_eq!(answer.status, 400);
    let mut sent = phone.ask(
        app.service.core.now(),
        "POST",
        "/v1/device/otp",
        Some(json!({ "uv": "none" })),
    );
    sent.body = sent.body.replace("none", "bio");
    assert_eq!(app.send(&sent).await.status, 401);
}
