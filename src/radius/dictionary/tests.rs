//! What the built-in files contain, how faults are reported, what goes on the wire.

use super::*;
use crate::radius::attribute::{Attributes, Type};
use crate::radius::authenticator::{RequestAuthenticator, SecretKeys};
use crate::secret::{SecretBytes, SharedSecret};

fn builtin() -> Dictionary {
    Dictionary::builtin().unwrap()
}

fn parse(text: &str) -> Result<Dictionary, ParseError> {
    Dictionary::default().with("test", |name| (name == "test").then(|| text.to_owned()))
}

fn keys() -> SecretKeys {
    SecretKeys::new(SharedSecret::new(SecretBytes::from(&b"xyzzy5461"[..])).unwrap())
}

fn encode(dictionary: &Dictionary, name: &str, value: &str) -> Result<Vec<u8>, EncodeError> {
    let keys = keys();
    let hiding = Hiding {
        keys: &keys,
        authenticator: &RequestAuthenticator([7; 16]),
        salt: 1,
    };
    dictionary.encode(name, value, Some(hiding))
}

fn fault(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn refusal(name: &str, value: &str) -> String {
    encode(&builtin(), name, value).unwrap_err().to_string()
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
        let r#type = Type(number);
        if let (Some(name), Some(attribute)) = (
            r#type.name(),
            dictionary.by_number(Space::Standard, number.into()),
        ) {
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
            (attribute.space, attribute.path.as_slice()),
            (Space::Vendor(vendor), &[r#type][..]),
            "{name}"
        );
        assert_eq!(
            dictionary.by_number(Space::Vendor(vendor), r#type),
            Some(attribute)
        );
    }
}

#[test]
fn encodes_each_data_type() {
    let dictionary = builtin();
    let encode = |name, value| encode(&dictionary, name, value).unwrap();
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
    let encode = |name, value| encode(&dictionary, name, value).unwrap();
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
        encode(&dictionary, "Filter-Id", &"x".repeat(253))
            .unwrap()
            .len(),
        255
    );
    assert_eq!(
        encode(&dictionary, "Fortinet-Group-Name", &"x".repeat(247))
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
            "VENDOR v 9\nATTRIBUTE x 256 string v",
            "test:2: `256` is not a number that fits here",
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

/// Few files that include each other many times, or one without end, are refused where the limit is reached.
#[test]
fn what_is_read_is_bounded() {
    let wide = |name: &str| {
        let level: usize = name.strip_prefix("level-")?.parse().ok()?;
        let next = format!("$INCLUDE level-{}\n", level + 1);
        Some(if level < 7 {
            next.repeat(12)
        } else {
            String::new()
        })
    };
    let fault = Dictionary::default().with("level-0", wide).unwrap_err();
    assert_eq!(
        fault.cause,
        Cause::TooMany {
            what: "files",
            most: 1000
        }
    );
    let text = fault.to_string();
    assert!(
        text.starts_with("level-") && text.contains(": more than 1000 files in a dictionary"),
        "{text}"
    );
    let long = "#\n".repeat(1_000_001);
    assert_eq!(
        parse(&long).unwrap_err().to_string(),
        "test:1000001: more than 1000000 lines in a dictionary and all that it includes"
    );
    let vendors = |count: usize| {
        let mut text = String::new();
        for number in 0..count {
            push!(text, "VENDOR v{number} {number}\n");
        }
        parse(&text)
    };
    assert!(vendors(2000).is_ok());
    assert_eq!(vendors(2001).unwrap_err().line, 2001);
}

#[test]
fn accepts_what_vendor_files_contain() {
    let text = "VENDOR Odd 429 format=2,0\nBEGIN-VENDOR Odd\nATTRIBUTE Odd-One 0x9001 integer\n\
                END-VENDOR Odd\nVENDOR Acme 9999\nATTRIBUTE Old-Style 7 string Acme\n\
                ATTRIBUTE E 241 extended\nATTRIBUTE Ext 241.1 integer\n\
                ATTRIBUTE Ext-V 1 octets[4] # comment\n\
                VALUE Old-Style-Late On 1\nATTRIBUTE Old-Style-Late 0x08 integer Acme\n";
    let dictionary = parse(text).unwrap();
    let old = dictionary.attribute("Old-Style").unwrap();
    assert_eq!(old.space, Space::Vendor(9999));
    let encode = |name, value| encode(&dictionary, name, value).unwrap();
    assert_eq!(encode("Old-Style-Late", "on").len(), 12);
    assert_eq!(
        encode("Odd-One", "1"),
        *b"\x1a\x0c\0\0\x01\xad\x90\x01\0\0\0\x01"
    );
    assert_eq!(encode("Ext", "1"), *b"\xf1\x07\x01\0\0\0\x01");
}

#[test]
fn a_value_of_nothing_is_a_warning() {
    let warnings = parse("# c\nVALUE y z 1").unwrap().warnings;
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["test:2: the attribute `y` is not defined"]);
    assert_eq!(builtin().warnings(), []);
}

/// What a dictionary says of attributes, one `name=text` each.
fn told(dictionary: &Dictionary, octets: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    let attributes = Attributes::parse(octets).unwrap();
    dictionary.describe(attributes, |(name, text)| {
        all.push(format!("{name}={text}"));
    });
    all
}

const NESTED: &str = "
ATTRIBUTE Ext-1 241 extended
ATTRIBUTE Ext-5 245 long-extended
ATTRIBUTE Ext-Vendor-1 241.26 evs
ATTRIBUTE Ext-Vendor-5 245.26 evs
ATTRIBUTE Frag 241.1 integer
ATTRIBUTE Long 245.4 string
ATTRIBUTE Group 245.3 tlv
ATTRIBUTE Group-Name 245.3.1 string
BEGIN-TLV Group
ATTRIBUTE Group-Inner 2 tlv
ATTRIBUTE Group-Inner-Number 2.1 short
END-TLV Group
VENDOR Acme 9999
BEGIN-VENDOR Acme parent=Ext-Vendor-5
ATTRIBUTE Acme-Long 7 octets
END-VENDOR Acme
BEGIN-VENDOR Acme parent=Ext-Vendor-1
ATTRIBUTE Acme-Short 8 ipaddr
END-VENDOR Acme
VENDOR Wide 429 format=4,0
BEGIN-VENDOR Wide
ATTRIBUTE Wide-Rule 0x9001 string
END-VENDOR Wide
VENDOR Star 8164 format=2,2
BEGIN-VENDOR Star
ATTRIBUTE Star-Name 300 string
END-VENDOR Star
VENDOR WiMAX 24757 format=1,1,c
BEGIN-VENDOR WiMAX
ATTRIBUTE W-Capability 1 tlv
ATTRIBUTE W-Release 1.1 string
ATTRIBUTE W-Offset 3 signed
ATTRIBUTE W-Session 4 octets
END-VENDOR WiMAX
ATTRIBUTE Pieces 78 octets concat
ATTRIBUTE Address 230 combo-ip
ATTRIBUTE Net 231 ipv4prefix
ATTRIBUTE Interface 232 ifid
ATTRIBUTE Card 233 ether
ATTRIBUTE Big 234 integer64
ATTRIBUTE Yes 235 bool
ATTRIBUTE Four 236 octets[4]
ATTRIBUTE Own 1000 string
VALUE Big Most 0xffffffffffffffff
";

#[test]
fn what_is_encoded_is_told_again() {
    let dictionary = parse(NESTED).unwrap();
    let long = "x".repeat(600);
    let hex = format!("0x{}", "00ff".repeat(300));
    for (name, value) in [
        ("Frag", "7"),
        ("Long", long.as_str()),
        ("Group-Name", "staff"),
        ("Group-Inner-Number", "513"),
        ("Acme-Long", hex.as_str()),
        ("Acme-Short", "192.0.2.9"),
        ("Wide-Rule", "permit"),
        ("Star-Name", "alpha"),
        ("W-Release", "1.2"),
        ("W-Offset", "-3600"),
        ("W-Session", hex.as_str()),
        ("Address", "2001:db8::9"),
        ("Address", "192.0.2.9"),
        ("Net", "192.0.2.0/24"),
        ("Interface", "fe80:0:1:2"),
        ("Card", "00:00:5e:00:53:01"),
        ("Big", "Most"),
        ("Yes", "1"),
        ("Four", "0x00010203"),
    ] {
        let octets = encode(&dictionary, name, value).unwrap();
        let told = told(&dictionary, &octets);
        assert_eq!(
            told.first().unwrap(),
            &format!("{name}={value}"),
            "{octets:02x?}"
        );
    }
}

#[test]
fn places_on_the_wire() {
    let dictionary = parse(NESTED).unwrap();
    let encode = |name: &str, value: &str| encode(&dictionary, name, value).unwrap();
    // RFC 6929 s2.1 to s2.4.
    assert_eq!(encode("Frag", "1"), *b"\xf1\x07\x01\0\0\0\x01");
    assert_eq!(encode("Group-Name", "ab"), *b"\xf5\x08\x03\0\x01\x04ab");
    assert_eq!(
        encode("Acme-Short", "192.0.2.1"),
        *b"\xf1\x0c\x1a\0\0\x27\x0f\x08\xc0\0\x02\x01"
    );
    let long = encode("Long", &"x".repeat(252));
    assert_eq!(long[..4], *b"\xf5\xff\x04\x80");
    assert_eq!(long[255..], *b"\xf5\x05\x04\0x");
    assert_eq!(
        encode("Star-Name", "a"),
        *b"\x1a\x0b\0\0\x1f\xe4\x01\x2c\0\x05a"
    );
    assert_eq!(
        encode("Wide-Rule", "a"),
        *b"\x1a\x0b\0\0\x01\xad\0\0\x90\x01a"
    );
    assert_eq!(
        encode("W-Release", "1"),
        *b"\x1a\x0c\0\0\x60\xb5\x01\x06\0\x01\x031"
    );
    assert_eq!(encode("Pieces", &"x".repeat(254)).len(), 258);
}

#[test]
fn what_does_not_decode_is_not_told() {
    let dictionary = parse(NESTED).unwrap();
    for octets in [
        // More pieces were announced.
        &b"\xf5\x05\x04\x80x"[..],
        b"\xf5\x05\x04\x80x\xf5\x05\x05\0x",
        b"\xf5\x05\x04\x80x\x4f\x03x",
        b"\xf5\x02",
        b"\xf5\x03\x04",
        b"\xf1\x02",
        b"\xf1\x05\x1a\0\0",
        // A TLV beyond its attribute, and one that does not count its header.
        b"\xf5\x08\x03\0\x01\x05ab",
        b"\xf5\x08\x03\0\x01\x00ab",
        // Vendors' lengths.
        b"\x1a\x0b\0\0\x1f\xe4\x01\x2c\0\x03a",
        b"\x1a\x0b\0\0\x1f\xe4\x01\x2c\0\x06a",
        b"\x1a\x0c\0\0\x60\xb5\x01\x02\0\x01\x031",
        b"\x1a\x0b\0\0\x60\xb5\x04\x05\x80ab",
        b"\x1a\x06\0\0\x1f\xe4",
        b"\x1a\x05\0\0\x1f",
    ] {
        assert_eq!(told(&dictionary, octets), [""; 0], "{octets:02x?}");
    }
}

#[test]
fn values_are_checked_by_their_type() {
    let dictionary = parse(NESTED).unwrap();
    let refusal =
        |name: &str, value: &str| encode(&dictionary, name, value).unwrap_err().to_string();
    for (name, value, expected) in [
        ("Four", "abc", "exactly 4 octets"),
        ("Yes", "maybe", "0 or 1"),
        ("Card", "00:00:5e:00:53", "a MAC address"),
        ("Interface", "0:0:1", "an interface id"),
        ("W-Offset", "2147483648", "-2147483648"),
        ("Address", "192.0.2", "an IP address"),
        ("Own", "x", "cannot be sent"),
        ("Group", "x", "cannot be sent"),
        ("Ext-1", "x", "cannot be sent"),
        ("Star-Name", &"x".repeat(246), "too long"),
        ("Group-Name", &"x".repeat(254), "too long"),
    ] {
        let refusal = refusal(name, value);
        assert!(refusal.contains(expected), "{name}: {refusal}");
    }
}

#[test]
fn attributes_in_others_have_to_have_a_place() {
    for (text, expected) in [
        ("ATTRIBUTE x 5.1 string", "is in no attribute of type tlv"),
        (
            "ATTRIBUTE x 5 string\nATTRIBUTE y 5.1 string",
            "is in no attribute",
        ),
        (
            "ATTRIBUTE x 5 tlv\nATTRIBUTE y 5.256 string",
            "`5.256` is not a number",
        ),
        ("BEGIN-TLV x", "the attribute `x` is not defined"),
        ("ATTRIBUTE x 5 tlv\nBEGIN-TLV x", "BEGIN-TLV without"),
        ("VENDOR x 9 format=3,1", "`format=3,1` is not a flag"),
        ("VENDOR x 9 format=2,2,c", "`format=2,2,c` is not a flag"),
        (
            "VENDOR x 9\nBEGIN-VENDOR x parent=y",
            "the attribute `y` is not defined",
        ),
        ("FLAGS outernal", "`outernal` is not a flag"),
        ("ATTRIBUTE x 5 octets[x]", "is not a data type"),
    ] {
        let fault = fault(text);
        assert!(fault.contains(expected), "{text:?}: {fault}");
    }
}

/// RFC 2868 s3.5, the other way round.
#[test]
fn tunnel_passwords_are_hidden_with_a_salt() {
    let dictionary = builtin();
    for length in [1, 15, 16, 31, 100] {
        let password = "p".repeat(length);
        let octets = encode(&dictionary, "Tunnel-Password:1", &password).unwrap();
        let [0x45, _, 1, high, low, hidden @ ..] = octets.as_slice() else {
            panic!("{octets:02x?}")
        };
        assert_eq!((*high, *low), (0x80, 1));
        let (keys, mut plain) = (keys(), Vec::new());
        let mut mask = keys.mask(&[[7; 16].as_slice(), &[*high, *low]].concat());
        for block in hidden.chunks(16) {
            plain.extend(block.iter().zip(mask).map(|(octet, mask)| octet ^ mask));
            mask = keys.mask(block);
        }
        assert_eq!(usize::from(plain[0]), length);
        assert_eq!(&plain[1..=length], password.as_bytes());
        assert!(plain[length + 1..].iter().all(|octet| *octet == 0));
    }
    assert!(
        told(
            &dictionary,
            &encode(&dictionary, "Tunnel-Password", "x").unwrap()
        )
        .is_empty()
    );
}

#[test]
fn a_site_may_redefine_what_is_built_in() {
    let site = |text: &'static str| {
        builtin().with("site", move |name| {
            (name == "site").then(|| text.to_owned())
        })
    };
    let dictionary =
        site("ATTRIBUTE Filter-Id 11 octets\nATTRIBUTE Own-Name 12 integer\n").unwrap();
    assert_eq!(
        dictionary.attribute("filter-id").unwrap().data_type,
        DataType::Octets
    );
    assert_eq!(told(&dictionary, b"\x0c\x06\0\0\0\x09"), ["Own-Name=9"]);
    let twice = site("ATTRIBUTE Own 11 octets\nATTRIBUTE Own 12 octets\n").unwrap_err();
    assert!(
        twice
            .to_string()
            .starts_with("site:2: `Own` is defined already")
    );
}
