//! Work that is done to its end also where the caller hangs up: what is used up must have its effect.
//!
//! It is done in the caller's own task, which costs nothing while the caller waits. Where that task ends first
//! (the connection was closed, the caller waited too long), the work goes on in a task of its own.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// See the module.
pub(super) struct Finish<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    /// None when it is done.
    work: Option<Pin<Box<F>>>,
    tasks: TaskTracker,
    runtime: Handle,
}

impl<F> Finish<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    /// The tracker counts what goes on alone.
    pub(super) fn new(work: F, tasks: TaskTracker, runtime: Handle) -> Self {
        Self {
            work: Some(Box::pin(work)),
            tasks,
            runtime,
        }
    }
}

impl<F> Future for Finish<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let work = self.work.as_mut().expect("not polled after its end");
        let done = ready!(work.as_mut().poll(context));
        self.work = None;
        Poll::Ready(done)
    }
}

impl<F> Drop for Finish<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.tasks.spawn_on(work, &self.runtime);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};
    use std::task::Waker;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn work_ends_with_its_caller_or_alone() {
        let (steps, go) = (Arc::new(AtomicU8::new(0)), Arc::new(Notify::new()));
        let tasks = TaskTracker::new();
        let work = || {
            let (steps, go) = (Arc::clone(&steps), Arc::clone(&go));
            let work = async move {
                steps.fetch_add(1, Ordering::Relaxed);
                go.notified().await;
                steps.fetch_add(1, Ordering::Relaxed)
            };
            Finish::new(work, tasks.clone(), Handle::current())
        };
        go.notify_one();
        assert_eq!(work().await, 1);
        assert!(tasks.is_empty(), "no task while the caller waits");

        let mut left = Box::pin(work());
        let mut context = Context::from_waker(Waker::noop());
        assert!(left.as_mut().poll(&mut context).is_pending());
        drop(left);
        assert_eq!((tasks.len(), steps.load(Ordering::Relaxed)), (1, 3));
        go.notify_one();
        tasks.close();
        tasks.wait().await;
        assert_eq!(steps.load(Ordering::Relaxed), 4);
    }
}
