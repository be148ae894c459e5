//! Restart policies and faults, on virtual time. The expected states after a restart of the Engine
//! are those of Engine 20.10.24, read from a real one.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::rig::{IMAGE, call, engine, notes, send, setup, sleep, start, state};
use super::{Engine, Image, Pace, Payload, open};
use crate::process::{Process, Program};

fn policy(name: &str) -> Value {
    json!({ "Name": name })
}

/// When a container was started, in milliseconds after the first start.
fn starts(engine: &Engine, name: &str) -> Vec<u128> {
    let entries = engine.machine().record.entries().into_iter();
    let starts = entries.filter(|entry| entry.who == name && entry.what.starts_with("start"));
    let starts: Vec<Instant> = starts.map(|entry| entry.at).collect();
    let since = |at: &Instant| (*at - starts[0]).as_millis();
    starts.iter().map(since).collect()
}

#[tokio::test(start_paused = true)]
async fn pauses_between_restarts_double() {
    let engine = engine();
    start(&engine, "aa", "failing", policy("unless-stopped")).await;
    sleep(300).await;
    let starts = starts(&engine, "aa");
    let expected = [
        0, 100, 300, 700, 1_500, 3_100, 6_300, 12_700, 25_500, 51_100, 102_300, 162_300, 222_300,
        282_300,
    ];
    assert_eq!(starts, expected, "at most a minute");
    assert_eq!(state(&engine, "aa").await, "restarting 3 14");
    let (status, _) = call(&engine, "POST", "/containers/aa/stop").await;
    assert_eq!(
        (status, state(&engine, "aa").await.as_str()),
        (204, "exited 3 14")
    );
    sleep(300).await;
    assert_eq!(
        state(&engine, "aa").await,
        "exited 3 14",
        "stopped for good"
    );
}

#[tokio::test(start_paused = true)]
async fn policies_decide_about_ends() {
    let engine = engine();
    let limited = json!({ "Name": "on-failure", "MaximumRetryCount": 2 });
    start(&engine, "never", "failing", policy("no")).await;
    start(&engine, "twice", "failing", limited).await;
    start(&engine, "failed", "failing", policy("on-failure")).await;
    start(&engine, "done", "brief", policy("on-failure")).await;
    start(&engine, "always", "brief", policy("always")).await;
    sleep(2).await;
    let mut states = Vec::new();
    for name in ["never", "twice", "failed", "done", "always"] {
        states.push(state(&engine, name).await);
    }
    let expected = [
        "exited 3 0",
        "exited 3 2",
        "restarting 3 5",
        "exited 0 0",
        "restarting 0 5",
    ];
    assert_eq!(states, expected);
}

/// Containers as they were before, and what became of them.
async fn variety(engine: &Engine) {
    start(engine, "kept", "steady", policy("unless-stopped")).await;
    start(engine, "stopped", "steady", policy("unless-stopped")).await;
    call(engine, "POST", "/containers/stopped/stop").await;
    start(engine, "plain", "steady", policy("no")).await;
    start(engine, "always", "steady", policy("always")).await;
    call(engine, "POST", "/containers/always/stop").await;
    start(engine, "failure", "parting", policy("on-failure")).await;
    start(engine, "signalled", "steady", policy("unless-stopped")).await;
    call(engine, "POST", "/containers/signalled/kill?signal=HUP").await;
    let body = json!({ "Image": IMAGE, "HostConfig": { "RestartPolicy": policy("always") } });
    send(
        engine,
        "POST",
        "/containers/create?name=created",
        Payload::Json(body),
    )
    .await;
    sleep(30).await;
}

