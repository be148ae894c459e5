//! Components as data: the schema of `component.toml`, the embedded files with an override folder, and strict templates.
//!
//! Owns: [`Playbook`]. May import: `inventory`, `spec`; only it may name minijinja.
//! To add a component: a folder under `playbooks/` with a `component.toml` and its templates. No Rust.

mod files;
mod schema;
mod template;

pub use files::{Playbook, PlaybookError};
pub use schema::{
    Component, Condition, DirEntry, FileEntry, Param, ParamKind, PortEntry, RoleRule, SecretKind,
};
pub use template::{Renderer, Values};
