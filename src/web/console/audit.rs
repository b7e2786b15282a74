//! The audit: filters, export, check.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::admin::{AdminError, Noted};
use crate::api::{self, AuditEvent, ListAudit};
use crate::csv::cell;
use crate::explain::ACTIONS;
use crate::model::reason::Reason;
use crate::web::Desk;
use crate::web::call::Refused;
use crate::web::console::sentence::{heads, row};
use crate::web::console::stream::{Piece, Pieces};
use crate::web::console::{acts, frame};
use crate::web::text::Text;
use crate::web::view::{Block, Field, Form, Input, Table};
use crate::web::visit::{Signed, is_live};

/// The filters, as the address says them.
#[derive(Clone, Default, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    user: String,
    #[serde(default)]
    client: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    decision: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    nas: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    until: String,
    #[serde(default)]
    format: String,
    before: Option<u64>,
    done: Option<String>,
}

impl Wanted {
    fn query(&self, limit: usize) -> api::AuditQuery {
        let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        // A day stands for its beginning.
        let time = |text: &str| {
            some(text).map(|text| match text.len() {
                10 => format!("{text}T00:00:00Z"),
                _ => text,
            })
        };
        api::AuditQuery {
            before: self.before,
            since: time(&self.since),
            until: time(&self.until),
            user: some(&self.user),
            client: some(&self.client),
            reason: some(&self.reason),
            nas: some(&self.nas),
            action: some(&self.action),
            actor: None,
            decision: some(&self.decision),
            request: None,
            limit: Some(limit),
        }
    }

