//! `GET /metrics`: counters in the `OpenMetrics` text format or that of Prometheus, without a user's name
//! in them. The table of all of them is in the manual, page `operate`.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::core::counters;
use crate::server::http::App;
use crate::server::http::error::Failure;
use crate::server::http::metrics::collect::Collected;
use crate::server::http::metrics::format::{Format, plain};
use crate::store::Health;

mod collect;
mod format;

/// Appends a front end's own metrics: whole lines of `OpenMetrics`, with `# HELP` and `# TYPE`, names with
/// the prefix `oncegate_`.
pub type Source = Box<dyn Fn(&mut String) + Send + Sync>;

/// HTTP requests by method, route and status. Routes are patterns: their number is ours.
pub(crate) type Requests = Family<[(&'static str, String); 3], Counter>;

/// Requests of devices that were not taken, by cause.
pub(crate) type DeviceRefusals = Family<[(&'static str, &'static str); 1], Counter>;

/// [`crate::api::Metrics`].
pub(crate) async fn metrics(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let mut registry = Registry::default();
    registry.register(
        "oncegate_http_requests",
        "HTTP requests",
        app.requests().clone(),
    );
    registry.register(
        "oncegate_device_refusals",
        "Requests of devices that were not taken",
        app.device_refusals().clone(),
    );
    let service = app.service();
    registry.register_collector(Box::new(Snapshot {
        counters: service.core.counters().all().collect(),
        health: service.core.store().health(),
        ready: service.core.fault().is_none(),
        uptime: app.uptime().as_secs_f64(),
        rejects_held: app.rejects_held(),
    }));
    registry.register_collector(Box::new(Collected::of(service)));
    let mut page = String::with_capacity(16_384);
    text::encode_registry(&mut page, &registry).map_err(|_| Failure::INTERNAL)?;
    app.write_sources(&mut page);
    if !page.ends_with('\n') {
        page.push('\n');
    }
    page.write_str("# EOF\n").map_err(|_| Failure::INTERNAL)?;
    let format = Format::wanted(&headers);
    if format == Format::Plain {
        page = plain(&page);
    }
    let headers = [
        (header::CONTENT_TYPE, format.media()),
        (header::VARY, "accept"),
    ];
    Ok((headers, page).into_response())
}

/// What an answer is counted under, but for its status.
pub(super) struct Counted {
    method: &'static str,
    route: Option<MatchedPath>,
}

impl Counted {
    /// Of a request that was routed.
    pub(super) fn of(request: &Request) -> Self {
        Self {
            method: known(request.method()),
            route: request.extensions().get().cloned(),
        }
    }

    /// Counts the answer.
    pub(super) fn answered(self, app: &App, status: StatusCode) {
        let Self { method, route } = self;
        let route = route.as_ref().map_or("none", MatchedPath::as_str);
        tracing::debug!(method, route, status = status.as_u16(), "answered");
        let labels = [
            ("method", method.to_owned()),
            ("route", route.to_owned()),
            ("status", status.as_str().to_owned()),
        ];
        app.requests().get_or_create(&labels).inc();
    }
}

/// A method's name; an attacker's invention is no label of ours.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Everything that is read at the moment of asking.
#[derive(Debug)]
struct Snapshot {
    counters: Vec<counters::Counted>,
    health: Health,
    ready: bool,
    uptime: f64,
    rejects_held: u64,
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.decisions(&mut encoder)?;
        self.numbers(&mut encoder)?;
        encoder
            .encode_descriptor(
                "oncegate_uptime_seconds",
                "Since start",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&self.uptime)?;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        encoder
            .encode_descriptor(
                "oncegate_build_info",
                "What runs here",
                None,
                MetricType::Gauge,
            )?
            .encode_family(&version)?
            .encode_gauge(&1_u64)
    }
}

impl Snapshot {
    fn decisions(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (name, help) = ("oncegate_decisions", "Decisions by front end and reason");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (channel, answer, count) in &self.counters {
            let Some((reason, decision)) = answer else {
                continue;
            };
            let labels = [
                ("channel", channel.as_str()),
                ("decision", decision.as_str()),
                ("reason", reason.as_str()),
            ];
            family.encode_family(&labels)?.encode_counter(count, NONE)?;
        }
        let (name, help) = ("oncegate_undecided", "Requests that could not be decided");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (channel, answer, count) in &self.counters {
            if answer.is_none() {
                let labels = [("channel", channel.as_str())];
                family.encode_family(&labels)?.encode_counter(count, NONE)?;
            }
        }
        Ok(())
    }

    fn numbers(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        use MetricType::{Counter, Gauge};
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let health = &self.health;
        for (kind, name, help, value) in [
            (
                Counter,
                "store_commits",
                "Durable commits since start",
                health.commits,
            ),
            (
                Counter,
                "store_records",
                "Audit records since start",
                health.records,
            ),
            (
                Gauge,
                "ready",
                "1 when decisions can be made",
                u64::from(self.ready),
            ),
            (
                Gauge,
                "store_queue",
                "Attempts and changes waiting",
                count(health.queue),
            ),
            (
                Gauge,
                "store_queue_limit",
                "Places to wait",
                count(health.queue_limit),
            ),
            (
                Gauge,
                "store_dirty_rows",
                "Rows since the checkpoint",
                count(health.dirty),
            ),
            (
                Gauge,
                "store_damaged_rows",
                "Rows and tables of the store that are damaged; a damaged journal counts as one",
                health.damaged,
            ),
            (Gauge, "audit_seq", "Last durable audit record", health.seq),
            (
                Gauge,
                "http_rejects_held",
                "Rejects waiting for their delay",
                self.rejects_held,
            ),
        ] {
            let name = format!("oncegate_{name}");
            let mut number = encoder.encode_descriptor(&name, help, None, kind)?;
            match kind {
                Counter => number.encode_counter(&value, NONE)?,
                _ => number.encode_gauge(&value)?,
            }
        }
        Ok(())
    }
}

const NONE: Option<&Exemplar<[(&str, &str); 0], f64>> = None;
const MEDIA: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
