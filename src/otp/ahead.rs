//! Steps that were consumed while the clock was ahead.
//!
//! When the clock has been put right, the last consumed step of a token would refuse every code until
//! its time has come. It is lowered instead, and what was really consumed above it is kept here: a
//! step is accepted at most once, for ever (contract s8.1).
//!
//! Invariant: what was put in is contained until [`Ahead::above`] leaves it out, which no login does: a later step
//! that is consumed may be of a clock that is ahead once more. There are [`RANGES`] ranges; where that is not
//! enough the nearest two become one, and the steps between them are void too.

/// A small set of steps.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ahead {
    /// First and last step of each range, ascending, apart; the rest is `None`.
    ranges: [Option<(u64, u64)>; RANGES],
}

/// Ranges that are told apart.
const RANGES: usize = 4;

impl Ahead {
    /// Whether the step is void.
    pub fn contains(&self, step: u64) -> bool {
        self.ranges()
            .any(|(first, last)| (first..=last).contains(&step))
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().flatten().copied()
    }

    /// The last step of all.
    pub fn last(&self) -> Option<u64> {
        self.ranges().map(|(_, last)| last).last()
    }

    /// With the steps from `first` to `last`.
    #[must_use]
    pub fn with(self, first: u64, last: u64) -> Self {
        let mut all: Vec<(u64, u64)> = self.ranges().collect();
        all.push((first.min(last), first.max(last)));
        all.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        while merged.len() > RANGES {
            let nexts = merged.iter().skip(1);
            let gaps = merged.iter().zip(nexts).map(|(one, next)| next.0 - one.1);
            let nearest = gaps.enumerate().min_by_key(|(_, gap)| *gap);
            let place = nearest.map_or(0, |(place, _)| place);
            let (_, last) = merged.remove(place + 1);
            if let Some(before) = merged.get_mut(place) {
                before.1 = last;
            }
        }
        let mut ranges = [None; RANGES];
        for (place, range) in ranges.iter_mut().zip(merged) {
            *place = Some(range);
        }
        Self { ranges }
    }

    /// Without what is not above a step that is never lowered again: what it is about is refused anyway.
    #[must_use]
    pub fn above(self, step: u64) -> Self {
        let left = self.ranges().filter(|(_, last)| *last > step);
        left.fold(Self::default(), |ahead, (first, last)| {
            ahead.with(first, last)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_few_steps_are_kept_exactly() {
        let ahead = [9, 3, 4, 20]
            .iter()
            .fold(Ahead::default(), |ahead, step| ahead.with(*step, *step));
        let ranges: Vec<_> = ahead.ranges().collect();
        assert_eq!(ranges, [(3, 4), (9, 9), (20, 20)]);
        assert!(!ahead.contains(5) && ahead.contains(4));
        assert_eq!(ahead.last(), Some(20));
        let above: Vec<_> = ahead.above(9).ranges().collect();
        assert_eq!(above, [(20, 20)]);
        assert_eq!(ahead.above(20), Ahead::default());
    }

    proptest! {
        #[test]
        fn what_was_put_in_stays(steps in proptest::collection::vec(0_u64..500, 0..40)) {
            let mut ahead = Ahead::default();
            for step in &steps {
                ahead = ahead.with(*step, *step);
            }
            for step in &steps {
                prop_assert!(ahead.contains(*step));
            }
            prop_assert_eq!(ahead.last(), steps.iter().max().copied());
        }
    }
}
