//! Machines without a Docker Engine, and with what toots cannot use in its place.

use std::path::PathBuf;
use std::process::Command;

use crate::lab::{Lab, Run, local, on};

/// Of the machine `bare`.
const ADDRESS: &str = "10.42.7.41";

/// No Engine where none may be installed; Podman behind its socket, users that are mapped to others, and
/// an Engine without root, each from Debian's packages: refused before any change, and named.
pub fn refused(lab: &Lab) {
    lab.start(&["bare"]);
    let text = std::fs::read_to_string(&lab.inventory).expect("the inventory");
    let forbidden = lab.inventory.with_file_name("no-install.toml");
    std::fs::write(&forbidden, text + "\n[docker]\ninstall = false\n").expect("an inventory");
    let refuse = |why: &str| {
        let words = [
            "cluster",
            "add-slave",
            ADDRESS,
            "--name",
            "bare",
            "--output",
            "plain",
        ];
        let run = lab.toots_with(&forbidden, &words).expect(4);
        let said = format!("{}{}", run.stdout, run.stderr);
        // The lines are as wide as the terminal.
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(why), "{why}: {said}");
        assert_eq!(
            on("bare", "ls /etc/toots /var/lib/toots 2>/dev/null || true"),
            ""
        );
    };
    refuse("Docker is not installed");
    on(
        "bare",
        "set -e; export DEBIAN_FRONTEND=noninteractive; apt-get update -q
         apt-get install -qy --no-install-recommends podman podman-docker
         # overlay2 does not nest on overlay.
         printf '[storage]\\ndriver=\"vfs\"\\nrunroot=\"/run/containers\"\\ngraphroot=\"/var/lib/containers\"\\n' \
           > /etc/containers/storage.conf
         rm -rf /var/lib/containers; systemctl reset-failed 'podman*'; systemctl restart podman.socket
         systemd-tmpfiles --create podman-docker.conf",
    );
    refuse("Podman 4.3.1 answers at /var/run/docker.sock");
    on(
        "bare",
        "set -e; export DEBIAN_FRONTEND=noninteractive; systemctl stop podman.socket podman
         apt-get purge -qy podman podman-docker; rm -f /run/docker.sock
         apt-get install -qy --no-install-recommends docker.io uidmap rootlesskit slirp4netns
         echo '{\"userns-remap\": \"default\"}' > /etc/docker/daemon.json
         systemctl restart docker",
    );
    refuse("Docker remaps users");
    on(
        "bare",
        "set -e; systemctl disable --now docker docker.socket; rm /etc/docker/daemon.json
         chmod 666 /dev/net/tun; install -d -o vagrant -m 700 /run/user/1000; cd /home/vagrant
         su vagrant -c 'XDG_RUNTIME_DIR=/run/user/1000 PATH=/usr/sbin:/sbin:$PATH nohup sh \
           /usr/share/docker.io/contrib/dockerd-rootless.sh --storage-driver vfs' > /tmp/rootless 2>&1 &
         ln -sf /run/user/1000/docker.sock /run/docker.sock
         timeout 30 sh -c 'until curl -s --unix-socket /run/docker.sock http://docker/_ping; do sleep 0.5; done'",
    );
    refuse("Docker runs rootless");
    lab.remove(&["bare"]);
}

/// Another release of the distribution and another image store, beside the usual one, with images
/// from a file: no registry is asked, and nothing is left to do.
pub fn other_store(lab: &Lab) {
    up_from_bundle(lab, [("s2", "10.42.7.22"), ("t1", "10.42.7.23")]);
    let info = on(
        "t1",
        "docker info -f '{{.OperatingSystem}} {{.DriverStatus}}'",
    );
    assert!(
        info.starts_with("Debian GNU/Linux 13") && info.contains("io.containerd.snapshotter.v1"),
        "{info}"
    );
    lab.remove(&["s2", "t1"]);
}

