//! Failures of a command: what was wrong, where, what to do next, and the exit code.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use hyper::StatusCode;
use serde_json::json;

use crate::api::Problem;
use crate::daemon::StartError;
use crate::diagnostic::{Colour, Diagnostic, render_all};
use crate::text::printable;

/// How a command ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// Yes, or done.
    Done = 0,
    /// The answer is no.
    No = 1,
    /// The command line or a value on it is wrong.
    Usage = 2,
    /// Server or store are not available, or refuse to talk to us.
    Unavailable = 3,
    /// There is no such record.
    NotFound = 4,
    /// It exists already, or is in another state.
    Conflict = 5,
}

impl Exit {
    fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::No => "no",
            Self::Usage => "usage",
            Self::Unavailable => "unavailable",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
        }
    }

    /// What to do next where nothing better is known. A no needs nothing.
    const fn remedy(self) -> Option<&'static str> {
        match self {
            Self::Done | Self::No => None,
            Self::Usage => {
                Some("correct it, and repeat the command; with --help it says what it takes")
            }
            Self::Unavailable => Some("see `oncegate status`, then repeat the command"),
            Self::NotFound => {
                Some("see that the name is right; the noun's `list` shows what there is")
            }
            Self::Conflict => Some(
                "look at its present state with the noun's `show`: what that is decides what can be done",
            ),
        }
    }
}

/// What to do about a file that is not there, and about one that may not be read.
const NO_FILE: &str =
    "see that its name is right; one that does not begin with / is looked for in this directory";
