//! Images of recipes in a bundle: built by an Engine behind a socket.

use std::path::Path;
use std::process::{Command, Stdio};

use toots::bundle::LocalImage;
use toots::engine::{LocalBuildError, LocalBuilds};
use toots::playbook::Playbook;
use toots::spec::Recipe;

use super::engine::{Stored, TestEngine};
use super::*;

/// The recipe of dnsmasq as an inventory without arguments has it.
fn recipe() -> Recipe {
    let source = &Playbook::load(None).unwrap().recipes["dnsmasq"];
    Recipe {
        name: "dnsmasq".into(),
        base: ImageRef(source.base.clone()),
        arguments: source.arguments.clone(),
        files: source.files.clone(),
        local_files: BTreeMap::new(),
    }
}

fn builds(engine: &TestEngine, dir: &Path, platforms: &[&str]) -> LocalBuilds {
    LocalBuilds {
        socket: engine.socket.clone(),
        recipes: vec![recipe()],
        platforms: platforms.iter().map(|p| p.parse().unwrap()).collect(),
        registry: None,
        notes: Some(dir.to_owned()),
        files: Arc::new(toots::env::MachineFiles),
        answer: Duration::from_secs(5),
        idle: Duration::from_secs(5),
        events: Arc::new(Recorder::default()),
    }
}

/// A bundle of these images and a single one of a registry.
async fn bundle(file: &Path, local: &[LocalImage], platforms: &[&str]) -> Bundle {
    let registry = TestRegistry::start().await;
    let mut manifests = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let layers: [&[u8]; 1] = [architecture.as_bytes()];
        manifests.push(registry.add_image("a", None, architecture, &layers));
    }
    registry.add_index(
        "a",
        "1",
        &[("amd64", &manifests[0]), ("arm64", &manifests[1])],
    );
    let mut request = request(file, &[registry.image("a:1")]);
    request.local = local.to_vec();
    request.platforms = platforms.iter().map(|p| p.parse().unwrap()).collect();
    let created = create_bundle(request).await.unwrap();
    let bundle = open(file).unwrap();
    assert_eq!(bundle.images(), created.images);
    bundle
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_built_once_and_put_beside_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let engine = TestEngine::start(dir.path());
    let builds = builds(&engine, dir.path(), &["linux/amd64"]);
    let local = builds.run().await.unwrap();
    let first = bundle(&file_in(&dir), &local, &["linux/amd64"]).await;
    let image = first.find(&recipe().image()).unwrap();
    assert_eq!(image.name.to_string(), recipe().image().0);
    let [variant] = image.variants.as_slice() else {
        panic!("{image:?}");
    };
    assert_eq!(variant.packages.argument(), "dnsmasq-base=2.91-1");
    assert_eq!(image.root, variant.manifest);
    // The third layer is the first again.
    let stored = engine.play().images[0].clone();
    assert_eq!(variant.config.digest.to_string(), stored.id());
    let digests: Vec<String> = variant.diff_ids.iter().map(ToString::to_string).collect();
    let layers: Vec<String> = variant
        .layers
        .iter()
        .map(|l| l.digest.to_string())
        .collect();
    assert_eq!(digests, layers);
    let content: Vec<Vec<u8>> = variant
        .layers
        .iter()
        .map(|layer| {
            let mut bytes = Vec::new();
            let mut blob = first.blob(&layer.digest).unwrap();
            std::io::Read::read_to_end(&mut blob, &mut bytes).unwrap();
            bytes
        })
        .collect();
    assert_eq!(content, stored.layers);

    // The same request as to the Engine of a host, with the base pinned.
    {
        let play = engine.play();
        let [(query, files)] = play.builds.as_slice() else {
            panic!("{:?}", play.builds);
        };
        assert_eq!(query["version"], "1");
        let arguments: BTreeMap<String, String> =
            serde_json::from_str(&query["buildargs"]).unwrap();
        let digest = toots::spec::digest(b"base");
        assert_eq!(arguments["base"], format!("debian@sha256:{digest}"));
        assert!(files["Dockerfile"].contains(&format!("LABEL toots.build={}", recipe().hash())));
        assert_eq!(files["packages.sh"], recipe().files["packages.sh"]);
    }

    // Again: the Engine has it, and the bundle is the same.
    let again = builds.run().await.unwrap();
    assert_eq!(engine.play().builds.len(), 1);
    let root = image.root.clone();
    let second = bundle(&dir.path().join("dc2.tar"), &again, &["linux/amd64"]).await;
    assert_eq!(second.find(&recipe().image()).unwrap().root, root);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_for_another_platform_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let engine = TestEngine::start(dir.path());
    let both = ["linux/amd64", "linux/arm64"];
    let builds = builds(&engine, dir.path(), &both);
    let Err(LocalBuildError::Missing(missing)) = builds.run().await else {
        panic!("built");
    };
    let [missing] = missing.as_slice() else {
        panic!("{missing:?}");
    };
    assert_eq!(
        (missing.recipe.as_str(), missing.platform.as_str()),
        ("dnsmasq", "linux/arm64")
    );
    assert_eq!(engine.play().builds.len(), 0, "nothing was built");

    // Loaded from an Engine of that platform, under whatever name.
    engine.play().images.push(Stored {
        name: None,
        recipe: recipe().hash(),
        architecture: "arm64".into(),
        layers: vec![b"arm".to_vec()],
    });
    let local = builds.run().await.unwrap();
    assert_eq!(engine.play().builds.len(), 1);
    let bundle = bundle(&file_in(&dir), &local, &both).await;
    let image = bundle.find(&recipe().image()).unwrap();
    let platforms: Vec<String> = image
        .variants
        .iter()
        .map(|v| v.platform.to_string())
        .collect();
    assert_eq!(platforms, both);
    assert!(image.variants.iter().all(|v| v.manifest != image.root));
    assert!(image.variants[1].packages.is_empty(), "nobody knows");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_saved_wrongly_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let engine = TestEngine::start(dir.path());
    let local = builds(&engine, dir.path(), &["linux/amd64"])
        .run()
        .await
        .unwrap();
    let refused = async |change: &dyn Fn(&mut LocalImage)| {
        let mut request = request(&file_in(&dir), &[]);
        request.local = local.clone();
        change(&mut request.local[0]);
        match create_bundle(request).await {
            Err(CreateError::Local { why, .. }) => why,
            other => panic!("{other:?}"),
        }
    };
    let why = refused(&|image| image.layers.swap(0, 1)).await;
    assert!(why.contains("has the content of sha256:"), "{why}");
    let why = refused(&|image| image.config = r#"{"os":"linux"}"#.into()).await;
    assert!(why.contains("not a container image"), "{why}");
    let why = refused(&|image| image.platform = "linux/arm64".parse().unwrap()).await;
    assert_eq!(why, "it is not there for linux/amd64");
}

