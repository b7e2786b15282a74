//! The real binary: races, kills, starts.

mod canary;
mod crash;
mod device;
mod race;
mod start;
