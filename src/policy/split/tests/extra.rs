//! What is no digits in the place of the code: keywords and recovery codes.

use super::*;
use CodePart::{Digits as Code, Keyword, Recovery, Yubikey};

type Parts<'t> = (Option<&'t str>, Option<&'t str>, CodePart<'t>);

/// Factors, text, length of the PIN, readings.
type Case<'t> = (&'t [Factor], &'t str, Option<usize>, &'t [Parts<'t>]);

/// Readings with codes of six digits.
fn read<'t>(
    require: &[Factor],
    text: &'t str,
    pin: Option<usize>,
    extra: Extra<'_>,
) -> Vec<Parts<'t>> {
    split(require, text, [Digits::SIX], pin, extra)
        .iter()
        .map(|split| (split.password, split.pin, split.code.unwrap()))
        .collect()
}

#[test]
fn a_keyword_stands_alone_or_behind_a_comma() {
    for word in ["sms", "SMS", "Sms", "email", "voice", "cAlL"] {
        let keyword = Keyword(word);
        assert_eq!(read(&[Otp], word, None, EXTRA), [(None, None, keyword)]);
        for password in ["hunter2", "a,b", "a,", "sms"] {
            let text = format!("{password},{word}");
            assert_eq!(
                read(&[Password, Otp], &text, None, EXTRA),
                [(Some(password), None, keyword)],
                "{text}"
            );
        }
        for text in [
            format!("hunter2{word}"),
            format!("hunter2 {word}"),
            format!("hunter2, {word}"),
            format!("hunter2,{word} "),
            format!("hunter2,{word},"),
            format!(",{word}"),
            word.to_owned(),
        ] {
            assert!(
                read(&[Password, Otp], &text, None, EXTRA).is_empty(),
                "{text}"
            );
        }
    }
    for word in ["", "card", "smss", "sm", "\u{ff53}ms", "sms,", ",sms"] {
        assert!(read(&[Otp], word, None, EXTRA).is_empty(), "{word}");
    }
}

#[test]
fn a_keyword_is_separated_from_both_its_neighbours() {
    let sms = Keyword("sms");
    let pin = (None, Some("8842"), sms);
    let all = (Some("a,b"), Some("8842"), sms);
    let cases: [Case<'_>; 18] = [
        (&[Pin, Otp], "8842,sms", None, &[pin]),
        (&[Pin, Otp], "8842,sms", Some(4), &[pin]),
        (&[Pin, Otp], "8842sms", Some(4), &[]),
        (&[Pin, Otp], "88,sms", Some(4), &[(None, Some("88"), sms)]),
        (&[Otp, Pin], "sms,8842", Some(4), &[pin]),
        (&[Otp, Pin], "sms,8842", None, &[pin]),
        (&[Otp, Pin], "sms8842", Some(4), &[]),
        (&[Password, Pin, Otp], "a,b,8842,sms", None, &[all]),
        (&[Password, Pin, Otp], "a,b8842,sms", Some(4), &[all]),
        (&[Password, Pin, Otp], "a,b8842sms", Some(4), &[]),
        (&[Password, Otp, Pin], "a,b,sms,8842", Some(4), &[all]),
        (&[Password, Otp, Pin], "a,b,sms8842", Some(4), &[]),
        (&[Password, Otp, Pin], "a,bsms,8842", Some(4), &[]),
        (&[Pin, Otp, Password], "8842,sms,a,b", Some(4), &[all]),
        (&[Pin, Otp, Password], "8842,sms,a,b", None, &[all]),
        (&[Pin, Otp, Password], "8842sms,a,b", Some(4), &[]),
        (&[Otp, Password, Pin], "sms,a,b8842", Some(4), &[all]),
        (&[Otp, Pin, Password], "sms,8842a,b", Some(4), &[all]),
    ];
    for (require, text, chars, wanted) in cases {
        let found = read(require, text, chars, EXTRA);
        assert_eq!(found, wanted, "{require:?} {text} {chars:?}");
    }
}

