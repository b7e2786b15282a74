//! Sockets and tasks: RADIUS and HTTP front ends around one [`crate::service::Service`].

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::secret::SecretString;

pub mod certificate;
pub mod http;
mod patience;
mod person;
pub mod radius;
mod shares;
pub mod tls;
mod wiped;

/// What the front ends say about the process they run in.
#[derive(Clone, Debug, Default)]
pub struct Info {
    /// Whether a daemon runs; `false` when the command line has opened the store itself.
    pub daemon: bool,
    /// The file of a `quickstart` directory, which names the tokens whose codes may be shown.
    pub demo: Option<PathBuf>,
    /// Where the master key comes from, as the configuration writes it.
    pub master: String,
    /// What seals secrets.
    pub algorithm: &'static str,
    /// Bound RADIUS listeners.
    pub radius: Vec<SocketAddr>,
    /// Bound RADIUS listeners for accounting.
    pub accounting: Vec<SocketAddr>,
    /// Bound listeners for RADIUS over TLS.
    pub radius_tls: Vec<SocketAddr>,
    /// Bound HTTP listeners.
    pub http: Vec<SocketAddr>,
    /// Bound listeners of the console's own.
    pub console_http: Vec<SocketAddr>,
    /// Where devices reach the HTTP listeners from outside.
    pub public_url: Option<String>,
    /// The same where browsers are served the authenticator there, and keep keys for it: over HTTPS, or on this
    /// machine.
    pub app_url: Option<String>,
    /// A link into the console, where no one can sign in to it yet.
    pub console: Option<SecretString>,
}
