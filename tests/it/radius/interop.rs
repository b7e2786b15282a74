//! Clients that others wrote: radclient, `pam_radius`, curl, oathtool.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::{Daemon, Site};
use crate::support::require;

fn radclient(daemon: &Daemon, attributes: &str, kind: &str, secret: &str) -> Output {
    let mut child = Command::new("radclient")
        .args([
            "-x",
            "-r",
            "1",
            "-t",
            "5",
            &daemon.radius.to_string(),
            kind,
            secret,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(attributes.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn login(user: &str, code: &str) -> String {
    format!("User-Name={user},User-Password={code},Message-Authenticator=0x00\n")
}

#[test]
fn radclient_is_accepted_once() {
    if !require("radclient", "freeradius-utils") {
        return;
    }
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    site.radius_client("nas", "testing123");
    let daemon = site.serve();
    let first = radclient(&daemon, &login("alice", &hotp(0)), "auth", "testing123");
    let text = String::from_utf8_lossy(&first.stdout);
    assert!(text.contains("Received Access-Accept"), "{text}");
    let message_authenticator = text
        .find("Message-Authenticator = 0x")
        .expect("it is there");
    assert!(message_authenticator > 0);
    let again = radclient(&daemon, &login("alice", &hotp(0)), "auth", "testing123");
    let text = String::from_utf8_lossy(&again.stdout);
    assert!(text.contains("Received Access-Reject"), "{text}");
    // DOMAIN\user and name@realm are the same person.
    let domain = radclient(
        &daemon,
        &login("ALICE@default", &hotp(1)),
        "auth",
        "testing123",
    );
    assert!(String::from_utf8_lossy(&domain.stdout).contains("Received Access-Accept"));
}

#[test]
fn radclient_logs_in_by_chap_and_ms_chap() {
    if !require("radclient", "freeradius-utils") {
        return;
    }
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    site.radius_client("nas", "testing123");
    let daemon = site.serve();
    for (counter, attribute) in [(0, "CHAP-Password"), (1, "MS-CHAP-Password")] {
        let code = hotp(counter);
        let request = format!("User-Name=alice,{attribute}={code},Message-Authenticator=0x00\n");
        let ask = || {
            let output = radclient(&daemon, &request, "auth", "testing123");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let first = ask();
        assert!(first.contains("Received Access-Accept"), "{first}");
        assert_eq!(first.contains("MS-CHAP-MPPE-Keys"), counter == 1, "{first}");
        let again = ask();
        assert!(again.contains("Received Access-Reject"), "{again}");
        assert_eq!(again.contains("E=691 R=0"), counter == 1, "{again}");
    }
    // RFC 4669, from what the client saw.
    let counters = &site.json(&["client", "show", "nas"])["counters"];
    let counted = |object: &str| counters[format!("radiusAuthServExt{object}")].as_u64();
    assert_eq!(counted("AccessAccepts"), Some(2), "{counters}");
    assert_eq!(counted("AccessRejects"), Some(2), "{counters}");
    assert!(counted("AccessRequests") >= Some(4), "{counters}");
    assert_eq!(counted("BadAuthenticators"), Some(0), "{counters}");
    assert_eq!(counters["radiusAccServExtRequests"], 0, "{counters}");
    let doctor = site.run(&["doctor"]);
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(
        text.contains("client nas: logins by chap, mschap over plain UDP"),
        "{text}"
    );
    // The same methods inside TLS are no finding.
    site.json(&["client", "set", "nas", "--certificate", "nas.example"]);
    let doctor = site.run(&["doctor"]);
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(
        text.contains("client nas: logins by chap, mschap, over TLS")
            && !text.contains("over plain UDP"),
        "{text}"
    );
}

#[test]
fn radclient_gets_silence_for_a_wrong_secret_or_no_signature() {
    if !require("radclient", "freeradius-utils") {
        return;
    }
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    site.radius_client("nas", "testing123");
    let daemon = site.serve();
    let unsigned = format!("User-Name=alice,User-Password={}\n", hotp(0));
    for (secret, attributes) in [
        ("wrong-secret", login("alice", &hotp(0))),
        ("testing123", unsigned),
    ] {
        let mut child = Command::new("radclient")
            .args([
                "-r",
                "1",
                "-t",
                "1",
                &daemon.radius.to_string(),
                "auth",
                secret,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(attributes.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            !output.status.success() && !text.contains("Received"),
            "{text}"
        );
    }
    // Neither cost the user anything.
    let right = radclient(&daemon, &login("alice", &hotp(0)), "auth", "testing123");
    assert!(String::from_utf8_lossy(&right.stdout).contains("Received Access-Accept"));
}

#[test]
fn radclient_status_server_is_answered() {
    if !require("radclient", "freeradius-utils") {
        return;
    }
    let site = Site::new();
    site.radius_client("nas", "testing123");
    let daemon = site.serve();
    let output = radclient(
        &daemon,
        "Message-Authenticator=0x00\n",
        "status",
        "testing123",
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Received Access-Accept"), "{text}");
}

#[test]
fn codes_of_oathtool_log_in_through_curl() {
    if !(require("oathtool", "oathtool") && require("curl", "curl")) {
        return;
    }
    let site = Site::new();
    site.enrol("alice", "totp", RFC_SECRET);
    let key = site.api_client("app");
    let daemon = site.serve();
    let code = Command::new("oathtool")
        .args(["--totp", "-b", RFC_SECRET])
        .output()
        .unwrap();
    let code = String::from_utf8(code.stdout).unwrap().trim().to_owned();
    let ask = || {
        let output = Command::new("curl")
            .args(["-sS", &format!("http://{}/v1/verify", daemon.http)])
            .args(["-H", &format!("Authorization: Bearer {key}")])
            .args(["--json", &format!(r#"{{"user":"alice","otp":"{code}"}}"#)])
            .output()
            .unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["decision"].as_str().unwrap().to_owned()
    };
    assert_eq!(ask(), "accept");
    assert_eq!(ask(), "reject");
}

/// A PAM service of its own under /etc/pam.d, removed when dropped.
struct PamService {
    name: String,
    file: PathBuf,
}

impl PamService {
    fn new(daemon: &Daemon, dir: &std::path::Path, secret: &str) -> std::io::Result<Self> {
        let servers = dir.join("pam_radius.conf");
        std::fs::write(&servers, format!("{} {secret} 5\n", daemon.radius))?;
        let name = format!("oncegate-test-{}", daemon.pid());
        let file = PathBuf::from("/etc/pam.d").join(&name);
        let rule = format!(
            "auth required pam_radius_auth.so conf={} retry=1\naccount required pam_permit.so\n",
            servers.display()
        );
        std::fs::write(&file, rule)?;
        Ok(Self { name, file })
    }

    /// Answers the prompts one after another.
    fn authenticate(&self, user: &str, answers: &str) -> bool {
        let mut child = Command::new("pamtester")
            .args([&self.name, user, "authenticate"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(format!("{answers}\n").as_bytes())
            .unwrap();
        child.wait_with_output().unwrap().status.success()
    }
}

impl Drop for PamService {
    fn drop(&mut self) {
        // Left behind only if /etc/pam.d became unwritable meanwhile.
        let _ = std::fs::remove_file(&self.file);
    }
}

#[test]
fn pam_radius_logs_in_once() {
    if !require("pamtester", "pamtester libpam-radius-auth") {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        crate::support::skip("pam services are made in /etc/pam.d, which takes root");
        return;
    }
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    site.radius_client("nas", "testing123");
    // Debian 12's pam_radius 2.0.0 cannot sign its requests.
    site.json(&[
        "client",
        "set",
        "nas",
        "--require-message-authenticator",
        "false",
    ]);
    let daemon = site.serve();
    let pam = PamService::new(&daemon, &site.path(), "testing123").unwrap();
    assert!(
        pam.authenticate("alice", &hotp(0)),
        "a fresh code is accepted"
    );
    assert!(
        !pam.authenticate("alice", &hotp(0)),
        "the same code is refused"
    );
    assert!(
        !pam.authenticate("alice", "000000"),
        "a wrong code is refused"
    );
    assert!(
        pam.authenticate("alice", &hotp(1)),
        "the next code is accepted"
    );
}

const PASSWORD: &str = "Tr0ub4dor&3x";

/// A site where alice has a password and a counter token, and one box is read as `present` says.
fn password_site(present: &str) -> Site {
    let site = Site::new();
    site.json_with(&["user", "add", "alice", "--password-stdin"], PASSWORD);
    let words = [
        "token",
        "add",
        "alice",
        "--kind",
        "hotp",
        "--active",
        "--secret-stdin",
    ];
    site.json_with(&words, RFC_SECRET);
    site.radius_client("nas", "testing123");
    let policy = format!(
        "reject_delay = \"0s\"\n[[rule]]\nname = \"staff\"\nrequire = [\"password\", \"otp\"]\n\
         present = \"{present}\"\n"
    );
    std::fs::write(site.path().join("policies/default.toml"), policy).unwrap();
    site
}

/// The value of an attribute in what radclient prints.
fn attribute<'t>(text: &'t str, name: &str) -> &'t str {
    let (_, rest) = text.split_once(&format!("{name} = ")).expect(name);
    rest.lines().next().expect(name).trim_matches('"')
}

#[test]
fn radclient_walks_a_challenge_to_its_end() {
    if !require("radclient", "freeradius-utils") {
        return;
    }
    let site = password_site("challenge");
    let daemon = site.serve();
    let ask = |typed: &str, state: &str| {
        let state = if state.is_empty() {
            String::new()
        } else {
            format!(",State={state}")
        };
        let request = login("alice", typed).replace('\n', &format!("{state}\n"));
        let output = radclient(&daemon, &request, "auth", "testing123");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (_, reply) = text.split_once("Received ").expect("a reply");
        reply.to_owned()
    };
    let wrong = ask("Tr0ub4dor&3y", "");
    assert!(wrong.starts_with("Access-Reject"), "{wrong}");
    let first = ask(PASSWORD, "");
    assert!(first.starts_with("Access-Challenge"), "{first}");
    assert_eq!(attribute(&first, "Prompt"), "Echo");
    assert_eq!(
        attribute(&first, "Reply-Message"),
        "Enter the code of your token"
    );
    let state = attribute(&first, "State").to_owned();
    let second = ask(&hotp(0), &state);
    assert!(second.starts_with("Access-Accept"), "{second}");
    let again = ask(&hotp(1), &state);
    assert!(again.starts_with("Access-Reject"), "{again}");
    // A wrong code ends the login; its State is worth nothing afterwards.
    let state = attribute(&ask(PASSWORD, ""), "State").to_owned();
    assert!(ask("000000", &state).starts_with("Access-Reject"));
    assert!(ask(&hotp(1), &state).starts_with("Access-Reject"));
}

#[test]
fn pam_radius_asks_for_password_and_code() {
    if !require("pamtester", "pamtester libpam-radius-auth") {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        crate::support::skip("pam services are made in /etc/pam.d, which takes root");
        return;
    }
    let site = password_site("either");
    // Debian 12's pam_radius 2.0.0 cannot sign its requests.
    let words = [
        "client",
        "set",
        "nas",
        "--require-message-authenticator",
        "false",
    ];
    site.json(&words);
    let daemon = site.serve();
    let pam = PamService::new(&daemon, &site.path(), "testing123").unwrap();
    for (answers, accepted) in [
        // At one prompt.
        (format!("{PASSWORD}{}", hotp(0)), true),
        (format!("{PASSWORD},{}", hotp(1)), true),
        (format!("{PASSWORD}{}", hotp(1)), false),
        // At two.
        (format!("{PASSWORD}\n{}", hotp(2)), true),
        (format!("{PASSWORD}\n{}", hotp(2)), false),
        (format!("Tr0ub4dor&3y\n{}", hotp(3)), false),
        (format!("{PASSWORD}\n{}", hotp(3)), true),
    ] {
        let shown = answers.replace('\n', " | ");
        assert_eq!(pam.authenticate("alice", &answers), accepted, "{shown}");
    }
}
