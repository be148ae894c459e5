//! What a running cluster must show, verified by other means.

use std::time::Duration;

use serde_json::Value;

use crate::lab::{Lab, MASTERS, containers, http, image, local, on, until};

pub fn other_means(_lab: &Lab) {
    // A member that was just restarted may need a moment before it answers in time.
    until(
        "one ZooKeeper leader and two followers",
        Duration::from_secs(30),
        || {
            let modes: Vec<String> = MASTERS
                .iter()
                .map(|master| zookeeper_mode(master))
                .collect();
            let count = |role: &str| modes.iter().filter(|mode| mode.contains(role)).count();
            count("leader") == 1 && count("follower") == 2
        },
    );
    let peers = on(
        "m1",
        "docker exec toots-consul-server consul operator raft list-peers -http-addr=http://10.42.7.11:8500",
    );
    assert_eq!(peers.matches("leader").count(), 1, "{peers}");
    assert_eq!(peers.matches("true").count(), 3, "three voters: {peers}");
    let members = on(
        "m1",
        "docker exec toots-consul-server consul members -http-addr=http://10.42.7.11:8500",
    );
    assert_eq!(members.matches("alive").count(), 5, "{members}");
    let elected: Vec<String> = ["11", "12", "13"]
        .iter()
        .filter(|n| {
            let (_, body) = http(&[&format!("http://10.42.7.{n}:5050/metrics/snapshot")]);
            serde_json::from_str::<Value>(&body)
                .ok()
                .and_then(|m| m["master/elected"].as_f64())
                == Some(1.0)
        })
        .map(ToString::to_string)
        .collect();
    assert_eq!(elected.len(), 1, "{elected:?}");
}

/// What a member answers to `srvr` about its role; empty when it does not answer.
fn zookeeper_mode(machine: &str) -> String {
    on(
        machine,
        "address=$(grep -o '10\\.42\\.7\\.1[123]' /etc/toots/zookeeper/zoo.cfg | head -n 1); echo srvr | nc -q 2 $address 2181 | grep Mode || true",
    )
}

pub fn second_up(lab: &Lab) {
    let machines = ["m1", "m2", "m3", "s1", "e1"];
    let before: Vec<_> = machines.iter().map(|m| containers(m)).collect();
    let since = local(&["date", "+%s"]);
    let run = lab.toots(&["cluster", "up", "--output", "json"]).expect(0);
    assert_eq!(run.result()["changed"], 0);
    assert!(
        run.events()
            .iter()
            .all(|event| event["type"] != "step-finished" || event["changed"] == false)
    );
    let after: Vec<_> = machines.iter().map(|m| containers(m)).collect();
    assert_eq!(before, after, "ids and start times are the same");
    let plan = lab
        .toots(&["cluster", "plan", "--output", "plain"])
        .expect(0);
    assert!(plan.stdout.contains("nothing to change"), "{}", plan.stdout);
    assert!(!plan.stdout.contains("without a result"), "{}", plan.stdout);
    for machine in machines {
        let events = on(
            machine,
            &format!(
                "docker events --since {} --until $(date +%s) --filter type=container",
                since.trim()
            ),
        );
        // A program that exits and is restarted by the Engine was not restarted by toots.
        let ours: Vec<&str> = events
            .lines()
            .filter(|line| {
                [" create ", " destroy ", " kill ", " rename ", " stop "]
                    .iter()
                    .any(|w| line.contains(w))
            })
            .collect();
        assert!(ours.is_empty(), "{machine}: {ours:?}");
    }
    println!("  second up of five hosts: {:.2} s", run.took.as_secs_f32());
    lab.toots(&["cluster", "plan", "--exit-code", "--output", "plain"])
        .expect(0);
}

