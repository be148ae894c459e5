//! What only a machine with its own kernel shows: mounted storage, the distribution's resolver
//! behind its link, a reboot. Where the hosts are containers, such a machine is emulated and takes
//! minutes, so it is created only on request (TOOTS_LAB_VM=1).

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::lab::{Lab, http, on, until};

const V1: &str = "10.42.7.51";
const SERVER: &str = "10.42.7.32";

/// Runs a command on the machine over SSH; returns its output, also when it failed.
struct Machine {
    key: String,
}

impl Machine {
    fn run(&self, command: &str) -> (bool, String) {
        let options = [
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
            "-o",
            "ConnectTimeout=5",
        ];
        let login = format!("vagrant@{V1}");
        let output = std::process::Command::new("ssh")
            .args(["-i", &self.key])
            .args(options)
            .args([&login, command])
            .output()
            .expect("ssh runs");
        (output.status.success(), crate::lab::text(&output))
    }

    #[track_caller]
    fn on(&self, command: &str) -> String {
        let (good, said) = self.run(command);
        assert!(good, "{command}: {said}");
        said
    }

    fn until(&self, what: &str, command: &str, wanted: &str) {
        until(what, Duration::from_secs(180), || {
            self.run(command).1.contains(wanted)
        });
    }
}

pub fn own_kernel(lab: &Lab) {
    if std::env::var_os("TOOTS_LAB_VM").is_none() {
        println!(
            "skipped: storage, resolver and reboot of a machine with a kernel of its own: TOOTS_LAB_VM=1 makes one"
        );
        return;
    }
    lab.start(&["e2"]);
    nfs_server();
    on(
        "e2",
        "command -v dnsmasq || apt-get install -qy --no-install-recommends dnsmasq-base",
    );
    on(
        "e2",
        &format!(
            "pkill dnsmasq; dnsmasq --listen-address={SERVER} --bind-interfaces --no-resolv --address=/upstream.test/192.0.2.7"
        ),
    );
    lab.demo(&["vm"]);
    let v1 = Machine {
        key: lab.folder.join(".lab/key").display().to_string(),
    };
    let with = |name: &str, machine: &str, rest: &str| {
        lab.changed(name, |text| {
            let text = text.replace("slaves = [\"s1\"]", "slaves = [\"s1\", \"v1\"]");
            text.replace(
                "[network]",
                &format!("[hosts.v1]\naddress = \"{V1}\"\nnic = \"eth0\"\n{machine}\n[network]"),
            ) + rest
        })
    };
    const LINK: &str = "readlink /etc/resolv.conf";
    let link = v1.on(LINK);
    v1.until(
        "the network's DNS server answers",
        "getent hosts a.upstream.test",
        "192.0.2.7",
    );

    let inventory = with(
        "kernel",
        "persistent = true\n",
        &format!("\n[nfs]\nexport = \"{SERVER}:/store\"\n[components]\ndnsmasq = true\n"),
    );
    let up = lab
        .toots_with(
            &inventory,
            &[
                "cluster",
                "up",
                "--yes",
                "--accept-new-host-keys",
                "--output",
                "json",
            ],
        )
        .expect(0);
    let named = "keeps 53/tcp on 127.0.0.53";
    assert!(up.stdout.contains(named), "{}", up.stdout);
    assert_eq!(
        lab.toots_with(&inventory, &["cluster", "up", "--output", "json"])
            .expect(0)
            .result()["changed"],
        0
    );
    mounted(&v1);
    resolves(&v1);
    runs_on_cgroup_v2(lab, &v1, &inventory);

    v1.on("sudo docker stop toots-dnsmasq");
    assert!(
        v1.on("getent hosts a.upstream.test").contains("192.0.2.7"),
        "without dnsmasq"
    );
    v1.on("sudo docker start toots-dnsmasq && sudo systemctl stop var-store.mount");
    // A mount that is gone is mounted again.
    lab.toots_with(&inventory, &["cluster", "up", "--yes", "--output", "json"])
        .expect(0);
    v1.on("findmnt /var/store");

    let boot = v1.on("cat /proc/sys/kernel/random/boot_id");
    v1.run("sudo systemctl reboot");
    until("it has booted again", Duration::from_secs(300), || {
        let (good, now) = v1.run("cat /proc/sys/kernel/random/boot_id");
        good && now != boot
    });
    until("healthy after the reboot", Duration::from_secs(240), || {
        lab.toots_with(&inventory, &["cluster", "status", "--output", "json"])
            .code
            == 0
    });
    mounted(&v1);
    resolves(&v1);
    assert_eq!(
        lab.toots_with(&inventory, &["cluster", "up", "--output", "json"])
            .expect(0)
            .result()["changed"],
        0
    );

    let ordinary = with("ordinary", "", "");
    let refused = lab
        .toots_with(&ordinary, &["cluster", "up", "--yes", "--output", "json"])
        .expect(4);
    assert!(
        refused
            .stdout
            .contains("is to start with --attributes=type:normal"),
        "{}",
        refused.stdout
    );
    v1.on("sudo docker rm -f toots-mesos-slave && sudo rm -r /var/lib/toots/mesos-slave/meta");
    lab.toots_with(&ordinary, &["cluster", "up", "--yes", "--output", "json"])
        .expect(0);
    assert!(!v1.run("findmnt /var/store").0, "unmounted");
    assert_eq!(v1.on(LINK), link, "the link is what it was");
    assert!(v1.on("getent hosts a.upstream.test").contains("192.0.2.7"));
    on("e2", "pkill dnsmasq");
    v1.on("sudo docker ps -q --filter label=toots.cluster | xargs -r sudo docker stop");
    lab.demo(&["vm", "down"]);
    lab.remove(&["e2"]);
}

