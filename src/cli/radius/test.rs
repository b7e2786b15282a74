//! A login at a server as a careful NAS carries it: requests that are signed and sent again when no answer comes,
//! and only answers believed that the shared secret proves. A challenge goes to the person, and the answer back with
//! its State (RFC 2865 s4.4).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use md5::{Digest as _, Md5};
use serde::Serialize;
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout_at;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::input;
use crate::cli::input::Ask;
use crate::cli::output;
use crate::cli::output::{Table, printable};
use crate::cli::radius::test::peer::Peer;
use crate::daemon;
use crate::radius::attribute::Type;
use crate::radius::authenticator::{RequestAuthenticator, SecretKeys, Signature};
use crate::radius::encode::{BuildError, MessageAuthenticator};
use crate::radius::packet::{Code, MAX_LENGTH, Packet};
use crate::radius::request::RequestBuilder;
use crate::radius::{eap, microsoft, mschap, verify};
use crate::secret::{SecretBytes, SecretString, SharedSecret, SystemEntropy, random};

mod peer;

#[derive(Debug, Args)]
pub(in crate::cli) struct Test {
    /// The server: HOST or HOST:PORT [default port: 1812, with --accounting 1813]
    #[arg(value_name = "SERVER")]
    server: String,
    /// The user who logs in
    #[arg(value_name = "USER", required_unless_present_any = ["status", "accounting"])]
    user: Option<String>,
    /// How the password travels
    #[arg(long, value_enum, default_value_t = Method::Pap)]
    method: Method,
    /// Ask whether the server is there (Status-Server)
    #[arg(long, conflicts_with_all = ["user", "accounting"])]
    status: bool,
    /// Report the start of a session, and its end
    #[arg(long)]
    accounting: bool,
    /// Read the shared secret, then the password with the code, then the answer to each challenge, from stdin
    #[arg(long, required = true)]
    secret_stdin: bool,
    /// Time for one try; there are three
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = crate::diagnostic::units::duration)]
    timeout: Duration,
}

/// How a password travels.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Method {
    /// User-Password
    Pap,
    /// CHAP-Password
    Chap,
    /// MS-CHAP-Response
    Mschap,
    /// MS-CHAP2-Response
    Mschapv2,
    /// MD5-Challenge
    EapMd5,
    /// Generic Token Card
    EapGtc,
    /// MS-CHAPv2 in EAP
    EapMschapv2,
}

