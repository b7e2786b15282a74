//! The life of tokens through the admin API: approvals, replacement, renewal, links.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::Random;
use crate::support::app::{Answer, TestApp};
use oncegate::model::client::Scope;
use oncegate::model::id::RequestId;
use oncegate::model::token::LifeCycle;
use oncegate::otp::{Algorithm, Digits, hotp};
use oncegate::secret::{OtpKey, SecretBytes, SecretString};
use serde_json::{Value, json};
use sha1::Digest as _;

const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

pub(crate) fn policy(enrolment: &str) -> String {
    format!(
        "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n[enrolment]\n{enrolment}\n"
    )
}

async fn post(app: &TestApp, key: &SecretString, path: &str, body: Value) -> Answer {
    let path = format!("/v1/admin/{path}");
    app.keyed("POST", &path, Some(key), Some(body)).await
}

/// A token of the key of [`TestApp::code`] that was made so.
pub(crate) async fn totp(app: &TestApp, user: &str, serial: &str, more: Value) -> Value {
    let mut body = json!({ "user": user, "kind": "totp", "serial": serial });
    for (name, value) in more.as_object().expect("fields") {
        body[name] = value.clone();
    }
    let made = app.admin("POST", "/v1/admin/tokens", Some(body)).await;
    assert_eq!(made.status, 201, "{:?}", made.json());
    made.json()
}

