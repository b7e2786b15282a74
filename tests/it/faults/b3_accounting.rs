//! Fault B3: without answers to accounting, a NAS that waits for them refused every login.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator::RequestAuthenticator;
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::{Code, Packet};
use oncegate::radius::request::RequestBuilder;
use oncegate::radius::verify;
use serde_json::Value;

use crate::radius::dialogue::keys;
use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::{Daemon, Site, command};
use crate::support::require;

pub(crate) const SECRET: &str = "a-shared-secret-for-accounting";
pub(crate) const START: u32 = 1;
pub(crate) const STOP: u32 = 2;
const INTERIM: u32 = 3;
const ON: u32 = 7;
const OFF: u32 = 8;

/// A NAS on a port of its own.
pub(crate) struct Nas {
    socket: UdpSocket,
    identifier: u8,
}

pub(crate) type Attributes<'a> = &'a [(Type, &'a [u8])];

impl Nas {
    pub(crate) fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(400)))
            .unwrap();
        Self {
            socket,
            identifier: 0,
        }
    }

    /// Sends octets; the answer, or nothing in time.
    fn ask(&self, request: &[u8]) -> Option<Vec<u8>> {
        self.socket.send(request).unwrap();
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(buffer[..length].to_vec())
    }

    /// Sends it again until it is answered, as a NAS does.
    fn patient(&self, request: &[u8]) -> Vec<u8> {
        (0..50)
            .find_map(|_| self.ask(request))
            .expect("an answer in 20 seconds")
    }

    /// An Accounting-Request, signed or not.
    fn request(
        &mut self,
        sign: MessageAuthenticator,
        secret: &str,
        all: Attributes<'_>,
    ) -> Vec<u8> {
        self.identifier = self.identifier.wrapping_add(1);
        self.packet(Code::AccountingRequest, sign, secret, all)
    }

    fn packet(
        &self,
        code: Code,
        sign: MessageAuthenticator,
        secret: &str,
        all: Attributes<'_>,
    ) -> Vec<u8> {
        let mut packet = Vec::new();
        let authenticator = RequestAuthenticator([self.identifier; 16]);
        let mut builder =
            RequestBuilder::new(&mut packet, code, self.identifier, authenticator, sign);
        for (r#type, value) in all {
            builder.attribute(*r#type, value).unwrap();
        }
        builder.finish(&keys(secret)).unwrap();
        packet
    }

    /// Reports a session and checks the response.
    pub(crate) fn report(&mut self, status: u32, session: &str, more: Attributes<'_>) {
        let status = status.to_be_bytes();
        let mut all: Vec<(Type, &[u8])> = vec![
            (Type::AcctStatusType, &status),
            (Type::AcctSessionId, session.as_bytes()),
        ];
        if !more.iter().any(|(one, _)| *one == Type::NasIdentifier) {
            all.push((Type::NasIdentifier, b"gate-1"));
        }
        all.extend(more);
        let request = self.request(MessageAuthenticator::Omit, SECRET, &all);
        let response = self.patient(&request);
        self.check(&request, &response);
    }

    /// RFC 2866 s3: the Response Authenticator.
    fn check(&self, request: &[u8], response: &[u8]) {
        let request = Packet::parse(request).unwrap();
        let response = Packet::parse(response).unwrap();
        assert_eq!(response.code, Code::AccountingResponse);
        let sent = request.request_authenticator();
        verify::response(&response, self.identifier, &sent, &keys(SECRET)).unwrap();
    }
}

pub(crate) fn site() -> Site {
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    site.radius_client("vpn", SECRET);
    site
}

pub(crate) fn accounting(site: &Site) -> SocketAddr {
    let status = site.json(&["status"]);
    status["accounting"][0].as_str().unwrap().parse().unwrap()
}

pub(crate) fn sessions(site: &Site, words: &[&str]) -> Vec<Value> {
    let list = site.json(&[&["session", "list"], words].concat());
    list["sessions"].as_array().unwrap().clone()
}

