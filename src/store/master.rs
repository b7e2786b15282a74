//! Another master key for the same store.
//!
//! Only the data keys are sealed again: milliseconds, whatever the store holds. One commit makes the new key the one
//! that opens `main.redb`; the copy in `identity.redb` follows, and opening the store mends it where it did not.

use std::sync::Arc;

use crate::secret::{Entropy, Key256};
use crate::store::identity::{BAD_META, Identity};
use crate::store::record::Table;
use crate::store::seal::ring::Keyring;
use crate::store::{Reading, Store, StoreError, main_file, record};
use crate::time::UnixTime;

impl Store {
    /// Seals the data key by another master key. Durable when it answers; after an error the one or the other opens
    /// the store.
    pub async fn exchange_master(&self, old: Key256, new: Key256) -> Result<(), StoreError> {
        let entropy = Arc::clone(&self.entropy);
        self.read_log(move |reading, _| reading.exchange_master(&old, &new, entropy.as_ref()))
            .await
    }

    /// Since when the master key is in use, if it was exchanged.
    pub fn master_since(&self) -> Result<Option<UnixTime>, StoreError> {
        self.rows()
            .get(Table::Settings, record::MASTER, record::time)
    }
}

impl Reading {
    fn exchange_master(
        &self,
        old: &Key256,
        new: &Key256,
        entropy: &dyn Entropy,
    ) -> Result<(), StoreError> {
        // Held to the end: no checkpoint writes to the file meanwhile.
        let file = self.fold.file();
        let file = file.as_ref().ok_or_else(main_file::closed)?;
        let known = Identity::read(&file.db)?.ok_or(BAD_META)?;
        let ring = Keyring::unwrap(known.store, old, &known.data_key)?;
        let algorithm = self.sealer.algorithm();
        let data_key = ring.wrap(known.store, new, algorithm, entropy)?;
        let identity = Identity { data_key, ..known };
        identity.write(&file.db)?;
        if let Err(error) = identity.keep(self.fold.medium()) {
            tracing::warn!(%error, "the copy of the store's identity was not written; the next start does it");
        }
        Ok(())
    }
}
