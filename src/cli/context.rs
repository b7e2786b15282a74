//! What every command works with: the installation, the way to the API, how it prints.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::error::{CliError, Exit};
use crate::cli::output;
use crate::cli::output::Output;
use crate::cli::remote::Remote;
use crate::cli::transport::Transport;
use crate::daemon::{Site, StartError};

/// Options of every command. The environment is read in [`Context::new`]: a usage line that clap
/// prints must not show what was not typed as if it had to be.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
#[allow(clippy::doc_markdown)] // help is plain text
pub(super) struct Global {
    /// Directory of the installation [env: ONCEGATE_DIR] [default: ./oncegate-data]
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Configuration file, if not DIR/oncegate.toml; without --dir its directory is DIR
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Print no notes on stderr, only errors and warnings
    #[arg(long, short, global = true)]
    pub(super) quiet: bool,
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

/// What every command is given.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) dir: PathBuf,
    pub(crate) config: Option<PathBuf>,
    pub(crate) server: Option<String>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) out: Output,
}

impl Context {
    pub(super) fn new(global: Global) -> Self {
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

    /// The installation.
    pub(crate) fn site(&self) -> Result<Site, CliError> {
        self.located(Site::load(&self.dir, self.config.as_deref()))
    }

    /// The installation for a start, or to be checked: all faults of its files are named.
    pub(crate) fn whole_site(&self) -> Result<Site, CliError> {
        self.located(Site::load_whole(&self.dir, self.config.as_deref()))
    }

    fn located(&self, site: Result<Site, StartError>) -> Result<Site, CliError> {
        site.map_err(|error| {
            let error = CliError::from(error);
            if self.is_installed() {
                error
            } else {
                let what = format!("no installation in {}", self.dir.display());
                CliError::new(Exit::NotFound, what)
                    .remedy("make one with `oncegate init`, or name it: --dir DIR or ONCEGATE_DIR")
            }
        })
    }

    /// Whether `init` was here.
    pub(crate) fn is_installed(&self) -> bool {
        // A directory that may not be read is not an empty one: reading the file says so.
        let file = self.dir.join("oncegate.toml");
        self.config.is_some() || file.try_exists().unwrap_or(true)
    }

    /// The way to the API.
    pub(crate) async fn transport(&self) -> Result<Transport, CliError> {
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
    pub(crate) fn local_only(&self, command: &str) -> Result<(), CliError> {
        match self.server {
            None => Ok(()),
            Some(_) => Err(
                CliError::usage(format!("`{command}` works on this machine's files"))
                    .remedy("leave --server (and ONCEGATE_SERVER) out"),
            ),
        }
    }

    /// This program with `words`, as it can be pasted into a shell to mean the same installation.
    pub(crate) fn command(&self, words: &str) -> String {
        let mut command = program(words);
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

    /// A remedy whose commands mean the same installation when they are pasted: those between grave accents, and
    /// those that stand alone, up to the next mark of punctuation.
    pub(crate) fn advice(&self, remedy: &str) -> String {
        let parts = remedy.split('`').enumerate();
        let parts = parts.map(|(at, part)| match part.strip_prefix("oncegate ") {
            // Every second part stands between two accents.
            Some(words) if at % 2 == 1 => self.pasted(words),
            _ if at % 2 == 0 => self.bare(part),
            _ => part.to_owned(),
        });
        parts.collect::<Vec<_>>().join("`")
    }

    /// Text between the accents, where a command may stand, too.
    fn bare(&self, text: &str) -> String {
        let (mut advice, mut rest) = (String::new(), text);
        while let Some((before, behind)) = rest.split_once(PROGRAM) {
            advice.push_str(before);
            let begins = before.is_empty() || before.ends_with([' ', '(']);
            let first = behind.split(' ').next().unwrap_or_default();
            if begins && COMMANDS.contains(&first.trim_end_matches([';', ',', ')', ':', '.'])) {
                let (words, after) = behind.split_at(end_of_command(behind));
                advice.push_str(&self.pasted(words));
                rest = after;
            } else {
                advice.push_str(PROGRAM);
                rest = behind;
            }
        }
        advice.push_str(rest);
        advice
    }

    fn pasted(&self, words: &str) -> String {
        let first = words.split(' ').next().unwrap_or_default();
        let named = words.contains("--dir") || words.contains("--server");
        // A device has its state in a file of its own; some commands need no installation.
        if named || ["device", "manual", "quickstart"].contains(&first) {
            return program(words);
        }
        self.command(words)
    }
}

/// This program with `words`, for a command that needs no installation.
pub(crate) fn program(words: &str) -> String {
    let program = std::env::args().next().unwrap_or_default();
    let program = if program.contains('/') {
        output::shell_word(&program).into_owned()
    } else {
        "oncegate".to_owned()
    };
    format!("{program} {words}")
}

/// Where a command ends that stands in a text: at a mark of punctuation outside quotation marks.
fn end_of_command(text: &str) -> usize {
    let mut quoted = false;
    let ends = |(at, mark): &(usize, char)| {
        quoted ^= *mark == '\'';
        let next = text.get(at + 1..).unwrap_or_default();
        let is_last = next.is_empty() || next.starts_with(' ');
        !quoted
            && (matches!(mark, ';' | ',' | ')' | '(' | '\n')
                || (matches!(mark, ':' | '.') && is_last))
    };
    let end = text
        .char_indices()
        .find(ends)
        .map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or_default().trim_end().len()
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

/// What may follow it: the commands.
pub(super) const COMMANDS: [&str; 39] = [
    "quickstart",
    "init",
    "setup",
    "serve",
    "status",
    "console-link",
    "admin",
    "doctor",
    "reload",
    "store",
    "key",
    "backup",
    "restore",
    "upgrade",
    "config",
    "delivery",
    "source",
    "user",
    "token",
    "import",
    "delegation",
    "outage",
    "client",
    "device",
    "radius",
    "session",
    "policy",
    "enrol",
    "verify",
    "audit",
    "tail",
    "explain",
    "code",
    "clock",
    "bench",
    "completions",
    "man",
    "manual",
    "version",
];
/// What a command in a text begins with.
const PROGRAM: &str = "oncegate ";
/// Where an installation is when no option or variable says otherwise.
const DEFAULT_DIR: &str = "./oncegate-data";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_means_the_installation_that_was_named() {
        let context = Context {
            dir: PathBuf::from("/srv/a b"),
            config: None,
            server: None,
            key_file: None,
            ca_file: None,
            out: Output::default(),
        };
        let advice =
            context.advice("see `oncegate config check`, `master.key` or `oncegate manual`");
        let shown = advice.replace(&program(""), "P ");
        assert_eq!(
            shown,
            "see `P config check --dir '/srv/a b'`, `master.key` or `P manual`"
        );
    }

    #[test]
    fn commands_without_accents_mean_that_installation_too() {
        let context = Context {
            dir: PathBuf::from("d2"),
            config: None,
            server: None,
            key_file: None,
            ca_file: None,
            out: Output::default(),
        };
        for (text, wanted) in [
            ("oncegate init", "P init --dir d2"),
            (
                "change it: oncegate user set 'a, b'@r; a new one: oncegate user add a",
                "change it: P user set 'a, b'@r --dir d2; a new one: P user add a --dir d2",
            ),
            (
                "ask (oncegate explain USER), then",
                "ask (P explain USER --dir d2), then",
            ),
            ("oncegate init --dir other", "P init --dir other"),
            ("more: oncegate manual sources", "more: P manual sources"),
            (
                "use an oncegate of the server's version",
                "use an oncegate of the server's version",
            ),
        ] {
            assert_eq!(context.advice(text).replace(&program(""), "P "), wanted);
        }
    }

    #[test]
    fn the_directory_is_named_by_dir_or_by_the_configuration() {
        let of = |dir: Option<&str>, config: Option<&str>| {
            let dir = directory(dir.map(PathBuf::from), config.map(Path::new));
            dir.to_string_lossy().into_owned()
        };
        assert_eq!(of(None, None), DEFAULT_DIR);
        assert_eq!(
            of(None, Some("/etc/oncegate/oncegate.toml")),
            "/etc/oncegate"
        );
        assert_eq!(of(None, Some("oncegate.toml")), ".");
        assert_eq!(
            of(Some("/var/lib/oncegate"), Some("/etc/x.toml")),
            "/var/lib/oncegate"
        );
    }
}
