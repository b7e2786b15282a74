//! Many people or tokens at once, in two steps: what would be made, then that it is made.
//!
//! ```text
//! pasted rows -> read here -> batches, each asked for without being made (dry run)
//!             -> plan, kept for ten minutes for who made it -> act `import`: the same batches, made
//! ```
//!
//! Invariant: what is made is what the plan showed; the rows are not sent to the browser and back, for they may hold
//! keys.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use data_encoding::HEXLOWER;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::api::call::Call as _;
use crate::api::{ImportRequest, ImportRow, ImportUsers, Imported};
use crate::model::user_key::UserKey;
use crate::secret::{SecretString, random};
use crate::web::Desk;
use crate::web::call::{Refused, parse};
use crate::web::console::{acts, frame};
use crate::web::fields::{Fields, Sent};
use crate::web::sheet;
use crate::web::view::{Block, Field, Form, Input, Piece, Table, Tone};
use crate::web::visit::Signed;

/// Plans that wait for their second step.
#[derive(Default)]
pub(crate) struct Plans(Mutex<HashMap<String, Plan>>);

struct Plan {
    user: UserKey,
    batches: Vec<Batch>,
    until: Instant,
}

/// A request, as the API reads it, and the lines of its rows.
#[derive(Clone)]
struct Batch {
    make: &'static str,
    conflict: &'static str,
    rows: Zeroizing<Vec<u8>>,
    lines: Vec<usize>,
}

/// `GET /console/import`
pub(super) async fn show(signed: Signed) -> Response {
    if !signed.person.may(ImportUsers::OPERATION.access) {
        return frame::refused(&signed, &Refused::of(StatusCode::FORBIDDEN, ""));
    }
    page(&signed, Vec::new(), StatusCode::OK)
}

fn page(signed: &Signed, before: Vec<Block>, status: StatusCode) -> Response {
    let t = signed.visit.t;
    let option = |word: &str, key: &str| (word.to_owned(), t.find(key).unwrap_or(key).to_owned());
    let form = Form::new("/console/import", t.get("import.plan"))
        .main()
        .field(
            Field::new("make", t.get("import.make"), Input::Select).options(vec![
                option("users", "import.users"),
                option("tokens", "import.tokens"),
            ]),
        )
        .field(
            Field::new("conflict", t.get("import.conflict"), Input::Select).options(vec![
                option("skip", "import.skip"),
                option("fail", "import.fail"),
            ]),
        )
        .field(
            Field::new("rows", t.get("import.rows"), Input::Lines)
                .required()
                .hint(t.get("import.rows_hint")),
        );
    let mut blocks = before;
    blocks.push(Block::Text(t.get("import.about").to_owned()));
    blocks.extend(t.find("import.file").map(Block::File));
    blocks.push(Block::Wide(vec![Block::Form(form)]));
    frame::page(signed, t.get("import.title"), blocks).answer(status)
}

/// `POST /console/import`: the first step.
pub(super) async fn plan(State(desk): State<Desk>, Sent(signed, fields): Sent<Signed>) -> Response {
    if !signed.person.may(ImportUsers::OPERATION.access) {
        return frame::refused(&signed, &Refused::of(StatusCode::FORBIDDEN, ""));
    }
    let t = signed.visit.t;
    let make = if fields.get("make") == Some("tokens") {
        "tokens"
    } else {
        "users"
    };
    let conflict = if fields.get("conflict") == Some("fail") {
        "fail"
    } else {
        "skip"
    };
    let read = read(fields.raw("rows").unwrap_or_default(), (make, conflict));
    let (batches, faults) = match read {
        Ok(read) => read,
        Err((line, why)) => {
            let text = t.with("import.broken", &[("line", &line.to_string())]);
            return page(
                &signed,
                vec![Block::told(t, Tone::Bad, &text, &why)],
                StatusCode::BAD_REQUEST,
            );
        }
    };
    let mut outcome = Outcome {
        faults,
        ..Outcome::default()
    };
    for batch in &batches {
        if let Err(refused) = outcome.look(&desk, &signed, batch.clone()).await {
            return frame::refused(&signed, &refused);
        }
    }
    outcome.faults.sort();
    let mut blocks = outcome.blocks(&signed, "import.planned");
    if outcome.faults.is_empty() && outcome.users + outcome.tokens > 0 {
        let Ok(id) = random::<16>(desk.web.entropy.as_ref()) else {
            return frame::refused(&signed, &Refused::of(StatusCode::SERVICE_UNAVAILABLE, ""));
        };
        let id = HEXLOWER.encode(&id);
        desk.web
            .plans
            .keep(&id, signed.person.user.clone(), batches);
        let given = [("plan", id.as_str()), ("back", "/console/users")];
        let form = acts::find("import").and_then(|act| act.form(&signed, "", &given));
        let form = form.map(|form| Form {
            folded: false,
            ..form
        });
        blocks.extend(form.map(Block::Form));
    }
    frame::page(&signed, t.get("import.title"), blocks).answer(StatusCode::OK)
}

