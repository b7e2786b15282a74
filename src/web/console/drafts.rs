//! Drafts of policies: the file to edit, what is wrong with it, how it differs, what it would have decided, and the
//! second person's approval.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::api::call::{Call as _, NoQuery};
use crate::api::{
    ListDrafts, PolicyDraft, PolicyDraftSummary, PolicyFinding, ReplayChange, ReplayDraft,
    ReplayRule, SetDraft, ShowDraft, ShowPolicy,
};
use crate::web::Desk;
use crate::web::call::Refused;
use crate::web::console::sentence::{user_path, utc, when};
use crate::web::console::{acts, explained, frame};
use crate::web::text::Text;
use crate::web::view::{Block, Cell, DiffLine, Form, Piece, Table, Tone};
use crate::web::visit::Signed;
use crate::wire::percent_encode;

/// Which policy's.
#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    policy: String,
    done: Option<String>,
}

/// Where the draft of a policy is.
pub(super) fn path(policy: &str) -> String {
    let mut path = "/console/draft?policy=".to_owned();
    percent_encode(policy, &mut path);
    path
}

/// `GET /console/draft`
pub(super) async fn show(
    State(desk): State<Desk>,
    signed: Signed,
    Query(wanted): Query<Wanted>,
) -> Response {
    let (t, caller) = (signed.visit.t, signed.caller());
    let name = wanted.policy.trim();
    if may_edit(&signed) && !desk.app.admin().edits_policies() {
        let off = Refused::of(StatusCode::CONFLICT, t.get("draft.off"));
        return frame::refused(&signed, &off);
    }
    let draft = desk.read::<ShowDraft>(&caller, name, &NoQuery {}).await;
    let draft = match draft {
        Ok(draft) => Some(draft),
        Err(refused) if refused.status == StatusCode::NOT_FOUND && may_edit(&signed) => None,
        Err(refused) => return frame::refused(&signed, &refused),
    };
    let mut blocks = frame::done(&signed, wanted.done.as_deref());
    if let Some(draft) = &draft {
        blocks.extend(review(&signed, draft));
    }
    if may_edit(&signed) {
        let present = desk.read::<ShowPolicy>(&caller, name, &NoQuery {}).await;
        let present = match present {
            Ok(present) => present.text,
            Err(Refused { status, .. }) if status == StatusCode::NOT_FOUND => String::new(),
            Err(refused) => return frame::refused(&signed, &refused),
        };
        blocks.extend(editor(&signed, name, draft.as_ref(), &present));
    }
    let title = t.with("draft.title", &[("policy", name)]);
    frame::page(&signed, title, blocks).answer(StatusCode::OK)
}

fn may_edit(signed: &Signed) -> bool {
    signed.person.may(SetDraft::OPERATION.access)
}

/// The form with the whole file.
fn editor(
    signed: &Signed,
    name: &str,
    draft: Option<&PolicyDraft>,
    present: &str,
) -> Option<Block> {
    let revision = draft.map_or(0, |draft| draft.revision).to_string();
    let text = draft.map_or(present, |draft| &draft.text);
    let note = draft.and_then(|draft| draft.note.as_deref());
    let back = path(name);
    let given = [
        ("revision", revision.as_str()),
        ("text", text),
        ("note", note.unwrap_or_default()),
        ("back", &back),
    ];
    let mut form = acts::find("set_draft")?.form(signed, name, &given)?;
    form.folded = false;
    Some(Block::Wide(vec![Block::Form(form)]))
}

