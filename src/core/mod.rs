//! What all decisions share: the store, the clock, randomness, policies, clients, texts and counters.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::core::courier::{Courier, NoCourier};
use crate::core::issue::SendLimits;
use crate::core::vital::Vitals;
use crate::model::client::Client;
use crate::model::id::{self, RequestId};
use crate::model::message::Language;
use crate::model::name_rule::NameRule;
use crate::model::user_key::{InvalidUserKey, UserKey};
use crate::notice::Catalogue;
use crate::policy::{DEFAULT, Policies, Policy};
use crate::secret::{Entropy, EntropyError, Pool};
use crate::store::{BatchHold, LoadedFile, Store, StoreError};
use crate::time::{Clock, UnixTime};

pub mod clients;
pub mod clock;
pub mod counters;
pub mod courier;
pub mod directory;
pub mod endings;
pub(crate) mod identities;
pub mod issue;
pub mod jobs;
pub mod latency;
pub mod locks;
pub mod rates;
pub mod vital;

/// What all parts share.
pub struct Core {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) policies: ArcSwap<Policies>,
    /// Names and texts of policies that were replaced, newest first: why a challenge is stale.
    pub(crate) earlier: ArcSwap<Vec<(String, u64)>>,
    pub(crate) clients: Arc<clients::Clients>,
    pub(crate) courier: ArcSwap<Arc<dyn Courier>>,
    pub(crate) directories: directory::Directories,
    pub(crate) send_limits: ArcSwap<SendLimits>,
    pub(crate) home: ArcSwap<Option<String>>,
    pub(crate) texts: ArcSwap<Catalogue>,
    /// Files in force beside policies, tables and texts, for the audit.
    pub(crate) other_files: ArcSwap<Vec<LoadedFile>>,
    /// The language of people of whom nothing else is known.
    pub(crate) language: ArcSwap<Language>,
    pub(crate) counters: counters::Counters,
    pub(crate) rates: rates::Rates,
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) jobs: jobs::Jobs,
    pub(crate) latencies: latency::Latencies,
    pub(crate) locks: locks::Locks,
    pub(crate) clock_watch: clock::Watch,
    pub(crate) endings: endings::Endings,
    /// Octets for request ids and serials, which are no secrets: asking the system costs more than the rest of one.
    pub(crate) randomness: Mutex<Pool>,
    /// Where work that outlives a request goes on: front ends may run in runtimes of their own, which
    /// end before it.
    pub(crate) tasks: tokio::runtime::Handle,
}

