//! Another data key for the secrets of a store, and the secrets sealed by it while the store works.
//!
//! ```text
//! a key is added to the ring: identity.redb, then main.redb, then what seals      from now on new secrets are sealed by it
//!   -> rows with older ones are sealed again, some at a time, by the writer       an entry of the journal each
//!   -> the slots of personal.keys are, some at a time
//!   -> nothing older is left: that is on record
//! ```
//!
//! Killed at any moment, the next start finds the newest key in the ring, both open what they sealed, and the rows say
//! themselves what is left. A revision does not move: who saw a record before saw the same one.

use std::ops::Bound;
use std::sync::Arc;

use crate::secret::{Entropy, Key256, random};
use crate::store::identity::{BAD_META, Identity};
use crate::store::record::Table;
use crate::store::seal::ring::Keyring;
use crate::store::wanted::Wanted;
use crate::store::{By, Change, Reading, Reseal, Store, StoreError, main_file, record};
use crate::time::UnixTime;

/// The data key that seals, and how far the secrets are sealed by it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DataKeys {
    /// Its number; the first one is 0.
    pub number: u8,
    /// Since when it seals; `None`: since the store was made.
    pub since: Option<UnixTime>,
    /// Secrets that it seals, and all of them, while older ones are left.
    pub resealing: Option<(u64, u64)>,
}

/// Where sealing again goes on.
#[derive(Clone, Debug, Default)]
pub struct Cursor(Step);

#[derive(Clone, Debug, Default)]
enum Step {
    /// From the first row on.
    #[default]
    Begin,
    /// In this table of [`TABLES`], behind this row.
    Rows(usize, Vec<u8>),
    /// From this slot of personal.keys on.
    Slots(u64),
}

impl Store {
    /// Adds a data key, by which secrets are sealed from now on; `master` opens the present ones. Returns its number.
    /// Durable when it answers. Conflict as long as an earlier exchange is not done.
    pub async fn exchange_data_key(&self, master: Key256, at: UnixTime) -> Result<u8, StoreError> {
        if !self.is_resealed()? {
            return Err(StoreError::Conflict(
                "the exchange of the data key before this one is still under way",
            ));
        }
        let entropy = Arc::clone(&self.entropy);
        self.read_log(move |reading, _| reading.exchange_data_key(&master, at, entropy.as_ref()))
            .await
    }

    /// Whether every secret is sealed by the newest data key, as far as it is on record.
    pub fn is_resealed(&self) -> Result<bool, StoreError> {
        let (number, _) = self.sealer().current_key();
        let rows = self.rows();
        let done = rows.get(Table::Settings, record::DATA_KEY, record::backup)?;
        Ok(number == done.map_or(0, |(_, number)| u8::try_from(number).unwrap_or(0)))
    }

    /// The data key that seals. While an exchange is under way all rows with secrets are looked at.
    pub async fn data_keys(&self) -> Result<DataKeys, StoreError> {
        let (number, since) = self.sealer().current_key();
        let resealing = if self.is_resealed()? {
            None
        } else {
            Some(self.read_log(Reading::resealed).await?)
        };
        Ok(DataKeys {
            number,
            since,
            resealing,
        })
    }

