//! What is known of appliances that ask over RADIUS: how a client for one is best set up, and what to enter on it.
//!
//! Each fact names its source. What a client record does not say stays as the profile has it at the time the
//! client is made; an administrator may change all of it afterwards.

use std::time::Duration;

use crate::model::client::Require;

/// A kind of appliance.
#[derive(Debug)]
pub struct Profile {
    /// Its name: the value of `--profile`, and the page of the manual.
    pub name: &'static str,
    /// What it is called by its maker.
    pub appliance: &'static str,
    /// Whether it can ask the user again (Access-Challenge).
    pub challenge: bool,
    /// Whether its requests must be signed.
    pub require: Require,
    /// Whether it drops replies that are signed.
    pub refuses_signed: bool,
    /// How long the answer to one human attempt is given again; zero where it sends an attempt in one packet.
    pub retry_window: Duration,
    /// Longest shared secret that it takes.
    pub secret_max: Option<usize>,
    /// What to enter on it, in this order.
    pub enter: &'static [Fact],
    /// The attribute of the policy's `[reply]` by which it reads groups.
    pub groups: Option<(&'static str, &'static str)>,
    /// What else is known: retransmissions, names, limits.
    pub known: &'static [Fact],
}

/// Something known, and how.
#[derive(Debug)]
pub struct Fact {
    /// What it is about.
    pub about: &'static str,
    /// What is so.
    pub says: &'static str,
    /// How that is known.
    pub source: Origin,
}

/// How a fact is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// Tried with the real software.
    Tried,
    /// Read in its source code.
    Source,
    /// Read in documents of its maker.
    Vendor,
    /// Said by those who use it; confirm it before relying on it.
    Unconfirmed,
}

impl Origin {
    /// The words in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tried => "tried",
            Self::Source => "its source code",
            Self::Vendor => "the maker's documents",
            Self::Unconfirmed => "not confirmed",
        }
    }
}

const fn fact(about: &'static str, says: &'static str, source: Origin) -> Fact {
    Fact {
        about,
        says,
        source,
    }
}

use Origin::{Source, Tried, Unconfirmed, Vendor};

/// Three methods one after the other, each after a delayed reject; a gateway behind its portal.
const RETRY: Duration = Duration::from_secs(10);

/// A client of which nothing special is known.
const GENERIC: Profile = Profile {
    name: "generic",
    appliance: "NAS",
    challenge: true,
    require: Require::True,
    refuses_signed: false,
    retry_window: Duration::ZERO,
    secret_max: None,
    enter: &[
        fact("method", "PAP", Tried),
        fact("timeout", "10 s or more, 3 tries", Tried),
        fact("Message-Authenticator", "on", Tried),
    ],
    groups: None,
    known: &[],
};

