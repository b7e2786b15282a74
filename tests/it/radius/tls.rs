//! RADIUS over TLS on real sockets: certificates on both sides, packets in streams, RADIUS/1.1, limits on
//! connections; and radsecproxy in both directions.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator::RequestAuthenticator;
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::{Code, Packet};
use oncegate::radius::request::RequestBuilder;
use oncegate::radius::verify;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::radius::dialogue::keys;
use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::{Daemon, Site};
use crate::support::net::Radius;
use crate::support::require;

const RADSEC: &str = "radsec";
const UDP_SECRET: &str = "a-shared-secret-of-a-proxy";

/// An authority with certificates for a server and for clients.
pub(crate) struct Authority {
    dir: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "test authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        let authority = Self { dir, issuer };
        authority.issue("server", "radius.test");
        authority
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// Writes FILE.pem and FILE.key for a name.
    pub(crate) fn issue(&self, file: &str, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    /// A site with alice whose daemon serves TLS.
    pub(crate) fn site(&self) -> Site {
        let site = Site::new();
        site.enrol("alice", "hotp", RFC_SECRET);
        let table = format!(
            "[radius.tls]\nlisten = \"127.0.0.1:0\"\ncertificate = \"{}\"\nkey = \"{}\"\nclient_ca = \"{}\"\n",
            self.path("server.pem").display(),
            self.path("server.key").display(),
            self.path("ca.pem").display()
        );
        fs::write(site.path().join("oncegate.toml"), table).unwrap();
        site
    }

    fn client(&self, file: Option<&str>, alpn: &[&[u8]]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match file {
            None => config.with_no_client_auth(),
            Some(file) => {
                let chain = CertificateDer::from_pem_file(self.path(&format!("{file}.pem")));
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{file}.key")));
                config
                    .with_client_auth_cert(vec![chain.unwrap()], key.unwrap())
                    .unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|one| one.to_vec()).collect();
        config
    }

    pub(crate) fn connect(&self, to: SocketAddr, file: Option<&str>, alpn: &[&[u8]]) -> Stream {
        let tcp = TcpStream::connect(to).unwrap();
        self.over(tcp, file, alpn)
    }

    fn over(&self, tcp: TcpStream, file: Option<&str>, alpn: &[&[u8]]) -> Stream {
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let name = ServerName::try_from("radius.test").unwrap();
        let config = Arc::new(self.client(file, alpn));
        Stream(StreamOwned::new(
            ClientConnection::new(config, name).unwrap(),
            tcp,
        ))
    }
}

/// A connection of a client.
pub(crate) struct Stream(StreamOwned<ClientConnection, TcpStream>);

impl Stream {
    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.0.write_all(octets).unwrap();
    }

    pub(crate) fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        let mut head = [0; 4];
        self.0.read_exact(&mut head)?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let mut packet = head.to_vec();
        packet.resize(length, 0);
        self.0.read_exact(&mut packet[4..])?;
        Ok(packet)
    }

    pub(crate) fn ask(&mut self, octets: &[u8]) -> Vec<u8> {
        self.send(octets);
        self.receive().unwrap()
    }

