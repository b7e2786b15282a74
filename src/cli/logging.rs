//! Log lines on stderr.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::cli::output::stderr_colour;
use crate::config::Level;
use crate::config::Log;
use crate::config::LogFormat;
use crate::diagnostic::Colour;

/// For `serve`: as configured.
pub(super) fn start(log: Log) {
    let lines = fmt()
        .with_env_filter(EnvFilter::new(log.level.as_str()))
        .with_writer(io::stderr);
    // A second start of logging in one process is a test's; the first one stays.
    let _ = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => lines.with_ansi(stderr_colour() == Colour::Ansi).try_init(),
    };
}

/// For commands: warnings and errors.
pub(super) fn start_quiet() {
    start(Log {
        level: Level::Warn,
        format: LogFormat::Text,
    });
}
