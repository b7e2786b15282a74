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
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, FromArgMatches as _, Parser, Subcommand};

use crate::cli::error::{CliError, Exit};
use crate::cli::output::Output;
use crate::cli::remote::Remote;
use crate::cli::transport::Transport;
use crate::daemon;
use crate::daemon::Site;

/// Appends formatted text to a `String`, which cannot fail.
macro_rules! push {
    ($to:expr, $($text:tt)*) => {{
        use std::fmt::Write as _;
        let _ = write!($to, $($text)*);
    }};
}

// How commands talk: to the API, to people, to programs
mod columns;
mod csv;
mod encoding;
mod error;
mod input;
mod output;
mod remote;
mod transport;

// The daemon
mod init;
mod logging;
mod quickstart;
mod selftest;
mod serve;
mod session;

// Health
mod config;
mod delivery;
mod doctor;
mod status;
mod store;

// Records, noun per file
mod audit;
mod changes;
mod client;
mod delegation;
mod device;
mod enrolment;
mod explain;
mod hints;
mod import;
mod outage;
mod paper;
mod policy;
mod reload;
mod token;
mod user;
mod verify;

// Load
mod bench;

// The command line about itself
mod completions;
mod manual;
mod when;
mod words;

/// Oncegate: an OTP authentication server. Is this the person, this once?
#[derive(Debug, Parser)]
#[command(
    name = "oncegate",
    version,
    after_help = "First look:  oncegate quickstart\n\
                  For real:    oncegate init && oncegate serve\n\
                  Manual:      oncegate manual\n\
                  Exit codes:  0 yes/done, 1 no, 2 usage, 3 unavailable, 4 not found, 5 conflict"
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command. The environment is read in [`Context::new`]: a usage line that clap
/// prints must not show what was not typed as if it had to be.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
#[allow(clippy::doc_markdown)] // help is plain text
struct Global {
    /// Directory of the installation [env: ONCEGATE_DIR] [default: ./oncegate-data]
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Configuration file, if not DIR/oncegate.toml; without --dir its directory is DIR
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long, global = true)]
    json: bool,
    /// Print no notes on stderr, only errors and warnings
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Talk to the daemon at this URL instead of the one of DIR; needs --key-file
    /// [env: ONCEGATE_SERVER]
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// File with the API key for --server [env: ONCEGATE_KEY_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// PEM file of the certificate authority that vouches for --server [env: ONCEGATE_CA_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Quickstart(quickstart::Quickstart),
    Init(init::Init),
    Serve(serve::Serve),
    Status(status::Status),
    Doctor(doctor::Doctor),
    Reload(reload::Reload),
    #[command(subcommand)]
    Store(store::Store),
    #[command(subcommand)]
    Config(config::Config),
    #[command(subcommand)]
    Delivery(delivery::Delivery),
    #[command(subcommand)]
    User(user::User),
    #[command(subcommand)]
    Token(token::Token),
    #[command(subcommand)]
    Delegation(delegation::Delegation),
    #[command(subcommand)]
    Outage(outage::Outage),
    #[command(subcommand)]
    Client(client::Client),
    #[command(subcommand)]
    Device(device::Device),
    #[command(subcommand)]
    Session(session::Session),
    #[command(subcommand)]
    Policy(policy::Policy),
    Verify(verify::Verify),
    #[command(subcommand)]
    Audit(audit::Audit),
    Tail(audit::Tail),
    Explain(explain::Explain),
    Code(verify::ShowCode),
    #[command(subcommand)]
    Clock(status::Clock),
    #[command(subcommand)]
    Bench(bench::Bench),
    Completions(completions::Completions),
    Man(completions::Man),
    Manual(manual::Manual),
    #[command(hide = true)]
    Version(words::Version),
}

/// What every command is given.
#[derive(Debug)]
struct Context {
    dir: PathBuf,
    config: Option<PathBuf>,
    server: Option<String>,
    key_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    out: Output,
}

impl Context {
    fn new(global: Global) -> Self {
        let file =
            |given: Option<PathBuf>, name| given.or_else(|| environment(name).map(Into::into));
        let server = || environment("ONCEGATE_SERVER")?.into_string().ok();
        Self {
            dir: directory(file(global.dir, "ONCEGATE_DIR"), global.config.as_deref()),
            config: global.config,
            server: global.server.or_else(server),
            key_file: file(global.key_file, "ONCEGATE_KEY_FILE"),
            ca_file: file(global.ca_file, "ONCEGATE_CA_FILE"),
            out: Output {
                json: global.json,
                quiet: global.quiet,
            },
        }
    }

    /// The installation, its warnings said.
    fn site(&self) -> Result<Site, CliError> {
        let site = Site::load(&self.dir, self.config.as_deref()).map_err(|error| {
            let error = CliError::from(error);
            if self.is_installed() {
                error
            } else {
                CliError::unavailable(format!("no installation in {}", self.dir.display()))
                    .remedy("make one with `oncegate init`, or name it: --dir DIR or ONCEGATE_DIR")
            }
        })?;
        Ok(site)
    }

