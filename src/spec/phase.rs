//! The phases of a run, as its events name them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ComponentName;

/// A phase of a run. To add one: a variant and its word in [`WORDS`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Phase {
    Connect,
    Observe,
    Preflight,
    Lock,
    Prepare,
    Images,
    /// The steps of a component.
    Component(ComponentName),
    /// The questions to a service.
    Gate,
    /// toots' own records.
    Record,
    /// What is no longer desired.
    Cleanup,
    /// Of a bundle: the images are looked up.
    Resolve,
    /// Of a bundle: their parts are fetched.
    Download,
    /// Of a bundle: the file is completed.
    Finish,
    /// Of a bundle: this image is built.
    Build(String),
    /// Of a bundle: this image is saved.
    Save(String),
    /// A text that names none of them.
    Other(String),
}

const WORDS: &[(&str, Phase)] = &[
    ("connect", Phase::Connect),
    ("observe", Phase::Observe),
    ("preflight", Phase::Preflight),
    ("lock", Phase::Lock),
    ("prepare", Phase::Prepare),
    ("images", Phase::Images),
    ("gate", Phase::Gate),
    ("record", Phase::Record),
    ("cleanup", Phase::Cleanup),
    ("resolve", Phase::Resolve),
    ("download", Phase::Download),
    ("finish", Phase::Finish),
];

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Component(name) => f.pad(name.as_str()),
            Self::Build(image) => write!(f, "build {image}"),
            Self::Save(image) => write!(f, "save {image}"),
            Self::Other(text) => f.pad(text),
            known => {
                let word = WORDS.iter().find(|(_, phase)| phase == known);
                f.pad(word.map_or("", |(word, _)| word))
            }
        }
    }
}

impl From<String> for Phase {
    fn from(text: String) -> Self {
        if let Some((_, phase)) = WORDS.iter().find(|(word, _)| *word == text) {
            return phase.clone();
        }
        match text.split_once(' ') {
            Some(("build", image)) => Self::Build(image.to_owned()),
            Some(("save", image)) => Self::Save(image.to_owned()),
            _ => match ComponentName::new(text.as_str()) {
                Ok(name) => Self::Component(name),
                Err(_) => Self::Other(text),
            },
        }
    }
}

impl From<&str> for Phase {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<Phase> for String {
    fn from(phase: Phase) -> Self {
        phase.to_string()
    }
}

impl From<&ComponentName> for Phase {
    fn from(name: &ComponentName) -> Self {
        Self::Component(name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_is_read_from_its_own_text() {
        let mut phases: Vec<Phase> = WORDS.iter().map(|(_, phase)| phase.clone()).collect();
        phases.push(Phase::Component(ComponentName::new("zookeeper").unwrap()));
        phases.push(Phase::Build("mesos:recipe-0123".into()));
        phases.push(Phase::Save("mesos:recipe-0123".into()));
        phases.push(Phase::Other("a b".into()));
        for phase in phases {
            let text = phase.to_string();
            assert!(!text.is_empty(), "{phase:?} has no word");
            assert_eq!(Phase::from(text.as_str()), phase);
            let json = serde_json::to_string(&phase).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Phase>(&json).unwrap(), phase);
        }
    }
}
