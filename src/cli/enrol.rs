//! `oncegate enrol`: many people at once, each by a link of their own.
//!
//! ```text
//! users, tokens -> plan (who, and why not the others) -> a link each, some at a time -> mail, SMS or paper
//! ```
//!
//! Invariants: nothing is made before the plan is shown or before the files can be written; a dry run goes the same way,
//! so that it promises nothing that the server or the disk would refuse at once; the server knows
//! who has an open link, so that a run that broke off is begun again with the same words and goes on with
//! those who are left. Links are in the file that was asked for and nowhere else: the result file has no secrets.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::api::{EnrolByLink, EnrolLinked, LinkWanted, User};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{self, Table, printable};
use crate::cli::transport::Transport;
use crate::diagnostic::units;

mod files;
mod plan;

use files::{Handouts, Results};
use plan::{Plan, Skipped};

/// Send many people links by which they enrol a token themselves
#[derive(Debug, Args)]
#[command(after_help = HELP)]
#[allow(clippy::struct_excessive_bools, clippy::doc_markdown)] // options; help is plain text
pub(super) struct Enrol {
    /// These users
    #[arg(value_name = "USER")]
    users: Vec<String>,
    /// All users in this group; may be given several times
    #[arg(long)]
    group: Vec<String>,
    /// All users
    #[arg(long, conflicts_with_all = ["users", "group"])]
    all: bool,
    /// How a link reaches its user
    #[arg(long, value_enum, value_name = "link|mail|sms|qr-dir|print")]
    by: By,
    /// Only users without a token in use
    #[arg(long)]
    without_token: bool,
    /// Show who would get a link and who not, and make nothing
    #[arg(long)]
    dry_run: bool,
    /// Also users who have an open or used link already: the link before is void
    #[arg(long)]
    again: bool,
    /// File (link, print) or directory (qr-dir) for the links; only you can read it
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// CSV file to which one line is added for each user; it holds no secrets
    #[arg(long, value_name = "FILE")]
    result: Option<PathBuf>,
    /// How long the links are good [default: first_use_within of the policy, 14d]
    #[arg(long, visible_alias = "for", value_name = "DURATION", value_parser = units::duration)]
    valid_for: Option<Duration>,
    /// Policy whose enrolment section applies [default: default]
    #[arg(long)]
    policy: Option<String>,
    /// Where people reach this server [default: http.public_url]
    #[arg(long, value_name = "URL")]
    server_url: Option<String>,
}

/// How a link reaches its user.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum By {
    /// A CSV file with a link for each user: --out FILE
    Link,
    /// A mail to each user
    Mail,
    /// A text message to each user
    Sms,
    /// A directory with a QR code of the link for each user, as SVG: --out DIR
    QrDir,
    /// A letter with the link and its QR code for each user, to be printed: --out FILE.html
    Print,
}

impl By {
    /// The word of the API.
    const fn word(self) -> &'static str {
        match self {
            Self::Mail => "email",
            Self::Sms => "sms",
            Self::Link | Self::QrDir | Self::Print => "link",
        }
    }

    /// The word of the command.
    const fn shown(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Mail => "mail",
            Self::Sms => "sms",
            Self::QrDir => "qr-dir",
            Self::Print => "print",
        }
    }

    const fn is_sent(self) -> bool {
        matches!(self, Self::Mail | Self::Sms)
    }
}

/// What was done, without secrets.
#[derive(Debug, Default, Serialize)]
struct Done {
    dry_run: bool,
    /// Users who got a link, or would.
    enrolled: Vec<String>,
    skipped: Vec<Skipped>,
    failed: Vec<Skipped>,
}

