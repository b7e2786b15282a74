//! The result of a run, as a table and as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Table, count};
use crate::load::packet::Method;
use crate::load::tally::{Latencies, Tally, Unexpected};
use crate::load::watch::lossy;

/// What was measured. Times are in milliseconds where the name says so, otherwise in seconds.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    protocol: &'static str,
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<Method>,
    users: usize,
    outstanding: usize,
    /// Logins per second that were asked for; none in a closed loop.
    rate: Option<u64>,
    /// How long the measured part took.
    seconds: f64,
    warmup: f64,
    interrupted: bool,
    /// Whether it ended because every code was used up.
    ran_dry: bool,
    sent: u64,
    accepts: u64,
    rejects: u64,
    challenges: u64,
    timeouts: u64,
    unexpected: Unexpected,
    discarded: u64,
    retransmissions: u64,
    failures: BTreeMap<String, u64>,
    /// Decisions per second.
    throughput: f64,
    latency_ms: BTreeMap<&'static str, Percentiles>,
}

#[derive(Debug, Serialize)]
struct Percentiles {
    count: u64,
    mean: f64,
    p50: f64,
    p95: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p99_9: f64,
    max: f64,
}

impl Percentiles {
    fn of(latencies: &Latencies) -> Self {
        let at = |quantile| millis(latencies.0.value_at_quantile(quantile));
        Self {
            count: latencies.0.len(),
            mean: rounded(latencies.0.mean() / 1e6),
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            max: millis(latencies.0.max()),
        }
    }
}

/// What a run was, beside what it counted.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) protocol: &'static str,
    pub(super) target: String,
    pub(super) method: Option<Method>,
    pub(super) users: usize,
    pub(super) outstanding: usize,
    pub(super) rate: Option<u64>,
    pub(super) warmup: Duration,
    /// When it ended, from the start.
    pub(super) ended: Duration,
    pub(super) interrupted: bool,
    pub(super) ran_dry: bool,
    /// What to look at when nothing was answered.
    pub(super) silence: &'static str,
}

/// Prints the report and says how the command ends.
pub(super) fn show(run: Run, tally: &Tally, context: &Context) -> Result<Exit, CliError> {
    let (unexpected, silence) = (tally.unexpected, run.silence);
    let report = Report::new(run, tally);
    context.out.show(&report, Report::text)?;
    if unexpected.rejects > 0 {
        context.out.note(&format!(
            "note: {} right codes were rejected: are the users imported, are both clocks right, and \
             were these codes used by another run in this time step?",
            unexpected.rejects
        ));
    }
    if unexpected.accepts > 0 {
        let message = format!("{} wrong or used codes were accepted", unexpected.accepts);
        return Err(CliError::new(Exit::No, message).remedy(
            "this server lets people in who should not be: see its audit for the users whose names \
             begin as those of the load; one that cannot remember codes is measured with \
             --spent accept",
        ));
    }
    let decided = report.accepts + report.rejects + report.challenges;
    if decided == 0 && !report.interrupted {
        let message = match (report.sent, report.failures.keys().next()) {
            (0, None) => "nothing was sent after the warm-up".to_owned(),
            (_, Some(why)) => format!("no decision from {}: {why}", report.target),
            (_, None) => format!("no answer from {}", report.target),
        };
        return Err(CliError::unavailable(message).remedy(silence));
    }
    Ok(Exit::Done)
}

impl Report {
    fn new(run: Run, tally: &Tally) -> Self {
        let measured = run.ended.saturating_sub(run.warmup);
        let mut all = Latencies::new();
        let mut latency_ms = BTreeMap::new();
        for (name, latencies) in [
            ("accept", &tally.accepts),
            ("challenge", &tally.challenges),
            ("reject", &tally.rejects),
        ] {
            all.add(latencies);
            if !latencies.0.is_empty() {
                latency_ms.insert(name, Percentiles::of(latencies));
            }
        }
        latency_ms.insert("all", Percentiles::of(&all));
        Self {
            protocol: run.protocol,
            target: run.target,
            method: run.method,
            users: run.users,
            outstanding: run.outstanding,
            rate: run.rate,
            seconds: rounded(measured.as_secs_f64()),
            warmup: rounded(run.warmup.as_secs_f64()),
            interrupted: run.interrupted,
            ran_dry: run.ran_dry,
            sent: tally.sent,
            accepts: tally.accepts.0.len(),
            rejects: tally.rejects.0.len(),
            challenges: tally.challenges.0.len(),
            timeouts: tally.timeouts,
            unexpected: tally.unexpected,
            discarded: tally.discarded,
            retransmissions: tally.retransmissions,
            failures: tally.failures.clone(),
            throughput: if measured.is_zero() {
                0.0
            } else {
                rounded(lossy(tally.within) / measured.as_secs_f64())
            },
            latency_ms,
        }
    }

