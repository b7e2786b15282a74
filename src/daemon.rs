//! The composition root: configuration, store, policies, service, listeners, signals.
//!
//! The only place that constructs the real clock, entropy and sockets.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::server::Info;
use crate::service::Service;

/// An installation: its directory and what its configuration means.
#[derive(Debug)]
pub struct Site {
    /// Directory of the installation.
    pub dir: PathBuf,
    /// Its configuration.
    pub config: Config,
    /// What the configuration deserves to be warned of.
    pub warnings: Vec<Diagnostic>,
}

/// Why the daemon, or a command that opens the store itself, cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Findings in configuration or policy files, all of them.
    #[error("{} findings in configuration or policies", .0.len())]
    Findings(Vec<Diagnostic>),
    /// Something else: what, and what to do about it.
    #[error("{what}")]
    Failed {
        /// What is wrong, and where.
        what: String,
        /// What to do next.
        remedy: String,
    },
}

/// Listener addresses from the command line, instead of the configuration's.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `serve --radius`.
    pub radius: Option<Vec<std::net::SocketAddr>>,
    /// `serve --http`.
    pub http: Option<Vec<std::net::SocketAddr>>,
}

impl Site {
    /// Reads the configuration of `dir`, or of `config` when given.
    pub fn load(dir: &Path, config: Option<&Path>) -> Result<Self, StartError> {
        let _ = (dir, config);
        unreachable!("written by the lead")
    }

    /// The admin socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("admin.sock")
    }

    /// Whether `quickstart` made this directory: demonstration codes may be shown.
    pub fn is_quickstart(&self) -> bool {
        self.dir.join("quickstart").exists()
    }
}

/// Creates `dir` (0700) with `oncegate.toml`, `master.key` (0600), `store/` and `policies/`;
/// returns what was written, in order. An existing installation is a conflict.
pub fn init(dir: &Path) -> Result<Vec<PathBuf>, StartError> {
    let _ = dir;
    unreachable!("written by the lead")
}

/// Opens the store and the policies, for `serve` and for commands without a daemon.
pub async fn open(site: &Site) -> Result<Arc<Service>, StartError> {
    let _ = site;
    unreachable!("written by the lead")
}

/// Runs the daemon until SIGTERM or SIGINT. `ready` is called when every listener is bound.
pub async fn serve(
    site: Site,
    overrides: Overrides,
    ready: impl FnOnce(&Info, &Arc<Service>) + Send,
) -> Result<(), StartError> {
    let _ = (site, overrides, ready);
    unreachable!("written by the lead")
}
