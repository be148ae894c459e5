//! The embedded playbook, and a folder whose files take the place of its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use super::schema::Component;

static EMBEDDED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/playbooks");

/// Why a playbook cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaybookError {
    /// A file of the override folder cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A component.toml is wrong.
    #[error("use {file}: {why}")]
    Component {
        /// The file.
        file: String,
        /// Where and why.
        why: String,
    },
    /// The inventory names what the playbook does not have.
    #[error("use the inventory:\n{}", .problems.join("\n"))]
    Inventory {
        /// Each with its place and a hint.
        problems: Vec<String>,
    },
    /// A template is wrong.
    #[error("render {file}: {why}")]
    Template {
        /// The file.
        file: String,
        /// Where and why.
        why: String,
    },
}

/// All components and their templates.
#[derive(Debug, Clone)]
pub struct Playbook {
    /// By name.
    pub components: BTreeMap<String, Component>,
    /// `component/file` → text.
    pub templates: BTreeMap<String, String>,
}

impl Playbook {
    /// The embedded playbook with the files of a folder in their places.
    ///
    /// # Errors
    /// When a file of the folder cannot be read, or a component.toml does not fit the schema.
    pub fn load(folder: Option<&Path>) -> Result<Self, PlaybookError> {
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        for dir in EMBEDDED.dirs() {
            for file in dir.files() {
                if let (Some(path), Some(text)) = (file.path().to_str(), file.contents_utf8()) {
                    texts.insert(path.to_owned(), text.to_owned());
                }
            }
        }
        if let Some(folder) = folder {
            overlay(folder, &mut texts)?;
        }
        let mut components = BTreeMap::new();
        for (path, text) in texts
            .iter()
            .filter(|(path, _)| path.ends_with("/component.toml"))
        {
            let component = component(path, text)?;
            components.insert(component.name.to_string(), component);
        }
        let playbook = Self {
            components,
            templates: texts,
        };
        playbook.check()?;
        Ok(playbook)
    }

    /// That what `after` names exists, and that nothing comes after itself.
    fn check(&self) -> Result<(), PlaybookError> {
        let fail = |name: &str, why: String| {
            Err(PlaybookError::Component {
                file: format!("{name}/component.toml"),
                why,
            })
        };
        for (name, component) in &self.components {
            for after in &component.after {
                if !self.components.contains_key(after.as_str()) {
                    return fail(name, format!("after names {after}, which is no component"));
                }
            }
            let mut before: Vec<&str> = component.after.iter().map(AsRef::as_ref).collect();
            let mut at = 0;
            while let Some(next) = before.get(at).copied() {
                if next == name {
                    return fail(name, "it comes after itself".into());
                }
                let further = self
                    .components
                    .get(next)
                    .into_iter()
                    .flat_map(|c| &c.after)
                    .map(AsRef::as_ref);
                let further: Vec<&str> = further
                    .filter(|further| !before.contains(further))
                    .collect();
                before.extend(further);
                at += 1;
            }
        }
        Ok(())
    }
}

fn component(path: &str, text: &str) -> Result<Component, PlaybookError> {
    let fail = |why: String| PlaybookError::Component {
        file: path.to_owned(),
        why,
    };
    let component: Component = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| {
            text[..span.start.min(text.len())].matches('\n').count() + 1
        });
        fail(format!("line {line}: {}", error.message()))
    })?;
    if path != format!("{}/component.toml", component.name) {
        return Err(fail(format!(
            "its name is {}, which is not its folder's",
            component.name
        )));
    }
    for mode in component
        .files
        .iter()
        .map(|f| &f.mode)
        .chain(component.dirs.iter().map(|d| &d.mode))
    {
        if u32::from_str_radix(mode, 8).is_err() {
            return Err(fail(format!("{mode:?} are no permission bits")));
        }
    }
    for (name, param) in &component.params {
        if !param.fits(&param.default) {
            return Err(fail(format!(
                "the default {:?} of {name} is not {}",
                param.default,
                param.wanted()
            )));
        }
    }
    Ok(component)
}

fn overlay(folder: &Path, texts: &mut BTreeMap<String, String>) -> Result<(), PlaybookError> {
    let fail = |path: &Path, source| PlaybookError::Read {
        path: path.to_owned(),
        source,
    };
    for entry in std::fs::read_dir(folder).map_err(|error| fail(folder, error))? {
        let component = entry.map_err(|error| fail(folder, error))?.path();
        if !component.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&component).map_err(|error| fail(&component, error))? {
            let file = entry.map_err(|error| fail(&component, error))?.path();
            let (Some(dir), Some(name)) = (
                component.file_name().and_then(|n| n.to_str()),
                file.file_name().and_then(|n| n.to_str()),
            ) else {
                continue;
            };
            let text = std::fs::read_to_string(&file).map_err(|error| fail(&file, error))?;
            texts.insert(format!("{dir}/{name}"), text);
        }
    }
    Ok(())
}
