//! ZooKeeper, Consul and the machines' Engines without their protocols, for tests of the programs
//! that stand on them.

mod catalog;
mod engine;
mod ensemble;

pub use catalog::MemoryCatalog;
pub use engine::{MemoryEngines, Restart};
pub use ensemble::MemoryEnsemble;
