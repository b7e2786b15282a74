//! Audit records go to a file, a syslog server or a URL, in order, each at least once.
//!
//! Each destination has a cursor in `DIR/ship/NAME`, the last record that it took, written durably after each batch; what
//! was sent and not noted is sent again, and what a restore wrote under numbers that were sent before is sent, too. A
//! destination that does not take anything holds up nothing: records wait in the journal, and its lag is in the
//! metrics. Personal data stay sealed: an erasure must not leave a copy elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::timeout;

use crate::api::forms;
use crate::config::{Ship, ShipFormat};
use crate::daemon::Site;
use crate::daemon::jobs::cursor::Cursor;
use crate::daemon::jobs::{Driver, Job};
use crate::model::audit::AuditRecord;
use crate::server::http::App;
use crate::service::Service;
use crate::store::Store;

mod cef;
mod file;
mod http;
mod syslog;

pub(super) use file::append;
pub(in crate::daemon) use http::token;

/// What takes records.
trait Destination: Send + Sync {
    /// Hands over records, in order; they were taken when it answers without an error.
    fn take<'a>(&'a self, records: &'a [AuditRecord]) -> BoxFuture<'a, Result<(), String>>;
}

/// How far a destination is, for the metrics.
#[derive(Debug)]
struct Progress {
    name: &'static str,
    /// The last record that it took.
    taken: AtomicU64,
    failures: AtomicU64,
    /// Records that were pruned before it took them.
    lost: AtomicU64,
}

/// Starts a job for each destination that is configured.
pub(super) fn start(driver: &Driver<'_>, site: &Site, service: &Arc<Service>, app: &App) {
    let ship = &site.config.audit.ship;
    let mut all = Vec::new();
    for (name, label, destination) in destinations(ship) {
        let cursor = Cursor::new(site.dir.join("ship").join(name));
        let progress = Arc::new(Progress {
            name,
            taken: AtomicU64::new(cursor.read().map_or(0, |taken| taken.seq)),
            failures: AtomicU64::default(),
            lost: AtomicU64::default(),
        });
        all.push(Arc::clone(&progress));
        let lane = Arc::new(Lane {
            service: Arc::clone(service),
            destination,
            cursor,
            progress,
            taken_up: AtomicBool::default(),
        });
        driver.repeat(Job::new(label, Duration::ZERO, EVERY, move |_| {
            let lane = Arc::clone(&lane);
            async move { lane.run().await }
        }));
    }
    if !all.is_empty() {
        let service = Arc::clone(service);
        app.add_metrics(Box::new(move |out| {
            write_metrics(&all, service.core.store().health().seq, out);
        }));
    }
}

type Named = (
    &'static str,
    &'static str,
    Result<Box<dyn Destination>, String>,
);

fn destinations(ship: &Ship) -> Vec<Named> {
    let mut all: Vec<Named> = Vec::new();
    if let Some(path) = &ship.file {
        all.push((
            "file",
            "audit to a file",
            Ok(Box::new(file::File::new(path, ship.format))),
        ));
    }
    if let Some(target) = &ship.syslog {
        let made = syslog::Syslog::new(target, ship);
        all.push((
            "syslog",
            "audit to syslog",
            made.map(|made| Box::new(made) as Box<dyn Destination>),
        ));
    }
    if let Some((url, target)) = &ship.http {
        let made = http::Http::new(url, target, ship);
        all.push((
            "http",
            "audit to a URL",
            made.map(|made| Box::new(made) as Box<dyn Destination>),
        ));
    }
    all
}

/// One destination at work.
struct Lane {
    service: Arc<Service>,
    destination: Result<Box<dyn Destination>, String>,
    cursor: Cursor,
    progress: Arc<Progress>,
    /// Whether it is known that the trail has gone on from the cursor.
    taken_up: AtomicBool,
}

impl Lane {
    /// Hands over all that is there.
    async fn run(&self) -> Result<Option<String>, String> {
        let done = self.hand_over().await;
        if done.is_err() {
            self.progress.failures.fetch_add(1, Ordering::Relaxed);
        }
        done
    }

    async fn hand_over(&self) -> Result<Option<String>, String> {
        let destination = self.destination.as_ref().map_err(Clone::clone)?;
        let store = self.service.core.store();
        self.take_up(store).await?;
        let begun = self.progress.taken.load(Ordering::Relaxed);
        let mut last = begun;
        while last < store.health().seq {
            let records = store.sealed_after(last, BATCH).await;
            let records = records.map_err(|error| error.to_string())?;
            let (Some(first), Some(end)) = (records.first(), records.last()) else {
                break;
            };
            let missing = first.seq.saturating_sub(last + 1);
            if missing > 0 {
                self.progress.lost.fetch_add(missing, Ordering::Relaxed);
                tracing::error!(
                    destination = self.progress.name,
                    missing,
                    "audit records were pruned before they were shipped"
                );
            }
            let taken = timeout(PATIENCE, destination.take(&records)).await;
            taken.map_err(|_| "it takes too long".to_owned())??;
            last = end.seq;
            self.cursor.write(store, last)?;
            self.progress.taken.store(last, Ordering::Relaxed);
        }
        Ok((last > begun).then(|| format!("up to record {last}")))
    }

    /// Goes back to where the trail took another course than the cursor knows, once.
    async fn take_up(&self, store: &Store) -> Result<(), String> {
        if !self.taken_up.load(Ordering::Relaxed) {
            let seq = self.cursor.resumed(store).await?.unwrap_or_default();
            self.progress.taken.store(seq, Ordering::Relaxed);
            self.taken_up.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// A record as every destination gets it: one line.
fn line(record: &AuditRecord, format: ShipFormat) -> Result<String, String> {
    match format {
        ShipFormat::Json => {
            serde_json::to_string(&forms::audit(record)).map_err(|error| error.to_string())
        }
        ShipFormat::Cef => Ok(cef::line(record)),
    }
}

fn write_metrics(all: &[Arc<Progress>], seq: u64, out: &mut String) {
    let families: [(&str, &str, &str, Reading); 3] = [
        (
            "oncegate_audit_ship_lag",
            "gauge",
            "Audit records that a destination has not taken yet.",
            |one, seq| seq.saturating_sub(one.taken.load(Ordering::Relaxed)),
        ),
        (
            "oncegate_audit_ship_failures",
            "counter",
            "Attempts to ship audit records that failed.",
            |one, _| one.failures.load(Ordering::Relaxed),
        ),
        (
            "oncegate_audit_ship_lost",
            "counter",
            "Audit records that were pruned before a destination took them.",
            |one, _| one.lost.load(Ordering::Relaxed),
        ),
    ];
    for (name, kind, help, value) in families {
        push!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        let suffix = if kind == "counter" { "_total" } else { "" };
        for one in all {
            let value = value(one, seq);
            push!(
                out,
                "{name}{suffix}{{destination=\"{}\"}} {value}\n",
                one.name
            );
        }
    }
}

/// What a metric shows of a destination, where this is the newest record.
type Reading = fn(&Progress, u64) -> u64;

/// Between two looks for new records.
const EVERY: Duration = Duration::from_secs(1);
/// Records handed over at a time.
const BATCH: usize = 500;
/// How long a destination may take for them.
const PATIENCE: Duration = Duration::from_secs(30);
