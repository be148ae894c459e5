//! A machine in memory: for whole runs without a process, repeated from a seed.

mod files;
mod machine;
mod signals;
mod terminal;

pub use files::MemoryFiles;
pub use machine::MemoryMachine;
pub use signals::MemorySignals;
pub use terminal::MemoryTerminal;
