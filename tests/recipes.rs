//! The recipes of images: what their scripts accept and refuse, and the files that their arguments
//! name.
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests, which clippy does not recognise.

#[path = "recipes/apt.rs"]
mod apt;
#[path = "recipes/arguments.rs"]
mod arguments;
#[path = "recipes/builder.rs"]
mod builder;
#[path = "recipes/mesos.rs"]
mod mesos;
#[path = "recipes/versions.rs"]
mod versions;
