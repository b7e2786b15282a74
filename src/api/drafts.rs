//! Policies as files, and drafts of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::Deny;
use crate::api::call::{ADMIN, APPROVER, Access, DraftName, LOOK, PolicyName, calls};
use crate::model::client::Scope;

/// Who looks at drafts: who decides about them, and auditors.
const LOOK_AT_DRAFTS: Access = Access::Admin(&[Scope::Approver, Scope::Auditor]);

calls! {
    /// A loaded policy: its file, its rules, its tests, who uses it.
    ShowPolicy = show_policy: GET "/v1/admin/policies/{name}" in "policies" for LOOK,
        at PolicyName,
        200 "The policy": PolicyFile;

    /// Drafts of policies that wait for a second person.
    ListDrafts = list_policy_drafts: GET "/v1/admin/policy-drafts" in "policies" for LOOK_AT_DRAFTS,
        200 "All of them": PolicyDrafts;

    /// Makes or changes the draft of a policy; nothing is in force by it.
    ///
    /// It is checked as a reload checks the file, and is kept also where it has faults. What was approved of it before
    /// is void. With `If-Match: "0"` it must be new.
    SetDraft = set_policy_draft: PUT "/v1/admin/policy-drafts/{name}" in "policies" for ADMIN,
        at DraftName, body PolicyDraftText,
        200 "Kept": PolicyDraft, etag revision, yes |draft| draft.findings.iter().all(|one| one.severity != "error")
        => large() => if_match()
        => fails(&[(409, "The draft is the file in force")]);

    /// A draft: its text, its faults, how it differs from the file in force, whom it would lock out of the console.
    ShowDraft = show_policy_draft: GET "/v1/admin/policy-drafts/{name}" in "policies" for LOOK_AT_DRAFTS,
        at DraftName,
        200 "The draft": PolicyDraft, etag revision, yes |draft| draft.findings.iter().all(|one| one.severity != "error");

    /// Reads the last 10,000 logins again by a draft: which would come out otherwise, and for whom.
    ///
    /// Attributes and `context` of logins are not on record: rules that look at them are read as if there were none,
    /// before and after. Groups and classes are those of today. It writes nothing.
    ReplayDraft = replay_policy_draft: GET "/v1/admin/policy-drafts/{name}/replay" in "policies" for LOOK_AT_DRAFTS,
        at DraftName,
        200 "What would be otherwise": PolicyReplay
        => fails(&[(400, "The draft has faults")]);

    /// Approves a draft, which another person wrote: the file is written and in force at once.
    ApproveDraft = approve_policy_draft: POST "/v1/admin/policy-drafts/{name}/approve" in "policies" for APPROVER,
        at DraftName,
        200 "In force": PolicyInForce
        => if_match()
        => fails(&[
            (400, "The draft has faults, or would lock its author or the approver out of the console"),
            (409, "One's own draft, or the file was changed since the draft was made"),
        ]);

    /// Denies a draft, with a reason that goes on record.
    DenyDraft = deny_policy_draft: POST "/v1/admin/policy-drafts/{name}/deny" in "policies" for APPROVER,
        at DraftName, body Deny,
        204 "Denied": () => if_match();

    /// Removes a draft.
    RemoveDraft = remove_policy_draft: DELETE "/v1/admin/policy-drafts/{name}" in "policies" for ADMIN,
        at DraftName,
        204 "Removed": () => if_match();
}

/// A policy and its file.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct PolicyFile {
    /// Its name: the stem of the file's.
    pub name: String,
    /// What it says about itself.
    pub description: String,
    /// The file as it was loaded.
    pub text: String,
    /// SHA-256 of it, as the audit names files.
    pub sha256: String,
    /// Its rules, in order.
    pub rules: Vec<PolicyRule>,
    /// Its tests.
    pub tests: Vec<PolicyTest>,
    /// Clients that name it, or none where it is `default`.
    pub clients: Vec<String>,
}

/// A rule.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct PolicyRule {
    /// Its name.
    pub name: String,
    /// File and line.
    pub place: String,
    /// Its conditions, each in words; none: it always holds.
    pub when: Vec<String>,
    /// What must be presented.
    pub require: Vec<String>,
    /// What counts instead of `otp`.
    pub alternatives: Vec<String>,
}

/// A test of a policy file.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct PolicyTest {
    /// Its name.
    pub name: String,
    /// File and line.
    pub place: String,
    /// Why it failed; absent when it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The text of a draft.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyDraftText {
    /// The whole file: at most 64 KiB of TOML.
    pub text: String,
    /// Why, for who decides about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Drafts.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct PolicyDrafts {
    /// By name of the policy.
    pub drafts: Vec<PolicyDraftSummary>,
}

/// A draft, in a list.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct PolicyDraftSummary {
    /// Of which policy.
    pub policy: String,
    /// Who wrote it.
    pub author: String,
    /// When.
    pub time: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// For `If-Match`.
    pub revision: u64,
}

/// A draft, and what the server makes of it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct PolicyDraft {
    /// Of which policy.
    pub policy: String,
    /// Who wrote it.
    pub author: String,
    /// When.
    pub time: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// For `If-Match`.
    pub revision: u64,
    /// Who approved it, where the file was not written yet: it is approved again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<String>,
    /// The whole file as proposed.
    pub text: String,
    /// What is wrong with it, and what may not be meant.
    pub findings: Vec<PolicyFinding>,
    /// How it differs from the file in force, line by line.
    pub diff: Vec<PolicyDiffLine>,
    /// Whether the file was changed since the draft was made: it is not written over that.
    pub outdated: bool,
    /// People of the console whom it would lock out, each with the cause: it is not approved then.
    pub locked_out: Vec<LockedOut>,
}

/// What is wrong in a policy file, as `oncegate policy check` says it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct PolicyFinding {
    /// `error` or `warning`.
    pub severity: String,
    /// What is wrong.
    pub message: String,
    /// In which file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// In which line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// From which column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// A line of the comparison.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct PolicyDiffLine {
    /// `same`, `added`, `removed`; `gap`: lines that are the same were left out.
    pub kind: String,
    /// Its number in the draft, else in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The line.
    pub text: String,
}

/// Someone who could not sign in to the console any more.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct LockedOut {
    /// Who.
    pub user: String,
    /// Why.
    pub why: String,
}

/// The logins that would come out otherwise.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct PolicyReplay {
    /// Of which policy.
    pub policy: String,
    /// Of which revision of its draft.
    pub revision: u64,
    /// Logins that were read again.
    pub decisions: usize,
    /// When the oldest of them was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Those among them that this policy decides.
    pub concerned: usize,
    /// Those that would come out otherwise.
    pub otherwise: usize,
    /// The differences, the most frequent first.
    pub changes: Vec<ReplayChange>,
    /// What could not be told.
    pub notes: Vec<String>,
}

/// Logins of which another rule, or the same with other demands, would decide.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ReplayChange {
    /// The rule in force; absent: none holds, reject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ReplayRule>,
    /// The rule of the draft; absent: none would hold, reject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ReplayRule>,
    /// How many logins.
    pub decisions: usize,
    /// How many of them were accepted.
    pub accepted: usize,
    /// Of whom, the latest first: ten at most.
    pub users: Vec<String>,
}

/// A rule of a replay.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ReplayRule {
    /// Its name.
    pub rule: String,
    /// What it asks for.
    pub asks: String,
}

/// A draft that was approved.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct PolicyInForce {
    /// The policy.
    pub policy: String,
    /// Who wrote the draft.
    pub author: String,
    /// SHA-256 of the file, as the audit names files.
    pub sha256: String,
}
