//! Logins as a gateway and an application make them, against a running daemon.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::api::{Verify, VerifyAnswer, VerifyRequest};
use crate::cli::error::CliError;
use crate::cli::remote::Remote;
use crate::cli::transport::Transport;
use crate::radius::attribute::Type;
use crate::radius::authenticator::{RequestAuthenticator, SecretKeys, Signature};
use crate::radius::encode::MessageAuthenticator;
use crate::radius::packet::{Code, Packet};
use crate::radius::request::RequestBuilder;
use crate::radius::verify;
use crate::secret::{SecretBytes, SecretString, SharedSecret, SystemEntropy, random};

/// What is expected of a login.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Expect {
    Accept,
    Reject,
}

/// How a login went.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Step {
    /// `RADIUS` or `HTTP`.
    pub(super) over: &'static str,
    /// Which code was sent, in words.
    pub(super) sent: &'static str,
    pub(super) expected: Expect,
    /// What came back, in the protocol's words.
    pub(super) answer: String,
    pub(super) ok: bool,
    pub(super) millis: u64,
}

/// What the logins are made with.
pub(super) struct Login<'a> {
    pub(super) user: &'a str,
    pub(super) radius: Option<(SocketAddr, &'a SecretString)>,
    pub(super) http: Option<(SocketAddr, &'a SecretString)>,
}

impl Login<'_> {
    /// Two codes never used before, each sent twice: `codes` for RADIUS and for HTTP.
    pub(super) async fn run(&self, codes: [&SecretString; 2]) -> Vec<Step> {
        let [first, second] = codes;
        let mut steps = Vec::new();
        if self.radius.is_some() {
            steps.push(
                self.over_radius("a right code", first, Expect::Accept)
                    .await,
            );
            steps.push(
                self.over_radius("the same code again", first, Expect::Reject)
                    .await,
            );
        }
        if self.http.is_some() {
            steps.push(
                self.over_http("the next code", second, Expect::Accept)
                    .await,
            );
            steps.push(
                self.over_http("the same code again", second, Expect::Reject)
                    .await,
            );
        }
        steps
    }

    async fn over_radius(&self, sent: &'static str, code: &SecretString, expected: Expect) -> Step {
        let start = Instant::now();
        let answer = match self.radius {
            Some((server, secret)) => access_request(server, secret, self.user, code).await,
            None => Err("no RADIUS listener".to_owned()),
        };
        let wanted = match expected {
            Expect::Accept => Code::AccessAccept,
            Expect::Reject => Code::AccessReject,
        };
        let ok = answer.as_ref().is_ok_and(|code| *code == wanted);
        let answer = answer.map_or_else(|why| why, |code| code.to_string());
        Step {
            over: "RADIUS",
            sent,
            expected,
            answer,
            ok,
            millis: elapsed(start),
        }
    }

    async fn over_http(&self, sent: &'static str, code: &SecretString, expected: Expect) -> Step {
        let start = Instant::now();
        let answer = match self.http {
            Some((server, key)) => ask(server, key, self.user, code).await,
            None => Err(CliError::unavailable("no HTTP listener")),
        };
        let (got, answer) = match answer {
            Ok(VerifyAnswer::Accept { .. }) => (Some(Expect::Accept), "accept".to_owned()),
            Ok(VerifyAnswer::Challenge { .. }) => (None, "challenge".to_owned()),
            Ok(VerifyAnswer::Reject { .. }) => (Some(Expect::Reject), "reject".to_owned()),
            Err(error) => (None, error.words().0),
        };
        let ok = got == Some(expected);
        Step {
            over: "HTTP",
            sent,
            expected,
            answer,
            ok,
            millis: elapsed(start),
        }
    }
}

async fn ask(
    server: SocketAddr,
    key: &SecretString,
    user: &str,
    code: &SecretString,
) -> Result<VerifyAnswer, CliError> {
    let remote = Remote::new(&format!("http://{server}"), key.clone(), None)?;
    let body = VerifyRequest {
        user: user.to_owned(),
        otp: Some(code.clone()),
        ..VerifyRequest::default()
    };
    let api = Transport::Remote(Box::new(remote));
    api.send::<Verify>((), &body).await
}

