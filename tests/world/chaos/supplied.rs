//! Lives that meet what faults do not lead to: refusals before the first change, and ends of the command
//! line itself.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::coverage::Shown;
use super::{MASTERS, THREE_MASTERS, on_own_clock};
use crate::directed::at_point;
use crate::host::machine::{Machine, MachineProcess};
use crate::life::{Ending, Hosts, Life};

const UP: &str = "toots cluster up --yes --output json";
const PLAN: &str = "toots cluster plan --out plan.json";
const UP_PLAN: &str = "toots cluster up --yes --plan plan.json --output json";
const NEWER_ZOOKEEPER: &str = "[images]\nzookeeper = \"zookeeper:3.9.6\"\n";
const NEWER_CONSUL: &str = "[images]\nconsul = \"hashicorp/consul:1.23\"\n";
/// The third master is a slave too.
const SLAVE: &str = "slaves = [\"10.0.0.13\"]\n";
const FOUR: [(&str, Ipv4Addr); 4] = [
    MASTERS[0],
    MASTERS[1],
    MASTERS[2],
    ("10.0.0.14", Ipv4Addr::new(10, 0, 0, 14)),
];

/// The words of a refusal, the exit code, and a life that ends with both.
type Supplied = (&'static str, u8, fn() -> Met);

/// A run, and how many changes it asked of hosts.
pub struct Met {
    ending: Ending,
    changes: usize,
}

impl Met {
    fn new(life: &Life, ending: Ending) -> Self {
        let changes = life.world.record.changes();
        let of_run = changes.iter().filter(|change| change.by == ending.by);
        let changes = of_run.count();
        Self { ending, changes }
    }
}

fn with(more: &str) -> String {
    format!("{THREE_MASTERS}{more}")
}

fn on_hosts(hosts: &Hosts, more: &str, alter: fn(&Life)) -> Met {
    on_own_clock(async {
        let life = Life::with_masters(7, hosts, 3);
        alter(&life);
        let ending = life.run(&with(more), UP).await;
        Met::new(&life, ending)
    })
}

/// The first `up` of hosts without a cluster.
fn on_new_hosts(more: &str, alter: fn(&Life)) -> Met {
    on_hosts(&MASTERS, more, alter)
}

/// An `up` with another inventory, after something happened to a cluster.
fn on_a_cluster(before: &str, inventory: &str, line: &str, alter: fn(&Life)) -> Met {
    on_own_clock(async {
        let life = Life::with_masters(7, &FOUR, 3);
        let first = life.run(&with(before), UP).await;
        assert_eq!(first.exit, Some(0), "{}", first.output);
        alter(&life);
        let ending = life.run(inventory, line).await;
        Met::new(&life, ending)
    })
}

/// An `up` with a plan that was saved for another inventory, or before something happened.
fn with_saved_plan(inventory: &str, alter: fn(&Life)) -> Met {
    on_own_clock(async {
        let life = Life::new(7, &MASTERS);
        assert_eq!(life.run(THREE_MASTERS, UP).await.exit, Some(0));
        let planned = with(NEWER_ZOOKEEPER);
        let planner = life.operator(&[("inventory.toml", &planned)]);
        let desk = planner.desk();
        assert_eq!(planner.run(PLAN).await.exit, Some(0));
        let plan = desk.files.contents()[std::path::Path::new("/work/plan.json")].clone();
        let plan = String::from_utf8(plan).expect("text");
        alter(&life);
        let files = [("inventory.toml", inventory), ("plan.json", plan.as_str())];
        let ending = life.operator(&files).run(UP_PLAN).await;
        Met::new(&life, ending)
    })
}

fn machine(life: &Life) -> &Arc<Machine> {
    life.world.machine("10.0.0.13")
}

fn lose_docker(life: &Life) {
    let machine = machine(life);
    let mut state = machine.state();
    state.packages.remove("docker");
    state.engine_runs = false;
    drop(state);
    machine.engine.power_cut();
}

fn fill_disk(life: &Life, free: u64) {
    let disk = &machine(life).disk;
    disk.set_filled(disk.size() - free);
}

fn rename_cluster(life: &Life, key: &str) {
    let path = "/etc/toots/node.json";
    let files = machine(life).files();
    let text = files.text(path).expect("a record");
    let mut record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    record[key] = "other".into();
    files.write(path, record.to_string(), 0o644);
}

fn nothing(_: &Life) {}

const LIVES: &[Supplied] = &[
    ("machine id is the same as on", 4, || {
        on_new_hosts("", |life| {
            let id = life
                .world
                .machine("10.0.0.11")
                .state()
                .facts
                .machine_id
                .clone();
            machine(life).state().facts.machine_id = id;
        })
    }),
    ("unsupported system: /etc/os-release is missing", 4, || {
        on_new_hosts("", |life| machine(life).state().facts.os_id.clear())
    }),
    ("unsupported architecture", 4, || {
        on_new_hosts("", |life| machine(life).state().facts.arch = "mips".into())
    }),
    ("memory must be at least", 4, || {
        on_new_hosts("", |life| machine(life).state().facts.mem_total_kib = 1_024)
    }),
    ("clock is ", 4, || {
        on_new_hosts("", |life| {
            machine(life).state().clock_skew = jiff::SignedDuration::from_secs(300);
        })
    }),
    ("is not an address of any interface", 4, || {
        on_new_hosts("", |life| {
            drop(machine(life).state().facts.nics.remove("eth0"))
        })
    }),
    (", which has ", 4, || {
        on_new_hosts("[network]\nnic = \"lo\"\n", nothing)
    }),
    ("network interface ", 4, || {
        on_new_hosts("[network]\nnic = \"eth9\"\n", nothing)
    }),
    ("Docker is not installed", 4, || {
        on_new_hosts("[docker]\ninstall = false\n", lose_docker)
    }),
    ("and no supported package manager was found", 4, || {
        on_new_hosts("", |life| {
            lose_docker(life);
            machine(life).state().facts.package_managers.clear();
        })
    }),
    ("the Docker Engine does not answer", 4, || {
        on_new_hosts("", |life| machine(life).state().engine_runs = false)
    }),
    ("any more, which an earlier toots built", 4, || {
        on_new_hosts(
            "[images]\nmesos-master = \"toots/mesos:0123456789ab\"\n",
            nothing,
        )
    }),
    (" is in use by ", 4, || {
        on_new_hosts("", |life| {
            let process = MachineProcess {
                name: "other".into(),
                container: None,
                sockets: vec![("tcp".into(), IpAddr::V4(Ipv4Addr::UNSPECIFIED), 2181)],
            };
            machine(life).state().processes.insert(77, process);
        })
    }),
    ("needs systemd, which does not run on this host", 4, || {
        let more = format!("{SLAVE}[components]\ndnsmasq = true\n");
        on_new_hosts(&more, |life| machine(life).state().facts.systemd = false)
    }),
    ("has no NFS client", 4, || {
        on_new_hosts(&persistent(), |life| {
            machine(life).state().facts.nfs_kernel = false;
        })
    }),
    ("cannot connect to the NFS server", 4, || {
        on_new_hosts(&persistent(), |life| {
            let server = Ipv4Addr::new(10, 0, 0, 9);
            life.world.network.cut(machine(life).address, server, true);
        })
    }),
    ("cannot connect to {}", 4, || {
        on_new_hosts("", |life| {
            life.world.network.cut(MASTERS[0].1, MASTERS[1].1, true);
        })
    }),
    (" (cgroup v", 4, || {
        let more = format!("{SLAVE}[images]\nmesos-slave = \"mesosphere/mesos-slave:1.7.1\"\n");
        on_new_hosts(&more, |life| machine(life).state().facts.cgroup_version = 2)
    }),
    ("is mounted as private", 4, || {
        on_new_hosts(SLAVE, |life| {
            machine(life).state().mounts.insert("/".into(), false);
        })
    }),
    ("must not run:", 4, || {
        let other = with("[images]\nzookeeper = \"zookeeper:3.9.3\"\n");
        on_a_cluster("", &other, UP, nothing)
    }),
    ("is older than ", 4, || {
        on_a_cluster(NEWER_ZOOKEEPER, THREE_MASTERS, UP, nothing)
    }),
    ("cannot follow ", 4, || {
        let other = with("[images]\nconsul = \"hashicorp/consul:1.29\"\n");
        on_a_cluster("", &other, UP, nothing)
    }),
    ("free space for ", 4, || {
        on_new_hosts("", |life| fill_disk(life, 0))
    }),
    (" (it builds ", 4, || {
        on_new_hosts("", |life| {
            for (name, _) in MASTERS {
                let disk = &life.world.machine(name).disk;
                disk.set_filled(disk.size() - (5 << 29));
            }
        })
    }),
    ("belongs to another cluster with the same name", 4, || {
        on_a_cluster("", THREE_MASTERS, UP, |life| {
            rename_cluster(life, "cluster_id")
        })
    }),
    (", the inventory describes ", 4, || {
        on_a_cluster("", THREE_MASTERS, UP, |life| {
            rename_cluster(life, "cluster")
        })
    }),
    (" members of zookeeper synced", 4, || {
        on_a_cluster("", &with(NEWER_CONSUL), UP, |life| {
            // Somebody stops a member when what is to be done is known.
            let stopped = Arc::clone(machine(life));
            at_point(
                life,
                |point| point.name.starts_with("Place"),
                move |_| {
                    let machine = Arc::clone(&stopped);
                    tokio::spawn(async move {
                        machine.engine.stop_by_hand("toots-zookeeper").await;
                    });
                },
            );
        })
    }),
    ("creating a cluster requires all masters", 3, || {
        on_new_hosts("", |life| machine(life).cut_power())
    }),
    ("there is no terminal to ask on", 4, || {
        let line = "toots cluster up --output json";
        on_a_cluster("", &with(NEWER_ZOOKEEPER), line, nothing)
    }),
    ("toots does not change the set of masters yet", 4, || {
        let other = THREE_MASTERS.replace("10.0.0.13", "10.0.0.14");
        on_a_cluster("", &other, UP, nothing)
    }),
    (
        "toots does not change the address of a master yet",
        4,
        || {
            on_own_clock(async {
                let life = Life::with_masters(7, &FOUR, 3);
                let first = life.run(&named("10.0.0.13"), UP).await;
                assert_eq!(first.exit, Some(0), "{}", first.output);
                let ending = life.run(&named("10.0.0.14"), UP).await;
                Met::new(&life, ending)
            })
        },
    ),
    ("lock held by", 7, || {
        on_own_clock(async {
            let life = Life::new(7, &MASTERS);
            let second = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                life.run(THREE_MASTERS, UP).await
            };
            let (_, ending) = tokio::join!(biased; life.run(THREE_MASTERS, UP), second);
            Met::new(&life, ending)
        })
    }),
    ("flock is missing", 4, || {
        on_new_hosts("", |life| {
            machine(life)
                .state()
                .missing_programs
                .insert("flock".into());
        })
    }),
    ("the inventory file changed since it was saved", 4, || {
        with_saved_plan(THREE_MASTERS, nothing)
    }),
    ("the hosts changed since it was saved", 4, || {
        with_saved_plan(&with(NEWER_ZOOKEEPER), |life| {
            machine(life).files().remove("/etc/toots/zookeeper/zoo.cfg");
        })
    }),
];

