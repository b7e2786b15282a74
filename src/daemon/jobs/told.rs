//! Which ends of a job's runs are lines of the log.
//!
//! Threat: a destination that is away for a day, asked every second, fills the disk with one sentence. A failure is said
//! when it begins, when its cause changes, and once an hour while it lasts; its end is said, too. A job whose causes
//! change with every run has [`LINES`] lines an hour. What is left out is counted, and said by the next line.

use std::time::Duration;

use crate::daemon::jobs::Done;
use crate::time::UnixTime;

/// What the log says of a job.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Why the last run failed; `None`: it did not.
    failing: Option<String>,
    /// When the present hour began.
    began: UnixTime,
    /// Lines in it.
    lines: u32,
    /// Failures without a line since the last line.
    left_out: u64,
}

/// A line of the log.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Line {
    /// It fails; so many failures before this one had no line.
    Fails(u64),
    /// It works again after this many failures without a line.
    Works(u64),
}

impl Told {
    /// The line for a run that ended at `now`, if there is one.
    pub(super) fn line(&mut self, done: &Done, now: UnixTime) -> Option<Line> {
        let error = done.as_ref().err();
        if error.is_none() && self.failing.is_none() {
            return None;
        }
        // A clock set back begins a new hour too.
        if now < self.began || now.since(self.began) >= HOUR {
            (self.began, self.lines) = (now, 0);
        }
        let changed = error != self.failing.as_ref();
        self.failing = error.cloned();
        let due = changed || self.lines == 0;
        if !due || self.lines >= LINES {
            self.left_out += u64::from(error.is_some());
            return None;
        }
        self.lines += 1;
        let left_out = std::mem::take(&mut self.left_out);
        Some(if error.is_some() {
            Line::Fails(left_out)
        } else {
            Line::Works(left_out)
        })
    }
}

/// Lines of one job in an hour.
const LINES: u32 = 20;
const HOUR: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn at(secs: u64) -> UnixTime {
        START.plus(Duration::from_secs(secs))
    }

    fn fails(why: &str) -> Done {
        Err(why.to_owned())
    }

    #[test]
    fn a_failure_that_lasts_is_one_line_an_hour_and_its_end_another() {
        let mut told = Told::default();
        assert_eq!(told.line(&Ok(None), at(0)), None);
        let lines = (0..86_400).filter_map(|secs| told.line(&fails("away"), at(secs)));
        let lines: Vec<Line> = lines.collect();
        assert_eq!(lines.len(), 24);
        assert_eq!(lines[..2], [Line::Fails(0), Line::Fails(3_599)]);
        let end = told.line(&Ok(None), at(86_400));
        assert_eq!(end, Some(Line::Works(3_599)));
        assert_eq!(told.line(&Ok(None), at(86_401)), None);
        let again = told.line(&fails("away"), at(86_402));
        assert_eq!(again, Some(Line::Fails(0)));
    }

    #[test]
    fn another_cause_is_another_line_up_to_a_bound() {
        let mut told = Told::default();
        assert_eq!(told.line(&fails("away"), at(0)), Some(Line::Fails(0)));
        assert_eq!(told.line(&fails("away"), at(1)), None);
        assert_eq!(told.line(&fails("refused"), at(2)), Some(Line::Fails(1)));
        let noisy =
            (3..3_000).filter(|secs| told.line(&fails(&secs.to_string()), at(*secs)).is_some());
        assert_eq!(noisy.count(), LINES as usize - 2);
        let next = told.line(&fails("refused"), at(3_601));
        assert!(matches!(next, Some(Line::Fails(1..))), "{next:?}");
        let back = told.line(&fails("refused"), START);
        assert!(back.is_some(), "a clock set back");
    }
}
