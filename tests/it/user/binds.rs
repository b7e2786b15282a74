//! Passwords that a directory checks, by a bind: over HTTP and RADIUS, with the directory there, slow and gone.

use std::fs;
use std::time::{Duration, Instant};

use oncegate::radius::packet::Code;
use serde_json::{Value, json};

use crate::support::codes::{RFC_SECRET, hotp, hotp_of, secret_of};
use crate::support::daemon::{Daemon, Site};
use crate::support::net::{Http, Radius};
use crate::support::require;
use crate::support::slapd::Slapd;

const SECRET: &str = "a-secret-of-32-octets-for-the-nas";
const POLICY: &str = "reject_delay = \"0s\"\n[[rule]]\nname = \"codes\"\nwhen = { group = \"codes\" }\nrequire = [\"otp\"]\n\
    [[rule]]\nname = \"all\"\nrequire = [\"password\", \"otp\"]\npresent = \"joined\"\n\
    [lockout]\nfree = 50\nlock_after = 60\nhard_lock_after = 70\n";

struct Bench {
    slapd: Slapd,
    site: Site,
    key: String,
}

impl Bench {
    fn new() -> Self {
        let slapd = Slapd::start(12);
        let site = Site::new();
        fs::write(site.path().join("policies/default.toml"), POLICY).unwrap();
        let more = "every = \"never\"\npassword = true\nbind_timeout = \"1s\"\ntimeout = \"2s\"\n\
                    breaker_failures = 3\nbreaker_pause = \"1s\"";
        slapd.table(&site.path(), "corp", &slapd.tls_url(), more);
        site.json(&["source", "sync", "corp"]);
        site.radius_client("nas", SECRET);
        let key = site.api_client("app");
        Self { slapd, site, key }
    }

    /// The status, and the cause on record where there is a decision.
    fn verify(&self, daemon: &Daemon, user: &str, password: &str, otp: &str) -> (u16, String) {
        let body = json!({"user": user, "password": password, "otp": otp}).to_string();
        let mut http = Http::new(daemon.http, &self.key);
        let (status, answer) = http.send("POST", "/v1/verify", body.as_bytes()).unwrap();
        if status != 200 {
            return (status, String::new());
        }
        let document: Value = serde_json::from_slice(&answer).unwrap();
        let id = document["request_id"].as_str().unwrap();
        let words = ["audit", "list", "--limit", "1"];
        let records = self.site.json(&words);
        let record = &records["records"][0];
        assert_eq!(record["request_id"], id, "{records}");
        let reason = record["reason"].as_str();
        (status, reason.unwrap_or_default().to_owned())
    }
}

fn token(site: &Site, user: &str, secret: &str) {
    let words = [
        "token",
        "add",
        user,
        "--kind",
        "hotp",
        "--secret-stdin",
        "--active",
    ];
    site.json_with(&words, &format!("{secret}\n"));
}

#[test]
fn row_a16_a_directory_checks_passwords_by_one_bind() {
    if !require("ldapmodify", "ldap-utils slapd") {
        return;
    }
    let mut bench = Bench::new();
    token(&bench.site, "u1", RFC_SECRET);
    let words = ["user", "add", "local", "--password-stdin"];
    bench.site.json_with(&words, "a long password\n");
    token(&bench.site, "local", &secret_of("local"));
    let daemon = bench.site.serve();
    let (before, ask) = (bench.slapd.binds(), |password: &str, step: u64| {
        bench.verify(&daemon, "u1", password, &hotp(step))
    });
    assert_eq!(ask("pw1", 0), (200, "hotp_ok".to_owned()));
    // Of the account that reads, and of the person.
    assert_eq!(bench.slapd.binds() - before, 2);
    let before = bench.slapd.binds();
    assert_eq!(ask("wrong", 1), (200, "wrong_password".to_owned()));
    assert_eq!(bench.slapd.binds() - before, 1);
    assert_eq!(
        bench.site.json(&["user", "show", "u1"])["lock"]["failures"],
        1
    );
    // The right code that came with it is used up; and what is wrong without the directory is not asked about.
    for (password, step, reason) in [
        ("pw1", 1, "used_code"),
        ("pw1", 40, "wrong_code"),
        ("", 2, "malformed_code"),
        ("pw1\0", 2, "wrong_password"),
    ] {
        let (status, cause) = ask(password, step);
        let refused = status == 400 || cause == reason || password.is_empty();
        assert!(refused, "{password:?} {step}: {status} {cause}");
    }
    let asked = bench.slapd.binds() - before;
    assert!(asked <= 2, "{asked} binds");
    radius(&bench, &daemon);
    states(&bench, &daemon);
    gone(&mut bench, &daemon);
}

