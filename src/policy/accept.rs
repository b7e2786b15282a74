//! What a rule takes in the place of a factor.
//!
//! Invariant: only `otp` has stand-ins, and `outage` counts only where the caller says that outage
//! mode is declared; every other factor is proved by itself alone.

use std::iter;

use crate::policy::Rule;
use crate::policy::factor::Factor;

impl Rule {
    /// The held factor that others may stand in for: `otp`, else the first held one.
    pub fn slot(&self) -> Option<Factor> {
        let held = |factor: &&Factor| !factor.is_knowledge();
        if self.require.contains(&Factor::Otp) {
            return Some(Factor::Otp);
        }
        self.require.iter().find(held).copied()
    }

    /// What proves a required factor, itself first, nothing twice. `outage`: whether outage mode is
    /// declared. Allocates nothing.
    pub fn accepts(&self, slot: Factor, outage: bool) -> impl Iterator<Item = Factor> {
        let (alternatives, relief) = if slot == Factor::Otp {
            let relief = self.outage.filter(|_| outage).map(|outage| outage.factor);
            (self.alternatives.as_slice(), relief)
        } else {
            (&[][..], None)
        };
        let relief = relief.filter(|factor| !alternatives.contains(factor));
        iter::once(slot)
            .chain(alternatives.iter().copied())
            .chain(relief)
    }
}
