//! `oncegate policy`: what clients' users must present.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use crate::api::{ListPolicies, Policies};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output;
use crate::cli::output::{Output, Table, joined, printable};
use crate::cli::reload::Reload;
use crate::daemon;
use crate::daemon::{Site, StartError};
use crate::diagnostic::{Diagnostic, Severity, Source, render_all};
use crate::policy;
use crate::policy::{Factor, TestOutcome};

mod draft;

/// List, check and test policies, and propose changes of them
#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// List the loaded policies
    List,
    /// Check policy files without loading them
    #[command(after_help = "Examples:\n  oncegate policy check\n  oncegate policy check vpn.toml")]
    Check(Files),
    /// Run the `[[test]]` cases inside policy files; a failing one also blocks a reload
    #[command(after_help = "Example:\n  oncegate policy test policies/vpn.toml")]
    Test(Files),
    /// Propose changes of policy files, try them on past logins, and approve those of others
    #[command(subcommand)]
    Draft(draft::Draft),
    /// As `oncegate reload`
    #[command(hide = true)]
    Reload(Reload),
}

#[derive(Debug, Args)]
pub(super) struct Files {
    /// Policy files or directories of them [default: the policies of DIR]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct CaseReport<'a> {
    policy: &'a str,
    name: &'a str,
    place: &'a str,
    passed: bool,
    failure: Option<crate::diagnostic::Finding<'a>>,
}

#[derive(Serialize)]
struct RuleReport<'a> {
    policy: &'a str,
    name: &'a str,
    place: String,
    when: Vec<String>,
    require: Vec<&'static str>,
    alternatives: Vec<&'static str>,
    outage: Option<&'static str>,
    exempt: Vec<&'static str>,
    present: &'static str,
    assurance: u8,
    min_assurance: u8,
    bypass: bool,
    name_rules: Vec<String>,
}

impl<'a> RuleReport<'a> {
    fn all(policy: &'a policy::Policy) -> impl Iterator<Item = Self> {
        let words = |factors: &[Factor]| factors.iter().map(|factor| factor.as_str()).collect();
        policy.rules.iter().map(move |rule| {
            let when = rule.when.iter();
            let when = when.map(|one| format!("{} {}", one.key(), one.wanted_text()));
            Self {
                policy: &policy.name,
                name: &rule.name,
                place: rule.file_line(),
                when: when.collect(),
                require: words(&rule.require),
                alternatives: words(&rule.alternatives),
                outage: rule.outage.map(|outage| outage.factor.as_str()),
                exempt: words(&rule.exempt),
                present: rule.present.as_str(),
                assurance: rule.assurance(),
                min_assurance: rule.min_assurance,
                bypass: policy.bypass,
                name_rules: policy.name_rules.iter().map(ToString::to_string).collect(),
            }
        })
    }
}

impl Policy {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::List => list(context).await,
            Self::Check(files) => match files.parse(context, "policy check")? {
                Ok(policies) => faultless(context.out, &policies),
                Err(findings) => report(context.out, &findings, ""),
            },
            Self::Draft(draft) => draft.run(context).await,
            Self::Reload(reload) => reload.run(context).await,
            Self::Test(files) => match files.parse(context, "policy test")? {
                Ok(policies) => test(context.out, &policies.run_tests()),
                Err(findings) => report(context.out, &findings, ""),
            },
        }
    }
}

async fn list(context: &Context) -> Result<Exit, CliError> {
    let api = context.transport().await?;
    let Policies { policies } = api.ask::<ListPolicies>(()).await?;
    context.out.show(&json!({ "policies": policies }), |_| {
        let mut table = Table::new(&["policy", "rules", "description"]);
        for policy in &policies {
            let rules = joined(&policy.rules);
            table.row([&policy.name, &rules, &policy.description]);
        }
        table.or("No policies.")
    })?;
    Ok(Exit::Done)
}

impl Files {
    /// The policies; those of DIR are checked as a whole.
    fn parse(
        &self,
        context: &Context,
        command: &str,
    ) -> Result<Result<policy::Policies, Vec<Diagnostic>>, CliError> {
        // Files can be checked where there is no installation.
        let site = context.site().ok();
        let parsed = parse(&self.sources(context, command)?, site.as_ref())?;
        let Ok(policies) = &parsed else {
            return Ok(parsed);
        };
        if self.files.is_empty() {
            let dir = context.site()?.config.policies.dir;
            if let Some(missing) = daemon::no_default(&dir, policies) {
                return Ok(Err(vec![missing]));
            }
        }
        Ok(parsed)
    }

    fn sources(&self, context: &Context, command: &str) -> Result<Vec<Source>, CliError> {
        if self.files.is_empty() {
            context.local_only(command)?;
            return Ok(daemon::policy_files(&context.site()?.config.policies.dir)?);
        }
        let mut sources = Vec::new();
        for path in &self.files {
            if path.is_dir() {
                sources.extend(daemon::policy_files(path)?);
            } else {
                sources.push(read(path)?);
            }
        }
        Ok(sources)
    }
}

