//! A lane: one thread that receives, works on and answers the requests of one listener.
//!
//! Requests in flight are futures that the lane polls itself. A task for each would cost more than
//! the decision: its wake-up alone goes through the scheduler's queues, once per request. What a turn
//! submits to the store the lane commits itself: a login that waits for nothing but the disk is
//! received, decided, written and answered in one thread, in one turn with the others of its batch.
//! A thread of its own, because a scheduler would carry the
//! lane from processor to processor, away from what their caches hold.
//!
//! Where a listener has several lanes they take turns at receiving. A lane that took [`PASS`] datagrams or more passes
//! the turn on: few requests are one lane's work, and of many one batch is decided while another is made durable.
//! They share one socket and do not bind one each (`SO_REUSEPORT`): the kernel chooses among those by the sender's
//! address and port, and a NAS that sends all its logins from one port would load one lane.
//!
//! Invariant: a lane ends on shutdown only, or another takes its place; a panic in one request ends
//! that request. Threats: a flood that starves what is in flight (it yields after each batch), errors
//! that repeat at once (it backs off), decisions that hang (they are given up).

use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::radius::duplicate::IN_FLIGHT_LIFETIME;
use crate::server::radius::counters::{Ingress, bump};
use crate::server::radius::job::Job;
use crate::server::radius::pipeline::Pipeline;
use crate::server::radius::receive::Received;
use crate::server::radius::udp::{
    Inbox, Listener, Outbox, Port, Route, Serves, Unusable, is_passing,
};

/// Serves until `shutdown`, then finishes what is in flight, for as long as the settings say.
pub async fn run(listeners: Vec<Listener>, pipeline: Arc<Pipeline>, shutdown: CancellationToken) {
    let mut ends = Vec::new();
    for listener in listeners {
        let serves = listener.serves();
        let ingress = pipeline.listener_for(listener.local_addr(), serves);
        let (listener, turn) = (Arc::new(listener), Arc::new(Semaphore::new(1)));
        let noun = match serves {
            Serves::Authentication => "RADIUS",
            Serves::Accounting => "RADIUS accounting",
        };
        let vital = format!("{noun} on {}", listener.local_addr());
        pipeline.service.core.vitals().require(&vital);
        tokio::spawn(pipeline.shield(&listener, &ingress, shutdown.clone()));
        for _ in 0..pipeline.settings.lanes {
            ends.push(begin(Place {
                listener: Arc::clone(&listener),
                ingress: ingress.clone(),
                pipeline: Arc::clone(&pipeline),
                turn: Arc::clone(&turn),
                vital: vital.clone(),
                shutdown: shutdown.clone(),
            }));
        }
    }
    drop(pipeline);
    futures_util::future::join_all(ends).await;
}

/// Where a lane works.
#[derive(Clone)]
struct Place {
    listener: Arc<Listener>,
    ingress: Ingress,
    pipeline: Arc<Pipeline>,
    turn: Arc<Semaphore>,
    /// Its listener's name among what has to work.
    vital: String,
    shutdown: CancellationToken,
}

/// Starts a thread for a lane and waits for its end.
async fn begin(place: Place) {
    loop {
        let (end, ended) = oneshot::channel::<()>();
        let here = place.clone();
        let thread = std::thread::Builder::new().name(NAME.to_owned());
        let begun = thread.spawn(move || {
            here.hold();
            // Anyone who waits for this may be the last to hold the store: its closing is waited for then.
            drop(here);
            drop(end);
        });
        if let Err(error) = begun {
            let listener = place.listener.local_addr();
            tracing::error!(%listener, %error, "no thread for a lane; trying on");
            let pause = tokio::time::sleep(BACKOFF_MOST);
            if place.shutdown.run_until_cancelled(pause).await.is_some() {
                continue;
            }
        }
        drop(place);
        // It says nothing; it goes.
        let _ = ended.await;
        return;
    }
}

impl Place {
    /// Has a lane there until shutdown.
    fn hold(&self) {
        while !self.shutdown.is_cancelled() {
            let listener = self.listener.local_addr();
            match std::panic::catch_unwind(AssertUnwindSafe(|| self.serve())) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    tracing::error!(%listener, %error, "a lane cannot begin; trying on");
                }
                // No one would be served any more, and only the NAS would notice.
                Err(_) => tracing::error!(%listener, "a lane broke; another begins"),
            }
            std::thread::sleep(BACKOFF_MOST);
        }
    }

    /// Runs one lane in this thread.
    fn serve(&self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let _alive = self.pipeline.service.core.vitals().alive(&self.vital);
            let lane = Lane {
                port: Arc::new(self.listener.port()?),
                ingress: self.ingress.clone(),
                pipeline: Arc::clone(&self.pipeline),
                turn: Arc::clone(&self.turn),
                in_flight: InFlight::new(),
                replies: Vec::new(),
                outbox: Outbox::new(),
                failures: 0,
            };
            // The lane yields by itself; a budget would only wake it again for what is ready.
            tokio::task::coop::unconstrained(lane.run(self.shutdown.clone())).await;
            Ok(())
        })
    }
}