/// Masters with names, the third of which has this address.
fn named(third: &str) -> String {
    let addresses = [("m1", "10.0.0.11"), ("m2", "10.0.0.12"), ("m3", third)];
    let tables =
        addresses.map(|(name, address)| format!("[hosts.{name}]\naddress = \"{address}\"\n"));
    format!("masters = [\"m1\", \"m2\", \"m3\"]\n{}", tables.concat())
}

fn persistent() -> String {
    format!(
        "{SLAVE}[hosts.\"10.0.0.13\"]\npersistent = true\n[nfs]\nexport = \"10.0.0.9:/store\"\n"
    )
}

/// An inventory that cannot be used.
fn mistaken() -> Met {
    on_own_clock(async {
        let life = Life::new(7, &MASTERS);
        let ending = life.run("masters = [\"10.0.0.11\"]\n", UP).await;
        Met::new(&life, ending)
    })
}

/// What all of them show.
pub fn shown() -> Shown {
    let mut shown = Shown::default();
    for (words, _, live) in LIVES {
        let ending = live().ending;
        shown.add(&ending);
        // The guard's refusal ends, and its run goes on.
        if ending.exit == Some(0) && ending.output.contains(words) {
            *shown.refusals.entry(words).or_default() += 1;
        }
    }
    let mut others = vec![mistaken().ending];
    others.extend(switched());
    others.extend(with_steps_of_few());
    for ending in &others {
        shown.add(ending);
    }
    shown
}

