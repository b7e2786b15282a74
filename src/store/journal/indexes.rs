//! The indexes that are there.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::store::journal::growing::Grown;
use crate::store::journal::index::Index;

/// The indexes that are open, what is known of a segment whose index grows, and the segments that none can be made of.
#[derive(Default)]
pub(super) struct Indexes {
    pub(super) open: HashMap<u64, Arc<Index>>,
    pub(super) grown: Option<Arc<Grown>>,
    pub(super) without: BTreeSet<u64>,
}
