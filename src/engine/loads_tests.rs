//! Loads between Engines that a test plays.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tempfile::tempfile;

use super::*;
use crate::bundle::sample::write_bundle;
use crate::bundle::{
    Bundle, CreateRequest, ImagePlatform, LocalImage, RegistryOptions, create_bundle,
};
use crate::desired::Recorded;
use crate::engine::checks::report_findings;
use crate::engine::fake_engine::{BreakAt, FakeEngine, Play, Spoil};
use crate::engine::fake_images::{Stored, digest_of};
use crate::engine::observing::observe_hosts;
use crate::engine::run_context::RegistryLogin;
use crate::engine::test_run::{IMAGE, RecordedEvents, TestRun, host};
use crate::engine::try_pulls::prove_pulls;
use crate::env::MachineFiles;
use crate::event::Event;
use crate::plan::{LoadSource, Step};
use crate::spec::{ImageDigest, PackageVersions, Role};

fn load(from: LoadSource, digest: &str) -> Step {
    Step::Load {
        image: ImageRef(IMAGE.into()),
        digest: Some(digest.into()),
        from,
    }
}

fn from_host(n: usize) -> Step {
    load(LoadSource::Host(host(n)), &digest_of("pin"))
}

const BASE: &[u8] = &[1; 5000];

/// The image as a host has it that pulled it.
fn pulled(has_containerd_store: bool) -> Stored {
    let mut image = Stored::new(&[BASE, b"own"], "consul");
    image.digests = vec![format!("registry.example/consul@{}", digest_of("pin"))];
    image.tags = [IMAGE.to_owned()].into();
    if has_containerd_store {
        image.id = digest_of("pin");
    }
    image
}

fn names(digest: &str) -> BTreeSet<String> {
    [IMAGE.to_owned(), ImageRef::verified(digest).0].into()
}

#[tokio::test]
async fn every_store_loads_from_every_store() {
    for source_has_containerd in [false, true] {
        let source = FakeEngine::with(source_has_containerd, vec![pulled(source_has_containerd)]);
        // Its base is there, under another name.
        let classic = FakeEngine::with(false, vec![Stored::new(&[BASE, b"other"], "")]);
        let containerd = FakeEngine::with(true, Vec::new());
        let engines = [source.clone(), classic.clone(), containerd.clone()];
        let mut run = TestRun::on(&engines, None).await;
        let failed = run.bring(vec![(2, from_host(1)), (3, from_host(1))]).await;
        assert_eq!(failed, []);
        assert_eq!(source.play().saves, 1, "saved once for both");
        let id = |engine: &FakeEngine| {
            let play = engine.play();
            let image = play.images.last().unwrap();
            assert_eq!(image.tags, names(&digest_of("pin")));
            assert_eq!(image.layers, pulled(false).layers);
            image.id.clone()
        };
        assert_eq!(id(&classic), pulled(false).id);
        let manifest = if source_has_containerd {
            "pin"
        } else {
            "a manifest of this host"
        };
        assert_eq!(id(&containerd), digest_of(manifest));
        let [small, whole] = [classic, containerd].map(|engine| engine.play().loads[0]);
        assert!(
            small + BASE.len() < whole,
            "{small} {whole}: the base is not sent"
        );
        // Later runs find it without a record.
        let images = run.hosts[&host(2)].engine.images().await.unwrap();
        assert!(
            images
                .iter()
                .any(|image| image.has_digest(&digest_of("pin")))
        );
    }
}

