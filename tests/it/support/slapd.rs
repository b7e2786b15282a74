//! A real directory on loopback: slapd with people, nested and cyclic groups, a referral, `StartTLS` and LDAPS.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// A running slapd; it ends when this is dropped.
pub(crate) struct Slapd {
    dir: tempfile::TempDir,
    process: Option<Child>,
    port: u16,
    tls_port: u16,
    /// Binds of our own, to count the others.
    counted: Cell<u64>,
}

/// The suffix, and what is below it.
const TREE: &str = "dn: dc=eco\nobjectClass: dcObject\nobjectClass: organization\no: eco\ndc: eco\n\n\
dn: ou=people,dc=eco\nobjectClass: organizationalUnit\nou: people\n\n\
dn: ou=groups,dc=eco\nobjectClass: organizationalUnit\nou: groups\n\n\
dn: ou=elsewhere,ou=people,dc=eco\nobjectClass: referral\nobjectClass: extensibleObject\nou: elsewhere\n\
ref: ldap://192.0.2.1/ou=elsewhere,dc=eco\n\n\
dn: cn=reader,dc=eco\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: reader\n\
userPassword: readerpw\n\n\
dn: cn=limited,dc=eco\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: limited\n\
userPassword: limitedpw\n\n\
dn: cn=inner,ou=groups,dc=eco\nobjectClass: groupOfNames\ncn: inner\nmember: uid=u1,ou=people,dc=eco\n\n\
dn: cn=outer,ou=groups,dc=eco\nobjectClass: groupOfNames\ncn: outer\nmember: cn=inner,ou=groups,dc=eco\n\
member: cn=outer2,ou=groups,dc=eco\n\n\
dn: cn=outer2,ou=groups,dc=eco\nobjectClass: groupOfNames\ncn: outer2\nmember: cn=outer,ou=groups,dc=eco\n\n";

impl Slapd {
    /// With so many people: `u1`, `u2`, ..., whose passwords are `pw1`, `pw2`, ...
    pub(crate) fn start(people: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        certificates(path);
        fs::create_dir(path.join("db")).unwrap();
        let at = path.display();
        let conf = format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n\
             moduleload refint\nmoduleload ppolicy\nTLSCACertificateFile {at}/ca.pem\nTLSCertificateFile {at}/ldap.pem\n\
             TLSCertificateKeyFile {at}/ldap.key\nallow bind_anon_cred\n\
             sizelimit size.soft=1000 size.hard=1000 size.prtotal=unlimited\n\
             database mdb\nsuffix \"dc=eco\"\nrootdn \"cn=admin,dc=eco\"\nrootpw adminpw\ndirectory {at}/db\n\
             dbnosync\nmaxsize 67108864\nindex objectClass,uid,entryUUID eq\n\
             limits dn.exact=\"cn=limited,dc=eco\" size.soft=100 size.hard=100 size.prtotal=100\n\
             overlay refint\nrefint_attributes member\nrefint_nothing cn=admin,dc=eco\n\
             overlay ppolicy\ndatabase monitor\n"
        );
        fs::write(path.join("slapd.conf"), conf).unwrap();
        let mut tree = TREE.to_owned();
        for number in 1..=people {
            let _ = write!(
                tree,
                "dn: uid=u{number},ou=people,dc=eco\nobjectClass: inetOrgPerson\nuid: u{number}\ncn: User {number}\n\
                 sn: {number}\nmail: u{number}@example.org\nmobile: +82 10 1000 {number:04}\n\
                 userPassword: pw{number}\n\n"
            );
        }
        fs::write(path.join("tree.ldif"), tree).unwrap();
        let conf = path.join("slapd.conf");
        let added = Command::new("/usr/sbin/slapadd")
            .args(["-q", "-f"])
            .arg(&conf)
            .arg("-l")
            .arg(path.join("tree.ldif"))
            .output()
            .unwrap();
        assert!(added.status.success(), "{added:?}");
        let mut slapd = Self {
            port: free_port(),
            tls_port: free_port(),
            counted: Cell::new(0),
            process: None,
            dir,
        };
        slapd.run();
        slapd
    }

    /// Starts it, again after [`Slapd::kill`].
    pub(crate) fn run(&mut self) {
        let listen = format!("{} {}", self.url(), self.tls_url());
        let process = Command::new("/usr/sbin/slapd")
            .args(["-d", "0", "-h", &listen, "-f"])
            .arg(self.dir.path().join("slapd.conf"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(process);
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.tls_port)).is_err() {
            assert!(Instant::now() < until, "slapd does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Stops it where it is, or lets it go on: connections are taken, and nothing is answered.
    pub(crate) fn pause(&self, pause: bool) {
        use nix::sys::signal::{Signal, kill};
        let process = self.process.as_ref().unwrap().id();
        let pid = nix::unistd::Pid::from_raw(process.try_into().unwrap());
        kill(
            pid,
            if pause {
                Signal::SIGSTOP
            } else {
                Signal::SIGCONT
            },
        )
        .unwrap();
    }

    /// Where it listens without TLS.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Without TLS at first.
    pub(crate) fn url(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.port)
    }

    /// With TLS from the beginning.
    pub(crate) fn tls_url(&self) -> String {
        format!("ldaps://127.0.0.1:{}", self.tls_port)
    }

    /// The authority of its certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// How many binds it has answered since its start, without those that ask for it here.
    pub(crate) fn binds(&self) -> u64 {
        self.counted.set(self.counted.get() + 1);
        let output = Command::new("ldapsearch")
            .args([
                "-x",
                "-LLL",
                "-H",
                &self.url(),
                "-b",
                "cn=Bind,cn=Operations,cn=Monitor",
            ])
            .args(["-s", "base", "monitorOpCompleted"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("monitorOpCompleted: "));
        let all: u64 = line.expect(&text).parse().unwrap();
        all - self.counted.get()
    }

    /// Changes what it has, as LDIF says.
    pub(crate) fn modify(&self, ldif: &str) {
        let mut child = Command::new("ldapmodify")
            .args([
                "-x",
                "-H",
                &self.url(),
                "-D",
                "cn=admin,dc=eco",
                "-w",
                "adminpw",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(ldif.as_bytes()).unwrap();
        drop(input);
        assert!(child.wait().unwrap().success(), "{ldif}");
    }

    /// Makes its people a source of an installation, with more keys.
    pub(crate) fn table(&self, site: &Path, name: &str, url: &str, more: &str) {
        fs::write(site.join("reader.password"), "readerpw\n").unwrap();
        let ca = self.ca();
        let table = format!(
            "\n[source.{name}]\nkind = \"ldap\"\nurl = \"{url}\"\nca_file = \"{}\"\nbase = \"ou=people,dc=eco\"\n\
             group_base = \"ou=groups,dc=eco\"\nbind_dn = \"cn=reader,dc=eco\"\nsecret_file = \"reader.password\"\n\
             {more}\n",
            ca.display()
        );
        let file = site.join("oncegate.toml");
        let before = fs::read_to_string(&file).unwrap();
        fs::write(&file, before + &table).unwrap();
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// An authority, and a certificate of it for 127.0.0.1.
pub(crate) fn certificates(dir: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&key).unwrap();
    let issuer = Issuer::new(authority, key);
    let own = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let server = server.signed_by(&own, &issuer).unwrap();
    fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
    fs::write(dir.join("ldap.pem"), server.pem()).unwrap();
    fs::write(dir.join("ldap.key"), own.serialize_pem()).unwrap();
}
