//! Connections to other machines: to gateways, and to a server from the command line.

pub mod connect;
pub mod exchange;
pub mod tls;
