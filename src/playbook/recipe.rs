//! Recipes of images: `NAME/image/` with a `recipe.toml`, a Dockerfile and what it copies.
//!
//! The builder that every Engine since 1.10 has is used, because it needs nothing on the host. What
//! it ignores or takes for something else is refused here: a heredoc, for example, builds an empty
//! file without an error.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// A recipe as the playbook has it.
#[derive(Debug, Clone)]
pub struct RecipeSource {
    /// The image on which it is built, unless the inventory names another.
    pub base: String,
    /// Arguments with their defaults; empty: none.
    pub arguments: BTreeMap<String, String>,
    /// Arguments that name a file of the operator's machine. It is sent to the builder under the
    /// argument's name. See [`RecipeSource::digest_argument`].
    pub file_arguments: BTreeSet<String>,
    /// The Dockerfile and what it copies, by path.
    pub files: BTreeMap<String, String>,
}

/// Installs packages; a file of every recipe.
const PACKAGES: &str = include_str!("packages.sh");

/// `recipe.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipeHead {
    base: String,
    #[serde(default)]
    arguments: BTreeMap<String, ArgumentHead>,
}

/// One argument: its default, or what it is.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "an argument must be a string, or { file = true }"
)]
enum ArgumentHead {
    Text(String),
    File(FileHead),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileHead {
    file: bool,
}

/// Why a recipe cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct RecipeError {
    /// The file of the recipe.
    pub file: &'static str,
    /// From 1.
    pub line: usize,
    pub fault: RecipeFault,
}

/// What is wrong in a file of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipeFault {
    #[error("the file is missing")]
    Missing,
    /// recipe.toml does not match its schema.
    #[error("{0}")]
    Schema(String),
    /// The base has a key of its own.
    #[error("`base` is no argument: write it above [arguments]")]
    BaseIsArgument,
    /// A file without its digest would change the image without changing the recipe.
    #[error("`{0}` is a file: [arguments] must also have {0}_sha256 = \"\"")]
    FileWithoutDigest(String),
    /// Both would have the same name for the builder.
    #[error("`{0}` is an argument, and a file of the recipe: rename one of them")]
    FileTwice(String),
    #[error("`# syntax=` is ignored by the classic builder, which toots uses")]
    Syntax,
    /// The base must be the one that toots pins.
    #[error("the first FROM must be ${{base}}, after ARG base")]
    Base,
    #[error("the classic builder, which toots uses, does not know the option {0}")]
    Unknown(&'static str),
    #[error("the classic builder, which toots uses, does not execute heredocs")]
    Heredoc,
}

impl RecipeSource {
    pub(super) const HEAD: &'static str = "recipe.toml";
    pub(super) const DOCKERFILE: &'static str = "Dockerfile";

    /// Reads the files of one folder.
    pub(super) fn new(mut files: BTreeMap<String, String>) -> Result<Self, RecipeError> {
        let fail = |file, line, fault| RecipeError { file, line, fault };
        let head = files
            .remove(Self::HEAD)
            .ok_or_else(|| fail(Self::HEAD, 1, RecipeFault::Missing))?;
        files
            .entry("packages.sh".into())
            .or_insert_with(|| PACKAGES.to_owned());
        let head: RecipeHead = toml::from_str(&head).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start.min(head.len()));
            let line = head[..start].matches('\n').count() + 1;
            fail(
                Self::HEAD,
                line,
                RecipeFault::Schema(error.message().to_owned()),
            )
        })?;
        if head.arguments.contains_key("base") {
            return Err(fail(Self::HEAD, 1, RecipeFault::BaseIsArgument));
        }
        let mut arguments = BTreeMap::new();
        let mut file_arguments = BTreeSet::new();
        for (name, argument) in head.arguments {
            match argument {
                ArgumentHead::Text(default) => drop(arguments.insert(name, default)),
                ArgumentHead::File(FileHead { file: true }) => drop(file_arguments.insert(name)),
                ArgumentHead::File(FileHead { file: false }) => {
                    drop(arguments.insert(name, String::new()));
                }
            }
        }
        for name in &file_arguments {
            if !arguments.contains_key(&Self::digest_argument(name)) {
                let fault = RecipeFault::FileWithoutDigest(name.clone());
                return Err(fail(Self::HEAD, 1, fault));
            }
            if files.contains_key(name) {
                let fault = RecipeFault::FileTwice(name.clone());
                return Err(fail(Self::HEAD, 1, fault));
            }
        }
        let dockerfile = files
            .get(Self::DOCKERFILE)
            .ok_or_else(|| fail(Self::DOCKERFILE, 1, RecipeFault::Missing))?;
        check(dockerfile).map_err(|(line, fault)| fail(Self::DOCKERFILE, line, fault))?;
        Ok(Self {
            base: head.base,
            arguments,
            file_arguments,
            files,
        })
    }

    /// The argument with the SHA-256 digest of a file.
    #[must_use]
    pub fn digest_argument(file: &str) -> String {
        format!("{file}_sha256")
    }
}

/// Options of RUN, COPY and ADD that the classic builder does not know.
const UNKNOWN_OPTIONS: [&str; 5] = ["mount", "chmod", "link", "security", "network"];