fn read(path: &Path) -> Result<Source, CliError> {
    let text = std::fs::read_to_string(path).map_err(|error| CliError::unreadable(path, &error))?;
    Ok(Source::new(path.to_string_lossy(), text))
}

/// Reads policy files as the daemon does; `Ok(Err(_))` are their faults.
pub(super) fn parse(
    files: &[Source],
    site: Option<&Site>,
) -> Result<Result<policy::Policies, Vec<Diagnostic>>, CliError> {
    match daemon::parse_policies(files, site) {
        Ok(policies) => Ok(Ok(policies)),
        Err(StartError::Findings(findings)) => Ok(Err(findings)),
        Err(error) => Err(error.into()),
    }
}

/// Prints findings with their carets; the answer is no if one is an error.
pub(super) fn report(out: Output, findings: &[Diagnostic], good: &str) -> Result<Exit, CliError> {
    let bad = findings
        .iter()
        .any(|finding| finding.severity == Severity::Error);
    let rows: Vec<_> = findings.iter().map(Diagnostic::finding).collect();
    out.show(&json!({ "ok": !bad, "findings": rows }), |_| {
        let mut text = render_all(findings, output::stdout_colour());
        if !bad {
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(good);
        }
        text
    })?;
    Ok(if bad { Exit::No } else { Exit::Done })
}

/// What each rule of good policies asks for.
fn faultless(out: Output, policies: &policy::Policies) -> Result<Exit, CliError> {
    let rules: Vec<RuleReport<'_>> = policies.iter().flat_map(RuleReport::all).collect();
    let warnings = policies.warnings();
    let found: Vec<_> = warnings.iter().map(Diagnostic::finding).collect();
    let report = json!({ "ok": true, "findings": found, "rules": rules });
    out.show(&report, |_| {
        let mut table = Table::new(&["policy", "rule", "when", "asks for", "how", "assurance"]);
        for rule in &rules {
            let mut asks = rule.require.join(" + ");
            if !rule.alternatives.is_empty() {
                push!(asks, ", for otp also {}", rule.alternatives.join(" or "));
            }
            if let Some(factor) = rule.outage {
                push!(asks, ", in an outage {factor}");
            }
            if !rule.exempt.is_empty() {
                push!(asks, ", abroad without {}", rule.exempt.join(" + "));
            }
            let when = joined(&rule.when);
            let assurance = rule.assurance.to_string();
            table.row([
                rule.policy,
                rule.name,
                &when,
                &asks,
                rule.present,
                &assurance,
            ]);
        }
        let names: Vec<&str> = policies.iter().map(|policy| policy.name.as_str()).collect();
        let mut text = format!("{}\n\n", table.or("").trim_end());
        for policy in policies.iter().filter(|one| !one.name_rules.is_empty()) {
            let rules: Vec<String> = policy.name_rules.iter().map(ToString::to_string).collect();
            let name = &policy.name;
            push!(text, "{name}: user names by {}\n\n", rules.join(", then "));
        }
        if !warnings.is_empty() {
            push!(
                text,
                "{}\n\n",
                render_all(warnings, output::stdout_colour())
            );
        }
        push!(text, "No fault in {}.", names.join(", "));
        text
    })?;
    Ok(Exit::Done)
}

fn test(out: Output, outcomes: &[TestOutcome]) -> Result<Exit, CliError> {
    let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
    let cases: Vec<CaseReport<'_>> = outcomes
        .iter()
        .map(|outcome| CaseReport {
            policy: &outcome.policy,
            name: &outcome.name,
            place: &outcome.place,
            passed: outcome.passed(),
            failure: outcome.failure.as_ref().map(Diagnostic::finding),
        })
        .collect();
    out.show(&json!({ "ok": failed == 0, "tests": cases }), |_| {
        let mut text = String::new();
        for outcome in outcomes {
            let word = if outcome.passed() { "ok    " } else { "FAILED" };
            let (policy, name) = (printable(&outcome.policy), printable(&outcome.name));
            push!(text, "{word}  {policy}: {name}\n");
            if let Some(failure) = &outcome.failure {
                push!(text, "{}\n", failure.render(output::stdout_colour()));
            }
        }
        let passed = outcomes.len() - failed;
        push!(text, "{passed} passed, {failed} failed\n");
        text
    })?;
    Ok(if failed == 0 { Exit::Done } else { Exit::No })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_policies_have_no_fault_and_pass_their_tests() {
        let policies = parse(&policy::shipped(), None).unwrap().unwrap();
        assert!(policies.run_tests().iter().all(TestOutcome::passed));
    }

    #[test]
    fn unknown_attributes_get_a_suggestion() {
        let text = "description = \"x\"\n[[rule]]\nname = \"r\"\nrequire = [\"otp\"]\n\
                    [reply]\n\"Filter-Idd\" = \"x\"\n";
        let findings = parse(&[Source::new("p/vpn.toml", text)], None)
            .unwrap()
            .unwrap_err();
        assert!(
            findings[0].to_string().contains("Filter-Id`"),
            "{}",
            findings[0]
        );
    }
}
