//! Words of the command line that are not ours: other names of verbs and nouns, and what to type
//! instead of a word that has no certain meaning here.

use std::ffi::OsString;

use clap::{Args, Command, CommandFactory as _};
use serde_json::json;

use crate::cli::Cli;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};

/// Print the version
#[derive(Debug, Args)]
pub(super) struct Version {}

impl Version {
    #[allow(clippy::unused_self)] // like its neighbours
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let version = env!("CARGO_PKG_VERSION");
        context.out.show(&json!({ "version": version }), |_| {
            format!("oncegate {version}\n")
        })?;
        Ok(Exit::Done)
    }
}

/// Two ways to name a user.
#[derive(Debug, Args)]
#[group(id = "whose", multiple = false)]
pub(super) struct Whose {
    /// Only of this user: NAME, NAME@REALM or DOMAIN\NAME
    #[arg(value_name = "USER")]
    user: Option<String>,
    /// The same, as an option
    #[arg(long = "user", value_name = "USER")]
    user_option: Option<String>,
}

impl Whose {
    pub(super) fn user(&self) -> Option<String> {
        self.user.clone().or_else(|| self.user_option.clone())
    }
}

/// The same, where there must be one.
#[derive(Debug, Args)]
#[group(id = "whom", required = true, multiple = false)]
pub(super) struct Whom {
    /// NAME, NAME@REALM or DOMAIN\NAME
    #[arg(value_name = "USER")]
    user: Option<String>,
    /// The same, as an option
    #[arg(long = "user", value_name = "USER")]
    user_option: Option<String>,
}

impl Whom {
    pub(super) fn user(self) -> String {
        self.user
            .clone()
            .or_else(|| self.user_option.clone())
            .unwrap_or_default()
    }
}

/// The command line with all its names.
pub(super) fn definition() -> Command {
    with_aliases(Cli::command())
}

fn with_aliases(command: Command) -> Command {
    let own = command.get_subcommands();
    let own: Vec<String> = own.map(|one| one.get_name().to_owned()).collect();
    own.iter().fold(command, |command, name| {
        let others = NAMES.iter().filter(|(ours, _)| ours == name);
        let others = others.flat_map(|(_, others)| others.iter().copied());
        let free = others.filter(|other| !own.iter().any(|name| name == other));
        command.mut_subcommand(name, |inner| with_aliases(inner).aliases(free))
    })
}

/// Leaves hidden names out of what the parser suggests: an alias stands for the name in the help.
pub(super) fn visible(error: &mut clap::Error, words: &[OsString]) {
    use clap::error::{ContextKind, ContextValue};

    let here = command_at(&walk(words).0);
    for kind in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg] {
        let suggested = match error.get(kind) {
            Some(ContextValue::Strings(all)) => all.clone(),
            Some(ContextValue::String(one)) => vec![one.clone()],
            _ => continue,
        };
        let mut shown: Vec<String> = Vec::new();
        for name in suggested {
            let name = match kind {
                ContextKind::SuggestedSubcommand => here.find_subcommand(&name),
                _ => None,
            }
            .map_or(name, |command| command.get_name().to_owned());
            let hidden = here.get_arguments().any(|argument| {
                let long = argument.get_long().map(|long| format!("--{long}"));
                argument.is_hide_set() && long.as_deref() == Some(name.as_str())
            });
            if !hidden && !shown.contains(&name) {
                shown.push(name);
            }
        }
        let value = if shown.is_empty() {
            ContextValue::None
        } else {
            ContextValue::Strings(shown)
        };
        error.insert(kind, value);
    }
}

/// The command at a path of names.
fn command_at(path: &str) -> Command {
    let mut root = definition();
    root.build();
    let names = path.split_whitespace();
    names.fold(root, |here, name| {
        here.find_subcommand(name).cloned().unwrap_or(here)
    })
}

