//! Stands between Oncegate and a directory that speaks LDAP without TLS, and meddles with what the directory says.

use std::fs::File;
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::sleep;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::support::daemon::Site;

/// What it does to the answers of the directory.
#[derive(Clone, Copy)]
pub(crate) enum Meddling {
    Nothing,
    /// So long before each answer is whole.
    Slow(Duration),
    /// So long before each entry.
    Drip(Duration),
    /// Nothing more after so many messages.
    Stall(usize),
    /// The end of the connection after so many messages.
    Cut(usize),
    /// After so many messages a half of one, and the end.
    Half(usize),
    /// After so many messages what is no LDAP.
    Noise(usize),
    /// After so many messages the beginning of one of two gigabytes.
    Huge(usize),
    /// This result code for each search.
    Code(u8),
    /// Only every so many-th entry.
    Every(usize),
    /// Each entry as this makes it.
    Edit(fn(&mut [u8])),
}

/// A listener on loopback, in the network of a process or in the test's own.
pub(crate) struct Between {
    pub(crate) port: u16,
    meddling: Arc<Mutex<Meddling>>,
}

impl Between {
    /// Before this server, which is in the network of the process with this id, if one.
    pub(crate) fn start(server: SocketAddr, process: Option<u32>) -> Self {
        let meddling = Arc::new(Mutex::new(Meddling::Nothing));
        let (tell, port) = mpsc::channel();
        let shared = Arc::clone(&meddling);
        // Threads that it starts are in the same network.
        std::thread::spawn(move || {
            if let Some(process) = process {
                let network = File::open(format!("/proc/{process}/ns/net")).unwrap();
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(network.as_fd(), kind).unwrap();
            }
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            tell.send(listener.local_addr().unwrap().port()).unwrap();
            for client in listener.incoming() {
                let (client, shared) = (client.unwrap(), Arc::clone(&shared));
                std::thread::spawn(move || {
                    if let Ok(server) = TcpStream::connect(server) {
                        relay(&client, &server, &shared);
                    }
                });
            }
        });
        Self {
            port: port.recv().unwrap(),
            meddling,
        }
    }

    pub(crate) fn set(&self, meddling: Meddling) {
        *self.meddling.lock().unwrap() = meddling;
    }
}

fn relay(client: &TcpStream, server: &TcpStream, meddling: &Mutex<Meddling>) {
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let _ = answers(client, server, meddling);
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

/// Passes on what the server says, message by message.
fn answers(
    mut client: &TcpStream,
    mut server: &TcpStream,
    meddling: &Mutex<Meddling>,
) -> std::io::Result<()> {
    let (mut passed, mut entries) = (0, 0);
    loop {
        let mut message = read(&mut server)?;
        let kind = kind(&message);
        let meddling = *meddling.lock().unwrap();
        match meddling {
            Meddling::Slow(wait) if kind != ENTRY => sleep(wait),
            Meddling::Drip(wait) if kind == ENTRY => sleep(wait),
            Meddling::Stall(after) if passed >= after => continue,
            Meddling::Cut(after) if passed >= after => return Ok(()),
            Meddling::Half(after) if passed >= after => {
                return client.write_all(&message[..message.len() / 2]);
            }
            Meddling::Noise(after) if passed >= after => client.write_all(&[0xff; 64])?,
            Meddling::Huge(after) if passed >= after => {
                client.write_all(&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x02, 0x01])?;
                continue;
            }
            Meddling::Code(code) if kind == DONE => {
                let at = message.windows(2).position(|two| two == [0x0a, 0x01]);
                message[at.unwrap() + 2] = code;
            }
            Meddling::Every(of) if kind == ENTRY => {
                entries += 1;
                if entries % of != 0 {
                    continue;
                }
            }
            Meddling::Edit(edit) if kind == ENTRY => edit(&mut message),
            _ => {}
        }
        client.write_all(&message)?;
        passed += 1;
    }
}

/// The next message (RFC 4511 s4.1.1).
fn read(from: &mut impl std::io::Read) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; 2];
    from.read_exact(&mut message)?;
    let mut length = usize::from(message[1]);
    if length >= 0x80 {
        let mut octets = vec![0; length - 0x80];
        from.read_exact(&mut octets)?;
        length = octets
            .iter()
            .fold(0, |sum, one| sum * 256 + usize::from(*one));
        message.extend(octets);
    }
    let body = message.len();
    message.resize(body + length, 0);
    from.read_exact(&mut message[body..])?;
    Ok(message)
}

