//! `oncegate bench http`: `POST /v1/verify` over as many connections as logins may be outstanding.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::api::call::Call as _;
use crate::api::{Verify, VerifyAnswer, VerifyRequest};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output;
use crate::cli::remote::Remote;
use crate::load::codes::Codes;
use crate::load::drill::{Answer, Draw, Drill, Ticket};
use crate::load::pace::Pacer;
use crate::load::report::Run;
use crate::load::tally::Tally;
use crate::load::watch::Watch;
use crate::load::{Load, codes, report, users, watch};
use crate::time::{Clock as _, SystemClock};

#[derive(Debug, Args)]
pub(crate) struct Http {
    /// Where it is, as for --server; the key is read from --key-file
    #[arg(value_name = "URL")]
    target: String,
    #[command(flatten)]
    load: Load,
}

/// What all connections share.
struct Shared {
    remote: Remote,
    watch: Watch,
    timeout: Duration,
    length: Duration,
    books: Mutex<Books>,
}

/// Held for a moment at a time, never across an await.
struct Books {
    drill: Drill,
    pacer: Pacer,
    tally: Tally,
    /// Why nothing can come of it.
    fatal: Option<CliError>,
}

impl Http {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        self.load.check()?;
        let key = context.key_file.as_deref().ok_or_else(|| {
            CliError::usage("no key")
                .remedy("name the file that holds it: --key-file FILE or ONCEGATE_KEY_FILE")
        })?;
        let remote = Remote::open(&self.target, key, context.ca_file.as_deref())?;
        // A wrong address is told before a million codes are computed.
        drop(remote.connect().await?);
        let everyone = users::load(&self.load.users)?;
        let count = everyone.len();
        let (wrong, replay, spent) = (self.load.wrong, self.load.replay, self.load.spent);
        let pin = self.load.pin()?;
        let bar = output::progress(context.out, "codes", count as u64);
        let from = SystemClock.now();
        let until = from.plus(self.load.length()).plus(PREPARATION);
        let drill = spawn_blocking(move || {
            let codes = Codes::prepare(&everyone, from, until, codes::MOST, |done| bar.inc(done));
            bar.finish_and_clear();
            Drill::new(everyone, codes, wrong, replay, spent).behind(pin)
        });
        let drill = drill.await;
        let drill = drill.map_err(|error| CliError::unavailable(error.to_string()))?;

        // A user logs in over one connection at a time: more connections would be idle.
        let limit = self.load.limit().min(count);
        let shared = Arc::new(Shared {
            remote,
            watch: Watch::start(),
            timeout: self.load.timeout,
            length: self.load.length(),
            books: Mutex::new(Books {
                drill,
                pacer: Pacer::new(self.load.rate, 0, 1),
                tally: Tally::new(self.load.warmup, self.load.length()),
                fatal: None,
            }),
        });
        let mut connections = JoinSet::new();
        for _ in 0..limit {
            connections.spawn(connection(Arc::clone(&shared)));
        }
        let all = async { while connections.join_next().await.is_some() {} };
        let interrupted = watch::follow(&shared.watch, shared.length, context.out, all).await;
        let ended = shared.watch.now().min(shared.length);
        let shared = Arc::into_inner(shared).expect("all connections have ended");
        let books = shared.books.into_inner().expect(UNPOISONED);
        if let Some(error) = books.fatal {
            return Err(error);
        }
        let run = Run {
            protocol: "http",
            target: self.target,
            method: None,
            users: count,
            outstanding: limit,
            rate: self.load.rate,
            warmup: self.load.warmup,
            ended: shared.watch.dry().unwrap_or(ended),
            interrupted,
            ran_dry: shared.watch.dry().is_some(),
            silence: "look at the server's log; a key needs the scope `verify`",
        };
        if let Some(path) = &self.load.save {
            users::save(path, &books.drill.into_users(), |_| ())?;
        }
        report::show(run, &books.tally, context)
    }
}

