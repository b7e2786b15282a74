//! Answers without a known end, and the rows that come as they happen.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use askama::Template;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Frame;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::api::call::Call as _;
use crate::api::{AuditEvent, AuditRecord, TailAudit, forms};
use crate::store::AuditQuery;
use crate::web::Desk;
use crate::web::console::sentence;
use crate::web::view::Rows;
use crate::web::visit::{Signed, is_live};

/// A body whose pieces come from a task.
pub(super) struct Pieces(pub(super) mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.poll_recv(context);
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// Behind which record the rows begin.
#[derive(Deserialize)]
pub(super) struct After {
    #[serde(default)]
    after: u64,
}

/// `GET /console/live`: decisions as they become durable, one row each (server-sent events, WHATWG HTML s9.2). The
/// id of each is its number on record: who comes back with `Last-Event-ID` misses none.
pub(super) async fn live(
    State(desk): State<Desk>,
    signed: Signed,
    Query(from): Query<After>,
    headers: HeaderMap,
) -> Response {
    if !signed.person.may(TailAudit::OPERATION.access) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Ok(place) = Arc::clone(desk.app.tails()).try_acquire_owned() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let last = headers.get("last-event-id");
    let last = last.and_then(|last| last.to_str().ok()?.parse().ok());
    let last: u64 = last.unwrap_or(from.after);
    let (sender, pieces) = mpsc::channel(PIECES);
    let app = Arc::clone(&desk.app);
    app.tasks().spawn(async move {
        let stopping = desk.app.stopping().clone();
        tokio::select! {
            () = stopping.cancelled() => {}
            () = sender.closed() => {}
            () = follow(&desk, &signed, last, &sender) => {}
        }
        drop(place);
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream")];
    (headers, Body::new(Pieces(pieces))).into_response()
}

/// Sends what is on record behind `last`, then what comes; ends with the session.
async fn follow(desk: &Desk, signed: &Signed, last: u64, sender: &mpsc::Sender<Bytes>) {
    let store = desk.app.core().store();
    let mut records = store.subscribe();
    let missed = AuditQuery {
        limit: MOST,
        ..AuditQuery::default()
    };
    let Ok(missed) = store.audit(missed).await else {
        return;
    };
    let mut last = last;
    for record in missed.iter().rev().filter(|record| record.seq > last) {
        if !send(signed, &forms::audit(record), sender).await {
            return;
        }
    }
    last = last.max(missed.first().map_or(0, |record| record.seq));
    let mut tick = tokio::time::interval(SECOND);
    let (mut shown, mut seconds) = (0, 0_u32);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                shown = 0;
                seconds += 1;
                if seconds % LOOK != 0 {
                    continue;
                }
                // A comment keeps the connection; and the session may have ended.
                let ping = Bytes::from_static(b":\n\n");
                if !is_live(desk, &signed.visit) || sender.send(ping).await.is_err() {
                    return;
                }
            }
            record = records.recv() => {
                // Who was too slow comes back, and gets what was missed from the record.
                let Ok(record) = record else { return };
                if record.seq <= last || shown >= PER_SECOND {
                    continue;
                }
                shown += 1;
                if !send(signed, &forms::audit(record), sender).await {
                    return;
                }
            }
        }
    }
}

async fn send(signed: &Signed, record: &AuditRecord, sender: &mpsc::Sender<Bytes>) -> bool {
    if !matches!(record.event, AuditEvent::Decision { .. }) {
        return true;
    }
    let t = signed.visit.t;
    let rows = [sentence::row(t, record, &signed.person)];
    let heads = sentence::heads(t);
    let rows = Rows {
        heads: &heads,
        rows: &rows,
    };
    let rendered = rows.render().unwrap_or_default();
    let line = rendered.replace(['\r', '\n'], " ");
    let event = format!("id: {}\nevent: row\ndata: {line}\n\n", record.seq);
    sender.send(event.into()).await.is_ok()
}

/// Events that wait for a slow browser, beside the store's own buffer.
const PIECES: usize = 64;
/// Records that a browser gets which comes back.
const MOST: usize = 200;
/// Rows in a second: more can be read by no one, and each is rendered. What is passed over is on record.
const PER_SECOND: u32 = 50;
/// Seconds after which it is looked whether the session still is.
const LOOK: u32 = 15;
const SECOND: Duration = Duration::from_secs(1);
