//! What is said of single tokens, and which files hold none.

use super::*;

const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const HEX: &str = "3132333435363738393031323334353637383930";

/// Several tokens in one line: the line alone does not say whose is left out.
#[test]
fn a_fault_names_the_token() {
    let service = |account: &str, secret: &str, digits: u8| {
        format!(
            r#"{{"name": "VPN", "secret": "{secret}", "otp": {{"account": "{account}", "digits": {digits},
                "tokenType": "TOTP"}}}}"#
        )
    };
    let export = format!(
        r#"{{"services": [{}, {}, {}, {}]}}"#,
        service("alice", KEY, 6),
        service("bob", KEY, 4),
        service("", "GEZDGNB", 6),
        service(&"long".repeat(20), KEY, 4),
    );
    let export = export.replace('\n', "");
    let tokens = read(&export, Format::TwoFas, &Said::default()).unwrap();
    let which: Vec<_> = tokens.faults.iter().map(Fault::which).collect();
    let expected = ["entry 2, bob", "entry 3, VPN", "entry 4"];
    assert_eq!(which, expected.map(|which| Some(which.to_owned())));
    assert!(tokens.faults.iter().all(|fault| fault.line == 1));
    assert_eq!(tokens.found[0].which(), "entry 1, alice");
    // By its serial number, and by both.
    let yaml = text_of_yaml("revoked: true");
    let tokens = read(&yaml, Format::PrivacyIdeaYaml, &Said::default()).unwrap();
    let which = tokens.faults[0].which();
    assert_eq!(which.as_deref(), Some("entry 1, HA1 of alice"));
    let pskc = text("pskc-plain.xml").replacen("PlainValue>MTIz", "PlainValue>M", 1);
    let tokens = read(&pskc, Format::Pskc, &Said::default()).unwrap();
    let which = tokens.faults[0].which();
    assert_eq!(which.as_deref(), Some("entry 1, PSKC0001 of alice"));
    // What makes the whole of a file unreadable is about none of them.
    let fault = read("{}", Format::Aegis, &Said::default()).unwrap_err();
    assert_eq!(fault.which(), None);
}

fn text_of_yaml(state: &str) -> String {
    format!(
        "- type: hotp\n  serial: HA1\n  owner: alice\n  {state}\n  otpkey: '{HEX}'\n  otplen: 6\n  counter: 0\n"
    )
}

/// All tokens of a code of Google Authenticator are in one line.
#[test]
fn a_token_of_a_migration_is_named_by_its_account() {
    // Of the second token the hash function: MD5.
    let exported = text("google-migration.txt");
    let (_, data) = exported.trim().split_once("data=").unwrap();
    let mut octets = data_encoding::BASE64.decode(data.as_bytes()).unwrap();
    let is_second = |four: &[u8]| four == [0x20, 2, 0x28, 2];
    let place = octets.windows(4).position(is_second).unwrap();
    octets[place + 1] = 4;
    let data = data_encoding::BASE64.encode(&octets);
    let uri = format!("otpauth-migration://offline?data={data}");
    let tokens = read(&uri, Format::Otpauth, &Said::default()).unwrap();
    let [fault] = tokens.faults.as_slice() else {
        panic!("{:?}", tokens.faults);
    };
    assert_eq!(fault.which().as_deref(), Some("entry 2, bob"));
    assert_eq!(tokens.found[1].which(), "entry 3, carol");
}

/// Threat: columns in another order put a key where a name is expected.
#[test]
fn what_could_be_a_key_is_no_name() {
    for column in [HEX, KEY, "GEZD GNBV GY3T QOJQ"] {
        let line = format!("{column},{HEX},motp,6,30\n");
        let tokens = read(&line, Format::Oath, &Said::default()).unwrap();
        assert_eq!(tokens.faults[0].which().as_deref(), Some("entry 1"));
    }
    let line = format!("alice\u{1b}[2J@x,S1,{HEX},motp,6\n");
    let tokens = read(&line, Format::PrivacyIdeaCsv, &Said::default()).unwrap();
    let which = tokens.faults[0].which().unwrap();
    assert!(!which.contains('\u{1b}'), "{which}");
}

