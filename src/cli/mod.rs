//! The command line: a client of the HTTP admin API, and the way to start the daemon.
//!
//! ```text
//! arguments -> noun -> request -> transport -> answer -> output -> exit code
//! ```
//!
//! Invariants: exit codes are those of contract s2 ([`error`]); with `--json` stdout holds one
//! document, be it a result or a failure (`tail`: one per line); what others typed is made harmless
//! before a terminal sees it ([`output`]). Secrets come from stdin, and are shown once, when they
//! are made.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{FromArgMatches as _, Parser, Subcommand};

use crate::cli::context::{Context, Global};
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Output;
use crate::daemon;
#[cfg(feature = "bench")]
use crate::load;

// How commands talk: to the API, to people, to programs
pub(crate) mod columns;
mod console_link;
pub(crate) mod context;
pub(crate) mod error;
pub(crate) mod input;
pub(crate) mod output;
mod paging;
pub(crate) mod remote;
pub(crate) mod transport;

// The daemon
mod init;
mod logging;
mod quickstart;
mod selftest;
mod serve;
mod session;
mod setup;

// Health
mod config;
mod delivery;
mod doctor;
mod status;
mod store;

// Records, noun per file
mod admin;
mod audit;
mod backup;
mod changes;
mod client;
mod delegation;
mod device;
mod enrol;
mod explain;
mod hints;
mod import;
mod key;
mod outage;
mod paper;
mod policy;
mod radius;
mod reload;
mod source;
mod token;
mod upgrade;
mod user;
pub(crate) mod verify;

// The command line about itself
mod completions;
mod manual;
mod when;
mod words;

/// Oncegate: an OTP authentication server for RADIUS and HTTP
#[derive(Debug, Parser)]
#[command(
    name = "oncegate",
    version,
    after_help = "First look:  oncegate quickstart\n\
                  To install:  oncegate init && oncegate serve\n\
                  Manual:      oncegate manual\n\
                  Exit codes:  0 yes/done, 1 no, 2 usage, 3 unavailable, 4 not found, 5 conflict"
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Quickstart(quickstart::Quickstart),
    Init(init::Init),
    Setup(setup::Setup),
    Serve(serve::Serve),
    Status(status::Status),
    ConsoleLink(console_link::ConsoleLink),
    #[command(subcommand)]
    Admin(admin::Admin),
    Doctor(doctor::Doctor),
    Reload(reload::Reload),
    #[command(subcommand)]
    Store(store::Store),
    #[command(subcommand)]
    Key(key::Key),
    Backup(backup::Backup),
    Restore(backup::Restore),
    #[command(subcommand)]
    Upgrade(upgrade::Upgrade),
    #[command(subcommand)]
    Config(config::Config),
    #[command(subcommand)]
    Delivery(delivery::Delivery),
    #[command(subcommand)]
    Source(source::Source),
    #[command(subcommand)]
    User(user::User),
    #[command(subcommand)]
    Token(token::Token),
    Import(import::EitherImport),
    #[command(subcommand)]
    Delegation(delegation::Delegation),
    #[command(subcommand)]
    Outage(outage::Outage),
    #[command(subcommand)]
    Client(client::Client),
    #[command(subcommand)]
    Device(device::Device),
    #[command(subcommand)]
    Radius(radius::Radius),
    #[command(subcommand)]
    Session(session::Session),
    #[command(subcommand)]
    Policy(policy::Policy),
    Enrol(enrol::Enrol),
    Verify(verify::Verify),
    #[command(subcommand)]
    Audit(audit::Audit),
    Tail(audit::Tail),
    Explain(explain::Explain),
    Code(verify::ShowCode),
    #[command(subcommand)]
    Clock(status::Clock),
    #[cfg(feature = "bench")]
    #[command(subcommand)]
    Bench(load::Bench),
    Completions(completions::Completions),
    Man(completions::Man),
    Manual(manual::Manual),
    #[command(hide = true)]
    Version(words::Version),
}

/// Runs the command of this process.
pub fn run() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let cli = match parse(&words) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &words),
    };
    let out = Output {
        json: cli.global.json,
        quiet: cli.global.quiet,
    };
    let code = match start(cli) {
        Ok(exit) => exit.into(),
        Err(error) => fail(&error, out),
    };
    daemon::logging::finish();
    code
}

fn parse(words: &[OsString]) -> Result<Cli, clap::Error> {
    let mut definition = words::definition();
    let matches = definition.try_get_matches_from_mut(words);
    let mut matches = matches.map_err(|mut error| {
        words::visible(&mut error, words);
        error
    })?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut definition))
}

