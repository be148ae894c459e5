//! What is known not to work with an image.

use serde::{Deserialize, Serialize};

use super::{ContainerSpec, ImageRef};

/// A component's image needs this of its host; said by the playbook, checked before the first change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// Holds for images whose tag is a version up to this one (`1.11` includes 1.11.0); for all when absent.
    #[serde(default)]
    pub image_up_to: Option<String>,
    /// Does not hold for images whose repository contains this.
    #[serde(default)]
    pub unless_image: Option<String>,
    /// The version of control groups that the host must have.
    #[serde(default)]
    pub cgroup: Option<u8>,
    /// The Engine must still speak this version of its API.
    #[serde(default)]
    pub engine_speaks: Option<String>,
    /// With the data that it has, it cannot be started with another argument that begins so.
    #[serde(default)]
    pub same_argument: Option<String>,
    /// What does not work otherwise.
    pub why: String,
    /// The remedy.
    pub hint: String,
}

impl Requirement {
    /// Whether it holds for an image.
    #[must_use]
    pub fn concerns(&self, image: &ImageRef) -> bool {
        if self
            .unless_image
            .as_deref()
            .is_some_and(|part| image.repository().contains(part))
        {
            return false;
        }
        let Some(limit) = &self.image_up_to else {
            return true;
        };
        let limit = numbers(limit);
        let tag: Vec<u64> = numbers(image.tag()).into_iter().take(limit.len()).collect();
        !tag.is_empty() && tag <= limit
    }

    /// The former and the new argument, when they must be the same and are not.
    #[must_use]
    pub fn changed_argument<'a>(
        &self,
        former: &'a ContainerSpec,
        wanted: &'a ContainerSpec,
    ) -> Option<(&'a str, &'a str)> {
        let begin = self.same_argument.as_deref()?;
        let of = |spec: &'a ContainerSpec| {
            spec.command
                .iter()
                .map(String::as_str)
                .find(|argument| argument.starts_with(begin))
        };
        of(former)
            .zip(of(wanted))
            .filter(|(former, wanted)| former != wanted)
    }

    /// Whether an Engine that speaks nothing older than `min_api` is too new.
    #[must_use]
    pub fn refuses_engine(&self, min_api: &str) -> bool {
        self.engine_speaks
            .as_deref()
            .is_some_and(|spoken| numbers(min_api) > numbers(spoken))
    }
}

/// The numbers of a version: `v1.7.1` is 1, 7, 1; a text without a leading number has none.
fn numbers(version: &str) -> Vec<u64> {
    version
        .trim_start_matches('v')
        .split(['.', '-', '_'])
        .map_while(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concerns_old_images_only() {
        let requirement = Requirement {
            image_up_to: Some("1.11".into()),
            unless_image: Some("standin".into()),
            cgroup: Some(1),
            engine_speaks: Some("1.24".into()),
            same_argument: None,
            why: String::new(),
            hint: String::new(),
        };
        let concerns = |image: &str| requirement.concerns(&ImageRef(image.to_owned()));
        assert!(concerns("mesosphere/mesos-slave:1.7.1") && concerns("a/b:1.11.0"));
        assert!(
            !concerns("a/b:1.12.0") && !concerns("a/b:latest") && !concerns("a/standin-b:1.7.1")
        );
        assert!(
            requirement.refuses_engine("1.44")
                && !requirement.refuses_engine("1.24")
                && !requirement.refuses_engine("1.12")
        );
    }
}
