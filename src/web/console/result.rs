//! What an act has answered, where that is to be seen: secrets that are shown only now, and reports.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use crate::qr;
use crate::web::console::act::{Act, label};
use crate::web::console::frame;
use crate::web::console::sentence::utc;
use crate::web::printed::{self, Sheet};
use crate::web::text::Text;
use crate::web::view::{Block, Form, Piece, Tone};
use crate::web::visit::Signed;

/// The page with it; `None` where there is nothing to be seen.
pub(super) fn show(signed: &Signed, act: &Act, answer: &[u8], back: &str) -> Option<Response> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let t = signed.visit.t;
    let once = once(t, &answer);
    if once.is_empty() && !act.reports {
        return None;
    }
    let mut blocks = Vec::new();
    if once.is_empty() {
        blocks.push(Block::Card(vec![report(t, &answer)]));
    } else {
        blocks.push(Block::Notice {
            tone: Tone::Warn,
            text: t.get("act.once").to_owned(),
            detail: t.get("act.once_how").to_owned(),
        });
        let mut card = vec![facts(t, &answer)];
        card.extend(once);
        card.extend(sheet(t, act, &answer));
        blocks.push(Block::Card(card));
        let warnings = answer.get("warnings").and_then(|list| list.as_array());
        let warnings = warnings.into_iter().flatten();
        let warnings = warnings.filter_map(Value::as_str);
        blocks.extend(warnings.map(|said| Block::told(t, Tone::Warn, t.get("act.warned"), said)));
    }
    let mut on = Form::new(back, t.get("act.back"));
    on.asks = true;
    blocks.push(Block::Form(on));
    Some(frame::page(signed, label(signed, act.id), blocks).answer(StatusCode::OK))
}

fn once(t: Text, answer: &Value) -> Vec<Block> {
    let mut blocks = Vec::new();
    for key in ["otpauth_uri", "enrol_uri", "link"] {
        let text = answer[key].as_str();
        if let Some(drawn) = text.and_then(|text| qr::Matrix::of(text).ok()) {
            blocks.push(Block::Qr {
                label: t.get("setup.qr").to_owned(),
                side: drawn.drawn_side(),
                path: drawn.path(),
            });
        }
    }
    for key in ["secret", "key", "code", "link", "otpauth_uri"] {
        if let Some(text) = answer[key].as_str() {
            blocks.push(value(t, key, text.to_owned()));
        }
    }
    if let Some(codes) = answer["codes"].as_array() {
        let codes: Vec<&str> = codes.iter().filter_map(Value::as_str).collect();
        if !codes.is_empty() {
            blocks.push(value(t, "codes", codes.join("\n")));
        }
    }
    if let Some(cells) = answer["cells"].as_array() {
        let cells = cells.iter().filter_map(Value::as_str).map(str::to_owned);
        let cells: Vec<String> = cells.collect();
        if !cells.is_empty() {
            blocks.push(Block::Cells(cells));
        }
    }
    blocks
}

/// What is printed of it: a sheet of recovery codes, a security card, a letter with a link.
fn sheet(t: Text, act: &Act, answer: &Value) -> Option<Block> {
    let has = |key: &str| answer[key].as_array().is_some_and(|list| !list.is_empty());
    let sheet = match act.id {
        _ if has("codes") => Sheet::Recovery,
        _ if has("cells") => Sheet::Card,
        "enrol_link" if answer["link"].is_string() => Sheet::Letter,
        _ => return None,
    };
    let serial = answer["serial"].as_str().unwrap_or_default();
    printed::sheet(t, "/console/printed", sheet, serial)
}

fn value(t: Text, key: &str, value: String) -> Block {
    let label = t.find(&format!("once.{key}")).unwrap_or_default();
    Block::Once {
        label: label.to_owned(),
        value,
    }
}

/// Which record it is about.
fn facts(t: Text, answer: &Value) -> Block {
    let shown = [
        "user",
        "serial",
        "name",
        "kind",
        "state",
        "until",
        "previous_until",
    ];
    let facts = shown.iter().filter_map(|key| {
        let text = answer[*key].as_str()?;
        let is_time = matches!(*key, "until" | "previous_until");
        let text = if is_time { utc(text) } else { text.to_owned() };
        let label = t.find(&format!("fact.{key}")).unwrap_or(key);
        Some((label.to_owned(), vec![Piece::text(text)]))
    });
    Block::Facts(facts.collect())
}

/// Everything that was answered, as the API calls it, in the page's language where its words are known.
fn report(t: Text, answer: &Value) -> Block {
    let mut rows = Vec::new();
    flatten(String::new(), answer, &mut rows);
    if rows.is_empty() {
        return Block::Text(t.get("act.nothing").to_owned());
    }
    rows.truncate(200);
    let facts = rows.into_iter().map(|(key, text)| {
        let words: Vec<&str> = key.split(' ').map(|word| t.said(word)).collect();
        let text = t.told(&text).unwrap_or(text);
        (words.join(" "), vec![Piece::text(text)])
    });
    Block::Facts(facts.collect())
}

fn flatten(before: String, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = if before.is_empty() {
                    key.clone()
                } else {
                    format!("{before} {key}")
                };
                flatten(key, value, rows);
            }
        }
        Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            match texts {
                Some(texts) if texts.is_empty() => {}
                Some(texts) => rows.push((before, texts.join(", "))),
                None => {
                    for (place, item) in items.iter().enumerate() {
                        flatten(format!("{before} {}", place + 1), item, rows);
                    }
                }
            }
        }
        Value::String(text) => rows.push((before, text.clone())),
        other => rows.push((before, other.to_string())),
    }
}
