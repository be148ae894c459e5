//! Exit codes of the process: a contract with scripts, listed in `toots --help`.

/// How the process ends. Each code has one meaning over all commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitCode(pub u8);

impl ExitCode {
    /// Done.
    pub const DONE: Self = Self(0);
    /// Internal error, or an output that could not be written.
    pub const INTERNAL: Self = Self(1);
    /// Usage or inventory; no host was contacted.
    pub const USAGE: Self = Self(2);
    /// A host could not be reached, trusted or logged in to.
    pub const UNREACHABLE: Self = Self(3);
    /// Preflight or a guard refused; nothing was changed.
    pub const REFUSED: Self = Self(4);
    /// Some hosts failed: run again.
    pub const PARTIAL: Self = Self(5);
    /// A gate failed, or the cluster is unhealthy.
    pub const GATE: Self = Self(6);
    /// Another run holds the lock.
    pub const LOCKED: Self = Self(7);
    /// A deadline passed.
    pub const DEADLINE: Self = Self(8);
    /// `plan --exit-code` found changes.
    pub const CHANGES: Self = Self(10);
    /// Interrupted by SIGHUP: the terminal closed.
    pub const HUNG_UP: Self = Self(129);
    /// Interrupted by Ctrl-C.
    pub const INTERRUPTED: Self = Self(130);
    /// Interrupted by SIGTERM.
    pub const TERMINATED: Self = Self(143);
}
