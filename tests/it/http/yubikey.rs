//! Tokens of kind `yubikey`: what a key types, through every front end, once.

use std::sync::Arc;

use oncegate::model::client::Scope;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::lab::Lab;
use crate::support::yubikey::{Key, dvorak};

const KEY: Key = Key::of_the_files();
const OTHER: Key = Key {
    public: "vvccccbtuvfk",
    private: "0a0b0c0d0e0f",
    aes: "ffeeddccbbaa99887766554433221100",
};

async fn made(app: &TestApp, user: &str, key: &Key) -> Value {
    let answer = app.admin("POST", "/v1/admin/tokens", Some(key.token(user)));
    let answer = answer.await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    answer.json()
}

async fn decision(app: &TestApp, key: &oncegate::secret::SecretString, body: Value) -> String {
    let answer = app.keyed("POST", "/v1/verify", Some(key), Some(body)).await;
    answer.json()["decision"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_press_is_good_once_and_none_before_it() {
    let app = TestApp::new();
    app.user("alice").await;
    app.user("bob").await;
    let shown = made(&app, "alice", &KEY).await;
    assert_eq!(
        (&shown["secret"], &shown["private_id"], &shown["public_id"]),
        (&json!(KEY.aes), &json!(KEY.private), &json!(KEY.public))
    );
    assert_eq!(shown["otpauth_uri"], Value::Null);
    assert_eq!(
        (&shown["algorithm"], &shown["digits"]),
        (&json!("aes"), &json!(44))
    );
    made(&app, "bob", &OTHER).await;
    let key = app.key("payroll", Scope::Verify, None).await;
    let ask = |user: &'static str, otp: String| {
        let (app, key) = (&app, &key);
        async move { decision(app, key, json!({ "user": user, "otp": otp })).await }
    };
    let reason = async || {
        let list = app.admin("GET", "/v1/admin/audit?limit=1", None).await;
        list.json()["records"][0]["reason"]
            .as_str()
            .map(str::to_owned)
    };
    for (usage, session, wanted, why) in [
        (5, 3, "accept", "yubikey_ok"),
        (5, 3, "reject", "used_code"),
        (5, 2, "reject", "used_code"),
        (4, 200, "reject", "used_code"),
        (5, 4, "accept", "yubikey_ok"),
        (6, 0, "accept", "yubikey_ok"),
        (5, 255, "reject", "used_code"),
        (0xffff, 0xff, "accept", "yubikey_ok"),
        (0xffff, 0xfe, "reject", "used_code"),
    ] {
        app.clock.advance(std::time::Duration::from_mins(1));
        let answer = ask("alice", KEY.types(usage, session)).await;
        assert_eq!(answer, wanted, "{usage} {session}");
        assert_eq!(reason().await.as_deref(), Some(why), "{usage} {session}");
    }
    // Bob's own, on another layout and in capitals; not with Alice's public id, nor Alice's with his.
    let own = OTHER.types(1, 1);
    let swapped = format!("{}{}", KEY.public, &own[12..]);
    for (otp, wanted) in [
        (KEY.types(9, 9), "reject"),
        (swapped, "reject"),
        (dvorak(&own), "accept"),
        (own.to_uppercase(), "reject"),
        (OTHER.types(1, 2).to_uppercase(), "accept"),
    ] {
        app.clock.advance(std::time::Duration::from_mins(1));
        assert_eq!(ask("bob", otp.clone()).await, wanted, "{otp}");
    }
}

/// What is no OTP is refused before anything is looked up; what is one, by the policy's kinds.
#[tokio::test]
async fn letters_are_a_code_only_where_the_policy_takes_yubikeys() {
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";
    let without = format!("{policy}[otp]\nkinds = [\"totp\"]\n");
    for (policy, own, strange) in [
        (policy, "accept", "malformed_code"),
        (without.as_str(), "reject", "malformed_code"),
    ] {
        let app = TestApp::with(policy, false);
        app.user("alice").await;
        made(&app, "alice", &KEY).await;
        let key = app.key("payroll", Scope::Verify, None).await;
        let block = &KEY.types(1, 1)[12..];
        for otp in [
            block.to_owned(),
            format!("0{}", KEY.types(1, 1)),
            format!("{} ", KEY.types(1, 1)),
            format!("{}{block}", "c".repeat(17)),
            "c".repeat(4000),
            format!("\u{ff43}{block}"),
            "password".to_owned(),
        ] {
            let body = json!({ "user": "alice", "otp": otp });
            assert_eq!(decision(&app, &key, body).await, "reject");
            let list = app
                .admin("GET", "/v1/admin/audit?limit=1", None)
                .await
                .json();
            assert_eq!(list["records"][0]["reason"], strange, "{otp}");
        }
        let body = json!({ "user": "alice", "otp": KEY.types(1, 1) });
        assert_eq!(decision(&app, &key, body).await, own);
    }
}

#[tokio::test]
async fn one_public_id_and_one_key_are_one_token() {
    let app = TestApp::new();
    for user in ["alice", "bob"] {
        app.user(user).await;
    }
    made(&app, "alice", &KEY).await;
    let with = |field: &str, value: Value| {
        let mut wanted = OTHER.token("bob");
        wanted[field] = value;
        wanted
    };
    for (body, status) in [
        (with("public_id", json!("CCCCCCCCCCCB")), 409),
        (
            json!({ "user": "bob", "kind": "yubikey", "secret": KEY.aes, "public_id": "vvcc",
                    "private_id": KEY.private }),
            409,
        ),
        (with("public_id", json!("password")), 400),
        (with("public_id", json!("")), 400),
        (with("public_id", json!("c".repeat(17))), 400),
        (with("private_id", json!("0102")), 400),
        (
            with("secret", json!("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")),
            400,
        ),
        (with("secret", json!("00")), 400),
        (with("serial", json!("YUBI-1")), 400),
        (with("digits", json!(8)), 400),
        (with("period", json!(30)), 400),
        (
            json!({ "user": "bob", "kind": "yubikey", "secret": KEY.aes }),
            400,
        ),
        (
            json!({ "user": "bob", "kind": "yubikey", "private_id": KEY.private }),
            400,
        ),
        (
            json!({ "user": "bob", "kind": "yubikey", "serial": "YUBI-1" }),
            400,
        ),
        (
            json!({ "user": "bob", "kind": "totp", "public_id": "vvcc" }),
            400,
        ),
        (
            json!({ "user": "bob", "kind": "yubikey", "request": true }),
            400,
        ),
    ] {
        let answer = app
            .admin("POST", "/v1/admin/tokens", Some(body.clone()))
            .await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.json());
        let said = answer.json().to_string();
        assert!(
            !said.contains(KEY.aes) && !said.contains(OTHER.aes),
            "{said}"
        );
    }
    // A key that is made here, and what was used of one that comes again.
    let answer = app
        .admin(
            "POST",
            "/v1/admin/tokens",
            Some(json!({ "user": "bob", "kind": "yubikey" })),
        )
        .await;
    assert_eq!(answer.status, 201);
    let shown = answer.json();
    assert_eq!(shown["secret"].as_str().unwrap().len(), 32);
    assert!(shown["public_id"].as_str().unwrap().starts_with("vv"));
    assert_eq!(shown["state"], "pending");
    let key = app.key("payroll", Scope::Verify, None).await;
    let otp = |session| json!({ "user": "alice", "otp": KEY.types(3, session) });
    assert_eq!(decision(&app, &key, otp(9)).await, "accept");
    let gone = app
        .admin("DELETE", "/v1/admin/tokens/cccccccccccb", None)
        .await;
    assert_eq!(gone.status, 204);
    made(&app, "alice", &KEY).await;
    assert_eq!(decision(&app, &key, otp(9)).await, "reject");
    assert_eq!(decision(&app, &key, otp(10)).await, "accept");
}

