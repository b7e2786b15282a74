//! The work of the daemon that no request asks for, and how its last run ended.

use std::sync::Mutex;

use crate::time::UnixTime;

/// A job and its last run.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its name.
    pub name: &'static str,
    /// When its last run ended.
    pub last: Option<UnixTime>,
    /// What that run did, if there was something to do; or why it failed.
    pub result: Result<Option<String>, String>,
    /// When it runs again; `None` where it waits for events, or has ended.
    pub next: Option<UnixTime>,
}

/// All jobs of a daemon, in the order of their start. Written by its driver, read for `status`.
#[derive(Debug, Default)]
pub struct Jobs(Mutex<Vec<Job>>);

impl Jobs {
    /// Adds a job that has not run yet.
    pub fn add(&self, name: &'static str, next: Option<UnixTime>) {
        let mut all = self.0.lock().expect(UNPOISONED);
        all.push(Job {
            name,
            last: None,
            result: Ok(None),
            next,
        });
    }

    /// Notes how a run ended.
    pub fn ran(
        &self,
        name: &str,
        at: UnixTime,
        result: Result<Option<String>, String>,
        next: Option<UnixTime>,
    ) {
        let mut all = self.0.lock().expect(UNPOISONED);
        if let Some(job) = all.iter_mut().find(|job| job.name == name) {
            (job.last, job.result, job.next) = (Some(at), result, next);
        }
    }

    /// How they are now.
    pub fn all(&self) -> Vec<Job> {
        self.0.lock().expect(UNPOISONED).clone()
    }
}

const UNPOISONED: &str = "no panic while the lock is held";
