//! The states of a token, from the request for it to its end.

words! {
    /// A token's life (contract s1). Only `Active` authenticates, and the first right code of a `Pending` one.
    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    pub enum LifeCycle {
        /// Asked for; waits for approvals.
        Requested = "requested" as 1,
        /// Approved; waits to be handed out.
        Approved = "approved" as 2,
        /// Handed out; waits for its first right code.
        Pending = "pending" as 3,
        /// In use.
        Active = "active" as 4,
        /// Paused by an administrator; can be resumed.
        Suspended = "suspended" as 5,
        /// Ended by an administrator; final.
        Revoked = "revoked" as 6,
        /// Ended by its time; final.
        Expired = "expired" as 7,
        /// In stock: it has no owner yet.
        Unassigned = "unassigned" as 8,
    }
}

impl LifeCycle {
    /// Whether the contract's diagram has an arrow from this state to `next`.
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Requested, Self::Approved)
                | (Self::Approved, Self::Pending)
                | (Self::Pending | Self::Suspended, Self::Active)
                | (Self::Unassigned, Self::Pending | Self::Active)
                | (Self::Active, Self::Suspended)
                | (
                    Self::Requested
                        | Self::Approved
                        | Self::Pending
                        | Self::Active
                        | Self::Suspended
                        | Self::Unassigned,
                    Self::Revoked | Self::Expired
                )
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_final() {
        for number in 0..=u8::MAX {
            if let Some(next) = LifeCycle::from_number(number) {
                assert!(!LifeCycle::Revoked.may_become(next));
                assert!(!LifeCycle::Expired.may_become(next));
            }
        }
    }
}
