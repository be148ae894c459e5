//! Machines that fail.

use std::time::Duration;

use crate::lab::{Lab, MASTERS, containers, local, on, until};

/// Freezes a machine's processes: it answers nothing, and continues where it was.
struct Frozen(&'static str);

impl Frozen {
    fn new(machine: &'static str) -> Self {
        local(&["docker", "pause", &format!("toots-lab-{machine}")]);
        Self(machine)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        local(&["docker", "unpause", &format!("toots-lab-{}", self.0)]);
    }
}

fn healthy_again(lab: &Lab) {
    until(
        "the cluster is healthy again",
        Duration::from_secs(120),
        || lab.toots(&["cluster", "status", "--output", "json"]).code == 0,
    );
}

pub fn dead_slave(lab: &Lab) {
    // With the second slave of an earlier scenario, one of two is gone.
    let grown = lab.changed("two-slaves", |text| {
        text.replace("slaves = [\"s1\"]", "slaves = [\"s1\", \"s2\"]")
            .replace(
                "[network]",
                "[hosts.s2]\naddress = \"10.42.7.22\"\n\n[network]",
            )
    });
    lab.toots_with(&grown, &["cluster", "up", "--yes", "--output", "json"])
        .expect(0);
    {
        let _gone = Frozen::new("s1");
        let run = lab
            .toots_with(
                &grown,
                &[
                    "cluster",
                    "up",
                    "--output",
                    "json",
                    "--connect-timeout",
                    "5s",
                ],
            )
            .expect(3);
        assert_eq!(run.result()["hosts"]["s1"]["outcome"], "unreachable");
        assert_eq!(run.result()["hosts"]["s2"]["outcome"], "ok");
    }
    until("the slave is back", Duration::from_secs(120), || {
        lab.toots_with(&grown, &["cluster", "status", "--output", "json"])
            .code
            == 0
    });
}

/// sshd with two sessions per connection and few logins at once: the run succeeds, more slowly.
pub fn small_limits(lab: &Lab) {
    let machines = ["m1", "m2", "m3", "s1", "e1"];
    let reload = |text: &str| {
        for machine in machines {
            on(
                machine,
                &format!(
                    "printf '%b' '{text}' > /etc/ssh/sshd_config.d/limits.conf && systemctl reload ssh"
                ),
            );
        }
    };
    reload("MaxSessions 2\\nMaxStartups 3:100:3\\n");
    on("m1", "sshd -T | grep -x 'maxsessions 2'");
    on("m1", "docker rm -f toots-chronos >/dev/null");
    let run = lab.toots(&["cluster", "up", "--yes", "--output", "json"]);
    reload("");
    assert!(
        run.expect(0).result()["changed"]
            .as_u64()
            .is_some_and(|n| n > 0),
        "the container is back"
    );
}

/// With one master gone, no other member may be stopped.
pub fn dead_member(lab: &Lab) {
    let inventory = lab.changed("dead-member", |text| {
        format!("{text}\n[consul]\nraft_multiplier = 4\n")
    });
    {
        let _gone = Frozen::new("m3");
        let before: Vec<_> = ["m1", "m2"].iter().map(|m| containers(m)).collect();
        let run = lab.toots_with(
            &inventory,
            &[
                "cluster",
                "up",
                "--yes",
                "--output",
                "json",
                "--connect-timeout",
                "5s",
            ],
        );
        // A leader that froze may hold up a gate of the hosts that take part.
        let held_up = run.events().iter().any(|e| e["type"] == "gate-failed");
        let code = match run.result()["changed"].as_u64() {
            _ if held_up => 6,
            Some(0) => 3,
            _ => 5,
        };
        assert_eq!(run.code, code, "{}\n{}", run.stdout, run.stderr);
        let after: Vec<_> = ["m1", "m2"].iter().map(|m| containers(m)).collect();
        for (before, after) in before.iter().zip(&after) {
            for name in ["toots-consul-server", "toots-zookeeper"] {
                assert_eq!(before.get(name), after.get(name), "{name} was not touched");
            }
            // A Mesos master that loses its leadership with ZooKeeper's leader exits and is
            // restarted.
            let id = |c: &std::collections::BTreeMap<String, (String, String)>| {
                c.get("toots-mesos-master").map(|ids| ids.0.clone())
            };
            assert_eq!(id(before), id(after), "the Mesos master was not replaced");
        }
        assert!(
            run.stdout.contains("would leave 1 of 3"),
            "the arithmetic is shown: {}",
            run.stdout
        );
    }
    healthy_again(lab);
    lab.toots(&["cluster", "up", "--yes", "--output", "plain"])
        .expect(0);
}

pub fn two_dead_masters(lab: &Lab) {
    let inventory = lab.changed("two-dead", |text| {
        format!("{text}\n[consul]\nraft_multiplier = 5\n")
    });
    let before: Vec<_> = ["m1", "s1", "e1"].iter().map(|m| containers(m)).collect();
    {
        let _gone = (Frozen::new("m2"), Frozen::new("m3"));
        let run = lab
            .toots_with(
                &inventory,
                &[
                    "cluster",
                    "up",
                    "--yes",
                    "--output",
                    "json",
                    "--connect-timeout",
                    "5s",
                ],
            )
            .expect(3);
        assert_eq!(run.result()["changed"], 0);
        assert!(run.took < Duration::from_secs(20), "{:?}", run.took);
    }
    let steady =
        |list: &[std::collections::BTreeMap<String, (String, String)>]| -> Vec<Option<String>> {
            list.iter()
                .map(|c| {
                    c.get("toots-consul-server")
                        .or(c.get("toots-consul-client"))
                        .map(|ids| ids.0.clone())
                })
                .collect()
        };
    let after: Vec<_> = ["m1", "s1", "e1"].iter().map(|m| containers(m)).collect();
    assert_eq!(steady(&before), steady(&after));
    healthy_again(lab);
    assert_eq!(MASTERS.len(), 3);
}

/// A program that restarted once is healthy; one in a crash loop is not, even while it runs.
pub fn restarts(lab: &Lab) {
    let started = || {
        containers("s1")
            .get("toots-registrator")
            .map(|(_, started)| started.clone())
    };
    let kill = || {
        let before = started();
        on(
            "s1",
            "kill -9 $(docker inspect -f '{{.State.Pid}}' toots-registrator)",
        );
        until("it was started again", Duration::from_secs(60), || {
            started().is_some_and(|now| Some(now) != before)
        });
    };
    // Its count starts with its container.
    on("s1", "docker rm -f toots-registrator");
    lab.toots(&["cluster", "up", "--yes", "--output", "json"])
        .expect(0);
    kill();
    until("healthy after one restart", Duration::from_secs(30), || {
        lab.toots(&["cluster", "status"]).code == 0
    });
    (0..5).for_each(|_| kill());
    let unhealthy = lab.toots(&["cluster", "status"]).expect(6);
    assert!(
        unhealthy.stdout.contains("crash loop (6 restarts"),
        "{}",
        unhealthy.stdout
    );
    on("s1", "docker rm -f toots-registrator");
    lab.toots(&["cluster", "up", "--yes", "--output", "json"])
        .expect(0);
    lab.toots(&["cluster", "status"]).expect(0);
}
