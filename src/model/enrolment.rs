//! How a token comes into use: who asked for it, who approved it, what it replaces. Pure.
//!
//! ```text
//! requested --approve (n others)--> approved --offer--> pending --first right code--> active
//!     |  no approvals needed: offered at once              |        or a device's key
//!     `--deny--> revoked                                   `--> revoked, expired
//! ```
//!
//! Invariants (capabilities A3, C14): no approver approves their own request, in their own name or in another's;
//! no one counts twice; a delegation ends by itself.

use std::time::Duration;

use crate::model::id::Serial;
use crate::model::life_cycle::LifeCycle;
use crate::otp::issued::Mark;
use crate::time::UnixTime;

/// How a token came to be. The default is one that an administrator simply made.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Enrolment {
    /// Who asked for it: `uid 0`, `api:NAME`, `user alice@default`.
    pub requester: String,
    /// Whether the user asked for it with a password or PIN alone.
    pub by_knowledge: bool,
    /// Approvals it needs.
    pub needed: u8,
    /// Approvals it has.
    pub approvals: Vec<Approval>,
    /// The token that ends when this one is proven.
    pub replaces: Option<Serial>,
    /// Most tokens of its kind that the user may have in use, this one included.
    pub max_active: Option<u8>,
    /// Whether a device that redeemed its code must prove it by a first right code.
    pub verify: bool,
    /// How long it is good once it is in use, in seconds.
    pub valid_for: Option<u64>,
    /// How long after it is handed out the owner's first right code at any front end brings it into use, in
    /// seconds; `None`: it is confirmed.
    pub first_use_within: Option<u64>,
    /// Until when that is, once it is handed out.
    pub first_use_until: Option<UnixTime>,
    /// The link by which its owner takes the key over.
    pub link: Option<Link>,
    /// The policy by whose rules it was made.
    pub policy: Option<String>,
}

/// A link by which a token's owner takes its key over, once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Link {
    /// What remains of its code.
    pub mark: Mark,
    /// Until when it is good.
    pub until: UnixTime,
    /// When the key was taken over by it.
    pub redeemed: Option<UnixTime>,
}

impl Link {
    /// Whether the key can be taken over by it at `at`.
    pub fn is_open(&self, at: UnixTime) -> bool {
        self.redeemed.is_none() && at < self.until
    }
}

/// One approval.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Approval {
    /// Who gave it.
    pub by: String,
    /// In whose name, when not in their own.
    pub on_behalf: Option<String>,
    /// When.
    pub at: UnixTime,
}

/// Someone's right to approve, lent to another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delegation {
    /// Whose right.
    pub from: String,
    /// Who may use it.
    pub to: String,
    /// Until when; it ends by itself.
    pub until: UnixTime,
    /// Who lent it, and why.
    pub reason: String,
}

/// Why an approval does not count.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotApproved {
    /// It waits for none.
    #[error("the token does not wait for an approval")]
    NotRequested,
    /// Their own request.
    #[error("who asked for a token cannot approve it")]
    OwnRequest,
    /// Their second approval.
    #[error("this approver has approved it already")]
    Twice,
    /// No one lent them the right, or it has ended.
    #[error("there is no delegation to this approver at present")]
    NotDelegated,
}

words! {
    /// Why a token was ended.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum RevokeReason {
        /// No one knows where it is.
        Lost = "lost",
        /// Someone else has it.
        Stolen = "stolen",
        /// Another one has taken its place.
        Replaced = "replaced",
        /// It went to another device.
        Moved = "moved",
        /// The user has left.
        Left = "left",
        /// Its key or its codes are known to others.
        Compromised = "compromised",
        /// Something else.
        Other = "other",
    }
}

impl Enrolment {
    /// After it was handed out at `at`: the time for its first right code begins.
    #[must_use]
    pub fn handed_out(self, at: UnixTime) -> Self {
        let within = self.first_use_within.map(Duration::from_secs);
        Self {
            first_use_until: within.map(|within| at.plus(within)),
            ..self
        }
    }

