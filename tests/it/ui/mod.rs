//! Page at `/`. `tests/ui` has its browser tests.

mod pages;
