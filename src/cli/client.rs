//! `oncegate client`: the systems that ask for decisions.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::api::{
    self, AddClient, Client as Record, ClientChange, ClientCreate, ClientCreated, Clients,
    ListClients, RemoveClient, RotateClient, SetClient, ShowClient,
};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::input::Ask;
use crate::cli::output::{Table, joined, local_time, or_dash, printable};
use crate::cli::transport::Transport;
use crate::cli::{hints, input, output, paging};
use crate::diagnostic::units;
use crate::model::method::radius_methods;
use crate::model::profile;
use crate::secret::SecretString;

/// Manage clients: VPN gateways over RADIUS, applications over HTTP
#[derive(Debug, Subcommand)]
pub(super) enum Client {
    /// Add a client and show its secret or key once
    #[command(subcommand)]
    Add(Add),
    /// Show a client
    Show(Name),
    /// List clients
    List(Listing),
    /// Change a client; options left out stay unchanged, "" clears a value
    #[command(after_help = "Examples:\n  \
        oncegate client set vpn1 --policy otp\n  \
        oncegate client set vpn1 --require-message-authenticator auto")]
    Set(Set),
    /// Give a client a new secret or key; the old one stays valid for a while
    #[command(after_help = "Example:\n  oncegate client rotate vpn1 --grace 7d")]
    Rotate(Rotate),
    /// Remove a client: its requests are no longer answered
    Remove(Remove),
}

/// Kinds of clients.
#[derive(Debug, Subcommand)]
pub(super) enum Add {
    /// A gateway, NAS or proxy that speaks RADIUS
    #[command(after_help = "Example:\n  \
        oncegate client add radius vpn1 --address 192.0.2.10 --policy otp")]
    Radius(AddRadius),
    /// An application that speaks HTTP
    #[command(after_help = "Examples:\n  \
        oncegate client add api payroll --realm staff\n  \
        oncegate client add api kim --scope approver\n\
        Scopes: verify asks for decisions; operator manages users and tokens; approver approves token \
        requests; auditor reads; scim pushes the users of a source; admin does everything.")]
    Api(AddApi),
}

#[derive(Debug, Args)]
pub(super) struct AddRadius {
    /// Name of the client
    name: String,
    /// Address or network its packets come from; repeat it for more
    #[arg(long = "address", value_name = "CIDR", required_unless_present = "certificate", value_parser = network)]
    addresses: Vec<String>,
    /// It comes over TLS with a certificate of this name, and not over UDP; then `--address` says
    /// from where only
    #[arg(long, value_name = "NAME", conflicts_with_all = ["secret", "secret_stdin"])]
    certificate: Option<String>,
    /// Send replies without Message-Authenticator for so long, to a NAS that drops those with one: open to
    /// forged replies (CVE-2024-3596)
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    unsigned_replies: Option<Duration>,
    /// Whether an unsigned request with a Proxy-State is dropped where no signature is required [default: true]
    #[arg(long, value_name = "BOOL")]
    limit_proxy_state: Option<bool>,
    /// What is done with user names before they are read: strip-domain, strip-realm, strip-host, or
    /// FROM=REALM for a domain or realm; repeat it for more, in this order
    #[arg(long = "name-rule", value_name = "RULE")]
    name_rules: Vec<String>,
    /// Read its shared secret from stdin [default: a new one]
    #[arg(long)]
    secret_stdin: bool,
    /// Its shared secret; every user of this machine can read it here: for tests
    #[arg(long, hide = true, conflicts_with = "secret_stdin")]
    secret: Option<String>,
    /// Policy of its users [default: default]
    #[arg(long)]
    policy: Option<String>,
    /// Realm of names without one; users of other realms are refused
    #[arg(long)]
    realm: Option<String>,
    /// Kind of appliance: what else is left out is as that needs it [default: generic]
    #[arg(long, value_parser = PossibleValuesParser::new(profile::names()))]
    profile: Option<String>,
    /// Drop requests without Message-Authenticator [default: by profile, else true]
    #[arg(long, value_parser = ["true", "false", "auto"])]
    require_message_authenticator: Option<String>,
    /// Whether it can ask the user again (Access-Challenge) [default: by profile, else true]
    #[arg(long, value_name = "BOOL")]
    challenge: Option<bool>,
    /// Method by which its users' credentials may come, e.g. pap or eap-ttls; repeat it for more
    /// [default: every method]
    #[arg(long = "method", value_name = "METHOD", value_parser = radius_methods())]
    methods: Vec<String>,
    /// UDP port at which it takes Disconnect-Requests; 0: send none [default: 3799]
    #[arg(long, value_name = "PORT")]
    disconnect_port: Option<u16>,
    /// Give the answer to one human attempt again to its other packets within this time: `10s`, at most 30s, or
    /// `off` [default: by profile]
    #[arg(long, value_name = "DURATION", value_parser = window)]
    retry_window: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct AddApi {
    /// Name of the client
    name: String,
    /// Policy of its users [default: default]
    #[arg(long)]
    policy: Option<String>,
    /// What its key may do; repeat it for more [default: verify]
    #[arg(long = "scope", value_name = "SCOPE", 
          value_parser = ["verify", "admin", "operator", "approver", "auditor", "scim"])]
    scopes: Vec<String>,
    /// Realm of names without one; users of other realms are refused
    #[arg(long)]
    realm: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Name {
    /// Name of the client
    name: String,
}

