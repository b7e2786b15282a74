//! `oncegate session`: what NASes report by accounting, and the end of sessions.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use indicatif::DecimalBytes;

use crate::api::{
    self, ChangeSessions, DisconnectSessions, ListSessions, ShowClient, ShowStatus, ShowUser,
};
use crate::cli::audit::note_unknown;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Table, local_time, or_dash};
use crate::cli::transport::Transport;
use crate::cli::words::Whose;
use crate::cli::{input, output, paging};

/// List sessions that VPN gateways and other NASes report, change them, and end them
#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// List sessions in order of client, NAS and session id: open ones, and ended ones for
    /// `radius.accounting_keep` (30d)
    #[command(after_help = "Examples:\n  \
    oncegate session list alice\n  \
    oncegate session list --nas vpn1 --open\n\
    A NAS must send its accounting here: to port 1813, with the secret of its client. A session that a \
    NAS never ends stays open until its last report is too old.")]
    List(List),
    /// Change open sessions: their NAS is asked to, by CoA-Request (RFC 5176)
    #[command(after_help = "Examples:\n  \
        oncegate session set --user alice\n  \
        oncegate session set 0C9187A2 --attribute Session-Timeout=600\n\
        Without --attribute a session is changed to what the policy of its client has in its [reply] for the user \
        now, for example to a new group's Filter-Id, without a new login. Exit code 0: every NAS has answered with an ACK; 1: at \
        least one has not.")]
    Set(Set),
    /// End open sessions: their NAS is asked to, by Disconnect-Request (RFC 5176)
    #[command(after_help = "Examples:\n  \
    oncegate session disconnect 0C9187A2\n  \
    oncegate session disconnect --user alice\n\
    The NAS must take such requests from this server, at the port of `oncegate client set NAME \
    --disconnect-port` (3799). Exit code 0: every NAS has answered with an ACK; 1: at least one has not.")]
    Disconnect(Disconnect),
}

#[derive(Debug, Args)]
pub(super) struct Disconnect {
    /// Acct-Session-Id, as `oncegate session list --json` shows it whole
    #[arg(value_name = "SESSION", required_unless_present = "user")]
    session: Option<String>,
    /// All open sessions of this user
    #[arg(long)]
    user: Option<String>,
    /// Only on this NAS: its NAS-Identifier or address
    #[arg(long)]
    nas: Option<String>,
    /// Only those that this client reports
    #[arg(long)]
    client: Option<String>,
    /// Do not ask for confirmation at a terminal
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// Acct-Session-Id, as `oncegate session list --json` shows it whole
    #[arg(value_name = "SESSION", required_unless_present = "user")]
    session: Option<String>,
    /// All open sessions of this user
    #[arg(long)]
    user: Option<String>,
    /// Only on this NAS: its NAS-Identifier or address
    #[arg(long)]
    nas: Option<String>,
    /// Only those that this client reports
    #[arg(long)]
    client: Option<String>,
    /// RADIUS attribute by dictionary name that the session is changed to; repeat it for more
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = pair)]
    attributes: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    whose: Whose,
    /// Only on this NAS: its NAS-Identifier or address
    #[arg(long)]
    nas: Option<String>,
    /// Only those that this client reports
    #[arg(long)]
    client: Option<String>,
    /// Only open ones
    #[arg(long, conflicts_with = "ended")]
    open: bool,
    /// Only ended ones
    #[arg(long)]
    ended: bool,
    /// At most this many [default: all]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

impl Session {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Set(set) => set.run(context).await,
            Self::Disconnect(end) => end.run(context).await,
        }
    }
}

impl List {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        let user = self.whose.user();
        let open = match (self.open, self.ended) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        let limit = self.limit.map(|limit| limit as usize);
        let query = api::SessionQuery {
            user: user.clone(),
            client: self.client.clone(),
            nas: self.nas,
            open,
            ..api::SessionQuery::default()
        };
        let all = paging::all::<ListSessions>(&api, query, limit).await?;
        if all.sessions.is_empty() {
            explain_none(&api, user.as_deref(), self.client.as_deref()).await;
        }
        context.out.show(&all, table)?;
        Ok(Exit::Done)
    }
}

impl Set {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let mut attributes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in self.attributes {
            attributes.entry(name).or_default().push(value);
        }
        let body = api::ChangeOfSessions {
            session: self.session,
            user: self.user,
            nas: self.nas,
            client: self.client,
            attributes,
        };
        let api = context.transport().await?;
        let done = api.send::<ChangeSessions>((), &body).await;
        let done = done.map_err(|error| hinted(error, "set", body.session.as_deref()))?;
        let all = done.sessions.iter().all(|one| one.result == "ack");
        context.out.show(&done, ended)?;
        Ok(if all { Exit::Done } else { Exit::No })
    }
}

