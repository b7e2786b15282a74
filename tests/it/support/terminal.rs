//! A command of the binary at a pseudo-terminal: what a person types and sees.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, tcgetattr};

/// A command whose standard input, output and error are one terminal.
pub(crate) struct Terminal {
    screen: File,
    child: Child,
    seen: String,
}

impl Terminal {
    pub(crate) fn start(mut command: Command) -> Self {
        let pty = openpty(None, None).unwrap();
        let end = |fd: &std::os::fd::OwnedFd| Stdio::from(fd.try_clone().unwrap());
        command
            .stdin(end(&pty.slave))
            .stdout(end(&pty.slave))
            .stderr(end(&pty.slave));
        let child = command.spawn().unwrap();
        Self {
            screen: File::from(pty.master),
            child,
            seen: String::new(),
        }
    }

    /// Waits until this is shown; what was shown so far is left behind.
    pub(crate) fn until(&mut self, text: &str) {
        let mut from = 0;
        loop {
            if let Some(at) = self.seen.get(from..).and_then(|seen| seen.find(text)) {
                self.seen.drain(..from + at + text.len());
                return;
            }
            from = self.seen.len().saturating_sub(text.len());
            while !self.seen.is_char_boundary(from) {
                from -= 1;
            }
            assert!(self.read(), "`{text}` was not shown: {}", self.seen);
        }
    }

    pub(crate) fn type_line(&mut self, text: &str) {
        self.screen.write_all(text.as_bytes()).unwrap();
        self.screen.write_all(b"\n").unwrap();
    }

    /// A key that sends no line.
    pub(crate) fn press(&mut self, octet: u8) {
        self.screen.write_all(&[octet]).unwrap();
    }

    /// Whether the terminal shows what is typed.
    pub(crate) fn echoes(&self) -> bool {
        let modes = tcgetattr(self.screen.as_fd()).unwrap();
        modes.local_flags.contains(LocalFlags::ECHO)
    }

    /// Waits for the end; what was shown since the last `until`, and how it ended.
    pub(crate) fn end(mut self) -> (String, ExitStatus) {
        while self.read() {}
        (std::mem::take(&mut self.seen), self.child.wait().unwrap())
    }

    /// Reads more of the screen; false when the command has ended.
    fn read(&mut self) -> bool {
        let mut fds = [PollFd::new(self.screen.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut fds, PollTimeout::from(60_000_u16)).unwrap();
        assert!(ready > 0, "nothing more is shown after: {}", self.seen);
        let mut buffer = [0; 1024];
        match self.screen.read(&mut buffer) {
            Ok(length @ 1..) => {
                self.seen
                    .push_str(&String::from_utf8_lossy(&buffer[..length]));
                true
            }
            _ => false,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
