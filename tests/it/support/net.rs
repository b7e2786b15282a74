//! Askers over real sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator::{RequestAuthenticator, SecretKeys};
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::{Code, Packet};
use oncegate::radius::request::RequestBuilder;
use oncegate::radius::verify;
use oncegate::secret::{SecretBytes, SharedSecret};
use serde_json::{Value, json};

/// One HTTP connection that is kept.
pub(crate) struct Http {
    address: SocketAddr,
    key: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Http {
    /// Connects when first asked.
    pub(crate) fn new(address: SocketAddr, key: &str) -> Self {
        Self {
            address,
            key: key.to_owned(),
            stream: None,
        }
    }

    /// Where it asks.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `POST /v1/verify` with a code; the decision, or nothing when the connection broke.
    pub(crate) fn verify(&mut self, user: &str, otp: &str) -> std::io::Result<(u16, Value)> {
        let body = json!({ "user": user, "otp": otp }).to_string();
        let (status, body) = self.send("POST", "/v1/verify", body.as_bytes())?;
        Ok((
            status,
            serde_json::from_slice(&body).map_err(std::io::Error::other)?,
        ))
    }

    /// One request and its answer.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> std::io::Result<(u16, Vec<u8>)> {
        let answer = self.exchange(method, path, body);
        if answer.is_err() {
            self.stream = None;
        }
        answer
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> std::io::Result<(u16, Vec<u8>)> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            self.stream = Some(BufReader::new(stream));
        }
        let stream = self.stream.as_mut().expect("just connected");
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.key,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        stream.get_mut().write_all(&request)?;
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("no status: {line:?}")))?;
        let mut length = 0;
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(std::io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        Ok((status, body))
    }
}

/// One RADIUS client socket.
pub(crate) struct Radius {
    socket: UdpSocket,
    keys: SecretKeys,
    identifier: u8,
    random: u64,
}

impl Radius {
    /// A socket of its own towards `server`.
    pub(crate) fn new(server: SocketAddr, secret: &str) -> Self {
        Self::from("127.0.0.1", server, secret)
    }

    /// The same at this address of ours.
    pub(crate) fn from(own: &str, server: SocketAddr, secret: &str) -> Self {
        let socket = UdpSocket::bind((own, 0)).unwrap();
        socket.connect(server).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let random = u64::from(socket.local_addr().unwrap().port()) << 32;
        Self {
            socket,
            keys: keys(secret),
            identifier: 0,
            random,
        }
    }

    /// Changes how long [`Radius::receive`] waits.
    pub(crate) fn patience(&self, wait: Duration) {
        self.socket.set_read_timeout(Some(wait)).unwrap();
    }

    /// An Access-Request with a new identifier and authenticator.
    pub(crate) fn request(&mut self, user: &str, password: &str) -> Vec<u8> {
        self.identifier = self.identifier.wrapping_add(1);
        self.random += 1;
        let mut authenticator = [0x11; 16];
        authenticator[..8].copy_from_slice(&self.random.to_be_bytes());
        let mut packet = Vec::new();
        let mut builder = RequestBuilder::new(
            &mut packet,
            Code::AccessRequest,
            self.identifier,
            RequestAuthenticator(authenticator),
            MessageAuthenticator::First,
        );
        builder.attribute(Type::UserName, user.as_bytes()).unwrap();
        builder
            .user_password(password.as_bytes(), &self.keys)
            .unwrap();
        builder.finish(&self.keys).unwrap();
        packet
    }

    /// Sends octets as they are.
    pub(crate) fn send(&self, packet: &[u8]) {
        // A daemon that was killed answers with a refusal of the port.
        let _ = self.socket.send(packet);
    }

    /// The next datagram, if one comes in time.
    pub(crate) fn receive(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 5000];
        let length = self.socket.recv(&mut buffer).ok()?;
        buffer.truncate(length);
        Some(buffer)
    }

    /// Asks and returns the code of the verified answer.
    pub(crate) fn ask(&mut self, user: &str, password: &str) -> Option<Code> {
        let request = self.request(user, password);
        self.send(&request);
        loop {
            let reply = self.receive()?;
            if reply[1] == request[1] {
                return Some(self.verified(&request, &reply));
            }
        }
    }

    /// The code of a reply that is really the answer to this request.
    pub(crate) fn verified(&self, request: &[u8], reply: &[u8]) -> Code {
        let asked = Packet::parse(request).unwrap();
        let answer = Packet::parse(reply).unwrap();
        verify::response(
            &answer,
            asked.identifier,
            &asked.request_authenticator(),
            &self.keys,
        )
        .expect("a genuine answer");
        answer.code
    }
}

fn keys(secret: &str) -> SecretKeys {
    let secret = SharedSecret::new(SecretBytes::from(secret.as_bytes())).unwrap();
    SecretKeys::new(secret)
}