    /// After an approval by `by`, in the name of `on_behalf` when given; with the state that follows.
    pub fn approve(
        &self,
        state: LifeCycle,
        by: &str,
        delegation: Option<&Delegation>,
        at: UnixTime,
    ) -> Result<(Self, LifeCycle), NotApproved> {
        if state != LifeCycle::Requested {
            return Err(NotApproved::NotRequested);
        }
        if delegation.is_some_and(|lent| lent.to != by || at >= lent.until) {
            return Err(NotApproved::NotDelegated);
        }
        let on_behalf = delegation.map(|lent| lent.from.clone());
        let acts = |who: &str| who == by || on_behalf.as_deref() == Some(who);
        if acts(&self.requester) {
            return Err(NotApproved::OwnRequest);
        }
        let counted = self.approvals.iter();
        if counted
            .clone()
            .any(|one| acts(&one.by) || one.on_behalf.as_deref().is_some_and(acts))
        {
            return Err(NotApproved::Twice);
        }
        let mut after = self.clone();
        after.approvals.push(Approval {
            by: by.to_owned(),
            on_behalf,
            at,
        });
        let enough = after.approvals.len() >= usize::from(after.needed);
        let next = if enough {
            LifeCycle::Approved
        } else {
            LifeCycle::Requested
        };
        Ok((after, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);

    fn wanted(needed: u8) -> Enrolment {
        Enrolment {
            requester: "user alice@default".to_owned(),
            needed,
            ..Enrolment::default()
        }
    }

    fn lent(from: &str, to: &str) -> Delegation {
        Delegation {
            from: from.to_owned(),
            to: to.to_owned(),
            until: NOW.plus(Duration::from_mins(1)),
            reason: "holiday".to_owned(),
        }
    }

    #[test]
    fn needs_as_many_others_as_the_rule_says() {
        let (one, state) = wanted(2)
            .approve(LifeCycle::Requested, "api:kim", None, NOW)
            .unwrap();
        assert_eq!(state, LifeCycle::Requested);
        assert_eq!(
            one.approve(state, "api:kim", None, NOW),
            Err(NotApproved::Twice)
        );
        let (two, state) = one.approve(state, "api:lee", None, NOW).unwrap();
        assert_eq!((two.approvals.len(), state), (2, LifeCycle::Approved));
        assert_eq!(
            two.approve(state, "api:park", None, NOW),
            Err(NotApproved::NotRequested)
        );
    }

    #[test]
    fn no_one_approves_their_own_request_in_any_name() {
        let asked = wanted(1);
        let state = LifeCycle::Requested;
        let own = Err(NotApproved::OwnRequest);
        assert_eq!(asked.approve(state, "user alice@default", None, NOW), own);
        let to_her = lent("api:kim", "user alice@default");
        assert_eq!(
            asked.approve(state, "user alice@default", Some(&to_her), NOW),
            own
        );
        let hers = lent("user alice@default", "api:lee");
        assert_eq!(asked.approve(state, "api:lee", Some(&hers), NOW), own);
    }

    #[test]
    fn a_right_that_was_lent_counts_once_and_ends() {
        let asked = wanted(2);
        let lent = lent("api:kim", "api:lee");
        let state = LifeCycle::Requested;
        let (one, state) = asked.approve(state, "api:lee", Some(&lent), NOW).unwrap();
        for twice in [
            ("api:lee", None),
            ("api:kim", None),
            ("api:lee", Some(&lent)),
        ] {
            assert_eq!(
                one.approve(state, twice.0, twice.1, NOW),
                Err(NotApproved::Twice)
            );
        }
        let later = lent.until;
        let ended = Err(NotApproved::NotDelegated);
        assert_eq!(asked.approve(state, "api:lee", Some(&lent), later), ended);
        assert_eq!(asked.approve(state, "api:park", Some(&lent), NOW), ended);
    }
}
