//! `/v1/admin/status`, `/v1/admin/policies`, `/v1/admin/clock/recover`, `/v1/admin/reload`.

use std::sync::Arc;

use crate::api::forms;
use crate::api::{
    self, CompareFiles, ListPolicies, RecoverClock, ReloadFiles, ShowStatus, VerifyStore,
};
use crate::core::Core;
use crate::core::jobs::Job;
use crate::core::rates::Minute;
use crate::model::reason::Decision;
use crate::server::http::error::Failure;
use crate::server::http::read::user_key;
use crate::server::http::route::{Admin, Routes};
use crate::server::http::{App, reports};
use crate::service::Service;
use crate::time::UnixTime;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .on(status)
        .on(verify_store)
        .on(list_policies)
        .on(recover_clock)
        .on(compare_files)
        .on(reload)
}

async fn verify_store(app: Arc<App>, _: Admin<VerifyStore>) -> Result<api::StoreCheck, Failure> {
    tokio::select! {
        report = app.core().store().verify_store() => Ok(reports::store(report?)),
        () = app.stopping().cancelled() => {
            Err(Failure::unavailable("the daemon stops; the check was not finished"))
        }
    }
}

async fn list_policies(app: Arc<App>, _: Admin<ListPolicies>) -> Result<api::Policies, Failure> {
    let policies = app.core().policies();
    let summary = |policy: &crate::policy::Policy| api::PolicySummary {
        name: policy.name.clone(),
        description: policy.description.clone(),
        rules: policy.rules.iter().map(|rule| rule.name.clone()).collect(),
    };
    let policies = policies.iter().map(summary).collect();
    Ok(api::Policies { policies })
}

async fn recover_clock(
    app: Arc<App>,
    call: Admin<RecoverClock>,
) -> Result<api::ClockRecovered, Failure> {
    let after = call.query.after.as_deref().map(user_key).transpose()?;
    let limit = match call.query.limit {
        None => usize::MAX,
        Some(limit) if (1..=RECOVERED).contains(&limit) => limit,
        Some(_) => return Err(Failure::malformed("limit: 1 to 100000")),
    };
    let at = call.from.at;
    let recovered = app.admin().recover_clock(after, limit, call.from).await?;
    let users = recovered.users.into_iter();
    Ok(api::ClockRecovered {
        recovered: recovered.next.is_none(),
        now: at.rfc3339(),
        affected: recovered.count,
        outage: recovered.outage.map(|outage| forms::waiver(&outage, at)),
        next: recovered.next.map(|user| user.to_string()),
        users: users
            .map(|astray| api::ClockAffected {
                user: astray.user.to_string(),
                what: astray.what,
            })
            .collect(),
    })
}

async fn reload(app: Arc<App>, call: Admin<ReloadFiles>) -> Result<api::Reload, Failure> {
    let before = app.core().policies();
    let done = read_files(Arc::clone(&app), true).await?;
    let recorded = app
        .admin()
        .record_reload(&before, done.refused(), call.from);
    if let Err(error) = recorded.await {
        tracing::error!(%error, "the reload is not on record");
    }
    Ok(done)
}

async fn compare_files(app: Arc<App>, _: Admin<CompareFiles>) -> Result<api::Reload, Failure> {
    read_files(app, false).await
}

async fn read_files(app: Arc<App>, act: bool) -> Result<api::Reload, Failure> {
    let done = tokio::task::spawn_blocking(move || app.reload(act)).await;
    let done = done.map_err(|_| Failure::INTERNAL)?;
    done.ok_or_else(|| Failure::unavailable("no daemon runs here"))
}

async fn status(app: Arc<App>, _: Admin<ShowStatus>) -> Result<api::Status, Failure> {
    let service = app.service();
    let now = service.core.now();
    // As below: how the server is must be told although the store cannot be read.
    let outage = service.admin.outage().unwrap_or_default();
    let outage = outage.filter(|outage| outage.holds(now));
    let last_backup = service.core.store().last_backup().unwrap_or_default();
    let info = app.info();
    let health = service.core.store().health();
    let fault = service.core.fault();
    let (accepts, rejects, undecided) = decisions(&service.core);
    Ok(api::Status {
        ready: fault.is_none(),
        fault,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        daemon: info.daemon,
        radius: info.radius.iter().map(ToString::to_string).collect(),
        accounting: info.accounting.iter().map(ToString::to_string).collect(),
        radius_tls: info.radius_tls.iter().map(ToString::to_string).collect(),
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
        last_hour: info.daemon.then(|| last_hour(&service.core)),
        damaged: health.damaged,
        damage: health.damage.iter().map(ToString::to_string).collect(),
        checkpoint: health.checkpoint,
        last_backup: last_backup.map(|(at, _)| at.rfc3339()),
        last_backup_seq: last_backup.map(|(_, seq)| seq),
        store_format: service.core.store().format(),
        epoch: service.core.store().epoch().unwrap_or_default(),
        outage: outage.map(|outage| forms::waiver(&outage, now)),
        notices: notices(service),
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
        jobs: service.core.jobs().all().into_iter().map(job).collect(),
        now: now.rfc3339(),
        last_seen: service.core.store().high_water().rfc3339(),
    })
}

fn notices(service: &Service) -> api::Notices {
    api::Notices {
        // Health is told although the store cannot be read: `fault` says so.
        cursor: service.core.store().notified().unwrap_or_default(),
        waiting: service.notices.waiting(),
        sent: service.notices.sent(),
        failed: service.notices.failed(),
        retried: service.notices.retried(),
    }
}

fn last_hour(core: &Core) -> api::LastHour {
    let minutes = core.rates.last(60, core);
    let of = |count: fn(&Minute) -> u64| minutes.iter().map(count).collect();
    api::LastHour {
        accepts: of(|minute| minute.accept),
        rejects: of(|minute| minute.reject),
        undecided: of(|minute| minute.undecided),
    }
}

/// Accepts, rejects, as they were answered, and what could not be decided, since start.
fn decisions(core: &Core) -> (u64, u64, u64) {
    let (mut accepts, mut rejects, mut undecided) = (0, 0, 0);
    for (_, answer, count) in core.counters().all() {
        match answer.map(|(_, decision)| decision) {
            Some(Decision::Accept) => accepts += count,
            Some(Decision::Reject) => rejects += count,
            // Half a login is no decision.
            Some(Decision::Challenge) => {}
            None => undecided += count,
        }
    }
    (accepts, rejects, undecided)
}

/// Most users of one call that puts the clock right: some seconds.
const RECOVERED: usize = 100_000;

fn job(job: Job) -> api::Job {
    let (done, error) = match job.result {
        Ok(done) => (done, None),
        Err(error) => (None, Some(error)),
    };
    api::Job {
        name: job.name.to_owned(),
        last: job.last.map(UnixTime::rfc3339),
        done,
        error,
        next: job.next.map(UnixTime::rfc3339),
    }
}