/// An inventory of which one image is built.
fn inventory(dir: &Path, registry: &TestRegistry) {
    let mut images = String::new();
    for name in ["zookeeper", "consul", "mesos-master", "marathon", "chronos"] {
        registry.add_image(name, Some("1"), "amd64", &[name.as_bytes()]);
        images += &format!("{name} = \"{}\"\n", registry.image(&format!("{name}:1")));
    }
    let text = format!(
        "masters = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"]\n\
         [components]\nsupervisord = true\n[images]\n{images}"
    );
    std::fs::write(dir.join("inventory.toml"), text).unwrap();
}

/// Exit code, standard output and standard error.
fn run(dir: &Path, docker: &str, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_toots"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .env("COLUMNS", "160")
        .env("DOCKER_HOST", docker)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_what_it_built() {
    let registry = TestRegistry::start().await;
    let dir = tempfile::tempdir().unwrap();
    let engine = TestEngine::start(dir.path());
    inventory(dir.path(), &registry);
    let host = engine.host();
    let create = ["bundle", "create", "dc1.tar"];
    let (code, out, err) = run(dir.path(), &host, &create);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.starts_with("dc1.tar: 6 images for linux/amd64"),
        "{out}"
    );
    let name = engine.play().images[0].name.clone().unwrap();
    assert!(name.starts_with("toots/supervisord:"));
    for phase in ["build", "save"] {
        assert!(err.contains(&format!("dc1: {phase} {name}\n")), "{err}");
    }
    let (code, out, err) = run(dir.path(), &host, &["bundle", "inspect", "dc1.tar"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let line = format!("\n{name}: built from recipe supervisord (dnsmasq-base 2.91-1)\n");
    assert!(out.ends_with(&line), "{out}");

    // Again, without a build and with the same bytes.
    let before = std::fs::read(file_in(&dir)).unwrap();
    let (code, out, err) = run(dir.path(), &host, &create);
    assert!(code == 0 && out.contains("(0 B fetched)"), "{out}{err}");
    assert!(!err.contains("build"), "{err}");
    assert!(std::fs::read(file_in(&dir)).unwrap() == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_refuses_before_anything_is_fetched() {
    let registry = TestRegistry::start().await;
    let dir = tempfile::tempdir().unwrap();
    let engine = TestEngine::start(dir.path());
    inventory(dir.path(), &registry);
    let create = ["bundle", "create", "dc1.tar"];
    let host = engine.host();
    let socket = engine.socket.display().to_string();
    let refused = |docker: &str, args: &[&str], code: i32, texts: &[&str]| {
        let (got, out, err) = run(dir.path(), docker, args);
        assert_eq!(got, code, "{out}{err}");
        for text in texts {
            assert!(err.contains(text), "no {text:?} in:\n{err}");
        }
        assert_eq!(registry.content().seen, []);
        assert!(!dir.path().join("dc1.tar.part").exists());
    };
    let hint = "hint: use a Docker Engine for linux/arm64 (DOCKER_HOST=unix://PATH), or name a \
                finished image in [images]: NAME = \"reference\"";
    let arm64 = [&create[..], &["--platform", "linux/arm64"]].concat();
    let why = format!(
        "error: cannot build recipe supervisord for linux/arm64: the Docker Engine at {socket} \
         builds for linux/amd64\n"
    );
    refused(&host, &arm64, 4, &[&why, hint]);
    engine.play().version = "19.03.15";
    let why = format!("the Docker Engine at {socket} must be 20.10.10 or later, got 19.03.15");
    refused(&host, &create, 4, &[&why]);
    let why = "no Docker Engine answers at /nowhere/docker.sock: No such file or directory";
    refused("unix:///nowhere/docker.sock", &create, 4, &[why]);
    let why = "error: DOCKER_HOST must be unix://PATH, where recipes are built, got";
    refused("tcp://10.0.0.1:2375", &create, 2, &[why]);

    // A build that fails shows its last lines.
    engine.play().version = "26.1.5";
    engine.play().failure = Some("E: Unable to locate package supervisor");
    let texts = [
        "error: cannot build toots/supervisord:",
        "exit code: 100\n  E: Unable to locate package supervisor\n",
        "base in [images.supervisord]",
    ];
    refused(&host, &create, 5, &texts);
}
