//! Mails and text messages, and what people send back.

mod challenges;
pub(crate) mod channels;
mod delivery;
mod inbound;
mod notices;
pub(crate) mod smtp;
mod ssrf;
