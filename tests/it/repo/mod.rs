//! The repository: its architecture, its documents and its README.

mod architecture;
mod documents;
mod faults;
mod import_graph;
mod import_graph_examples;
mod readme;
