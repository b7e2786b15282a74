//! What the built-in files contain, how faults are reported, what goes on the wire.
#![allow(clippy::unwrap_used)]

use super::*;

fn builtin() -> Dictionary {
    Dictionary::builtin().unwrap()
}

fn parse(text: &str) -> Result<Dictionary, ParseError> {
    Dictionary::parse("test", |name| (name == "test").then(|| text.to_owned()))
}

fn fault(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn refusal(name: &str, value: &str) -> String {
    builtin().encode(name, value).unwrap_err().to_string()
}

#[test]
fn builtin_files_parse_and_are_all_included() {
    let dictionary = builtin();
    assert!(dictionary.attributes().count() > 140);
    let includes = BUILTIN.first().unwrap().1.matches("\n$INCLUDE ").count();
    assert_eq!(includes, BUILTIN.len() - 1);
    assert_eq!(dictionary.vendor_name(12356), Some("Fortinet"));
}

#[test]
fn builtin_names_agree_with_the_wire_types() {
    let dictionary = builtin();
    for number in 0..=255 {
        let r#type = crate::radius::attribute::Type(number);
        if let (Some(name), Some(attribute)) = (r#type.name(), dictionary.by_number(0, number)) {
            assert!(
                attribute.name.eq_ignore_ascii_case(name),
                "{number}: {attribute} {name}"
            );
        }
    }
}

#[test]
fn attributes_named_in_our_appliance_notes_are_known() {
    let dictionary = builtin();
    for (vendor, r#type, name) in [
        (9, 1, "Cisco-AVPair"),
        (3076, 25, "ASA-Group-Policy"),
        (12356, 1, "Fortinet-Group-Name"),
        (12356, 3, "Fortinet-Vdom-Name"),
        (12356, 6, "Fortinet-Access-Profile"),
        (25461, 1, "PaloAlto-Admin-Role"),
        (25461, 5, "PaloAlto-User-Group"),
        (2636, 1, "Juniper-Local-User-Name"),
        (14988, 3, "Mikrotik-Group"),
        (2620, 229, "CP-Gaia-User-Role"),
        (3845, 16, "Citrix-User-Groups"),
        (3375, 1, "F5-LTM-User-Role"),
        (8741, 3, "SonicWall-User-Group"),
        (311, 26, "MS-CHAP2-Success"),
    ] {
        let attribute = dictionary.attribute(name).unwrap();
        assert_eq!(
            (attribute.vendor, attribute.r#type),
            (vendor, Some(r#type)),
            "{name}"
        );
        assert_eq!(dictionary.by_number(vendor, r#type), Some(attribute));
    }
}

#[test]
fn encodes_each_data_type() {
    let dictionary = builtin();
    let encode = |name, value| dictionary.encode(name, value).unwrap();
    assert_eq!(encode("Filter-Id", "acl"), *b"\x0b\x05acl");
    assert_eq!(encode("filter-id", "acl"), *b"\x0b\x05acl");
    assert_eq!(encode("Class", "0x00ff"), *b"\x19\x04\x00\xff");
    assert_eq!(encode("Class", "ou=vpn"), *b"\x19\x08ou=vpn");
    assert_eq!(encode("Session-Timeout", "3600"), *b"\x1b\x06\0\0\x0e\x10");
    assert_eq!(
        encode("Service-Type", "Administrative-User"),
        *b"\x06\x06\0\0\0\x06"
    );
    assert_eq!(
        encode("Framed-IP-Address", "192.0.2.1"),
        *b"\x08\x06\xc0\0\x02\x01"
    );
    assert_eq!(encode("Event-Timestamp", "1"), *b"\x37\x06\0\0\0\x01");
    assert_eq!(
        encode("NAS-IPv6-Address", "2001:db8::1"),
        *b"\x5f\x12\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
    );
    assert_eq!(
        encode("Fortinet-Group-Name", "staff"),
        *b"\x1a\x0d\0\0\x30\x44\x01\x07staff"
    );
}

#[test]
fn rfc2868_tags() {
    let dictionary = builtin();
    let encode = |name, value| dictionary.encode(name, value).unwrap();
    assert_eq!(encode("Tunnel-Type", "VLAN"), *b"\x40\x06\0\0\0\x0d");
    assert_eq!(encode("Tunnel-Type:1", "VLAN"), *b"\x40\x06\x01\0\0\x0d");
    assert_eq!(
        encode("Tunnel-Private-Group-ID:2", "42"),
        *b"\x51\x05\x0242"
    );
    assert_eq!(
        refusal("Tunnel-Type:32", "VLAN"),
        "Tunnel-Type does not take this tag"
    );
    assert_eq!(
        refusal("Filter-Id:1", "x"),
        "Filter-Id does not take this tag"
    );
}

#[test]
fn refuses_what_it_cannot_send() {
    assert_eq!(
        refusal("Fitler-Id", "x"),
        "there is no attribute `Fitler-Id`; did you mean `Filter-Id`?"
    );
    assert_eq!(refusal("Zzzzzz", "x"), "there is no attribute `Zzzzzz`");
    assert_eq!(
        refusal("Service-Type", "Admin"),
        "`Admin` is neither a number nor a value of Service-Type"
    );
    assert_eq!(
        refusal("Framed-IP-Address", "::1"),
        "`::1` is not an IPv4 address, which Framed-IP-Address wants"
    );
    assert_eq!(refusal("State", "x"), "State is set by the server itself");
    assert_eq!(
        refusal("Message-Authenticator", "0x00"),
        "Message-Authenticator is set by the server itself"
    );
    assert_eq!(
        refusal("Tunnel-Password", "x"),
        "Tunnel-Password has a form that cannot be sent"
    );
    assert_eq!(refusal("Filter-Id", ""), "the value of Filter-Id is empty");
    assert_eq!(
        refusal("Filter-Id", &"x".repeat(254)),
        "the value of Filter-Id is too long"
    );
    assert_eq!(
        refusal("Fortinet-Group-Name", &"x".repeat(248)),
        "the value of Fortinet-Group-Name is too long"
    );
    assert_eq!(
        refusal("Class", "0x123"),
        "`0x123` is not an even number of hex digits, which Class wants"
    );
}

#[test]
fn longest_values_fit_exactly() {
    let dictionary = builtin();
    assert_eq!(
        dictionary
            .encode("Filter-Id", &"x".repeat(253))
            .unwrap()
            .len(),
        255
    );
    assert_eq!(
        dictionary
            .encode("Fortinet-Group-Name", &"x".repeat(247))
            .unwrap()
            .len(),
        255
    );
}

#[test]
fn faults_name_file_line_and_cause() {
    for (text, expected) in [
        (
            "\nATRIBUTE x 1 string",
            "test:2: `ATRIBUTE` is not ATTRIBUTE, VALUE, VENDOR, ",
        ),
        (
            "ATTRIBUTE x 256 string",
            "test:1: `256` is not a number that fits here",
        ),
        (
            "ATTRIBUTE x one string",
            "test:1: `one` is not a number that fits here",
        ),
        (
            "ATTRIBUTE x 1 strnig",
            "test:1: `strnig` is not a data type",
        ),
        (
            "ATTRIBUTE x 1",
            "test:1: expected ATTRIBUTE name number type",
        ),
        (
            "ATTRIBUTE x 1 string has_tga",
            "test:1: `has_tga` is not a flag",
        ),
        (
            "# c\nVALUE y z 1",
            "test:2: the attribute `y` is not defined",
        ),
        ("BEGIN-VENDOR x", "test:1: the vendor `x` was not declared"),
        (
            "VENDOR x 9\nBEGIN-VENDOR x\n",
            "test:2: BEGIN-VENDOR without its counterpart",
        ),
        ("END-VENDOR x", "test:1: END-VENDOR without its counterpart"),
        (
            "ATTRIBUTE x 1 string\nATTRIBUTE X 2 string",
            "test:2: `X` is defined already, ",
        ),
        ("\n\n$INCLUDE other", "test:3: cannot read `other`"),
        (
            "$INCLUDE test",
            "test:1: files include each other more than 8 deep",
        ),
    ] {
        let fault = fault(text);
        assert!(fault.starts_with(expected), "{text:?}: {fault}");
    }
}

#[test]
fn accepts_what_vendor_files_contain() {
    let text = "VENDOR Odd 429 format=2,0\nBEGIN-VENDOR Odd\nATTRIBUTE Odd-One 0x9001 integer\n\
                END-VENDOR Odd\nVENDOR Acme 9999\nATTRIBUTE Old-Style 7 string Acme\n\
                ATTRIBUTE Ext 241.1 integer\nATTRIBUTE Ext-V 1 octets[4] # comment\n\
                VALUE Old-Style-Late On 1\nATTRIBUTE Old-Style-Late 0x08 integer Acme\n";
    let dictionary = parse(text).unwrap();
    assert_eq!(dictionary.attribute("Old-Style").unwrap().vendor, 9999);
    assert_eq!(dictionary.encode("Old-Style-Late", "on").unwrap().len(), 12);
    for name in ["Odd-One", "Ext"] {
        let error = dictionary.encode(name, "1").unwrap_err();
        assert_eq!(error, EncodeError::Unsupported(name.to_owned()));
    }
}

#[test]
fn distance_counts_edits() {
    for (a, b, expected) in [
        ("", "", 0),
        ("abc", "abc", 0),
        ("", "ab", 2),
        ("kitten", "sitting", 3),
        ("ab", "ba", 2),
    ] {
        assert_eq!(distance(a, b), expected);
        assert_eq!(distance(b, a), expected);
    }
}
