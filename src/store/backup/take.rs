//! Taking a backup while the store works.

use std::io::Write;
use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER};
use redb::ReadableTableMetadata as _;

use crate::secret::{Entropy, random};
use crate::store::backup::frame::Writer;
use crate::store::backup::{
    BEGIN, BackupReport, Counts, END, FILE, FORMAT, Header, INCREMENTAL, RECORD, ROW, SLOTS, Since,
    SiteFile,
};
use crate::store::error::disk;
use crate::store::identity::{BAD_META, Identity};
use crate::store::journal::Head;
use crate::store::main_file::{Snapshot, read_whole};
use crate::store::record::Table;
use crate::store::rows::Whole;
use crate::store::wanted::Wanted;
use crate::store::{Reading, Store, StoreError, main_file, rows};
use crate::time::UnixTime;

impl Store {
    /// Writes a backup of what is durable now; decisions go on meanwhile. Pages of `main.redb` that are replaced
    /// meanwhile stay in the file until it is done. Dropping the answer ends it. `since`: only what came behind another
    /// backup; conflict where the journal does not hold the end of that one any more, or never did.
    pub async fn backup(
        &self,
        files: Vec<SiteFile>,
        since: Option<Since>,
        at: UnixTime,
        out: impl Write + Send + 'static,
    ) -> Result<BackupReport, StoreError> {
        let entropy = Arc::clone(&self.entropy);
        let taken = move |reading: &Reading, wanted: &Wanted| {
            let moment = reading.fold.reading(|| reading.moment(since.as_ref()))?;
            reading.backup(&files, (moment, since), at, out, entropy.as_ref(), wanted)
        };
        self.read_log(taken).await
    }

    /// Refuses a backup that the store has not gone on from, or cannot any more.
    pub async fn goes_on_from(&self, since: Since) -> Result<(), StoreError> {
        let check = move |reading: &Reading, _: &Wanted| {
            let pruned = reading.pruned()?.unwrap_or_default();
            reading
                .end_of(&since, pruned, reading.fold.head())
                .map(drop)
        };
        self.read_log(check).await
    }
}

/// The store at one moment.
struct Moment {
    identity: Identity,
    snapshot: Snapshot,
    whole: Whole,
    /// The last record that is durable.
    head: Head,
    /// Before the first one that is kept.
    anchor: Head,
    /// Keys of personal data, still sealed.
    slots: Vec<u8>,
}

impl Reading {
    fn moment(&self, since: Option<&Since>) -> Result<Moment, StoreError> {
        if let Some(fault) = &self.found {
            return Err(StoreError::Unavailable(format!(
                "audit record {}: {}",
                fault.seq, fault.what
            )));
        }
        let (identity, snapshot, whole) = {
            let file = self.fold.file();
            let file = file.as_ref().ok_or_else(main_file::closed)?;
            let identity = Identity::read(&file.db)?.ok_or(BAD_META)?;
            let whole = read_whole(&file.db, &self.sealer)?;
            (identity, Snapshot::of(&file.db)?, whole)
        };
        let head = self.fold.head();
        let pruned = self.pruned()?.unwrap_or_default();
        let anchor = match since {
            None => pruned,
            Some(since) => self.end_of(since, pruned, head)?,
        };
        Ok(Moment {
            identity,
            snapshot,
            whole,
            head,
            anchor,
            // After the head: each user in a record up to it has a key by then.
            slots: self.sealer.personal()?.octets()?,
        })
    }

    /// The last record of another backup, if the journal still has what follows it.
    fn end_of(&self, since: &Since, pruned: Head, head: Head) -> Result<Head, StoreError> {
        let end = Head {
            seq: since.head,
            mac: since.mac,
        };
        if since.store != HEXLOWER.encode(&self.sealer.store()) {
            return Err(StoreError::Conflict(OTHER_STORE));
        }
        if end.seq < pruned.seq {
            return Err(StoreError::Conflict(PRUNED));
        }
        if end.seq > head.seq || (end.seq == pruned.seq && end != pruned) {
            return Err(StoreError::Conflict(OTHER_COURSE));
        }
        if end.seq > pruned.seq && !self.journal.stands(end)? {
            return Err(StoreError::Conflict(OTHER_COURSE));
        }
        Ok(end)
    }