fn octets(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

/// The Class of the Access-Accept to a right code.
pub(crate) fn login(daemon: &Daemon, counter: u64) -> Vec<u8> {
    let mut nas = Nas::new(daemon.radius);
    nas.identifier = u8::try_from(counter).unwrap() + 1;
    let mut packet = Vec::new();
    let mut builder = RequestBuilder::new(
        &mut packet,
        Code::AccessRequest,
        nas.identifier,
        RequestAuthenticator([0x7a; 16]),
        MessageAuthenticator::First,
    );
    builder.attribute(Type::UserName, b"alice").unwrap();
    let code = hotp(counter);
    builder
        .user_password(code.as_bytes(), &keys(SECRET))
        .unwrap();
    builder.finish(&keys(SECRET)).unwrap();
    let reply = nas.patient(&packet);
    let reply = Packet::parse(&reply).unwrap();
    assert_eq!(reply.code, Code::AccessAccept);
    reply.first(Type::Class).expect("a Class").to_vec()
}

#[test]
fn a_session_is_on_record_before_it_is_answered_and_linked_with_its_login() {
    let site = site();
    let mut daemon = site.serve();
    let class = login(&daemon, 0);
    let mut nas = Nas::new(accounting(&site));
    let alice: Attributes<'_> = &[
        (Type::UserName, b"Alice"),
        (Type::Class, &class),
        (Type::FramedIpAddress, &[10, 8, 0, 2]),
        (Type::CallingStationId, b"203.0.113.9"),
    ];
    nas.report(START, "0001", alice);
    // What was answered outlives the process.
    daemon.kill();
    let daemon = site.serve();
    let found = sessions(&site, &["alice", "--open"]);
    assert_eq!(found.len(), 1);
    let one = &found[0];
    assert_eq!(one["user"], "alice@default");
    assert_eq!(
        (&one["client"], &one["nas"]),
        (&"vpn".into(), &"gate-1".into())
    );
    assert_eq!(one["framed_ip"], "10.8.0.2");
    assert_eq!(one["calling_station"], "203.0.113.9");
    let id = one["request_id"].as_str().unwrap();
    let login = site.json(&["audit", "list", "--decision", "accept"]);
    assert_eq!(login["records"][0]["request_id"], id);

    let mut nas = Nas::new(accounting(&site));
    let (time, low, high) = (octets(3_600), octets(1_000), octets(2));
    let used: Vec<(Type, &[u8])> = [
        (Type::AcctSessionTime, &time[..]),
        (Type::AcctInputOctets, &low),
        (Type::AcctOutputOctets, &low),
        (Type::AcctOutputGigawords, &high),
    ]
    .into_iter()
    .chain(alice.iter().copied())
    .collect();
    nas.report(INTERIM, "0001", &used);
    let cause = octets(4);
    let ended: Vec<(Type, &[u8])> = used
        .iter()
        .copied()
        .chain([(Type::AcctTerminateCause, &cause[..])])
        .collect();
    nas.report(STOP, "0001", &ended);
    assert!(sessions(&site, &["--open"]).is_empty());
    let one = &sessions(&site, &["--user", "alice", "--ended"])[0];
    assert_eq!(one["cause"], "idle_timeout");
    assert_eq!(one["octets_in"], 1_000);
    assert_eq!(one["octets_out"], 2 * (1_u64 << 32) + 1_000);
    assert_eq!(one["seconds"], 3_600);
    let audit = site.json(&["audit", "list", "alice"]);
    let done: Vec<&str> = audit["records"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|record| record["action"].as_str())
        .filter(|action| action.starts_with("session_"))
        .collect();
    assert_eq!(done, ["session_stop", "session_update", "session_start"]);
    drop(daemon);
    // And where no daemon runs.
    assert_eq!(sessions(&site, &["--nas", "GATE-1"]).len(), 1);
    assert!(sessions(&site, &["--client", "lan"]).is_empty());
    let table = site.run(&["session", "list"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.contains("1:00:00") && table.contains("8.59 GB"),
        "{table}"
    );
}

#[test]
fn repetitions_are_answered_alike_and_count_once() {
    let site = site();
    let _daemon = site.serve();
    let mut nas = Nas::new(accounting(&site));
    let (start, delay) = (octets(START), octets(7));
    let all: Attributes<'_> = &[
        (Type::AcctStatusType, &start),
        (Type::AcctSessionId, b"7"),
        (Type::UserName, b"bob@corp"),
    ];
    let request = nas.request(MessageAuthenticator::Omit, SECRET, all);
    let (first, again) = (nas.patient(&request), nas.patient(&request));
    assert_eq!(first, again);
    // With a Message-Authenticator the response has one, too.
    let signed = nas.request(MessageAuthenticator::First, SECRET, all);
    let response = nas.patient(&signed);
    nas.check(&signed, &response);
    let response = Packet::parse(&response).unwrap();
    assert!(response.has(Type::MessageAuthenticator));
    // RFC 2866 s5.2: another Identifier and another Acct-Delay-Time.
    let later: Vec<_> = all
        .iter()
        .copied()
        .chain([(Type::AcctDelayTime, &delay[..])])
        .collect();
    let later = nas.request(MessageAuthenticator::Omit, SECRET, &later);
    let response = nas.patient(&later);
    nas.check(&later, &response);
    let found = sessions(&site, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    // A user that this server does not know is on record all the same.
    assert_eq!(found[0]["user"], "bob@corp");
    // The NAS has no name of its own here: it is its address.
    assert_eq!(found[0]["nas"], "127.0.0.1");
}

#[test]
fn what_is_forged_or_says_nothing_gets_silence() {
    let site = site();
    let daemon = site.serve();
    let accounting = accounting(&site);
    let mut nas = Nas::new(accounting);
    let start = octets(START);
    let whole: Attributes<'_> = &[
        (Type::AcctStatusType, &start),
        (Type::AcctSessionId, b"9"),
        (Type::UserName, b"alice"),
    ];
    let forged = nas.request(
        MessageAuthenticator::Omit,
        "another-secret-than-ours",
        whole,
    );
    assert_eq!(nas.ask(&forged), None);
    let mut changed = nas.request(MessageAuthenticator::Omit, SECRET, whole);
    let last = changed.len() - 1;
    changed[last] ^= 1;
    assert_eq!(nas.ask(&changed), None);
    let mut signed = nas.request(MessageAuthenticator::First, SECRET, whole);
    signed[30] ^= 1;
    assert_eq!(nas.ask(&signed), None);
    for part in [&whole[..1], &whole[1..]] {
        let part = nas.request(MessageAuthenticator::Omit, SECRET, part);
        assert_eq!(nas.ask(&part), None);
    }
    // Neither port takes what belongs to the other.
    let request = nas.request(MessageAuthenticator::First, SECRET, whole);
    let elsewhere = Nas::new(daemon.radius);
    assert_eq!(elsewhere.ask(&request), None);
    let login = nas.packet(
        Code::AccessRequest,
        MessageAuthenticator::First,
        SECRET,
        whole,
    );
    assert_eq!(nas.ask(&login), None);
    assert!(sessions(&site, &[]).is_empty());
    // RFC 5997 s3: Status-Server at the accounting port.
    nas.identifier += 1;
    let status = nas.packet(Code::StatusServer, MessageAuthenticator::First, SECRET, &[]);
    let response = nas.ask(&status).expect("an answer");
    nas.check(&status, &response);
}

