//! Answers without a known end, and the rows that come as they happen.
//!
//! Invariant: what live rows cost does not depend on how much is decided. No list is told of records: all of them
//! look four times a second at one copy of the last 200, which is read once for all, and each shows 20 rows a second
//! at most. What is passed over is counted; it is on record.

use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Frame;
use serde::Deserialize;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior};

use crate::api::call::Call as _;
use crate::api::{TailAudit, forms};
use crate::model::audit::{AuditRecord, Event};
use crate::server::http::Endless;
use crate::store::{Store, StoreError};
use crate::web::Desk;
use crate::web::console::sentence;
use crate::web::view::Rows;
use crate::web::visit::{Signed, is_live};

/// A part of a body; an error breaks it off, so that it does not look whole.
pub(super) type Piece = io::Result<Bytes>;

/// A body whose pieces come from a task.
pub(super) struct Pieces(pub(super) mpsc::Receiver<Piece>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = self.0.poll_recv(context);
        piece.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// What all live lists look at, and their places.
pub(crate) struct Live {
    places: Arc<Semaphore>,
    last: Mutex<Option<(Instant, Last)>>,
}

/// The last records, the newest last.
#[derive(Clone)]
struct Last {
    /// The number of the newest one.
    head: u64,
    records: Arc<[Arc<AuditRecord>]>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(LISTS)),
            last: Mutex::default(),
        }
    }
}

impl Live {
    /// The last records, as they were a beat ago at most. `head` says the number of the newest one, `read` reads
    /// those behind a number.
    async fn last<R>(
        &self,
        at: Instant,
        head: impl FnOnce() -> u64,
        read: impl FnOnce(u64) -> R,
    ) -> Result<Last, StoreError>
    where
        R: Future<Output = Result<Vec<AuditRecord>, StoreError>>,
    {
        let mut last = self.last.lock().await;
        let known = match &*last {
            Some((read, known)) if at < *read + BEAT => return Ok(known.clone()),
            Some((_, known)) => Some(known),
            None => None,
        };
        let head = head();
        let before = known.map_or(0, |known| known.head);
        let from = before.max(head.saturating_sub(MOST as u64));
        let new = if head > from {
            read(from).await?
        } else {
            Vec::new()
        };
        let old = known.map_or(&[][..], |known| &known.records);
        let kept = old.len().min(MOST.saturating_sub(new.len()));
        let old = old.iter().skip(old.len() - kept).cloned();
        let records: Arc<[_]> = old.chain(new.into_iter().map(Arc::new)).collect();
        let head = records.last().map_or(before, |newest| newest.seq);
        let now = Last { head, records };
        *last = Some((at, now.clone()));
        Ok(now)
    }

    async fn of(&self, store: &Store) -> Result<Last, StoreError> {
        let head = || store.health().seq;
        let read = |from| store.audit_after(from, MOST);
        self.last(Instant::now(), head, read).await
    }
}

/// How far one list is.
struct Shown {
    last: u64,
    /// Whether it is known what it has not shown: from its first look on, or where its page said what it has.
    counts: bool,
    /// Rows that it may show at once.
    may: usize,
    /// Records that were passed over.
    passed: u64,
}

impl Shown {
    /// The decisions that come next, oldest first: the newest ones, as many as can be read.
    fn next(&mut self, now: &Last) -> Vec<Arc<AuditRecord>> {
        let new = now.records.iter().filter(|record| record.seq > self.last);
        let known = new.clone().count() as u64;
        let decided = new.filter(|record| matches!(record.event, Event::Decision(_)));
        let decided: Vec<_> = decided.cloned().collect();
        let over = decided.len().saturating_sub(self.may);
        if self.counts {
            let unknown = now.head.saturating_sub(self.last).saturating_sub(known);
            self.passed += unknown + over as u64;
        }
        (self.last, self.counts) = (self.last.max(now.head), true);
        let shown = decided.get(over..).unwrap_or_default().to_vec();
        self.may = (self.may.saturating_sub(shown.len()) + PER_BEAT).min(PER_SECOND);
        shown
    }
}

