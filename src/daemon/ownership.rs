//! What root makes in the installation of another user.
//!
//! `sudo oncegate ..` on a stopped daemon opens the store itself: the files it makes are root's, and the daemon, which
//! runs as the owner of DIR, could not read them.
//!
//! Threats: the owner of DIR may put links and other directories there while root looks. So each name is opened in the
//! directory that was opened before it, no link is followed, and a file with a second name is left alone.

use std::ffi::CStr;
use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Dir, FileType, Gid, Mode, OFlags, Uid, fchown, fstat, openat};
use rustix::io::{Errno, Result};

/// Gives the owner of `dir` what root has made in it and no other user can read. What everyone can read, as policies
/// that a package brought, stays whose it is.
pub fn hand_over(dir: &Path) {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let given = openat(CWD, dir, OPENED | OFlags::DIRECTORY, Mode::empty());
    let given = given.and_then(|opened| {
        let owner = fstat(&opened)?;
        // Root's own is used by root.
        if owner.st_uid == 0 {
            return Ok(());
        }
        let owner = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
        below(&opened, owner, DEPTH)
    });
    match given {
        // There is no installation yet.
        Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => {}
        Err(error) => {
            let dir = dir.display();
            tracing::warn!(%dir, %error, "what root made here could not be given to the owner of the directory");
        }
    }
}

fn below(dir: &OwnedFd, owner: (Uid, Gid), depth: u32) -> Result<()> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let Some(file) = opened(dir, name)? else {
            continue;
        };
        let what = fstat(&file)?;
        let kind = FileType::from_raw_mode(what.st_mode);
        if kind.is_dir() && depth > 0 {
            below(&file, owner, depth - 1)?;
        }
        let one_name = kind.is_dir() || kind.is_file() && what.st_nlink == 1;
        if what.st_uid == 0 && what.st_mode & OTHERS_READ == 0 && one_name {
            fchown(&file, Some(owner.0), Some(owner.1))?;
        }
    }
    Ok(())
}

/// What has this name; none where that is a link or a socket, or has gone.
fn opened(dir: impl AsFd, name: &CStr) -> Result<Option<OwnedFd>> {
    let flags = OPENED | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    match openat(dir, name, flags, Mode::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => Ok(None),
        Err(error) => Err(error),
    }
}

const OPENED: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);
/// How deep there are files of an installation: DIR/init.unfinished/policies.
const DEPTH: u32 = 3;
const OTHERS_READ: u32 = 0o004;
