//! What is known of the store outside it: its state epoch and its newest record. A store that was copied back, or
//! that a snapshot of a machine brought back, is older than that.
//!
//! The statement is a text of a few lines, marked with a key of the store. It is written when its record is
//! durable, so that it never says more than a store that was not exchanged holds. Each restore, and each acceptance of an
//! older store, raises the epoch: of two stores with the same past the one with the higher epoch is the later one.

use std::sync::Arc;

use data_encoding::HEXLOWER;

use crate::store::closing::Cause;
use crate::store::journal::Head;
use crate::store::main_file::Snapshot;
use crate::store::rebuild::Rebuild;
use crate::store::record::{EPOCH, Table};
use crate::store::seal::Sealer;
use crate::store::{Parts, Store, StoreError, journal, main_file, record};
use crate::time::UnixTime;

/// What a statement says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Witness {
    store: [u8; 16],
    /// Number of times that a restore, or the acceptance of an older store, began a new history.
    pub epoch: u64,
    head: Head,
    at: UnixTime,
}

/// What statements of the store say together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// The highest state epoch.
    pub(crate) epoch: u64,
    /// The latest time: codes were used up to it, whatever a clock says that was put back with the store.
    pub(crate) at: UnixTime,
}

impl Known {
    /// By the statements that the store itself made.
    pub(crate) fn of(statements: &[String], sealer: &Sealer) -> Self {
        let own = statements.iter();
        let own = own.filter_map(|text| Witness::of(text, sealer));
        own.fold(Self::default(), |known, witness| Self {
            epoch: known.epoch.max(witness.epoch),
            at: known.at.max(witness.at),
        })
    }
}

/// What is wrong with a store by a statement about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mismatch {
    /// The statement was made by another store, or was changed.
    NotOurs,
    /// The store was newer: what is missing, in words.
    Older(String),
}

impl Witness {
    /// Number of the newest record.
    pub const fn seq(&self) -> u64 {
        self.head.seq
    }

    /// The statement.
    fn text(&self, sealer: &Sealer) -> String {
        format!(
            "{TITLE}\nstore {}\nepoch {}\nrecord {}\nmac {}\ntime {}\nmark {}\n",
            HEXLOWER.encode(&self.store),
            self.epoch,
            self.head.seq,
            HEXLOWER.encode(&self.head.mac),
            self.at.as_millis(),
            HEXLOWER.encode(&self.mark(sealer)),
        )
    }

    /// Reads a statement; `None` when it is none, was made by another store, or was changed.
    fn of(text: &str, sealer: &Sealer) -> Option<Self> {
        let witness = Self::read(text)?;
        let own = witness.store == sealer.store();
        (own && witness.text(sealer).trim_end() == text.trim_end()).then_some(witness)
    }

    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        Some(Self {
            store: octets(value("store")?)?,
            epoch: value("epoch")?.parse().ok()?,
            head: Head {
                seq: value("record")?.parse().ok()?,
                mac: octets(value("mac")?)?,
            },
            at: UnixTime::from_millis(value("time")?.parse().ok()?),
        })
    }

    fn mark(&self, sealer: &Sealer) -> [u8; 16] {
        sealer.mark(&[
            b"witness",
            &self.store,
            &self.epoch.to_be_bytes(),
            &self.head.seq.to_be_bytes(),
            &self.head.mac,
            &self.at.as_millis().to_be_bytes(),
        ])
    }
}

fn octets<const N: usize>(text: &str) -> Option<[u8; N]> {
    let octets = HEXLOWER.decode(text.as_bytes()).ok()?;
    octets.try_into().ok()
}

impl Store {
    /// The state epoch: 0 until the first restore.
    pub fn epoch(&self) -> Result<u64, StoreError> {
        let epoch = self.rows().get(Table::Settings, EPOCH, record::epoch)?;
        Ok(epoch.unwrap_or_default())
    }

    /// The statement about the present, and the number of its record.
    pub fn witness(&self, at: UnixTime) -> Result<(u64, String), StoreError> {
        let head = self.reading.fold.head();
        let witness = Witness {
            store: self.sealer().store(),
            epoch: self.epoch()?,
            head,
            at,
        };
        Ok((head.seq, witness.text(self.sealer())))
    }

    /// Compares the store with a statement that was made before; `None`: it is not older.
    pub fn compare(&self, text: &str) -> Result<Option<Mismatch>, StoreError> {
        let Some(witness) = Witness::of(text, self.sealer()) else {
            return Ok(Some(Mismatch::NotOurs));
        };
        let (epoch, head) = (self.epoch()?, self.reading.fold.head());
        let what = if witness.epoch > epoch {
            format!(
                "it is of state epoch {epoch}, and was of {} at {}",
                witness.epoch,
                witness.at.rfc3339()
            )
        } else if witness.epoch < epoch {
            return Ok(None);
        } else if witness.head.seq > head.seq {
            format!(
                "it ends with record {}, and had record {} at {}",
                head.seq,
                witness.head.seq,
                witness.at.rfc3339()
            )
        } else if self.reading.journal.stands(witness.head)? {
            return Ok(None);
        } else {
            format!(
                "its record {} is not the one that was there at {}",
                witness.head.seq,
                witness.at.rfc3339()
            )
        };
        Ok(Some(Mismatch::Older(what)))
    }
}

/// Takes an older store for the present one: closes every code that may have been used since, by the clock and by the
/// `statements` about it, and begins a new state epoch above theirs. Interrupted, it is done again. Returns the
/// tokens that were closed, and the epoch.
///
/// Refused where a row is damaged: what a repair brings back of it later would not be closed.
pub fn accept_older(
    parts: Parts,
    statements: &[String],
    why: &str,
) -> Result<(Vec<String>, u64), StoreError> {
    let Parts {
        medium,
        master,
        algorithm,
        clock,
        entropy,
        segment_size,
        ..
    } = &parts;
    let (medium, segment_size, now) = (Arc::clone(medium), *segment_size, clock.now());
    let (master, algorithm, entropy) = (master.clone(), *algorithm, Arc::clone(entropy));
    // Opening and closing it brings all records into the file.
    let store = Store::open(parts)?;
    if let Some(fault) = store.health().fault {
        return Err(StoreError::Unavailable(fault));
    }
    drop(store);
    let (file, sealer) = main_file::open(medium.as_ref(), &master, algorithm, entropy.as_ref())?;
    let (journal, mut appender) = journal::open(medium, Arc::clone(&sealer), segment_size)?;
    if file.whole.applied != appender.head() {
        return Err(StoreError::Corrupt(
            "main.redb does not hold the newest record",
        ));
    }
    if !Snapshot::of(&file.db)?.is_sound(&sealer)? {
        return Err(DAMAGED);
    }
    let known = Known::of(statements, &sealer);
    let now = now.max(known.at);
    let mut made = Rebuild {
        whole: file.whole,
        file: file.db,
        sealer,
    };
    let closed = made.close_codes(&mut appender, now, ACCEPT)?;
    let epoch = made.begin_epoch(
        &mut appender,
        known.epoch,
        (ACCEPT, now),
        "store".to_owned(),
        why,
        Vec::new(),
    )?;
    journal.flush()?;
    Ok((closed, epoch))
}

/// As the audit names it.
const ACCEPT: Cause = Cause {
    actor: "oncegate serve --accept-rollback",
    action: "store_rollback",
};
const DAMAGED: StoreError = StoreError::Corrupt(
    "rows are damaged: run `oncegate store verify --repair`, then accept the store again",
);
const TITLE: &str = "oncegate witness 1";
