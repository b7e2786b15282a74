use super::*;
use crate::config::{Config, Origin};
use crate::diagnostic::{Colour, Source, render_all};

fn load(text: &str, env: &[(&str, &str)]) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    let source = Source::new("oncegate.toml", text);
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(Some(&source), env, Path::new("/data"))
}

fn delivery(text: &str, env: &[(&str, &str)]) -> Delivery {
    let loaded = load(text, env).map_err(|all| render_all(&all, Colour::Plain));
    loaded.unwrap().0.delivery
}

fn fault(text: &str) -> String {
    let all = load(text, &[]).unwrap_err();
    assert_eq!(all.len(), 1, "{text}\n{}", render_all(&all, Colour::Plain));
    all[0].to_string()
}

const SMS: &str = "[delivery.sms-a]
kind = \"http\"
media = [\"sms\", \"voice\"]
url = \"https://sms.example/send\"
body = '{\"to\": \"{to}\", \"text\": \"{text}\"}'
";
const MAIL: &str = "[delivery.mail]
kind = \"smtp\"
media = \"email\"
host = \"Smtp.Example\"
from = \"otp@example.com\"
";

#[test]
fn nothing_written_is_no_gateway_and_korea() {
    let delivery = delivery("", &[]);
    assert_eq!(delivery.budget, Duration::from_secs(15));
    assert_eq!(delivery.countries, ["+82"]);
    assert_eq!(delivery.home.as_deref(), Some("+82"));
    assert!(delivery.gateways.is_empty());
}

#[test]
fn a_gateway_has_its_defaults() {
    let delivery = delivery(SMS, &[]);
    let gateway = &delivery.gateways[0];
    assert_eq!(gateway.name, "sms-a");
    assert_eq!(gateway.media, [Medium::Sms, Medium::Voice]);
    assert_eq!(gateway.timeout, Duration::from_secs(5));
    assert_eq!(
        (gateway.attempts, gateway.in_flight, gateway.queue),
        (2, 8, 32)
    );
    assert_eq!(gateway.breaker_failures, 5);
    assert_eq!(gateway.breaker_pause, Duration::from_secs(30));
    assert_eq!(gateway.reach, Reach::Public);
    assert_eq!((&gateway.secret_file, &gateway.ca_file), (&None, &None));
    let Protocol::Http(http) = &gateway.protocol else {
        panic!("{gateway:?}");
    };
    assert_eq!((http.method.as_str(), http.format), ("POST", Format::Json));
    assert_eq!(http.success_status, [200..=299]);
    assert_eq!((&http.success_match, &http.reference), (&None, &None));
}

#[test]
fn everything_of_a_gateway_can_be_written() {
    let text = format!(
        "{SMS}method = \"PUT\"\nheaders = [\"Authorization: Bearer {{secret}}\", \"X-Id: {{id}}\"]\n\
         secret_file = \"sms.key\"\nca_file = \"/etc/ca.pem\"\nsuccess_status = [200, \"3xx\"]\n\
         success_match = '/result = \"ok\"'\nreference = \"/message/id\"\ntimeout = \"300ms\"\n"
    );
    let gateway = &delivery(&text, &[]).gateways[0];
    assert_eq!(
        gateway.secret_file.as_deref(),
        Some(Path::new("/data/sms.key"))
    );
    assert_eq!(gateway.ca_file.as_deref(), Some(Path::new("/etc/ca.pem")));
    let Protocol::Http(http) = &gateway.protocol else {
        panic!("{gateway:?}");
    };
    assert_eq!(http.method, "PUT");
    assert_eq!(http.headers[0].0, "authorization");
    assert_eq!(http.success_status, [200..=200, 300..=399]);
    let expected = http.success_match.clone().unwrap();
    assert_eq!(expected.pointer, "/result");
    assert_eq!(expected.value, serde_json::json!("ok"));
    assert_eq!(
        parse_expected("/code=0").unwrap().value,
        serde_json::json!(0)
    );
    assert_eq!(
        parse_expected("/a=ok").unwrap().value,
        serde_json::json!("ok")
    );
}

#[test]
fn a_mail_server_is_understood() {
    let gateway = &delivery(MAIL, &[]).gateways[0];
    let name = Host::Name("smtp.example".to_owned());
    assert_eq!((&gateway.target.host, gateway.target.port), (&name, 587));
    assert!(!gateway.target.secure);
    let Protocol::Smtp(smtp) = &gateway.protocol else {
        panic!("{gateway:?}");
    };
    assert_eq!((smtp.tls, &smtp.user), (SmtpTls::Required, &None));
    let at_once = &delivery(&format!("{MAIL}port = 465\n"), &[]).gateways[0];
    assert!(at_once.target.secure);
}

#[test]
fn gateways_are_asked_by_priority_and_then_as_they_stand() {
    let names = |text: &str| {
        let gateways = delivery(text, &[]).gateways;
        gateways.into_iter().map(|one| one.name).collect::<Vec<_>>()
    };
    let z = SMS.replace("sms-a", "z");
    assert_eq!(names(&format!("{z}{SMS}{MAIL}")), ["z", "sms-a", "mail"]);
    let text = format!("{z}{SMS}priority = 1\n{MAIL}");
    assert_eq!(names(&text), ["sms-a", "z", "mail"]);
}

#[test]
fn the_environment_changes_gateways_of_the_file() {
    let env = [
        (
            "ONCEGATE__DELIVERY__SMS_A__URL",
            "https://other.example/x?a=1,2",
        ),
        ("ONCEGATE__DELIVERY__SMS_A__MEDIA", "sms, email"),
        (
            "ONCEGATE__DELIVERY__SMS_A__BODY",
            "{\"to\":\"{to}\",\"text\":\"{text}\"}",
        ),
        ("ONCEGATE__LIMITS__DELIVERY_COUNTRIES", "+82,+1"),
    ];
    let (config, _) = load(SMS, &env).unwrap();
    let gateway = &config.delivery.gateways[0];
    assert_eq!(gateway.media, [Medium::Sms, Medium::Email]);
    let other = Host::Name("other.example".to_owned());
    assert_eq!(gateway.target.host, other);
    assert_eq!(config.delivery.countries, ["+82", "+1"]);
    let shown = |key: &str| {
        let mut all = config.effective().iter();
        all.find(|value| value.key == key).cloned().unwrap()
    };
    let url = shown("delivery.sms-a.url");
    assert_eq!(url.value, "https://other.example/x?a=1,2");
    let name = "ONCEGATE__DELIVERY__SMS_A__URL".to_owned();
    assert_eq!(url.origin, Origin::Env { name });
    let file = "oncegate.toml".to_owned();
    assert_eq!(
        shown("delivery.sms-a.kind").origin,
        Origin::File { file, line: 2 }
    );
    assert_eq!(shown("delivery.sms-a.timeout").origin, Origin::Default);
    let keys: Vec<&str> = config
        .effective()
        .iter()
        .map(|value| value.key.as_str())
        .collect();
    assert!(!keys.contains(&"delivery.sms-a.host"), "{keys:?}");
    let mut once = keys.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), keys.len(), "{keys:?}");

    let unknown = |name: &str| load(SMS, &[(name, "x")]).unwrap_err()[0].to_string();
    let found = unknown("ONCEGATE__DELIVERY__SMS_A__ULR");
    assert!(
        found.ends_with("(did you mean `ONCEGATE__DELIVERY__SMS_A__URL`?)"),
        "{found}"
    );
    let found = unknown("ONCEGATE__DELIVERY__SMS_B__URL");
    assert!(
        found.ends_with("(did you mean `ONCEGATE__DELIVERY__SMS_A__URL`?)"),
        "{found}"
    );
}