    fn backup(
        &self,
        files: &[SiteFile],
        (moment, since): (Moment, Option<Since>),
        at: UnixTime,
        out: impl Write,
        entropy: &dyn Entropy,
        wanted: &Wanted,
    ) -> Result<BackupReport, StoreError> {
        let mut rows = 0;
        let whole = since.is_none();
        for table in Table::ALL.into_iter().filter(|_| whole) {
            rows += moment.snapshot.table(table).len().map_err(disk)?;
        }
        let header = Header {
            format: if whole { FORMAT } else { INCREMENTAL },
            program: concat!("oncegate ", env!("CARGO_PKG_VERSION")).to_owned(),
            backup: HEXLOWER.encode(&random::<16>(entropy)?),
            store: HEXLOWER.encode(&moment.identity.store),
            created: at.rfc3339(),
            data_key: BASE64.encode(&moment.identity.data_key),
            first: moment.anchor.seq + 1,
            head: moment.head.seq,
            items: rows + moment.head.seq.saturating_sub(moment.anchor.seq),
            head_mac: Some(HEXLOWER.encode(&moment.head.mac)),
            since: since.map(|since| since.backup),
        };
        let mut to = Writer::begin(out, &header, &self.sealer, entropy)?;
        for (name, octets) in files {
            to.item(FILE, false, &[name.as_bytes(), b"\0", octets])?;
        }
        for (number, octets) in moment.slots.chunks(SLOTS_OCTETS).enumerate() {
            let first = (number * SLOTS_OCTETS) as u64;
            to.item(SLOTS, false, &[&first.to_be_bytes(), octets])?;
        }
        let Whole {
            applied,
            high_water,
            ..
        } = moment.whole;
        to.item(
            BEGIN,
            false,
            &[
                &octets(moment.anchor),
                &octets(applied),
                &high_water.as_millis().to_be_bytes(),
            ],
        )?;
        let mut counts = Counts::default();
        if whole {
            self.fold
                .reading(|| self.rows(&moment.snapshot, &mut to, &mut counts, wanted))?;
        }
        drop(moment.snapshot);
        self.records(&mut to, (moment.anchor, moment.head), &mut counts, wanted)?;
        let Counts { rows, records } = counts;
        to.item(END, false, &[&rows.to_be_bytes(), &records.to_be_bytes()])?;
        Ok(BackupReport {
            header,
            rows,
            records,
            octets: to.finish()?,
        })
    }

    fn rows<W: Write>(
        &self,
        snapshot: &Snapshot,
        to: &mut Writer<'_, W>,
        counts: &mut Counts,
        wanted: &Wanted,
    ) -> Result<(), StoreError> {
        for table in Table::ALL {
            let file = snapshot.table(table);
            for row in file.range::<&[u8]>(..).map_err(disk)? {
                let (key, stored) = row.map_err(disk)?;
                let key = key.value();
                let sound = rows::open(&self.sealer, table, key, stored.value());
                let Some((value, _)) = sound else {
                    // Named here, and by `store verify`: what is damaged is not made to last.
                    return Err(StoreError::File {
                        file: format!("main.redb: {} {}", table.as_str(), rows::shown(key)),
                        what: "the row is not as it was written",
                    });
                };
                let length = u32::try_from(key.len()).map_err(|_| StoreError::TooLarge)?;
                let table = [table as u8];
                to.item(ROW, true, &[&table, &length.to_be_bytes(), key, value])?;
                counts.rows += 1;
                if counts.rows.is_multiple_of(PAUSE) {
                    wanted.check()?;
                }
            }
        }
        Ok(())
    }

    fn records<W: Write>(
        &self,
        to: &mut Writer<'_, W>,
        (mut at, head): (Head, Head),
        counts: &mut Counts,
        wanted: &Wanted,
    ) -> Result<(), StoreError> {
        while at.seq < head.seq {
            wanted.check()?;
            let records = self.journal.read_after(at, SLICE)?;
            if records.is_empty() {
                return Err(StoreError::Corrupt("an audit record is missing"));
            }
            for record in records.iter().take_while(|record| record.seq <= head.seq) {
                let number = record.seq.to_be_bytes();
                to.item(RECORD, true, &[&number, &record.mac, &record.body])?;
                counts.records += 1;
                at = record.head();
            }
            if records.last().is_some_and(|last| last.seq > head.seq) {
                break;
            }
        }
        if at == head {
            Ok(())
        } else {
            Err(StoreError::Corrupt(
                "the journal is not what the rows were made from",
            ))
        }
    }
}

fn octets(head: Head) -> [u8; 40] {
    let mut octets = [0; 40];
    octets[..8].copy_from_slice(&head.seq.to_be_bytes());
    octets[8..].copy_from_slice(&head.mac);
    octets
}

const OTHER_STORE: &str = "the backup to go on from is of another installation";
const PRUNED: &str =
    "records behind the backup to go on from were pruned from the audit: make a whole backup";
const OTHER_COURSE: &str = "the store has not gone on from that backup: it was restored, or put back, to a moment before \
    it; make a whole backup";
/// Octets of keys of personal data in an item.
const SLOTS_OCTETS: usize = 64 << 10;
/// Records read at a time.
const SLICE: usize = 1000;
/// Rows between two looks at whether to go on.
const PAUSE: u64 = 1000;
