//! `oncegate policy draft`: policy files that one person proposes and another approves.

use std::io::Read as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::api::{
    ApproveDraft, Deny, DenyDraft, ListDrafts, PolicyDraft, PolicyDraftText, PolicyFinding,
    PolicyReplay, RemoveDraft, ReplayChange, ReplayDraft, ReplayRule, SetDraft, ShowDraft,
};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::input;
use crate::cli::output::{Table, count, joined, local_time, printable};
use crate::model::draft::DRAFT_MAX;

/// Propose changes of policy files, try them on past logins, and approve those of others
#[derive(Debug, Subcommand)]
#[command(
    after_help = "The daemon writes policy files only where `web.edit_policies = true` stands in oncegate.toml.\n\
    A draft is approved by another person than its author: another administrator or approver."
)]
pub(crate) enum Draft {
    /// List the drafts that wait
    List,
    /// Show a draft: its faults, and how it differs from the file in force
    Show(Name),
    /// Make or change the draft of a policy; nothing is in force by it
    #[command(
        after_help = "Examples:\n  oncegate policy draft set vpn vpn-new.toml --note 'contractors: PIN too'\n  \
        oncegate policy draft set vpn < vpn-new.toml"
    )]
    Set(Set),
    /// Read the last 10,000 logins again by a draft: which would come out otherwise
    Replay(Name),
    /// Approve a draft of another person: the file is written and in force
    Approve(Confirmed),
    /// Deny a draft
    Deny(Denied),
    /// Remove a draft
    Remove(Confirmed),
}

#[derive(Debug, Args)]
pub(crate) struct Name {
    /// Name of the policy
    #[arg(value_name = "POLICY")]
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Name of the policy; a new one makes a new file
    #[arg(value_name = "POLICY")]
    name: String,
    /// The whole file as it shall be [default: standard input]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Why, for who decides about it
    #[arg(long)]
    note: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Confirmed {
    /// Name of the policy
    #[arg(value_name = "POLICY")]
    name: String,
    /// Do not ask for confirmation at a terminal
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Denied {
    /// Name of the policy
    #[arg(value_name = "POLICY")]
    name: String,
    /// Why; written into the audit
    #[arg(long)]
    reason: String,
}

impl Draft {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::List => list(context).await,
            Self::Show(Name { name }) => {
                let api = context.transport().await?;
                let draft = api.ask::<ShowDraft>(&name).await?;
                told(context, &draft)
            }
            Self::Set(set) => set.run(context).await,
            Self::Replay(Name { name }) => {
                let api = context.transport().await?;
                let replay = api.ask::<ReplayDraft>(&name).await?;
                context.out.show(&replay, replayed)?;
                Ok(Exit::Done)
            }
            Self::Approve(Confirmed { name, yes }) => {
                let question = format!("Write the draft of policy {name}, and put it into force?");
                input::confirm(&question, yes)?;
                let api = context.transport().await?;
                let done = api.ask::<ApproveDraft>(&name).await?;
                context.out.show(&done, |done| {
                    format!(
                        "Policy {} is written and in force.\n",
                        printable(&done.policy)
                    )
                })?;
                Ok(Exit::Done)
            }
            Self::Deny(Denied { name, reason }) => {
                let api = context.transport().await?;
                api.send::<DenyDraft>(&name, &Deny { reason }).await?;
                context.out.show(&json!({ "denied": name }), |_| {
                    format!("The draft of policy {} is denied.\n", printable(&name))
                })?;
                Ok(Exit::Done)
            }
            Self::Remove(Confirmed { name, yes }) => {
                input::confirm(&format!("Remove the draft of policy {name}?"), yes)?;
                let api = context.transport().await?;
                api.ask::<RemoveDraft>(&name).await?;
                context.out.show(&json!({ "removed": name }), |_| {
                    format!("The draft of policy {} is removed.\n", printable(&name))
                })?;
                Ok(Exit::Done)
            }
        }
    }
}

async fn list(context: &Context) -> Result<Exit, CliError> {
    let api = context.transport().await?;
    let found = api.ask::<ListDrafts>(()).await?;
    context.out.show(&found, |found| {
        let mut table = Table::new(&["policy", "author", "time", "note"]);
        for draft in &found.drafts {
            table.row([
                draft.policy.clone(),
                draft.author.clone(),
                local_time(&draft.time),
                draft.note.clone().unwrap_or_default(),
            ]);
        }
        table.or("No draft waits. Make one with `oncegate policy draft set`.")
    })?;
    Ok(Exit::Done)
}

