//! Times of the week in a named zone: `mon-fri 07:00-20:00 Asia/Seoul`.
//!
//! ```text
//! [days] [HH:MM-HH:MM] ZONE      days: mon | mon-fri | sat,sun | fri-mon, all seven when left out
//!                                hours: the whole day when left out; 24:00 only as an end
//! ```
//!
//! The end is not part of the range. A range over midnight belongs to the day on which it begins:
//! `fri 22:00-06:00 UTC` holds on Saturday at 05:59 and not on Friday at 05:59. Hours are those of
//! the wall clock: an hour that summer time repeats counts twice, one that it skips never.
//!
//! Zone names come from the machine's time zone database; a zone it does not have is an error when
//! the policy is read, never later.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::diagnostic::did_you_mean;
use crate::time::UnixTime;

/// Minutes of a week's days in a zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Hours {
    text: Box<str>,
    /// Bit 0 is Monday.
    days: u8,
    /// Minutes of the day, 0 to 1439.
    from: u16,
    /// Minutes of the day, 1 to 1440; below `from` the range runs over midnight.
    to: u16,
    zone: TimeZone,
}

impl Hours {
    /// Reads the text form. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words: Vec<&str> = text.split_ascii_whitespace().collect();
        let zone = words.pop().unwrap_or_default();
        let (days, range) = match words.as_slice() {
            [] => (ALL_DAYS, None),
            [one] if one.starts_with(|c: char| c.is_ascii_digit()) => (ALL_DAYS, Some(*one)),
            [days] => (parse_days(days)?, None),
            [days, range] => (parse_days(days)?, Some(*range)),
            _ => return Err(format!("`{text}` is not a time range: {FORM}")),
        };
        if words.is_empty() || zone.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("`{text}` is not a time range: {FORM}"));
        }
        let (from, to) = range.map_or(Ok((0, DAY)), parse_range)?;
        Ok(Self {
            text: text.into(),
            days,
            from,
            to,
            zone: zone_named(zone)?,
        })
    }

    /// Whether the range holds at a time. A time outside the calendar is in no range.
    pub fn contains(&self, now: UnixTime) -> bool {
        self.holds(self.local(now))
    }

    /// As [`Hours::contains`], for many ranges at one time.
    pub(super) fn contains_now<'p>(&'p self, clocks: &mut WallClocks<'p>) -> bool {
        self.holds(clocks.read(self))
    }

    fn holds(&self, local: Option<Local>) -> bool {
        local.is_some_and(|(day, minute)| {
            let today = self.days & (1 << day) != 0;
            let yesterday = self.days & (1 << ((day + 6) % 7)) != 0;
            if self.from < self.to {
                today && (self.from..self.to).contains(&minute)
            } else {
                (today && minute >= self.from) || (yesterday && minute < self.to)
            }
        })
    }

    /// The time as the zone's clocks show it, for explanations: `thu 09:00 Asia/Seoul`.
    pub fn show(&self, now: UnixTime) -> String {
        let zone = self.text.rsplit(' ').next().unwrap_or_default();
        self.local(now).map_or_else(
            || format!("a time outside the calendar in {zone}"),
            |(day, minute)| {
                let day = DAYS.get(usize::from(day)).copied().unwrap_or_default();
                format!("{day} {:02}:{:02} {zone}", minute / 60, minute % 60)
            },
        )
    }

    fn local(&self, now: UnixTime) -> Option<Local> {
        let seconds = i64::try_from(now.as_secs()).ok()?;
        let local = self.zone.to_datetime(Timestamp::from_second(seconds).ok()?);
        let day = u8::try_from(local.weekday().to_monday_zero_offset()).ok()?;
        let hour = u16::try_from(local.hour()).ok()?;
        let minute = u16::try_from(local.minute()).ok()?;
        Some((day, hour * 60 + minute))
    }
}

/// Day of the week (0 is Monday) and minute of the day in a zone.
type Local = (u8, u16);

