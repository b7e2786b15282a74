//! kill -9 at a chosen stage: strace delivers it as a process asks for a call that puts something on the disk.
//!
//! And logins that go on meanwhile.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::unistd::Pid;

use crate::support::codes::{hotp_of, secret_of};
use crate::support::daemon::{Site, run_by};
use crate::support::net::Http;

/// How often a drill kills: `ONCEGATE_KILLS`, or so often.
pub(crate) fn kills(otherwise: usize) -> usize {
    let asked = std::env::var("ONCEGATE_KILLS").ok();
    asked.map_or(otherwise, |text| {
        text.parse().expect("ONCEGATE_KILLS is a number")
    })
}

/// Calls after which a file is another one, or stays what it is.
const CALLS: &str = "fsync,fdatasync,rename,renameat2,unlink,unlinkat,mkdir,ftruncate";

/// A stage of a process: the nth call of this name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Stage {
    call: String,
    nth: usize,
}

impl Stage {
    pub(crate) fn new(call: &str, nth: usize) -> Self {
        Self {
            call: call.to_owned(),
            nth,
        }
    }
}

/// Runs a command by strace to its end; its stages, in order.
pub(crate) fn stages(command: &Command, scratch: &Path) -> Vec<Stage> {
    let file = scratch.join("calls");
    let mut by = Command::new("strace");
    by.args(["-f", "-qq", "-o"]).arg(&file);
    by.args(["-e", &format!("trace={CALLS}"), "-e", "signal=none"]);
    let ended = traced(&mut by, command).status().unwrap();
    assert!(ended.success(), "{command:?}: {ended}");
    let mut stages: Vec<Stage> = Vec::new();
    for line in fs::read_to_string(file).unwrap().lines() {
        // "4711 rename(..) = 0"
        let Some((call, _)) = line.split_once('(') else {
            continue;
        };
        let call = call.rsplit(' ').next().unwrap();
        let nth = stages.iter().filter(|stage| stage.call == call).count() + 1;
        stages.push(Stage::new(call, nth));
    }
    stages
}

/// Runs a command and kills it as it comes to this stage. Whether it came there.
pub(crate) fn run_killed(command: &Command, stage: &Stage) -> bool {
    let mut by = Command::new("strace");
    by.args(["-f", "-qq", "-o", "/dev/null"]);
    by.args(["-e", &kill_at(stage)]);
    // strace ends by the signal by which its process did.
    !traced(&mut by, command).status().unwrap().success()
}

/// A command that is killed as it comes to this stage; the process that is started is its own.
pub(crate) fn killed_at(command: &Command, stage: &Stage) -> Command {
    let mut by = Command::new("strace");
    by.args(["-D", "-f", "-qq", "-o", "/dev/null"]);
    by.args(["-e", &kill_at(stage)]);
    run_by(&mut by, command);
    by
}

/// Kills a process that runs already as one of its threads comes to this stage, counted from now on. Drop it when
/// the process is gone.
pub(crate) struct Killer(Child);

impl Killer {
    pub(crate) fn of(pid: Pid, stage: &Stage) -> Self {
        let mut child = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-e", &kill_at(stage), "-p"])
            .arg(pid.to_string())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // "strace: Process 4711 attached with 12 threads"
        let mut line = String::new();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        said.read_line(&mut line).unwrap();
        assert!(line.contains("attached"), "{line}");
        std::thread::spawn(move || said.lines().for_each(drop));
        Self(child)
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        // Its process is gone, and so is it, or soon.
        let _ = self.0.wait();
    }
}

fn kill_at(Stage { call, nth }: &Stage) -> String {
    format!("inject={call}:signal=SIGKILL:when={nth}")
}

fn traced<'b>(by: &'b mut Command, command: &Command) -> &'b mut Command {
    run_by(by, command);
    by.stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
}

/// Users who log in over HTTP, one code after the other, through the lives of a daemon.
pub(crate) struct Load {
    key: String,
    users: Vec<Mutex<Asker>>,
}

/// Ends logins with itself.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Counters of a user's codes: the next one, and the last one that was accepted.
#[derive(Default)]
struct Asker {
    next: u64,
    accepted: Option<u64>,
    accepts: u64,
}

impl Load {
    pub(crate) fn new(site: &Site) -> Self {
        for number in 0..USERS {
            let user = name(number);
            site.enrol(&user, "hotp", &secret_of(&user));
        }
        Self {
            key: site.api_client("load"),
            users: (0..USERS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Logins while `work` is done, until the daemon is gone or the work is.
    pub(crate) fn during<T>(&self, daemon: SocketAddr, work: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for (number, asker) in self.users.iter().enumerate() {
                let done = &done;
                scope.spawn(move || {
                    let mut http = Http::new(daemon, &self.key);
                    while !done.load(Ordering::Relaxed) {
                        if !asker.lock().unwrap().log_in(&mut http, &name(number)) {
                            return;
                        }
                    }
                });
            }
            // Also where the work panics: the logins would go on for ever.
            let _end = End(&done);
            work()
        })
    }

    /// The last code of each user that was accepted is refused, and the next one accepted.
    pub(crate) fn replay(&self, daemon: SocketAddr) {
        let mut http = Http::new(daemon, &self.key);
        for (number, asker) in self.users.iter().enumerate() {
            let (mut asker, user) = (asker.lock().unwrap(), name(number));
            if let Some(used) = asker.accepted {
                let (_, heard) = http.verify(&user, &hotp_of(&user, used)).unwrap();
                assert_eq!(heard["decision"], "reject", "{user} {used}");
            }
            assert!(asker.log_in(&mut http, &user), "{user}: no answer");
        }
    }

    /// The last code of each user that was accepted.
    pub(crate) fn used(&self) -> Vec<(String, String)> {
        let users = self.users.iter().enumerate();
        let used = users.filter_map(|(number, asker)| {
            let counter = asker.lock().unwrap().accepted?;
            Some((name(number), hotp_of(&name(number), counter)))
        });
        used.collect()
    }

    /// Accepts that were answered.
    pub(crate) fn accepts(&self) -> u64 {
        let each = self.users.iter();
        each.map(|asker| asker.lock().unwrap().accepts).sum()
    }
}

impl Asker {
    /// A fresh code: it is accepted, or there is no answer.
    fn log_in(&mut self, http: &mut Http, user: &str) -> bool {
        let counter = self.next;
        self.next += 1;
        let Ok((status, heard)) = http.verify(user, &hotp_of(user, counter)) else {
            return false;
        };
        assert_eq!(
            (status, &heard["decision"]),
            (200, &"accept".into()),
            "{user} {counter}: {heard}"
        );
        (self.accepted, self.accepts) = (Some(counter), self.accepts + 1);
        true
    }
}

fn name(number: usize) -> String {
    format!("load{number}")
}

const USERS: usize = 3;