/// No decision could be made. Silence over RADIUS, 503 over HTTP; nothing was counted.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// The store has no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The client names a policy that is not loaded.
    #[error("client `{client}` names policy `{policy}`, which is not loaded")]
    NoPolicy {
        /// The client.
        client: String,
        /// The missing policy.
        policy: String,
    },
    /// The clock is behind times on record.
    #[error(
        "the clock says {now}, but {seen} is on record; set the clock, or run `oncegate clock recover` if it is right"
    )]
    ClockBehind {
        /// What the clock says.
        now: UnixTime,
        /// The latest time on record.
        seen: UnixTime,
    },
    /// The user's tokens changed faster than they could be compared.
    #[error("the user's tokens keep changing")]
    Contended,
    /// The directory that checks the user's password gave no answer.
    #[error(transparent)]
    Directory(#[from] directory::DirectoryError),
    /// Too many PINs and passwords wait to be compared.
    #[error("too many PINs and passwords wait to be compared")]
    Busy,
    /// The request's deadline passed while PINs and passwords were compared.
    #[error(
        "the time for one decision (`limits.request_timeout`) was over before PINs and passwords were compared; if it \
         goes on, raise `limits.password_threads`"
    )]
    Late,
    /// No random octets.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl Core {
    /// Reads the clients from the store.
    pub fn new(
        store: Arc<Store>,
        policies: Policies,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, CoreError> {
        let clients = Arc::new(clients::Clients::load(store.as_ref())?);
        let policies = ArcSwap::from_pointee(policies);
        let counters = counters::Counters::default();
        let courier: Arc<dyn Courier> = Arc::new(NoCourier);
        Ok(Self {
            store,
            clock,
            entropy,
            policies,
            earlier: ArcSwap::default(),
            clients,
            courier: ArcSwap::from_pointee(courier),
            directories: directory::Directories::default(),
            send_limits: ArcSwap::default(),
            home: ArcSwap::default(),
            texts: ArcSwap::default(),
            other_files: ArcSwap::default(),
            language: ArcSwap::default(),
            counters,
            rates: rates::Rates::default(),
            vitals: Arc::default(),
            jobs: jobs::Jobs::default(),
            latencies: latency::Latencies::default(),
            locks: locks::Locks::default(),
            clock_watch: clock::Watch::default(),
            endings: endings::Endings::default(),
            randomness: Mutex::default(),
            tasks: tokio::runtime::Handle::current(),
        })
    }

    /// The work that no request asks for.
    pub const fn jobs(&self) -> &jobs::Jobs {
        &self.jobs
    }

    /// Sessions that shall end at their NAS.
    pub const fn endings(&self) -> &endings::Endings {
        &self.endings
    }

    /// The store behind the service, for reading.
    pub fn store(&self) -> &Store {
        self.store.as_ref()
    }

    /// Lets one commit take several decisions; see [`Store::hold_batch`].
    pub fn hold_batch(&self) -> BatchHold<'_> {
        self.store.hold_batch()
    }

    /// The clients as they are now, and who wants to hear of changes.
    pub fn clients(&self) -> &clients::Clients {
        &self.clients
    }

    /// A client by its name.
    pub fn client(&self, name: &str) -> Option<Client> {
        let all = self.clients.all();
        let found = all.iter().find(|client| client.name == name);
        found.map(|client| Client::clone(client))
    }

    /// Decisions so far.
    pub const fn counters(&self) -> &counters::Counters {
        &self.counters
    }

    /// How long decisions took.
    pub const fn latencies(&self) -> &latency::Latencies {
        &self.latencies
    }

    /// The policies as they are now.
    pub fn policies(&self) -> Arc<Policies> {
        self.policies.load_full()
    }

    /// The present, by the service's clock.
    pub fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// The present on the monotonic clock.
    pub fn instant(&self) -> tokio::time::Instant {
        self.clock.instant().into()
    }

    /// Why no decision can be made at present, if so: what a health check must not hide.
    pub fn fault(&self) -> Option<String> {
        let behind = || {
            self.window_time(self.now())
                .err()
                .map(|error| error.to_string())
        };
        let stopped = || self.vitals.fault();
        self.store.health().fault.or_else(behind).or_else(stopped)
    }

    /// Parts of the process that have to work for this service to be ready.
    pub const fn vitals(&self) -> &Arc<Vitals> {
        &self.vitals
    }

    /// Takes who carries messages from now on.
    pub fn set_courier(&self, courier: Arc<dyn Courier>) {
        self.courier.store(Arc::new(courier));
    }

    /// Takes the country of telephone numbers that are written without one, as `+82`.
    pub fn set_home(&self, home: Option<String>) {
        self.home.store(Arc::new(home));
    }

    /// The directories that users follow.
    pub fn directories(&self) -> &directory::Directories {
        &self.directories
    }

    /// The courier; none until [`Core::set_courier`].
    pub fn courier(&self) -> Arc<dyn Courier> {
        Arc::clone(&**self.courier.load())
    }

    /// Sets the language of new users, and of prompts before anything was proven.
    pub fn set_language(&self, language: Language) {
        self.language.store(Arc::new(language));
    }

    /// The language of people of whom nothing else is known.
    pub fn language(&self) -> Language {
        **self.language.load()
    }

    /// Takes the texts of messages, all at once.
    pub fn replace_texts(&self, texts: Catalogue) {
        self.texts.store(Arc::new(texts));
    }

    /// The texts of messages as they are now.
    pub fn texts(&self) -> Arc<Catalogue> {
        self.texts.load_full()
    }

    /// Takes a new set of policies, all at once. Refused while a client names one that is missing.
    pub fn replace_policies(&self, policies: Policies) -> Result<(), CoreError> {
        for client in self.clients.all().iter() {
            policy_of(client, &policies)?;
        }
        let before = self.policies.swap(Arc::new(policies));
        let texts = before
            .iter()
            .map(|policy| (policy.name.clone(), policy.text));
        let earlier = self.earlier.load();
        let known = texts.chain(earlier.iter().cloned()).take(EARLIER);
        self.earlier.store(Arc::new(known.collect()));
        Ok(())
    }

    /// Who is meant by what a client calls a user, by its own rules for names and those of its policy.
    pub fn key(&self, client: &Client, user: &str) -> Result<UserKey, InvalidUserKey> {
        let policies = self.policies.load();
        client.key(user, name_rules(client, &policies))
    }

    /// Who is meant by what a client calls a user, a user's alias included; none where it is no name at all, or one
    /// that the client may not ask about ([`Client::is_of_realm`]). No alias leads out of the client's realm.
    pub(crate) fn whose(&self, client: &Client, user: &str) -> Result<Option<UserKey>, StoreError> {
        match self.key(client, user) {
            Ok(name) => self.meant(client, name),
            Err(_) => Ok(None),
        }
    }

    /// The same of a name that was read already.
    pub(crate) fn meant(
        &self,
        client: &Client,
        name: UserKey,
    ) -> Result<Option<UserKey>, StoreError> {
        let owner = self.store.of_alias(&name)?;
        let owner = owner.filter(|owner| client.is_of_realm(owner));
        let meant = owner.unwrap_or(name);
        Ok(Some(meant).filter(|meant| client.is_of_realm(meant)))
    }

    /// What a client calls a user, for the audit: in canonical form where it is a name.
    pub(crate) fn called(&self, client: &Client, user: &str) -> String {
        let key = self.key(client, user);
        key.map_or_else(|_| shorten(user), |key| key.joined())
    }

    /// The id and time of a request that arrives now.
    pub fn arrival(&self) -> Result<(RequestId, UnixTime), CoreError> {
        let now = self.clock.now();
        Ok((RequestId::new(now, self.number()?), now))
    }

    /// Unpredictable octets for a name.
    pub(crate) fn number<const N: usize>(&self) -> Result<[u8; N], EntropyError> {
        let mut pool = self.randomness.lock().expect("no panic under this lock");
        pool.draw(self.entropy.as_ref())
    }

    /// For a record that is made: see [`id::first_revision`].
    pub(crate) fn first_revision(&self) -> Result<u64, EntropyError> {
        self.number().map(id::first_revision)
    }

    /// The time that windows are computed from: never behind what is on record, so that a clock
    /// set back re-opens nothing (contract s8.6).
    pub(crate) fn window_time(&self, now: UnixTime) -> Result<UnixTime, CoreError> {
        let seen = self.store.high_water();
        if seen.since(now) > CLOCK_TOLERANCE {
            return Err(CoreError::ClockBehind { now, seen });
        }
        Ok(now.max(seen))
    }
}

