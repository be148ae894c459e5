//! Simulated machines and the sessions to them.
//!
//! A session carries out what `toots::host` asks for as its scripts do on a real machine, with their
//! intermediate states, and loses what a real one loses. What has arrived at a machine runs on to its
//! end there, whatever becomes of the connection. Held to real scripts by [`sequences`].
//!
//! Owns: a machine's disk, units, packages, lock and power, the connections to it, and the faults of all
//! of them. It may import `docker`, for the machine's Engine, and of toots `host`, `spec` and
//! `transport`. To add an operation: an arm in `operations.rs`, and a call in `sequences.rs`. To add a
//! fault: a kind in `faults.rs`, and a test in `fault_tests.rs`.

pub mod controller;
mod dialler_tests;
pub mod disk;
mod fault_tests;
pub mod faults;
mod images;
mod install;
pub mod link;
mod lock;
mod lock_tests;
pub mod machine;
mod observe;
mod operations;
mod place;
mod place_tests;
mod power;
mod real;
mod sequence_tests;
pub mod sequences;
mod session;
mod stream;
mod task;
pub mod units;
