//! `/v1/admin/status`, `/v1/admin/policies`, `/v1/admin/clock/recover`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::api;
use crate::api::Problem;
use crate::model::reason::{Decision, Reason};
use crate::server::http::admin::user_key;
use crate::server::http::body::Query;
use crate::server::http::error::Failure;
use crate::server::http::{App, answer, forms};
use crate::store::By;

/// How the server is.
#[utoipa::path(
    get,
    path = "/v1/admin/status",
    tag = "operation",
    responses(
        (status = 200, description = "How it is", body = api::Status),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn status(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    Ok(answer::json(StatusCode::OK, &present(&app)))
}

/// Checks the store: every row, each table as a whole, the audit chain, and the rows against it.
///
/// Decisions go on meanwhile; the check ends when the asker leaves or the daemon stops. It repairs
/// nothing: that is done on a stopped store, with `oncegate store verify --repair`.
#[utoipa::path(
    post,
    path = "/v1/admin/store/verify",
    tag = "operation",
    responses(
        (status = 200, description = "What it looks like", body = api::StoreCheck),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn verify_store(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    tokio::select! {
        report = app.service().core.store().verify_store() => {
            Ok(answer::json(StatusCode::OK, &forms::store(report?)))
        }
        () = app.stopping().cancelled() => {
            Err(Failure::Unavailable("the daemon stops; the check was not finished".into()))
        }
    }
}

/// Loaded policies.
#[utoipa::path(
    get,
    path = "/v1/admin/policies",
    tag = "policies",
    responses(
        (status = 200, description = "All of them", body = api::Policies),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_policies(State(app): State<Arc<App>>) -> Response {
    let policies = app.service().core.policies();
    let summary = |policy: &crate::policy::Policy| api::PolicySummary {
        name: policy.name.clone(),
        description: policy.description.clone(),
        rules: policy.rules.iter().map(|rule| rule.name.clone()).collect(),
    };
    let policies = policies.iter().map(summary).collect();
    answer::json(StatusCode::OK, &api::Policies { policies })
}

/// Vouches for the present time although later times are on record.
///
/// What a clock that was ahead left behind is taken back: steps are used up that were really used, and
/// no others; waits end within their length from now. It may be repeated when it was interrupted. Each call
/// sees to 100,000 users at most: ask again with `after` while the answer has `next`.
#[utoipa::path(
    post,
    path = "/v1/admin/clock/recover",
    tag = "operation",
    params(api::ClockPage),
    responses(
        (status = 200, description = "Done, and who is concerned", body = api::ClockRecovered),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn recover_clock(
    State(app): State<Arc<App>>,
    Extension(by): Extension<By>,
    Query(page): Query<api::ClockPage>,
) -> Result<Response, Failure> {
    let after = page.after.as_deref().map(user_key).transpose()?;
    let limit = page.limit.unwrap_or(RECOVERED);
    if !(1..=RECOVERED).contains(&limit) {
        return Err(Failure::malformed("limit: 1 to 100000"));
    }
    let (at, now) = (by.at, by.at.rfc3339());
    let recovered = app.service().admin.recover_clock(after, limit, by).await?;
    let users = recovered.users.into_iter();
    let answer = api::ClockRecovered {
        recovered: true,
        now,
        affected: recovered.count,
        outage: recovered.outage.map(|outage| forms::waiver(&outage, at)),
        next: recovered.next.map(|user| user.to_string()),
        users: users
            .map(|astray| api::ClockAffected {
                user: astray.user.to_string(),
                what: astray.what,
            })
            .collect(),
    };
    Ok(answer::json(StatusCode::OK, &answer))
}

/// Reads policies, tables, texts, certificate, gateways, inbound secret and log level again.
///
/// Each part is taken as a whole or stays as it was.
#[utoipa::path(
    post,
    path = "/v1/admin/reload",
    tag = "operation",
    responses(
        (status = 200, description = "What was taken, what was not and why", body = api::Reload),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn reload(
    State(app): State<Arc<App>>,
    Extension(by): Extension<By>,
) -> Result<Response, Failure> {
    let before = app.service().core.policies();
    let done = read_files(Arc::clone(&app), true).await?;
    let recorded = app
        .service()
        .admin
        .record_reload(&before, done.refused(), by);
    if let Err(error) = recorded.await {
        tracing::error!(%error, "the reload is not on record");
    }
    Ok(answer::json(StatusCode::OK, &done))
}

/// Compares the configuration in use with the written one: what takes a restart.
#[utoipa::path(
    get,
    path = "/v1/admin/reload",
    tag = "operation",
    responses(
        (status = 200, description = "What differs", body = api::Reload),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn compare_files(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let done = read_files(app, false).await?;
    Ok(answer::json(StatusCode::OK, &done))
}

async fn read_files(app: Arc<App>, act: bool) -> Result<api::Reload, Failure> {
    let done = tokio::task::spawn_blocking(move || app.reload(act)).await;
    let done = done.map_err(|_| Failure::Internal)?;
    done.ok_or_else(|| Failure::Unavailable("no daemon runs here".into()))
}

fn present(app: &App) -> api::Status {
    let service = app.service();
    let now = service.core.now();
    // As below: how the server is must be told although the store cannot be read.
    let outage = service.admin.outage().unwrap_or_default();
    let outage = outage.filter(|outage| outage.holds(now));
    let info = app.info();
    let health = service.core.store().health();
    let fault = service.core.fault();
    let (mut accepts, mut rejects, mut undecided) = (0, 0, 0);
    for (_, reason, count) in service.core.counters().all() {
        match reason.map(Reason::decision) {
            Some(Decision::Accept) => accepts += count,
            Some(Decision::Reject) => rejects += count,
            // Half a login is not a decision that somebody heard.
            Some(Decision::Challenge) => {}
            None => undecided += count,
        }
    }
    api::Status {
        ready: fault.is_none(),
        fault,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        daemon: info.daemon,
        radius: info.radius.iter().map(ToString::to_string).collect(),
        accounting: info.accounting.iter().map(ToString::to_string).collect(),
        http: info.http.iter().map(ToString::to_string).collect(),
        policies: service
            .core
            .policies()
            .iter()
            .map(|policy| policy.name.clone())
            .collect(),
        clients: service.core.clients().all().len(),
        audit_first: health.first,
        audit_seq: health.seq,
        queue: health.queue,
        queue_limit: health.queue_limit,
        commits: health.commits,
        records: health.records,
        accepts,
        rejects,
        undecided,
        damaged: health.damaged,
        damage: health.damage.iter().map(ToString::to_string).collect(),
        checkpoint: health.checkpoint,
        outage: outage.map(|outage| forms::waiver(&outage, now)),
        notices: api::Notices {
            // Health is told although the store cannot be read: `fault` says so.
            cursor: service.core.store().notified().unwrap_or_default(),
            waiting: service.notices.waiting(),
            sent: service.notices.sent(),
            failed: service.notices.failed(),
            retried: service.notices.retried(),
        },
        certificate_not_after: app
            .certificate()
            .map(|validity| validity.not_after.rfc3339()),
        certificate: app.certificate().map_or_else(Vec::new, |validity| {
            let concerns = validity.concerns(now).into_iter();
            concerns.map(|concern| concern.what).collect()
        }),
        clock_jump: service.core.clock_jump().map(|jump| api::ClockJump {
            at: jump.to.rfc3339(),
            seconds: jump.seconds(),
            detail: jump.to_string(),
        }),
        jobs: service
            .core
            .jobs()
            .all()
            .into_iter()
            .map(forms::job)
            .collect(),
        now: now.rfc3339(),
        last_seen: service.core.store().high_water().rfc3339(),
    }
}

/// Most users of one call that puts the clock right: some seconds.
const RECOVERED: usize = 100_000;
