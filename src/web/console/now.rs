//! How the server is at present: whether it decides, how much, how fast, and what it decides as it happens.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::api::call::{Call as _, NoQuery};
use crate::api::{self, AuditEvent, ListAudit, ShowStatus};
use crate::core::rates::Minute;
use crate::model::reason::Reason;
use crate::web::Desk;
use crate::web::console::sentence::{heads, reason, row, utc};
use crate::web::console::{acts, frame};
use crate::web::text::Text;
use crate::web::view::{Bar, Block, Cell, Chart, Form, Piece, Tab, Table, Tile, Tone};
use crate::web::visit::Signed;

/// What the address says.
#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    span: String,
    done: Option<String>,
}

/// `GET /console`
pub(super) async fn show(
    State(desk): State<Desk>,
    signed: Signed,
    Query(wanted): Query<Wanted>,
) -> Response {
    let (t, caller) = (signed.visit.t, signed.caller());
    let status = match desk.read::<ShowStatus>(&caller, (), &NoQuery {}).await {
        Ok(status) => status,
        Err(refused) => return frame::refused(&signed, &refused),
    };
    let is_day = wanted.span == "day";
    let core = desk.app.core();
    let minutes = core.rates.last(if is_day { 24 * 60 } else { 30 }, core);
    let mut blocks = frame::done(&signed, wanted.done.as_deref());
    blocks.extend(health(&signed, &status));
    blocks.push(Block::Tiles(tiles(&desk, t, &minutes, &status)));
    let tab = |span: &str, label: &str, is_here| Tab {
        to: format!("/console?span={span}"),
        label: label.to_owned(),
        is_here,
    };
    let tabs = vec![
        tab("hour", t.get("now.half_hour"), !is_day),
        tab("day", t.get("now.day"), is_day),
    ];
    let left = vec![Block::Tabs(tabs), Block::Chart(chart(t, &minutes, is_day))];
    let mut right = vec![Block::Card(causes(&signed, &minutes))];
    let ids: &[&str] = match &status.outage {
        Some(outage) if outage.holds => &["end_outage"],
        _ => &["declare_outage"],
    };
    let acts = ids.iter().filter_map(|id| acts::find(id));
    let forms: Vec<Form> = acts.filter_map(|act| act.form(&signed, "", &[])).collect();
    right.push(Block::Actions(forms));
    blocks.push(Block::Columns(vec![left, right]));
    blocks.extend(decisions(&desk, &signed).await);
    frame::page(&signed, t.get("menu.now"), blocks).answer(StatusCode::OK)
}

fn health(signed: &Signed, status: &api::Status) -> Vec<Block> {
    let t = signed.visit.t;
    let notice = |tone, text: &str, detail: String| Block::Notice {
        tone,
        text: text.to_owned(),
        detail,
    };
    let mut blocks = vec![match &status.fault {
        None => notice(Tone::Good, t.get("now.ready"), String::new()),
        Some(fault) => Block::told(t, Tone::Bad, t.get("now.fault"), fault),
    }];
    if let Some(outage) = status.outage.as_ref().filter(|outage| outage.holds) {
        let until = utc(&outage.until);
        let values = [
            ("until", until.as_str()),
            ("reason", &outage.reason),
            ("owner", &outage.owner),
        ];
        let detail = t.with("user.waiver", &values);
        blocks.push(notice(Tone::Warn, t.get("now.outage"), detail));
    }
    if let Some(jump) = &status.clock_jump {
        blocks.push(Block::told(t, Tone::Warn, t.get("now.clock"), &jump.detail));
    }
    if status.damaged > 0 {
        let detail = status.damage.join("; ");
        blocks.push(Block::told(t, Tone::Bad, t.get("now.damaged"), &detail));
    }
    blocks
}

fn tiles(desk: &Desk, t: Text, minutes: &[Minute], status: &api::Status) -> Vec<Tile> {
    let sum = |count: fn(&Minute) -> u64| minutes.iter().map(count).sum::<u64>();
    let tile = |key: &'static str, value: String, tone| Tile {
        label: t.find(key).unwrap_or(key).to_owned(),
        value,
        tone,
    };
    let undecided = sum(|minute| minute.undecided);
    let bad = if undecided > 0 {
        Tone::Bad
    } else {
        Tone::Plain
    };
    let [half, most] = latency(desk);
    vec![
        tile(
            "decision.accept",
            sum(|minute| minute.accept).to_string(),
            Tone::Plain,
        ),
        tile(
            "decision.reject",
            sum(|minute| minute.reject).to_string(),
            Tone::Plain,
        ),
        tile("decision.undecided", undecided.to_string(), bad),
        tile("now.p50", half, Tone::Plain),
        tile("now.p99", most, Tone::Plain),
        tile(
            "now.queue",
            format!("{}/{}", status.queue, status.queue_limit),
            Tone::Plain,
        ),
    ]
}

/// Below which time half, and 99 of 100, of all decisions since the start stayed.
fn latency(desk: &Desk) -> [String; 2] {
    let all = desk.app.core().latencies().read();
    let mut buckets: Vec<(f64, u64)> = Vec::new();
    for read in &all {
        for (place, (bound, count)) in read.buckets.iter().enumerate() {
            match buckets.get_mut(place) {
                Some((_, total)) => *total += count,
                None => buckets.push((*bound, *count)),
            }
        }
    }
    let total: u64 = buckets.iter().map(|(_, count)| count).sum();
    [50, 99].map(|percent| {
        let mut seen = 0;
        for (bound, count) in &buckets {
            seen += count;
            if total > 0 && seen * 100 >= total * percent {
                return if bound.is_finite() {
                    format!("\u{2264} {} ms", bound * 1000.0)
                } else {
                    "> 2.5 s".to_owned()
                };
            }
        }
        "-".to_owned()
    })
}

