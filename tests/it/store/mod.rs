//! The store: its contract, its journal, crashes, sealing, the audit trail.

mod audit_chain;
mod audit_index;
pub(crate) mod contract;
mod crash;
mod fixtures;
mod journal;
mod lanes;
mod seal_oracle;
mod seal_vectors;
mod sealing;
mod views;
