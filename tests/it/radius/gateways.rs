//! VPN gateways on RADIUS, and the machines that dial in, in networks of their own: strongSwan by `IKEv2` with
//! EAP and by `IKEv1` with `XAuth`, with a tunnel that carries data; ocserv and openconnect.

use crate::faults::b3_accounting::{SECRET, sessions};
use crate::support::apart::{COMMON, run_apart};
use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::Site;
use crate::support::require;

/// alice with a counter token, and a gateway by its profile.
fn site(profile: &str) -> Site {
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    let words = [
        "client",
        "add",
        "radius",
        "gateway",
        "--address",
        "127.0.0.1",
    ];
    let more = ["--profile", profile, "--secret-stdin"];
    let unsigned = ["--require-message-authenticator", "false"];
    site.json_with(&[&words[..], &more, &unsigned].concat(), SECRET);
    site
}

const SWANCTL: &str = "connections {
  eap {
    version = 2
    local_addrs = 198.18.5.1
    pools = inside
    local {
      auth = pubkey
      certs = gateway.pem
      id = gateway.test
    }
    remote {
      auth = eap-radius
      eap_id = %any
      id = %any
    }
    children {
      net {
        local_ts = 198.18.5.0/24
      }
    }
  }
  xauth {
    version = 1
    local_addrs = 198.18.5.1
    pools = inside
    local {
      auth = pubkey
      certs = gateway.pem
      id = gateway.test
    }
    remote {
      auth = xauth-radius
    }
    children {
      net {
        local_ts = 198.18.5.0/24
      }
    }
  }
}
pools {
  inside {
    addrs = 198.18.9.0/24
  }
}
";

/// ESP in user space: kernels of test machines may have none.
const GATEWAY: &str = "charon-systemd {
  load = openssl random nonce kdf x509 pem pkcs1 pkcs8 pubkey constraints revocation kernel-libipsec \
kernel-netlink socket-default vici eap-identity eap-radius xauth-generic
  plugins {
    vici {
      socket = unix:///run/gateway.vici
    }
    eap-radius {
      accounting = yes
      nas_identifier = ike-gateway
      servers {
        primary {
          address = 127.0.0.1
          auth_port = 1812
          acct_port = 1813
          secret = SECRET
        }
      }
      dae {
        enable = yes
        listen = 127.0.0.1
        port = 3799
        secret = SECRET
      }
      xauth {
        pw {
          nextpin = \"code\"
        }
      }
    }
  }
  filelog {
    log {
      path = gateway.log
      default = 1
      flush_line = yes
    }
  }
}
";

const MACHINE: &str = "charon-cmd {
  load = openssl random nonce kdf x509 pem pkcs1 pkcs8 pubkey constraints revocation kernel-libipsec \
kernel-netlink socket-default eap-identity eap-gtc eap-mschapv2 xauth-generic
}
";

