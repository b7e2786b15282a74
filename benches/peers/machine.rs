//! What this machine can do at most, for `benches/peers/run`.
//!
//! ```text
//! cargo run --release --example machine -- responder SECRET_FILE        answers every request: accept
//! cargo run --release --example machine -- bound SECRET_FILE USERS DIR  a server with a disk and no features
//! cargo run --release --example machine -- fdatasync DIR                median of small durable writes
//! cargo run --release --example machine -- argon2id                     median of one PIN's hash
//! ```
//!
//! The responder reads a request, signs an Access-Accept and sends it, in one thread with one socket:
//! no server of this machine that answers one datagram after the other is faster.
//!
//! The bound does what a server that remembers codes cannot leave out: it checks signature and code, takes
//! each step once, links a record of a login's size to a chain, and answers a batch when one write and
//! one fdatasync have taken it. No policy, no duplicates, no clients, no rows, no recovery: as far as
//! these building blocks go, no durable server is faster.
//!
//! The probe
//! writes as much as a login's record into a file that has its size already, as a careful log does, and
//! waits until the disk has it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{IoSliceMut, Seek as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockaddrIn, recvmsg};
use oncegate::credential::{Cost, Scratch, spend};
use oncegate::otp::totp::{self, Drift, Parameters, Window};
use oncegate::otp::{Algorithm, Code as Otp, Digits, Period};
use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator::SecretKeys;
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::{Code, Packet};
use oncegate::radius::reply::ReplyBuilder;
use oncegate::radius::verify::Rule;
use oncegate::radius::{password, verify};
use oncegate::secret::{OtpKey, SecretBytes, SharedSecret};
use oncegate::time::{Clock as _, SystemClock, UnixTime};
use sha2::Sha256;
use socket2::SockRef;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["responder", secret] => respond(Path::new(secret)),
        ["bound", secret, users, dir] => bound(Path::new(secret), Path::new(users), Path::new(dir)),
        ["fdatasync", dir] => probe(Path::new(dir)),
        ["argon2id"] => {
            hash();
            Ok(())
        }
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints its address, then answers until it is ended.
fn respond(secret: &Path) -> Result<(), Failure> {
    let (keys, socket) = (keys(secret)?, listener()?);
    let (mut buffer, mut reply) = ([0; 4097], Vec::new());
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        let Ok(request) = Packet::parse(buffer.get(..length).unwrap_or_default()) else {
            continue;
        };
        let sign = MessageAuthenticator::First;
        ReplyBuilder::new(&mut reply, Code::AccessAccept, &request, sign).finish(&keys)?;
        socket.send_to(&reply, from)?;
    }
}

fn keys(secret: &Path) -> Result<SecretKeys, Failure> {
    let secret = std::fs::read_to_string(secret)?;
    let secret = SecretBytes::from(secret.trim_end().as_bytes());
    let secret = SharedSecret::new(secret).ok_or("the secret is empty or too long")?;
    Ok(SecretKeys::new(secret))
}

/// A socket, whose address is printed.
fn listener() -> Result<UdpSocket, Failure> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    // A burst that does not fit would show as the load generator's timeouts.
    SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
    println!("ready radius={}", socket.local_addr()?);
    Ok(socket)
}

/// Prints its address, then serves until it is ended.
fn bound(secret: &Path, users: &Path, dir: &Path) -> Result<(), Failure> {
    let mut server = Bound {
        keys: keys(secret)?,
        users: read_users(users)?,
        chain: Hmac::new_from_slice(&[7; 32])?,
        link: [0; 32],
        records: Vec::new(),
    };
    let log = dir.join("bound-log");
    let file = File::create_new(&log)?;
    file.write_all_at(&vec![0; LOG], 0)?;
    file.sync_all()?;
    // It is gone with the process.
    std::fs::remove_file(log)?;
    let socket = listener()?;
    let (mut buffer, mut replies, mut place) = ([0; 4097], Vec::new(), 0);
    loop {
        for turn in 0..BATCH {
            // The first is waited for; then whatever has come meanwhile.
            let flags = if turn == 0 {
                MsgFlags::empty()
            } else {
                MsgFlags::MSG_DONTWAIT
            };
            let Some((length, from)) = receive(&socket, &mut buffer, flags)? else {
                break;
            };
            let datagram = buffer.get(..length).unwrap_or_default();
            if let Some(reply) = server.decide(datagram, SystemClock.now()) {
                replies.push((reply, from));
            }
        }
        if place + server.records.len() > LOG {
            place = 0;
        }
        file.write_all_at(&server.records, place as u64)?;
        file.sync_data()?;
        place += server.records.len();
        server.records.clear();
        for (reply, to) in replies.drain(..) {
            socket.send_to(&reply, to)?;
        }
    }
}