/// A load that the Engine calls a success is none when it made another image.
#[tokio::test]
async fn what_was_loaded_wrongly_is_named_and_gets_no_name() {
    let spoils: [(bool, Spoil, &str); 4] = [
        (
            false,
            |image| drop(image.layers.pop()),
            "number of layers must be 2, got 1",
        ),
        (
            false,
            |image| image.layers[1] = b"x".to_vec(),
            "layer 2 must be sha256:",
        ),
        (
            false,
            |image| image.id = digest_of("x"),
            "id must be sha256:",
        ),
        (
            true,
            |image| {
                let config = String::from_utf8(image.config.clone()).unwrap();
                image.config = config.replace("consul", "nobody").into_bytes();
            },
            "its user is another one",
        ),
    ];
    for (has_containerd_store, spoil, what) in spoils {
        let source = FakeEngine::with(false, vec![pulled(false)]);
        let target = FakeEngine::with(has_containerd_store, Vec::new());
        target.play().spoil = Some(spoil);
        let mut run = TestRun::on(&[source, target.clone()], None).await;
        let failed = run.bring(vec![(2, from_host(1))]).await;
        let [(failed, cause)] = failed.as_slice() else {
            panic!("{failed:?}");
        };
        let text = format!("loaded another image than {IMAGE} from h1: {what}");
        assert!(*failed == host(2) && cause.starts_with(&text), "{cause}");
        assert_eq!(target.play().images[0].tags, BTreeSet::new());
    }
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_loaded_from_a_host() {
    tokio::time::pause();
    let holder = FakeEngine::with(false, vec![pulled(false)]);
    holder.play().has_perl = true;
    let [other, target] = [(); 2].map(|()| FakeEngine::with(false, Vec::new()));
    let mut run = TestRun::on(&[other.clone(), target.clone(), holder.clone()], None).await;
    let image = ImageRef(IMAGE.into());
    let pull = Step::Pull {
        image: image.clone(),
        digest: Some(digest_of("pin").into()),
    };
    assert_eq!(run.bring(vec![(2, pull.clone())]).await, []);
    assert_eq!(target.play().pulls, 2, "tried again before");
    assert_eq!(target.play().images[0].tags, names(&digest_of("pin")));
    let warnings = run.warnings();
    let [warning] = warnings.as_slice() else {
        panic!("{warnings:?}");
    };
    assert!(
        warning.starts_with(&format!("cannot pull {IMAGE}: ")),
        "{warning}"
    );
    assert!(
        warning.contains("no route to host; loading it from h3"),
        "{warning}"
    );

    // The likeliest gives what cannot be used: the next one is asked.
    target.play().images.clear();
    other.play().images = vec![pulled(false)];
    other.play().saves_incompletely = true;
    assert_eq!(run.bring(vec![(2, pull.clone())]).await, []);
    assert_eq!(target.play().images[0].tags, names(&digest_of("pin")));
    assert!(run.warnings().iter().any(|w| w.starts_with("cannot use ")));

    // Nobody has it: the failure is that of the pull.
    other.play().images.clear();
    holder.play().images.clear();
    target.play().images.clear();
    let failed = run.bring(vec![(1, pull)]).await;
    let [(failed, cause)] = failed.as_slice() else {
        panic!("{failed:?}");
    };
    assert!(
        *failed == host(1) && cause.contains("no route to host"),
        "{cause}"
    );
}

#[tokio::test]
async fn a_host_that_lost_the_image_is_replaced_by_another_or_by_a_pull() {
    let lost = FakeEngine::with(false, Vec::new());
    let target = FakeEngine::with(false, Vec::new());
    let holder = FakeEngine::with(false, vec![pulled(false)]);
    holder.play().has_perl = true;
    let mut run = TestRun::on(&[lost, target.clone(), holder.clone()], None).await;
    assert_eq!(run.bring(vec![(2, from_host(1))]).await, []);
    assert_eq!((target.play().pulls, holder.play().gives), (0, 1));

    holder.play().images.clear();
    target.play().images.clear();
    target.play().registry = Some(pulled(false));
    assert_eq!(run.bring(vec![(2, from_host(1))]).await, []);
    assert_eq!(target.play().pulls, 1);
    assert_eq!(
        run.warnings(),
        [format!(
            "no other host that takes part gives {IMAGE}; pulling it"
        )]
    );
}

#[tokio::test]
async fn the_connection_to_the_source_is_opened_again() {
    let source = FakeEngine::with(false, vec![pulled(false)]);
    source.play().breaks = vec![("/images/get", BreakAt::Request)];
    let target = FakeEngine::with(false, Vec::new());
    let mut run = TestRun::on(&[source.clone(), target.clone()], None).await;
    assert_eq!(run.bring(vec![(2, from_host(1))]).await, []);
    assert_eq!(source.play().saves, 1);
    assert_eq!(target.play().images[0].tags, names(&digest_of("pin")));
}

#[tokio::test]
async fn a_bundle_is_loaded_without_what_the_host_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dc1.tar");
    let pin = write_bundle(&path, IMAGE, &[BASE.to_vec(), b"own".to_vec()]);
    let open = || {
        let bundle = Bundle::open(&MachineFiles, &path).unwrap();
        bundle.verify(|_| {}).unwrap();
        bundle
    };
    let classic = FakeEngine::with(false, vec![Stored::new(&[BASE, b"other"], "")]);
    let containerd = FakeEngine::with(true, Vec::new());
    let mut run = TestRun::on(&[classic.clone(), containerd.clone()], Some(open())).await;
    let step = || load(LoadSource::Bundle(path.clone()), &pin);
    assert_eq!(run.bring(vec![(1, step()), (2, step())]).await, []);
    let length = usize::try_from(open().length()).unwrap();
    for engine in [&classic, &containerd] {
        let play = engine.play();
        assert_eq!(play.images.last().unwrap().tags, names(&pin));
        assert_eq!(play.pulls, 0);
        assert!(play.loads[0] <= length, "{} {length}", play.loads[0]);
    }
    assert_eq!(containerd.play().images[0].id, pin);
    let [small, whole] = [&classic, &containerd].map(|engine| engine.play().loads[0]);
    assert!(small + BASE.len() < whole, "{small} {whole}");
    // The bytes are shown.
    let progress = |n| {
        let events = run.events.list();
        let mut events = events.iter().rev();
        events.find_map(|event| match event {
            Event::StepProgress {
                host: name,
                bytes,
                total,
                ..
            } if *name == host(n) => Some((*bytes, *total)),
            _ => None,
        })
    };
    let bytes = |length| Some((length as u64, Some(length as u64)));
    assert_eq!([1, 2].map(progress), [small, whole].map(bytes));
    // A run that ended between the load and its names sends nothing again.
    for engine in [&classic, &containerd] {
        engine.play().images.last_mut().unwrap().tags.clear();
    }
    assert_eq!(run.bring(vec![(1, step()), (2, step())]).await, []);
    for engine in [&classic, &containerd] {
        let play = engine.play();
        assert_eq!(play.images.last().unwrap().tags, names(&pin));
        assert_eq!(play.loads.len(), 1);
    }
}