#[test]
fn a_nas_that_restarts_ends_its_own_sessions_only() {
    let site = site();
    let _daemon = site.serve();
    let mut nas = Nas::new(accounting(&site));
    for (name, session) in [
        ("gate-1", "1"),
        ("gate-1", "2"),
        ("gate-2", "1"),
        ("gate", "1"),
    ] {
        let more: Attributes<'_> = &[
            (Type::NasIdentifier, name.as_bytes()),
            (Type::UserName, b"alice"),
        ];
        nas.report(START, session, more);
    }
    // Times are kept to the millisecond.
    std::thread::sleep(Duration::from_millis(2));
    nas.report(ON, "", &[(Type::NasIdentifier, b"gate-1")]);
    let open = sessions(&site, &["--open"]);
    let open: Vec<&str> = open
        .iter()
        .map(|one| one["nas"].as_str().unwrap())
        .collect();
    assert_eq!(open, ["gate", "gate-2"]);
    let ended = sessions(&site, &["--ended", "--nas", "gate-1"]);
    assert_eq!(ended.len(), 2);
    assert_eq!(ended[0]["cause"], "nas_reboot");
    // Numbers begin anew.
    let more: Attributes<'_> = &[(Type::UserName, b"alice")];
    std::thread::sleep(Duration::from_millis(2));
    nas.report(START, "1", more);
    assert_eq!(sessions(&site, &["--open", "--nas", "gate-1"]).len(), 1);
    nas.report(OFF, "", &[(Type::NasIdentifier, b"gate-2")]);
    assert!(sessions(&site, &["--open", "--nas", "gate-2"]).is_empty());
    // Other kinds, of tunnels and failures, are on record too.
    nas.report(15, "8", more);
    let audit = site.json(&["audit", "list", "--limit", "1"]);
    assert_eq!(audit["records"][0]["action"], "accounting_other");
}

