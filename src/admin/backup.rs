//! Backups and keys, on record.

use crate::admin::{Admin, AdminError};
use crate::diagnostic::units::count;
use crate::store::backup::BackupReport;
use crate::store::{By, Change};

impl Admin {
    /// Puts on record that a backup was made, and how far it goes.
    pub async fn record_backup(&self, report: &BackupReport, by: By) -> Result<(), AdminError> {
        let change = Change::BackedUp {
            seq: report.header.head,
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

    /// Puts on record that another master key opens the store, and where it is.
    pub async fn record_master(&self, place: String, by: By) -> Result<(), AdminError> {
        let change = Change::MasterExchanged(place);
        Ok(self.core.store.change(change, by).await?)
    }
}
