//! What the RADIUS packets of a capture say, without a server.
//!
//! Threat: a capture is shown to others. Credentials are never shown, whatever secret is given.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::input;
use crate::cli::input::Ask;
use crate::cli::output::printable;
use crate::daemon;
use crate::radius::attribute::Type;
use crate::radius::authenticator::{RequestAuthenticator, SecretKeys, Signature};
use crate::radius::capture::{Datagram, datagrams};
use crate::radius::dictionary::Dictionary;
use crate::radius::packet::{Code, Packet};
use crate::radius::verify::Rule;
use crate::radius::{Discard, password, verify};
use crate::secret::{SecretBytes, SharedSecret};

#[derive(Debug, Args)]
pub(in crate::cli) struct Decode {
    /// The capture: a pcap file, as `tcpdump -w FILE port 1812` writes it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Read the shared secret from stdin, to check what it proves
    #[arg(long)]
    secret_stdin: bool,
    /// Ports of RADIUS; repeat it for more [default: 1645, 1646, 1812, 1813, 3799]
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<u16>,
}

/// A packet of the capture.
#[derive(Debug, Serialize)]
struct Shown {
    time: String,
    from: String,
    to: String,
    code: String,
    identifier: Option<u8>,
    octets: usize,
    attributes: Vec<(String, String)>,
    /// What the secret says of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    proof: Vec<String>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Decoded {
    packets: Vec<Shown>,
}

/// Requests without an answer yet: by asker, server and identifier.
type Open = HashMap<(SocketAddr, SocketAddr, u8), RequestAuthenticator>;

impl Decode {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let file = self.file.display().to_string();
        let about = std::fs::metadata(&self.file);
        if about.is_ok_and(|about| about.len() > LARGEST) {
            return Err(CliError::usage(format!("{file} has more than 256 MiB"))
                .remedy("take a part of it: `editcap -c 100000 FILE PART`"));
        }
        let octets =
            std::fs::read(&self.file).map_err(|error| CliError::unreadable(&self.file, &error))?;
        let found = datagrams(&octets);
        let found = found.map_err(|error| {
            CliError::usage(format!("{file}: {error}"))
                .remedy("`tcpdump -w FILE port 1812` writes one")
        })?;
        let secret = self
            .secret_stdin
            .then(|| input::secret(Ask::once("shared secret")));
        let keys = match secret.transpose()? {
            None => None,
            Some(secret) => {
                let secret = SharedSecret::new(SecretBytes::from(secret.expose().as_bytes()));
                let wrong = || CliError::usage("a shared secret has 1 to 128 octets");
                Some(SecretKeys::new(secret.ok_or_else(wrong)?))
            }
        };
        let ports = if self.ports.is_empty() {
            PORTS.to_vec()
        } else {
            self.ports
        };
        let ours = |one: &&Datagram<'_>| {
            ports.contains(&one.from.port()) || ports.contains(&one.to.port())
        };
        let dictionary = daemon::dictionary(context.site().ok().as_ref())?;
        let mut open = Open::new();
        let shown = found.iter().filter(ours);
        let packets: Vec<Shown> = shown
            .map(|one| shown_of(one, &dictionary, keys.as_ref(), &mut open))
            .collect();
        let bad = packets.iter().any(|one| !one.faults.is_empty());
        context.out.show(&Decoded { packets }, describe)?;
        Ok(if bad { Exit::No } else { Exit::Done })
    }
}