/// Engine 29 with each image store: images from a bundle, a build in each, and a load from one in the
/// other. Its build takes minutes, so it is made only on request (TOOTS_LAB_ENGINE29=1).
pub fn newest(lab: &Lab) {
    if std::env::var_os("TOOTS_LAB_ENGINE29").is_none() {
        println!("skipped: bundles and builds with Engine 29: TOOTS_LAB_ENGINE29=1 makes one");
        return;
    }
    let machines = [("t2", "10.42.7.24"), ("t3", "10.42.7.25")];
    let bundled = up_from_bundle(lab, machines);
    for (machine, store) in [
        ("t2", "io.containerd.snapshotter.v1"),
        ("t3", "Backing Filesystem"),
    ] {
        let info = on(
            machine,
            "docker info -f '{{.ServerVersion}} {{.DriverStatus}}'",
        );
        println!("  {machine}: {}", info.trim());
        assert!(info.contains(store), "{info}");
    }
    let run = |version: &str, limit: &str, host: &str, verb: &str| {
        let text = std::fs::read_to_string(&bundled).expect("the inventory");
        let inventory = bundled.with_file_name("newest.toml");
        let images = format!("[images.dnsmasq]\nversion = \"{version}\"\n");
        let text = text.replace("[images.dnsmasq]\n", &images) + "\n[components]\ndnsmasq = true\n";
        std::fs::write(&inventory, text).expect("an inventory");
        let words = [
            "cluster", "up", "--yes", "--limit", limit, "--output", "json",
        ];
        let run = lab.toots_with(&inventory, &words).expect(0);
        let is_step = |event: &serde_json::Value| {
            let step = event["step"].as_str().unwrap_or_default();
            event["type"] == "step-finished"
                && event["host"] == host
                && step.starts_with(verb)
                && step.contains("dnsmasq")
        };
        let events = run.events();
        assert!(events.iter().any(is_step), "{host}: {verb}: {}", run.stdout);
        on(
            host,
            "docker image inspect -f '{{.RootFS.Layers}} {{.Config.Labels}}' \
             $(docker inspect -f '{{.Image}}' toots-dnsmasq)",
        )
    };
    // What containerd's store builds cannot always be saved: it lacks the layers of a base that it had
    // unpacked before.
    let built = run("", "t3", "t3", "build ");
    assert_eq!(run("", "t[23]", "t2", "load "), built);
    assert_ne!(run("2*", "t2", "t2", "build "), built);
    lab.remove(&machines.map(|(machine, _)| machine));
}

/// Adds two slaves with images from a file while the registry is away; returns the inventory.
fn up_from_bundle(lab: &Lab, machines: [(&str, &str); 2]) -> PathBuf {
    let names = machines.map(|(name, _)| name);
    lab.start(&names);
    let file = lab.folder.join(".lab/images.tar");
    drop(std::fs::remove_file(&file));
    let path = file.display().to_string();
    let built = copy_built_images();
    let created = lab.toots(&["bundle", "create", &path]).expect(0);
    println!("  bundle created in {:.1} s", created.took.as_secs_f32());
    let mut inspect = Command::new(lab.program());
    inspect.args(["bundle", "inspect", &path]);
    let listed = Run::start(inspect).expect(0);
    assert!(listed.stdout.contains("built from recipe mesos"));
    local(&["sh", "-c", &format!("docker rmi {}", built.join(" "))]);
    let inventory = lab.changed("bundle", |text| {
        let [one, two] = names;
        let slaves = format!("slaves = [\"s1\", \"{one}\", \"{two}\"]");
        let hosts =
            machines.map(|(name, address)| format!("\n[hosts.{name}]\naddress = \"{address}\"\n"));
        text.replace("slaves = [\"s1\"]", &slaves) + &hosts.concat()
    });
    let before = bytes_to_machines();
    let up = {
        let _registry = Paused::new("registry");
        let words = [
            "cluster", "up", "--yes", "--images", &path, "--output", "json",
        ];
        let up = lab.toots_with(&inventory, &words).expect(0);
        let sent = bytes_to_machines() - before;
        let length = file.metadata().expect("the bundle").len();
        println!("  sent {:.2} of the bundle", sent as f64 / length as f64);
        assert!(
            sent * 100 <= length * 102,
            "{sent} bytes for a bundle of {length}"
        );
        // What was loaded is known without the file.
        let again = ["cluster", "up", "--output", "json"];
        assert_eq!(
            lab.toots_with(&inventory, &again).expect(0).result()["changed"],
            0
        );
        up
    };
    println!("  up from the bundle in {:.1} s", up.took.as_secs_f32());
    for machine in names {
        let done = |begin: &str| {
            let of_machine = |event: &&serde_json::Value| {
                event["type"] == "step-finished" && event["host"] == machine
            };
            let steps = up.events().into_iter().filter(|event| of_machine(&event));
            steps
                .filter(|event| {
                    event["step"]
                        .as_str()
                        .is_some_and(|step| step.starts_with(begin))
                })
                .count()
        };
        assert!(done("load ") >= 4 && done("pull ") == 0, "{machine}");
        let names = on(machine, "docker ps --format '{{.Names}} {{.Status}}'");
        for name in [
            "toots-mesos-slave",
            "toots-consul-client",
            "toots-registrator",
        ] {
            let runs = |line: &str| line.starts_with(&format!("{name} Up"));
            assert!(names.lines().any(runs), "{names}");
        }
        let image =
            "docker inspect -f '{{index .Config.Labels \"toots.image\"}}' toots-mesos-slave";
        assert_eq!(on(machine, image), on("s1", image));
    }
    inventory
}

