//! Oncegate: an OTP authentication server. One daemon answers *is this the person, this once?*
//! over RADIUS and HTTP; a code is accepted exactly once, durably.
//!
//! # Request path
//!
//! ```text
//! datagram / HTTP body
//!   -> server   (sockets, limits)            who asks? which client?
//!   -> radius / api   (bytes -> types)       malformed: silence / problem document
//!   -> login    (policy, windows)            which token, which step would match?
//!   -> store    (one writer, group commit)   step consumed + counters + audit record, durable
//!   -> login    -> radius / api -> server    accept, reject or challenge leaves
//! ```
//!
//! # Manual
//!
//! The pages for people are chapters of [`manual`]; code refers to them as `contract s8.1`, `threats T11`
//! and `capabilities A13`.
//!
//! # Layers
//!
//! A module imports only from the layers (or, in its own layer, the modules) named in its row.
//! `tests/it/house/layering.rs` reads this table and checks it, and that `pure` modules touch no IO,
//! clock or random source.
//!
//! ```text
//! layer module      pure  may import
//! 0     time        yes   -
//! 0     secret      yes   -
//! 0     text        yes   -
//! 0     wire        yes   -
//! 0     diagnostic  yes   time text
//! 0     template    yes   diagnostic
//! 0     manual      yes   -
//! 1     otp         yes   0
//! 1     credential  yes   0
//! 1     model       yes   0 otp credential
//! 1     policy      yes   0 otp model
//! 1     notice      yes   0 otp model policy
//! 2     radius      yes   0 1
//! 2     otpauth     yes   0 1
//! 2     api         yes   0 1
//! 2     config      yes   0 1
//! 2     csv         no    0
//! 2     qr          yes   0 1
//! 2     signature   yes   0 1
//! 2     token_file  yes   0 1 otpauth
//! 3     store       no    0 1
//! 4     core        no    0 1 3
//! 4     login       no    0 1 3 core
//! 4     admin       no    0 1 3 core login
//! 4     explain     no    0 1 3 api core login admin
//! 4     notify      no    0 1 3 core
//! 4     service     no    0 1 3 core login admin explain notify
//! 5     net         no    0 1 2
//! 5     delivery    no    0 1 2 4 net
//! 5     directory   no    0 1 2 4 net delivery
//! 5     server      no    0 1 2 3 4 net
//! 5     web         no    0 1 2 3 4 server
//! 6     daemon      no    0 1 2 3 4 5
//! 6     load        no    0 1 2 5 cli
//! 6     phone       no    0 1 2 5 cli
//! 6     cli         no    0 1 2 3 4 5 daemon load phone
//! ```

// No input makes the program panic. From the store upwards an `expect` may state an invariant.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )
)]

/// Appends formatted text to a `String`, which cannot fail.
macro_rules! push {
    ($to:expr, $($text:tt)*) => {{
        use std::fmt::Write as _;
        let _ = write!($to, $($text)*);
    }};
}

/// Declares an enum of words: `ALL`, `as_str`, `Display` and `FromStr` follow from the words that stand at
/// the variants; `number` and `from_number` from their numbers in stored records, which are never reused.
macro_rules! words {
    ($(#[$meta:meta])* $vis:vis enum $name:ident {
        $($(#[$doc:meta])* $variant:ident = $word:literal as $number:literal),+ $(,)?
    }) => {
        words! { $(#[$meta])* $vis enum $name { $($(#[$doc])* $variant = $word),+ } }

        impl $name {
            /// The number in stored records.
            $vis const fn number(self) -> u8 {
                match self { $(Self::$variant => $number),+ }
            }

            /// The one with this number.
            $vis const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }
    };
    ($(#[$meta:meta])* $vis:vis enum $name:ident {
        $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        $vis enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// All of them, in order.
            $vis const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// The word in configuration, commands, output and the audit.
            $vis const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = ();

            fn from_str(word: &str) -> Result<Self, ()> {
                match word { $($word => Ok(Self::$variant),)+ _ => Err(()) }
            }
        }
    };
}

// Base
pub mod diagnostic;
pub mod manual;
pub mod secret;
pub mod template;
pub mod text;
pub mod time;
pub mod wire;

// Core
pub mod credential;
pub mod model;
pub mod notice;
pub mod otp;
pub mod policy;

// Formats
pub mod api;
pub mod config;
mod csv;
pub mod otpauth;
pub mod qr;
pub mod radius;
pub mod signature;
pub mod token_file;

// Store
#[allow(clippy::expect_used, clippy::indexing_slicing)]
pub mod store;

// Decisions
#[allow(clippy::expect_used, clippy::indexing_slicing)]
pub mod admin;
#[allow(clippy::expect_used, clippy::indexing_slicing)]
pub mod core;
#[allow(clippy::expect_used, clippy::indexing_slicing)]
pub mod explain;
#[allow(clippy::expect_used, clippy::indexing_slicing)]
pub mod login;
#[allow(clippy::expect_used, clippy::indexing_slicing)]
pub mod notify;
pub mod service;

// Sockets
#[allow(clippy::expect_used, clippy::indexing_slicing)]
pub mod delivery;
#[allow(clippy::expect_used, clippy::indexing_slicing)]
pub mod directory;
#[allow(clippy::expect_used, clippy::indexing_slicing)]
pub mod net;
#[allow(clippy::expect_used, clippy::indexing_slicing)]
pub mod server;
pub mod web;

// Top
#[allow(clippy::expect_used, clippy::indexing_slicing)]
pub mod cli;
#[allow(clippy::expect_used, clippy::indexing_slicing)]
pub mod daemon;
#[cfg(feature = "bench")]
#[allow(clippy::expect_used, clippy::indexing_slicing)]
mod load;
#[allow(clippy::expect_used, clippy::indexing_slicing)]
mod phone;