impl Method {
    /// Its type in EAP; `None`: it is none of EAP.
    const fn eap(self) -> Option<u8> {
        match self {
            Self::Pap | Self::Chap | Self::Mschap | Self::Mschapv2 => None,
            Self::EapMd5 => Some(eap::kind::MD5),
            Self::EapGtc => Some(eap::kind::GTC),
            Self::EapMschapv2 => Some(eap::kind::MS_CHAP_2),
        }
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Outcome {
    server: String,
    sent: String,
    /// What the server asked for in between.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    asked: Vec<String>,
    /// The answer's code; absent: none that the secret proves.
    answer: Option<String>,
    millis: u64,
    tries: u32,
    /// Whether the answer has a Message-Authenticator.
    signed: bool,
    /// Whether the answer of MS-CHAPv2 proves that the server knows the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    proven: Option<bool>,
    attributes: Vec<(String, String)>,
    /// What to look at.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// A request that was built, and what its answer must prove.
struct Asked {
    octets: Vec<u8>,
    authenticator: RequestAuthenticator,
    identifier: u8,
    proof: Option<String>,
}

/// Who is asked.
struct Server {
    address: SocketAddr,
    keys: SecretKeys,
}

/// What a request is for.
enum Body<'a> {
    Status,
    /// Acct-Status-Type.
    Accounting(u32),
    /// What the person typed, as the method carries it.
    Typed(&'a SecretString),
    /// A packet of EAP.
    Eap(&'a [u8]),
}

impl Body<'_> {
    const fn code(&self) -> Code {
        match self {
            Self::Status => Code::StatusServer,
            Self::Accounting(_) => Code::AccountingRequest,
            Self::Typed(_) | Self::Eap(_) => Code::AccessRequest,
        }
    }
}

/// An answer, and what it asks for, if it does.
struct Answer {
    outcome: Outcome,
    challenge: Option<Challenge>,
}

/// An Access-Challenge.
struct Challenge {
    state: Option<Vec<u8>>,
    prompt: String,
    eap: Vec<u8>,
}

/// Who answers: by the lines of stdin, or at the terminal.
struct Person {
    /// What was typed before anything was asked.
    first: Option<SecretString>,
    /// What was asked since.
    asked: Vec<String>,
    /// Whether a question has no answer.
    silent: bool,
}

impl Person {
    const fn new(first: SecretString) -> Self {
        Self {
            first: Some(first),
            asked: Vec::new(),
            silent: false,
        }
    }

    /// The next answer; `None`: stdin has none.
    fn types(&mut self, prompt: &str) -> Result<Option<SecretString>, CliError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let prompt = printable(prompt).into_owned();
        let answer = input::next_secret(Ask::once(&format!("answer to \"{prompt}\"")));
        self.asked.push(prompt);
        let answer = answer?;
        self.silent = answer.is_none();
        Ok(answer)
    }
}

impl Test {
    pub(in crate::cli) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let secret = Ask::once("shared secret");
        let (secret, typed) = if self.user.is_some() && !self.accounting {
            let typed = Ask::once("password or code, as the user types it");
            let mut read = input::first_secrets(&[secret, typed])?.into_iter();
            (read.next().unwrap_or_default(), read.next())
        } else {
            (input::secret(secret)?, None)
        };
        let secret = SharedSecret::new(SecretBytes::from(secret.expose().as_bytes()));
        let keys = SecretKeys::new(secret.ok_or_else(|| {
            CliError::usage("a shared secret has 1 to 128 octets").remedy("the first line of stdin")
        })?);
        let address = self.address().await?;
        let server = Server { address, keys };
        let outcome = match typed {
            Some(typed) => self.login(&server, typed).await?,
            None => self.report(&server).await?,
        };
        let yes = matches!(
            outcome.answer.as_deref(),
            Some("Access-Accept" | "Accounting-Response")
        );
        let exit = match &outcome.answer {
            None => Exit::Unavailable,
            Some(_) if yes && outcome.proven != Some(false) => Exit::Done,
            Some(_) => Exit::No,
        };
        context.out.show(&outcome, describe)?;
        Ok(exit)
    }

    /// Asks whether the server is there, or reports a session.
    async fn report(&self, server: &Server) -> Result<Outcome, CliError> {
        if self.status {
            return Ok(self.exchange(server, &Body::Status, None).await?.outcome);
        }
        let begun = self.exchange(server, &Body::Accounting(1), None).await?;
        if begun.outcome.answer.is_none() {
            return Ok(begun.outcome);
        }
        let ended = self.exchange(server, &Body::Accounting(2), None).await?;
        Ok(ended.outcome)
    }

    /// Logs in, in as many rounds as the server asks for and the person answers.
    async fn login(&self, server: &Server, typed: SecretString) -> Result<Outcome, CliError> {
        let mut person = Person::new(typed);
        let mut outcome = match self.method.eap() {
            Some(kind) => self.eap(server, kind, &mut person).await?,
            None => self.plain(server, &mut person).await?,
        };
        outcome.asked = person.asked;
        if person.silent {
            let advice = "the server asks for more: write the answer as one more line on stdin";
            outcome.advice = Some(advice.to_owned());
        } else if input::has_more()? {
            output::warn("stdin has more lines than the server asked for: they were not used");
        }
        Ok(outcome)
    }

    async fn plain(&self, server: &Server, person: &mut Person) -> Result<Outcome, CliError> {
        let mut typed = person.types("")?.unwrap_or_default();
        let mut state: Option<Vec<u8>> = None;
        loop {
            let body = Body::Typed(&typed);
            let answer = self.exchange(server, &body, state.as_deref()).await?;
            let Some(challenge) = answer.challenge else {
                return Ok(answer.outcome);
            };
            let Some(next) = person.types(&challenge.prompt)? else {
                return Ok(answer.outcome);
            };
            (typed, state) = (next, challenge.state);
        }
    }

    async fn eap(
        &self,
        server: &Server,
        kind: u8,
        person: &mut Person,
    ) -> Result<Outcome, CliError> {
        let mut peer = Peer::new(kind, self.user.as_deref().unwrap_or_default());
        let mut octets = peer.identity();
        let mut state: Option<Vec<u8>> = None;
        loop {
            let body = Body::Eap(&octets);
            let answer = self.exchange(server, &body, state.as_deref()).await?;
            let next = match &answer.challenge {
                Some(challenge) => peer.answers(&challenge.eap, person)?,
                None => None,
            };
            let (Some(next), Some(challenge)) = (next, answer.challenge) else {
                let mut outcome = answer.outcome;
                let accepted = outcome.answer.as_deref() == Some("Access-Accept");
                outcome.proven = peer.proven(accepted);
                outcome.advice = peer.advice().or(outcome.advice);
                return Ok(outcome);
            };
            (octets, state) = (next, challenge.state);
        }
    }

    async fn address(&self) -> Result<SocketAddr, CliError> {
        let port = if self.accounting { 1813 } else { 1812 };
        let bare = self.server.parse().map(|ip| SocketAddr::new(ip, port));
        if let Ok(address) = self.server.parse().or(bare) {
            return Ok(address);
        }
        let with_port = if self.server.contains(':') {
            self.server.clone()
        } else {
            format!("{}:{port}", self.server)
        };
        let found = lookup_host(&with_port).await;
        let found = found.ok().and_then(|mut found| found.next());
        found.ok_or_else(|| {
            let server = printable(&self.server);
            CliError::usage(format!(
                "{server} is no address, and no host of that name is found"
            ))
            .remedy("write HOST, HOST:PORT or [IPV6]:PORT")
        })
    }

    async fn exchange(
        &self,
        server: &Server,
        body: &Body<'_>,
        state: Option<&[u8]>,
    ) -> Result<Answer, CliError> {
        let Server { address, keys } = server;
        let code = body.code();
        let failed = |error: &dyn std::error::Error| CliError::unavailable(error.to_string());
        let asked = self.build(keys, body, state);
        let asked = asked.map_err(|error| CliError::usage(error.to_string()))?;
        let any = if address.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(any).await.map_err(|error| failed(&error))?;
        socket
            .connect(*address)
            .await
            .map_err(|error| failed(&error))?;
        let begin = Instant::now();
        let mut seen = Seen::default();
        for tries in 1..=TRIES {
            seen.closed |= socket.send(&asked.octets).await.is_err();
            let deadline = tokio::time::Instant::now() + self.timeout;
            let mut buffer = vec![0; MAX_LENGTH + 1];
            while let Ok(received) = timeout_at(deadline, socket.recv(&mut buffer)).await {
                let Ok(length) = received else {
                    seen.closed = true;
                    tokio::time::sleep_until(deadline).await;
                    break;
                };
                let octets = buffer.get(..length).unwrap_or_default();
                let Some((reply, signature)) = genuine(octets, &asked, keys) else {
                    seen.strange = true;
                    continue;
                };
                let millis = crate::time::millis(begin.elapsed());
                return Ok(answered(
                    *address,
                    code,
                    (&reply, signature),
                    &asked,
                    (millis, tries),
                ));
            }
        }
        let outcome = Outcome {
            server: address.to_string(),
            sent: code.to_string(),
            asked: Vec::new(),
            answer: None,
            millis: crate::time::millis(begin.elapsed()),
            tries: TRIES,
            signed: false,
            proven: None,
            attributes: Vec::new(),
            advice: Some(seen.advice()),
        };
        Ok(Answer {
            outcome,
            challenge: None,
        })
    }

    fn build(
        &self,
        keys: &SecretKeys,
        body: &Body<'_>,
        state: Option<&[u8]>,
    ) -> Result<Asked, BuildError> {
        // Without entropy the system is not usable at all.
        let [identifier]: [u8; 1] = random(&SystemEntropy).unwrap_or_default();
        let nonce: [u8; 16] = random(&SystemEntropy).unwrap_or_default();
        let mut octets = Vec::new();
        let sign = MessageAuthenticator::First;
        let authenticator = RequestAuthenticator(nonce);
        let code = body.code();
        let mut request = RequestBuilder::new(&mut octets, code, identifier, authenticator, sign);
        let mut proof = None;
        if code != Code::StatusServer {
            let user = self.user.as_deref().unwrap_or("oncegate-test");
            request.attribute(Type::UserName, user.as_bytes())?;
        }
        match body {
            Body::Status => {}
            Body::Accounting(status) => {
                request.attribute(Type::AcctStatusType, &status.to_be_bytes())?;
                request.attribute(Type::AcctSessionId, b"oncegate-radius-test")?;
            }
            Body::Typed(typed) => {
                proof = self.credential(&mut request, typed, keys, (identifier, nonce))?;
            }
            Body::Eap(packet) => {
                request.encoded(&eap::attributes(packet))?;
            }
        }
        if let Some(state) = state {
            request.attribute(Type::State, state)?;
        }
        request.attribute(Type::NasIdentifier, b"oncegate-radius-test")?;
        request.finish(keys)?;
        let sent = Packet::parse(&octets).map(|packet| packet.request_authenticator());
        Ok(Asked {
            authenticator: sent.unwrap_or(authenticator),
            octets,
            identifier,
            proof,
        })
    }

    /// Appends what the person typed, as the method carries it; what a server answers that knows it.
    fn credential(
        &self,
        request: &mut RequestBuilder<'_>,
        typed: &SecretString,
        keys: &SecretKeys,
        (identifier, nonce): (u8, [u8; 16]),
    ) -> Result<Option<String>, BuildError> {
        let user = self.user.as_deref().unwrap_or_default();
        match self.method {
            Method::Chap => {
                let mut digest = Md5::new();
                digest.update([identifier]);
                digest.update(typed.expose());
                digest.update(nonce);
                let value = [&[identifier], digest.finalize().as_slice()].concat();
                request.attribute(Type::ChapPassword, &value)?;
                request.attribute(Type::ChapChallenge, &nonce)?;
            }
            Method::Mschap => {
                let challenge: [u8; 8] = random(&SystemEntropy).unwrap_or_default();
                let hash = mschap::nt_password_hash(typed.expose());
                let response = mschap::challenge_response(challenge, &hash);
                // Flags 1: the NT-Response counts, the LAN Manager's before it is empty (RFC 2548 s2.1.3).
                let value = [&[identifier, 1], &[0; 24][..], &response[..]].concat();
                request.vendor(microsoft::VENDOR, microsoft::CHALLENGE, &challenge)?;
                request.vendor(microsoft::VENDOR, microsoft::RESPONSE, &value)?;
            }
            Method::Mschapv2 => {
                let peer: [u8; 16] = random(&SystemEntropy).unwrap_or_default();
                let hash = mschap::nt_password_hash(typed.expose());
                let challenge = mschap::challenge_hash(&peer, &nonce, user.as_bytes());
                let response = mschap::challenge_response(challenge, &hash);
                let value = [&[identifier, 0], &peer[..], &[0; 8], &response[..]].concat();
                request.vendor(microsoft::VENDOR, microsoft::CHALLENGE, &nonce)?;
                request.vendor(microsoft::VENDOR, microsoft::RESPONSE_2, &value)?;
                let proven = mschap::authenticator_response(&hash, &response, challenge);
                return Ok(Some(data_encoding::HEXUPPER.encode(&proven)));
            }
            // EAP has packets of its own.
            Method::Pap | Method::EapMd5 | Method::EapGtc | Method::EapMschapv2 => {
                request.user_password(typed.expose().as_bytes(), keys)?;
            }
        }
        Ok(None)
    }
}

/// What was seen beside an answer.
#[derive(Default)]
struct Seen {
    closed: bool,
    strange: bool,
}

impl Seen {
    fn advice(&self) -> String {
        if self.strange {
            "an answer came that this secret does not prove: the secrets differ".to_owned()
        } else if self.closed {
            "the port is closed: is the server running, and on this port?".to_owned()
        } else {
            "the server has no client for this machine's address, another secret, or is not reached; its log \
             says which"
                .to_owned()
        }
    }
}

fn genuine<'b>(
    octets: &'b [u8],
    asked: &Asked,
    keys: &SecretKeys,
) -> Option<(Packet<'b>, Signature)> {
    let reply = Packet::parse(octets).ok()?;
    let signature = verify::response(&reply, asked.identifier, &asked.authenticator, keys).ok()?;
    Some((reply, signature))
}

