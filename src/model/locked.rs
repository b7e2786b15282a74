//! Whether a decision locks its user: what is told, and what the audit says of it. Pure.

use crate::model::audit::DecisionEvent;
use crate::model::user_state::UserState;
use crate::otp::throttle::{Block, Blocked, Lockout};
use crate::time::UnixTime;

/// Whether a lock of the user began between these two states: what the user should hear of.
pub(crate) fn locks(before: &UserState, after: &UserState, at: UnixTime) -> bool {
    let locked = |state: &UserState| {
        let known = state.known.iter().map(|known| known.throttle);
        let all = known.chain([state.throttle]);
        let locks = all.filter(|one| matches!(one.check(at), Err(Blocked::Locked { .. })));
        locks.count()
    };
    let hard = |state: &UserState| state.throttle.block == Block::Hard;
    locked(after) > locked(before) || (hard(after) && !hard(before))
}

/// Says so where a lock for good begins, and where it is the count of a year that locks with few failures on record.
/// The places that are known may be locked later than all others.
pub(crate) fn locked_for_good(
    before: &UserState,
    after: &UserState,
    lockout: &Lockout,
    at: UnixTime,
) -> Option<&'static str> {
    let hard = |state: &UserState| {
        let known = state.known.iter().map(|known| known.throttle);
        let all = known.chain([state.throttle]);
        all.filter(|one| one.block == Block::Hard).count()
    };
    if hard(after) <= hard(before) {
        return None;
    }
    let few = after.failures() < lockout.hard_lock_after.saturating_sub(lockout.lock_after);
    let year = few && after.is_year_spent(lockout, at);
    Some(if year { YEAR } else { DecisionEvent::FOR_GOOD })
}

/// What the audit says of a lock for good after few failures.
const YEAR: &str = "locked until an administrator unlocks: too many wrong answers within a year, \
    those before right ones included";
