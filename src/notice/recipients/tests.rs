use super::*;
use crate::model::enrolment::Enrolment;
use crate::model::kind::Kind;
use crate::model::message::Language;
use crate::model::user_key::UserKey;
use crate::otp::{Algorithm, Digits, Period};
use crate::secret::{OtpKey, SecretBytes};

const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);
const BOTH: &[Wish] = &[Wish::Sms, Wish::Email];

fn user(phone: Option<&str>, email: Option<&str>) -> User {
    User {
        key: UserKey::parse("alice").unwrap(),
        aliases: Vec::new(),
        groups: Vec::new(),
        display_name: None,
        phone: phone.map(str::to_owned),
        email: email.map(str::to_owned),
        birth_date: None,
        class: None,
        disabled: false,
        bypass: None,
        exemption: None,
        language: Language::En,
        remote_issue: false,
        former: Vec::new(),
        acts: Vec::new(),
        directory: None,
        created: NOW,
        modified: NOW,
        revision: 1,
    }
}

/// A token, made so many seconds ago.
fn token(serial: &str, kind: Kind, state: LifeCycle, address: &str, age: u64) -> Token {
    Token {
        serial: serial.parse().unwrap(),
        user: UserKey::parse("alice").unwrap(),
        kind,
        state,
        algorithm: Algorithm::Sha1,
        digits: Digits::SIX,
        period: Period::THIRTY,
        key: OtpKey::new(SecretBytes::new(vec![7; 20])).unwrap(),
        address: (!address.is_empty()).then(|| address.to_owned()),
        device: None,
        expires: None,
        enrolment: Enrolment::default(),
        created: UnixTime::from_secs(NOW.as_secs() - age),
        revision: 1,
    }
}

fn of(topic: Topic, target: &str) -> Notice {
    Notice {
        topic,
        user: UserKey::parse("alice").unwrap(),
        target: (!target.is_empty()).then(|| target.to_owned()),
        client: None,
        policy: None,
        for_good: false,
        left: None,
        at: NOW,
    }
}

/// The addresses, those from where an answer freezes with a star.
fn shown(notice: &Notice, user: &User, tokens: &[Token], media: &[Wish]) -> Vec<String> {
    reached(notice, user, tokens, media, &|_, _| true)
}

fn reached(
    notice: &Notice,
    user: &User,
    tokens: &[Token],
    media: &[Wish],
    reachable: &dyn Fn(Medium, &str) -> bool,
) -> Vec<String> {
    let tokens: Vec<&Token> = tokens.iter().collect();
    let found = recipients(notice, user, &tokens, media, reachable, NOW);
    let show = |one: &Recipient| {
        let star = if one.freezes { "*" } else { "" };
        format!("{}{star}", one.address)
    };
    found.iter().map(show).collect()
}

const OWN: &str = "+821011111111";
const OLD: &str = "+821022222222";
const MAIL: &str = "alice@example.com";

#[test]
fn tokens_in_use_come_before_the_record_and_the_oldest_first() {
    let tokens = [
        token("SMS-1", Kind::Sms, LifeCycle::Active, OWN, 10),
        token("SMS-2", Kind::Sms, LifeCycle::Active, OLD, 20),
        token(
            "SMS-3",
            Kind::Sms,
            LifeCycle::Suspended,
            "+821033333333",
            30,
        ),
        token(
            "EMAIL-1",
            Kind::Email,
            LifeCycle::Active,
            "a@example.com",
            5,
        ),
        token(
            "VOICE-1",
            Kind::Voice,
            LifeCycle::Active,
            "+821044444444",
            50,
        ),
        token("TOTP-1", Kind::Totp, LifeCycle::Active, "", 1),
    ];
    let user = user(Some("010-5555-5555"), Some(MAIL));
    let notice = of(Topic::EnrolmentEnded, "TOTP-1");
    let own = ["+821022222222*", "+821011111111*"];
    // A token that is out of use is still the phone of its user.
    let last = ["+821033333333"];
    let wanted = [&own[..], &["a@example.com", "010-5555-5555", MAIL], &last].concat();
    assert_eq!(shown(&notice, &user, &tokens, BOTH), wanted);
    let wanted = [
        &["a@example.com"],
        &own[..],
        &[MAIL, "010-5555-5555"],
        &last,
    ]
    .concat();
    let media = [Wish::Email, Wish::Sms];
    assert_eq!(shown(&notice, &user, &tokens, &media), wanted);
    let wanted = ["a@example.com", MAIL];
    assert_eq!(shown(&notice, &user, &tokens, &[Wish::Email]), wanted);
    // Nothing is frozen by an answer to what is no news of a token in use.
    let lock = of(Topic::Locked, "");
    assert_eq!(shown(&lock, &user, &tokens, &[Wish::Sms])[0], OLD);
}

