//! The page at `/`; `tests/ui` has its browser tests.

mod pages;