/// One connection after another, one login at a time, until the time is over.
async fn connection(shared: Arc<Shared>) {
    let mut sender: Option<SendRequest<Full<Bytes>>> = None;
    let mut typed = Zeroizing::new(Vec::with_capacity(128));
    while let Some((ticket, due, body)) = shared.login(&mut typed).await {
        let exchange = timeout(shared.timeout, shared.exchange(&mut sender, body));
        // Ended by hand: what is on its way is neither an answer nor a timeout.
        let outcome = tokio::select! {
            outcome = exchange => outcome,
            () = shared.watch.stopped() => return,
        };
        let failed = outcome.as_ref().is_ok_and(Result::is_err);
        if outcome.is_err() {
            sender = None;
        }
        shared.note(ticket, due, outcome.ok());
        if failed {
            // A server that refuses at once would be asked a million times a second.
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Why there is no decision.
enum Failure {
    /// The connection broke, or the answer was not understood.
    Broken(String),
    Status(StatusCode),
}

impl Shared {
    /// The next login when it is due, and from when its latency counts; `None` when there is none.
    async fn login(&self, typed: &mut Vec<u8>) -> Option<(Ticket, Duration, Bytes)> {
        let claimed = self.books().pacer.claim(self.watch.now());
        if claimed >= self.length {
            return None;
        }
        let opens = self.watch.instant(claimed);
        tokio::select! {
            () = tokio::time::sleep_until(opens) => {}
            () = self.watch.stopped() => return None,
        }
        loop {
            let now = self.watch.now();
            if now >= self.length || self.watch.is_stopped() {
                return None;
            }
            let until = {
                let mut books = self.books();
                let clock = self.watch.clock(now);
                match books.drill.next(clock, typed) {
                    Draw::Send(ticket) => {
                        let due = if books.pacer.due().is_some() {
                            claimed
                        } else {
                            now
                        };
                        books.tally.sent(due);
                        self.watch.sent.fetch_add(1, Ordering::Relaxed);
                        let body = body(&books.drill, ticket, typed);
                        return Some((ticket, due, body));
                    }
                    Draw::Wait(until) => until.map(|until| until.since(clock)),
                    Draw::Over => {
                        self.watch.run_dry(now);
                        return None;
                    }
                }
            };
            // Without a time it is an answer that is waited for, and those come soon.
            tokio::time::sleep(until.unwrap_or(PAUSE).clamp(TICK, PAUSE)).await;
        }
    }

    async fn exchange(
        &self,
        sender: &mut Option<SendRequest<Full<Bytes>>>,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let broken = |error: hyper::Error| Failure::Broken(format!("connection broke: {error}"));
        let mut open = match sender.take() {
            Some(open) if !open.is_closed() => open,
            _ => {
                let stream = self.remote.connect().await;
                let stream = stream.map_err(|error| Failure::Broken(error.words().0))?;
                let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
                let (open, connection) = handshake.await.map_err(broken)?;
                // Ends by itself when the sender is dropped.
                tokio::spawn(connection);
                open
            }
        };
        let mut call = Request::post(Verify::OPERATION.path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| Failure::Broken(error.to_string()))?;
        let authorized = self.remote.authorize(&mut call);
        authorized.map_err(|error| Failure::Broken(error.words().0))?;
        open.ready().await.map_err(broken)?;
        let response = open.send_request(call).await.map_err(broken)?;
        let status = response.status();
        let answer = Limited::new(response.into_body(), ANSWER_MAX);
        let answer = answer.collect().await;
        let answer =
            answer.map_err(|error| Failure::Broken(format!("no whole answer: {error}")))?;
        *sender = Some(open);
        if status != StatusCode::OK {
            return Err(Failure::Status(status));
        }
        match serde_json::from_slice(&answer.to_bytes()) {
            Ok(VerifyAnswer::Accept { .. }) => Ok(Answer::Accept),
            Ok(VerifyAnswer::Challenge { .. }) => Ok(Answer::Challenge),
            Ok(VerifyAnswer::Reject { .. }) => Ok(Answer::Reject),
            Err(error) => Err(Failure::Broken(format!("no decision: {error}"))),
        }
    }

    /// Takes note of how a login went; none: no answer in time.
    fn note(&self, ticket: Ticket, due: Duration, outcome: Option<Result<Answer, Failure>>) {
        let now = self.watch.now();
        let mut books = self.books();
        let Books {
            drill,
            tally,
            fatal,
            ..
        } = &mut *books;
        let answer = match outcome {
            Some(Ok(answer)) => {
                self.watch.answered.fetch_add(1, Ordering::Relaxed);
                answer
            }
            Some(Err(Failure::Status(StatusCode::UNAUTHORIZED))) => {
                fatal.get_or_insert_with(|| self.remote.bad_key());
                self.watch.stop();
                Answer::None
            }
            Some(Err(Failure::Status(status))) => {
                tally.failed(&status.to_string(), due);
                Answer::None
            }
            Some(Err(Failure::Broken(why))) => {
                tally.failed(&why, due);
                Answer::None
            }
            None => {
                tally.timed_out(due);
                Answer::None
            }
        };
        tally.note_answer(answer, ticket.expect, due, now);
        drill.note_answer(ticket, answer, self.watch.clock(now));
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().expect(UNPOISONED)
    }
}

fn body(drill: &Drill, ticket: Ticket, typed: &[u8]) -> Bytes {
    let typed = std::str::from_utf8(typed).unwrap_or_default();
    let password = drill.is_password(ticket);
    let joined = drill.has_pin() && !password;
    let body = VerifyRequest {
        user: drill.name(ticket).to_owned(),
        passcode: joined.then(|| typed.into()),
        otp: (!password && !joined).then(|| typed.into()),
        password: password.then(|| typed.into()),
        ..VerifyRequest::default()
    };
    // Text and numbers of ours can always be written.
    Bytes::from(serde_json::to_vec(&body).unwrap_or_default())
}

const UNPOISONED: &str = "no panic while the lock is held";
/// Far above a decision, against a server that is not ours.
const ANSWER_MAX: usize = 1024 * 1024;
/// After a failure, and at most until the users are looked at again.
const PAUSE: Duration = Duration::from_millis(10);
const TICK: Duration = Duration::from_millis(1);
/// Beyond the run itself: computing codes takes a while.
const PREPARATION: Duration = Duration::from_secs(20);