/// Accepted below, refused above; of a day, each column is ten minutes.
fn chart(t: Text, minutes: &[Minute], is_day: bool) -> Chart {
    let (per, columns) = if is_day { (10, 144) } else { (1, 30) };
    // From the end: the last column is the present.
    let mut sums: Vec<[u64; 4]> = Vec::new();
    for group in minutes.rchunks(per) {
        let sum = |count: fn(&Minute) -> u64| group.iter().map(count).sum::<u64>();
        sums.push([
            sum(|minute| minute.accept),
            sum(|minute| minute.challenge),
            sum(|minute| minute.reject),
            sum(|minute| minute.undecided),
        ]);
    }
    let most = sums
        .iter()
        .map(|sum| sum.iter().sum::<u64>())
        .max()
        .unwrap_or(0);
    let (height, wide) = (100, 10);
    let kinds = ["accept", "challenge", "reject", "undecided"];
    let mut bars = Vec::new();
    for (back, sum) in sums.iter().enumerate().take(columns) {
        let mut y = height;
        for (kind, count) in kinds.into_iter().zip(sum) {
            let tall = count
                .saturating_mul(height)
                .checked_div(most.max(1))
                .unwrap_or(0);
            let tall = if *count > 0 { tall.max(1) } else { 0 };
            y = y.saturating_sub(tall);
            if tall > 0 {
                bars.push(Bar {
                    kind,
                    x: (columns - 1 - back) * wide,
                    y: usize::try_from(y).unwrap_or(0),
                    width: wide - 1,
                    height: usize::try_from(tall).unwrap_or(0),
                });
            }
        }
    }
    let legend = kinds.into_iter().enumerate().map(|(place, kind)| {
        let total: u64 = sums.iter().filter_map(|sum| sum.get(place)).sum();
        let name = t.find(&format!("decision.{kind}")).unwrap_or(kind);
        (kind, format!("{name} {total}"))
    });
    let key = if is_day {
        t.get("now.per_ten")
    } else {
        t.get("now.per_minute")
    };
    Chart {
        label: key.to_owned(),
        width: columns * wide,
        height: 100,
        bars,
        legend: legend.collect(),
        from: if is_day {
            t.get("now.day_ago")
        } else {
            t.get("now.half_hour_ago")
        }
        .to_owned(),
        to: t.get("now.now").to_owned(),
        most: t.with("now.most", &[("count", &most.to_string())]),
    }
}

/// The causes of refusals, the most frequent first, as bars.
fn causes(signed: &Signed, minutes: &[Minute]) -> Vec<Block> {
    let t = signed.visit.t;
    let mut counts: Vec<(Reason, u64)> = Vec::new();
    for (cause, count) in minutes.iter().flat_map(|minute| &minute.causes) {
        match counts.iter_mut().find(|(one, _)| one == cause) {
            Some((_, total)) => *total += count,
            None => counts.push((*cause, *count)),
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let rows = counts.iter().take(6).map(|(cause, count)| -> Vec<Cell> {
        let to = format!("/console/audit?reason={cause}");
        let cause = reason(t, cause.as_str());
        let cause = if signed.person.may(ListAudit::OPERATION.access) {
            Piece::link(to, cause)
        } else {
            Piece::text(cause)
        };
        vec![vec![Piece::text(count.to_string())], vec![cause]]
    });
    vec![
        Block::Heading(t.get("now.causes").to_owned()),
        Block::Table(Table {
            label: t.get("now.causes").to_owned(),
            head: [t.get("head.count"), t.get("head.why")]
                .map(str::to_owned)
                .into(),
            rows: rows.collect(),
            empty: t.get("now.no_causes").to_owned(),
            ..Table::default()
        }),
    ]
}

/// The last decisions, and those that come.
async fn decisions(desk: &Desk, signed: &Signed) -> Vec<Block> {
    let t = signed.visit.t;
    if !signed.person.may(ListAudit::OPERATION.access) {
        return Vec::new();
    }
    let query = api::AuditQuery {
        limit: Some(50),
        ..api::AuditQuery::default()
    };
    let found = desk.read::<ListAudit>(&signed.caller(), (), &query).await;
    let records = found.map(|found| found.records).unwrap_or_default();
    let last = records.first().map_or(0, |record| record.seq);
    let decided = records
        .iter()
        .filter(|record| matches!(record.event, AuditEvent::Decision { .. }));
    let rows: Vec<Vec<Cell>> = decided
        .take(20)
        .map(|record| row(t, record, &signed.person))
        .collect();
    let mut blocks = vec![Block::Heading(t.get("now.decisions").to_owned())];
    if rows.is_empty() {
        blocks.push(Block::Text(t.get("now.none").to_owned()));
    }
    blocks.push(Block::Table(Table {
        label: t.get("now.decisions").to_owned(),
        head: heads(t),
        rows,
        live: Some(("/console/live", last)),
        ..Table::default()
    }));
    blocks
}
