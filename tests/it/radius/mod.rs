//! RADIUS, over UDP and TLS, with our clients and real ones.

mod allocations;
mod change;
mod clients;
mod corpus;
pub(crate) mod dialogue;
mod dictionaries;
mod differential;
pub(crate) mod disconnect;
pub(crate) mod eap;
mod eap_faults;
mod floods;
mod gateways;
mod interop;
mod methods;
mod profiles;
mod retry;
mod server;
pub(crate) mod tls;
mod tools;
mod vectors;
mod wired;
