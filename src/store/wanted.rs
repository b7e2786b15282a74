//! Long readings end when anyone who asked is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::StoreError;

/// Whether the caller wants a check to end.
pub(crate) type Stop<'s> = &'s dyn Fn() -> bool;

/// Of a check that was told to end.
pub(crate) fn stopped() -> StoreError {
    StoreError::Unavailable("the check was ended before it was done".to_owned())
}

/// Whether the answer of a long reading is wanted.
#[derive(Clone)]
pub(crate) struct Wanted(Arc<AtomicBool>);

impl Wanted {
    /// One that is wanted as long as the asker is there.
    pub(crate) fn new() -> (Self, Asker) {
        let wanted = Self(Arc::new(AtomicBool::new(true)));
        let asker = Asker(wanted.clone());
        (wanted, asker)
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.0.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(StoreError::Unavailable(
            "the reading was given up".to_owned(),
        ))
    }
}

/// Waits for a long reading; ends it when dropped.
pub(crate) struct Asker(Wanted);

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}
