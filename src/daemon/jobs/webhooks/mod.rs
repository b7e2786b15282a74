//! Programs are told of what happens: one signed POST for each event, in order, at least once.
//!
//! ```text
//! cursor -> records of the journal -> events of the topics -> POST, signed -> 2xx: cursor, durably
//!                                                                          -> else: later, until it is `give_up` old
//! ```
//!
//! Signatures are those of Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`. The id is the same for every attempt, so
//! that a program knows what it has; the timestamp is that of the attempt, so that nothing old is taken for new.
//!
//! Invariants: a program that is down, slow or wrong holds up no login and no other program. Events wait in the journal,
//! not in memory. What was before a webhook was configured is not told.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::header;
use hyper::http::request::Builder;
use sha2::Sha256;
use tokio::time::timeout;

use crate::config::webhooks::Webhook;
use crate::daemon::Site;
use crate::daemon::jobs::cursor::Cursor;
use crate::daemon::jobs::post::Post;
use crate::daemon::jobs::{Driver, Job};
use crate::delivery::read_secret;
use crate::secret::SecretBytes;
use crate::server::http::App;
use crate::service::Service;
use crate::time::UnixTime;

mod event;

use event::{Told, told};

/// A webhook at work.
struct Lane {
    service: Arc<Service>,
    hook: Webhook,
    post: Result<Post, String>,
    cursor: Cursor,
    counters: Arc<Counters>,
    waiting: tokio::sync::Mutex<Waiting>,
    /// The cursor as it was written last.
    kept: AtomicU64,
    /// Whether it is known that the trail has gone on from it.
    taken_up: AtomicBool,
}

/// For the metrics.
#[derive(Debug)]
struct Counters {
    name: String,
    /// The last record that was looked at.
    seen: AtomicU64,
    sent: AtomicU64,
    failures: AtomicU64,
    /// Events that were given up, or pruned before they were sent.
    lost: AtomicU64,
}

/// Failures in a row, and when it is asked again.
#[derive(Debug, Default)]
struct Waiting {
    attempts: u32,
    next: UnixTime,
}

/// Starts a job for each webhook that is configured.
pub(super) fn start(driver: &Driver<'_>, site: &Site, service: &Arc<Service>, app: &App) {
    let mut all = Vec::new();
    for hook in &site.config.webhooks {
        let counters = Arc::new(Counters {
            name: hook.name.clone(),
            seen: AtomicU64::default(),
            sent: AtomicU64::default(),
            failures: AtomicU64::default(),
            lost: AtomicU64::default(),
        });
        all.push(Arc::clone(&counters));
        let lane = Arc::new(Lane {
            service: Arc::clone(service),
            post: post(hook),
            cursor: Cursor::new(site.dir.join("webhooks").join(&hook.name)),
            hook: hook.clone(),
            counters,
            waiting: tokio::sync::Mutex::default(),
            kept: AtomicU64::default(),
            taken_up: AtomicBool::default(),
        });
        let begun = lane.begin();
        // Once for each webhook of a process.
        let name: &'static str = format!("webhook {}", hook.name).leak();
        driver.repeat(Job::new(name, Duration::ZERO, EVERY, move |_| {
            let (lane, begun) = (Arc::clone(&lane), begun.clone());
            async move {
                begun?;
                lane.run().await
            }
        }));
    }
    if !all.is_empty() {
        let service = Arc::clone(service);
        app.add_metrics(Box::new(move |out| {
            write_metrics(&all, service.core.store().health().seq, out);
        }));
    }
}

impl Lane {
    /// Takes up the cursor; a webhook without one begins with what happens from now on.
    fn begin(&self) -> Result<(), String> {
        if let Some(taken) = self.cursor.read() {
            self.go_on(taken.seq);
            return Ok(());
        }
        self.keep(self.service.core.store().health().seq)
    }

    fn go_on(&self, seq: u64) {
        self.counters.seen.store(seq, Ordering::Relaxed);
        self.kept.store(seq, Ordering::Relaxed);
    }

