//! Codes computed before the run, so that the run measures the server.
//!
//! Invariant: memory is bounded by [`MOST`] numbers for all workers together; steps beyond are
//! computed when they are typed.

use crate::cli::columns::Factor;
use crate::load::users::User;
use crate::otp::totp::{Parameters, TimeStep};
use crate::otp::{Digits, totp};
use crate::secret::OtpKey;
use crate::time::UnixTime;

/// The codes of some steps of each TOTP user.
#[derive(Debug, Default)]
pub(super) struct Codes {
    /// Of each user the codes of `steps` steps, one user after the other.
    numbers: Vec<u32>,
    steps: usize,
    from: UnixTime,
}

impl Codes {
    /// Computes the codes from `from` to `until`, at most `most` of them; calls `done` with the
    /// number of users behind it.
    pub(super) fn prepare(
        users: &[User],
        from: UnixTime,
        until: UnixTime,
        most: usize,
        mut done: impl FnMut(u64),
    ) -> Self {
        let wanted = users.iter().filter_map(|user| match &user.factor {
            Factor::Totp { parameters, .. } => {
                let step = |time| TimeStep::at(time, parameters.period).get();
                Some(step(until) - step(from) + 1)
            }
            Factor::Hotp { .. } | Factor::Password(_) => None,
        });
        let wanted = usize::try_from(wanted.max().unwrap_or(0)).unwrap_or(usize::MAX);
        let steps = wanted.min(most / users.len().max(1));
        let mut numbers = Vec::with_capacity(steps * users.len());
        for chunk in users.chunks(TOLD) {
            for user in chunk {
                let Factor::Totp { key, parameters } = &user.factor else {
                    numbers.resize(numbers.len() + steps, 0);
                    continue;
                };
                let first = TimeStep::at(from, parameters.period).get();
                let steps = (first..).take(steps).map(TimeStep::new);
                numbers.extend(steps.map(|step| totp::generate(key, *parameters, step).value()));
            }
            done(chunk.len() as u64);
        }
        Self {
            numbers,
            steps,
            from,
        }
    }

    /// The code of a step.
    pub(super) fn code(&self, user: u32, key: &OtpKey, parameters: Parameters, step: u64) -> u32 {
        let first = TimeStep::at(self.from, parameters.period).get();
        let offset = step.checked_sub(first).map(usize::try_from);
        let known = match offset {
            Some(Ok(offset)) if offset < self.steps => {
                self.numbers.get(user as usize * self.steps + offset)
            }
            _ => None,
        };
        known.copied().unwrap_or_else(|| {
            let step = TimeStep::new(step);
            totp::generate(key, parameters, step).value()
        })
    }
}

/// Appends a code as it is typed, zeros in front.
pub(super) fn push_digits(typed: &mut Vec<u8>, code: u32, digits: Digits) {
    let mut place = digits.modulus() / 10;
    while place > 0 {
        let digit = u8::try_from(code / place % 10).unwrap_or_default();
        typed.push(b'0' + digit);
        place /= 10;
    }
}

/// Most codes kept, 4 octets each.
pub(super) const MOST: usize = 64 << 20;
/// Users between two reports of progress.
const TOLD: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::users::{Kind, generate};
    use crate::secret::SystemEntropy;

    #[test]
    fn kept_and_computed_codes_are_the_same() {
        let users = generate(3, "u", Kind::Totp, &SystemEntropy).unwrap();
        let from = UnixTime::from_secs(1_000_000);
        let until = UnixTime::from_secs(1_000_100);
        let mut told = 0;
        let kept = Codes::prepare(&users, from, until, MOST, |users| told += users);
        let few = Codes::prepare(&users, from, until, 7, |_| ());
        let none = Codes::prepare(&users, from, until, 2, |_| ());
        assert_eq!((told, kept.steps, few.steps, none.steps), (3, 4, 2, 0));
        for (index, user) in (0..).zip(&users) {
            let Factor::Totp { key, parameters } = &user.factor else {
                panic!("{user:?}");
            };
            for step in 33_330..33_340 {
                let code = |codes: &Codes| codes.code(index, key, *parameters, step);
                assert_eq!(code(&kept), code(&none), "{step}");
                assert_eq!(code(&few), code(&none), "{step}");
            }
        }
    }

    #[test]
    fn zeros_stand_in_front() {
        let mut typed = Vec::new();
        push_digits(&mut typed, 42, Digits::SIX);
        push_digits(&mut typed, 12_345_678, Digits::EIGHT);
        assert_eq!(typed, b"00004212345678");
    }
}