    fn fields(&self) -> [(&'static str, &str); 8] {
        [
            ("user", &self.user),
            ("client", &self.client),
            ("reason", &self.reason),
            ("decision", &self.decision),
            ("action", &self.action),
            ("nas", &self.nas),
            ("since", &self.since),
            ("until", &self.until),
        ]
    }

    fn path(&self, before: u64) -> String {
        let fields = self.fields();
        let mut pairs: Vec<(&str, String)> = fields
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        pairs.push(("before", before.to_string()));
        let query = serde_urlencoded::to_string(pairs).unwrap_or_default();
        format!("/console/audit?{query}")
    }
}

/// `GET /console/audit`
pub(super) async fn show(
    State(desk): State<Desk>,
    signed: Signed,
    Query(wanted): Query<Wanted>,
) -> Response {
    let t = signed.visit.t;
    let found = desk
        .read::<ListAudit>(&signed.caller(), (), &wanted.query(PAGE))
        .await;
    let mut blocks = frame::done(&signed, wanted.done.as_deref());
    blocks.push(Block::Form(filter(t, &wanted)));
    let found = match found {
        Ok(found) => found,
        Err(refused) if refused.status == StatusCode::BAD_REQUEST => {
            blocks.push(frame::told(t, t.get("refused.not_done"), &refused));
            return frame::page(&signed, t.get("menu.audit"), blocks).answer(StatusCode::OK);
        }
        Err(refused) => return frame::refused(&signed, &refused),
    };
    blocks.push(Block::Table(Table {
        label: t.get("menu.audit").to_owned(),
        head: heads(t),
        rows: found
            .records
            .iter()
            .map(|record| row(t, record, &signed.person))
            .collect(),
        empty: t.get("audit.none").to_owned(),
        next: found.next.map(|next| wanted.path(next)),
        live: None,
    }));
    let mut forms = Vec::new();
    for (format, label) in [("csv", t.get("audit.csv")), ("jsonl", t.get("audit.jsonl"))] {
        let mut export = Form::new("/console/audit/export", label).hidden("format", format);
        for (name, value) in wanted.fields() {
            export = export.hidden(name, value);
        }
        export.asks = true;
        forms.push(export);
    }
    let more = ["verify_audit", "prune_audit"]
        .into_iter()
        .filter_map(acts::find);
    forms.extend(more.filter_map(|act| act.form(&signed, "", &[])));
    blocks.push(Block::Actions(forms));
    frame::page(&signed, t.get("menu.audit"), blocks).answer(StatusCode::OK)
}

/// The form of the filters; those that take certain words only offer them.
fn filter(t: Text, wanted: &Wanted) -> Form {
    let mut filter = Form::new("/console/audit", t.get("audit.filter"));
    (filter.asks, filter.inline) = (true, true);
    for (name, value) in wanted.fields() {
        let key = format!("filter.{name}");
        let label = t.find(&key).unwrap_or(name);
        let mut field = Field::new(name, label, Input::Text).value(value);
        let words = words(name);
        if !words.is_empty() {
            field.input = Input::Select;
            let shown = words.into_iter().map(|word| {
                let shown = t.find(&format!("{name}.{word}")).unwrap_or(word);
                let shown = match name {
                    "decision" => shown.to_owned(),
                    // As the commands and the API have it.
                    _ => format!("{shown} ({word})"),
                };
                (word.to_owned(), shown)
            });
            field.options = vec![(String::new(), t.get("audit.any").to_owned())];
            field.options.extend(shown);
            // What no list has is looked for all the same.
            if field.options.iter().all(|(word, _)| word != value) {
                field.options.push((value.to_owned(), value.to_owned()));
            }
        }
        filter = filter.field(field);
    }
    filter
}

/// The words that a filter takes, where it takes certain ones only.
fn words(filter: &str) -> Vec<&'static str> {
    match filter {
        "decision" => vec!["accept", "reject", "challenge"],
        "reason" => Reason::ALL.iter().map(|reason| reason.as_str()).collect(),
        "action" => ACTIONS.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

/// `GET /console/audit/export`: all that the filters let through, newest first, page by page.
pub(super) async fn export(
    State(desk): State<Desk>,
    signed: Signed,
    Query(wanted): Query<Wanted>,
) -> Response {
    let caller = signed.caller();
    // The first page tells whether the person may, and whether the filters can be read.
    let first = desk
        .read::<ListAudit>(&caller, (), &wanted.query(EXPORT))
        .await;
    let page = match first {
        Ok(page) => page,
        Err(refused) => return frame::refused(&signed, &refused),
    };
    let is_csv = wanted.format == "csv";
    // What cannot be put on record does not leave.
    if noted(&desk, &signed, &wanted).await.is_err() {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return frame::refused(&signed, &Refused::of(status, ""));
    }
    let (sender, pieces) = mpsc::channel::<Piece>(2);
    let app = Arc::clone(&desk.app);
    app.tasks().spawn(async move {
        write_all(&desk, &signed, (wanted, page), &sender).await;
    });
    let (media, name) = if is_csv {
        (
            "text/csv; charset=utf-8",
            "attachment; filename=\"audit.csv\"",
        )
    } else {
        (
            "application/x-ndjson",
            "attachment; filename=\"audit.jsonl\"",
        )
    };
    let headers = [
        (header::CONTENT_TYPE, media),
        (header::CONTENT_DISPOSITION, name),
    ];
    (headers, Body::new(Pieces(pieces))).into_response()
}

/// Writes a page and those behind it. What ends before its last record is broken off, so that it does not look whole.
async fn write_all(
    desk: &Desk,
    signed: &Signed,
    (mut wanted, mut page): (Wanted, api::Audit),
    sender: &mpsc::Sender<Piece>,
) {
    let (caller, is_csv) = (signed.caller(), wanted.format == "csv");
    let mut text = String::new();
    if is_csv {
        text.push_str("seq,time,request_id,type,decision,reason,user,serial,client,channel,client_ip,rule,actor,action,target,detail\r\n");
    }
    loop {
        for record in &page.records {
            write(record, is_csv, &mut text);
        }
        let piece = std::mem::take(&mut text).into();
        if sender.send(Ok(piece)).await.is_err() {
            return;
        }
        wanted.before = page.next;
        if wanted.before.is_none() {
            return;
        }
        // A browser may take its time for a file, and the session may have ended meanwhile.
        let goes_on = !desk.app.stopping().is_cancelled() && is_live(desk, signed);
        let query = wanted.query(EXPORT);
        let next = if goes_on {
            desk.read::<ListAudit>(&caller, (), &query).await.ok()
        } else {
            None
        };
        let Some(next) = next else {
            let _ = sender.send(Err(io::Error::other(BROKEN_OFF))).await;
            return;
        };
        page = next;
    }
}

/// Puts on record that the person exports records, and by which filters.
async fn noted(desk: &Desk, signed: &Signed, wanted: &Wanted) -> Result<(), AdminError> {
    let filters = wanted.fields().into_iter();
    let filters = filters.filter(|(_, value)| !value.is_empty());
    let filters = filters.map(|(name, value)| format!("{name}={value}"));
    let filters = filters.collect::<Vec<_>>().join(" ");
    let by = signed.by(desk)?;
    let admin = desk.app.admin();
    admin.note("audit_export", Noted::Audit, &filters, by).await
}

fn write(record: &api::AuditRecord, is_csv: bool, text: &mut String) {
    if !is_csv {
        if let Ok(line) = serde_json::to_string(record) {
            text.push_str(&line);
            text.push('\n');
        }
        return;
    }
    let seq = record.seq.to_string();
    let address;
    let text_of = |value: &Option<String>| value.clone().unwrap_or_default();
    let mut cells = vec![seq, record.time.clone(), record.request_id.clone()];
    match &record.event {
        AuditEvent::Decision {
            decision,
            reason,
            user,
            serial,
            client,
            channel,
            client_ip,
            rule,
            note,
            ..
        } => {
            address = client_ip.map(|address| address.to_string());
            let plain = [decision, reason, user].map(Clone::clone);
            cells.push("decision".to_owned());
            cells.extend(plain);
            cells.extend([text_of(serial), client.clone(), channel.clone()]);
            cells.extend([text_of(&address), text_of(rule)]);
            cells.extend([const { String::new() }; 3]);
            cells.push(text_of(note));
        }
        AuditEvent::Change {
            actor,
            action,
            target,
            user,
            detail,
        } => {
            cells.extend([
                "change".to_owned(),
                String::new(),
                String::new(),
                text_of(user),
            ]);
            cells.extend([const { String::new() }; 5]);
            cells.extend([actor, action, target].map(Clone::clone));
            cells.push(text_of(detail));
        }
    }
    let cells: Vec<_> = cells.iter().map(|text| cell(text)).collect();
    text.push_str(&cells.join(","));
    text.push_str("\r\n");
}

/// Records on a page.
const PAGE: usize = 50;
const BROKEN_OFF: &str = "the export ends before its last record";
/// Records of a piece of an export.
const EXPORT: usize = 500;
