//! Tests of the programs, on a world without an Engine's wire and without ZooKeeper's and Consul's
//! protocols: the containers are those that `toots render` prints.
//!
//! To add a recording: a row in `table.rs`, with its replay or the reason why there is none.

mod agents;
mod cost;
mod determinism;
mod edge;
mod engines;
mod frameworks;
mod masters;
mod on_quorums;
mod others;
mod recorded;
mod recorded_registrator;
mod rendered;
mod replays;
mod replays_edge;
mod replays_failures;
mod replays_frameworks;
mod rig;
mod table;