impl Set {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let text = match &self.file {
            Some(path) => super::read(path)?.text().to_owned(),
            None => from_stdin()?,
        };
        let body = PolicyDraftText {
            text,
            note: self.note,
        };
        let api = context.transport().await?;
        let draft = api.send_long::<SetDraft>(&self.name, &body).await?;
        told(context, &draft)
    }
}

fn from_stdin() -> Result<String, CliError> {
    let mut text = String::new();
    let most = DRAFT_MAX as u64 + 1;
    let read = std::io::stdin().take(most).read_to_string(&mut text);
    read.map_err(|error| CliError::usage(format!("cannot read standard input: {error}")))?;
    Ok(text)
}

/// A draft; the answer is no where it has faults or would lock someone out.
fn told(context: &Context, draft: &PolicyDraft) -> Result<Exit, CliError> {
    context.out.show(draft, shown)?;
    let faulty = draft.findings.iter().any(|one| one.severity == "error");
    let kept = draft.locked_out.is_empty() && !draft.outdated;
    Ok(if faulty || !kept {
        Exit::No
    } else {
        Exit::Done
    })
}

fn shown(draft: &PolicyDraft) -> String {
    let mut text = format!(
        "Draft of policy {} by {}, {}\n",
        printable(&draft.policy),
        printable(&draft.author),
        local_time(&draft.time)
    );
    if let Some(note) = &draft.note {
        push!(text, "{}\n", printable(note));
    }
    text.push('\n');
    for line in &draft.diff {
        let sign = match line.kind.as_str() {
            "added" => '+',
            "removed" => '-',
            "gap" => {
                text.push_str("...\n");
                continue;
            }
            _ => ' ',
        };
        let number = line.line.map_or_else(String::new, |line| line.to_string());
        push!(text, "{number:>4} {sign} {}\n", printable(&line.text));
    }
    text.push('\n');
    for finding in &draft.findings {
        push!(text, "{}\n", found(finding));
    }
    for one in &draft.locked_out {
        push!(
            text,
            "error: {} could not sign in to the console any more: {}\n",
            printable(&one.user),
            printable(&one.why)
        );
    }
    if draft.outdated {
        text.push_str(
            "error: the file was changed since the draft was made: compare the two, and set the draft again\n",
        );
    }
    if draft.findings.is_empty() && draft.locked_out.is_empty() && !draft.outdated {
        let name = printable(&draft.policy);
        push!(
            text,
            "No fault. Try it on past logins: oncegate policy draft replay {name}\n\
             Another person puts it into force: oncegate policy draft approve {name}\n"
        );
    }
    text
}

fn found(finding: &PolicyFinding) -> String {
    let mut text = format!("{}: ", finding.severity);
    if let (Some(file), Some(line)) = (&finding.file, finding.line) {
        push!(text, "{}:{line}: ", printable(file));
    }
    text.push_str(&printable(&finding.message));
    if let Some(help) = &finding.help {
        push!(text, " ({})", printable(help));
    }
    text
}

fn replayed(replay: &PolicyReplay) -> String {
    let mut text = format!(
        "{} read again, {} of them by policy {}: {} would come out otherwise.\n",
        count(replay.decisions as u64, "login"),
        replay.concerned,
        printable(&replay.policy),
        replay.otherwise
    );
    if !replay.changes.is_empty() {
        let mut table = Table::new(&["logins", "accepted", "now", "then", "users"]);
        let rule = |rule: &Option<ReplayRule>| match rule {
            Some(rule) => format!("{} ({})", rule.rule, rule.asks),
            None => "no rule: reject".to_owned(),
        };
        for change in &replay.changes {
            let ReplayChange {
                before,
                after,
                decisions,
                accepted,
                users,
            } = change;
            table.row([
                decisions.to_string(),
                accepted.to_string(),
                rule(before),
                rule(after),
                joined(users),
            ]);
        }
        push!(text, "\n{}", table.or(""));
    }
    for note in &replay.notes {
        push!(text, "{note}\n");
    }
    text
}
