//! `oncegate explain` as people read it, against a service whose clock stands still.
//!
//! The goldens are `tests/golden/explain/*.txt`; ids and serials differ from run to run and are
//! counted instead. `ONCEGATE_GOLDEN=write` writes them anew: read them aloud before you commit them.

use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use oncegate::config::Limits;
use oncegate::diagnostic::Source;
use oncegate::model::audit::Channel;
use oncegate::model::client::Client;
use oncegate::model::client::Scope;
use oncegate::model::kind::Kind;
use oncegate::model::reason::Reason;
use oncegate::model::user_key::UserKey;
use oncegate::policy::Policies;
use oncegate::secret::SecretString;
use oncegate::server::Info;
use oncegate::server::http::App;
use oncegate::server::http::serve_tcp;
use oncegate::service::Decided;
use oncegate::service::Outcome;
use oncegate::service::Presented;
use oncegate::service::Request;
use oncegate::service::admin::CredentialsPatch;
use oncegate::service::admin::Grant;
use oncegate::service::admin::NewRadiusClient;
use oncegate::service::admin::NewVerifier;
use oncegate::service::admin::UserPatch;
use oncegate::service::explain::Supposed;
use oncegate::store::WaiverKind;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::support::service::TestService;

const VPN: &str = r#"reject_delay = "0s"
bypass = true

[[rule]]
name    = "contractors"
when    = { group = "contractors", time = "mon-fri 07:00-20:00 Asia/Seoul" }
require = ["pin", "otp"]

[[rule]]
name    = "office"
when    = { group = "staff", network = "10.0.0.0/8" }
require = ["otp"]

[[rule]]
name          = "staff"
when          = { group = "staff" }
require       = ["pin", "otp"]
present       = "either"
min_assurance = 2

[[rule]]
name    = "machines"
when    = { attribute."NAS-Port-Type" = "Virtual" }
require = ["otp"]

[lockout]
free       = 3
lock_after = 3
"#;

const DEFAULT: &str =
    "reject_delay = \"0s\"\n[[rule]]\nname = \"everybody\"\nrequire = [\"otp\"]\n";
const PIN: &str = "884213";
const AWAY: &str = "203.0.113.9";

struct House {
    test: TestService,
    address: std::net::SocketAddr,
    /// The administrator's key.
    key: tempfile::NamedTempFile,
    stop: CancellationToken,
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What is asked.
#[derive(Default)]
struct Ask<'a> {
    user: &'a str,
    client: &'a str,
    typed: &'a str,
    from: Option<&'a str>,
    challenge: Option<&'a str>,
    context: &'a [(&'a str, &'a str)],
}

