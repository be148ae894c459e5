//! toots brings up a cluster from a list of machines. Inventory and playbook give the desired
//! state, each host is observed once, a pure function computes the plan, and the engine executes it
//! with a gate after each service. Everything that happens is an event.
//!
//! The rooms, from low to high. A room imports only lower ones (`tests/architecture.rs` holds the
//! table).

// All output goes through `report`: a terminal that goes away must not end a run.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod app;
pub mod bundle;
pub mod cli;
pub mod desired;
pub mod docker;
pub mod engine;
pub mod env;
pub mod event;
pub mod guard;
pub mod host;
pub mod inventory;
pub mod observe;
pub mod plan;
pub mod playbook;
pub mod probe;
pub mod report;
pub mod spec;
pub mod transport;
pub mod tunnel;

#[cfg(test)]
mod testing;
