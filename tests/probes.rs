//! The gates over what real programs answered in each state, through a session that plays it back, and (opt-in) over real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // helpers of tests, which clippy does not take for tests

mod probes {
    pub mod consul;
    pub mod frameworks;
    pub mod haproxy;
    pub mod mesos;
    pub mod play;
    pub mod real_zookeeper;
    pub mod zookeeper;
}
