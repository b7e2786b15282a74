//! A client just made: its secret or key, and lines to try it with.

use std::net::SocketAddr;

use crate::api::{Client, ClientCreated, ShowStatus};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::{joined, local_time, printable, shell_word};
use crate::cli::transport::Transport;
use crate::daemon::{Site, load_policies};
use crate::model::profile;
use crate::model::profile::Profile;
use crate::net::{reachable, why_unreachable};
use crate::policy::Factor;

/// Where the daemon can be asked.
struct Places {
    /// `ADDR:PORT`.
    radius: Option<String>,
    /// `http://ADDR:PORT`.
    http: Option<String>,
    /// All addresses of RADIUS.
    listeners: Vec<SocketAddr>,
}

impl Places {
    /// What the running daemon listens on, else what is configured.
    async fn find(context: &Context, api: &Transport) -> Result<Self, CliError> {
        let status = api.ask::<ShowStatus>(()).await?;
        let listeners = status.radius.iter().filter_map(|at| at.parse().ok());
        let mut listeners: Vec<SocketAddr> = listeners.collect();
        if let Some(server) = &context.server {
            let host = server.parse::<hyper::Uri>().ok();
            let host = host.as_ref().and_then(hyper::Uri::host).unwrap_or("SERVER");
            let port = |address: SocketAddr| format!("{host}:{}", address.port());
            return Ok(Self {
                radius: first(&status.radius).map(port),
                http: Some(server.trim_end_matches('/').to_owned()),
                listeners,
            });
        }
        let (mut radius, mut http) = (first(&status.radius), first(&status.http));
        let mut tls = status.certificate_not_after.is_some();
        if !status.daemon {
            let site = context.site()?;
            listeners = site.config.radius.listen;
            radius = listeners.first().copied();
            http = site.config.http.listen.first().copied();
            tls = site.config.http.tls.is_some();
        }
        let scheme = if tls { "https" } else { "http" };
        Ok(Self {
            radius: radius.map(|at| reachable(at).to_string()),
            http: http.map(|at| format!("{scheme}://{}", reachable(at))),
            listeners,
        })
    }
}

fn first(listeners: &[String]) -> Option<SocketAddr> {
    listeners.first()?.parse().ok()
}

/// A new secret or key, and how to try it.
pub(super) async fn introduce(
    context: &Context,
    api: &Transport,
    created: &ClientCreated,
    done: &str,
) -> Result<(), CliError> {
    if context.out.json {
        return context.out.record(created);
    }
    // The secret is shown whatever becomes of the hints: it is shown only now.
    let places = Places::find(context, api).await.unwrap_or(Places {
        radius: None,
        http: None,
        listeners: Vec::new(),
    });
    let factors = required_factors(context, created.client.policy.as_deref());
    context
        .out
        .say(&introduction(context, created, done, &places, &factors))
}

/// What a rule of the client's policy asks for, the one that asks for most; a code where that is not known.
pub(super) fn required_factors(context: &Context, policy: Option<&str>) -> Vec<Factor> {
    // Its warnings were said before.
    let here = || Site::load(&context.dir, context.config.as_deref()).ok();
    let here = context.server.is_none().then(here).flatten();
    let policies = here.and_then(|site| load_policies(&site).ok());
    let policy = policies
        .as_ref()
        .and_then(|policies| policies.resolve(policy));
    let rules = policy.iter().flat_map(|policy| &policy.rules);
    let most = rules.max_by_key(|rule| rule.require.len());
    most.map_or_else(|| vec![Factor::Otp], |rule| rule.require.clone())
}

/// The field of the API and the word for what is typed.
const fn field(factor: Factor) -> (&'static str, &'static str) {
    match factor {
        Factor::Password => ("password", "PASSWORD"),
        Factor::Pin => ("pin", "PIN"),
        _ => ("otp", "CODE"),
    }
}