/// All profiles, in the order of the manual.
pub const PROFILES: &[Profile] = &[
    GENERIC,
    Profile {
        name: "fortigate",
        appliance: "Fortinet FortiGate",
        retry_window: RETRY,
        enter: &[
            fact("authentication method", "PAP, not `auto`", Vendor),
            fact(
                "set timeout",
                "30, and `config system global`, `set remoteauthtimeout 60`",
                Vendor,
            ),
            fact(
                "require-message-authenticator",
                "enable; always so since 7.2.10, 7.4.5, 7.6.1",
                Vendor,
            ),
        ],
        groups: Some(("Fortinet-Group-Name", "{group}")),
        known: &[
            fact(
                "`auto`",
                "tries PAP, MS-CHAPv2 and CHAP, each after a reject",
                Vendor,
            ),
            fact(
                "Message-Authenticator",
                "replies without it are refused since 7.2.10, 7.4.5, 7.6.1",
                Vendor,
            ),
            fact("secret", "old releases take 16 characters", Unconfirmed),
        ],
        ..GENERIC
    },
    Profile {
        name: "asa",
        appliance: "Cisco ASA, FTD, Secure Client",
        secret_max: Some(64),
        enter: &[
            fact(
                "port",
                "authentication-port 1812, accounting-port 1813: old defaults are 1645, 1646",
                Vendor,
            ),
            fact(
                "method",
                "PAP; `no mschapv2-capable` where password-management is on",
                Vendor,
            ),
            fact(
                "timeout",
                "`timeout 60`, `retry-interval 10`; client profile: AuthenticationTimeout 60",
                Vendor,
            ),
            fact(
                "Message-Authenticator",
                "`message-authenticator-required` where the release has it",
                Unconfirmed,
            ),
        ],
        groups: Some(("Class", "OU={group};")),
        known: &[
            fact(
                "retransmissions",
                "every 10 s; each is answered alike",
                Vendor,
            ),
            fact("secret", "at most 64 characters", Vendor),
        ],
        ..GENERIC
    },
    Profile {
        name: "globalprotect",
        appliance: "Palo Alto PAN-OS, GlobalProtect",
        retry_window: RETRY,
        enter: &[
            fact(
                "Authentication Protocol",
                "PAP; CHAP is the default of some releases",
                Vendor,
            ),
            fact("Timeout, Retries", "30 s, 1", Vendor),
            fact(
                "authentication override",
                "generate and accept a cookie on portal and gateway",
                Vendor,
            ),
            fact(
                "Message-Authenticator",
                "`set authentication radius-require-msg-authentic yes`",
                Unconfirmed,
            ),
        ],
        groups: Some(("PaloAlto-User-Group", "{group}")),
        known: &[
            fact(
                "portal and gateway",
                "ask with the same code within seconds, unless a cookie spares the second",
                Vendor,
            ),
            fact("roles", "names of admin roles are lower case", Vendor),
        ],
        ..GENERIC
    },
    Profile {
        name: "netscaler",
        appliance: "Citrix NetScaler",
        enter: &[
            fact("Password Encoding", "pap", Vendor),
            fact("Time-out", "30 s, from 3 s", Vendor),
            fact(
                "Message Authenticator",
                "on, in builds that have it",
                Unconfirmed,
            ),
            fact(
                "Group Vendor Identifier, Group Attribute Type",
                "3845, 16; no prefix",
                Unconfirmed,
            ),
        ],
        groups: Some(("Citrix-User-Groups", "{group}")),
        known: &[fact(
            "late answers",
            "are lost after 4 s unless NewConnIdleTimeOut of the TCP profile is raised",
            Vendor,
        )],
        ..GENERIC
    },
    Profile {
        name: "f5",
        appliance: "F5 BIG-IP APM",
        enter: &[
            fact("Service Type, method", "Login; PAP", Unconfirmed),
            fact("Timeout, Retries", "30 s, 1; from 5 s, 3", Unconfirmed),
        ],
        groups: Some(("Class", "{group}")),
        known: &[fact(
            "Class",
            "is session.radius.last.attr.class in an access policy",
            Unconfirmed,
        )],
        ..GENERIC
    },
    Profile {
        name: "ivanti",
        appliance: "Ivanti Connect Secure",
        enter: &[
            fact(
                "Users authenticate using tokens or one-time passwords",
                "on",
                Vendor,
            ),
            fact("Timeout, Retries", "60 s, 1", Vendor),
            fact(
                "custom RADIUS rule",
                "Access-Challenge: show Generic Login page",
                Vendor,
            ),
        ],
        groups: Some(("Class", "{group}")),
        known: &[fact(
            "challenges",
            "are rejects without the custom rule",
            Vendor,
        )],
        ..GENERIC
    },
    Profile {
        name: "sonicwall",
        appliance: "SonicWall",
        secret_max: Some(31),
        enter: &[
            fact("mode", "standard RADIUS (PAP)", Vendor),
            fact("Timeout, Retries", "30 s, 1; from 5 s, 3", Vendor),
            fact(
                "use vendor-specific attribute",
                "SonicWall-User-Group, or Filter-Id",
                Vendor,
            ),
        ],
        groups: Some(("SonicWall-User-Group", "{group}")),
        known: &[fact("secret", "at most 31 characters", Vendor)],
        ..GENERIC
    },
    Profile {
        name: "checkpoint",
        appliance: "Check Point",
        refuses_signed: true,
        require: Require::Auto,
        enter: &[
            fact(
                "Version",
                "RADIUS Ver. 2.0: 1.0 cuts passwords at 16 characters",
                Vendor,
            ),
            fact("Protocol", "PAP", Vendor),
            fact(
                "timeout",
                "30 s: Global Properties, `radius_retrant_timeout`",
                Unconfirmed,
            ),
            fact(
                "replies with Message-Authenticator",
                "install the fix of sk182516",
                Source,
            ),
        ],
        groups: Some(("Class", "{group}")),
        known: &[fact(
            "Message-Authenticator",
            "replies that carry it are dropped until sk182516 is done (FreeRADIUS 3.2.6, ChangeLog, 2024)",
            Source,
        )],
        ..GENERIC
    },
    Profile {
        name: "junos",
        appliance: "Juniper Junos (login of administrators)",
        challenge: false,
        enter: &[
            fact("authentication-order", "[ radius password ]", Vendor),
            fact("timeout, retry", "30, 1; from 3, 3", Vendor),
        ],
        groups: Some(("Juniper-Local-User-Name", "{group}")),
        known: &[fact(
            "Juniper-Local-User-Name",
            "is a template user that exists on the device",
            Vendor,
        )],
        ..GENERIC
    },
    Profile {
        name: "pfsense",
        appliance: "pfSense",
        challenge: false,
        require: Require::False,
        enter: &[
            fact("Protocol", "PAP", Source),
            fact("Authentication Timeout", "20, from 5", Vendor),
        ],
        groups: Some(("Class", "{group}")),
        known: &[
            fact("Message-Authenticator", "is not sent", Unconfirmed),
            fact("OpenVPN", "takes a challenge for a reject", Vendor),
            fact(
                "Class",
                "holds group names, separated by semicolons",
                Unconfirmed,
            ),
        ],
        ..GENERIC
    },
    Profile {
        name: "opnsense",
        appliance: "OPNsense",
        challenge: false,
        require: Require::False,
        enter: &[fact("protocol, timeout", "PAP; 10 s x 3, fixed", Source)],
        groups: None,
        known: &[
            fact("Message-Authenticator", "is not sent", Source),
            fact("challenge", "is taken for a failure", Source),
            fact("NAS-Identifier", "is the configuration's refid", Source),
        ],
        ..GENERIC
    },
    Profile {
        name: "openvpn",
        appliance: "OpenVPN with openvpn-auth-radius",
        challenge: false,
        require: Require::False,
        enter: &[
            fact("wait, retry", "10, 2; from 1, 1", Source),
            fact("acctport", "1813: accounting must be answered", Tried),
            fact(
                "reneg-sec",
                "0, or a session ends when its code is used again after an hour",
                Tried,
            ),
        ],
        groups: None,
        known: &[
            fact("Message-Authenticator", "is not sent by 2.1", Tried),
            fact(
                "accounting",
                "a login is refused while no server answers it",
                Tried,
            ),
            fact("Class", "is not returned", Tried),
        ],
        ..GENERIC
    },
    Profile {
        name: "ocserv",
        appliance: "ocserv (OpenConnect server)",
        require: Require::False,
        enter: &[
            fact(
                "auth",
                "\"radius[config=/etc/radcli/radiusclient.conf,groupconfig=true]\"",
                Tried,
            ),
            fact("radius_timeout, radius_retries", "10, 2", Tried),
        ],
        groups: Some(("Class", "OU={group}")),
        known: &[fact(
            "Message-Authenticator",
            "is not sent by libradcli4 of Debian 12",
            Tried,
        )],
        ..GENERIC
    },
    Profile {
        name: "strongswan",
        appliance: "strongSwan (eap-radius, xauth-eap)",
        enter: &[
            fact(
                "accounting, dae",
                "`accounting = yes`; `dae { enable = yes; port = 3799; secret = ... }`",
                Source,
            ),
            fact(
                "retransmission",
                "answers are waited for 14 s: at 0, 2, 5 and 9 s it asks again",
                Vendor,
            ),
        ],
        groups: Some(("Class", "{group}")),
        known: &[
            fact(
                "XAuth",
                "joins what was typed in several boxes, without a separator",
                Source,
            ),
            fact("EAP", "is passed through, always signed", Source),
            fact("groups", "by Class with `class_group = yes`", Source),
        ],
        ..GENERIC
    },
    Profile {
        name: "mikrotik",
        appliance: "MikroTik RouterOS",
        challenge: false,
        enter: &[
            fact("timeout", "3s, from 300ms", Vendor),
            fact(
                "require-message-auth",
                "yes-for-request-resp (7.15 and later)",
                Vendor,
            ),
            fact("/radius incoming", "set accept=yes port=3799", Vendor),
        ],
        groups: Some(("Mikrotik-Group", "{group}")),
        known: &[
            fact(
                "timeout",
                "of 300 ms is over before a reject leaves",
                Unconfirmed,
            ),
            fact("older than 7.15", "sends no Message-Authenticator", Vendor),
        ],
        ..GENERIC
    },
    Profile {
        name: "pam",
        appliance: "Linux PAM with pam_radius",
        require: Require::Auto,
        enter: &[
            fact("/etc/pam_radius_auth.conf", "SERVER:1812 SECRET 30", Tried),
            fact(
                "options",
                "force_prompt prompt=Code, where a module before it took the password",
                Source,
            ),
        ],
        groups: None,
        known: &[
            fact(
                "Message-Authenticator",
                "is sent since 3.0.0; 2.0.0 of Debian 12 sends none",
                Tried,
            ),
            fact(
                "challenge",
                "needs State and Reply-Message; both are always sent",
                Source,
            ),
            fact(
                "Class",
                "a long one overran memory until 2026-07: ours has 42 octets",
                Source,
            ),
        ],
        ..GENERIC
    },
    Profile {
        name: "nps",
        appliance: "Windows NPS as a proxy",
        enter: &[
            fact(
                "Remote RADIUS Server Group",
                "this server; Message-Authenticator on; 30 s until a request is lost",
                Vendor,
            ),
            fact(
                "requireMsgAuth, limitProxyState",
                "enable (KB5040268)",
                Vendor,
            ),
            fact(
                "Connection request policy",
                "forward to the group; PAP only",
                Vendor,
            ),
        ],
        groups: Some(("Filter-Id", "{group}")),
        known: &[fact("names", "come as DOMAIN\\name", Unconfirmed)],
        ..GENERIC
    },
];

/// The profile of a name.
pub fn profile(name: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == name)
}

/// The names of all profiles.
pub fn names() -> impl Iterator<Item = &'static str> {
    PROFILES.iter().map(|profile| profile.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_name_of_its_own_and_facts_with_a_source() {
        let mut seen: Vec<&str> = names().collect();
        assert_eq!(seen.len(), 18);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 18);
        for one in PROFILES {
            assert!(!one.enter.is_empty(), "{}", one.name);
            assert_eq!(profile(one.name).unwrap().appliance, one.appliance);
        }
        assert!(profile("toaster").is_none());
    }

    #[test]
    fn one_appliance_refuses_signed_replies() {
        let refuses = PROFILES.iter().filter(|one| one.refuses_signed);
        let refuses: Vec<&str> = refuses.map(|one| one.name).collect();
        assert_eq!(refuses, ["checkpoint"]);
    }
}