#[test]
fn the_list_goes_page_by_page() {
    let site = site();
    let daemon = site.serve();
    let mut nas = Nas::new(accounting(&site));
    for session in 0..7 {
        nas.report(START, &session.to_string(), &[(Type::UserName, b"alice")]);
    }
    let mut http = crate::support::net::Http::new(daemon.http, &site.admin_key);
    let (mut seen, mut path) = (0, "/v1/admin/sessions?limit=3".to_owned());
    loop {
        let (status, answer) = http.send("GET", &path, b"").unwrap();
        assert_eq!(status, 200);
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        seen += answer["sessions"].as_array().unwrap().len();
        let Some(next) = answer["next"].as_str() else {
            break;
        };
        path = format!("/v1/admin/sessions?limit=3&after={next}");
    }
    assert_eq!(seen, 7);
    assert_eq!(sessions(&site, &["--limit", "5"]).len(), 5);
    let (status, _) = http.send("GET", "/v1/admin/sessions?after=x", b"").unwrap();
    assert_eq!(status, 400);
}

#[test]
fn no_nas_claims_the_login_of_another() {
    let site = site();
    let words = ["client", "add", "radius", "lan", "--address", "127.0.0.2"];
    site.json_with(&[&words[..], &["--secret-stdin"]].concat(), SECRET);
    let daemon = site.serve();
    let class = login(&daemon, 0);
    let accounting = accounting(&site);
    let mut own = Nas::new(accounting);
    let mut other = Nas::new(accounting);
    other.socket = UdpSocket::bind("127.0.0.2:0").unwrap();
    other.socket.connect(accounting).unwrap();
    other
        .socket
        .set_read_timeout(Some(Duration::from_millis(400)))
        .unwrap();
    let mut forged = class.clone();
    forged[0] = b'7';
    for (nas, session, user, class) in [
        (0, "1", "alice", &class),
        (0, "2", "mallory", &class),
        (0, "3", "alice", &forged),
        (1, "4", "alice", &class),
    ] {
        let nas = if nas == 0 { &mut own } else { &mut other };
        let more: Attributes<'_> = &[(Type::UserName, user.as_bytes()), (Type::Class, class)];
        nas.report(START, session, more);
    }
    let linked: Vec<String> = sessions(&site, &[])
        .iter()
        .filter(|one| one["request_id"].is_string())
        .map(|one| one["session"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(linked, ["1"]);
}

#[test]
fn a_restart_is_no_work_for_sessions_that_have_ended() {
    let site = site();
    let _daemon = site.serve();
    let mut nas = Nas::new(accounting(&site));
    for session in 0..450 {
        nas.report(START, &session.to_string(), &[(Type::UserName, b"alice")]);
    }
    std::thread::sleep(Duration::from_millis(2));
    nas.report(ON, "", &[]);
    nas.report(ON, "", &[]);
    assert!(sessions(&site, &["--open"]).is_empty());
    let audit = site.json(&["audit", "list", "--limit", "6"]);
    let acts: Vec<&str> = audit["records"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|record| record["action"].as_str())
        .collect();
    let ends = ["sessions_end"; 3];
    assert_eq!(
        acts[..5],
        [&["accounting_on"][..], &ends, &["accounting_on"]].concat()
    );
    assert_eq!(site.json(&["store", "verify"])["intact"], true);
}

#[test]
fn what_is_listed_of_an_erased_user_goes() {
    let site = site();
    let _daemon = site.serve();
    let mut nas = Nas::new(accounting(&site));
    for (session, user) in [("1", "alice"), ("2", "bob"), ("3", "alice@corp")] {
        nas.report(START, session, &[(Type::UserName, user.as_bytes())]);
    }
    let erased = site.run(&["user", "erase", "alice", "--yes"]);
    assert!(erased.status.success(), "{erased:?}");
    let left = sessions(&site, &[]);
    let left: Vec<&str> = left
        .iter()
        .map(|one| one["user"].as_str().unwrap())
        .collect();
    assert_eq!(left, ["bob@default", "alice@corp"]);
    // What a NAS goes on reporting goes by another erasing, although there is no user any more.
    nas.report(INTERIM, "1", &[(Type::UserName, b"alice")]);
    assert_eq!(sessions(&site, &["alice"]).len(), 1);
    site.run(&["user", "erase", "alice", "--yes"]);
    assert!(sessions(&site, &["alice"]).is_empty());
}

#[test]
fn openvpn_logs_in_by_its_radius_plugin() {
    if !require("openvpn", "openvpn openvpn-auth-radius") {
        return;
    }
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    let words = [
        "client",
        "add",
        "radius",
        "vpn",
        "--address",
        "127.0.0.1",
        // The plug-in does not sign its requests.
        "--require-message-authenticator",
        "false",
        "--secret-stdin",
    ];
    site.json_with(&words, SECRET);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("radius.cnf", &RADIUS.replace("SECRET", SECRET));
    write("server.conf", SERVER);
    write("client.conf", CLIENT);
    write("run", RUN);
    for (number, code) in [0, 0, 1].into_iter().map(hotp).enumerate() {
        write(&format!("try{number}"), &format!("alice\n{code}\n"));
    }
    let output = in_a_network_of_its_own(&site.path(), folder.path());
    let said = String::from_utf8(output.stdout).unwrap();
    let log = std::fs::read_to_string(folder.path().join("server.log")).unwrap_or_default();
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "Initialization Sequence Completed",
            "AUTH_FAILED",
            "Initialization Sequence Completed"
        ],
        "{}\n{log}\n{}",
        String::from_utf8_lossy(&output.stderr),
        site.log()
    );
    let found = sessions(&site, &["alice"]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0]["framed_ip"], "198.18.7.2");
}

