//! Why a line of ssh_config cannot be used. The reader adds file, line and keyword.

/// A value, a token or a condition that OpenSSH would refuse too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::transport) enum ConfigError {
    #[error("unknown keyword {0}; IgnoreUnknown skips it")]
    UnknownKeyword(String),
    #[error("unknown token %{0}")]
    UnknownToken(char),
    #[error("% at the end")]
    UnfinishedToken,
    #[error("{0:?} contains a token other than %h")]
    HostNameToken(String),
    #[error("unknown user {0:?}")]
    UnknownUser(String),
    #[error("unclosed ${{ in {0:?}")]
    UnclosedVariable(String),
    #[error("environment variable {0} is not set")]
    VariableNotSet(String),
    #[error("invalid value of {keyword}: {value:?}")]
    InvalidValue { keyword: String, value: String },
    #[error("invalid pattern: {0}")]
    InvalidPattern(String),
    #[error("\"all\" must stand alone or after \"final\" or \"canonical\"")]
    AllWithOthers,
    #[error("{0:?} needs an argument")]
    MissingArgument(String),
    #[error("unknown condition {0:?}")]
    UnknownCondition(String),
    #[error("condition is missing")]
    MissingCondition,
    #[error("cannot run the command of \"exec\" ({0})")]
    Exec(String),
    #[error("command of \"exec\" did not end within {0:?}")]
    ExecDeadline(std::time::Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("config_error", ConfigError, hints: |_| Vec::new(), {
            ConfigError::UnknownKeyword(_) => ConfigError::UnknownKeyword("hostkeyalia".into()),
            ConfigError::UnknownToken(_) => ConfigError::UnknownToken('z'),
            ConfigError::UnfinishedToken => ConfigError::UnfinishedToken,
            ConfigError::HostNameToken(_) => ConfigError::HostNameToken("%p".into()),
            ConfigError::UnknownUser(_) => ConfigError::UnknownUser("ann".into()),
            ConfigError::UnclosedVariable(_) => ConfigError::UnclosedVariable("${HOME".into()),
            ConfigError::VariableNotSet(_) => ConfigError::VariableNotSet("KEYS".into()),
            ConfigError::InvalidValue { .. } => ConfigError::InvalidValue {
                keyword: "port".into(),
                value: "70000".into(),
            },
            ConfigError::InvalidPattern(_) => ConfigError::InvalidPattern("unclosed class".into()),
            ConfigError::AllWithOthers => ConfigError::AllWithOthers,
            ConfigError::MissingArgument(_) => ConfigError::MissingArgument("host".into()),
            ConfigError::UnknownCondition(_) => ConfigError::UnknownCondition("hots".into()),
            ConfigError::MissingCondition => ConfigError::MissingCondition,
            ConfigError::Exec(_) => ConfigError::Exec("no such file".into()),
            ConfigError::ExecDeadline(_) => {
                ConfigError::ExecDeadline(std::time::Duration::from_secs(10))
            }
        });
    }
}
