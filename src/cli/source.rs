//! `oncegate source`: what users follow: directories, databases, files.

use clap::{Args, Subcommand};

use crate::api::{
    ListSources, ShowSource, Source as Record, Sources, SyncSource, SyncWish, Synced,
};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Table, joined, local_time, or_dash, printable};

/// Have users follow a directory (LDAP, Active Directory), a database, a file
#[derive(Debug, Subcommand)]
pub(super) enum Source {
    /// Make the users of a source as the source says
    #[command(
        after_help = "All people are read before anything is changed; an error changes nothing. Users are disabled when \
    the source does not have them any more, never removed.\nExamples:\n  \
    oncegate source sync corp --dry-run\n  \
    oncegate source sync corp"
    )]
    Sync(Sync),
    /// Show the sources and how their last runs ended, or one of them
    #[command(
        after_help = "A source is a table [source.NAME] in oncegate.toml: oncegate manual sources"
    )]
    Show(Show),
}

#[derive(Debug, Args)]
pub(super) struct Sync {
    /// Name of the source
    #[arg(value_name = "NAME")]
    name: String,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Disable users who are gone even if they are more than a tenth
    #[arg(long)]
    force: bool,
    /// Take over users of the same name who follow no source
    #[arg(long)]
    adopt: bool,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Name of the source [default: all]
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl Source {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::Sync(sync) => sync.run(context).await,
            Self::Show(show) => show.run(context).await,
        }
    }
}

impl Sync {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        let wish = SyncWish {
            dry_run: self.dry_run,
            force: self.force,
            adopt: self.adopt,
        };
        let done = api.send::<SyncSource>(&self.name, &wish).await?;
        context.out.show(&done, told)?;
        Ok(Exit::Done)
    }
}

impl Show {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        if let Some(name) = &self.name {
            let source = api.ask::<ShowSource>(name).await?;
            context.out.show(&source, one)?;
        } else {
            let all = api.ask::<ListSources>(()).await?;
            context.out.show(&all, list)?;
        }
        Ok(Exit::Done)
    }
}

fn every(source: &Record) -> String {
    match source.every {
        None => "by command only".to_owned(),
        Some(seconds) if seconds % 3600 == 0 => format!("every {} h", seconds / 3600),
        Some(seconds) if seconds % 60 == 0 => format!("every {} min", seconds / 60),
        Some(seconds) => format!("every {seconds} s"),
    }
}

fn one(source: &Record) -> String {
    let mut table = Table::pairs();
    table.pair("source", source.name.clone());
    table.pair("kind", source.kind.clone());
    let place = match source.kind.as_str() {
        "file" => "file",
        "scim" => "pushed by",
        _ => "servers",
    };
    table.pair(place, joined(&source.servers));
    table.pair("realm", source.realm.clone());
    table.pair("users follow", every(source));
    let asked = source.password.as_deref().map(|state| match state {
        "closed" => "checked there by a bind".to_owned(),
        "open" => "checked there by a bind; not asked for a while, after failures".to_owned(),
        other => format!("checked there by a bind; {other} after failures"),
    });
    table.pair("passwords", asked);
    let users = format!("{}, {} disabled", source.users, source.disabled);
    table.pair("users", users);
    let last = source.last.as_deref().map(local_time);
    table.pair("last run", last.unwrap_or_else(|| NOT_YET.to_owned()));
    table.pair("result", source.result.clone());
    table.pair("failed", source.error.clone());
    table.text()
}

fn list(all: &Sources) -> String {
    let mut table = Table::new(&["source", "kind", "realm", "users", "last run", "result"]);
    for source in &all.sources {
        let last = source.last.as_deref().map(local_time);
        let result = source.error.as_ref().map(|why| format!("failed: {why}"));
        let result = result.or_else(|| source.result.clone());
        table.row([
            source.name.clone(),
            source.kind.clone(),
            source.realm.clone(),
            source.users.to_string(),
            last.unwrap_or_else(|| NOT_YET.to_owned()),
            or_dash(result.as_deref()),
        ]);
    }
    table.or("No source is configured; [source.NAME] in oncegate.toml makes one: oncegate manual sources")
}

const NOT_YET: &str = "not since the start";

fn told(done: &Synced) -> String {
    let mut text = String::new();
    if !done.changed.is_empty() {
        let mut table = Table::new(&["user", "field", "before", "after"]);
        for one in &done.changed {
            table.row([
                printable(&one.user).into_owned(),
                one.field.clone(),
                or_dash(one.before.as_deref()),
                or_dash(one.after.as_deref()),
            ]);
        }
        text.push_str(&table.text());
        text.push('\n');
    }
    for one in &done.renamed {
        let (before, after) = (printable(&one.before), printable(&one.after));
        push!(text, "{before} is called {after}\n");
    }
    for (users, what) in [
        (&done.adopted, "taken over"),
        (&done.enabled, "enabled"),
        (&done.disabled, "disabled"),
    ] {
        for user in users {
            push!(text, "{what}: {}\n", printable(user));
        }
    }
    for one in &done.skipped {
        let (entry, why) = (printable(&one.entry), printable(&one.why));
        push!(text, "left out: {entry}: {why}\n");
    }
    let counts = &done.counts;
    let people = done.people;
    let would = if done.dry_run { "would be " } else { "" };
    push!(
        text,
        "People in the source: {}; {would}{} new, {} renamed, {} changed, {} disabled, {} enabled, {} unchanged.\n",
        people,
        counts.created,
        counts.renamed,
        counts.changed,
        counts.disabled,
        counts.enabled,
        counts.unchanged
    );
    text
}
