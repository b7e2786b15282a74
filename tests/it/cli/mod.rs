//! The command line, with a daemon and without.

#[cfg(feature = "bench")]
mod bench;
mod doctor;
mod gateways;
mod offline;
mod online;
