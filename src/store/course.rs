//! Where those who follow the trail go on after it took another course.
//!
//! A restore, an accepted rollback and a repair that lost records end the trail at an earlier record and write others
//! under the numbers that follow, from the records that close codes on. Each begins a state epoch
//! ([`crate::store::witness`]), and its last record says which. A number alone would pass over those: the epoch is kept
//! with it, and the MAC of the record, since two restores may begin the same epoch where no statement of the first is
//! left.
//!
//! Invariant: behind [`Store::resumed`] lies every record that was not taken. Some that were may lie there, too.

use data_encoding::HEXLOWER;

use crate::model::audit::Event;
use crate::store::journal::Head;
use crate::store::{AuditQuery, Store, StoreError};

/// How far the trail was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Taken {
    /// The last record.
    pub seq: u64,
    /// The state epoch in which it was taken.
    pub epoch: u64,
    /// The MAC of that record; `None`: an earlier version wrote this, or the record was gone.
    pub mac: Option<[u8; 32]>,
}

impl Taken {
    /// Reads what [`Taken::text`] wrote. A number without an epoch, as earlier versions wrote it, may be of any: it counts
    /// as of the first one.
    pub fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let seq = words.next()?.parse().ok()?;
        let epoch = words.next().map_or(Some(0), |word| word.parse().ok())?;
        let mac = match words.next() {
            Some(word) => Some(HEXLOWER.decode(word.as_bytes()).ok()?.try_into().ok()?),
            None => None,
        };
        words.next().is_none().then_some(Self { seq, epoch, mac })
    }

    /// As a line.
    pub fn text(self) -> String {
        let mac = self.mac.map(|mac| HEXLOWER.encode(&mac));
        format!("{} {} {}\n", self.seq, self.epoch, mac.unwrap_or_default())
    }
}

/// The state epoch that a record of one of [`BEGINNINGS`] began: their last one says it.
pub fn epoch_begun(detail: &str) -> Option<u64> {
    let (_, epoch) = detail.rsplit_once(STATE_EPOCH)?;
    epoch.parse().ok()
}

impl Store {
    /// How far the trail is taken by one who has all up to this record.
    pub fn taken(&self, seq: u64) -> Result<Taken, StoreError> {
        let record = self.reading.journal.read(seq, 1).ok();
        let mac = record.and_then(|record| {
            record
                .first()
                .filter(|one| one.seq == seq)
                .map(|one| one.mac)
        });
        let epoch = self.epoch()?;
        Ok(Taken { seq, epoch, mac })
    }

    /// The record behind which one who has taken so much goes on: the same one where the trail has gone on from it, else
    /// the last one before what the later epochs wrote; the first one that is kept where that is not known any more.
    pub async fn resumed(&self, taken: Taken) -> Result<u64, StoreError> {
        let (epoch, health) = (self.epoch()?, self.health());
        // Nothing new comes from a store that has lost its end, and its repair begins an epoch.
        if self.broken().is_some() {
            return Ok(taken.seq);
        }
        let journal = &self.reading.journal;
        let seq = taken.seq;
        let stands = taken
            .mac
            .map_or(Ok(true), |mac| journal.stands(Head { seq, mac }))?;
        if stands && taken.epoch == epoch && seq <= health.seq {
            return Ok(seq);
        }
        // Of another course in the same epoch: that began it, too.
        let known = taken.epoch.saturating_sub(u64::from(!stands));
        let whole = health.first <= 1;
        let mut found: Option<(u64, u64)> = None;
        for action in BEGINNINGS {
            let (begun, first) = self.begun_behind(action, known).await?;
            if let Some(first) = first {
                let (lowest, before) = found.unwrap_or((begun, first));
                found = Some((lowest.min(begun), before.min(first)));
            }
        }
        let course = match found {
            // What an epoch between them wrote may be pruned; of a whole trail it was left out by a restore.
            Some((lowest, first)) if whole || lowest <= known.saturating_add(1) => first,
            _ => health.first,
        };
        Ok(taken.seq.min(course.saturating_sub(1)))
    }

    /// Of the records with this action that are of epochs behind `known`: the lowest epoch, and the first record.
    async fn begun_behind(
        &self,
        action: &str,
        known: u64,
    ) -> Result<(u64, Option<u64>), StoreError> {
        let (mut lowest, mut first) = (u64::MAX, None);
        loop {
            let query = AuditQuery {
                action: Some(action.to_owned()),
                before: first,
                limit: PAGE,
                ..AuditQuery::default()
            };
            let page = self.audit(query).await?;
            if page.is_empty() {
                return Ok((lowest, first));
            }
            for record in page {
                let begun = match &record.event {
                    Event::Change(event) => event.detail.as_deref().and_then(epoch_begun),
                    Event::Decision(_) => None,
                };
                match begun {
                    Some(epoch) if epoch <= known => return Ok((lowest, first)),
                    Some(epoch) => lowest = lowest.min(epoch),
                    // Codes were closed: of the epoch that the record behind them began.
                    None => {}
                }
                first = Some(record.seq);
            }
        }
    }
}

/// Actions of the records that begin an epoch, and close codes before.
pub const BEGINNINGS: [&str; 3] = ["store_restore", "store_rollback", "store_repair"];
/// Before the epoch, at the end of the detail of the record that begins it.
pub(crate) const STATE_EPOCH: &str = "; state epoch ";
/// Records read at a time.
const PAGE: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_read_as_it_was_written() {
        let taken = |epoch, mac| Taken {
            seq: 42,
            epoch,
            mac,
        };
        for taken in [taken(3, None), taken(3, Some([7; 32]))] {
            assert_eq!(Taken::read(&taken.text()), Some(taken));
        }
        let earlier = taken(0, None);
        assert_eq!(Taken::read("42\n"), Some(earlier));
        for wrong in ["", "x", "-1", "42 x", "42 3 1", "42 3 zz"] {
            assert_eq!(Taken::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_epoch_stands_at_the_end() {
        let detail = format!("accepted although by /w{STATE_EPOCH}9 it was newer{STATE_EPOCH}2");
        assert_eq!(epoch_begun(&detail), Some(2));
        assert_eq!(epoch_begun("2 tokens"), None);
    }
}