const NOT_ALLOWED: &str = "run the command as a user who may read it";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ended without its result.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) exit: Exit,
    /// `None` when the kind of failure has no name of its own.
    kind: Option<String>,
    status: Option<u16>,
    message: Cow<'static, str>,
    remedy: Option<Cow<'static, str>>,
    findings: Vec<Diagnostic>,
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            exit,
            kind: None,
            status: None,
            message: message.into(),
            remedy: None,
            findings: Vec::new(),
        }
    }

    pub(crate) fn usage(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Exit::Unavailable, message)
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<Cow<'static, str>>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// What to do next, unless that was said already.
    pub(crate) fn remedy_or(mut self, remedy: impl Into<Cow<'static, str>>) -> Self {
        self.remedy.get_or_insert_with(|| remedy.into());
        self
    }

    /// The same with its advice in other words, and with that of its kind where none was given.
    pub(crate) fn advised(mut self, words: impl FnOnce(&str) -> String) -> Self {
        let remedy = self.remedy.as_deref().or_else(|| self.exit.remedy());
        self.remedy = remedy.map(|remedy| words(remedy).into());
        self
    }

    /// A file that was named on the command line and cannot be read.
    pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let (exit, remedy) = match error.kind() {
            io::ErrorKind::NotFound => (Exit::NotFound, NO_FILE),
            io::ErrorKind::PermissionDenied => (Exit::Unavailable, NOT_ALLOWED),
            io::ErrorKind::IsADirectory => (Exit::Usage, "name a file in it"),
            io::ErrorKind::InvalidData => (Exit::Usage, "save it as UTF-8 text"),
            _ => (Exit::Unavailable, "see that its disk can be read"),
        };
        Self::new(exit, format!("{} cannot be read: {error}", path.display())).remedy(remedy)
    }

    /// Whether a server answered, and refused.
    pub(crate) const fn is_answer(&self) -> bool {
        self.status.is_some()
    }

    pub(crate) fn findings(mut self, findings: Vec<Diagnostic>) -> Self {
        self.findings = findings;
        self
    }

    /// What is wrong, and what to do.
    pub(crate) fn words(&self) -> (String, Option<&str>) {
        let mut message = self.message.to_string();
        for finding in &self.findings {
            message.push_str("; ");
            message.push_str(&finding.to_string());
        }
        (message, self.remedy.as_deref())
    }

    /// A complaint about one option where the value came from another one.
    pub(crate) fn option(mut self, of_server: &str, given: &str) -> Self {
        if let Some(complaint) = self.message.strip_prefix(&format!("--{of_server}: ")) {
            self.message = format!("--{given}: {complaint}").into();
        }
        self
    }

    /// What is wrong and what to do, on one line.
    pub(crate) fn line(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{}; {remedy}", self.message),
            None => self.message.to_string(),
        }
    }

    /// What is wrong, on one line: the findings with their places, where there are any.
    pub(crate) fn places(&self) -> String {
        if self.findings.is_empty() {
            return self.message.to_string();
        }
        let findings: Vec<String> = self.findings.iter().map(Diagnostic::placed).collect();
        findings.join("; ")
    }

    /// What an answer that is not a success means here.
    pub(crate) fn answer(status: StatusCode, body: &[u8], access: &'static str) -> Self {
        let problem: Option<Problem> = serde_json::from_slice(body).ok();
        let refused = problem
            .as_ref()
            .is_some_and(|problem| problem.kind.ends_with("refused"));
        let exit = match status {
            _ if refused => Exit::No,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
                Exit::Unavailable
            }
            StatusCode::NOT_FOUND => Exit::NotFound,
            StatusCode::CONFLICT
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::PRECONDITION_REQUIRED => Exit::Conflict,
            status if status.is_client_error() => Exit::Usage,
            _ => Exit::Unavailable,
        };
        let told = problem.as_ref().and_then(|problem| problem.remedy.clone());
        let message = match &problem {
            Some(problem) => option_named(&problem.detail),
            None => format!("the server answered {status} and did not say why"),
        };
        let remedy = match status {
            _ if told.is_some() => told.map(Cow::Owned),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(access.into()),
            StatusCode::TOO_MANY_REQUESTS => Some("wait a moment, then repeat the command".into()),
            _ => None,
        };
        Self {
            exit,
            kind: problem.map(|problem| problem.kind),
            status: Some(status.as_u16()),
            message: message.into(),
            remedy,
            findings: Vec::new(),
        }
    }

    /// For people: findings with their carets, then what is wrong, then what to do.
    pub(crate) fn text(&self, colour: Colour) -> String {
        let mut text = String::new();
        if !self.findings.is_empty() {
            text.push_str(&render_all(&self.findings, colour));
            text.push_str("\n\n");
        }
        let (red, bold, reset) = match colour {
            Colour::Ansi => ("\u{1b}[1;31m", "\u{1b}[1m", "\u{1b}[0m"),
            Colour::Plain => ("", "", ""),
        };
        push!(text, "{red}error{reset}: {}\n", printable(&self.message));
        if let Some(remedy) = &self.remedy {
            push!(text, "{bold}next{reset}:  {}\n", printable(remedy));
        }
        text
    }

    /// For programs: a problem with the exit code.
    pub(crate) fn json(&self) -> serde_json::Value {
        let findings: Vec<_> = self.findings.iter().map(Diagnostic::finding).collect();
        let kind = self.kind.clone();
        json!({ "error": {
            "type": kind.unwrap_or_else(|| format!("urn:oncegate:problem:{}", self.exit.word())),
            "status": self.status,
            "detail": self.message,
            "remedy": self.remedy,
            "findings": findings,
            "exit": self.exit as u8,
        }})
    }
}

/// A complaint about a field of the API in the words of the command line: `birth_date: ..` was
/// given as `--birth-date`.
fn option_named(detail: &str) -> String {
    let Some((field, complaint)) = detail.split_once(": ") else {
        return detail.to_owned();
    };
    let option = match field {
        "addresses" => "address",
        "for_secs" => "for",
        "grace_secs" => "grace",
        "valid_for_secs" => "valid_for",
        "retry_window" => "retry_window",
        "groups" => "group",
        "scopes" => "scope",
        "action"
        | "address"
        | "after"
        | "alias"
        | "algorithm"
        | "birth_date"
        | "class"
        | "by"
        | "count"
        | "counter"
        | "digits"
        | "email"
        | "expires"
        | "display_name"
        | "for"
        | "from"
        | "group"
        | "kind"
        | "language"
        | "limit"
        | "on_behalf"
        | "period"
        | "phone"
        | "policy"
        | "private_id"
        | "profile"
        | "public_id"
        | "realm"
        | "reason"
        | "replaces"
        | "require_message_authenticator"
        | "scope"
        | "serial"
        | "server_url"
        | "to"
        | "until"
        | "valid_for" => field,
        _ => return detail.to_owned(),
    };
    format!("--{}: {complaint}", option.replace('_', "-"))
}

