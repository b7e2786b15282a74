//! What a source says of its users is changed there.
//!
//! Invariant: what the next run of a source would put back is not changed here. A source that is configured no more
//! puts nothing back, nor does one whose provider does not know the user any more.

use crate::admin::directory::{FIELDS, Value};
use crate::admin::{Admin, AdminError};
use crate::model::user::User;

impl Admin {
    /// The source that says this of a user (`phone`, `email`, ..).
    pub fn said_by(&self, user: &User, field: &str) -> Result<Option<String>, AdminError> {
        let Some(directory) = user.directory.as_ref().filter(|one| !one.id.is_empty()) else {
            return Ok(None);
        };
        let sources = self.core.directories.sources();
        let source = sources.iter().find(|one| one.name == directory.source);
        let Some(source) = source else {
            return Ok(None);
        };
        let says = if source.kind == "scim" {
            // It is not on record which values a provider has pushed; groups it takes away whatever they are.
            field == "groups"
        } else {
            let says = self.core.store.source_says(&source.name)?;
            says.iter().any(|one| one == field)
        };
        Ok(says.then(|| source.name.clone()))
    }

    /// Refuses what the source of a user would put back.
    pub(in crate::admin) fn refuse_followed(
        &self,
        before: &User,
        after: &User,
    ) -> Result<(), AdminError> {
        let Some(directory) = &before.directory else {
            return Ok(());
        };
        let changed = |(_, value): &&(&str, Value)| value(before) != value(after);
        for (field, _) in FIELDS.iter().filter(changed) {
            if let Some(source_name) = self.said_by(before, field)? {
                return Err(AdminError::Followed { field, source_name });
            }
        }
        let sources = self.core.directories.sources();
        let mut sources = sources.iter().filter(|_| !directory.id.is_empty());
        let is_source = sources.any(|one| one.name == directory.source);
        if before.disabled && !after.disabled && directory.disabled && is_source {
            return Err(AdminError::Followed {
                field: "disabled",
                source_name: directory.source.clone(),
            });
        }
        Ok(())
    }
}
