//! What files say of a token beside its key: its state, its use, its dates, its clock; and where they say it.

use super::*;

fn now() -> UnixTime {
    UnixTime::parse_rfc3339("2027-01-01T00:00:00Z").unwrap()
}

/// Reads a text at [`now`].
fn read_text(text: &str, format: Format) -> Tokens {
    let said = Said {
        now: now(),
        ..Said::default()
    };
    read(text, format, &said).unwrap()
}

/// What is not taken over of tokens, with their lines.
fn cautions(tokens: &Tokens) -> Vec<(usize, Caution)> {
    let cautions = tokens.cautions.iter();
    cautions
        .map(|(place, caution)| (tokens.found[*place].line, *caution))
        .collect()
}

/// Lines of the tokens whose clocks are off.
fn off(tokens: &Tokens) -> Vec<usize> {
    let cautions = cautions(tokens).into_iter();
    let off = cautions.filter(|(_, caution)| *caution == Caution::Drift);
    off.map(|(line, _)| line).collect()
}

/// The line of the `count`th part of a text that is this.
fn line_of(text: &str, part: &str, count: usize) -> usize {
    let (at, _) = text.match_indices(part).nth(count).unwrap();
    text[..at].matches('\n').count() + 1
}

/// Threat: an import that opens a way in which its own system had closed.
#[test]
fn a_token_that_its_own_system_takes_no_codes_of_is_a_finding() {
    let exported = text("privacyidea-export.yaml");
    let kind = "    tokenkind: software\n";
    let dated = |date: &str| format!("    {date}+0200\n{kind}");
    let past = dated("validity_period_end: 2026-12-31T23:59");
    let future = dated("validity_period_start: 2027-06-01T00:00");
    let counted = format!("    count_auth_success_max: 5\n{kind}");
    for (from, to, what) in [
        (
            kind,
            counted.as_str(),
            "the token is for a number of logins only",
        ),
        (
            "active: true",
            "active: false",
            "the token is disabled there",
        ),
        (
            "revoked: false",
            "revoked: true",
            "the token is revoked there",
        ),
        ("locked: false", "locked: true", "the token is locked there"),
        (
            "rollout_state: enrolled",
            "rollout_state: clientwait",
            "the token is not enrolled there to the end",
        ),
        (kind, past.as_str(), "the token has expired"),
        (kind, future.as_str(), "the token is not valid yet"),
    ] {
        let changed = exported.replacen(from, to, 1);
        let tokens = read_text(&changed, Format::PrivacyIdeaYaml);
        let line = line_of(&changed, "otpkey:", 0);
        let expected = [(line, what, Remedy::LeaveOut)];
        assert_eq!(told(&tokens.faults), expected, "{to}");
        assert_eq!(tokens.found.len(), 1, "{to}");
    }
    for state in ["''", "null", "ENROLLED"] {
        let changed = exported.replace(
            "rollout_state: enrolled",
            &format!("rollout_state: {state}"),
        );
        let tokens = read_text(&changed, Format::PrivacyIdeaYaml);
        assert_eq!((tokens.found.len(), tokens.faults.len()), (2, 0), "{state}");
    }
    let realm = text("keycloak-realm.json").replacen("\"enabled\": true", "\"enabled\": false", 1);
    let tokens = read_text(&realm, Format::Keycloak);
    let line = line_of(&realm, "credentialData", 1);
    let what = "the user of the token is disabled there";
    assert_eq!(told(&tokens.faults), [(line, what, Remedy::LeaveOut)]);
    assert_eq!(tokens.faults[0].which().as_deref(), Some("entry 1, alice"));
    assert!(
        tokens
            .found
            .iter()
            .all(|token| token.user.as_deref() != Some("alice"))
    );
    for (item, faults) in [
        ("Auth-Type := Reject", 1),
        ("Expiration := \"01 Jan 2030\"", 1),
        ("Post-Auth-Type := Reject", 0),
    ] {
        let users = text("freeradius-users").replace("bob\t", &format!("bob\t{item}, "));
        let tokens = read_text(&users, Format::FreeRadius);
        let lines: Vec<usize> = tokens.faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, vec![3; faults], "{item}");
    }
}