/// One lane at work.
struct Lane {
    port: Arc<Port>,
    ingress: Ingress,
    pipeline: Arc<Pipeline>,
    turn: Arc<Semaphore>,
    in_flight: InFlight,
    /// Ready to be sent.
    replies: Vec<Reply>,
    outbox: Outbox,
    /// To receive, one after the other.
    failures: u32,
}

/// What leaves, and whereto.
type Reply = (Arc<[u8]>, Route);

/// Requests that are worked on, in two generations: a timer for each would cost more than it is worth.
/// What was begun before the older generation ended has had its time.
struct InFlight {
    younger: Requests,
    older: Requests,
    /// When the younger generation began.
    began: Instant,
    /// How long the last commit took.
    commit: Duration,
}

type Requests = FuturesUnordered<Pin<Box<dyn Future<Output = Option<Reply>> + Send>>>;

impl Lane {
    async fn run(mut self, shutdown: CancellationToken) {
        let port = Arc::clone(&self.port);
        let mut inbox = Inbox::new();
        let mut turn: Option<OwnedSemaphorePermit> = None;
        let stopped = shutdown.cancelled();
        tokio::pin!(stopped);
        loop {
            let next = Arc::clone(&self.turn);
            let receivable = async {
                if turn.is_none() {
                    turn = next.acquire_owned().await.ok();
                }
                port.readable().await
            };
            let ready = tokio::select! {
                biased;
                () = &mut stopped => break,
                () = self.in_flight.collect(&self.pipeline, &mut self.replies) => None,
                ready = receivable => Some(ready),
            };
            self.answer().await;
            self.in_flight.age();
            let received = match ready {
                None => continue,
                Some(Ok(())) => self.batch(&mut inbox),
                Some(Err(error)) => Err(error),
            };
            match received {
                Ok(many) => {
                    self.failures = 0;
                    if many {
                        turn = None;
                    }
                    self.answer().await;
                    // The others' turn: a socket that is always readable never waits by itself.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    let pause = tokio::time::sleep(self.failed(&error));
                    tokio::pin!(pause);
                    // What was received before goes on.
                    loop {
                        self.answer().await;
                        tokio::select! {
                            () = &mut stopped => break,
                            () = &mut pause => break,
                            () = self.in_flight.collect(&self.pipeline, &mut self.replies) => {}
                        }
                    }
                }
            }
        }
        drop(turn);
        self.drain().await;
    }

