//! `/v1/admin/policies/{name}` and `/v1/admin/policy-drafts`.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use similar::{ChangeTag, TextDiff};

use crate::admin::drafts::Reviewed;
use crate::admin::replay::{self, Asked};
use crate::api::{
    self, ApproveDraft, DenyDraft, ListDrafts, RemoveDraft, ReplayDraft, SetDraft, ShowDraft,
    ShowPolicy,
};
use crate::diagnostic::{Diagnostic, Severity};
use crate::model::draft::Draft;
use crate::policy::{DEFAULT, Factor, Rule};
use crate::server::http::App;
use crate::server::http::error::Failure;
use crate::server::http::route::{Admin, Routes};
use crate::time::UnixTime;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .on(show_policy)
        .on(list)
        .on(set)
        .on(show)
        .on(replay)
        .on(approve)
        .on(deny)
        .on(remove)
}

async fn show_policy(app: Arc<App>, call: Admin<ShowPolicy>) -> Result<api::PolicyFile, Failure> {
    let policies = app.core().policies();
    let policy = policies.get(&call.place);
    let policy = policy.ok_or_else(|| Failure::missing("policy"))?;
    let text = policies.text(&policy.name).unwrap_or_default();
    let clients = app.core().clients().all();
    let users = clients
        .iter()
        .filter(|client| client.policy.as_deref().unwrap_or(DEFAULT) == policy.name);
    let tests = policy.run_tests().into_iter();
    Ok(api::PolicyFile {
        name: policy.name.clone(),
        description: policy.description.clone(),
        sha256: sha256(text),
        text: text.to_owned(),
        rules: policy.rules.iter().map(rule).collect(),
        tests: tests
            .map(|test| api::PolicyTest {
                name: test.name,
                place: test.place,
                failure: test.failure.map(|failure| failure.to_string()),
            })
            .collect(),
        clients: users.map(|client| client.name.clone()).collect(),
    })
}

fn rule(rule: &Rule) -> api::PolicyRule {
    let words = |factors: &[Factor]| factors.iter().map(ToString::to_string).collect();
    let when = rule.when.iter();
    let when = when.map(|one| format!("{} {}", one.key(), one.wanted_text()));
    api::PolicyRule {
        name: rule.name.clone(),
        place: rule.file_line(),
        when: when.collect(),
        require: words(&rule.require),
        alternatives: words(&rule.alternatives),
    }
}

async fn list(app: Arc<App>, _: Admin<ListDrafts>) -> Result<api::PolicyDrafts, Failure> {
    let drafts = app.core().store().drafts()?.into_iter();
    let summary = |draft: Draft| api::PolicyDraftSummary {
        policy: draft.policy,
        author: draft.author,
        time: draft.at.rfc3339(),
        note: some(draft.note),
        revision: draft.revision,
    };
    Ok(api::PolicyDrafts {
        drafts: drafts.map(summary).collect(),
    })
}

async fn set(app: Arc<App>, call: Admin<SetDraft>) -> Result<api::PolicyDraft, Failure> {
    let (text, note) = (call.body.text, call.body.note.unwrap_or_default());
    let kept = app
        .admin()
        .set_draft(&call.place, (text, note), call.expected, call.from);
    Ok(shown(kept.await?))
}

async fn show(app: Arc<App>, call: Admin<ShowDraft>) -> Result<api::PolicyDraft, Failure> {
    let reviewed = app.admin().review_draft(&call.place, &call.from.actor);
    Ok(shown(reviewed.await?))
}

async fn replay(app: Arc<App>, call: Admin<ReplayDraft>) -> Result<api::PolicyReplay, Failure> {
    let (name, admin) = (&call.place, app.admin());
    let reviewed = admin.review_draft(name, &call.from.actor).await?;
    let policies = reviewed.compiled.map_err(|findings| {
        let first = findings.first().map(ToString::to_string);
        Failure::malformed(format!(
            "the draft has faults: {}",
            first.unwrap_or_default()
        ))
    })?;
    let replay = admin.replay(name, &policies).await?;
    let asked =
        |asked: Option<Asked>| asked.map(|Asked { rule, asks }| api::ReplayRule { rule, asks });
    let changes = replay.changes.into_iter().map(|one| api::ReplayChange {
        before: asked(one.before),
        after: asked(one.after),
        decisions: one.decisions,
        accepted: one.accepted,
        users: one.users,
    });
    let mut notes = Vec::new();
    if replay.blind {
        notes.push(BLIND.to_owned());
    }
    if replay.decisions == replay::DECISIONS {
        notes.push(format!(
            "Older logins than the last {} were not read.",
            replay::DECISIONS
        ));
    }
    Ok(api::PolicyReplay {
        policy: name.clone(),
        revision: reviewed.draft.revision,
        decisions: replay.decisions,
        since: replay.since.map(UnixTime::rfc3339),
        concerned: replay.concerned,
        otherwise: replay.otherwise,
        changes: changes.collect(),
        notes,
    })
}

