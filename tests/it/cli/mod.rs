//! The command line, with a daemon and without.

#[cfg(feature = "bench")]
mod bench;
mod gateways;
mod offline;
mod online;
