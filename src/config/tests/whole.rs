//! What holds between keys, and what is left of a configuration with faults.

use super::*;
use crate::diagnostic::Severity;

/// Two listeners of one place would have the second blame another program for the first.
#[test]
fn a_place_has_one_listener() {
    let tls = "[http.tls]\ncertificate = \"c\"\nkey = \"k\"\n";
    let radius = "[radius.tls]\nlisten = \"127.0.0.1:8080\"\n";
    let files = "certificate = \"c\"\nkey = \"k\"\nclient_ca = \"a\"\n";
    for (text, wanted) in [
        (
            "[web]\nconsole_listen = \"127.0.0.1:8080\"\n".to_owned(),
            "2:18: error: 127.0.0.1:8080 is in `http.listen` too",
        ),
        (
            "[web]\nconsole_listen = [\"127.0.0.1:81\", \"[::ffff:127.0.0.1]:81\"]\n".to_owned(),
            "2:35: error: [::ffff:127.0.0.1]:81 is listed twice",
        ),
        (
            format!(
                "{tls}[web]\nconsole_listen = \"192.0.2.5:443\"\n[http]\nlisten = \"0.0.0.0:443\"\n"
            ),
            "5:18: error: 192.0.2.5:443 and 0.0.0.0:443 of `http.listen` overlap",
        ),
        (
            format!("{radius}{files}"),
            "2:10: error: 127.0.0.1:8080 is in `http.listen` too",
        ),
        (
            "[radius]\nlisten = \"127.0.0.1:1\"\naccounting_listen = \"127.0.0.1:1\"\n".to_owned(),
            "3:21: error: 127.0.0.1:1 is in `radius.listen` too",
        ),
    ] {
        let found = errors(&text, &[]);
        assert!(
            found.len() == 1 && found.concat().contains(wanted),
            "{text}\n{found:?}"
        );
    }
    for text in [
        "[web]\nconsole_listen = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n",
        "[web]\nconsole_listen = \"127.0.0.1:8080\"\n[http]\nenabled = false\n",
        "[web]\nconsole_listen = \"[::1]:8080\"\n",
        // Without its files it is not served.
        radius,
        "[radius]\nlisten = [\"0.0.0.0:1812\", \"[::]:1812\"]\n",
    ] {
        assert!(load(text, &[]).is_ok(), "{text}");
    }
}

/// What cannot be understood does not hide the files that the rest names.
#[test]
fn a_configuration_with_faults_leaves_the_files_of_its_rest() {
    let text = "[radius]\nlisne = \"x\"\nlisten = \"nowhere\"\n[http]\ninbound_secret_file = \"in\"\n\
                [http.tls]\ncertificate = \"h.pem\"\n[policies]\ndir = [\"a\", \"b\"]\ncountries = \"where\"\n\
                [delivery.sms]\nkind = \"htp\"\nsecret_file = \"sms\"\n\
                [delivery.mail]\nkind = \"smtp\"\nmedia = \"email\"\nhost = \"h\"\nfrom = \"a@b.example\"\n\
                ca_file = \"mail.ca\"\n[keys]\nmaster = \"nonsense\"\n\
                [webhook.desk]\nsecret_file = [\"x\", \"y\"]\nca_file = \"desk.ca\"\n";
    let source = Source::new("oncegate.toml", text);
    let faulty = Config::load_or_rest(Some(&source), [], Path::new("/data")).unwrap_err();
    assert_eq!(
        faulty
            .findings
            .iter()
            .filter(|one| one.severity == Severity::Error)
            .count(),
        9,
        "{}",
        render_all(&faulty.findings, Colour::Plain)
    );
    let rest = faulty.rest.unwrap();
    let files = rest.named_files();
    let files: Vec<&str> = files
        .iter()
        .map(|file| file.path.strip_prefix("/data").unwrap().to_str().unwrap())
        .collect();
    assert_eq!(files, ["in", "where", "mail.ca", "sms", "desk.ca"]);
    for (path, read) in [
        ("policies.dir", false),
        ("keys.master", false),
        ("delivery", false),
        ("radius.dictionary", true),
        ("policies.di", true),
    ] {
        assert_eq!(rest.is_read(path), read, "{path}");
    }
    // Of what is no TOML nothing is known.
    let source = Source::new("oncegate.toml", "[radius");
    let faulty = Config::load_or_rest(Some(&source), [], Path::new("/data")).unwrap_err();
    assert!(faulty.rest.is_none());
}

#[test]
fn a_body_is_shown_by_its_placeholders() {
    let head = "[delivery.sms]\nkind = \"http\"\nmedia = \"sms\"\nurl = \"https://h/\"\n";
    for (format, body, wanted) in [
        (
            "form",
            "key=abcd1234&to={to}&msg={text}",
            "key=[redacted]&to={to}&msg={text}",
        ),
        (
            "json",
            r#"{"to": "{to}", "text": "{text}"}"#,
            r#"{"to": "{to}", "text": "{text}"}"#,
        ),
        (
            "json",
            r#"{"auth": ["abcd1234", 1234, true], "text": "{text}", "to": "{to}"}"#,
            r#"{"auth":["[redacted]","[redacted]",true],"text":"{text}","to":"{to}"}"#,
        ),
    ] {
        let text = format!("{head}format = \"{format}\"\nbody = '{body}'\n");
        let config = config(&text, &[]);
        let mut all = config.effective().iter();
        let shown = all.find(|value| value.key == "delivery.sms.body");
        assert_eq!(shown.map(EffectiveValue::shown).as_deref(), Some(wanted));
    }
}
