//! Exit codes of the contract.

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// Done.
    pub const DONE: Self = Self(0);
    /// Internal error.
    pub const INTERNAL: Self = Self(1);
    /// Usage or inventory; nothing was contacted.
    pub const USAGE: Self = Self(2);
    /// A host not reached, trusted or logged in to.
    pub const UNREACHED: Self = Self(3);
    /// Preflight or guard refused.
    pub const REFUSED: Self = Self(4);
    /// A gate failed, or the cluster is unhealthy.
    pub const GATE: Self = Self(6);
    /// A limit passed.
    pub const DEADLINE: Self = Self(8);
    /// `plan --exit-code` found changes.
    pub const CHANGES: Self = Self(10);
    /// Interrupted.
    pub const INTERRUPTED: Self = Self(130);
}