pub(crate) async fn state(app: &TestApp, serial: &str) -> String {
    let path = format!("/v1/admin/tokens/{serial}");
    app.admin("GET", &path, None).await.json()["state"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The code of a token of another key than that of [`TestApp::code`].
pub(crate) fn code_of(app: &TestApp, token: &Value) -> String {
    let secret = token["secret"].as_str().expect("a key");
    let key = totp_rs::Secret::try_from_base32(secret).expect("base 32");
    let totp = totp_rs::Builder::new()
        .with_secret(key.as_bytes().to_vec())
        .build_noncompliant();
    totp.generate(app.service.core.now().as_secs()).to_string()
}

/// What can happen to a token.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Approved(&'static str),
    Denied,
    Offered,
    Confirmed,
    Suspended,
    Resumed,
    Revoked,
}

const ALL: [Happens; 9] = [
    Happens::Approved("asker"),
    Happens::Approved("kim"),
    Happens::Approved("lee"),
    Happens::Denied,
    Happens::Offered,
    Happens::Confirmed,
    Happens::Suspended,
    Happens::Resumed,
    Happens::Revoked,
];

/// What the contract says about it.
struct Model {
    state: LifeCycle,
    approvals: BTreeSet<&'static str>,
}

impl Model {
    /// Whether it is allowed; then it has happened.
    fn allows(&mut self, happens: Happens) -> bool {
        use LifeCycle::*;
        let next = match (happens, self.state) {
            (Happens::Approved(who), Requested) if who != "asker" && self.approvals.insert(who) => {
                if self.approvals.len() == 2 {
                    Approved
                } else {
                    Requested
                }
            }
            (Happens::Denied, Requested | Approved)
            | (Happens::Revoked, Requested | Approved | Pending | Active | Suspended) => Revoked,
            (Happens::Offered, Approved | Pending) => Pending,
            (Happens::Confirmed, Pending) | (Happens::Resumed, Suspended) => Active,
            (Happens::Suspended, Active) => Suspended,
            _ => return false,
        };
        self.state = next;
        true
    }
}

#[tokio::test]
async fn row_a3_every_order_of_events_is_as_the_contract_says() {
    let app = TestApp::with(&policy("approvers = 2"), false);
    let asker = app.key("asker", Scope::Admin, None).await;
    let kim = app.key("kim", Scope::Approver, None).await;
    let lee = app.key("lee", Scope::Approver, None).await;
    let verify = app.key("web", Scope::Verify, None).await;
    let mut random = Random(42);
    let mut seen = BTreeSet::new();
    for round in 0..80 {
        let (user, serial) = (format!("u{round}"), format!("T-{round}"));
        app.user(&user).await;
        let new = json!({
            "user": user, "kind": "totp", "secret": SECRET, "serial": serial, "request": true
        });
        let made = post(&app, &asker, "tokens", new).await.json();
        assert_eq!(made["state"], "requested");
        assert_eq!(
            made.get("secret"),
            None,
            "nothing is shown before others approve"
        );
        let mut model = Model {
            state: LifeCycle::Requested,
            approvals: BTreeSet::new(),
        };
        for _ in 0..14 {
            // Half of the time what leads on, or few would come far.
            let happens = if random.below(2) == 0 {
                match model.state {
                    LifeCycle::Requested => random.pick(&ALL[1..3]),
                    LifeCycle::Approved => Happens::Offered,
                    LifeCycle::Pending => Happens::Confirmed,
                    LifeCycle::Active => Happens::Suspended,
                    _ => Happens::Resumed,
                }
            } else {
                random.pick(&ALL)
            };
            app.clock.advance(Duration::from_mins(1));
            let (key, verb, body) = match happens {
                Happens::Approved("asker") => (&asker, "approve", json!({})),
                Happens::Approved("kim") => (&kim, "approve", json!({})),
                Happens::Approved(_) => (&lee, "approve", json!({})),
                Happens::Denied => (&kim, "deny", json!({ "reason": "no" })),
                Happens::Offered => (&asker, "offer", json!({})),
                Happens::Confirmed => (&asker, "confirm", json!({ "otp": app.code(0) })),
                Happens::Suspended => (&asker, "suspend", json!({})),
                Happens::Resumed => (&asker, "resume", json!({})),
                Happens::Revoked => (&asker, "revoke", json!({ "reason": "lost" })),
            };
            let answer = post(&app, key, &format!("tokens/{serial}/{verb}"), body).await;
            let before = model.state;
            let allowed = model.allows(happens);
            let wanted = if allowed { 200 } else { 409 };
            assert_eq!(answer.status, wanted, "{before} {happens:?} {answer:?}");
            assert_eq!(state(&app, &serial).await, model.state.as_str());
            if allowed {
                seen.insert((before.as_str(), model.state.as_str()));
            }
            app.clock.advance(Duration::from_mins(1));
            if model.state == LifeCycle::Pending && random.below(4) > 0 {
                // Its first right code would end that state.
                continue;
            }
            let login = app.verify(&verify, &user, &app.code(0)).await.json();
            let wanted = match model.state {
                LifeCycle::Active | LifeCycle::Pending => "accept",
                _ => "reject",
            };
            assert_eq!(login["decision"], wanted, "{:?}", model.state);
            if model.state == LifeCycle::Pending {
                model.state = LifeCycle::Active;
                assert_eq!(state(&app, &serial).await, "active", "its first right code");
            }
        }
        // The next user gets the same key.
        let path = format!("/v1/admin/tokens/{serial}");
        assert_eq!(app.admin("DELETE", &path, None).await.status, 204);
    }
    assert_eq!(seen.len(), 12, "every edge was seen: {seen:?}");
}

#[tokio::test]
async fn row_a3_operators_only_ask_for_what_others_must_approve() {
    let app = TestApp::with(&policy("approvers = 1"), false);
    app.user("alice").await;
    let operator = app.key("op", Scope::Operator, None).await;
    let new = json!({ "user": "alice", "kind": "totp" });
    let made = post(&app, &operator, "tokens", new).await.json();
    assert_eq!(made["state"], "requested");
    assert_eq!(made["requester"], "api:op");
    let at_once = json!({ "user": "alice", "kind": "totp", "active": true });
    let refused = post(&app, &operator, "tokens", at_once).await;
    assert_eq!(refused.problem().0, 400);
    let queue = app.admin("GET", "/v1/admin/tokens?state=requested&kind=totp", None);
    assert_eq!(queue.await.json()["tokens"][0]["serial"], made["serial"]);
    let none = app
        .admin("GET", "/v1/admin/tokens?state=active", None)
        .await;
    assert_eq!(none.json()["tokens"], json!([]));
    let denied = json!({ "reason": "not in this team" });
    let kim = app.key("kim", Scope::Approver, None).await;
    let path = format!("tokens/{}/deny", made["serial"].as_str().unwrap());
    assert_eq!(
        post(&app, &kim, &path, denied).await.json()["state"],
        "revoked"
    );
    let audit = app
        .admin("GET", "/v1/admin/audit?limit=1", None)
        .await
        .json();
    assert_eq!(audit["records"][0]["detail"], "denied: not in this team");
}

#[tokio::test]
async fn row_c14_a_lent_right_counts_in_its_owners_name_and_ends() {
    let app = TestApp::with(&policy("approvers = 1"), false);
    app.user("alice").await;
    let root = app.key("root", Scope::Admin, None).await;
    let kim = app.key("kim", Scope::Approver, None).await;
    let operator = app.key("op", Scope::Operator, None).await;
    let clerk = app.key("clerk", Scope::Operator, None).await;
    let until = app
        .service
        .core
        .now()
        .plus(Duration::from_hours(1))
        .rfc3339();
    let lend = |from: &str, to: &str| json!({ "from": from, "to": to, "until": until, "reason": "holiday" });
    let lent = post(&app, &kim, "delegations", lend("api:kim", "api:op")).await;
    assert_eq!(lent.status, 201, "{lent:?}");
    for (from, to, status) in [
        ("api:root", "api:op", 403),
        ("api:kim", "api:kim", 400),
        ("api:kim", "api:nobody", 400),
    ] {
        let refused = post(&app, &kim, "delegations", lend(from, to)).await;
        assert_eq!(refused.problem().0, status, "{from} {to}");
    }
    let not_his = post(&app, &root, "delegations", lend("api:op", "api:kim")).await;
    assert_eq!(not_his.problem().0, 400, "an operator has no right to lend");

    let ask = async |key: &SecretString| {
        let new = json!({ "user": "alice", "kind": "totp", "request": true });
        let made = post(&app, key, "tokens", new).await.json();
        format!("tokens/{}/approve", made["serial"].as_str().unwrap())
    };
    let for_kim = || json!({ "on_behalf": "api:kim" });
    let path = ask(&clerk).await;
    let own = post(&app, &operator, &path, json!({})).await;
    assert_eq!(own.problem().0, 403, "not in the operator's own name");
    let stranger = post(&app, &clerk, &path, for_kim()).await;
    assert_eq!(stranger.problem().0, 409, "the right was lent to another");
    let done = post(&app, &operator, &path, for_kim()).await.json();
    assert_eq!(done["state"], "approved");
    assert_eq!(done["approvals"][0]["by"], "api:op");
    assert_eq!(done["approvals"][0]["on_behalf"], "api:kim");
    let path = ask(&operator).await;
    let own = post(&app, &operator, &path, for_kim()).await;
    assert_eq!(own.problem().0, 409, "their own request, in any name");

    let path = ask(&clerk).await;
    app.clock.advance(Duration::from_hours(1));
    assert_eq!(
        post(&app, &operator, &path, for_kim()).await.problem().0,
        409
    );
    let list = app.admin("GET", "/v1/admin/delegations", None).await.json();
    assert_eq!(list["delegations"][0]["holds"], false);
    let gone = "/v1/admin/delegations?from=api:kim&to=api:op";
    assert_eq!(app.admin("DELETE", gone, None).await.status, 204);
    assert_eq!(app.admin("DELETE", gone, None).await.problem().0, 404);
}

/// The newest record of the audit.
pub(crate) async fn last(app: &TestApp) -> Value {
    let audit = app.admin("GET", "/v1/admin/audit?limit=1", None).await;
    audit.json()["records"][0].clone()
}

#[tokio::test]
async fn row_c11_the_old_token_is_good_until_the_new_one_is_proven() {
    let app = TestApp::with(&policy("max_active = 1"), false);
    app.user("alice").await;
    let verify = app.key("web", Scope::Verify, None).await;
    totp(
        &app,
        "alice",
        "OLD",
        json!({ "secret": SECRET, "active": true }),
    )
    .await;
    let new = totp(&app, "alice", "NEW", json!({ "replaces": "OLD" })).await;
    let other = totp(&app, "alice", "OTHER", json!({})).await;
    let login = app.verify(&verify, "alice", &app.code(0)).await;
    assert_eq!(login.json()["decision"], "accept", "the old one is good");

    // At the front end too: the code is used up, and nothing else comes of it.
    let login = app.verify(&verify, "alice", &code_of(&app, &other)).await;
    assert_eq!(login.json()["decision"], "reject", "one in use is the most");
    let record = last(&app).await;
    assert_eq!(record["reason"], "not_active");
    assert!(
        record["note"].as_str().unwrap().contains("as many tokens"),
        "{record}"
    );
    app.clock.advance(Duration::from_mins(1));
    let otp = json!({ "otp": code_of(&app, &other) });
    let many = app.admin("POST", "/v1/admin/tokens/OTHER/confirm", Some(otp));
    assert_eq!(many.await.problem().0, 409, "one in use is the most");
    assert_eq!(state(&app, "OTHER").await, "pending");

    let otp = json!({ "otp": code_of(&app, &new) });
    let proven = app.admin("POST", "/v1/admin/tokens/NEW/confirm", Some(otp));
    assert_eq!(proven.await.json()["state"], "active");
    assert_eq!(
        state(&app, "OLD").await,
        "revoked",
        "in the same transaction"
    );
    app.clock.advance(Duration::from_mins(1));
    let login = app.verify(&verify, "alice", &app.code(0)).await;
    assert_eq!(login.json()["decision"], "reject");
    let login = app.verify(&verify, "alice", &code_of(&app, &new)).await;
    assert_eq!(login.json()["decision"], "accept");
    let foreign = json!({ "user": "alice", "kind": "totp", "replaces": "OLD" });
    let foreign = app.admin("POST", "/v1/admin/tokens", Some(foreign)).await;
    assert_eq!(foreign.problem().0, 400, "what has ended is not replaced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_c11_a_race_never_leaves_more_in_use_than_allowed() {
    let app = TestApp::with(&policy("max_active = 2"), false);
    app.user("alice").await;
    let mut confirms = tokio::task::JoinSet::new();
    for number in 0..6 {
        let serial = format!("R-{number}");
        let made = totp(&app, "alice", &serial, json!({})).await;
        let otp = json!({ "otp": code_of(&app, &made) });
        let path = format!("/v1/admin/tokens/{serial}/confirm");
        let local = app.local.clone();
        confirms.spawn(async move {
            let request = crate::support::app::request("POST", &path, None, Some(otp));
            crate::support::app::ask(&local, request)
                .await
                .status
                .as_u16()
        });
    }
    let mut done = confirms.join_all().await;
    done.sort_unstable();
    assert_eq!(done, [200, 200, 409, 409, 409, 409]);
    let active = app
        .admin("GET", "/v1/admin/tokens?state=active", None)
        .await;
    assert_eq!(active.json()["tokens"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn row_c12_a_token_is_renewed_near_its_end_and_keeps_its_serial() {
    let rules = policy("valid_for = \"90d\"\nrenew_from = \"30d\"");
    let app = TestApp::with(&rules, false);
    app.user("alice").await;
    let operator = app.key("op", Scope::Operator, None).await;
    let verify = app.key("web", Scope::Verify, None).await;
    let made = totp(
        &app,
        "alice",
        "T",
        json!({ "secret": SECRET, "active": true }),
    )
    .await;
    let days = |days: u64| Duration::from_hours(24 * days);
    let end = |after: u64| app.service.core.now().plus(days(after)).rfc3339();
    assert_eq!(made["expires"], end(90), "it lasts from its first use");
    let renew = async |body: Value| post(&app, &operator, "tokens/T/renew", body).await;
    let early = renew(json!({})).await;
    assert_eq!(early.problem().0, 409);
    assert!(
        early.json()["detail"]
            .as_str()
            .unwrap()
            .contains("renewed from")
    );
    assert_eq!(renew(json!({ "force": true })).await.problem().0, 403);
    app.clock.advance(days(59));
    assert_eq!(renew(json!({})).await.problem().0, 409);
    app.clock.advance(days(1));
    let renewed = renew(json!({})).await.json();
    assert_eq!(
        (&renewed["serial"], &renewed["expires"]),
        (&json!("T"), &json!(end(90)))
    );
    let forced = json!({ "force": true, "valid_for_secs": 86_400 });
    let forced = app
        .admin("POST", "/v1/admin/tokens/T/renew", Some(forced))
        .await;
    assert_eq!(forced.json()["expires"], end(1));

    app.clock.advance(Duration::from_mins(24 * 60 - 1));
    let login = app.verify(&verify, "alice", &app.code(0)).await.json();
    assert_eq!(login["decision"], "accept", "until its last minute");
    app.clock.advance(Duration::from_mins(1));
    assert_eq!(
        state(&app, "T").await,
        "expired",
        "whether or not it is on record"
    );
    assert_eq!(renew(json!({})).await.problem().0, 409, "the end is final");
}

#[tokio::test]
async fn row_d6_expired_tokens_are_put_on_record_at_once() {
    let app = TestApp::new();
    app.user("alice").await;
    for number in 0..3 {
        let lasts = json!({ "valid_for_secs": 3600 * (number + 1), "active": true });
        totp(&app, "alice", &format!("E-{number}"), lasts).await;
    }
    app.service.admin.expire_tokens().await.unwrap();
    app.clock.advance(Duration::from_hours(2));
    app.service.admin.expire_tokens().await.unwrap();
    let audit = app
        .admin("GET", "/v1/admin/audit?limit=1", None)
        .await
        .json();
    let record = &audit["records"][0];
    assert_eq!(
        (&record["action"], &record["actor"]),
        (&json!("token_expire"), &json!("daemon"))
    );
    assert_eq!(record["detail"], "E-0 E-1");
    app.service.admin.expire_tokens().await.unwrap();
    let again = app
        .admin("GET", "/v1/admin/audit?limit=1", None)
        .await
        .json();
    assert_eq!(
        again["records"][0]["seq"], record["seq"],
        "nothing to do is no record"
    );
}

#[tokio::test]
async fn row_c13_a_linked_token_has_one_key_and_one_counter() {
    let app = TestApp::new();
    for user in ["alice", "alice@bank"] {
        app.user(user).await;
    }
    let verify = app.key("web", Scope::Verify, None).await;
    totp(
        &app,
        "alice",
        "T",
        json!({ "secret": SECRET, "active": true }),
    )
    .await;
    let link = |first: String, second: String| json!({ "user": "alice@bank", "first": first, "second": second });
    let path = "/v1/admin/tokens/T/link";
    let wrong = link("000000".to_owned(), "000001".to_owned());
    let wrong = app.admin("POST", path, Some(wrong)).await;
    assert_eq!(wrong.problem(), (409, "refused".to_owned()));
    let login = app.verify(&verify, "alice@bank", &app.code(0)).await.json();
    assert_eq!(login["decision"], "reject");
    let own = json!({ "user": "alice", "first": app.code(0), "second": app.code(1) });
    assert_eq!(app.admin("POST", path, Some(own)).await.problem().0, 409);
    let linked = app
        .admin("POST", path, Some(link(app.code(0), app.code(1))))
        .await;
    assert_eq!(linked.status, 200, "{:?}", linked.json());

    app.clock.advance(Duration::from_mins(2));
    let code = app.code(0);
    let first = app.verify(&verify, "alice@bank", &code).await.json();
    assert_eq!(first["decision"], "accept");
    let again = app.verify(&verify, "alice", &code).await.json();
    assert_eq!(
        again["decision"], "reject",
        "one counter: used there, used here"
    );

    // For whom it counts is told wherever it is shown; it goes nowhere with it, and its owner does not.
    for path in ["tokens/T", "users/alice", "users/alice@bank"] {
        let shown = app.admin("GET", &format!("/v1/admin/{path}"), None).await;
        let shown = shown.json();
        let token = shown["tokens"].get(0).unwrap_or(&shown);
        assert_eq!(token["linked"], json!(["alice@bank"]), "{path}");
    }
    for (method, path) in [
        ("POST", "tokens/T/unassign"),
        ("DELETE", "users/alice"),
        ("POST", "users/alice/erase"),
    ] {
        let body = (method == "POST").then(|| json!({}));
        let refused = app.admin(method, &format!("/v1/admin/{path}"), body).await;
        assert_eq!(refused.status, 409, "{path}");
        let refused = refused.json();
        let (detail, next) = (&refused["detail"], &refused["remedy"]);
        assert_eq!(detail, "token T counts for alice@bank, too", "{path}");
        let unlink = "end that first: oncegate token unlink T alice@bank";
        assert_eq!(next, unlink, "{path}");
    }

    let unlink = json!({ "user": "alice@bank" });
    let path = "/v1/admin/tokens/T/unlink";
    assert_eq!(
        app.admin("POST", path, Some(unlink.clone())).await.status,
        200
    );
    assert_eq!(app.admin("POST", path, Some(unlink)).await.problem().0, 404);
    app.clock.advance(Duration::from_mins(2));
    let other = app.verify(&verify, "alice@bank", &app.code(0)).await.json();
    assert_eq!(other["decision"], "reject");
    let owner = app.verify(&verify, "alice", &app.code(0)).await.json();
    assert_eq!(owner["decision"], "accept", "the owner keeps it");
}

#[tokio::test]
async fn a_refusal_that_knows_the_next_step_says_it() {
    let app = TestApp::new();
    for user in ["alice", "bob"] {
        app.user(user).await;
    }
    let key = json!({ "secret": SECRET, "active": true });
    totp(&app, "alice", "T", key).await;
    let twin = json!({ "user": "alice", "kind": "totp", "secret": SECRET, "active": true });
    let own = json!({ "user": "alice", "first": app.code(0), "second": app.code(1) });
    let bob = json!({ "user": "bob" });
    for (path, body, next) in [
        ("tokens", twin, "oncegate token list"),
        ("tokens/T/link", own, "name the other user"),
        ("tokens/T/unlink", bob, "oncegate token show"),
    ] {
        let path = format!("/v1/admin/{path}");
        let refused = app.admin("POST", &path, Some(body)).await.json();
        let remedy = refused["remedy"].to_string();
        assert!(remedy.contains(next), "{path}: {refused}");
    }
    let unknown = format!("/v1/admin/explain/{}", RequestId::from_bytes([1; 16]));
    let unknown = app.admin("GET", &unknown, None).await.json();
    let remedy = unknown["remedy"].to_string();
    assert!(remedy.contains("oncegate audit list"), "{unknown}");
}

#[tokio::test]
async fn a_revocation_says_why() {
    let app = TestApp::new();
    app.user("alice").await;
    totp(&app, "alice", "T", json!({})).await;
    let path = "/v1/admin/tokens/T/revoke";
    let bad = app
        .admin("POST", path, Some(json!({ "reason": "bored" })))
        .await;
    assert_eq!(bad.problem().0, 400);
    let done = app
        .admin("POST", path, Some(json!({ "reason": "stolen" })))
        .await;
    assert_eq!(done.json()["state"], "revoked");
    let audit = app
        .admin("GET", "/v1/admin/audit?limit=1", None)
        .await
        .json();
    assert_eq!(audit["records"][0]["detail"], "stolen");
}

/// Contract s8.1: the key is the token, whatever it is called and whosever it is.
#[tokio::test]
async fn a_key_that_goes_to_another_user_keeps_its_used_codes() {
    for (kind, way) in [
        ("totp", "users/alice"),
        ("totp", "tokens/A-1"),
        ("hotp", "users/alice"),
        ("totp", "erase"),
    ] {
        let app = TestApp::with(&policy(""), false);
        let web = app.key("web", Scope::Verify, None).await;
        app.user("alice").await;
        app.user("bob").await;
        let more = json!({ "kind": kind, "secret": SECRET, "active": true });
        totp(&app, "alice", "A-1", more.clone()).await;
        let code = |step: u64| match kind {
            "hotp" => crate::support::codes::hotp(step),
            _ => app.code(step),
        };
        let (used, skipped, next) = (code(2), code(1), code(3));
        if kind == "totp" {
            app.clock.advance(Duration::from_mins(1));
        }
        let accepted = app.verify(&web, "alice", &used).await.json();
        assert_eq!(accepted["decision"], "accept", "{kind} {accepted}");
        let gone = match way {
            "erase" => {
                app.admin("POST", "/v1/admin/users/alice/erase", Some(json!({})))
                    .await
            }
            _ => app.admin("DELETE", &format!("/v1/admin/{way}"), None).await,
        };
        assert_eq!(gone.status, 204, "{way}");
        totp(&app, "bob", "B-1", more).await;
        for code in [used, skipped] {
            let answer = app.verify(&web, "bob", &code).await.json();
            assert_eq!(answer["decision"], "reject", "{kind} {way}");
        }
        if kind == "totp" {
            app.clock.advance(Duration::from_secs(30));
        }
        // Not held up by the two.
        app.clock.advance(Duration::ZERO);
        let answer = app.verify(&web, "bob", &next).await.json();
        assert_eq!(answer["decision"], "accept", "{kind} {way}");
    }
}

#[tokio::test]
async fn two_users_do_not_have_one_key() {
    let app = TestApp::with(&policy(""), false);
    app.user("alice").await;
    app.user("bob").await;
    totp(&app, "alice", "A-1", json!({ "secret": SECRET })).await;
    let add = async |kind: &str, serial: &str| {
        let body = json!({ "user": "bob", "kind": kind, "serial": serial, "secret": SECRET });
        app.admin("POST", "/v1/admin/tokens", Some(body)).await
    };
    for kind in ["totp", "hotp"] {
        let refused = add(kind, "B-1").await;
        assert_eq!(refused.status, 409, "{kind}");
        let said = refused.json().to_string();
        for word in ["A-1", "token remove A-1", "token link A-1"] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
    // One that has ended knows which codes were used, until it is removed.
    app.admin("POST", "/v1/admin/tokens/A-1/revoke", Some(json!({})))
        .await;
    assert_eq!(add("totp", "B-1").await.status, 409);
    app.admin("DELETE", "/v1/admin/tokens/A-1", None).await;
    assert_eq!(add("totp", "B-1").await.status, 201);
    // The own one twice is another refusal, as before.
    let twice = add("totp", "B-2").await;
    assert_eq!(twice.status, 409);
    assert!(!twice.json().to_string().contains("token link"));
}

/// Keys that HMAC takes for one: zeros behind it, and of a long one its hash.
fn one_key() -> [(&'static str, Vec<u8>, Vec<u8>); 5] {
    let long: Vec<u8> = (0..100).collect();
    let with_zeros = |count: usize| [crate::support::app::KEY, &vec![0; count]].concat();
    let key = with_zeros(0);
    [
        ("sha1", key.clone(), with_zeros(1)),
        ("sha256", key.clone(), with_zeros(44)),
        ("sha512", key, with_zeros(108)),
        ("sha1", long.clone(), sha1::Sha1::digest(&long).to_vec()),
        ("sha256", long.clone(), sha2::Sha256::digest(&long).to_vec()),
    ]
}

/// A key that makes the same codes is the same key, however it is written.
#[tokio::test]
async fn keys_that_make_the_same_codes_are_one_key() {
    for (algorithm, first, second) in one_key() {
        let app = TestApp::with(&policy(""), false);
        let web = app.key("web", Scope::Verify, None).await;
        app.user("alice").await;
        app.user("bob").await;
        let more = |octets: &[u8]| {
            let secret = data_encoding::BASE32_NOPAD.encode(octets);
            json!({ "kind": "hotp", "secret": secret, "algorithm": algorithm, "active": true })
        };
        let add = async |user: &str, serial: &str, octets: &[u8]| {
            let mut body = more(octets);
            body["user"] = json!(user);
            body["serial"] = json!(serial);
            app.admin("POST", "/v1/admin/tokens", Some(body)).await
        };
        totp(&app, "alice", "A-1", more(&first)).await;
        let key = OtpKey::new(SecretBytes::new(first.clone())).unwrap();
        let algorithm: Algorithm = algorithm.parse().unwrap();
        let code = |counter| hotp::generate(&key, algorithm, Digits::SIX, counter).expose();
        let accepted = app.verify(&web, "alice", code(0).expose()).await.json();
        assert_eq!(accepted["decision"], "accept", "{algorithm}");
        // Another user's, a second one of the same user, and in an import.
        let refused = add("bob", "B-1", &second).await;
        assert_eq!(refused.status, 409, "{algorithm}");
        assert!(refused.json().to_string().contains("A-1"), "{algorithm}");
        assert_eq!(
            add("alice", "A-2", &second).await.status,
            409,
            "{algorithm}"
        );
        let secret = data_encoding::BASE32_NOPAD.encode(&second);
        let algorithm_name = algorithm.as_str();
        let row = json!({ "user": "carol", "kind": "hotp", "secret": secret,
            "algorithm": algorithm_name });
        let rows = json!({ "make": "users", "rows": [row] });
        let import = app.admin("POST", "/v1/admin/import", Some(rows)).await;
        let said = import.json();
        assert!(said.to_string().contains("this key"), "{algorithm} {said}");
        // Its used codes stay used after it was removed.
        app.admin("DELETE", "/v1/admin/tokens/A-1", None).await;
        assert_eq!(add("bob", "B-1", &second).await.status, 201, "{algorithm}");
        let again = app.verify(&web, "bob", code(0).expose()).await.json();
        assert_eq!(again["decision"], "reject", "{algorithm}");
        let next = app.verify(&web, "bob", code(1).expose()).await.json();
        assert_eq!(next["decision"], "accept", "{algorithm}");
    }
}

/// What counted time does not count logins afterwards, nor time in other steps: its used codes would be
/// good again.
#[tokio::test]
async fn a_used_key_keeps_its_kind() {
    for (before, after) in [
        (
            json!({ "kind": "totp" }),
            json!({ "kind": "hotp", "counter": 60_000_000 }),
        ),
        (
            json!({ "kind": "totp" }),
            json!({ "kind": "totp", "period": 60 }),
        ),
        (
            json!({ "kind": "totp" }),
            json!({ "kind": "hotp", "algorithm": "sha256" }),
        ),
        (
            json!({ "kind": "hotp", "counter": 60_000_000 }),
            json!({ "kind": "totp" }),
        ),
    ] {
        let app = TestApp::with(&policy(""), false);
        let web = app.key("web", Scope::Verify, None).await;
        app.user("alice").await;
        app.user("bob").await;
        let with_key = |more: &Value| {
            let mut more = more.clone();
            (more["secret"], more["active"]) = (json!(SECRET), json!(true));
            more
        };
        totp(&app, "alice", "A-1", with_key(&before)).await;
        // 1,800,000,000 seconds are 60,000,000 steps: one code for both kinds.
        let used = app.code(0);
        let accepted = app.verify(&web, "alice", &used).await.json();
        assert_eq!(accepted["decision"], "accept", "{before}");
        app.admin("DELETE", "/v1/admin/tokens/A-1", None).await;
        let mut body = with_key(&after);
        body["user"] = json!("bob");
        let refused = app.admin("POST", "/v1/admin/tokens", Some(body)).await;
        assert_eq!(refused.problem(), (409, "conflict".to_owned()), "{after}");
        let said = refused.json().to_string();
        assert!(said.contains("new key"), "{said}");
        // As it was it goes on.
        totp(&app, "bob", "B-1", with_key(&before)).await;
        let again = app.verify(&web, "bob", &used).await.json();
        assert_eq!(again["decision"], "reject", "{before}");
    }
}

/// Both look before the other has written; the store decides.
#[tokio::test]
async fn nor_do_they_when_both_are_made_at_once() {
    let app = TestApp::with(&policy(""), false);
    let names: Vec<String> = (0..8).map(|number| format!("user{number}")).collect();
    for name in &names {
        app.user(name).await;
    }
    let made = names.iter().map(|name| {
        let body = json!({ "user": name, "kind": "totp", "secret": SECRET });
        app.admin("POST", "/v1/admin/tokens", Some(body))
    });
    let made = futures_util::future::join_all(made).await;
    let count = |status: u16| made.iter().filter(|one| one.status == status).count();
    assert_eq!((count(201), count(409)), (1, 7));
}
