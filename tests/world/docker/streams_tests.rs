//! What the simulated Engine streams, read by toots' own client over streams in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use toots::docker::{BuildRequest, DockerError, Proxies, RegistryAuth, SavedImage};
use toots::env::MachineFiles;
use toots::spec::{
    ClusterName, ComponentName, ContainerSpec, ImageRef, PackageVersions, Recipe, Secret,
};

use super::rig::{call, client, empty, engine, notes, setup, sleep, start};
use super::{BuildManner, Engine, EngineSetup, Image, Payload, Registry, StoreKind, open};

const IDLE: Duration = Duration::from_secs(30);
const NAME: &str = "registry.lab:5000/zookeeper:3.9";
const STORES: [StoreKind; 2] = [StoreKind::Graph, StoreKind::Containerd];

#[tokio::test(start_paused = true)]
async fn toots_pulls_from_the_registry() {
    for store in STORES {
        let registry = Registry::default();
        registry.set_layer_time(Duration::from_secs(20));
        let image = Image::new("zookeeper", "3.9");
        let digest = registry.push(NAME, image.clone());
        let engine = empty("m1", store, &registry);
        let toots = client(&engine);
        let asked = toots.distribution_digest(NAME, None).await.unwrap();
        assert_eq!(asked, digest);
        let steps = Mutex::new(Vec::new());
        let pinned = format!("registry.lab:5000/zookeeper@{digest}");
        let progress = |done, total| steps.lock().unwrap().push((done, total));
        toots.pull(&pinned, None, IDLE, progress).await.unwrap();
        let steps = steps.into_inner().unwrap();
        let total = Some(image.size() as u64);
        assert!(
            steps.len() == 8 && steps.last() == Some(&(image.size() as u64, total)),
            "{steps:?}"
        );
        let images = toots.images().await.unwrap();
        assert!(
            images.len() == 1 && images[0].has_digest(&digest),
            "{images:?}"
        );
        assert!(images[0].tags.is_empty(), "a pull by digest gives no tag");
        let detail = toots.image_detail(&pinned).await.unwrap();
        let id = match store {
            StoreKind::Graph => image.config_digest(),
            StoreKind::Containerd => digest.clone(),
        };
        assert_eq!((detail.id, detail.layers), (id, image.diff_ids()));
        let info = toots.version().await.unwrap().info.unwrap();
        assert_eq!(info.has_containerd_store, store == StoreKind::Containerd);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pull_tells_why_it_fails() {
    let registry = Registry::default();
    registry.push(NAME, Image::new("zookeeper", "3.9"));
    let engine = empty("m1", StoreKind::Graph, &registry);
    let toots = client(&engine);
    let absent = toots
        .pull("registry.lab:5000/absent:1", None, IDLE, |_, _| {})
        .await;
    assert!(absent.unwrap_err().is_not_found());
    registry.require_login("ann", "geheim");
    let refused = toots.pull(NAME, None, IDLE, |_, _| {}).await.unwrap_err();
    assert!(
        refused.to_string().contains("no basic auth credentials"),
        "{refused}"
    );
    let login = RegistryAuth {
        username: "ann".into(),
        password: Secret::new("geheim"),
        server: "registry.lab:5000".into(),
    };
    engine.set_disk_full(true);
    let full = toots
        .pull(NAME, Some(&login), IDLE, |_, _| {})
        .await
        .unwrap_err();
    assert!(
        full.to_string().contains("no space left on device"),
        "{full}"
    );
    assert!(toots.images().await.unwrap().is_empty());
    engine.set_disk_full(false);
    registry.set_layer_time(Duration::from_secs(60));
    let ended = async {
        sleep(80).await;
        registry.set_down(true);
    };
    let pull = toots.pull(NAME, Some(&login), IDLE, |_, _| {});
    let (stalled, ()) = tokio::join!(pull, ended);
    assert!(
        matches!(stalled, Err(DockerError::Deadline { .. })),
        "{stalled:?}"
    );
    let down = toots
        .pull(NAME, Some(&login), IDLE, |_, _| {})
        .await
        .unwrap_err();
    assert!(down.to_string().contains("no route to host"), "{down}");
    registry.set_down(false);
    toots
        .pull(NAME, Some(&login), IDLE, |_, _| {})
        .await
        .unwrap();
    assert_eq!(toots.images().await.unwrap()[0].tags, [NAME]);
}

#[tokio::test(start_paused = true)]
async fn pulls_and_builds_end_with_their_client() {
    let registry = Registry::default();
    registry.set_layer_time(Duration::from_secs(10));
    registry.push(NAME, Image::new("zookeeper", "3.9"));
    let engine = empty("m1", StoreKind::Graph, &registry);
    let toots = client(&engine);
    let pull = toots.pull(NAME, None, IDLE, |_, _| {});
    assert!(
        tokio::time::timeout(Duration::from_secs(15), pull)
            .await
            .is_err()
    );
    // The connection is closed with the client's last handle.
    drop(toots);
    sleep(60).await;
    let toots = client(&engine);
    assert!(toots.images().await.unwrap().is_empty());
    engine.has_image("debian:13-slim", Image::new("debian", "13"));
    engine.set_build(BuildManner {
        step_time: Duration::from_secs(10),
        ..BuildManner::default()
    });
    let recipe = recipe();
    let build = toots.build(request(&recipe), |_, _| {}, |_| {});
    assert!(
        tokio::time::timeout(Duration::from_secs(5), build)
            .await
            .is_err()
    );
    drop(toots);
    sleep(60).await;
    let images = client(&engine).images().await.unwrap();
    assert!(
        !images
            .iter()
            .any(|image| image.is_build_of(&recipe.image())),
        "{images:?}"
    );
}

fn recipe() -> Recipe {
    let dockerfile = "ARG base\nFROM ${base}\nARG version\nCOPY packages.sh /\nRUN sh /packages.sh \\\n  $version\nENTRYPOINT [\"dnsmasq\"]\n";
    Recipe {
        name: "dnsmasq".into(),
        base: ImageRef("debian:13-slim".into()),
        arguments: [("version".to_owned(), "2.9*".to_owned())].into(),
        files: [
            ("Dockerfile".to_owned(), dockerfile.to_owned()),
            ("packages.sh".to_owned(), "#!/bin/sh\n".to_owned()),
        ]
        .into(),
        local_files: BTreeMap::new(),
    }
}

fn request(recipe: &Recipe) -> BuildRequest<'_> {
    static NONE: std::sync::LazyLock<(PackageVersions, Proxies)> =
        std::sync::LazyLock::new(Default::default);
    BuildRequest {
        recipe,
        base: &recipe.base.0,
        packages: &NONE.0,
        auth: None,
        proxies: &NONE.1,
        files: &MachineFiles,
        idle: Duration::from_secs(60),
    }
}

#[tokio::test(start_paused = true)]
async fn toots_builds_a_recipe() {
    let recipe = recipe();
    let mut ids = Vec::new();
    for (store, host) in [(STORES[0], "m1"), (STORES[0], "m2"), (STORES[1], "m3")] {
        let registry = Registry::default();
        registry.push("debian:13-slim", Image::new("debian", "13"));
        let engine = empty(host, store, &registry);
        engine.set_build(BuildManner {
            step_time: Duration::from_secs(20),
            prints: vec!["toots-package dnsmasq-base 2.92-1".into()],
            ..BuildManner::default()
        });
        let toots = client(&engine);
        let mut lines = Vec::new();
        let built = toots.build(
            request(&recipe),
            |_, _| {},
            |line| lines.push(line.to_owned()),
        );
        let id = built.await.unwrap();
        assert!(
            lines.contains(&"toots-package dnsmasq-base 2.92-1".to_owned()),
            "{lines:?}"
        );
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("Step 6/8 : RUN sh /packages.sh")),
            "{lines:?}"
        );
        let images = toots.images().await.unwrap();
        let found: Vec<_> = images
            .iter()
            .filter(|i| i.is_build_of(&recipe.image()))
            .collect();
        assert!(found.len() == 1 && found[0].id == id, "{images:?}");
        assert_eq!(images.len(), 2, "with the base alone: {images:?}");
        let detail = toots.image_detail(&id).await.unwrap();
        assert_eq!(detail.settings.entrypoint.unwrap(), ["dnsmasq"]);
        ids.push(id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "no two builds are alike");
}

