//! The last screen of `setup`: what was made, how the test logins went, and what is still to be done.

use std::net::SocketAddr;

use crate::api::{ClientCreated, TokenCreated};
use crate::cli::context::Context;
use crate::cli::hints;
use crate::cli::output::{printable, shell_word};
use crate::cli::setup::{Made, Setup, given};
use crate::policy::Factor;
use crate::qr;

impl Setup {
    /// What the answers do not do by themselves.
    pub(super) fn notes(
        &self,
        context: &Context,
        (client, token): (Option<&ClientCreated>, Option<&TokenCreated>),
        https: bool,
    ) -> Vec<String> {
        let mut notes = Vec::new();
        if let (Some(client), Some(radius)) = (client, given(self.radius.as_deref())) {
            let listeners: Vec<SocketAddr> = radius.parse::<SocketAddr>().into_iter().collect();
            let kept_out = hints::kept_out(&client.client, &listeners);
            notes.extend(Some(kept_out.trim().to_owned()).filter(|text| !text.is_empty()));
        }
        let policy = client.map(|client| client.client.policy.as_deref());
        let factors = policy.map(|policy| hints::required_factors(context, policy));
        let user = token.and(self.user.as_deref());
        notes.extend(known(context, &factors.unwrap_or_default(), user));
        if https {
            notes.push(
                "No login over HTTPS was tried: its certificate is not for loopback. RADIUS was."
                    .to_owned(),
            );
        }
        if let Some(host) = given(self.mail_host.as_deref()) {
            let test = context.command("delivery test mail --to ADDRESS");
            if self.mail_is_private {
                notes.push(format!(
                    "The mail server {host} is on this machine or in a private network: [delivery.mail] in \
                     oncegate.toml has `allow_private = true`, without which it is not asked."
                ));
            }
            notes.push(format!("Once it is served, try the mail server: {test}"));
        }
        notes
    }
}

/// How a user gets the PIN and the password that a policy asks for: no one has one yet.
fn known(context: &Context, factors: &[Factor], user: Option<&str>) -> Option<String> {
    let asked = |factor| factors.contains(&factor);
    let (words, options) = match (asked(Factor::Password), asked(Factor::Pin)) {
        (false, false) => return None,
        (true, false) => ("a password", "--password-stdin"),
        (false, true) => ("a PIN", "--pin-stdin"),
        (true, true) => ("a password and a PIN", "--password-stdin --pin-stdin"),
    };
    let name = user.map_or_else(|| "NAME".to_owned(), |user| shell_word(user).into_owned());
    let set = context.command(&format!("user set {name} {options}"));
    let whom = user.map_or_else(|| "its users have".to_owned(), |user| format!("{user} has"));
    Some(format!(
        "The policy asks for {words}, and {whom} none yet: every login is refused until then. Set it: {set}"
    ))
}

pub(super) fn text(context: &Context, made: &Made) -> String {
    let mut text = format!(
        "The installation is in {}. RADIUS {}, {} {}.\n",
        made.dir.display(),
        made.radius,
        if made.is_https { "HTTPS" } else { "HTTP" },
        made.http
    );
    if let Some(client) = &made.client {
        let secret = client.secret.as_deref().unwrap_or_default();
        push!(
            text,
            "\nEnter on the gateway {}: this server, its port, PAP, and the secret (shown only now)\n  {secret}\n",
            printable(&client.client.name)
        );
    }
    if let Some(token) = &made.token {
        let uri = token.otpauth_uri.as_deref().unwrap_or_default();
        push!(
            text,
            "\nToken {} of {}, for any authenticator app:\n",
            token.token.serial,
            printable(token.token.owner())
        );
        text.push_str(&qr::render(uri, context.out.qr_style()).unwrap_or_default());
    }
    if let Some(file) = &made.certificate {
        push!(
            text,
            "\nCertificate {}, of no authority: those who connect must be given it (curl --cacert, oncegate --ca-file).\n",
            file.display()
        );
    }
    text.push_str("\nTest logins:\n");
    for step in &made.checks {
        let word = if step.ok { "ok    " } else { "FAILED" };
        push!(
            text,
            "{word}  {:<6}  {:<20}  {}\n",
            step.over,
            step.sent,
            printable(&step.answer)
        );
    }
    if !made.notes.is_empty() {
        text.push_str("\nStill to do, or to know:\n");
        for note in &made.notes {
            push!(text, "- {}\n", printable(note));
        }
    }
    text.push_str(&next(context, made));
    text
}

/// What to do now.
fn next(context: &Context, made: &Made) -> String {
    if !made.ok {
        let audit = context.command("audit list");
        return format!("\nNot as expected. Why: {audit}\n");
    }
    let key = made.dir.join("master.key");
    let mut text = format!(
        "\nKeep a copy of {} in a safe, apart from backups.\nNext: {}, and: {}\n",
        key.display(),
        context.command("serve"),
        context.command("doctor")
    );
    if made.client.is_none() {
        let add = context.command("client add radius NAME --address ADDRESS");
        push!(text, "No gateway yet: {add}\n");
    }
    if made.token.is_none() {
        let (user, token) = (
            context.command("user add NAME"),
            context.command("token add NAME"),
        );
        push!(text, "No user yet: {user}, then {token}\n");
    }
    text
}