/// What the clocks of the zones show at one time. Converting is most of a decision's work, and the
/// rules of a policy share a few zones, so each of the first is read once.
pub(super) struct WallClocks<'p> {
    now: UnixTime,
    read: [Option<(&'p str, Option<Local>)>; ZONES],
}

impl<'p> WallClocks<'p> {
    pub(super) const fn new(now: UnixTime) -> Self {
        Self {
            now,
            read: [None; ZONES],
        }
    }

    fn read(&mut self, hours: &'p Hours) -> Option<Local> {
        let Some(zone) = hours.zone.iana_name() else {
            return hours.local(self.now);
        };
        for slot in &mut self.read {
            match slot {
                Some((name, local)) if *name == zone => return *local,
                Some(_) => {}
                None => {
                    let local = hours.local(self.now);
                    *slot = Some((zone, local));
                    return local;
                }
            }
        }
        hours.local(self.now)
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse_days(text: &str) -> Result<u8, String> {
    let mut mask = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let day = |word: &str| {
            let word = word.to_ascii_lowercase();
            let number = DAYS.iter().position(|day| *day == word);
            number.ok_or_else(|| format!("`{word}` is not a day: write {}", DAYS.join(", ")))
        };
        let (first, last) = (day(first)?, day(last)?);
        let count = (last + DAYS.len() - first) % DAYS.len();
        for number in first..=first + count {
            mask |= 1 << (number % DAYS.len());
        }
    }
    Ok(mask)
}

/// The zone of this name. The error says what is wrong.
pub(crate) fn zone_named(name: &str) -> Result<TimeZone, String> {
    match TimeZone::get(name) {
        Ok(found) if !found.is_unknown() => Ok(found),
        _ => Err(unknown_zone(name)),
    }
}

/// Names without a slash are not offered: `EST` is near to `KST` and half a world away.
fn unknown_zone(zone: &str) -> String {
    let names: Vec<String> = jiff::tz::db()
        .available()
        .map(|name| name.to_string())
        .collect();
    let regions = names
        .iter()
        .map(String::as_str)
        .filter(|name| name.contains('/'));
    let hint = did_you_mean(zone, regions).map_or_else(
        || "write an IANA name, as Asia/Seoul".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    format!("unknown time zone `{zone}`: {hint}")
}

fn parse_range(text: &str) -> Result<(u16, u16), String> {
    let parsed = text.split_once('-').and_then(|(from, to)| {
        let (from, to) = (parse_minute(from)?, parse_minute(to)?);
        (from < DAY && to > 0).then_some((from, to))
    });
    match parsed {
        None => Err(format!(
            "`{text}` is not a range of hours: write 07:00-20:00"
        )),
        Some((from, to)) if from == to => Err(format!(
            "`{text}` is empty: leave the hours out to mean the whole day"
        )),
        Some(range) => Ok(range),
    }
}

fn parse_minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    (minute < 60 && hour * 60 + minute <= DAY).then_some(hour * 60 + minute)
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const ALL_DAYS: u8 = 0x7f;
const DAY: u16 = 24 * 60;

/// Zones read once for each decision; a policy of more reads the others each time.
const ZONES: usize = 8;
const FORM: &str = "write `mon-fri 07:00-20:00 Asia/Seoul`";

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UnixTime {
        let moment: Timestamp = text.parse().unwrap();
        UnixTime::from_millis(u64::try_from(moment.as_millisecond()).unwrap())
    }

    fn holds(hours: &str, moment: &str) -> bool {
        Hours::parse(hours).unwrap().contains(at(moment))
    }

    #[test]
    fn the_end_is_outside() {
        let hours = "mon-fri 07:00-20:00 Asia/Seoul";
        assert!(holds(hours, "2026-03-02T07:00:00+09:00"));
        assert!(holds(hours, "2026-03-02T19:59:59+09:00"));
        assert!(!holds(hours, "2026-03-02T20:00:00+09:00"));
        assert!(!holds(hours, "2026-03-01T12:00:00+09:00")); // a Sunday
        assert_eq!(
            Hours::parse(hours)
                .unwrap()
                .show(at("2026-03-02T07:05:00+09:00")),
            "mon 07:05 Asia/Seoul"
        );
    }

    #[test]
    fn a_range_over_midnight_belongs_to_the_day_it_begins() {
        let hours = "fri 22:00-06:00 UTC";
        assert!(holds(hours, "2026-03-06T22:00:00Z"));
        assert!(holds(hours, "2026-03-07T05:59:00Z"));
        assert!(!holds(hours, "2026-03-06T05:59:00Z"));
        assert!(!holds(hours, "2026-03-07T22:00:00Z"));
    }

    #[test]
    fn days_wrap_and_join() {
        assert!(holds("fri-mon UTC", "2026-03-08T12:00:00Z"));
        assert!(!holds("fri-mon UTC", "2026-03-04T12:00:00Z"));
        assert!(holds("SAT,sun UTC", "2026-03-07T00:00:00Z"));
        assert!(holds("00:00-24:00 UTC", "2026-03-07T23:59:59Z"));
    }

    #[test]
    fn follows_summer_time() {
        let hours = "daily 09:00-10:00 Europe/Berlin";
        assert!(Hours::parse(hours).is_err());
        let hours = "09:00-10:00 Europe/Berlin";
        assert!(holds(hours, "2026-01-15T08:30:00Z"));
        assert!(holds(hours, "2026-07-15T07:30:00Z"));
    }

    #[test]
    fn clocks_read_once_show_the_same() {
        let now = at("2026-03-02T07:05:00+09:00");
        let mut zones = vec![
            "UTC",
            "Etc/UTC",
            "Asia/Seoul",
            "asia/seoul",
            "Europe/Berlin",
        ];
        zones.extend([
            "America/New_York",
            "Asia/Tokyo",
            "Asia/Kolkata",
            "Africa/Cairo",
        ]);
        zones.extend(["Pacific/Apia", "Pacific/Kiritimati", "Asia/Seoul"]);
        let range = |zone: &&str| Hours::parse(&format!("sun-mon 06:00-08:00 {zone}")).unwrap();
        let ranges: Vec<Hours> = zones.iter().map(range).collect();
        let mut clocks = WallClocks::new(now);
        for range in ranges.iter().chain(&ranges) {
            assert_eq!(
                range.contains_now(&mut clocks),
                range.contains(now),
                "{range}"
            );
        }
    }

    #[test]
    fn refuses_what_it_cannot_mean() {
        for bad in [
            "",
            "UTC",
            "mon-fri",
            "07:00-20:00",
            "mon-fri 07:00-20:00",
            "mon 7:00-20:00 UTC",
            "mon 24:00-06:00 UTC",
            "mon 07:00-24:01 UTC",
            "mon 07:60-08:00 UTC",
            "mon 07:00-07:00 UTC",
            "mon 07:00 UTC",
            "mun 07:00-08:00 UTC",
            "mon 07:00-08:00 Mars/Base",
            "mon 07:00-08:00 UTC extra",
        ] {
            assert!(Hours::parse(bad).is_err(), "{bad}");
        }
        assert!(holds("mon-sun UTC", "1970-01-01T00:00:00Z"));
        assert!(
            !Hours::parse("mon-sun UTC")
                .unwrap()
                .contains(UnixTime::from_millis(u64::MAX))
        );
    }
}
