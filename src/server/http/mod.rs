//! The HTTP front end: `/v1/verify`, `/v1/admin/*`, health, metrics, the API's description.
//!
//! One router, three ways in:
//!
//! ```text
//! TCP, TLS      Authorization: Bearer KEY  -> Caller::Key    serve_tcp
//!               a device's signature       -> Asking
//! admin socket  peer credentials (kernel)  -> Caller::Local  serve_unix
//! in process    the command line itself    -> Caller::Local  local_router
//! ```
//!
//! Invariants: every failure of a request that was read is a problem document of [`error`]; every route below `/v1` is behind
//! [`caller::identify`], but for those of devices, whose signature is the credential ([`device`]);
//! `/metrics` is behind [`caller::near_or_admin`]; every route is in `/openapi.json`, because the
//! router and the document are made from the same declarations ([`crate::api::call`], [`route`]).
//!
//! Threats T12, T13, T20, T28-T30, T42. Forwarding headers are believed from listed proxies
//! only ([`origin`], threats T44), and say where a request comes from; where the person is comes from the body,
//! vouched for by the client's key. Neither bodies nor headers nor paths with user names in them are
//! logged.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::{Extension, Router, middleware};
use futures_util::future::BoxFuture;
use ipnet::IpNet;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::Admin;
use crate::api::call::Operation;
use crate::api::{
    CompatAuth, CompatCheck, CompatCheckGet, CompatInit, CompatPoll, CompatPollById, CompatPress,
    CompatPressGet, CompatRadius, CompatRadiusGet, CompatSimple, CompatSimpleGet, CompatStatus,
    CompatStatusPost, CompatToken, CompatTokenGet, CompatTokens, CompatTokensHere,
    CompatTransaction, CompatTransactionGet, CompatTrigger, CompatTriggerGet, CompatYubico,
    CompatYubicoById, ConsoleLink, ConsoleLinkWanted, EnrolPage, EnrolScript, EnrolStyle, Healthz,
    Metrics, Openapi, Readyz,
};
use crate::config::Limits;
use crate::config::compat::Compat;
use crate::core::Core;
use crate::explain::Explain;
use crate::login::Login;
use crate::model::source::Source;
use crate::secret::{Key256, SecretBytes, SecretString};
use crate::server::Info;
use crate::server::certificate::Validity;
use crate::server::http::error::Failure;
use crate::server::http::route::Routes;
use crate::server::person::person;
use crate::server::radius::Disconnects;
use crate::server::shares::Shares;
use crate::server::tls::Tls;
use crate::service::Service;
use crate::store::Store;
use crate::store::backup::SiteFile;
use crate::time::UnixTime;

mod admin;
mod answer;
mod around;
mod body;
pub mod caller;
mod challenges;
mod compat;
mod describe;
mod device;
mod enrolments;
mod error;
mod fairness;
mod finish;
mod health;
mod http2;
mod idempotency;
mod inbound;
mod links;
pub mod metrics;
mod named;
mod offered;
mod origin;
mod preference;
mod read;
pub(crate) mod reports;
mod route;
mod scim;
mod serve;
mod tell;
mod verify;

pub(crate) use device::signed_user;
pub(crate) use http2::Endless;
pub use inbound::AHEAD;
pub(crate) use offered::{label, otpauth_uri};
pub(crate) use origin::Origin;
pub use origin::Peer;
pub(crate) use route::Handed;
pub(crate) use serve::ConsoleListener;
pub use serve::{serve_console, serve_tcp, serve_unix};

/// Reads the daemon's files again, or only compares its configuration with the written one.
pub type Reloader = Box<dyn Fn(bool) -> crate::api::Reload + Send + Sync>;

/// Reads the files of the installation that go with a backup, or says which cannot be read.
pub type SiteFiles = Box<dyn Fn() -> Result<Vec<SiteFile>, String> + Send + Sync>;

/// Why the master key was not exchanged.
#[derive(Debug)]
pub enum RotateError {
    /// It is not in a file of the installation, but here.
    NotInAFile(String),
    /// What went wrong, and what to do next.
    Failed(String, String),
}