/// Every byte to the hosts is delayed by a fixed time, so that the difference in time is a number
/// of round trips, whatever the machine's speed: the longest chain of questions that wait for
/// answers.
pub fn cost(lab: &Lab) {
    const TRIP: Duration = Duration::from_millis(500);
    let timed = |delay: Duration| {
        let proxies = crate::proxies::proxies(lab, delay, str::to_owned);
        let run = lab
            .toots_with(&proxies.inventory, &["cluster", "up", "--output", "json"])
            .expect(0);
        assert_eq!(run.result()["changed"], 0);
        for (host, connections) in proxies.connections() {
            assert_eq!(connections, 1, "{host}: one connection");
        }
        run.took
    };
    let (near, far) = (timed(Duration::ZERO), timed(TRIP));
    let trips = (far.saturating_sub(near)).as_secs_f64() / TRIP.as_secs_f64();
    println!(
        "  {:.2} s near, {:.2} s at {TRIP:?}: {trips:.1} round trips",
        near.as_secs_f32(),
        far.as_secs_f32()
    );
    assert!(trips <= 15.5, "{trips:.1} round trips, 15 are allowed");
}

pub fn status(lab: &Lab) {
    let run = lab
        .toots(&["cluster", "status", "--output", "json"])
        .expect(0);
    let status: Value = serde_json::from_str(&run.stdout).expect("one object");
    assert_eq!(
        (&status["v"], &status["type"], &status["healthy"]),
        (&1.into(), &"status".into(), &true.into()),
        "{status:#}"
    );
    let zookeeper = &status["hosts"]["m1"]["components"]["zookeeper"];
    assert_eq!(zookeeper["state"], "running", "{zookeeper}");
    assert!(
        ["leader", "follower"].contains(&zookeeper["role"].as_str().unwrap_or("")),
        "{zookeeper}"
    );
    lab.toots(&["cluster", "status"]).expect(0);
}

/// Marathon → Docker → Registrator → Consul → consul-template → HAProxy → client.
pub fn app(lab: &Lab) {
    // The image of the canary, from wherever this lab has it.
    let image = image(lab, "canary");
    let app = r#"{"id":"/hello","instances":2,"cpus":0.1,"mem":32,"args":["-listen=:5678","-text=hello from an app"],
      "container":{"type":"DOCKER","docker":{"image":"IMAGE","network":"BRIDGE",
      "portMappings":[{"containerPort":5678,"hostPort":0,"protocol":"tcp"}]}},
      "env":{"SERVICE_NAME":"hello","SERVICE_TAGS":"haproxy,haproxy_route=/hi,weight=50"}}"#
        .replace("IMAGE", &image);
    let (status, body) = http(&[
        "-X",
        "POST",
        "-H",
        "Content-Type: application/json",
        "-d",
        &app,
        "http://10.42.7.11:8080/v2/apps",
    ]);
    assert_eq!(status, 201, "{body}");
    let through = |arguments: &[&str]| {
        let (status, body) = http(arguments);
        status == 200 && body.contains("hello from an app")
    };
    until("the app answers by name", Duration::from_secs(60), || {
        through(&["-H", "Host: hello.service.consul", "http://10.42.7.31/"])
    });
    assert!(
        through(&[
            "-H",
            "Host: HELLO.service.lab.consul.:80",
            "http://10.42.7.31/"
        ]),
        "by datacenter, in any case, with port and dot"
    );
    assert!(
        through(&["http://10.42.7.31/hi/there"]) && through(&["http://10.42.7.31/hi"]),
        "by its route"
    );
    assert_eq!(
        http(&["http://10.42.7.31/hithere"]).0,
        503,
        "a longer segment is not the route"
    );
    let (status, _) = http(&["-X", "DELETE", "http://10.42.7.12:8080/v2/apps/hello"]);
    assert_eq!(status, 200);
    until("the app is gone", Duration::from_secs(60), || {
        http(&["-H", "Host: hello.service.consul", "http://10.42.7.31/"]).0 == 503
    });
}

/// A toots process that serves until this is dropped.
pub struct Serving(std::process::Child);

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Serving {
    /// Starts it and waits for the first line that it prints.
    pub fn new(lab: &Lab, inventory: &std::path::Path, words: &[&str]) -> (Self, String) {
        use std::io::BufRead as _;
        let mut run = Self(
            lab.command(inventory, words)
                .stdout(std::process::Stdio::piped())
                .spawn()
                .expect("toots runs"),
        );
        let mut line = String::new();
        std::io::BufReader::new(run.0.stdout.take().expect("its output"))
            .read_line(&mut line)
            .expect("a line");
        (run, line.trim().to_owned())
    }
}