    fn text(&self) -> String {
        let mut pairs = Table::pairs();
        let method = match self.method {
            Some(Method::Pap) => " PAP",
            Some(Method::Chap) => " CHAP",
            Some(Method::Mschapv2) => " MS-CHAPv2",
            None => "",
        };
        let load = match self.rate {
            Some(rate) => format!("{rate}/s, at most {} outstanding", self.outstanding),
            None => format!("{} outstanding", self.outstanding),
        };
        pairs.pair(
            "target",
            format!("{} ({}{method})", self.target, self.protocol),
        );
        pairs.pair(
            "load",
            format!("{load}, {}", count(self.users as u64, "user")),
        );
        let early = match (self.interrupted, self.ran_dry) {
            (true, _) => ", interrupted",
            (_, true) => ", then every code was used up",
            _ => "",
        };
        let seconds = self.seconds;
        pairs.pair("measured", format!("{seconds:.1} s{early}"));
        pairs.pair("sent", self.sent.to_string());
        pairs.pair("accepts", self.accepts.to_string());
        pairs.pair("rejects", self.rejects.to_string());
        let shown = |count: u64| {
            Some(count)
                .filter(|count| *count > 0)
                .map(|n| n.to_string())
        };
        pairs.pair("challenges", shown(self.challenges));
        pairs.pair("timeouts", self.timeouts.to_string());
        pairs.pair("retransmissions", shown(self.retransmissions));
        pairs.pair("discarded", shown(self.discarded));
        for (why, count) in &self.failures {
            pairs.pair("failed", format!("{count} x {why}"));
        }
        pairs.pair("unexpected", unexpected(self.unexpected));
        pairs.pair("throughput", format!("{:.0}/s", self.throughput));
        let columns = ["ms", "count", "mean", "p50", "p95", "p99", "p99.9", "max"];
        let mut table = Table::new(&columns);
        for (name, latency) in &self.latency_ms {
            let figures = [
                latency.mean,
                latency.p50,
                latency.p95,
                latency.p99,
                latency.p99_9,
                latency.max,
            ];
            let mut row = vec![(*name).to_owned(), latency.count.to_string()];
            row.extend(figures.map(|figure| format!("{figure:.3}")));
            table.row(row);
        }
        format!("{}\n{}", pairs.text(), table.text())
    }
}

fn millis(nanos: u64) -> f64 {
    rounded(lossy(nanos) / 1e6)
}

/// Three digits behind the point: the histogram knows no more.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

fn unexpected(found: Unexpected) -> String {
    let Unexpected {
        accepts,
        rejects,
        challenges,
    } = found;
    if accepts + rejects + challenges == 0 {
        return "none".to_owned();
    }
    let (accepts, rejects) = (count(accepts, "accept"), count(rejects, "reject"));
    let mut text = format!("{accepts}, {rejects}");
    if challenges > 0 {
        push!(text, ", {}", count(challenges, "challenge"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::drill::{Answer, Expect};

    #[test]
    fn figures_are_per_decision_and_of_the_measured_part() {
        let second = Duration::from_secs(1);
        let mut tally = Tally::new(second, 3 * second);
        for millis in 1..=1000_u32 {
            let due = second + Duration::from_millis(1);
            let now = due + Duration::from_millis(1) * millis;
            tally.sent(due);
            let answer = if millis % 2 == 0 {
                Answer::Accept
            } else {
                Answer::Reject
            };
            tally.note_answer(answer, Expect::Either, due, now);
        }
        let run = Run {
            protocol: "radius",
            target: "127.0.0.1:1812".to_owned(),
            method: Some(Method::Pap),
            users: 10,
            outstanding: 64,
            rate: None,
            warmup: second,
            ended: 3 * second,
            interrupted: false,
            ran_dry: false,
            silence: "",
        };
        let report = Report::new(run, &tally);
        assert_eq!((report.seconds, report.throughput), (2.0, 500.0));
        let all = &report.latency_ms["all"];
        assert_eq!(all.count, 1000);
        for (figure, wanted) in [(all.p50, 500.0), (all.p99, 990.0), (all.max, 1000.0)] {
            assert!((figure - wanted).abs() < 1.0, "{figure} {wanted}");
        }
        assert_eq!(report.latency_ms["accept"].count, 500);
        assert!(!report.latency_ms.contains_key("challenge"));
        let text = report.text();
        assert!(text.contains("500/s"), "{text}");
        assert!(text.contains("unexpected  none"), "{text}");
    }
}
