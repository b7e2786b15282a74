//! The files of `tests/imports`, against what their manifest says.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;

mod single;
mod states;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/imports")
}

fn text(file: &str) -> String {
    fs::read_to_string(directory().join(file)).unwrap()
}

fn said(file: &str) -> Said {
    let key = match file {
        "pskc-aes128-psk.xml" => Some("12345678901234567890123456789012"),
        "pskc-pbkdf2.xml" => Some("qwerty"),
        "privacyidea-export.pskc" => Some("d0fe93cb2abe2d20d99e181f53a35ab5"),
        _ => None,
    };
    Said {
        user: Some("alice".to_owned()),
        period: Some(Period::THIRTY),
        key: key.map(SecretString::from),
        now: UnixTime::EPOCH,
    }
}

fn read_file(file: &str) -> Tokens {
    let text = text(file);
    let format = Format::of(&text).unwrap_or_else(|| panic!("{file}: no format"));
    read(&text, format, &said(file)).unwrap_or_else(|fault| panic!("{file}: {fault:?}"))
}

/// What faults are, whichever tokens they are about.
fn told(faults: &[Fault]) -> Vec<(usize, &str, Remedy)> {
    let told = faults.iter();
    told.map(|fault| (fault.line, fault.what.as_str(), fault.remedy))
        .collect()
}

/// One line as the manifest has it.
fn written(found: &Found) -> String {
    let (kind, factor) = match found.moving_factor {
        Moves::Time(period) => ("totp", u64::from(period.as_secs())),
        Moves::Counter(counter) => ("hotp", counter),
        Moves::Presses => {
            let serial = found.serial.as_deref().unwrap();
            let (key, private) = found.key.expose().split_at(yubikey::AES);
            let [key, private] =
                [key, private].map(|octets| data_encoding::HEXLOWER.encode(octets));
            let length = serial.len() + yubikey::BLOCK;
            return format!("- {serial} yubikey aes {length} private {private} {key}");
        }
    };
    let (algorithm, digits) = (found.algorithm.as_str(), found.digits.get());
    let hex = data_encoding::HEXLOWER.encode(found.key.expose());
    let user = found.user.as_deref().unwrap_or("-");
    let serial = found.serial.as_deref().unwrap_or("-");
    format!("{user} {serial} {kind} {algorithm} {digits} {factor} {hex}")
}

#[test]
fn files_hold_what_the_manifest_says() {
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text("MANIFEST.tsv").lines().skip(1) {
        let (file, rest) = line.split_once('\t').unwrap();
        let rest = rest
            .replace('\t', " ")
            .replace("(asked)", "30")
            .replace("(made)", "-");
        expected.entry(file.to_owned()).or_default().push(rest);
    }
    assert!(expected.len() >= 18);
    for (file, expected) in expected {
        let tokens = read_file(&file);
        let found: Vec<String> = tokens.found.iter().map(written).collect();
        assert_eq!(found, expected, "{file}");
    }
}

#[test]
fn what_is_no_token_of_ours_is_named_with_its_line() {
    for (file, expected) in [
        (
            "aegis.json",
            &[(50, "tokens of kind `steam` cannot be imported")][..],
        ),
        ("safenet.xml", &[(4, "the token has no serial number")]),
        (
            "yubico-traditional.csv",
            &[(4, "the slot holds no one-time password")],
        ),
    ] {
        let faults = read_file(file).faults;
        let faults: Vec<_> = faults
            .iter()
            .map(|fault| (fault.line, fault.what.as_str()))
            .collect();
        assert_eq!(faults, expected, "{file}");
    }
}

#[test]
fn exports_of_privacyidea() {
    let key = "3132333435363738393031323334353637383930";
    for (file, expected) in [
        (
            "privacyidea-export.csv",
            [
                format!("alice@eco HA1 hotp sha1 6 0 {key}"),
                format!("bob@eco TB1 totp sha1 6 30 {key}"),
            ],
        ),
        (
            "privacyidea-export.yaml",
            [
                format!("alice@eco HA1 hotp sha1 6 5 {key}"),
                format!("bob@eco TB1 totp sha1 6 30 {key}"),
            ],
        ),
        (
            "privacyidea-export.pskc",
            [
                format!("- TB1 totp sha1 6 30 {key}"),
                format!("- HA1 hotp sha1 6 5 {key}"),
            ],
        ),
    ] {
        let found: Vec<String> = read_file(file).found.iter().map(written).collect();
        assert_eq!(found, expected, "{file}");
    }
}

