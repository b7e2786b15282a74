//! Logins that are polled and committed in one thread, as a RADIUS lane does.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use oncegate::store::BatchHold;

/// A login that is asked, and not polled yet.
pub(crate) type Login<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How a batch ended.
pub(crate) struct Ended<T> {
    /// In the order of the logins.
    pub(crate) answers: Vec<T>,
    /// Whether it was this thread that committed: the writer's may have been about to.
    pub(crate) here: bool,
    /// How many had no answer after that commit, and were waited for.
    pub(crate) later: usize,
}

/// A login of a batch.
pub(crate) fn login<'a, T>(asked: impl Future<Output = T> + Send + 'a) -> Login<'a, T> {
    // The runtime makes a task that asks much wait although its answer is there.
    Box::pin(tokio::task::unconstrained(asked))
}

/// Polls once.
pub(crate) fn poll<T>(login: &mut Login<'_, T>) -> Poll<T> {
    login.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Decides a batch in this thread, and waits for what needs more than one commit.
pub(crate) async fn commit<T>(hold: BatchHold<'_>, mut logins: Vec<Login<'_, T>>) -> Ended<T> {
    let before: Vec<_> = logins.iter_mut().map(poll).collect();
    let here = hold.commit();
    let mut later = 0;
    let after = logins.into_iter().zip(before).map(|(mut login, before)| {
        let answer = match before {
            Poll::Ready(answer) => Poll::Ready(answer),
            Poll::Pending => poll(&mut login),
        };
        later += usize::from(answer.is_pending());
        async move {
            match answer {
                Poll::Ready(answer) => answer,
                Poll::Pending => login.await,
            }
        }
    });
    let after: Vec<_> = after.collect();
    // Together: one may wait for what another holds.
    let answers = futures_util::future::join_all(after).await;
    Ended {
        answers,
        here,
        later,
    }
}
