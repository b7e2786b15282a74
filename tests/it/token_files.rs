//! `oncegate token import` with files of other systems and vendors.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::json;

use crate::support::codes::hotp;
use crate::support::daemon::Site;
use crate::support::yubikey::Key;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/imports")
        .join(name)
}

/// A site with the users of the files.
fn site() -> Site {
    let site = Site::new();
    for user in [
        "alice",
        "bob",
        "carol",
        "alice@eco",
        "bob@eco",
        "alice@example.test",
    ] {
        site.json(&["user", "add", user]);
    }
    site.json(&["user", "add", "bob@example.test"]);
    site
}

fn import(site: &Site, name: &str, stdin: &str, words: &[&str]) -> (i32, String) {
    let path = file(name);
    let words = [&["token", "import", path.to_str().unwrap()], words].concat();
    let Output {
        status,
        stdout,
        stderr,
    } = site.run_with(&words, stdin);
    let said = String::from_utf8([stdout, stderr].concat()).unwrap();
    for secret in [
        "GEZDGNBVG",
        "31323334353637",
        "12345678901234567890",
        "MTIzNDU2Nzg5",
    ] {
        assert!(!said.contains(secret), "{name}: a key was shown: {said}");
    }
    (status.code().unwrap(), said)
}

#[test]
fn files_are_recognised_and_imported() {
    for (name, format, words, made) in [
        ("2fas.2fas", "2fas", &[][..], "1 token"),
        ("freeotp-plus.json", "freeotp", &[], "1 token"),
        (
            "google_authenticator_alice",
            "google-authenticator",
            &[],
            "1 token",
        ),
        ("freeradius-users", "freeradius", &[], "2 tokens"),
        ("entra-oath.csv", "entra", &["--skip-bad"], "2 tokens"),
    ] {
        let site = site();
        let (exit, said) = import(&site, name, "", words);
        assert_eq!(exit, 0, "{name}: {said}");
        assert!(
            said.contains(&format!("Format: {format}")),
            "{name}: {said}"
        );
        assert!(
            said.contains(&format!("Made 0 users and {made}.")),
            "{name}: {said}"
        );
    }
    // Encrypted, with the key on stdin; two of the three tokens have no user, one of them the key of another.
    for (name, key) in [
        ("pskc-pbkdf2.xml", "qwerty\n"),
        ("pskc-aes128-psk.xml", "12345678901234567890123456789012\n"),
    ] {
        let site = site();
        let (exit, said) = import(&site, name, key, &["--skip-bad", "--key-stdin"]);
        assert_eq!(exit, 0, "{name}: {said}");
        assert!(
            said.contains("Made 0 users and 2 tokens."),
            "{name}: {said}"
        );
        assert!(
            said.contains("Into stock, since the file names no owner: "),
            "{name}: {said}"
        );
        let stock = site.json(&["token", "list", "--unassigned"]);
        assert_eq!(stock["tokens"][0]["serial"], "PSKC0003");
    }
}

/// A yubikey goes into stock by its public id, and from there to a user, whose first OTP activates it.
#[test]
fn yubikeys_are_imported_and_assigned() {
    let site = site();
    let (exit, said) = import(&site, "yubico-traditional.csv", "", &["--skip-bad"]);
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains("Format: yubico"), "{said}");
    assert!(!said.contains("000102030405"), "a key was shown: {said}");
    let stock = site.json(&["token", "list", "--unassigned", "--kind", "yubikey"]);
    let token = &stock["tokens"][0];
    assert_eq!(token["public_id"], "cccccccccccb");
    assert_eq!(
        (&token["algorithm"], &token["digits"]),
        (&json!("aes"), &json!(44))
    );
    assert_eq!(token["serial"], "CCCCCCCCCCCB");
    site.json(&["token", "assign", "cccccccccccb", "alice"]);
    let key = Key::of_the_files();
    let verify = |user: &str, otp: &str| {
        let output = site.run_with(&["verify", user, "--otp-stdin"], &format!("{otp}\n"));
        output.status.code()
    };
    let otp = key.types(7, 1);
    assert_eq!(verify("bob", &otp), Some(1), "another user's key");
    assert_eq!(verify("alice", &otp), Some(0));
    assert_eq!(verify("alice", &otp), Some(1));
    let token = site.json(&["token", "show", "cccccccccccb"]);
    assert_eq!(
        (&token["state"], &token["last_step"]),
        (&json!("active"), &json!(7 * 256 + 1))
    );
    let (exit, said) = import(&site, "yubico-traditional.csv", "", &["--skip-bad"]);
    assert_eq!(exit, 5, "{said}");
}

