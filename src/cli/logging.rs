//! Log lines on stderr.

use crate::cli::output::stderr_colour;
use crate::config::{Level, Log, LogFormat};
use crate::daemon::logging;

/// For `serve`: as configured, by a thread of its own.
pub(super) fn start(log: Log) {
    logging::start(log, stderr_colour());
}

/// For commands: warnings and errors.
pub(super) fn start_quiet() {
    let log = Log {
        level: Level::Warn,
        format: LogFormat::Text,
    };
    logging::start_direct(log, stderr_colour());
}