const BUILT: &str = "toots/mesos:0123456789abcdef";

/// A bundle with an image of a recipe, as `bundle create` writes it.
async fn bundle_of_recipe(path: &std::path::Path, hash: &str) -> Bundle {
    let layers: [&[u8]; 2] = [BASE, b"mesos"];
    let mut image = Stored::new(&layers, "");
    let mut config: serde_json::Value = serde_json::from_slice(&image.config).unwrap();
    config["config"] = serde_json::json!({"Labels": {"toots.recipe": hash}});
    image.config = config.to_string().into_bytes();
    let mut file = tempfile().unwrap();
    std::io::Write::write_all(&mut file, &layers.concat()).unwrap();
    let end = BASE.len() as u64;
    let registries = RegistryOptions {
        connect_timeout: Duration::ZERO,
        answer_timeout: Duration::ZERO,
        idle_timeout: Duration::ZERO,
        retry_delay: Duration::ZERO,
        own: None,
    };
    let request = CreateRequest {
        file: path.to_owned(),
        images: BTreeSet::new(),
        local: vec![LocalImage {
            name: ImageRef(BUILT.into()),
            platform: ImagePlatform::linux_amd64(),
            config: image.config.into(),
            file: Arc::new(file),
            layers: vec![0..end, end..end + 5],
            packages: PackageVersions::parse("aventer-mesos 1.11.0\n"),
        }],
        platforms: vec![ImagePlatform::linux_amd64()],
        registries,
        events: Arc::new(RecordedEvents::default()),
    };
    create_bundle(request).await.unwrap();
    let bundle = Bundle::open(&MachineFiles, path).unwrap();
    bundle.verify(|_| {}).unwrap();
    bundle
}

fn built(from: LoadSource) -> Step {
    Step::Load {
        image: ImageRef(BUILT.into()),
        digest: None,
        from,
    }
}

