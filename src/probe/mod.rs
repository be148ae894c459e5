//! Health of services: one file for each service that has a leader or a quorum, and the ordinary
//! kinds of probes.
//!
//! Owns: the questions and the pure judgement of the answers. Must not change anything on a host.
//! May import: `host`, `docker`, `spec`, and `event::escape`, because text from hosts ends in
//! a verdict.
//!
//! Each service has `read`, which queries every member in parallel and stores each answer, or why
//! there is none, as data; and `judge`, which turns that into a [`Verdict`] without any request. A
//! member without a session is known to be down: the verdict lists it, and is healthy when the rest
//! is a working majority. A member with a session that does not answer is a fault.
//!
//! To add a service: a file with `read` and `judge`, and one line in `ask`.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::disallowed_macros
    )
)]

mod answer;
mod ask;
mod canary;
pub mod chronos;
pub mod consul;
mod context;
pub mod framework;
mod gate;
pub mod haproxy;
pub mod http;
pub mod marathon;
pub mod mesos;
mod ordinary;
mod poll;
pub mod registrator;
mod tally;
pub mod tcp;
mod types;
pub mod vip;
pub mod zookeeper;

pub use answer::{Answer, ProbeError, is_member, show, split_authority};
pub use ask::{SERVICES, ask, service_of};
pub use context::{Ports, ProbeContext, Route};
pub use gate::{Groups, gate, ordinary};
pub use ordinary::{ContainerState, ask_ordinary};
pub use poll::Poll;
pub use registrator::{consul_service_instances, passing_instances};
pub use types::{Member, Proof, Verdict};
pub use zookeeper::read_member_list;
