//! A service with people and gateways behind a listener, for what the program prints about it.

use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use oncegate::admin::{CredentialsPatch, Grant, NewRadiusClient, NewVerifier, UserPatch};
use oncegate::config::Limits;
use oncegate::login::{LoginOutcome, LoginRequest, Presented};
use oncegate::model::audit::Channel;
use oncegate::model::client::{Client, Require, Scope};
use oncegate::model::kind::Kind;
use oncegate::model::reason::Reason;
use oncegate::model::user_key::UserKey;
use oncegate::secret::SecretString;
use oncegate::server::Info;
use oncegate::server::http::{App, serve_tcp};
use oncegate::store::WaiverKind;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::support::service::TestService;

/// What the VPN asks for.
pub(crate) const VPN: &str = r#"reject_delay = "0s"
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

/// What everybody else asks for.
pub(crate) const DEFAULT: &str =
    "reject_delay = \"0s\"\n[[rule]]\nname = \"everybody\"\nrequire = [\"otp\"]\n";
/// Everybody's PIN.
pub(crate) const PIN: &str = "884213";
/// Not in the office.
pub(crate) const AWAY: &str = "203.0.113.9";

/// The service, its listener and an administrator's key.
pub(crate) struct House {
    pub(crate) test: TestService,
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
pub(crate) struct Ask<'a> {
    pub(crate) user: &'a str,
    pub(crate) client: &'a str,
    pub(crate) typed: &'a str,
    pub(crate) from: Option<&'a str>,
    pub(crate) challenge: Option<&'a str>,
    pub(crate) context: &'a [(&'a str, &'a str)],
}

impl House {
    /// At nine on a Thursday in Seoul: alice is staff, carl a contractor, zoe has no token.
    pub(crate) async fn new() -> Self {
        let policies = [
            ("policies/default.toml", DEFAULT),
            ("policies/vpn.toml", VPN),
        ];
        let test = TestService::new(&policies);
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
                .admin
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
                require: Require::True,
                challenge,
                methods: oncegate::model::method::Allowed::default(),
                settings: oncegate::model::client::RadiusSettings::default(),
            };
            test.service
                .admin
                .add_radius_client(new, test.by())
                .await
                .unwrap();
        }
        let api = |scope| vec![scope];
        let add = test.service.admin.add_api_client(
            "app".into(),
            api(Scope::Verify),
            None,
            None,
            test.by(),
        );
        add.await.unwrap();
        let add = test.service.admin.add_api_client(
            "ops".into(),
            api(Scope::Admin),
            None,
            None,
            test.by(),
        );
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
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> (String, LoginOutcome) {
        let service = &self.test.service;
        let (id, at) = service.core.arrival().unwrap();
        let client: Client = service.admin.client(ask.client).unwrap();
        let (channel, method) = match ask.client {
            "app" => (Channel::Http, "http"),
            _ => (Channel::Radius, "pap"),
        };
        let typed = SecretString::from(ask.typed);
        let request = LoginRequest {
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
            origin: None,
            serial: None,
            carrier: None,
            context: ask.context,
        };
        let decided = service.login.authenticate(&request).await.unwrap();
        (id.to_string(), decided)
    }

    /// Asks at the VPN from away; the id and the reason.
    pub(crate) async fn vpn(&self, user: &str, typed: &str) -> (String, Reason) {
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

    /// PIN and code in one box.
    pub(crate) fn joined(&self, user: &str) -> String {
        format!("{PIN},{}", self.test.code(user, 0))
    }

    /// Four hours without a code.
    pub(crate) async fn bypass(&self, user: &str) {
        let now = self.test.service.core.now();
        let user = key(user);
        let grant = Grant {
            reason: "telephone lost, ticket 4711".to_owned(),
            from: now,
            until: now.plus(Duration::from_hours(4)),
        };
        let granted =
            self.test
                .service
                .admin
                .grant(&user, WaiverKind::Bypass, grant, self.test.by());
        granted.await.unwrap();
    }

    /// Runs the program against the service: exit code, stdout, stderr.
    pub(crate) fn run(&self, words: &[&str]) -> (i32, String, String) {
        self.run_with(words, "")
    }

    /// The same, with standard input.
    pub(crate) fn run_with(&self, words: &[&str], input: &str) -> (i32, String, String) {
        self.run_as(self.key.path(), words, input)
    }

    /// A key with this role, in a file.
    pub(crate) async fn key_of(&self, name: &str, scope: Scope) -> tempfile::NamedTempFile {
        let (service, by) = (&self.test.service, self.test.by());
        let add = service
            .admin
            .add_api_client(name.into(), vec![scope], None, None, by);
        let (_, secret) = add.await.unwrap();
        let key = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(key.path(), secret.expose()).unwrap();
        key
    }

    /// The same with another key.
    pub(crate) fn run_as(&self, key: &Path, words: &[&str], input: &str) -> (i32, String, String) {
        run_at(self.address, key, words, input)
    }

    /// The document that a command prints.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let (code, out, err) = self.run(&[words, &["--json"]].concat());
        assert_eq!(code, 0, "{out}{err}");
        serde_json::from_str(&out).unwrap()
    }

    /// Compares what a command prints with `tests/golden/explain/NAME.txt`.
    pub(crate) fn golden(&self, name: &str, words: &[&str]) {
        let (code, out, err) = self.run(words);
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        // Commands name the server that was asked, whose port and key file are new each time.
        let line = |line: &str| line.split(" --server http").next().unwrap().to_owned() + "\n";
        let shown = counted(&out.lines().map(line).collect::<String>());
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

    /// Compares the explanation of a request.
    pub(crate) fn explained(&self, name: &str, id: &str) {
        self.golden(name, &["explain", id]);
    }
}

/// Runs the program against the listener at this address: exit code, stdout, stderr.
pub(crate) fn run_at(
    address: std::net::SocketAddr,
    key: &Path,
    words: &[&str],
    input: &str,
) -> (i32, String, String) {
    let output = tokio::task::block_in_place(|| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oncegate"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ONCEGATE")) {
            command.env_remove(name);
        }
        command
            .arg0("oncegate")
            .env("TZ", "UTC")
            .args(words)
            .args(["--server", &format!("http://{address}"), "--key-file"])
            .arg(key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that refuses its arguments does not read its input.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    });
    let text = |octets| String::from_utf8(octets).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

const LIMITS: Limits = Limits {
    radius_in_flight: 1,
    radius_queue: 1,
    http_connections: 16,
    http_connections_per_address: 256,
    http_client_rate: None,
    request_timeout: Duration::from_secs(3),
    reject_queue: 16,
    password_threads: None,
    password_queue: 64,
    password_cost: oncegate::credential::Cost::DEFAULT,
};

/// The user of this name.
pub(crate) fn key(name: &str) -> UserKey {
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