#[derive(Debug, Default, Args)]
pub(super) struct Listing {
    /// At most this many [default: all]
    #[arg(long, value_name = "N", value_parser = paging::most)]
    limit: Option<usize>,
    /// Only clients after this one (`next` of the previous page)
    #[arg(long, value_name = "NAME")]
    after: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// Name of the client
    name: String,
    /// Addresses or networks its packets come from, all of them (RADIUS)
    #[arg(long = "address", value_name = "CIDR", value_parser = network)]
    addresses: Vec<String>,
    /// Policy of its users; empty: default
    #[arg(long)]
    policy: Option<String>,
    /// Realm of names without one; users of other realms are refused; empty: any
    #[arg(long)]
    realm: Option<String>,
    /// Drop requests without Message-Authenticator; `auto` learns who sends it (RADIUS)
    #[arg(long, value_parser = ["true", "false", "auto"])]
    require_message_authenticator: Option<String>,
    /// Whether it can ask the user again, by Access-Challenge (RADIUS)
    #[arg(long, value_name = "BOOL")]
    challenge: Option<bool>,
    /// Methods by which its users' credentials may come, all of them; `all`: every method (RADIUS)
    #[arg(long = "method", value_name = "METHOD", value_parser = or_all(radius_methods()))]
    methods: Vec<String>,
    /// UDP port at which it takes Disconnect-Requests; 0: send none (RADIUS)
    #[arg(long, value_name = "PORT")]
    disconnect_port: Option<u16>,
    /// Name in the certificate with which it comes over TLS, and then no longer over UDP (RADIUS)
    #[arg(long, value_name = "NAME")]
    certificate: Option<String>,
    /// Send replies without Message-Authenticator for so long, to a NAS that drops those with one: open to
    /// forged replies (CVE-2024-3596); 0s ends it (RADIUS)
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    unsigned_replies: Option<Duration>,
    /// Whether an unsigned request with a Proxy-State is dropped where no signature is required (RADIUS)
    #[arg(long, value_name = "BOOL")]
    limit_proxy_state: Option<bool>,
    /// What is done with user names before they are read: strip-domain, strip-realm, strip-host, or
    /// FROM=REALM for a domain or realm; repeat it for more, in this order; "" for none (RADIUS)
    #[arg(long = "name-rule", value_name = "RULE")]
    name_rules: Vec<String>,
    /// Give the answer to one human attempt again to its other packets within this time: `10s`, at most 30s, or
    /// `off` (RADIUS)
    #[arg(long, value_name = "DURATION", value_parser = window)]
    retry_window: Option<Duration>,
    /// What its key may do, all of it (API)
    #[arg(long = "scope", value_name = "SCOPE", 
          value_parser = ["verify", "admin", "operator", "approver", "auditor", "scim"])]
    scopes: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// Name of the client
    name: String,
    /// Read the new shared secret from stdin (RADIUS) [default: a new one]
    #[arg(long)]
    secret_stdin: bool,
    /// How long the old one stays valid [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    grace: Option<Duration>,
    /// Rotate although the one before the last rotation is still valid, and end that one now
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Name of the client
    name: String,
    /// Do not ask for confirmation at a terminal
    #[arg(long, short)]
    yes: bool,
}

