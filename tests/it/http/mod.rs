//! The HTTP API, the shapes of other products, SCIM, webhooks.

mod admin;
mod api;
mod compat;
mod compat_account;
mod compat_yubico;
mod http2;
mod retries;
mod roles;
mod scim;
mod slow_bodies;
mod sockets;
mod webhooks;
mod yubikey;
