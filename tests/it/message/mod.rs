//! Mails and text messages, and what people send back.

pub(crate) mod channels;
mod challenges;
mod delivery;
mod inbound;
mod notices;
pub(crate) mod smtp;
mod ssrf;