    /// Takes what has arrived, at most [`BATCH`] datagrams, or [`LARGE`] for a disk that is slow, and begins to work on
    /// it. Whether another lane should receive meanwhile.
    fn batch(&mut self, inbox: &mut Inbox) -> io::Result<bool> {
        let mut taken = 0;
        let most = match self.in_flight.commit {
            took if took > SLOW => LARGE,
            _ => BATCH,
        };
        while taken < most {
            let more = match self.port.try_receive(inbox) {
                Ok(more) => more,
                // An ICMP message about an earlier reply, or a signal: about no datagram.
                Err(error) if is_passing(&error) => {
                    taken += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            inbox.take(|received| {
                taken += 1;
                match received {
                    Ok((datagram, route)) => self.dispatch(datagram, route),
                    Err(Unusable::TooLong) => {
                        bump(&self.ingress.counters.received);
                        bump(&self.ingress.counters.too_long);
                    }
                    Err(Unusable::NoAddress) => {}
                }
            });
            if !more {
                break;
            }
        }
        Ok(taken >= PASS)
    }

    fn dispatch(&mut self, datagram: &[u8], route: Route) {
        let arrived = Instant::now();
        match self.pipeline.receive(datagram, route.peer, &self.ingress) {
            Received::Silence(_) => {}
            Received::Reply(octets) => self.replies.push((octets, route)),
            Received::Work(job) => {
                let work = AssertUnwindSafe(work(job, arrived, route)).catch_unwind();
                // The panic hook has said what happened; the request's claim was given up by it.
                let work = work.map(Result::unwrap_or_default);
                self.in_flight.younger.push(Box::pin(work));
            }
        }
    }

    /// Sends what is ready.
    async fn answer(&mut self) {
        let mut sent = 0;
        while let Some(rest) = self.replies.get(sent..).filter(|rest| !rest.is_empty()) {
            if rest.len() > 1 {
                let at_once = self.port.try_send(rest, &mut self.outbox);
                sent += at_once;
                if at_once > 0 {
                    continue;
                }
            }
            if let Some((octets, route)) = rest.first()
                && let Err(error) = self.port.send(octets, route).await
            {
                // What was decided stays decided: a retransmission gets the same octets.
                bump(&self.ingress.counters.send_errors);
                self.pipeline
                    .not_sent(self.port.local_addr(), route.peer, &error);
            }
            sent += 1;
        }
        self.replies.clear();
    }

    /// Counts a failure to receive and says how long to wait.
    fn failed(&mut self, error: &io::Error) -> Duration {
        bump(&self.ingress.counters.receive_errors);
        self.failures = self.failures.saturating_add(1);
        let failures = self.failures;
        if failures.is_power_of_two() {
            let listener = self.port.local_addr();
            tracing::warn!(%listener, %error, failures, "receiving failed; trying on");
        }
        BACKOFF.saturating_mul(failures).min(BACKOFF_MOST)
    }

    async fn drain(&mut self) {
        self.answer().await;
        let deadline = Instant::now() + self.pipeline.settings.drain;
        while self.in_flight.len() > 0 {
            let collected = self.in_flight.collect(&self.pipeline, &mut self.replies);
            if tokio::time::timeout_at(deadline, collected).await.is_err() {
                let jobs = self.in_flight.len();
                tracing::warn!(jobs, "requests were still being worked on at shutdown");
                return;
            }
            self.answer().await;
        }
    }
}

/// From a job to what leaves, at its time.
async fn work(job: Box<Job>, arrived: Instant, route: Route) -> Option<Reply> {
    let answer = job.run().await?;
    if !answer.delay().is_zero() {
        // By a monotonic clock: a step of the real one moves no reply.
        // Boxed: few wait.
        Box::pin(tokio::time::sleep_until(arrived + answer.delay())).await;
    }
    Some((answer.release()?, route))
}

impl InFlight {
    fn new() -> Self {
        Self {
            younger: Requests::new(),
            older: Requests::new(),
            began: Instant::now(),
            commit: Duration::ZERO,
        }
    }

    fn len(&self) -> usize {
        self.younger.len() + self.older.len()
    }

    /// Works on all of them, waits until some are done, and takes those. What they ask of the store
    /// meanwhile becomes one commit, in this thread: those that wait for nothing else are done with it.
    async fn collect(&mut self, pipeline: &Pipeline, replies: &mut Vec<Reply>) {
        std::future::poll_fn(|context| {
            let (mut done, mut committed) = (false, false);
            loop {
                let batch = pipeline.service.core.hold_batch();
                for requests in [&mut self.older, &mut self.younger] {
                    while let Poll::Ready(Some(reply)) = requests.poll_next_unpin(context) {
                        done = true;
                        replies.extend(reply);
                    }
                }
                // One commit, whose answers are taken. What others submit while it is made is the writer's, who is
                // woken by the end of the hold: it would keep this thread from its replies, and from receiving.
                let began = Instant::now();
                if committed || !batch.commit() {
                    break;
                }
                self.commit = began.elapsed();
                committed = true;
            }
            // When none are in flight, what arrives next begins some, and this is asked anew.
            if done { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Gives up what takes too long: nothing would be done with its answer any more.
    fn age(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.began) < IN_FLIGHT_LIFETIME {
            return;
        }
        self.began = now;
        let hanging = std::mem::replace(&mut self.older, std::mem::take(&mut self.younger));
        if !hanging.is_empty() {
            let jobs = hanging.len();
            tracing::error!(jobs, "decisions hang: given up");
        }
    }
}

/// Of the threads, as tools show them.
const NAME: &str = "radius-lane";

/// Datagrams read before what is in flight gets its turn, and so what one commit takes from here: what belongs to them
/// stays in a processor's caches.
const BATCH: usize = 64;

/// The same where a commit is [`SLOW`]: a disk that flushes in 10 ms still makes 25,000 a second durable.
const LARGE: usize = 256;

/// A commit of [`BATCH`] logins takes less, where the disk flushes in a millisecond.
const SLOW: Duration = Duration::from_millis(3);

/// So many datagrams take longer than it takes to wake another lane.
const PASS: usize = 16;

/// First pause after a failure to receive; grows with each.
const BACKOFF: Duration = Duration::from_millis(10);

/// Longest pause.
const BACKOFF_MOST: Duration = Duration::from_secs(1);
