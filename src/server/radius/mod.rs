//! RADIUS over UDP and TLS: sockets and tasks around the pure parts in [`crate::radius`].
//!
//! ```text
//! socket --udp--> pipeline.receive --job--> service --> answer --(delay)--> udp --> socket
//! |---------------------- a lane: one thread, many requests----------------------|
//! ```
//!
//! # From datagram to reply
//!
//! The functions to read for a login with name and code, in the order in which they run, all in the lane's thread:
//!
//! | function | what it does |
//! |---|---|
//! | `Lane::run` in [`lane`] | a turn: receive, work, commit, answer |
//! | `Lane::batch` | up to 64 datagrams of one call |
//! | [`Pipeline::receive`] | the client, its limits, the table of duplicates |
//! | [`Pipeline::examine`] | form, Message-Authenticator, the password revealed |
//! | [`Job::run`] | one request, polled until it is answered |
//! | [`Job::login`] | what is asked, and what is replied |
//! | [`Job::asked`] | the request as every front end makes it |
//! | [`Login::authenticate`](crate::login::Login::authenticate) | the client's policy; latency and counters |
//! | [`Login::decide`](crate::login::Login::decide) | an assessment, then a verdict |
//! | [`Login::assess`](crate::login::Login::assess) | limits of the source, the user's view |
//! | [`Login::assess_user`](crate::login::Login::assess_user) | the first rule that holds, and what it demands |
//! | [`Login::compare`](crate::login::Login::compare) | what was typed against what is demanded |
//! | [`Case::read`](crate::login::case::Case::read) | where in what was typed the code is |
//! | [`compare_token`](crate::login::match_otp::compare_token) | the code against the window of a token |
//! | [`Login::settle_with`](crate::login::Login::settle_with) | the attempt is handed to the store, again where the view was old |
//! | `Writer::commit_all` in [`store`](crate::store) | all that queued: decided, written, flushed, answered |
//! | `attempt` in `store::transition::login` | on the newest rows: locked, throttled, used before? |
//! | [`settle`](crate::model::settle::settle) | the rules of that, without a store |
//! | [`Login::outcome`](crate::login::Login::outcome) | accept, challenge or reject |
//! | [`Job::reply`] | the reply, signed; it leaves with the others of the turn |
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
mod shield;
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
