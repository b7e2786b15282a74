//! Which files that decide are in force, and what a reload changed, for the audit.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::admin::Admin;
use crate::admin::AdminError;
use crate::diagnostic::units::count;
use crate::model::audit::{Changed, FieldChange};
use crate::policy::{KeyDifference, Policies, compare};
use crate::store::{By, Change, Loaded, LoadedFile, StoreError};

impl Admin {
    /// Puts on record which files decide from now on, at the start of the daemon: where one differs from
    /// what was in force last.
    pub async fn record_start(&self) -> Result<(), AdminError> {
        let by = By::daemon(self.core.arrival()?);
        let loaded = Loaded {
            what: "files_load",
            files: self.loaded(),
            changes: Vec::new(),
            refused: None,
            asked: false,
        };
        self.record_loaded(loaded, by).await
    }

    /// Puts on record what a reload changed, and what it refused and why; `before` are the policies that
    /// were in force until then. A reload that changed nothing is on record, too.
    pub async fn record_reload(
        &self,
        before: &Policies,
        refused: Option<String>,
        by: By,
    ) -> Result<(), AdminError> {
        let loaded = Loaded {
            what: "files_reload",
            files: self.loaded(),
            changes: differences(before, &self.core.policies()),
            refused: refused.map(|refused| short(refused, REFUSED)),
            asked: true,
        };
        self.record_loaded(loaded, by).await
    }

    async fn record_loaded(&self, loaded: Loaded, by: By) -> Result<(), AdminError> {
        match self.core.store.change(Change::Loaded(loaded), by).await {
            Err(StoreError::NotFound) => Ok(()),
            done => Ok(done?),
        }
    }

    /// The files that the daemon reads beside policies, tables and texts: what each is, and its SHA-256.
    pub fn set_other_files(&self, files: Vec<LoadedFile>) {
        self.core.other_files.store(Arc::new(files));
    }

    /// The files in force: what each is, and its SHA-256.
    fn loaded(&self) -> Vec<LoadedFile> {
        let policies = self.core.policies();
        let mut files: Vec<LoadedFile> = Vec::new();
        for policy in policies.iter() {
            let text = policies.text(&policy.name).unwrap_or_default();
            let hash = Sha256::digest(text).into();
            files.push((format!("policy {}", policy.name), hash));
        }
        let nothing: [u8; 32] = Sha256::digest("").into();
        let tables = ["table departures", "table countries"];
        for (name, hash) in tables.into_iter().zip(self.login.travel.load().hashes()) {
            if hash != nothing && hash != [0; 32] {
                files.push((name.to_owned(), hash));
            }
        }
        for (language, hash) in self.core.texts().hashes() {
            files.push((format!("texts {language}"), *hash));
        }
        files.extend(self.core.other_files.load().iter().cloned());
        files
    }
}

/// What differs between the policies that are in both, in the words of the files.
fn differences(before: &Policies, after: &Policies) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    for policy in after.iter() {
        let name = policy.name.as_str();
        let (Some(old), Some(new)) = (before.text(name), after.text(name)) else {
            continue;
        };
        if old == new {
            continue;
        }
        let difference = compare(old, new);
        let mut fields = Vec::new();
        let (added, removed) = (difference.rules_added, difference.rules_removed);
        if !added.is_empty() || !removed.is_empty() {
            fields.push(("rules".to_owned(), Changed::List { added, removed }));
        }
        if let Some((old, new)) = difference.order {
            let change = text(Some(old.join(", ")), Some(new.join(", ")));
            fields.push(("order of rules".to_owned(), change));
        }
        let rules = difference.rules_changed.into_iter();
        fields.extend(rules.map(|one| key("rule ", one)));
        fields.extend(difference.keys.into_iter().map(|one| key("", one)));
        let more = fields.len().saturating_sub(FIELDS);
        fields.truncate(FIELDS);
        if more > 0 {
            let change = text(None, Some(count(more as u64, "key")));
            fields.push(("changed besides".to_owned(), change));
        }
        changes.extend(fields.into_iter().map(|(field, change)| FieldChange {
            record: Some(format!("policy {name}")),
            field,
            change,
        }));
    }
    changes
}

fn key(prefix: &str, one: KeyDifference) -> (String, Changed) {
    let change = text(one.before, one.after);
    (format!("{prefix}{}", one.key), change)
}

fn text(before: Option<String>, after: Option<String>) -> Changed {
    Changed::Text {
        before: before.map(|text| short(text, VALUE)),
        after: after.map(|text| short(text, VALUE)),
    }
}

/// Cut to so many characters.
fn short(text: String, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Most keys of a policy that are shown one by one.
const FIELDS: usize = 64;
/// Most characters of a value that are shown; the file's hash covers the rest.
const VALUE: usize = 256;
/// Most characters of what a reload refused; the log and the answer have all of it.
const REFUSED: usize = 1024;
