//! What this machine can do at most, for `benches/peers/run`.
//!
//! ```text
//! cargo run --release --example machine -- responder SECRET_FILE   answers every request: accept
//! cargo run --release --example machine -- fdatasync DIR           median of small durable writes
//! cargo run --release --example machine -- argon2id                median of one PIN's hash
//! ```
//!
//! The responder reads a request, signs an Access-Accept and sends it, in one thread with one socket:
//! no server of this machine that answers one datagram after the other is faster. The probe
//! writes as much as a login's record into a file that has its size already, as a careful log does, and
//! waits until the disk has it.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::net::UdpSocket;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use oncegate::credential::{Cost, Scratch, spend};
use oncegate::radius::authenticator::SecretKeys;
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::{Code, Packet};
use oncegate::radius::reply::ReplyBuilder;
use oncegate::secret::{SecretBytes, SharedSecret};
use socket2::SockRef;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["responder", secret] => respond(Path::new(secret)),
        ["fdatasync", dir] => probe(Path::new(dir)),
        ["argon2id"] => {
            hash();
            Ok(())
        }
        _ => Err("usage: machine responder SECRET_FILE | fdatasync DIR | argon2id".into()),
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
    let secret = std::fs::read_to_string(secret)?;
    let secret = SecretBytes::from(secret.trim_end().as_bytes());
    let keys = SecretKeys::new(SharedSecret::new(secret).ok_or("the secret is empty or too long")?);
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    // A burst that does not fit would show as the load generator's timeouts.
    SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
    println!("ready radius={}", socket.local_addr()?);
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

const HASHES: usize = 100;
const WRITES: usize = 500;
/// Octets of a login in the log, roughly.
const RECORD: usize = 512;