impl Enrol {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        if self.users.is_empty() && self.group.is_empty() && !self.all {
            return Err(CliError::usage("no user is named")
                .remedy("name users or a group, or all of them: --group NAME, --all"));
        }
        let needs_out = !self.by.is_sent();
        if needs_out && self.out.is_none() && !self.dry_run {
            return Err(CliError::usage("--by link, qr-dir and print write files")
                .remedy("say where: --out PATH"));
        }
        if !needs_out && self.out.is_some() {
            return Err(CliError::usage("--out: what is sent is in no file")
                .remedy("leave it out, or use --by link"));
        }
        let api = Arc::new(context.transport().await?);
        let plan = Plan::make(&self, &api).await?;
        // Before anything is made: what cannot be kept is not asked for.
        let (handouts, results) = self.files()?;
        let mut run = Run {
            handouts,
            results,
            done: Done {
                dry_run: self.dry_run,
                skipped: plan.skipped,
                ..Done::default()
            },
            stopped: None,
        };
        let what = if self.dry_run { "check" } else { "enrol" };
        let bar = output::progress(context.out, what, plan.wanted.len() as u64);
        let sent = self.send(plan.wanted, &api, &mut run, &bar).await;
        bar.finish_and_clear();
        if let Some(handouts) = run.handouts {
            if run.done.enrolled.is_empty() {
                handouts.discard();
            } else {
                handouts.close()?;
            }
        }
        sent?;
        self.conclude(run.done, run.stopped, context)
    }

    /// What is written. A dry run only sees whether it can be, and leaves nothing behind.
    fn files(&self) -> Result<(Option<Handouts>, Option<Results>), CliError> {
        let handouts = self.out.as_deref();
        let handouts = handouts.map(|path| Handouts::open(self.by, path));
        let handouts = handouts.transpose()?;
        if !self.dry_run {
            let results = self.result.as_deref().map(Results::open);
            return Ok((handouts, results.transpose()?));
        }
        if let Some(handouts) = handouts {
            handouts.discard();
        }
        if let Some(path) = &self.result {
            Results::try_open(path)?;
        }
        Ok((None, None))
    }

    /// Asks for the links, some at a time.
    async fn send(
        &self,
        users: Vec<User>,
        api: &Arc<Transport>,
        run: &mut Run,
        bar: &ProgressBar,
    ) -> Result<(), CliError> {
        let mut waiting = users.into_iter();
        let mut ways: JoinSet<(User, Result<EnrolLinked, CliError>)> = JoinSet::new();
        loop {
            while run.stopped.is_none()
                && ways.len() < WAYS
                && let Some(user) = waiting.next()
            {
                let (api, body) = (Arc::clone(api), self.body());
                ways.spawn(async move {
                    let made = link(&api, &user.user, &body).await;
                    (user, made)
                });
            }
            let Some(answered) = ways.join_next().await else {
                return Ok(());
            };
            let (user, made) =
                answered.map_err(|error| CliError::unavailable(error.to_string()))?;
            run.take(user, made)?;
            bar.inc(1);
        }
    }

    fn body(&self) -> LinkWanted {
        LinkWanted {
            deliver: vec![self.by.word().to_owned()],
            policy: self.policy.clone(),
            valid_for_secs: self.valid_for.map(|length| length.as_secs()),
            server_url: self.server_url.clone(),
            dry_run: self.dry_run,
        }
    }

    fn conclude(
        &self,
        mut done: Done,
        stopped: Option<CliError>,
        context: &Context,
    ) -> Result<Exit, CliError> {
        done.enrolled.sort();
        if let Some(error) = stopped {
            if done.enrolled.is_empty() || self.dry_run {
                return Err(error.remedy_or("nothing was made"));
            }
            let so_far = output::count(done.enrolled.len() as u64, "link");
            return Err(error.remedy_or(format!(
                "{so_far} went out before that; the same command goes on with those who are left"
            )));
        }
        let some = self.dry_run || !done.enrolled.is_empty();
        let all = done.failed.is_empty() && some;
        context.out.show(&done, |done| {
            if self.dry_run {
                self.planned(done)
            } else {
                self.told(done)
            }
        })?;
        Ok(if all { Exit::Done } else { Exit::No })
    }

    fn planned(&self, done: &Done) -> String {
        let mut text = skipped(&done.skipped, "not enrolled, because");
        text.push_str(&skipped(&done.failed, "would fail"));
        let links = output::count(done.enrolled.len() as u64, "user");
        push!(text, "Would enrol {links} by {}.\n", self.by.shown());
        if !done.enrolled.is_empty() {
            text.push_str("Next: the same without --dry-run");
            if !self.by.is_sent() && self.out.is_none() {
                text.push_str(", and with --out PATH");
            }
            text.push('\n');
        }
        text
    }

    fn told(&self, done: &Done) -> String {
        let mut text = skipped(&done.skipped, "not enrolled, because");
        text.push_str(&skipped(&done.failed, "failed"));
        let links = output::count(done.enrolled.len() as u64, "user");
        match (&self.out, done.enrolled.len()) {
            (_, 0) => text.push_str("No links were made.\n"),
            (None, _) => push!(text, "Sent a link to {links}.\n"),
            (Some(path), _) => {
                let path = path.display().to_string();
                push!(
                    text,
                    "Made links for {links}, in {}: who has a link enrols as its user.\n",
                    printable(&path)
                );
            }
        }
        if !done.failed.is_empty() {
            text.push_str("Next: the same command again goes on with those who are left\n");
        }
        text
    }
}

