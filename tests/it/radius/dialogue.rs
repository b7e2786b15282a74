//! Dialogues between gear and server, as scripts an operator can read (`tests/scripts/*.txt`), each
//! replayed twice: on the pipeline without a socket, and over UDP on loopback.
//!
//! ```text
//! CLIENT name network [secret=S] [require=true|false|auto]     USER name       TOKEN user
//! SEND label id=N auth=N [words]      AGAIN label     HOLD is the word `hold`; RELEASE, DROP label
//! EXPECT accept | reject | challenge | silence [word] | same-bytes label   PROXY_STATES a,b  AUDIT decisions
//! TIME_PASSES 30s   GUESS user n   DISABLE user   ROTATE client secret grace   LESSON client address
//! ```
//!
//! Whatever is not understood fails the run. Every reply is checked as a careful client would:
//! Identifier, Response Authenticator, and a valid Message-Authenticator as its first attribute.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oncegate::admin::UserPatch;
use oncegate::model::client::Require;
use oncegate::model::kind::Kind;
use oncegate::model::user_key::UserKey;
use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator::{RequestAuthenticator, SecretKeys, Signature};
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::{Code, Packet};
use oncegate::radius::request::RequestBuilder;
use oncegate::radius::verify;
use oncegate::secret::{SecretBytes, SecretString, SharedSecret};
use oncegate::server::radius::{Ingress, Job, Pipeline, Received, Settings, bind, run};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::service::TestService;

pub(crate) const SECRET: &str = "a-shared-secret-for-tests";

/// Rejects leave at once, so that scripts need no real time.
pub(crate) const POLICY: &str =
    "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";

pub(crate) const SETTINGS: Settings = Settings {
    in_flight: 64,
    queue: 64,
    reject_queue: 64,
    request_timeout: Duration::from_secs(3),
    drain: Duration::from_secs(5),
    lanes: 1,
    class: false,
};

#[tokio::test]
async fn scripts_without_sockets() {
    for (name, text) in scripts() {
        let pipeline_of = |service: &TestService| Wire::Direct(Direct::new(service));
        Dialogue::play(&name, &text, pipeline_of).await;
    }
}

#[tokio::test]
async fn scripts_over_udp() {
    for (name, text) in scripts() {
        if !text.lines().any(|line| line == "IN_PROCESS") {
            Dialogue::play(&name, &text, |service| Wire::Udp(Udp::new(service))).await;
        }
    }
}

fn scripts() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 10, "scripts are only added");
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths
        .iter()
        .map(|path| (name(path), std::fs::read_to_string(path).unwrap()))
        .collect()
}

/// What came back.
enum Heard {
    Reply(Vec<u8>),
    /// With the word for the reason, where it can be known.
    Silence(Option<String>),
}

struct Sent {
    octets: Vec<u8>,
    from: SocketAddr,
    secret: String,
    reply: Option<Vec<u8>>,
}

struct Dialogue {
    at: String,
    service: TestService,
    wire: Wire,
    sent: HashMap<String, Sent>,
    secret: String,
    heard: Option<(String, Heard)>,
    /// Whether the next line expects silence.
    silent: bool,
}