#[test]
fn an_enrolled_number_is_not_the_only_one_that_is_notified() {
    let notice = of(Topic::EnrolmentStarted, "SMS-9");
    let new = token("SMS-9", Kind::Sms, LifeCycle::Pending, OWN, 0);
    let older = token("SMS-1", Kind::Sms, LifeCycle::Active, OLD, 9);
    let tokens = [new.clone(), older];
    assert_eq!(
        shown(&notice, &user(None, None), &tokens, BOTH),
        [format!("{OLD}*")]
    );
    let tokens = [new];
    let with_mail = user(None, Some(MAIL));
    assert_eq!(shown(&notice, &with_mail, &tokens, BOTH), [MAIL]);
    let with_phone = user(Some("010-2222-2222"), None);
    assert_eq!(
        shown(&notice, &with_phone, &tokens, BOTH),
        ["010-2222-2222"]
    );
    // The same number on record is the same number.
    for phone in ["010-1111-1111", "+82 (0)10 1111 1111", OWN] {
        let both = user(Some(phone), Some(MAIL));
        assert_eq!(shown(&notice, &both, &tokens, BOTH), [MAIL], "{phone}");
        let alone = user(Some(phone), None);
        assert_eq!(shown(&notice, &alone, &tokens, BOTH), [OWN], "{phone}");
    }
    // No other can be reached: better there than nowhere.
    let no_mail = |medium: Medium, _: &str| medium == Medium::Sms;
    assert_eq!(reached(&notice, &with_mail, &tokens, BOTH, &no_mail), [OWN]);
}

#[test]
fn a_changed_contact_is_told_last() {
    let user = user(Some("010-1111-1111"), Some(MAIL));
    let tokens = [token("SMS-1", Kind::Sms, LifeCycle::Active, OLD, 9)];
    let phone = of(Topic::PhoneChanged, "");
    let new = "010-1111-1111";
    assert_eq!(shown(&phone, &user, &tokens, BOTH), [OLD, MAIL, new]);
    assert_eq!(shown(&phone, &user, &[], BOTH), [MAIL, new]);
    assert_eq!(shown(&phone, &user, &[], &[Wish::Sms]), ["010-1111-1111"]);
    let email = of(Topic::EmailChanged, "");
    assert_eq!(
        shown(&email, &user, &[], &[Wish::Email, Wish::Sms]),
        [new, MAIL]
    );
    let both = of(Topic::ContactsChanged, "");
    assert_eq!(shown(&both, &user, &tokens, BOTH), [OLD, new, MAIL]);
    assert_eq!(shown(&both, &user, &[], BOTH), [new, MAIL]);
    // The addresses that were there before come first.
    let mut user = user;
    user.leaves(Medium::Sms, OLD.to_owned(), NOW);
    assert_eq!(shown(&phone, &user, &[], BOTH), [MAIL, OLD, new]);
    assert_eq!(shown(&of(Topic::Locked, ""), &user, &[], BOTH), [new, MAIL]);
}

#[test]
fn another_users_token_gives_no_address() {
    let mut linked = token("SMS-1", Kind::Sms, LifeCycle::Active, OLD, 9);
    linked.user = UserKey::parse("bob").unwrap();
    let notice = of(Topic::TokenLinked, "SMS-1");
    assert_eq!(
        shown(&notice, &user(None, Some(MAIL)), &[linked.clone()], BOTH),
        [MAIL]
    );
    assert!(shown(&notice, &user(None, None), &[linked], BOTH).is_empty());
}
