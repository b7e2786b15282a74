//! Times as people type them, wherever a command takes one.
//!
//! | form | means |
//! |---|---|
//! | `2026-11-20` | the beginning of that day, 00:00 |
//! | `2026-11-20T10:00`, `2026-11-20 10:00:30` | that time |
//! | `now`, `today`, `yesterday`, `tomorrow` | now; 00:00 of that day |
//! | `03:00`, `sat 03:00` | the last such time, or the next one |
//! | `30m`, `2h`, `7d` | so long ago, or so long from now |
//! | `2026-11-20T10:00:00+09:00`, `...Z` | RFC 3339 |
//!
//! What has no offset is in the zone of this machine (`TZ`). Whether the past or the future is meant
//! is the option's matter: `--since 2h` is two hours ago, `--expires 2h` in two hours.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Zoned};

use crate::diagnostic::units;
use crate::time::{Clock as _, SystemClock, millis};

/// Which way an option looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sense {
    Past,
    Future,
}

/// A time that is usually in the past.
pub(super) fn past(text: &str) -> Result<Timestamp, String> {
    moment(text, &now()?, Sense::Past)
}

/// A time that is usually in the future.
pub(super) fn future(text: &str) -> Result<Timestamp, String> {
    moment(text, &now()?, Sense::Future)
}

/// The same as the API takes it.
pub(super) fn future_rfc3339(text: &str) -> Result<String, String> {
    future(text).map(|time| time.to_string())
}

fn now() -> Result<Zoned, String> {
    let millis = i64::try_from(SystemClock.now().as_millis()).unwrap_or_default();
    let now = Timestamp::from_millisecond(millis).map_err(|error| error.to_string())?;
    Ok(now.to_zoned(TimeZone::system()))
}

fn moment(text: &str, now: &Zoned, sense: Sense) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let local = |time: DateTime| {
        let zoned = time.to_zoned(now.time_zone().clone());
        zoned
            .map(|zoned| zoned.timestamp())
            .map_err(|_| form(sense))
    };
    if let Some(days) = day(text) {
        let date = now.date().saturating_add(days.days());
        return local(date.to_datetime(Time::midnight()));
    }
    if text == "now" {
        return Ok(now.timestamp());
    }
    // Neither an offset nor a zone: those were read above.
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '-' | ':' | 'T' | 't' | ' ' | '.');
    if text.chars().all(plain) {
        // The parser of dates would leave a time behind one out in silence.
        let is_date = !text.contains(['T', 't', ' ', ':']);
        if is_date && let Ok(date) = text.parse::<Date>() {
            return local(date.to_datetime(Time::midnight()));
        }
        if text.contains(':')
            && text.contains('-')
            && let Ok(time) = text.parse::<DateTime>()
        {
            return local(time);
        }
    }
    if text.chars().all(plain)
        && text.contains(['-', ':'])
        && of_the_clock(text, now, sense).is_none()
    {
        return Err(format!("there is no such day or time; {}", form(sense)));
    }
    if let Ok(length) = units::duration(text) {
        return distant(now, millis(length), sense).ok_or_else(|| form(sense));
    }
    of_the_clock(text, now, sense).ok_or_else(|| form(sense))
}

fn day(word: &str) -> Option<i64> {
    match word.to_ascii_lowercase().as_str() {
        "today" => Some(0),
        "yesterday" => Some(-1),
        "tomorrow" => Some(1),
        _ => None,
    }
}

fn distant(now: &Zoned, millis: u64, sense: Sense) -> Option<Timestamp> {
    let length = i64::try_from(millis).ok()?;
    let now = now.timestamp().as_millisecond();
    let then = match sense {
        // Before everything on record there is nothing.
        Sense::Past => now.saturating_sub(length).max(0),
        Sense::Future => now.checked_add(length)?,
    };
    Timestamp::from_millisecond(then).ok()
}