/// The columns as multiOTP's own import reads them.
#[test]
fn files_for_multiotp_are_read() {
    let text = text("multiotp.csv");
    for separator in [";", ",", "\t"] {
        let text = text.replace(';', separator);
        assert_eq!(Format::of(&text), Some(Format::MultiOtp), "{separator:?}");
        let tokens = read(&text, Format::MultiOtp, &Said::default()).unwrap();
        assert_eq!(tokens.found.len(), 3, "{separator:?}");
        assert_eq!(tokens.faults, [], "{separator:?}");
    }
    // Without a heading.
    let bare: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(Format::of(&bare.join("\n")), Some(Format::MultiOtp));
    for (row, what) in [
        (
            "M1;Token2;mOTP;0123456789abcdef;6;10".to_owned(),
            "tokens of kind `motp` cannot be imported",
        ),
        (format!("M2;;TOTP;{HEX};6;0"), "period: 15 to 300 seconds"),
        (format!("M3;;TOTP;{HEX};5;30"), "digits: 6 to 9"),
        (
            format!("M4;;HOTP;{HEX};6;"),
            "expected serial, manufacturer",
        ),
        (format!("M5;;TOTP;{HEX}"), "expected serial, manufacturer"),
        (
            "M6;;TOTP;31323;6;30".to_owned(),
            "secret: hexadecimal digits",
        ),
    ] {
        let tokens = read(&row, Format::MultiOtp, &Said::default()).unwrap();
        let fault = &tokens.faults[0];
        assert!(fault.what.starts_with(what), "{row}: {}", fault.what);
        assert!(!fault.what.contains(HEX));
    }
    // A file of other columns is none of these.
    for other in [
        format!("OATH1, {HEX}, totp, 6, 30, x\n"),
        format!("a;b;totp;{};6;30\n", &HEX[..8]),
    ] {
        assert_ne!(Format::of(&other), Some(Format::MultiOtp), "{other}");
    }
}

/// A file of which nothing is understood is no file without tokens.
#[test]
fn a_file_without_a_token_is_refused() {
    let token = format!(
        "<Token serial=\"A1\"><Applications><Application><Seed>{HEX}</Seed></Application></Applications></Token>"
    );
    for (text, format) in [
        (format!("<Tokens>{token}</Tokens>"), Some(Format::SafeNet)),
        (
            format!(
                "<?xml version=\"1.0\"?>\n<!-- <x> -->\n<s:Tokens xmlns:s=\"u\">{token}</s:Tokens>"
            ),
            Some(Format::SafeNet),
        ),
        (
            format!("<multiOTP version=\"5\"><Tokens>{token}</Tokens></multiOTP>"),
            None,
        ),
        ("<keyproof><Tokens/></keyproof>".to_owned(), None),
        ("<!-- <Tokens> --><a/>".to_owned(), None),
    ] {
        assert_eq!(Format::of(&text), format, "{text}");
        let read = read(&text, Format::SafeNet, &Said::default());
        assert_eq!(read.is_ok(), format.is_some(), "{text}");
        if let Err(fault) = read {
            assert_eq!(fault.remedy, Remedy::NameFormat, "{text}");
        }
    }
    for (text, format) in [
        ("<Tokens/>", Format::SafeNet),
        ("<KeyContainer/>", Format::Pskc),
        (r#"{"services": []}"#, Format::TwoFas),
        (r#"{"users": [{"username": "alice"}]}"#, Format::Keycloak),
        ("alice Cleartext-Password := \"x\"\n", Format::FreeRadius),
        ("# nothing\n", Format::UsersOath),
    ] {
        let fault = read(text, format, &Said::default()).unwrap_err();
        assert_eq!(fault.what, "the file holds no token", "{text}");
        assert_eq!(fault.remedy, Remedy::OtherFile, "{text}");
    }
    // The drafts before RFC 6030, which multiOTP reads too.
    let draft = "<KeyContainer>\n<Device><Key KeyId=\"1\"/></Device></KeyContainer>";
    let fault = read(draft, Format::Pskc, &Said::default()).unwrap_err();
    assert_eq!((fault.line, fault.remedy), (2, Remedy::ExportOtherwise));
}

/// A PIN or password that is no hash stays behind; that it was there is said.
#[test]
fn pins_and_passwords_in_clear_are_said() {
    let of = |tokens: &Tokens| -> Vec<(usize, Caution)> {
        let cautions = tokens.cautions.iter();
        cautions
            .filter(|(_, caution)| matches!(caution, Caution::Pin | Caution::Password))
            .map(|(place, caution)| (tokens.found[*place].line, *caution))
            .collect()
    };
    // `-` is no PIN, and `+` one that another module asks for.
    assert_eq!(of(&read_file("users.oath")), [(3, Caution::Pin)]);
    let users = read_file("freeradius-users");
    assert_eq!(of(&users), [(2, Caution::Password)]);
    for (lines, some) in [
        (
            format!("bob Crypt-Password := \"x\"\n\tTOTP-Secret := {KEY}\n"),
            1,
        ),
        (
            format!("a NT-Password := 0x00\nbob TOTP-Secret := {KEY}\n"),
            0,
        ),
        (
            format!("bob TOTP-Secret := {KEY}, Tunnel-Password := x\n"),
            0,
        ),
    ] {
        let tokens = read(&lines, Format::FreeRadius, &Said::default()).unwrap();
        assert_eq!(of(&tokens).len(), some, "{lines}");
    }
}
