//! `[codes]` and `[notify]` tables.

use std::time::Duration;

use crate::diagnostic::document::Table;
use crate::otp::Digits;
use crate::policy::Codes;
use crate::policy::notify::{Event, Medium, Notify};
use crate::policy::parse::Reader;

impl Reader<'_, '_> {
    pub(super) fn codes(&mut self, table: &mut Table<'_>) -> Codes {
        let default = Codes::default();
        let life = self.duration(table, "life", LIFE_MIN..=LIFE_MAX);
        let server_life = self.duration(table, "server_life", SERVER_MIN..=SERVER_MAX);
        let digits = self.number(table, "digits", DIGITS_MIN..=DIGITS_MAX);
        Codes {
            life: life.unwrap_or(default.life),
            server_life: server_life.unwrap_or(default.server_life),
            digits: digits.and_then(Digits::new).unwrap_or(default.digits),
        }
    }

    pub(super) fn notify(&mut self, table: &mut Table<'_>) -> Notify {
        let default = Notify::default();
        let events = table.value("events");
        let media = table.value("media");
        if events.is_none()
            && let Some(media) = &media
        {
            let error = media.error("`notify.media` without `events`: no user would be notified");
            let help = "write events = [\"enrolment\", \"lock\", \"factor_change\", \"recovery\"]";
            self.findings.push(error.help(help));
        }
        let unsaid = events.is_none();
        // An empty list is an answer: nothing is told.
        let events = events.filter(|value| !value.is_empty_list());
        let events =
            events.and_then(|value| self.choices(&value, "event", &Event::ALL, Event::as_str));
        let media =
            media.and_then(|value| self.choices(&value, "medium", &Medium::ALL, Medium::as_str));
        Notify {
            events: events.unwrap_or(default.events),
            unsaid,
            media: media.unwrap_or(default.media),
        }
    }
}

const LIFE_MIN: Duration = Duration::from_secs(30);

/// SP 800-63B-3 s5.1.3.2: an out-of-band secret is invalid after 10 minutes.
const LIFE_MAX: Duration = Duration::from_mins(10);
const SERVER_MIN: Duration = Duration::from_secs(15);
const SERVER_MAX: Duration = Duration::from_mins(2);
const DIGITS_MIN: i64 = 6;

/// Longer ones are misread out of a message, and guessing is limited by the tries.
const DIGITS_MAX: i64 = 8;