/// RFC 6030 s5: a rule that is not understood forbids the use of the key.
#[test]
fn what_a_pskc_policy_does_not_allow_is_a_finding() {
    let plain = text("pskc-plain.xml");
    let with = |rules: &str| {
        let user = "   <pskc:UserId>alice</pskc:UserId>\n";
        plain.replace(
            user,
            &format!("{user}   <pskc:Policy>\n    {rules}\n   </pskc:Policy>\n"),
        )
    };
    let usage = |uses: &[&str]| -> String {
        let uses = uses
            .iter()
            .map(|one| format!("<pskc:KeyUsage>{one}</pskc:KeyUsage>"));
        uses.collect::<Vec<_>>().concat()
    };
    for (rules, what) in [
        (
            "<pskc:ExpiryDate>2026-12-31T00:00:00Z</pskc:ExpiryDate>".to_owned(),
            "the token has expired",
        ),
        (
            "<pskc:StartDate>2027-02-01T00:00:00</pskc:StartDate>".to_owned(),
            "the token is not valid yet",
        ),
        (
            "<pskc:ExpiryDate>some day</pskc:ExpiryDate>".to_owned(),
            "dates of validity",
        ),
        (
            usage(&["CR", "Encrypt"]),
            "Policy: the key is not for one-time passwords",
        ),
        (
            "<pskc:PINPolicy PINUsageMode=\"Append\"/>".to_owned(),
            "Policy: the codes have a PIN",
        ),
        (
            "<pskc:NumberOfTransactions>9</pskc:NumberOfTransactions>".to_owned(),
            "Policy: the key is for a number of logins",
        ),
        (
            "<x:Moon xmlns:x=\"urn:x\">full</x:Moon>".to_owned(),
            "Policy: a rule that is not known",
        ),
    ] {
        let tokens = read_text(&with(&rules), Format::Pskc);
        let [fault] = tokens.faults.as_slice() else {
            panic!("{rules}: {:?}", tokens.faults);
        };
        assert!(fault.what.starts_with(what), "{rules}: {}", fault.what);
        let line = line_of(&with(&rules), "<pskc:Policy>", 0) + 1;
        assert_eq!((fault.line, tokens.found.len()), (line, 2), "{rules}");
    }
    for rules in [
        usage(&["OTP"]),
        usage(&["CR", "OTP"]),
        "<pskc:StartDate>2026-01-01T00:00:00Z</pskc:StartDate>".to_owned(),
        "<pskc:PINPolicy MinLength=\"4\" PINUsageMode=\"Local\"/>".to_owned(),
        String::new(),
    ] {
        let tokens = read_text(&with(&rules), Format::Pskc);
        let counts = (
            tokens.found.len(),
            tokens.faults.len(),
            tokens.cautions.len(),
        );
        assert_eq!(counts, (3, 0, 0), "{rules}");
    }
    let later = "<pskc:ExpiryDate>2030-12-31T00:00:00Z</pskc:ExpiryDate>";
    let tokens = read_text(&with(later), Format::Pskc);
    let line = line_of(&plain, "<pskc:Key ", 0);
    assert_eq!(cautions(&tokens), [(line, Caution::Ends)]);
    // The device has dates, too.
    let serial = "   <pskc:SerialNo>PSKC0002</pskc:SerialNo>\n";
    let over = format!("{serial}   {}\n", later.replace("2030", "2020"));
    let tokens = read_text(&plain.replace(serial, &over), Format::Pskc);
    assert_eq!(tokens.faults.len(), 1);
    assert_eq!(tokens.faults[0].line, line_of(&plain, serial, 0) + 1);
}

