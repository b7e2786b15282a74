//! Following the audit: records as they become durable, commit by commit.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};

use crate::model::audit::AuditRecord;

/// Where the writer puts the records of each commit: made once, however many follow.
pub(crate) type Told = Sender<Arc<[AuditRecord]>>;

pub(crate) fn told() -> Told {
    channel(COMMITS).0
}

/// Follows the audit.
#[derive(Debug)]
pub struct Records {
    commits: Receiver<Arc<[AuditRecord]>>,
    /// The commit that is being read, and how many of its records were.
    present: Arc<[AuditRecord]>,
    read: usize,
    /// The last record before the next one.
    last: u64,
}

impl Records {
    /// Everything behind the record with the number `last`.
    pub(crate) fn new(commits: Receiver<Arc<[AuditRecord]>>, last: u64) -> Self {
        Self {
            commits,
            present: Arc::default(),
            read: 0,
            last,
        }
    }

    /// The next record. `Lagged` says how many were missed by a follower that was too slow; what comes next is
    /// what came behind them.
    ///
    /// Nothing is lost where the future is dropped before it is ready.
    pub async fn recv(&mut self) -> Result<&AuditRecord, RecvError> {
        while self.read == self.present.len() {
            self.present = match self.commits.recv().await {
                // The oldest that is still there follows at once.
                Err(RecvError::Lagged(_)) => continue,
                commit => commit?,
            };
            self.read = 0;
        }
        let record = &self.present[self.read];
        let missed = record.seq.saturating_sub(self.last + 1);
        if missed > 0 {
            self.last = record.seq - 1;
            return Err(RecvError::Lagged(missed));
        }
        self.read += 1;
        self.last = self.last.max(record.seq);
        Ok(record)
    }
}

/// Commits that a slow follower may fall behind.
const COMMITS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit::{ChangeEvent, Event};
    use crate::model::id::RequestId;
    use crate::time::UnixTime;

    fn commit(numbers: std::ops::Range<u64>) -> Arc<[AuditRecord]> {
        let record = |seq| AuditRecord {
            seq,
            at: UnixTime::EPOCH,
            event: Event::Change(ChangeEvent {
                request: RequestId::new(UnixTime::EPOCH, [0; 10]),
                actor: String::new(),
                action: String::new(),
                target: String::new(),
                user: None,
                detail: None,
            }),
            changes: Vec::new(),
            mac: [0; 32],
        };
        numbers.map(record).collect()
    }

    #[tokio::test]
    async fn records_come_in_order_and_what_was_missed_is_counted() {
        let told = told();
        let mut records = Records::new(told.subscribe(), 4);
        told.send(commit(5..8)).unwrap();
        told.send(commit(8..9)).unwrap();
        for seq in 5..9 {
            assert_eq!(records.recv().await.unwrap().seq, seq);
        }
        let many = 2 * COMMITS as u64;
        for number in 0..many {
            told.send(commit(9 + 3 * number..12 + 3 * number)).unwrap();
        }
        let missed = 3 * (many - COMMITS as u64);
        let lagged = records.recv().await.unwrap_err();
        assert_eq!(lagged, RecvError::Lagged(missed));
        for seq in 9 + missed..9 + 3 * many {
            assert_eq!(records.recv().await.unwrap().seq, seq);
        }
        drop(told);
        assert_eq!(records.recv().await.unwrap_err(), RecvError::Closed);
    }
}
