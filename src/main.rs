//! The `oncegate` program: see [`oncegate::cli`].

use std::process::ExitCode;

use mimalloc::MiMalloc;
use zeroizing_alloc::ZeroAlloc;

/// Overwrites what is freed: libraries do not know which of their buffers held a password (threats T26).
#[global_allocator]
static ALLOCATOR: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);

fn main() -> ExitCode {
    oncegate::cli::run()
}