/// One OTP from 64 at a time: exactly one is let in.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_press_from_many_lets_one_in() {
    let app = Arc::new(TestApp::new());
    app.user("alice").await;
    made(&app, "alice", &KEY).await;
    let key = app.key("payroll", Scope::Verify, None).await;
    let otp = KEY.types(1, 1);
    let asked = (0..64).map(|_| {
        let (app, key) = (Arc::clone(&app), key.clone());
        let body = json!({ "user": "alice", "otp": otp });
        tokio::spawn(async move {
            let answer = app
                .keyed("POST", "/v1/verify", Some(&key), Some(body))
                .await;
            answer.json()["decision"] == "accept"
        })
    });
    let asked: Vec<_> = asked.collect();
    let mut accepted = 0;
    for one in asked {
        accepted += usize::from(one.await.unwrap());
    }
    assert_eq!(accepted, 1);
}

/// Pending, confirmed, resynchronised, linked: as tokens that make their codes are.
#[tokio::test]
async fn its_life_is_that_of_other_tokens() {
    let app = TestApp::new();
    for user in ["alice", "bob"] {
        app.user(user).await;
    }
    let mut body = KEY.token("alice");
    body["active"] = json!(false);
    let answer = app.admin("POST", "/v1/admin/tokens", Some(body)).await;
    assert_eq!(answer.json()["state"], "pending");
    let post = async |verb: &str, body: Value| {
        let path = format!("/v1/admin/tokens/CCCCCCCCCCCB/{verb}");
        app.admin("POST", &path, Some(body)).await
    };
    let wrong = post("confirm", json!({ "otp": OTHER.types(1, 1) })).await;
    assert_eq!(wrong.status, 409, "{}", wrong.json());
    assert_eq!(
        post("confirm", json!({ "otp": "755224" })).await.status,
        409
    );
    app.clock.advance(std::time::Duration::from_mins(5));
    let right = post("confirm", json!({ "otp": KEY.types(1, 1) })).await;
    assert_eq!(right.json()["state"], "active", "{}", right.json());
    let two = |one: (u16, u8), next: (u16, u8)| json!({ "first": KEY.types(one.0, one.1), "second": KEY.types(next.0, next.1) });
    for (codes, status) in [
        (two((2, 2), (2, 1)), 409),
        (two((2, 1), (2, 1)), 409),
        (two((1, 1), (2, 1)), 409),
        (json!({ "first": "755224", "second": "287082" }), 409),
        (two((2, 1), (2, 2)), 200),
    ] {
        app.clock.advance(std::time::Duration::from_mins(30));
        let answer = post("resync", codes.clone()).await;
        assert_eq!(answer.status.as_u16(), status, "{codes} {}", answer.json());
    }
    let mut codes = two((3, 1), (3, 2));
    codes["user"] = json!("bob");
    assert_eq!(post("link", codes).await.status, 200);
    let key = app.key("payroll", Scope::Verify, None).await;
    for (user, session, wanted) in [
        ("bob", 2, "reject"),
        ("bob", 3, "accept"),
        ("alice", 3, "reject"),
    ] {
        let body = json!({ "user": user, "otp": KEY.types(3, session) });
        assert_eq!(decision(&app, &key, body).await, wanted, "{user}");
    }
}

