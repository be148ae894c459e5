//! Versions of a program that may follow each other.

use serde::{Deserialize, Serialize};

use super::ImageRef;

/// What a program supports when its version changes, from the playbook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// Its data are in another service, so that a host without data tells nothing.
    #[serde(default)]
    pub stores_elsewhere: bool,
    /// How many minor versions a change may advance.
    #[serde(default)]
    pub minor_steps: Option<u64>,
    /// Changes that are supported besides, or not supported although they are small.
    #[serde(default)]
    pub changes: Vec<VersionChange>,
    /// Versions that must not run, with the reason.
    #[serde(default)]
    pub refused: Vec<RefusedVersion>,
    /// Where the program's documentation says so.
    #[serde(default)]
    pub source: String,
}

/// A change between versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionChange {
    /// The lowest version to change.
    pub from: String,
    /// The highest version to change (`1.21` includes each 1.21).
    pub up_to: String,
    /// The version after the change.
    pub to: String,
}

/// A version that must not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedVersion {
    pub version: String,
    pub why: String,
}

/// Why a change of version is refused, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRefusal {
    pub why: String,
    pub hint: String,
}

impl Versions {
    /// Whether a program with data may change from one image to another. An image of another name,
    /// or whose tag is no version, is not judged.
    #[must_use]
    pub fn judge(&self, former: &ImageRef, wanted: &ImageRef) -> Option<VersionRefusal> {
        let (from, to) = (numbers(former.tag()), numbers(wanted.tag()));
        let built = |image: &ImageRef| image.recipe_hash().is_some();
        let comparable = program(former) == program(wanted) && !built(former) && !built(wanted);
        if !comparable || from.is_empty() || to.is_empty() {
            return None;
        }
        let refused = |version: &&RefusedVersion| same(&numbers(&version.version), &to);
        if let Some(version) = self.refused.iter().find(refused) {
            return Some(VersionRefusal {
                why: format!("{wanted} must not run: {}", version.why),
                hint: "set another version in [images]".into(),
            });
        }
        let length = from.len().min(to.len());
        if to[..length] < from[..length] {
            return Some(VersionRefusal {
                why: format!("{wanted} is older than {former}, which wrote the data"),
                hint: format!("set {former} in [images], or a later version"),
            });
        }
        let steps = self.minor_steps?;
        let major_changes = from[0] != to[0];
        let minor = |version: &[u64]| version.get(1).copied().unwrap_or(0);
        let possible = self.changes.iter().filter(|change| {
            let (low, high) = (numbers(&change.from), numbers(&change.up_to));
            from >= low && from[..high.len().min(from.len())] <= high[..]
        });
        let mut possible = possible.map(|change| (numbers(&change.to), &change.to));
        if possible.clone().any(|(version, _)| same(&version, &to))
            || !major_changes && minor(&to) - minor(&from) <= steps
        {
            return None;
        }
        let next = match possible.find(|(version, _)| *version < to && version[0] == to[0]) {
            Some((_, version)) => format!("version {version}"),
            None if major_changes => format!("the last version before {}.0", to[0]),
            None => format!("version {}.{}", from[0], minor(&from) + steps),
        };
        let unit = if steps == 1 { "version" } else { "versions" };
        Some(VersionRefusal {
            why: format!(
                "{wanted} cannot follow {former}: a change may advance {steps} minor {unit} at most ({})",
                self.source
            ),
            hint: format!("set {next} in [images] first, and run again"),
        })
    }
}

/// The last part of the repository: the same program may come from another registry.
fn program(image: &ImageRef) -> &str {
    let repository = image.repository();
    repository.rsplit('/').next().unwrap_or(repository)
}

/// Whether a version is the named one, or one of its line.
fn same(named: &[u64], version: &[u64]) -> bool {
    version.starts_with(named)
}

/// The numbers of a version: `v1.7.1` is 1, 7, 1; a text without a leading number has none.
pub(super) fn numbers(version: &str) -> Vec<u64> {
    version
        .trim_start_matches('v')
        .split(['.', '-', '_'])
        .map_while(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(from: &str, to: &str) -> Option<String> {
        let versions = Versions {
            minor_steps: Some(2),
            changes: vec![VersionChange {
                from: "1.21.7".into(),
                up_to: "1.21".into(),
                to: "2.0".into(),
            }],
            refused: vec![RefusedVersion {
                version: "1.9.3".into(),
                why: "it loses data".into(),
            }],
            source: "https://example.com".into(),
            ..Versions::default()
        };
        let image = |text: &str| ImageRef(text.to_owned());
        let refusal = versions.judge(&image(from), &image(to));
        refusal.map(|refusal| format!("{} → {}", refusal.why, refusal.hint))
    }

    #[test]
    fn supported_changes_pass() {
        for (from, to) in [
            ("a/consul:1.20", "a/consul:1.22"),
            ("a/consul:1.22.3", "b.example/c/consul:1.22"),
            ("consul:v1.21.9", "consul:2.0.1"),
            ("consul:1.22", "haproxy:2.6"),
            ("consul:latest", "consul:1.2"),
            ("consul:1.22", "consul:latest"),
            ("consul:1.22", "toots/consul:0123abcd"),
        ] {
            assert_eq!(judge(from, to), None, "{from} {to}");
        }
    }

    #[test]
    fn messages() {
        let refusals = [
            ("consul:1.22", "consul:1.21.0"),
            ("consul:1.19", "consul:1.22"),
            ("consul:1.21.6", "consul:2.0"),
            ("consul:1.21.8", "consul:2.1"),
            ("consul:1.8", "consul:1.9.3"),
        ];
        let refusals = refusals.map(|(from, to)| judge(from, to).unwrap_or_default());
        insta::assert_snapshot!(refusals.join("\n"), @r"
        consul:1.21.0 is older than consul:1.22, which wrote the data → set consul:1.22 in [images], or a later version
        consul:1.22 cannot follow consul:1.19: a change may advance 2 minor versions at most (https://example.com) → set version 1.21 in [images] first, and run again
        consul:2.0 cannot follow consul:1.21.6: a change may advance 2 minor versions at most (https://example.com) → set the last version before 2.0 in [images] first, and run again
        consul:2.1 cannot follow consul:1.21.8: a change may advance 2 minor versions at most (https://example.com) → set version 2.0 in [images] first, and run again
        consul:1.9.3 must not run: it loses data → set another version in [images]
        ");
    }
}