impl Client {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let out = context.out;
        match self {
            Self::Add(Add::Radius(add)) => add.run(context).await?,
            Self::Add(Add::Api(add)) => {
                let api = context.transport().await?;
                let created = api.send::<AddClient>((), &add.body()).await?;
                hints::introduce(context, &api, &created, "Added").await?;
            }
            Self::Show(Name { name }) => {
                let api = context.transport().await?;
                let client = api.ask::<ShowClient>(&name).await?;
                out.show(&client, describe)?;
            }
            Self::List(listing) => {
                let clients = listing.fetch(&context.transport().await?).await?;
                out.show(&clients, table)?;
            }
            Self::Set(set) => {
                let change = set.change();
                if serde_json::to_value(&change).is_ok_and(|change| change == json!({})) {
                    return Err(CliError::usage("nothing to change").remedy(
                        "name at least one of --address, --certificate, --policy, --realm, --scope, \
                         --require-message-authenticator, --challenge, --method, --name-rule, --retry-window, \
                         --disconnect-port, --unsigned-replies, --limit-proxy-state",
                    ));
                }
                let api = context.transport().await?;
                let client = api.send::<SetClient>(&set.name, &change).await?;
                out.show(&client, describe)?;
            }
            Self::Rotate(rotate) => rotate.run(context).await?,
            Self::Remove(Remove { name, yes }) => {
                input::confirm(
                    &format!("Remove client {name}? Its requests go unanswered."),
                    yes,
                )?;
                let api = context.transport().await?;
                api.ask::<RemoveClient>(&name).await?;
                out.show(&json!({ "removed": name }), |_| {
                    format!("Removed client {}.\n", printable(&name))
                })?;
            }
        }
        Ok(Exit::Done)
    }
}

impl Listing {
    /// All pages up to the limit, as one.
    pub(super) async fn fetch(self, api: &Transport) -> Result<Clients, CliError> {
        let query = api::Page {
            after: self.after,
            limit: None,
        };
        paging::all::<ListClients>(api, query, self.limit).await
    }
}

impl Rotate {
    async fn run(self, context: &Context) -> Result<(), CliError> {
        let secret = self
            .secret_stdin
            .then(|| input::secret(Ask::twice("shared secret")))
            .transpose()?;
        let body = api::Rotate {
            secret,
            grace_secs: self.grace.map(|grace| grace.as_secs()),
            force: self.force,
        };
        let api = context.transport().await?;
        let created = api.send::<RotateClient>(&self.name, &body).await?;
        warn_of_weakness(&created);
        hints::introduce(context, &api, &created, "Rotated").await
    }
}

impl AddRadius {
    async fn run(self, context: &Context) -> Result<(), CliError> {
        let secret = input::given_secret(
            self.secret.as_deref(),
            self.secret_stdin,
            Ask::twice("shared secret"),
        )?;
        let body = self.body(secret);
        let api = context.transport().await?;
        let created = api.send::<AddClient>((), &body).await?;
        warn_of_weakness(&created);
        hints::introduce(context, &api, &created, "Added").await
    }

    fn body(self, secret: Option<SecretString>) -> ClientCreate {
        ClientCreate::Radius {
            name: self.name,
            addresses: self.addresses,
            secret,
            policy: self.policy,
            realm: self.realm,
            profile: self.profile,
            require_message_authenticator: self.require_message_authenticator,
            challenge: self.challenge,
            methods: self.methods,
            disconnect_port: self.disconnect_port,
            certificate: self.certificate,
            unsigned_replies_secs: self.unsigned_replies.map(|time| time.as_secs()),
            limit_proxy_state: self.limit_proxy_state,
            name_rules: self.name_rules,
            retry_window_secs: self.retry_window.map(|time| time.as_secs()),
        }
    }
}

