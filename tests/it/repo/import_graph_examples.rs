//! Small crates, and the imports that are found in them.

use super::import_graph::{Files, Imports, cycles, imports};

fn imports_of(files: &[(&str, &str)]) -> Imports {
    let parse = |(path, text): &(&str, &str)| ((*path).to_owned(), syn::parse_file(text).unwrap());
    imports(&files.iter().map(parse).collect::<Files>())
}

#[track_caller]
fn assert_edges(files: &[(&str, &str)], expected: &[(&str, &str)]) {
    let edges = imports_of(files).edges;
    let edges: Vec<_> = edges.keys().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    assert_eq!(edges, expected);
}

#[test]
fn an_edge_goes_through_re_exports_to_the_file_that_defines_the_item() {
    let files = [
        ("lib.rs", "pub mod a; mod b;"),
        (
            "a/mod.rs",
            "mod one; mod two; pub use one::{One, inner::{self, Deep as Renamed}}; pub(crate) use two::*;",
        ),
        ("a/one.rs", "pub mod inner; pub struct One;"),
        ("a/one/inner.rs", "pub struct Deep; pub fn act() {}"),
        ("a/two.rs", "pub const TWO: u8 = 2;"),
        ("b.rs", "use crate::a::{self, Renamed, inner::act}; fn b() -> a::One { a::TWO }"),
    ];
    let expected = [("b.rs", "a/one.rs"), ("b.rs", "a/one/inner.rs"), ("b.rs", "a/two.rs")];
    assert_edges(&files, &expected);
}

#[test]
fn relative_and_full_paths_are_edges_and_the_name_of_a_module_alone_is_none() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "pub struct A; impl A { pub const X: u8 = 1; }"),
        ("b.rs", "use super::a; mod inner { use super::super::c::C; }"),
        ("c.rs", "use self::inner::In; pub struct C(In); mod inner { pub struct In; }"),
        (
            "d.rs",
            "fn d() -> u8 { let a = 1; match crate::a::A::X { crate::c::LIMIT => a, _ => 0 } }",
        ),
        ("main.rs", "fn main() { statusmirror::d::run() } mod x { use crate::main; }"),
    ];
    assert_edges(&files, &[("b.rs", "c.rs"), ("d.rs", "a.rs")]);
}

#[test]
fn unit_tests_and_code_behind_them_are_read_too() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        (
            "a.rs",
            "pub fn a() {} #[cfg(test)] mod tests { use super::*; use crate::b::B; } use crate::c::C;",
        ),
        ("b.rs", "pub struct B; #[cfg(test)] mod tests;"),
        ("b/tests.rs", "use super::*; #[test] fn t() { let b = B; }"),
        ("c.rs", "pub struct C;"),
    ];
    assert_edges(&files, &[("a.rs", "b.rs"), ("a.rs", "c.rs"), ("b/tests.rs", "b.rs")]);
}

#[test]
fn tokens_of_macros_and_attributes_are_read_too() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "pub fn a() -> u8 { 1 }"),
        ("b.rs", "use crate::a; fn b() { println!(\"{}\", a::a()); }"),
        ("c.rs", "#[derive(Serialize)] struct C { #[serde(with = \"crate::d\")] at: u8 }"),
        ("d.rs", "pub fn serialize() {}"),
    ];
    assert_edges(&files, &[("b.rs", "a.rs"), ("c.rs", "d.rs")]);
    let without_imports = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub fn a() {}"),
        (
            "b.rs",
            "/// Not [`crate::a::a`].\nfn b() { x!(\"crate::a::a\", y.a, 'a, ::a::a); } // crate::a::a()",
        ),
    ];
    assert_edges(&without_imports, &[]);
}

#[test]
fn a_module_and_a_function_of_one_name_are_told_apart() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a/mod.rs", "pub mod run; pub fn run() {}"),
        ("a/run.rs", "pub fn fast() {}"),
        ("b.rs", "use crate::a::run; fn b() { run::fast() }"),
        ("c.rs", "use crate::a::run; fn c() { run() }"),
    ];
    assert_edges(&files, &[("b.rs", "a/run.rs"), ("c.rs", "a/mod.rs")]);
}

#[test]
fn files_that_import_one_another_are_a_cycle() {
    let imports = imports_of(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "pub struct B; fn b(c: crate::c::C) {}"),
        ("c.rs", "pub struct C; #[cfg(test)] mod tests { use crate::a::A; }"),
        ("d.rs", "use crate::a::A; use std::fmt::Display; fn d() { tokio::spawn(1) }"),
    ]);
    let cycles = cycles(&imports.edges);
    let cycles: Vec<Vec<_>> = cycles.iter().map(|files| files.iter().collect()).collect();
    assert_eq!(cycles, [["a.rs", "b.rs", "c.rs"]]);
    let foreign: Vec<_> = imports.foreign["d.rs"].iter().collect();
    assert_eq!(foreign, ["std::fmt::Display", "tokio::spawn"]);
}
