//! What an audit record says was changed.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::model::audit::{Changed, FieldChange, SecretChange};
use crate::store::StoreError;
use crate::store::record::{row, take};

#[derive(Serialize, Deserialize)]
pub(super) struct FieldChangeV1<'a> {
    #[serde(borrow)]
    record: Option<Cow<'a, str>>,
    #[serde(borrow)]
    field: Cow<'a, str>,
    #[serde(borrow)]
    change: ChangedV1<'a>,
}

#[derive(Serialize, Deserialize)]
enum ChangedV1<'a> {
    Text {
        #[serde(borrow)]
        before: Option<Cow<'a, str>>,
        #[serde(borrow)]
        after: Option<Cow<'a, str>>,
    },
    List {
        added: Vec<String>,
        removed: Vec<String>,
    },
    Secret(SecretChangeV1),
    Sealed {
        person: u64,
        sealed: Cow<'a, [u8]>,
    },
    Hidden,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum SecretChangeV1 {
    Set,
    Changed,
    Removed,
}

impl<'a> From<&'a FieldChange> for FieldChangeV1<'a> {
    fn from(one: &'a FieldChange) -> Self {
        Self {
            record: one.record.as_deref().map(Into::into),
            field: one.field.as_str().into(),
            change: (&one.change).into(),
        }
    }
}

impl<'a> From<&'a Changed> for ChangedV1<'a> {
    fn from(change: &'a Changed) -> Self {
        match change {
            Changed::Text { before, after } => ChangedV1::Text {
                before: before.as_deref().map(Into::into),
                after: after.as_deref().map(Into::into),
            },
            Changed::List { added, removed } => ChangedV1::List {
                added: added.clone(),
                removed: removed.clone(),
            },
            Changed::Secret(change) => ChangedV1::Secret(match change {
                SecretChange::Set => SecretChangeV1::Set,
                SecretChange::Changed => SecretChangeV1::Changed,
                SecretChange::Removed => SecretChangeV1::Removed,
            }),
            Changed::Sealed { person, sealed } => ChangedV1::Sealed {
                person: *person,
                sealed: sealed.as_slice().into(),
            },
            Changed::Hidden(_) => ChangedV1::Hidden,
        }
    }
}

impl From<FieldChangeV1<'_>> for FieldChange {
    fn from(form: FieldChangeV1<'_>) -> Self {
        Self {
            record: form.record.map(Cow::into_owned),
            field: form.field.into_owned(),
            change: form.change.into(),
        }
    }
}

impl From<ChangedV1<'_>> for Changed {
    fn from(form: ChangedV1<'_>) -> Self {
        match form {
            ChangedV1::Text { before, after } => Self::Text {
                before: before.map(Cow::into_owned),
                after: after.map(Cow::into_owned),
            },
            ChangedV1::List { added, removed } => Self::List { added, removed },
            ChangedV1::Secret(change) => Self::Secret(match change {
                SecretChangeV1::Set => SecretChange::Set,
                SecretChangeV1::Changed => SecretChange::Changed,
                SecretChangeV1::Removed => SecretChange::Removed,
            }),
            ChangedV1::Sealed { person, sealed } => Self::Sealed {
                person,
                sealed: sealed.into_owned(),
            },
            ChangedV1::Hidden => Self::Hidden("unreadable"),
        }
    }
}

/// What became of a field, to be sealed.
pub(crate) fn changed_row(change: &Changed) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    row(1, &ChangedV1::from(change)).map(Zeroizing::new)
}

/// Reads it.
pub(crate) fn changed(bytes: &[u8]) -> Result<Changed, StoreError> {
    let form: ChangedV1<'_> = take(1, bytes)?;
    Ok(form.into())
}
