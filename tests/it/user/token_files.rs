//! `oncegate token import` with files of other systems and vendors.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::json;

use crate::support::codes::{hotp, hotp_of, key_of};
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
        ("multiotp.csv", "multiotp", &["--skip-bad"], "2 tokens"),
    ] {
        let site = site();
        let (exit, said) = import(&site, name, "", words);
        assert_eq!(exit, 0, "{name}: {said}");
        assert!(
            said.contains(&format!("Format: {format}")),
            "{name}: {said}"
        );
        assert!(said.contains(&format!("Made {made}.")), "{name}: {said}");
    }
    // Encrypted, with the key on stdin; two of the three tokens have no user, one of them the key of another.
    for (name, key) in [
        ("pskc-pbkdf2.xml", "qwerty\n"),
        ("pskc-aes128-psk.xml", "12345678901234567890123456789012\n"),
    ] {
        let site = site();
        let (exit, said) = import(&site, name, key, &["--skip-bad", "--key-stdin"]);
        assert_eq!(exit, 0, "{name}: {said}");
        assert!(said.contains("Made 2 tokens."), "{name}: {said}");
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
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains("Already there: 2 tokens."), "{said}");
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
    assert!(
        said.contains("has this key and another serial number"),
        "{said}"
    );
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

/// One line holds several tokens: whose is refused or left out is said, by the command and by the server.
#[test]
fn a_refusal_names_the_token() {
    let site = site();
    let service = |account: &str, secret: &str, digits: u8| {
        format!(
            r#"{{"secret":"{secret}","otp":{{"account":"{account}","digits":{digits},"tokenType":"TOTP"}}}}"#
        )
    };
    let (one, other) = (
        "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
        "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U",
    );
    let services = [
        service("alice", one, 6),
        service("bob", one, 4),
        service("stranger", other, 6),
    ];
    let mini = site.path().join("mini.2fas");
    let text = format!(r#"{{"services":[{}]}}"#, services.join(","));
    std::fs::write(&mini, text).unwrap();
    let said = |words: &[&str]| {
        let words = [&["token", "import", mini.to_str().unwrap()], words].concat();
        let Output {
            status,
            stdout,
            stderr,
        } = site.run_with(&words, "");
        let said = String::from_utf8([stdout, stderr].concat()).unwrap();
        (status.code().unwrap(), said)
    };
    let (exit, refused) = said(&[]);
    assert_eq!(exit, 2, "{refused}");
    assert!(
        refused.contains("digits: 6 to 9 (entry 2, bob)"),
        "{refused}"
    );
    let (exit, left) = said(&["--skip-bad"]);
    assert_eq!(exit, 0, "{left}");
    let left_out = |end: &str| {
        let mut lines = left.lines();
        lines.any(|line| line.starts_with("Left out: ") && line.ends_with(end))
    };
    assert!(left_out("digits: 6 to 9 (entry 2, bob)"), "{left}");
    assert!(left_out(" (entry 3, stranger)"), "{left}");
    assert!(!left.contains("more row"), "all are named: {left}");
    assert!(left.contains("Made 1 token."), "{left}");

    let site = self::site();
    let (exit, said) = import(&site, "google-migration.txt", "", &[]);
    assert_eq!(exit, 5, "{said}");
    assert!(
        said.contains("secret: the same as in line 1 (entry 1, alice), as another kind"),
        "{said}"
    );
    assert!(said.contains(" (entry 3, carol)"), "{said}");
}

/// What is in a file and not taken over is said: PINs and passwords that are no hashes.
#[test]
fn pins_in_clear_are_not_dropped_in_silence() {
    for (name, what) in [
        (
            "users.oath",
            "PINs in the file, which are not taken over: 1, the first of them in line 3 (entry 2, carol)",
        ),
        (
            "freeradius-users",
            "passwords in the file, which are not taken over: 1, the first of them in line 2 (entry 1, alice)",
        ),
    ] {
        let (exit, said) = import(&site(), name, "", &["--skip-bad"]);
        assert_eq!(exit, 0, "{name}: {said}");
        assert!(said.contains(what), "{name}: {said}");
        assert!(!said.contains("hunter2"), "{name}: {said}");
    }
}

/// XML that is not understood is refused as such, and so is a file without a token.
#[test]
fn xml_of_others_is_refused() {
    let site = site();
    let token = "<Token><SerialNo>mo1</SerialNo></Token>";
    for (text, what, next) in [
        (
            format!("<multiOTP version=\"5\"><Tokens>{token}</Tokens></multiOTP>"),
            "XML of multiOTP's own",
            "CSV (serial;manufacturer;algorithm;seed;digits;interval)",
        ),
        (
            "<keyproof><Tokens/></keyproof>".to_owned(),
            "XML, and neither PSKC nor SafeNet's",
            "export it in a format",
        ),
        (
            "<Tokens></Tokens>".to_owned(),
            "the file holds no token",
            "see that it is the whole file of tokens",
        ),
    ] {
        let output = site.run_with(&["token", "import", "-"], &text);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        for part in [what, next, "nothing was imported"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}

/// PINs of privacyIDEA and passwords of Keycloak come along as hashes; who has one keeps it.
#[test]
fn pins_and_passwords_come_along_as_hashes() {
    let site = site();
    let pin = "{SSHA}QNYl5ApEnj19L1xaU+97VQ11spFzYWx0c2FsdA==";
    let token = |owner: &str, serial: &str, hash: &str| {
        let key = data_encoding::HEXLOWER.encode(key_of(serial).expose());
        format!(
            "- type: hotp\n  serial: {serial}\n  owner: {owner}\n  otpkey: '{key}'\n  otplen: 6\n  counter: 0\n  \
             _hashed_pin: '{hash}'\n"
        )
    };
    let yaml = site.path().join("export.yaml");
    let text = [
        token("alice", "HA1", pin),
        token(
            "alice",
            "HA2",
            "$argon2id$v=19$m=65536,t=9,p=4$fq9Vas0Zo5TSulcKYUwpJQ$TVSSSJB9B9uU+2UnN9OENGJDT7/RHeF0W5AmyotWA3Q",
        ),
        token("bob", "HB1", pin),
        token("carol", "HC1", "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a"),
    ];
    std::fs::write(&yaml, text.concat()).unwrap();
    site.json_with(&["user", "set", "bob", "--pin-stdin"], "850274\n");
    let output = site.run(&["token", "import", yaml.to_str().unwrap()]);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("Made 4 tokens."), "{said}");
    assert!(said.contains("hashes are of no known form: 1"), "{said}");
    assert!(!said.contains(pin), "{said}");
    std::fs::write(
        site.path().join("policies/default.toml"),
        "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"pin\", \"otp\"]\n",
    )
    .unwrap();
    let code = |user: &str, step: u64| hotp_of(user, step);
    let verify = |user: &str, pin: &str, code: &str| {
        let words = ["verify", user, "--pin-stdin", "--otp-stdin"];
        site.run_with(&words, &format!("{pin}\n{code}\n"))
            .status
            .code()
    };
    assert_eq!(
        verify("alice", "739165", &code("HA1", 0)),
        Some(1),
        "another PIN"
    );
    assert_eq!(verify("alice", "739164", &code("HA1", 1)), Some(0));
    assert_eq!(
        verify("alice", "739164", &code("HA2", 0)),
        Some(0),
        "the first PIN of the file"
    );
    assert_eq!(
        verify("bob", "850274", &code("HB1", 0)),
        Some(0),
        "the own one stays"
    );

    // Of Keycloak the password, and of a file of one's own both; a new user with them is one change.
    let site = self::site();
    let (exit, said) = import(&site, "keycloak-realm.json", "", &["--skip-bad"]);
    assert_eq!(exit, 0, "{said}");
    assert!(
        said.contains("With the PIN or password of the owner"),
        "{said}"
    );
    let alice = site.json(&["user", "show", "alice"]);
    assert!(alice.to_string().contains("pbkdf2"), "{alice}");
    let csv = site.path().join("people.csv");
    let hash = "$pbkdf2-sha512$i=1000$MDEyMzQ1Njc4OWFiY2RlZg$trXC026DlAdm35XEi2dpgiozJEIsQmT54rjLEpHSyq0G9QfdDev5uVOW1hQfCbbNn4Wkp67BprkBqmiCrLERlg";
    std::fs::write(
        &csv,
        format!("user;pin_hash;password_hash\ndave;{pin};{hash}\nerin;;{hash}\n"),
    )
    .unwrap();
    let output = site.run(&["user", "import", csv.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    for user in ["dave", "erin"] {
        let shown = site.json(&["user", "show", user]);
        assert!(shown.to_string().contains("pbkdf2"), "{shown}");
    }
    std::fs::write(
        &csv,
        "user,pin_hash\nfrank,5f4dcc3b5aa765d61d8327deb882cf99\n",
    )
    .unwrap();
    let output = site.run(&["user", "import", csv.to_str().unwrap()]);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(
        said.contains("people.csv:2") && said.contains("unknown password hash"),
        "{said}"
    );
    assert!(!said.contains("5f4dcc3b"), "{said}");
}

/// What python-pskc writes is read: plain, under a password, under a key; and a wrong one is refused.
#[test]
fn files_of_python_pskc_are_read() {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin/python");
    let there = std::process::Command::new(python)
        .args(["-c", "import pskc"])
        .output();
    if !there.is_ok_and(|done| done.status.success()) {
        crate::support::skip("python-pskc is not in target/venv (tests/run makes it)");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/user/pskc_oracle.py");
    for (way, key) in [
        ("plain", ""),
        ("pbkdf2", "a long passphrase\n"),
        ("key", "000102030405060708090a0b0c0d0e0f\n"),
    ] {
        let site = Site::new();
        let path = site.path().join("py.xml");
        let path = path.to_str().unwrap();
        let made = std::process::Command::new(python)
            .args([script, way, path])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let mut words = vec!["token", "import", path];
        if !key.is_empty() {
            words.push("--key-stdin");
            let wrong = site.run_with(&words, "ffffffffffffffffffffffffffffffff\n");
            assert_eq!(wrong.status.code(), Some(2), "{way}: {wrong:?}");
        }
        let done = site.run_with(&words, key);
        assert!(done.status.success(), "{way}: {done:?}");
        for (serial, kind, digits, moves) in [
            ("PY1", "totp", 6, ("period", 60)),
            ("PY2", "hotp", 8, ("next_counter", 7)),
        ] {
            let token = site.json(&["token", "show", serial]);
            assert_eq!(
                (&token["kind"], &token["digits"]),
                (&json!(kind), &json!(digits)),
                "{way}: {token}"
            );
            if moves.0 == "period" {
                assert_eq!(token[moves.0], moves.1, "{way}: {token}");
            }
        }
    }
}

/// A token of which its own system takes no codes is a finding, and left out on request: an import opens no way in that
/// was closed. What the file says of a clock is not taken over, and that is said.
#[test]
fn what_its_own_system_refuses_opens_no_way_in() {
    let site = site();
    let exported = std::fs::read_to_string(file("privacyidea-export.yaml")).unwrap();
    let revoked = exported.replacen("revoked: false", "revoked: true", 1);
    let yaml = site.path().join("export.yaml");
    std::fs::write(&yaml, revoked).unwrap();
    let path = yaml.to_str().unwrap();
    for (more, wanted, parts) in [
        (
            None,
            2,
            [
                "export.yaml:16",
                "the token is revoked there",
                "leave these tokens out: --skip-bad",
            ],
        ),
        (
            Some("--skip-bad"),
            0,
            ["Left out: ", "the token is revoked there", "Made 1 token."],
        ),
    ] {
        let mut words = vec!["token", "import", path];
        words.extend(more);
        let output = site.run_with(&words, "");
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(wanted), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    let tokens = site.json(&["token", "list"]);
    let tokens = tokens["tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0]["serial"], "TB1");

    let site = self::site();
    let (exit, said) = import(&site, "freeradius-users", "", &[]);
    assert_eq!(exit, 0, "{said}");
    let off =
        "tokens with a clock that is off, which is not taken over: 1, the first of them in line 3";
    assert!(said.contains(off), "{said}");
    assert!(said.contains("oncegate token resync SERIAL"), "{said}");
}