impl House {
    /// At nine on a Thursday in Seoul: alice is staff, carl a contractor, zoe has no token.
    async fn new() -> Self {
        let policies = [
            ("policies/default.toml", DEFAULT),
            ("policies/vpn.toml", VPN),
        ];
        let test = TestService::new(&policies).await;
        for (name, group) in [
            ("alice", "staff"),
            ("carl", "contractors"),
            ("zoe", "staff"),
        ] {
            let patch = UserPatch {
                groups: Some(vec![group.to_owned()]),
                credentials: CredentialsPatch {
                    pin: Some(NewVerifier::Text(SecretString::from(PIN))),
                    ..CredentialsPatch::default()
                },
                ..UserPatch::default()
            };
            test.service
                .add_user(key(name), patch, test.by())
                .await
                .unwrap();
        }
        test.token("alice", Kind::Totp).await;
        test.token("carl", Kind::Totp).await;
        for (name, address, challenge) in [("vpn", "192.0.2.1", true), ("old", "192.0.2.2", false)]
        {
            let new = NewRadiusClient {
                name: name.to_owned(),
                addresses: vec![format!("{address}/32").parse().unwrap()],
                secret: Some(SecretString::from("a-shared-secret-for-tests")),
                policy: Some("vpn".to_owned()),
                realm: None,
                require: oncegate::model::client::Require::True,
                challenge,
            };
            test.service
                .add_radius_client(new, test.by())
                .await
                .unwrap();
        }
        let api = |scope| vec![scope];
        let add =
            test.service
                .add_api_client("app".into(), api(Scope::Verify), None, None, test.by());
        add.await.unwrap();
        let add =
            test.service
                .add_api_client("ops".into(), api(Scope::Admin), None, None, test.by());
        let (_, secret) = add.await.unwrap();
        let key = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(key.path(), secret.expose()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = App::new(Arc::clone(&test.service), LIMITS, Info::default());
        let stop = CancellationToken::new();
        let places = Arc::new(Semaphore::new(8));
        tokio::spawn(serve_tcp(listener, None, app, places, stop.clone()));
        Self {
            test,
            address,
            key,
            stop,
        }
    }

    /// Asks, and gives the id of the request.
    async fn ask(&self, ask: Ask<'_>) -> (String, Decided) {
        let service = &self.test.service;
        let (id, at) = service.arrival().unwrap();
        let client: Client = service.client(ask.client).unwrap();
        let (channel, method) = match ask.client {
            "app" => (Channel::Http, "http"),
            _ => (Channel::Radius, "pap"),
        };
        let typed = SecretString::from(ask.typed);
        let request = Request {
            id,
            at,
            deadline: at.plus(Duration::from_secs(3)),
            client: &client,
            channel,
            method,
            user: ask.user,
            presented: Presented::Passcode(&typed),
            challenge: ask.challenge,
            rounds: ask.client != "old",
            source: ask.from.map(|from| from.parse::<IpAddr>().unwrap()),
            attributes: &[],
            context: ask.context,
        };
        let decided = service.authenticate(&request).await.unwrap();
        (id.to_string(), decided)
    }

    /// Asks at the VPN from away; the id and the reason.
    async fn vpn(&self, user: &str, typed: &str) -> (String, Reason) {
        let ask = Ask {
            user,
            client: "vpn",
            typed,
            from: Some(AWAY),
            ..Ask::default()
        };
        let (id, decided) = self.ask(ask).await;
        (id, decided.reason)
    }

    fn joined(&self, user: &str) -> String {
        format!("{PIN},{}", self.test.code(user, 0))
    }

    async fn bypass(&self, user: &str) {
        let now = self.test.service.now();
        let user = key(user);
        let grant = Grant {
            reason: "telephone lost, ticket 4711".to_owned(),
            from: now,
            until: now.plus(Duration::from_hours(4)),
        };
        let granted = self
            .test
            .service
            .grant(&user, WaiverKind::Bypass, grant, self.test.by());
        granted.await.unwrap();
    }

    /// Runs the program against the service: exit code, stdout, stderr.
    fn run(&self, words: &[&str]) -> (i32, String, String) {
        let output = tokio::task::block_in_place(|| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_oncegate"));
            for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ONCEGATE")) {
                command.env_remove(name);
            }
            command
                .arg0("oncegate")
                .env("TZ", "UTC")
                .args(words)
                .args([
                    "--server",
                    &format!("http://{}", self.address),
                    "--key-file",
                ])
                .arg(self.key.path())
                .output()
                .unwrap()
        });
        let text = |octets| String::from_utf8(octets).unwrap();
        let code = output.status.code().unwrap();
        (code, text(output.stdout), text(output.stderr))
    }

    fn json(&self, words: &[&str]) -> Value {
        let (code, out, err) = self.run(&[words, &["--json"]].concat());
        assert_eq!(code, 0, "{out}{err}");
        serde_json::from_str(&out).unwrap()
    }

    /// Compares what a command prints with `tests/golden/explain/NAME.txt`.
    fn golden(&self, name: &str, words: &[&str]) {
        let (code, out, err) = self.run(words);
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        let shown = counted(&out);
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden/explain")
            .join(format!("{name}.txt"));
        if std::env::var_os("ONCEGATE_GOLDEN").is_some_and(|value| value == "write") {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &shown).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            shown,
            golden,
            "{}: ONCEGATE_GOLDEN=write writes it anew",
            path.display()
        );
    }

    fn explained(&self, name: &str, id: &str) {
        self.golden(name, &["explain", id]);
    }
}

const LIMITS: Limits = Limits {
    radius_in_flight: 1,
    radius_queue: 1,
    http_connections: 16,
    request_timeout: Duration::from_secs(3),
    reject_queue: 16,
    password_threads: None,
    password_queue: 64,
    password_cost: oncegate::credential::Cost::DEFAULT,
};

fn key(name: &str) -> UserKey {
    UserKey::parse(name).unwrap()
}

