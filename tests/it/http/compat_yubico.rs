//! Yubico's validation protocol: its statuses, in process, and the clients that speak it, unchanged.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::BodyExt as _;
use oncegate::config::compat::{Compat, Shape, Yubico};
use oncegate::model::client::Scope;
use oncegate::secret::SecretBytes;
use serde_json::json;
use sha1::Sha1;

use crate::support::app::{TestApp, send};
use crate::support::daemon::Site;
use crate::support::freeradius::Freeradius;
use crate::support::yubikey::{Key, dvorak};
use crate::support::{require, skip};

const KEY: Key = Key::of_the_files();
const API: &[u8] = b"0123456789abcdefghij";
const NONCE: &str = "askjdnkajsndjkasndkjsnad";
const OTP_ALONE: &str = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";

fn compat(client: &str, id: u32) -> Compat {
    Compat {
        client: client.to_owned(),
        shape: Shape::Yubico,
        networks: vec!["192.0.2.7/32".parse().unwrap()],
        double_decode: None,
        show_unknown_user: false,
        yubico: Some(Yubico {
            id,
            key_file: "yubico.key".into(),
        }),
    }
}

async fn lab(policy: &str) -> TestApp {
    let app = TestApp::with(policy, false);
    app.key("vpn", Scope::Verify, None).await;
    app.key("looks", Scope::Auditor, None).await;
    app.app
        .set_compat(vec![compat("vpn", 1), compat("looks", 2)]);
    let keys = ["vpn", "looks"].map(|name| (name.to_owned(), SecretBytes::from(API)));
    app.app.set_yubico_keys(HashMap::from(keys));
    let user = json!({ "user": "alice", "pin": "48201973" });
    assert_eq!(
        app.admin("POST", "/v1/admin/users", Some(user))
            .await
            .status,
        201
    );
    let token = KEY.token("alice");
    assert_eq!(
        app.admin("POST", "/v1/admin/tokens", Some(token))
            .await
            .status,
        201
    );
    app
}

fn sign(mut pairs: Vec<(&str, &str)>, key: &[u8]) -> String {
    pairs.sort_unstable();
    let text: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mac = Hmac::<Sha1>::new_from_slice(key).unwrap();
    let mac = mac.chain_update(text.join("&").as_bytes()).finalize();
    data_encoding::BASE64.encode(&mac.into_bytes())
}

