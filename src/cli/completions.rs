//! `oncegate completions` and `oncegate man`: the command line about itself.

use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::Shell;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::words;

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    oncegate completions bash > /etc/bash_completion.d/oncegate\n  \
    oncegate completions zsh > /usr/share/zsh/site-functions/_oncegate\n  \
    oncegate completions fish > ~/.config/fish/completions/oncegate.fish")]
pub(super) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the man page, or write those of all commands to a directory
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  oncegate man | man -l -\n  oncegate man /usr/share/man/man1")]
pub(super) struct Man {
    /// Directory for `oncegate.1`, `oncegate-user.1`, `oncegate-user-add.1` and so on
    #[arg(value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

impl Completions {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut words::definition(),
            "oncegate",
            &mut script,
        );
        let script = String::from_utf8_lossy(&script).into_owned();
        let document = json!({ "shell": self.shell.to_string(), "script": script });
        context.out.show(&document, |_| script.clone())?;
        Ok(Exit::Done)
    }
}

impl Man {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let mut root = without_help(words::definition());
        root.build();
        let Some(directory) = self.directory else {
            let page = page(&root)?;
            let document = json!({ "page": page });
            context.out.show(&document, |_| page.clone())?;
            return Ok(Exit::Done);
        };
        let mut written = Vec::new();
        write_all(&root, "oncegate", &directory, &mut written)?;
        context.out.show(&json!({ "files": written }), |_| {
            format!(
                "Wrote {} pages to {}.\n",
                written.len(),
                directory.display()
            )
        })?;
        Ok(Exit::Done)
    }
}

/// The commands without `help`, which would have a page for each of the others.
fn without_help(command: clap::Command) -> clap::Command {
    command
        .disable_help_subcommand(true)
        .mut_subcommands(without_help)
}

fn page(command: &clap::Command) -> Result<String, CliError> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn write_all(
    command: &clap::Command,
    name: &str,
    directory: &Path,
    written: &mut Vec<PathBuf>,
) -> Result<(), CliError> {
    let path = directory.join(format!("{name}.1"));
    std::fs::write(&path, page(command)?).map_err(|error| {
        CliError::usage(format!("cannot write {}: {error}", path.display()))
            .remedy("name a directory that exists and that you may write to")
    })?;
    written.push(path);
    for inner in command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set())
    {
        write_all(
            inner,
            &format!("{name}-{}", inner.get_name()),
            directory,
            written,
        )?;
    }
    Ok(())
}
