//! Components as data: the schema of `component.toml`, the embedded files with an override folder,
//! and strict templates.
//!
//! Owns: [`Playbook`]. Must not name a product. May import: `inventory`, `spec`; only it may name
//! minijinja, rcgen and bcrypt. To add a component: a folder under `playbooks/` with a
//! `component.toml` and its templates. No Rust. To add a filter of templates: `certificate.rs`.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::disallowed_macros
    )
)]

mod certificate;
mod files;
mod recipe;
mod schema;
mod template;

pub use files::{Playbook, PlaybookError};
pub use recipe::{RecipeError, RecipeFault, RecipeSource};
pub use schema::{
    Component, Condition, DirEntry, EveryHost, FileEntry, ImageSource, Param, ParamKind, PortEntry,
    RoleRule, SecretKind,
};
pub use template::{Renderer, TemplateValues};
