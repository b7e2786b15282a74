//! Takes rows that logins read into memory while the file is looked through, as long as there is room: after a
//! start the first login of each user finds them there.
//!
//! Invariant: nothing is taken once a checkpoint has begun, since the file is looked through as it was before;
//! see [`Fold::load`].

use crate::store::fold::Fold;
use crate::store::record::{self, Table};
use crate::store::row_cache::{Kept, KeptRow, LISTED};

/// The rows of one table on their way to memory.
pub(crate) struct Preload<'a> {
    fold: &'a Fold,
    table: Table,
    /// The last record that is in the file.
    applied: u64,
    /// Those that are taken next.
    waiting: Vec<(Box<[u8]>, Kept)>,
    /// The same of states.
    states: Vec<KeptRow>,
    /// The rows of one owner, where they are kept together; `None`: not all of them are sound.
    owner: (Box<[u8]>, Option<Vec<KeptRow>>),
    /// Whether there is no more to take.
    done: bool,
}

impl<'a> Preload<'a> {
    /// Begins with a table of the file as it was after record `applied`.
    pub(crate) fn of(fold: &'a Fold, table: Table, applied: u64) -> Self {
        Self {
            fold,
            table,
            applied,
            waiting: Vec::new(),
            states: Vec::new(),
            owner: Default::default(),
            done: share(table) == 0 && !table.is_hot(),
        }
    }

    /// Takes the next row in order; `None`: it is not as it was written.
    pub(crate) fn row(&mut self, key: &[u8], value: Option<&[u8]>) {
        if self.done {
            return;
        }
        if self.table.is_hot() {
            match value {
                Some(value) => self.states.push((key.into(), value.into())),
                // It is damaged, which is not the same as absent.
                None => self.done = true,
            }
        } else if self.table.is_listed() {
            self.listed(key, value);
        } else if let Some(value) = value {
            self.waiting.push((key.into(), Kept::Row(value.into())));
        }
        if self.waiting.len() + self.states.len() >= SLICE {
            self.hand_over(false);
        }
    }

    /// Takes what is left at the end of the table; `sound`: the rows are all that there were.
    pub(crate) fn finish(mut self, sound: bool) {
        if !self.done {
            self.end_owner();
            self.hand_over(sound);
        }
    }

    fn listed(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Some(owner) = record::owner_prefix(key) else {
            return;
        };
        if *self.owner.0 != *owner {
            self.end_owner();
            self.owner = (owner.into(), Some(Vec::new()));
        }
        match (&mut self.owner.1, value) {
            (Some(rows), Some(value)) if rows.len() < LISTED => {
                rows.push((key.into(), value.into()));
            }
            (rows, _) => *rows = None,
        }
    }

    fn end_owner(&mut self) {
        let (owner, rows) = std::mem::take(&mut self.owner);
        if let Some(rows) = rows.filter(|rows| !rows.is_empty()) {
            self.waiting.push((owner, Kept::Rows(rows.into())));
        }
    }

    fn hand_over(&mut self, end: bool) {
        let Self {
            fold,
            table,
            applied,
            ..
        } = *self;
        self.done = !if table.is_hot() {
            fold.load_states(table, applied, &mut self.states, end)
        } else {
            fold.load(table, applied, share(table), &mut self.waiting)
        };
        self.waiting.clear();
        self.states.clear();
    }
}

/// Up to how many hundredths of the room memory may be filled when a row of the table is taken: where not all
/// fit, there is some of each.
const fn share(table: Table) -> u64 {
    match table {
        Table::Users => 38,
        Table::Tokens => 96,
        _ => 0,
    }
}

/// Rows that are taken under one lock: the writer waits for it.
const SLICE: usize = 256;
