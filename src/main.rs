//! The `oncegate` program: see [`oncegate::cli`].

use std::process::ExitCode;

use mimalloc::MiMalloc;
use zeroizing_alloc::ZeroAlloc;

/// Overwrites what is freed: libraries do not know which of their buffers held a password (threats T26).
#[global_allocator]
static ALLOCATOR: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);

fn main() -> ExitCode {
    // Of 2 MiB that the allocator asks for at once a small installation uses a few pages each: 33 MB of memory that
    // holds nothing. That a kernel does not know the call is no harm.
    let _ = nix::sys::prctl::set_thp_disable(true);
    oncegate::cli::run()
}
