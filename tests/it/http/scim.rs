//! SCIM 2.0: what Entra ID and Okta put on the wire, and what they must not reach.

use oncegate::core::directory::Pushed;
use oncegate::model::client::Scope;
use oncegate::secret::SecretString;
use serde_json::{Value, json};

use crate::support::app::{TestApp, ask, request, send};
use crate::support::daemon::Site;
use crate::support::net::Http;
use crate::support::slow::slowly;

struct Provider {
    app: TestApp,
    key: SecretString,
}

impl Provider {
    async fn new() -> Self {
        let app = TestApp::new();
        let key = app.key("entra", Scope::Scim, None).await;
        let source = |name: &str, client: &str| Pushed {
            name: name.to_owned(),
            client: client.to_owned(),
            realm: "default".to_owned(),
            email_is_alias: true,
            external_is_alias: false,
        };
        let sources = vec![source("corp", "entra"), source("other", "okta")];
        app.service.core.directories().set_pushed(sources);
        Self { app, key }
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.ask_by(&self.key, method, path, body).await
    }

    async fn ask_by(
        &self,
        key: &SecretString,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let path = format!("/scim/v2{path}");
        let answer = ask(&self.app.keyed, request(method, &path, Some(key), body)).await;
        let status = answer.status.as_u16();
        (
            status,
            if status == 204 {
                Value::Null
            } else {
                answer.json()
            },
        )
    }

    async fn patch(&self, path: &str, operation: Value) -> Value {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [operation],
        });
        let (status, answer) = self.ask("PATCH", path, Some(body)).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }
}

fn ann() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
        "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef", "userName": "Ann@example.test", "active": true,
        "displayName": "Ann A", "emails": [{"primary": true, "type": "work", "value": "ann@example.test"}],
        "meta": {"resourceType": "User"}, "name": {"formatted": "Ann A", "familyName": "A", "givenName": "Ann"},
        "phoneNumbers": [{"type": "mobile", "value": "+82 10-1000-0001"}], "roles": [],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "Ops"}
    })
}