/// Behind which record the rows begin.
#[derive(Deserialize)]
pub(super) struct After {
    #[serde(default)]
    after: u64,
}

/// `GET /console/live`: decisions as they become durable, one row each (server-sent events, WHATWG HTML s9.2). The
/// id of each is its number on record: who comes back with `Last-Event-ID` misses none of the last 200.
pub(super) async fn live(
    State(desk): State<Desk>,
    signed: Signed,
    Query(from): Query<After>,
    headers: HeaderMap,
) -> Response {
    if !signed.person.may(TailAudit::OPERATION.access) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Ok(place) = Arc::clone(&desk.web.live.places).try_acquire_owned() else {
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
    let pieces = Body::new(Pieces(pieces));
    (headers, Extension(Endless), pieces).into_response()
}

/// Sends what is on record behind `last`, then what comes; ends with the session.
async fn follow(desk: &Desk, signed: &Signed, last: u64, sender: &mpsc::Sender<Piece>) {
    let store = desk.app.core().store();
    let mut shown = Shown {
        last,
        counts: last > 0,
        may: MOST,
        passed: 0,
    };
    let mut text = RETRY.to_owned();
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut beats, mut told) = (0_u32, 0);
    loop {
        beat.tick().await;
        beats = beats.wrapping_add(1);
        let Ok(now) = desk.web.live.of(store).await else {
            return;
        };
        for record in shown.next(&now) {
            event(signed, &record, &mut text);
        }
        if shown.passed > told {
            told = shown.passed;
            let passed = signed
                .visit
                .t
                .with("now.passed", &[("count", &told.to_string())]);
            let _ = write!(
                text,
                "id: {}\nevent: passed\ndata: {passed}\n\n",
                shown.last
            );
        }
        if beats.is_multiple_of(LOOK) {
            // A comment keeps the connection; and the session may have ended.
            if !is_live(desk, signed) {
                return;
            }
            text.push_str(":\n\n");
        }
        if text.is_empty() {
            continue;
        }
        let piece = std::mem::take(&mut text).into();
        if sender.send(Ok(piece)).await.is_err() {
            return;
        }
    }
}

fn event(signed: &Signed, record: &AuditRecord, text: &mut String) {
    let t = signed.visit.t;
    let rows = [sentence::row(t, &forms::audit(record), &signed.person)];
    let heads = sentence::heads(t);
    let rows = Rows {
        heads: &heads,
        rows: &rows,
    };
    let rendered = rows.render().unwrap_or_default();
    let line = rendered.replace(['\r', '\n'], " ");
    let _ = write!(text, "id: {}\nevent: row\ndata: {line}\n\n", record.seq);
}

