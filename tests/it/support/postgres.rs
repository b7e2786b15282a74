//! A real `PostgreSQL` on loopback, with TLS.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::{User, chown, geteuid};

use crate::support::slapd::{certificates, free_port};

/// A running server; it ends when this is dropped.
pub(crate) struct Postgres {
    dir: tempfile::TempDir,
    process: Option<Child>,
    pub(crate) port: u16,
}

/// The password of the role `reader`.
pub(crate) const PASSWORD: &str = "reader-password";

impl Postgres {
    /// With an empty database; `None` where Debian's package is not installed.
    pub(crate) fn start() -> Option<Self> {
        let programs = programs()?;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        certificates(&path);
        let mut postgres = Self {
            dir,
            process: None,
            port: free_port(),
        };
        own(&path);
        for file in ["ca.pem", "ldap.pem", "ldap.key"] {
            own(&path.join(file));
        }
        let key = path.join("ldap.key");
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let made = as_user(&programs.join("initdb"))
            .arg("-D")
            .arg(path.join("db"))
            .args(["-U", "admin", "-E", "UTF8", "--locale=C", "--no-sync"])
            .args(["--auth-local=trust", "--auth-host=scram-sha-256"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        postgres.run();
        postgres.sql(&format!("CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'"));
        Some(postgres)
    }

    /// Starts it, again after [`Postgres::kill`].
    pub(crate) fn run(&mut self) {
        let path = self.dir.path();
        let at = path.display();
        let log = fs::File::create(path.join("log")).unwrap();
        let mut command = as_user(&programs().unwrap().join("postgres"));
        command.arg("-D").arg(path.join("db"));
        for setting in [
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={at}"),
            "fsync=off".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={at}/ldap.pem"),
            format!("ssl_key_file={at}/ldap.key"),
        ] {
            command.args(["-c", &setting]);
        }
        let process = command.stdin(Stdio::null()).stderr(log).spawn().unwrap();
        self.process = Some(process);
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() || !self.answers() {
            assert!(Instant::now() < until, "PostgreSQL does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self) -> bool {
        self.psql("SELECT 1").status().unwrap().success()
    }

    fn psql(&self, text: &str) -> Command {
        let mut command = Command::new(programs().unwrap().join("psql"));
        command
            .args(["-qAt", "-v", "ON_ERROR_STOP=1", "-U", "admin", "-h"])
            .arg(self.dir.path())
            .args(["-p", &self.port.to_string(), "-c", text, "postgres"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Carries out statements.
    pub(crate) fn sql(&self, text: &str) {
        let done = self.psql(text).stderr(Stdio::piped()).output().unwrap();
        assert!(done.status.success(), "{text}: {done:?}");
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Immediate shutdown: its own processes end with it.
            signal(&process, nix::sys::signal::Signal::SIGQUIT);
            process.wait().unwrap();
        }
    }

    /// The authority of its certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

fn signal(process: &Child, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(process.id().try_into().unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}

/// The newest of Debian's versions.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut versions: Vec<PathBuf> = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|path| path.join("initdb").is_file())
        .collect();
    versions.sort();
    versions.pop()
}

/// The server refuses to run as root: it is run as the user of Debian's package then.
fn server() -> Option<User> {
    geteuid()
        .is_root()
        .then(|| User::from_name("postgres").unwrap().unwrap())
}

fn own(path: &Path) {
    if let Some(user) = server() {
        chown(path, Some(user.uid), Some(user.gid)).unwrap();
    }
}

fn as_user(program: &Path) -> Command {
    let Some(user) = server() else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command
        .args([
            format!("--reuid={}", user.uid),
            format!("--regid={}", user.gid),
        ])
        .args(["--clear-groups", "--"])
        .arg(program)
        .current_dir("/");
    command
}
