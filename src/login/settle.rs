//! The loop of every decision: what is presented is compared with a view, the store decides against the
//! newest state, and where the view had gone stale both are done again.

use futures_util::FutureExt as _;

use crate::core::CoreError;
use crate::login::Login;
use crate::model::attempt::{Attempt, Compared, Comparison, Evidence, Success, Verdict};
use crate::model::user_key::UserKey;
use crate::store::View;

impl Login {
    /// Has the store decide what `gather` finds, and counts the verdict. `gather` reads a view, compares,
    /// and returns the attempt with what else an answer is made of.
    ///
    /// `waits`: whether `gather` may have to wait. One that does not is polled once, on the stack: it is larger than
    /// all that a login keeps while it waits for its commit, and there are as many of these as a batch has members.
    pub(crate) async fn settle_with<T, E, F>(
        &self,
        user: Option<&UserKey>,
        waits: bool,
        gather: impl Fn() -> F,
    ) -> Result<(Box<Verdict>, T), E>
    where
        E: From<CoreError>,
        F: Future<Output = Result<(Attempt, T), E>>,
    {
        for _ in 0..TRIES {
            let at_once = (!waits).then(|| gather().now_or_never()).flatten();
            let (attempt, rest) = match at_once {
                Some(gathered) => gathered?,
                None => Box::pin(gather()).await?,
            };
            let (at, channel, said) = (attempt.at, attempt.channel, attempt.note.said);
            let other = of_alias(&attempt.evidence, user);
            let settled = self.core.store.attempt(attempt).await;
            let Ok(verdict) = settled.map_err(CoreError::from)? else {
                continue;
            };
            let user = other.as_ref().or(user);
            self.core.locks.settled(user, &verdict, at);
            let answered = said.of(verdict.decision);
            self.core
                .counters
                .decided(channel, verdict.reason, answered);
            return Ok((verdict, rest));
        }
        Err(CoreError::Contended.into())
    }
}

/// Whose evidence it is, where the name that was looked for is an alias.
fn of_alias(evidence: &Evidence, name: Option<&UserKey>) -> Option<UserKey> {
    match evidence {
        Evidence::Compared(compared) if Some(&compared.user) != name => Some(compared.user.clone()),
        _ => None,
    }
}

/// Codes compared with this view, where nothing else is presented.
pub(crate) fn compared(view: &View, tokens: Vec<Comparison>) -> Compared {
    Compared {
        user: view.user.key.clone(),
        generation: view.generation,
        revision: view.user.revision,
        credentials: None,
        knowledge: Vec::new(),
        tokens: Some(tokens),
        success: Success::Accept,
        answers: None,
    }
}

/// How often a stale view is read again: an attacker who keeps a counter moving gets no answer, and pays
/// a commit for every move.
const TRIES: usize = 8;
