//! The manual: pages for people, printed by `oncegate manual` and shown here as chapters.
//!
//! Each page is one Markdown file beside this one. What a page says of commands, configuration keys, metrics
//! and tests is checked against the program (`tests/it/house/manual.rs`), and code refers to pages: `contract s8.1`,
//! `threats T11`, `capabilities A13`.

/// A page of the manual.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Page {
    /// The word by which it is asked for.
    pub topic: &'static str,
    /// What it is about, in one line.
    pub title: &'static str,
    /// Its Markdown text.
    pub text: &'static str,
}

macro_rules! pages {
    ($($module:ident $topic:literal $title:literal;)*) => {
        $(
            #[allow(clippy::doc_markdown)] // prose
            #[doc = include_str!(concat!($topic, ".md"))]
            pub mod $module {}
        )*

        /// All pages, in reading order.
        pub const PAGES: &[Page] = &[$(Page {
            topic: $topic,
            title: $title,
            text: include_str!(concat!($topic, ".md")),
        }),*];
    };
}

pages! {
    start "start" "install, and the first five minutes";
    concepts "concepts" "the words used everywhere; the life of a token";
    policies "policies" "what users must present, and the limits";
    appliances "appliances" "what to enter on VPN gateways and other NASes";
    appliance_fortigate "appliances/fortigate" "FortiGate";
    appliance_asa "appliances/asa" "Cisco ASA, FTD, Secure Client";
    appliance_globalprotect "appliances/globalprotect" "Palo Alto GlobalProtect";
    appliance_netscaler "appliances/netscaler" "Citrix NetScaler";
    appliance_f5 "appliances/f5" "F5 BIG-IP APM";
    appliance_ivanti "appliances/ivanti" "Ivanti Connect Secure";
    appliance_sonicwall "appliances/sonicwall" "SonicWall";
    appliance_checkpoint "appliances/checkpoint" "Check Point";
    appliance_junos "appliances/junos" "Juniper Junos";
    appliance_pfsense "appliances/pfsense" "pfSense";
    appliance_opnsense "appliances/opnsense" "OPNsense";
    appliance_openvpn "appliances/openvpn" "OpenVPN with openvpn-auth-radius";
    appliance_ocserv "appliances/ocserv" "ocserv";
    appliance_strongswan "appliances/strongswan" "strongSwan";
    appliance_mikrotik "appliances/mikrotik" "MikroTik RouterOS";
    appliance_pam "appliances/pam" "Linux PAM with pam_radius";
    appliance_nps "appliances/nps" "Windows NPS as a proxy";
    console "console" "the administration in the browser: people, roles, sessions";
    operate "operate" "the daily work; metrics; what to do when something is wrong";
    sources "sources" "users who follow a directory, a database or a file";
    http_api "http-api" "verification, enrolment and administration over HTTP";
    authenticator "authenticator" "codes from the browser of a telephone, without a store";
    self_service "self-service" "what users see and change of their own";
    device_protocol "device-protocol" "for authors of apps: the requests of a device, byte for byte";
    contract "contract" "commands, configuration, defaults, and what always holds";
    storage "storage" "files, formats, checks, repair";
    threats "threats" "attacks, the defences, and the tests that prove them";
    changelog "changelog" "what changed, newest first";
    capabilities "capabilities" "what was asked for, and how far it is";
}

/// The page of a topic.
pub fn page(topic: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.topic == topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_found_by_their_topic_and_can_be_shown_on_any_terminal() {
        for listed in PAGES {
            assert_eq!(page(listed.topic), Some(listed));
            assert!(listed.text.starts_with("# "), "{}", listed.topic);
            assert!(listed.text.is_ascii(), "{}", listed.topic);
        }
        assert_eq!(page("nothing"), None);
    }
}
