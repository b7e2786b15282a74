//! What `[delivery.NAME]` means: gateways that carry messages.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::placeholder::Template;
use crate::config::target::{Reach, Target};
use crate::model::message::{Language, Medium};

/// Who carries messages, and where to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// Time for one message, all attempts together.
    pub budget: Duration,
    /// Prefixes of the phone numbers that are served, as `+82`.
    pub countries: Vec<String>,
    /// Country of numbers that are written without one.
    pub home: Option<String>,
    /// Language of new users, and of prompts before anything was proven.
    pub language: Language,
    /// The gateways, those to be asked first first.
    pub gateways: Vec<Gateway>,
}

/// One gateway.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gateway {
    /// Its name: that of the table.
    pub name: String,
    /// What it carries; not empty.
    pub media: Vec<Medium>,
    /// Lower numbers are asked first.
    pub priority: u16,
    /// Time for one attempt.
    pub timeout: Duration,
    /// Attempts with one message.
    pub attempts: usize,
    /// Messages handed over at a time.
    pub in_flight: usize,
    /// Messages waiting for that.
    pub queue: usize,
    /// Failures in a row after which it is not asked.
    pub breaker_failures: usize,
    /// How long it is not asked then.
    pub breaker_pause: Duration,
    /// Which addresses it may be at.
    pub reach: Reach,
    /// File that holds its key or password.
    pub secret_file: Option<PathBuf>,
    /// PEM file of the authority that vouches for it.
    pub ca_file: Option<PathBuf>,
    /// Where it is.
    pub target: Target,
    /// What it speaks.
    pub protocol: Protocol,
}

/// What a gateway speaks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// One request for one message.
    Http(HttpGateway),
    /// Mail (RFC 5321).
    Smtp(SmtpGateway),
}

/// A gateway behind a URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpGateway {
    /// `GET`, `POST` or `PUT`.
    pub method: String,
    /// The URL; its host is the gateway's target.
    pub url: Template,
    /// Header names in lower case and their values.
    pub headers: Vec<(String, Template)>,
    /// The body; none is sent without.
    pub body: Option<Template>,
    /// What the body is.
    pub format: Format,
    /// Statuses of a message that was taken.
    pub success_status: Vec<RangeInclusive<u16>>,
    /// What else the answer must say.
    pub success_match: Option<Expected>,
    /// JSON pointer (RFC 6901) to what the gateway calls the message.
    pub reference: Option<String>,
}

/// What a body is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// `application/x-www-form-urlencoded`
    Form,
    /// `application/json`
    Json,
}

/// What a JSON answer must say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expected {
    /// JSON pointer (RFC 6901).
    pub pointer: String,
    /// The value there.
    pub value: serde_json::Value,
}

/// A mail server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SmtpGateway {
    /// Whether the way there is encrypted.
    pub tls: SmtpTls,
    /// The name to log in with.
    pub user: Option<String>,
    /// Address of the sender.
    pub from: String,
}

/// Whether mail travels encrypted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SmtpTls {
    /// Never.
    None,
    /// If the server offers it; an attacker in between can remove the offer.
    Opportunistic,
    /// Always, and the server has shown its certificate.
    Required,
}