/// The policy that applies to a client's users.
pub fn policy_of<'p>(client: &Client, policies: &'p Policies) -> Result<&'p Policy, CoreError> {
    policies
        .resolve(client.policy.as_deref())
        .ok_or_else(|| CoreError::NoPolicy {
            client: client.name.clone(),
            policy: client.policy.clone().unwrap_or_else(|| DEFAULT.to_owned()),
        })
}

/// The rules of a client's policy for user names; none where it has no policy, by which nothing is decided.
pub fn name_rules<'p>(client: &Client, policies: &'p Policies) -> &'p [NameRule] {
    let Some(policy) = policies.resolve(client.policy.as_deref()) else {
        return &[];
    };
    &policy.name_rules
}

/// The policy of devices, which are no clients.
pub(crate) fn default_policy(policies: &Policies) -> Result<&Policy, CoreError> {
    policies.get(DEFAULT).ok_or_else(|| CoreError::NoPolicy {
        client: "device".to_owned(),
        policy: DEFAULT.to_owned(),
    })
}

/// A user name that is no user name, for the audit: cut to a length that is still useful.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

/// How many replaced policies are remembered.
const EARLIER: usize = 64;
/// How often a stale view is read again before giving up: an attacker who keeps a counter moving
/// gets no answer, and pays a commit for every move.
pub(crate) const TRIES: usize = 8;
/// How far the clock may be behind the latest time on record: NTP steps and requests in flight.
pub(crate) const CLOCK_TOLERANCE: Duration = Duration::from_secs(30);