impl Dialogue {
    async fn play(name: &str, text: &str, wire: impl FnOnce(&TestService) -> Wire) {
        let service = TestService::new(&[("default", POLICY)]);
        service
            .client("fence", "127.9.9.9/32", SECRET, Require::True, None)
            .await;
        let wire = wire(&service);
        let mut dialogue = Self {
            at: String::new(),
            service,
            wire,
            sent: HashMap::new(),
            secret: SECRET.to_owned(),
            heard: None,
            silent: false,
        };
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            if line.is_empty() || line.starts_with('#') || *line == "IN_PROCESS" {
                continue;
            }
            let next = lines.get(number + 1).copied().unwrap_or_default();
            dialogue.silent = next.starts_with("EXPECT silence");
            dialogue.at = format!("{name}:{}: {line}", number + 1);
            let words: Vec<&str> = line.split(' ').collect();
            dialogue.line(&words).await;
        }
        if let Wire::Udp(udp) = dialogue.wire {
            udp.end().await;
        }
    }

    async fn line(&mut self, words: &[&str]) {
        let at = self.at.clone();
        let service = &self.service.service;
        match words {
            ["CLIENT", name, network, rest @ ..] => {
                let mut require = Require::True;
                for word in rest {
                    match word.split_once('=') {
                        Some(("secret", secret)) => secret.clone_into(&mut self.secret),
                        Some(("require", word)) => require = word.parse().expect("a rule"),
                        _ => panic!("{at}: {word}?"),
                    }
                }
                self.service
                    .client(name, network, &self.secret, require, None)
                    .await;
            }
            ["USER", name] => self.service.user(name).await,
            ["TOKEN", user] => drop(self.service.token(user, Kind::Totp).await),
            ["DISABLE", user] => {
                let key = UserKey::parse(user).unwrap();
                let patch = UserPatch {
                    disabled: Some(true),
                    ..UserPatch::default()
                };
                service
                    .admin
                    .set_user(&key, patch, None, self.service.by())
                    .await
                    .unwrap();
            }
            ["ROTATE", client, secret, grace] => {
                let secret = Some(SecretString::from(*secret));
                let grace = duration(grace);
                service
                    .admin
                    .rotate_client(client, secret, (grace, true), self.service.by())
                    .await
                    .unwrap();
            }
            ["LESSON", client, address] => {
                let lesson = ((*client).to_owned(), address.parse().unwrap());
                assert!(
                    service.core.store().lessons().unwrap().contains(&lesson),
                    "{at}"
                );
            }
            ["TIME_PASSES", time] => self.service.clock.advance(duration(time)),
            ["AUDIT", count] => {
                assert_eq!(self.service.decisions().await.to_string(), **count, "{at}");
            }
            ["GUESS", user, count] => {
                let count: u32 = count.parse().unwrap();
                for number in 0..count {
                    self.service.clock.advance(Duration::from_secs(10));
                    let serial = 1000 + number;
                    let words =
                        format!("user={user} id={number} auth={serial} password=wrong port=99");
                    self.send(&format!("guess {number}"), words.split(' '))
                        .await;
                    assert!(matches!(self.heard, Some((_, Heard::Reply(_)))), "{at}");
                }
            }
            ["SEND", label, rest @ ..] => self.send(label, rest.iter().copied()).await,
            ["AGAIN", label] => self.exchange(label, false).await,
            ["RELEASE", label] => {
                let heard = self.wire.direct().release(label).await;
                self.hear(label, heard);
            }
            ["DROP", label] => drop(self.wire.direct().held.remove(*label).expect("held")),
            ["EXPECT", expected @ ..] => self.expect(expected),
            ["PROXY_STATES", states] => {
                let (_, Heard::Reply(reply)) = self.heard.as_ref().unwrap() else {
                    panic!("{at}: silence");
                };
                let reply = Packet::parse(reply).unwrap();
                let found: Vec<_> = reply.all(Type::ProxyState).collect();
                let wanted: Vec<_> = states.split(',').map(str::as_bytes).collect();
                assert_eq!(found, wanted, "{at}");
            }
            _ => panic!("{at}: not understood"),
        }
    }

    async fn send<'w>(&mut self, label: &str, words: impl Iterator<Item = &'w str>) {
        let request = Words::read(&self.at, words, &self.secret);
        let octets = request.datagram(&self.at, &self.service);
        let from = SocketAddr::new(request.from, 40_000 + request.port);
        let sent = Sent {
            octets,
            from,
            secret: request.secret.clone(),
            reply: None,
        };
        let old = self.sent.insert(label.to_owned(), sent);
        assert!(
            old.is_none() || label.starts_with("guess"),
            "{}: label used twice",
            self.at
        );
        self.exchange(label, request.hold).await;
    }

    async fn exchange(&mut self, label: &str, hold: bool) {
        let sent = self
            .sent
            .get(label)
            .unwrap_or_else(|| panic!("{}: no such label", self.at));
        let (octets, from) = (sent.octets.clone(), sent.from);
        let heard = match &mut self.wire {
            Wire::Direct(direct) => direct.exchange(label, &octets, from, hold).await,
            Wire::Udp(udp) => udp.exchange(&octets, from, self.silent).await,
        };
        self.hear(label, heard);
    }

    fn hear(&mut self, label: &str, heard: Heard) {
        let sent = self.sent.get_mut(label).unwrap();
        if let Heard::Reply(reply) = &heard {
            check_reply(&self.at, reply, sent);
            sent.reply.get_or_insert_with(|| reply.clone());
        }
        self.heard = Some((label.to_owned(), heard));
    }

    fn expect(&self, expected: &[&str]) {
        let at = &self.at;
        let (_, heard) = self
            .heard
            .as_ref()
            .unwrap_or_else(|| panic!("{at}: nothing was sent"));
        match (expected, heard) {
            (["accept"], Heard::Reply(reply)) => assert_eq!(reply[0], 2, "{at}"),
            (["reject"], Heard::Reply(reply)) => assert_eq!(reply[0], 3, "{at}"),
            (["challenge"], Heard::Reply(reply)) => assert_eq!(reply[0], 11, "{at}"),
            (["same-bytes", label], Heard::Reply(reply)) => {
                assert_eq!(Some(reply), self.sent[*label].reply.as_ref(), "{at}");
            }
            (["silence"], Heard::Silence(_)) | (["silence", _], Heard::Silence(None)) => {}
            (["silence", word], Heard::Silence(Some(found))) => assert_eq!(word, found, "{at}"),
            (_, Heard::Reply(reply)) => panic!("{at}: heard code {}", reply[0]),
            (_, Heard::Silence(word)) => panic!("{at}: heard nothing: {word:?}"),
        }
    }
}