/// It crosses the line once, and every store knows it as one that a host built.
#[tokio::test]
async fn a_bundled_recipe_is_loaded_and_not_built() {
    for (first, second) in [(false, false), (true, true), (false, true)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dc1.tar");
        let bundle = bundle_of_recipe(&path, "0123456789abcdef").await;
        let engines = [first, second].map(|store| FakeEngine::with(store, Vec::new()));
        for engine in &engines {
            engine.play().has_perl = true;
        }
        let mut run = TestRun::on(&engines, Some(bundle)).await;
        let from = || LoadSource::Bundle(path.clone());
        let steps = vec![(1, built(from())), (2, built(from()))];
        assert_eq!(run.bring(steps).await, []);
        let image = ImageRef(BUILT.into());
        for (n, engine) in engines.iter().enumerate() {
            let images = run.hosts[&host(n + 1)].engine.images().await.unwrap();
            assert!(images.iter().any(|there| there.is_build_of(&image)));
            let play = engine.play();
            assert_eq!((play.images.len(), play.loads.len()), (1, 1));
            assert_eq!((play.builds.len(), play.pulls), (0, 0));
            assert_eq!(play.images[0].tags, [BUILT.to_owned()].into());
        }
        let gives = [0, 1].map(|n| engines[n].play().gives);
        assert_eq!(gives, [1, 0], "the second gets it from the first");
        assert_eq!(run.warnings(), [""; 0]);
        // A run that ended between the load and its name sends nothing again.
        engines[0].play().images[0].tags.clear();
        engines[1].play().images.clear();
        assert_eq!(run.bring(vec![(1, built(from()))]).await, []);
        let play = engines[0].play();
        assert_eq!(play.images[0].tags, [BUILT.to_owned()].into());
        assert_eq!(play.loads.len(), 1);
    }
}

/// As a build does, once for each architecture.
#[tokio::test]
async fn a_bundled_recipe_records_its_packages() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dc1.tar");
    let bundle = bundle_of_recipe(&path, "0123456789abcdef").await;
    let engines = [(); 2].map(|()| FakeEngine::with(false, Vec::new()));
    engines.iter().for_each(|e| e.play().has_perl = true);
    let mut run = TestRun::on(&engines, Some(bundle)).await;
    let master = Arc::get_mut(run.hosts.get_mut(&host(1)).unwrap()).unwrap();
    master.info.roles.insert(Role::Master);
    let from = || LoadSource::Bundle(path.clone());
    let steps = vec![(1, built(from())), (2, built(from()))];
    assert_eq!(run.bring(steps).await, []);
    let record = "/etc/toots/packages/mesos-0123456789abcdef";
    let written = engines[0].play().written.clone();
    let [written] = written.as_slice() else {
        panic!("{written:?}");
    };
    for text in [record, "aventer-mesos 1.11.0\n"] {
        assert!(written.contains(text), "{written}");
    }
    assert_eq!(engines[1].play().written, [""; 0], "it is no master");
}

/// A host that lost it meanwhile is replaced by the bundle.
#[tokio::test]
async fn a_bundled_recipe_stands_in_for_a_host() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dc1.tar");
    let bundle = bundle_of_recipe(&path, "0123456789abcdef").await;
    let engines = [(); 2].map(|()| FakeEngine::with(false, Vec::new()));
    let mut run = TestRun::on(&engines, Some(bundle)).await;
    let steps = vec![(2, built(LoadSource::Host(host(1))))];
    assert_eq!(run.bring(steps).await, []);
    assert_eq!(engines[1].play().images[0].tags, [BUILT.to_owned()].into());
}

/// The name says by which recipe it was built, and its label must say the same.
#[tokio::test]
async fn a_bundled_image_with_another_recipe_gets_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dc1.tar");
    let bundle = bundle_of_recipe(&path, "fedcba9876543210").await;
    let engine = FakeEngine::with(false, Vec::new());
    let mut run = TestRun::on(std::slice::from_ref(&engine), Some(bundle)).await;
    let steps = vec![(1, built(LoadSource::Bundle(path.clone())))];
    let why = format!(
        "loaded another image than {BUILT} from {}: its recipe must be 0123456789abcdef",
        path.display()
    );
    assert_eq!(run.bring(steps).await, [(host(1), why)]);
    assert_eq!(engine.play().images[0].tags, BTreeSet::new());
}

/// What the plan found in the bundle is looked up by its digest, not by its name alone.
#[tokio::test]
async fn a_bundled_image_with_another_digest_is_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dc1.tar");
    write_bundle(&path, IMAGE, &[BASE.to_vec()]);
    let engine = FakeEngine::with(false, Vec::new());
    let mut run = TestRun::on(
        std::slice::from_ref(&engine),
        Some(Bundle::open(&MachineFiles, &path).unwrap()),
    )
    .await;
    let failed = run
        .bring(vec![(
            1,
            load(LoadSource::Bundle(path.clone()), &digest_of("x")),
        )])
        .await;
    assert_eq!(
        failed,
        [(host(1), "the bundle does not have the image".to_owned())]
    );
    assert_eq!(engine.play().loads, [0; 0]);
}

