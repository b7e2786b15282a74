//! Users who follow Active Directory, and whose passwords it checks: Samba as a domain controller. It takes a quarter of a
//! minute to make one.

use std::fmt::Write as _;
use std::fs;

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::support::between::{Between, Meddling, faults};
use crate::support::daemon::Site;
use crate::support::samba::Samba;
use crate::support::{require, skip};

const PEOPLE: [(&str, &str); 6] = [
    ("ann", ""),
    ("bob", ""),
    ("off", "userAccountControl: 514\n"),
    ("old", "accountExpires: 132000000000000000\n"),
    ("new", "pwdLastSet: 0\n"),
    ("gone", ""),
];

/// Besides those, `p1`, `p2`, ...
const OTHERS: usize = 10;

fn password(name: &str) -> String {
    format!("{name}-Passw0rd1")
}

/// The people, and groups of which two are in each other.
fn staff() -> String {
    let mut ldif = String::new();
    let others = (1..=OTHERS).map(|number| format!("p{number}"));
    let others: Vec<String> = others.collect();
    let others = others.iter().map(|name| (name.as_str(), ""));
    for (name, more) in PEOPLE.into_iter().chain(others) {
        let quoted: Vec<u8> = format!("\"{}\"", password(name))
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let control = if more.contains("userAccountControl") {
            ""
        } else {
            "userAccountControl: 512\n"
        };
        let _ = write!(
            ldif,
            "dn: cn={name},ou=Staff,dc=eco,dc=test\nobjectClass: user\nsAMAccountName: {name}\ndisplayName: {name} A\n\
             userPrincipalName: {name}.a@corp.example\nmail: {name}@example.org\nmobile: 010-2000-0001\n{control}{more}\
             unicodePwd:: {}\n\n",
            BASE64.encode(&quoted)
        );
    }
    for (name, member) in [
        ("inner", "cn=ann,ou=Staff"),
        ("outer", "cn=inner,ou=Staff"),
        ("outer2", "cn=outer,ou=Staff"),
    ] {
        let _ = write!(
            ldif,
            "dn: cn={name},ou=Staff,dc=eco,dc=test\nobjectClass: group\nsAMAccountName: {name}\nmember: {member},dc=eco,dc=test\n\n"
        );
    }
    ldif + "dn: cn=outer,ou=Staff,dc=eco,dc=test\nchangetype: modify\nadd: member\nmember: cn=outer2,ou=Staff,dc=eco,dc=test\n\n"
}

fn user(site: &Site, name: &str) -> Value {
    site.json(&["user", "show", name])
}

#[test]
#[allow(clippy::too_many_lines)] // one start of the controller
fn row_a16_users_follow_active_directory_and_log_in_with_its_passwords() {
    for (tool, package) in [("samba-tool", "samba"), ("ldapmodify", "ldap-utils")] {
        if !require(tool, package) {
            return;
        }
    }
    let Some(samba) = Samba::start() else {
        skip("networks of their own need root");
        return;
    };
    assert!(samba.changes(&staff()));
    let site = Site::new();
    samba.table(
        &site.path(),
        "ldaps://127.0.0.1",
        "every = \"never\"\npassword = true\ntimeout = \"5s\"\nbind_timeout = \"5s\"",
    );
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"password\"]\n";
    fs::write(site.path().join("policies/default.toml"), policy).unwrap();
    let inside = samba.inside();
    let inside: Vec<&str> = inside.iter().map(String::as_str).collect();
    let daemon = site.serve_by(&inside);

    let done = site.json(&["source", "sync", "corp"]);
    assert_eq!(done["counts"]["created"], 16, "{done}");
    let ann = user(&site, "ann");
    assert_eq!(ann["groups"], json!(["inner", "outer", "outer2"]));
    assert_eq!(
        (&ann["display_name"], &ann["phone"]),
        (&json!("ann A"), &json!("+821020000001"))
    );
    assert_eq!(ann["aliases"], json!(["ann.a@corp.example"]));
    for (name, disabled) in [("bob", false), ("off", true), ("old", true), ("new", false)] {
        assert_eq!(user(&site, name)["disabled"], disabled, "{name}");
    }
    let verify = |user: &str, password: &str| {
        let output = site.run_with(
            &["verify", user, "--password-stdin"],
            &format!("{password}\n"),
        );
        let records = site.json(&["audit", "list", "--limit", "1"]);
        let reason = records["records"][0]["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        (output.status.code(), reason)
    };
    // By the account name, by the UPN, and as Windows writes it.
    for name in ["ann", "ann.a@corp.example"] {
        let (code, reason) = verify(name, &password("ann"));
        assert_eq!(code, Some(0), "{name}: {reason}");
    }
    for (name, typed, wanted) in [
        ("ann", "wrong", "wrong_password"),
        ("new", &*password("new"), "account_must_change"),
        ("off", &*password("off"), "user_disabled"),
        ("old", &*password("old"), "user_disabled"),
    ] {
        assert_eq!(verify(name, typed), (Some(1), wanted.to_owned()), "{name}");
    }

    // The identity is the objectGUID: a renamed user keeps what they have.
    site.json(&["user", "set", "bob", "--class", "individual"]);
    assert!(samba.changes(
        "dn: cn=bob,ou=Staff,dc=eco,dc=test\nchangetype: modrdn\nnewrdn: cn=rob\ndeleteoldrdn: 1\n\n\
         dn: cn=rob,ou=Staff,dc=eco,dc=test\nchangetype: modify\nreplace: sAMAccountName\nsAMAccountName: rob\n-\n\
         replace: userPrincipalName\nuserPrincipalName: rob.a@corp.example\n\n\
         dn: cn=gone,ou=Staff,dc=eco,dc=test\nchangetype: delete\n\n\
         dn: cn=ann,ou=Staff,dc=eco,dc=test\nchangetype: modify\nreplace: userAccountControl\nuserAccountControl: 514\n\n"
    ));
    // Before the next run too: the directory is asked by identity.
    assert_eq!(verify("bob", &password("bob")).0, Some(0));
    assert_eq!(
        verify("gone", &password("gone")),
        (Some(1), "account_disabled".to_owned())
    );
    let done = site.json(&["source", "sync", "corp", "--force"]);
    assert_eq!(
        done["renamed"],
        json!([{"before": "bob@default", "after": "rob@default"}]),
        "{done}"
    );
    assert_eq!(done["disabled"].as_array().unwrap().len(), 2, "{done}");
    let rob = user(&site, "rob.a@corp.example");
    assert_eq!(
        (&rob["user"], &rob["class"]),
        (&json!("rob@default"), &json!("individual"))
    );
    assert_eq!(verify("rob", &password("bob")).0, Some(0));
    assert_eq!(
        site.json(&["source", "sync", "corp"])["counts"]["unchanged"],
        15
    );

    // Slow, lying and shrinking; then dead.
    drop(daemon);
    let between = Between::start("127.0.0.1:389".parse().unwrap(), Some(samba.process()));
    samba.table(
        &site.path(),
        &format!("ldap://127.0.0.1:{}", between.port),
        "starttls = false\nevery = \"never\"\npassword = true\ntimeout = \"1s\"\npage_size = 5",
    );
    let daemon = site.serve_by(&inside);
    faults(&site, &between);
    between.set(Meddling::Stall(0));
    assert_eq!(verify("p1", &password("p1")).0, Some(3));
    between.set(Meddling::Nothing);
    assert_eq!(verify("p1", &password("p1")).0, Some(0));
    drop(samba);
    let output = site.run(&["source", "sync", "corp"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(site.json(&["source", "show", "corp"])["disabled"], 4);
    drop(daemon);
}