#[test]
fn a_recovery_code_needs_the_comma_only_without_its_dash() {
    // With the dash letters may stand for the digits that they look like.
    for code in ["ABCDE-FGHJK", "k7qf2-9xm4t", "01234-56789", "OIL2A-bcdol"] {
        let recovery = Recovery(code);
        assert_eq!(read(&[Otp], code, None, EXTRA), [(None, None, recovery)]);
        let wanted = [(Some("hunter2"), None, recovery)];
        for (require, text) in [
            ([Password, Otp], format!("hunter2{code}")),
            ([Password, Otp], format!("hunter2,{code}")),
            ([Otp, Password], format!("{code}hunter2")),
            ([Otp, Password], format!("{code},hunter2")),
        ] {
            assert_eq!(read(&require, &text, None, EXTRA), wanted, "{text}");
        }
    }
    for code in ["ABCDEFGHJK", "k7qf29xm4t"] {
        let recovery = Recovery(code);
        assert_eq!(read(&[Otp], code, None, EXTRA), [(None, None, recovery)]);
        for (require, near, apart) in [
            (
                [Password, Otp],
                format!("hunter2{code}"),
                format!("hunter2,{code}"),
            ),
            (
                [Otp, Password],
                format!("{code}hunter2"),
                format!("{code},hunter2"),
            ),
        ] {
            assert!(read(&require, &near, None, EXTRA).is_empty(), "{near}");
            let wanted = [(Some("hunter2"), None, recovery)];
            assert_eq!(read(&require, &apart, None, EXTRA), wanted, "{apart}");
        }
    }
}

#[test]
fn what_is_no_recovery_code_is_not_read_as_one() {
    for text in [
        "ABCDE-FGHJ",
        "ABCDE-FGHJKM",
        "ABCD-EFGHJK",
        "ABCDE--FGHJ",
        "ABCDE FGHJK",
        "ABCDE_FGHJK",
        "ABCDIFGHJK",
        "ABCDLFGHJK",
        "ABCDOFGHJK",
        "ABCDU-FGHJK",
        "-ABCDEFGHJK",
        "ABCDEFGHJKM",
        "ABCDEFGHU1",
        "ABCD\u{c9}-FGHJK",
        "\u{ff21}BCDE-FGHJK",
        "12345-6789\u{ff10}",
        " ABCDE-FGHJK",
        "ABCDE-FGHJK ",
    ] {
        assert!(read(&[Otp], text, None, EXTRA).is_empty(), "{text}");
        let behind = format!("p,{text}");
        let found = read(&[Password, Otp], &behind, None, EXTRA);
        // A blank before a code with its dash is the end of the password.
        let blank = [(Some("p, "), None, Recovery("ABCDE-FGHJK"))];
        let wanted: &[Parts<'_>] = if text.starts_with(' ') { &blank } else { &[] };
        assert_eq!(found, wanted, "{text}");
    }
}

#[test]
fn digits_come_before_anything_else() {
    assert_eq!(
        read(&[Password, Otp], "hunter2,1234567890", None, EXTRA),
        [
            (Some("hunter2,1234"), None, Code("567890")),
            (Some("hunter2"), None, Recovery("1234567890")),
        ]
    );
    assert_eq!(
        read(&[Pin, Otp], "8842,01234-567890", Some(4), EXTRA),
        [(None, Some("8842,01234-"), Code("567890"))],
        "a PIN of another length is a wrong one"
    );
    assert_eq!(
        read(&[Password, Otp], "p,12345-678901", None, EXTRA),
        [(Some("p,12345-"), None, Code("678901"))],
        "the dash stands in the middle"
    );
}

#[test]
fn only_what_is_allowed_is_read() {
    let keywords = Extra {
        keywords: &["sms"],
        ..Extra::default()
    };
    let recovery = Extra {
        recovery: true,
        ..Extra::default()
    };
    let allowed = |text, extra| !read(&[Password, Otp], text, None, extra).is_empty();
    for (text, by_keywords, by_recovery) in [
        ("p,sms", true, false),
        ("p,call", false, false),
        ("p,ABCDE-FGHJK", false, true),
        ("p,ABCDEFGHJK", false, true),
    ] {
        assert_eq!(allowed(text, keywords), by_keywords, "{text}");
        assert_eq!(allowed(text, recovery), by_recovery, "{text}");
        assert!(!allowed(text, Extra::default()), "{text}");
    }
    let known: &[Factor] = &[Password, Pin];
    for text in ["p,sms", "p,ABCDE-FGHJK"] {
        let splits = split(known, text, [Digits::SIX], None, EXTRA);
        assert_eq!(splits.len(), 1, "no code is asked for: {text}");
        assert_eq!(splits.first().and_then(|one| one.code), None);
    }
    let empty = Extra {
        keywords: &[""],
        ..Extra::default()
    };
    assert!(!allowed("p,", empty), "an empty word asks for nothing");
}

#[test]
fn a_text_alone_is_digits_unless_it_is_something_else() {
    for (text, wanted) in [
        ("123456", Code("123456")),
        ("sms", Keyword("sms")),
        ("CALL", Keyword("CALL")),
        ("ABCDE-FGHJK", Recovery("ABCDE-FGHJK")),
        ("OIL2A-bcdol", Recovery("OIL2A-bcdol")),
        ("1234567890", Recovery("1234567890")),
        ("card", Code("card")),
        ("", Code("")),
    ] {
        assert_eq!(CodePart::alone(text, EXTRA), wanted, "{text}");
        assert_eq!(CodePart::alone(text, Extra::default()), Code(text));
    }
}

proptest! {
    #[test]
    fn separated_parts_are_read_back(
        order in 0_usize..15,
        password in "(?s:.{1,10})",
        pin in "(?s:[^,]{1,8})",
        code in "sms|EMAIL|[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{5}-?[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{5}",
        known in any::<bool>(),
    ) {
        let order = ORDERS.get(order).copied().unwrap();
        let text = joined(order, &password, &pin, &code, [true; 2]);
        let chars = known.then_some(pin.chars().count());
        let wanted = wanted(order, &password, &pin, &code);
        let splits = split(order, &text, [Digits::SIX], chars, EXTRA);
        let texts = splits.iter().map(|split| {
            let code = split.code.map(|part| match part {
                Code(text) | Keyword(text) | Recovery(text) | Yubikey(text) => text,
            });
            (split.password, split.pin, code)
        });
        let texts: Vec<_> = texts.collect();
        prop_assert!(texts.contains(&wanted), "{:?}", texts);
    }

    #[test]
    fn every_reading_is_the_whole_text_and_no_part_is_empty(
        order in 0_usize..15,
        text in "(?s:.{0,4}[0-9,A\u{ff10}-]{0,14}(,sms|,|,ABCDE-?FGHJK|sms,)?.{0,6})",
        pin in proptest::option::of(0_usize..10),
    ) {
        let order = ORDERS.get(order).copied().unwrap();
        let splits = split(order, &text, [Digits::SIX], pin, EXTRA);
        let mut digits_over = false;
        for one in splits.iter() {
            let code = match one.code {
                Some(Code(text)) => {
                    prop_assert!(!digits_over, "digits come first");
                    prop_assert!(text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit()));
                    text
                }
                Some(Keyword(text) | Recovery(text) | Yubikey(text)) => {
                    digits_over = true;
                    text
                }
                None => "",
            };
            let (password, pin) = (one.password.unwrap_or(""), one.pin.unwrap_or(""));
            for (factor, part) in [(Password, password), (Pin, pin), (Otp, code)] {
                prop_assert_eq!(order.contains(&factor), !part.is_empty());
            }
            let texts = [[false, false], [false, true], [true, false], [true, true]];
            let mut texts = texts.iter().map(|separate| joined(order, password, pin, code, *separate));
            prop_assert!(texts.any(|one| one == text), "{:?}", (password, pin, code));
        }
    }
}

