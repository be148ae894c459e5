//! toots brings a cluster up from a list of machines: inventory and playbooks give what is wanted, hosts are observed once, a pure
//! difference is the plan, and an engine applies it between gates. Everything that happens is an event.
//!
//! The rooms, from low to high; a lower one never imports a higher one (`tests/architecture.rs` holds the table).

pub mod spec;

pub mod event;

pub mod inventory;

pub mod playbook;

pub mod desired;

pub mod transport;

pub mod docker;

pub mod observe;

pub mod plan;

pub mod probe;

pub mod guard;

pub mod app;

pub mod tunnel;

pub mod engine;

pub mod report;

pub mod cli;
