//! Overload: many connections, little memory, slow clients.

mod connections;
mod container_memory;
mod event_clients;
mod file_mapping;
mod held_connections;
mod overload;
mod slow_clients;
mod slow_event_clients;