/// What became of the links so far.
struct Run {
    handouts: Option<Handouts>,
    results: Option<Results>,
    done: Done,
    /// Why no more are asked for.
    stopped: Option<CliError>,
}

impl Run {
    fn take(&mut self, user: User, made: Result<EnrolLinked, CliError>) -> Result<(), CliError> {
        let (serial, why) = match made {
            Ok(made) if made.failed.is_empty() => {
                if let Some(handouts) = &mut self.handouts {
                    handouts.add(&user, &made)?;
                }
                self.note([&user.user, &made.serial, "sent", &made.until])?;
                self.done.enrolled.push(user.user);
                return Ok(());
            }
            Ok(made) => (made.serial, made.failed.join("; ")),
            Err(error) if holds_for_all(&error) => {
                self.stopped.get_or_insert(error);
                return Ok(());
            }
            Err(error) => (String::new(), error.line()),
        };
        self.note([&user.user, &serial, "failed", &why])?;
        self.done.failed.push(Skipped::new(&user.user, why));
        Ok(())
    }

    fn note(&mut self, fields: [&str; 4]) -> Result<(), CliError> {
        match &mut self.results {
            Some(results) => results.add(fields),
            None => Ok(()),
        }
    }
}

/// Whether the next user would be refused for the same cause.
fn holds_for_all(error: &CliError) -> bool {
    let line = error.line();
    let causes = [
        "server-url",
        "server_url",
        "--policy",
        "--valid-for",
        "no gateway delivers",
    ];
    error.exit == Exit::Unavailable || causes.iter().any(|cause| line.contains(cause))
}

/// Asks for a link; what passes is tried again.
async fn link(api: &Transport, user: &str, body: &LinkWanted) -> Result<EnrolLinked, CliError> {
    let mut tries = 0;
    loop {
        let made = api.send::<EnrolByLink>(user, body).await;
        let again = match &made {
            Ok(made) => !made.failed.is_empty(),
            Err(error) => error.exit == Exit::Unavailable,
        };
        tries += 1;
        if !again || tries >= TRIES {
            return made;
        }
        tokio::time::sleep(PAUSE * tries).await;
    }
}

fn skipped(users: &[Skipped], why: &str) -> String {
    if users.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["user", why]);
    for one in users {
        table.row([&one.user, &one.why]);
    }
    let mut text = table.text();
    text.push('\n');
    text
}

const HELP: &str = "\
Each link leads to a page of this server (http.public_url) that shows the user the QR code of a new totp token, \
once; the user's first right code at any login, or on that page, activates it. No administrator sees a key. A run \
that broke off is begun again with the same words: users with an open link are left out. The exit code is 1 where no \
link was made, or not all were.
Examples:
  oncegate enrol --group staff --by mail --without-token --dry-run
  oncegate enrol --group staff --by mail --without-token --result staff.csv
  oncegate enrol alice bob --by print --out letters.html";
/// Links that are asked for at a time: what a mail server takes gladly.
const WAYS: usize = 4;
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
