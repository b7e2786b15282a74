//! What a server in a test stands on: a store, a clock that stands still, policies.

use std::sync::Arc;
use std::time::Duration;

use oncegate::config::Limits;
use oncegate::credential::Cost;
use oncegate::diagnostic::Source;
use oncegate::login::hashing;
use oncegate::model::sealing::SealAlgorithm;
use oncegate::policy::Policies;
use oncegate::secret::{Entropy, Key256, SystemEntropy};
use oncegate::service::Service;
use oncegate::store::medium::{Medium, Memory};
use oncegate::store::{Parts, Store};
use oncegate::time::{Clock, FixedClock, UnixTime};

use crate::support::daemon::NO_DELAY;

/// The parts; each test replaces those that it is about.
pub(crate) struct Base {
    pub(crate) medium: Arc<dyn Medium>,
    pub(crate) clock: FixedClock,
    /// Random octets of the service; the store draws its own.
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) policies: Vec<Source>,
    pub(crate) hashing: hashing::Settings,
    pub(crate) segment_size: u64,
}

impl Base {
    /// An empty store in memory, and one policy that asks for a code.
    pub(crate) fn at(now: UnixTime) -> Self {
        Self {
            medium: Arc::new(Memory::default()),
            clock: FixedClock::at(now),
            entropy: Arc::new(SystemEntropy),
            policies: vec![Source::new("default.toml", NO_DELAY)],
            hashing: hashing::Settings::default(),
            segment_size: 1 << 20,
        }
    }

    /// Opens the store; nothing but its end makes it write a checkpoint.
    pub(crate) fn store(&self) -> Store {
        let store = Store::open(Parts {
            medium: Arc::clone(&self.medium),
            master: Key256::new([7; 32]),
            algorithm: SealAlgorithm::default(),
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SystemEntropy),
            segment_size: self.segment_size,
            checkpoint: Duration::from_hours(1),
        });
        store.expect("a store")
    }

    /// A service on the store.
    pub(crate) fn service(&self) -> Arc<Service> {
        self.service_by(Arc::new(self.clock.clone()))
    }

    /// The same by a clock of its own.
    pub(crate) fn service_by(&self, clock: Arc<dyn Clock>) -> Arc<Service> {
        let policies = Policies::parse(&self.policies, &|_, _| Ok(())).expect("policies");
        let store = Arc::new(self.store());
        let entropy = Arc::clone(&self.entropy);
        let service = Service::new(store, policies, clock, entropy, self.hashing);
        Arc::new(service.expect("a service"))
    }
}

/// Limits that no test reaches unless it sets them.
pub(crate) const LIMITS: Limits = Limits {
    radius_in_flight: 1000,
    radius_queue: 1000,
    http_connections: 1000,
    http_connections_per_address: 256,
    http_client_rate: None,
    request_timeout: Duration::from_mins(1),
    reject_queue: 1000,
    password_threads: None,
    password_queue: 64,
    password_cost: Cost::DEFAULT,
};