/// A fresh cluster with a bundle: its pins are those of the bundle, and nothing is left to be asked of
/// a registry.
/// Between two classic stores, from containerd's to itself, and from the classic one to containerd's.
#[tokio::test]
async fn images_go_from_host_to_host_directly() {
    for (from, to) in [(false, false), (true, true), (false, true)] {
        let source = FakeEngine::with(from, vec![pulled(from)]);
        source.play().has_perl = true;
        let target = FakeEngine::with(to, Vec::new());
        let mut run = TestRun::on(&[source.clone(), target.clone()], None).await;
        assert_eq!(run.bring(vec![(2, from_host(1))]).await, []);
        let Play { gives, saves, .. } = *source.play();
        assert_eq!((gives, saves), (1, 0));
        assert_eq!(target.play().images[0].tags, names(&digest_of("pin")));
        assert_eq!(run.warnings(), [""; 0]);
    }
}

/// Without Perl, and where only the archive tells the id in the other store.
#[tokio::test]
async fn images_that_cannot_go_directly_pass_through_this_machine() {
    for (has_perl, from, to) in [(false, false, false), (true, true, false)] {
        let source = FakeEngine::with(from, vec![pulled(from)]);
        source.play().has_perl = has_perl;
        let targets = [(); 2].map(|()| FakeEngine::with(to, Vec::new()));
        let [second, third] = targets.clone();
        let mut run = TestRun::on(&[source.clone(), second, third], None).await;
        let steps = vec![(2, from_host(1)), (3, from_host(1))];
        assert_eq!(run.bring(steps).await, []);
        for target in targets {
            assert_eq!(target.play().images[0].tags, names(&digest_of("pin")));
        }
        let warnings = run.warnings();
        assert_eq!(warnings.len(), usize::from(!has_perl), "{warnings:?}");
        for warning in warnings {
            let text = "directly: command failed: perl printed no port; sending them through this";
            assert!(warning.contains(text), "{warning}");
        }
    }
}

/// The first host gets it from the bundle, the others from that host.
#[tokio::test]
async fn a_bundled_image_crosses_the_line_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dc1.tar");
    let pin = write_bundle(&path, IMAGE, &[BASE.to_vec(), b"own".to_vec()]);
    let bundle = Bundle::open(&MachineFiles, &path).unwrap();
    bundle.verify(|_| {}).unwrap();
    let engines = [true, false, true, false].map(|store| FakeEngine::with(store, Vec::new()));
    for engine in &engines {
        engine.play().has_perl = true;
    }
    let mut run = TestRun::on(&engines, Some(bundle)).await;
    let step = load(LoadSource::Bundle(path), &pin);
    let steps = (1..=4).map(|n| (n, step.clone())).collect();
    assert_eq!(run.bring(steps).await, []);
    let gives: usize = engines.iter().map(|engine| engine.play().gives).sum();
    assert_eq!(gives, 3);
    for engine in engines {
        assert_eq!(engine.play().images[0].tags, names(&pin));
    }
    assert_eq!(run.warnings(), [""; 0]);
}

#[tokio::test]
async fn pins_come_from_the_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dc1.tar");
    let pin = write_bundle(&path, IMAGE, &[BASE.to_vec()]);
    let engine = FakeEngine::with(false, Vec::new());
    let engines = std::slice::from_ref(&engine);
    let run = TestRun::on(engines, Some(Bundle::open(&MachineFiles, &path).unwrap())).await;
    let image = ImageRef(IMAGE.into());
    let pin = ImageDigest::from(pin);
    assert_eq!(run.planned.recorded.digests.get(&image), Some(&pin));
    let spec = &run.planned.desired.hosts[0].components[0].container;
    assert_eq!(spec.digest.as_ref(), Some(&pin));
    let [Step::Load { digest, from, .. }] = run.planned.plan.hosts[0].images.as_slice() else {
        panic!("{:?}", run.planned.plan.hosts[0].images);
    };
    assert_eq!((digest, from), (&Some(pin), &LoadSource::Bundle(path)));
    // What was pinned before stays, whatever the bundle has.
    let recorded = Recorded {
        digests: [(image.clone(), digest_of("pin").into())].into(),
        ..Recorded::default()
    };
    let observed = run.planned.observed.clone();
    let mut run = run;
    run.plan(observed, recorded);
    assert_eq!(*run.planned.recorded.digests[&image], *digest_of("pin"));
    let steps = &run.planned.plan.hosts[0].images;
    assert!(matches!(steps.as_slice(), [Step::Pull { .. }]), "{steps:?}");
}

