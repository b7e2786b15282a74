//! Policy files that are proposed, tried on what was decided lately, approved by another person, and written.
//!
//! ```text
//! set -> Draft in the store -> checked as a reload checks it, compared with the file in force
//!     -> approve: another person, the same revision, the same file underneath, no one locked out of the console
//!     -> approval on record -> file written (PolicyFiles) -> in force -> draft gone
//! ```
//!
//! Invariant: one draft is written at a time, and what is written was approved in this revision. Interrupted between
//! approval and file, the draft is still there and is approved again.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::admin::{Admin, AdminError, check_text, invalid, missing};
use crate::core::CoreError;
use crate::diagnostic::Diagnostic;
use crate::model::draft::{DRAFT_MAX, Draft, is_policy_name};
use crate::model::token::LifeCycle;
use crate::model::user_key::{CONSOLE, UserKey};
use crate::policy::{Factor, Facts, Policies, Policy, kinds_of};
use crate::store::{By, Change, DraftAct};
use crate::time::UnixTime;

/// The policy files of an installation, where they may be written from here. Calls block.
pub trait PolicyFiles: Send + Sync {
    /// The text of a policy's file; `None`: there is no such file.
    fn text(&self, policy: &str) -> Result<Option<String>, String>;

    /// All policies as they would be with this file, checked and tested as a reload does.
    fn with(&self, policy: &str, text: &str) -> Result<Policies, Vec<Diagnostic>>;

    /// Writes the file, durable and as a whole or not at all, and puts all policies into force.
    fn write(&self, policy: &str, text: &str) -> Result<(), String>;
}

/// A draft, with what the server makes of it.
pub struct Reviewed {
    /// The draft.
    pub draft: Draft,
    /// The file in force; `None`: there is none.
    pub present: Option<String>,
    /// Whether the file is another than the one that the author changed.
    pub outdated: bool,
    /// The policies as they would be, or why they would not be taken.
    pub compiled: Result<Policies, Vec<Diagnostic>>,
    /// People of the console who could not sign in any more, each with the cause: author and reader.
    pub locked_out: Vec<(UserKey, String)>,
}

impl Admin {
    /// Takes the way to the policy files; without it no draft is made.
    pub fn set_policy_files(&self, files: Arc<dyn PolicyFiles>) {
        // The first one stays: there is one daemon in a process.
        let _ = self.files.set(files);
    }

    /// Whether drafts can be made and written.
    pub fn edits_policies(&self) -> bool {
        self.files.get().is_some()
    }

    /// Makes or changes the draft of a policy.
    pub async fn set_draft(
        &self,
        policy: &str,
        (text, note): (String, String),
        expected: Option<u64>,
        by: By,
    ) -> Result<Reviewed, AdminError> {
        let files = self.policy_files()?;
        if !is_policy_name(policy) {
            return invalid("name", POLICY_NAME);
        }
        if text.is_empty() || text.len() > DRAFT_MAX || text.contains('\0') {
            return invalid("text", "1 to 65536 octets of TOML");
        }
        if !note.is_empty() {
            check_text("note", &note)?;
        }
        let present = in_files(&files, policy).await?;
        if present.as_deref() == Some(text.as_str()) {
            return Err(AdminError::Conflict(
                "the draft is the file that is in force",
            ));
        }
        let draft = Draft {
            policy: policy.to_owned(),
            text,
            base: present.as_deref().map(hash),
            author: by.actor.clone(),
            at: by.at,
            note,
            approved: None,
            revision: self.core.first_revision().map_err(CoreError::from)?,
        };
        let reader = by.actor.clone();
        let change = Change::Draft(DraftAct::Set(draft, expected));
        self.core.store.change(change, by).await?;
        self.review_draft(policy, &reader).await
    }

    /// The draft of a policy, and what the server makes of it for this reader.
    pub async fn review_draft(&self, policy: &str, reader: &str) -> Result<Reviewed, AdminError> {
        let draft = self.core.store.draft(policy)?;
        let draft = draft.ok_or(AdminError::NotFound("policy draft"))?;
        let files = self.policy_files()?;
        let present = in_files(&files, policy).await?;
        let (name, text) = (draft.policy.clone(), draft.text.clone());
        let compiled = tokio::task::spawn_blocking(move || files.with(&name, &text)).await;
        let compiled = compiled.map_err(|_| AdminError::Conflict(BROKEN_OFF))?;
        let mut locked_out = Vec::new();
        if let Ok(policies) = &compiled {
            let mut people = vec![draft.author.as_str()];
            people.extend((reader != draft.author).then_some(reader));
            let people = people.into_iter().filter_map(person);
            for person in people {
                let why = self.kept_out(policies, &person)?;
                locked_out.extend(why.map(|why| (person, why)));
            }
        }
        Ok(Reviewed {
            outdated: draft.base != present.as_deref().map(hash),
            draft,
            present,
            compiled,
            locked_out,
        })
    }

