//! FreeRADIUS as a peer: a configuration of its own, a port of the system's choice.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};

/// A running FreeRADIUS; ended when dropped.
pub(crate) struct Freeradius {
    child: Child,
    /// Where it takes Access-Requests.
    pub(crate) address: SocketAddr,
    _dir: tempfile::TempDir,
}

/// The secret that it shares with its clients.
pub(crate) const SECRET: &str = "freeradius-nas-secret";

const COMMON: &str = r"
prefix = /usr
logdir = @HERE@
run_dir = @HERE@
libdir = /usr/lib/freeradius
name = test
max_request_time = 10
security {
    max_attributes = 200
    reject_delay = 0
    status_server = no
}
thread pool {
    start_servers = 1
    max_servers = 2
    min_spare_servers = 1
    max_spare_servers = 1
    max_requests_per_server = 0
}
client nas {
    ipaddr = 127.0.0.1
    secret = @SECRET@
}
";

impl Freeradius {
    /// Starts it with this behind what all configurations have in common; `@PORT@` is the port of a listener
    /// on 127.0.0.1.
    pub(crate) fn start(text: &str) -> Self {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap();
        drop(port);
        let dir = tempfile::tempdir().unwrap();
        let text = format!("{COMMON}{text}")
            .replace("@HERE@", &dir.path().display().to_string())
            .replace("@SECRET@", SECRET)
            .replace("@PORT@", &address.port().to_string());
        std::fs::write(dir.path().join("radiusd.conf"), text).unwrap();
        let mut child = Command::new("freeradius")
            .args(["-f", "-l", "stdout", "-n", "radiusd", "-D"])
            .arg("/usr/share/freeradius")
            .arg("-d")
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains("Ready to process requests") {
            let more = output.read_line(&mut said).unwrap();
            assert!(more > 0, "FreeRADIUS ended: {said}");
        }
        // Read on, or it stops when the pipe is full.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Self {
            child,
            address,
            _dir: dir,
        }
    }

    /// What radclient prints of these attributes, sent twice at most.
    pub(crate) fn ask(&self, attributes: &str) -> String {
        let mut child = Command::new("radclient")
            .args(["-x", "-r", "1", "-t", "2"])
            .args([&self.address.to_string(), "auth", SECRET])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(attributes.as_bytes()).unwrap();
        input.write_all(b"\n").unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// `Access-Accept`, `Access-Reject`, or nothing.
    pub(crate) fn login(&self, user: &str, code: &str) -> Option<String> {
        let text = self.ask(&format!("User-Name={user},User-Password={code}"));
        let (_, reply) = text.split_once("Received ")?;
        reply.split(' ').next().map(str::to_owned)
    }
}

impl Drop for Freeradius {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
