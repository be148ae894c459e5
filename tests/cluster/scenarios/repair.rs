//! A ZooKeeper member whose data differ from the others'.

use std::time::Duration;

use serde_json::Value;

use crate::lab::{Lab, address, on, until};

/// Runs one command of ZooKeeper's own client in a container.
fn client(machine: &str, container: &str, server: &str, command: &str) {
    on(
        machine,
        &format!(
            "docker exec {container} java -cp '/usr/share/java/*' \
             org.apache.zookeeper.ZooKeeperMain -server {server} {command}"
        ),
    );
}

/// Runs a command of the client for each of the nodes that all others have, in one session.
fn for_common_nodes(machine: &str, command: &str, value: &str) {
    let server = format!("{}:2181", address(machine));
    on(
        machine,
        &format!(
            "for n in $(seq 0 79); do echo \"{command} /common-$n {value}\"; done | \
             docker exec -i toots-zookeeper java -cp '/usr/share/java/*' \
             org.apache.zookeeper.ZooKeeperMain -server {server}"
        ),
    );
}

/// Starts a member's data as a server of their own, which writes what the others never see.
fn diverge(member: &str, other: &str) {
    on(member, "docker stop toots-zookeeper");
    // More transactions than the lone server makes, which also closes the sessions of lost clients:
    // a member that is ahead of its leader has the rest of its log cut off.
    for_common_nodes(other, "create", "x");
    on(
        member,
        "mkdir -p /tmp/alone && printf 'tickTime=2000\\ndataDir=/data\\ndataLogDir=/datalog\\nclientPort=12181\\nclientPortAddress=127.0.0.1\\nadmin.enableServer=false\\n' > /tmp/alone/zoo.cfg
         docker run -d --rm --name alone --network host -v /tmp/alone:/conf:ro \
           -v /var/lib/toots/zookeeper/data:/data -v /var/lib/toots/zookeeper/datalog:/datalog \
           $(docker inspect -f '{{.Image}}' toots-zookeeper) zkServer.sh start-foreground",
    );
    until("the lone server serves", Duration::from_secs(60), || {
        let mode = "echo srvr | nc -q 2 127.0.0.1 12181 | grep Mode || true";
        on(member, mode).contains("standalone")
    });
    client(member, "alone", "127.0.0.1:12181", "create /foreign x");
    on(
        member,
        "docker stop alone; rm -r /tmp/alone; docker start toots-zookeeper",
    );
}

pub fn diverged(lab: &Lab) {
    let status = || lab.toots(&["cluster", "status", "--output", "json"]);
    let report: Value = serde_json::from_str(&status().expect(0).stdout).expect("one object");
    let leader = report["services"]["zookeeper"]["leader"].clone();
    let member = lab
        .masters
        .into_iter()
        .find(|m| leader != *m)
        .expect("a follower");
    let other = lab
        .masters
        .into_iter()
        .rfind(|m| *m != member)
        .expect("another");
    diverge(member, other);
    // It serves, or is already known to differ: by a digest that its log had in common.
    until("the member serves", Duration::from_secs(60), || {
        let status = status();
        status.code == 0
            || status
                .stdout
                .contains("its data differ from the majority's")
    });

    let repair = |host: &str, more: &[&str]| {
        let command = [
            "cluster",
            "repair",
            host,
            "--component",
            "zookeeper",
            "--output",
            "json",
        ];
        lab.toots(&[&command, more].concat())
    };
    // The proof by writing gives the members a transaction in common.
    let run = lab.toots(&[
        "cluster",
        "up",
        "--prove",
        "--gate-timeout",
        "10s",
        "--output",
        "json",
    ]);
    let run = run.expect(6);
    let hint = run.result()["hint"].to_string();
    let command = format!(" {member} --component zookeeper");
    assert!(
        hint.contains("toots cluster repair") && hint.contains(&command),
        "{hint}"
    );
    assert!(
        run.stdout.contains("its data differ from the majority's"),
        "{}",
        run.stdout
    );

    let refused = repair(other, &["--yes"]).expect(4);
    assert!(
        refused.result()["error"]
            .to_string()
            .contains("not known to differ")
    );
    let unasked = repair(member, &[]).expect(4);
    assert_eq!(unasked.result()["changed"], 0);

    // As an interrupted creation may have left it: the member must not vote without its data.
    let marker = "/var/lib/toots/zookeeper/datalog/initialize";
    on(member, &format!("touch {marker}"));
    let run = repair(member, &["--yes"]).expect(0);
    assert_eq!(run.result()["changed"], 2);
    assert!(
        run.stdout.contains(&format!("remove {marker}")),
        "{}",
        run.stdout
    );
    assert_eq!(run.result()["hosts"][member]["outcome"], "changed");
    let find_moved = "find /var/lib/toots/zookeeper -maxdepth 2 -name '*.before-repair-*'";
    assert_eq!(
        on(member, find_moved).lines().count(),
        2,
        "snapshots and logs"
    );
    assert!(
        run.stdout
            .contains(on(member, find_moved).lines().next().expect("a folder"))
    );
    let server = format!("{}:2181", address(member));
    client(member, "toots-zookeeper", &server, "get /common-3");
    let nodes = on(
        member,
        &format!(
            "docker exec toots-zookeeper java -cp '/usr/share/java/*' org.apache.zookeeper.ZooKeeperMain -server {server} ls / 2>&1"
        ),
    );
    assert!(
        nodes.contains("common-0") && !nodes.contains("foreign"),
        "{nodes}"
    );

    let run = lab
        .toots(&["cluster", "up", "--prove", "--output", "json"])
        .expect(0);
    assert_eq!(run.result()["changed"], 0);
    for_common_nodes(other, "delete", "");
    on(member, &format!("rm -r $({find_moved})"));
}

/// Two members without data do not vote, and the third one is no quorum: toots says so, and its
/// command brings the service back with the data that are left.
pub fn wiped(lab: &Lab) {
    let [first, kept, last] = lab.masters;
    let lost = [first, last];
    let server = format!("{}:2181", address(kept));
    client(kept, "toots-zookeeper", &server, "create /kept x");
    for member in lost {
        on(
            member,
            "docker stop toots-zookeeper; cd /var/lib/toots/zookeeper; rm -r data/version-2 datalog/version-2",
        );
    }
    for member in lost {
        on(member, "docker start toots-zookeeper");
        until("the member answers", Duration::from_secs(60), || {
            let state = "curl -s http://127.0.0.1:2182/commands/zabstate || true";
            on(member, state).contains("voting")
        });
    }
    let run = lab.toots(&["cluster", "up", "--gate-timeout", "5s", "--output", "json"]);
    let run = run.expect(6);
    assert_eq!(run.result()["changed"], 0);
    let events = run.events();
    let sentence = format!("zookeeper: {first}, {last} lost their data");
    let warning = events
        .iter()
        .filter_map(|event| event["text"].as_str())
        .find(|text| text.starts_with(&sentence))
        .expect("an explanation");
    let status = lab.toots(&["cluster", "status"]).expect(6);
    assert!(status.stdout.contains(&sentence), "{}", status.stdout);

    let (_, command) = warning
        .split_once(&format!("as root on {first}, run: "))
        .expect("a command");
    on(first, command);
    until("the cluster is healthy", Duration::from_secs(120), || {
        lab.toots(&["cluster", "status"]).code == 0
    });
    client(kept, "toots-zookeeper", &server, "delete /kept");
    let run = lab
        .toots(&["cluster", "up", "--prove", "--output", "json"])
        .expect(0);
    assert_eq!(run.result()["changed"], 0);
}
