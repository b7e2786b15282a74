//! What doctor found, line by line.

use owo_colors::OwoColorize as _;
use serde::Serialize;

use crate::cli::error::CliError;
use crate::cli::output::{count, printable};

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli) enum State {
    Ok,
    Warning,
    Failure,
}

/// One line of the report.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Check {
    #[serde(rename = "check")]
    pub(in crate::cli) about: &'static str,
    pub(in crate::cli) state: State,
    pub(in crate::cli) found: String,
    pub(in crate::cli) fix: Option<String>,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(in crate::cli) struct Report(pub(in crate::cli) Vec<Check>);

impl Report {
    pub(in crate::cli) fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.0.push(Check {
            about: check,
            state: State::Ok,
            found: found.into(),
            fix: None,
        });
    }

    pub(in crate::cli) fn warning(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let (found, fix) = (found.into(), Some(fix.into()));
        self.0.push(Check {
            about: check,
            state: State::Warning,
            found,
            fix,
        });
    }

    pub(in crate::cli) fn failure(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let (found, fix) = (found.into(), Some(fix.into()));
        self.0.push(Check {
            about: check,
            state: State::Failure,
            found,
            fix,
        });
    }

    pub(in crate::cli) fn failed(&mut self, check: &'static str, error: &CliError) {
        let (found, fix) = error.words();
        self.failure(check, found, fix.unwrap_or("see `oncegate config check`"));
    }

    /// Puts every fix into other words.
    pub(in crate::cli) fn advise(&mut self, words: impl Fn(&str) -> String) {
        for check in &mut self.0 {
            check.fix = check.fix.as_deref().map(&words);
        }
    }

    pub(in crate::cli) fn count(&self, state: State) -> usize {
        self.0.iter().filter(|check| check.state == state).count()
    }

    pub(in crate::cli) fn text(&self) -> String {
        let mut text = String::new();
        for check in &self.0 {
            let state = match check.state {
                State::Ok => format!("{:<7}", "ok").green().to_string(),
                State::Warning => format!("{:<7}", "warning").yellow().to_string(),
                State::Failure => format!("{:<7}", "failure").red().to_string(),
            };
            push!(
                text,
                "{state}  {:<9} {}\n",
                check.about,
                printable(&check.found)
            );
            if let Some(fix) = &check.fix {
                push!(text, "{:>20}fix: {}\n", "", printable(fix));
            }
        }
        let (warnings, failures) = (self.count(State::Warning), self.count(State::Failure));
        let warnings = count(warnings as u64, "warning");
        let failures = count(failures as u64, "failure");
        push!(text, "{warnings}, {failures}\n");
        text
    }
}

/// What to do about a certificate.
pub(in crate::cli) const RENEW: &str = "renew the certificate, then `oncegate reload`";
