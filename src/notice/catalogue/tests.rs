use super::*;

const LANGUAGES: [Language; 2] = [Language::En, Language::Ko];

/// A value of the usual length for every place.
fn usual(place: Place) -> &'static str {
    match place {
        Place::User => "alice",
        Place::Serial => "TOTP-7F3K9Q2M",
        Place::Kind => "totp",
        Place::Time | Place::Until => "TIME",
        Place::Client => "vpn",
        Place::Freeze => "12345678",
        Place::Left => "9",
        Place::Code => "755224",
        Place::Minutes => "3",
        Place::Link => "https://otp.example.com/enrol#TOTP-7F3K9Q2M.0123456789ABCDEFGHJKMNPQR",
        Place::First => "17",
        Place::Second => "31",
    }
}

fn values(catalogue: &Catalogue, language: Language) -> Vec<(Place, String)> {
    let time = catalogue.time(language, UnixTime::from_secs(1_767_225_600));
    let value = |place: &Place| match usual(*place) {
        "TIME" => (*place, time.clone()),
        usual => (*place, usual.to_owned()),
    };
    Place::ALL.iter().map(value).collect()
}

fn borrowed(values: &[(Place, String)]) -> Vec<(Place, &str)> {
    let values = values.iter();
    values
        .map(|(place, value)| (*place, value.as_str()))
        .collect()
}

fn file(language: Language, text: &str) -> Result<Catalogue, Vec<Diagnostic>> {
    let name = format!("templates/{language}.toml");
    Catalogue::parse(&[(language, Source::new(name, text))])
}

#[test]
fn the_built_in_texts_are_complete_and_free_of_faults() {
    for (language, text) in [
        (Language::En, include_str!("../en.toml")),
        (Language::Ko, include_str!("../ko.toml")),
    ] {
        let read = file(language, text).unwrap_or_else(|faults| panic!("{faults:?}"));
        for text in &Text::ALL {
            let entry = read.of(language).entry(*text).unwrap();
            assert_ne!(entry.text, Template::default(), "{language} {text:?}");
            let ends = matches!(text, Text::NotYou | Text::NotYouOtherwise) || text.is_prompt();
            assert_eq!(entry.subject.is_none(), ends, "{language} {text:?}");
        }
    }
}

/// Octets of a text in EUC-KR, which Korean text messages are counted in: two for a Hangul.
fn octets(text: &str) -> usize {
    text.chars()
        .map(|sign| if sign.is_ascii() { 1 } else { 2 })
        .sum()
}

#[test]
fn text_messages_are_short_and_say_what_they_must() {
    let catalogue = Catalogue::default();
    for language in LANGUAGES {
        let values = values(&catalogue, language);
        let values = borrowed(&values);
        for text in &Text::ALL {
            for end in [Text::NotYou, Text::NotYouOtherwise] {
                let message = catalogue.message(language, Medium::Sms, &[*text, end], &values);
                let message = message.expose();
                // A code or a link has no such end.
                let most = if language == Language::En { 160 } else { 90 };
                let codes = [Place::Code, Place::Link];
                let code = text.must().iter().any(|place| codes.contains(place));
                assert!(
                    code || octets(message) <= most,
                    "{}: {message}",
                    octets(message)
                );
                for place in text.must() {
                    assert!(message.contains(usual(*place)), "{message}");
                }
                assert!(!message.contains(['{', '}']), "{message}");
            }
        }
        for text in [Text::LoginCode, Text::EnrolmentCode] {
            let values = [(Place::Code, "7F3K-9Q2M-44XZ"), (Place::Minutes, "10")];
            let message = catalogue.message(language, Medium::Sms, &[text], &values);
            assert!(octets(message.expose()) <= if language == Language::En { 160 } else { 90 });
        }
    }
}

