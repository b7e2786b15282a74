//! `/v1/admin/backup`: the store in one sealed stream.

use std::io;
use std::io::BufWriter;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::api::Backup;
use crate::server::http::App;
use crate::server::http::error::Failure;
use crate::server::http::route::Routes;
use crate::store::By;
use crate::store::backup::{BackupReport, SiteFile};

pub(super) fn routes(routes: Routes) -> Routes {
    routes.on_request::<Backup, _, _>(backup)
}

/// The answer is a stream, so it is no document.
async fn backup(
    State(app): State<Arc<App>>,
    Extension(by): Extension<By>,
) -> Result<Response, Failure> {
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
            done = make(&app, files, by, sender.clone()) => done,
        };
        match done {
            Ok(report) => {
                let head = report.header.head;
                tracing::info!(head, octets = report.octets, "a backup was made");
            }
            Err(error) => {
                tracing::error!(error, "a backup was not made");
                // Its end is missing then, whatever arrives of this.
                let _ = sender.send(Err(io::Error::other(error))).await;
            }
        }
        drop(place);
    });
    let media = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((media, Body::new(Stream(pieces))).into_response())
}

/// Writes it, and puts on record that it was written: the stream ends after that.
async fn make(
    app: &App,
    files: Vec<SiteFile>,
    by: By,
    sender: mpsc::Sender<Piece>,
) -> Result<BackupReport, String> {
    let out = Pieces {
        sender,
        handle: Handle::current(),
    };
    let out = BufWriter::with_capacity(BUFFER, out);
    let made = app.core().store().backup(files, by.at, out).await;
    let report = made.map_err(|error| error.to_string())?;
    let recorded = app.admin().record_backup(&report, by).await;
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

/// Pieces that wait for the connection.
const PIECES: usize = 4;
/// Octets of a piece.
const BUFFER: usize = 256 << 10;
/// How long its reader may take nothing.
const STALLED: Duration = Duration::from_mins(1);
