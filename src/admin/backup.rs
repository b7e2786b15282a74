//! Backups and keys, on record.

use crate::admin::{Admin, AdminError, check_text};
use crate::diagnostic::units::count;
use crate::secret::Key256;
use crate::store::backup::{BackupReport, Since};
use crate::store::{By, Change, Cursor};

impl Admin {
    /// Puts on record that a backup was sent to someone, and how far it goes: what they do with it is not known.
    pub async fn record_sending(&self, report: &BackupReport, by: By) -> Result<(), AdminError> {
        let change = Change::Note {
            action: "store_backup_send",
            target: format!("record {}", report.header.head),
            user: None,
            detail: format!(
                "backup {}: {} and {}, {} octets",
                report.header.backup,
                count(report.rows, "row"),
                count(report.records, "record"),
                report.octets
            ),
        };
        Ok(self.core.store.change(change, by).await?)
    }

    /// Puts on record that a backup was kept, and how far it goes. Refused where the store has not gone on from it.
    pub async fn confirm_backup(
        &self,
        kept: Since,
        octets: Option<u64>,
        by: By,
    ) -> Result<(), AdminError> {
        check_text("backup", &kept.backup)?;
        let (mut detail, seq) = (format!("backup {}", kept.backup), kept.head);
        self.core.store.goes_on_from(kept).await?;
        if let Some(octets) = octets {
            push!(detail, ": {octets} octets");
        }
        let change = Change::BackedUp { seq, detail };
        Ok(self.core.store.change(change, by).await?)
    }

    /// Adds a data key, by which secrets are sealed from now on, and puts it on record. Returns its number.
    pub async fn exchange_data_key(&self, master: Key256, by: By) -> Result<u8, AdminError> {
        let number = self.core.store.exchange_data_key(master, by.at).await?;
        let change = Change::Note {
            action: "key_rotate",
            target: "data key".to_owned(),
            user: None,
            detail: format!("data key {number} seals from now on"),
        };
        self.core.store.change(change, by).await?;
        Ok(number)
    }

    /// Seals some of what older data keys sealed; returns where it goes on.
    pub async fn reseal(&self, cursor: Cursor) -> Result<Option<Cursor>, AdminError> {
        let by = By::daemon(self.core.arrival()?);
        Ok(self.core.store.reseal(cursor, by).await?)
    }

    /// Puts on record that every secret is sealed by the newest data key; returns how many are not.
    pub async fn finish_reseal(&self) -> Result<u64, AdminError> {
        let by = By::daemon(self.core.arrival()?);
        Ok(self.core.store.finish_reseal(by).await?.1)
    }

    /// Puts on record that another master key opens the store, and where it is.
    pub async fn record_master(&self, place: String, by: By) -> Result<(), AdminError> {
        let change = Change::MasterExchanged(place);
        Ok(self.core.store.change(change, by).await?)
    }
}