/// RADIUS by PAP, HTTP fields and one box, with a PIN or a password before it.
#[tokio::test]
async fn every_front_end_takes_it_with_what_the_user_knows() {
    let policy = |require: &str, present: &str| {
        format!(
            "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [{require}]\npresent = \"{present}\"\n"
        )
    };
    let texts = [
        ("pin", policy("\"pin\", \"otp\"", "joined")),
        ("word", policy("\"password\", \"otp\"", "either")),
    ];
    let texts: Vec<(&str, &str)> = texts
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let lab = Lab::new(&texts).await;
    lab.user("alice", Some("48201973"), Some("correct horse"))
        .await;
    lab.change("POST", "/v1/admin/tokens", KEY.token("alice"))
        .await;
    let mut session = 0;
    let mut next = || {
        session += 1;
        KEY.types(1, session)
    };
    for (policy, known) in [("pin", "48201973"), ("word", "correct horse")] {
        for between in ["", ","] {
            let typed = format!("{known}{between}{}", next());
            assert_eq!(
                lab.radius(policy, "alice", &typed, None, None)
                    .await
                    .decision,
                "accept"
            );
            assert_eq!(lab.reason("alice").await, "yubikey_ok");
            lab.clock.advance(std::time::Duration::from_mins(1));
            assert_eq!(
                lab.radius(policy, "alice", &typed, None, None)
                    .await
                    .decision,
                "reject"
            );
            assert_eq!(lab.reason("alice").await, "used_code");
            let typed = format!("{known}{between}{}", next());
            let body = json!({ "user": "alice", "passcode": typed });
            assert_eq!(lab.http(policy, body).await.decision, "accept");
        }
    }
    // A wrong PIN uses the press up all the same.
    let otp = next();
    for (pin, why) in [("48201970", "wrong_pin"), ("48201973", "used_code")] {
        lab.clock.advance(std::time::Duration::from_mins(1));
        let body = json!({ "user": "alice", "pin": pin, "otp": otp });
        assert_eq!(lab.http("pin", body).await.decision, "reject");
        assert_eq!(lab.reason("alice").await, why);
    }
    // In rounds: the password, then the key.
    let asked = lab
        .radius("word", "alice", "correct horse", None, None)
        .await;
    assert_eq!(asked.decision, "challenge");
    let state = asked.challenge.as_deref();
    let answer = lab.radius("word", "alice", &next(), state, None).await;
    assert_eq!(answer.decision, "accept");
}
