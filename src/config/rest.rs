//! What is left of a configuration with faults, so that the files that it names are looked at in the same run.
//!
//! ```text
//! written - resolve -> the keys with faults - left out -> written - resolve -> .. -> Config
//! ```
//!
//! Invariant: nothing is served by it. It is for looking: what was left out says nothing of the files it would name.

use std::path::Path;

use crate::config::file::Written;
use crate::config::named::files_of;
use crate::config::resolve::resolve;
use crate::config::{Config, Faulty};
use crate::diagnostic::{Diagnostic, Findings};

/// The findings, and the configuration without the keys that cannot be understood.
pub(super) fn faulty(findings: Vec<Diagnostic>, written: &Written, dir: &Path) -> Faulty {
    Faulty {
        findings,
        rest: rest(written, dir),
    }
}

fn rest(written: &Written, dir: &Path) -> Option<Box<Config>> {
    if !written.is_whole {
        return None;
    }
    let mut unread: Vec<String> = Vec::new();
    loop {
        let resolved = resolve(&written.without(&unread), dir, &mut Findings::default());
        if let Some(config) = resolved.config {
            return Some(Box::new(Config {
                beside: files_of(written, &unread, dir),
                unread,
                ..config
            }));
        }
        let before = unread.len();
        for key in resolved.faulty {
            if !unread.contains(&key) {
                unread.push(key);
            }
        }
        // Each turn leaves out something more, or is the last.
        if unread.len() == before {
            return None;
        }
    }
}
