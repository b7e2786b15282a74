//! `/v1/admin/audit`: reading, checking and following the trail.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use crate::api;
use crate::api::Problem;
use crate::model::audit::AuditRecord;
use crate::model::client::{Access, Client};
use crate::model::user_key::UserKey;
use crate::server::http::admin::{SeqPath, limit};
use crate::server::http::body::{Json, Query};
use crate::server::http::error::Failure;
use crate::server::http::{App, answer, forms};
use crate::store::{AuditQuery, By};
use crate::time::UnixTime;

/// Audit records, newest first, a page at a time.
#[utoipa::path(
    get,
    path = "/v1/admin/audit",
    tag = "audit",
    params(api::AuditQuery),
    responses(
        (status = 200, description = "A page", body = api::Audit),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_audit(
    State(app): State<Arc<App>>,
    Query(query): Query<api::AuditQuery>,
) -> Result<Response, Failure> {
    let limit = limit(query.limit)?;
    let mut records = app
        .service()
        .core
        .store()
        .audit(wanted(&app, query, limit + 1)?)
        .await?;
    let more = records.len() > limit;
    records.truncate(limit);
    let next = records.last().filter(|_| more).map(|record| record.seq);
    let records = records.iter().map(forms::audit).collect();
    Ok(answer::json(StatusCode::OK, &api::Audit { records, next }))
}

/// One audit record, with the list of the records that it made, changed or removed.
#[utoipa::path(
    get,
    path = "/v1/admin/audit/{seq}",
    tag = "audit",
    params(("seq" = u64, Path, description = "Number of the record")),
    responses(
        (status = 200, description = "The record", body = api::AuditEntry),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn show_audit(
    State(app): State<Arc<App>>,
    SeqPath(seq): SeqPath,
) -> Result<Response, Failure> {
    let written = app.service().core.store().audit_entry(seq).await?;
    let written = written.ok_or_else(|| Failure::missing("audit record"))?;
    let entry = api::AuditEntry {
        record: forms::audit(&written.record),
        records: written.records,
        records_sha256: written.sha256,
    };
    Ok(answer::json(StatusCode::OK, &entry))
}

/// Checks the chain from its first record to the last.
#[utoipa::path(
    post,
    path = "/v1/admin/audit/verify",
    tag = "audit",
    responses(
        (status = 200, description = "What it looks like", body = api::AuditChain),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn verify_audit(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let report = app
        .service()
        .core
        .store()
        .verify_audit(Box::new(|_| {}))
        .await?;
    Ok(answer::json(StatusCode::OK, &forms::chain(report)))
}

/// Removes old records, in whole segments. The pruning itself is on record, and the chain of what is
/// left verifies.
#[utoipa::path(
    post,
    path = "/v1/admin/audit/prune",
    tag = "audit",
    request_body = api::AuditPrune,
    responses(
        (status = 200, description = "What is left", body = api::AuditPruned),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn prune_audit(
    State(app): State<Arc<App>>,
    Extension(by): Extension<By>,
    Json { value: wanted, .. }: Json<api::AuditPrune>,
) -> Result<Response, Failure> {
    let before = time("before", &wanted.before)?;
    let store = app.service().core.store();
    let first = store.health().first;
    let now = if wanted.dry_run {
        let prunable = store.prunable(before).await?;
        first.max(prunable.map_or(0, |prunable| prunable.last()) + 1)
    } else {
        app.service().admin.prune_audit(before, by).await?;
        store.health().first
    };
    let pruned = api::AuditPruned {
        removed: now.saturating_sub(first),
        first: now,
    };
    Ok(answer::json(StatusCode::OK, &pruned))
}

/// Audit records as they become durable, one JSON document a line.
///
/// A listener that is too slow misses records and gets `{"missed":N}` in their place.
#[utoipa::path(
    get,
    path = "/v1/admin/audit/tail",
    tag = "audit",
    responses(
        (status = 200, description = "Until the connection is closed", body = api::AuditRecord,
         content_type = "application/x-ndjson"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn tail_audit(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let place = Arc::clone(app.tails()).try_acquire_owned();
    let place =
        place.map_err(|_| Failure::Unavailable("too many listeners of the audit".into()))?;
    let records = app.service().core.store().subscribe();
    let (sender, lines) = mpsc::channel(LINES);
    let stopping = app.stopping().clone();
    app.tasks().spawn(async move {
        tokio::select! {
            () = stopping.cancelled() => {}
            () = sender.closed() => {}
            () = follow(records, &sender) => {}
        }
        drop(place);
    });
    let media = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((media, Body::new(Lines(lines))).into_response())
}

async fn follow(mut records: broadcast::Receiver<AuditRecord>, lines: &mpsc::Sender<Bytes>) {
    loop {
        let line = match records.recv().await {
            Ok(record) => answer::text(&forms::audit(&record)),
            Err(RecvError::Lagged(missed)) => Ok(format!("{{\"missed\":{missed}}}")),
            Err(RecvError::Closed) => return,
        };
        let Ok(mut line) = line else { return };
        line.push('\n');
        if lines.send(line.into()).await.is_err() {
            return;
        }
    }
}

/// A body whose pieces come from a task.
struct Lines(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

fn wanted(app: &App, query: api::AuditQuery, limit: usize) -> Result<AuditQuery, Failure> {
    let since = query.since.as_deref();
    let since = since.map(|text| time("since", text)).transpose()?;
    let until = query.until.as_deref();
    let until = until.map(|text| time("until", text)).transpose()?;
    let reason = query.reason.as_deref().map(|text| {
        let why = "reason: a word of `oncegate explain --reasons`";
        text.parse().map_err(|()| Failure::malformed(why))
    });
    let decision = match query.decision.as_deref() {
        None => None,
        Some("accept") => Some(crate::model::reason::Decision::Accept),
        Some("reject") => Some(crate::model::reason::Decision::Reject),
        Some("challenge") => Some(crate::model::reason::Decision::Challenge),
        Some(_) => {
            return Err(Failure::malformed(
                "decision: one of accept, reject, challenge",
            ));
        }
    };
    let request = query.request.as_deref().map(|text| {
        text.parse()
            .map_err(|_| Failure::malformed("request: a request id has 26 letters and digits; the list shows them: oncegate audit list"))
    });
    // A name that cannot be read is in the audit as it was typed.
    let user = query
        .user
        .map(|text| UserKey::parse(&text).map_or(text, |key| key.to_string()));
    Ok(AuditQuery {
        before: query.before,
        since,
        until,
        user,
        client: query.client,
        reason: reason.transpose()?,
        nas: query.nas.map(|nas| {
            let clients = at_address(app, &nas);
            // An IPv4 address in its IPv6 form is the same one.
            let address = nas.parse::<IpAddr>().ok();
            let nas = address.map_or(nas, |address| address.to_canonical().to_string());
            (nas, clients)
        }),
        action: query.action,
        decision,
        request: request.transpose()?,
        limit,
    })
}

/// The RADIUS clients that have this one address.
fn at_address(app: &App, nas: &str) -> Vec<String> {
    let Ok(address) = nas.parse::<IpAddr>() else {
        return Vec::new();
    };
    let all = app.service().core.clients().all();
    let has = |client: &Client| match &client.access {
        Access::Radius(radius) => radius.addresses.contains(&address.to_canonical().into()),
        Access::Api(_) => false,
    };
    let found = all.iter().filter(|client| has(client));
    found.map(|client| client.name.clone()).collect()
}

fn time(name: &str, text: &str) -> Result<UnixTime, Failure> {
    let time = text.parse::<jiff::Timestamp>().ok();
    let millis = time.and_then(|time| u64::try_from(time.as_millisecond()).ok());
    millis.map(UnixTime::from_millis).ok_or_else(|| {
        Failure::malformed(format!("{name}: a time as 2026-01-31T08:00:00Z (RFC 3339)"))
    })
}

/// Lines that wait for a slow listener, beside the store's own buffer.
const LINES: usize = 64;