/// Copies the images that hosts built to the Engine of this machine, which cannot reach the lab's
/// registry for their base: `bundle create` takes what is there. Returns their names.
fn copy_built_images() -> Vec<String> {
    let mut built: Vec<String> = Vec::new();
    for machine in ["m1", "s1", "e1"] {
        let list = "docker images --format '{{.Repository}}:{{.Tag}}' | grep ^toots/ || true";
        for name in on(machine, list).lines() {
            if !built.iter().any(|known| known == name) {
                let save = format!("docker exec toots-lab-{machine} docker save {name}");
                local(&["sh", "-c", &format!("{save} | docker load")]);
                built.push(name.to_owned());
            }
        }
    }
    built
}

/// What this machine sent to the lab's network; what machines send to each other does not count.
fn bytes_to_machines() -> u64 {
    let network = "vagrant_network_10.42.7.0/24";
    let id = local(&["docker", "network", "inspect", "-f", "{{.Id}}", network]);
    let counter = format!("/sys/class/net/br-{}/statistics/tx_bytes", &id[..12]);
    let text = std::fs::read_to_string(counter).expect("the bridge's counters");
    text.trim().parse().expect("a number")
}

/// An image that was removed by hand comes from a host that has it, without a registry.
pub fn lost_image(lab: &Lab) {
    let spread = lab.changed("spread", |text| {
        text.replace("[images]\n", "[images]\nspread = true\n")
    });
    let image = crate::lab::image(lab, "chronos");
    on(
        "m2",
        &format!(
            "docker stop toots-chronos && docker rm toots-chronos && docker rmi -f $(docker images -q {image})"
        ),
    );
    let up = {
        let _registry = Paused::new("registry");
        let up = ["cluster", "up", "--yes", "--output", "json"];
        let first = lab.toots_with(&spread, &up).expect(0);
        assert_eq!(
            lab.toots_with(&spread, &up).expect(0).result()["changed"],
            0
        );
        first
    };
    let events = up.events();
    let steps = events
        .iter()
        .filter(|event| event["type"] == "step-finished");
    let loaded = steps.filter(|event| {
        event["step"]
            .as_str()
            .is_some_and(|s| s.starts_with("load "))
    });
    let hosts: Vec<&str> = loaded.filter_map(|event| event["host"].as_str()).collect();
    assert_eq!(hosts, ["m2"]);
    assert!(on("m2", "docker ps --format '{{.Names}}'").contains("toots-chronos"));
}

/// A machine that does not answer until this is dropped.
struct Paused(String);

impl Paused {
    fn new(machine: &str) -> Self {
        let name = format!("toots-lab-{machine}");
        local(&["docker", "pause", &name]);
        Self(name)
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        drop(Command::new("docker").args(["unpause", &self.0]).output());
    }
}
