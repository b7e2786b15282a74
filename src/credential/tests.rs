//! Vectors made elsewhere, and what must hold for every text.

use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization as _;

use super::*;
use crate::secret::{Key256, SecretString};

const PEPPER: Key256 = {
    let mut octets = [0; 32];
    let mut at = 0_u8;
    while at < 32 {
        octets[at as usize] = at;
        at += 1;
    }
    Key256::new(octets)
};

const SALT: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

fn typed(text: &str) -> SecretString {
    SecretString::from(text)
}

fn parse(form: Form, text: &str) -> Result<Text, Unfit> {
    Text::parse(form, &typed(text))
}

fn quick(text: &str) -> Hash {
    Hash::renew(
        &typed(text),
        &PEPPER,
        SALT,
        Cost::QUICK,
        &mut Scratch::new(),
    )
    .unwrap()
}

fn verify(hash: &Hash, text: &str) -> bool {
    hash.verify(&typed(text), &PEPPER, &mut Scratch::new())
}

/// The rows of a file of vectors, each of `N` columns.
fn rows<const N: usize>(file: &'static str) -> Vec<[&'static str; N]> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    let rows = lines.map(|line| line.split('\t').collect::<Vec<_>>());
    rows.map(|row| row.try_into().unwrap()).collect()
}

fn json(text: &str) -> String {
    serde_json::from_str(text).unwrap()
}

#[test]
fn hashes_of_other_systems() {
    let file = include_str!("../../tests/vectors/password_hashes.tsv");
    let mut scratch = Scratch::new();
    let mut seen = std::collections::BTreeSet::new();
    for [verdict, password, text, source] in rows(file) {
        let hash = Hash::import(text);
        let found = match &hash {
            Ok(hash) if hash.verify(&typed(&json(password)), &PEPPER, &mut scratch) => "match",
            Ok(_) => "differ",
            Err(ImportError::Costly(_)) => "costly",
            Err(ImportError::Damaged(_)) => "damaged",
            Err(ImportError::Stored) => "stored",
            Err(ImportError::Unknown) => "unknown",
        };
        assert_eq!(found, verdict, "{text:?} {password} ({source})");
        let Ok(hash) = hash else { continue };
        seen.insert(hash.imported().unwrap().word());
        assert_eq!(hash.expose(), format!("imported:{text}"));
        assert_eq!(Hash::parse(&typed(hash.expose())).unwrap(), hash);
        assert!(hash.needs_rehash(Cost::DEFAULT));
        assert!(
            Hash::parse(&typed(text)).is_err(),
            "a bare {text:?} is stored"
        );
    }
    assert_eq!(seen.len(), 5, "{seen:?}");
}

/// Made with the reference implementation through argon2-cffi 25.1: K is octets 0 to 31.
#[test]
fn pepper_is_the_secret_of_argon2() {
    let vectors = [
        (
            "correct horse battery staple",
            Cost::DEFAULT,
            "peppered:$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw\
             $RBuUd6LC3rPFgByJdEHLyeYIpBcEH7WDUV+cb/7v2Uk",
        ),
        (
            "482913",
            Cost::new(12_288, 3, 2).unwrap(),
            "peppered:$argon2id$v=19$m=12288,t=3,p=2$AAECAwQFBgcICQoLDA0ODw\
             $gADC1eh8Z69tm8GJz9Yf+kEt9g9PhAgFZBXDXdt/fnQ",
        ),
    ];
    for (text, cost, stored) in vectors {
        let mut scratch = Scratch::new();
        let chosen = parse(Form::Pin, text).unwrap();
        let hash = Hash::new(&chosen, &PEPPER, SALT, cost, &mut scratch);
        assert_eq!(hash.expose(), stored);
        let read = Hash::parse(&typed(stored)).unwrap();
        assert!(read.verify(&typed(text), &PEPPER, &mut scratch));
        assert!(!read.verify(&typed(text), &Key256::new([9; 32]), &mut scratch));
        assert_eq!(read.imported(), None);
        assert!(!read.needs_rehash(cost));
        assert!(read.needs_rehash(Cost::QUICK));
    }
}

