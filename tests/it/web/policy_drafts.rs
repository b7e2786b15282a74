//! Drafts of policy files: checked, compared, replayed over past logins, approved by another person, written.

use std::path::Path;
use std::sync::{Arc, Mutex};

use oncegate::admin::drafts::PolicyFiles;
use oncegate::diagnostic::{Diagnostic, Source};
use oncegate::policy::Policies;
use serde_json::{Value, json};

use crate::support::app::{Answer, ask, request};
use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::console::{Console, text};
use crate::support::daemon::Site;

const STRICT: &str = r#"
reject_delay = "0s"
[[rule]]
name = "staff"
when = { group = "staff" }
require = ["pin", "otp"]
[[rule]]
name = "everyone"
require = ["otp"]
"#;

/// A command against the daemon with the key of an administrator.
fn remote(site: &Site, url: &str, words: &[&str]) -> (Option<i32>, Value) {
    use std::os::unix::fs::PermissionsExt as _;
    let file = site.path().join("key");
    std::fs::write(&file, &site.admin_key).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let way = [
        "--json",
        "--server",
        url,
        "--key-file",
        file.to_str().unwrap(),
    ];
    let done = site.run(&[&way, words].concat());
    let document = serde_json::from_slice(&done.stdout);
    (
        done.status.code(),
        document.unwrap_or_else(|_| panic!("{done:?}")),
    )
}

