//! `oncegate bench`: a load generator for any server that speaks RADIUS or our HTTP.
//!
//! ```text
//! users file -> codes computed ahead -> drill (who, which code, what must come of it)
//!            -> pacer (when)         -> RADIUS threads or HTTP connections
//!            -> tally (counts, histograms of latency) -> report
//! ```
//!
//! Invariants: every answer is checked, for its origin and for what it says; a wrong or used code
//! that is accepted ends in exit code 1; with a rate, latency counts from when a login was due
//! ([`pace`]).
//!
//! Limits: it shares the machine's processors with a server on the same machine, so the figures of
//! the two are not independent there.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::delivery::read_secret;
use crate::diagnostic::units;
use crate::load::drill::{Share, Spent};
use crate::secret::SecretString;

// What is done, when, and what came of it: no sockets
mod codes;
mod drill;
mod pace;
mod report;
mod tally;
mod users;

// RADIUS
mod lane;
mod link;
mod mschap;
mod packet;
mod radius;
mod worker;

// HTTP
mod http;

// Clock, progress, files
mod made;
mod watch;

/// Load a server with logins and measure it
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Generate users with random keys into a file, for `import` and for the load
    #[command(
        after_help = "Example:\n  oncegate bench users 1000 --write users.csv\n  \
        oncegate user import users.csv        (on the server)\n  \
        oncegate bench radius 127.0.0.1:1812 --users users.csv --secret-stdin"
    )]
    Users(made::Made),
    /// Log in over RADIUS
    #[command(after_help = "Examples:\n  \
        oncegate bench radius 192.0.2.1 --users users.csv --secret-stdin\n  \
        oncegate bench radius 127.0.0.1:1812 --users users.csv --secret-stdin --rate 5000 \\\n    \
        --duration 60s --wrong 10% --replay 5%\n  \
        oncegate bench radius otp.example.com --users users.csv --tls --ca ca.pem --certificate nas.pem --key nas.key\n\
        Exit code 1: a wrong or used code was accepted. 3: no answers.")]
    Radius(radius::Radius),
    /// Log in over HTTP: POST /v1/verify
    #[command(after_help = "Example:\n  \
        oncegate bench http https://otp.example.org --key-file key --users users.csv\n\
        Exit code 1: a wrong or used code was accepted. 3: no answers.")]
    Http(http::Http),
}

impl Bench {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::Users(command) => command.run(context),
            Self::Radius(command) => command.run(context).await,
            Self::Http(command) => command.run(context).await,
        }
    }
}

/// What RADIUS and HTTP have in common.
#[derive(Debug, Args)]
struct Load {
    /// CSV file of users, `-` for stdin: user,secret,algorithm,digits,period,kind,counter with a
    /// heading, or lines of user,password
    #[arg(long, value_name = "FILE")]
    users: PathBuf,
    /// Length of the run after the warm-up
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    duration: Duration,
    /// Length of the warm-up, whose logins do not count
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = units::duration)]
    warmup: Duration,
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::duration)]
    timeout: Duration,
    /// Logins in flight at a time; with --rate: at most [default: 64, with --rate 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    outstanding: Option<u32>,
    /// Logins per second, sent whether or not earlier ones are answered; latency then counts from
    /// when a login was due
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    rate: Option<u64>,
    /// Share of logins with a wrong code, as 10%
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = Share::parse)]
    wrong: Share,
    /// Share of logins with a code that was accepted before, as 5%
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = Share::parse)]
    replay: Share,
    /// What to do when every code of the present time step is used up
    #[arg(long, value_enum, default_value_t)]
    spent: Spent,
    /// Read a PIN from a file: every user types it in front of the code, in one box
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
    /// Write the users to this file afterwards, with the counters of HOTP tokens as they are then
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

impl Load {
    /// Refuses what contradicts itself.
    fn check(&self) -> Result<(), CliError> {
        if self.wrong.exceeds_with(self.replay) {
            return Err(CliError::usage(
                "--wrong and --replay are more than 100% together",
            ));
        }
        if self.spent == Spent::Accept && !self.replay.is_zero() {
            return Err(
                CliError::usage("--replay and --spent accept contradict each other").remedy(
                    "a server that accepts used codes cannot be checked for rejecting them: \
                     leave one out",
                ),
            );
        }
        for (name, time) in [("duration", self.duration), ("timeout", self.timeout)] {
            if time.is_zero() {
                return Err(CliError::usage(format!("--{name}: must be above 0s")));
            }
        }
        let longest = Duration::from_hours(24);
        for (name, time) in [
            ("duration", self.duration),
            ("warmup", self.warmup),
            ("timeout", self.timeout),
        ] {
            if time > longest {
                return Err(CliError::usage(format!("--{name}: at most 1d")));
            }
        }
        Ok(())
    }

    /// The PIN in front of every code.
    fn pin(&self) -> Result<Option<SecretString>, CliError> {
        let pin = self.pin_file.as_deref().map(read_secret).transpose();
        pin.map_err(|error| CliError::usage(format!("--pin-file {error}")))
    }

    /// From the start to the last login.
    fn length(&self) -> Duration {
        self.warmup + self.duration
    }

    /// Most logins on their way at once.
    fn limit(&self) -> usize {
        let default = if self.rate.is_some() { 4096 } else { 64 };
        self.outstanding.unwrap_or(default) as usize
    }
}
