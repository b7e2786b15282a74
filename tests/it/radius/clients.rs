//! Libraries and proxies that applications and gateways are built on: pyrad, PHP's Dapphp\Radius, libradcli,
//! FreeRADIUS in front of us. Each logs in by what it speaks, and by no code twice.

use std::process::{Command, Output};
use std::time::Duration;

use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator::{RequestAuthenticator, SecretKeys};
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::Code;
use oncegate::radius::request::RequestBuilder;
use oncegate::secret::{SecretBytes, SharedSecret};

use crate::faults::b3_accounting::{accounting, sessions};
use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::{Daemon, Site};
use crate::support::freeradius::Freeradius;
use crate::support::net::Radius;
use crate::support::{require, skip};

const SECRET: &str = "a-secret-of-libraries-and-proxies";

/// alice with a counter token, and a client that need not sign: libraries do not.
fn site() -> (Site, Daemon) {
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    site.radius_client("library", SECRET);
    let words = ["client", "set", "library"];
    let unsigned = ["--require-message-authenticator", "false"];
    site.json(&[&words[..], &unsigned].concat());
    let daemon = site.serve();
    (site, daemon)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// What a client prints of a right code, of the same again, and of the next one.
fn thrice(mut ask: impl FnMut(&str) -> String) -> [String; 3] {
    [0, 0, 1].map(|counter| ask(&hotp(counter)))
}

const PYRAD: &str = r#"
import io, sys
from pyrad import packet
from pyrad.client import Client
from pyrad.dictionary import Dictionary
words = """ATTRIBUTE User-Name 1 string
ATTRIBUTE User-Password 2 string
ATTRIBUTE NAS-Identifier 32 string
ATTRIBUTE Class 25 octets
ATTRIBUTE Acct-Status-Type 40 integer
ATTRIBUTE Acct-Session-Id 44 string
ATTRIBUTE Message-Authenticator 80 octets
VALUE Acct-Status-Type Start 1
"""
auth, acct, secret, code = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode(), sys.argv[4]
client = Client(server="127.0.0.1", authport=auth, acctport=acct, secret=secret, dict=Dictionary(io.StringIO(words)))
client.timeout = 10
request = client.CreateAuthPacket(code=packet.AccessRequest, User_Name="alice", NAS_Identifier="pyrad")
request["User-Password"] = request.PwCrypt(code)
request.add_message_authenticator()
reply = client.SendPacket(request)
print({2: "accept", 3: "reject"}[reply.code], "signed" if 80 in reply else "unsigned")
if reply.code == 2:
    report = client.CreateAcctPacket(User_Name="alice", NAS_Identifier="pyrad", Acct_Session_Id="py-" + code, Acct_Status_Type="Start")
    report["Class"] = reply["Class"][0]
    print(client.SendPacket(report).code)
"#;

#[test]
fn pyrad_logs_in_and_reports() {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin/python");
    let found = Command::new(python).args(["-c", "import pyrad"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        skip("pyrad is not in target/venv (tests/run makes it)");
        return;
    }
    let (site, daemon) = site();
    let acct = accounting(&site).port().to_string();
    let answers = thrice(|code| {
        let mut command = Command::new(python);
        let auth = daemon.radius.port().to_string();
        command.args(["-c", PYRAD, &auth, &acct, SECRET, code]);
        said(&command.output().unwrap())
    });
    assert_eq!(
        answers,
        ["accept signed\n5", "reject signed", "accept signed\n5"]
    );
    let found = sessions(&site, &["alice"]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found
            .iter()
            .all(|one| one["request_id"].is_string() && one["nas"] == "pyrad")
    );
}

const PHP: &str = r"<?php
require '/usr/share/php/Dapphp/Radius/autoload.php';
[, $port, $secret, $method, $code] = $argv;
$radius = new Dapphp\Radius\Radius('127.0.0.1', $secret, '', 10, (int) $port);
$radius->setNasPort(0)->setNASIPAddress('127.0.0.1')->setIncludeMessageAuthenticator(true)->setUsername('alice');
$accepted = match ($method) {
    'pap' => $radius->setPassword($code)->accessRequest(),
    'chap' => $radius->setChapPassword($code)->accessRequest(),
    'mschap' => $radius->setMsChapPassword($code)->accessRequest(),
    'eap-mschapv2' => $radius->accessRequestEapMsChapV2('alice', $code),
};
echo $accepted ? 'accept' : 'reject ' . $radius->getErrorMessage(), PHP_EOL;
";

/// OpenSSL 3 has DES, of which MS-CHAP is made, only where it is told so.
const LEGACY: &str = "openssl_conf = all\n[all]\nproviders = both\n[both]\ndefault = on\nlegacy = on\n\
    [on]\nactivate = 1\n";

#[test]
fn php_logs_in_by_every_method_it_has() {
    if !require("php", "php-cli php-dapphp-radius") {
        return;
    }
    let (site, daemon) = site();
    let words = [
        "client", "set", "library", "--method", "pap", "--method", "chap",
    ];
    let more = ["--method", "mschap", "--method", "eap-mschapv2"];
    site.json(&[&words[..], &more].concat());
    let file = |name: &str, text: &str| {
        let path = site.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (script, legacy) = (file("login.php", PHP), file("legacy.cnf", LEGACY));
    let ask = |method: &str, counter| {
        let mut command = Command::new("php");
        let port = daemon.radius.port().to_string();
        command.env("OPENSSL_CONF", &legacy).arg(&script);
        command.args([&port, SECRET, method, &hotp(counter)]);
        said(&command.output().unwrap())
    };
    for (counter, method) in (0..).zip(["pap", "chap", "mschap", "eap-mschapv2"]) {
        assert_eq!(ask(method, counter), "accept", "{method}\n{}", site.log());
        let again = ask(method, counter);
        assert!(again.starts_with("reject"), "{method}: {again}");
    }
}

const RADCLI: &str = r#"
#include <radcli/radcli.h>
#include <stdio.h>
int main(int count, char **words) {
    char text[4096] = "";
    VALUE_PAIR *send = NULL, *received = NULL;
    rc_handle *handle = rc_read_config(words[1]);
    if (!handle || rc_read_dictionary(handle, rc_conf_str(handle, "dictionary"))) return 3;
    rc_avpair_add(handle, &send, PW_USER_NAME, words[2], -1, 0);
    rc_avpair_add(handle, &send, PW_USER_PASSWORD, words[3], -1, 0);
    int result = rc_auth(handle, 0, send, &received, text);
    puts(result == OK_RC ? "accept" : result == REJECT_RC ? "reject" : "other");
    return 0;
}
"#;

#[test]
fn libradcli_logs_in_once() {
    if !require("gcc", "gcc libradcli-dev") {
        return;
    }
    let (site, daemon) = site();
    let path = |name: &str| site.path().join(name);
    std::fs::write(path("login.c"), RADCLI).unwrap();
    let mut compiler = Command::new("gcc");
    compiler.arg("-o").args([path("login"), path("login.c")]);
    let made = compiler.arg("-lradcli").output().unwrap();
    if !made.status.success() && !std::path::Path::new("/usr/include/radcli/radcli.h").exists() {
        skip("no radcli.h (apt install libradcli-dev)");
        return;
    }
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let config = format!(
        "nas-identifier radcli\nauthserver {0}\nacctserver {0}\nservers {1}\n\
         dictionary /etc/radcli/dictionary\ndefault_realm\nradius_timeout 10\nradius_retries 1\nbindaddr *\n",
        daemon.radius,
        path("servers").display()
    );
    std::fs::write(path("radcli.conf"), config).unwrap();
    std::fs::write(path("servers"), format!("127.0.0.1 {SECRET}\n")).unwrap();
    let answers = thrice(|code| {
        let mut command = Command::new(path("login"));
        command.arg(path("radcli.conf")).args(["alice", code]);
        said(&command.output().unwrap())
    });
    assert_eq!(answers, ["accept", "reject", "accept"]);
}

/// A proxy in front of us, with Status-Server to see whether we are there.
const PROXY: &str = r"
proxy server {
    default_fallback = no
}
home_server ours {
    type = auth
    ipaddr = 127.0.0.1
    port = @TO@
    secret = @OURS@
    response_window = 10
    zombie_period = 10
    status_check = status-server
    check_interval = 6
    num_answers_to_alive = 1
}
home_server_pool ours {
    type = fail-over
    home_server = ours
}
realm ours {
    auth_pool = ours
    nostrip
}
server proxy {
    listen {
        type = auth
        ipaddr = 127.0.0.1
        port = @PORT@
    }
    authorize {
        update control {
            Proxy-To-Realm := ours
        }
    }
}
";

#[test]
fn freeradius_brings_requests_of_its_clients() {
    if !require("freeradius", "freeradius") || !require("radclient", "freeradius-utils") {
        return;
    }
    let (site, daemon) = site();
    let to = daemon.radius.port().to_string();
    let text = PROXY.replace("@TO@", &to).replace("@OURS@", SECRET);
    let proxy = Freeradius::start(&text);
    let answers = thrice(|code| proxy.login("alice", code).unwrap_or_default());
    assert_eq!(answers, ["Access-Accept", "Access-Reject", "Access-Accept"]);
    // CHAP and MS-CHAP pass through it as they are.
    for (attribute, counter) in [("CHAP-Password", 2), ("MS-CHAP-Password", 3)] {
        let text = format!("User-Name=alice,{attribute}={}", hotp(counter));
        let said = proxy.ask(&text);
        assert!(
            said.contains("Received Access-Accept"),
            "{said}\n{}",
            site.log()
        );
    }
}

/// Nothing but its password shows that an unsigned request was made with another secret.
#[test]
fn the_log_names_another_secret_of_a_client_that_does_not_sign() {
    let (site, daemon) = site();
    let ask = |secret: &str| {
        let secret = SharedSecret::new(SecretBytes::from(secret.as_bytes())).unwrap();
        let keys = SecretKeys::new(secret);
        let mut packet = Vec::new();
        let mut builder = RequestBuilder::new(
            &mut packet,
            Code::AccessRequest,
            1,
            RequestAuthenticator([7; 16]),
            MessageAuthenticator::Omit,
        );
        builder.attribute(Type::UserName, b"alice").unwrap();
        builder.user_password(b"000000", &keys).unwrap();
        builder.finish(&keys).unwrap();
        let nas = Radius::new(daemon.radius, SECRET);
        nas.send(&packet);
        assert!(nas.receive().is_some(), "{}", site.log());
    };
    // A wrong code is none.
    ask(SECRET);
    ask("another-secret-of-the-nas");
    let said = "perhaps the shared secrets differ";
    for _ in 0..200 {
        if site.log().contains(said) {
            break;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    let log = site.log();
    assert_eq!(log.matches(said).count(), 1, "{log}");
    assert!(
        log.contains("oncegate client rotate library --secret-stdin"),
        "{log}"
    );
}
