//! Records as lines at the end of a file. It is opened anew for each batch, so that it may be rotated.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use tokio::task::spawn_blocking;

use crate::config::ShipFormat;
use crate::daemon::jobs::ship::{Destination, line};
use crate::model::audit::AuditRecord;

pub(super) struct File(PathBuf, ShipFormat);

impl File {
    pub(super) fn new(path: &Path, format: ShipFormat) -> Self {
        Self(path.to_owned(), format)
    }
}

impl Destination for File {
    fn take<'a>(&'a self, records: &'a [AuditRecord]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let mut text = String::new();
            for record in records {
                text.push_str(&line(record, self.1)?);
                text.push('\n');
            }
            let path = self.0.clone();
            let written = spawn_blocking(move || append(&path, &text)).await;
            written.map_err(|error| error.to_string())?
        })
    }
}

/// Appends to a file, durably.
pub(in crate::daemon::jobs) fn append(path: &Path, text: &str) -> Result<(), String> {
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_data()
    });
    written.map_err(|error| format!("{} cannot be written: {error}", path.display()))
}