/// The daemon on the usual ports, openvpn's server and its client, where nothing else is.
fn in_a_network_of_its_own(site: &Path, folder: &Path) -> std::process::Output {
    let daemon = command(site);
    let mut run = Command::new("unshare");
    run.args(["-n", "sh", "run"]).arg(daemon.get_program());
    for (name, value) in daemon.get_envs() {
        match value {
            Some(value) => run.env(name, value),
            None => run.env_remove(name),
        };
    }
    let child = run
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare (util-linux)");
    child.wait_with_output().unwrap()
}

const RADIUS: &str = "NAS-Identifier=openvpn
Service-Type=5
Framed-Protocol=1
NAS-Port-Type=5
NAS-IP-Address=127.0.0.1
OpenVPNConfig=server.conf
subnet=255.255.255.0
overwriteccfiles=true
server
{
  authport=1812
  acctport=1813
  name=127.0.0.1
  retry=1
  wait=5
  sharedsecret=SECRET
}
";

const SERVER: &str = "dev tun
port 11940
proto udp
local 127.0.0.1
topology subnet
server 198.18.7.0 255.255.255.0
ca ca.pem
cert server.pem
key server.key
dh none
verify-client-cert none
username-as-common-name
plugin /usr/lib/openvpn/radiusplugin.so radius.cnf
script-security 2
client-config-dir ccd
status status.txt 1
verb 3
";