/// Refuses what the classic builder ignores or misunderstands. Errors have their line.
fn check(dockerfile: &str) -> Result<(), (usize, RecipeFault)> {
    let mut continues = false;
    let mut has_base = false;
    for (number, line) in (1..).zip(dockerfile.lines()) {
        let text = line.trim();
        if let Some(comment) = text.strip_prefix('#') {
            let comment = comment.trim_start().to_ascii_lowercase();
            let is_syntax = comment
                .strip_prefix("syntax")
                .is_some_and(|rest| rest.trim_start().starts_with('='));
            if is_syntax {
                return Err((number, RecipeFault::Syntax));
            }
            continue;
        }
        let mut words = text.split_whitespace();
        if !continues {
            let instruction = words.next().unwrap_or_default();
            if instruction.eq_ignore_ascii_case("FROM") && !has_base {
                has_base = true;
                if words.next() != Some("${base}") {
                    return Err((number, RecipeFault::Base));
                }
            }
        }
        let mut options = words
            .clone()
            .take_while(|word| word.starts_with("--"))
            .map(|word| word[2..].split('=').next().unwrap_or_default());
        let unknown = options.find_map(|option| {
            UNKNOWN_OPTIONS
                .into_iter()
                .find(|unknown| *unknown == option)
        });
        if let Some(option) = unknown.filter(|_| has_base) {
            return Err((number, RecipeFault::Unknown(option)));
        }
        let is_heredoc = |word: &str| {
            word.strip_prefix("<<").is_some_and(|name| {
                name.trim_start_matches('-')
                    .starts_with(|c: char| c.is_alphanumeric() || "_\"'".contains(c))
            })
        };
        if words.any(is_heredoc) {
            return Err((number, RecipeFault::Heredoc));
        }
        continues = text.ends_with('\\');
    }
    if has_base {
        Ok(())
    } else {
        Err((1, RecipeFault::Base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("recipe_fault", RecipeFault, hints: |_| Vec::new(), {
            RecipeFault::Missing => RecipeFault::Missing,
            RecipeFault::Schema(_) => RecipeFault::Schema("missing field `base`".into()),
            RecipeFault::BaseIsArgument => RecipeFault::BaseIsArgument,
            RecipeFault::FileWithoutDigest(_) => RecipeFault::FileWithoutDigest("deb".into()),
            RecipeFault::FileTwice(_) => RecipeFault::FileTwice("deb".into()),
            RecipeFault::Syntax => RecipeFault::Syntax,
            RecipeFault::Base => RecipeFault::Base,
            RecipeFault::Unknown(_) => RecipeFault::Unknown("mount"),
            RecipeFault::Heredoc => RecipeFault::Heredoc,
        });
    }

    #[test]
    fn what_the_builder_ignores_is_refused() {
        let good = "# a comment\nARG base\nFROM ${base}\nARG version\n\
                    RUN apt-get update \\\n  && apt-get install --yes x\nCOPY --chown=0:0 a /a\n";
        assert_eq!(check(good), Ok(()));
        for (bad, line, fault) in [
            ("FROM debian\n", 1, RecipeFault::Base),
            ("RUN true\n", 1, RecipeFault::Base),
            (
                "# syntax=docker/dockerfile:1\nFROM ${base}\n",
                1,
                RecipeFault::Syntax,
            ),
            (
                "FROM ${base}\nRUN --mount=type=cache,target=/x true\n",
                2,
                RecipeFault::Unknown("mount"),
            ),
            (
                "FROM ${base}\nCOPY --chown=0 --chmod=755 a /a\n",
                2,
                RecipeFault::Unknown("chmod"),
            ),
            (
                "FROM ${base}\nRUN cat <<EOF > /x\nEOF\n",
                2,
                RecipeFault::Heredoc,
            ),
            (
                "FROM ${base}\nCOPY <<-\"EOF\" /x\nEOF\n",
                2,
                RecipeFault::Heredoc,
            ),
        ] {
            assert_eq!(check(bad), Err((line, fault)), "{bad}");
        }
    }

    #[test]
    fn a_recipe_names_its_base_and_has_the_package_script() {
        let files = |head: &str| {
            BTreeMap::from([
                ("recipe.toml".to_owned(), head.to_owned()),
                ("Dockerfile".to_owned(), "FROM ${base}\n".to_owned()),
            ])
        };
        let recipe = RecipeSource::new(files("base = \"debian:13-slim\"\n")).unwrap();
        assert!(recipe.files["packages.sh"].starts_with("#!/bin/sh"));
        let error = RecipeSource::new(files("base = \"a\"\n[arguments]\nbase = \"b\"\n"));
        assert_eq!(error.unwrap_err().fault, RecipeFault::BaseIsArgument);
        let error = RecipeSource::new(files("\nbase = 7\n")).unwrap_err();
        assert_eq!((error.file, error.line), ("recipe.toml", 2));
    }

    #[test]
    fn an_argument_may_be_a_file_with_a_digest() {
        let recipe = |arguments: &str, file: &str| {
            RecipeSource::new(BTreeMap::from([
                (
                    "recipe.toml".to_owned(),
                    format!("base = \"a\"\n[arguments]\n{arguments}"),
                ),
                ("Dockerfile".to_owned(), "FROM ${base}\n".to_owned()),
                (file.to_owned(), String::new()),
            ]))
        };
        let file = "deb = { file = true }\n";
        let both = format!("{file}deb_sha256 = \"\"\n");
        let source = recipe(&both, "run.sh").unwrap();
        assert_eq!(source.file_arguments, ["deb".to_owned()].into());
        assert_eq!(
            source.arguments,
            [("deb_sha256".to_owned(), String::new())].into()
        );
        let fault = |arguments: &str, name: &str| recipe(arguments, name).unwrap_err().fault;
        let deb = || "deb".to_owned();
        assert_eq!(fault(file, "x"), RecipeFault::FileWithoutDigest(deb()));
        assert_eq!(fault(&both, "deb"), RecipeFault::FileTwice(deb()));
        let error = recipe("a = \"\"\ndeb = 7\n", "x").unwrap_err();
        let why = "an argument must be a string, or { file = true }";
        assert_eq!(
            (error.line, error.fault),
            (4, RecipeFault::Schema(why.into()))
        );
    }
}