/// As a careful client does.
fn check_reply(at: &str, reply: &[u8], sent: &Sent) {
    let request = Packet::parse(&sent.octets).unwrap();
    let reply = Packet::parse(reply).unwrap_or_else(|fault| panic!("{at}: {fault}"));
    let keys = keys(&sent.secret);
    let signature = verify::response(
        &reply,
        request.identifier,
        &request.request_authenticator(),
        &keys,
    );
    assert_eq!(signature, Ok(Signature::Valid), "{at}");
    let first = reply.attributes.iter().next().expect("an attribute");
    assert_eq!(
        first.r#type,
        Type::MessageAuthenticator,
        "{at}: first attribute"
    );
}

pub(crate) fn keys(secret: &str) -> SecretKeys {
    SecretKeys::new(SharedSecret::new(SecretBytes::from(secret.as_bytes())).unwrap())
}

fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let number = number.parse().unwrap();
    match unit {
        "s" => Duration::from_secs(number),
        "m" => Duration::from_mins(number),
        _ => panic!("{text}: s or m"),
    }
}

/// The words of a SEND line.
#[allow(clippy::struct_excessive_bools)] // one per word
struct Words {
    id: u8,
    authenticator: [u8; 16],
    user: Option<String>,
    password: Option<String>,
    hidden: Option<usize>,
    from: IpAddr,
    port: u16,
    secret: String,
    code: Code,
    proxy: Vec<String>,
    padding: usize,
    size: usize,
    cut: Option<usize>,
    raw: Option<Vec<u8>>,
    unsigned: bool,
    last: bool,
    twice: bool,
    forged: bool,
    chap: bool,
    eap: bool,
    hold: bool,
}