/// The next datagram's length and sender; `None` when there is none yet.
fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    flags: MsgFlags,
) -> Result<Option<(usize, SocketAddr)>, Failure> {
    let mut slices = [IoSliceMut::new(buffer)];
    match recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut slices, None, flags) {
        Ok(message) => {
            let from = message.address.ok_or("a datagram without a sender")?;
            let from = SocketAddr::from(SocketAddrV4::from(from));
            Ok(Some((message.bytes, from)))
        }
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Names and keys of a file that `oncegate bench users` wrote.
fn read_users(file: &Path) -> Result<HashMap<Vec<u8>, User>, Failure> {
    let text = std::fs::read_to_string(file)?;
    let lines = text.lines().skip(1);
    lines
        .map(|line| {
            let mut fields = line.split(',');
            let name = fields.next().ok_or("a line without a name")?;
            let key = fields.nth(1).ok_or("a line without a key")?;
            let key = data_encoding::BASE32_NOPAD.decode(key.as_bytes())?;
            let key = OtpKey::new(SecretBytes::from(key.as_slice())).ok_or("a key is too short")?;
            Ok((name.as_bytes().to_vec(), User { key, last: None }))
        })
        .collect()
}

struct User {
    key: OtpKey,
    /// The last step that was taken.
    last: Option<u64>,
}

/// A server with a disk and no features.
struct Bound {
    keys: SecretKeys,
    users: HashMap<Vec<u8>, User>,
    chain: Hmac<Sha256>,
    link: [u8; 32],
    /// Of this batch.
    records: Vec<u8>,
}

impl Bound {
    /// The reply, for when the record is durable; `None`: silence.
    fn decide(&mut self, datagram: &[u8], now: UnixTime) -> Option<Vec<u8>> {
        let packet = Packet::parse(datagram).ok()?;
        verify::request(&packet, &self.keys, Rule::Required).ok()?;
        let name = packet.first(Type::UserName)?;
        let hidden = packet.first(Type::UserPassword)?;
        let authenticator = packet.request_authenticator();
        let typed = password::reveal(hidden, &authenticator, &self.keys).ok()?;
        let typed = std::str::from_utf8(typed.expose()).ok()?;
        let window = Window { back: 1, ahead: 1 };
        let step = self.users.get_mut(name).and_then(|user| {
            let code = Otp::parse(typed).ok()?;
            let found = totp::find(&user.key, TOTP, &code, now, Drift::default(), window);
            let step = found.first_after(user.last)?;
            user.last = Some(step);
            Some(step)
        });
        let begin = self.records.len();
        self.records.extend_from_slice(&self.link);
        self.records
            .extend_from_slice(&step.unwrap_or_default().to_le_bytes());
        self.records.extend_from_slice(name);
        self.records.resize(begin + LOGIN, 0);
        let mut link = self.chain.clone();
        link.update(self.records.get(begin..)?);
        self.link = link.finalize().into_bytes().into();
        let code = match step {
            Some(_) => Code::AccessAccept,
            None => Code::AccessReject,
        };
        let mut reply = Vec::new();
        ReplyBuilder::new(&mut reply, code, &packet, MessageAuthenticator::First)
            .finish(&self.keys)
            .ok()?;
        Some(reply)
    }
}

/// Prints the median in microseconds.
fn probe(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("fdatasync-probe");
    let mut file = File::create_new(&path)?;
    file.write_all(&vec![0; WRITES * RECORD])?;
    file.sync_all()?;
    file.rewind()?;
    let mut times: Vec<Duration> = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let start = Instant::now();
        file.write_all(&[0x5a; RECORD])?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    std::fs::remove_file(&path)?;
    times.sort_unstable();
    let median = times.get(WRITES / 2).copied().unwrap_or_default();
    println!("{}", median.as_micros());
    Ok(())
}

/// Prints the median of one computation at the default cost, in microseconds.
fn hash() {
    let mut scratch = Scratch::new();
    let mut times: Vec<Duration> = (0..HASHES)
        .map(|_| {
            let start = Instant::now();
            spend(Cost::DEFAULT, &mut scratch);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    let median = times.get(HASHES / 2).copied().unwrap_or_default();
    println!("{}", median.as_micros());
}

const USAGE: &str =
    "usage: machine responder SECRET_FILE | bound SECRET_FILE USERS DIR | fdatasync DIR | argon2id";
const TOTP: Parameters = Parameters {
    algorithm: Algorithm::Sha1,
    digits: Digits::SIX,
    period: Period::THIRTY,
};
/// Datagrams that the bound answers with one flush at most.
const BATCH: usize = 256;
/// Octets of its log, and of a login's record with its frame.
const LOG: usize = 64 << 20;
const LOGIN: usize = 224;
const HASHES: usize = 100;
const WRITES: usize = 500;
/// Octets of a login in the log, roughly.
const RECORD: usize = 512;
