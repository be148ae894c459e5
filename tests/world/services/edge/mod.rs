//! The way from a container to a client: Registrator writes services into Consul, consul-template makes
//! a bundle of them, HAProxy serves it, keepalived holds the address that clients use.
//!
//! They know Consul by [`super::coordination::Catalog`], the Engine by [`super::engine`], and each other
//! by files alone. To add a program: its file, and a row in `services::programs`.

pub mod config;
mod consul_template;
mod haproxy;
mod keepalived;
mod registrator;
pub mod worker;

pub use consul_template::ConsulTemplate;
pub use haproxy::Haproxy;
pub use keepalived::Keepalived;
pub use registrator::{Registrator, Settings, services_of};