fn start(cli: Cli) -> Result<Exit, CliError> {
    let context = Context::new(cli.global);
    let named = context.clone();
    output::hint_by(move |text| named.advice(text));
    if !matches!(cli.command, Command::Serve(_) | Command::Quickstart(_)) {
        logging::start_quiet();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::unavailable(format!("cannot start threads: {error}")))?;
    let exit = runtime.block_on(dispatch(cli.command, &context));
    let exit = exit.map_err(|error| error.advised(|remedy| context.advice(remedy)));
    // What was given up is not waited for: a page that is being read, a name that is being resolved.
    runtime.shutdown_timeout(GIVEN_UP);
    daemon::hand_over(&context.dir);
    exit
}

async fn dispatch(command: Command, context: &Context) -> Result<Exit, CliError> {
    match command {
        Command::Quickstart(command) => command.run(context).await,
        Command::Init(command) => command.run(context).await,
        Command::Setup(command) => command.run(context).await,
        Command::Serve(command) => command.run(context).await,
        Command::ConsoleLink(command) => command.run(context).await,
        Command::Admin(command) => command.run(context).await,
        Command::Status(command) => command.run(context).await,
        Command::Doctor(command) => command.run(context).await,
        Command::Store(command) => command.run(context).await,
        Command::Key(command) => command.run(context).await,
        Command::Backup(command) => command.run(context).await,
        Command::Restore(command) => command.run(context).await,
        Command::Reload(command) => command.run(context).await,
        Command::Upgrade(command) => command.run(context).await,
        Command::Config(command) => command.run(context).await,
        Command::Delivery(command) => command.run(context).await,
        Command::Source(command) => command.run(context).await,
        Command::User(command) => command.run(context).await,
        Command::Token(command) => command.run(context).await,
        Command::Import(command) => command.run(context).await,
        Command::Delegation(command) => command.run(context).await,
        Command::Outage(command) => command.run(context).await,
        Command::Client(command) => command.run(context).await,
        Command::Device(command) => command.run(context).await,
        Command::Radius(command) => command.run(context).await,
        Command::Session(command) => command.run(context).await,
        Command::Policy(command) => command.run(context).await,
        Command::Enrol(command) => command.run(context).await,
        Command::Verify(command) => command.run(context).await,
        Command::Audit(command) => command.run(context).await,
        Command::Tail(command) => command.run(context).await,
        Command::Explain(command) => command.run(context).await,
        Command::Code(command) => command.run(context).await,
        Command::Clock(command) => command.run(context).await,
        #[cfg(feature = "bench")]
        Command::Bench(command) => command.run(context).await,
        Command::Completions(command) => command.run(context),
        Command::Man(command) => command.run(context),
        Command::Manual(command) => command.run(context),
        Command::Version(command) => command.run(context),
    }
}

fn fail(error: &CliError, out: Output) -> ExitCode {
    if error.exit == Exit::Done {
        return ExitCode::SUCCESS;
    }
    let failure = error.json();
    if !out.json {
        output::warn(&error.text(output::stderr_colour()));
    } else if output::has_document() || out.record(&failure).is_err() {
        // A second document would make the first one unreadable.
        output::warn(&failure.to_string());
    }
    error.exit.into()
}

/// Help and version are successes; the rest is wrong usage, as JSON where that was asked for.
fn usage(error: &clap::Error, words: &[OsString]) -> ExitCode {
    let asked_json = words.iter().any(|word| word == "--json");
    let advice = error
        .use_stderr()
        .then(|| words::advice(error, words))
        .flatten();
    if error.use_stderr() && asked_json {
        let text = words::plain(&error.render().to_string());
        let message = text.trim().trim_start_matches("error: ").to_owned();
        let out = Output {
            json: true,
            quiet: false,
        };
        let failure = CliError::usage(message);
        return match advice {
            Some(advice) => fail(&failure.remedy(advice), out),
            None => fail(&failure, out),
        };
    }
    let text = words::plain(&error.render().ansi().to_string());
    if error.use_stderr() {
        output::warn(&text);
    } else {
        // A closed pipe is all that can go wrong here.
        let _ = Output::default().piece(&text);
    }
    if let Some(advice) = advice {
        output::warn(&format!("\nnext:  {}", output::printable(&advice)));
    }
    if error.use_stderr() {
        Exit::Usage.into()
    } else {
        ExitCode::SUCCESS
    }
}

/// How long abandoned work may delay the end of the process.
const GIVEN_UP: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
