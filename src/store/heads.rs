//! Signed heads of the chain, for a place that the store's administrator cannot change.
//!
//! The chain's MACs prove the trail to those who have the master key, and to no one else: an attacker who has it can write another trail.
//! A signed head says in public which record was the last one at a time. Kept elsewhere, it shows later that the trail up to
//! there is still that one.

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::model::audit::AuditRecord;
use crate::store::journal::{Head, Record};
use crate::store::{KeyPurpose, Store, StoreError};
use crate::time::UnixTime;

/// A signed head, as a line of JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SignedHead {
    /// Format.
    pub oncegate_head: u8,
    /// The id of the store.
    pub store: String,
    /// Its state epoch.
    pub epoch: u64,
    /// The last record.
    pub seq: u64,
    /// Its MAC, in hexadecimal digits.
    pub mac: String,
    /// When.
    pub time: String,
    /// The public key; base64.
    pub key: String,
    /// Ed25519 over the above; base64.
    pub signature: String,
}

impl SignedHead {
    /// What is signed.
    fn message(&self) -> String {
        let Self {
            store,
            epoch,
            seq,
            mac,
            time,
            ..
        } = self;
        format!(
            "oncegate head 1\nstore {store}\nepoch {epoch}\nrecord {seq}\nmac {mac}\ntime {time}\n"
        )
    }

    /// Whether it was signed by the key that it names.
    pub fn is_signed(&self) -> bool {
        let verified = || {
            let key = BASE64.decode(self.key.as_bytes()).ok()?;
            let key = VerifyingKey::from_bytes(&key.try_into().ok()?).ok()?;
            let signature = BASE64.decode(self.signature.as_bytes()).ok()?;
            let signature = Signature::from_slice(&signature).ok()?;
            key.verify_strict(self.message().as_bytes(), &signature)
                .ok()
        };
        self.oncegate_head == 1 && verified().is_some()
    }
}

/// What heads say about the trail.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HeadsCompared {
    /// Heads whose record is the one that was signed.
    pub same: u64,
    /// Heads whose record was pruned.
    pub pruned: u64,
    /// The first head that the trail does not hold, and whether it ends before it.
    pub different: Option<(u64, bool)>,
}

impl Store {
    /// The present head, signed.
    pub fn signed_head(&self, at: UnixTime) -> Result<SignedHead, StoreError> {
        let key = self.head_key();
        let head = self.reading.fold.head();
        let mut signed = SignedHead {
            oncegate_head: 1,
            store: HEXLOWER.encode(&self.sealer().store()),
            epoch: self.epoch()?,
            seq: head.seq,
            mac: HEXLOWER.encode(&head.mac),
            time: at.rfc3339(),
            key: BASE64.encode(key.verifying_key().as_bytes()),
            signature: String::new(),
        };
        signed.signature = BASE64.encode(&key.sign(signed.message().as_bytes()).to_bytes());
        Ok(signed)
    }

    /// The public key of signed heads; base64.
    pub fn head_public_key(&self) -> String {
        BASE64.encode(self.head_key().verifying_key().as_bytes())
    }

    fn head_key(&self) -> SigningKey {
        SigningKey::from_bytes(self.key(KeyPurpose::Heads).expose())
    }

    /// Compares the trail with heads that were signed before: numbers and MACs.
    pub async fn compare_heads(
        &self,
        heads: Vec<(u64, [u8; 32])>,
    ) -> Result<HeadsCompared, StoreError> {
        self.read_log(move |reading, wanted| {
            let mut compared = HeadsCompared::default();
            let (first, last) = (reading.journal.first(), reading.fold.head().seq);
            for (seq, mac) in heads {
                wanted.check()?;
                if seq > last {
                    compared.different = Some((seq, true));
                } else if seq == 0 || seq < first {
                    compared.pruned += 1;
                    continue;
                } else if reading.journal.stands(Head { seq, mac })? {
                    compared.same += 1;
                    continue;
                } else {
                    compared.different = Some((seq, false));
                }
                break;
            }
            Ok(compared)
        })
        .await
    }

    /// Audit records after the one with this number, oldest first, as they are stored: what was personal stays sealed.
    pub async fn sealed_after(
        &self,
        seq: u64,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        self.read_log(move |reading, _| {
            let end = reading.fold.head().seq;
            let records = reading.journal.read(seq.saturating_add(1), limit)?;
            let known = records.iter().filter(|record| record.seq <= end);
            known.map(Record::parse).collect()
        })
        .await
    }
}
