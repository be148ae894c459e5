//! The gates against recorded answers of real programs in each state, played back through a
//! session, and (opt-in) against real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // helpers of tests, which clippy does not take for tests

mod probes {
    pub mod consul;
    pub mod frameworks;
    pub mod haproxy;
    pub mod https;
    pub mod mesos;
    pub mod play;
    pub mod real_zookeeper;
    pub mod zookeeper;
}
