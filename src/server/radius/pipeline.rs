//! What the listeners of the RADIUS front end share: service, clients, limits, counters, the duplicate
//! cache. What happens to a datagram is in `receive`, to a request that must be decided in `job`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::Limits;
use crate::radius::dictionary::Dictionary;
use crate::radius::duplicate::{self, Duplicates};
use crate::server::radius::counters::{Counters, Ingress, PeerCounters};
use crate::server::radius::eap::table::Conversations;
use crate::server::radius::limiter::Limiter;
use crate::server::radius::links::Links;
use crate::server::radius::mib;
use crate::server::radius::retry::Retries;
use crate::server::radius::shield::Shield;
use crate::server::radius::table::Table;
use crate::server::radius::udp::{Listener, Serves};
use crate::server::tls::Tls;
use crate::service::Service;

/// What the RADIUS front end may occupy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Requests worked on at a time.
    pub in_flight: usize,
    /// Requests that may wait for one of those places; beyond them new work is dropped.
    pub queue: usize,
    /// Answers that may wait for their time; beyond them new work is dropped.
    pub reject_queue: usize,
    /// After this the NAS has given up: work that has not begun is dropped.
    pub request_timeout: Duration,
    /// How long a shutdown waits for work in flight and waiting rejects.
    pub drain: Duration,
    /// Lanes of each listener, at least 1; see [`crate::server::radius::run`].
    pub lanes: usize,
    /// Whether accepts carry a Class by which accounting is linked with them.
    pub class: bool,
}

impl From<&Limits> for Settings {
    fn from(limits: &Limits) -> Self {
        Self {
            in_flight: limits.radius_in_flight,
            queue: limits.radius_queue,
            reject_queue: limits.reject_queue,
            request_timeout: limits.request_timeout,
            drain: limits.request_timeout.saturating_add(DRAIN),
            lanes: lanes(),
            class: false,
        }
    }
}

/// The RADIUS front end around one service; shared by all listeners.
pub struct Pipeline {
    pub(super) service: Arc<Service>,
    pub(super) settings: Settings,
    pub(super) limiter: Limiter,
    /// Places for answers that may have to wait for their time.
    pub(super) rejects: Arc<Semaphore>,
    /// Places for requests that are worked on.
    pub(super) working: Arc<Semaphore>,
    /// Places for requests that are worked on or wait for it.
    pub(super) admitted: Arc<Semaphore>,
    /// Places for accounting: when all NASes report at once, logins go on.
    pub(super) reports: Arc<Semaphore>,
    dictionary: ArcSwap<Dictionary>,
    pub(super) table: Arc<ArcSwap<Table>>,
    shields: Arc<Mutex<Vec<Weak<Shield>>>>,
    /// Held for one look-up at a time, never across an await.
    duplicates: Mutex<Duplicates>,
    /// Attempts whose answers may be given again; made for the first client that asks for it.
    retries: OnceLock<Arc<Retries>>,
    /// Conversations of EAP.
    pub(super) conversations: Conversations,
    /// Connections over TLS that clients hold open.
    pub(super) links: Arc<Links>,
    /// What tunnels of EAP are made with.
    tunnels: OnceLock<Arc<Tls>>,
    pub(super) counters: Arc<Counters>,
}

impl Pipeline {
    /// Puts the pipeline together and follows the service's clients from now on.
    pub fn new(
        service: Arc<Service>,
        dictionary: Arc<Dictionary>,
        settings: Settings,
    ) -> Arc<Self> {
        let counters = Arc::new(Counters::default());
        let table = Arc::new(ArcSwap::from_pointee(Table::default()));
        let shields = Arc::<Mutex<Vec<Weak<Shield>>>>::default();
        let follow = (
            Arc::clone(&table),
            Arc::clone(&counters),
            Arc::clone(&shields),
        );
        service.core.clients().listen(Box::new(move |clients| {
            let (table, counters, shields) = &follow;
            let new = Arc::new(Table::new(clients, counters));
            table.store(Arc::clone(&new));
            let shields = shields.lock().expect(UNPOISONED);
            for shield in shields.iter().filter_map(Weak::upgrade) {
                shield.refresh(new.networks());
            }
        }));
        Arc::new(Self {
            service,
            settings,
            limiter: Limiter::default(),
            rejects: semaphore(settings.reject_queue),
            working: semaphore(settings.in_flight),
            admitted: semaphore(settings.in_flight.saturating_add(settings.queue)),
            reports: semaphore(settings.in_flight.div_ceil(REPORTS)),
            dictionary: ArcSwap::new(dictionary),
            table,
            shields,
            duplicates: Mutex::new(Duplicates::new(duplicate::Limits::default())),
            retries: OnceLock::new(),
            conversations: Conversations::default(),
            links: Arc::default(),
            tunnels: OnceLock::new(),
            counters,
        })
    }

