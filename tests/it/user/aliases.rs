//! Aliases: every name of a user leads to one user, one counter and one line of the audit, and no name to two.

use std::fs;
use std::thread;

use oncegate::radius::attribute::Type;
use oncegate::radius::packet::Code;
use serde_json::{Value, json};

use crate::faults::b3_accounting::{Nas, SECRET, START, accounting, sessions};
use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::{NO_DELAY, Site};
use crate::support::lab::{Lab, key};
use crate::support::net::{Http, Radius};

/// alice@staff with the aliases `asmith` and `alice@corp.example`, and a counter token.
fn site() -> Site {
    let site = Site::new();
    fs::write(site.path().join("policies/default.toml"), NO_DELAY).unwrap();
    let user = [
        "user",
        "add",
        "alice@staff",
        "--alias",
        "ASmith",
        "--alias",
        r"CORP.example\Alice",
    ];
    let made = site.json(&user);
    let both = json!(["asmith@staff", "alice@corp.example"]);
    assert_eq!(made["aliases"], both);
    let token = [
        "token",
        "add",
        "alice@corp.example",
        "--kind",
        "hotp",
        "--active",
        "--secret-stdin",
    ];
    site.json_with(&token, RFC_SECRET);
    site
}

fn refused(site: &Site, words: &[&str]) -> (i32, String) {
    let output = site.run(words);
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(text).unwrap(),
    )
}

#[test]
fn every_front_end_takes_an_alias_for_its_user() {
    let site = site();
    site.radius_client("nas", SECRET);
    let api = site.api_client("app");
    // A client of another realm: no alias leads out of it.
    let strict = ["client", "add", "api", "partner", "--realm", "corp.example"];
    let partner = site.json(&strict)["key"].as_str().unwrap().to_owned();
    let daemon = site.serve();
    let mut nas = Radius::new(daemon.radius, SECRET);
    assert_eq!(
        nas.ask("alice@corp.example", &hotp(0)),
        Some(Code::AccessAccept)
    );
    assert_eq!(
        nas.ask(r"CORP.EXAMPLE\alice", &hotp(0)),
        Some(Code::AccessReject)
    );
    let mut app = Http::new(daemon.http, &api);
    let (_, reused) = app.verify("asmith@staff", &hotp(0)).unwrap();
    assert_eq!(reused["decision"], "reject");
    let (_, accepted) = app.verify("asmith@staff", &hotp(1)).unwrap();
    assert_eq!(accepted["user"], "alice@staff", "{accepted}");
    let mut foreign = Http::new(daemon.http, &partner);
    let (_, alien) = foreign.verify("alice", &hotp(2)).unwrap();
    assert_eq!(alien["decision"], "reject", "{alien}");
    assert_eq!(nas.ask("alice@staff", &hotp(2)), Some(Code::AccessAccept));

    // One line of the audit, whatever was typed; the name that was looked for is no one's.
    let list = site.json(&["audit", "list", "--user", "asmith@staff"]);
    let records = list["records"].as_array().unwrap();
    let decisions = records.iter().filter(|one| one["decision"].is_string());
    let mut reasons: Vec<&str> = decisions
        .inspect(|one| assert_eq!(one["user"], "alice@staff"))
        .map(|one| one["reason"].as_str().unwrap())
        .collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        ["hotp_ok", "hotp_ok", "hotp_ok", "used_code", "used_code"]
    );
    let explained = site.json(&["explain", "--user", "alice@corp.example", "--client", "nas"]);
    assert_eq!(
        explained["login"]["user"]["user"], "alice@staff",
        "{explained}"
    );

    // Accounting of a NAS that knows the alias only is linked with the login.
    let mut accounting = Nas::new(accounting(&site));
    let class = class_of(&mut nas, &hotp(3));
    let name: (Type, &[u8]) = (Type::UserName, b"alice@corp.example");
    accounting.report(START, "S-1", &[name, (Type::Class, &class)]);
    let found = sessions(&site, &["--user", "alice@corp.example"]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["user"], "alice@staff");
    assert!(found[0]["request_id"].is_string(), "{found:?}");
}

