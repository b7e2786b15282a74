//! `oncegate radius`: tools for administrators of RADIUS. They need no installation.

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};

mod decode;
mod test;

/// Ask a RADIUS server as a NAS does, or read what was captured
#[derive(Debug, Subcommand)]
pub(super) enum Radius {
    /// Ask a server as a NAS does, answer its challenges, and show what it answers
    #[command(after_help = "Examples:\n  \
        oncegate radius test 192.0.2.1 --secret-stdin --status\n  \
        oncegate radius test 192.0.2.1 alice --secret-stdin --method pap\n\
        From stdin: the shared secret, then what alice would type, then the answer to each Access-Challenge, \
        each a line; at a terminal they are asked for.\n\
        Not spoken are the tunnels, EAP-TTLS and PEAP: `eapol_test` of wpa_supplicant asks by them.\n\
        Exit code 0: Access-Accept, or an answer to --status or --accounting; 1: another answer; 3: none that \
        the secret proves.")]
    Test(test::Test),
    /// Read the RADIUS packets of a capture (pcap): what they say, and what is wrong with them
    #[command(after_help = "Example:\n  \
    oncegate radius decode vpn.pcap --secret-stdin\n\
    With the secret it is said whether packets are authentic and whether passwords can be read; \
    passwords are never shown. Exit code 1: a packet is malformed or not authentic.")]
    Decode(decode::Decode),
}

impl Radius {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::Test(test) => test.run(context).await,
            Self::Decode(decode) => decode.run(context),
        }
    }
}