fn introduction(
    context: &Context,
    created: &ClientCreated,
    done: &str,
    places: &Places,
    factors: &[Factor],
) -> String {
    let mut fields: Vec<_> = factors.iter().map(|factor| field(*factor)).collect();
    fields.dedup();
    let client = &created.client;
    let mut text = format!(
        "{done} {} client {}.\n",
        client.kind,
        printable(&client.name)
    );
    if let Some(until) = &client.previous_until {
        push!(text, "The old one works until {}.\n", local_time(until));
    }
    if let Some(name) = &client.certificate {
        push!(
            text,
            "\nIt comes over TLS with a certificate whose name is {}, from an authority in \
             radius.tls.client_ca.\nWhere it asks for a shared secret: radsec\n",
            printable(name)
        );
    }
    if let Some(secret) = &created.secret {
        push!(
            text,
            "\nShared secret, shown only now:\n  {}\n",
            printable(secret)
        );
        if let Some(server) = &places.radius {
            // A comma between the parts would end the attribute.
            let typed: String = fields.iter().map(|(_, word)| *word).collect();
            push!(
                text,
                "\nTry it from {} (with an address of the daemon that is reached from there):\n  {}\n",
                joined(client.addresses.as_deref().unwrap_or_default()),
                radclient(server, secret, "USER", &typed)
            );
            push!(text, "{}", kept_out(client, &places.listeners));
        }
    }
    if let Some(kind) = client.profile.as_deref().and_then(profile::profile) {
        appliance(&mut text, kind, client, context);
    }
    if let Some(key) = &created.key {
        push!(text, "\nKey, shown only now:\n  {}\n", printable(key));
        let verifies = client
            .scopes
            .as_ref()
            .is_none_or(|scopes| scopes.iter().any(|scope| scope == "verify"));
        if let Some(server) = places.http.as_ref().filter(|_| verifies) {
            push!(
                text,
                "\nTry it:\n  {}\n",
                curl(server, key, "USER", &fields)
            );
        }
    }
    text
}

/// Says so where no listener can be reached from the client's addresses.
pub(super) fn kept_out(client: &Client, listeners: &[SocketAddr]) -> String {
    let addresses = client.addresses.as_deref().unwrap_or_default();
    let why = |address: &String| why_unreachable(address.parse().ok()?, listeners);
    let all: Option<Vec<String>> = addresses.iter().map(why).collect();
    let port = listeners.first().map_or(1812, SocketAddr::port);
    match all.as_deref() {
        Some([why, ..]) => format!(
            "\nRADIUS cannot be reached from {} yet: {why}. In oncegate.toml: [radius] listen = \
             [\"0.0.0.0:{port}\"], or one address of this machine; then restart the daemon.\n",
            addresses.join(", ")
        ),
        _ => String::new(),
    }
}

/// What to enter on an appliance, and what is known of it.
fn appliance(text: &mut String, kind: &Profile, client: &Client, context: &Context) {
    if kind.name == "generic" {
        return;
    }
    push!(text, "\nEnter on the {}:\n", kind.appliance);
    for fact in kind.enter {
        push!(
            text,
            "  {}: {} ({})\n",
            fact.about,
            fact.says,
            fact.source.as_str()
        );
    }
    if let Some((name, value)) = kind.groups {
        push!(
            text,
            "Groups leave by the policy's [reply]:\n  \"{name}\" = \"{value}\"\n"
        );
    }
    if let Some(until) = &client.unsigned_replies_until {
        push!(
            text,
            "Replies leave without Message-Authenticator until {}, since it drops those with one: an attacker \
             on the path can forge them (CVE-2024-3596).\n  When it is mended: {}\n",
            local_time(until),
            context.command(&format!(
                "client set {} --unsigned-replies 0s",
                shell_word(&printable(&client.name))
            ))
        );
    }
    push!(text, "More: oncegate manual appliances/{}\n", kind.name);
}

/// A `radclient` line. `code` goes into double quotes, so that it may be a command substitution.
pub(super) fn radclient(server: &str, secret: &str, user: &str, code: &str) -> String {
    format!(
        "echo \"User-Name={user},User-Password={code},Message-Authenticator=0x00\" | \
         radclient -x {server} auth {}",
        shell_word(&printable(secret))
    )
}

/// A `curl` line, as above.
pub(super) fn curl(server: &str, key: &str, user: &str, fields: &[(&str, &str)]) -> String {
    let mut body = format!("{{\\\"user\\\":\\\"{user}\\\"");
    for (name, value) in fields {
        push!(body, ",\\\"{name}\\\":\\\"{value}\\\"");
    }
    format!(
        "curl -s {server}/v1/verify -H {} -H 'Content-Type: application/json' -d \"{body}}}\"",
        shell_word(&format!("Authorization: Bearer {}", printable(key)))
    )
}

/// What comes after a demonstration.
pub(super) fn after_demonstration(dir: &str) -> String {
    let real = if dir == "oncegate" {
        "./oncegate-data"
    } else {
        "./oncegate"
    };
    format!("oncegate init --dir {real}, an installation of your own; this one is for looking only")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_can_be_pasted() {
        assert_eq!(
            radclient("127.0.0.1:1812", "a b", "demo", "$(oncegate code demo)"),
            "echo \"User-Name=demo,User-Password=$(oncegate code demo),Message-Authenticator=0x00\" \
             | radclient -x 127.0.0.1:1812 auth 'a b'"
        );
        assert!(
            curl("http://h", "k", "u", &[("otp", "1")])
                .ends_with(r#"-d "{\"user\":\"u\",\"otp\":\"1\"}""#)
        );
    }
}