#[test]
fn damaged_and_hostile_files_are_refused() {
    let migration = read_file("bad-migration.txt");
    assert_eq!(migration.found, []);
    assert_eq!(
        migration.faults,
        [Fault::new(
            1,
            "the data of the migration is cut off or damaged"
        )]
    );
    let bomb = read(&text("bad-pskc-bomb.xml"), Format::Pskc, &Said::default());
    let bomb = bomb.unwrap_err();
    assert_eq!(
        (bomb.what.as_str(), bomb.remedy),
        ("a DTD is not allowed", Remedy::DropDtd)
    );
    let cut = &text("pskc-plain.xml")[..200];
    let cut = read(cut, Format::Pskc, &Said::default()).unwrap_err();
    assert_eq!(cut.remedy, Remedy::ExportAgain);
    let other = read("{}", Format::Aegis, &Said::default()).unwrap_err();
    assert_eq!(other.remedy, Remedy::NameFormat);
    for cut in 0..text("google-migration.txt").len() {
        let text = &text("google-migration.txt")[..cut];
        let read = read(text, Format::Otpauth, &Said::default());
        assert!(read.map_or(0, |tokens| tokens.found.len()) <= 3);
    }
}

#[test]
fn a_wrong_key_a_wrong_mac_and_no_mac_are_refused() {
    let refused = |text: &str, key: Option<&str>| {
        let said = Said {
            key: key.map(SecretString::from),
            ..Said::default()
        };
        match read(text, Format::Pskc, &said) {
            Err(fault) => fault,
            Ok(tokens) => {
                assert_eq!(tokens.found, []);
                tokens.faults.into_iter().next().unwrap()
            }
        }
    };
    let refusal = |text: &str, key: Option<&str>| refused(text, key).what;
    let psk = text("pskc-aes128-psk.xml");
    let right = Some("12345678901234567890123456789012");
    assert_eq!(
        refusal(&psk, None),
        "the file is encrypted with a pre-shared key"
    );
    assert!(refusal(&psk, Some("1234")).contains("16, 24 or 32 octets"));
    let wrong = refusal(&psk, Some("00000000000000000000000000000000"));
    assert!(
        wrong.contains("does not fit") || wrong.contains("the MAC is wrong"),
        "{wrong}"
    );
    for (key, remedy) in [
        (None, Remedy::GiveKey),
        (Some("1234"), Remedy::GiveRightKey),
        (
            Some("00000000000000000000000000000000"),
            Remedy::GiveRightKey,
        ),
    ] {
        assert_eq!(refused(&psk, key).remedy, remedy, "{key:?}");
    }
    let no_mac = psk.replace("MACMethod", "OtherMethod");
    assert_eq!(refusal(&no_mac, right), "the encrypted value has no MAC");
    let other = psk
        .replace("pskc:ValueMAC>w", "pskc:ValueMAC>x")
        .replace("pskc:ValueMAC>p", "pskc:ValueMAC>q");
    let other = other.replace("pskc:ValueMAC>E", "pskc:ValueMAC>F");
    assert!(refusal(&other, right).starts_with("the MAC is wrong"));
    assert_eq!(refused(&other, right).remedy, Remedy::GiveRightKey);
    let password = text("pskc-pbkdf2.xml");
    assert_eq!(
        refusal(&password, None),
        "the file is encrypted with a password"
    );
    let slow = password.replace(">1000<", ">4000000000<");
    assert!(refusal(&slow, Some("qwerty")).starts_with("IterationCount"));
}

#[test]
fn each_format_says_what_it_lacks() {
    let alone = Said::default();
    let google = text("google_authenticator_alice");
    let fault = read(&google, Format::GoogleAuthenticator, &alone).unwrap_err();
    assert_eq!(fault.what, "the file does not say whose token it is");
    assert_eq!(fault.remedy, Remedy::NameOwner);
    let fault = read(&text("feitian-seeds.txt"), Format::Feitian, &alone).unwrap_err();
    assert_eq!(fault.remedy, Remedy::NamePeriod);
    for text in [
        "",
        "\n",
        "user,secret\na,b",
        "hello",
        "{}",
        "<a/>",
        "{",
        "name;phone",
    ] {
        assert_eq!(Format::of(text), None, "{text:?}");
    }
}

