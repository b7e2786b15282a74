//! The printed security card: 35 cells of four digits, and the two cells that are asked for.
//!
//! ```text
//! asked:   card 482, cells 7 and 23     the last three digits of the card's number are known to the
//! typed:   482 19 84                    person; 19 begins cell 7, 84 ends cell 23
//! ```
//!
//! Cells and the order in which pairs are asked for follow from the card's key, which is sealed in the
//! store; nothing else is kept. Draw `n` asks for the same pair for ever, and a pair comes again only
//! after all 1190 were asked for (capabilities D2: an attacker cannot wait for the cells that were seen).
//!
//! Limits: four unknown digits, so that five wrong answers lock the card (contract s7); who
//! photographs the card has it.

use crate::otp::Code;
use crate::otp::issued::derive;
use crate::secret::{OtpKey, SecretString};

/// Two different cells, counted from 1: the first digits of `first`, the last of `second`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Pair {
    /// The cell whose first two digits are asked for.
    pub first: u8,
    /// The cell whose last two digits are asked for.
    pub second: u8,
}

/// Cells of a card.
pub const CELLS: u8 = 35;

/// Pairs there are, in either order.
pub const PAIRS: u64 = CELLS as u64 * (CELLS as u64 - 1);

/// What is printed in a cell, counted from 1.
pub fn cell(key: &OtpKey, number: u8) -> u16 {
    let bits = u128::from_be_bytes(derive(key, "card cell", &[&[number]]));
    // 2^128 is so far above 10^4 that no digit comes noticeably more often.
    u16::try_from(bits % 10_000).unwrap_or_default()
}

/// All cells as they are printed, four digits each.
pub fn cells(key: &OtpKey) -> Vec<SecretString> {
    let cells = (1..=CELLS).map(|number| format!("{:04}", cell(key, number)));
    cells.map(SecretString::new).collect()
}

/// The pair that draw `number` (from 1) asks for: a secret permutation of all pairs, a new one each
/// time all were asked for.
pub fn pair(key: &OtpKey, number: u64) -> Pair {
    let draw = number.saturating_sub(1);
    let (round, place) = (draw / PAIRS, draw % PAIRS);
    let mut order: Vec<(u128, Pair)> = Vec::with_capacity(usize::try_from(PAIRS).unwrap_or(0));
    for first in 1..=CELLS {
        for second in (1..=CELLS).filter(|second| *second != first) {
            let parts: [&[u8]; 2] = [&round.to_be_bytes(), &[first, second]];
            let rank = u128::from_be_bytes(derive(key, "card draw", &parts));
            order.push((rank, Pair { first, second }));
        }
    }
    order.sort_unstable_by_key(|(rank, _)| *rank);
    let place = usize::try_from(place).unwrap_or_default();
    let fallback = Pair {
        first: 1,
        second: 2,
    };
    order.get(place).map_or(fallback, |(_, pair)| *pair)
}

/// The right answer to a pair: seven digits. `tail` are the last three digits of the card's number.
pub fn answer(key: &OtpKey, tail: u16, pair: Pair) -> Option<Code> {
    let begin = u32::from(cell(key, pair.first) / 100);
    let end = u32::from(cell(key, pair.second) % 100);
    let value = u32::from(tail % 1000) * 10_000 + begin * 100 + end;
    Code::from_value(value, crate::otp::Digits::SEVEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretBytes;
    use std::collections::HashSet;

    fn key(octet: u8) -> OtpKey {
        OtpKey::new(SecretBytes::new(vec![octet; 20])).unwrap()
    }

    #[test]
    fn no_pair_comes_again_before_all_were_asked_for() {
        let key = key(7);
        let seen: HashSet<_> = (1..=40).map(|number| pair(&key, number)).collect();
        assert_eq!(seen.len(), 40);
        // The first and last of a round differ, and a new round has an order of its own.
        assert_ne!(pair(&key, 1), pair(&key, PAIRS));
        assert_eq!(pair(&key, 3), pair(&key, 3));
        let again = (1..=8).filter(|n| pair(&key, *n) == pair(&key, PAIRS + n));
        assert!(again.count() < 8);
        assert!((1..=40).all(|n| pair(&key, n).first != pair(&key, n).second));
    }

    #[test]
    fn the_answer_is_read_off_the_printed_card() {
        let key = key(9);
        let printed = cells(&key);
        assert_eq!(printed.len(), 35);
        let pair = Pair {
            first: 7,
            second: 23,
        };
        let begin = printed[6].expose()[..2].to_owned();
        let end = printed[22].expose()[2..].to_owned();
        let answer = answer(&key, 482, pair).unwrap();
        assert_eq!(answer.expose().expose(), format!("482{begin}{end}"));
    }

    #[test]
    fn cards_differ() {
        let cells = |octet| {
            (1..=CELLS)
                .map(|n| cell(&key(octet), n))
                .collect::<Vec<_>>()
        };
        assert_ne!(cells(1), cells(2));
    }
}
