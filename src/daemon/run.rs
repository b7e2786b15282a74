//! The running daemon: listeners, signals, reload, drain.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::Resource;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::daemon::listeners::{Listeners, SocketFile, bind, overridden};
use crate::daemon::policy_files::Files;
use crate::daemon::reload::Reloader;
use crate::daemon::{
    Overrides, Site, StartError, dictionary, failed, jobs, keys, logging, named, open,
    refuse_faults, reload, site_files, supervisor,
};
use crate::policy::Policies;
use crate::secret::{SecretBytes, SystemEntropy};
use crate::server::http::App;
use crate::server::{Info, http, radius};
use crate::service::Service;
use crate::store::By;
use crate::web::{self, Theme, Web};

/// Runs the daemon until SIGTERM or SIGINT. `ready` is called when every listener is bound.
pub async fn serve(
    site: Site,
    overrides: Overrides,
    ready: impl FnOnce(&Info, &Arc<Service>) + Send,
) -> Result<(), StartError> {
    prepare_process();
    let signals = Signals::new()?;
    let service = service(&site).await?;
    refuse_to_start(&service)?;
    // Before anything is on record with the present time.
    jobs::clock::log(service.core.watch_clock_at_start());
    let has = |addresses: &Option<Vec<_>>| addresses.is_some();
    let by_option = [&overrides.radius, &overrides.accounting, &overrides.http].map(has);
    let listeners = bind(&site, overrides).await?;
    let (info, certificates) = (listeners.info(&site), listeners.certificates());
    let overridden = overridden(by_option, &info);
    service
        .admin
        .set_other_files(reload::other_files(site.sha256, &certificates));
    if let Err(error) = service.admin.record_start().await {
        tracing::error!(%error, "which files are in force is not on record");
    }
    let pipeline = radius::Pipeline::new(
        Arc::clone(&service),
        Arc::new(dictionary(Some(&site))?),
        radius::Settings {
            class: !listeners.accounting.is_empty() || listeners.radius_tls.is_some(),
            ..(&site.config.limits).into()
        },
    );
    let app = application(&site, &service, &info, (&pipeline, &certificates))?;
    let site = Arc::new(site);
    let served = reload::Served {
        certificates,
        pipeline: Arc::clone(&pipeline),
    };
    let reloader = Reloader::start(&site, overridden, &service, &app, served);
    Files::open(&site, &service, &reloader);
    let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
    let socket = start(listeners, &site, &app, pipeline, &tasks, &shutdown);
    jobs::start(&site, &service, &app, &tasks, &shutdown);
    tasks.spawn(supervisor::watchdog(Arc::clone(&service), shutdown.clone()));
    tasks.close();
    tracing::info!(dir = %site.dir.display(), version = env!("CARGO_PKG_VERSION"), "ready");
    ready(&first_link(&info, &app), &service);
    supervisor::ready();
    signals
        .until_stopped(|| {
            supervisor::reloading();
            let before = service.core.policies();
            let done = reloader.reload();
            supervisor::ready();
            reload::log(&done);
            tokio::spawn(record_reload(Arc::clone(&service), before, done.refused()));
        })
        .await;
    supervisor::stopping();
    tracing::info!("stopping: no new requests; finishing those in flight");
    // Removed first: commands from now on wait for the store instead of talking to a dying daemon.
    drop(socket);
    shutdown.cancel();
    drain(&tasks, &app).await;
    Ok(())
}

/// Opens the store, once every file that the configuration names was looked at.
async fn service(site: &Site) -> Result<Arc<Service>, StartError> {
    refuse_faults(site)?;
    let opened = open(site).await;
    opened.map_err(|error| named::complete(error, site))
}

/// Waits for requests in flight, but not for ever.
async fn drain(tasks: &TaskTracker, app: &App) {
    let drained = async {
        tasks.wait().await;
        app.drain().await;
    };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
}