async fn approve(app: Arc<App>, call: Admin<ApproveDraft>) -> Result<api::PolicyInForce, Failure> {
    let approved = app
        .admin()
        .approve_draft(&call.place, call.expected, call.from);
    let draft = approved.await?;
    Ok(api::PolicyInForce {
        sha256: sha256(&draft.text),
        policy: draft.policy,
        author: draft.author,
    })
}

async fn deny(app: Arc<App>, call: Admin<DenyDraft>) -> Result<(), Failure> {
    let reason = Some(call.body.reason);
    let ended = app.admin().end_draft(
        &call.place,
        "policy_draft_deny",
        reason,
        call.expected,
        call.from,
    );
    Ok(ended.await?)
}

async fn remove(app: Arc<App>, call: Admin<RemoveDraft>) -> Result<(), Failure> {
    let ended = app.admin().end_draft(
        &call.place,
        "policy_draft_remove",
        None,
        call.expected,
        call.from,
    );
    Ok(ended.await?)
}

fn shown(reviewed: Reviewed) -> api::PolicyDraft {
    let findings = match &reviewed.compiled {
        Ok(policies) => {
            let own = |one: &&Diagnostic| {
                one.file_line().is_none_or(|place| {
                    place.contains(&format!("/{}.toml:", reviewed.draft.policy))
                })
            };
            policies
                .warnings()
                .iter()
                .filter(own)
                .map(finding)
                .collect()
        }
        Err(findings) => findings.iter().map(finding).collect(),
    };
    let draft = reviewed.draft;
    let locked_out = reviewed.locked_out.into_iter();
    api::PolicyDraft {
        diff: diff(reviewed.present.as_deref().unwrap_or_default(), &draft.text),
        findings,
        outdated: reviewed.outdated,
        locked_out: locked_out
            .map(|(user, why)| api::LockedOut {
                user: user.to_string(),
                why,
            })
            .collect(),
        policy: draft.policy,
        author: draft.author,
        time: draft.at.rfc3339(),
        note: some(draft.note),
        revision: draft.revision,
        approved: draft.approved,
        text: draft.text,
    }
}

fn finding(one: &Diagnostic) -> api::PolicyFinding {
    let found = one.finding();
    api::PolicyFinding {
        severity: match found.severity {
            Severity::Error => "error".to_owned(),
            Severity::Warning => "warning".to_owned(),
        },
        message: found.message.to_owned(),
        file: found.file.map(str::to_owned),
        line: found.line,
        column: found.column,
        help: found.help.map(str::to_owned),
    }
}

/// The lines that differ, with three around them.
fn diff(before: &str, after: &str) -> Vec<api::PolicyDiffLine> {
    let compared = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for group in compared.grouped_ops(AROUND) {
        if !lines.is_empty() {
            lines.push(api::PolicyDiffLine {
                kind: "gap".to_owned(),
                line: None,
                text: String::new(),
            });
        }
        for change in group.iter().flat_map(|one| compared.iter_changes(one)) {
            let (kind, index) = match change.tag() {
                ChangeTag::Equal => ("same", change.new_index()),
                ChangeTag::Insert => ("added", change.new_index()),
                ChangeTag::Delete => ("removed", change.old_index()),
            };
            lines.push(api::PolicyDiffLine {
                kind: kind.to_owned(),
                line: index.map(|index| index + 1),
                text: change.value().trim_end_matches(['\n', '\r']).to_owned(),
            });
        }
    }
    lines
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn sha256(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text))
}

/// Lines around a difference.
const AROUND: usize = 3;
const BLIND: &str = "Attributes and context of logins are not on record: rules that look at them were read as if there \
     were none, before and after.";