/// Request ids and serials, by the order in which they appear.
fn counted(text: &str) -> String {
    let mut seen: Vec<String> = Vec::new();
    let mut shown = String::new();
    let mut word = String::new();
    for letter in text.chars().chain(['\n']) {
        if letter.is_ascii_alphanumeric() || letter == '-' {
            word.push(letter);
            continue;
        }
        let id = word.len() == 26 && word.starts_with("01") && !word.contains('-');
        let serial = word.len() == 13 && (word.starts_with("TOTP-") || word.starts_with("HOTP-"));
        if id || serial {
            let known = seen.iter().position(|one| *one == word);
            let place = known.unwrap_or_else(|| {
                seen.push(word.clone());
                seen.len() - 1
            });
            let letter = char::from(b'A' + u8::try_from(place).unwrap());
            let width = word.len() - 5;
            let fill = letter.to_string().repeat(width);
            word = format!("{}{fill}", &word[..5]);
        }
        shown.push_str(&word);
        shown.push(letter);
        word.clear();
    }
    shown.pop();
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_code() {
    let house = House::new().await;
    let (id, reason) = house.vpn("alice", &format!("{PIN}000000")).await;
    assert_eq!(
        reason,
        Reason::WrongPin,
        "read as a PIN: the first factor alone"
    );
    let ask = Ask {
        user: "alice",
        client: "old",
        typed: &format!("{PIN}000000"),
        from: Some(AWAY),
        ..Ask::default()
    };
    house.explained("wrong-pin-of-either", &id);
    let (id, decided) = house.ask(ask).await;
    assert_eq!(decided.reason, Reason::WrongCode);
    house.explained("wrong-code", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_code() {
    let house = House::new().await;
    let typed = house.joined("alice");
    let (first, reason) = house.vpn("alice", &typed).await;
    assert_eq!(reason, Reason::TotpOk);
    house.explained("accept", &first);
    house.test.clock.advance(Duration::from_secs(7));
    let (second, reason) = house.vpn("alice", &typed).await;
    assert_eq!(reason, Reason::UsedCode);
    house.explained("used-code", &second);
    let json = house.json(&["explain", &second]);
    let one = &json["records"][0];
    assert_eq!(one["token"]["used_by"]["request_id"], first.as_str());
    assert_eq!(one["login"]["rule"]["place"], "policies/vpn.toml:14");
    assert_eq!(one["login"]["rules"][1]["conditions"][1]["held"], "no");
    assert_eq!(one["next"][1]["command"][0], "oncegate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pin() {
    let house = House::new().await;
    let code = house.test.code("alice", 0);
    let (id, reason) = house.vpn("alice", &format!("111111,{code}")).await;
    assert_eq!(reason, Reason::WrongPin);
    house.explained("wrong-pin", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_with_a_hostile_name() {
    let house = House::new().await;
    let (id, reason) = house.vpn("eve; reboot", "123456").await;
    assert_eq!(reason, Reason::UnknownUser);
    house.explained("unknown-user", &id);
    let (id, _) = house.vpn("eve\u{1b}[2J\r\nroot", "123456").await;
    house.explained("unreadable-user", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_then_and_now() {
    let house = House::new().await;
    for _ in 0..3 {
        house.vpn("carl", "000000000000").await;
        house.test.clock.advance(Duration::from_secs(20));
    }
    let (id, reason) = house.vpn("carl", &house.joined("carl")).await;
    assert_eq!(reason, Reason::Locked);
    house.explained("locked", &id);
    house.golden(
        "what-if-locked",
        &[
            "explain", "--user", "carl", "--client", "vpn", "--from", AWAY,
        ],
    );
    let service = &house.test.service;
    service
        .unlock_user(&key("carl"), house.test.by())
        .await
        .unwrap();
    house.explained("locked-then-unlocked", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rule_outside_hours() {
    let house = House::new().await;
    house.test.clock.advance(Duration::from_hours(12));
    let (id, reason) = house.vpn("carl", "123456").await;
    assert_eq!(reason, Reason::NoRule);
    house.explained("no-rule", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn challenges() {
    let house = House::new().await;
    let ask = |typed, challenge| Ask {
        user: "alice",
        client: "vpn",
        typed,
        from: Some(AWAY),
        challenge,
        ..Ask::default()
    };
    let (asked, decided) = house.ask(ask(PIN, None)).await;
    let Outcome::Challenge(challenge) = decided.outcome else {
        panic!("{decided:?}");
    };
    house.explained("challenged", &asked);
    let code = house.test.code("alice", 0);
    let answer = ask(&code, Some(&challenge.id));
    let (_, decided) = house.ask(answer).await;
    assert_eq!(decided.reason, Reason::TotpOk);
    house.test.clock.advance(Duration::from_secs(30));
    let code = house.test.code("alice", 0);
    let (late, decided) = house.ask(ask(&code, Some(&challenge.id))).await;
    assert_eq!(decided.reason, Reason::StaleChallenge);
    house.explained("stale-challenge", &late);
    house.golden(
        "audit-list-challenge",
        &["audit", "list", "--decision", "challenge"],
    );
    house.golden("tail", &["tail", "-n", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bypass() {
    let house = House::new().await;
    house.bypass("carl").await;
    let (id, reason) = house.vpn("carl", PIN).await;
    assert_eq!(reason, Reason::BypassOk);
    house.explained("bypass", &id);
    house.golden(
        "what-if-bypass",
        &["explain", "--user", "carl", "--client", "vpn"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token() {
    let house = House::new().await;
    let (id, reason) = house.vpn("zoe", &format!("{PIN}123456")).await;
    assert_eq!(reason, Reason::NoToken);
    house.explained("no-token", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn low_assurance() {
    let house = House::new().await;
    let ask = Ask {
        user: "alice",
        client: "app",
        typed: &house.test.code("alice", 0),
        context: &[("min_assurance", "2")],
        ..Ask::default()
    };
    let (id, decided) = house.ask(ask).await;
    assert_eq!(decided.reason, Reason::LowAssurance);
    house.explained("low-assurance", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_happen() {
    let house = House::new().await;
    let ask = |user, more: &[&'static str]| {
        let mut words = vec!["explain", "--user", user, "--client", "vpn"];
        words.extend_from_slice(more);
        words
    };
    house.golden("what-if", &ask("alice", &["--from", AWAY]));
    house.golden("what-if-office", &ask("alice", &["--from", "10.1.2.3"]));
    let at = [
        "--at",
        "2026-01-03T03:00:00+09:00",
        "--attribute",
        "NAS-Port=7",
    ];
    house.golden("what-if-outside-hours", &ask("carl", &at));
    let old = ["explain", "--user", "alice", "--client", "old"];
    house.golden("what-if-no-challenge", &old);
    let app = ["explain", "--user", "alice", "--client", "app"];
    house.golden("what-if-http", &app);
    house.golden("what-if-unknown", &ask("mallory", &[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_since() {
    let house = House::new().await;
    let (id, _) = house.vpn("alice", &house.joined("alice")).await;
    let service = &house.test.service;
    let by = house.test.by();
    let change = by.request.to_string();
    let patch = UserPatch {
        groups: Some(vec!["interns".to_owned()]),
        ..UserPatch::default()
    };
    service
        .set_user(&key("alice"), patch, None, by)
        .await
        .unwrap();
    house.explained("changed-group", &id);
    house.explained("change", &change);
    let others = VPN.replace("name          = \"staff\"", "name = \"people\"");
    let sources = [
        Source::new("policies/default.toml", DEFAULT),
        Source::new("policies/vpn.toml", others.as_str()),
    ];
    let policies = Policies::parse(&sources, &|_, _| Ok(())).unwrap();
    service.replace_policies(policies).unwrap();
    house.explained("rule-gone", &id);
    service
        .remove_user(&key("alice"), house.test.by())
        .await
        .unwrap();
    service.remove_client("vpn", house.test.by()).await.unwrap();
    house.explained("all-gone", &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_and_the_unknown_is_not_found() {
    let house = House::new().await;
    house.vpn("alice", "000000").await;
    let seq = house.test.service.store().health().seq;
    let (id, _) = house.test.service.arrival().unwrap();
    let (code, out, err) = house.run(&["explain", &id.to_string()]);
    assert_eq!((code, out.as_str()), (4, ""), "{err}");
    assert!(err.contains("audit list"), "{err}");
    assert_eq!(house.run(&["explain", "nonsense"]).0, 2);
    let asked = ["explain", "--user", "alice", "--client", "nobody"];
    assert_eq!(house.run(&asked).0, 4);
    for client in ["vpn", "app", "local"] {
        let asked = [
            "explain", "--user", "alice", "--client", client, "--from", AWAY,
        ];
        assert_eq!(house.run(&asked).0, 0);
    }
    assert_eq!(house.test.service.store().health().seq, seq);
}

/// What is foreseen is what happens.
#[tokio::test(flavor = "multi_thread")]
async fn explanations_do_not_differ_from_decisions() {
    let house = House::new().await;
    let foreseen = async |user: &str, client: &str, from: Option<&str>| {
        let supposed = Supposed {
            user,
            client,
            at: None,
            source: from.map(|from| from.parse().unwrap()),
            method: None,
            attributes: &[],
            context: &[],
        };
        house
            .test
            .service
            .foresee(supposed)
            .await
            .unwrap()
            .situation
            .refused
    };
    let compare = async |user: &str, client: &str, from: Option<&str>, typed: &str| {
        let foreseen = foreseen(user, client, from).await;
        let ask = Ask {
            user,
            client,
            typed,
            from,
            ..Ask::default()
        };
        let (_, decided) = house.ask(ask).await;
        let accepted = matches!(decided.outcome, Outcome::Accept(_));
        let happened = (!accepted).then_some(decided.reason);
        assert_eq!(foreseen, happened, "{user} {client} {from:?}");
        happened
    };
    let right = house.joined("alice");
    assert_eq!(compare("alice", "vpn", Some(AWAY), &right).await, None);
    assert_eq!(
        compare("carl", "old", None, &house.joined("carl")).await,
        None
    );
    let no_token = compare("zoe", "vpn", Some(AWAY), &right).await;
    assert_eq!(no_token, Some(Reason::NoToken));
    let unknown = compare("mallory", "vpn", None, &right).await;
    assert_eq!(unknown, Some(Reason::UnknownUser));
    let service = &house.test.service;
    let disabled = UserPatch {
        disabled: Some(true),
        ..UserPatch::default()
    };
    service
        .set_user(&key("zoe"), disabled, None, house.test.by())
        .await
        .unwrap();
    let off = compare("zoe", "vpn", None, &right).await;
    assert_eq!(off, Some(Reason::UserDisabled));
    for _ in 0..3 {
        let guess = Ask {
            user: "carl",
            client: "vpn",
            typed: "000000000000",
            from: Some("198.51.100.7"),
            ..Ask::default()
        };
        house.ask(guess).await;
    }
    let locked = compare("carl", "vpn", Some(AWAY), &house.joined("carl")).await;
    assert_eq!(locked, Some(Reason::Locked));
    house.test.clock.advance(Duration::from_hours(12));
    let night = compare("carl", "vpn", Some("198.51.100.1"), &right).await;
    assert_eq!(night, Some(Reason::NoRule));
    let must = UserPatch {
        credentials: CredentialsPatch {
            must_change: Some(true),
            ..CredentialsPatch::default()
        },
        ..UserPatch::default()
    };
    service
        .set_user(&key("alice"), must, None, house.test.by())
        .await
        .unwrap();
    let must = compare("alice", "vpn", Some(AWAY), &house.joined("alice")).await;
    assert_eq!(must, Some(Reason::MustChange));
    for number in 0..20 {
        house.vpn(&format!("nobody{number}"), "123456").await;
    }
    let blocked = compare("nobody", "vpn", Some(AWAY), &right).await;
    assert_eq!(blocked, Some(Reason::SourceBlocked));
}

#[test]
fn every_reason_is_listed() {
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oncegate"));
        let output = command.args(words).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let text = run(&["explain", "--reasons"]);
    let json: Value = serde_json::from_str(&run(&["explain", "--reasons", "--json"])).unwrap();
    let rows = json["reasons"].as_array().unwrap();
    assert_eq!(rows.len(), Reason::ALL.len());
    for (reason, row) in Reason::ALL.iter().zip(rows) {
        assert_eq!(row["reason"], reason.as_str());
        assert_eq!(row["decision"], reason.decision().as_str());
        assert_eq!(row["advice"], reason.advice());
        let line = |line: &str| line.split_whitespace().next() == Some(reason.as_str());
        assert!(text.lines().any(line), "{reason}\n{text}");
    }
}