/// A plan, and optional components that are switched on and off.
fn switched() -> Vec<Ending> {
    on_own_clock(async {
        let life = Life::new(7, &MASTERS);
        let on = with(&format!(
            "{SLAVE}[components]\ndnsmasq = true\nregistrator_on_masters = true\n"
        ));
        let plan = life.run(&on, "toots cluster plan --output json").await;
        let up = life.run(&on, UP).await;
        let off = life.run(&with(SLAVE), UP).await;
        assert_eq!(
            (plan.exit, up.exit, off.exit),
            (Some(0), Some(0), Some(0)),
            "{}",
            off.output
        );
        vec![plan, up, off]
    })
}

/// Runs that end well.
async fn up_each(life: &Life, inventories: &[String]) -> Vec<Ending> {
    let mut endings = Vec::new();
    for inventory in inventories {
        let ending = life.run(inventory, UP).await;
        assert_eq!(ending.exit, Some(0), "{}", ending.output);
        endings.push(ending);
    }
    endings
}

/// A component that takes a changed file by a signal, and a file for a member's first start that was
/// written when the member ran already.
fn with_steps_of_few() -> Vec<Ending> {
    on_own_clock(async {
        let life = Life::with_masters(7, &FOUR, 3);
        let edge = with("edges = [\"10.0.0.14\"]\n[network]\nvip = \"10.0.0.100\"\n");
        let moved = format!("{edge}[params.keepalived]\nrouter_id = 52\n");
        let mut endings = up_each(&life, &[edge, moved.clone()]).await;
        let path = "/var/lib/toots/zookeeper/datalog/initialize";
        machine(&life).files().write(path, "", 0o644);
        endings.extend(up_each(&life, &[moved]).await);
        endings
    })
}

#[test]
fn each_refusal_changes_nothing() {
    let mut wrong = Vec::new();
    for (words, code, live) in LIVES {
        println!("{words}");
        let Met { ending, changes } = live();
        let refusal = super::refusals::REFUSALS.iter().find(|r| r.text == *words);
        let refusal = refusal.expect("a refusal of the list");
        let is_met = refusal.is_in(&ending.output);
        // The guard is asked when files are placed already, and a lock may be taken on some hosts.
        let is_late = words.contains("synced");
        if ending.exit != Some(*code) && !is_late || !is_met || changes > 0 && !is_late {
            let end = ending.output.lines().last().unwrap_or_default();
            wrong.push(format!(
                "{words:?}: exit code {:?}, met: {is_met}, {changes} changes: {end} {}",
                ending.exit, ending.error
            ));
        }
    }
    assert!(wrong.is_empty(), "VIOLATION {}", wrong.join("\n"));
    let Met { ending, changes } = mistaken();
    assert_eq!((ending.exit, changes), (Some(2), 0), "{}", ending.error);
}
