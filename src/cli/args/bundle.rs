//! Arguments of `toots bundle`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Output, OutputArgs, SourceArgs};
use crate::bundle::ImagePlatform;

#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Fetch every image of the inventory into one file. Contacts registries and no host; images of
    /// recipes are built by the Docker Engine of this machine (DOCKER_HOST=unix://PATH). Run it again
    /// to resume: what is complete is kept.
    #[command(after_help = super::examples::BUNDLE_CREATE)]
    Create(BundleCreateArgs),
    /// Verify every byte of a bundle and list its images. Contacts nothing.
    #[command(after_help = super::examples::BUNDLE_INSPECT)]
    Inspect(BundleInspectArgs),
}

#[derive(Debug, Args)]
pub struct BundleCreateArgs {
    /// File to write. Replaces another bundle once the new one is complete, and no other file.
    pub file: PathBuf,
    #[command(flatten)]
    pub source: SourceArgs,
    /// Platform of the hosts, with a variant where there are several: linux/arm/v7. Repeatable;
    /// `docker load` gives the names to the images of the first one [default: linux/amd64].
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Vec<ImagePlatform>,
    #[command(flatten)]
    pub shown: OutputArgs,
}

#[derive(Debug, Args)]
pub struct BundleInspectArgs {
    /// Bundle to read.
    pub file: PathBuf,
    /// Output format [default: table].
    #[arg(long, value_enum, value_name = "FORM")]
    pub output: Option<Output>,
}
