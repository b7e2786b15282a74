//! What this machine can do at most, for `benches/peers/run`.
//!
//! ```text
//! cargo run --release --example machine -- responder SECRET_FILE     answers every request: accept
//! cargo run --release --example machine -- bound SECRET_FILE USERS   checks codes, one thread, nothing durable
//! cargo run --release --example machine -- bound SECRET_FILE USERS DIR   and makes each batch durable in DIR
//! cargo run --release --example machine -- fdatasync DIR             median of small durable writes
//! cargo run --release --example machine -- argon2id N                processor time of one hash, N at a time
//! cargo run --release --example machine -- junk SERVER RATE SECONDS  packets a server has to throw away
//! ```
//!
//! The responder reads a request, signs an Access-Accept and sends it, in one thread with one socket:
//! no server of this machine that answers one datagram after the other is faster. What `bound` is, its module
//! says. The probe
//! writes as much as a login's record into a file that has its size already, as a careful log does, and
//! waits until the disk has it.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::net::UdpSocket;
use std::path::Path;
use std::process::ExitCode;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use oncegate::credential::{Cost, Scratch, spend};
use oncegate::radius::authenticator::SecretKeys;
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::{Code, Packet};
use oncegate::radius::reply::ReplyBuilder;
use oncegate::secret::{SecretBytes, SharedSecret};
use socket2::SockRef;

mod bound;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["responder", secret] => respond(Path::new(secret)),
        ["fdatasync", dir] => probe(Path::new(dir)),
        ["bound", secret, users] => bound::run(None, Path::new(secret), Path::new(users)),
        ["bound", secret, users, dir] => {
            bound::run(Some(Path::new(dir)), Path::new(secret), Path::new(users))
        }
        ["argon2id", threads] => threads.parse().map_err(Into::into).and_then(hash),
        ["junk", server, rate, seconds] => junk(server, rate, seconds),
        _ => Err(
            "usage: machine responder SECRET_FILE | bound SECRET_FILE USERS [DIR] | fdatasync DIR | argon2id N | \
             junk SERVER RATE SECONDS"
                .into(),
        ),
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

/// Prints the processor time of one computation at the default cost, in microseconds.
fn hash(threads: usize) -> Result<(), Failure> {
    let hashes = |count| {
        let mut scratch = Scratch::new();
        move || (0..count).for_each(|_| spend(Cost::DEFAULT, &mut scratch))
    };
    let run = |count| {
        let threads: Vec<_> = (0..threads)
            .map(|_| std::thread::spawn(hashes(count)))
            .collect();
        threads.into_iter().try_for_each(JoinHandle::join)
    };
    // The memory's pages and the threads' start are in both.
    let mut used = Vec::new();
    for count in [1, HASHES + 1] {
        let before = processor_time()?;
        run(count).map_err(|_| "a thread panicked")?;
        used.push(processor_time()? - before);
    }
    let hashes = i64::try_from(HASHES * threads)?;
    println!("{}", (used[1] - used[0]) / hashes);
    Ok(())
}

/// Sends, at this rate, random octets from an address that is no client's, and in turn with them requests from the
/// client's address whose Message-Authenticator is wrong; prints how many a second left.
fn junk(server: &str, rate: &str, seconds: &str) -> Result<(), Failure> {
    let (rate, seconds): (u32, u64) = (rate.parse()?, seconds.parse()?);
    let sockets = [
        UdpSocket::bind("127.0.0.9:0")?,
        UdpSocket::bind("127.0.0.1:0")?,
    ];
    sockets.iter().try_for_each(|one| one.connect(server))?;
    let mut octets = [0x5a; 62];
    let mut request = Vec::from([1, 0, 0, 62]);
    request.extend([0; 16]);
    request.extend(b"\x01\x06junk\x02\x12................\x50\x12................");
    let begin = Instant::now();
    let mut sent = 0;
    while begin.elapsed().as_secs() < seconds {
        let due = begin.elapsed().as_micros() * u128::from(rate) / 1_000_000;
        while u128::from(sent) < due {
            // Another one each time: nothing is a retransmission.
            let number: [u8; 4] = u32::to_be_bytes(sent);
            octets[20..24].copy_from_slice(&number);
            request[1] = number[3];
            request[4..8].copy_from_slice(&number);
            let [unknown, client] = &sockets;
            // What the system has no room for is not sent.
            let _ = if sent % 2 == 0 {
                unknown.send(&octets)
            } else {
                client.send(&request)
            };
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    println!(
        "{} packets of junk a second",
        u64::from(sent) / seconds.max(1)
    );
    Ok(())
}

/// What the process has used, in microseconds.
fn processor_time() -> Result<i64, Failure> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let all = usage.user_time() + usage.system_time();
    Ok(all.tv_sec() * 1_000_000 + all.tv_usec())
}

const HASHES: usize = 50;
const WRITES: usize = 500;
/// Octets of a login in the log, roughly.
const RECORD: usize = 512;
