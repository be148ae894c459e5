//! The embedded playbook, and a folder whose files override the embedded ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use super::recipe::RecipeSource;
use super::schema::{Component, ImageSource};
use crate::env::FileAccess;
use crate::spec::{ComponentName, ComponentOrder};

static EMBEDDED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/playbooks");

/// Why a playbook cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaybookError {
    /// A file of the override folder cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A component.toml is invalid.
    #[error("cannot load {file}: {why}")]
    Component {
        file: String,
        /// Place and reason.
        why: String,
    },
    /// The inventory names something that the playbook does not have.
    #[error("{}", .problems.join("\n"))]
    Inventory {
        /// Each with its place and a hint.
        problems: Vec<String>,
    },
    /// A template is invalid.
    #[error("cannot render {file}: {why}")]
    Template {
        file: String,
        /// Place and reason.
        why: String,
    },
}

/// All components, their templates, and the recipes of their images.
#[derive(Debug, Clone)]
pub struct Playbook {
    /// By name.
    pub components: BTreeMap<String, Component>,
    /// `component/file` → text.
    pub templates: BTreeMap<String, String>,
    /// Recipes of images, by the name of their folder.
    pub recipes: BTreeMap<String, RecipeSource>,
}

impl Playbook {
    /// Loads the embedded playbook; files of a folder, when there is one, replace embedded ones.
    ///
    /// # Errors
    /// When a file of the folder cannot be read, or a component.toml does not match the schema.
    pub fn load(folder: Option<(&dyn FileAccess, &Path)>) -> Result<Self, PlaybookError> {
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        for dir in EMBEDDED.dirs() {
            let of_image = dir.dirs().flat_map(Dir::files);
            for file in dir.files().chain(of_image) {
                if let (Some(path), Some(text)) = (file.path().to_str(), file.contents_utf8()) {
                    texts.insert(path.to_owned(), text.to_owned());
                }
            }
        }
        if let Some((files, folder)) = folder {
            overlay(files, folder, &mut texts)?;
        }
        let mut components = BTreeMap::new();
        for (path, text) in texts
            .iter()
            .filter(|(path, _)| path.ends_with("/component.toml"))
        {
            let component = component(path, text)?;
            components.insert(component.name.to_string(), component);
        }
        let recipes = recipes(&mut texts)?;
        let playbook = Self {
            components,
            templates: texts,
            recipes,
        };
        playbook.check()?;
        Ok(playbook)
    }

    /// Checks that everything in `after` exists, and that there is no cycle.
    fn check(&self) -> Result<(), PlaybookError> {
        let fail = |name: &str, why: String| {
            Err(PlaybookError::Component {
                file: format!("{name}/component.toml"),
                why,
            })
        };
        for (name, component) in &self.components {
            let images = std::iter::once(&component.image).chain(component.extra_images.values());
            for image in images {
                if let ImageSource::Recipe { recipe } = image
                    && !self.recipes.contains_key(recipe)
                {
                    return fail(
                        name,
                        format!("there is no recipe {recipe:?}: {recipe}/image/"),
                    );
                }
            }
            for after in &component.after {
                if !self.components.contains_key(after.as_str()) {
                    return fail(
                        name,
                        format!("`after` names {after}, which is not a component"),
                    );
                }
            }
        }
        if let Some(name) = self.order(|_| true).find_cycle() {
            let why = "`after` leads back to the component itself";
            return fail(name.as_str(), why.into());
        }
        Ok(())
    }

    /// Which of these components comes after which.
    pub fn order(&self, is_used: impl Fn(&ComponentName) -> bool) -> ComponentOrder {
        let components = self.components.values().filter(|c| is_used(&c.name));
        ComponentOrder::new(components.map(|c| (&c.name, c.after.as_slice())))
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
            "`name` must be the name of its folder, got {}",
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
            return Err(fail(format!(
                "mode must be octal permission bits, got {mode:?}"
            )));
        }
    }
    for (name, param) in &component.params {
        if !param.fits(&param.default) {
            return Err(fail(format!(
                "default of {name} must be {}, got {:?}",
                param.wanted(),
                param.default
            )));
        }
    }
    Ok(component)
}

/// Takes the files of recipes out of the texts: they are no templates.
fn recipes(
    texts: &mut BTreeMap<String, String>,
) -> Result<BTreeMap<String, RecipeSource>, PlaybookError> {
    let mut folders: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    texts.retain(|path, text| match path.split_once("/image/") {
        None => true,
        Some((name, file)) => {
            let files = folders.entry(name.to_owned()).or_default();
            files.insert(file.to_owned(), std::mem::take(text));
            false
        }
    });
    folders
        .into_iter()
        .map(|(name, files)| {
            let recipe = RecipeSource::new(files).map_err(|error| PlaybookError::Component {
                file: format!("{name}/image/{}", error.file),
                why: error.to_string(),
            })?;
            Ok((name, recipe))
        })
        .collect()
}

fn overlay(
    files: &dyn FileAccess,
    folder: &Path,
    texts: &mut BTreeMap<String, String>,
) -> Result<(), PlaybookError> {
    let components = entries(files, folder)?.into_iter();
    for component in components.filter(|path| files.is_folder(path)) {
        let of_image = component.join("image");
        let of_image = if files.is_folder(&of_image) {
            entries(files, &of_image)?
        } else {
            Vec::new()
        };
        let own = entries(files, &component)?.into_iter();
        let own = own.filter(|path| !path.ends_with("image"));
        for file in own.chain(of_image) {
            let Some(name) = file.strip_prefix(folder).ok().and_then(Path::to_str) else {
                continue;
            };
            let text = files
                .read_text(&file)
                .map_err(|source| PlaybookError::Read {
                    path: file.clone(),
                    source,
                })?;
            texts.insert(name.to_owned(), text);
        }
    }
    Ok(())
}

fn entries(files: &dyn FileAccess, folder: &Path) -> Result<Vec<PathBuf>, PlaybookError> {
    files.list(folder).map_err(|source| PlaybookError::Read {
        path: folder.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("playbook_error", PlaybookError, hints: |_| Vec::new(), {
            PlaybookError::Read { .. } => PlaybookError::Read { path: "playbooks/consul/consul.json".into(), source: std::io::ErrorKind::PermissionDenied.into() },
            PlaybookError::Component { .. } => PlaybookError::Component { file: "consul/component.toml".into(), why: "line 3: unknown key".into() },
            PlaybookError::Inventory { .. } => PlaybookError::Inventory { problems: vec!["inventory.toml:3:1: unknown component".into()] },
            PlaybookError::Template { .. } => PlaybookError::Template { file: "consul/consul.json".into(), why: "line 2: undefined value".into() },
        });
    }
}