/// What the server makes of it, the difference, and what can be done with it.
fn review(signed: &Signed, draft: &PolicyDraft) -> Vec<Block> {
    let t = signed.visit.t;
    let mut facts = vec![(
        t.get("draft.by").to_owned(),
        vec![
            Piece::text(draft.author.clone()),
            Piece::Faint(utc(&draft.time)),
        ],
    )];
    let note = draft.note.clone().map(Piece::text);
    facts.extend(note.map(|note| (t.get("draft.note").to_owned(), vec![note])));
    let mut blocks = verdict(t, draft);
    blocks.push(Block::Card(vec![Block::Facts(facts)]));
    blocks.push(Block::Heading(t.get("draft.diff").to_owned()));
    blocks.push(Block::Diff(
        draft.diff.iter().map(|line| diff_line(t, line)).collect(),
    ));
    let mut forms = Vec::new();
    let is_faulty = draft.findings.iter().any(is_error);
    if !is_faulty && signed.person.may(ReplayDraft::OPERATION.access) {
        let mut replay = Form::new("/console/draft/replay", t.get("draft.replay"))
            .hidden("policy", &draft.policy);
        replay.asks = true;
        forms.push(replay);
    }
    let own = draft.author == signed.person.user.to_string();
    let revision = draft.revision.to_string();
    let gone = [
        ("revision", revision.as_str()),
        ("back", "/console/policies"),
    ];
    // What it would be refused for is said above.
    let is_good = !is_faulty && !draft.outdated && draft.locked_out.is_empty();
    let ids: &[&str] = match (own, is_good) {
        (true, _) => &["remove_draft"],
        (false, true) => &["approve_draft", "deny_draft", "remove_draft"],
        (false, false) => &["deny_draft", "remove_draft"],
    };
    forms.extend(
        ids.iter()
            .filter_map(|id| acts::find(id)?.form(signed, &draft.policy, &gone)),
    );
    if own && is_good {
        blocks.push(Block::Text(t.get("draft.own").to_owned()));
    }
    blocks.push(Block::Actions(forms));
    blocks
}

fn is_error(one: &PolicyFinding) -> bool {
    one.severity == "error"
}

fn verdict(t: Text, draft: &PolicyDraft) -> Vec<Block> {
    let mut blocks = Vec::new();
    if draft.outdated {
        blocks.push(frame::bad(t.get("draft.outdated"), ""));
    }
    for one in &draft.locked_out {
        let text = t.with("draft.locked_out", &[("user", &one.user)]);
        blocks.push(Block::told(t, Tone::Bad, &text, &one.why));
    }
    if draft.findings.iter().any(is_error) {
        blocks.push(frame::bad(t.get("draft.faults"), ""));
    } else if blocks.is_empty() {
        blocks.push(Block::Notice {
            tone: Tone::Good,
            text: t.get("draft.good").to_owned(),
            detail: String::new(),
        });
    }
    if !draft.findings.is_empty() {
        let row = |one: &PolicyFinding| {
            let tone = if is_error(one) { Tone::Bad } else { Tone::Warn };
            let file = one.file.as_deref().map(explained::file);
            let place = file
                .zip(one.line)
                .map(|(file, line)| format!("{file}:{line}"));
            let mut what = vec![match Piece::told(t, &one.message) {
                Piece::Said(text) if one.help.is_some() => Piece::Said(format!("{text};")),
                told => told,
            }];
            what.extend(one.help.iter().map(|help| Piece::told(t, help)));
            let severity = t.find(&format!("draft.{}", one.severity));
            vec![
                vec![
                    Piece::chip(tone, severity.unwrap_or(&one.severity)),
                    Piece::Mono(place.unwrap_or_default()),
                ],
                what,
            ]
        };
        blocks.push(Block::Table(Table {
            label: t.get("draft.faults").to_owned(),
            head: [t.get("policies.place"), t.get("head.what")]
                .map(str::to_owned)
                .into(),
            rows: draft.findings.iter().map(row).collect(),
            ..Table::default()
        }));
    }
    blocks
}

fn diff_line(t: Text, line: &crate::api::PolicyDiffLine) -> DiffLine {
    let (kind, sign, key) = match line.kind.as_str() {
        "added" => ("added", "+", "draft.added"),
        "removed" => ("removed", "-", "draft.removed"),
        "gap" => ("gap", "\u{22ef}", "draft.gap"),
        _ => ("same", "", "draft.same"),
    };
    DiffLine {
        kind,
        sign,
        word: t.find(key).unwrap_or_default(),
        number: line.line.map_or_else(String::new, |line| line.to_string()),
        text: line.text.clone(),
    }
}

