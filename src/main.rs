//! Program entry: everything it does is in the library.

/// mimalloc, because requests are many small allocations on one thread that are freed on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    std::process::exit(statusmirror::cli::run());
}