impl Words {
    fn read<'w>(at: &str, words: impl Iterator<Item = &'w str>, secret: &str) -> Self {
        let mut request = Self {
            id: 0,
            authenticator: [0; 16],
            user: Some("alice".to_owned()),
            password: None,
            hidden: None,
            from: IpAddr::from([127, 0, 0, 1]),
            port: 0,
            secret: secret.to_owned(),
            code: Code::AccessRequest,
            proxy: Vec::new(),
            padding: 0,
            size: 0,
            cut: None,
            raw: None,
            unsigned: false,
            last: false,
            twice: false,
            forged: false,
            chap: false,
            eap: false,
            hold: false,
        };
        for word in words {
            match word
                .split_once('=')
                .map_or((word, ""), |(name, value)| (name, value))
            {
                ("id", value) => request.id = value.parse().unwrap(),
                ("auth", value) => {
                    let number: u32 = value.parse().unwrap();
                    request.authenticator[12..].copy_from_slice(&number.to_be_bytes());
                }
                ("user", value) => request.user = Some(value.to_owned()),
                ("nobody", "") => request.user = None,
                ("password", value) => request.password = Some(value.to_owned()),
                ("hidden", value) => request.hidden = Some(value.parse().unwrap()),
                ("from", value) => request.from = value.parse().unwrap(),
                ("port", value) => request.port = value.parse().unwrap(),
                ("secret", value) => value.clone_into(&mut request.secret),
                ("code", value) => request.code = Code(value.parse().unwrap()),
                ("proxy", value) => request.proxy = value.split(',').map(str::to_owned).collect(),
                ("padding", value) => request.padding = value.parse().unwrap(),
                ("size", value) => request.size = value.parse().unwrap(),
                ("cut", value) => request.cut = Some(value.parse().unwrap()),
                ("raw", value) => request.raw = Some(unhex(value)),
                ("unsigned", "") => request.unsigned = true,
                ("last", "") => request.last = true,
                ("twice", "") => request.twice = true,
                ("forged", "") => request.forged = true,
                ("chap", "") => request.chap = true,
                ("eap", "") => request.eap = true,
                ("hold", "") => request.hold = true,
                _ => panic!("{at}: {word}?"),
            }
        }
        request
    }

    fn datagram(&self, at: &str, service: &TestService) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let keys = keys(&self.secret);
        let sign = if self.unsigned || self.last {
            MessageAuthenticator::Omit
        } else {
            MessageAuthenticator::First
        };
        let mut octets = Vec::new();
        let authenticator = RequestAuthenticator(self.authenticator);
        // A signature at the end is computed below; other codes than these two are not ours to
        // sign, and need not be.
        let mut builder = RequestBuilder::new(&mut octets, self.code, self.id, authenticator, sign);
        if let Some(user) = self
            .user
            .as_ref()
            .filter(|_| self.code != Code::StatusServer)
        {
            builder.attribute(Type::UserName, &unescape(user)).unwrap();
        }
        if let Some(password) = &self.password {
            let user = self.user.as_deref().unwrap_or_default();
            let password = match password.as_str() {
                "code" => service.code(user, 0).into_bytes(),
                "wrong" => wrong_code(service, user).into_bytes(),
                "long" => vec![b'1'; 128],
                text => unescape(text),
            };
            builder.user_password(&password, &keys).unwrap();
        }
        if let Some(length) = self.hidden {
            builder
                .attribute(Type::UserPassword, &vec![1; length])
                .unwrap();
        }
        if self.chap {
            builder.attribute(Type::ChapPassword, &[1; 17]).unwrap();
        }
        if self.eap {
            builder
                .attribute(Type::EapMessage, &[2, 77, 0, 6, 1, b'a'])
                .unwrap();
        }
        for state in &self.proxy {
            builder
                .attribute(Type::ProxyState, state.as_bytes())
                .unwrap();
        }
        builder.finish(&keys).unwrap();
        if self.size > 0 {
            return self.filled(octets, &keys);
        }
        if self.last {
            octets.extend([80, 18]);
            octets.extend([0; 16]);
            resign(&mut octets, &keys);
        }
        if self.twice {
            let signature = octets[20..38].to_vec();
            octets.extend(signature);
            let length = u16::try_from(octets.len()).unwrap();
            octets[2..4].copy_from_slice(&length.to_be_bytes());
        }
        if self.forged {
            assert_eq!(octets[20], 80, "{at}");
            octets[37] ^= 1;
        }
        octets.extend(vec![0xa5; self.padding]);
        octets.truncate(self.cut.unwrap_or(octets.len()));
        octets
    }

    /// The packet, made as long as wanted by an attribute nobody looks at.
    fn filled(&self, mut octets: Vec<u8>, keys: &SecretKeys) -> Vec<u8> {
        while octets.len() < self.size {
            let rest = self.size - octets.len();
            let length = if rest > 255 { 253.min(rest - 2) } else { rest };
            octets.extend([77, u8::try_from(length).unwrap()]);
            octets.resize(octets.len() + length - 2, b'.');
        }
        resign(&mut octets, keys);
        octets
    }
}

/// Sets Length and the one Message-Authenticator, wherever it is.
fn resign(octets: &mut [u8], keys: &SecretKeys) {
    use hmac::{KeyInit as _, Mac as _};
    let length = u16::try_from(octets.len()).unwrap();
    octets[2..4].copy_from_slice(&length.to_be_bytes());
    let mut at = 20;
    while octets[at] != 80 {
        at += usize::from(octets[at + 1]);
    }
    octets[at + 2..at + 18].fill(0);
    let mut hmac = hmac::Hmac::<md5::Md5>::new_from_slice(keys.secret().expose()).unwrap();
    hmac.update(octets);
    octets[at + 2..at + 18].copy_from_slice(&hmac.finalize().into_bytes());
}

/// Six digits that are no code of the user anywhere near.
fn wrong_code(service: &TestService, user: &str) -> String {
    let near: Vec<_> = (-20..20).map(|steps| service.code(user, steps)).collect();
    let wrong = (0..1000)
        .map(|number| format!("{number:06}"))
        .find(|code| !near.contains(code));
    wrong.unwrap()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut octets = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        octets.extend(unhex(&part[..2]));
        octets.extend(&part.as_bytes()[2..]);
    }
    octets
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(octet).collect()
}