    /// Whether the server ends the connection, by whatever means.
    fn is_ended(&mut self, octets: &[u8]) -> bool {
        if self.0.write_all(octets).is_err() {
            return true;
        }
        match self.receive() {
            Ok(_) => false,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

pub(crate) fn tls(site: &Site) -> SocketAddr {
    let status = site.json(&["status"]);
    status["radius_tls"][0].as_str().unwrap().parse().unwrap()
}

pub(crate) fn packet(
    code: Code,
    identifier: u8,
    all: &[(Type, &[u8])],
    password: Option<&str>,
) -> Vec<u8> {
    let mut packet = Vec::new();
    let keys = keys(RADSEC);
    let authenticator = RequestAuthenticator([identifier; 16]);
    let sign = match code {
        Code::StatusServer => MessageAuthenticator::First,
        _ => MessageAuthenticator::Omit,
    };
    let mut builder = RequestBuilder::new(&mut packet, code, identifier, authenticator, sign);
    for (r#type, value) in all {
        builder.attribute(*r#type, value).unwrap();
    }
    if let Some(password) = password {
        builder.user_password(password.as_bytes(), &keys).unwrap();
    }
    builder.finish(&keys).unwrap();
    packet
}

fn login(identifier: u8, code: &str) -> Vec<u8> {
    packet(
        Code::AccessRequest,
        identifier,
        &[(Type::UserName, b"alice")],
        Some(code),
    )
}

/// The code of a genuine answer.
fn genuine(request: &[u8], reply: &[u8]) -> Code {
    let (asked, reply) = (
        Packet::parse(request).unwrap(),
        Packet::parse(reply).unwrap(),
    );
    let authenticator = asked.request_authenticator();
    verify::response(&reply, asked.identifier, &authenticator, &keys(RADSEC)).unwrap();
    reply.code
}

pub(crate) fn add(site: &Site, name: &str, certificate: &str) {
    let made = site.json(&[
        "client",
        "add",
        "radius",
        name,
        "--certificate",
        certificate,
    ]);
    assert_eq!(made["certificate"], certificate);
    assert!(made.get("secret").is_none(), "{made}");
}

#[test]
fn logins_reports_and_status_share_a_connection_and_a_code_opens_once() {
    let authority = Authority::new();
    authority.issue("nas", "nas1.test");
    let site = authority.site();
    add(&site, "branch", "nas1.test");
    let daemon = site.serve();
    let to = tls(&site);
    let mut nas = authority.connect(to, Some("nas"), &[b"radius/1.0"]);
    let status = packet(Code::StatusServer, 0, &[], None);
    assert_eq!(genuine(&status, &nas.ask(&status)), Code::AccessAccept);
    // Two packets in one write, and one in two.
    let (first, again) = (login(1, &hotp(0)), login(2, &hotp(0)));
    nas.send(&[first.clone(), again.clone()].concat());
    let mut codes = Vec::new();
    for _ in 0..2 {
        let reply = nas.receive().unwrap();
        let request = if reply[1] == 1 { &first } else { &again };
        codes.push(genuine(request, &reply));
    }
    codes.sort_unstable();
    assert_eq!(codes, [Code::AccessAccept, Code::AccessReject]);
    let start = 1_u32.to_be_bytes();
    let report = packet(
        Code::AccountingRequest,
        3,
        &[
            (Type::AcctStatusType, &start),
            (Type::AcctSessionId, b"42"),
            (Type::UserName, b"alice"),
        ],
        None,
    );
    let (one, other) = report.split_at(9);
    nas.send(one);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(genuine(&report, &nas.ask(other)), Code::AccountingResponse);
    let sessions = site.json(&["session", "list", "alice"]);
    assert_eq!(sessions["sessions"][0]["client"], "branch");
    // Who has a certificate is not served over UDP with the fixed secret.
    let udp = Radius::new(daemon.radius, RADSEC);
    udp.patience(Duration::from_millis(300));
    udp.send(&login(9, &hotp(1)));
    assert!(udp.receive().is_none());
}

#[test]
fn radius_1_1_has_tokens_and_passwords_in_clear_and_needs_tls_1_3() {
    let authority = Authority::new();
    authority.issue("nas", "nas1.test");
    let site = authority.site();
    add(&site, "branch", "NAS1.test".to_ascii_lowercase().as_str());
    let _daemon = site.serve();
    let to = tls(&site);
    let mut nas = authority.connect(to, Some("nas"), &[b"radius/1.1", b"radius/1.0"]);
    let request = |token: u8, code: &str| {
        let mut octets = vec![1, 0, 0, 0, token, 2, 3, 4];
        octets.resize(20, 0);
        octets.extend([1, 7]);
        octets.extend(b"alice");
        octets.extend([2, 8]);
        octets.extend(code.as_bytes());
        let length = u16::try_from(octets.len()).unwrap();
        octets[2..4].copy_from_slice(&length.to_be_bytes());
        octets
    };
    let reply = nas.ask(&request(1, &hotp(0)));
    assert_eq!(
        (reply[0], &reply[4..20]),
        (2, &[1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..])
    );
    assert!(
        !Packet::parse(&reply)
            .unwrap()
            .has(Type::MessageAuthenticator)
    );
    // The same Token again is another request: nothing is kept where nothing is lost.
    assert_eq!(nas.ask(&request(1, &hotp(0)))[0], 3);

    let mut old = authority.client(Some("nas"), &[b"radius/1.1"]);
    old = {
        let alpn = old.alpn_protocols.clone();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(authority.path("ca.pem")).unwrap())
            .unwrap();
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(authority.path("nas.pem")).unwrap()],
                PrivateKeyDer::from_pem_file(authority.path("nas.key")).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = alpn;
        config
    };
    let tcp = TcpStream::connect(to).unwrap();
    let name = ServerName::try_from("radius.test").unwrap();
    let connection = ClientConnection::new(Arc::new(old), name).unwrap();
    let mut old = Stream(StreamOwned::new(connection, tcp));
    assert!(old.is_ended(&request(5, &hotp(1))));
    // No common protocol: the handshake fails (alert 120).
    let mut other = authority.connect(to, Some("nas"), &[b"http/1.1"]);
    assert!(other.is_ended(&request(6, &hotp(1))));
}

#[test]
fn without_its_certificate_no_one_is_heard_and_a_removed_client_loses_its_connection() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.issue("nas", "nas1.test");
    authority.issue("other", "nas2.test");
    stranger.issue("nas", "nas1.test");
    fs::copy(authority.path("ca.pem"), stranger.path("ca.pem")).unwrap();
    let site = authority.site();
    add(&site, "branch", "nas1.test");
    let twice = [
        "client",
        "add",
        "radius",
        "b2",
        "--certificate",
        "NAS1.test",
    ];
    assert_eq!(site.run(&twice).status.code(), Some(5));
    let wild = ["client", "add", "radius", "b2", "--certificate", "*.test"];
    assert_eq!(site.run(&wild).status.code(), Some(2));
    let _daemon = site.serve();
    let to = tls(&site);
    let request = login(1, &hotp(0));
    for (from, file) in [
        (&authority, None),
        (&authority, Some("other")),
        (&stranger, Some("nas")),
    ] {
        let mut peer = from.connect(to, file, &[]);
        assert!(peer.is_ended(&request), "{file:?}");
    }
    let log = site.log();
    assert!(log.contains("--certificate nas2.test"), "{log}");

    let mut nas = authority.connect(to, Some("nas"), &[]);
    assert_eq!(genuine(&request, &nas.ask(&request)), Code::AccessAccept);
    // A Length out of range, a forged report: the stream is not believed any more.
    let mut forged = packet(
        Code::AccountingRequest,
        2,
        &[(Type::AcctSessionId, b"1")],
        None,
    );
    forged[6] ^= 1;
    for bad in [&[1, 9, 0xff, 0xff][..], &forged] {
        let mut peer = authority.connect(to, Some("nas"), &[]);
        assert!(peer.is_ended(bad), "{bad:?}");
    }
    site.json(&["client", "remove", "branch", "--yes"]);
    assert!(nas.is_ended(&login(3, &hotp(1))));
}

#[test]
fn sockets_that_say_nothing_keep_no_other_address_out_and_a_new_certificate_is_taken() {
    let authority = Authority::new();
    authority.issue("nas", "nas1.test");
    let site = authority.site();
    add(&site, "branch", "nas1.test");
    let daemon = site.serve();
    let to = tls(&site);
    let bound = |address: [u8; 4]| {
        let from: socket2::SockAddr = SocketAddr::from((address, 0)).into();
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&from).unwrap();
        socket.connect(&to.into()).unwrap();
        TcpStream::from(socket)
    };
    let silent: Vec<TcpStream> = (0..80)
        .map(|number| bound([127, 0, 0, if number % 2 == 0 { 1 } else { 3 }]))
        .collect();
    // All but 8 of an address are hung up on at once, whichever was seen first.
    std::thread::sleep(Duration::from_millis(1_500));
    let ended = |mut stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        match stream.read(&mut [0]) {
            Ok(0) => true,
            Ok(_) => panic!("nothing is sent before the handshake"),
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    };
    assert!(silent.iter().filter(|stream| ended(stream)).count() >= 64);
    let mut nas = authority.over(bound([127, 0, 0, 2]), Some("nas"), &[]);
    let request = login(1, &hotp(0));
    assert_eq!(genuine(&request, &nas.ask(&request)), Code::AccessAccept);