/// The second step, after the person has proven who they are.
pub(super) async fn apply(desk: &Desk, signed: &Signed, fields: &Fields) -> Response {
    let t = signed.visit.t;
    let id = fields.get("plan").unwrap_or_default();
    let Some(batches) = desk.web.plans.take(id, &signed.person.user) else {
        let gone = Refused::of(StatusCode::CONFLICT, t.get("import.gone"));
        return frame::refused(signed, &gone);
    };
    let mut outcome = Outcome::default();
    for batch in &batches {
        if let Err(refused) = outcome.add(desk, signed, batch, false).await {
            let mut blocks = outcome.blocks(signed, "import.stopped");
            blocks.push(frame::told(t, t.get("refused.not_done"), &refused));
            return frame::page(signed, t.get("import.title"), blocks).answer(refused.status);
        }
    }
    let blocks = outcome.blocks(signed, "import.made");
    frame::page(signed, t.get("import.title"), blocks).answer(StatusCode::OK)
}

impl Plans {
    fn keep(&self, id: &str, user: UserKey, batches: Vec<Batch>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // One of each person: a new one takes its place.
        all.retain(|_, plan| plan.until > now && plan.user != user);
        if all.len() < MOST {
            let until = now + LIFE;
            let plan = Plan {
                user,
                batches,
                until,
            };
            all.insert(id.to_owned(), plan);
        }
    }

    /// The plan of this person; it is used up.
    fn take(&self, id: &str, user: &UserKey) -> Option<Vec<Batch>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(id).filter(|plan| plan.user == *user)?;
        let plan = all.remove(id)?;
        (plan.until > Instant::now()).then_some(plan.batches)
    }
}

/// What came of the batches.
#[derive(Default)]
struct Outcome {
    users: usize,
    tokens: usize,
    there: usize,
    skipped: usize,
    /// Line and what is wrong there.
    faults: Vec<(usize, String)>,
    /// What is made and weak.
    warnings: Vec<String>,
}

