use proptest::prelude::*;

use super::*;
use crate::policy::factor::Factor::{Otp, Password, Pin};

mod extra;

const EXTRA: Extra<'static> = Extra {
    keywords: &["sms", "email", "voice", "call"],
    recovery: true,
    yubikeys: IdLengths::NONE,
};

/// Every order of every selection.
const ORDERS: [&[Factor]; 15] = [
    &[Password],
    &[Pin],
    &[Otp],
    &[Password, Pin],
    &[Pin, Password],
    &[Password, Otp],
    &[Otp, Password],
    &[Pin, Otp],
    &[Otp, Pin],
    &[Password, Pin, Otp],
    &[Password, Otp, Pin],
    &[Pin, Password, Otp],
    &[Pin, Otp, Password],
    &[Otp, Password, Pin],
    &[Otp, Pin, Password],
];

type Parts<'t> = (Option<&'t str>, Option<&'t str>, Option<&'t str>);

fn parts<'t>(split: &Split<'t>) -> Parts<'t> {
    (split.password, split.pin, split.digits())
}

fn read<'t>(
    require: &[Factor],
    text: &'t str,
    lengths: &[u8],
    pin: Option<usize>,
) -> Vec<Parts<'t>> {
    let lengths = lengths.iter().filter_map(|digits| Digits::new(*digits));
    split(require, text, lengths, pin, Extra::default())
        .iter()
        .map(parts)
        .collect()
}

#[test]
fn the_code_is_the_last_digits() {
    let password = |text| read(&[Password, Otp], text, &[6], None);
    let hunter = [(Some("hunter2"), None, Some("123456"))];
    assert_eq!(password("hunter2123456"), hunter);
    assert_eq!(password("hunter2,123456"), hunter);
    assert_eq!(
        password("a,,123456"),
        [(Some("a,"), None, Some("123456"))],
        "exactly one separator"
    );
    for malformed in [
        "",
        "123456",
        ",123456",
        "hunter2",
        "hunter2 12345",
        "hunter2,12345 ",
    ] {
        assert!(password(malformed).is_empty(), "{malformed}");
    }
    let full_width = "hunter2\u{ff11}\u{ff12}\u{ff13}\u{ff14}\u{ff15}\u{ff16}";
    assert!(password(full_width).is_empty());
    assert!(read(&[Password, Otp], "hunter2123456", &[], None).is_empty());
}

#[test]
fn the_code_comes_first_where_the_rule_has_it_first() {
    let first = |text| read(&[Otp, Password], text, &[6], None);
    let hunter = [(Some("hunter2"), None, Some("123456"))];
    assert_eq!(first("123456hunter2"), hunter);
    assert_eq!(first("123456,hunter2"), hunter);
    assert!(first("hunter2123456").is_empty());
}

#[test]
fn a_code_alone_has_exactly_its_digits() {
    let lengths = [6, 8];
    assert_eq!(
        read(&[Otp], "12345678", &lengths, None),
        [(None, None, Some("12345678"))]
    );
    for malformed in ["1234567", " 123456", "123456 ", ",123456", "123456,", ""] {
        assert!(
            read(&[Otp], malformed, &lengths, None).is_empty(),
            "{malformed}"
        );
    }
}

#[test]
fn password_pin_and_code_need_the_pins_length_or_separators() {
    let order = [Password, Pin, Otp];
    let wanted = [(Some("a,b"), Some("8842"), Some("123456"))];
    for text in [
        "a,b8842123456",
        "a,b,8842123456",
        "a,b8842,123456",
        "a,b,8842,123456",
    ] {
        assert_eq!(read(&order, text, &[6], Some(4)), wanted, "{text}");
    }
    assert_eq!(read(&order, "a,b,8842,123456", &[6], None), wanted);
    assert!(read(&order, "ab8842,123456", &[6], None).is_empty());
    let turned = [Pin, Password, Otp];
    assert_eq!(read(&turned, "8842,a,b,123456", &[6], None), wanted);
}

#[test]
fn a_pin_of_another_length_is_a_wrong_pin() {
    assert_eq!(
        read(&[Pin, Otp], "884,123456", &[6], Some(4)),
        [(None, Some("884"), Some("123456"))]
    );
    assert_eq!(
        read(&[Password, Pin, Otp], "p,88,123456", &[6], Some(4)),
        [(Some("p"), Some("88"), Some("123456"))]
    );
}

#[test]
fn the_most_specific_reading_comes_first() {
    let long = (None, Some("8842"), Some("12345678"));
    let short = (None, Some("884212"), Some("345678"));
    let pin = |chars| read(&[Pin, Otp], "884212345678", &[6, 8, 6], chars);
    assert_eq!(pin(None), [long, short], "the longest code");
    assert_eq!(pin(Some(4)), [long, short]);
    assert_eq!(pin(Some(6)), [short, long], "the PIN that fits");
    let separated = read(&[Pin, Otp], "8842,12345678", &[6, 8], None);
    assert_eq!(separated.first(), Some(&long));
}