/// The image that toots builds needs no right beyond Docker's, under AppArmor; an image of Apache Mesos
/// is refused by name.
fn runs_on_cgroup_v2(lab: &Lab, v1: &Machine, inventory: &Path) {
    let host = v1
        .on("docker info -f '{{.CgroupVersion}} {{.SecurityOptions}}'; findmnt -no PROPAGATION /");
    assert!(
        host.starts_with("2 ") && host.contains("apparmor") && host.contains("shared"),
        "{host}"
    );
    let format = "{{.State.Running}} {{.AppArmorProfile}} {{.HostConfig.CgroupnsMode}} {{.HostConfig.PidMode}} {{.HostConfig.CapAdd}} {{.HostConfig.Privileged}}";
    let agent = v1.on(&format!("docker inspect -f '{format}' toots-mesos-slave"));
    assert_eq!(agent.trim(), "true docker-default host host [] false");

    let text = std::fs::read_to_string(inventory).expect("the inventory");
    // Only its tag counts.
    let apache = "mesos-slave = \"registry.toots.test:5000/lab/mesos-slave:1.11.0\"";
    let path = inventory.with_file_name("apache.toml");
    std::fs::write(
        &path,
        text.replace("[images]\n", &format!("[images]\n{apache}\n")),
    )
    .expect("an inventory");
    let refused = lab
        .toots_with(&path, &["cluster", "check", "--output", "plain"])
        .expect(4);
    let why = "mesos-slave:1.11.0 does not run on this host: Apache Mesos needs cgroup v1";
    assert!(
        refused.stdout.contains(why) || refused.stderr.contains(why),
        "{}",
        refused.stderr
    );
}

/// Mounted by its unit, from the real server, and announced to Mesos.
fn mounted(v1: &Machine) {
    v1.until(
        "the storage is there",
        "findmnt -no SOURCE,FSTYPE /var/store",
        "nfs4",
    );
    assert!(
        v1.on("findmnt -no SOURCE /var/store")
            .contains(&format!("{SERVER}:/store"))
    );
    v1.on("cat /proc/sys/kernel/random/boot_id | sudo tee /var/store/proof");
    assert_eq!(
        on("e2", "cat /var/lib/docker/store/proof"),
        v1.on("cat /proc/sys/kernel/random/boot_id"),
        "it lies on the server"
    );
    let kind = |host: &str| {
        let (_, slaves) = http(&["-L", "http://10.42.7.11:5050/slaves"]);
        let slaves: Value = serde_json::from_str(&slaves).expect("JSON");
        let list = slaves["slaves"].as_array().expect("a list").clone();
        list.into_iter()
            .find(|slave| slave["hostname"] == host && slave["active"] == true)
            .map(|slave| slave["attributes"]["type"].clone())
    };
    assert_eq!(
        (kind(V1), kind("10.42.7.21")),
        (Some("data".into()), Some("normal".into()))
    );
}

/// dnsmasq precedes systemd-resolved and queries the servers that the network gave it, not
/// systemd-resolved itself.
fn resolves(v1: &Machine) {
    v1.until(
        "dnsmasq comes first",
        "grep -m 1 nameserver /etc/resolv.conf",
        V1,
    );
    assert_eq!(
        v1.on("cat /var/lib/toots/resolv/servers").trim(),
        format!("nameserver {SERVER}")
    );
    for name in [
        "a.upstream.test 192.0.2.7",
        "consul.service.consul 10.42.7.1",
    ] {
        let (name, address) = name.split_once(' ').expect("two words");
        v1.until(name, &format!("getent hosts {name}"), address);
    }
    assert!(
        v1.on("dig +short @127.0.0.53 b.upstream.test")
            .contains("192.0.2.7"),
        "the stub continues to answer"
    );
}

/// A real NFS server on the second edge, which needs nothing from the kernel; the slave queries its
/// exports.
fn nfs_server() {
    let install = |machine: &str, packages: &str| {
        let quiet = "export DEBIAN_FRONTEND=noninteractive; apt-get update -q && apt-get install -qy --no-install-recommends";
        on(machine, &format!("{quiet} {packages}"));
    };
    std::thread::scope(|scope| {
        scope.spawn(|| install("s1", "nfs-common"));
        install("e2", "nfs-ganesha nfs-ganesha-vfs rpcbind");
    });
    let export = "EXPORT { Export_Id = 1; Path = /var/lib/docker/store; Pseudo = /store; Access_Type = RW; Squash = No_Root_Squash; FSAL { Name = VFS; } }";
    on(
        "e2",
        &format!(
            "mkdir -p /var/lib/docker/store && echo '{export}' > /etc/ganesha/ganesha.conf && systemctl restart rpcbind nfs-ganesha"
        ),
    );
    until("the server exports", Duration::from_secs(40), || {
        let asked = std::process::Command::new("docker")
            .args(["exec", "toots-lab-s1", "showmount", "-e", "10.42.7.32"])
            .output();
        asked.is_ok_and(|output| crate::lab::text(&output).contains("/var/lib/docker/store"))
    });
}