#[test]
fn faults_of_a_gateway_are_named_at_their_place() {
    let sms = |line: &str| format!("{SMS}{line}\n");
    let cases = [
        (
            sms("ulr = 1"),
            "oncegate.toml:6:1: error: unknown key `delivery.sms-a.ulr` (did you mean `url`?)",
        ),
        (
            SMS.replace("sms-a", "Sms"),
            "1:11: error: `Sms` cannot be the name",
        ),
        (
            SMS.replace("\"http\"", "\"htpp\""),
            "2:8: error: `delivery.sms-a.kind`: `htpp`: did you mean `http`?",
        ),
        (
            SMS.replace("kind = \"http\"\n", ""),
            "1:11: error: `delivery.sms-a.kind` is missing",
        ),
        (
            SMS.replace("\"voice\"", "\"fax\""),
            "`fax` is not one of sms, email, voice",
        ),
        (
            SMS.replace("[\"sms\", \"voice\"]", "[]"),
            "`delivery.sms-a.media` is missing",
        ),
        (
            SMS.replace("https://sms.example", "https://127.0.0.1"),
            "4:7: error: 127.0.0.1 is an address of this machine",
        ),
        (
            SMS.replace("https:", "ftp:"),
            "the scheme is neither https nor http",
        ),
        (
            SMS.replace("sms.example", "{to}.example"),
            "placeholders stand behind the host",
        ),
        (
            SMS.replace("/send", "/send?key={secret}"),
            "{secret} cannot be in a URL",
        ),
        (
            SMS.replace("{text}", "{txt}"),
            "5:8: error: `delivery.sms-a.body`: unknown placeholder `{txt}`: did you mean `{text}`?",
        ),
        (
            SMS.replace("\"{text}\"", "{text}"),
            "it is not JSON with every placeholder in quotes (line 1",
        ),
        (
            SMS.replace("{text}", "x"),
            "`delivery.sms-a.body` does not say what to send",
        ),
        (
            SMS.replace("{text}", "{text}{secret}"),
            "there is {secret}, and no `secret_file`",
        ),
        (
            SMS.replace("\"voice\"", "\"email\"")
                .replace("{text}", "{code}"),
            "a mail needs its text",
        ),
    ];
    assert_faults(&cases);
}

