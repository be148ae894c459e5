//! Requirements of images on their hosts.

use serde::{Deserialize, Serialize};

use super::versions::numbers;
use super::{ContainerSpec, ImageRef};

/// A requirement of a component's image on its host, from the playbook; checked before the first
/// change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// Applies to images whose tag is a version up to this one (`1.11` includes 1.11.0); to all
    /// when absent.
    #[serde(default)]
    pub image_up_to: Option<String>,
    /// Does not apply to images whose repository contains this.
    #[serde(default)]
    pub unless_image: Option<String>,
    /// Applies to images of the recipe's program instead of the others.
    #[serde(default)]
    pub by_recipe: bool,
    /// What fails is worth a warning only.
    #[serde(default)]
    pub warning: bool,
    /// Required cgroup version.
    #[serde(default)]
    pub cgroup: Option<u8>,
    /// API version that the Engine must still support.
    #[serde(default)]
    pub engine_speaks: Option<String>,
    /// An argument prefix: with existing data, the container cannot start with a different argument
    /// of this prefix.
    #[serde(default)]
    pub same_argument: Option<String>,
    /// What fails otherwise.
    pub why: String,
    /// The remedy.
    pub hint: String,
}

impl Requirement {
    /// Whether it applies to an image, which has the recipe's program or not.
    #[must_use]
    pub fn concerns(&self, image: &ImageRef, is_of_recipe: bool) -> bool {
        let excluded = self.unless_image.as_deref();
        if self.same_argument.is_none() && is_of_recipe != self.by_recipe
            || excluded.is_some_and(|part| image.repository().contains(part))
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

    /// The old and the new argument, when they must be equal and are not.
    #[must_use]
    pub fn changed_argument<'a>(
        &self,
        former: &'a ContainerSpec,
        wanted: &'a ContainerSpec,
    ) -> Option<(&'a str, &'a str)> {
        let begin = self.same_argument.as_deref()?;
        let find_argument = |spec: &'a ContainerSpec| {
            spec.command
                .iter()
                .map(String::as_str)
                .find(|argument| argument.starts_with(begin))
        };
        find_argument(former)
            .zip(find_argument(wanted))
            .filter(|(former, wanted)| former != wanted)
    }

    /// Whether an Engine with this oldest API version is too new.
    #[must_use]
    pub fn refuses_engine(&self, min_api: &str) -> bool {
        self.engine_speaks
            .as_deref()
            .is_some_and(|spoken| numbers(min_api) > numbers(spoken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concerns_old_images_only() {
        let requirement = Requirement {
            image_up_to: Some("1.11".into()),
            unless_image: Some("other".into()),
            by_recipe: false,
            warning: false,
            cgroup: Some(1),
            engine_speaks: Some("1.24".into()),
            same_argument: None,
            why: String::new(),
            hint: String::new(),
        };
        let concerns = |image: &str| requirement.concerns(&ImageRef(image.to_owned()), false);
        assert!(concerns("mesosphere/mesos-slave:1.7.1") && concerns("a/b:1.11.0"));
        assert!(!concerns("a/b:1.12.0") && !concerns("a/b:latest") && !concerns("a/other-b:1.7.1"));
        // A build with a revision of its distributor.
        assert!(concerns("a/b:1.0.1-2.0.93.ubuntu1404"));
        assert!(!requirement.concerns(&ImageRef("a/b:1.11.0-0.9.0".into()), true));
        assert!(
            requirement.refuses_engine("1.44")
                && !requirement.refuses_engine("1.24")
                && !requirement.refuses_engine("1.12")
        );
    }
}
