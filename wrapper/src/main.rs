//! The binary `larder`; see [`larder::cli::larder`].

/// musl's own allocator gives memory back at every turn, which costs a hit a tenth of its time.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ! {
    larder::cli::larder::main()
}
