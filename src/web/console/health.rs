//! What is wrong, and what was done beside requests: store, queue, certificate, gateways, jobs, files.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::api::call::NoQuery;
use crate::api::{self, CompareFiles, ListGateways, ListSources, ShowKeys, ShowStatus};
use crate::web::Desk;
use crate::web::console::sentence::{utc, when};
use crate::web::console::{acts, frame};
use crate::web::text::Text;
use crate::web::view::{Block, Cell, Form, Piece, Table, Tone};
use crate::web::visit::Signed;

/// `GET /console/health`
pub(super) async fn show(
    State(desk): State<Desk>,
    signed: Signed,
    Query(wanted): Query<frame::Done>,
) -> Response {
    let (t, caller) = (signed.visit.t, signed.caller());
    let status = match desk.read::<ShowStatus>(&caller, (), &NoQuery {}).await {
        Ok(status) => status,
        Err(refused) => return frame::refused(&signed, &refused),
    };
    let files = desk
        .read::<CompareFiles>(&caller, (), &NoQuery {})
        .await
        .ok();
    let mut blocks = frame::done(&signed, wanted.done.as_deref());
    let findings = findings(t, &status, files.as_ref());
    if findings.is_empty() {
        blocks.push(Block::Notice {
            tone: Tone::Good,
            text: t.get("health.good").to_owned(),
            detail: String::new(),
        });
    }
    blocks.extend(findings);
    let acts = ["reload", "verify_store", "verify_audit"].into_iter();
    let acts = acts.chain(status.clock_jump.is_some().then_some("recover_clock"));
    let forms = acts.filter_map(|id| acts::find(id)?.form(&signed, "", &[]));
    let forms: Vec<Form> = forms.collect();
    let left = vec![
        Block::Heading(t.get("health.jobs").to_owned()),
        Block::Table(jobs(t, &status)),
        Block::Heading(t.get("health.gateways").to_owned()),
        gateways(&desk, &signed).await,
    ];
    let mut right = vec![Block::Card(vec![
        Block::Heading(t.get("health.about").to_owned()),
        Block::Facts(facts(t, &status)),
        Block::Actions(forms),
    ])];
    right.extend(keys(&desk, &signed).await);
    right.extend(sources(&desk, &signed).await);
    blocks.push(Block::Columns(vec![left, right]));
    frame::page(&signed, t.get("menu.health"), blocks).answer(StatusCode::OK)
}

/// What should be mended, the worst first, each with what mends it.
fn findings(t: Text, status: &api::Status, files: Option<&api::Reload>) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let told = |tone, text: &str, english: &str| Block::told(t, tone, text, english);
    let warn = |text: &str, detail: &str| Block::Notice {
        tone: Tone::Warn,
        text: text.to_owned(),
        detail: detail.to_owned(),
    };
    if let Some(fault) = &status.fault {
        found.push(told(Tone::Bad, t.get("now.fault"), fault));
    }
    if status.damaged > 0 {
        let detail = format!("{} (oncegate store verify)", status.damage.join("; "));
        found.push(told(Tone::Bad, t.get("now.damaged"), &detail));
    }
    if let Some(checkpoint) = &status.checkpoint {
        found.push(told(Tone::Bad, t.get("health.checkpoint"), checkpoint));
    }
    if status.queue * 2 > status.queue_limit {
        let detail = format!("{}/{}", status.queue, status.queue_limit);
        found.push(warn(t.get("health.queue"), &detail));
    }
    if let Some(jump) = &status.clock_jump {
        let detail = format!("{} (oncegate clock recover)", jump.detail);
        found.push(told(Tone::Warn, t.get("now.clock"), &detail));
    }
    for concern in &status.certificate {
        found.push(told(Tone::Warn, t.get("health.certificate"), concern));
    }
    for job in &status.jobs {
        if let Some(error) = &job.error {
            let text = t.with("health.job", &[("job", t.said(&job.name))]);
            found.push(told(Tone::Warn, &text, error));
        }
    }
    if status.notices.failed > 0 {
        let detail = status.notices.failed.to_string();
        found.push(warn(t.get("health.notices"), &detail));
    }
    if let Some(files) = files {
        for part in files.parts.iter().filter(|part| !part.faults.is_empty()) {
            let text = t.with("health.file", &[("part", &part.name)]);
            found.push(told(Tone::Warn, &text, &part.faults.join("; ")));
        }
        if !files.restart.is_empty() {
            let keys: Vec<&str> = files.restart.iter().map(|one| one.key.as_str()).collect();
            found.push(warn(t.get("health.restart"), &keys.join(", ")));
        }
    }
    if status.last_backup.is_none() {
        found.push(warn(t.get("health.no_backup"), "`oncegate backup FILE`"));
    }
    found
}

fn facts(t: Text, status: &api::Status) -> Vec<(String, Cell)> {
    let join = |list: &[String]| Some(list.join(", ")).filter(|text| !text.is_empty());
    let facts = [
        ("fact.version", Some(status.version.clone())),
        ("fact.radius", join(&status.radius)),
        ("fact.accounting", join(&status.accounting)),
        ("fact.radius_tls", join(&status.radius_tls)),
        ("fact.http", join(&status.http)),
        ("menu.clients", Some(status.clients.to_string())),
        (
            "fact.audit",
            Some(format!("{} - {}", status.audit_first, status.audit_seq)),
        ),
        ("fact.backup", status.last_backup.as_deref().map(utc)),
        (
            "fact.certificate_until",
            status.certificate_not_after.as_deref().map(utc),
        ),
        ("fact.clock", Some(when(&status.now))),
    ];
    let facts = facts.into_iter().filter_map(|(key, value)| {
        let label = t.find(key).unwrap_or(key);
        Some((label.to_owned(), vec![Piece::text(value?)]))
    });
    facts.collect()
}

