//! `oncegate bench users`: users for a load, with keys that both sides know.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output;
use crate::cli::output::printable;
use crate::load::users;
use crate::load::users::Kind;
use crate::secret::SystemEntropy;

#[derive(Debug, Args)]
pub(crate) struct Made {
    /// How many
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    count: u32,
    /// Their names begin with this and end with a number
    #[arg(long, value_name = "TEXT", default_value = "load")]
    prefix: String,
    /// What they carry
    #[arg(long, value_enum, default_value_t)]
    kind: Kind,
    /// The file; it must not exist, since it may hold keys in use
    #[arg(long, value_name = "FILE")]
    write: PathBuf,
}

#[derive(Serialize)]
struct Written {
    users: u32,
    file: String,
}

impl Made {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let users = users::generate(self.count, &self.prefix, self.kind, &SystemEntropy);
        let users = users.map_err(|error| CliError::unavailable(error.to_string()))?;
        let bar = output::progress(context.out, "writing", u64::from(self.count));
        users::save(&self.write, &users, |written| bar.inc(written))?;
        bar.finish_and_clear();
        let written = Written {
            users: self.count,
            file: self.write.to_string_lossy().into_owned(),
        };
        context.out.show(&written, |written| {
            let file = printable(&written.file);
            format!(
                "{} in {file}\nNext: oncegate user import {file}\n",
                output::count(written.users.into(), "user")
            )
        })?;
        Ok(Exit::Done)
    }
}
