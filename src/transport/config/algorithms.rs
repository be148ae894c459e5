//! Algorithm lists with the prefixes `+`, `-` and `^`.

use crate::transport::known_hosts::list_cased;

/// A list as written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::transport) enum AlgorithmList {
    /// Not set.
    #[default]
    Default,
    /// Exactly these, in this order.
    Only(Vec<String>),
    /// The defaults, then these.
    Append(Vec<String>),
    /// The defaults without those that match these patterns.
    Without(String),
    /// These, then the defaults.
    First(Vec<String>),
}

impl AlgorithmList {
    pub(in crate::transport) fn parse(text: Option<&str>) -> Self {
        let names = |t: &str| {
            t.split(',')
                .filter(|n| !n.is_empty())
                .map(str::to_owned)
                .collect()
        };
        match text {
            None => Self::Default,
            Some(t) => match t.split_at_checked(1) {
                Some(("+", rest)) => Self::Append(names(rest)),
                Some(("-", rest)) => Self::Without(rest.to_owned()),
                Some(("^", rest)) => Self::First(names(rest)),
                _ => Self::Only(names(t)),
            },
        }
    }

    /// Whether the operator chose the order.
    pub(in crate::transport) fn ordered(&self) -> bool {
        matches!(self, Self::Only(_))
    }

    /// The effective list: only names from `known`, because a name that is not built in cannot be
    /// offered.
    pub(in crate::transport) fn choose<T: Clone>(
        &self,
        defaults: &[T],
        known: &[T],
        name: impl Fn(&T) -> String,
    ) -> Vec<T> {
        let named = |names: &[String]| -> Vec<T> {
            let matching = |n: &String| {
                known
                    .iter()
                    .filter(|k| list_cased(n, &name(k)))
                    .cloned()
                    .collect::<Vec<_>>()
            };
            names.iter().flat_map(matching).collect()
        };
        let (mut out, rest) = match self {
            Self::Default => (defaults.to_vec(), Vec::new()),
            Self::Only(names) => (named(names), Vec::new()),
            Self::Append(names) => (defaults.to_vec(), named(names)),
            Self::First(names) => (named(names), defaults.to_vec()),
            Self::Without(patterns) => (
                defaults
                    .iter()
                    .filter(|d| !list_cased(patterns, &name(d)))
                    .cloned()
                    .collect(),
                Vec::new(),
            ),
        };
        for more in rest {
            if !out.iter().any(|o| name(o) == name(&more)) {
                out.push(more);
            }
        }
        out
    }

    /// Whether a name may be used; the default allows everything that is built in.
    pub(in crate::transport) fn allows(&self, name: &str) -> bool {
        match self {
            Self::Only(names) => names.iter().any(|n| list_cased(n, name)),
            Self::Without(patterns) => !list_cased(patterns, name),
            Self::Default | Self::Append(_) | Self::First(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_change_the_defaults() {
        let choose = |t: &str| {
            AlgorithmList::parse(Some(t))
                .choose(&["a", "b"], &["a", "b", "c"], |n| (*n).to_owned())
                .join(",")
        };
        assert_eq!(choose("c,a,x"), "c,a");
        assert_eq!(choose("+c"), "a,b,c");
        assert_eq!(choose("^b"), "b,a");
        assert_eq!(choose("-a"), "b");
        assert_eq!(choose("-*"), "");
        assert!(AlgorithmList::parse(Some("ssh-*")).allows("ssh-ed25519"));
        assert!(!AlgorithmList::parse(Some("-ssh-*")).allows("ssh-ed25519"));
    }
}