fn radius(bench: &Bench, daemon: &Daemon) {
    let mut nas = Radius::new(daemon.radius, SECRET);
    let before = bench.slapd.binds();
    let request = nas.request("u1", &format!("pw1{}", hotp(5)));
    nas.send(&request);
    let reply = nas.receive().unwrap();
    assert_eq!(nas.verified(&request, &reply), Code::AccessAccept);
    // The same octets again: the same answer. The password was asked about a moment ago: no bind.
    nas.send(&request);
    assert_eq!(nas.receive().unwrap(), reply);
    assert!(bench.slapd.binds() - before <= 1);
}

/// What the directory says of an account is told apart.
fn states(bench: &Bench, daemon: &Daemon) {
    for (user, attribute, reason) in [
        (
            "u2",
            "pwdAccountLockedTime: 000001010000Z",
            "account_disabled",
        ),
        ("u3", "pwdReset: TRUE", "account_must_change"),
    ] {
        token(&bench.site, user, &secret_of(user));
        let (name, _) = attribute.split_once(':').unwrap();
        bench.slapd.modify(&format!(
            "dn: uid={user},ou=people,dc=eco\nchangetype: modify\nadd: {name}\n{attribute}\n\n"
        ));
        let code = hotp_of(user, 0);
        let password = user.replace('u', "pw");
        let asked = bench.verify(daemon, user, &password, &code);
        assert_eq!(asked, (200, reason.to_owned()), "{user}");
        let shown = bench.site.json(&["user", "show", user]);
        assert_eq!(shown["lock"]["failures"], 0, "{shown}");
    }
}

/// A dead directory: silence and 503 for its users, and no wait for others.
fn gone(bench: &mut Bench, daemon: &Daemon) {
    let mut nas = Radius::new(daemon.radius, SECRET);
    nas.patience(Duration::from_millis(1500));
    for user in ["u5", "u6"] {
        token(&bench.site, user, &secret_of(user));
    }
    let code = hotp_of("u6", 0);
    bench.slapd.pause(true);
    let began = Instant::now();
    assert_eq!(bench.verify(daemon, "u5", "pw5", &hotp_of("u5", 0)).0, 503);
    assert!(began.elapsed() < Duration::from_secs(3));
    bench.slapd.pause(false);
    bench.slapd.kill();
    assert_eq!(nas.ask("u6", &format!("pw6{code}")), None);
    for _ in 0..3 {
        assert_eq!(bench.verify(daemon, "u6", "pw6", &code).0, 503);
    }
    let shown = bench.site.json(&["source", "show", "corp"]);
    assert_eq!(shown["password"], "open", "{shown}");
    let began = Instant::now();
    let (status, cause) = bench.verify(daemon, "local", "a long password", &hotp_of("local", 0));
    assert_eq!((status, cause.as_str()), (200, "hotp_ok"));
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(bench.verify(daemon, "u6", "pw6", &code).0, 503);
    // Nothing was counted and nothing used up: it goes on where it was.
    bench.slapd.run();
    std::thread::sleep(Duration::from_millis(1100));
    let asked = bench.verify(daemon, "u6", "pw6", &code);
    assert_eq!(asked, (200, "hotp_ok".to_owned()));
}