fn shown_of(
    one: &Datagram<'_>,
    dictionary: &Dictionary,
    keys: Option<&SecretKeys>,
    open: &mut Open,
) -> Shown {
    let mut shown = Shown {
        time: one.at.rfc3339(),
        from: one.from.to_string(),
        to: one.to.to_string(),
        code: "no RADIUS packet".to_owned(),
        identifier: None,
        octets: one.octets.len(),
        attributes: Vec::new(),
        proof: Vec::new(),
        faults: Vec::new(),
    };
    if one.cut {
        let what = "its end was not captured: `tcpdump -s 0`";
        shown.faults.push(what.to_owned());
    }
    let packet = match Packet::parse(one.octets) {
        Ok(packet) => packet,
        Err(discard) => {
            shown.faults.push(discard.to_string());
            return shown;
        }
    };
    shown.code = packet.code.to_string();
    shown.identifier = Some(packet.identifier);
    attributes(&mut shown, &packet, dictionary);
    let request = is_request(packet.code);
    if request {
        let key = (one.from, one.to, packet.identifier);
        if open.insert(key, packet.request_authenticator()) == Some(packet.request_authenticator())
        {
            shown.proof.push("the same request again".to_owned());
        }
    }
    if packet.code == Code::AccessRequest && !packet.has(Type::MessageAuthenticator) {
        shown
            .proof
            .push("no Message-Authenticator (CVE-2024-3596)".to_owned());
    }
    let Some(keys) = keys else { return shown };
    let checked = if request {
        match packet.code {
            Code::AccessRequest | Code::StatusServer => {
                verify::request(&packet, keys, Rule::Optional)
            }
            Code::AccountingRequest => verify::accounting_request(&packet, keys),
            _ => crate::radius::authenticator::verify_request_authenticator(&packet, keys)
                .map(|()| Signature::Absent),
        }
    } else {
        let key = (one.to, one.from, packet.identifier);
        match open.get(&key) {
            Some(sent) => verify::response(&packet, packet.identifier, sent, keys),
            None => {
                shown
                    .proof
                    .push("its request is not in the capture".to_owned());
                return shown;
            }
        }
    };
    prove(&mut shown, &packet, checked, keys);
    shown
}

/// What the packet says; of credentials their length only.
fn attributes(shown: &mut Shown, packet: &Packet<'_>, dictionary: &Dictionary) {
    dictionary.describe(packet.attributes, |(name, text)| {
        let twice = shown
            .attributes
            .last()
            .is_some_and(|(other, _)| other == name);
        if !twice {
            shown.attributes.push((name.to_owned(), text.into_owned()));
        }
    });
    for attribute in &packet.attributes {
        if attribute.r#type.is_credential() {
            let length = attribute.value.len();
            let hidden = format!("({length} octets, not shown)");
            shown
                .attributes
                .push((attribute.r#type.to_string(), hidden));
        }
    }
}

/// Says what the secret proves of a packet.
fn prove(
    shown: &mut Shown,
    packet: &Packet<'_>,
    checked: Result<Signature, Discard>,
    keys: &SecretKeys,
) {
    let unsigned = packet.code == Code::AccessRequest;
    match checked {
        Ok(Signature::Valid) => shown.proof.push("authentic".to_owned()),
        Ok(Signature::Absent) if unsigned => {}
        Ok(Signature::Absent) => shown.proof.push("authentic, by MD5 alone".to_owned()),
        Err(discard) => shown.faults.push(discard.to_string()),
    }
    let Some(hidden) = packet.first(Type::UserPassword) else {
        return;
    };
    match password::reveal(hidden, &packet.request_authenticator(), keys) {
        Ok(typed) => {
            let text = std::str::from_utf8(typed.expose()).ok();
            let text = text.filter(|text| !text.chars().any(char::is_control));
            match text {
                Some(text) => {
                    let count = text.chars().count();
                    let what = format!("the password can be read: {count} characters, not shown");
                    shown.proof.push(what);
                }
                None => {
                    let what = "the password cannot be read: the NAS has another secret";
                    shown.faults.push(what.to_owned());
                }
            }
        }
        Err(discard) => shown.faults.push(discard.to_string()),
    }
}

fn is_request(code: Code) -> bool {
    [
        Code::AccessRequest,
        Code::AccountingRequest,
        Code::StatusServer,
        Code::DisconnectRequest,
        Code::CoaRequest,
    ]
    .contains(&code)
}

fn describe(decoded: &Decoded) -> String {
    let mut text = String::new();
    for one in &decoded.packets {
        let identifier = one
            .identifier
            .map(|id| format!(" id {id}"))
            .unwrap_or_default();
        push!(
            text,
            "{} {} -> {} {}{identifier}, {} octets\n",
            one.time,
            one.from,
            one.to,
            one.code,
            one.octets
        );
        for (name, value) in &one.attributes {
            push!(text, "    {name} = {}\n", printable(value));
        }
        for what in &one.proof {
            push!(text, "    ({what})\n");
        }
        for what in &one.faults {
            push!(text, "    ! {what}\n");
        }
    }
    if decoded.packets.is_empty() {
        text.push_str("No RADIUS packets on these ports; --port names others.\n");
    }
    text
}

/// Largest capture that is read into memory.
const LARGEST: u64 = 256 << 20;
const PORTS: [u16; 5] = [1645, 1646, 1812, 1813, 3799];