/// The reader of our output has seen enough: a success (`oncegate audit export | head`).
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::Done, ""),
            _ => Self::unavailable(format!("cannot write the output: {error}")),
        }
    }
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        let message = error.to_string();
        match error {
            StartError::Findings(findings) => Self::usage(message)
                .findings(findings)
                .remedy("correct the lines above; `oncegate config check` reads them again"),
            StartError::Conflict { remedy, .. } => {
                Self::new(Exit::Conflict, message).remedy(remedy)
            }
            StartError::InUse { .. } => Self::unavailable(message).remedy(
                "a daemon or another command works on this directory: commands reach a daemon by \
                 themselves; stop it to start another",
            ),
            StartError::Failed { remedy, .. } => Self::unavailable(message).remedy(remedy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit_of(status: u16, kind: &str) -> Exit {
        let body = json!({"type": kind, "title": "t", "status": status, "detail": "d"});
        let status = StatusCode::from_u16(status).unwrap();
        CliError::answer(status, body.to_string().as_bytes(), "log in").exit
    }

    #[test]
    fn statuses_become_exit_codes() {
        let plain = "urn:oncegate:problem:x";
        for (status, exit) in [
            (400, Exit::Usage),
            (401, Exit::Unavailable),
            (403, Exit::Unavailable),
            (404, Exit::NotFound),
            (409, Exit::Conflict),
            (412, Exit::Conflict),
            (413, Exit::Usage),
            (429, Exit::Unavailable),
            (500, Exit::Unavailable),
            (503, Exit::Unavailable),
        ] {
            assert_eq!(exit_of(status, plain), exit, "{status}");
        }
    }

    #[test]
    fn fields_are_told_as_options() {
        for (told, shown) in [
            ("birth_date: no", "--birth-date: no"),
            ("grace_secs: at most 90 days", "--grace: at most 90 days"),
            ("private_id: 12 digits", "--private-id: 12 digits"),
            ("public_id: modhex", "--public-id: modhex"),
            (
                "user: the user name is empty",
                "user: the user name is empty",
            ),
            ("there is no user x", "there is no user x"),
        ] {
            assert_eq!(option_named(told), shown);
        }
    }

    #[test]
    fn every_error_but_a_no_says_what_to_do_next() {
        for exit in [
            Exit::Usage,
            Exit::Unavailable,
            Exit::NotFound,
            Exit::Conflict,
        ] {
            let error = CliError::new(exit, "x").advised(str::to_owned);
            assert!(error.words().1.is_some(), "{exit:?}");
            let own = CliError::new(exit, "x").remedy("y").advised(str::to_owned);
            assert_eq!(own.words().1, Some("y"));
        }
        let no = CliError::new(Exit::No, "stopped").advised(str::to_owned);
        assert_eq!(no.words().1, None);
    }

    #[test]
    fn a_refused_code_is_a_no() {
        assert_eq!(exit_of(409, "urn:oncegate:problem:refused"), Exit::No);
        assert_eq!(exit_of(422, "urn:oncegate:problem:code-refused"), Exit::No);
    }

    #[test]
    fn an_answer_that_is_no_problem_document_still_says_something() {
        let error = CliError::answer(StatusCode::BAD_GATEWAY, b"<html>", "log in");
        let text = error.text(Colour::Plain);
        assert!(text.contains("502 Bad Gateway"), "{text}");
        assert_eq!(error.json()["error"]["exit"], 3);
    }

    #[test]
    fn hostile_text_cannot_drive_the_terminal() {
        let error = CliError::usage("user \u{1b}[2J\u{7}\u{202e}");
        let text = error.text(Colour::Plain);
        assert!(
            !text.contains('\u{1b}') && !text.contains('\u{202e}'),
            "{text:?}"
        );
    }

    #[test]
    fn a_closed_pipe_is_success() {
        let error = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(error.exit, Exit::Done);
    }
}