/// Sends an Access-Request as a careful gateway does: signed, from a fresh port, sent again when
/// no answer comes, and believing only an answer that is signed itself (CVE-2024-3596).
async fn access_request(
    server: SocketAddr,
    secret: &SecretString,
    user: &str,
    code: &SecretString,
) -> Result<Code, String> {
    let text = |error: io::Error| error.to_string();
    let secret = SharedSecret::new(SecretBytes::from(secret.expose().as_bytes()));
    let keys = SecretKeys::new(secret.ok_or("the shared secret has a wrong length")?);
    let authenticator = random(&SystemEntropy).map_err(|error| error.to_string())?;
    let authenticator = RequestAuthenticator(authenticator);
    let [identifier] = random(&SystemEntropy).map_err(|error| error.to_string())?;
    let datagram =
        build(identifier, authenticator, &keys, user, code).map_err(|error| error.to_string())?;

    let local: IpAddr = match server {
        SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    let socket = UdpSocket::bind((local, 0)).await.map_err(text)?;
    socket.connect(server).await.map_err(text)?;
    for _ in 0..TRIES {
        socket.send(&datagram).await.map_err(text)?;
        let mut buffer = [0; 4096];
        let Ok(received) = timeout(TRY, socket.recv(&mut buffer)).await else {
            continue;
        };
        let length = received.map_err(text)?;
        let reply = Packet::parse(buffer.get(..length).unwrap_or_default())
            .map_err(|discard| format!("a malformed reply: {discard}"))?;
        return match verify::response(&reply, identifier, &authenticator, &keys) {
            Ok(Signature::Valid) => Ok(reply.code),
            Ok(Signature::Absent) => Err("a reply without Message-Authenticator".to_owned()),
            Err(discard) => Err(format!("a reply that is not the server's: {discard}")),
        };
    }
    Err(format!(
        "no answer in {} s",
        TRY.as_secs() * u64::from(TRIES)
    ))
}

fn build(
    identifier: u8,
    authenticator: RequestAuthenticator,
    keys: &SecretKeys,
    user: &str,
    code: &SecretString,
) -> Result<Vec<u8>, crate::radius::encode::BuildError> {
    let mut datagram = Vec::new();
    let sign = MessageAuthenticator::First;
    let mut request = RequestBuilder::new(
        &mut datagram,
        Code::AccessRequest,
        identifier,
        authenticator,
        sign,
    );
    request.attribute(Type::UserName, user.as_bytes())?;
    request.user_password(code.expose().as_bytes(), keys)?;
    request.attribute(Type::NasIdentifier, b"oncegate-quickstart")?;
    request.finish(keys)?;
    Ok(datagram)
}

fn elapsed(start: Instant) -> u64 {
    crate::time::millis(start.elapsed())
}

/// As gateways do: 3 tries. Longer than the longest delay of a reject divided by them.
const TRIES: u8 = 3;
const TRY: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radius::verify::Rule;

    #[test]
    fn requests_satisfy_the_strictest_client_rule() {
        let secret = SharedSecret::new(SecretBytes::from(&b"xyzzy5461"[..])).unwrap();
        let keys = SecretKeys::new(secret);
        let authenticator = RequestAuthenticator([7; 16]);
        let code = SecretString::from("755224");
        let datagram = build(9, authenticator, &keys, "demo", &code).unwrap();
        let packet = Packet::parse(&datagram).unwrap();
        assert!(verify::request(&packet, &keys, Rule::Required).is_ok());
        assert_eq!(packet.first(Type::UserName), Some(&b"demo"[..]));
    }

    #[tokio::test]
    async fn a_forged_reply_is_not_believed() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            let (_, from) = server.recv_from(&mut buffer).await.unwrap();
            let mut forged = vec![2, buffer[1], 0, 20];
            forged.extend([0; 16]);
            server.send_to(&forged, from).await.unwrap();
        });
        let secret = SecretString::from("s");
        let answer = access_request(address, &secret, "demo", &SecretString::from("123456")).await;
        assert!(answer.unwrap_err().contains("not the server's"));
    }
}
