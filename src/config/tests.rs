use proptest::prelude::*;

use super::*;
use crate::diagnostic::{Colour, render_all};

mod whole;

fn load(text: &str, env: &[(&str, &str)]) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    let source = Source::new("oncegate.toml", text);
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(Some(&source), env, Path::new("/data"))
}

fn config(text: &str, env: &[(&str, &str)]) -> Config {
    load(text, env)
        .map_err(|all| render_all(&all, Colour::Plain))
        .unwrap()
        .0
}

fn errors(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    load(text, env)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn nothing_written_gives_the_defaults() {
    let (config, warnings) = Config::load(None, [], Path::new("/data")).unwrap();
    assert!(warnings.is_empty());
    assert_eq!(config.radius.listen, ["127.0.0.1:1812".parse().unwrap()]);
    assert_eq!(config.http.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!((config.http.tls, config.http.insecure), (None, false));
    assert_eq!(
        config.store,
        Store {
            engine: Engine::Redb,
            dir: "/data/store".into(),
            cache_size: 176 << 20,
            witness: vec!["/data/witness".into()],
        }
    );
    assert_eq!(
        config.keys.master,
        MasterKey::File("/data/master.key".into())
    );
    assert_eq!(config.keys.algorithm, SealAlgorithm::Aes256Gcm);
    assert_eq!(config.policies.dir, Path::new("/data/policies"));
    assert_eq!(config.audit.segment_size, 64 << 20);
    assert_eq!(
        config.limits,
        Limits {
            radius_in_flight: 4096,
            radius_queue: 8192,
            http_connections: 1024,
            http_connections_per_address: 256,
            http_client_rate: None,
            request_timeout: Duration::from_secs(3),
            reject_queue: 65536,
            password_threads: None,
            password_queue: 64,
            password_cost: Cost::DEFAULT,
        }
    );
    assert_eq!(
        config.log,
        Log {
            level: Level::Info,
            format: LogFormat::Text
        }
    );
}

#[test]
fn the_template_loads_as_written_and_with_every_comment_removed() {
    let defaults = config("", &[]);
    assert_eq!(config(TEMPLATE, &[]).effective(), defaults.effective());
    let is_key =
        |line: &&str| line.starts_with('[') || line.contains(" = ") && !line.contains(", as ");
    let lines: Vec<&str> = TEMPLATE
        .lines()
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .filter(is_key)
        .collect();
    let full = config(&lines.join("\n"), &[]);
    for (written, default) in full.effective().iter().zip(defaults.effective()) {
        assert_eq!(written.key, default.key);
        assert!(
            matches!(written.origin, Origin::File { .. }),
            "{} is not in it",
            written.key
        );
        let none = [
            "http.inbound_secret_file",
            "http.trusted_proxies",
            "http.public_url",
            "http.compat",
            "http.tls.",
            "web.console_networks",
            "web.console_listen",
            "radius.eap.",
            "radius.dictionary",
            "radius.tls.certificate",
            "radius.tls.key",
            "radius.tls.client_ca",
            "policies.departures",
            "policies.countries",
            "audit.ship_",
            "audit.heads",
        ];
        if !none.iter().any(|key| written.key.starts_with(key)) {
            assert_eq!(written.value, default.value, "{}", written.key);
        }
    }
}

#[test]
fn every_key_is_effective_once() {
    let config = config("", &[]);
    let mut shown: Vec<&str> = config
        .effective()
        .iter()
        .map(|one| one.key.as_str())
        .collect();
    let mut known: Vec<&str> = keys::ALL.iter().map(|key| key.path).collect();
    assert_eq!(shown, known);
    shown.sort_unstable();
    shown.dedup();
    known.sort_unstable();
    assert_eq!(shown, known);
}

#[test]
fn the_environment_wins_and_is_named() {
    let text = "[radius]\nlisten = [\"10.0.0.1:1812\"]\n[log]\nlevel = \"warn\"\n";
    let config = config(
        text,
        &[
            ("ONCEGATE__RADIUS__LISTEN", "0.0.0.0:1812,[::]:1812"),
            ("ONCEGATE__HTTP__TLS__CERTIFICATE", "/etc/c.pem"),
            ("ONCEGATE__HTTP__TLS__KEY", "k.pem"),
            ("ONCEGATE_DIR", "elsewhere"),
        ],
    );
    assert_eq!(config.radius.listen.len(), 2);
    let tls = Tls {
        certificate: "/etc/c.pem".into(),
        key: "/data/k.pem".into(),
    };
    assert_eq!(config.http.tls, Some(tls));
    let effective = |key: &str| {
        config
            .effective()
            .iter()
            .find(|one| one.key == key)
            .cloned()
            .unwrap()
    };
    assert_eq!(
        effective("radius.listen"),
        EffectiveValue {
            key: "radius.listen".to_owned(),
            value: "0.0.0.0:1812, [::]:1812".to_owned(),
            origin: Origin::Env {
                name: "ONCEGATE__RADIUS__LISTEN".to_owned()
            },
        }
    );
    let file = Origin::File {
        file: "oncegate.toml".to_owned(),
        line: 4,
    };
    assert_eq!(effective("log.level").origin, file);
    assert_eq!(effective("log.format").origin, Origin::Default);
}

#[test]
fn all_faults_come_together_and_read_like_a_compilers() {
    let text = "[radius]\nlisen = \"127.0.0.1:1812\"\n[limits]\nrequest_timeout = 3\n";
    let findings = load(text, &[("ONCEGATE__LOG__LEVLE", "info")]).unwrap_err();
    assert_eq!(
        render_all(&findings, Colour::Plain),
        r"error: unknown environment variable `ONCEGATE__LOG__LEVLE`
 |
 = help: did you mean `ONCEGATE__LOG__LEVEL`?

error: unknown key `radius.lisen`
 --> oncegate.toml:2:1
  |
2 | lisen =
  | ^^^^^
  |
  = help: did you mean `listen`?

error: `limits.request_timeout`: `3` is not a duration: write a number and ms, s, m, h or d
 --> oncegate.toml:4:19
  |
4 | request_timeout = 3
  |                   ^"
    );
}

#[test]
fn plain_http_beyond_loopback_needs_a_word() {
    let text = "[http]\nlisten = [\"127.0.0.1:80\", \"0.0.0.0:81\"]\n";
    let found = errors(text, &[]);
    let wanted = "oncegate.toml:2:27: error: HTTP on 0.0.0.0:81 needs TLS (set certificate and key";
    assert!(
        found.len() == 1 && found.concat().starts_with(wanted),
        "{found:?}"
    );
    let (config, warnings) = load(&format!("{text}insecure = true\n"), &[]).unwrap();
    assert!(config.http.insecure);
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let wanted = "oncegate.toml:2:27: warning: HTTP on 0.0.0.0:81 is served without TLS";
    assert!(
        warnings.len() == 1 && warnings.concat().starts_with(wanted),
        "{warnings:?}"
    );
    let tls = "[http.tls]\ncertificate = \"c\"\nkey = \"k\"\n";
    assert!(load(&format!("{text}{tls}"), &[]).unwrap().1.is_empty());
    assert!(load("[http]\nlisten = \"[::ffff:127.0.0.1]:80\"\n", &[]).is_ok());
    assert!(load("[http]\nlisten = \"0.0.0.0:80\"\nenabled = false\n", &[]).is_ok());
    // The console's own listeners carry passwords as well, with HTTP or without it.
    let own = "[web]\nconsole_listen = \"0.0.0.0:9443\"\n";
    for more in ["", "[http]\nenabled = false\n"] {
        let found = errors(&format!("{own}{more}"), &[]);
        let wanted = "oncegate.toml:2:18: error: HTTP on 0.0.0.0:9443 needs TLS";
        assert!(
            found.len() == 1 && found.concat().starts_with(wanted),
            "{found:?}"
        );
    }
    let insecure = load(&format!("{own}[http]\ninsecure = true\n"), &[]);
    assert_eq!(insecure.unwrap().1.len(), 1);
    assert!(load(&format!("{own}{tls}"), &[]).unwrap().1.is_empty());
    assert!(load("[web]\nconsole_listen = \"[::ffff:127.0.0.1]:81\"\n", &[]).is_ok());
}

#[test]
fn the_master_key_is_never_quoted() {
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQ";
    for text in [
        format!("[keys]\nmaster = \"{secret}\"\n"),
        format!("[keys]\nmaster = \"hex:{secret}\"\n"),
    ] {
        let findings = load(&text, &[]).unwrap_err();
        let rendered = render_all(&findings, Colour::Plain);
        assert!(
            rendered.contains("oncegate.toml:2: `keys.master` does not say"),
            "{rendered}"
        );
        assert!(!rendered.contains(secret), "{rendered}");
    }
    let findings = load("", &[("ONCEGATE__KEYS__MASTER", secret)]).unwrap_err();
    assert!(!render_all(&findings, Colour::Plain).contains(secret));
    let master = |value: &str| {
        config(&format!("[keys]\nmaster = \"{value}\"\n"), &[])
            .keys
            .master
    };
    assert_eq!(master("env:KEK"), MasterKey::Env("KEK".to_owned()));
    assert_eq!(
        master("credential:kek"),
        MasterKey::Credential("kek".to_owned())
    );
    assert_eq!(master("file:/etc/kek"), MasterKey::File("/etc/kek".into()));
}

/// What was pasted in the wrong place is named by its line, and repeated nowhere.
#[test]
#[allow(clippy::too_many_lines)] // one mistake after the other
fn a_secret_in_the_wrong_place_is_never_quoted() {
    const SECRET: &str = "c2VjcmV0";
    let sql = "kind = \"sql\"\nquery = \"SELECT 1\"\nurl = ";
    let ldap = "kind = \"ldap\"\nbind_dn = \"cn=r\"\nbase = \"dc=e\"\nsecret_file = \"f\"\nurl = ";
    for (table, text) in [
        (
            "source.hr",
            format!("{sql}\"postgresql://u:SECRET@127.0.0.1/db\""),
        ),
        ("source.hr", format!("{sql}\"postgresql://u:SECRET\"")),
        (
            "source.hr",
            format!("{sql}\"mysql://u:SECRET@127.0.0.1/db\""),
        ),
        ("source.hr", format!("{ldap}\"ldaps://cn=r:SECRET@dc1\"")),
        ("source.hr", format!("{ldap}[\"ldaps://dc1\", \"SECRET\"]")),
        (
            "source.hr",
            "kind = \"file\"\nfile = \"f\"\nurl = \"postgresql://u:SECRET@h/db\"".to_owned(),
        ),
        (
            "source.hr",
            format!("{ldap}\"ldaps://dc1\"\nbind_password = \"SECRET\""),
        ),
        (
            "audit",
            "ship_http = \"https://u:SECRET@h/?token=SECRET\"".to_owned(),
        ),
        ("audit", "ship_http = \"http://h/?token=SECRET\"".to_owned()),
        (
            "audit",
            "ship_syslog = \"tls://u:SECRET@h:6514\"".to_owned(),
        ),
        ("http", "public_url = \"https://u:SECRET@h\"".to_owned()),
        (
            "http",
            "compat = \"vpn yubico 192.0.2.7 id=1 key=SECRET\"".to_owned(),
        ),
        (
            "webhook.desk",
            "secret_file = \"f\"\nurl = \"https://u:SECRET@h/\"".to_owned(),
        ),
        (
            "webhook.desk",
            "secret_file = \"f\"\nurl = \"http://h/?k=SECRET\"".to_owned(),
        ),
        ("delivery.sms", "password = \"SECRET\"".to_owned()),
        ("delivery.sms", "pass.word = \"SECRET\"".to_owned()),
        ("delivery.sms", "\"pass word\" = \"SECRET\"".to_owned()),
        (
            "delivery.sms",
            "headers = { Authorization = \"SECRET\" }".to_owned(),
        ),
        (
            "delivery.sms",
            "headers = [{ Authorization = \"SECRET\" }]".to_owned(),
        ),
        (
            "delivery.sms",
            "kind = \"http\"\nbody = '{\"key\": \"SECRET\"'".to_owned(),
        ),
        (
            "delivery.sms",
            "kind = \"http\"\nurl = \"ftp://h/?key=SECRET\"".to_owned(),
        ),
        ("delivery", "sms = \"SECRET\"".to_owned()),
        ("delivery", "Sms = \"SECRET\"".to_owned()),
        (
            "delivery",
            "sms = { kind = \"htp\", password = \"SECRET\", x = 1 }".to_owned(),
        ),
        ("keys", "mastr = \"SECRET\"".to_owned()),
        ("keys", "master = SECRET".to_owned()),
        ("keys", "master = { key = \"SECRET\" }".to_owned()),
        ("", "keys = \"SECRET\"".to_owned()),
    ] {
        let table = if table.is_empty() {
            String::new()
        } else {
            format!("[{table}]\n")
        };
        let text = format!("{table}{text}\n").replace("SECRET", SECRET);
        let findings = load(&text, &[]).unwrap_err();
        let mut said = render_all(&findings, Colour::Plain);
        for one in &findings {
            said = format!("{said}\n{one} {:?}", one.finding());
        }
        assert!(!said.contains(SECRET), "{text}\n{said}");
        let last = format!("oncegate.toml:{}", text.lines().count());
        assert!(said.contains(&last), "no {last}\n{text}\n{said}");
    }
    for (name, value) in [
        ("AUDIT__SHIP_HTTP", "https://u:SECRET@h/"),
        ("HTTP__PUBLIC_URL", "https://u:SECRET@h/"),
        ("HTTP__COMPAT", "vpn yubico 192.0.2.7 id=1 key=SECRET"),
        ("KEYS__MASTR", "SECRET"),
    ] {
        let name = format!("ONCEGATE__{name}");
        let value = value.replace("SECRET", SECRET);
        let findings = load("", &[(&name, &value)]).unwrap_err();
        let said = render_all(&findings, Colour::Plain);
        assert!(said.contains(&name) && !said.contains(SECRET), "{said}");
    }
}

/// What is right may be shown, but for what stands behind the `?` of a URL.
#[test]
fn a_url_is_shown_without_its_keys() {
    let text = "[audit]\nship_http = \"https://h/in?token=s3cret\"\n";
    let config = config(text, &[]);
    let shown = |key: &str| {
        let mut all = config.effective().iter();
        all.find(|value| value.key == key)
            .map(EffectiveValue::shown)
    };
    assert_eq!(
        shown("audit.ship_http").as_deref(),
        Some("https://h/in?token=[redacted]")
    );
    assert_eq!(shown("log.level").as_deref(), Some("info"));
}

#[test]
fn every_file_that_is_named_is_listed_with_its_key_and_line() {
    let text = "[radius]\ndictionary = \"d\"\n[radius.eap]\ncertificate = \"e.pem\"\nkey = \"e.key\"\n\
                [radius.tls]\ncertificate = \"r.pem\"\nkey = \"r.key\"\nclient_ca = \"r.ca\"\n\
                [http]\ninbound_secret_file = \"in\"\ncompat = \"vpn yubico 192.0.2.7 id=1 key_file=y\"\n\
                [http.tls]\ncertificate = \"h.pem\"\nkey = \"h.key\"\n\
                [policies]\ndepartures = \"away\"\ncountries = \"where\"\n\
                [audit]\nship_token_file = \"token\"\nship_ca_file = \"ship.ca\"\n\
                [source.hr]\nkind = \"sql\"\nurl = \"postgresql://u@h/d\"\nquery = \"SELECT 1\"\n\
                secret_file = \"hr\"\nca_file = \"hr.ca\"\n\
                [webhook.desk]\nurl = \"https://h/\"\nsecret_file = \"desk\"\nca_file = \"desk.ca\"\n\
                [delivery.mail]\nkind = \"smtp\"\nmedia = \"email\"\nhost = \"h\"\nfrom = \"a@b.example\"\n\
                user = \"u\"\nsecret_file = \"mail\"\nca_file = \"mail.ca\"\n";
    let files = config(text, &[]).named_files();
    let names: Vec<&str> = files
        .iter()
        .map(|file| file.path.strip_prefix("/data").unwrap().to_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "e.pem", "e.key", "d", "r.pem", "r.key", "r.ca", "in", "y", "h.pem", "h.key",
            "policies", "away", "where", "token", "ship.ca", "mail", "mail.ca", "hr", "hr.ca",
            "desk", "desk.ca",
        ]
    );
    let secrets = files.iter().filter(|file| file.holds.is_secret());
    let secrets: Vec<&str> = secrets.map(|file| file.key.as_str()).collect();
    assert_eq!(
        secrets,
        [
            "radius.eap.key",
            "radius.tls.key",
            "http.inbound_secret_file",
            "http.compat",
            "http.tls.key",
            "audit.ship_token_file",
            "delivery.mail.secret_file",
            "source.hr.secret_file",
            "webhook.desk.secret_file",
        ]
    );
    for file in &files {
        let Origin::File { line, .. } = file.origin else {
            assert_eq!(file.key, "policies.dir");
            continue;
        };
        let written = text.lines().nth(line - 1).unwrap();
        let key = file.key.rsplit('.').next().unwrap();
        assert!(written.starts_with(key), "{file:?}: {written}");
    }
}

#[test]
fn every_seal_algorithm_is_selected_by_its_word() {
    for algorithm in SealAlgorithm::ALL {
        let config = config(&format!("[keys]\nalgorithm = \"{algorithm}\"\n"), &[]);
        assert_eq!(config.keys.algorithm, algorithm);
        let shown = config.effective().iter();
        let shown = shown.filter(|one| one.key == "keys.algorithm");
        let values: Vec<&str> = shown.map(|one| one.value.as_str()).collect();
        assert_eq!(values, [algorithm.as_str()]);
    }
    let findings = errors("[keys]\nalgorithm = \"aria-128-gcm\"\n", &[]);
    assert!(findings.concat().contains("did you mean `aria-256-gcm`?"));
    assert_eq!(errors("[keys]\nalgorithm = \"none\"\n", &[]).len(), 1);
}

#[test]
fn wrong_values_are_refused_at_their_place() {
    let cases = [
        (
            "[store]\nengine = \"postgres\"",
            "2:10: error: `store.engine`: engine `postgres` is not",
        ),
        (
            "delivery = \"x\"",
            "1:12: error: `delivery` must be a table",
        ),
        (
            "[radius.tls]\nkey = \"x\"",
            "2:7: error: `radius.tls.certificate` is missing",
        ),
        (
            "[radius]\nlisten = \"localhost\"",
            "2:10: error: `radius.listen`: `localhost` is not an",
        ),
        (
            "[radius]\nlisten = []",
            "oncegate.toml:2: error: `radius.listen` is empty (name an address",
        ),
        (
            "[http]\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:1\"]",
            "2:26: error: 127.0.0.1:1 is listed",
        ),
        (
            "[http]\ninsecure = \"yes\"",
            "2:12: error: `http.insecure`: `yes` is neither true nor",
        ),
        (
            "[http.tls]\nkey = \"k\"",
            "2:7: error: `http.tls.certificate` is missing",
        ),
        (
            "[limits]\nradius_in_flight = 0",
            "2:20: error: `limits.radius_in_flight`: `0` is not a",
        ),
        (
            "[limits]\nrequest_timeout = \"1ms\"",
            "2:19: error: `limits.request_timeout`: write 100ms",
        ),
        (
            "[limits]\nhttp_body = \"1MiB\"",
            "2:1: error: unknown key `limits.http_body`",
        ),
        (
            "[log]\nlevel = \"inof\"",
            "2:9: error: `log.level`: `inof`: did you mean `info`?",
        ),
        (
            "[log]\nlevel = [\"info\", \"warn\"]",
            "2:10: error: `log.level` must be one value",
        ),
        (
            "[raduis]\nlisten = \"x\"",
            "1:2: error: unknown key `raduis` (did you mean `radius`?)",
        ),
        ("radius = 1", "1:10: error: `radius` must be a table"),
        (
            "[radius]\nenabled = false\n[http]\nenabled = false",
            "are both false",
        ),
        ("[radius", "error: unclosed table, expected `]`"),
    ];
    for (text, wanted) in cases {
        let found = errors(text, &[]);
        assert!(
            found.len() == 1 && found.concat().contains(wanted),
            "{text}\n{found:?}"
        );
    }
    let found = errors("", &[("ONCEGATE__AUDIT__SEGMENT_SIZE", "1KiB")]);
    let wanted =
        "error: `audit.segment_size`: write 1MiB to 1GiB (from ONCEGATE__AUDIT__SEGMENT_SIZE)";
    assert_eq!(found, [wanted]);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,200}", value in ".{0,30}") {
        for key in keys::ALL {
            let written = format!("{text}\n{} = '''{value}'''", key.path);
            let findings = load(&written, &[(&key.variable(), &value)]);
            if let Err(findings) = findings {
                prop_assert!(!render_all(&findings, Colour::Plain).is_empty());
            }
        }
    }

    #[test]
    fn bent_templates_are_read_or_refused(at in 0_usize..3000, with in "[\\[\\]\"=#a-z0-9:/\n,.]{0,6}") {
        let full = TEMPLATE.replace("\n# ", "\n");
        let at = at.min(full.len());
        if let (Some(head), Some(tail)) = (full.get(..at), full.get(at..)) {
            let _ = load(&format!("{head}{with}{tail}"), &[]);
        }
    }
}