#[tokio::test]
async fn a_broken_load_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dc1.tar");
    let pin = write_bundle(&path, IMAGE, &[BASE.to_vec(), b"own".to_vec()]);
    for (has_containerd_store, at) in [
        (false, BreakAt::Request),
        (false, BreakAt::Answer),
        (true, BreakAt::Answer),
    ] {
        let engine = FakeEngine::with(has_containerd_store, Vec::new());
        engine.play().breaks = vec![("/images/load", at)];
        let engines = std::slice::from_ref(&engine);
        let mut run = TestRun::on(engines, Some(Bundle::open(&MachineFiles, &path).unwrap())).await;
        let step = load(LoadSource::Bundle(path.clone()), &pin);
        assert_eq!(run.bring(vec![(1, step)]).await, []);
        let play = engine.play();
        assert_eq!(play.images[0].tags, names(&pin), "{at:?}");
        assert_eq!(play.loads.len(), 1, "what came is not sent again");
    }
}

#[tokio::test]
async fn a_later_run_finds_what_was_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dc1.tar");
    let pin = write_bundle(&path, IMAGE, &[BASE.to_vec()]);
    let engine = FakeEngine::with(false, Vec::new());
    let engines = std::slice::from_ref(&engine);
    let mut run = TestRun::on(engines, Some(Bundle::open(&MachineFiles, &path).unwrap())).await;
    let step = || load(LoadSource::Bundle(path.clone()), &pin);
    assert_eq!(run.bring(vec![(1, step())]).await, []);
    let observed = observe_hosts(&run.cx, &run.ledger, &run.hosts).await;
    // Without the bundle, by the pin that was recorded.
    run.cx.mode.bundle = None;
    let recorded = Recorded {
        digests: [(ImageRef(IMAGE.into()), pin.into())].into(),
        ..Recorded::default()
    };
    run.plan(observed, recorded);
    let titles: Vec<String> = run.planned.plan.hosts[0].steps().map(Step::title).collect();
    assert!(
        !titles.iter().any(|title| title.contains(IMAGE)),
        "{titles:?}"
    );
}

/// Who loads a bundle may have no way to a registry, so what will be pulled is named first.
#[tokio::test]
async fn what_the_bundle_lacks_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dc1.tar");
    write_bundle(&path, "registry.example/zookeeper:3.9", &[BASE.to_vec()]);
    let engine = FakeEngine::with(false, Vec::new());
    let engines = std::slice::from_ref(&engine);
    let run = TestRun::on(engines, Some(Bundle::open(&MachineFiles, &path).unwrap())).await;
    // The machine that is played lacks much else.
    let refused = report_findings(&run.work());
    assert!(refused.is_err());
    let text = format!("{} does not have {IMAGE}; it is pulled", path.display());
    assert_eq!(run.warnings().first(), Some(&text));
}

/// A registry that is down ends no run whose images other hosts have.
#[tokio::test]
async fn no_pull_is_proven_where_another_host_has_the_image() {
    let other = FakeEngine::with(false, vec![pulled(false)]);
    let mut run = TestRun::on(&[FakeEngine::default(), other.clone()], None).await;
    run.cx.registry = Some(RegistryLogin {
        server: "registry.example".into(),
        username: "u".into(),
        password: crate::spec::Secret::new("p"),
    });
    let recorded = Recorded {
        digests: [(ImageRef(IMAGE.into()), digest_of("pin").into())].into(),
        ..Recorded::default()
    };
    let mut is_proven = Vec::new();
    for lose_images in [false, true] {
        if lose_images {
            other.play().images.clear();
        }
        let observed = observe_hosts(&run.cx, &run.ledger, &run.hosts).await;
        run.plan(observed, recorded.clone());
        let steps = &run.planned.plan.hosts[0].images;
        assert!(matches!(steps.as_slice(), [Step::Pull { .. }]), "{steps:?}");
        // The registry's name and its login are on the host.
        run.planned.plan.hosts[0].prepare.clear();
        is_proven.push(prove_pulls(&run.work()).await);
    }
    assert_eq!(is_proven, [true, false]);
}