#[test]
fn own_and_imported_argon2id_are_not_confused() {
    let own = quick("482913-x");
    let bare = own.expose().strip_prefix("peppered:").unwrap();
    assert!(verify(&own, "482913-x"));
    assert!(!verify(&Hash::import(bare).unwrap(), "482913-x"));
    assert_eq!(Hash::parse(&typed(bare)), Err(ImportError::Unknown));
    assert_eq!(Hash::import(own.expose()), Err(ImportError::Stored));
    let nested = typed("imported:imported:$6$a$b");
    assert_eq!(Hash::parse(&nested), Err(ImportError::Stored));
}

#[test]
fn hashes_are_not_printed() {
    let own = quick("482913-x");
    let imported = Hash::import("{SSHA}fSNPxtNIj6+5nRN6YVnSMo+yp7HPDsbo").unwrap();
    for hash in [&own, &imported] {
        let shown = format!("{hash:?}");
        let secret = hash.expose().rsplit(['$', '}']).next().unwrap();
        assert!(
            shown.contains("[redacted]") && !shown.contains(secret),
            "{shown}"
        );
    }
    assert_eq!(format!("{:?}", Scratch::new()), "[redacted]");
}

#[test]
fn bounds_of_a_text() {
    use Form::{Password, Pin};
    let of = |count| "\u{e4}".repeat(count);
    for (form, least, most) in [(Pin, 6, 64), (Password, 8, 128)] {
        assert!(parse(form, &of(least)).is_ok() && parse(form, &of(most)).is_ok());
        assert_eq!(
            parse(form, &of(least - 1)),
            Err(Unfit::TooShort { form, least })
        );
        assert_eq!(
            parse(form, &of(most + 1)),
            Err(Unfit::TooLong { form, most })
        );
        assert_eq!(parse(form, &of(9999)), Err(Unfit::TooLong { form, most }));
        assert_eq!(parse(form, ""), Err(Unfit::Empty { form }));
        for text in [
            "482913582\n",
            "4829\t13582",
            "48291358\u{0}",
            "4829\u{85}13582",
        ] {
            assert_eq!(parse(form, text), Err(Unfit::Control { form }));
        }
        for text in ["482913582,", "482913582\u{ff0c}"] {
            assert_eq!(parse(form, text), Err(Unfit::TrailingComma { form }));
        }
        assert_eq!(parse(form, " 48,29135 ").unwrap().expose(), " 48,29135 ");
    }
    // The longest password in the widest characters still verifies, however it is decomposed.
    let wide = "\u{1f512}".repeat(128);
    assert!(parse(Password, &wide).is_ok() && verify(&quick(&wide), &wide));
    let hangul = "\u{d55c}".repeat(128);
    assert!(verify(&quick(&hangul), &hangul.nfd().collect::<String>()));
}

#[test]
fn messages_say_what_to_do() {
    let form = Form::Pin;
    let short = Unfit::TooShort { form, least: 6 };
    assert_eq!(short.to_string(), "a PIN has at least 6 characters");
    let unknown = Hash::import("$1$x$y").unwrap_err().to_string();
    for name in ["$2b$", "$argon2id$", "$pbkdf2-sha256$", "$6$", "{SSHA512}"] {
        assert!(unknown.contains(name), "{unknown}");
    }
    let costly = Hash::import(&format!("$2b$31${}", "a".repeat(53)));
    assert!(costly.is_err());
}

