//! Which person is behind a local caller, for the audit.
//!
//! The kernel vouches for the user id of the process at the other end (`SO_PEERCRED`). After `sudo` that
//! is root, so the id with which its session was logged in is shown beside it: `/proc/PID/loginuid`, which
//! `pam_loginuid` sets at login, which stays through `sudo`, and which only a process with
//! `CAP_AUDIT_CONTROL` can set again. The environment of the process (`SUDO_UID`) is not asked: the
//! process can write what it likes there.
//!
//! Limits: the login id is shown, and nothing is decided by it. Where none was set (containers, services)
//! a process may set it once to anything; a process that ends between connecting and the reading may leave
//! its number to another. Rights and approvals are bound to the user id alone.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use nix::unistd::{Uid, User};

/// `alice(uid 1000)`; `root(uid 0), logged in as alice(uid 1000)`; `uid 1000` where the system has no name.
/// Asks the system's user database, which may wait.
pub(crate) fn person(uid: u32, process: Option<i32>) -> Arc<str> {
    let login = process.and_then(login_of);
    described(uid, login, &name_of).into()
}

fn described(uid: u32, login: Option<u32>, name: &dyn Fn(u32) -> Option<String>) -> String {
    let one = |uid| match name(uid) {
        Some(name) => format!("{name}(uid {uid})"),
        None => format!("uid {uid}"),
    };
    let mut text = one(uid);
    if let Some(login) = login.filter(|login| *login != uid) {
        let _ = write!(text, ", logged in as {}", one(login));
    }
    text
}

fn name_of(uid: u32) -> Option<String> {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten()?;
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"(),".contains(c);
    let fits = (1..=NAME).contains(&user.name.len()) && user.name.chars().all(plain);
    fits.then_some(user.name)
}

fn login_of(process: i32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{process}/loginuid")).ok()?;
    text.trim().parse().ok().filter(|login| *login != UNSET)
}

/// No one has logged in.
const UNSET: u32 = u32::MAX;
/// Longest name that is shown.
const NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(uid: u32) -> Option<String> {
        match uid {
            0 => Some("root".to_owned()),
            1000 => Some("alice".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn a_person_has_a_name_and_what_sudo_made_of_them_is_seen() {
        for (uid, login, wanted) in [
            (1000, None, "alice(uid 1000)"),
            (1000, Some(1000), "alice(uid 1000)"),
            (0, Some(1000), "root(uid 0), logged in as alice(uid 1000)"),
            (0, Some(7), "root(uid 0), logged in as uid 7"),
            (7, None, "uid 7"),
        ] {
            assert_eq!(described(uid, login, &names), wanted);
        }
    }

    #[test]
    fn what_the_system_does_not_know_has_no_name() {
        assert_eq!(name_of(u32::MAX - 1), None);
        assert_eq!(login_of(-1), None);
    }
}
