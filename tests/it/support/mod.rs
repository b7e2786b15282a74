//! What several test modules need: vector files, foreign tools, a repeatable random source.

pub(crate) mod apart;
pub(crate) mod app;
pub(crate) mod base;
pub(crate) mod explained;
pub(crate) mod service;
pub(crate) mod vectors;

pub(crate) mod between;
pub(crate) mod codes;
pub(crate) mod console;
pub(crate) mod corp;
pub(crate) mod daemon;
pub(crate) mod desk;
pub(crate) mod device;
pub(crate) mod disk;
pub(crate) mod expected;
pub(crate) mod freeradius;
pub(crate) mod gateway;
pub(crate) mod gear;
pub(crate) mod http2;
pub(crate) mod journal;
pub(crate) mod kills;
pub(crate) mod lab;
pub(crate) mod lane;
pub(crate) mod limits;
pub(crate) mod net;
pub(crate) mod outbox;
pub(crate) mod policies;
pub(crate) mod postbox;
pub(crate) mod postgres;
pub(crate) mod rowfile;
pub(crate) mod samba;
pub(crate) mod sealing;
pub(crate) mod slapd;
pub(crate) mod slow;
pub(crate) mod store;
pub(crate) mod terminal;
pub(crate) mod yubikey;

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// Whether a foreign tool can be run. When it is missing, says on standard error which test is
/// skipped and how to install the tool; when `ONCEGATE_TEST_REQUIRE=1`, fails instead, so that
/// continuous integration cannot lose a comparison in silence.
pub(crate) fn require(tool: &str, package: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join(tool).is_file()) {
        return true;
    }
    skip(&format!("{tool} not found (apt install {package})"));
    false
}

/// Copies a file, or a directory with all that is in it, to a place where nothing is.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("a directory")).expect("the directory");
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.expect("cp").success(), "{}", from.display());
}

/// Says that this test is skipped and why; when `ONCEGATE_TEST_REQUIRE=1`, fails instead.
pub(crate) fn skip(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let required = std::env::var_os("ONCEGATE_TEST_REQUIRE").is_some_and(|value| value == "1");
    assert!(!required, "{test} cannot run: {why}");
    // Written past the test harness, which hides the output of tests that pass.
    let line = format!("SKIPPED {test}: {why}\n");
    std::io::stderr()
        .write_all(line.as_bytes())
        .expect("standard error is open");
}

/// The `SplitMix64` generator: repeatable numbers for large comparisons. Not for anything secret.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let index = self.below(of.len() as u64);
        of[usize::try_from(index).expect("an index")]
    }

    /// `length` octets.
    pub(crate) fn octets(&mut self, length: u64) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}