    /// Whether `init` was here.
    fn is_installed(&self) -> bool {
        // A directory that may not be read is not an empty one: reading the file says so.
        let file = self.dir.join("oncegate.toml");
        self.config.is_some() || file.try_exists().unwrap_or(true)
    }

    /// The way to the API.
    async fn transport(&self) -> Result<Transport, CliError> {
        match (&self.server, &self.key_file) {
            (Some(url), Some(key)) => {
                let remote = Remote::open(url, key, self.ca_file.as_deref())?;
                Ok(Transport::Remote(Box::new(remote)))
            }
            (Some(_), None) => Err(CliError::usage("--server needs a key")
                .remedy("name the file that holds it: --key-file FILE or ONCEGATE_KEY_FILE")),
            _ => match self.site() {
                Ok(site) => Transport::of_site(&site).await,
                Err(error) => self.daemon_beside(error).await,
            },
        }
    }

    /// The running daemon of an installation whose configuration cannot be used now: it works with what
    /// it read before, and can be asked.
    async fn daemon_beside(&self, error: CliError) -> Result<Transport, CliError> {
        let socket = Site::socket_of(&self.dir, self.config.as_deref());
        let Some(daemon) = Transport::of_daemon(&socket).await else {
            return Err(error);
        };
        output::warn(&format!(
            "warning: {}; the daemon works with what it read before, and does not start again like this",
            output::printable(&error.places())
        ));
        Ok(daemon)
    }

    /// Refuses `--server` where a command works on this machine's files.
    fn local_only(&self, command: &str) -> Result<(), CliError> {
        match self.server {
            None => Ok(()),
            Some(_) => Err(
                CliError::usage(format!("`{command}` works on this machine's files"))
                    .remedy("leave --server (and ONCEGATE_SERVER) out"),
            ),
        }
    }

    /// This program with `words`, as it can be pasted into a shell to mean the same installation.
    fn command(&self, words: &str) -> String {
        let program = std::env::args().next().unwrap_or_default();
        let program = if program.contains('/') {
            program
        } else {
            "oncegate".to_owned()
        };
        let mut command = output::shell_word(&program).into_owned();
        command.push(' ');
        command.push_str(words);
        let mut option = |name: &str, value: &str| {
            push!(command, " {name} {}", output::shell_word(value));
        };
        if let Some(server) = &self.server {
            option("--server", server);
            for (name, file) in [("--key-file", &self.key_file), ("--ca-file", &self.ca_file)] {
                if let Some(file) = file {
                    option(name, &file.to_string_lossy());
                }
            }
        } else if self.dir != Path::new(DEFAULT_DIR) {
            option("--dir", &self.dir.to_string_lossy());
        }
        command
    }
}

/// A variable that is set to something.
fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn directory(dir: Option<PathBuf>, config: Option<&Path>) -> PathBuf {
    let of_config = || {
        let parent = config?.parent()?;
        let here = parent.as_os_str().is_empty();
        Some(if here {
            PathBuf::from(".")
        } else {
            parent.to_owned()
        })
    };
    dir.or_else(of_config)
        .unwrap_or_else(|| PathBuf::from(DEFAULT_DIR))
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
    if !matches!(cli.command, Command::Serve(_) | Command::Quickstart(_)) {
        logging::start_quiet();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::unavailable(format!("cannot start threads: {error}")))?;
    let exit = runtime.block_on(dispatch(cli.command, &context));
    // What was given up is not waited for: a page that is being read, a name that is being resolved.
    runtime.shutdown_timeout(GIVEN_UP);
    exit
}

async fn dispatch(command: Command, context: &Context) -> Result<Exit, CliError> {
    match command {
        Command::Quickstart(command) => command.run(context).await,
        Command::Init(command) => command.run(context).await,
        Command::Serve(command) => command.run(context).await,
        Command::Status(command) => command.run(context).await,
        Command::Doctor(command) => command.run(context).await,
        Command::Store(command) => command.run(context).await,
        Command::Reload(command) => command.run(context).await,
        Command::Config(command) => command.run(context).await,
        Command::Delivery(command) => command.run(context).await,
        Command::User(command) => command.run(context).await,
        Command::Token(command) => command.run(context).await,
        Command::Delegation(command) => command.run(context).await,
        Command::Outage(command) => command.run(context).await,
        Command::Client(command) => command.run(context).await,
        Command::Device(command) => command.run(context).await,
        Command::Session(command) => command.run(context).await,
        Command::Policy(command) => command.run(context).await,
        Command::Verify(command) => command.run(context).await,
        Command::Audit(command) => command.run(context).await,
        Command::Tail(command) => command.run(context).await,
        Command::Explain(command) => command.run(context).await,
        Command::Code(command) => command.run(context).await,
        Command::Clock(command) => command.run(context).await,
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

/// How long work that nothing asks for any more may hold up the end.
const GIVEN_UP: Duration = Duration::from_secs(2);
/// Where an installation is when no option or variable says otherwise.
const DEFAULT_DIR: &str = "./oncegate-data";

#[cfg(test)]
mod tests;
