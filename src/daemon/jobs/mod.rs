//! What the daemon does beside requests: one file per job, one driver that runs them.
//!
//! A run that fails is repeated at its time, and logged as [`told`] says. A job that ends before the daemon does, by a
//! panic too, makes the daemon not ready ([`crate::core::vital`]); nothing is restarted. How each job
//! fares is in `oncegate status` ([`crate::core::jobs`]).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::core::rates;
use crate::daemon::Site;
use crate::daemon::jobs::told::{Line, Told};
use crate::notify;
use crate::server::http::App;
use crate::server::radius;
use crate::service::Service;

mod addresses;
mod audit;
pub(super) mod clock;
mod cursor;
mod heads;
mod locks;
mod outage;
mod post;
mod refusals;
mod reseal;
mod sessions;
mod ship;
mod sources;
mod tokens;
mod told;
mod webhooks;
mod witness;

pub(super) use ship::token as ship_token;
pub use webhooks::answers as webhook_answers;
pub(super) use webhooks::{key as webhook_key, make_key as make_webhook_key};

/// What a run did, if there was something to do; or why it failed.
type Done = Result<Option<String>, String>;

/// Work that is done again and again.
struct Job {
    name: &'static str,
    /// From the start to the first run.
    first: Duration,
    /// From one run to the next.
    every: Duration,
    /// Whether it runs once more when the daemon ends.
    at_end: bool,
    /// One run; true at the end of the daemon.
    run: Box<dyn Fn(bool) -> BoxFuture<'static, Done> + Send + Sync>,
}

impl Job {
    fn new<F>(
        name: &'static str,
        first: Duration,
        every: Duration,
        run: impl Fn(bool) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Done> + Send + 'static,
    {
        Self {
            name,
            first,
            every,
            at_end: false,
            run: Box::new(move |ends| Box::pin(run(ends))),
        }
    }

    fn also_at_end(self) -> Self {
        Self {
            at_end: true,
            ..self
        }
    }
}

/// Starts every job. They end with `shutdown`.
pub(super) fn start(
    site: &Arc<Site>,
    service: &Arc<Service>,
    app: &App,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) {
    let driver = Driver {
        service,
        tasks,
        shutdown,
    };
    let own = || Arc::clone(service);
    driver.repeat(addresses::job(own()));
    driver.repeat(sessions::job(own(), site.config.radius.accounting_keep));
    driver.repeat(refusals::job(own()));
    driver.repeat(clock::job(own()));
    driver.repeat(tokens::job(own()));
    driver.repeat(reseal::job(own()));
    driver.repeat(witness::job(site, own()));
    if let Some(job) = sources::job(own()) {
        driver.repeat(job);
    }
    ship::start(&driver, site, service, app);
    webhooks::start(&driver, site, service, app);
    if let Some(path) = &site.config.audit.heads {
        driver.repeat(heads::job(path.clone(), own()));
    }
    let (keep, most) = (site.config.audit.keep, site.config.audit.keep_size);
    if keep.is_some() || most.is_some() {
        driver.repeat(audit::job(own(), keep, most));
    }
    let (core, gauges) = (Arc::clone(&service.core), Arc::clone(&service.notices));
    let rates = rates::count(Arc::clone(&service.core), shutdown.clone());
    driver.keep("decisions by the minute", rates);
    let notices = notify::run(core, gauges, shutdown.clone());
    driver.keep("notices to users", notices);
    let (work, follow) = (Arc::clone(app.disconnects()), Arc::clone(app.disconnects()));
    driver.keep("requests to end sessions", work.work(shutdown.clone()));
    driver.keep(
        "sessions of users and tokens that end",
        radius::follow(follow, shutdown.clone()),
    );
    if let Some(rule) = site.config.outage {
        driver.keep(
            "watch for outages",
            outage::watch(own(), rule, shutdown.clone()),
        );
    }
    driver.once("count of locked users", locks::count(own()));
}

struct Driver<'d> {
    service: &'d Arc<Service>,
    tasks: &'d TaskTracker,
    shutdown: &'d CancellationToken,
}

impl Driver<'_> {
    /// Runs a job at its times.
    fn repeat(&self, job: Job) {
        let (core, shutdown) = (Arc::clone(&self.service.core), self.shutdown.clone());
        core.jobs().add(job.name, Some(core.now().plus(job.first)));
        let vitals = Arc::clone(core.vitals());
        let name = job.name;
        let work = async move {
            let (mut pause, mut told) = (job.first, Told::default());
            loop {
                let ends = shutdown.run_until_cancelled(sleep(pause)).await.is_none();
                if ends && !job.at_end {
                    return;
                }
                let done = (job.run)(ends).await;
                let now = core.now();
                let error = done.as_ref().err().map_or("", String::as_str);
                match told.line(&done, now) {
                    Some(Line::Fails(left_out)) => {
                        tracing::warn!(job = name, error, left_out, "a background job failed");
                    }
                    Some(Line::Works(left_out)) => {
                        tracing::info!(job = name, left_out, "a background job works again");
                    }
                    None => {}
                }
                core.jobs().ran(name, now, done, Some(now.plus(job.every)));
                if ends {
                    return;
                }
                pause = job.every;
            }
        };
        self.tasks.spawn(vitals.keep(name, work));
    }

    /// Runs work that waits for events until the daemon ends.
    fn keep(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let core = &self.service.core;
        core.jobs().add(name, None);
        self.tasks.spawn(core.vitals().keep(name, work));
    }

    /// Runs work that is done once, beside the first requests.
    fn once(&self, name: &'static str, work: impl Future<Output = Done> + Send + 'static) {
        let (core, shutdown) = (Arc::clone(&self.service.core), self.shutdown.clone());
        core.jobs().add(name, Some(core.now()));
        self.tasks.spawn(async move {
            let Some(done) = shutdown.run_until_cancelled(work).await else {
                return;
            };
            if let Err(error) = &done {
                tracing::warn!(job = name, error, "a background job failed");
            }
            core.jobs().ran(name, core.now(), done, None);
        });
    }
}