#[test]
fn mails_have_a_subject_without_a_code_and_some_more_words() {
    let catalogue = Catalogue::default();
    let values = [(Place::Code, "755224"), (Place::Serial, "TOTP-7F3K9Q2M")];
    for language in LANGUAGES {
        for text in &Text::ALL {
            let subject = catalogue.subject(language, Medium::Email, *text, &values);
            assert!(subject.is_none_or(|subject| !subject.contains("755224")));
            assert_eq!(
                catalogue.subject(language, Medium::Sms, *text, &values),
                None
            );
        }
        let texts = [Text::TokenRevoked, Text::NotYouOtherwise];
        let mail = catalogue.message(language, Medium::Email, &texts, &values);
        let sms = catalogue.message(language, Medium::Sms, &texts, &values);
        assert!(mail.expose().lines().count() > 4, "{}", mail.expose());
        assert_eq!(sms.expose().lines().count(), 1);
    }
}

#[test]
fn what_a_file_leaves_out_is_as_built_in() {
    let text = "zone = \"Asia/Tokyo\"\n[login_code]\ntext = \"CODE {code}\"\n[not_you]\n";
    let changed = file(Language::En, text).unwrap();
    let values = [(Place::Code, "755224"), (Place::Freeze, "12345678")];
    let say = |catalogue: &Catalogue, language, medium, text| {
        let message = catalogue.message(language, medium, &[text], &values);
        message.expose().to_owned()
    };
    let built_in = Catalogue::default();
    let code = Text::LoginCode;
    assert_eq!(
        say(&changed, Language::En, Medium::Sms, code),
        "CODE 755224"
    );
    let subject = changed.subject(Language::En, Medium::Email, code, &values);
    assert_eq!(subject.as_deref(), Some("Your code"));
    for language in LANGUAGES {
        for text in &Text::ALL {
            if (language, *text) == (Language::En, code) {
                continue;
            }
            for medium in Medium::ALL {
                assert_eq!(
                    say(&changed, language, medium, *text),
                    say(&built_in, language, medium, *text)
                );
            }
        }
    }
    let at = UnixTime::from_secs(1_767_225_600);
    assert_eq!(changed.time(Language::En, at), "2026-01-01 09:00 JST");
    assert_eq!(built_in.time(Language::En, at), "2026-01-01 00:00 UTC");
    assert_eq!(built_in.time(Language::Ko, at), "01/01 09:00");
}

#[test]
fn faults_are_found_all_at_once_and_shown_where_they_are() {
    let text = "zone = \"Asia/Soul\"\n\
                [login_kode]\ntext = \"x\"\n\
                [enrolment_code]\ntext = \"no code\"\nsubject = \"{code}\"\n\
                [locked]\ntext = \"{usr} \\u0007\"\nsms = \"x\"\nmail = 1\n\
                [key_in]\nsubject = \"a\\nb\"\ntext = \" \"\n";
    let faults = file(Language::Ko, text).unwrap_err();
    let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let wanted = [
        "ko.toml:1:8: error: unknown time zone `Asia/Soul`: did you mean `Asia/Seoul`?",
        "ko.toml:2:2: error: unknown key `login_kode` (did you mean `login_code`?)",
        "ko.toml:5:8: error: `enrolment_code.text` needs the placeholder {code}",
        "ko.toml:6:11: error: unknown placeholder `{code}`: this text may have {minutes}",
        "ko.toml:8:8: error: `locked.text` has control characters",
        "ko.toml:8:8: error: unknown placeholder `{usr}`: did you mean `{user}`?",
        "ko.toml:9:1: error: unknown key `locked.sms` (known here: `text`, `mail`, `subject`)",
        "ko.toml:10:8: error: `locked.mail` must be a string",
        "ko.toml:12:11: error: `key_in.subject` is one line",
        "ko.toml:13:8: error: `key_in.text` has 1 to 2000 characters",
    ];
    for (shown, wanted) in shown.iter().zip(wanted) {
        assert_eq!(shown, &format!("templates/{wanted}"));
    }
    assert_eq!(shown.len(), wanted.len(), "{shown:#?}");
}