#[tokio::test(start_paused = true)]
async fn a_build_that_fails_leaves_what_can_be_removed() {
    let registry = Registry::default();
    registry.push("debian:13-slim", Image::new("debian", "13"));
    let engine = empty("m1", StoreKind::Graph, &registry);
    engine.set_build(BuildManner {
        failing: Some(("sh /packages.sh".into(), 100)),
        ..BuildManner::default()
    });
    let toots = client(&engine);
    let recipe = recipe();
    let failed = toots.build(request(&recipe), |_, _| {}, |_| {}).await;
    let text = failed.unwrap_err().to_string();
    assert!(text.contains("returned a non-zero code: 100"), "{text}");
    let nameless = |images: &[toots::docker::ImageStatus]| {
        let tags = images
            .iter()
            .filter(|image| image.tags == ["<none>:<none>"]);
        tags.count()
    };
    assert_eq!(nameless(&toots.images().await.unwrap()), 1);
    toots.prune_builds().await.unwrap();
    assert_eq!(nameless(&toots.images().await.unwrap()), 0);
    registry.set_down(true);
    let absent = Recipe {
        base: ImageRef("debian:14".into()),
        ..recipe
    };
    let failed = toots.build(request(&absent), |_, _| {}, |_| {}).await;
    assert!(failed.unwrap_err().to_string().contains("no route to host"));
}

