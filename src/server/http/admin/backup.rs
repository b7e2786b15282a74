//! `/v1/admin/backup`: the store in one sealed stream, and that it was kept.

use std::io;
use std::io::BufWriter;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER_PERMISSIVE;
use hyper::body::Frame;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::admin::AdminError;
use crate::api::{Backup, BackupKept, BackupQuery, ConfirmBackup};
use crate::server::http::App;
use crate::server::http::body;
use crate::server::http::error::Failure;
use crate::server::http::route::{Admin, Routes};
use crate::store::backup::{BackupReport, Since, SiteFile};
use crate::store::{By, StoreError};

pub(super) fn routes(routes: Routes) -> Routes {
    routes.on_request::<Backup, _, _>(backup).on(confirm)
}

/// The receiver alone knows whether what was sent is on a disk.
async fn confirm(app: Arc<App>, call: Admin<ConfirmBackup>) -> Result<(), Failure> {
    let BackupKept {
        backup,
        store,
        head,
        head_mac,
        octets,
    } = call.body;
    let mac = mac(&head_mac);
    let mac = mac.ok_or_else(|| Failure::malformed("head_mac: 64 hexadecimal digits"))?;
    let kept = Since {
        backup,
        store,
        head,
        mac,
    };
    let done = app.admin().confirm_backup(kept, octets, call.from).await;
    done.map_err(|error| match error {
        AdminError::Conflict(_) => Failure::conflict(NOT_OF_HERE)
            .advise("confirm a backup where it was made, before the store is restored"),
        error => error.into(),
    })
}

/// The answer is a stream, so it is no document.
async fn backup(
    State(app): State<Arc<App>>,
    Extension(by): Extension<By>,
    uri: Uri,
) -> Result<Response, Failure> {
    let since = since(body::query(&uri)?)?;
    if let Some(since) = &since {
        // Before the answer begins: behind that it can only break off.
        let store = app.core().store();
        store.goes_on_from(since.clone()).await.map_err(no_course)?;
    }
    let place = Arc::clone(app.backups()).try_acquire_owned();
    let place = place.map_err(|_| {
        let busy = Failure::conflict("another backup is being made");
        busy.advise("wait until it is done, then repeat the command")
    })?;
    let read = Arc::clone(&app);
    let files = tokio::task::spawn_blocking(move || read.site_files()).await;
    let files = files.map_err(|_| Failure::INTERNAL)?;
    let files = files.map_err(|what| Failure::unavailable(format!("no backup is made: {what}")))?;
    let (sender, pieces) = mpsc::channel(PIECES);
    let tasks = app.tasks().clone();
    tasks.spawn(async move {
        let done = tokio::select! {
            () = app.stopping().cancelled() => Err("the daemon stops".to_owned()),
            done = make(&app, (files, since), by, sender.clone()) => done,
        };
        match done {
            Ok(report) => {
                let head = report.header.head;
                tracing::info!(head, octets = report.octets, "a backup was sent");
            }
            Err(error) => {
                tracing::error!(error, "a backup was not sent");
                // Its end is missing then, whatever arrives of this.
                let _ = sender.send(Err(io::Error::other(error))).await;
            }
        }
        drop(place);
    });
    let media = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((media, Body::new(Stream(pieces))).into_response())
}

/// Why a backup does not go on from another one.
fn no_course(error: StoreError) -> Failure {
    match error {
        StoreError::Conflict(why) => {
            Failure::conflict(why).advise("make a whole backup: leave --since out")
        }
        error => error.into(),
    }
}

/// The backup to go on from, where one is named.
fn since(query: BackupQuery) -> Result<Option<Since>, Failure> {
    let BackupQuery {
        since,
        store,
        head,
        head_mac,
    } = query;
    let Some(backup) = since else {
        return Ok(None);
    };
    let mac = head_mac.and_then(|text| mac(&text));
    match (store, head, mac) {
        (Some(store), Some(head), Some(mac)) => Ok(Some(Since {
            backup,
            store,
            head,
            mac,
        })),
        _ => Err(Failure::malformed(
            "since: goes with store, head and head_mac of that backup's header",
        )),
    }
}

/// The MAC of a record.
fn mac(text: &str) -> Option<[u8; 32]> {
    let octets = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    octets.try_into().ok()
}

/// Writes it, and puts on record that it was sent: the stream ends after that, so that no whole backup leaves without a
/// record.
async fn make(
    app: &App,
    (files, since): (Vec<SiteFile>, Option<Since>),
    by: By,
    sender: mpsc::Sender<Piece>,
) -> Result<BackupReport, String> {
    let out = Pieces {
        sender,
        handle: Handle::current(),
    };
    let out = BufWriter::with_capacity(BUFFER, out);
    let made = app.core().store().backup(files, since, by.at, out).await;
    let report = made.map_err(|error| error.to_string())?;
    let recorded = app.admin().record_sending(&report, by).await;
    recorded.map_err(|error| error.to_string())?;
    Ok(report)
}

type Piece = Result<Bytes, io::Error>;

/// Hands octets to the connection.
struct Pieces {
    sender: mpsc::Sender<Piece>,
    handle: Handle,
}

impl io::Write for Pieces {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(octets);
        let sent = timeout(STALLED, self.sender.send(Ok(piece)));
        // A reader that waits for ever would keep replaced pages in the file.
        match self.handle.block_on(sent) {
            Ok(Ok(())) => Ok(octets.len()),
            Ok(Err(_)) => Err(io::Error::other("its reader has left")),
            Err(_) => Err(io::Error::other("its reader takes nothing")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A body whose pieces come from a task.
struct Stream(mpsc::Receiver<Piece>);

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

const NOT_OF_HERE: &str = "the journal has not gone on from this backup: it is of another store or of another course of \
    this one, or its end was pruned";
/// Pieces that wait for the connection.
const PIECES: usize = 4;
/// Octets of a piece.
const BUFFER: usize = 256 << 10;
/// How long its reader may take nothing.
const STALLED: Duration = Duration::from_mins(1);