    /// Goes back to where the trail took another course than the cursor knows, once.
    async fn take_up(&self) -> Result<(), String> {
        if !self.taken_up.load(Ordering::Relaxed) {
            if let Some(seq) = self.cursor.resumed(self.service.core.store()).await? {
                self.go_on(seq);
            }
            self.taken_up.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Notes that all up to this record is done; durably where `told` one of it, and now and then.
    fn saw(&self, seq: u64, told: bool) -> Result<(), String> {
        if told || seq.saturating_sub(self.kept.load(Ordering::Relaxed)) >= KEEP {
            return self.keep(seq);
        }
        self.counters.seen.store(seq, Ordering::Relaxed);
        Ok(())
    }

    fn keep(&self, seq: u64) -> Result<(), String> {
        self.cursor.write(self.service.core.store(), seq)?;
        self.go_on(seq);
        Ok(())
    }

    /// Tells all that has happened, up to the first event that is not taken.
    async fn run(&self) -> Result<Option<String>, String> {
        let mut waiting = self.waiting.lock().await;
        if self.service.core.now() < waiting.next {
            return Ok(None);
        }
        self.take_up().await?;
        let store = self.service.core.store();
        let before = self.counters.sent.load(Ordering::Relaxed);
        loop {
            let seen = self.counters.seen.load(Ordering::Relaxed);
            if seen >= store.health().seq {
                break;
            }
            let records = store.sealed_after(seen, BATCH).await;
            let records = records.map_err(|error| error.to_string())?;
            let (Some(first), Some(last)) = (records.first(), records.last()) else {
                break;
            };
            self.lose(
                first.seq.saturating_sub(seen + 1),
                "pruned before they were looked at",
            );
            for record in &records {
                let event = told(record).filter(|told| self.hook.events.contains(&told.topic));
                let Some(event) = event else { continue };
                self.one(&event, &mut waiting).await?;
                self.saw(record.seq, true)?;
            }
            self.saw(last.seq, false)?;
        }
        let sent = self.counters.sent.load(Ordering::Relaxed) - before;
        Ok((sent > 0).then(|| format!("{sent} told")))
    }

    /// Tells one event; one that is too old to be tried again is given up.
    async fn one(&self, event: &Told, waiting: &mut Waiting) -> Result<(), String> {
        let Err(why) = self.attempt(event).await else {
            self.counters.sent.fetch_add(1, Ordering::Relaxed);
            *waiting = Waiting::default();
            return Ok(());
        };
        self.counters.failures.fetch_add(1, Ordering::Relaxed);
        let now = self.service.core.now();
        if now.since(event.at) >= self.hook.give_up {
            tracing::error!(
                webhook = self.hook.name,
                event = event.id,
                why,
                "an event is given up"
            );
            self.lose(1, "given up");
            return Ok(());
        }
        let pause = FIRST
            .saturating_mul(1 << waiting.attempts.min(16))
            .min(LONGEST);
        waiting.attempts = waiting.attempts.saturating_add(1);
        waiting.next = now.plus(pause);
        Err(format!("{why}; again in {} s", pause.as_secs()))
    }

    fn lose(&self, events: u64, why: &'static str) {
        if events > 0 {
            self.counters.lost.fetch_add(events, Ordering::Relaxed);
            tracing::error!(
                webhook = self.hook.name,
                events,
                why,
                "a webhook is not told of everything"
            );
        }
    }

    async fn attempt(&self, event: &Told) -> Result<(), String> {
        let sent = timeout(self.hook.timeout, self.post(event)).await;
        sent.map_err(|_| format!("no answer within {} ms", self.hook.timeout.as_millis()))?
    }

    async fn post(&self, event: &Told) -> Result<(), String> {
        let post = self.post.as_ref().map_err(Clone::clone)?;
        // Read for each attempt: a key that was renewed is used at once.
        let key = key(&self.hook.secret_file)?;
        let stamp = self.service.core.now().as_secs();
        let with = |request: Builder| {
            request
                .header(header::CONTENT_TYPE, "application/json")
                .header(
                    header::USER_AGENT,
                    concat!("oncegate/", env!("CARGO_PKG_VERSION")),
                )
                .header("webhook-id", &event.id)
                .header("webhook-timestamp", stamp)
                .header("webhook-signature", signature(&key, stamp, event))
        };
        post.send(event.body.clone(), with).await
    }
}

/// The key of a webhook in its file: base64 behind `whsec_`, else the octets of the line.
pub(in crate::daemon) fn key(path: &Path) -> Result<SecretBytes, String> {
    let text = read_secret(path)?;
    let key = match text.expose().strip_prefix("whsec_") {
        Some(base64) => BASE64.decode(base64.as_bytes()).ok(),
        None => Some(text.expose().as_bytes().to_vec()),
    };
    let key = key.map(SecretBytes::new);
    let good = key.filter(|key| (KEY_LEAST..=KEY_MOST).contains(&key.expose().len()));
    good.ok_or_else(|| {
        let path = path.display();
        format!(
            "{path} holds no key: whsec_ and base64, or text, of {KEY_LEAST} to {KEY_MOST} octets"
        )
    })
}

/// The command that makes a key.
pub(in crate::daemon) fn make_key(path: &Path) -> String {
    let path = path.display();
    format!("(umask 077; printf 'whsec_%s\\n' \"$(openssl rand -base64 32)\" > {path})")
}

/// Whether a webhook could be told: its key is there, and a connection is made.
///
/// # Errors
/// What is in the way, and what to do about it.
pub async fn answers(hook: &Webhook) -> Result<(), (String, String)> {
    let path = &hook.secret_file;
    key(path).map_err(|why| (why, make_key(path)))?;
    let post = post(hook).map_err(|why| (why, "correct `ca_file`".to_owned()))?;
    let connected = timeout(hook.timeout, post.reach()).await;
    let late = format!("no connection within {} ms", hook.timeout.as_millis());
    let connected = connected.unwrap_or(Err(late));
    connected.map_err(|why| {
        let fix = "start the program, or correct `url`; events wait until they are `give_up` old";
        (why, fix.to_owned())
    })
}

fn post(hook: &Webhook) -> Result<Post, String> {
    Post::new(&hook.url, &hook.target, hook.ca_file.as_deref())
}

fn signature(key: &SecretBytes, stamp: u64, event: &Told) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("any length is a key");
    for part in [event.id.as_str(), ".", &stamp.to_string(), ".", &event.body] {
        mac.update(part.as_bytes());
    }
    format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
}

fn write_metrics(all: &[Arc<Counters>], seq: u64, out: &mut String) {
    let families: [(&str, &str, &str, Reading); 4] = [
        (
            "oncegate_webhook_lag",
            "gauge",
            "Audit records that a webhook has not got to yet.",
            |one, seq| seq.saturating_sub(one.seen.load(Ordering::Relaxed)),
        ),
        (
            "oncegate_webhook_sent",
            "counter",
            "Events that a webhook took.",
            |one, _| one.sent.load(Ordering::Relaxed),
        ),
        (
            "oncegate_webhook_failures",
            "counter",
            "Attempts to tell a webhook that failed.",
            |one, _| one.failures.load(Ordering::Relaxed),
        ),
        (
            "oncegate_webhook_lost",
            "counter",
            "Events that were given up, and audit records that were pruned before a webhook got to them.",
            |one, _| one.lost.load(Ordering::Relaxed),
        ),
    ];
    for (name, kind, help, value) in families {
        push!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        let suffix = if kind == "counter" { "_total" } else { "" };
        for one in all {
            let value = value(one, seq);
            push!(out, "{name}{suffix}{{webhook=\"{}\"}} {value}\n", one.name);
        }
    }
}

/// What a metric shows of a webhook, where this is the newest record.
type Reading = fn(&Counters, u64) -> u64;

/// Between two looks for new records.
const EVERY: Duration = Duration::from_secs(1);
/// Records looked at together.
const BATCH: usize = 500;
/// From a failure to the next attempt; twice as long after each.
const FIRST: Duration = Duration::from_secs(1);
/// Longest pause between two attempts.
const LONGEST: Duration = Duration::from_mins(10);
/// Records without an event behind which the cursor is written all the same.
const KEEP: u64 = 50_000;
const KEY_LEAST: usize = 24;
const KEY_MOST: usize = 64;