#[tokio::test(start_paused = true)]
async fn images_go_from_store_to_store() {
    let mut count = 0;
    for (from, to) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let registry = Registry::default();
        let giver = empty("m1", STORES[from], &registry);
        let taker = empty("m2", STORES[to], &registry);
        let image = Image::new("zookeeper", "3.9");
        giver.has_image(NAME, image.clone());
        let (given, taken) = (client(&giver), client(&taker));
        for is_named in [true, false] {
            let asked = match is_named {
                true => NAME.to_owned(),
                false => given.images().await.unwrap()[0].id.clone(),
            };
            let saved = given
                .save(&asked, &MachineFiles, IDLE, |_| {})
                .await
                .unwrap();
            assert_eq!(saved.content().layers, image.diff_ids());
            let loaded = taken.load(saved.archive(0), IDLE, |_, _| {}).await.unwrap();
            let id = taken.images().await.unwrap()[0].id.clone();
            assert_eq!(loaded, (!is_named).then(|| id.clone()));
            let detail = taken.image_detail(&id).await.unwrap();
            let has_containerd_store = STORES[to] == StoreKind::Containerd;
            let difference = saved.content().difference(&detail, has_containerd_store);
            assert_eq!(difference, None, "from {from} to {to}");
            count += 1;
        }
    }
    println!("{count} loads between both kinds of store");
}

/// An image of one Engine, and another Engine that has none.
async fn save_for_another(store: StoreKind) -> (SavedImage, Engine) {
    let registry = Registry::default();
    let giver = empty("m1", store, &registry);
    let taker = empty("m2", store, &registry);
    giver.has_image(NAME, Image::new("zookeeper", "3.9"));
    let toots = client(&giver);
    let saved = toots.save(NAME, &MachineFiles, IDLE, |_| {}).await;
    (saved.unwrap(), taker)
}

