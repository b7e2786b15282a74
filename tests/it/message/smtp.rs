//! Mail through a real server: aiosmtpd, with STARTTLS, a login, and none of either.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use oncegate::config::delivery::Delivery;
use oncegate::config::target::Reach;
use oncegate::core::courier::{BreakerState, Courier as _};
use oncegate::model::message::{Medium, Message};

use crate::support::gateway::{DeliveryLab, config, sms};
use crate::support::skip;

/// A mail server in a directory that goes with it.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    dir: tempfile::TempDir,
}

impl Server {
    /// None, having said so, where aiosmtpd is not installed.
    pub(crate) fn start(tls: Option<&str>) -> Option<Self> {
        let known = Command::new(PYTHON)
            .args(["-c", "import aiosmtpd"])
            .output();
        if !known.is_ok_and(|known| known.status.success()) {
            skip("aiosmtpd not found (apt install python3-aiosmtpd)");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smtp-server.py");
        let mut command = Command::new(PYTHON);
        command.arg(script).arg(dir.path());
        if let Some(mode) = tls {
            let made = rcgen::generate_simple_self_signed(vec!["mail.example".to_owned()]);
            let made = made.unwrap();
            let (certificate, key) = (dir.path().join("ca.pem"), dir.path().join("key.pem"));
            std::fs::write(&certificate, made.cert.pem()).unwrap();
            std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            command.args([&certificate, &key]).arg(mode);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the server prints its port");
        Some(Self { child, port, dir })
    }

    /// A gateway that asks this server by its name.
    fn plan(&self, more: &str) -> Delivery {
        let password = self.dir.path().join("password");
        std::fs::write(&password, "s3cr3t-mail\n").unwrap();
        let more = more.replace("PASSWORD", &password.display().to_string());
        let more = more.replace("CA", &self.dir.path().join("ca.pem").display().to_string());
        let text = format!(
            "[delivery.mail]\nkind = \"smtp\"\nmedia = \"email\"\nhost = \"mail.example\"\n\
             port = {}\nfrom = \"otp@oncegate.example\"\nallow_private = true\nattempts = 1\n{more}",
            self.port
        );
        config(&text).delivery
    }

    /// The envelope and the text of a mail.
    pub(crate) fn mail(&self, number: usize) -> (String, String) {
        let path = self.dir.path().join(format!("{number}.eml"));
        let text = std::fs::read_to_string(path).expect("the mail");
        let (envelope, mail) = text.split_once('\n').unwrap();
        (envelope.to_owned(), mail.to_owned())
    }
}

impl Server {
    /// Whether so many mails have come.
    pub(crate) fn has(&self, number: usize) -> bool {
        self.dir.path().join(format!("{number}.eml")).exists()
    }

    /// The envelope and the readable text of a mail.
    pub(crate) fn text(&self, number: usize) -> (String, String) {
        let (envelope, mail) = self.mail(number);
        let (head, body) = mail.split_once("\r\n\r\n").expect("a head");
        let head = head.to_ascii_lowercase();
        let octets = if head.contains("encoding: base64") {
            let body: String = body.split_whitespace().collect();
            data_encoding::BASE64
                .decode(body.as_bytes())
                .expect("base64")
        } else if head.contains("encoding: quoted-printable") {
            let (mut octets, mut parts) = (Vec::new(), body.split('='));
            octets.extend(parts.next().unwrap_or_default().bytes());
            for part in parts {
                let rest = part.strip_prefix("\r\n").unwrap_or_else(|| {
                    octets.push(u8::from_str_radix(&part[..2], 16).expect("two digits"));
                    &part[2..]
                });
                octets.extend(rest.bytes());
            }
            octets
        } else {
            body.as_bytes().to_vec()
        };
        (envelope, String::from_utf8(octets).expect("UTF-8"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn lab(plan: &Delivery) -> DeliveryLab {
    let lab = DeliveryLab::open(plan);
    lab.names.lead("mail.example", &["127.0.0.1"]);
    lab
}

fn mail(id: u8, to: &str, subject: &str) -> Message {
    Message {
        medium: Medium::Email,
        to: to.to_owned(),
        subject: Some(subject.to_owned()),
        ..sms(id, "\u{c778}\u{c99d}\u{bc88}\u{d638} 755224\n.\nlast line")
    }
}

fn header<'m>(mail: &'m str, name: &str) -> Vec<&'m str> {
    let head = mail.split("\r\n\r\n").next().unwrap();
    let prefix = format!("{name}: ");
    let lines = head.split("\r\n");
    lines
        .filter_map(|line| line.strip_prefix(&prefix))
        .collect()
}

const LOGIN: &str = "ca_file = \"CA\"\nuser = \"otp\"\nsecret_file = \"PASSWORD\"\n";

#[tokio::test]
async fn a_mail_arrives_over_starttls_and_a_login() {
    let Some(server) = Server::start(Some("starttls")) else {
        return;
    };
    let lab = lab(&server.plan(LOGIN));
    let evil = "code\r\nBcc: evil@example.com\r\n\r\nbody";
    let delivered = lab
        .deliveries
        .deliver(mail(5, "alice@example.com", evil))
        .await;
    let delivered = delivered.unwrap();
    assert_eq!(delivered.reference.as_deref(), Some("2.0.0 queued as 1"));
    let (envelope, text) = server.mail(1);
    assert_eq!(envelope, "otp@oncegate.example alice@example.com");
    assert_eq!(header(&text, "To"), ["alice@example.com"]);
    assert_eq!(header(&text, "From"), ["otp@oncegate.example"]);
    let id = format!("<{}@oncegate.example>", "05".repeat(16));
    assert_eq!(header(&text, "Message-ID"), [id]);
    assert_eq!(header(&text, "Date"), ["Fri, 15 Jan 2027 08:00:00 +0000"]);
    assert_eq!(header(&text, "Auto-Submitted"), ["auto-generated"]);
    let subject = "code  Bcc: evil@example.com    body";
    assert_eq!(header(&text, "Subject"), [subject]);
    assert!(header(&text, "Bcc").is_empty(), "{text}");
    assert_eq!(text.matches("\r\n\r\n").count(), 1, "{text}");
    // The same text on a retry, so that a server can know it.
    lab.deliveries
        .deliver(mail(5, "alice@example.com", evil))
        .await
        .unwrap();
    assert_eq!(server.mail(2).1, text);
}

#[tokio::test]
async fn a_wrong_password_and_a_wrong_certificate_are_told() {
    let Some(server) = Server::start(Some("starttls")) else {
        return;
    };
    let sent = async |plan: &Delivery| {
        let lab = lab(plan);
        let error = lab
            .deliveries
            .deliver(mail(1, "alice@example.com", "x"))
            .await;
        error.unwrap_err().to_string()
    };
    let plan = server.plan(LOGIN);
    std::fs::write(server.dir.path().join("password"), "wrong-password").unwrap();
    let error = sent(&plan).await;
    assert!(
        error.contains("535") && !error.contains("wrong-password"),
        "{error}"
    );
    let error = sent(&server.plan(&LOGIN.replace("ca_file = \"CA\"\n", ""))).await;
    assert!(error.contains("invalid peer certificate"), "{error}");
    assert!(!server.dir.path().join("1.eml").exists());
}

#[tokio::test]
async fn tls_that_is_required_is_not_waived() {
    let Some(server) = Server::start(None) else {
        return;
    };
    let required = lab(&server.plan(""));
    let error = required
        .deliveries
        .deliver(mail(1, "alice@example.com", "x"))
        .await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("STARTTLS is not supported"), "{error}");
    for tls in ["opportunistic", "none"] {
        let lab = lab(&server.plan(&format!("tls = \"{tls}\"\n")));
        lab.deliveries
            .deliver(mail(2, "alice@example.com", "x"))
            .await
            .unwrap();
    }
    assert!(server.dir.path().join("2.eml").exists());
    assert!(!server.dir.path().join("3.eml").exists());
}

#[tokio::test]
async fn tls_begins_at_once_where_it_does() {
    let Some(server) = Server::start(Some("tls")) else {
        return;
    };
    let mut plan = server.plan("ca_file = \"CA\"\n");
    // As on port 465, which is not ours to listen on.
    plan.gateways[0].target.secure = true;
    lab(&plan)
        .deliveries
        .deliver(mail(1, "alice@example.com", "x"))
        .await
        .unwrap();
    assert!(server.dir.path().join("1.eml").exists());
}

#[tokio::test]
async fn a_mailbox_that_is_none_closes_no_gateway() {
    let Some(server) = Server::start(None) else {
        return;
    };
    let lab = lab(&server.plan("tls = \"none\"\nbreaker_failures = 1\n"));
    let sent = async |to| lab.deliveries.deliver(mail(1, to, "x")).await;
    let error = sent("nobody@example.com").await.unwrap_err().to_string();
    assert!(
        error.contains("550") && error.contains("n***@example.com"),
        "{error}"
    );
    assert!(!error.contains("nobody@"), "{error}");
    assert_eq!(lab.deliveries.gateways()[0].breaker, BreakerState::Closed);
    sent("closing@example.com").await.unwrap_err();
    assert_eq!(lab.deliveries.gateways()[0].breaker, BreakerState::Open);
}

/// A greeting without end is cut off long before its time is over.
#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let talker = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut sent = 0;
        while stream.write_all(&[b'2'; 4096]).is_ok() {
            sent += 4096;
        }
        sent
    });
    let mut plan = config(
        "[delivery.mail]\nkind = \"smtp\"\nmedia = \"email\"\nhost = \"mail.example\"\nattempts = 1\n\
         from = \"otp@oncegate.example\"\nallow_private = true\ntls = \"none\"\ntimeout = \"60s\"\n\
         [limits]\ndelivery_budget = \"120s\"",
    )
    .delivery;
    plan.gateways[0].target.port = port;
    let error = lab(&plan)
        .deliveries
        .deliver(mail(1, "alice@example.com", "x"))
        .await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("the answer is too long"), "{error}");
    let sent = talker.join().unwrap();
    assert!(sent < 64 * 1024 * 1024, "{sent} octets were taken");
}

#[tokio::test]
async fn a_mail_server_inside_is_refused_as_a_url_is() {
    let Some(server) = Server::start(None) else {
        return;
    };
    let mut plan = server.plan("tls = \"none\"\n");
    plan.gateways[0].reach = Reach::Public;
    let error = lab(&plan)
        .deliveries
        .deliver(mail(1, "alice@example.com", "x"))
        .await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("mail.example leads to 127.0.0.1"), "{error}");
    assert!(!server.dir.path().join("1.eml").exists());
}

/// Debian's, which has Debian's packages.
const PYTHON: &str = "/usr/bin/python3";