#[test]
fn nothing_and_too_much_never_match() {
    let longest = "x".repeat(Text::MAX_OCTETS);
    assert!(verify(&quick(&longest), &longest));
    let longer = format!("{longest}x");
    assert!(!verify(&quick(&longest), &longer));
    assert!(
        Hash::renew(
            &typed(&longer),
            &PEPPER,
            SALT,
            Cost::QUICK,
            &mut Scratch::new()
        )
        .is_none()
    );
    // U+FDFA becomes eleven times as long.
    assert!(!verify(&quick(&longest), &"\u{fdfa}".repeat(100)));
    // Of the empty password: some systems keep one where there is none.
    let empty = "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.";
    assert!(!verify(&Hash::import(empty).unwrap(), ""));
    let none = Hash::renew(&typed(""), &PEPPER, SALT, Cost::QUICK, &mut Scratch::new());
    assert!(none.is_none());
}

#[test]
fn costs_are_bounded() {
    assert_eq!(Cost::default(), Cost::new(19_456, 2, 1).unwrap());
    for (memory, passes) in [
        (47_104, 1),
        (19_456, 2),
        (12_288, 3),
        (9_216, 4),
        (7_168, 5),
    ] {
        assert!(Cost::new(memory, passes, 1).is_ok());
        assert_eq!(Cost::new(memory - 1, passes, 1), Err(InvalidCost::Weak));
    }
    assert!(Cost::new(262_144, 4, 16).is_ok());
    for (memory, passes, lanes) in [
        (262_145, 2, 1),
        (262_144, 5, 1),
        (8_192, 65, 1),
        (65_536, 2, 17),
    ] {
        assert_eq!(
            Cost::new(memory, passes, lanes),
            Err(InvalidCost::Excessive)
        );
    }
    for (memory, passes, lanes) in [
        (65_536, 0, 1),
        (65_536, 1, 0),
        (7, 1, 1),
        (u32::MAX, 1, u32::MAX),
    ] {
        assert_eq!(
            Cost::new(memory, passes, lanes),
            Err(InvalidCost::Impossible)
        );
    }
}

#[test]
fn memory_is_reused_and_given_back() {
    let mut scratch = Scratch::new();
    spend(Cost::DEFAULT, &mut scratch);
    // What the memory held before is of no consequence.
    let stored = Hash::renew(&typed("482913"), &PEPPER, SALT, Cost::QUICK, &mut scratch);
    assert_eq!(stored.unwrap(), quick("482913"));
    spend(Cost::new(131_072, 1, 1).unwrap(), &mut scratch);
    assert!(verify(&quick("482913"), "482913"));
}

