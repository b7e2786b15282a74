//! The sockets of the daemon: RADIUS, HTTP and the admin socket, bound before anything is served.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use tokio::net::{TcpListener, UnixListener};

use crate::config::{self, Accounting, Config, keys};
use crate::daemon::inherited::Inherited;
use crate::daemon::reload::{Certificates, Override};
use crate::daemon::{Overrides, Site, StartError, failed};
use crate::server::certificate::Validity;
use crate::server::radius::RadiusTls;
use crate::server::tls::Tls;
use crate::server::{Info, radius};
use crate::time::{Clock as _, SystemClock};

/// Everything that is bound.
pub(super) struct Listeners {
    pub(super) radius: Vec<radius::Listener>,
    pub(super) accounting: Vec<radius::Listener>,
    /// RADIUS over TLS, with what its certificates are read from.
    pub(super) radius_tls: Option<(Vec<TcpListener>, Arc<RadiusTls>)>,
    pub(super) http: Vec<TcpListener>,
    /// Of the console alone.
    pub(super) console: Vec<TcpListener>,
    pub(super) unix: UnixListener,
    pub(super) socket: SocketFile,
    pub(super) tls: Option<Arc<Tls>>,
    /// For the tunnels of EAP.
    pub(super) eap: Option<Arc<Tls>>,
}

impl Listeners {
    /// The certificates that are served.
    pub(super) fn certificates(&self) -> Certificates {
        Certificates {
            http: self.tls.clone(),
            eap: self.eap.clone(),
            radius: self.radius_tls.as_ref().map(|(_, tls)| Arc::clone(tls)),
        }
    }

    pub(super) fn info(&self, site: &Site) -> Info {
        let bound = |listener: &TcpListener| listener.local_addr().ok();
        let radius = |listeners: &[radius::Listener]| {
            let listeners = listeners.iter();
            listeners.map(radius::Listener::local_addr).collect()
        };
        Info {
            daemon: true,
            radius: radius(&self.radius),
            accounting: radius(&self.accounting),
            radius_tls: self
                .radius_tls
                .iter()
                .flat_map(|(listeners, _)| listeners.iter().filter_map(bound))
                .collect(),
            http: self.http.iter().filter_map(bound).collect(),
            console_http: self.console.iter().filter_map(bound).collect(),
            ..info_of(site)
        }
    }
}

/// What the configuration says, whether a daemon runs or a command has opened the store itself: without a listener.
pub(crate) fn info_of(site: &Site) -> Info {
    Info {
        demo: site.demo_file(),
        master: site.config.keys.master.to_string(),
        algorithm: site.config.keys.algorithm.as_str(),
        public_url: site.config.http.public_url.clone(),
        app_url: app_url(&site.config),
        ..Info::default()
    }
}

/// Where browsers keep keys for the authenticator, which is served: only for what came over HTTPS, or from this
/// machine.
fn app_url(config: &Config) -> Option<String> {
    const TRUSTED: [&str; 4] = [
        "https://",
        "http://localhost",
        "http://127.0.0.1",
        "http://[::1]",
    ];
    let own = config.http.public_url.as_ref().filter(|_| config.web.app);
    let own = own.filter(|url| TRUSTED.iter().any(|start| url.starts_with(start)));
    own.cloned()
}

/// The listeners that options gave: RADIUS, accounting, HTTP.
pub(super) fn overridden(by_option: [bool; 3], info: &Info) -> Vec<Override> {
    let all = [
        (keys::RADIUS_LISTEN, "serve --radius", &info.radius),
        (
            keys::RADIUS_ACCOUNTING_LISTEN,
            "serve --accounting",
            &info.accounting,
        ),
        (keys::HTTP_LISTEN, "serve --http", &info.http),
    ];
    let chosen = all.into_iter().zip(by_option).filter(|(_, chosen)| *chosen);
    chosen
        .map(|((key, option, running), _)| Override {
            key: key.path,
            option,
            running: running.clone(),
        })
        .collect()
}

/// Binds every listener of the configuration, or those of the command line in their place.
pub(super) async fn bind(site: &Site, overrides: Overrides) -> Result<Listeners, StartError> {
    let config = &site.config;
    let tls = load_tls(
        config.http.tls.as_ref(),
        "see [http.tls] in the configuration",
    )?;
    let eap = load_tls(
        config.radius.eap.as_ref(),
        "see [radius.eap] in the configuration",
    )?;
    let radius = overrides
        .radius
        .unwrap_or_else(|| config.radius.listen.clone());
    let accounting = overrides.accounting.map(Accounting::At);
    let accounting = accounting.as_ref().unwrap_or(&config.radius.accounting);
    let mut given = Inherited::new();
    let bound = bind_radius("RADIUS", &radius, "--radius", &mut given)?;
    let accounting = bind_accounting(accounting, &radius, &mut given)?;
    let radius_tls = bind_radius_tls(config, &mut given).await?;
    let http = overrides.http.unwrap_or_else(|| config.http.listen.clone());
    let insecure = config.http.insecure;
    let plain = tls.is_none().then_some(insecure);
    let http = bind_http(("HTTP", "--http"), http, plain, &mut given).await?;
    let console = config.web.console_listen.clone();
    let at = ("the console", "`web.console_listen`");
    let console = bind_http(at, console, plain, &mut given).await?;
    given.warn_of_rest();
    let path = site.socket();
    Ok(Listeners {
        radius: bound,
        accounting,
        radius_tls,
        http,
        console,
        unix: bind_socket(&path)?,
        socket: SocketFile(path),
        tls,
        eap,
    })
}

