//! `toots bundle create` and `inspect`. Contacts no host; images of recipes need a Docker Engine here.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::args::bundle::{BundleCommand, BundleCreateArgs, BundleInspectArgs};
use super::args::{ImageArgs, Output, OutputArgs, SourceArgs};
use super::console::Console;
use super::context::{self, Loaded};
use super::error::{BundleAttempt, CliError};
use super::start::{run_id, show_log_path};
use super::{hints, log, signals};
use crate::bundle::{
    ArchiveError, BUNDLE_FORMAT, BlobDigest, Bundle, BundleImage, CreateError, CreateRequest,
    CreatedBundle, ImagePlatform, ImageVariant, OwnRegistry, RegistryError, RegistryOptions,
    check_target, create_bundle,
};
use crate::engine::{EndCause, LocalBuilds};
use crate::env;
use crate::event::{Event, RunResult};
use crate::report::{
    self, BundleImageView, BundleLayerView, BundleReport, BundleVariantView, OutputMode,
};
use crate::spec::{ExitCode, ImageRef, Recipe, Remedy};

/// `toots bundle`
pub(super) async fn run(console: &Console, command: BundleCommand) -> Result<ExitCode, CliError> {
    match command {
        BundleCommand::Create(args) => create(console, args).await,
        BundleCommand::Inspect(args) => inspect(console, args).await,
    }
}

/// Pause before the second attempt of a request.
const RETRY_DELAY: Duration = Duration::from_secs(1);