impl Outcome {
    /// Asks what would be made. A row that no request can hold is a fault, and the others are asked for without it.
    async fn look(
        &mut self,
        desk: &Desk,
        signed: &Signed,
        mut batch: Batch,
    ) -> Result<(), Refused> {
        loop {
            let refused = match self.add(desk, signed, &batch, true).await {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            let Some((row, why)) = refused_row(&refused) else {
                return Err(refused);
            };
            let rows: Result<Vec<ImportRow>, _> = serde_json::from_slice(&batch.rows);
            let Some(mut rows) = rows.ok().filter(|rows| row < rows.len()) else {
                return Err(refused);
            };
            rows.remove(row);
            self.faults.push((batch.lines.remove(row), why));
            if rows.is_empty() {
                return Ok(());
            }
            let written = serde_json::to_vec(&rows).unwrap_or_default();
            batch.rows = Zeroizing::new(written);
        }
    }

    async fn add(
        &mut self,
        desk: &Desk,
        signed: &Signed,
        batch: &Batch,
        dry_run: bool,
    ) -> Result<(), Refused> {
        let rows = serde_json::from_slice(&batch.rows);
        let request = ImportRequest {
            make: batch.make.to_owned(),
            on_conflict: Some(batch.conflict.to_owned()),
            dry_run,
            link: false,
            rows: rows.unwrap_or_default(),
        };
        let body = serde_json::to_vec(&request).map(Zeroizing::new).ok();
        let path = ImportUsers::OPERATION.path;
        let answer = desk
            .send(&signed.caller(), Method::POST, path, body)
            .await?;
        let done: Imported = parse(&answer)?;
        self.users += done.users;
        self.tokens += done.tokens;
        self.there += done.there;
        self.skipped += done.skipped;
        let warnings = done.warnings.iter();
        self.warnings
            .extend(warnings.map(|said| in_lines(said, &batch.lines)));
        let refused = done.refused.into_iter();
        self.faults.extend(refused.map(|one| {
            let line = batch.lines.get(one.row).copied().unwrap_or_default();
            (line, one.detail)
        }));
        Ok(())
    }

    fn blocks(&self, signed: &Signed, key: &'static str) -> Vec<Block> {
        let t = signed.visit.t;
        let counts = [
            ("users", self.users.to_string()),
            ("tokens", self.tokens.to_string()),
            ("there", self.there.to_string()),
            ("skipped", self.skipped.to_string()),
            ("broken", self.faults.len().to_string()),
        ];
        let counts = counts
            .each_ref()
            .map(|(name, count)| (*name, count.as_str()));
        let mut blocks = vec![Block::Notice {
            tone: if self.faults.is_empty() {
                Tone::Good
            } else {
                Tone::Bad
            },
            text: t.find(key).unwrap_or_default().to_owned(),
            detail: t.with("import.counts", &counts),
        }];
        let warnings = self.warnings.iter().take(SHOWN);
        blocks.extend(warnings.map(|said| Block::told(t, Tone::Warn, t.get("import.weak"), said)));
        if !self.faults.is_empty() {
            let rows = self.faults.iter().take(SHOWN).map(|(line, why)| {
                vec![
                    vec![Piece::text(line.to_string())],
                    vec![Piece::told(t, why)],
                ]
            });
            blocks.push(Block::Table(Table {
                label: t.get("import.faults").to_owned(),
                head: [t.get("import.line"), t.get("head.why")]
                    .map(str::to_owned)
                    .into(),
                rows: rows.collect(),
                ..Table::default()
            }));
        }
        blocks
    }
}

/// What the server says of `rows[7]` of a batch, of the line that the row stands in.
fn in_lines(said: &str, lines: &[usize]) -> String {
    let of_line = || {
        let (before, rest) = said.split_once("rows[")?;
        let (row, behind) = rest.split_once(']')?;
        let line = lines.get(row.parse::<usize>().ok()?)?;
        Some(format!("{before}line {line}{behind}"))
    };
    of_line().unwrap_or_else(|| said.to_owned())
}

/// Which row a request was refused for: `rows[7]: secret: ...`.
fn refused_row(refused: &Refused) -> Option<(usize, String)> {
    let rest = refused.english().strip_prefix("rows[")?;
    let (row, why) = rest.split_once("]: ")?;
    let row = row
        .parse()
        .ok()
        .filter(|_| refused.status == StatusCode::BAD_REQUEST)?;
    Some((row, why.to_owned()))
}

type Faults = Vec<(usize, String)>;

/// The rows in batches, and those that cannot be read; the error says why none can be.
fn read(
    text: &str,
    (make, conflict): (&'static str, &'static str),
) -> Result<(Vec<Batch>, Faults), (usize, String)> {
    let rows = sheet::rows(text).map_err(|line| (line, "a quote is not closed".to_owned()))?;
    let mut rows = rows.into_iter();
    let (_, heading) = rows
        .next()
        .ok_or_else(|| (1, "there is no row".to_owned()))?;
    let names: Vec<String> = heading.iter().map(|name| name.to_lowercase()).collect();
    for name in &names {
        if !COLUMNS.contains(&name.as_str()) {
            let known = COLUMNS.join(", ");
            return Err((1, format!("unknown column `{name}`; known are {known}")));
        }
    }
    if !names.iter().any(|name| name == "user") {
        return Err((
            1,
            "the first line names the columns; one of them is `user`".to_owned(),
        ));
    }
    let (mut batches, mut faults) = (Vec::new(), Vec::new());
    let mut batch: Vec<(usize, ImportRow)> = Vec::new();
    for (line, row) in rows {
        let written = match written(&names, &row) {
            Ok(written) => written,
            Err(why) => {
                faults.push((line, why));
                continue;
            }
        };
        // Several tokens of one new user are not parted.
        let same = batch
            .last()
            .is_some_and(|(_, last)| last.user == written.user);
        if batch.len() >= ROWS && !same || batch.len() == MOST_ROWS {
            batches.push(packed(std::mem::take(&mut batch), (make, conflict)));
        }
        batch.push((line, written));
    }
    if !batch.is_empty() {
        batches.push(packed(batch, (make, conflict)));
    }
    Ok((batches, faults))
}

fn packed(rows: Vec<(usize, ImportRow)>, (make, conflict): (&'static str, &'static str)) -> Batch {
    let (lines, rows): (Vec<usize>, Vec<ImportRow>) = rows.into_iter().unzip();
    Batch {
        make,
        conflict,
        rows: Zeroizing::new(serde_json::to_vec(&rows).unwrap_or_default()),
        lines,
    }
}

fn written(names: &[String], row: &[Zeroizing<String>]) -> Result<ImportRow, String> {
    if row.len() > names.len() {
        return Err(format!("{} fields, but {} columns", row.len(), names.len()));
    }
    let field = |wanted: &str| {
        let place = names.iter().position(|name| name == wanted)?;
        let text = row.get(place)?.as_str();
        (!text.is_empty()).then_some(text)
    };
    let text = |name: &str| field(name).map(str::to_owned);
    let list = |name: &str| -> Vec<String> {
        let words = field(name).unwrap_or_default().split([';', '|']);
        let words = words.map(str::trim).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    };
    let user = match (field("user"), field("realm")) {
        (Some(user), Some(realm)) => format!("{user}@{realm}"),
        (user, _) => user.unwrap_or_default().to_owned(),
    };
    let number = |name: &str| {
        let read = field(name).map(str::parse::<u64>).transpose();
        read.map_err(|_| format!("{name}: a whole number"))
    };
    let small = |name: &str| {
        let read = number(name)?.map(u16::try_from).transpose();
        read.map_err(|_| format!("{name}: a smaller number"))
    };
    let mut written = ImportRow {
        user,
        aliases: list("alias"),
        groups: list("groups"),
        display_name: text("display_name").or_else(|| text("name")),
        phone: text("phone"),
        email: text("email"),
        class: text("class"),
        secret: field("secret").map(SecretString::from),
        kind: text("kind"),
        algorithm: text("algorithm"),
        digits: small("digits")?.and_then(|digits| u8::try_from(digits).ok()),
        period: small("period")?,
        counter: number("counter")?,
        ..ImportRow::default()
    };
    written.serial = text("serial");
    Ok(written)
}

/// What columns are called, as in files for the command line.
const COLUMNS: [&str; 16] = [
    "user",
    "realm",
    "alias",
    "groups",
    "display_name",
    "name",
    "phone",
    "email",
    "class",
    "secret",
    "kind",
    "algorithm",
    "digits",
    "period",
    "counter",
    "serial",
];
/// Rows of a batch, unless a user's own rows are more.
const ROWS: usize = 400;
/// What the server takes.
const MOST_ROWS: usize = 500;
/// Plans of all people.
const MOST: usize = 8;
/// How long a plan waits.
const LIFE: Duration = Duration::from_mins(10);
/// Broken rows, and warnings, that are shown.
const SHOWN: usize = 100;