/// The keys of clients that speak Yubico's protocol, from their files.
fn yubico_keys(site: &Site) -> Result<HashMap<String, SecretBytes>, StartError> {
    let compat = site.config.http.compat.iter();
    let keyed = compat.filter_map(|one| Some((&one.client, one.yubico.as_ref()?)));
    let read = keyed.map(|(client, yubico)| {
        let key = named::yubico_key(&yubico.key_file);
        let key = key.map_err(|what| failed(what, named::YUBICO_KEY))?;
        Ok((client.clone(), key))
    });
    read.collect()
}

/// The HTTP application, with what it reports of the other parts of the daemon.
fn application(
    site: &Site,
    service: &Arc<Service>,
    info: &Info,
    (pipeline, certificates): (&Arc<radius::Pipeline>, &reload::Certificates),
) -> Result<Arc<App>, StartError> {
    let app = App::new(Arc::clone(service), site.config.limits, info.clone());
    app.set_trusted_proxies(site.config.http.trusted_proxies.clone());
    app.set_compat(site.config.http.compat.clone());
    app.set_yubico_keys(yubico_keys(site)?);
    let inbound = reload::inbound_secret(&site.config);
    let inbound = inbound.map_err(|what| failed(what, "write a long random text into the file"))?;
    app.replace_inbound_secret(inbound, service.core.now().plus(http::AHEAD));
    app.set_site_files(site_files(site));
    app.set_rotator(keys::rotator(site));
    app.set_master_reader(keys::master_reader(site));
    let counters = Arc::clone(pipeline);
    app.add_metrics(Box::new(move |out| counters.write_prometheus(out)));
    let counters = Arc::clone(pipeline);
    app.set_client_counters(Box::new(move |name| counters.client_objects(name)));
    let disconnects = Arc::clone(app.disconnects());
    disconnects.serve_with(Arc::clone(pipeline));
    app.add_metrics(Box::new(move |out| disconnects.write_prometheus(out)));
    let certificates = certificates.clone();
    app.add_metrics(Box::new(move |out| certificates.write_metrics(out)));
    app.add_metrics(Box::new(logging::write_metrics));
    let (theme, faults) = Theme::load(&site.dir);
    for fault in faults {
        tracing::warn!(%fault, "left out of the theme");
    }
    theme.set();
    Web::new(site.config.web.clone(), Arc::new(SystemEntropy)).serve(&app);
    let store = site.config.store.dir.clone();
    app.add_metrics(Box::new(move |out| write_disk(&store, out)));
    Ok(app)
}

/// Where no one can sign in to the console, what is said of the process has a link for the first administrator.
fn first_link(info: &Info, app: &App) -> Info {
    let console = web::first_link(app);
    Info {
        console,
        ..info.clone()
    }
}

