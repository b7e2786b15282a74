//! One request to a server, as a careful NAS sends it: signed, sent again when no answer comes, and believing
//! only an answer that the shared secret proves.

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
use crate::cli::output::{Table, printable};
use crate::daemon;
use crate::radius::attribute::Type;
use crate::radius::authenticator::{RequestAuthenticator, SecretKeys, Signature};
use crate::radius::encode::{BuildError, MessageAuthenticator};
use crate::radius::packet::{Code, MAX_LENGTH, Packet};
use crate::radius::request::RequestBuilder;
use crate::radius::{mschap, verify};
use crate::secret::{SecretBytes, SecretString, SharedSecret, SystemEntropy, random};

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
    /// Read the shared secret, then the password with the code, from stdin
    #[arg(long, required = true)]
    secret_stdin: bool,
    /// Time for one try; there are three
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = crate::diagnostic::units::duration)]
    timeout: Duration,
}

/// How a password travels.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Method {
    /// User-Password
    Pap,
    /// CHAP-Password
    Chap,
    /// MS-CHAP2-Response
    Mschapv2,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Outcome {
    server: String,
    sent: String,
    /// The answer's code; absent: none that the secret proves.
    answer: Option<String>,
    millis: u64,
    tries: u32,
    /// Whether the answer has a Message-Authenticator.
    signed: bool,
    /// Whether MS-CHAPv2's answer proves that the server knows the password.
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

impl Test {
    pub(in crate::cli) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let password = self.user.is_some() && !self.accounting;
        let [secret, typed] = input::secrets([
            Some(Ask::once("shared secret")),
            password.then(|| Ask::once("password or code, as the user types it")),
        ])?;
        let secret = secret.unwrap_or_default();
        let secret = SharedSecret::new(SecretBytes::from(secret.expose().as_bytes()));
        let keys = SecretKeys::new(secret.ok_or_else(|| {
            CliError::usage("a shared secret has 1 to 128 octets").remedy("the first line of stdin")
        })?);
        let server = self.address().await?;
        let typed = typed.unwrap_or_default();
        let code = match (self.status, self.accounting) {
            (true, _) => Code::StatusServer,
            (_, true) => Code::AccountingRequest,
            _ => Code::AccessRequest,
        };
        let mut outcome = self.exchange(server, &keys, (code, 1), &typed).await?;
        if self.accounting && outcome.answer.is_some() {
            outcome = self.exchange(server, &keys, (code, 2), &typed).await?;
        }
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
        server: SocketAddr,
        keys: &SecretKeys,
        (code, status): (Code, u32),
        typed: &SecretString,
    ) -> Result<Outcome, CliError> {
        let failed = |error: &dyn std::error::Error| CliError::unavailable(error.to_string());
        let asked = self.build(keys, (code, status), typed);
        let asked = asked.map_err(|error| CliError::usage(error.to_string()))?;
        let any = if server.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(any).await.map_err(|error| failed(&error))?;
        socket
            .connect(server)
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
                    server,
                    code,
                    (&reply, signature),
                    &asked,
                    (millis, tries),
                ));
            }
        }
        Ok(Outcome {
            server: server.to_string(),
            sent: code.to_string(),
            answer: None,
            millis: crate::time::millis(begin.elapsed()),
            tries: TRIES,
            signed: false,
            proven: None,
            attributes: Vec::new(),
            advice: Some(seen.advice()),
        })
    }

    fn build(
        &self,
        keys: &SecretKeys,
        (code, status): (Code, u32),
        typed: &SecretString,
    ) -> Result<Asked, BuildError> {
        // Without entropy the system is not usable at all.
        let [identifier]: [u8; 1] = random(&SystemEntropy).unwrap_or_default();
        let nonce: [u8; 16] = random(&SystemEntropy).unwrap_or_default();
        let peer: [u8; 16] = random(&SystemEntropy).unwrap_or_default();
        let mut octets = Vec::new();
        let sign = MessageAuthenticator::First;
        let authenticator = RequestAuthenticator(nonce);
        let mut request = RequestBuilder::new(&mut octets, code, identifier, authenticator, sign);
        let mut proof = None;
        if code != Code::StatusServer {
            let user = self.user.as_deref().unwrap_or("oncegate-test");
            request.attribute(Type::UserName, user.as_bytes())?;
        }
        if code == Code::AccountingRequest {
            request.attribute(Type::AcctStatusType, &status.to_be_bytes())?;
            request.attribute(Type::AcctSessionId, b"oncegate-radius-test")?;
        }
        if code == Code::AccessRequest {
            let user = self.user.as_deref().unwrap_or_default();
            match self.method {
                Method::Pap => {
                    request.user_password(typed.expose().as_bytes(), keys)?;
                }
                Method::Chap => {
                    let mut digest = Md5::new();
                    digest.update([identifier]);
                    digest.update(typed.expose());
                    digest.update(nonce);
                    let value = [&[identifier], digest.finalize().as_slice()].concat();
                    request.attribute(Type::ChapPassword, &value)?;
                    request.attribute(Type::ChapChallenge, &nonce)?;
                }
                Method::Mschapv2 => {
                    let hash = mschap::nt_password_hash(typed.expose());
                    let challenge = mschap::challenge_hash(&peer, &nonce, user.as_bytes());
                    let response = mschap::challenge_response(challenge, &hash);
                    let value = [&[identifier, 0], &peer[..], &[0; 8], &response[..]].concat();
                    request.vendor(MICROSOFT, MS_CHAP_CHALLENGE, &nonce)?;
                    request.vendor(MICROSOFT, MS_CHAP2_RESPONSE, &value)?;
                    let proven = mschap::authenticator_response(&hash, &response, challenge);
                    proof = Some(data_encoding::HEXUPPER.encode(&proven));
                }
            }
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
) -> Outcome {
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
    Outcome {
        server: server.to_string(),
        sent: code.to_string(),
        answer: Some(reply.code.to_string()),
        millis,
        tries,
        signed,
        proven,
        attributes,
        advice,
    }
}

fn describe(outcome: &Outcome) -> String {
    let mut table = Table::pairs();
    table.pair("server", outcome.server.clone());
    table.pair("sent", outcome.sent.clone());
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
const MICROSOFT: u32 = 311;
const MS_CHAP_CHALLENGE: u8 = 11;
const MS_CHAP2_RESPONSE: u8 = 25;