const CLIENT: &str = "client
dev tun
proto udp
remote 127.0.0.1 11940
nobind
ca ca.pem
remote-cert-tls server
auth-retry none
connect-retry-max 1
route-nopull
verb 3
";

/// Prints how each of three logins ended.
const RUN: &str = r#"
set -e
ip link set lo up
mkdir ccd
ec="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
openssl req -x509 $ec -keyout ca.key -out ca.pem -days 2 -subj /CN=ca 2>/dev/null
openssl req $ec -keyout server.key -out server.csr -subj /CN=server 2>/dev/null
printf 'extendedKeyUsage=serverAuth\nkeyUsage=digitalSignature\n' >extensions
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
    -extfile extensions -out server.pem 2>/dev/null
"$1" serve --radius 127.0.0.1:1812 --http 127.0.0.1:0 >ready 2>>"$ONCEGATE_DIR/log" &
daemon=$!
waited=0
wait_for() {
    until grep -qE "$1" "$2" 2>/dev/null; do
        waited=$((waited + 1))
        [ $waited -lt 600 ] || { echo "no $1 in $2" >&2; return 0; }
        sleep 0.1
    done
}
wait_for ready ready
openvpn --config server.conf >server.log 2>&1 &
server=$!
trap 'kill $server $daemon 2>/dev/null; wait' EXIT
wait_for 'Initialization Sequence Completed' server.log
for try in 0 1 2; do
    openvpn --config client.conf --auth-user-pass try$try >client$try.log 2>&1 &
    client=$!
    wait_for 'Initialization Sequence Completed|AUTH_FAILED|Exiting' client$try.log
    grep -oE 'Initialization Sequence Completed|AUTH_FAILED|Exiting' client$try.log | head -1
    kill $client 2>/dev/null || true
    wait $client || true
done
"#;

#[test]
fn nothing_is_acknowledged_that_is_not_on_the_disk() {
    let site = site();
    let store = site.path().join("store");
    let shown = store.display();
    let kib = super::b2_full_disk::octets(&store) / 1024 + 64;
    let script = format!(
        "set -e; cp -a {shown} {shown}.copy; mount -t tmpfs -o size={kib}k tmpfs {shown}; \
         cp -a {shown}.copy/. {shown}/; exec \"$0\" \"$@\""
    );
    let daemon = site.serve_by(&["unshare", "-m", "sh", "-c", &script]);
    let mut nas = Nas::new(accounting(&site));
    let (start, mut answered) = (octets(START), 0);
    let refused = loop {
        let id = answered.to_string();
        let request = nas.packet(
            Code::AccountingRequest,
            MessageAuthenticator::Omit,
            SECRET,
            &[
                (Type::AcctStatusType, &start),
                (Type::AcctSessionId, id.as_bytes()),
                (Type::UserName, &[b'u'; 200]),
            ],
        );
        match nas.ask(&request) {
            Some(_) => answered += 1,
            None => break request,
        }
        nas.identifier = nas.identifier.wrapping_add(1);
        assert!(answered < 100_000, "the disk does not fill");
    };
    assert_eq!(sessions(&site, &[]).len(), answered);
    // With room again, the retransmission is taken.
    super::b2_full_disk::room(&daemon, &store, kib * 8);
    let response = nas.patient(&refused);
    nas.check(&refused, &response);
    assert_eq!(sessions(&site, &[]).len(), answered + 1);
}