async fn create(console: &Console, args: BundleCreateArgs) -> Result<ExitCode, CliError> {
    let signal = signals::first(console);
    let loaded = context::load(console, &args.source)?;
    let registries = registries(console, &loaded, &args.source)?;
    check_target(&args.file)?;
    let is_recipe = |(image, _): (&ImageRef, _)| loaded.offline.recipes.contains_key(image);
    let socket = match loaded.offline.images().any(is_recipe) {
        true => engine_socket(console)?,
        false => PathBuf::new(),
    };
    let attempt = Box::new(BundleAttempt {
        file: args.file.clone(),
        platforms: args.platform.iter().map(ToString::to_string).collect(),
        own_registry: registries.own.as_ref().map(|own| own.server.clone()),
    });
    let log = log::begin(console, &run_id(console));
    let (events, handle) = console.reporter(args.shown.output, Some(&args.source), log.as_deref());
    events.send(Event::RunStarted {
        command: "bundle create".into(),
        cluster: loaded.inventory.cluster.clone(),
        hosts: Vec::new(),
    });
    let wanted = loaded.offline.images().map(|(image, _)| image.clone());
    let (built, images): (BTreeSet<_>, BTreeSet<_>) =
        wanted.partition(|image| image.recipe_hash().is_some());
    let recipe = |image: &ImageRef| {
        let known = loaded.offline.recipes.get(image);
        if known.is_none() {
            let text = format!("{image} is not part of the bundle: its recipe is not known");
            events.send(Event::warning(None, text));
        }
        known.map(|known| known.recipe.clone())
    };
    let recipes: Vec<Recipe> = built.iter().filter_map(recipe).collect();
    let request = CreateRequest {
        file: args.file.clone(),
        images,
        local: Vec::new(),
        platforms: platforms(&args.platform),
        registries,
        events: Arc::clone(&events),
    };
    let builds = LocalBuilds {
        socket,
        recipes,
        platforms: request.platforms.clone(),
        registry: context::registry(console, &loaded.inventory)?,
        notes: log::folder(console),
        files: Arc::clone(&console.machine().files),
        answer: loaded.inventory.timeouts.answer,
        idle: loaded.inventory.timeouts.pull_idle,
        events: Arc::clone(&events),
    };
    let deadline = async {
        match args.shown.timeout {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let created = tokio::select! {
        biased;
        created = build_and_create(&builds, request.clone(), &attempt) => created,
        cause = signal => Err(CliError::BundleEnded { cause, attempt }),
        () = deadline => Err(CliError::BundleEnded { cause: EndCause::Deadline, attempt }),
    };
    let error = match created {
        Ok(bundle) => {
            events.send(written(&request, &bundle));
            events.send(Event::Result(RunResult::default()));
            handle.finish().await;
            return Ok(ExitCode::DONE);
        }
        Err(error) => error,
    };
    if console.mode(args.shown.output) == OutputMode::Json {
        // Through the reporter, so that it is the last line.
        events.send(Event::Result(error.result()));
        handle.finish().await;
    } else {
        handle.finish().await;
        error.show(
            console,
            false,
            hints::named_inventory(&args.source).as_deref(),
        );
        show_log_path(console, error.exit_code(), log.as_deref());
    }
    Ok(error.exit_code())
}

/// Images of recipes first: what cannot be built is reported before anything is fetched.
async fn build_and_create(
    builds: &LocalBuilds,
    mut request: CreateRequest,
    attempt: &BundleAttempt,
) -> Result<CreatedBundle, CliError> {
    if !builds.recipes.is_empty() {
        let built = builds.run().await;
        request.local = built.map_err(|source| CliError::LocalBuild { source })?;
    }
    let created = create_bundle(request).await;
    created.map_err(|source| CliError::Bundle {
        source,
        attempt: Box::new(attempt.clone()),
    })
}

/// The socket of this machine's Docker Engine, as the Docker command finds it.
fn engine_socket(console: &Console) -> Result<PathBuf, CliError> {
    let host = console.machine().variables.raw("DOCKER_HOST");
    let host = host.unwrap_or_default();
    let host = host.to_string_lossy();
    match host.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(path.into()),
        None if host.is_empty() => Ok("/var/run/docker.sock".into()),
        _ => Err(CliError::DockerHost(host.into_owned())),
    }
}

/// Every platform once; by default what most servers are.
fn platforms(given: &[ImagePlatform]) -> Vec<ImagePlatform> {
    let mut platforms: Vec<ImagePlatform> = Vec::new();
    for platform in given {
        if !platforms.contains(platform) {
            platforms.push(platform.clone());
        }
    }
    if platforms.is_empty() {
        platforms.push(ImagePlatform::linux_amd64());
    }
    platforms
}

fn written(request: &CreateRequest, bundle: &CreatedBundle) -> Event {
    Event::BundleWritten {
        file: request.file.display().to_string(),
        images: bundle.images.len(),
        platforms: request.platforms.iter().map(ToString::to_string).collect(),
        bytes: bundle.length,
        fetched: bundle.fetched,
    }
}

/// How the inventory reaches registries.
fn registries(
    console: &Console,
    loaded: &Loaded,
    source: &SourceArgs,
) -> Result<RegistryOptions, CliError> {
    let inventory = &loaded.inventory;
    let login = context::registry(console, inventory)?;
    let mut own = inventory.registry.as_ref().map(|registry| OwnRegistry {
        server: registry.server.clone(),
        address: registry.address,
        ca: None,
        login: login.map(|login| (login.username, login.password)),
    });
    let ca = inventory.registry.as_ref().and_then(|r| r.ca.as_ref());
    if let (Some(own), Some(path)) = (&mut own, ca) {
        let content = console
            .files()
            .read(path)
            .map_err(|error| CliError::ReadReferenced {
                inventory: source.inventory.clone(),
                what: "ca of [registry]",
                path: path.clone(),
                source: error,
            })?;
        own.ca = Some(content);
    }
    Ok(RegistryOptions {
        connect_timeout: inventory.timeouts.connect,
        answer_timeout: inventory.timeouts.answer,
        idle_timeout: inventory.timeouts.pull_idle,
        retry_delay: RETRY_DELAY,
        own,
    })
}

/// Opens the bundle of a run and reads every byte of it. Contacts no host.
pub(super) async fn verify(
    console: &Console,
    args: ImageArgs,
    shown: &OutputArgs,
) -> Result<Option<Arc<Bundle>>, CliError> {
    let Some(file) = args.images else {
        return Ok(None);
    };
    if console.mode(shown.output) != OutputMode::Json {
        console.message(&format!("verifying {}", file.display()));
    }
    Ok(Some(Arc::new(read(console, file).await?)))
}

/// Reads on a thread of its own, so that a signal is heard while gigabytes are read.
async fn read(console: &Console, file: PathBuf) -> Result<Bundle, CliError> {
    let files = Arc::clone(&console.machine().files);
    let read = env::run_blocking(move || {
        let bundle = Bundle::open(&*files, &file)?;
        bundle.verify(|_| {})?;
        Ok::<_, ArchiveError>(bundle)
    });
    let bundle = read
        .await
        .ok_or_else(|| CliError::Start(io::Error::other("the bundle was not read")))??;
    Ok(bundle)
}

async fn inspect(console: &Console, args: BundleInspectArgs) -> Result<ExitCode, CliError> {
    let bundle = read(console, args.file.clone()).await?;
    let report = bundle_report(&args.file, &bundle);
    console.print(&match args.output {
        Some(Output::Json) => report::bundle_json(&report),
        _ => report::bundle_table(&report, &console.options()),
    });
    Ok(ExitCode::DONE)
}

fn bundle_report(file: &Path, bundle: &Bundle) -> BundleReport {
    BundleReport {
        file: file.display().to_string(),
        format: BUNDLE_FORMAT.to_owned(),
        bytes: bundle.length(),
        platforms: bundle.platforms().iter().map(ToString::to_string).collect(),
        images: bundle
            .images()
            .iter()
            .map(|image| image_view(image, bundle))
            .collect(),
    }
}

fn image_view(image: &BundleImage, bundle: &Bundle) -> BundleImageView {
    let shared = |digest: &BlobDigest| {
        let others = bundle
            .images()
            .iter()
            .filter(|other| other.name != image.name);
        let mut layers = others.flat_map(|other| other.variants.iter().flat_map(|v| &v.layers));
        layers.any(|layer| layer.digest == *digest)
    };
    let variant = |variant: &ImageVariant| BundleVariantView {
        platform: variant.platform.to_string(),
        manifest: variant.manifest.digest.to_string(),
        config: variant.config.digest.to_string(),
        bytes: variant.bytes(),
        packages: variant
            .packages
            .content()
            .lines()
            .map(str::to_owned)
            .collect(),
        layers: variant
            .layers
            .iter()
            .zip(&variant.diff_ids)
            .map(|(layer, diff_id)| BundleLayerView {
                digest: layer.digest.to_string(),
                diff_id: diff_id.to_string(),
                bytes: layer.size,
                shared: shared(&layer.digest),
            })
            .collect(),
    };
    BundleImageView {
        image: image.name.to_string(),
        digest: image.root.digest.to_string(),
        recipe: ImageRef(image.name.to_string()).recipe().map(str::to_owned),
        variants: image.variants.iter().map(variant).collect(),
    }
}

/// The exit code of a bundle that was not created; the first that fits by docs/exit-codes.md.
pub(super) fn create_exit_code(error: &CreateError) -> ExitCode {
    match error {
        CreateError::Local { .. } => ExitCode::REFUSED,
        CreateError::SavedImage(_) => ExitCode::INTERNAL,
        CreateError::Archive(ArchiveError::InUse(_)) => ExitCode::LOCKED,
        CreateError::Archive(
            ArchiveError::Read { .. } | ArchiveError::Write { .. } | ArchiveError::TooLarge(_),
        ) => ExitCode::INTERNAL,
        CreateError::Archive(_) => ExitCode::USAGE,
        CreateError::Registry(errors) => {
            let codes: Vec<ExitCode> = errors.iter().map(registry_exit_code).collect();
            [ExitCode::USAGE, ExitCode::UNREACHABLE, ExitCode::REFUSED]
                .into_iter()
                .find(|code| codes.contains(code))
                .unwrap_or(ExitCode::PARTIAL)
        }
    }
}

fn registry_exit_code(error: &RegistryError) -> ExitCode {
    match error {
        RegistryError::Name(_) => ExitCode::USAGE,
        RegistryError::Unreachable { .. }
        | RegistryError::Untrusted { .. }
        | RegistryError::Insecure { .. }
        | RegistryError::Denied { .. } => ExitCode::UNREACHABLE,
        RegistryError::RateLimited { .. }
        | RegistryError::ConnectionLost { .. }
        | RegistryError::Status { status: 500.., .. } => ExitCode::PARTIAL,
        RegistryError::NotFound { .. }
        | RegistryError::Status { .. }
        | RegistryError::Malformed { .. }
        | RegistryError::Unusable { .. }
        | RegistryError::Platform { .. }
        | RegistryError::Content { .. } => ExitCode::REFUSED,
    }
}

/// What to do about a bundle that was not created.
pub(super) fn create_hints(error: &CreateError, attempt: &BundleAttempt) -> Vec<Remedy> {
    match error {
        CreateError::Local { .. } | CreateError::SavedImage(_) => Vec::new(),
        CreateError::Archive(error) => archive_hints(error),
        CreateError::Registry(errors) => {
            let mut hints: Vec<Remedy> = Vec::new();
            for error in errors {
                let hint = registry_hint(error, attempt);
                hints.extend(hint.filter(|hint| !hints.contains(hint)));
            }
            hints
        }
    }
}

fn registry_hint(error: &RegistryError, attempt: &BundleAttempt) -> Option<Remedy> {
    let check = |registry: &str, image: &str| Remedy::CheckImage {
        registry: registry.to_owned(),
        image: image.to_owned(),
    };
    Some(match error {
        RegistryError::Name(_) | RegistryError::Malformed { .. } => return None,
        RegistryError::Unreachable { registry, .. } => Remedy::ReachRegistryFromHere {
            registry: registry.clone(),
        },
        RegistryError::Untrusted { registry, .. } => Remedy::SetRegistryCa {
            registry: registry.clone(),
        },
        RegistryError::Insecure { registry, .. } => {
            format!("serve {registry} over HTTPS; HTTP is for 127.0.0.0/8 only").into()
        }
        RegistryError::Denied { registry, .. }
            if attempt.own_registry.as_ref() == Some(registry) =>
        {
            Remedy::CheckRegistryLogin
        }
        RegistryError::Denied {
            registry, image, ..
        }
        | RegistryError::NotFound { registry, image } => check(registry, image),
        RegistryError::RateLimited { .. }
        | RegistryError::ConnectionLost { .. }
        | RegistryError::Status { status: 500.., .. } => attempt.resume(),
        RegistryError::Status { .. } | RegistryError::Unusable { .. } => Remedy::ChooseImage,
        RegistryError::Platform { .. } => Remedy::ChoosePlatform,
        RegistryError::Content { registry, .. } => {
            format!("check {registry} and every proxy and cache in between").into()
        }
    })
}

/// What to do about a file.
pub(super) fn archive_hints(error: &ArchiveError) -> Vec<Remedy> {
    match error {
        ArchiveError::Write { path, source } if source.kind() == io::ErrorKind::StorageFull => {
            vec![format!("free space on the file system of {}", path.display()).into()]
        }
        ArchiveError::Read { .. } | ArchiveError::Write { .. } | ArchiveError::TooLarge(_) => {
            Vec::new()
        }
        ArchiveError::NotReplaceable(_) => vec!["choose another file, or remove this one".into()],
        ArchiveError::InUse(_) => vec!["wait until it ends, or choose another file".into()],
        ArchiveError::Format { .. } => vec!["use the version of toots that wrote it".into()],
        ArchiveError::NotABundle { .. } => vec![Remedy::CreateBundle {
            file: "bundle.tar".into(),
        }],
        ArchiveError::Truncated { path, .. } | ArchiveError::Damaged { path, .. } => {
            let file = path.display().to_string();
            vec![
                "copy it again from where it was created".into(),
                Remedy::CreateBundle { file },
            ]
        }
    }
}