#[test]
fn what_else_is_asked_for_has_no_reading() {
    for order in [
        &[][..],
        &[Factor::Push],
        &[Password, Factor::Push],
        &[Otp, Factor::Sms],
        &[Password, Factor::Sms, Otp],
    ] {
        for text in [
            "hunter2123456",
            "123456",
            "123456,123456",
            "hunter2,123456,123456",
        ] {
            assert!(read(order, text, &[6], None).is_empty(), "{order:?} {text}");
            let splits = split(order, text, [Digits::SIX], None, EXTRA);
            assert!(splits.is_empty(), "{order:?} {text}");
        }
    }
}

#[test]
fn every_code_is_read_alike() {
    let pair = [(Some("hunter2"), None, Some("1234567"))];
    for held in Factor::STAND_INS {
        assert_eq!(
            read(&[Password, *held], "hunter2,1234567", &[7], None),
            pair
        );
        assert_eq!(read(&[*held, Password], "1234567hunter2", &[7], None), pair);
        assert!(read(&[Password, *held], "hunter2,123456", &[7], None).is_empty());
        let alone = [(None, None, Some("123456"))];
        assert_eq!(read(&[*held], "123456", &[6, 8], None), alone);
    }
}

#[test]
fn printing_tells_no_secret() {
    let first = |text| split(&[Password, Otp], text, [Digits::SIX], None, EXTRA);
    for (text, wanted) in [
        ("hunter2,123456", "Split {password, digits}"),
        ("hunter2,call", "Split {password, keyword}"),
        ("hunter2,ABCDE-FGHJK", "Split {password, recovery}"),
    ] {
        let splits = first(text);
        assert_eq!(format!("{:?}", splits.first().unwrap()), wanted);
        let printed = format!("{splits:?}");
        assert!(!printed.contains("hunter2") && !printed.contains("123456"));
        assert!(!printed.contains("call") && !printed.contains("ABCDE"));
    }
}

/// The parts in the order of the rule, and whether a separator follows each.
fn joined(order: &[Factor], password: &str, pin: &str, otp: &str, separate: [bool; 2]) -> String {
    let mut text = String::new();
    for (index, factor) in order.iter().enumerate() {
        text.push_str(match factor {
            Password => password,
            Pin => pin,
            _ => otp,
        });
        if index + 1 < order.len() && separate.get(index) == Some(&true) {
            text.push(',');
        }
    }
    text
}

fn wanted<'t>(order: &[Factor], password: &'t str, pin: &'t str, otp: &'t str) -> Parts<'t> {
    let has = |factor| order.contains(&factor);
    (
        has(Password).then_some(password),
        has(Pin).then_some(pin),
        has(Otp).then_some(otp),
    )
}

proptest! {
    #[test]
    fn joined_parts_are_read_back(
        order in 0_usize..15,
        password in "[^,](?s:.{0,8}[^,])?",
        pin in "[^,](?s:.{2,8})[^,]",
        otp in "[0-9]{6,9}",
        others in proptest::collection::vec(6_u8..=9, 0..3),
        separate in any::<[bool; 2]>(),
    ) {
        let order = ORDERS.get(order).copied().unwrap();
        let text = joined(order, &password, &pin, &otp, separate);
        let wanted = wanted(order, &password, &pin, &otp);
        let chars = Some(pin.chars().count());
        let digits = u8::try_from(otp.len()).unwrap();
        prop_assert_eq!(read(order, &text, &[digits], chars), [wanted]);
        let mut lengths = others;
        lengths.push(digits);
        let readings = read(order, &text, &lengths, chars);
        prop_assert!(readings.contains(&wanted), "{:?}", readings);
    }

    #[test]
    fn separators_serve_any_password_and_a_pin_of_unknown_length(
        order in 0_usize..15,
        password in "(?s:.{1,10})",
        pin in "(?s:[^,]{1,8})",
        otp in "[0-9]{6,9}",
    ) {
        let order = ORDERS.get(order).copied().unwrap();
        let text = joined(order, &password, &pin, &otp, [true; 2]);
        let digits = u8::try_from(otp.len()).unwrap();
        let readings = read(order, &text, &[digits], None);
        prop_assert_eq!(readings, [wanted(order, &password, &pin, &otp)]);
    }

    #[test]
    fn every_reading_is_the_whole_text(
        order in 0_usize..15,
        text in "(?s:.{0,12}[0-9,\u{ff10}a]{0,14}.{0,3})",
        lengths in proptest::collection::vec(6_u8..=9, 0..5),
        pin in proptest::option::of(0_usize..10),
    ) {
        let order = ORDERS.get(order).copied().unwrap();
        for (password, pin, otp) in read(order, &text, &lengths, pin) {
            let (password, pin, otp) = (password.unwrap_or(""), pin.unwrap_or(""), otp.unwrap_or(""));
            let texts: Vec<String> = [[false, false], [false, true], [true, false], [true, true]]
                .iter()
                .map(|separate| joined(order, password, pin, otp, *separate))
                .collect();
            prop_assert!(texts.contains(&text), "{:?}", texts);
            prop_assert!(lengths.contains(&u8::try_from(otp.len()).unwrap()) || otp.is_empty());
            prop_assert!(otp.bytes().all(|byte| byte.is_ascii_digit()));
        }
    }
}