#[test]
fn the_log_says_what_to_do_about_a_packet_that_is_not_taken() {
    let site = site();
    let daemon = site.serve();
    let at = accounting(&site);
    let mut nas = Nas::new(at);
    let status = octets(START);
    let all: Attributes<'_> = &[(Type::AcctStatusType, &status), (Type::AcctSessionId, b"1")];
    let bad = nas.request(
        MessageAuthenticator::Omit,
        "another-secret-than-the-server-has",
        all,
    );
    assert_eq!(nas.ask(&bad), None);
    let lacking = nas.request(
        MessageAuthenticator::Omit,
        SECRET,
        &[(Type::NasIdentifier, b"gate-1")],
    );
    assert_eq!(nas.ask(&lacking), None);
    let mut wrong = Nas::new(daemon.radius);
    let misplaced = wrong.request(MessageAuthenticator::Omit, SECRET, all);
    assert_eq!(wrong.ask(&misplaced), None);
    let log = site.log();
    let line = |reason: &str| {
        let found = log.lines().find(|line| line.contains(reason));
        found
            .unwrap_or_else(|| panic!("no {reason}: {log}"))
            .to_owned()
    };
    let secret = line("bad_request_authenticator");
    assert!(
        secret.contains("oncegate client rotate vpn --secret-stdin"),
        "{secret}"
    );
    assert!(secret.contains("WARN"), "{secret}");
    let lacks = line("incomplete_accounting");
    assert!(
        lacks.contains("WARN") && lacks.contains("not on record"),
        "{lacks}"
    );
    let code = line("unexpected_code");
    assert!(code.contains(&format!("port {}", at.port())), "{code}");
    assert!(!log.contains("client show"), "{log}");
    assert!(daemon.terminate().success());
}

#[test]
fn what_a_nas_reported_is_listed_by_it_and_shown_whole() {
    let site = site();
    let daemon = site.serve();
    let mut nas = Nas::new(accounting(&site));
    let (seconds, high, low) = (octets(86_400), octets(2), octets(10));
    nas.report(START, "S10", &[(Type::UserName, b"alice")]);
    nas.report(
        STOP,
        "S10",
        &[
            (Type::UserName, b"alice"),
            (Type::FramedIpAddress, &[10, 8, 0, 2]),
            (Type::AcctSessionTime, &seconds),
            (Type::AcctInputOctets, &low),
            (Type::AcctInputGigawords, &high),
        ],
    );
    nas.report(
        START,
        "S11",
        &[
            (Type::UserName, b"alice"),
            (Type::NasIdentifier, b"gate-12"),
        ],
    );
    let list = |words: &[&str]| {
        let list = site.json(&[&["audit", "list"], words].concat());
        let records = list["records"].as_array().unwrap().iter();
        let all = records.map(|record| {
            (
                record["action"].clone(),
                record["target"].clone(),
                record["seq"].to_string(),
            )
        });
        all.map(|(action, target, seq)| {
            (action.as_str().unwrap_or("login").to_owned(), target, seq)
        })
        .collect::<Vec<_>>()
    };
    let of = list(&["--nas", "Gate-1"]);
    let found: Vec<_> = of
        .iter()
        .map(|(action, target, _)| (action.as_str(), target.as_str().unwrap()))
        .collect();
    assert_eq!(found, [("session_stop", "S10"), ("session_start", "S10")]);
    assert_eq!(list(&["--nas", "gate-12"]).len(), 1);
    assert_eq!(
        list(&["--nas", "gate-1", "--action", "session_stop"]).len(),
        1
    );
    let output = site.run(&["audit", "show", &of[0].2]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(
        shown.contains("NAS gate-1, address 10.8.0.2, 86400 s, 8589934602 octets in, 0 out"),
        "{shown}"
    );
    assert!(!shown.contains("..."), "{shown}");
    let id = site.json(&["audit", "show", &of[0].2])["request_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let output = site.run(&["explain", &id]);
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("radius:vpn reported the end of session S10"),
        "{text}"
    );
    assert!(text.contains("8589934602 octets in"), "{text}");
    assert!(daemon.terminate().success());
}