/// Two networks: the gateway's, and that of a machine behind a cable.
const STRONGSWAN: &str = r#"
certificate
mkdir -p swanctl/x509 swanctl/private
cp gateway.pem swanctl/x509
cp gateway.key swanctl/private
cp swanctl.conf swanctl
unshare -n sleep 120 &
machine=$!
jobs="$jobs $machine"
inside="nsenter -t $machine -n"
until [ "$(readlink /proc/$machine/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
ip link add gw0 type veth peer name cl0 netns $machine
ip addr add 198.18.5.1/30 dev gw0
ip link set gw0 up
$inside ip link set lo up
$inside ip addr add 198.18.5.2/30 dev cl0
$inside ip link set cl0 up
serve --http 198.18.5.1:8080
STRONGSWAN_CONF=gateway.conf charon-systemd >/dev/null 2>&1 &
jobs="$jobs $!"
until [ -S /run/gateway.vici ]; do sleep 0.05; done
SWANCTL_DIR=swanctl STRONGSWAN_CONF=gateway.conf \
    swanctl --load-all --uri unix:///run/gateway.vici >swanctl.log 2>&1
login() {
    number=$((number + 1))
    echo "$2" | STRONGSWAN_CONF=machine.conf $inside unshare -m sh -c "mount -t tmpfs none /run
        exec stdbuf -oL charon-cmd --host 198.18.5.1 --remote-identity gateway.test --cert gateway.pem \
        --identity alice --profile $1" >machine.$number 2>&1 &
    tunnel=$!
    jobs="$jobs $tunnel"
    wait_for 'CHILD_SA .* established|method failed|AUTHENTICATION_FAILED|XAuth.*failed' machine.$number
    grep -oE 'EAP method EAP_[A-Z0-9]+ succeeded|method failed|XAuth.*(successful|failed)|CHILD_SA .* established' \
        machine.$number | sort -u
}
login ikev2-eap "$2"
$inside curl -s -m 5 --interface 198.18.9.1 http://198.18.5.1:8080/healthz
echo
sessions 1
"$oncegate" --json session set --user alice --attribute Session-Timeout=3600 | grep -oE '"(ack|nak|no_answer)"'
"$oncegate" --json session disconnect --user alice | grep -oE '"(ack|nak|no_answer)"' | head -1
sessions 0
end $tunnel
login ikev1-hybrid "$3"
end $tunnel
login ikev2-eap "$2"
"#;

#[test]
fn strongswan_carries_data_for_those_who_are_let_in_and_ends_their_tunnels() {
    let packages = "charon-systemd strongswan-swanctl libcharon-extra-plugins \
        libcharon-extauth-plugins libstrongswan-standard-plugins";
    if !require("charon-cmd", "charon-cmd") || !require("charon-systemd", packages) {
        return;
    }
    let site = site("strongswan");
    let words = [
        "client",
        "set",
        "gateway",
        "--method",
        "pap",
        "--method",
        "eap-mschapv2",
    ];
    site.json(&words);
    let script = format!("{COMMON}{STRONGSWAN}");
    let gateway = GATEWAY.replace("SECRET", SECRET);
    let files = [
        ("run", script.as_str()),
        ("swanctl.conf", SWANCTL),
        ("gateway.conf", &gateway),
        ("machine.conf", MACHINE),
    ];
    let codes = [hotp(0), hotp(1)];
    let codes = codes.each_ref().map(String::as_str);
    let env = [("ONCEGATE__HTTP__INSECURE", "true".to_owned())];
    let Some(ran) = run_apart(&site, &files, &codes, &env) else {
        return;
    };
    let expected = [
        "CHILD_SA cmd{1} established",
        "EAP method EAP_MSCHAPV2 succeeded",
        // Of the daemon's health page, through the tunnel.
        "ok",
        "open 1",
        // The change of its life, and its end.
        "\"ack\"",
        "\"ack\"",
        "open 0",
        "CHILD_SA cmd{1} established",
        "XAuth authentication of 'alice' (myself) successful",
        "method failed",
    ];
    let logs = [
        "swanctl.log",
        "gateway.log",
        "machine.1",
        "machine.2",
        "machine.3",
    ];
    assert_eq!(ran.lines, expected, "{}", ran.shown(&site, &logs));
    let found = sessions(&site, &["alice"]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found.iter().all(|one| one["nas"] == "ike-gateway"),
        "{found:?}"
    );
}

const OCSERV: &str = "auth = \"radius[config=radiusclient.conf,groupconfig=true]\"
acct = \"radius[config=radiusclient.conf]\"
tcp-port = 14443
listen-host = 127.0.0.1
run-as-user = nobody
run-as-group = nogroup
socket-file = /run/ocserv.sock
server-cert = gateway.pem
server-key = gateway.key
isolate-workers = false
max-clients = 8
max-same-clients = 4
keepalive = 60
try-mtu-discovery = false
auth-timeout = 60
max-ban-score = 0
cookie-timeout = 60
rekey-time = 0
use-occtl = false
pid-file = /run/ocserv.pid
device = vpns
ipv4-network = 198.18.8.0/24
cisco-client-compat = true
dtls-legacy = false
";

const RADCLI: &str = "nas-identifier ssl-gateway
authserver 127.0.0.1:1812
acctserver 127.0.0.1:1813
servers servers
dictionary /etc/radcli/dictionary
default_realm
radius_timeout 10
radius_retries 1
bindaddr *
";

const OPENCONNECT: &str = r#"
certificate
serve --http 127.0.0.1:0
ocserv -f -d 1 -c ocserv.conf >ocserv.log 2>&1 &
jobs="$jobs $!"
until ss -tln | grep -q :14443; do sleep 0.05; done
login() {
    number=$((number + 1))
    printf "$1" | openconnect --protocol=anyconnect --cafile gateway.pem --resolve=gateway.test:127.0.0.1 \
        --user alice --passwd-on-stdin --interface oc0 --script /bin/true \
        https://gateway.test:14443/ >machine.$number 2>&1 &
    tunnel=$!
    jobs="$jobs $tunnel"
    wait_for 'Configured as|Login failed|Failed to' machine.$number
    grep -aoE 'Configured as|Login failed' machine.$number | sort -u
}
login "$2,$3\n"
sessions 1
end $tunnel
sessions 0
login "$2\n$4\n"
end $tunnel
login "$2,$3\n"
"#;

#[test]
fn openconnect_logs_in_through_ocserv_in_one_box_or_two() {
    const PASSWORD: &str = "correct-horse-9";
    if !require("ocserv", "ocserv") || !require("openconnect", "openconnect") {
        return;
    }
    let site = site("ocserv");
    site.json_with(&["user", "set", "alice", "--password-stdin"], PASSWORD);
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"password\", \"otp\"]\n\
        present = \"either\"\n";
    std::fs::write(site.path().join("policies/default.toml"), policy).unwrap();
    let script = format!("{COMMON}{OPENCONNECT}");
    let files = [
        ("run", script.as_str()),
        ("ocserv.conf", OCSERV),
        ("radiusclient.conf", RADCLI),
        ("servers", &format!("127.0.0.1 {SECRET}\n")),
    ];
    let Some(ran) = run_apart(&site, &files, &[PASSWORD, &hotp(0), &hotp(1)], &[]) else {
        return;
    };
    let expected = [
        "Configured as",
        "open 1",
        "open 0",
        "Configured as",
        "Login failed",
    ];
    let logs = ["ocserv.log", "machine.1", "machine.2", "machine.3"];
    assert_eq!(ran.lines, expected, "{}", ran.shown(&site, &logs));
    let found = sessions(&site, &["alice"]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found.iter().all(|one| one["nas"] == "ssl-gateway"),
        "{found:?}"
    );
}