fn answered(
    server: SocketAddr,
    code: Code,
    (reply, signature): (&Packet<'_>, Signature),
    asked: &Asked,
    (millis, tries): (u64, u32),
) -> Answer {
    let mut attributes = Vec::new();
    if let Ok(dictionary) = daemon::dictionary(None) {
        dictionary.describe(reply.attributes, |(name, text)| {
            // A number that has a name is told twice.
            if attributes
                .last()
                .is_none_or(|(other, _): &(String, String)| other != name)
            {
                attributes.push((name.to_owned(), text.into_owned()));
            }
        });
    }
    let signed = signature == Signature::Valid;
    let accept = reply.code == Code::AccessAccept;
    let proven = asked.proof.as_ref().filter(|_| accept).map(|proof| {
        let text = String::from_utf8_lossy(reply.octets()).into_owned();
        text.contains(&format!("S={proof}"))
    });
    let advice = (!signed).then(|| {
        "the answer has no Message-Authenticator: it can be forged on the way (CVE-2024-3596)"
            .to_owned()
    });
    let outcome = Outcome {
        server: server.to_string(),
        sent: code.to_string(),
        asked: Vec::new(),
        answer: Some(reply.code.to_string()),
        millis,
        tries,
        signed,
        proven,
        attributes,
        advice,
    };
    let challenge = (reply.code == Code::AccessChallenge).then(|| challenge(reply));
    Answer { outcome, challenge }
}

fn challenge(reply: &Packet<'_>) -> Challenge {
    let parts = reply.all(Type::ReplyMessage);
    let text: Vec<u8> = parts.flatten().copied().collect();
    Challenge {
        state: reply.first(Type::State).map(<[u8]>::to_vec),
        prompt: String::from_utf8_lossy(&text).into_owned(),
        eap: eap::joined(reply).unwrap_or_default(),
    }
}

fn describe(outcome: &Outcome) -> String {
    let mut table = Table::pairs();
    table.pair("server", outcome.server.clone());
    table.pair("sent", outcome.sent.clone());
    for asked in &outcome.asked {
        table.pair("asked", asked.clone());
    }
    let answer = outcome.answer.clone().unwrap_or_else(|| "none".to_owned());
    table.pair("answer", answer);
    let tries = crate::diagnostic::units::count(u64::from(outcome.tries), "request");
    table.pair("time", format!("{} ms, {tries}", outcome.millis));
    let signed = if outcome.signed { "yes" } else { "no" };
    table.pair(
        "Message-Authenticator",
        outcome.answer.as_ref().map(|_| signed.to_owned()),
    );
    let proven = outcome.proven.map(|yes| {
        let word = if yes {
            "yes"
        } else {
            "no: another server answered"
        };
        word.to_owned()
    });
    table.pair("server knows the password", proven);
    for (name, text) in &outcome.attributes {
        table.pair(name, printable(text).into_owned());
    }
    table.pair("look at", outcome.advice.clone());
    table.text()
}

const TRIES: u32 = 3;