#[tokio::test(start_paused = true)]
async fn layers_that_a_host_has_need_not_be_sent() {
    let (saved, taker) = save_for_another(StoreKind::Graph).await;
    let without = client(&taker).load(saved.archive(1), IDLE, |_, _| {}).await;
    let text = without.unwrap_err().to_string();
    assert!(
        text.contains("layer.tar: no such file or directory"),
        "{text}"
    );
    taker.has_image("consul:1", Image::new("consul", "1"));
    client(&taker)
        .load(saved.archive(1), IDLE, |_, _| {})
        .await
        .unwrap();
    assert!(client(&taker).image_detail(NAME).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_load_tells_a_full_disk_in_its_own_way() {
    for store in STORES {
        let (saved, taker) = save_for_another(store).await;
        taker.set_disk_full(true);
        let failed = client(&taker).load(saved.archive(0), IDLE, |_, _| {}).await;
        let text = failed.unwrap_err().to_string();
        assert!(text.contains("no space left on device"), "{text}");
        let is_text = text.contains("Error unpacking image");
        assert_eq!(is_text, store == StoreKind::Containerd, "{text}");
        let listed = client(&taker).images().await.unwrap().len();
        assert_eq!(listed, usize::from(is_text), "there, but not unpacked");
    }
}

/// The events of containers as they came, until there are as many.
async fn events(engine: &Engine, uri: &str, count: usize) -> Vec<Value> {
    let (status, mut body) = open(engine.connect("test"), "GET", uri, Payload::None)
        .await
        .unwrap();
    assert_eq!(status, 200);
    let mut text = Vec::new();
    let mut events: Vec<Value> = Vec::new();
    while events.len() < count {
        let frame = tokio::time::timeout(Duration::from_secs(60), body.frame()).await;
        let frame = frame.expect("an event").expect("a frame").expect("bytes");
        text.extend_from_slice(&frame.into_data().expect("bytes"));
        let read = serde_json::Deserializer::from_slice(&text).into_iter::<Value>();
        events = read.map(|event| event.expect("JSON")).collect();
    }
    events
}

#[tokio::test(start_paused = true)]
async fn events_arrive_in_order() {
    let engine = engine();
    let uri = "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D";
    let (seen, ()) = tokio::join!(events(&engine, uri, 9), async {
        sleep(1).await;
        start(&engine, "aa", "steady", json!({ "Name": "unless-stopped" })).await;
        call(&engine, "POST", "/containers/aa/rename?name=bb").await;
        call(&engine, "POST", "/containers/bb/stop").await;
        call(&engine, "POST", "/containers/bb/start").await;
        call(&engine, "DELETE", "/containers/bb?force=true").await;
    });
    let actions: Vec<String> = seen
        .iter()
        .map(|event| {
            let attributes = &event["Actor"]["Attributes"];
            let action = event["Action"].as_str().unwrap();
            assert_eq!(event["status"], action, "as Engines before 29 name it, too");
            format!("{action} {}", attributes["name"].as_str().unwrap())
        })
        .collect();
    let expected = [
        "create aa",
        "start aa",
        "rename bb",
        "kill bb",
        "die bb",
        "stop bb",
        "start bb",
        "kill bb",
        "die bb",
    ];
    assert_eq!(actions, expected);
    let times: Vec<i64> = seen
        .iter()
        .map(|event| event["timeNano"].as_i64().unwrap())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    let removals = "/events?since=0&filters=%7B%22event%22%3A%5B%22destroy%22%5D%7D";
    assert_eq!(
        events(&engine, removals, 1).await[0]["Actor"]["Attributes"]["name"],
        "bb"
    );
    let newer = Engine::new(EngineSetup {
        version: "29.8.0".into(),
        ..setup()
    });
    newer.has_image("toots-lab/base:latest", Image::new("toots-lab/base", "1"));
    start(&newer, "aa", "steady", json!({ "Name": "no" })).await;
    assert!(events(&newer, "/events?since=0", 1).await[0]["status"].is_null());
}

#[tokio::test(start_paused = true)]
async fn toots_sees_its_container_through_its_life() {
    let engine = engine();
    let toots = client(&engine);
    let component = ComponentName::new("zookeeper").unwrap();
    let image = ImageRef("toots-lab/base:latest".into());
    let spec = ContainerSpec {
        command: [
            "sh",
            "-c",
            "trap 'exit 5' TERM; trap : HUP; echo here; while :; do sleep 1000 & wait; done",
        ]
        .map(str::to_owned)
        .into(),
        ..ContainerSpec::bare(component, image, None)
    };
    let (name, cluster) = (spec.name(), ClusterName::new("dc1").unwrap());
    let labels = BTreeMap::new();
    let create = || toots.create(&spec, "toots-lab/base:latest", &cluster, &labels);
    create().await.unwrap();
    assert!(create().await.unwrap_err().is_conflict());
    toots.start(&name).await.unwrap();
    toots.start(&name).await.unwrap();
    sleep(3).await;
    let listed = toots.containers().await.unwrap();
    assert_eq!(
        (listed[0].name.as_str(), listed[0].status.as_str()),
        (name.as_str(), "Up 3 seconds")
    );
    assert_eq!(listed[0].labels["toots.cluster"], "dc1");
    assert_eq!(toots.logs_tail(&name, 5).await.unwrap(), "here\n");
    assert!(toots.remove(&name).await.unwrap_err().is_conflict());
    toots.stop_container(&name, 10).await.unwrap();
    toots.stop_container(&name, 10).await.unwrap();
    let detail = toots.inspect(&name).await.unwrap();
    assert_eq!(
        (detail.running, detail.exit_code, detail.restart_count),
        (false, 5, 0)
    );
    toots.rename(&name, "aside").await.unwrap();
    toots.remove("aside").await.unwrap();
    assert!(toots.inspect("aside").await.unwrap_err().is_not_found());
    let noted = notes(&engine, &name);
    let expected = [
        "create by session",
        "start by session",
        "stop by session",
        "end 5",
        "rename aside by session",
    ];
    assert_eq!(noted, expected);
    assert_eq!(notes(&engine, "aside"), ["remove by session"]);
}

#[tokio::test(start_paused = true)]
async fn loads_run_on_without_their_client() {
    let (saved, taker) = save_for_another(StoreKind::Graph).await;
    let begun = Arc::new(Mutex::new(0));
    let pace = super::Pace {
        before: Duration::from_secs(20),
        after: Duration::ZERO,
    };
    taker.set_pace(pace);
    let toots = client(&taker);
    let counter = Arc::clone(&begun);
    let load = toots.load(saved.archive(0), IDLE, move |_, _| {
        *counter.lock().unwrap() += 1
    });
    assert!(
        tokio::time::timeout(Duration::from_secs(10), load)
            .await
            .is_err()
    );
    assert!(*begun.lock().unwrap() > 0);
    drop(toots);
    sleep(20).await;
    taker.set_pace(super::Pace::default());
    assert_eq!(client(&taker).images().await.unwrap().len(), 1);
}
