//! The program: everything it does is in the library.

/// Requests are many small allocations on one thread that are given back on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    std::process::exit(statusmirror::cli::run());
}
