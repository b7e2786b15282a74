//! 802.1X on a wire: hostapd as the switch and `wpa_supplicant` as the machine, in a network of their own, with
//! accounting and a Disconnect-Request.

use std::process::{Command, Stdio};

use crate::faults::b3_accounting::{SECRET, sessions};
use crate::radius_eap::certificate;
use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::{Site, command};
use crate::support::require;

#[test]
fn hostapd_lets_a_machine_in_and_ends_its_session() {
    if !require("hostapd", "hostapd") || !require("wpa_supplicant", "wpasupplicant") {
        return;
    }
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    let words = [
        "client",
        "add",
        "radius",
        "switch",
        "--address",
        "127.0.0.1",
    ];
    let more = ["--disconnect-port", "13799", "--secret-stdin"];
    site.json_with(&[&words[..], &more].concat(), SECRET);
    let env = certificate(&site);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("hostapd.conf", &HOSTAPD.replace("SECRET", SECRET));
    let ca = site.path().join("ca.pem");
    let supplicant = SUPPLICANT.replace("CODE", &hotp(0));
    write(
        "supplicant.conf",
        &supplicant.replace("CA", &ca.to_string_lossy()),
    );
    write("run", RUN);
    let daemon = command(&site.path());
    let mut run = Command::new("unshare");
    run.args(["-n", "sh", "run"]).arg(daemon.get_program());
    for (name, value) in daemon.get_envs() {
        match value {
            Some(value) => run.env(name, value),
            None => run.env_remove(name),
        };
    }
    let output = run
        .envs(env)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .expect("unshare (util-linux)");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        ["CTRL-EVENT-EAP-SUCCESS", "ack", "acct ended"],
        "{}\n{}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        read("hostapd.log"),
        read("supplicant.log"),
        site.log()
    );
    let found = sessions(&site, &["alice"]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["nas"], "wire-1");
    assert!(
        found[0]["request_id"].is_string() && found[0]["ended"].is_string(),
        "{found:?}"
    );
}

const HOSTAPD: &str = "interface=eh0
driver=wired
ctrl_interface=control
ieee8021x=1
eap_reauth_period=3600
use_pae_group_addr=1
own_ip_addr=127.0.0.1
nas_identifier=wire-1
auth_server_addr=127.0.0.1
auth_server_port=1812
auth_server_shared_secret=SECRET
acct_server_addr=127.0.0.1
acct_server_port=1813
acct_server_shared_secret=SECRET
radius_das_port=13799
radius_das_client=127.0.0.1 SECRET
radius_das_require_event_timestamp=1
radius_das_require_message_authenticator=1
";

const SUPPLICANT: &str = "ap_scan=0
network={
  key_mgmt=IEEE8021X
  eap=TTLS
  identity=\"alice\"
  anonymous_identity=\"anonymous\"
  password=\"CODE\"
  ca_cert=\"CA\"
  phase2=\"auth=PAP\"
  eapol_flags=0
}
";

/// Prints how the login ended, what the switch answered to the Disconnect-Request, and that it reported the end.
const RUN: &str = r#"
set -e
ip link set lo up
ip link add eh0 type veth peer name es0
ip link set eh0 up
ip link set es0 up
"$1" serve --radius 127.0.0.1:1812 --http 127.0.0.1:0 >ready 2>>"$ONCEGATE_DIR/log" &
daemon=$!
waited=0
wait_for() {
    until grep -qE "$1" "$2" 2>/dev/null; do
        waited=$((waited + 1))
        [ $waited -lt 300 ] || { echo "no $1 in $2" >&2; return 0; }
        sleep 0.1
    done
}
wait_for ready ready
hostapd hostapd.conf >hostapd.log 2>&1 &
switch=$!
trap 'kill $machine $switch $daemon 2>/dev/null; wait' EXIT
wait_for AP-ENABLED hostapd.log
wpa_supplicant -D wired -i es0 -c supplicant.conf >supplicant.log 2>&1 &
machine=$!
wait_for 'CTRL-EVENT-EAP-(SUCCESS|FAILURE)' supplicant.log
grep -oE 'CTRL-EVENT-EAP-(SUCCESS|FAILURE)' supplicant.log | head -1
open=0
while [ $open -lt 50 ] && ! "$1" --json session list alice --open | grep -q '"session"'; do
    open=$((open + 1))
    sleep 0.1
done
"$1" --json session disconnect --user alice | grep -oE '"(ack|nak|no_answer)"' | tr -d '"' | head -1
open=0
while [ $open -lt 50 ] && "$1" --json session list alice --open | grep -q '"session"'; do
    open=$((open + 1))
    sleep 0.1
done
[ $open -lt 50 ] && echo 'acct ended'
"#;
