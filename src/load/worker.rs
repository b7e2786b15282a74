//! One thread of the RADIUS load: sends what is due, checks what comes back, keeps the books.
//!
//! ```text
//! give up what is late -> fill up to the limit -> send a batch -> receive -> or sleep until one of it
//! ```
//!
//! Nothing is shared with other threads but a flag and two counters for the progress bar: a worker
//! has users, sockets and tallies of its own.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::errno::Errno;

use crate::load::drill::{Answer, Draw, Drill, Expect, Ticket};
use crate::load::lane::{BATCH, Flight, Lane, PER_LANE, Post};
use crate::load::link::Dial;
use crate::load::pace::Pacer;
use crate::load::packet::{Method, Nonce, Reply, Unsigned};
use crate::load::tally::Tally;
use crate::load::watch::Watch;
use crate::load::{lane, packet};
use crate::radius::authenticator::SecretKeys;
use crate::radius::packet::Packet;
use crate::secret::{Entropy, SystemEntropy};
use crate::time::UnixTime;

/// What all workers do alike.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// How a connection over TLS is made; none: over UDP.
    pub(super) dial: Option<Dial>,
    pub(super) server: SocketAddr,
    pub(super) method: Method,
    pub(super) keys: SecretKeys,
    pub(super) timeout: Duration,
    pub(super) retries: u8,
    pub(super) unsigned: Unsigned,
    pub(super) warmup: Duration,
    /// From the start to the last login, the warm-up included.
    pub(super) length: Duration,
}

/// Why a worker ended before its time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stopped {
    /// The system's answer to a call on a socket.
    Socket(Errno),
    /// No random octets.
    Entropy,
}

pub(super) struct Worker<'p> {
    plan: &'p Plan,
    watch: &'p Watch,
    drill: Drill,
    pacer: Pacer,
    tally: Tally,
    lanes: Vec<Lane>,
    limit: usize,
    flying: usize,
    next_lane: usize,
    deadlines: VecDeque<Deadline>,
    random: Pool,
    typed: Vec<u8>,
    sending: bool,
    /// When the drill has something again.
    wake: Option<UnixTime>,
    answered: u64,
}

#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Duration,
    lane: usize,
    identifier: u8,
    round: u32,
}

impl<'p> Worker<'p> {
    /// A worker with at most `limit` requests on their way.
    pub(super) fn new(
        plan: &'p Plan,
        watch: &'p Watch,
        drill: Drill,
        pacer: Pacer,
        limit: usize,
    ) -> std::io::Result<Self> {
        let lanes =
            (0..limit.div_ceil(PER_LANE)).map(|_| Lane::open(plan.server, plan.dial.as_ref()));
        Ok(Self {
            plan,
            watch,
            drill,
            pacer,
            tally: Tally::new(plan.warmup, plan.length),
            lanes: lanes.collect::<Result<_, _>>()?,
            limit,
            flying: 0,
            next_lane: 0,
            deadlines: VecDeque::new(),
            random: Pool::default(),
            typed: Vec::with_capacity(128),
            sending: true,
            wake: None,
            answered: 0,
        })
    }

    /// Works until the time is over and every request has its answer or was given up.
    pub(super) fn run(mut self) -> (Drill, Tally, Option<Stopped>) {
        let mut post = Post::new();
        let stopped = self.work(&mut post).err();
        (self.drill, self.tally, stopped)
    }

    fn work(&mut self, post: &mut Post) -> Result<(), Stopped> {
        while !self.watch.is_stopped() {
            let now = self.watch.now();
            self.give_up(now);
            self.sending &= !self.is_over(now);
            if self.sending {
                self.fill()?;
            }
            for lane in self.lanes.iter_mut().filter(|lane| lane.has_queue()) {
                post.send(lane).map_err(Stopped::Socket)?;
            }
            if !self.sending && self.flying == 0 {
                break;
            }
            if !self.receive(post)? {
                let patience = self.patience(self.watch.now());
                lane::wait(&self.lanes, patience).map_err(Stopped::Socket)?;
            }
        }
        Ok(())
    }

    /// Whether no login is begun any more. What was due in time is sent a little late rather than not
    /// at all: a thread that slept over the end would leave it out.
    fn is_over(&self, now: Duration) -> bool {
        let length = self.plan.length;
        match self.pacer.due() {
            Some(due) => due >= length || now >= length + GRACE,
            None => now >= length,
        }
    }