/// The OTP of a yubikey is cut off by its length, wherever the rule has it; only where the user has one.
#[test]
fn otps_of_yubikeys_are_cut_off_by_their_length() {
    let block = "hknhfjbrjnlnldnhcujvddbikngjrtgh";
    let otp = format!("cccccccccccb{block}");
    let with = |lengths: &[usize]| Extra {
        yubikeys: lengths.iter().copied().collect(),
        ..Extra::default()
    };
    let read = |order: &[Factor], text: &str, lengths: &[usize]| {
        let splits = split(order, text, [Digits::SIX], None, with(lengths));
        let parts = splits.iter().map(|one| {
            let code = match one.code {
                Some(Yubikey(text)) => text.to_owned(),
                other => format!("{other:?}"),
            };
            (one.pin.unwrap_or_default().to_owned(), code)
        });
        parts.collect::<Vec<_>>()
    };
    let wanted = [("8842".to_owned(), otp.clone())];
    for between in ["", ","] {
        let behind = format!("8842{between}{otp}");
        assert_eq!(read(&[Pin, Otp], &behind, &[12]), wanted);
        assert_eq!(
            read(&[Otp, Pin], &format!("{otp}{between}8842"), &[12]),
            wanted
        );
        assert!(read(&[Pin, Otp], &behind, &[]).is_empty(), "without a key");
    }
    // A PIN of letters that a key types too is told by the length of the public id.
    let letters = format!("cbcb{otp}");
    assert_eq!(
        read(&[Pin, Otp], &letters, &[12]),
        [("cbcb".to_owned(), otp.clone())]
    );
    assert_eq!(read(&[Pin, Otp], &letters, &[12, 15, 99]).len(), 2);
    // In a field of its own it is what it looks like.
    assert_eq!(CodePart::alone(&otp, with(&[12])), Yubikey(&otp));
    assert_eq!(CodePart::alone(&otp, with(&[])), Code(&otp));
    assert_eq!(CodePart::alone("123456", with(&[12])), Code("123456"));
}