async fn states(engine: &Engine) -> Vec<String> {
    let mut states = Vec::new();
    for name in [
        "kept",
        "stopped",
        "plain",
        "always",
        "failure",
        "signalled",
        "created",
    ] {
        states.push(format!("{name} {}", state(engine, name).await));
    }
    states
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_starts_again_applies_the_policies() {
    let engine = engine();
    variety(&engine).await;
    engine.restart(Duration::from_secs(2)).await;
    let expected = [
        "kept running 0 0",
        "stopped exited 0 0",
        "plain exited 0 0",
        "always running 0 0",
        "failure running 0 0",
        "signalled exited 0 0",
        "created created 0 0",
    ];
    assert_eq!(states(&engine).await, expected);
    let kept = notes(&engine, "kept");
    assert_eq!(
        kept,
        [
            "create by test",
            "start by test",
            "end 0",
            "start by policy"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_ends_everything_unseen() {
    let engine = engine();
    variety(&engine).await;
    engine.power_cut();
    sleep(5).await;
    assert!(engine.running().is_empty() && !engine.serves());
    let sent = open(engine.connect("test"), "GET", "/_ping", Payload::None).await;
    assert!(sent.is_err(), "nobody listens");
    engine.boot().await;
    let expected = [
        "kept running 0 0",
        "stopped exited 0 0",
        "plain exited 255 0",
        "always running 0 0",
        "failure running 0 0",
        "signalled exited 255 0",
        "created created 0 0",
    ];
    assert_eq!(states(&engine).await, expected);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_crashed_ends_what_ran_on() {
    let engine = engine();
    variety(&engine).await;
    engine.crash();
    sleep(5).await;
    assert_eq!(engine.running().len(), 4, "without the Engine");
    engine.boot().await;
    let expected = [
        "kept exited 0 0",
        "stopped exited 0 0",
        "plain exited 0 0",
        "always running 0 0",
        "failure running 0 0",
        "signalled exited 0 0",
        "created created 0 0",
    ];
    assert_eq!(states(&engine).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_paused_engine_answers_and_notices_nothing() {
    let engine = engine();
    start(&engine, "aa", "steady", policy("unless-stopped")).await;
    engine.pause();
    assert!(engine.oom_kill("aa"), "the kernel does not ask it");
    let stop = call(&engine, "POST", "/containers/aa/stop");
    let waited = tokio::time::timeout(Duration::from_secs(600), stop).await;
    assert!(waited.is_err());
    assert_eq!(notes(&engine, "aa").len(), 2, "no end and no stop yet");
    engine.go_on();
    sleep(1).await;
    // The end came first, so that its policy had restarted it once more.
    assert_eq!(state(&engine, "aa").await, "exited 137 1");
    let (_, body) = call(&engine, "GET", "/containers/aa/json").await;
    assert_eq!(body["State"]["OOMKilled"], true);
}

#[tokio::test(start_paused = true)]
async fn what_was_received_is_carried_out_without_its_client() {
    let engine = engine();
    start(&engine, "aa", "stubborn", policy("unless-stopped")).await;
    start(&engine, "bb", "steady", policy("no")).await;
    let stop = call(&engine, "POST", "/containers/aa/stop?t=10");
    let left = tokio::time::timeout(Duration::from_secs(1), stop).await;
    assert!(left.is_err(), "the client went away");
    assert_eq!(state(&engine, "aa").await, "running 0 0");
    sleep(10).await;
    assert_eq!(state(&engine, "aa").await, "exited 137 0");
    // Before its effect and after it.
    let pace = Pace {
        before: Duration::from_secs(5),
        after: Duration::from_secs(5),
    };
    engine.set_pace(pace);
    let kill = call(&engine, "POST", "/containers/bb/kill");
    let left = tokio::time::timeout(Duration::from_secs(1), kill).await;
    assert!(left.is_err());
    assert_eq!(engine.running().len(), 1, "not yet");
    sleep(5).await;
    assert!(engine.running().is_empty());
    engine.set_pace(Pace::default());
    let answers = notes(&engine, "engine");
    assert!(
        !answers.iter().any(|note| note.contains("/bb/kill")),
        "not answered yet: {answers:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_what_writes() {
    let engine = engine();
    start(&engine, "aa", "steady", policy("no")).await;
    call(&engine, "POST", "/containers/aa/stop").await;
    engine.set_disk_full(true);
    let body = Payload::Json(json!({ "Image": IMAGE }));
    let (status, body) = send(&engine, "POST", "/containers/create?name=bb", body).await;
    assert_eq!(status, 500);
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .contains("no space left on device")
    );
    let tag = format!("/images/{IMAGE}/tag?repo=x&tag=1");
    assert_eq!(call(&engine, "POST", &tag).await.0, 500);
    assert_eq!(call(&engine, "POST", "/containers/aa/start").await.0, 500);
    engine.set_disk_full(false);
    assert_eq!(call(&engine, "POST", "/containers/aa/start").await.0, 204);
    engine.set_disk_full(true);
    assert_eq!(call(&engine, "POST", "/containers/aa/stop").await.0, 204);
    assert_eq!(call(&engine, "DELETE", "/containers/aa").await.0, 204);
}

/// Holds a port until it is killed, and panics on its second start.
struct Holder;

#[async_trait]
impl Program for Holder {
    async fn run(&self, process: Process) -> i64 {
        let former = process.text("/data/started").unwrap_or_default();
        assert!(former.is_empty(), "a panic");
        let path = process.on_machine("/data/started").expect("a mount");
        let said = format!(
            "{} {:?} {}",
            process.hostname, process.command, process.env["KEY"]
        );
        process.files.write(&path, said, 0o644);
        let _listener = process.network.listen(process.address, 80).expect("a port");
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_program_holds_nothing_any_more() {
    let engine = Engine::new(setup().with_program("holder", Arc::new(Holder)));
    let settings = json!({ "Entrypoint": ["holder"], "Cmd": ["--default"], "Env": ["KEY=1"] });
    engine.has_image(
        "lab/holder:1",
        Image::new("holder", "1").with_settings(settings),
    );
    let body = json!({
        "Image": "lab/holder:1",
        "Env": ["KEY=2"],
        "HostConfig": { "Binds": ["/srv/h:/data:rw"], "NetworkMode": "host" },
    });
    let (status, _) = send(
        &engine,
        "POST",
        "/containers/create?name=hh",
        Payload::Json(body),
    )
    .await;
    assert_eq!(status, 201);
    let (network, address) = (engine.machine().network.clone(), Ipv4Addr::new(10, 0, 0, 1));
    call(&engine, "POST", "/containers/hh/start").await;
    sleep(1).await;
    assert!(network.listens(address, 80));
    let text = engine.machine().files.text("/srv/h/started");
    assert_eq!(text.as_deref(), Some(r#"m1 ["holder", "--default"] 2"#));
    assert_eq!(
        call(&engine, "POST", "/containers/hh/stop?t=3").await.0,
        204
    );
    assert!(!network.listens(address, 80), "dropped");
    assert_eq!(state(&engine, "hh").await, "exited 137 0");
    call(&engine, "POST", "/containers/hh/start").await;
    sleep(1).await;
    assert_eq!(state(&engine, "hh").await, "exited 134 0");
    assert!(notes(&engine, "hh").contains(&"panicked".to_owned()));
    engine.machine().files.remove("/srv/h/started");
    call(&engine, "POST", "/containers/hh/start").await;
    sleep(1).await;
    engine.power_cut();
    sleep(1).await;
    assert!(!network.listens(address, 80), "dropped with the power");
}

#[tokio::test(start_paused = true)]
async fn an_engine_is_reached_over_the_network() {
    let engine = engine();
    engine.listen(2375).unwrap();
    assert!(engine.listen(2375).is_err(), "the port is taken");
    let (network, address) = (engine.machine().network.clone(), Ipv4Addr::new(10, 0, 0, 1));
    let other = Ipv4Addr::new(10, 0, 0, 2);
    network.set_latency(Duration::from_millis(40));
    let began = Instant::now();
    let stream = network.connect(other, address, 2375).await.unwrap();
    let (status, _) = open(stream, "GET", "/_ping", Payload::None).await.unwrap();
    assert_eq!((status, began.elapsed()), (200, Duration::from_millis(40)));
    let body = Payload::Json(json!({ "Image": IMAGE }));
    let stream = network.connect(other, address, 2375).await.unwrap();
    let uri = "/containers/create?name=aa";
    assert_eq!(open(stream, "POST", uri, body).await.unwrap().0, 201);
    assert_eq!(notes(&engine, "aa"), ["create by 10.0.0.2"]);
    network.silence(address, true);
    assert!(network.connect(other, address, 2375).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_seed_delays_requests_alike() {
    let mut times = Vec::new();
    for seed in [1, 1, 2] {
        let engine = engine();
        engine.set_random_pace(seed, Duration::from_secs(3));
        let began = Instant::now();
        for _ in 0..20 {
            call(&engine, "GET", "/_ping").await;
        }
        times.push(began.elapsed());
    }
    assert_eq!(times[0], times[1]);
    assert_ne!(times[0], times[2]);
    assert!(times[0] > Duration::from_secs(20), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_removal_under_way_refuses_others() {
    let engine = engine();
    start(&engine, "aa", "stubborn", policy("always")).await;
    let remove = || call(&engine, "DELETE", "/containers/aa?force=true");
    let later = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let start = call(&engine, "POST", "/containers/aa/start").await.0;
        (remove().await, start, state(&engine, "aa").await)
    };
    let ((first, _), ((second, body), start, state)) = tokio::join!(remove(), later);
    assert_eq!((first, second, start), (204, 409, 409));
    let why = "removal of container aa is already in progress";
    assert_eq!(body["message"], why);
    assert_eq!(state, "removing 137 0");
    assert_eq!(call(&engine, "GET", "/containers/aa/json").await.0, 404);
}