    /// Makes the logins that are due, at most a batch of them.
    fn fill(&mut self) -> Result<(), Stopped> {
        let mut made = 0;
        while self.flying < self.limit && made < BATCH {
            let now = self.watch.now();
            let Some(ticket) = self.draw(now) else { break };
            self.wake = None;
            let due = self.pacer.take(now).unwrap_or(now);
            if !self.queue(ticket, due, now)? {
                break;
            }
            made += 1;
        }
        self.watch.sent.fetch_add(made as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The login that is due now, if one is.
    fn draw(&mut self, now: Duration) -> Option<Ticket> {
        let clock = self.watch.clock(now);
        if self.wake.is_some_and(|wake| clock < wake) {
            return None;
        }
        let early = |due: Duration| due > now || due >= self.plan.length;
        if self.pacer.due().is_some_and(early) {
            return None;
        }
        match self.drill.next(clock, &mut self.typed) {
            Draw::Send(ticket) => Some(ticket),
            Draw::Wait(until) => {
                self.wake = until;
                None
            }
            Draw::Over => {
                self.sending = false;
                self.watch.run_dry(now);
                None
            }
        }
    }

    /// Puts the request of a login into the queue of a lane; false where no lane has room.
    fn queue(&mut self, ticket: Ticket, due: Duration, now: Duration) -> Result<bool, Stopped> {
        let nonce = self.random.nonce()?;
        // Fewer requests than identifiers: the lane whose turn it is has one, but for a moment
        // after some of another lane took longer.
        let count = self.lanes.len();
        let index = self.next_lane % count.max(1);
        self.next_lane = index + 1;
        let free = (0..count)
            .map(|step| (index + step) % count)
            .find(|lane| self.lanes.get(*lane).is_some_and(Lane::has_room));
        let lane = free.and_then(|index| Some((index, self.lanes.get_mut(index)?)));
        let Some((index, lane)) = lane else {
            return Ok(false);
        };
        let Some((identifier, flight)) = lane.take() else {
            return Ok(false);
        };
        let login = (self.drill.name(ticket), self.typed.as_slice());
        let plan = self.plan;
        let built = packet::build(
            &mut flight.datagram,
            plan.method,
            identifier,
            &nonce,
            login,
            &plan.keys,
        );
        self.tally.sent(due);
        match built {
            Ok(exchange) => flight.exchange = exchange,
            Err(why) => {
                lane.give_back(identifier);
                self.tally.failed(&why.to_string(), due);
                self.drill
                    .note_answer(ticket, Answer::None, self.watch.clock(now));
                return Ok(true);
            }
        }
        flight.ticket = Some(ticket);
        flight.nonce = nonce;
        flight.due = due;
        flight.retries = plan.retries;
        let round = flight.round;
        lane.queue(identifier);
        self.deadlines.push_back(Deadline {
            at: now + plan.timeout,
            lane: index,
            identifier,
            round,
        });
        self.flying += 1;
        Ok(true)
    }

    /// Takes what has arrived; whether it was something.
    fn receive(&mut self, post: &mut Post) -> Result<bool, Stopped> {
        let mut any = false;
        let mut answered = 0;
        for index in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get_mut(index) else {
                continue;
            };
            let datagrams = match post.receive(lane) {
                Ok(datagrams) => datagrams,
                // A server that answered before may be starting again: those are timeouts.
                Err(Errno::ECONNREFUSED) if self.answered > 0 => continue,
                Err(error) => return Err(Stopped::Socket(error)),
            };
            let now = self.watch.now();
            let clock = self.watch.clock(now);
            for datagram in datagrams {
                any = true;
                let Some((flight, reply, identifier)) = matching(lane, datagram, self.plan) else {
                    self.tally.discarded += 1;
                    continue;
                };
                let Some(ticket) = flight.ticket.take() else {
                    continue;
                };
                let due = flight.due;
                lane.give_back(identifier);
                self.flying -= 1;
                answered += 1;
                let answer = match reply {
                    Reply::Decided(answer) => answer,
                    Reply::Unproven if ticket.expect == Expect::Reject => Answer::Accept,
                    Reply::Unproven => {
                        self.tally.failed(UNPROVEN, due);
                        Answer::None
                    }
                    Reply::Unsigned => {
                        self.tally.failed(UNSIGNED, due);
                        Answer::None
                    }
                    Reply::Other(code) => {
                        self.tally.failed(&code.to_string(), due);
                        Answer::None
                    }
                };
                self.tally.note_answer(answer, ticket.expect, due, now);
                self.drill.note_answer(ticket, answer, clock);
                self.wake = None;
            }
        }
        self.answered += answered;
        self.watch.answered.fetch_add(answered, Ordering::Relaxed);
        Ok(any)
    }

    /// Sends again, or gives up, what has waited for its answer long enough.
    fn give_up(&mut self, now: Duration) {
        while let Some(deadline) = self.deadlines.front().copied()
            && deadline.at <= now
        {
            self.deadlines.pop_front();
            let Some(lane) = self.lanes.get_mut(deadline.lane) else {
                continue;
            };
            let Some(flight) = lane.flight(deadline.identifier) else {
                continue;
            };
            let (Some(ticket), true) = (flight.ticket, flight.round == deadline.round) else {
                continue;
            };
            if let Some(left) = flight.retries.checked_sub(1) {
                flight.retries = left;
                lane.queue(deadline.identifier);
                self.tally.retransmissions += 1;
                self.deadlines.push_back(Deadline {
                    at: now + self.plan.timeout,
                    ..deadline
                });
                continue;
            }
            flight.ticket = None;
            let due = flight.due;
            lane.give_back(deadline.identifier);
            self.flying -= 1;
            self.tally.timed_out(due);
            self.tally
                .note_answer(Answer::None, ticket.expect, due, now);
            self.drill
                .note_answer(ticket, Answer::None, self.watch.clock(now));
            self.wake = None;
        }
    }

    /// How long there is nothing to do but to receive.
    fn patience(&self, now: Duration) -> Duration {
        let mut until = now + FLAG;
        let late = self.deadlines.front().map(|deadline| deadline.at);
        until = late.map_or(until, |late| until.min(late));
        if self.sending {
            until = until.min(self.plan.length);
            let room = self.flying < self.limit;
            until = match (self.wake, self.pacer.due()) {
                (Some(wake), _) => until.min(now + wake.since(self.watch.clock(now))),
                (None, Some(due)) if room => until.min(due),
                (None, _) => until,
            };
        }
        until.saturating_sub(now)
    }
}

/// The request that a datagram answers, and how.
fn matching<'l>(
    lane: &'l mut Lane,
    datagram: &[u8],
    plan: &Plan,
) -> Option<(&'l mut Flight, Reply, u8)> {
    let reply = Packet::parse(datagram).ok()?;
    let flight = lane.flight(reply.identifier)?;
    flight.ticket?;
    let authenticator = &flight.nonce.authenticator;
    let exchange = flight.exchange.as_ref();
    let read = packet::read(
        &reply,
        reply.identifier,
        authenticator,
        exchange,
        &plan.keys,
        plan.unsigned,
    )?;
    Some((flight, read, reply.identifier))
}