enum Wire {
    Direct(Direct),
    Udp(Udp),
}

impl Wire {
    fn direct(&mut self) -> &mut Direct {
        match self {
            Self::Direct(direct) => direct,
            Self::Udp(_) => panic!("only IN_PROCESS"),
        }
    }
}

/// The pipeline, called.
pub(crate) struct Direct {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) ingress: Ingress,
    held: HashMap<String, Box<Job>>,
}

impl Direct {
    pub(crate) fn new(service: &TestService) -> Self {
        let pipeline = pipeline(service, SETTINGS);
        let ingress = pipeline.listener(SocketAddr::from(([127, 0, 0, 1], 1812)));
        Self {
            pipeline,
            ingress,
            held: HashMap::new(),
        }
    }

    async fn exchange(
        &mut self,
        label: &str,
        octets: &[u8],
        from: SocketAddr,
        hold: bool,
    ) -> Heard {
        match self.pipeline.receive(octets, from, &self.ingress) {
            Received::Silence(word) => Heard::Silence(Some(word.to_owned())),
            Received::Reply(octets) => Heard::Reply(octets.to_vec()),
            Received::Work(job) => {
                self.held.insert(label.to_owned(), job);
                if hold {
                    Heard::Silence(None)
                } else {
                    self.release(label).await
                }
            }
        }
    }

    async fn release(&mut self, label: &str) -> Heard {
        let job = self.held.remove(label).expect("held");
        let silence = |word: &str| Heard::Silence(Some(word.to_owned()));
        match job.run().await {
            None => silence("undecided"),
            Some(answer) => answer.release().map_or_else(
                || silence("superseded"),
                |octets| Heard::Reply(octets.to_vec()),
            ),
        }
    }
}

pub(crate) fn pipeline(service: &TestService, settings: Settings) -> Arc<Pipeline> {
    Pipeline::new(
        Arc::clone(&service.service),
        Arc::clone(&service.dictionary),
        settings,
    )
}

/// A real listener, and a socket per source address and port.
struct Udp {
    server: SocketAddr,
    sockets: HashMap<SocketAddr, UdpSocket>,
    fence: u32,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Udp {
    fn new(service: &TestService) -> Self {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let server = listener.local_addr();
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(run(
            vec![listener],
            pipeline(service, SETTINGS),
            shutdown.clone(),
        ));
        tasks.close();
        Self {
            server,
            sockets: HashMap::new(),
            fence: 0,
            shutdown,
            tasks,
        }
    }

    async fn socket(&mut self, from: SocketAddr) -> &UdpSocket {
        match self.sockets.entry(from) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let socket = UdpSocket::bind(SocketAddr::new(from.ip(), 0)).await;
                entry.insert(socket.unwrap())
            }
        }
    }

    /// Sends, and waits for the reply; where silence is expected, for the answer to a Status-Server
    /// that was sent behind it. Datagrams are taken in order and silence is decided at once.
    async fn exchange(&mut self, octets: &[u8], from: SocketAddr, silent: bool) -> Heard {
        let server = self.server;
        self.socket(from)
            .await
            .send_to(octets, server)
            .await
            .unwrap();
        if silent {
            self.fence().await;
        }
        let mut buffer = vec![0; 4096];
        let socket = &self.sockets[&from];
        let received = if silent {
            socket.try_recv(&mut buffer)
        } else {
            tokio::time::timeout(PATIENCE, socket.recv(&mut buffer))
                .await
                .unwrap_or(Ok(0))
        };
        match received {
            Ok(length) if length > 0 => Heard::Reply(buffer[..length].to_vec()),
            _ => Heard::Silence(None),
        }
    }

    async fn fence(&mut self) {
        self.fence += 1;
        let mut authenticator = [0; 16];
        authenticator[..4].copy_from_slice(&self.fence.to_be_bytes());
        let mut octets = Vec::new();
        let builder = RequestBuilder::new(
            &mut octets,
            Code::StatusServer,
            0,
            RequestAuthenticator(authenticator),
            MessageAuthenticator::First,
        );
        builder.finish(&keys(SECRET)).unwrap();
        let server = self.server;
        let socket = self.socket("127.9.9.9:0".parse().unwrap()).await;
        socket.send_to(&octets, server).await.unwrap();
        let mut reply = [0; 4096];
        socket.recv(&mut reply).await.unwrap();
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.tasks.wait().await;
    }
}

/// Longer than any decision takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
