//! Groups that a source pushes.

use crate::time::UnixTime;

/// A group of a source; its members are the users with its name among their groups.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceGroup {
    /// The identity here, which no renaming changes.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What the source calls it.
    pub external: Option<String>,
    /// When it was made.
    pub created: UnixTime,
    /// When it or its members were last changed by the source.
    pub modified: UnixTime,
}
