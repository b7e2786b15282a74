//! The real binary on loopback: installations of its own, ports of the system's choice.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde_json::Value;

use crate::support::kills::{Stage, killed_at};

/// A policy without the reject delay: thousands of rejects must not take thousands of seconds.
pub(crate) const NO_DELAY: &str = r#"
reject_delay = "0s"
[[rule]]
name = "everyone"
require = ["otp"]
"#;

/// An installation in a directory that goes with it.
pub(crate) struct Site {
    dir: tempfile::TempDir,
    /// The first admin key.
    pub(crate) admin_key: String,
}

impl Site {
    /// Runs `oncegate init` and takes the delay out of the default policy.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut site = Self {
            dir,
            admin_key: String::new(),
        };
        let made = site.json(&["init"]);
        let key = made["key"].as_str().expect("init prints the key");
        key.clone_into(&mut site.admin_key);
        std::fs::write(site.path().join("policies/default.toml"), NO_DELAY).unwrap();
        site
    }

    /// A directory in which nothing is installed yet.
    pub(crate) fn empty() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            admin_key: String::new(),
        }
    }

    /// The installation's directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("site")
    }

    /// Runs a command of the binary on this installation.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.run_with(words, "")
    }

    /// The same, with standard input.
    pub(crate) fn run_with(&self, words: &[&str], input: &str) -> Output {
        let mut child = command(&self.path())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that refuses its arguments does not read its input.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs a command with `--json` that must succeed and returns its document.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        self.json_with(words, "")
    }

    /// What `status` says, also where no daemon runs.
    pub(crate) fn status(&self) -> Value {
        serde_json::from_slice(&self.run(&["--json", "status"]).stdout).unwrap()
    }

    /// The same, with standard input.
    pub(crate) fn json_with(&self, words: &[&str], input: &str) -> Value {
        let output = self.run_with(&[&["--json"], words].concat(), input);
        assert!(
            output.status.success(),
            "{words:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!(
                "{words:?}: {error}: {}",
                String::from_utf8_lossy(&output.stdout)
            )
        })
    }

    /// Makes a user with an active token and this base32 key; returns the serial.
    pub(crate) fn enrol(&self, user: &str, kind: &str, secret: &str) -> String {
        self.json(&["user", "add", user]);
        let words = [
            "token",
            "add",
            user,
            "--kind",
            kind,
            "--active",
            "--secret-stdin",
        ];
        let token = self.json_with(&words, secret);
        token["serial"].as_str().unwrap().to_owned()
    }

    /// Makes a RADIUS client for all of loopback.
    pub(crate) fn radius_client(&self, name: &str, secret: &str) {
        let words = [
            "client",
            "add",
            "radius",
            name,
            "--address",
            "127.0.0.0/8",
            "--secret-stdin",
        ];
        self.json_with(&words, secret);
    }

    /// Makes an API client with the scope `verify` and returns its key.
    pub(crate) fn api_client(&self, name: &str) -> String {
        let client = self.json(&["client", "add", "api", name]);
        client["key"].as_str().unwrap().to_owned()
    }

    /// Starts the daemon and waits until it is ready.
    pub(crate) fn serve(&self) -> Daemon {
        self.serve_with(&[])
    }

    /// The same, with environment variables; standard error goes to `DIR/log`.
    pub(crate) fn serve_with(&self, env: &[(&str, &str)]) -> Daemon {
        self.serve_on(env, self.log_file())
    }

    fn log_file(&self) -> Stdio {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path().join("log"));
        log.unwrap().into()
    }

    /// The same, with this standard error.
    pub(crate) fn serve_on(&self, env: &[(&str, &str)], stderr: Stdio) -> Daemon {
        self.ready(self.serving(env).stderr(stderr))
    }

    /// The same, run by another program: these words, then ours.
    pub(crate) fn serve_by(&self, words: &[&str]) -> Daemon {
        let mut by = Command::new(words[0]);
        by.args(&words[1..]);
        run_by(&mut by, &self.serving(&[]));
        self.ready(of_daemon(&mut by))
    }

    /// Starts a daemon by a command of the caller's; standard error goes to `DIR/log`.
    pub(crate) fn started(&self, command: &mut Command) -> Daemon {
        self.ready(of_daemon(command).stderr(self.log_file()))
    }

    fn ready(&self, command: &mut Command) -> Daemon {
        let ended = |end| panic!("not ready, but {end}: {}", self.log());
        ready(command).unwrap_or_else(ended)
    }

    /// Starts the daemon with this standard output and asks it by command where it listens.
    pub(crate) fn serve_without_line(&self, stdout: Stdio, stderr: Stdio) -> Daemon {
        let mut command = self.serving(&[]);
        let mut child = command.stdout(stdout).stderr(stderr).spawn().unwrap();
        loop {
            // Without a daemon the command would open the store itself, and keep the daemon out.
            if self.path().join("admin.sock").exists() {
                let status = self.json(&["status"]);
                let address = |name: &str| status[name][0].as_str().unwrap().parse().unwrap();
                return Daemon {
                    radius: address("radius"),
                    http: address("http"),
                    child,
                };
            }
            assert!(child.try_wait().unwrap().is_none(), "{}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn serving(&self, env: &[(&str, &str)]) -> Command {
        let mut command = command(&self.path());
        command
            .args(["serve", "--radius", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .envs(env.iter().copied());
        of_daemon(&mut command);
        command
    }

    /// Starts the daemon; how it ended when it did not become ready. Standard error goes to `DIR/log`.
    pub(crate) fn try_serve(&self) -> Result<Daemon, ExitStatus> {
        ready(self.serving(&[]).stderr(self.log_file()))
    }

    /// The same with this option, killed at a stage if it comes there.
    pub(crate) fn serve_killed(&self, option: &str, stage: &Stage) -> Result<Daemon, ExitStatus> {
        let mut serve = self.serving(&[]);
        let mut by = killed_at(serve.arg(option), stage);
        ready(of_daemon(&mut by).stderr(self.log_file()))
    }

    /// What daemons on this installation wrote to standard error.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }
}

/// Has a command run by another program, whose words are there already.
pub(crate) fn run_by(by: &mut Command, command: &Command) {
    by.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => by.env(name, value),
            None => by.env_remove(name),
        };
    }
}

/// Without input, its output read by the test.
fn of_daemon(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::piped())
}

/// Starts a daemon and waits until it is ready; how it ended when it did not become so.
fn ready(command: &mut Command) -> Result<Daemon, ExitStatus> {
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let address = |name: &str| -> Option<SocketAddr> {
        let mut words = line.split_whitespace();
        words.find_map(|word| word.strip_prefix(name))?.parse().ok()
    };
    match (address("radius="), address("http=")) {
        (Some(radius), Some(http)) => Ok(Daemon {
            child,
            radius,
            http,
        }),
        _ => {
            if !line.is_empty() {
                let _ = child.kill();
            }
            Err(child.wait().unwrap())
        }
    }
}

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    /// Its RADIUS listener.
    pub(crate) radius: SocketAddr,
    /// Its HTTP listener.
    pub(crate) http: SocketAddr,
}

impl Daemon {
    /// Its process id.
    pub(crate) fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Ends it as a power failure of the process would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).unwrap();
    }

    /// Whether it has not ended.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks it to end and returns how it did.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        nix::sys::signal::kill(self.pid(), nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already ended in most tests.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary with a clean environment, on the installation in `dir`.
pub(crate) fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oncegate"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ONCEGATE_") {
            command.env_remove(name);
        }
    }
    command.env("ONCEGATE_DIR", dir).env("NO_COLOR", "1");
    command
}