/// `GET /console/draft/replay`
pub(super) async fn replay(
    State(desk): State<Desk>,
    signed: Signed,
    Query(wanted): Query<Wanted>,
) -> Response {
    let t = signed.visit.t;
    let found = desk
        .read::<ReplayDraft>(&signed.caller(), wanted.policy.trim(), &NoQuery {})
        .await;
    let found = match found {
        Ok(found) => found,
        Err(refused) => return frame::refused(&signed, &refused),
    };
    let (decisions, concerned, otherwise) = (
        found.decisions.to_string(),
        found.concerned.to_string(),
        found.otherwise.to_string(),
    );
    let counts = [
        ("decisions", decisions.as_str()),
        ("concerned", &concerned),
        ("otherwise", &otherwise),
    ];
    let mut blocks = vec![Block::Notice {
        tone: if found.otherwise > 0 {
            Tone::Warn
        } else {
            Tone::Good
        },
        text: t.with("draft.replayed", &counts),
        detail: String::new(),
    }];
    blocks.push(Block::Table(Table {
        label: t.get("draft.replay").to_owned(),
        head: [
            t.get("draft.logins"),
            t.get("draft.accepted"),
            t.get("draft.now"),
            t.get("draft.then"),
            t.get("draft.users"),
        ]
        .map(str::to_owned)
        .into(),
        rows: found.changes.iter().map(|one| change(t, one)).collect(),
        empty: t.get("draft.none_otherwise").to_owned(),
        ..Table::default()
    }));
    let notes = found.notes.iter().map(|note| Piece::told(t, note));
    blocks.extend(notes.map(Block::Line));
    let mut back = Form::new("/console/draft", t.get("draft.back")).hidden("policy", &found.policy);
    back.asks = true;
    blocks.push(Block::Form(back));
    let title = t.with("draft.replay_title", &[("policy", &found.policy)]);
    frame::page(&signed, title, blocks).answer(StatusCode::OK)
}

/// What a rule asks for, with the names of factors as other pages have them.
fn named(t: Text, asks: &str) -> String {
    let words = asks.split(' ').map(|word| {
        let bare = word.trim_end_matches(',');
        let name = t.find(&format!("factor.{bare}"));
        name.map_or_else(|| word.to_owned(), |name| word.replacen(bare, name, 1))
    });
    words.collect::<Vec<_>>().join(" ")
}

fn change(t: Text, one: &ReplayChange) -> Vec<Cell> {
    let rule = |rule: &Option<ReplayRule>| match rule {
        Some(rule) => vec![
            Piece::text(rule.rule.clone()),
            Piece::Faint(named(t, &rule.asks)),
        ],
        None => vec![Piece::chip(Tone::Bad, t.get("draft.no_rule"))],
    };
    let users = one.users.iter();
    vec![
        vec![Piece::text(one.decisions.to_string())],
        vec![Piece::text(one.accepted.to_string())],
        rule(&one.before),
        rule(&one.after),
        users
            .map(|user| Piece::link(user_path(user), user.clone()))
            .collect(),
    ]
}

/// The drafts that wait, for the page of requests and that of policies; nothing for who may not see them.
pub(super) async fn waiting(desk: &Desk, signed: &Signed) -> Vec<PolicyDraftSummary> {
    if !signed.person.may(ListDrafts::OPERATION.access) {
        return Vec::new();
    }
    let found = desk
        .read::<ListDrafts>(&signed.caller(), (), &NoQuery {})
        .await;
    found.map(|found| found.drafts).unwrap_or_default()
}

/// They as a table.
pub(super) fn table(t: Text, drafts: &[PolicyDraftSummary]) -> Block {
    let row = |draft: &PolicyDraftSummary| {
        vec![
            vec![Piece::text(when(&draft.time))],
            vec![Piece::link(path(&draft.policy), draft.policy.clone())],
            vec![Piece::text(draft.author.clone())],
            vec![Piece::text(draft.note.clone().unwrap_or_default())],
        ]
    };
    Block::Table(Table {
        label: t.get("draft.heading").to_owned(),
        head: [
            t.get("head.time"),
            t.get("head.policy"),
            t.get("draft.by"),
            t.get("draft.note"),
        ]
        .map(str::to_owned)
        .into(),
        rows: drafts.iter().map(row).collect(),
        empty: t.get("draft.none").to_owned(),
        ..Table::default()
    })
}