async fn get(app: &TestApp, target: &str) -> (u16, String) {
    let request = Request::builder().uri(target).body(Body::empty()).unwrap();
    let answer = send(&app.local, request).await;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The lines of a reply, whose signature is right.
async fn ask(app: &TestApp, path: &str, query: &str) -> BTreeMap<String, String> {
    let (status, text) = get(app, &format!("{path}?{query}")).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.ends_with("\r\n\r\n"), "{text:?}");
    let lines = text.lines().filter(|line| !line.is_empty());
    let pairs: Vec<(&str, &str)> = lines.map(|line| line.split_once('=').unwrap()).collect();
    assert_eq!((pairs[0].0, pairs[1].0), ("h", "t"));
    assert_eq!(pairs.last().unwrap().0, "status");
    let known = !matches!(
        pairs.last().unwrap().1,
        "NO_SUCH_CLIENT" | "MISSING_PARAMETER" | "BAD_OTP"
    ) || text.contains("otp=") && !text.contains("NO_SUCH");
    let key = if known { API } else { b"" };
    assert_eq!(pairs[0].1, sign(pairs[1..].to_vec(), key), "{text}");
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

async fn status(app: &TestApp, path: &str, query: &str) -> String {
    app.clock.advance(Duration::from_mins(1));
    ask(app, path, query).await["status"].clone()
}

const PATH: &str = "/compat/vpn/wsapi/2.0/verify";
const ROOT: &str = "/wsapi/2.0/verify";

#[tokio::test]
async fn statuses_come_in_the_order_of_the_protocol() {
    let app = lab(OTP_ALONE).await;
    let otp = |usage, session| KEY.types(usage, session);
    let query = |otp: &str| format!("id=1&otp={otp}&nonce={NONCE}");
    let first = format!("{}&timestamp=1&sl=secure", query(&otp(5, 1)));
    let reply = ask(&app, PATH, &first).await;
    let wanted = [
        ("status", "OK"),
        ("nonce", NONCE),
        ("sl", "100"),
        ("sessioncounter", "5"),
        ("sessionuse", "1"),
        ("timestamp", "5001"),
        ("otp", &otp(5, 1)),
    ];
    for (name, value) in wanted {
        assert_eq!(reply[name], value, "{reply:?}");
    }
    let other = "0123456789abcdef0123456789abcdef";
    for (query, wanted) in [
        (query(&otp(5, 1)), "REPLAYED_REQUEST"),
        (
            format!("id=1&otp={}&nonce={other}", otp(5, 1)),
            "REPLAYED_OTP",
        ),
        (query(&otp(5, 0)), "REPLAYED_OTP"),
        (query(&dvorak(&otp(5, 2))), "OK"),
        (query(&otp(5, 2).to_uppercase()), "REPLAYED_OTP"),
        (
            query(&format!("{}{}", KEY.public, "c".repeat(32))),
            "BAD_OTP",
        ),
        (
            query(&format!("vvvvvvvvvvvv{}", &otp(6, 1)[12..])),
            "BAD_OTP",
        ),
        (query("755224"), "BAD_OTP"),
        (
            format!("id=9&otp={}&nonce={NONCE}", otp(6, 1)),
            "NO_SUCH_CLIENT",
        ),
        (format!("id=1&otp={}", otp(6, 1)), "MISSING_PARAMETER"),
        (format!("id=1&nonce={NONCE}"), "MISSING_PARAMETER"),
        (
            format!("otp={}&nonce={NONCE}", otp(6, 1)),
            "MISSING_PARAMETER",
        ),
        (
            format!("id=1&otp={}&nonce=short", otp(6, 1)),
            "MISSING_PARAMETER",
        ),
        (
            format!(
                "id=1&otp={}&nonce=askjdnkajsndjkasndkj%0d%0astatus%3dOK",
                otp(6, 1)
            ),
            "MISSING_PARAMETER",
        ),
        (format!("{}&h=AAAA", query(&otp(6, 1))), "BAD_SIGNATURE"),
        (query(&otp(6, 1)), "OK"),
    ] {
        assert_eq!(status(&app, PATH, &query).await, wanted, "{query}");
    }
    // Signed requests, with the plus and the slash of base 64 escaped or not.
    for session in 2..12 {
        let otp = otp(6, session);
        let h = sign(vec![("id", "1"), ("otp", &otp), ("nonce", NONCE)], API);
        let escaped = h.replace('+', "%2B").replace('=', "%3D");
        let h = if session % 2 == 0 { &h } else { &escaped };
        let query = format!("id=1&nonce={NONCE}&otp={otp}&h={h}");
        assert_eq!(status(&app, ROOT, &query).await, "OK", "{query}");
    }
    // What the audit says of them.
    let records = app
        .admin("GET", "/v1/admin/audit?limit=1", None)
        .await
        .json();
    let last = &records["records"][0];
    assert_eq!(
        (&last["reason"], &last["client"]),
        (&json!("yubikey_ok"), &json!("vpn"))
    );
}

/// Only for listed addresses, and each path for its own client; a client without the scope asks nothing.
#[tokio::test]
async fn routes_and_ids_belong_to_clients() {
    let app = lab(OTP_ALONE).await;
    let query = |id: u32, session| format!("id={id}&otp={}&nonce={NONCE}", KEY.types(1, session));
    assert_eq!(
        status(&app, ROOT, &query(2, 1)).await,
        "OPERATION_NOT_ALLOWED"
    );
    assert_eq!(status(&app, PATH, &query(2, 1)).await, "NO_SUCH_CLIENT");
    assert_eq!(
        status(&app, "/compat/looks/wsapi/2.0/verify", &query(1, 1)).await,
        "NO_SUCH_CLIENT"
    );
    assert_eq!(status(&app, ROOT, &query(1, 1)).await, "OK");
    for path in [
        "/compat/other/wsapi/2.0/verify",
        "/compat/vpn/validate/check",
        "/wsapi/2.0/other",
    ] {
        assert_eq!(
            get(&app, &format!("{path}?{}", query(1, 2))).await.0,
            404,
            "{path}"
        );
    }
    for (address, wanted) in [("192.0.2.8", 404), ("127.0.0.1", 404), ("192.0.2.7", 200)] {
        for path in [PATH, ROOT] {
            let request = Request::builder().uri(format!("{path}?{}", query(1, 1)));
            let mut request = request.body(Body::empty()).unwrap();
            let peer = format!("{address}:4711").parse().unwrap();
            request
                .extensions_mut()
                .insert(oncegate::server::http::Peer(peer));
            let answer = send(&app.keyed, request).await;
            assert_eq!(answer.status().as_u16(), wanted, "{address} {path}");
        }
    }
    let (status, _) = get(&app, &format!("{PATH}?{}&otp=x", query(1, 2))).await;
    assert_eq!(status, 400, "a parameter that is there twice");
    let (status, _) = get(&app, &format!("{PATH}?otp={}", "c".repeat(20_000))).await;
    assert_eq!(status, 200);
    let bare = TestApp::new();
    assert_eq!(get(&bare, &format!("{ROOT}?{}", query(1, 1))).await.0, 404);
}

/// A policy that asks for more than the OTP takes none alone.
#[tokio::test]
async fn a_pin_is_not_left_out() {
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"pin\", \"otp\"]\n";
    let app = lab(policy).await;
    let query = format!("id=1&otp={}&nonce={NONCE}", KEY.types(1, 1));
    assert_eq!(status(&app, PATH, &query).await, "OPERATION_NOT_ALLOWED");
}

/// One request from 64 at a time: one OK, and no other answer is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_press_from_many_is_ok_once() {
    let app = Arc::new(lab(OTP_ALONE).await);
    let asked = (0..64).map(|number| {
        let app = Arc::clone(&app);
        let nonce = format!("{NONCE}{}", number % 2);
        tokio::spawn(async move {
            let query = format!("id=1&otp={}&nonce={nonce}", KEY.types(1, 1));
            ask(&app, PATH, &query).await["status"].clone()
        })
    });
    let asked: Vec<_> = asked.collect();
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for one in asked {
        *counted.entry(one.await.unwrap()).or_default() += 1;
    }
    assert_eq!(counted["OK"], 1, "{counted:?}");
    let replayed =
        counted.get("REPLAYED_OTP").unwrap_or(&0) + counted.get("REPLAYED_REQUEST").unwrap_or(&0);
    assert_eq!(replayed, 63, "{counted:?}");
}

