//! Questions about health: one file for each service that has a leader or a quorum, and the ordinary kinds.
//!
//! Owns: the questions and their pure judgement. May import: `transport`, `docker`, `spec`, and `event::escape`, because what hosts
//! send ends in a verdict's text.
//!
//! Each service has `read`, which asks every member at once and keeps what each answered or why it did not as data, and `judge`,
//! which turns that into a [`Verdict`] without asking anything. A member without a session is known to be down: the verdict says so
//! and is healthy when the rest is a working majority. A member with a session that does not answer is a fault.
//!
//! To add a service: a file with `read` (asks every member) and `judge` (pure), and one line in `ask`.

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
pub mod registrator;
mod tally;
pub mod tcp;
mod types;
pub mod vip;
mod wait;
pub mod zookeeper;

pub use answer::{Answer, ProbeError, show, split_authority};
pub use ask::{SERVICES, ask, service_of};
pub use context::{Context, Ports, Route};
pub use gate::{Groups, gate, ordinary};
pub use ordinary::{ContainerState, ask_ordinary};
pub use registrator::{consul_service_instances, passing_instances};
pub use types::{Member, Proof, Verdict};
pub use wait::{FIRST_PAUSE, GateClosed, LONGEST_PAUSE, wait};
