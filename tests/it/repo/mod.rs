//! The repository: its architecture and its documents.

mod architecture;
mod documents;
mod faults;
mod import_graph;
mod import_graph_examples;
mod links;
mod pages;