fn jobs(t: Text, status: &api::Status) -> Table {
    let row = |job: &api::Job| {
        let outcome = match (&job.error, &job.last) {
            (Some(error), _) => vec![
                Piece::chip(Tone::Bad, t.get("policies.bad")),
                Piece::told(t, error),
            ],
            (None, Some(_)) => vec![Piece::chip(Tone::Good, t.get("policies.good"))],
            (None, None) => vec![Piece::Faint("-".to_owned())],
        };
        let time = |time: &Option<String>| {
            vec![Piece::text(time.as_deref().map(when).unwrap_or_default())]
        };
        vec![
            vec![Piece::text(t.said(&job.name))],
            outcome,
            time(&job.last),
            time(&job.next),
        ]
    };
    Table {
        label: t.get("health.jobs").to_owned(),
        head: [
            t.get("head.name"),
            t.get("head.state"),
            t.get("head.last_run"),
            t.get("head.next_run"),
        ]
        .map(str::to_owned)
        .into(),
        rows: status.jobs.iter().map(row).collect(),
        empty: t.get("health.no_jobs").to_owned(),
        ..Table::default()
    }
}

/// Which keys the store has: they are exchanged on the machine.
async fn keys(desk: &Desk, signed: &Signed) -> Option<Block> {
    let t = signed.visit.t;
    let caller = signed.caller();
    let keys = desk.read::<ShowKeys>(&caller, (), &NoQuery {}).await.ok()?;
    let facts = [
        ("fact.master", Some(keys.master)),
        ("fact.master_since", keys.master_since.as_deref().map(utc)),
        ("fact.algorithm", Some(keys.algorithm)),
        ("fact.data_since", keys.data_since.as_deref().map(utc)),
    ];
    let facts = facts.into_iter().filter_map(|(key, value)| {
        let label = t.find(key).unwrap_or(key);
        Some((label.to_owned(), vec![Piece::text(value?)]))
    });
    Some(Block::Card(vec![
        Block::Heading(t.get("health.keys").to_owned()),
        Block::Facts(facts.collect()),
    ]))
}

/// The sources of users, where there are any.
async fn sources(desk: &Desk, signed: &Signed) -> Option<Block> {
    let t = signed.visit.t;
    let caller = signed.caller();
    let found = desk.read::<ListSources>(&caller, (), &NoQuery {}).await;
    let sources = found.ok()?.sources;
    if sources.is_empty() {
        return None;
    }
    let row = |source: &api::Source| {
        let outcome = match (&source.error, &source.last) {
            (Some(error), _) => vec![
                Piece::chip(Tone::Bad, t.get("policies.bad")),
                Piece::told(t, error),
            ],
            (None, Some(last)) => vec![
                Piece::chip(Tone::Good, t.get("policies.good")),
                Piece::Faint(utc(last)),
            ],
            (None, None) => vec![Piece::Faint("-".to_owned())],
        };
        let sync = acts::find("sync_source").and_then(|act| act.form(signed, &source.name, &[]));
        vec![
            vec![
                Piece::text(source.name.clone()),
                Piece::Faint(source.kind.clone()),
            ],
            vec![Piece::text(source.users.to_string())],
            outcome,
            sync.map(Piece::Form).into_iter().collect(),
        ]
    };
    Some(Block::Card(vec![
        Block::Heading(t.get("health.sources").to_owned()),
        Block::Table(Table {
            label: t.get("health.sources").to_owned(),
            head: [
                t.get("head.name"),
                t.get("head.users"),
                t.get("head.state"),
                t.get("head.acts"),
            ]
            .map(str::to_owned)
            .into(),
            rows: sources.iter().map(row).collect(),
            ..Table::default()
        }),
    ]))
}

async fn gateways(desk: &Desk, signed: &Signed) -> Block {
    let t = signed.visit.t;
    let found = desk
        .read::<ListGateways>(&signed.caller(), (), &NoQuery {})
        .await;
    let gateways = found.map(|found| found.gateways).unwrap_or_default();
    let row = |gateway: &api::Gateway| {
        let state = if gateway.breaker == "closed" {
            Piece::chip(Tone::Good, t.get("policies.good"))
        } else {
            let state = t.find("health.breaker").unwrap_or(&gateway.breaker);
            Piece::chip(Tone::Bad, state)
        };
        let mut outcome = vec![state];
        outcome.extend(gateway.last_error.iter().map(|error| Piece::told(t, error)));
        let test = acts::find("test_gateway").and_then(|act| act.form(signed, &gateway.name, &[]));
        vec![
            vec![
                Piece::text(gateway.name.clone()),
                Piece::Faint(gateway.media.join(", ")),
            ],
            outcome,
            vec![Piece::text(format!(
                "{} / {}",
                gateway.sent, gateway.failed
            ))],
            test.map(Piece::Form).into_iter().collect(),
        ]
    };
    Block::Table(Table {
        label: t.get("health.gateways").to_owned(),
        head: [
            t.get("head.name"),
            t.get("head.state"),
            t.get("head.sent"),
            t.get("head.acts"),
        ]
        .map(str::to_owned)
        .into(),
        rows: gateways.iter().map(row).collect(),
        empty: t.get("health.no_gateways").to_owned(),
        ..Table::default()
    })
}