    let before = nas.0.conn.peer_certificates().unwrap()[0].clone();
    authority.issue("server", "radius.test");
    site.json(&["reload"]);
    // Silent ones have gone by now.
    std::thread::sleep(Duration::from_secs(5));
    let mut new = authority.connect(to, Some("nas"), &[]);
    let again = login(2, &hotp(0));
    assert_eq!(genuine(&again, &new.ask(&again)), Code::AccessReject);
    assert_ne!(new.0.conn.peer_certificates().unwrap()[0], before);
    fs::write(authority.path("server.pem"), "no certificate").unwrap();
    let refused = site.run(&["reload"]);
    assert_eq!(refused.status.code(), Some(1));
    drop(silent);
    // The end of the daemon waits for no idle connection.
    let begin = Instant::now();
    assert!(daemon.terminate().success());
    assert!(begin.elapsed() < Duration::from_secs(5));
}

/// radsecproxy with this configuration.
struct Proxy(Child);

impl Proxy {
    fn new(dir: &Path, name: &str, config: &str) -> Self {
        let file = dir.join(format!("{name}.conf"));
        fs::write(&file, config).unwrap();
        let log = fs::File::create(dir.join(format!("{name}.log"))).unwrap();
        let child = Command::new("radsecproxy")
            .args(["-f", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Asks through a proxy until it has come up.
fn through(port: u16, counter: u64) -> Code {
    let mut nas = Radius::new(SocketAddr::from(([127, 0, 0, 1], port)), UDP_SECRET);
    nas.patience(Duration::from_secs(2));
    let until = Instant::now() + Duration::from_secs(20);
    let request = nas.request("alice", &hotp(counter));
    loop {
        nas.send(&request);
        if let Some(reply) = nas.receive() {
            return nas.verified(&request, &reply);
        }
        assert!(Instant::now() < until, "no answer through the proxy");
    }
}

#[test]
fn radsecproxy_brings_udp_requests_over_tls() {
    if !require("radsecproxy", "radsecproxy") {
        return;
    }
    let authority = Authority::new();
    authority.issue("proxy", "proxy.test");
    let site = authority.site();
    add(&site, "proxy", "proxy.test");
    let _daemon = site.serve();
    let (to, port) = (tls(&site), free_port());
    let path = |file: &str| authority.path(file).display().to_string();
    let config = format!(
        "ListenUDP 127.0.0.1:{port}\nLogLevel 2\ntls default {{\n  CACertificateFile {}\n  \
         CertificateFile {}\n  CertificateKeyFile {}\n}}\nClient nas {{\n  type udp\n  host 127.0.0.1\n  \
         secret {UDP_SECRET}\n}}\nServer oncegate {{\n  type tls\n  host 127.0.0.1\n  port {}\n  secret radsec\n  \
         tls default\n  matchCertificateAttribute SubjectAltName:DNS:/^radius\\.test$/\n  statusServer on\n  certificateNameCheck off\n}}\n\
         Realm * {{\n  server oncegate\n}}\n",
        path("ca.pem"),
        path("proxy.pem"),
        path("proxy.key"),
        to.port()
    );
    let _proxy = Proxy::new(authority.dir.path(), "tls", &config);
    assert_eq!(through(port, 0), Code::AccessAccept);
    assert_eq!(through(port, 0), Code::AccessReject);
}

#[test]
fn radsecproxy_takes_tls_and_brings_it_over_udp() {
    if !require("radsecproxy", "radsecproxy") {
        return;
    }
    let authority = Authority::new();
    authority.issue("nas", "nas1.test");
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    site.radius_client("proxy", UDP_SECRET);
    let daemon: Daemon = site.serve();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let path = |file: &str| authority.path(file).display().to_string();
    let config = format!(
        "ListenTLS 127.0.0.1:{port}\nLogLevel 2\ntls default {{\n  CACertificateFile {}\n  \
         CertificateFile {}\n  CertificateKeyFile {}\n}}\nClient nas {{\n  type tls\n  host 127.0.0.1\n  \
         secret radsec\n  tls default\n  certificateNameCheck off\n}}\nServer oncegate {{\n  type udp\n  \
         host 127.0.0.1\n  port {}\n  secret {UDP_SECRET}\n}}\nRealm * {{\n  server oncegate\n}}\n",
        path("ca.pem"),
        path("server.pem"),
        path("server.key"),
        daemon.radius.port()
    );
    let _proxy = Proxy::new(authority.dir.path(), "udp", &config);
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(at).is_err() {
        assert!(Instant::now() < until, "the proxy does not come up");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut nas = authority.connect(at, Some("nas"), &[]);
    let mut signed = Vec::new();
    let mut builder = RequestBuilder::new(
        &mut signed,
        Code::AccessRequest,
        7,
        RequestAuthenticator([7; 16]),
        MessageAuthenticator::First,
    );
    builder.attribute(Type::UserName, b"alice").unwrap();
    builder
        .user_password(hotp(0).as_bytes(), &keys(RADSEC))
        .unwrap();
    builder.finish(&keys(RADSEC)).unwrap();
    assert_eq!(genuine(&signed, &nas.ask(&signed)), Code::AccessAccept);
}

/// The load generator as a client over TLS: every answer is checked, by PAP and MS-CHAPv2, on several connections.
#[cfg(feature = "bench")]
#[test]
fn bench_logs_in_over_tls() {
    let authority = Authority::new();
    authority.issue("nas", "nas1.test");
    authority.issue("other", "other.test");
    let site = authority.site();
    add(&site, "nas1", "nas1.test");
    let file = site.path().join("users.csv").display().to_string();
    site.json(&["bench", "users", "40", "--kind", "hotp", "--write", &file]);
    site.json(&["user", "import", &file]);
    let _daemon = site.serve();
    let server = tls(&site).to_string();
    let path = |file: &str| authority.path(file).display().to_string();
    let bench = |certificate: &str, method: &str, (file, after): (&str, &str)| {
        let (chain, key) = (
            path(&format!("{certificate}.pem")),
            path(&format!("{certificate}.key")),
        );
        let ca = path("ca.pem");
        let words = [
            "--json",
            "bench",
            "radius",
            &server,
            "--users",
            file,
            "--save",
            after,
            "--tls",
            "--ca",
            &ca,
            "--certificate",
            &chain,
            "--key",
            &key,
            "--server-name",
            "radius.test",
            "--method",
            method,
            "--duration",
            "400ms",
            "--outstanding",
            "200",
            "--wrong",
            "10%",
        ];
        site.run(&words)
    };
    let [second, third] = ["second", "third"].map(|name| format!("{file}.{name}"));
    for (method, files) in [
        ("pap", (&*file, &*second)),
        ("mschapv2", (&*second, &*third)),
    ] {
        let output = bench("nas", method, files);
        assert!(
            output.status.success(),
            "{method}: {output:?}\n{}",
            site.log()
        );
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(report["accepts"].as_u64() > Some(0), "{report}");
        assert_eq!(report["timeouts"], 0, "{report}");
        assert_eq!(report["unexpected"]["accepts"], 0, "{report}");
    }
    // A certificate of another name, and an authority that signed nothing here.
    let output = bench("other", "pap", (&third, &file));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let (chain, key) = (path("nas.pem"), path("other.key"));
    let words = [
        "bench",
        "radius",
        &server,
        "--users",
        &file,
        "--tls",
        "--certificate",
        &chain,
    ];
    let output = site.run(&[&words[..], &["--ca", &path("ca.pem"), "--key", &key]].concat());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let output = site.run(&["bench", "radius", &server, "--users", &file, "--tls"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
