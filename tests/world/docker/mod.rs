//! A simulated Docker Engine on the wire: the part of the API that toots speaks, as a state machine on
//! tokio's clock. What it answers is held to a real Engine's answers by [`crate::sequences`].
//!
//! Owns: containers, images and events of one machine, a registry, and the faults of an Engine. It
//! imports only what all parts share; what a container runs, it gets as a [`crate::process::Program`].
//! Its tests import toots' client. To add a request: a branch in `routes.rs` and a method; draw it in
//! `sequences/draw.rs`. To add a fault: `faults.rs`, and a test in `faults_tests.rs`.

mod archives;
mod build;
mod client;
mod container;
mod containers;
mod describe;
mod dockerfile;
mod engine;
mod events;
mod faults;
mod faults_tests;
mod filters;
mod image;
mod images;
mod lifecycle;
mod pull;
mod references;
mod registry;
mod reply;
mod rig;
mod routes;
mod saved;
mod shell;
mod streams_tests;
mod wire;

pub use build::BuildManner;
pub use client::{Payload, open, request};
pub use engine::{ContainerForm, Engine, EngineSetup, ImageForm, Machine, Pace};
pub use image::Image;
pub use images::StoreKind;
pub use registry::Registry;
pub use saved::SavedEngine;
pub use shell::{Behaviour, Shell};
pub use wire::serve;

use engine::EngineState;
