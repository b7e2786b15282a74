//! Parts of the process without which it does not serve: while one of them has no live thread, the
//! service is not ready.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// All of them, with the number of threads or tasks that work for each.
#[derive(Debug, Default)]
pub struct Vitals(Mutex<BTreeMap<String, usize>>);

/// A thread or task at work; when it ends, by a panic too, the count goes down.
#[derive(Debug)]
pub struct Alive {
    vitals: Arc<Vitals>,
    name: String,
}

impl Vitals {
    /// Names a part before it starts: it is missing from now on.
    pub fn require(&self, name: &str) {
        let mut parts = self.0.lock().expect(UNPOISONED);
        parts.entry(name.to_owned()).or_default();
    }

    /// Counts a thread or task that works for it, until the answer is dropped.
    pub fn alive(self: &Arc<Self>, name: &str) -> Alive {
        let mut parts = self.0.lock().expect(UNPOISONED);
        *parts.entry(name.to_owned()).or_default() += 1;
        Alive {
            vitals: Arc::clone(self),
            name: name.to_owned(),
        }
    }

    /// Work that counts until it ends, by a panic too. It is required from now on, not from its start.
    pub fn keep<F: Future + Send>(
        self: &Arc<Self>,
        name: &str,
        work: F,
    ) -> impl Future<Output = F::Output> + Send + use<F> {
        let alive = self.alive(name);
        async move {
            let done = work.await;
            drop(alive);
            done
        }
    }

    /// How many threads and tasks work for the parts whose names begin so.
    pub fn count(&self, prefix: &str) -> usize {
        let parts = self.0.lock().expect(UNPOISONED);
        let named = parts.iter().filter(|(name, _)| name.starts_with(prefix));
        named.map(|(_, count)| count).sum()
    }

    /// The first part that nothing works for.
    pub fn fault(&self) -> Option<String> {
        let parts = self.0.lock().expect(UNPOISONED);
        let (name, _) = parts.iter().find(|(_, count)| **count == 0)?;
        Some(format!(
            "{name} has stopped; see the log, and restart the daemon if it does not come back"
        ))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let mut parts = self.vitals.0.lock().expect(UNPOISONED);
        if let Some(count) = parts.get_mut(&self.name) {
            *count = count.saturating_sub(1);
        }
    }
}

const UNPOISONED: &str = "no panic while the lock is held";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_missing_until_one_works_for_it_and_when_the_last_has_ended() {
        let vitals = Arc::new(Vitals::default());
        assert_eq!(vitals.fault(), None);
        vitals.require("RADIUS on 127.0.0.1:1812");
        assert!(vitals.fault().unwrap().starts_with("RADIUS on"));
        let (one, other) = (
            vitals.alive("RADIUS on 127.0.0.1:1812"),
            vitals.alive("RADIUS on 127.0.0.1:1812"),
        );
        drop(one);
        assert_eq!(vitals.fault(), None);
        let ended = std::thread::spawn(move || {
            let _works = other;
            panic!("a defect");
        });
        assert!(ended.join().is_err());
        assert!(vitals.fault().is_some());
    }
}
