//! `[webhook.NAME]`: programs that are told of what happens.
//!
//! Threats: what is told names users, so without TLS only this machine is told; the key that signs it stands in a
//! file, never here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::keys;
use crate::config::reader::{Resolver, in_range};
use crate::config::table::Table;
use crate::config::target::Target;
use crate::diagnostic::units;

words! {
    /// What a program is told of.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum Topic {
        /// Tokens and devices: made, handed out, activated, ended.
        Enrolments = "enrolments",
        /// Users who are locked and unlocked.
        Locks = "locks",
        /// Requests for tokens, approvals, lent authority.
        Approvals = "approvals",
    }
}

/// A program that is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Webhook {
    /// Its name: that of the table.
    pub name: String,
    /// Where it is told.
    pub url: String,
    /// The host and port of that.
    pub target: Target,
    /// Of what.
    pub events: Vec<Topic>,
    /// File with the key that signs.
    pub secret_file: PathBuf,
    /// PEM file of the authority that vouches for it.
    pub ca_file: Option<PathBuf>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How long one event is tried.
    pub give_up: Duration,
}

/// Every webhook, in the order of the file.
pub(super) fn webhooks(reader: &mut Resolver<'_>, dir: &Path) -> Option<Vec<Webhook>> {
    let mut all = Vec::new();
    let mut whole = true;
    for table in &reader.written.chosen("webhook") {
        match (Table { reader, table }).webhook(dir) {
            Some(webhook) => all.push(webhook),
            None => whole = false,
        }
    }
    whole.then_some(all)
}

impl Table<'_, '_> {
    fn webhook(&mut self, dir: &Path) -> Option<Webhook> {
        let url = self.required(keys::WEBHOOK_URL, |text| {
            let target = Target::of_url(text).map_err(|error| error.to_string())?;
            if !target.secure && !target.is_loopback() {
                return Err("write https://: names of users would travel readable".to_owned());
            }
            Ok((text.to_owned(), target))
        });
        let events = keys::WEBHOOK_EVENTS.of(&self.table.name);
        let events = self.reader.list(events, |text| {
            let fault = || format!("write {}", Topic::ALL.map(Topic::as_str).join(", "));
            text.parse().map_err(|()| fault())
        });
        let path = |text: &str| Ok(dir.join(text));
        let secret_file = self.required(keys::WEBHOOK_SECRET_FILE, path);
        let ca_file = self.optional(keys::WEBHOOK_CA_FILE, path);
        let timeout = self.one(keys::WEBHOOK_TIMEOUT, |text| {
            let range = Duration::from_millis(100)..=Duration::from_mins(1);
            in_range(units::duration(text)?, range).ok_or_else(|| "write 100ms to 60s".to_owned())
        });
        let give_up = self.one(keys::WEBHOOK_GIVE_UP, |text| {
            let range = Duration::from_mins(1)..=Duration::from_hours(24 * 30);
            in_range(units::duration(text)?, range).ok_or_else(|| "write 1m to 30d".to_owned())
        });
        let (url, target) = url?;
        Some(Webhook {
            name: self.table.name.clone(),
            url,
            target,
            events: events?,
            secret_file: secret_file?,
            ca_file: ca_file?,
            timeout: timeout?,
            give_up: give_up?,
        })
    }
}
