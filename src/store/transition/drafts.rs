//! Drafts of policy files: proposed by one person, approved by another.
//!
//! Invariant: an approval is of the text that the approver saw (its revision), and not of one's own.

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use crate::model::draft::Draft;
use crate::store::record::Table;
use crate::store::transition::plan::Plan;
use crate::store::transition::rows::{Keys, gone, put, refuse_if, refuse_other};
use crate::store::transition::working::Working;
use crate::store::{StoreError, record};

/// What becomes of the draft of a policy.
#[derive(Clone, Debug)]
pub enum DraftAct {
    /// As it shall be, over the one with this revision.
    Set(Draft, Option<u64>),
    /// Approves the one of this policy that has this revision.
    Approve(String, u64),
    /// It goes.
    End {
        /// Of which policy.
        policy: String,
        /// What became of it, a word.
        action: &'static str,
        /// Why, where that is to be on record.
        why: Option<String>,
        /// Only the one with this revision.
        expected: Option<u64>,
    },
}

impl DraftAct {
    pub(super) fn plan(self, rows: &Working<'_>, keys: Keys<'_>) -> Result<Plan, StoreError> {
        match self {
            Self::Set(draft, expected) => set(rows, &draft, expected),
            Self::Approve(policy, expected) => approve(rows, &policy, expected, keys),
            Self::End {
                policy,
                action,
                why,
                expected,
            } => end(rows, &policy, action, why, expected),
        }
    }
}

/// The draft as it shall be, in place of the one before; what was approved of that one is void.
fn set(rows: &Working<'_>, draft: &Draft, expected: Option<u64>) -> Result<Plan, StoreError> {
    let key = record::draft_key(&draft.policy);
    let before = rows.get(Table::Settings, &key, record::draft)?;
    let revision = before.map(|before| before.revision);
    refuse_other(revision.unwrap_or_default(), expected)?;
    let draft = Draft {
        revision: revision.map_or(draft.revision, |revision| revision + 1),
        approved: None,
        ..draft.clone()
    };
    let plan = plan("policy_draft_set", &draft);
    Ok(plan.also(vec![put(Table::Settings, key, record::draft_row(&draft)?)]))
}

/// Approves what has this revision, in the name of who acts.
fn approve(
    rows: &Working<'_>,
    policy: &str,
    expected: u64,
    keys: Keys<'_>,
) -> Result<Plan, StoreError> {
    let key = record::draft_key(policy);
    let mut draft = found(rows, &key)?;
    refuse_other(draft.revision, Some(expected))?;
    refuse_if(draft.author == keys.actor, OWN_DRAFT)?;
    draft.approved = Some(keys.actor.to_owned());
    let plan = plan("policy_draft_approve", &draft);
    Ok(plan.also(vec![put(Table::Settings, key, record::draft_row(&draft)?)]))
}

/// The draft goes: it was written, denied or withdrawn.
fn end(
    rows: &Working<'_>,
    policy: &str,
    action: &'static str,
    why: Option<String>,
    expected: Option<u64>,
) -> Result<Plan, StoreError> {
    let key = record::draft_key(policy);
    let draft = found(rows, &key)?;
    refuse_other(draft.revision, expected)?;
    let plan = match why {
        Some(why) => Plan::noted(action, &target(policy)).detail(why),
        None => plan(action, &draft),
    };
    Ok(plan.also(vec![gone(Table::Settings, key)]))
}

fn found(rows: &Working<'_>, key: &[u8]) -> Result<Draft, StoreError> {
    let draft = rows.get(Table::Settings, key, record::draft)?;
    draft.ok_or(StoreError::NotFound)
}

/// Which text it was: the trail has its SHA-256, as it has that of the files in force.
fn plan(action: &'static str, draft: &Draft) -> Plan {
    let hash = HEXLOWER.encode(&Sha256::digest(&draft.text));
    let mut detail = format!("by {}, SHA-256 {hash}", draft.author);
    if !draft.note.is_empty() {
        push!(detail, ": {}", draft.note);
    }
    Plan::noted(action, &target(&draft.policy)).detail(detail)
}

fn target(policy: &str) -> String {
    format!("policy {policy}")
}

/// Who proposes a policy does not decide about it.
const OWN_DRAFT: &str =
    "who wrote a draft does not approve it: another administrator or approver does";