impl AddApi {
    fn body(self) -> ClientCreate {
        ClientCreate::Api {
            name: self.name,
            scopes: self.scopes,
            policy: self.policy,
            realm: self.realm,
        }
    }
}

impl Set {
    fn change(&self) -> ClientChange {
        let cleared = |value: &Option<String>| {
            value
                .as_ref()
                .map(|value| Some(value.clone()).filter(|value| !value.is_empty()))
        };
        let some = |values: &[String]| (!values.is_empty()).then(|| values.to_vec());
        ClientChange {
            addresses: some(&self.addresses),
            policy: cleared(&self.policy),
            realm: cleared(&self.realm),
            require_message_authenticator: self.require_message_authenticator.clone(),
            challenge: self.challenge,
            methods: some(&self.methods).map(|words| {
                let all = words.iter().any(|word| word == ALL);
                if all { Vec::new() } else { words }
            }),
            disconnect_port: self.disconnect_port,
            certificate: self.certificate.clone(),
            unsigned_replies_secs: self.unsigned_replies.map(|time| time.as_secs()),
            limit_proxy_state: self.limit_proxy_state,
            name_rules: some(&self.name_rules)
                .map(|rules| rules.into_iter().filter(|rule| !rule.is_empty()).collect()),
            retry_window_secs: self.retry_window.map(|time| time.as_secs()),
            scopes: some(&self.scopes),
        }
    }
}