/// A site whose client `vpn` is on this machine.
fn site() -> Site {
    let site = Site::new();
    site.api_client("vpn");
    site.json(&["user", "add", "alice"]);
    let words = [
        "token",
        "add",
        "alice",
        "--kind",
        "yubikey",
        "--active",
        "--public-id",
        KEY.public,
        "--private-id",
        KEY.private,
        "--secret-stdin",
    ];
    let made = site.json_with(&words, KEY.aes);
    assert_eq!(made["public_id"], KEY.public);
    let key = data_encoding::BASE64.encode(API);
    std::fs::write(site.path().join("yubico.key"), format!("{key}\n")).unwrap();
    site
}

const SERVED: (&str, &str) = (
    "ONCEGATE__HTTP__COMPAT",
    "vpn yubico 127.0.0.1 id=1 key_file=yubico.key",
);

fn output(command: &mut Command, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// FreeRADIUS's `rlm_yubikey`, which asks by libykclient: accepted once.
#[test]
fn rlm_yubikey_logs_in_once() {
    let module = "/usr/lib/freeradius/rlm_yubikey.so";
    if !std::path::Path::new(module).is_file() {
        skip("rlm_yubikey not found (apt install freeradius freeradius-yubikey)");
        return;
    }
    if !require("radclient", "freeradius-utils") {
        return;
    }
    let site = site();
    let daemon = site.serve_with(&[SERVED]);
    let (http, key) = (daemon.http, data_encoding::BASE64.encode(API));
    let radius = Freeradius::start(&format!(
        "modules {{\n yubikey {{\n  id_length = 12\n  split = yes\n  decrypt = no\n  validate = yes\n  validation {{\n   \
         servers {{\n    uri = \"http://{http}/compat/vpn/wsapi/2.0/verify?id=%d&otp=%s\"\n   }}\n   client_id = 1\n   \
         api_key = \"{key}\"\n   pool {{\n    start = 0\n    min = 0\n    max = 2\n    spare = 1\n    uses = 0\n    \
         lifetime = 0\n    idle_timeout = 30\n   }}\n  }}\n }}\n}}\nserver yubikey {{\n listen {{\n  type = auth\n  \
         ipaddr = 127.0.0.1\n  port = @PORT@\n }}\n authorize {{\n  yubikey\n }}\n authenticate {{\n  \
         Auth-Type yubikey {{\n   yubikey\n  }}\n }}\n}}\n"
    ));
    let otp = KEY.types(9, 1);
    assert_eq!(
        radius.login("alice", &otp).as_deref(),
        Some("Access-Accept")
    );
    assert_eq!(
        radius.login("alice", &otp).as_deref(),
        Some("Access-Reject"),
        "used"
    );
    let foreign = otp.replacen("cccccccccccb", "cccccccccccd", 1);
    assert_eq!(
        radius.login("alice", &foreign).as_deref(),
        Some("Access-Reject")
    );
}

/// `Auth::Yubikey_WebClient`: OK, then a replay.
#[test]
fn the_perl_client_is_answered() {
    let found = Command::new("perl")
        .args(["-MAuth::Yubikey_WebClient", "-e", "1"])
        .output();
    if !found.is_ok_and(|output| output.status.success()) {
        skip("Auth::Yubikey_WebClient not found (apt install libauth-yubikey-webclient-perl)");
        return;
    }
    let site = site();
    let daemon = site.serve_with(&[SERVED]);
    let script = "my($u,$k,$o)=@ARGV; my $c=Auth::Yubikey_WebClient->new({id=>1,api=>$k,url=>$u}); \
                  print $c->otp($o),\"\\n\",$c->otp($o),\"\\n\"";
    let key = data_encoding::BASE64.encode(API);
    for (session, path) in [(1, PATH), (2, ROOT)] {
        let url = format!("http://{}{path}", daemon.http);
        let mut perl = Command::new("perl");
        perl.args([
            "-MAuth::Yubikey_WebClient",
            "-e",
            script,
            &url,
            &key,
            &KEY.types(1, session),
        ]);
        let said = output(&mut perl, "");
        // It makes one nonce for all of its questions.
        assert_eq!(said.trim(), "OK\nERR_REPLAYED_REQUEST", "{said}");
    }
}

/// `pam_yubico` in client mode: a login, and no second one.
#[test]
fn pam_yubico_logs_in_once() {
    if !require("pamtester", "pamtester libpam-yubico") {
        return;
    }
    let module = "/lib/x86_64-linux-gnu/security/pam_yubico.so";
    if !std::path::Path::new(module).exists()
        && !std::path::Path::new("/lib/security/pam_yubico.so").exists()
    {
        skip("pam_yubico.so not found (apt install libpam-yubico)");
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        skip("pam services are made in /etc/pam.d, which takes root");
        return;
    }
    let site = site();
    let daemon = site.serve_with(&[SERVED]);
    let (path, key) = (site.path(), data_encoding::BASE64.encode(API));
    let people = path.join("yubikeys");
    std::fs::write(&people, format!("alice:{}\n", KEY.public)).unwrap();
    let rule = format!(
        "auth required pam_yubico.so id=1 key={key} urllist=http://{}{ROOT} authfile={} mode=client\n\
         account required pam_permit.so\n",
        daemon.http,
        people.display()
    );
    let name = format!("oncegate-yubico-{}", daemon.pid());
    let file = std::path::Path::new("/etc/pam.d").join(&name);
    std::fs::write(&file, rule).unwrap();
    let said = [KEY.types(1, 1), KEY.types(1, 1), KEY.types(1, 2)].map(|otp| {
        let mut pam = Command::new("pamtester");
        pam.args([&name, "alice", "authenticate"]);
        output(&mut pam, &format!("{otp}\n"))
    });
    std::fs::remove_file(&file).unwrap();
    let right = said
        .each_ref()
        .map(|said| said.contains("successfully authenticated"));
    assert_eq!(right, [true, false, true], "{said:?}");
}

/// `yubico-client` of the Python index: a login, and no second one.
#[test]
fn the_python_client_is_answered() {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin/python");
    let found = Command::new(python)
        .args(["-c", "import yubico_client"])
        .output();
    if !found.is_ok_and(|output| output.status.success()) {
        skip("yubico-client is not in target/venv (tests/run makes it)");
        return;
    }
    let site = site();
    let daemon = site.serve_with(&[SERVED]);
    let script = "import sys\nfrom yubico_client import Yubico\nu,k,o=sys.argv[1:]\nfor n in (1,2):\n\
                  \x20   try: print(Yubico('1',k,api_urls=(u,),verify_cert=False).verify(o))\n\
                  \x20   except Exception as e: print(type(e).__name__, e)\n";
    let url = format!("http://{}{PATH}", daemon.http);
    let key = data_encoding::BASE64.encode(API);
    let mut client = Command::new(python);
    client.args(["-c", script, &url, &key, &KEY.types(1, 1)]);
    let said = output(&mut client, "");
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0] == "True" && lines[1].contains("REPLAYED_OTP"),
        "{said}"
    );
}
