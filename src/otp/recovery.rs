//! Recovery codes: a few long codes on paper, each good once, in any order.
//!
//! Ten Crockford characters each (50 bits), shown as `XXXXX-XXXXX`. They follow from the token's key,
//! which is sealed in the store; which of them are used is a set in the token's state.
//!
//! The same codes with an end and a small number are the emergency codes that an operator reads out
//! on the telephone. None of them works twice (contract s8.1): who must come in without a code
//! for a while gets a bypass.

use crate::otp::Matches;
use crate::otp::issued::{derive, grouped, letters};
use crate::secret::{OtpKey, SecretString};

/// Characters of a code, without the dash.
pub const LENGTH: usize = 10;

/// Codes on a sheet by default.
pub const COUNT: u8 = 10;

/// Most codes on a sheet: places in [`Used`].
pub const MAX: u8 = 32;

/// Which codes of a sheet are used up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Used(u32);

impl Used {
    /// From its stored form.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// All of them.
    pub const ALL: Self = Self(u32::MAX);

    /// Its stored form.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether code `number`, counted from 0, is used up. Numbers beyond the set are.
    pub fn contains(self, number: u64) -> bool {
        u32::try_from(number).map_or(true, |number| {
            self.0.checked_shr(number).is_none_or(|bits| bits & 1 == 1)
        })
    }

    /// With code `number` used up.
    pub fn with(self, number: u64) -> Self {
        let bit = u32::try_from(number)
            .ok()
            .and_then(|number| 1_u32.checked_shl(number));
        Self(self.0 | bit.unwrap_or_default())
    }

    /// How many are used up.
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }
}

/// Code `number` of a sheet, counted from 0, as it is compared: without the dash.
fn code(key: &OtpKey, number: u8) -> SecretString {
    letters(
        u128::from_be_bytes(derive(key, "recovery", &[&[number]])),
        LENGTH,
    )
}

/// All codes of a sheet as they are printed.
pub fn sheet(key: &OtpKey, count: u8) -> Vec<SecretString> {
    let codes = (0..count.min(MAX)).map(|number| grouped(code(key, number).expose(), LENGTH / 2));
    codes.collect()
}

/// Which codes of the sheet this canonical text is. All are compared, always.
pub fn find(key: &OtpKey, count: u8, text: &SecretString) -> Matches {
    let mut matches = Matches::default();
    for number in 0..count.min(MAX) {
        if code(key, number) == *text {
            matches.insert(number.into());
        }
    }
    matches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otp::issued::canonical;
    use crate::secret::SecretBytes;

    #[test]
    fn every_printed_code_is_found_at_its_place() {
        let key = OtpKey::new(SecretBytes::new(vec![3; 20])).unwrap();
        for (number, printed) in sheet(&key, COUNT).into_iter().enumerate() {
            assert_eq!(printed.expose().len(), 11);
            let text = canonical(printed.expose(), LENGTH).unwrap();
            let found = find(&key, COUNT, &text);
            assert_eq!(found.iter().collect::<Vec<_>>(), [number as u64]);
        }
        let none = canonical("00000-00000", LENGTH).unwrap();
        assert!(find(&key, COUNT, &none).is_empty());
    }

    #[test]
    fn used_is_a_set_that_refuses_what_it_cannot_hold() {
        let used = Used::default().with(0).with(9).with(31);
        assert!(used.contains(0) && used.contains(9) && used.contains(31));
        assert!(!used.contains(1) && used.contains(32) && used.contains(u64::MAX));
        assert_eq!(used.with(32), used);
        assert_eq!(used.count(), 3);
        assert_eq!(Used::from_bits(used.bits()), used);
    }
}