#[test]
fn a_clock_that_is_off_is_said() {
    let users = text("freeradius-users");
    assert_eq!(off(&read_text(&users, Format::FreeRadius)), [3]);
    let users = users.replace("Offset := 30", "Offset := 0");
    assert_eq!(off(&read_text(&users, Format::FreeRadius)), [0; 0]);
    let exported = text("privacyidea-export.yaml");
    let line = line_of(&exported, "otpkey:", 1);
    // Measured to the start of a step: a clock that is right is up to a step behind.
    for (shift, is_off) in [
        ("-29.0", false),
        ("0", false),
        ("-30.0", true),
        ("1.0", true),
        ("x", true),
    ] {
        let changed = exported.replace("'-29.0'", &format!("'{shift}'"));
        let wanted = vec![line; usize::from(is_off)];
        let tokens = read_text(&changed, Format::PrivacyIdeaYaml);
        assert_eq!(off(&tokens), wanted, "{shift}");
    }
    let plain = text("pskc-plain.xml");
    for (steps, is_off) in [
        ("0", false),
        ("-2", true),
        ("-29.0", false),
        ("-31.0", true),
    ] {
        let interval = "    <pskc:TimeInterval>\n     <pskc:PlainValue>30<";
        let drifted = format!(
            "<pskc:TimeDrift><pskc:PlainValue>{steps}</pskc:PlainValue></pskc:TimeDrift>\n{interval}"
        );
        let tokens = read_text(&plain.replace(interval, &drifted), Format::Pskc);
        let line = line_of(&plain, "<pskc:Key ", 0);
        assert_eq!(off(&tokens), vec![line; usize::from(is_off)], "{steps}");
    }
    let google = text("google_authenticator_alice");
    let said = said("google_authenticator_alice");
    for (option, wanted) in [
        ("\" TIME_SKEW -2\n\" TOTP_AUTH", &[1][..]),
        ("\" TIME_SKEW 0\n\" TOTP_AUTH", &[]),
        ("\" RESETTING_TIME_SKEW 1+2\n\" TOTP_AUTH", &[]),
    ] {
        let google = google.replace("\" TOTP_AUTH", option);
        let tokens = read(&google, Format::GoogleAuthenticator, &said).unwrap();
        assert_eq!(tokens.found.len(), 1, "{option}");
        assert_eq!(off(&tokens), wanted, "{option}");
    }
}

#[test]
fn keys_of_rlm_totp_in_hexadecimal_are_read() {
    let key = "3132333435363738393031323334353637383930";
    let users = format!(
        "alice\tTOTP-Key := 0x{key}\nbob Cleartext-Password := \"x\", TOTP-Key := 0X{key}, TOTP-Time-Offset := 0\n\
         carol TOTP-Key := \"plain text\"\n"
    );
    assert_eq!(Format::of(&users), Some(Format::FreeRadius));
    let tokens = read_text(&users, Format::FreeRadius);
    let found: Vec<String> = tokens.found.iter().map(written).collect();
    let expected = ["alice", "bob"].map(|user| format!("{user} - totp sha1 6 30 {key}"));
    assert_eq!(found, expected);
    let what = "secret: a TOTP-Key is 0x and hexadecimal digits";
    assert_eq!(told(&tokens.faults), [(3, what, Remedy::Correct)]);
}

#[test]
fn columns_of_entra_stand_in_any_order() {
    let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let key = "3132333435363738393031323334353637383930";
    for (heading, row) in [
        (
            "serial number,upn,time interval,manufacturer,model,secret key",
            format!("23,alice,60,Token2,c202,{secret}"),
        ),
        (
            "Secret_Key;TimeInterval;UPN;Serial Number",
            format!("{secret};60;alice;23"),
        ),
    ] {
        let text = format!("{heading}\n{row}\n");
        assert_eq!(Format::of(&text), Some(Format::Entra), "{heading}");
        let tokens = read_text(&text, Format::Entra);
        let found: Vec<String> = tokens.found.iter().map(written).collect();
        assert_eq!(
            found,
            [format!("alice 23 totp sha1 6 60 {key}")],
            "{heading}"
        );
        assert_eq!(tokens.faults, [], "{heading}");
    }
    // Without a heading the order is the usual one.
    let tokens = read_text(&format!("alice,23,{secret},60\n"), Format::Entra);
    assert_eq!(tokens.found.len(), 1);
}