/// What to type instead of what was not understood.
pub(super) fn advice(error: &clap::Error, words: &[OsString]) -> Option<String> {
    use clap::error::{ContextKind, ContextValue};

    let (path, unknown) = walk(words);
    let refused = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => text.split(['=', ' ']).next().map(str::to_owned),
        _ => None,
    };
    let word = unknown.or(refused)?;
    let is_word = |words: &[&str]| words.is_empty() || words.contains(&word.as_str());
    let found = ADVICE
        .iter()
        .find(|(place, words, _)| *place == path && is_word(words));
    let advice = found.map(|(_, _, advice)| (*advice).to_owned());
    advice.or_else(|| by_noun(&path, &word, error))
}

/// Where a user, a token or a client was named in the place of a verb.
fn by_noun(path: &str, word: &str, error: &clap::Error) -> Option<String> {
    let similar = error.get(clap::error::ContextKind::SuggestedSubcommand);
    let nouns = ["user", "token", "client", "policy", "device"];
    let given = word.contains('@') || word.contains('\\') || word.contains(char::is_uppercase);
    if !nouns.contains(&path) || word.starts_with('-') || (similar.is_some() && !given) {
        return None;
    }
    Some(if given && path != "policy" {
        format!("a verb comes first: oncegate {path} show {word}")
    } else {
        format!("`oncegate {path} --help` lists the verbs")
    })
}

/// The commands that were understood, and the first word after them that was not.
fn walk(words: &[OsString]) -> (String, Option<String>) {
    let mut root = definition();
    root.build();
    let mut here = &root;
    let mut path: Vec<&str> = Vec::new();
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        let Some(word) = word.to_str() else { continue };
        if word.starts_with('-') {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let known = here.get_arguments().find(|argument| {
                let long = argument.get_long().map(|long| format!("--{long}"));
                let short = argument.get_short().map(|short| format!("-{short}"));
                long.as_deref() == Some(name) || short.as_deref() == Some(name)
            });
            match known {
                None => return (path.join(" "), Some(name.to_owned())),
                Some(argument) if argument.get_action().takes_values() && value.is_empty() => {
                    words.next();
                }
                Some(_) => {}
            }
        } else if let Some(inner) = here.find_subcommand(word) {
            here = inner;
            path.push(here.get_name());
        } else if here.has_subcommands() {
            return (path.join(" "), Some(word.to_owned()));
        }
    }
    (path.join(" "), None)
}

/// What libraries say of a value, in our words.
pub(super) fn plain(text: &str) -> String {
    let said = SAID.iter();
    said.fold(text.to_owned(), |text, (theirs, ours)| {
        text.replace(theirs, ours)
    })
}

const SAID: &[(&str, &str)] = &[
    ("invalid digit found in string", "write a whole number"),
    (
        "cannot parse integer from empty string",
        "write a whole number",
    ),
    (
        "number too large to fit in target type",
        "the number is too large",
    ),
    (
        "number too small to fit in target type",
        "the number is too small",
    ),
    ("invalid float literal", "write a number"),
    (
        "invalid socket address syntax",
        "write ADDR:PORT, as 127.0.0.1:1812 or [::1]:1812",
    ),
    (
        "invalid IP address syntax",
        "write an IP address, as 192.0.2.10 or 2001:db8::10",
    ),
];

/// Names whose meaning is certain, wherever a command has ours.
const NAMES: &[(&str, &[&str])] = &[
    ("add", &["create", "new", "make"]),
    ("remove", &["delete", "rm", "del"]),
    ("list", &["ls"]),
    ("show", &["get", "view", "info"]),
    ("set", &["edit", "change", "update", "modify"]),
    ("search", &["find"]),
    ("disable", &["block", "deactivate"]),
    ("enable", &["unblock"]),
    ("check", &["validate", "lint"]),
    ("resync", &["sync", "resynchronise", "resynchronize"]),
    ("export", &["dump"]),
    ("declare", &["start", "begin"]),
    ("end", &["stop"]),
    ("enroll", &["enrol"]),
    ("completions", &["completion"]),
    ("quickstart", &["demo"]),
    ("doctor", &["diagnose"]),
    ("user", &["users"]),
    ("token", &["tokens"]),
    ("client", &["clients", "nas"]),
    ("device", &["devices"]),
    ("session", &["sessions", "accounting"]),
    ("policy", &["policies"]),
    ("delegation", &["delegations"]),
    ("outage", &["outages"]),
];