/// The format of `ykksm-gen-keys` and of the personalisation tool for `YubiCloud`.
#[test]
fn keyrings_of_yubico_are_read() {
    let aes = "000102030405060708090a0b0c0d0e0f";
    let ksm = format!(
        "# ykksm 1\n# serialnr,identity,internaluid,aeskey,lockpin,created,accessed\n\
         1,cccccccccccb,010203040506,{aes},5b7c2e4f8a19,2026-11-28T10:00:00,\n\
         2,ccccccccccca,010203040506,{aes},5b7c2e4f8a19,2026-11-28T10:00:00,\n\
         3,cccccccccccd,0102,{aes},5b7c2e4f8a19,2026-11-28T10:00:00,\n"
    );
    assert_eq!(Format::of(&ksm), Some(Format::Yubico));
    let tokens = read(&ksm, Format::Yubico, &Said::default()).unwrap();
    let found: Vec<String> = tokens.found.iter().map(written).collect();
    let expected = format!("- cccccccccccb yubikey aes 44 private 010203040506 {aes}");
    assert_eq!(found, [expected]);
    let faults: Vec<usize> = tokens.faults.iter().map(|fault| fault.line).collect();
    assert_eq!(faults, [4, 5]);
    for (row, what) in [
        ("Yubico OTP,x,1,0123,010203040506,", "public identity"),
        ("Yubico OTP,x,1,cccc,0102,", "secret:"),
        ("Yubico OTP,x,1,cccc,,", "secret:"),
    ] {
        let text = format!("LOGGING START,x\n{row}{aes},,,0,0,0,0,0,0,0,0,0,0\n");
        let tokens = read(&text, Format::Yubico, &Said::default()).unwrap();
        assert!(
            tokens.faults[0].what.starts_with(what),
            "{row}: {:?}",
            tokens.faults
        );
        assert!(!tokens.faults[0].what.contains(aes));
    }
}

#[test]
fn a_name_with_a_line_break_makes_no_row() {
    let text = text("aegis.json").replace("\"alice\"", r#""alice\nmallory""#);
    let tokens = read(&text, Format::Aegis, &Said::default()).unwrap();
    assert_eq!(tokens.found.len(), 1);
    assert_eq!(tokens.faults[0].what, "user: control characters");
    let uri = "otpauth://totp/a%0Amallory?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let tokens = read(uri, Format::Otpauth, &Said::default()).unwrap();
    let users = tokens.found.iter().flat_map(|token| &token.user);
    assert!(
        users
            .into_iter()
            .all(|user| !user.contains(char::is_control))
    );
}

#[test]
fn values_out_of_range_are_faults() {
    let key = "3132333435363738393031323334353637383930";
    for (line, expected) in [
        (format!("S1,{key},totp,5,30"), "digits: 6 to 9"),
        (format!("S1,{key},totp,10,30"), "digits: 6 to 9"),
        (
            format!("S1,{key},totp,6,86400"),
            "period: 15 to 300 seconds",
        ),
        (
            format!("S1,{key},motp,6,30"),
            "tokens of kind `motp` cannot be imported",
        ),
        (format!("S 1,{key},totp,6,30"), "serial: 1 to 40"),
        ("S1,31323,totp,6,30".to_owned(), "secret: hexadecimal"),
        ("S1,3132,totp,6,30".to_owned(), "secret: 10 to 128 octets"),
        (format!("S1,{key},hotp,6,x"), "counter: a number"),
    ] {
        let tokens = read(&line, Format::Oath, &Said::default()).unwrap();
        let fault = &tokens.faults[0];
        assert!(fault.what.starts_with(expected), "{line}: {}", fault.what);
        assert!(!fault.what.contains(key));
    }
}

#[test]
fn exports_of_other_versions_are_read() {
    let keycloak = r#"{"users": [{"username": "dora", "credentials": [{"type": "otp",
        "secretData": "{\"value\":\"AbCdEfGhIjKlMnOpQrSt\"}",
        "credentialData": "{\"subType\":\"totp\",\"digits\":6,\"period\":30,\"algorithm\":\"HmacSHA1\"}"}]}]}"#;
    let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let vault = format!(
        "\"Group\",\"Title\",\"Username\",\"Password\",\"TOTP\"\n\"Root\",\"Mail\",\"x\",\"y\",\"\"\n\
         \"Root\",\"VPN\",\"x\",\"y\",\"otpauth://totp/VPN:alice?secret={secret}&issuer=VPN\"\n"
    );
    let two_fas = format!(
        r#"{{"services": [{{"name": "VPN", "secret": "{secret}", "otp": {{"source": "Link", "account": "alice",
            "digits": 6, "period": 30, "algorithm": "SHA512", "tokenType": "TOTP"}}}}], "schemaVersion": 4}}"#
    );
    let aegis = format!(
        r#"{{"version": 1, "header": {{}}, "db": {{"version": 3, "entries": [{{"type": "totp", "name": "alice",
            "icon": null, "groups": ["x"], "info": {{"secret": "{secret}", "algo": "SHA1", "digits": 6,
            "period": 30}}}}], "groups": [{{"uuid": "x"}}]}}}}"#
    );
    for (text, format, user, line) in [
        (keycloak.to_owned(), Format::Keycloak, "dora", 3),
        (format!("[{keycloak}]"), Format::Keycloak, "dora", 3),
        (vault, Format::Otpauth, "alice", 3),
        (two_fas, Format::TwoFas, "alice", 1),
        (aegis, Format::Aegis, "alice", 2),
    ] {
        assert_eq!(Format::of(&text), Some(format), "{text}");
        let tokens = read(&text, format, &Said::default()).unwrap();
        assert_eq!(tokens.faults, [], "{text}");
        let [found] = tokens.found.as_slice() else {
            panic!("{text}: {:?}", tokens.found.len());
        };
        assert_eq!((found.user.as_deref(), found.line), (Some(user), line));
    }
    for (text, format) in [
        (
            r#"{"version": 1, "header": {"slots": []}, "db": "RW4="}"#,
            Format::Aegis,
        ),
        (
            r#"{"services": [], "servicesEncrypted": "a:b:c"}"#,
            Format::TwoFas,
        ),
    ] {
        assert_eq!(Format::of(text), Some(format));
        let fault = read(text, format, &Said::default()).unwrap_err();
        assert_eq!(fault.remedy, Remedy::ExportPlain);
    }
}

