//! `/v1/admin/audit`: reading, checking and following the trail.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER_PERMISSIVE;
use hyper::body::Frame;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use crate::api::call::Call as _;
use crate::api::forms;
use crate::api::{self, CompareAudit, ListAudit, PruneAudit, ShowAudit, TailAudit, VerifyAudit};
use crate::model::client::{Access, Client};
use crate::model::reason::Decision;
use crate::model::user_key::UserKey;
use crate::server::http::caller::{Caller, Lasting};
use crate::server::http::error::Failure;
use crate::server::http::read::{limit, page, time};
use crate::server::http::route::{Admin, Routes};
use crate::server::http::{App, Endless, answer, reports};
use crate::store::{AuditQuery, Records};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .on(list)
        .on(show)
        .on(verify)
        .on(compare)
        .on(prune)
        .on_request::<TailAudit, _, _>(tail)
}

async fn list(app: Arc<App>, call: Admin<ListAudit>) -> Result<api::Audit, Failure> {
    let limit = limit(call.query.limit)?;
    let found = app
        .core()
        .store()
        .audit(wanted(&app, call.query, limit + 1)?);
    let (found, next) = page(found.await?, limit, |record| record.seq);
    Ok(api::Audit {
        records: found.iter().map(forms::audit).collect(),
        next,
    })
}

async fn show(app: Arc<App>, call: Admin<ShowAudit>) -> Result<api::AuditEntry, Failure> {
    let written = app.core().store().audit_entry(call.place).await?;
    let written = written.ok_or_else(|| Failure::missing("audit record"))?;
    Ok(api::AuditEntry {
        record: forms::audit(&written.record),
        records: written.records,
        records_sha256: written.sha256,
    })
}

async fn verify(app: Arc<App>, _: Admin<VerifyAudit>) -> Result<api::AuditChain, Failure> {
    let report = app.core().store().verify_audit(Box::new(|_| {})).await?;
    Ok(reports::chain(report))
}

async fn compare(app: Arc<App>, call: Admin<CompareAudit>) -> Result<api::AuditCompared, Failure> {
    let read = |head: &String| {
        let (seq, mac) = head.split_once(' ')?;
        let mac = HEXLOWER_PERMISSIVE.decode(mac.as_bytes()).ok()?;
        Some((seq.parse().ok()?, mac.try_into().ok()?))
    };
    let heads: Option<Vec<_>> = call.body.heads.iter().map(read).collect();
    let heads = heads.filter(|heads| heads.len() <= HEADS);
    let heads = heads.ok_or_else(|| {
        Failure::malformed(
            "heads: at most 5,000, each a number, a blank and a MAC of 64 hexadecimal digits",
        )
    })?;
    let store = app.core().store();
    let compared = store.compare_heads(heads).await?;
    Ok(api::AuditCompared {
        same: compared.same,
        pruned: compared.pruned,
        different: compared.different.map(|(seq, _)| seq),
        ends_before: compared.different.is_some_and(|(_, ends)| ends),
        key: store.head_public_key(),
    })
}

async fn prune(app: Arc<App>, call: Admin<PruneAudit>) -> Result<api::AuditPruned, Failure> {
    let before = time("before", &call.body.before)?;
    let store = app.core().store();
    let first = store.health().first;
    let now = if call.body.dry_run {
        let prunable = store.prunable(before).await?;
        first.max(prunable.map_or(0, |prunable| prunable.last()) + 1)
    } else {
        app.admin().prune_audit(before, call.from).await?;
        store.health().first
    };
    Ok(api::AuditPruned {
        removed: now.saturating_sub(first),
        first: now,
    })
}

/// [`TailAudit`]: the answer has no end, so it is no document.
async fn tail(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let place = Arc::clone(app.tails()).try_acquire_owned();
    let place = place.map_err(|_| Failure::unavailable("too many listeners of the audit"))?;
    let records = app.core().store().subscribe();
    let (sender, lines) = mpsc::channel(LINES);
    let right = Lasting::of(&caller, &headers, TailAudit::OPERATION.access);
    let (stopping, of) = (app.stopping().clone(), Arc::clone(&app));
    app.tasks().spawn(async move {
        tokio::select! {
            () = stopping.cancelled() => {}
            () = sender.closed() => {}
            () = follow(records, &of, &right, &sender) => {}
        }
        drop(place);
    });
    let media = [(header::CONTENT_TYPE, "application/x-ndjson")];
    let lines = Body::new(Lines(lines));
    Ok((media, Extension(Endless), lines).into_response())
}

/// Sends what is on record from now on, to a caller who may see it.
async fn follow(mut records: Records, app: &App, right: &Lasting, lines: &mpsc::Sender<Bytes>) {
    loop {
        let line = match records.recv().await {
            Ok(record) => answer::text(&forms::audit(record)),
            Err(RecvError::Lagged(missed)) => Ok(format!("{{\"missed\":{missed}}}")),
            Err(RecvError::Closed) => return,
        };
        if !right.holds(app) {
            return;
        }
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
        Some("accept") => Some(Decision::Accept),
        Some("reject") => Some(Decision::Reject),
        Some("challenge") => Some(Decision::Challenge),
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
    let user = match query.user {
        Some(text) => match UserKey::parse(&text) {
            Ok(name) => Some(app.core().store().named(name)?.to_string()),
            Err(_) => Some(text),
        },
        None => None,
    };
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
        actor: query.actor,
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
    let all = app.core().clients().all();
    let has = |client: &Client| match &client.access {
        Access::Radius(radius) => radius.addresses.contains(&address.to_canonical().into()),
        Access::Api(_) => false,
    };
    let found = all.iter().filter(|client| has(client));
    found.map(|client| client.name.clone()).collect()
}

/// Most heads of one call.
const HEADS: usize = 5000;
/// Lines that wait for a slow listener, beside the store's own buffer.
const LINES: usize = 64;
