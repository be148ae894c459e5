//! A simulated world: hosts, their Engines and services in one process, on a clock that a test moves.
//!
//! From low to high: the interfaces that all share (`files`, `network`, `process`, `record`, `random`,
//! `changes`, `namespaces`); `docker` and `services`, which do not know each other; `host`, which has an
//! Engine; `world`, the machines of a cluster; `life`, a cluster in which toots runs, with its `judge`;
//! `state` and `saved`, what it left; then the tests of whole lives.
//!
//! Of toots it imports the command line, the environment, sessions and their types, and, to test the
//! simulated Engine, the client of Docker: nothing of engine, plan, desired, guard or probe, which it
//! judges. `tests/architecture/world.rs` holds that.
//!
//! Everything runs on tokio's paused clock and draws from [`random::Random`], so that a life follows
//! from its seed. No other clock, no thread, no order of a hash map, and `biased;` in each `select!`.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod changes;
mod chaos;
mod cuts;
mod directed;
mod docker;
mod endings;
mod files;
mod first_up;
mod host;
mod judge;
mod life;
mod lives;
mod namespaces;
mod network;
mod process;
mod quorum;
mod races;
mod random;
mod readings;
mod record;
mod recorded;
mod saved;
mod sequences;
mod services;
mod state;
mod world;
