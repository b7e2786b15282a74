//! RADIUS over UDP and TLS: sockets and tasks around the pure parts in [`crate::radius`].
//!
//! ```text
//! socket --udp--> pipeline.receive --job--> service --> answer --(delay)--> udp --> socket
//! |---------------------- a lane: one thread, many requests----------------------|
//! ```
//!
//! Sources: RFC 2865, RFC 3579, RFC 5080, RFC 5997, CVE-2024-3596; see [`crate::radius`].
//!
//! Invariants: no datagram, and no failure to receive or send one, ends a listener; a reply leaves
//! from the address that was asked; what a listener does never waits for a decision.

mod change;
mod connection;
mod counters;
mod disconnect;
mod eap;
mod endings;
mod job;
mod lane;
mod limiter;
mod links;
mod mib;
mod password;
mod pipeline;
mod receive;
mod reply;
mod retry;
mod table;
mod tls;
mod udp;

pub use crate::server::radius::change::Change;
pub use crate::server::radius::connection::{TLS_CONNECTIONS, TlsListener, serve_tls};
pub use crate::server::radius::counters::{Event, Ingress, PeerCounters};
pub use crate::server::radius::disconnect::{Disconnects, Ended, Outcome, Wish};
pub use crate::server::radius::endings::follow;
pub use crate::server::radius::job::{Answer, Job};
pub use crate::server::radius::lane::run;
pub use crate::server::radius::pipeline::{Pipeline, Settings};
pub use crate::server::radius::receive::Received;
pub use crate::server::radius::tls::RadiusTls;
pub use crate::server::radius::udp::{Listener, Serves, bind, bind_all, bind_or_take};