/// The Class of an accept by the alias.
fn class_of(nas: &mut Radius, code: &str) -> Vec<u8> {
    let request = nas.request("alice@corp.example", code);
    nas.send(&request);
    let reply = nas.receive().unwrap();
    let reply = oncegate::radius::packet::Packet::parse(&reply).unwrap();
    assert_eq!(reply.code, Code::AccessAccept);
    reply.first(Type::Class).unwrap().to_vec()
}

#[tokio::test]
async fn failures_by_any_name_are_one_count() {
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n\
        [lockout]\nfree = 4\nlock_after = 4\n";
    let lab = Lab::new(&[("default", policy)]).await;
    lab.user("alice", None, None).await;
    lab.token(
        "alice",
        oncegate::model::kind::Kind::Totp,
        oncegate::otp::Digits::SIX,
    )
    .await;
    let aliases = json!({ "aliases": ["asmith", "alice@corp.example"] });
    lab.change("PATCH", "/v1/admin/users/alice", aliases).await;
    for name in [
        "alice",
        "asmith",
        "alice@corp.example",
        r"CORP.example\ALICE",
    ] {
        let body = json!({ "user": name, "otp": "000000" });
        assert_eq!(lab.http("default", body).await.decision, "reject");
    }
    let body = json!({ "user": "asmith", "otp": lab.code("alice") });
    assert_eq!(lab.http("default", body).await.decision, "reject");
    assert_eq!(lab.reason("alice").await, "locked");
    assert_eq!(lab.service().core.locked().timed, 1);
    let view = lab.service().core.store().view(&key("asmith")).unwrap();
    assert!(view.is_none(), "an alias is no user of its own");
}

#[test]
fn no_name_leads_to_two_users() {
    let site = site();
    site.json(&["user", "add", "bob@staff"]);
    for (words, exit, says) in [
        // Another's name, another's alias, the own name, a new user of an alias's name.
        (
            &["user", "set", "bob@staff", "--alias", "alice"][..],
            5,
            "alias alice@staff: there is a user of this name",
        ),
        (
            &["user", "set", "bob@staff", "--alias", r"Corp.Example\ALICE"],
            5,
            "it is an alias of alice@staff",
        ),
        (
            &["user", "set", "bob@staff", "--alias", "bob"],
            2,
            "--alias: that is the user's own name",
        ),
        (
            &["user", "add", "asmith@staff"],
            5,
            "asmith@staff is an alias of alice@staff",
        ),
        (
            &["user", "add", "carol@staff", "--alias", "bob"],
            5,
            "alias bob@staff: there is a user of this name",
        ),
        (
            &["user", "set", "bob@staff", "--alias", r"a\b@c"],
            2,
            "--alias: the user name has both",
        ),
        (
            &["user", "set", "bob@staff", "--remove-alias", "nobody"],
            4,
            "no such alias of this user",
        ),
        // What cannot be undone is not done by an alias.
        (
            &["user", "remove", "asmith@staff", "--yes"],
            4,
            "it is an alias of alice@staff",
        ),
        (
            &["user", "erase", "asmith@staff", "--yes"],
            4,
            "it is an alias of alice@staff",
        ),
    ] {
        let (code, text) = refused(&site, words);
        assert_eq!(code, exit, "{words:?}: {text}");
        assert!(text.contains(says), "{words:?}: {text}");
    }
    let many: Vec<String> = (0..33).map(|number| format!("a{number}")).collect();
    let mut words = vec!["user", "set", "bob@staff"];
    for one in &many {
        words.extend(["--alias", one]);
    }
    let (code, text) = refused(&site, &words);
    assert_eq!(
        (code, text.contains("at most 32 aliases")),
        (2, true),
        "{text}"
    );
    assert_eq!(
        site.json(&["user", "show", "bob@staff"])["aliases"],
        json!([])
    );

    // An alias that is taken away, or whose user goes, is free again, and nothing is left of it.
    let set = [
        "user",
        "set",
        "asmith@staff",
        "--remove-alias",
        "asmith@staff",
    ];
    assert_eq!(site.json(&set)["aliases"], json!(["alice@corp.example"]));
    site.json(&["user", "set", "bob@staff", "--alias", "asmith"]);
    site.json(&["user", "erase", "alice@staff", "--yes"]);
    site.json(&["user", "add", "alice@corp.example"]);
    let report = site.run(&["store", "verify"]);
    assert!(report.status.success(), "{report:?}");
    let audit = site.json(&["audit", "export"]).to_string();
    assert!(
        !audit.contains("alice@corp.example, "),
        "erased with the user: {audit}"
    );
    let rows = fs::read(site.path().join("store/main.redb")).unwrap();
    let text = String::from_utf8_lossy(&rows);
    assert!(!text.contains("asmith"), "at rest an alias is sealed");
}

