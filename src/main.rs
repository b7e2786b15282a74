//! The `oncegate` program: see [`oncegate::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    oncegate::cli::run()
}