/// Pieces that wait for a slow browser: what comes meanwhile is passed over.
const PIECES: usize = 4;
/// Records that are kept for all lists, and that a browser gets which comes back: as many rows as its page has.
const MOST: usize = 200;
/// Lists at a time, each of which renders [`PER_SECOND`] rows.
const LISTS: usize = 128;
/// How often the last records are read.
const BEAT: Duration = Duration::from_millis(250);
/// Rows in a second: more can be read by no one.
const PER_SECOND: usize = 20;
const PER_BEAT: usize = PER_SECOND / 4;
/// Beats after which it is looked whether the session still is: 15 s.
const LOOK: u32 = 60;
/// How soon a browser comes back whose connection ended, in milliseconds.
const RETRY: &str = "retry: 500\n\n";

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::model::audit::{ChangeEvent, Channel, DecisionEvent, Purpose};
    use crate::model::id::RequestId;
    use crate::model::reason::{Decision, Reason};
    use crate::time::UnixTime;

    /// Of nine decisions and a change, again and again.
    fn record(seq: u64) -> AuditRecord {
        let request = RequestId::from_bytes([1; 16]);
        let decision = DecisionEvent {
            request,
            purpose: Purpose::Login,
            decision: Decision::Accept,
            reason: Reason::TotpOk,
            user: "alice@default".to_owned(),
            serial: None,
            step: None,
            client: "vpn".into(),
            channel: Channel::Http,
            source: None,
            rule: None,
            method: "http".into(),
            origin: None,
            waiver: None,
            note: None,
            failures: 0,
            locked: false,
            latency: 1,
        };
        let change = ChangeEvent {
            request,
            actor: "daemon".to_owned(),
            action: "user_add".to_owned(),
            target: "bob@default".to_owned(),
            user: None,
            detail: None,
        };
        AuditRecord {
            seq,
            at: UnixTime::from_secs(1_800_000_000),
            event: if seq.is_multiple_of(10) {
                Event::Change(change)
            } else {
                Event::Decision(decision)
            },
            changes: Vec::new(),
            mac: [0; 32],
        }
    }

    /// Looks once; counts the readings, and the records that they read.
    async fn look(
        (live, at): (&Live, Instant),
        head: u64,
        reads: &AtomicU64,
        read: &AtomicU64,
    ) -> Last {
        let fetch = async |from: u64| {
            reads.fetch_add(1, Ordering::Relaxed);
            let records: Vec<_> = (from + 1..=head).map(record).collect();
            read.fetch_add(records.len() as u64, Ordering::Relaxed);
            Ok(records)
        };
        live.last(at, || head, fetch).await.unwrap()
    }

    /// 100 lists for ten seconds, of which each looks four times a second.
    async fn work(per_second: u64) -> (u64, u64, Vec<(usize, u64)>) {
        let (live, reads, read) = (Live::default(), AtomicU64::new(0), AtomicU64::new(0));
        let list = || Shown {
            last: 0,
            counts: true,
            may: PER_SECOND,
            passed: 0,
        };
        let mut lists: Vec<_> = (0..100).map(|_| (list(), 0)).collect();
        let mut at = Instant::now();
        for beat in 1..=40 {
            at += BEAT;
            for (list, rows) in &mut lists {
                let now = look((&live, at), beat * per_second / 4, &reads, &read).await;
                *rows += list.next(&now).len();
            }
        }
        let lists = lists.iter().map(|(list, rows)| (*rows, list.passed));
        (reads.into_inner(), read.into_inner(), lists.collect())
    }

    #[tokio::test]
    async fn what_lists_cost_does_not_depend_on_how_much_is_decided() {
        let (reads, read, lists) = work(10_000).await;
        let many = work(1_000_000).await;
        assert_eq!((reads, read), (many.0, many.1));
        assert_eq!((reads, read), (40, 40 * 200), "read once for all lists");
        for (rows, passed) in lists {
            assert_eq!(rows, 20 + 39 * 5);
            let changes = 40 * 20;
            assert_eq!(
                passed + rows as u64 + changes,
                100_000,
                "what is passed over is counted"
            );
        }
    }

    #[tokio::test]
    async fn what_can_be_read_is_shown_whole() {
        let (_, read, lists) = work(8).await;
        assert_eq!(read, 80);
        assert!(lists.iter().all(|list| *list == (72, 0)), "{lists:?}");
    }

    #[tokio::test]
    async fn who_comes_back_gets_what_was_missed() {
        let (live, count) = (Live::default(), AtomicU64::new(0));
        let mut list = Shown {
            last: 900,
            counts: true,
            may: MOST,
            passed: 0,
        };
        let now = look((&live, Instant::now()), 1000, &count, &count).await;
        let rows = list.next(&now);
        let numbers: Vec<u64> = rows.iter().map(|record| record.seq).collect();
        assert_eq!((numbers.len(), numbers[0], numbers[89]), (90, 901, 999));
        assert_eq!((list.passed, list.last), (0, 1000));
        assert!(list.next(&now).is_empty());
        let mut long = Shown { last: 1, ..list };
        assert_eq!(long.next(&now).len(), PER_SECOND);
        assert_eq!(long.passed, 799 + 160);
    }
}
