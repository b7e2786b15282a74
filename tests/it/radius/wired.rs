//! 802.1X on a wire: hostapd as the switch and `wpa_supplicant` as the machine, in a network of their own, with
//! accounting and a Disconnect-Request.

use crate::faults::b3_accounting::{SECRET, sessions};
use crate::radius::eap::certificate;
use crate::support::apart::{COMMON, run_apart};
use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::Site;
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
    let ca = site.path().join("ca.pem");
    let env = certificate(&site);
    let supplicant = SUPPLICANT.replace("CODE", &hotp(0));
    let script = format!("{COMMON}{RUN}");
    let files = [
        ("run", script.as_str()),
        ("hostapd.conf", &HOSTAPD.replace("SECRET", SECRET)),
        (
            "supplicant.conf",
            &supplicant.replace("CA", &ca.to_string_lossy()),
        ),
    ];
    let Some(ran) = run_apart(&site, &files, &[], &env) else {
        return;
    };
    assert_eq!(
        ran.lines,
        ["CTRL-EVENT-EAP-SUCCESS", "open 1", "\"ack\"", "open 0"],
        "{}",
        ran.shown(&site, &["hostapd.log", "supplicant.log"])
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
ip link add eh0 type veth peer name es0
ip link set eh0 up
ip link set es0 up
serve --http 127.0.0.1:0
hostapd hostapd.conf >hostapd.log 2>&1 &
jobs="$jobs $!"
wait_for AP-ENABLED hostapd.log
wpa_supplicant -D wired -i es0 -c supplicant.conf >supplicant.log 2>&1 &
jobs="$jobs $!"
wait_for 'CTRL-EVENT-EAP-(SUCCESS|FAILURE)' supplicant.log
grep -oE 'CTRL-EVENT-EAP-(SUCCESS|FAILURE)' supplicant.log | head -1
sessions 1
"$oncegate" --json session disconnect --user alice | grep -oE '"(ack|nak|no_answer)"' | head -1
sessions 0
"#;