/// A certificate; what clients would refuse about it is logged.
fn load_tls(
    files: Option<&config::Tls>,
    help: &'static str,
) -> Result<Option<Arc<Tls>>, StartError> {
    let Some(files) = files else {
        return Ok(None);
    };
    let tls = Tls::load(&files.certificate, &files.key)
        .map_err(|error| failed(error.to_string(), help))?;
    log_concerns(&tls.validity(), &files.certificate);
    Ok(Some(Arc::new(tls)))
}

async fn bind_radius_tls(
    config: &Config,
    given: &mut Inherited,
) -> Result<Option<(Vec<TcpListener>, Arc<RadiusTls>)>, StartError> {
    let Some(plan) = &config.radius.tls else {
        return Ok(None);
    };
    let tls = RadiusTls::load(plan)
        .map_err(|error| failed(error.to_string(), "see [radius.tls] in the configuration"))?;
    log_concerns(&tls.validity(), &plan.certificate);
    let mut listeners = Vec::new();
    for address in &plan.listen {
        let bound = bind_tcp(*address, given).await;
        listeners.push(bound.map_err(|error| {
            let option = "radius.tls.listen in the configuration";
            cannot_bind("RADIUS over TLS", &address.to_string(), option, &error)
        })?);
    }
    Ok(Some((listeners, Arc::new(tls))))
}

/// Says what is wrong with a certificate that is served, or soon will be.
fn log_concerns(validity: &Validity, file: &Path) {
    for concern in validity.concerns(SystemClock.now()) {
        let (file, what) = (file.display(), concern.what);
        if concern.is_refused {
            tracing::error!(%file, what, "clients refuse the certificate");
        } else {
            tracing::warn!(%file, what, "renew the certificate");
        }
    }
}

fn bind_radius(
    what: &str,
    addresses: &[SocketAddr],
    option: &str,
    given: &mut Inherited,
) -> Result<Vec<radius::Listener>, StartError> {
    radius::bind_or_take(addresses, &mut |at| given.udp(at)).map_err(|error| {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        cannot_bind(what, &addresses.join(", "), option, &error)
    })
}

fn bind_accounting(
    wanted: &Accounting,
    radius: &[SocketAddr],
    given: &mut Inherited,
) -> Result<Vec<radius::Listener>, StartError> {
    let addresses = wanted.beside(radius);
    let bound = bind_radius("RADIUS accounting", &addresses, "--accounting", given);
    let bound = match (bound, wanted) {
        // Another server may do the accounting: authentication does not depend on it.
        (Err(error), Accounting::Auto) => {
            tracing::warn!(
                %error,
                "no accounting (`radius.accounting_listen` is auto): a NAS that waits for answers to it \
                 refuses logins; say `off` there if another server takes it"
            );
            Vec::new()
        }
        (bound, _) => bound?,
    };
    let bound = bound.into_iter();
    Ok(bound.map(radius::Listener::for_accounting).collect())
}

/// Binds addresses of HTTP, each by what is served there and what sets it. `plain`: without TLS, and whether that was
/// asked for beyond loopback.
async fn bind_http(
    (what, option): (&str, &str),
    addresses: Vec<SocketAddr>,
    plain: Option<bool>,
    given: &mut Inherited,
) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for address in addresses {
        if let Some(insecure) = plain.filter(|_| !address.ip().to_canonical().is_loopback()) {
            if !insecure {
                return Err(failed(
                    format!("plain HTTP on {address} would show passwords and keys to the network"),
                    "configure [http.tls], or set http.insecure = true if the network is trusted",
                ));
            }
            tracing::warn!(
                %address,
                "plain HTTP beyond loopback: passwords and keys travel readable (http.insecure)"
            );
        }
        let listener = bind_tcp(address, given).await;
        listeners.push(
            listener.map_err(|error| cannot_bind(what, &address.to_string(), option, &error))?,
        );
    }
    Ok(listeners)
}

/// Binds an address, unless its socket was handed over.
async fn bind_tcp(address: SocketAddr, given: &mut Inherited) -> io::Result<TcpListener> {
    match given.tcp(address) {
        None => TcpListener::bind(address).await,
        Some(listener) => {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        }
    }
}

/// The admin socket, for the daemon's own user. Others are refused by its mode, by the mode of the
/// directory, and by their credentials.
fn bind_socket(path: &Path) -> Result<UnixListener, StartError> {
    let bound = || {
        // This process holds the lock of the store: a socket that is there belongs to no daemon.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    let shown = path.display().to_string();
    bound().map_err(|error| cannot_bind("the admin socket", &shown, "--dir", &error))
}

fn cannot_bind(what: &str, address: &str, option: &str, error: &io::Error) -> StartError {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "another program or listener has it: stop that one, or choose another address with {option}"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 take privileges: choose another with {option}")
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        _ => format!("choose another address with {option}"),
    };
    failed(
        format!("{what} cannot listen on {address}: {error}"),
        remedy,
    )
}

/// Removed when dropped.
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = fs::remove_file(&self.0);
    }
}