/// Threats: names and namespaces of XML are compared each with each by the parser; lines are counted for each token.
#[test]
fn what_a_file_costs_is_bounded_by_its_length() {
    let refused = |text: &str| {
        let fault = read(text, Format::Pskc, &Said::default()).unwrap_err();
        assert_eq!(fault.remedy, Remedy::ExportAgain);
        (fault.line, fault.what)
    };
    let nested = |levels: usize| {
        let (open, close) = ("<a>".repeat(levels), "</a>".repeat(levels));
        format!("<KeyContainer>\n{open}{close}</KeyContainer>")
    };
    let empty = |text: &str| {
        let fault = read(text, Format::Pskc, &Said::default()).unwrap_err();
        assert_eq!(fault.what, "the file holds no token", "{text}");
    };
    empty(&nested(63));
    let deep = (2, "elements are in each other more than 64 deep".to_owned());
    assert_eq!(refused(&nested(64)), deep);
    assert_eq!(refused(&nested(300_000)), deep);
    let attributes = |count: usize| {
        let mut text = "<KeyContainer>\n\n<a".to_owned();
        for number in 0..count {
            push!(text, " a{number}='/>'");
        }
        text + "/></KeyContainer>"
    };
    empty(&attributes(64));
    let many = (3, "an element has more than 64 attributes".to_owned());
    assert_eq!(refused(&attributes(65)), many);
    assert_eq!(refused(&attributes(60_000)), many);
    let namespaces = |count: usize| {
        let mut text = "<KeyContainer>".to_owned();
        for number in 0..count {
            push!(text, "<a xmlns:n{number}='x{number}'>");
        }
        text + &"</a>".repeat(count) + "</KeyContainer>"
    };
    empty(&namespaces(32));
    let what = "more than 32 namespaces are declared around an element";
    assert_eq!(refused(&namespaces(4000)), (1, what.to_owned()));
    // What is no element counts for nothing, and ended ones are no longer around.
    let quiet = "<!-- <a><a> --><?x <a?><![CDATA[<a>]]><a b=\"/>\"/><a></a>".repeat(100);
    empty(&format!("<KeyContainer>{quiet}</KeyContainer>"));
}

/// A large export is read in a time that grows with it: its lines are not counted from the start for each token, which
/// would take minutes here.
#[test]
fn a_large_export_is_read_in_one_pass() {
    let mut text = r#"{"version": 1, "header": {}, "db": {"version": 3, "entries": ["#.to_owned();
    for number in 0..30_000 {
        let comma = if number == 0 { "" } else { "," };
        push!(
            text,
            "{comma}\n{{\"type\": \"totp\", \"name\": \"u{number}\", \"info\": {{\n\"secret\": \
             \"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\", \"algo\": \"SHA1\", \"digits\": 6, \"period\": 30}}}}"
        );
    }
    text.push_str("]}}");
    let tokens = read(&text, Format::Aegis, &Said::default()).unwrap();
    assert_eq!((tokens.found.len(), tokens.faults.len()), (30_000, 0));
    assert_eq!(tokens.found.last().map(|one| one.line), Some(60_000));
}
