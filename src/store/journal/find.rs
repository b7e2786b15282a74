//! Searching the journal by its indexes ([`index`]): made behind the writer, kept open, left out where there is none.

use std::sync::Arc;

use redb::StorageBackend;

use crate::store::StoreError;
use crate::store::error::disk;
use crate::store::journal::frames;
use crate::store::journal::head::Head;
use crate::store::journal::index::{self, Found, Index, Search, WordsOf};
use crate::store::journal::read::{Journal, UNPOISONED};
use crate::store::journal::record::Record;
use crate::store::journal::segment::{Form, Place};

/// What a search finds next below a record.
pub(crate) enum Part {
    /// Nothing down to this record.
    Nothing(u64),
    /// These may be what is looked for, newest first; it goes on below this record.
    Records(Vec<Record>, u64),
    /// There is no index here: the records are to be read.
    Unknown,
}

impl Journal {
    /// What may be looked for below `before`.
    pub(crate) fn search(&self, before: u64, search: &Search) -> Result<Part, StoreError> {
        let Some(place) = before
            .checked_sub(1)
            .and_then(|last| self.closed_with(last))
        else {
            return Ok(Part::Unknown);
        };
        let Some(known) = self.index_of(place.first) else {
            return Ok(Part::Unknown);
        };
        let found = known.below(&self.sealer, before, search);
        let part = match found {
            None => None,
            Some(Found::Nothing(to)) => Some(Part::Nothing(to)),
            Some(Found::Block(first, end, at)) => match self.file_of(place)? {
                None => Some(Part::Nothing(first)),
                Some(file) => index::block(&*file, &self.sealer, place.first, (first, end, at))?
                    .map(|records| Part::Records(records, first)),
            },
        };
        Ok(part.unwrap_or_else(|| {
            tracing::warn!(
                segment = place.first,
                "the index of an audit segment is damaged; it is made again"
            );
            self.forget(place.first);
            Part::Unknown
        }))
    }

    fn index_of(&self, first: u64) -> Option<Arc<Index>> {
        let known = self.indexes.read().expect(UNPOISONED);
        known.open.get(&first).map(Arc::clone)
    }

    /// Whether every closed segment has an index.
    pub(crate) fn is_indexed(&self) -> bool {
        let segments = self.segments.read().expect(UNPOISONED);
        let known = self.indexes.read().expect(UNPOISONED);
        let mut closed = segments.closed.iter();
        closed.all(|place| known.open.contains_key(&place.first))
    }

    /// First record of the newest segment.
    pub(crate) fn newest(&self) -> u64 {
        self.active().first()
    }

    /// Opens the indexes that are there, and makes one that is missing, the newest first. Whether it made one.
    pub(crate) fn make_index(
        &self,
        words_of: &WordsOf,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool, StoreError> {
        let (closed, active) = {
            let segments = self.segments.read().expect(UNPOISONED);
            (segments.closed.clone(), segments.active.place())
        };
        let mut missing = {
            let known = self.indexes.read().expect(UNPOISONED);
            let is_missing = |place: &Place| {
                place.form == Form::Frames
                    && !known.open.contains_key(&place.first)
                    && !known.without.contains(&place.first)
            };
            let next = closed.iter().copied().skip(1).chain([active]);
            let all: Vec<(Place, Place)> = closed.iter().copied().zip(next).collect();
            all.into_iter()
                .rev()
                .filter(move |(place, _)| is_missing(place))
                .collect::<Vec<_>>()
        }
        .into_iter()
        .peekable();
        if missing.peek().is_none() {
            return Ok(false);
        }
        let there = self.medium.list().map_err(disk)?;
        for (place, next) in missing {
            if stop() {
                return Ok(false);
            }
            let is_there = there.contains(&index::name(place.first));
            if is_there && self.take_index(place, next)? {
                continue;
            }
            let Some(file) = self.file_of(place)? else {
                continue;
            };
            index::make(
                self.medium.as_ref(),
                &self.sealer,
                (place.first, &*file),
                words_of,
                stop,
            )?;
            let made = self.medium.list().map_err(disk)?;
            let is_there = made.contains(&index::name(place.first));
            let done = stop() || (is_there && self.take_index(place, next)?);
            if !done {
                let mut known = self.indexes.write().expect(UNPOISONED);
                known.without.insert(place.first);
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Takes the index of a closed segment into use, if it is of that segment.
    fn take_index(&self, place: Place, next: Place) -> Result<bool, StoreError> {
        let opened = Index::open(self.medium.as_ref(), &self.sealer, place.first)?;
        let before_next = if let Some(file) = self.file_of(next)? {
            frames::anchor(&*file, &self.sealer, next.first)?
        } else {
            let active = self.active();
            if active.place() != next {
                return Ok(false);
            }
            active.anchor()
        };
        let Some(opened) =
            opened.filter(|one| one.is_of(next.first.saturating_sub(1), &before_next))
        else {
            return Ok(false);
        };
        // From here on no file is removed; see `remove`.
        let _open = self.last_read.lock().expect(UNPOISONED);
        if self.is_closed(place) {
            let mut known = self.indexes.write().expect(UNPOISONED);
            known.open.insert(place.first, Arc::new(opened));
        }
        Ok(true)
    }

    /// Forgets the index of a segment.
    pub(super) fn forget(&self, first: u64) {
        let mut known = self.indexes.write().expect(UNPOISONED);
        known.open.remove(&first);
        if let Err(error) = self.medium.remove(&index::name(first)) {
            tracing::warn!(first, %error, "the index of an audit segment was not removed");
        }
    }

    /// The closed segment that holds a record.
    fn closed_with(&self, seq: u64) -> Option<Place> {
        let segments = self.segments.read().expect(UNPOISONED);
        if seq >= segments.active.first() {
            return None;
        }
        let after = segments.closed.partition_point(|place| place.first <= seq);
        segments.closed.get(after.checked_sub(1)?).copied()
    }

    fn is_closed(&self, place: Place) -> bool {
        let segments = self.segments.read().expect(UNPOISONED);
        segments.closed.binary_search(&place).is_ok()
    }

    /// The file of a closed segment; none when it was pruned meanwhile: opening it would make it anew.
    fn file_of(&self, place: Place) -> Result<Option<Box<dyn StorageBackend>>, StoreError> {
        let _open = self.last_read.lock().expect(UNPOISONED);
        if !self.is_closed(place) {
            return Ok(None);
        }
        self.medium.raw(&place.name()).map(Some).map_err(disk)
    }

    /// Octets of all segments, and the link before the first record that would stay if the oldest closed ones were
    /// removed until at most `most` octets are left, all of their records among the `applied` first.
    pub(crate) fn prunable_beyond(
        &self,
        most: u64,
        applied: u64,
    ) -> Result<(u64, Option<Head>), StoreError> {
        let (closed, active) = {
            let segments = self.segments.read().expect(UNPOISONED);
            (segments.closed.clone(), segments.active.clone())
        };
        let mut sizes = Vec::with_capacity(closed.len());
        for place in &closed {
            let file = self.file_of(*place)?;
            sizes.push(match file {
                Some(file) => file.len().map_err(disk)?,
                None => 0,
            });
        }
        let all = sizes.iter().sum::<u64>() + active.length();
        let (mut left, mut anchor) = (all, None);
        let nexts = closed.iter().skip(1).map(|place| place.first);
        for (size, next) in sizes.iter().zip(nexts.chain([active.first()])) {
            let last = next.saturating_sub(1);
            if left <= most || last > applied {
                break;
            }
            left -= size;
            anchor = self.record(last)?.map(|record| record.head());
        }
        Ok((all, anchor))
    }
}
