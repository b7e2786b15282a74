//! A record of the journal as it is stored.

use crate::model::audit::AuditRecord;
use crate::store::StoreError;
use crate::store::journal::head::Head;
use crate::store::record::Entry;

/// A stored record before it is parsed.
pub(crate) struct Record {
    pub(crate) seq: u64,
    pub(crate) mac: [u8; 32],
    pub(crate) body: Vec<u8>,
}

impl Record {
    pub(super) fn new(seq: u64, value: &[u8]) -> Result<Self, StoreError> {
        let (mac, body) = value.split_first_chunk::<32>().ok_or(SHORT)?;
        Ok(Self {
            seq,
            mac: *mac,
            body: body.to_vec(),
        })
    }

    /// Its place in the chain.
    pub(crate) const fn head(&self) -> Head {
        Head {
            seq: self.seq,
            mac: self.mac,
        }
    }

    /// The record without the rows that changed with it.
    pub(crate) fn parse(&self) -> Result<AuditRecord, StoreError> {
        let entry = Entry::decode(&self.body)?;
        Ok(AuditRecord {
            seq: self.seq,
            at: entry.at,
            event: entry.event,
            changes: entry.changes,
            mac: self.mac,
        })
    }
}

pub(super) const SHORT: StoreError = StoreError::Corrupt("an audit record is cut short");