/// The tag of what a message is: behind its own head and its number.
fn kind(message: &[u8]) -> u8 {
    let head = 2 + usize::from(message[1]).saturating_sub(0x80) * usize::from(message[1] >= 0x80);
    message[head + 2 + usize::from(message[head + 1])]
}

const ENTRY: u8 = 0x64;
const DONE: u8 = 0x65;

/// Another text of the same length in place of each.
fn replace(message: &mut [u8], from: &[u8], to: &[u8]) {
    let mut at = 0;
    while let Some(found) = message[at..]
        .windows(from.len())
        .position(|one| one == from)
    {
        at += found;
        message[at..at + to.len()].copy_from_slice(to);
    }
}

fn without_identity(message: &mut [u8]) {
    replace(message, b"entryUUID", b"entryUUIX");
    replace(message, b"objectGUID", b"objectGUIX");
}

fn without_telephone(message: &mut [u8]) {
    replace(message, b"mobile", b"mobilx");
}

/// People of the same names who are others.
fn of_another_domain(message: &mut [u8]) {
    for name in [&b"entryUUID"[..], b"objectGUID"] {
        let found = message.windows(name.len()).position(|one| one == name);
        // Behind the name stand a set and a string with their lengths.
        if let Some(at) = found.map(|at| at + name.len() + 4) {
            message[at] ^= 1;
        }
    }
}

/// What goes wrong, the exit code of a run of the source, and what it says. The directory is to have ten people with
/// telephone numbers at least, the source a `timeout` of 1 s.
const FAULTS: [(Meddling, i32, &str); 18] = [
    (Meddling::Stall(0), 3, "no answer within 1 s"),
    (Meddling::Stall(3), 3, "no answer within 1 s"),
    (
        Meddling::Drip(Duration::from_millis(450)),
        3,
        "no answer within",
    ),
    (Meddling::Cut(0), 3, "the connection broke"),
    (Meddling::Cut(3), 3, "the connection broke"),
    (Meddling::Half(3), 3, "source `corp`: people: "),
    (Meddling::Noise(3), 3, "source `corp`: people: "),
    (Meddling::Huge(3), 3, "no answer within 1 s"),
    (Meddling::Code(3), 3, "timeLimitExceeded (3)"),
    (Meddling::Code(4), 3, "sizeLimitExceeded (4)"),
    (Meddling::Code(10), 3, "referral (10)"),
    (Meddling::Code(32), 3, "noSuchObject (32)"),
    (Meddling::Code(51), 3, "busy (51)"),
    (Meddling::Every(2), 5, "users are gone"),
    (Meddling::Every(usize::MAX), 5, "users are gone"),
    (Meddling::Edit(without_identity), 3, "no entry has"),
    (
        Meddling::Edit(without_telephone),
        5,
        "users lose their phone",
    ),
    (Meddling::Edit(of_another_domain), 5, "users are gone"),
];

/// Whatever the directory does wrong, the run of the source `corp` says so and changes nothing.
pub(crate) fn faults(site: &Site, between: &Between) {
    let all = || {
        let users = site.json(&["user", "list", "--limit", "1000"]);
        users["users"].clone()
    };
    let before = all();
    for (meddling, code, wanted) in FAULTS {
        between.set(meddling);
        let output = site.run(&["source", "sync", "corp"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{wanted}: {text}");
        assert!(text.contains(wanted), "{wanted}: {text}");
        let shown = site.json(&["source", "show", "corp"]);
        assert!(shown["error"].is_string(), "{wanted}: {shown}");
        assert_eq!(all(), before, "{wanted}");
    }
    // Late, but in its time; and as if nothing had been.
    for meddling in [
        Meddling::Slow(Duration::from_millis(300)),
        Meddling::Nothing,
    ] {
        between.set(meddling);
        let done: Value = site.json(&["source", "sync", "corp"]);
        assert_eq!(done["counts"]["unchanged"], done["people"], "{done}");
    }
    assert_eq!(all(), before);
}
