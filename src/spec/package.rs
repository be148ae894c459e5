//! Packages of a distribution that toots installs, and the programs that install them.

/// A package that is installed from the distribution where it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Package {
    /// The Engine.
    Docker,
    /// The NFS client.
    NfsClient,
}

impl Package {
    /// The name in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::NfsClient => "the NFS client",
        }
    }
}

/// A package manager that toots can use. A host says which it has, and is not trusted: its words
/// become part of no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageManager {
    Apt,
    Dnf,
    Zypper,
    Apk,
}

impl PackageManager {
    pub const ALL: [Self; 4] = [Self::Apt, Self::Dnf, Self::Zypper, Self::Apk];

    /// The name of its program.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Apt => "apt-get",
            Self::Dnf => "dnf",
            Self::Zypper => "zypper",
            Self::Apk => "apk",
        }
    }

    /// The one with this program.
    #[must_use]
    pub fn from_program(program: &str) -> Option<Self> {
        let mut known = Self::ALL.into_iter();
        known.find(|manager| manager.program() == program)
    }
}