/// From the operator's machine, by name and without a route into the cluster's network.
pub fn tunnel(lab: &Lab) {
    let (run, proxy) = Serving::new(lab, &lab.inventory, &["tunnel", "--listen", "127.0.0.1:0"]);
    let through = |url: &str| http(&["--proxy", &proxy, url]);
    assert_eq!(
        through("http://m2:5050/version").0,
        200,
        "a host by its name"
    );
    assert!(
        through("http://consul.service.consul:8500/v1/status/leader")
            .1
            .contains(":8300"),
        "a service by Consul's name"
    );
    assert_eq!(
        through("http://m3.node.consul:8500/v1/status/leader").0,
        200,
        "a node by Consul's name"
    );
    assert_eq!(
        through("http://nobody.service.consul/").0,
        503,
        "port 80 is the edge's"
    );
    assert_eq!(through("http://10.42.7.31:81/").0, 401, "an address");
    assert_eq!(
        through("http://nobody.service.consul:8080/").0,
        0,
        "what is not there is refused"
    );
    drop(run);

    for (service, path, status) in [
        ("marathon", "/v2/leader", 200),
        ("consul", "/v1/status/leader", 200),
        ("mesos", "/version", 200),
        ("chronos", "/v1/scheduler/jobs", 200),
        ("haproxy", "/", 401),
    ] {
        let (_run, url) = Serving::new(lab, &lab.inventory, &["open", service, "--no-browser"]);
        let base = url.trim_end_matches("/ui/").trim_end_matches('/');
        assert!(base.starts_with("http://127.0.0.1:"), "{url}");
        assert_eq!(
            http(&[&format!("{base}{path}")]).0,
            status,
            "{service} at {url}"
        );
    }
    let unknown = lab.toots(&["open", "nothing", "--no-browser"]).expect(2);
    assert!(
        unknown.stderr.contains("available:") && unknown.stderr.contains("marathon"),
        "{}",
        unknown.stderr
    );
}

/// sshuttle through a host, from a machine without a route into the cluster's network.
pub fn sshuttle(lab: &Lab) {
    const CLIENT: &str = "toots-lab-outside";
    // What sshuttle needs on a host.
    on(
        "s1",
        "python3 -c 'import shutil' || { apt-get update -q && apt-get install -qy --no-install-recommends python3; }",
    );
    let outer = local(&[
        "docker",
        "inspect",
        "-f",
        "{{.NetworkSettings.Networks.bridge.IPAddress}}",
        "toots-lab-s1",
    ]);
    let folder = format!("{}:/lab:ro", lab.folder.join(".lab").display());
    drop(
        std::process::Command::new("docker")
            .args(["rm", "-f", CLIENT])
            .output(),
    );
    let run = [
        "docker",
        "run",
        "-d",
        "--name",
        CLIENT,
        "--label",
        "toots-lab",
        "--cap-add",
        "NET_ADMIN",
        "-v",
        &folder,
    ];
    local(
        &[
            &run[..],
            &["--entrypoint", "sleep", "toots-lab/host", "600"],
        ]
        .concat(),
    );
    let inside = |command: &str| local(&["docker", "exec", CLIENT, "sh", "-c", command]);
    let asked = || inside("curl -s -m 5 http://10.42.7.12:8500/v1/status/leader || true");
    inside("apt-get update -q && apt-get install -qy --no-install-recommends sshuttle");
    assert_eq!(asked(), "", "there is no other way");
    let ssh = "ssh -i /lab/key -o UserKnownHostsFile=/lab/known_hosts -o HostKeyAlias=s1 -o BatchMode=yes";
    inside(&format!(
        "sshuttle --daemon --method nat --disable-ipv6 -e '{ssh}' -r vagrant@{} 10.42.7.0/24",
        outer.trim()
    ));
    until(
        "a host of the cluster answers",
        Duration::from_secs(20),
        || asked().contains(":8300"),
    );
    local(&["docker", "rm", "-f", CLIENT]);
}