/// The last or next time that the clocks here show `HH:MM` or `DAY HH:MM`.
fn of_the_clock(text: &str, now: &Zoned, sense: Sense) -> Option<Timestamp> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (day, time) = match words.as_slice() {
        [time] => (None, *time),
        [day, time] => (Some(weekday(day)?), *time),
        _ => return None,
    };
    let time = Time::strptime("%H:%M", time).ok()?;
    (0..=7_i64).find_map(|days| {
        let days = if sense == Sense::Past { -days } else { days };
        let date = now.date().saturating_add(days.days());
        if day.is_some_and(|day| date.weekday() != day) {
            return None;
        }
        let then = date.to_datetime(time).to_zoned(now.time_zone().clone());
        let then = then.ok()?;
        let fits = match sense {
            Sense::Past => then <= *now,
            Sense::Future => then > *now,
        };
        fits.then(|| then.timestamp())
    })
}

fn weekday(word: &str) -> Option<Weekday> {
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let word = word.to_ascii_lowercase();
    let place = days.iter().position(|day| *day == word)?;
    Weekday::from_monday_zero_offset(i8::try_from(place).ok()?).ok()
}

fn form(sense: Sense) -> String {
    let length = match sense {
        Sense::Past => "`yesterday`, or how long ago: 30m, 12h, 7d",
        Sense::Future => "`tomorrow`, or how long from now: 30m, 12h, 7d",
    };
    format!(
        "write 2026-11-20, 2026-11-20T10:00, 03:00 or `sat 03:00` (local time), \
         2026-11-20T10:00:00+09:00, {length}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, sense: Sense) -> Result<String, String> {
        // A Monday.
        let now: Zoned = "2026-11-23T12:00:00+09:00[Asia/Seoul]".parse().unwrap();
        moment(text, &now, sense).map(|time| time.to_string())
    }

    #[test]
    fn a_time_is_absolute_or_of_the_clocks_here() {
        for (text, wanted) in [
            ("2026-11-23T07:00:00+01:00", "2026-11-23T06:00:00Z"),
            ("2026-11-20T10:00:00Z", "2026-11-20T10:00:00Z"),
            ("2026-11-20", "2026-11-19T15:00:00Z"),
            ("2026-11-20T10:00", "2026-11-20T01:00:00Z"),
            ("2026-11-20 10:00", "2026-11-20T01:00:00Z"),
            (" 2026-11-20T10:00:30 ", "2026-11-20T01:00:30Z"),
            ("now", "2026-11-23T03:00:00Z"),
            ("today", "2026-11-22T15:00:00Z"),
            ("Yesterday", "2026-11-21T15:00:00Z"),
            ("tomorrow", "2026-11-23T15:00:00Z"),
        ] {
            for sense in [Sense::Past, Sense::Future] {
                assert_eq!(read(text, sense).as_deref(), Ok(wanted), "{text}");
            }
        }
    }

    #[test]
    fn the_sense_decides_which_way_a_length_goes() {
        for (text, past, future) in [
            ("2h", "2026-11-23T01:00:00Z", "2026-11-23T05:00:00Z"),
            ("7d", "2026-11-16T03:00:00Z", "2026-11-30T03:00:00Z"),
            ("12:01", "2026-11-22T03:01:00Z", "2026-11-23T03:01:00Z"),
            ("12:00", "2026-11-23T03:00:00Z", "2026-11-24T03:00:00Z"),
            ("03:00", "2026-11-22T18:00:00Z", "2026-11-23T18:00:00Z"),
            ("sat 03:00", "2026-11-20T18:00:00Z", "2026-11-27T18:00:00Z"),
            ("MON 12:01", "2026-11-16T03:01:00Z", "2026-11-23T03:01:00Z"),
            ("mon 03:00", "2026-11-22T18:00:00Z", "2026-11-29T18:00:00Z"),
            ("99999999d", "1970-01-01T00:00:00Z", ""),
        ] {
            assert_eq!(read(text, Sense::Past).as_deref(), Ok(past), "{text}");
            assert_eq!(
                read(text, Sense::Future).unwrap_or_default(),
                future,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_forms() {
        for bad in [
            "",
            "soon",
            "25:00",
            "day 03:00",
            "sat",
            "sat 03:00 UTC",
            "2026-13-01",
            "2026-11-31",
            "20261120x",
            "30",
            "2026-11-20T10:00[Mars/Base]",
        ] {
            for sense in [Sense::Past, Sense::Future] {
                let why = read(bad, sense).unwrap_err();
                assert!(why.contains("2026-11-20T10:00"), "{bad}: {why}");
            }
        }
    }
}
