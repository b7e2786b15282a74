//! A segment of the journal, in either form: a file of frames, or a redb file of version 0.1.0.

use std::sync::Arc;

use crate::store::StoreError;
use crate::store::journal::former::{self, Former};
use crate::store::journal::frames::{self, Frames};
use crate::store::journal::head::Head;
use crate::store::journal::record::Record;
use crate::store::medium::Medium;
use crate::store::seal::Sealer;

/// An open segment.
#[derive(Clone)]
pub(super) enum Segment {
    Frames(Arc<Frames>),
    Former(Arc<Former>),
}

/// Which segment: the number of its first record, and its form.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    pub(super) first: u64,
    pub(super) form: Form,
}

/// How a segment is written. Where two begin with the same record, the older form holds none.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Form {
    Former,
    Frames,
}

impl Place {
    /// The place of the segment in this file; `None` when it is no segment.
    pub(super) fn of(name: &str) -> Option<Self> {
        let (first, form) = name.strip_prefix("log-")?.split_once('.')?;
        let form = match form {
            "log" => Form::Frames,
            "redb" => Form::Former,
            _ => return None,
        };
        let first = first.parse().ok()?;
        Some(Self { first, form })
    }

    /// Its file.
    pub(super) fn name(self) -> String {
        match self.form {
            Form::Frames => frames::name(self.first),
            Form::Former => former::name(self.first),
        }
    }

    /// Opens the segment; `None` when it was never begun.
    pub(super) fn open(
        self,
        medium: &dyn Medium,
        sealer: &Sealer,
    ) -> Result<Option<Segment>, StoreError> {
        Ok(match self.form {
            Form::Frames => {
                let opened = Frames::open(medium, sealer, self.first)?;
                Some(Segment::Frames(Arc::new(opened)))
            }
            Form::Former => {
                let opened = Former::open(medium, self.first)?;
                opened.map(|opened| Segment::Former(Arc::new(opened)))
            }
        })
    }
}

impl Segment {
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Frames(one) => Place {
                first: one.first,
                form: Form::Frames,
            },
            Self::Former(one) => Place {
                first: one.first,
                form: Form::Former,
            },
        }
    }

    pub(super) fn first(&self) -> u64 {
        self.place().first
    }

    /// The MAC before its first record.
    pub(super) fn anchor(&self) -> [u8; 32] {
        match self {
            Self::Frames(one) => one.anchor,
            Self::Former(one) => one.anchor,
        }
    }

    /// The end of the chain in it.
    pub(super) fn head(&self) -> Head {
        match self {
            Self::Frames(one) => one.head(),
            Self::Former(one) => one.head(),
        }
    }

    /// Octets of its file, as far as it is known.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Frames(one) => one.length(),
            Self::Former(_) => 0,
        }
    }

    /// Records `from..` in order, at most `limit`: those whose numbers follow each other.
    pub(super) fn records(&self, from: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        match self {
            Self::Frames(one) => one.records(from, limit),
            Self::Former(one) => one.records(from, limit),
        }
    }

    /// Records before `before`, newest first, at most `limit`: those whose numbers follow each other.
    pub(super) fn records_back(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        match self {
            Self::Frames(one) => one.records_back(before, limit),
            Self::Former(one) => one.records_back(before, limit),
        }
    }
}

/// Whether a file of this name is a segment.
pub(crate) fn is_segment(name: &str) -> bool {
    Place::of(name).is_some()
}