#[test]
fn weak_vectors() {
    let file = include_str!("../../tests/vectors/weak_pin.tsv");
    let mut wrong = Vec::new();
    let mut rules = std::collections::BTreeMap::<_, usize>::new();
    for [form, verdict, text, birth, phone, user] in rows(file) {
        let known = |text: &'static str| (text != "-").then_some(text);
        let (text, user) = (json(text), json(user));
        let user = if user == "-" { "" } else { &user };
        let personal = Personal {
            birth_date: known(birth),
            phone: known(phone),
            user,
        };
        let found = match form {
            "pin" => check_pin(&parse(Form::Pin, &text).unwrap(), &personal),
            "password" => check_password(&parse(Form::Password, &text).unwrap(), user),
            _ => panic!("form {form:?}"),
        };
        let found = found.map_or_else(Weak::word, |()| "accept");
        if found != verdict {
            wrong.push(format!(
                "{form} {text:?} {birth} {phone} {user:?}: {found}, not {verdict}"
            ));
        }
        *rules.entry((form, found)).or_default() += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(rules.len(), 8 + 4, "{rules:?}");
}

#[test]
fn lists_name_only_what_no_other_rule_finds() {
    let mut seen = std::collections::BTreeSet::new();
    for pin in common::PINS.split(' ') {
        let found = check_pin(&parse(Form::Pin, pin).unwrap(), &Personal::default());
        assert_eq!(found, Err(Weak::Common), "{pin}");
        assert!(seen.insert(pin), "{pin} twice");
    }
    for word in common::PASSWORDS.split(' ').chain(common::WORDS.split(' ')) {
        let text = format!(
            "{word}{}",
            &"0284"[..4.min(8_usize.saturating_sub(word.len()))]
        );
        let found = check_password(&parse(Form::Password, &text).unwrap(), "");
        assert_eq!(found, Err(Weak::Common), "{text}");
        assert!(seen.insert(word), "{word} twice");
    }
}

#[test]
fn most_random_pins_are_accepted() {
    let step = 37;
    let refused = (0..1_000_000).step_by(step).filter(|number| {
        let pin = parse(Form::Pin, &format!("{number:06}")).unwrap();
        check_pin(&pin, &Personal::default()).is_err()
    });
    let share = refused.count() * step;
    assert!((20_000..40_000).contains(&share), "{share} in a million");
}

/// A hash of every family of one password.
fn every_family(password: &str) -> Vec<Hash> {
    use base64ct::Encoding as _;
    use sha2::Digest as _;
    let octets = password.as_bytes();
    let mut tag = [0; 32];
    pbkdf2::pbkdf2_hmac::<sha2::Sha256>(octets, b"saltsalt", 2, &mut tag);
    let pbkdf2 = base64ct::Base64::encode_string(&tag);
    let mut salted = sha2::Sha512::digest([octets, b"salt"].concat()).to_vec();
    salted.extend(b"salt");
    let salted = base64ct::Base64::encode_string(&salted);
    let bare = quick(password).expose().to_owned();
    vec![
        quick(password),
        Hash::import(bare.strip_prefix("peppered:").unwrap()).unwrap(),
        Hash::import(&format!("pbkdf2_sha256$2$saltsalt${pbkdf2}")).unwrap(),
        Hash::import(&format!("{{SSHA512}}{salted}")).unwrap(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_octet_makes_the_difference(
        password in "[ -+\\--~]{8,40}",
        at in any::<prop::sample::Index>(),
        other in b' '..=b'~',
    ) {
        let mut octets = password.clone().into_bytes();
        let at = at.index(octets.len());
        prop_assume!(octets[at] != other);
        octets[at] = other;
        let changed = String::from_utf8(octets).unwrap();
        for (number, hash) in every_family(&password).iter().enumerate() {
            // The second is our hash without its pepper.
            prop_assert_eq!(verify(hash, &password), number != 1);
            prop_assert!(!verify(hash, &changed));
            prop_assert!(!verify(hash, &(password.clone() + " ")));
            prop_assert!(!verify(hash, &password[1..]));
        }
    }

    #[test]
    fn normal_forms_are_one_text(text in "[\u{c0}-\u{17f}\u{ac00}-\u{d7a3}\u{ff10}-\u{ff19}\u{fb01}a-z]{6,20}") {
        let hash = quick(&text);
        for form in [
            text.nfc().collect::<String>(),
            text.nfd().collect(),
            text.nfkc().collect(),
            text.nfkd().collect(),
        ] {
            prop_assert!(verify(&hash, &form));
            prop_assert_eq!(parse(Form::Pin, &form), parse(Form::Pin, &text));
        }
    }

    #[test]
    fn no_text_makes_the_readers_panic(text in "\\PC{0,80}", prefix in 0_usize..9) {
        let prefixes = ["", "$2b$", "$6$", "{SSHA}", "$argon2id$v=19$", "$pbkdf2-sha256$",
            "pbkdf2_sha256$", "{CRYPT}$6$", "peppered:$argon2id$v=19$"];
        let text = format!("{}{text}", prefixes[prefix]);
        let _ = Hash::import(&text);
        let _ = Hash::parse(&typed(&text));
        if let Ok(pin) = parse(Form::Pin, &text) {
            let personal = Personal { birth_date: Some(&text), phone: Some(&text), user: &text };
            let _ = check_pin(&pin, &personal);
        }
        if let Ok(password) = parse(Form::Password, &text) {
            let _ = check_password(&password, &text);
        }
    }
}