#[test]
fn faults_of_http_are_named() {
    let sms = |line: &str| format!("{SMS}{line}\n");
    let cases = [
        (
            sms("headers = [\"X: {text}\"]"),
            "{text} has no place in a header",
        ),
        (
            sms("headers = [\"Host: x\"]"),
            "`host` is written by oncegate itself",
        ),
        (
            sms("headers = [\"X-A: 1\\r\\nB: 2\"]"),
            "other signs than those of ASCII on one line",
        ),
        (
            sms("headers = [\"X\"]"),
            "a header is written as `Name: value`",
        ),
        (sms("method = \"GET\""), "GET has no body"),
        (sms("success_status = \"1xx\""), "`1xx` is no status"),
        (
            sms("success_match = \"ok\""),
            "write a JSON pointer and a value",
        ),
        (sms("reference = \"id\""), "`id` is no JSON pointer"),
        (sms("timeout = \"1ms\""), "write 100ms to 60s"),
        (sms("attempts = 0"), "is not a number from 1 to 5"),
        (
            sms("host = \"x\""),
            "a gateway of kind http has no `delivery.sms-a.host`",
        ),
    ];
    assert_faults(&cases);
}

#[test]
fn faults_of_mail_and_limits_are_named() {
    let mail = |line: &str| format!("{MAIL}{line}\n");
    let cases = [
        (
            mail("body = \"x\""),
            "a gateway of kind smtp has no `delivery.mail.body`",
        ),
        (mail("tls = \"none\""), "mail to a public server needs TLS"),
        (mail("user = \"u\""), "`secret_file` is missing"),
        (mail("secret_file = \"s\""), "`user` is missing"),
        (
            mail("user = \"u\"\nsecret_file = \"s\"\ntls = \"opportunistic\""),
            "a password needs TLS",
        ),
        (mail("port = 0"), "the port is not a number from 1 to 65535"),
        (
            MAIL.replace("\"email\"", "\"sms\""),
            "kind smtp carries email only",
        ),
        (
            MAIL.replace("otp@", "otp@\\r\\n"),
            "a mail address is name@domain",
        ),
        (
            MAIL.replace("Smtp.Example", "0x7f.1"),
            "the host is neither a name",
        ),
        (
            "[limits]\ndelivery_countries = [\"82\"]".to_owned(),
            "2:23: error: `limits.delivery_countries`: `82` is no prefix",
        ),
        (
            "[delivery]\nsms = 1".to_owned(),
            "2:7: error: `delivery.sms` must be a table",
        ),
    ];
    assert_faults(&cases);
}

fn assert_faults(cases: &[(String, &str)]) {
    for (text, wanted) in cases {
        let found = fault(text);
        assert!(found.contains(wanted), "{text}\n{found}\n{wanted}");
    }
}

#[test]
fn a_private_gateway_needs_a_word() {
    let text = SMS.replace("https://sms.example", "http://127.0.0.1:9");
    let (config, warnings) = load(&format!("{text}allow_private = true\n"), &[]).unwrap();
    assert_eq!(config.delivery.gateways[0].reach, Reach::Private);
    assert!(warnings.is_empty(), "loopback is not readable by others");
    let text = format!("{MAIL}allow_private = true\ntls = \"none\"\n");
    assert!(load(&text, &[]).is_ok());
    let text = SMS.replace("https://sms.example", "https://169.254.169.254");
    let found = fault(&format!("{text}allow_private = true\n"));
    assert!(found.contains("is a link-local address"), "{found}");
}

#[test]
fn plain_http_is_warned_of() {
    let (_, warnings) = load(&SMS.replace("https:", "http:"), &[]).unwrap();
    assert_eq!(warnings.len(), 1);
    let warning = warnings[0].to_string();
    let wanted = "oncegate.toml:4:7: warning: gateway `sms-a` is asked without TLS";
    assert!(warning.starts_with(wanted), "{warning}");
}

#[test]
fn credentials_are_never_quoted() {
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQ";
    for text in [
        format!("{SMS}headers = [\"Authorization: Bearer {secret}\"]\n"),
        format!("{SMS}headers = [\"X-Api-Key: {secret}\"]\n"),
        format!("{SMS}headers = [\"X-Provider-Token: {secret}\"]\n"),
        format!("{SMS}headers = [\"X-Y: {secret}\\u00e9\"]\n"),
        SMS.replace("https://", &format!("https://user:{secret}@")),
    ] {
        let all = load(&text, &[]).unwrap_err();
        let rendered = render_all(&all, Colour::Plain);
        assert!(!rendered.contains(secret), "{rendered}");
        assert!(rendered.contains("error: oncegate.toml:"), "{rendered}");
    }
}