/// Where, which words (none: any), and what to type instead.
const ADVICE: &[(&str, &[&str], &str)] = &[
    (
        "",
        &["log", "logs", "journal"],
        "decisions as they happen: oncegate tail; past ones: oncegate audit list; the daemon's own log is on its \
      standard error (journalctl -u oncegate)",
    ),
    (
        "",
        &["start", "run", "server", "daemon", "up"],
        "run the daemon: oncegate serve",
    ),
    (
        "",
        &["stop", "shutdown", "down", "kill"],
        "send the daemon SIGTERM: systemctl stop oncegate, or Ctrl-C where it runs",
    ),
    (
        "",
        &["restart"],
        "systemctl restart oncegate; to read policies again: oncegate reload",
    ),
    (
        "",
        &["login", "auth", "authenticate", "test", "radtest"],
        "ask about a code: oncegate verify USER; about a policy: oncegate explain --user USER --client NAME",
    ),
    (
        "",
        &["enroll", "enrol"],
        "a user and a token: oncegate user add NAME, then oncegate token add NAME; a device: oncegate device enroll",
    ),
    (
        "",
        &["otp", "totp", "hotp"],
        "make a token: oncegate token add USER; ask about a code: oncegate verify USER",
    ),
    (
        "",
        &["add", "create", "new"],
        "the noun comes first: oncegate user add NAME, oncegate token add USER, oncegate client add radius NAME",
    ),
    (
        "",
        &["list", "ls"],
        "the noun comes first: oncegate user list, oncegate token list, oncegate client list",
    ),
    (
        "",
        &["show", "get"],
        "the noun comes first: oncegate user show NAME, oncegate token show SERIAL, oncegate client show NAME",
    ),
    (
        "",
        &["remove", "delete", "rm", "del"],
        "the noun comes first: oncegate user remove NAME, oncegate token remove SERIAL, oncegate client remove NAME",
    ),
    (
        "",
        &["search", "find"],
        "find users: oncegate user search TEXT; decisions: oncegate audit list USER",
    ),
    ("", &["unlock"], "oncegate user unlock NAME"),
    (
        "",
        &["check", "validate", "lint"],
        "configuration and policies: oncegate config check; the installation: oncegate doctor",
    ),
    ("", &["health", "ping"], "oncegate status"),
    ("", &["why"], "oncegate explain REQUEST_ID"),
    (
        "",
        &["passwd", "password", "pin"],
        "oncegate user set NAME --password-stdin, or --pin-stdin: it is asked for at a terminal",
    ),
    (
        "",
        &["radius", "secret"],
        "oncegate client add radius NAME --address CIDR",
    ),
    (
        "",
        &["key", "apikey", "api"],
        "make an API key: oncegate client add api NAME",
    ),
    (
        "status",
        &["--watch", "-w", "--follow", "-f"],
        "repeat it: watch -n 5 oncegate status; decisions as they happen: oncegate tail",
    ),
    (
        "user",
        &["lock", "suspend"],
        "reject a user whatever they type: oncegate user disable NAME; a lock comes of failures and ends by \
      `oncegate user unlock NAME`",
    ),
    (
        "user",
        &["activate", "resume"],
        "let a disabled user in again: oncegate user enable NAME; end a lock: oncegate user unlock NAME",
    ),
    (
        "user",
        &["reset"],
        "end a lock: oncegate user unlock NAME; a new password: oncegate user set NAME --password-stdin",
    ),
    (
        "user",
        &["passwd", "password"],
        "oncegate user set NAME --password-stdin: it is asked for at a terminal",
    ),
    (
        "user",
        &["pin"],
        "oncegate user set NAME --pin-stdin: it is asked for at a terminal",
    ),
    (
        "user",
        &["rename", "move"],
        "a user keeps the name: make the new one with oncegate user add, then oncegate user remove the old one",
    ),
    ("user", &["status"], "oncegate user show NAME"),
    ("user", &["token", "tokens"], "oncegate token list NAME"),
    (
        "user",
        &["group", "groups"],
        "oncegate user set NAME --group GROUP: all groups, repeat --group for more",
    ),
    (
        "user",
        &["log", "logs", "audit"],
        "oncegate audit list NAME",
    ),
    (
        "user list",
        &[],
        "one user: oncegate user show NAME; some: oncegate user search TEXT, or --group GROUP",
    ),
    (
        "token",
        &["disable", "lock", "pause", "block"],
        "for a while: oncegate token suspend SERIAL; for ever: oncegate token revoke SERIAL",
    ),
    (
        "token",
        &["enable", "activate", "unblock"],
        "a suspended one: oncegate token resume SERIAL; a pending one: oncegate token confirm SERIAL",
    ),
    (
        "token",
        &["unlock", "reset"],
        "end a lock: oncegate user unlock NAME; a code that is out of step: oncegate token resync SERIAL",
    ),
    (
        "token",
        &["enroll", "enrol", "init", "generate"],
        "oncegate token add USER",
    ),
    (
        "token",
        &["assign"],
        "tokens are made for their user: oncegate token add USER; many: oncegate token import FILE",
    ),
    (
        "token",
        &["verify", "test"],
        "prove a pending token: oncegate token confirm SERIAL; a login: oncegate verify USER",
    ),
    (
        "token",
        &["qr", "qrcode"],
        "the QR code is shown once, by oncegate token add USER; make a new token and remove the old one",
    ),
    (
        "token",
        &["search", "find"],
        "by user: oncegate token list USER; by part of a serial: oncegate user search TEXT",
    ),
    (
        "token",
        &["set", "edit", "change", "update", "modify"],
        "a token keeps what it is: oncegate token add USER --replaces SERIAL makes its successor",
    ),
    (
        "import",
        &["--update", "--disable-missing", "--force"],
        "it is of users alone: oncegate user import FILE",
    ),
    (
        "import",
        &["--format", "--key-stdin", "--user", "--link", "--period"],
        "it is of tokens alone: oncegate token import FILE",
    ),
    (
        "client add",
        &[],
        "say which kind: oncegate client add radius NAME --address CIDR, or oncegate client add api NAME",
    ),
    (
        "client",
        &["disable", "enable"],
        "a client is there or not: oncegate client remove NAME; a new secret: oncegate client rotate NAME",
    ),
    (
        "client",
        &["secret", "key", "regenerate", "rekey", "renew"],
        "oncegate client rotate NAME",
    ),
    (
        "policy",
        &[
            "add", "create", "new", "set", "edit", "remove", "delete", "rm", "del", "show", "get",
            "view",
        ],
        "a policy is the file policies/NAME.toml of the installation: edit it, then `oncegate policy check`, then \
      `oncegate reload`",
    ),
    ("policy", &["load"], "oncegate reload"),
    (
        "policy",
        &["explain"],
        "oncegate explain --user USER --client NAME",
    ),
    (
        "audit",
        &["show", "search", "find", "log", "query", "get", "view"],
        "oncegate audit list",
    ),
    ("audit", &["check"], "oncegate audit verify"),
    (
        "audit",
        &["clear", "delete", "remove", "rm", "del", "purge"],
        "oncegate audit prune --before 400d",
    ),
    (
        "config",
        &["set", "edit", "change"],
        "edit oncegate.toml, then oncegate config check",
    ),
    ("config", &["test"], "oncegate config check"),
    ("config", &["reload"], "oncegate reload"),
    (
        "delivery",
        &["add", "create", "new", "set"],
        "a gateway is a table [delivery.NAME] in oncegate.toml; then restart the daemon",
    ),
    (
        "delivery",
        &["send"],
        "oncegate delivery test NAME --to ADDRESS",
    ),
    (
        "source",
        &["add", "create", "new", "set"],
        "a source is a table [source.NAME] in oncegate.toml; then restart the daemon: oncegate manual sources",
    ),
    ("source", &["list", "status"], "oncegate source show"),
    (
        "source",
        &["import", "update", "run", "pull"],
        "oncegate source sync NAME",
    ),
    (
        "outage",
        &["add", "create", "new"],
        "oncegate outage declare --for 1h --reason WHY",
    ),
    (
        "device",
        &["add", "create", "new"],
        "a device enrols itself: oncegate token add USER --kind server, oncegate token offer SERIAL, then \
      oncegate device enroll",
    ),
];