/// The system's random octets, fetched many at a time.
#[derive(Debug)]
struct Pool {
    octets: Vec<u8>,
    used: usize,
}

impl Default for Pool {
    fn default() -> Self {
        let octets = vec![0; 4096];
        Self {
            used: octets.len(),
            octets,
        }
    }
}

impl Pool {
    fn nonce(&mut self) -> Result<Nonce, Stopped> {
        if self.used + 32 > self.octets.len() {
            let filled = SystemEntropy.fill(&mut self.octets);
            filled.map_err(|_| Stopped::Entropy)?;
            self.used = 0;
        }
        let mut nonce = Nonce::default();
        let octets = self.octets.iter().skip(self.used).copied();
        let places = nonce.authenticator.iter_mut().chain(&mut nonce.peer);
        places.zip(octets).for_each(|(place, octet)| *place = octet);
        self.used += 32;
        Ok(nonce)
    }
}

/// How long after the end logins are sent that were due before it.
const GRACE: Duration = Duration::from_secs(1);
/// A reply that an attacker in between could have changed.
const UNSIGNED: &str = "a reply without Message-Authenticator (--allow-unsigned lets it count)";
/// An accept without the proof of MS-CHAPv2.
const UNPROVEN: &str = "accept without a valid MS-CHAP2-Success";
/// How often the flag that ends the run is looked at, at least.
const FLAG: Duration = Duration::from_millis(50);