    /// Seals some of what older data keys sealed. Returns where it goes on; `None` at the end, when everything was
    /// looked at once: [`Store::finish_reseal`] says whether anything came meanwhile.
    pub async fn reseal(&self, cursor: Cursor, by: By) -> Result<Option<Cursor>, StoreError> {
        let (table, after) = match cursor.0 {
            Step::Begin => (0, Vec::new()),
            Step::Rows(table, after) => (table, after),
            Step::Slots(first) => {
                let entropy = Arc::clone(&self.entropy);
                let seal = move |reading: &Reading, _: &Wanted| {
                    let keys = reading.sealer.personal()?;
                    let medium = reading.fold.medium();
                    keys.reseal(medium, &reading.sealer, entropy.as_ref(), first)
                };
                let next = self.read_log(seal).await?;
                return Ok(next.map(|first| Cursor(Step::Slots(first))));
            }
        };
        let page = move |reading: &Reading, _: &Wanted| reading.sealed_before(table, &after);
        let (old, last) = self.read_log(page).await?;
        if !old.is_empty() {
            match self.change(Change::Reseal(Reseal::rows(old)), by).await {
                // Another change of these rows was quicker, or they are damaged, which is said elsewhere.
                Ok(()) | Err(StoreError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Some(Cursor(match last {
            Some(last) => Step::Rows(table, last),
            None if table + 1 < TABLES.len() => Step::Rows(table + 1, Vec::new()),
            None => Step::Slots(0),
        })))
    }

    /// Puts on record that every secret is sealed by the newest data key; `false`, and how many are not, where some
    /// came meanwhile or cannot be opened.
    pub async fn finish_reseal(&self, by: By) -> Result<(bool, u64), StoreError> {
        let (done, all) = self.read_log(Reading::resealed).await?;
        if done < all {
            return Ok((false, all - done));
        }
        let (number, _) = self.sealer().current_key();
        self.change(Change::Reseal(Reseal::done(number)), by)
            .await?;
        Ok((true, 0))
    }
}

impl Reading {
    fn exchange_data_key(
        &self,
        master: &Key256,
        at: UnixTime,
        entropy: &dyn Entropy,
    ) -> Result<u8, StoreError> {
        // Held to the end: no checkpoint writes to the file meanwhile.
        let file = self.fold.file();
        let file = file.as_ref().ok_or_else(main_file::closed)?;
        let known = Identity::read(&file.db)?.ok_or(BAD_META)?;
        let mut ring = Keyring::unwrap(known.store, master, &known.data_key)?;
        let key = Key256::new(random(entropy)?);
        let number = ring.add(key.clone(), at)?;
        let data_key = ring.wrap(known.store, master, self.sealer.algorithm(), entropy)?;
        let identity = Identity { data_key, ..known };
        // The copy first: where main.redb is lost, it must open whatever was sealed.
        identity.keep(self.fold.medium())?;
        identity.write(&file.db)?;
        self.sealer.add_key(number, &key, at);
        Ok(number)
    }

    /// Rows of a table that an older data key sealed, some at a time, and the last row that was looked at; none at
    /// the end of the table.
    #[allow(clippy::type_complexity)]
    fn sealed_before(
        &self,
        table: usize,
        after: &[u8],
    ) -> Result<(Vec<(Table, Vec<u8>)>, Option<Vec<u8>>), StoreError> {
        let (number, _) = self.sealer.current_key();
        let (mut old, mut seen, mut last) = (Vec::new(), 0, None);
        let Some(table) = TABLES.get(table).copied() else {
            return Ok((old, None));
        };
        let from = match after {
            [] => Bound::Unbounded,
            after => Bound::Excluded(after),
        };
        self.fold.reader().list(table, b"", from, |key, row| {
            if record::sealed_by(table, row)?.is_some_and(|by| by != number) {
                old.push((table, key.to_vec()));
            }
            seen += 1;
            let more = seen < LOOKED_AT && old.len() < RESEALED;
            if !more {
                last = Some(key.to_vec());
            }
            Ok(more)
        })?;
        Ok((old, last))
    }

    /// Secrets that the newest data key seals, and all.
    fn resealed(&self, wanted: &Wanted) -> Result<(u64, u64), StoreError> {
        let (number, _) = self.sealer.current_key();
        let (mut done, mut all) = self.sealer.personal()?.sealed_by(number)?;
        for table in TABLES {
            let mut last: Option<Vec<u8>> = None;
            loop {
                wanted.check()?;
                let from = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
                let (mut seen, mut end) = (0, None);
                self.fold.reader().list(table, b"", from, |key, row| {
                    if let Some(by) = record::sealed_by(table, row)? {
                        all += 1;
                        done += u64::from(by == number);
                    }
                    seen += 1;
                    if seen == LOOKED_AT {
                        end = Some(key.to_vec());
                    }
                    Ok(seen < LOOKED_AT)
                })?;
                match end {
                    Some(key) => last = Some(key),
                    None => break,
                }
            }
        }
        Ok((done, all))
    }
}

/// Whose rows hold secrets under the data key.
const TABLES: [Table; 3] = [Table::Clients, Table::Credentials, Table::Tokens];
/// Rows of one change: a millisecond of the writer's time.
const RESEALED: usize = 200;
/// Rows that are looked at while readers keep the writer waiting.
const LOOKED_AT: usize = 2000;