#[test]
fn one_key_for_two_users_is_refused_with_the_lines_of_the_file() {
    let site = site();
    let (exit, said) = import(&site, "users.oath", "", &[]);
    assert_ne!(exit, 0, "{said}");
    assert!(said.contains("users.oath:3"), "{said}");
    assert!(said.contains("nothing was imported"), "{said}");
}

#[test]
fn an_imported_token_makes_codes_that_are_accepted() {
    let site = site();
    let (exit, said) = import(&site, "google_authenticator_alice", "", &[]);
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains("Format: google-authenticator"), "{said}");
    let tokens = site.json(&["token", "list", "--user", "alice"]);
    assert_eq!(tokens["tokens"][0]["kind"], "totp");
    let (exit, said) = import(&site, "duo-hotp6.csv", "", &["--skip-bad"]);
    assert_eq!(exit, 5, "alice has this key: {said}");
    assert!(said.contains("oncegate token list"), "{said}");
    // The counter of the file is the one used last.
    let site = self::site();
    let oath = "HOTP carol - 3132333435363738393031323334353637383930 2\n";
    let output = site.run_with(&["token", "import", "-"], oath);
    assert!(output.status.success(), "{output:?}");
    let tokens = site.json(&["token", "list", "--user", "carol"]);
    let serial = tokens["tokens"][0]["serial"].as_str().unwrap();
    assert_eq!(tokens["tokens"][0]["kind"], "hotp");
    let resync = format!("{}\n{}\n", hotp(3), hotp(4));
    let output = site.run_with(&["token", "resync", serial, "--otp-stdin"], &resync);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_refusal_names_file_line_and_field_and_makes_nothing() {
    let site = site();
    for (name, expected) in [
        (
            "aegis.json",
            &["aegis.json:", "tokens of kind `steam` cannot be imported"][..],
        ),
        (
            "safenet.xml",
            &["safenet.xml:4", "the token has no serial number"],
        ),
        (
            "entra-oath.csv",
            &["entra-oath.csv:4", "secret: the same as in line 2"],
        ),
        ("feitian-seeds.txt", &["say it: --period 30 or --period 60"]),
        (
            "pskc-pbkdf2.xml",
            &["give the key or password: --key-stdin"],
        ),
        (
            "bad-migration.txt",
            &[
                "bad-migration.txt:1",
                "the data of the migration is cut off or damaged",
            ],
        ),
        ("bad-pskc-bomb.xml", &["a DTD is not allowed"]),
        (
            "yubico-traditional.csv",
            &[
                "yubico-traditional.csv:4",
                "the slot holds no one-time password",
            ],
        ),
    ] {
        let (exit, said) = import(&site, name, "", &[]);
        // A key that stands twice is a conflict.
        let wanted = if name == "entra-oath.csv" { 5 } else { 2 };
        assert_eq!(exit, wanted, "{name}: {said}");
        for part in expected {
            assert!(said.contains(part), "{name}: {part}: {said}");
        }
        assert!(said.contains("nothing was imported"), "{name}: {said}");
    }
    let tokens = site.json(&["token", "list"]);
    assert_eq!(tokens["tokens"].as_array().unwrap().len(), 0);
}