fn or_all(mut words: Vec<&'static str>) -> Vec<&'static str> {
    words.push(ALL);
    words
}

/// Stands for every method.
const ALL: &str = "all";

/// A retry window; `off` for none.
fn window(text: &str) -> Result<Duration, String> {
    if text == "off" {
        return Ok(Duration::ZERO);
    }
    units::duration(text).map_err(|why| format!("{why}; or `off`"))
}

/// An address or a network, as the server wants it.
pub(super) fn network(text: &str) -> Result<String, String> {
    units::network(text).map(|network| network.to_string())
}

fn warn_of_weakness(created: &ClientCreated) {
    if let Some(weakness) = &created.client.weak_secret {
        output::warn(&format!(
            "warning: the shared secret is weak ({}); without --secret-stdin a good one is made",
            printable(weakness)
        ));
    }
}

fn table(clients: &Clients) -> String {
    let mut table = Table::new(&["name", "kind", "from", "policy", "realm", "may / requires"]);
    for client in &clients.clients {
        let scopes = client.scopes.as_deref().map(joined);
        let require = client.require_message_authenticator.as_deref();
        let require = require.map(|word| format!("Message-Authenticator: {word}"));
        table.row([
            client.name.clone(),
            client.kind.clone(),
            client
                .addresses
                .as_deref()
                .map_or_else(|| "-".to_owned(), joined),
            client
                .policy
                .clone()
                .unwrap_or_else(|| "default".to_owned()),
            or_dash(client.realm.as_deref()),
            scopes.or(require).unwrap_or_default(),
        ]);
    }
    let text =
        table.or("No clients. Add one with `oncegate client add radius NAME --address CIDR`.");
    paging::with_rest(text, clients.next.as_ref())
}

/// Which secret each address used last, a line each.
fn secrets(client: &Record) -> String {
    let uses = client.secrets_used.iter().map(|one| {
        format!(
            "{} used the {} one, {}",
            one.address,
            one.secret,
            local_time(&one.at)
        )
    });
    let uses: Vec<String> = uses.collect();
    uses.join("\n")
}

/// What was counted since the daemon started, an object of the MIBs a line; those of which there is none are left
/// out.
fn packets(client: &Record) -> String {
    let counted = client.counters.iter().filter(|(_, count)| **count > 0);
    let lines: Vec<String> = counted
        .map(|(object, count)| format!("{object} {count}"))
        .collect();
    lines.join("\n")
}

fn describe(client: &Record) -> String {
    let mut table = Table::pairs();
    table.pair("client", client.name.clone());
    table.pair("kind", client.kind.clone());
    table.pair("from", client.addresses.as_deref().map(joined));
    table.pair(
        "policy",
        client
            .policy
            .clone()
            .unwrap_or_else(|| "default".to_owned()),
    );
    table.pair(
        "realm",
        client.realm.clone().unwrap_or_else(|| "any".to_owned()),
    );
    table.pair("certificate", client.certificate.clone());
    table.pair("profile", client.profile.clone());
    table.pair(
        "requires Message-Authenticator",
        client.require_message_authenticator.clone(),
    );
    let challenge = client.challenge.map(|able| {
        if able {
            "yes"
        } else {
            "no: users type everything at once"
        }
    });
    let unsigned = client.unsigned_replies_until.as_deref();
    let unsigned = unsigned.map(|until| format!("until {}: they can be forged", local_time(until)));
    table.pair("replies not signed", unsigned);
    let open = client.limit_proxy_state == Some(false);
    let open = open.then(|| "taken without a signature (CVE-2024-3596)".to_owned());
    table.pair("Proxy-State", open);
    let rules = client
        .name_rules
        .as_deref()
        .filter(|rules| !rules.is_empty());
    table.pair("user names", rules.map(joined));
    let window = client.retry_window_secs.filter(|secs| *secs > 0);
    let window = window.map(|secs| format!("{secs} s: the answer to one attempt is given again"));
    table.pair("retry window", window);
    table.pair("can ask again", challenge.map(str::to_owned));
    let methods = client.methods.as_deref().map(|words| {
        if words.is_empty() {
            "every method".to_owned()
        } else {
            joined(words)
        }
    });
    table.pair("methods", methods);
    let port = client.disconnect_port.map(|port| match port {
        0 => "no".to_owned(),
        port => format!("by Disconnect-Request to port {port}"),
    });
    table.pair("sessions can be ended", port);
    table.pair("scopes", client.scopes.as_deref().map(joined));
    table.pair(
        "old secret until",
        client.previous_until.as_deref().map(local_time),
    );
    table.lines("secrets", &secrets(client));
    table.lines("packets", &packets(client));
    table.pair("created", local_time(&client.created));
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_what_the_api_reads() {
        let secret = SecretString::from("xyzzy5461");
        let add = AddRadius {
            name: "vpn".to_owned(),
            addresses: vec!["192.0.2.10/32".to_owned()],
            secret_stdin: true,
            secret: None,
            policy: None,
            realm: None,
            profile: Some("generic".to_owned()),
            require_message_authenticator: Some("auto".to_owned()),
            challenge: None,
            methods: Vec::new(),
            disconnect_port: None,
            certificate: None,
            unsigned_replies: None,
            limit_proxy_state: None,
            name_rules: Vec::new(),
            retry_window: None,
        };
        let text = serde_json::to_string(&add.body(Some(secret))).unwrap();
        let ClientCreate::Radius { name, secret, .. } = serde_json::from_str(&text).unwrap() else {
            panic!("{text}");
        };
        assert_eq!(
            (name.as_str(), secret.unwrap().expose()),
            ("vpn", "xyzzy5461")
        );

        let add = AddApi {
            name: "app".to_owned(),
            policy: None,
            scopes: Vec::new(),
            realm: None,
        };
        let text = serde_json::to_string(&add.body()).unwrap();
        let read = serde_json::from_str(&text).unwrap();
        assert!(matches!(read, ClientCreate::Api { scopes, .. } if scopes.is_empty()));
    }

    #[test]
    fn addresses_become_networks() {
        assert_eq!(network("192.0.2.10").unwrap(), "192.0.2.10/32");
        assert_eq!(network("2001:db8::/32").unwrap(), "2001:db8::/32");
        let why = network("10.0.0.5/24").unwrap_err();
        assert!(
            why.contains("10.0.0.0/24") && why.contains("10.0.0.5/32"),
            "{why}"
        );
        assert!(network("10.0.0.0/99").is_err() && network("vpn.example").is_err());
    }
}
