//! Latencies, locked users, gateways, notices, background jobs and sources of users, read at the moment of asking.
//!
//! Labels are front ends, outcomes, jobs and names of gateways and sources: their number is that of the configuration.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

use crate::core::courier::{BreakerState, GatewayStatus};
use crate::core::latency::Read;
use crate::core::locks::Locked;
use crate::service::Service;
use crate::time::UnixTime;

/// What the service knows beside its decisions.
#[derive(Debug)]
pub(super) struct Collected {
    latencies: Vec<Read>,
    locked: Locked,
    gateways: Vec<GatewayStatus>,
    waiting: usize,
    notices: [(&'static str, u64); 3],
    clock_jumps: u64,
    jobs: Vec<Run>,
    sources: Vec<Run>,
    /// When the last backup was made, in seconds since 1970; 0: none was.
    last_backup: u64,
}

/// The last run of a job or a source.
#[derive(Debug)]
struct Run {
    name: String,
    at: UnixTime,
    failed: bool,
}

impl Collected {
    /// As it is now.
    pub(super) fn of(service: &Service) -> Self {
        let notices = &service.notices;
        let directories = service.core.directories();
        let jobs = service.core.jobs().all().into_iter();
        let jobs = jobs.filter_map(|job| {
            Some(Run {
                name: job.name.to_owned(),
                at: job.last?,
                failed: job.result.is_err(),
            })
        });
        let sources = directories.sources().into_iter();
        let sources = sources.filter_map(|source| {
            let last = directories.last(&source.name)?;
            Some(Run {
                name: source.name,
                at: last.at,
                failed: last.result.is_err(),
            })
        });
        Self {
            latencies: service.core.latencies().read(),
            locked: service.core.locked(),
            gateways: service.core.courier().gateways(),
            waiting: notices.waiting(),
            jobs: jobs.collect(),
            sources: sources.collect(),
            clock_jumps: service.core.clock_jumps(),
            last_backup: (service.core.store().last_backup().ok().flatten())
                .map_or(0, |(at, _)| at.as_secs()),
            notices: [
                ("sent", notices.sent()),
                ("failed", notices.failed()),
                ("retried", notices.retried()),
            ],
        }
    }
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.latencies(&mut encoder)?;
        self.gateways(&mut encoder)?;
        runs(&mut encoder, ("job", "background job"), &self.jobs)?;
        runs(&mut encoder, ("source", "source of users"), &self.sources)?;
        let none = None::<&Exemplar<[(&str, &str); 0], f64>>;
        let (name, help) = ("oncegate_users_locked", "Users who are locked now");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (lock, count) in [("timed", self.locked.timed), ("hard", self.locked.hard)] {
            let labels = [("lock", lock)];
            family
                .encode_family(&labels)?
                .encode_gauge(&number(count))?;
        }
        let (name, help) = ("oncegate_notices", "Notices to users by result");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (result, count) in &self.notices {
            let labels = [("result", *result)];
            family.encode_family(&labels)?.encode_counter(count, none)?;
        }
        let (name, help) = ("oncegate_clock_jumps", "Jumps of the clock since start");
        encoder
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter(&self.clock_jumps, none)?;
        let (name, help) = (
            "oncegate_last_backup_seconds",
            "When the last backup was made, in seconds since 1970; 0: none was",
        );
        encoder
            .encode_descriptor(name, help, None, MetricType::Gauge)?
            .encode_gauge(&self.last_backup)?;
        let (name, help) = ("oncegate_notices_waiting", "Notices that are not done yet");
        encoder
            .encode_descriptor(name, help, None, MetricType::Gauge)?
            .encode_gauge(&number(self.waiting))
    }
}

/// When each has run last, and whether that failed.
fn runs(
    encoder: &mut DescriptorEncoder<'_>,
    (label, noun): (&'static str, &str),
    all: &[Run],
) -> Result<(), std::fmt::Error> {
    let (ended, failed) = (
        format!("When a {noun} ran last, in seconds since 1970"),
        format!("Whether the last run of a {noun} failed"),
    );
    for (name, help, value) in [
        ("last_run_seconds", &ended, Run::seconds as fn(&Run) -> u64),
        ("failed", &failed, |run| u64::from(run.failed)),
    ] {
        let name = format!("oncegate_{label}_{name}");
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        for run in all {
            family
                .encode_family(&[(label, run.name.as_str())])?
                .encode_gauge(&value(run))?;
        }
    }
    Ok(())
}

impl Run {
    const fn seconds(&self) -> u64 {
        self.at.as_secs()
    }
}

impl Collected {
    fn latencies(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (name, help) = (
            "oncegate_decision_duration_seconds",
            "Time to a durable decision by front end and outcome, without the delay of rejects",
        );
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for read in &self.latencies {
            let labels = [
                ("channel", read.channel.as_str()),
                ("outcome", read.outcome),
            ];
            family
                .encode_family(&labels)?
                .encode_histogram::<[(&str, &str); 0]>(read.sum, read.count, &read.buckets, None)?;
        }
        Ok(())
    }

    fn gateways(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let none = None::<&Exemplar<[(&str, &str); 0], f64>>;
        let (name, help) = (
            "oncegate_delivery_attempts",
            "Messages that a gateway took, and attempts that failed",
        );
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for gateway in &self.gateways {
            for (result, count) in [("sent", gateway.sent), ("failed", gateway.failed)] {
                let labels = [("gateway", gateway.name.as_str()), ("result", result)];
                family
                    .encode_family(&labels)?
                    .encode_counter(&count, none)?;
            }
        }
        let (name, help) = (
            "oncegate_delivery_in_flight",
            "Messages that a gateway is being asked to take",
        );
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for gateway in &self.gateways {
            let labels = [("gateway", gateway.name.as_str())];
            let count = number(gateway.in_flight);
            family.encode_family(&labels)?.encode_gauge(&count)?;
        }
        let (name, help) = (
            "oncegate_delivery_up",
            "0 while a gateway is not asked after too many failures",
        );
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for gateway in &self.gateways {
            let labels = [("gateway", gateway.name.as_str())];
            let up = u64::from(gateway.breaker != BreakerState::Open);
            family.encode_family(&labels)?.encode_gauge(&up)?;
        }
        Ok(())
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