/// What Entra ID and Okta send, step by step.
#[tokio::test]
async fn row_a16_users_of_entra_and_okta_are_pushed() {
    let provider = Provider::new().await;
    let filter = "/Users?filter=userName%20eq%20%22ANN@example.test%22";
    let (status, page) = provider.ask("GET", filter, None).await;
    assert_eq!((status, &page["totalResults"]), (200, &json!(0)));
    let (status, made) = provider.ask("POST", "/Users", Some(ann())).await;
    assert_eq!(status, 201, "{made}");
    let user = format!("/Users/{}", made["id"].as_str().unwrap());
    let (status, again) = provider.ask("POST", "/Users", Some(ann())).await;
    assert_eq!((status, &again["scimType"]), (409, &json!("uniqueness")));
    for filter in [
        filter,
        "/Users?filter=externalId%20eq%20%220a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef%22",
    ] {
        let (_, page) = provider.ask("GET", filter, None).await;
        assert_eq!(page["Resources"][0]["id"], made["id"], "{page}");
    }
    let record = async |name: &str| {
        let path = format!("/v1/admin/users/{name}");
        provider.app.admin("GET", &path, None).await.json()
    };
    let on_record = record("ann@example.test").await;
    assert_eq!(
        (&on_record["phone"], &on_record["source"]),
        (&json!("+821010000001"), &json!("corp"))
    );

    // Disabled by a text, and enabled without a path.
    let off = json!({"op": "Replace", "path": "active", "value": "False"});
    assert_eq!(provider.patch(&user, off).await["active"], false);
    assert_eq!(record("ann@example.test").await["disabled"], true);
    let on = json!({"op": "replace", "value": {"active": true}});
    assert_eq!(provider.patch(&user, on).await["active"], true);
    for operation in [
        json!({"op": "Add", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "+82 10-1000-0002"}),
        json!({"op": "Add", "value": {"name.givenName": "Anna",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department": "Dev"}}),
        json!({"op": "Replace", "path": "emails[type eq \"work\"].value", "value": "anna@example.test"}),
        json!({"op": "Add", "path": "phoneNumbers[type eq \"home\"].value", "value": "+82 2 000"}),
    ] {
        provider.patch(&user, operation).await;
    }
    let on_record = record("ann@example.test").await;
    let contact = (&on_record["phone"], &on_record["email"]);
    assert_eq!(
        contact,
        (&json!("+821010000002"), &json!("anna@example.test"))
    );
    disabled_by_both(&provider, &user).await;
    // Renamed: the same user.
    let name = json!({"op": "Replace", "path": "userName", "value": "anna@example.test"});
    assert_eq!(provider.patch(&user, name).await["id"], made["id"]);
    assert_eq!(record("anna@example.test").await["source"], "corp");
    groups(&provider, &user, made["id"].as_str().unwrap()).await;
    // Okta: the whole user, not active. Entra removes for good after that.
    let mut whole = ann();
    whole["active"] = json!(false);
    let (status, put) = provider.ask("PUT", &user, Some(whole)).await;
    assert_eq!((status, &put["active"]), (200, &json!(false)));
    deleted(&provider, &user, made["id"].as_str().unwrap()).await;
}

/// Whom the provider disables and an administrator too, in whichever order, the provider alone does not enable.
async fn disabled_by_both(provider: &Provider, user: &str) {
    let by_hand = async |disabled: bool| {
        let path = "/v1/admin/users/ann@example.test";
        let body = json!({ "disabled": disabled });
        let answer = provider.app.admin("PATCH", path, Some(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
    };
    let active = |value: bool| json!({"op": "replace", "path": "active", "value": value});
    for provider_first in [true, false] {
        if !provider_first {
            by_hand(true).await;
        }
        assert_eq!(provider.patch(user, active(false)).await["active"], false);
        if provider_first {
            by_hand(true).await;
        }
        let enabled = provider.patch(user, active(true)).await;
        assert_eq!(enabled["active"], false, "{provider_first}");
        by_hand(false).await;
        let (_, shown) = provider.ask("GET", user, None).await;
        assert_eq!(shown["active"], true, "{provider_first}");
    }
}

/// A user whom the provider deletes is disabled; the same person comes back to the same record.
async fn deleted(provider: &Provider, user: &str, id: &str) {
    let staff = json!({"displayName": "staff", "members": [{"value": id}]});
    let (status, group) = provider.ask("POST", "/Groups", Some(staff)).await;
    assert_eq!((status, &group["members"][0]["value"]), (201, &json!(id)));
    let path = "/v1/admin/tokens";
    let token = json!({"user": "ann@example.test", "kind": "totp"});
    let token = provider.app.admin("POST", path, Some(token)).await;
    assert_eq!(token.status, 201, "{}", token.json());
    assert_eq!(provider.ask("DELETE", user, None).await.0, 204);
    assert_eq!(provider.ask("GET", user, None).await.0, 404);
    assert_eq!(provider.ask("DELETE", user, None).await.0, 404);
    let record = async || {
        let path = "/v1/admin/users/ann@example.test";
        provider.app.admin("GET", path, None).await.json()
    };
    let gone = record().await;
    assert_eq!(
        (&gone["disabled"], &gone["groups"]),
        (&json!(true), &json!([])),
        "{gone}"
    );
    // Another person of that name does not have the tokens.
    let mut other = ann();
    other["externalId"] = json!("another");
    assert_eq!(
        provider.ask("POST", "/Users", Some(other.clone())).await.0,
        409
    );
    other["externalId"] = Value::Null;
    assert_eq!(provider.ask("POST", "/Users", Some(other)).await.0, 409);
    let (status, back) = provider.ask("POST", "/Users", Some(ann())).await;
    assert_eq!((status, &back["active"]), (201, &json!(true)), "{back}");
    assert_ne!(back["id"], json!(id));
    assert_eq!(record().await["disabled"], false);
    let tokens = provider
        .app
        .admin("GET", "/v1/admin/tokens?user=ann@example.test", None)
        .await;
    assert_eq!(
        tokens.json()["tokens"].as_array().map(Vec::len),
        Some(1),
        "{}",
        tokens.json()
    );
}

async fn groups(provider: &Provider, user: &str, id: &str) {
    let staff = json!({"externalId": "g-1", "displayName": "staff", "members": []});
    let (status, made) = provider.ask("POST", "/Groups", Some(staff.clone())).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(provider.ask("POST", "/Groups", Some(staff)).await.0, 409);
    let group = format!("/Groups/{}", made["id"].as_str().unwrap());
    let named = "/Groups?excludedAttributes=members&filter=displayName%20eq%20%22staff%22";
    let (_, page) = provider.ask("GET", named, None).await;
    assert_eq!(page["totalResults"], 1);
    assert!(page["Resources"][0].get("members").is_none(), "{page}");
    let members = |group: &Value| group["members"].as_array().map_or(0, Vec::len);
    let add = json!({"op": "Add", "path": "members", "value": [{"value": id}]});
    assert_eq!(members(&provider.patch(&group, add.clone()).await), 1);
    let (_, shown) = provider.ask("GET", user, None).await;
    assert_eq!(shown["groups"][0]["display"], "staff");
    let remove = json!({"op": "Remove", "path": "members", "value": [{"value": id}]});
    assert_eq!(members(&provider.patch(&group, remove).await), 0);
    provider.patch(&group, add).await;
    // Renamed: its members are in it by the new name.
    let rename = json!({"op": "Replace", "path": "displayName", "value": "vpn"});
    provider.patch(&group, rename).await;
    let record = provider
        .app
        .admin("GET", "/v1/admin/users/anna@example.test", None)
        .await;
    assert_eq!(record.json()["groups"], json!(["vpn"]));
    let remove = json!({"op": "remove", "path": format!("members[value eq \"{id}\"]")});
    assert_eq!(members(&provider.patch(&group, remove).await), 0);
    // An identity that no user of the source has; the others of the request are not kept waiting.
    let mixed = json!({"displayName": "vpn", "externalId": "g-1", "members": [{"value": "stranger"}, {"value": id}]});
    let (status, put) = provider.ask("PUT", &group, Some(mixed)).await;
    assert_eq!((status, members(&put)), (200, 1), "{put}");
    assert_eq!(put["members"][0]["value"], json!(id));
    let before = put["meta"].clone();
    let strange = json!({"op": "add", "path": "members", "value": [{"value": "stranger"}]});
    let same = provider.patch(&group, strange).await;
    assert_eq!((members(&same), &same["meta"]), (1, &before), "{same}");
    provider
        .app
        .clock
        .advance(std::time::Duration::from_secs(5));
    let none = json!({"op": "remove", "path": "members"});
    let emptied = provider.patch(&group, none).await;
    assert_eq!(members(&emptied), 0);
    assert_eq!(emptied["meta"]["created"], before["created"]);
    assert_ne!(emptied["meta"]["lastModified"], before["lastModified"]);
    assert_eq!(provider.ask("DELETE", &group, None).await.0, 204);
    assert_eq!(provider.ask("GET", &group, None).await.0, 404);
}

#[tokio::test]
async fn a_provider_reaches_its_own_users_and_nothing_else() {
    let provider = Provider::new().await;
    let (_, made) = provider.ask("POST", "/Users", Some(ann())).await;
    let user = format!("/Users/{}", made["id"].as_str().unwrap());
    let okta = provider.app.key("okta", Scope::Scim, None).await;
    for method in ["GET", "PUT", "DELETE"] {
        let body = (method == "PUT").then(ann);
        assert_eq!(provider.ask_by(&okta, method, &user, body).await.0, 404);
    }
    let (_, none) = provider.ask_by(&okta, "GET", "/Users", None).await;
    assert_eq!(none["totalResults"], 0);
    // Nor a user who follows no source, whatever the name.
    provider.app.user("bob@example.test").await;
    let mut bob = ann();
    bob["userName"] = json!("bob@example.test");
    assert_eq!(
        provider.ask("POST", "/Users", Some(bob.clone())).await.0,
        409
    );
    assert_eq!(provider.ask("PUT", &user, Some(bob)).await.0, 409);
    for (name, scope) in [
        ("app", Scope::Verify),
        ("boss", Scope::Admin),
        ("third", Scope::Scim),
    ] {
        let key = provider.app.key(name, scope, None).await;
        assert_eq!(
            provider.ask_by(&key, "GET", "/Users", None).await.0,
            403,
            "{name}"
        );
    }
    let bound = provider
        .app
        .key("bound", Scope::Scim, Some("default"))
        .await;
    assert_eq!(provider.ask_by(&bound, "GET", "/Users", None).await.0, 403);
    let admin = send(
        &provider.app.keyed,
        request("GET", "/v1/admin/users", Some(&provider.key), None),
    )
    .await;
    assert_eq!(admin.status(), 403);
    for (path, body, status) in [
        ("/Users", json!({"userName": ""}), 400),
        ("/Users", json!({"userName": 7}), 400),
        ("/Users", json!({"userName": "x", "active": "perhaps"}), 400),
        ("/Users", json!({"userName": "a\u{0}b"}), 400),
        ("/Users", json!({"userName": "kim@console"}), 400),
        ("/Users", json!({"userName": "CONSOLE\\kim"}), 400),
        (
            "/Users",
            json!({"userName": "x", "externalId": "e".repeat(300)}),
            400,
        ),
        ("/Users", json!({}), 400),
        (
            "/Groups",
            json!({"displayName": "g", "members": {"value": "x"}}),
            400,
        ),
        (
            "/Groups",
            json!({"displayName": "g", "members": vec![json!({"value": "x"}); 10_001]}),
            400,
        ),
        ("/Groups", json!({"members": []}), 400),
        ("/Groups", json!({"displayName": "x".repeat(300)}), 400),
        ("/Bulk", json!({}), 404),
    ] {
        let (found, answer) = provider.ask("POST", path, Some(body)).await;
        assert_eq!(found, status, "{path} {answer}");
        if found == 400 {
            let schemas = json!(["urn:ietf:params:scim:api:messages:2.0:Error"]);
            let form = (&answer["schemas"], &answer["status"]);
            assert_eq!(form, (&schemas, &json!("400")), "{answer}");
        }
    }
    let (_, page) = provider
        .ask("GET", "/Users?startIndex=2&count=0", None)
        .await;
    assert_eq!(
        (&page["totalResults"], &page["itemsPerPage"]),
        (&json!(1), &json!(0))
    );
    hostile(&provider, &user).await;
    for path in [
        "/ServiceProviderConfig",
        "/ResourceTypes",
        "/Schemas",
        "/ResourceTypes/User",
        "/Schemas/urn:ietf:params:scim:schemas:core:2.0:Group",
    ] {
        assert_eq!(provider.ask("GET", path, None).await.0, 200, "{path}");
    }
}

/// Paths in a value are paths too: thousands of them would hold up all other changes for a minute.
async fn many_paths(provider: &Provider, user: &str) {
    let path = |number: usize| (format!("emails[type eq \"a{number}\"].value"), json!("x"));
    let paths: serde_json::Map<String, Value> = (0..8000).map(path).collect();
    let body = json!({"Operations": [{"op": "add", "value": paths}]});
    let (status, answer) = provider.ask("PATCH", user, Some(body)).await;
    assert_eq!(status, 400, "{answer}");
    assert_eq!(answer["scimType"], "tooMany", "{answer}");
}

/// Changes that no provider sends.
async fn hostile(provider: &Provider, user: &str) {
    let change = |operations: Value| json!({ "Operations": operations });
    let off = json!({"op": "replace", "path": "active", "value": false});
    for body in [
        json!({}),
        change(json!("x")),
        change(json!([7])),
        change(json!(vec![off; 201])),
        change(json!([{"op": "move", "path": "active"}])),
        change(json!([{"op": "remove"}])),
        change(json!([{"op": "replace", "value": "x"}])),
        change(json!([{"op": "replace", "path": "emails[type eq", "value": "x"}])),
        change(json!([{"op": "replace", "path": "emails[type co \"work\"]", "value": "x"}])),
        change(json!([{"op": "replace", "path": "", "value": "x"}])),
        change(json!([{"op": "replace", "path": "active.", "value": "x"}])),
        change(json!([{"op": "replace", "path": "userName", "value": ["x"]}])),
        change(json!([{"op": "remove", "path": "userName"}])),
        change(json!([{"op": "replace", "path": "userName", "value": "ann@console"}])),
    ] {
        let (status, answer) = provider.ask("PATCH", user, Some(body.clone())).await;
        assert_eq!(status, 400, "{body} {answer}");
    }
    many_paths(provider, user).await;
    // The identity is not the provider's to choose, and no path makes one.
    let id = json!({"op": "replace", "path": "id", "value": "x"});
    let kept = provider.patch(user, id).await;
    assert_eq!(kept["id"], json!(user.rsplit('/').next()));
    let path = format!("{user}/x");
    assert_eq!(provider.ask("GET", &path, None).await.0, 404);
    assert_eq!(provider.ask("GET", "/Users/%00", None).await.0, 404);
    let large = json!({"userName": "x".repeat(1_100_000)});
    assert_eq!(provider.ask("POST", "/Users", Some(large)).await.0, 413);
    for filter in [
        "password%20eq%20%22x%22",
        "userName%20co%20%22x%22",
        "userName",
        "userName%20eq%20x",
    ] {
        let path = format!("/Users?filter={filter}");
        assert_eq!(provider.ask("GET", &path, None).await.0, 400, "{filter}");
    }
    let filter = format!("/Users?filter=userName%20eq%20%22{}%22", "x".repeat(600));
    assert_eq!(provider.ask("GET", &filter, None).await.0, 400);
    for query in [
        "count=-5&startIndex=-9",
        "count=99999999999&startIndex=9223372036854775807",
    ] {
        let path = format!("/Users?{query}");
        assert_eq!(provider.ask("GET", &path, None).await.0, 200, "{query}");
    }
}

fn asked(http: &mut Http, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, body) = http.send(method, path, body.as_bytes()).unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

/// The daemon: a table of the configuration, a key, and who is on record as the actor.
#[test]
fn a_provider_pushes_to_the_daemon_that_is_configured_for_it() {
    let site = Site::new();
    let file = site.path().join("oncegate.toml");
    let mut text = std::fs::read_to_string(&file).unwrap();
    let reached = "[http]\npublic_url = \"https://otp.example.test\"\n";
    assert!(text.contains("\n[http]\n"), "{text}");
    text = text.replacen("[http]\n", reached, 1);
    text.push_str("\n[source.entra]\nkind = \"scim\"\nrealm = \"staff\"\n");
    std::fs::write(&file, &text).unwrap();
    let made = site.json(&["client", "add", "api", "entra", "--scope", "scim"]);
    let key = made["key"].as_str().unwrap();
    let daemon = site.serve();
    let mut http = Http::new(daemon.http, key);
    let body = json!({"userName": "lee", "externalId": "7", "phoneNumbers": [{"type": "mobile", "value": "+82 10-1000-0009"}]});
    let (status, made) = asked(&mut http, "POST", "/scim/v2/Users", &body.to_string());
    assert_eq!((status, &made["userName"]), (201, &json!("lee")), "{made}");
    // RFC 7643 s3.1: a URI, by which the provider finds it again.
    let id = made["id"].as_str().unwrap();
    let place = json!(format!("https://otp.example.test/scim/v2/Users/{id}"));
    assert_eq!(made["meta"]["location"], place);
    let (_, types) = asked(&mut http, "GET", "/scim/v2/ResourceTypes/User", "");
    let place = json!("https://otp.example.test/scim/v2/ResourceTypes/User");
    assert_eq!(types["meta"]["location"], place);
    let named = "/scim/v2/Users?filter=userName%20eq%20%22Lee%22";
    let (status, page) = asked(&mut http, "GET", named, "");
    assert_eq!(
        (status, &page["Resources"][0]["id"]),
        (200, &made["id"]),
        "{page}"
    );
    let shown = site.json(&["source", "show", "entra"]);
    assert_eq!(
        (&shown["kind"], &shown["users"]),
        (&json!("scim"), &json!(1)),
        "{shown}"
    );
    let output = site.run(&["source", "sync", "entra"]);
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && why.contains("pushes its users"),
        "{why}"
    );
    let audit = site
        .json(&["audit", "list", "--user", "lee@staff"])
        .to_string();
    assert!(
        audit.contains("api:entra") && audit.contains("user_add"),
        "{audit}"
    );
    let (status, refused) = asked(&mut Http::new(daemon.http, "none"), "GET", named, "");
    let form = (&refused["status"], &refused["schemas"][0]);
    assert_eq!(status, 401);
    assert_eq!(
        form,
        (
            &json!("401"),
            &json!("urn:ietf:params:scim:api:messages:2.0:Error")
        )
    );
    // A restart keeps all of it.
    drop(daemon);
    let daemon = site.serve();
    let (_, page) = asked(&mut Http::new(daemon.http, key), "GET", named, "");
    assert_eq!(page["Resources"][0]["externalId"], "7", "{page}");
    drop(daemon);
    // What the table must not say.
    for (lines, what) in [
        (
            "kind = \"scim\"\nclient = \"entra\"",
            "a client pushes one source",
        ),
        ("kind = \"scim\"\nrealm = \"console\"", "not pushed"),
        (
            "kind = \"scim\"\nurl = [\"ldap://x\"]",
            "has no `source.two.url`",
        ),
        ("kind = \"scim\"\nclient = \"a b\"", "no name of a client"),
        ("kind = \"nis\"", "scim"),
    ] {
        std::fs::write(&file, format!("{text}\n[source.two]\n{lines}\n")).unwrap();
        let output = site.run(&["doctor"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(
            !output.status.success() && said.contains(what),
            "{lines}: {said}"
        );
    }
}

/// A checker of the RFCs finds nothing.
#[test]
fn scim_sanity_finds_nothing() {
    let checker = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin/scim-sanity");
    if !std::path::Path::new(checker).is_file() {
        crate::support::skip("scim-sanity is not in target/venv (tests/run makes it)");
        return;
    }
    let site = Site::new();
    let file = site.path().join("oncegate.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, before + "\n[source.idp]\nkind = \"scim\"\n").unwrap();
    let made = site.json(&["client", "add", "api", "idp", "--scope", "scim"]);
    let daemon = site.serve();
    let url = format!("http://{}/scim/v2", daemon.http);
    let output = std::process::Command::new(checker)
        .args(["probe", &url, "--token", made["key"].as_str().unwrap()])
        .args(["--i-accept-side-effects", "--json-output"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{output:?}"));
    let results = report["results"].as_array().unwrap();
    let passed = results.iter().filter(|one| one["status"] == "pass").count();
    assert!(passed >= 28, "{text}");
    let other = results
        .iter()
        .find(|one| !["pass", "skip"].contains(&one["status"].as_str().unwrap_or_default()));
    assert!(other.is_none(), "{other:?}");
}

/// The mail address is a name that leads to the user, where the source says so; identities are found without a list.
#[tokio::test]
async fn a_user_is_found_by_mail_address_and_identity() {
    let provider = Provider::new().await;
    let ann = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "ann", "externalId": "x-1",
        "emails": [{ "value": "Ann.A@corp.example", "type": "work" }],
    });
    let (status, made) = provider.ask("POST", "/Users", Some(ann)).await;
    assert_eq!(status, 201, "{made}");
    let id = made["id"].as_str().unwrap().to_owned();
    let shown = provider
        .app
        .admin("GET", "/v1/admin/users/ann.a@corp.example", None)
        .await;
    assert_eq!(shown.json()["user"], "ann@default", "{:?}", shown.json());
    let found = async |filter: &str| {
        let path = format!(
            "/Users?filter={}",
            filter.replace(' ', "%20").replace('"', "%22")
        );
        let (status, list) = provider.ask("GET", &path, None).await;
        assert_eq!(status, 200, "{list}");
        list["totalResults"].clone()
    };
    for (filter, wanted) in [
        ("externalId eq \"x-1\"".to_owned(), 1),
        ("externalId eq \"X-1\"".to_owned(), 0),
        ("externalId eq \"x-2\"".to_owned(), 0),
        (format!("id eq \"{id}\""), 1),
        ("id eq \"none\"".to_owned(), 0),
    ] {
        assert_eq!(found(&filter).await, wanted, "{filter}");
    }
    // Another name, another external one, and gone: the index follows.
    let path = format!("/Users/{id}");
    let other = json!({ "userName": "anna", "externalId": "x-2", "emails": [{ "value": "anna@corp.example" }] });
    let (status, changed) = provider.ask("PUT", &path, Some(other)).await;
    assert_eq!(status, 200, "{changed}");
    assert_eq!(found("externalId eq \"x-1\"").await, 0);
    assert_eq!(found("externalId eq \"x-2\"").await, 1);
    let shown = provider
        .app
        .admin("GET", "/v1/admin/users/ann.a@corp.example", None)
        .await;
    assert_eq!(shown.status, 404);
    assert_eq!(provider.ask("DELETE", &path, None).await.0, 204);
    assert_eq!(found("externalId eq \"x-2\"").await, 0);
    assert_eq!(provider.ask("GET", &path, None).await.0, 404);
}

/// A key that was removed while the body came pushes no one.
#[tokio::test]
async fn a_provider_that_is_one_no_more_when_the_body_has_come_pushes_nothing() {
    let provider = Provider::new().await;
    let push = request("POST", "/scim/v2/Users", Some(&provider.key), Some(ann()));
    let removed = async {
        let path = "/v1/admin/clients/entra";
        let gone = provider.app.admin("DELETE", path, None).await;
        assert!(gone.status.is_success(), "{gone:?}");
    };
    let late = slowly(&provider.app.keyed, push, removed).await;
    assert_eq!(late.status, 401, "{late:?}");
    let path = "/v1/admin/users/ann@example.test";
    let shown = provider.app.admin("GET", path, None).await;
    assert_eq!(shown.status, 404);
}
