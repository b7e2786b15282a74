//! One gateway: its places, its breaker, its counts, and the attempts with one message.
//!
//! Invariants: at most `in_flight` messages are handed over at a time and at most `queue` wait for
//! that; a message that finds no place goes to the next gateway at once. A message that waits, waits no longer than one
//! attempt takes. Every pass of the breaker is settled, also when the caller has given up.

use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::config;
use crate::core::courier::{Delivered, GatewayStatus, Trial};
use crate::delivery::answer::{Answered, Fault};
use crate::delivery::breaker::{Breaker, Pass};
use crate::delivery::{http, smtp};
use crate::diagnostic::units::show_duration;
use crate::model::message::{Medium, Message, mask};
use crate::time::Clock;

/// What it speaks.
pub(super) enum Route {
    Http(Box<http::Route>),
    Smtp(Box<smtp::Route>),
}

pub(super) struct Gateway {
    config: config::delivery::Gateway,
    route: Route,
    clock: Arc<dyn Clock>,
    /// Places of messages, waiting ones included.
    admitted: Semaphore,
    /// Places of messages that are being handed over.
    working: Semaphore,
    record: Mutex<Record>,
}

struct Record {
    breaker: Breaker,
    sent: u64,
    failed: u64,
    last_error: Option<String>,
}

impl Gateway {
    pub(super) fn new(
        config: config::delivery::Gateway,
        route: Route,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let places = config.in_flight.saturating_add(config.queue);
        Self {
            admitted: Semaphore::new(places),
            working: Semaphore::new(config.in_flight),
            record: Mutex::new(Record {
                breaker: Breaker::new(config.breaker_failures, config.breaker_pause),
                sent: 0,
                failed: 0,
                last_error: None,
            }),
            config,
            route,
            clock,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.config.name
    }

    pub(super) fn carries(&self, medium: Medium) -> bool {
        self.config.media.contains(&medium)
    }

    pub(super) fn status(&self) -> GatewayStatus {
        let free = self.working.available_permits();
        let record = self.record.lock().expect(UNPOISONED);
        GatewayStatus {
            name: self.config.name.clone(),
            media: self.config.media.clone(),
            breaker: record.breaker.state(self.clock.now()),
            in_flight: self.config.in_flight.saturating_sub(free),
            sent: record.sent,
            failed: record.failed,
            last_error: record.last_error.clone(),
        }
    }

    /// Hands a message over, with as many attempts as configured. The error is for people.
    pub(super) async fn deliver(&self, message: &Message) -> Result<Delivered, String> {
        let full = || format!("busy: {} messages are waiting", self.config.queue);
        let _admitted = self.admitted.try_acquire().map_err(|_| full())?;
        let mut last: Option<Fault> = None;
        for _ in 0..self.config.attempts {
            match self.attempt(message).await {
                Ok(reference) => return Ok(self.delivered(reference)),
                Err(Fault::Failed(text)) => last = Some(Fault::Failed(text)),
                // The breaker opened meanwhile: what opened it says more.
                Err(Fault::Passed(text)) => {
                    last.get_or_insert(Fault::Passed(text));
                    break;
                }
                Err(Fault::Refused(text)) => return Err(text),
            }
        }
        Err(last.map_or_else(String::new, Fault::text))
    }

    /// Hands a message over once, whatever the breaker says.
    pub(super) async fn try_once(&self, message: &Message) -> Trial {
        let answered = match self.place().await {
            Ok(_place) => self.settle(Ticket::new(self, Pass::Usual), message).await,
            Err(fault) => Answered::nothing(fault),
        };
        let outcome = answered.outcome.map(|reference| self.delivered(reference));
        Trial {
            to: mask(message.medium, &message.to),
            outcome: outcome.map_err(Fault::text),
            answer: answered.answer,
        }
    }

    async fn attempt(&self, message: &Message) -> Result<Option<String>, Fault> {
        if self.admit_nothing() {
            return Err(self.resting());
        }
        let _place = self.place().await?;
        let pass = {
            let mut record = self.record.lock().expect(UNPOISONED);
            record.breaker.admit(self.clock.now())
        };
        let pass = pass.ok_or_else(|| self.resting())?;
        self.settle(Ticket::new(self, pass), message).await.outcome
    }

    async fn settle(&self, ticket: Ticket<'_>, message: &Message) -> Answered {
        let answered = match &self.route {
            Route::Http(route) => route.send(message, self.config.timeout).await,
            Route::Smtp(route) => route.send(message, self.config.timeout).await,
        };
        ticket.settle(&answered.outcome);
        answered
    }

    /// Looked at before a place is waited for, so that no message waits for a gateway that is left alone.
    fn admit_nothing(&self) -> bool {
        use crate::core::courier::BreakerState;
        let record = self.record.lock().expect(UNPOISONED);
        record.breaker.state(self.clock.now()) == BreakerState::Open
    }

    fn resting(&self) -> Fault {
        let record = self.record.lock().expect(UNPOISONED);
        let last = record.last_error.as_deref().unwrap_or("it is being tried");
        Fault::Passed(format!("not asked after too many failures ({last})"))
    }

    async fn place(&self) -> Result<SemaphorePermit<'_>, Fault> {
        let place = timeout(self.config.timeout, self.working.acquire()).await;
        let waited = || {
            let time = show_duration(self.config.timeout);
            Fault::Passed(format!("busy: no place within {time}"))
        };
        place.ok().and_then(Result::ok).ok_or_else(waited)
    }

    fn delivered(&self, reference: Option<String>) -> Delivered {
        Delivered {
            gateway: self.config.name.clone(),
            reference,
        }
    }
}

/// A pass of the breaker that cannot be lost.
struct Ticket<'g> {
    gateway: &'g Gateway,
    pass: Option<Pass>,
}

impl<'g> Ticket<'g> {
    const fn new(gateway: &'g Gateway, pass: Pass) -> Self {
        Self {
            gateway,
            pass: Some(pass),
        }
    }

    fn settle(mut self, outcome: &Result<Option<String>, Fault>) {
        let Some(pass) = self.pass.take() else {
            return;
        };
        let now = self.gateway.clock.now();
        let mut record = self.gateway.record.lock().expect(UNPOISONED);
        match outcome {
            Ok(_) => {
                record.breaker.succeeded();
                record.sent += 1;
                record.last_error = None;
            }
            Err(Fault::Failed(text)) => {
                record.breaker.failed(pass, now);
                record.failed += 1;
                record.last_error = Some(text.clone());
            }
            Err(Fault::Refused(text)) => {
                record.breaker.succeeded();
                record.failed += 1;
                record.last_error = Some(text.clone());
            }
            Err(Fault::Passed(_)) => record.breaker.abandoned(pass),
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass {
            let mut record = self.gateway.record.lock().expect(UNPOISONED);
            record.breaker.abandoned(pass);
        }
    }
}

const UNPOISONED: &str = "no panic while the lock is held";