/// Serves the listeners until `shutdown`; the admin socket's file goes when the answer is dropped.
fn start(
    listeners: Listeners,
    site: &Site,
    app: &Arc<App>,
    pipeline: Arc<radius::Pipeline>,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> SocketFile {
    if let Some(tls) = &listeners.eap {
        pipeline.serve_tunnels(Arc::clone(tls));
    }
    if let Some(tls) = &listeners.tls {
        app.set_tls(Arc::clone(tls));
    }
    if let Some((tcp, tls)) = listeners.radius_tls {
        let connections = Arc::new(Semaphore::new(radius::TLS_CONNECTIONS));
        for listener in tcp {
            let at = radius::TlsListener {
                listener,
                tls: Arc::clone(&tls),
                connections: Arc::clone(&connections),
            };
            let pipeline = Arc::clone(&pipeline);
            tasks.spawn(radius::serve_tls(at, pipeline, shutdown.clone()));
        }
    }
    let radius = listeners.radius.into_iter().chain(listeners.accounting);
    tasks.spawn(radius::run(radius.collect(), pipeline, shutdown.clone()));
    let connections = Arc::new(Semaphore::new(site.config.limits.http_connections));
    for listener in listeners.http {
        let (tls, app) = (listeners.tls.clone(), Arc::clone(app));
        let (connections, shutdown) = (Arc::clone(&connections), shutdown.clone());
        tasks.spawn(http::serve_tcp(listener, tls, app, connections, shutdown));
    }
    for listener in listeners.console {
        let (tls, app) = (listeners.tls.clone(), Arc::clone(app));
        let (connections, shutdown) = (Arc::clone(&connections), shutdown.clone());
        tasks.spawn(http::serve_console(
            listener,
            tls,
            app,
            connections,
            shutdown,
        ));
    }
    tasks.spawn(http::serve_unix(
        listeners.unix,
        Arc::clone(app),
        shutdown.clone(),
    ));
    listeners.socket
}

/// What would make the daemon answer wrongly or not at all is said before it listens.
fn refuse_to_start(service: &Service) -> Result<(), StartError> {
    if let Some(fault) = service.core.store().health().fault {
        return Err(failed(
            format!("the store is damaged: {fault}"),
            "`oncegate store verify --repair` makes main.redb anew from the journal, and closes codes that may have \
             been used where its end may be lost; where it finds the journal itself damaged (`oncegate audit verify` \
             says where), restore the directory from a backup",
        ));
    }
    let policies = service.core.policies();
    for client in service.core.clients().all().iter() {
        crate::core::policy_of(client, &policies).map_err(|error| {
            failed(
                error.to_string(),
                format!("oncegate client set {} --policy default", client.name),
            )
        })?;
    }
    Ok(())
}

/// The room on the disk of the store, as metrics; nothing where the system does not say.
fn write_disk(store: &Path, out: &mut String) {
    use std::fmt::Write as _;
    let Ok(disk) = nix::sys::statvfs::statvfs(store) else {
        return;
    };
    let unit = disk.fragment_size();
    for (name, help, blocks) in [
        (
            "oncegate_store_disk_free_bytes",
            "Room on the disk of the store that the daemon may use.",
            disk.blocks_available(),
        ),
        (
            "oncegate_store_disk_size_bytes",
            "Size of the disk of the store.",
            disk.blocks(),
        ),
    ] {
        let octets = blocks.saturating_mul(unit);
        let _ = writeln!(
            out,
            "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {octets}"
        );
    }
}

/// Puts on record what a reload by signal changed and refused: the sender of a signal is not known.
async fn record_reload(service: Arc<Service>, before: Arc<Policies>, refused: Option<String>) {
    let recorded = match service.core.arrival() {
        Ok((request, at)) => {
            let by = By::daemon((request, at));
            service.admin.record_reload(&before, refused, by).await
        }
        Err(error) => Err(error.into()),
    };
    if let Err(error) = recorded {
        tracing::error!(%error, "the reload is not on record");
    }
}

/// What the process keeps to itself, and takes.
fn prepare_process() {
    keep_memory_private();
    take_all_files();
}

/// No core dumps and no debugger of the same user: the process holds opened seeds (threats T26).
fn keep_memory_private() {
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!(%error, "the process stays dumpable");
    }
    if let Err(error) = nix::sys::resource::setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        tracing::warn!(%error, "core dumps stay possible");
    }
}

/// As many open files as the system allows: each connection is one, and each index of an audit segment. A shell's usual
/// 1024 are fewer than the daemon's own limits.
fn take_all_files() {
    let files = Resource::RLIMIT_NOFILE;
    let raised = nix::sys::resource::getrlimit(files)
        .and_then(|(_, most)| nix::sys::resource::setrlimit(files, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "the number of open files stays as it was");
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens from now on: a signal during start is not lost.
    fn new() -> Result<Self, StartError> {
        let listen = |kind| {
            signal(kind).map_err(|error| failed(format!("signals: {error}"), "see the cause"))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn until_stopped(mut self, mut reload: impl FnMut()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => reload(),
            }
        }
    }
}

/// How long requests in flight may take to finish; longer than any reject delay.
const DRAIN: Duration = Duration::from_secs(15);