impl Disconnect {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let what = match (&self.session, &self.user) {
            (Some(session), _) => format!("session {session}"),
            (None, user) => format!(
                "all open sessions of {}",
                user.as_deref().unwrap_or_default()
            ),
        };
        input::confirm(&format!("End {}?", output::printable(&what)), self.yes)?;
        let body = api::Disconnect {
            session: self.session,
            user: self.user,
            client: self.client,
            nas: self.nas,
        };
        let api = context.transport().await?;
        let done = api.send::<DisconnectSessions>((), &body).await;
        let done = done.map_err(|error| hinted(error, "disconnect", body.session.as_deref()))?;
        let all = done.sessions.iter().all(|one| one.result == "ack");
        context.out.show(&done, ended)?;
        Ok(if all { Exit::Done } else { Exit::No })
    }
}

/// Where no session has the id that was typed, it may be a user's name: other commands take one in that place. It is not
/// taken for one here, because all of the user's sessions would end.
fn hinted(error: CliError, verb: &str, session: Option<&str>) -> CliError {
    let Some(word) = session.filter(|_| error.exit == Exit::NotFound) else {
        return error;
    };
    let word = output::shell_word(word);
    error.remedy(format!(
        "look for its id: `oncegate session list --open`; all sessions of a user: oncegate session {verb} --user {word}"
    ))
}

fn ended(done: &api::Disconnected) -> String {
    let mut table = Table::new(&["user", "nas", "session", "sent to", "result"]);
    for one in &done.sessions {
        table.row([
            or_dash(Some(one.user.as_str()).filter(|user| !user.is_empty())),
            one.nas.clone(),
            short(&one.session),
            or_dash(one.to.as_deref()),
            one.detail.clone(),
        ]);
    }
    table.text()
}

fn table(all: &api::Sessions) -> String {
    let mut table = Table::new(&[
        "user", "nas", "address", "started", "reported", "state", "time", "in", "out", "session",
        "login",
    ]);
    for one in &all.sessions {
        let state = match (&one.ended, &one.cause) {
            (None, _) => "open".to_owned(),
            (Some(_), None) => "ended".to_owned(),
            (Some(_), Some(cause)) if cause.parse::<u32>().is_ok() => {
                format!("ended: cause {cause}")
            }
            (Some(_), Some(cause)) => format!("ended: {cause}"),
        };
        table.row([
            or_dash(Some(one.user.as_str()).filter(|user| !user.is_empty())),
            one.nas.clone(),
            or_dash(one.framed_ip.as_deref()),
            local_time(&one.started),
            local_time(&one.updated),
            state,
            length(one.seconds),
            DecimalBytes(one.octets_in).to_string(),
            DecimalBytes(one.octets_out).to_string(),
            short(&one.session),
            or_dash(one.request_id.as_deref()),
        ]);
    }
    let mut text = table.or("No sessions.");
    if all.next.is_some() && !all.sessions.is_empty() {
        text.push_str("There are more: raise --limit, or name --user, --client or --nas\n");
    }
    text
}

/// Why a list may be empty.
async fn explain_none(api: &Transport, user: Option<&str>, client: Option<&str>) {
    if let Some(user) = user {
        note_unknown(api.ask::<ShowUser>(user).await);
    }
    if let Some(client) = client {
        note_unknown(api.ask::<ShowClient>(client).await);
    }
    let Ok(status) = api.ask::<ShowStatus>(()).await else {
        return;
    };
    if !status.daemon {
        return;
    }
    output::warn(&if status.accounting.is_empty() {
        "note: accounting is not served: set radius.accounting_listen (`auto` serves it beside ports 1812 \
         and 1645 only) and restart the daemon"
            .to_owned()
    } else {
        let addresses = status.accounting.join(", ");
        format!("note: a NAS reports sessions by RADIUS accounting, here at {addresses}")
    });
}

/// So much of an id that lines stay readable; `--json` has all of it.
fn short(id: &str) -> String {
    if id.chars().count() <= SHOWN {
        return id.to_owned();
    }
    let mut shown: String = id.chars().take(SHOWN - 3).collect();
    shown.push_str("...");
    shown
}

/// Characters of an id in a table.
const SHOWN: usize = 34;

/// `1:05:09`, hours, minutes and seconds.
fn length(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    format!("{hours}:{minutes:02}:{:02}", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_hours_minutes_and_seconds() {
        assert_eq!(length(3_909), "1:05:09");
    }
}
