//! What a login reads of a user, and what became of its attempt.

use crate::model::id::Serial;
use crate::model::token::{Moving, Token, TokenState};
use crate::model::user::User;
use crate::model::user_state::UserState;
use crate::otp::Period;

/// What an evaluation needs to know about a user.
#[derive(Clone, Debug)]
pub struct View {
    /// Generation of the static records at the time of reading.
    pub generation: u64,
    /// The user.
    pub user: User,
    /// Its counters.
    pub state: UserState,
    /// Its tokens in order of serial, with keys opened.
    pub tokens: Vec<(Token, TokenState)>,
}

/// What is kept of a token that is gone: the same key under another name must not make used codes good
/// again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Retired {
    /// The name that it had.
    pub serial: Serial,
    /// Seconds per code; none for a counter.
    pub period: Option<Period>,
    /// The moving factor; without drift.
    pub moving: Moving,
}
