//! Searching the journal by its indexes ([`index`], [`growing`](super::growing)): made behind the writer, kept open, left out
//! where there is none.

use std::sync::Arc;

use redb::StorageBackend;

use crate::store::StoreError;
use crate::store::error::disk;
use crate::store::journal::frames;
use crate::store::journal::growing::Growing;
use crate::store::journal::head::Head;
use crate::store::journal::index::{self, Found, Index, Search, WordsOf};
use crate::store::journal::read::{Journal, UNPOISONED};
use crate::store::journal::record::Record;
use crate::store::journal::segment::{Form, Place, Segment};

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
        let Some(place) = before.checked_sub(1).and_then(|last| self.place_of(last)) else {
            return Ok(Part::Unknown);
        };
        if let Some(known) = self.index_of(place.first) {
            let found = known.below(&self.sealer, before, search);
            let part = found.map(|found| self.part(place, found, search));
            return Ok(part.transpose()?.flatten().unwrap_or_else(|| {
                tracing::warn!(
                    segment = place.first,
                    "the index of an audit segment is damaged; it is made again"
                );
                self.forget(place.first);
                Part::Unknown
            }));
        }
        let grown = self.indexes.read().expect(UNPOISONED).grown.clone();
        let grown = grown.filter(|grown| grown.first() == place.first);
        let found = grown.and_then(|grown| grown.below(before, search));
        let part = found.map(|found| self.part(place, found, search));
        Ok(part.transpose()?.flatten().unwrap_or(Part::Unknown))
    }

    /// What was found, read from its segment; none where the segment says otherwise.
    fn part(
        &self,
        place: Place,
        found: Found,
        search: &Search,
    ) -> Result<Option<Part>, StoreError> {
        let (first, end, at) = match found {
            Found::Nothing(to) => return Ok(Some(Part::Nothing(to))),
            Found::Block(first, end, at) => (first, end, at),
        };
        let salt = frames::salt(&self.sealer, place.first);
        let read = |file: &dyn StorageBackend, length: u64| {
            index::block(file, (salt, length), (first, end, at), search)
        };
        let active = self.active();
        let records = match &active {
            // Up to its last frame: the room behind that is given back when the segment is closed meanwhile.
            Segment::Frames(frames) if active.place() == place => {
                read(frames.file(), frames.end())?
            }
            _ => match self.file_of(place)? {
                None => return Ok(Some(Part::Nothing(first))),
                Some(file) => read(&*file, file.len().map_err(disk)?)?,
            },
        };
        Ok(records.map(|records| Part::Records(records, first)))
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

    /// Opens the indexes that are there, makes one that is missing, the newest first, and goes on with that of the
    /// newest segment. Whether there was much to do.
    pub(crate) fn make_indexes(
        &self,
        words_of: &WordsOf,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool, StoreError> {
        let made = self.make_index(words_of, stop)?;
        Ok(self.grow_index(words_of, stop)? >= MUCH || made)
    }

    /// Goes on with the index of the newest segment; how many records were read.
    fn grow_index(&self, words_of: &WordsOf, stop: &dyn Fn() -> bool) -> Result<u64, StoreError> {
        let Segment::Frames(active) = self.active() else {
            return Ok(0);
        };
        let mut growing = self.growing.lock().expect(UNPOISONED);
        let former = growing.take_if(|growing| growing.first() == active.first);
        let mut growing_on = former.unwrap_or_else(|| Growing::new(&self.sealer, active.first));
        let read = growing_on.read(active.file(), active.end(), words_of, stop)?;
        let grown = Arc::new(growing_on.grown());
        *growing = Some(growing_on);
        let mut known = self.indexes.write().expect(UNPOISONED);
        known.grown = (grown.len() > 0).then_some(grown);
        Ok(read)
    }

    /// Opens the indexes of closed segments that are there, and makes one that is missing, the newest first. Whether
    /// it made one.
    fn make_index(&self, words_of: &WordsOf, stop: &dyn Fn() -> bool) -> Result<bool, StoreError> {
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
            let former = {
                let mut growing = self.growing.lock().expect(UNPOISONED);
                growing.take_if(|growing| growing.first() == place.first)
            };
            let mut made = former.unwrap_or_else(|| Growing::new(&self.sealer, place.first));
            made.read(&*file, file.len().map_err(disk)?, words_of, stop)?;
            made.write(self.medium.as_ref(), &self.sealer, &*file)?;
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

    /// The segment that holds a record.
    fn place_of(&self, seq: u64) -> Option<Place> {
        let segments = self.segments.read().expect(UNPOISONED);
        if seq >= segments.active.first() {
            return Some(segments.active.place());
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

/// So many records in one go are much: it is looked for more soon.
const MUCH: u64 = 1000;
