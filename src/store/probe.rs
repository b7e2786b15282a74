//! Whether anybody at all can be let in, asked by reading some users as logins do.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::model::user_key::UserKey;
use crate::store::fold::Fold;
use crate::store::record::Table;
use crate::store::{StoreError, record};

/// When it was last tried, and why no one's rows could be read.
#[derive(Default)]
pub(crate) struct Probe(Mutex<Option<(Instant, Option<String>)>>);

impl Probe {
    /// Why no one's rows can be read, if that is so: one damaged row concerns one user, a damaged page
    /// some, a damaged root all of them.
    pub(crate) fn fault(
        &self,
        fold: &Fold,
        view: &dyn Fn(&UserKey) -> Result<(), StoreError>,
    ) -> Option<String> {
        if !fold.damage().any() {
            return None;
        }
        let mut tried = self.0.lock().expect("no panic under this lock");
        if let Some((at, found)) = &*tried
            && at.elapsed() < HOLDS
        {
            return found.clone();
        }
        let found = attempt(fold, view);
        *tried = Some((Instant::now(), found.clone()));
        found
    }
}

fn attempt(fold: &Fold, view: &dyn Fn(&UserKey) -> Result<(), StoreError>) -> Option<String> {
    let keys = match fold.reader().sample(Table::Users, SAMPLE) {
        Ok(keys) => keys,
        Err(error) => return Some(error.to_string()),
    };
    let mut cause = None;
    for key in keys {
        match record::owner(&key).and_then(|user| view(&user)) {
            Ok(()) => return None,
            Err(error) => cause = Some(error.to_string()),
        }
    }
    cause
}

/// Users at each end of the table that are tried.
const SAMPLE: usize = 8;
/// How long an answer holds.
const HOLDS: Duration = Duration::from_secs(1);