/// Two users, one of them of a group.
fn prepared() -> Site {
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    site.json(&["user", "set", "alice", "--group", "staff"]);
    site.enrol("bo", "hotp", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP");
    site
}

#[test]
fn no_policy_is_edited_unless_the_configuration_says_so() {
    let site = Site::new();
    // Off unless the configuration says otherwise.
    let daemon = site.serve();
    let off = site.run_with(&["policy", "draft", "set", "default"], STRICT);
    assert_ne!(off.status.code(), Some(0));
    let said = String::from_utf8_lossy(&off.stderr).into_owned();
    assert!(said.contains("web.edit_policies = true"), "{said}");
    daemon.terminate();
}

#[test]
fn a_draft_is_tried_on_past_logins_and_written_when_another_approves() {
    let site = prepared();
    let policies = site.path().join("policies");
    let file = policies.join("default.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    let daemon = site.serve_with(&[("ONCEGATE__WEB__EDIT_POLICIES", "true")]);
    let url = format!("http://{}", daemon.http);
    for counter in 0..3 {
        let done = site.run_with(&["verify", "alice", "--otp-stdin"], &hotp(counter));
        assert_eq!(done.status.code(), Some(0), "{done:?}");
    }
    assert_eq!(
        site.run_with(&["verify", "bo", "--otp-stdin"], "000000")
            .status
            .code(),
        Some(1)
    );

    faults_are_named(&site, &url, &file);
    let set = [
        "policy",
        "draft",
        "set",
        "default",
        "--note",
        "staff: PIN too",
    ];
    let draft = site.json_with(&set, STRICT);
    assert_eq!(draft["findings"], json!([]));
    let added: Vec<&str> = draft["diff"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["kind"] == "added")
        .filter_map(|line| line["text"].as_str())
        .collect();
    assert!(added.contains(&"require = [\"pin\", \"otp\"]"), "{added:?}");
    let replay = site.json(&["policy", "draft", "replay", "default"]);
    assert_eq!(
        (
            &replay["decisions"],
            &replay["concerned"],
            &replay["otherwise"]
        ),
        (&json!(4), &json!(4), &json!(3)),
        "{replay}"
    );
    let change = &replay["changes"][0];
    assert_eq!(
        (&change["before"]["rule"], &change["after"]["rule"]),
        (&json!("everyone"), &json!("staff"))
    );
    assert_eq!(
        (&change["accepted"], &change["users"]),
        (&json!(3), &json!(["alice@default"]))
    );
    assert_eq!(change["after"]["asks"], "pin + otp");

    // Not by its author; by another person.
    let own = site.run(&["policy", "draft", "approve", "default", "--yes"]);
    assert_eq!(own.status.code(), Some(5), "{own:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    let (code, answer) = remote(
        &site,
        &url,
        &["policy", "draft", "approve", "default", "--yes"],
    );
    assert_eq!(
        (code, &answer["policy"]),
        (Some(0), &json!("default")),
        "{answer}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), STRICT);
    let names = std::fs::read_dir(&policies).unwrap();
    assert!(
        names
            .flatten()
            .all(|one| !one.file_name().to_string_lossy().ends_with(".new"))
    );
    assert_eq!(
        site.run_with(&["verify", "alice", "--otp-stdin"], &hotp(3))
            .status
            .code(),
        Some(1)
    );
    assert_eq!(site.json(&["policy", "draft", "list"])["drafts"], json!([]));
    for (action, by_key) in [
        ("policy_draft_set", false),
        ("policy_draft_approve", true),
        ("files_reload", true),
        ("policy_draft_apply", true),
    ] {
        let found = site.json(&["audit", "list", "--action", action, "--limit", "1"]);
        let actor = found["records"][0]["actor"].as_str().unwrap_or_default();
        assert_eq!(actor.starts_with("api:"), by_key, "{action}: {found}");
    }
    changed_underneath(&site, &url, &file, &before);
    drop(daemon);
}

/// Faults are named where they are, as the compiler of policies names them; nothing is in force.
fn faults_are_named(site: &Site, url: &str, file: &Path) {
    let before = std::fs::read_to_string(file).unwrap();
    let faulty = STRICT.replace("require = [\"pin\", \"otp\"]", "require = [\"pim\"]");
    let set = site.run_with(&["policy", "draft", "set", "default"], &faulty);
    assert_eq!(set.status.code(), Some(1), "{set:?}");
    let said = String::from_utf8_lossy(&set.stdout).into_owned();
    assert!(
        said.contains("default.toml:6: ") && said.contains("pim"),
        "{said}"
    );
    let (code, answer) = remote(
        site,
        url,
        &["policy", "draft", "approve", "default", "--yes"],
    );
    assert_eq!(code, Some(2), "{answer}");
    assert_eq!(std::fs::read_to_string(file).unwrap(), before);
}

/// What was changed underneath is not written over; a name is one of a file there, and nothing else.
fn changed_underneath(site: &Site, url: &str, file: &Path, before: &str) {
    let (code, _) = remote(
        site,
        url,
        &["policy", "draft", "set", "default", file.to_str().unwrap()],
    );
    assert_eq!(code, Some(5), "nothing is changed by it");
    site.json_with(&["policy", "draft", "set", "default"], before);
    std::fs::write(file, STRICT.replace("0s", "1s")).unwrap();
    let (code, answer) = remote(
        site,
        url,
        &["policy", "draft", "approve", "default", "--yes"],
    );
    assert_eq!(code, Some(5), "{answer}");
    let (code, _) = remote(
        site,
        url,
        &["policy", "draft", "deny", "default", "--reason", "later"],
    );
    assert_eq!(code, Some(0));
    assert_eq!(
        site.run(&["policy", "draft", "show", "default"])
            .status
            .code(),
        Some(4)
    );
    // A name is one of a file there, and nothing else.
    for name in ["../oncegate", "a/b", ".x"] {
        let done = site.run_with(&["policy", "draft", "set", name], STRICT);
        assert_eq!(done.status.code(), Some(2), "{name}: {done:?}");
    }
}

/// Files in memory.
struct Shelf(Mutex<Vec<(String, String)>>);

impl PolicyFiles for Shelf {
    fn text(&self, policy: &str) -> Result<Option<String>, String> {
        let all = self.0.lock().unwrap();
        let found = all.iter().find(|(name, _)| name == policy);
        Ok(found.map(|(_, text)| text.clone()))
    }

    fn with(&self, policy: &str, text: &str) -> Result<Policies, Vec<Diagnostic>> {
        let all = self.0.lock().unwrap().clone();
        let others = all.into_iter().filter(|(name, _)| name != policy);
        let files = others.chain([(policy.to_owned(), text.to_owned())]);
        let sources: Vec<Source> = files
            .map(|(name, text)| Source::new(format!("policies/{name}.toml"), text))
            .collect();
        Policies::parse(&sources, &|_, _| Ok(()))
    }

    fn write(&self, policy: &str, text: &str) -> Result<(), String> {
        let mut all = self.0.lock().unwrap();
        all.retain(|(name, _)| name != policy);
        all.push((policy.to_owned(), text.to_owned()));
        Ok(())
    }
}

fn shelf(console: &Console) -> Arc<Shelf> {
    let policies = console.service.core.policies();
    let texts = policies.iter().map(|policy| {
        let text = policies.text(&policy.name).expect("a text");
        (policy.name.clone(), text.to_owned())
    });
    let shelf = Arc::new(Shelf(Mutex::new(texts.collect())));
    console
        .service
        .admin
        .set_policy_files(Arc::clone(&shelf) as Arc<dyn PolicyFiles>);
    shelf
}

/// The form of a draft, as a browser sends it.
fn save(text: &str, revision: &str) -> Vec<(&'static str, String)> {
    vec![
        ("place", "default".to_owned()),
        ("text", text.replace('\n', "\r\n")),
        ("note", "<b>why</b>".to_owned()),
        ("revision", revision.to_owned()),
        ("back", "/console/draft?policy=default".to_owned()),
    ]
}

async fn post(
    console: &Console,
    form: Vec<(&'static str, String)>,
    act: &str,
    session: &str,
) -> Answer {
    let form: Vec<_> = form
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let path = format!("/console/act/{act}");
    console.post(&path, &form, Some(session)).await
}

/// In the browser: written by one administrator, approved by an approver; who would lock themselves out is told.
#[tokio::test]
async fn the_console_writes_a_draft_and_another_person_approves_it() {
    let console = Console::new();
    let shelf = shelf(&console);
    let kim = console.person("kim", &["admin"]).await;
    let lee = console.person("lee", &["approver"]).await;
    let session = console.sign_in(&kim).await;
    let page = text(
        &console
            .get("/console/draft?policy=default", Some(&session))
            .await,
    );
    assert!(
        page.contains("<textarea") && page.contains("name=\"revision\" value=\"0\""),
        "{page}"
    );
    let saved = post(&console, save(STRICT, "0"), "set_draft", &session).await;
    assert_eq!(saved.status, 303, "{}", text(&saved));
    // Two who edit one draft: the second is told.
    let second = post(&console, save("x", "0"), "set_draft", &session).await;
    assert_eq!(second.status, 412, "{}", text(&second));
    let page = text(
        &console
            .get("/console/draft?policy=default", Some(&session))
            .await,
    );
    assert!(
        page.contains("Another person approves it") && !page.contains("/act/approve_draft"),
        "{page}"
    );
    assert!(!page.contains("<b>why"), "{page}");
    let revision = page.split("name=\"revision\" value=\"").nth(1);
    let revision = revision.and_then(|rest| rest.split('"').next());
    let revision = revision.expect("a revision").to_owned();
    let place = |name: &str| vec![("place", name.to_owned()), ("revision", revision.clone())];
    let own = post(&console, place("default"), "approve_draft", &session).await;
    assert_eq!(own.status, 409, "{}", text(&own));

    for role in ["operator", "auditor"] {
        let person = console.person(role, &[role]).await;
        let own = console.sign_in(&person).await;
        let page = console
            .get("/console/draft?policy=default", Some(&own))
            .await;
        let opens = role == "auditor";
        assert_eq!(page.status == 200, opens, "{role}");
        assert!(!text(&page).contains("/console/act/"), "{role}");
        for act in ["set_draft", "approve_draft", "deny_draft", "remove_draft"] {
            let tried = post(&console, place("default"), act, &own).await;
            assert_eq!(tried.status, 403, "{role} {act}");
        }
    }
    let other = console.sign_in(&lee).await;
    let page = text(&console.get("/console/requests", Some(&other)).await);
    assert!(page.contains("/console/draft?policy=default"), "{page}");
    let page = text(
        &console
            .get("/console/draft?policy=default", Some(&other))
            .await,
    );
    assert!(
        page.contains("/act/approve_draft") && !page.contains("<textarea"),
        "{page}"
    );
    let page = text(
        &console
            .get("/console/draft/replay?policy=default", Some(&other))
            .await,
    );
    assert!(page.contains("Logins read again"), "{page}");
    let stale = post(
        &console,
        vec![
            ("place", "default".to_owned()),
            ("revision", "7".to_owned()),
        ],
        "approve_draft",
        &other,
    )
    .await;
    assert_eq!(stale.status, 412, "{}", text(&stale));
    let done = post(&console, place("default"), "approve_draft", &other).await;
    assert_eq!(done.status, 303, "{}", text(&done));
    assert_eq!(shelf.text("default").unwrap().as_deref(), Some(STRICT));
    assert_eq!(console.service.core.store().drafts().unwrap(), []);
}

/// A console that asks for what they do not have, or lets no one in, is not put into force.
#[tokio::test]
async fn no_one_locks_themselves_out_of_the_console() {
    let console = Console::new();
    let shelf = shelf(&console);
    let kim = console.person("kim", &["admin"]).await;
    let present = shelf.text("console").unwrap().unwrap();
    for (text_then, says) in [
        (
            present.replace(
                "require      = [\"password\", \"otp\"]",
                "require      = [\"pin\", \"otp\"]",
            ),
            "asks for <code>pin</code>",
        ),
        (
            present.replace("kinds = [\"totp\", \"hotp\"]", "kinds = [\"hotp\"]"),
            "asks for <code>otp</code>",
        ),
        (
            present
                .replace(
                    "when         = { context.\"console\" = \"step-up\" }",
                    "when         = { group = \"none\" }",
                )
                .replace(
                    "name         = \"sign-in\"",
                    "name         = \"sign-in\"\nwhen = { network = \"10.0.0.0/8\" }",
                ),
            "no rule",
        ),
    ] {
        let session = console.sign_in(&kim).await;
        let form = vec![("place", "console".to_owned()), ("text", text_then)];
        let saved = post(&console, form, "set_draft", &session).await;
        assert_eq!(saved.status, 303, "{says}: {}", text(&saved));
        let page = text(
            &console
                .get("/console/draft?policy=console", Some(&session))
                .await,
        );
        assert!(
            page.contains("kim@console could not sign in") && page.contains(says),
            "{says}: {page}"
        );
        let refused = request(
            "POST",
            "/v1/admin/policy-drafts/console/approve",
            None,
            None,
        );
        let refused = ask(&console.local, refused).await;
        assert_eq!(refused.status, 400, "{}", text(&refused));
        assert!(
            text(&refused).contains("could not sign in to the console"),
            "{}",
            text(&refused)
        );
    }
    assert_eq!(
        shelf.text("console").unwrap().as_deref(),
        Some(present.as_str())
    );
    // A file that is too long, and one that is no text.
    let session = console.sign_in(&kim).await;
    let long = post(
        &console,
        save(&"#".repeat(70_000), "0"),
        "set_draft",
        &session,
    )
    .await;
    assert_eq!(long.status, 400, "{}", text(&long));
    let huge = post(
        &console,
        save(&"#".repeat(400_000), "0"),
        "set_draft",
        &session,
    )
    .await;
    assert_eq!(huge.status, 413);
}