    /// Approves a draft and puts it into force: the file is written, and read again.
    pub async fn approve_draft(
        &self,
        policy: &str,
        expected: Option<u64>,
        by: By,
    ) -> Result<Draft, AdminError> {
        // One at a time: each is checked on what the one before has written.
        let _turn = self.writing.lock().await;
        let reviewed = self.review_draft(policy, &by.actor).await?;
        let files = self.policy_files()?;
        let draft = reviewed.draft;
        if expected.is_some_and(|seen| seen != draft.revision) {
            return Err(AdminError::Conflict("the draft was changed meanwhile"));
        }
        if let Err(findings) = &reviewed.compiled {
            let first = findings.first().map(ToString::to_string);
            return invalid("text", first.unwrap_or_default());
        }
        if reviewed.outdated {
            return Err(AdminError::Conflict(
                "the file was changed since the draft was made: compare the two and save the draft again",
            ));
        }
        if let Some((person, why)) = reviewed.locked_out.first() {
            return invalid(
                "text",
                format!("{person} could not sign in to the console: {why}"),
            );
        }
        let change = Change::Draft(DraftAct::Approve(policy.to_owned(), draft.revision));
        self.core.store.change(change, by.clone()).await?;
        let before = self.core.policies();
        let (name, text) = (draft.policy.clone(), draft.text.clone());
        let written = tokio::task::spawn_blocking(move || files.write(&name, &text)).await;
        let written = written.map_err(|_| AdminError::Conflict(BROKEN_OFF))?;
        let refused = written.as_ref().err().cloned();
        let recorded = self.record_reload(&before, refused, by.clone()).await;
        if let Err(why) = written {
            return invalid("file", why);
        }
        recorded?;
        self.end_draft(policy, "policy_draft_apply", None, None, by)
            .await?;
        Ok(draft)
    }

    /// Removes a draft: `action` says what became of it.
    pub async fn end_draft(
        &self,
        policy: &str,
        action: &'static str,
        why: Option<String>,
        expected: Option<u64>,
        by: By,
    ) -> Result<(), AdminError> {
        if let Some(why) = &why {
            check_text("reason", why)?;
        }
        let change = Change::Draft(DraftAct::End {
            policy: policy.to_owned(),
            action,
            why,
            expected,
        });
        let done = self.core.store.change(change, by).await;
        done.map_err(|error| missing(error, "policy draft"))
    }

    fn policy_files(&self) -> Result<Arc<dyn PolicyFiles>, AdminError> {
        let files = self.files.get().cloned();
        files.ok_or(AdminError::Conflict(NOT_EDITED))
    }

    /// Why a person could not sign in to the console under these policies; `None`: they could.
    fn kept_out(
        &self,
        policies: &Policies,
        person: &UserKey,
    ) -> Result<Option<String>, AdminError> {
        let Some(policy) = policies.get(CONSOLE) else {
            return Ok(Some(format!("there would be no policy `{CONSOLE}`")));
        };
        let at = self.core.now();
        for context in [&[][..], &[("console", "step-up")]] {
            let why = self.refuses(policy, (person, context), at)?;
            if why.is_some() {
                return Ok(why);
            }
        }
        Ok(None)
    }

    fn refuses(
        &self,
        policy: &Policy,
        (person, context): (&UserKey, &[(&str, &str)]),
        at: UnixTime,
    ) -> Result<Option<String>, AdminError> {
        let view = self.core.store.view(person)?;
        let view = view.ok_or(AdminError::NotFound("user"))?;
        let credentials = self.core.store.credentials(person)?;
        let facts = Facts {
            now: at,
            client: CONSOLE,
            user: person.name(),
            realm: person.realm(),
            groups: &view.user.groups,
            user_class: view.user.class.as_deref(),
            source: None,
            method: "http",
            attributes: &[],
            context,
        };
        let act = if context.is_empty() {
            "a sign-in"
        } else {
            "a step-up"
        };
        let Some(rule) = policy.decide(&facts).rule() else {
            return Ok(Some(format!(
                "no rule of policy `{}` holds for {act}",
                policy.name
            )));
        };
        let has = |factor: Factor| match factor {
            Factor::Password => credentials.password.is_some(),
            Factor::Pin => credentials.pin.is_some(),
            held => view.tokens.iter().any(|(token, _)| {
                token.state_at(at) == LifeCycle::Active
                    && kinds_of(held, &policy.otp).contains(&token.kind)
            }),
        };
        let lacking = rule.require.iter();
        let mut lacking = lacking.filter(|factor| !rule.accepts(**factor, false).any(has));
        Ok(lacking.next().map(|factor| {
            format!(
                "rule `{}` ({}) asks for `{factor}` for {act}, which they do not have",
                rule.name,
                rule.file_line()
            )
        }))
    }
}

/// The file of a policy that is in force.
async fn in_files(
    files: &Arc<dyn PolicyFiles>,
    policy: &str,
) -> Result<Option<String>, AdminError> {
    let (files, policy) = (Arc::clone(files), policy.to_owned());
    let read = tokio::task::spawn_blocking(move || files.text(&policy)).await;
    let read = read.map_err(|_| AdminError::Conflict(BROKEN_OFF))?;
    read.or_else(|why| invalid("file", why))
}

/// The person of the console who acts under this name in the audit.
fn person(actor: &str) -> Option<UserKey> {
    let key = UserKey::parse(actor).ok()?;
    (key.realm() == CONSOLE && key.to_string() == actor).then_some(key)
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

const POLICY_NAME: &str = "1 to 64 ASCII letters, digits, `-` and `_`, a letter or digit first";
const NOT_EDITED: &str = "policy files are not edited here: set `web.edit_policies = true` in oncegate.toml and \
     restart the daemon, or edit the files in its policy directory";
const BROKEN_OFF: &str = "the server is stopping; nothing was written";