#[test]
fn of_two_who_want_one_name_at_once_one_gets_it() {
    let site = Site::new();
    for user in ["u0", "u1", "u2", "u3"] {
        site.json(&["user", "add", user]);
    }
    let daemon = site.serve();
    let (address, key) = (daemon.http, site.admin_key.clone());
    for round in 0..8 {
        let tasks: Vec<_> = (0..4)
            .map(|number| {
                let key = key.clone();
                thread::spawn(move || {
                    let mut http = Http::new(address, &key);
                    let name = format!("twin{round}");
                    let (method, path, body) = if number == 0 {
                        (
                            "POST",
                            "/v1/admin/users".to_owned(),
                            json!({ "user": name }),
                        )
                    } else {
                        let path = format!("/v1/admin/users/u{number}");
                        ("PATCH", path, json!({ "add_aliases": [name] }))
                    };
                    http.send(method, &path, body.to_string().as_bytes())
                        .unwrap()
                        .0
                })
            })
            .collect();
        let done = tasks.into_iter().map(|task| task.join().unwrap());
        let mut statuses: Vec<u16> = done.collect();
        statuses.sort_unstable();
        let won = statuses.iter().filter(|status| **status < 300).count();
        assert_eq!(won, 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 3);
    }
}

#[test]
fn a_file_brings_aliases_and_a_backup_keeps_them() {
    let site = Site::new();
    let people = "user,realm,alias\nalice,staff,asmith;alice@corp.example\nbob,staff,\n";
    let file = site.path().join("people.csv");
    fs::write(&file, people).unwrap();
    let file = file.to_string_lossy().into_owned();
    site.json(&["user", "import", &file]);
    let aliases = |site: &Site| site.json(&["user", "show", "asmith@staff"])["aliases"].clone();
    let both = json!(["asmith@staff", "alice@corp.example"]);
    assert_eq!(aliases(&site), both);
    for (text, says) in [
        ("user,alias\nx,y\ny,\n", "alias"),
        ("user,alias\nx,z\ny,z\n", "alias"),
        ("user,alias\nx,alice@staff\n", "alias"),
        ("user\nasmith@staff\n", "alias of another user"),
        ("user,alias\nx,a\\b@c\n", "both DOMAIN"),
    ] {
        fs::write(&file, text).unwrap();
        let (code, said) = refused(&site, &["user", "import", &file]);
        assert!(code != 0 && said.contains(says), "{text}: {code} {said}");
    }
    let users = site.json(&["user", "list"]);
    assert_eq!(users["users"].as_array().unwrap().len(), 2);

    // As the file says: an empty field clears.
    fs::write(
        &file,
        "user,realm,alias\nalice,staff,ally\nbob,staff,asmith\n",
    )
    .unwrap();
    let (code, said) = refused(&site, &["user", "import", &file, "--update"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        site.json(&["user", "show", "ally@staff"])["user"],
        "alice@staff"
    );

    let backup = site.path().join("backup");
    let backup = backup.to_string_lossy().into_owned();
    site.json(&["backup", &backup]);
    let set = ["user", "set", "alice@staff", "--remove-alias", "ally"];
    site.json(&set);
    let master = site
        .path()
        .join("master.key")
        .to_string_lossy()
        .into_owned();
    let restored = Site::empty();
    let (code, said) = refused(&restored, &["restore", &backup, "--master-key", &master]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        restored.json(&["user", "show", "ally@staff"])["user"],
        "alice@staff"
    );
}

#[test]
fn an_unknown_name_is_still_unknown() {
    let site = site();
    site.radius_client("nas", SECRET);
    let daemon = site.serve();
    let mut nas = Radius::new(daemon.radius, SECRET);
    assert_eq!(nas.ask("asmith", "123456"), Some(Code::AccessReject));
    let list: Value = site.json(&["audit", "list", "--user", "asmith"]);
    assert_eq!(list["records"][0]["reason"], "unknown_user", "{list}");
}