/// Exchanges the master key; answers with the files of the new one and of the former one.
pub type Rotator = Box<
    dyn Fn(Arc<App>) -> BoxFuture<'static, Result<(String, String), RotateError>> + Send + Sync,
>;

/// Reads the master key again, or says why it cannot be read.
pub type MasterReader = Box<dyn Fn() -> Result<Key256, String> + Send + Sync>;

/// Makes the routes of the pages for people, which are no calls of the API.
pub type Pages = Box<dyn Fn(&Arc<App>) -> Router + Send + Sync>;

/// Makes a link into the console in the name of a caller, or says what is wrong with what was asked for.
pub type ConsoleLinks =
    Box<dyn Fn(&ConsoleLinkWanted, caller::Caller) -> Result<ConsoleLink, String> + Send + Sync>;

/// Counts of a RADIUS client, by name.
pub type ClientCounters = Box<dyn Fn(&str) -> Vec<(&'static str, u64)> + Send + Sync>;

/// What the handlers share.
pub struct App {
    service: Arc<Service>,
    limits: Limits,
    info: Info,
    disconnects: Arc<Disconnects>,
    answers: idempotency::Idempotency<verify::Verdict>,
    begun: idempotency::Idempotency<challenges::Begun>,
    rejects: Arc<Semaphore>,
    tails: Arc<Semaphore>,
    stopping: CancellationToken,
    tasks: TaskTracker,
    requests: metrics::Requests,
    device_refusals: metrics::DeviceRefusals,
    compat_rounds: compat::Rounds,
    sources: Mutex<Vec<metrics::Source>>,
    client_counters: OnceLock<ClientCounters>,
    inbound: ArcSwapOption<inbound::Gateways>,
    proxies: OnceLock<origin::Proxies>,
    compat: OnceLock<Vec<Compat>>,
    validation: OnceLock<compat::Validation>,
    reloader: OnceLock<Reloader>,
    site_files: OnceLock<SiteFiles>,
    rotator: OnceLock<Rotator>,
    master_reader: OnceLock<MasterReader>,
    backups: Arc<Semaphore>,
    tls: OnceLock<Arc<Tls>>,
    rates: fairness::Rates,
    enrolments: fairness::Tries,
    links: fairness::Tries,
    sign_ins: fairness::Tries,
    console_sign_ins: fairness::Tries,
    addresses: Arc<Shares<Source>>,
    started: Instant,
    document: OnceLock<String>,
    pages: OnceLock<Pages>,
    console_links: OnceLock<ConsoleLinks>,
}

impl App {
    /// The front end's state.
    pub fn new(service: Arc<Service>, limits: Limits, info: Info) -> Arc<Self> {
        Arc::new(Self {
            disconnects: Arc::new(Disconnects::new(Arc::clone(&service.core))),
            service,
            limits,
            info,
            answers: idempotency::Idempotency::default(),
            begun: idempotency::Idempotency::default(),
            rejects: Arc::new(Semaphore::new(
                limits.reject_queue.min(Semaphore::MAX_PERMITS),
            )),
            tails: Arc::new(Semaphore::new(TAILS)),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            requests: metrics::Requests::default(),
            device_refusals: metrics::DeviceRefusals::default(),
            compat_rounds: compat::Rounds::default(),
            sources: Mutex::default(),
            client_counters: OnceLock::new(),
            inbound: ArcSwapOption::empty(),
            proxies: OnceLock::new(),
            compat: OnceLock::new(),
            validation: OnceLock::new(),
            reloader: OnceLock::new(),
            site_files: OnceLock::new(),
            rotator: OnceLock::new(),
            master_reader: OnceLock::new(),
            backups: Arc::new(Semaphore::new(1)),
            tls: OnceLock::new(),
            rates: fairness::Rates::default(),
            enrolments: fairness::Tries::of_devices(),
            links: fairness::Tries::of_links(),
            sign_ins: fairness::Tries::of_sign_ins(),
            console_sign_ins: fairness::Tries::of_sign_ins(),
            addresses: Arc::default(),
            started: Instant::now(),
            document: OnceLock::new(),
            pages: OnceLock::new(),
            console_links: OnceLock::new(),
        })
    }

    /// Takes the secret with which gateways sign what they bring; without one nothing is taken. What was
    /// signed up to `since` is not taken either: an earlier process may have taken it.
    pub fn set_inbound_secret(&self, secret: SecretString, since: UnixTime) {
        let gateways = inbound::Gateways::new(secret, since);
        self.inbound.store(Some(Arc::new(gateways)));
    }

    /// The same while requests are served: a secret that is the present one changes nothing, `None` ends
    /// the taking of messages.
    pub fn replace_inbound_secret(&self, secret: Option<SecretString>, since: UnixTime) {
        match secret {
            None => self.inbound.store(None),
            Some(secret) => {
                let present = self.inbound.load();
                if present.as_ref().is_none_or(|present| !present.is(&secret)) {
                    self.set_inbound_secret(secret, since);
                }
            }
        }
    }

    /// Takes the way to read the daemon's files again; `true` asks to act, `false` to compare only.
    pub fn set_reloader(&self, reloader: Reloader) {
        // The first one stays: there is one daemon in a process.
        let _ = self.reloader.set(reloader);
    }

    pub(crate) fn reload(&self, act: bool) -> Option<crate::api::Reload> {
        self.reloader.get().map(|reload| reload(act))
    }

    /// Takes the way to read the files that go with a backup.
    pub fn set_site_files(&self, files: SiteFiles) {
        let _ = self.site_files.set(files);
    }

    pub(crate) fn site_files(&self) -> Result<Vec<SiteFile>, String> {
        self.site_files.get().map_or(Ok(Vec::new()), |read| read())
    }

    /// Takes the way to exchange the master key.
    pub fn set_rotator(&self, rotator: Rotator) {
        let _ = self.rotator.set(rotator);
    }

    pub(crate) fn rotator(&self) -> Option<&Rotator> {
        self.rotator.get()
    }

    /// Takes the way to read the master key again.
    pub fn set_master_reader(&self, reader: MasterReader) {
        let _ = self.master_reader.set(reader);
    }

    pub(crate) fn master_reader(&self) -> Option<&MasterReader> {
        self.master_reader.get()
    }

    /// Takes the pages that are served beside the API. The first ones stay.
    pub fn set_pages(&self, pages: Pages) {
        let _ = self.pages.set(pages);
    }

    /// Takes the way to make links into the console.
    pub fn set_console_links(&self, links: ConsoleLinks) {
        let _ = self.console_links.set(links);
    }

    pub(crate) fn console_links(&self) -> Option<&ConsoleLinks> {
        self.console_links.get()
    }

    /// The store behind the service.
    pub fn store(&self) -> &Store {
        self.service.core.store()
    }

    /// The place of a backup that is being made.
    pub(crate) const fn backups(&self) -> &Arc<Semaphore> {
        &self.backups
    }

    /// Takes the certificate that the listeners serve, to show how long it is valid.
    pub fn set_tls(&self, tls: Arc<Tls>) {
        let _ = self.tls.set(tls);
    }

    pub(crate) fn certificate(&self) -> Option<Validity> {
        self.tls.get().map(|tls| tls.validity())
    }

    /// Lists the reverse proxies that are believed. The first list stays.
    pub fn set_trusted_proxies(&self, proxies: Vec<IpNet>) {
        let _ = self.proxies.set(origin::Proxies::new(proxies));
    }

    /// Lists the clients that speak the request shapes of other products. The first list stays.
    pub fn set_compat(&self, compat: Vec<Compat>) {
        let _ = self.compat.set(compat);
    }

    /// The keys of those that speak Yubico's protocol, by name of the client. The first ones stay.
    pub fn set_yubico_keys(&self, keys: HashMap<String, SecretBytes>) {
        let _ = self.validation.set(compat::Validation::new(keys));
    }

    pub(crate) fn validation(&self) -> &compat::Validation {
        self.validation.get_or_init(compat::Validation::default)
    }

    pub(crate) fn compat(&self) -> &[Compat] {
        self.compat.get().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn proxies(&self) -> &origin::Proxies {
        self.proxies.get_or_init(origin::Proxies::default)
    }

    pub(crate) fn inbound(&self) -> Option<Arc<inbound::Gateways>> {
        self.inbound.load_full()
    }

    /// How many connections an address may have: proxies, listed or on this machine, speak for others.
    pub(crate) fn connections_of(&self, address: IpAddr) -> usize {
        if address.to_canonical().is_loopback() || self.proxies().has(address) {
            usize::MAX
        } else {
            self.limits.http_connections_per_address
        }
    }

    /// Adds another front end's counters to `/metrics`.
    pub fn add_metrics(&self, source: metrics::Source) {
        self.sources.lock().expect(UNPOISONED).push(source);
    }

    /// Takes what counts the packets of RADIUS clients.
    pub fn set_client_counters(&self, counters: ClientCounters) {
        let _ = self.client_counters.set(counters);
    }

    /// A RADIUS client's packets, by the objects of RFC 4669 and RFC 4671; none where no RADIUS is served.
    pub(crate) fn client_counters(&self, name: &str) -> BTreeMap<String, u64> {
        let counters = self.client_counters.get().map(|counters| counters(name));
        let counters = counters.into_iter().flatten();
        counters
            .map(|(object, count)| (object.to_owned(), count))
            .collect()
    }

    /// Ends streams and waits for decisions whose callers have left. Call it when the
    /// listeners have drained, before the store is closed.
    pub async fn drain(&self) {
        self.stop();
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    pub(crate) fn core(&self) -> &Core {
        &self.service.core
    }

    pub(crate) fn login(&self) -> &Login {
        &self.service.login
    }

    pub(crate) fn admin(&self) -> &Admin {
        &self.service.admin
    }

    pub(crate) fn explain(&self) -> &Explain {
        &self.service.explain
    }

    /// What ends sessions at their NASes.
    pub const fn disconnects(&self) -> &Arc<Disconnects> {
        &self.disconnects
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) const fn info(&self) -> &Info {
        &self.info
    }

    pub(crate) const fn answers(&self) -> &idempotency::Idempotency<verify::Verdict> {
        &self.answers
    }

    pub(crate) const fn rates(&self) -> &fairness::Rates {
        &self.rates
    }

    pub(crate) const fn enrolments(&self) -> &fairness::Tries {
        &self.enrolments
    }

    pub(crate) const fn links(&self) -> &fairness::Tries {
        &self.links
    }

    /// Of self-service.
    pub(crate) const fn sign_ins(&self) -> &fairness::Tries {
        &self.sign_ins
    }

    pub(crate) const fn console_sign_ins(&self) -> &fairness::Tries {
        &self.console_sign_ins
    }

    pub(crate) const fn addresses(&self) -> &Arc<Shares<Source>> {
        &self.addresses
    }

    /// Places for answers that may have to wait for their delay.
    pub(crate) const fn rejects(&self) -> &Arc<Semaphore> {
        &self.rejects
    }

    pub(crate) fn rejects_held(&self) -> u64 {
        let free = self.rejects.available_permits();
        u64::try_from(self.limits.reject_queue.saturating_sub(free)).unwrap_or(u64::MAX)
    }

    /// Places for listeners of the audit.
    pub(crate) const fn tails(&self) -> &Arc<Semaphore> {
        &self.tails
    }

    pub(crate) const fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Ends answers that would go on for ever.
    pub(crate) fn stop(&self) {
        self.stopping.cancel();
    }

    pub(crate) const fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    pub(crate) const fn requests(&self) -> &metrics::Requests {
        &self.requests
    }

    pub(crate) const fn compat_rounds(&self) -> &compat::Rounds {
        &self.compat_rounds
    }

    pub(crate) const fn device_refusals(&self) -> &metrics::DeviceRefusals {
        &self.device_refusals
    }

    pub(crate) fn write_sources(&self, page: &mut String) {
        for source in self.sources.lock().expect(UNPOISONED).iter() {
            source(page);
        }
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Damaged rows of these tables: a list that does not show them names them.
    pub(crate) fn damaged(&self, tables: &[&str]) -> Vec<String> {
        let damage = self.service.core.store().health().damage;
        let ours = damage.iter().filter(|row| tables.contains(&row.table));
        ours.map(ToString::to_string).collect()
    }

    /// The description of the API: made when it is asked for, since it is large.
    pub(crate) fn document(&self) -> &String {
        self.document.get_or_init(|| openapi().to_string())
    }
}

/// All routes, for TCP. Callers are known by their key.
pub fn router(app: Arc<App>) -> Router {
    let pages = app.pages.get().map(|pages| pages(&app));
    finished(app, pages)
}

/// The calls of the API alone, for pages of this process. Callers are known by what these insert.
pub fn calls(app: Arc<App>) -> Router {
    finished(app, None)
}

fn finished(app: Arc<App>, pages: Option<Router>) -> Router {
    let mut routes = routes().router(&app);
    if let Some(pages) = pages {
        routes = routes.merge(pages.with_state(()));
    }
    routes
        .fallback(async || Failure::not_found("there is no such route; GET /openapi.json"))
        .method_not_allowed_fallback(async || Failure::NO_METHOD)
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            around::every,
        ))
        .with_state(app)
}

/// All routes, for a caller that the kernel vouches for: full rights, no key.
pub fn local_router(app: Arc<App>, uid: u32) -> Router {
    let own = i32::try_from(std::process::id()).ok();
    let person = person(uid, own);
    router(app).layer(Extension(caller::Caller::Local { uid, person }))
}

/// The description of the API.
pub fn openapi() -> Value {
    routes().description().complete()
}

/// What the declarations of all calls say.
pub fn operations() -> Vec<Operation> {
    routes().description().into_operations()
}

/// All calls: a call that is not here is not served, and is in no document.
fn routes() -> Routes {
    let routes = Routes::default()
        .on_request::<Healthz, _, _>(health::healthz)
        .on_request::<Readyz, _, _>(health::readyz)
        .on_request::<Openapi, _, _>(health::openapi)
        .on_request::<Metrics, _, _>(metrics::metrics)
        .on(inbound::take)
        .on(verify::verify)
        .on(verify::replace_credentials)
        .on(challenges::begin)
        .on(challenges::show)
        .on(enrolments::ask_for_token)
        .on(enrolments::confirm_own_token)
        .on_request::<EnrolPage, _, _>(links::page)
        .on_request::<EnrolScript, _, _>(links::script)
        .on_request::<EnrolStyle, _, _>(links::style)
        .on_request::<CompatCheck, _, _>(compat::check)
        .on_request::<CompatCheckGet, _, _>(compat::check)
        .on_request::<CompatRadius, _, _>(compat::radius)
        .on_request::<CompatRadiusGet, _, _>(compat::radius)
        .on_request::<CompatPoll, _, _>(compat::poll)
        .on_request::<CompatPollById, _, _>(compat::poll_by_id)
        .on_request::<CompatSimple, _, _>(compat::simple)
        .on_request::<CompatSimpleGet, _, _>(compat::simple)
        .on_request::<CompatPress, _, _>(compat::press)
        .on_request::<CompatPressGet, _, _>(compat::press)
        .on_request::<CompatStatus, _, _>(compat::status)
        .on_request::<CompatStatusPost, _, _>(compat::status)
        .on_request::<CompatToken, _, _>(compat::token)
        .on_request::<CompatTokenGet, _, _>(compat::token)
        .on_request::<CompatTransaction, _, _>(compat::transaction)
        .on_request::<CompatTransactionGet, _, _>(compat::transaction)
        .on_request::<CompatAuth, _, _>(compat::auth)
        .on_request::<CompatTrigger, _, _>(compat::trigger)
        .on_request::<CompatTriggerGet, _, _>(compat::trigger)
        .on_request::<CompatTokens, _, _>(compat::list)
        .on_request::<CompatTokensHere, _, _>(compat::list)
        .on_request::<CompatInit, _, _>(compat::init)
        .on_request::<CompatYubico, _, _>(compat::validate)
        .on_request::<CompatYubicoById, _, _>(compat::validate_by_id)
        .on(links::redeem)
        .on(links::redeem_by_device)
        .on(links::confirm)
        .on(links::make);
    admin::routes(device::routes(scim::routes(routes)))
}

/// Listeners of the audit at a time: an administrator's script that forgets its connections.
const TAILS: usize = 64;
const UNPOISONED: &str = "no panic while the lock is held";
