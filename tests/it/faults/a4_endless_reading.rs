//! Fault A4: `audit verify` never ended when one record's number was changed, and the daemon could not be
//! stopped then.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use oncegate::store::medium::{Directory, Medium, Memory};
use oncegate::store::{Change, Store};
use serde_json::Value;

use crate::support::codes::RFC_SECRET;
use crate::support::daemon::{Site, command};
use crate::support::journal::{forge, frame_of};
use crate::support::net::Http;
use crate::support::store::{by, open_with};

/// Adds 2^40 to the number of one record, with a right checksum or without.
fn renumber(site: &Site, seq: u64, right: bool) {
    let files = fs::read_dir(site.path().join("store")).unwrap();
    let log = files.map(|file| file.unwrap().path()).find(|path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("log-")
    });
    let log = log.expect("a log");
    let mut octets = fs::read(&log).unwrap();
    let frame = frame_of(&octets, seq);
    assert_eq!((frame.first, frame.count), (seq, 1), "a commit of its own");
    if right {
        forge(&mut octets, &frame, |frame| frame[12 + 5] ^= 1);
    } else {
        octets[frame.place.start + 12 + 5] ^= 1;
    }
    fs::write(&log, octets).unwrap();
}

/// A stopped site with so many records.
fn site() -> (Site, u64) {
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    for n in 0..20 {
        site.json(&[
            "user",
            "set",
            "alice",
            "--email",
            &format!("a{n}@example.org"),
        ]);
    }
    let status = site.run(&["--json", "status"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    (site, status["audit_seq"].as_u64().unwrap())
}

/// Runs a command that must end by itself.
fn ends(site: &Site, words: &[&str]) -> Output {
    let mut command = command(&site.path());
    let command = command.args(words).stdin(Stdio::null());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    ended(child.spawn().unwrap(), &words.join(" "))
}

fn ended(child: Child, what: &str) -> Output {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    let (done, end) = mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output().unwrap()));
    end.recv_timeout(Duration::from_mins(1))
        .unwrap_or_else(|_| {
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            panic!("`{what}` does not end");
        })
}

/// Ends the daemon, which must not need to be killed.
fn stops(daemon: crate::support::daemon::Daemon) {
    let pid = daemon.pid();
    let (done, end) = mpsc::channel();
    std::thread::spawn(move || done.send(daemon.terminate()));
    let status = end
        .recv_timeout(Duration::from_mins(1))
        .unwrap_or_else(|_| {
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            panic!("SIGTERM does not end it");
        });
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_number_that_was_changed_ends_no_command_late() {
    let places = ["first", "middle", "last but one", "last"];
    // With a right checksum, and without.
    for (place, right) in places.into_iter().zip([true, false, true, false]) {
        let (site, last) = site();
        let seq = match place {
            "first" => 1,
            "middle" => last / 2,
            "last but one" => last - 1,
            _ => last,
        };
        renumber(&site, seq, right);
        let verified = ends(&site, &["--json", "audit", "verify"]);
        assert_eq!(verified.status.code(), Some(1), "{place}");
        let chain: Value = serde_json::from_slice(&verified.stdout).unwrap();
        assert_eq!(chain["first_bad"], seq, "{place}: {chain}");
        for words in [
            "audit list --limit 1000",
            "audit list --since 1d --user alice",
            "audit list --request 00000000000000000000000000",
            "tail -n 100",
            "audit export --since 1d",
            "audit prune --before 1d --yes",
        ] {
            let words: Vec<&str> = words.split(' ').collect();
            ends(&site, &words);
        }
        // An export gives what comes before, and says that it is not all.
        let export = ends(&site, &["audit", "export"]);
        assert_eq!(export.status.code(), Some(3), "{place}");
        let text = String::from_utf8(export.stdout).unwrap();
        let line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(line["type"], "incomplete", "{place}: {text}");
        let error = String::from_utf8_lossy(&export.stderr).into_owned();
        assert!(error.contains("incomplete"), "{place}: {error}");
        if place == "last" {
            // The end of the chain: nothing is decided on it.
            let serve = ends(
                &site,
                &["serve", "--radius", "127.0.0.1:0", "--http", "127.0.0.1:0"],
            );
            assert_eq!(serve.status.code(), Some(3));
            continue;
        }
        let daemon = site.serve();
        let verified = ends(&site, &["--json", "audit", "verify"]);
        assert_eq!(verified.status.code(), Some(1), "{place}, online");
        ends(&site, &["audit", "list", "--limit", "1000"]);
        stops(daemon);
    }
}

async fn notes(store: &Store, count: usize) {
    for batch in 0..count.div_ceil(1000) {
        let note = |n: usize| Change::Note {
            action: "test",
            target: format!("{batch}-{n}"),
            user: None,
            detail: String::new(),
        };
        let notes = (0..1000.min(count - batch * 1000)).map(|n| store.change(note(n), by()));
        for done in join_all(notes).await {
            done.unwrap();
        }
    }
}

/// Whoever asked has left: the reading ends with the page it is at.
#[tokio::test]
async fn a_reading_ends_when_its_asker_leaves() {
    let store = open_with(Arc::new(Memory::default()), [7; 32], 1 << 30).unwrap();
    notes(&store, 20_000).await;
    let pages = Arc::new(AtomicU64::new(0));
    let (go_on, wait) = mpsc::channel::<()>();
    let (begun, begins) = tokio::sync::oneshot::channel();
    let (read, wait, begun) = (
        Arc::clone(&pages),
        Mutex::new(wait),
        Mutex::new(Some(begun)),
    );
    let progress = move |_| {
        read.fetch_add(1, Ordering::SeqCst);
        if let Some(begun) = begun.lock().unwrap().take() {
            begun.send(()).unwrap();
        }
        let _ = wait.lock().unwrap().recv();
    };
    let verify = store.verify_audit(Box::new(progress));
    tokio::select! {
        _ = verify => panic!("it waits for the test"),
        _ = begins => {}
    }
    // The asker has gone with the future.
    drop(go_on);
    // The store closes only when the thread has ended with what it shares.
    let deadline = Instant::now() + Duration::from_mins(1);
    while Arc::strong_count(&pages) > 1 {
        assert!(Instant::now() < deadline, "it goes on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(pages.load(Ordering::SeqCst), 1);
}

/// A long check of the chain does not hold up the end: it is given up and answered.
#[test]
fn a_daemon_that_is_told_to_end_gives_up_reading() {
    let site = Site::new();
    let key = fs::read_to_string(site.path().join("master.key")).unwrap();
    let key = data_encoding::HEXLOWER
        .decode(key.trim().as_bytes())
        .unwrap();
    let medium: Arc<dyn Medium> = Arc::new(Directory::new(site.path().join("store")));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = open_with(medium, key.try_into().unwrap(), 1 << 30).unwrap();
        notes(&store, 200_000).await;
    });
    let daemon = site.serve();
    let mut http = Http::new(daemon.http, &site.admin_key);
    assert_eq!(http.send("GET", "/readyz", b"").unwrap().0, 200);
    let mut stream = TcpStream::connect(daemon.http).unwrap();
    let ask = format!(
        "POST /v1/admin/audit/verify HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n",
        site.admin_key
    );
    stream.write_all(ask.as_bytes()).unwrap();
    // Until it is being worked on.
    std::thread::sleep(Duration::from_millis(150));
    stops(daemon);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("the server is stopping"), "{answer}");
}