    /// Offers EAP-TTLS and PEAP from now on, with this certificate.
    pub fn serve_tunnels(&self, tls: Arc<Tls>) {
        // It is set once, before the listeners are served.
        let _ = self.tunnels.set(tls);
    }

    pub(super) fn eap_tls(&self) -> Option<Arc<Tls>> {
        self.tunnels.get().cloned()
    }

    /// Takes a new dictionary; replies from now on are encoded by it.
    pub fn replace_dictionary(&self, dictionary: Arc<Dictionary>) {
        self.dictionary.store(dictionary);
    }

    /// Announces a listener for Access-Requests.
    pub fn listener(&self, address: SocketAddr) -> Ingress {
        self.listener_for(address, Serves::Authentication)
    }

    /// Announces a listener.
    pub fn listener_for(&self, address: SocketAddr, serves: Serves) -> Ingress {
        self.counters.listener(address, serves)
    }

    /// Shields a listener from floods until `shutdown`.
    pub(super) fn shield(
        self: &Arc<Self>,
        listener: &Arc<Listener>,
        ingress: &Ingress,
        shutdown: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let shield = Arc::new(Shield::new(listener, ingress));
        self.shields
            .lock()
            .expect(UNPOISONED)
            .push(Arc::downgrade(&shield));
        shield.watch(Arc::clone(&self.table), shutdown)
    }

    /// The counters of a client; made if there are none.
    pub fn client_counters(&self, name: &str) -> Arc<PeerCounters> {
        self.counters.peer(name)
    }

    /// The counters of a client by the objects of RFC 4669 and RFC 4671.
    pub fn client_objects(&self, name: &str) -> Vec<(&'static str, u64)> {
        mib::columns(&self.counters.peer(name)).to_vec()
    }

    /// Appends all counters in the Prometheus text format.
    pub fn write_prometheus(&self, out: &mut String) {
        self.counters.write_prometheus(out);
        mib::write_prometheus(&self.counters, out);
    }

    /// A reply that the system did not take. It is kept for retransmissions.
    pub(super) fn not_sent(&self, listener: SocketAddr, peer: SocketAddr, error: &std::io::Error) {
        let now = self.service.core.now();
        let table = self.table.load();
        let Some(found) = table.lookup(peer.ip().to_canonical()) else {
            return;
        };
        if self.limiter.once(&found.client, "not_sent", now) {
            let client = found.client.name.as_str();
            tracing::warn!(
                client, %listener, %peer, %error,
                "a reply was not sent; a retransmission of its request gets it again"
            );
        }
    }

    /// Attempts whose answers may be given again; `None`: there are no random octets for their key, and each
    /// packet is decided.
    pub(super) fn retries(&self) -> Option<&Arc<Retries>> {
        if self.retries.get().is_none() {
            let key = self.service.core.number().ok()?;
            let _ = self.retries.set(Arc::new(Retries::new(key)));
        }
        self.retries.get()
    }

    pub(super) fn duplicates(&self) -> MutexGuard<'_, Duplicates> {
        self.duplicates.lock().expect(UNPOISONED)
    }

    pub(super) fn dictionary(&self) -> Arc<Dictionary> {
        self.dictionary.load_full()
    }
}

fn semaphore(places: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)))
}

/// One decides while another waits for the disk. There is one commit at a time, which is a quarter of a login's work:
/// more than four lanes would wait for each other, and each datagram wakes those that have nothing to do.
fn lanes() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors.clamp(1, LANES)
}

const UNPOISONED: &str = "no panic while the lock is held";

/// One of so many places is for accounting.
const REPORTS: usize = 4;

/// Most lanes of one listener.
const LANES: usize = 4;

/// Beyond the time for one decision: rejects that wait leave within their usual delay.
const DRAIN: Duration = Duration::from_secs(2);
