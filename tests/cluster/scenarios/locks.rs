//! Operators who begin at the same moment, on real hosts.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::lab::{Lab, Run, is_long, on, until};

/// How soon a run that does not go on says so: 5 s after it asks for the lock. Its start, logins and
/// observation come before, on a machine that builds and lives clusters beside it.
const ANSWER_LIMIT: Duration = Duration::from_secs(5 + 10);

/// Races of two and of three operators, 0 to 50 ms apart, each with another order of the masters and
/// another wish: by Docker's own account every master got the wish of one of them, once. The simulated
/// world tries more of them. Members of ZooKeeper take longer to replace than the others try: a run that
/// ended sooner would be followed by one of them.
pub fn races(lab: &Lab) {
    let count = if is_long() { 200 } else { 1 };
    for number in 0..count {
        race(lab, number);
    }
    wait(lab);
}

/// The masters in another order, and another heap for ZooKeeper.
fn wish(lab: &Lab, operator: usize, heap: usize) -> PathBuf {
    lab.changed(&format!("race-{operator}"), |text| {
        let mut masters = lab.masters;
        masters.rotate_left(operator);
        let line = |line: &str| match line.starts_with("masters = ") {
            true => format!("masters = {masters:?}\n"),
            false => format!("{line}\n"),
        };
        let text: String = text.lines().map(line).collect();
        format!("{text}\n[params.zookeeper]\nheap = \"{heap}m\"\n")
    })
}

/// What a master's Engine says about new containers, while it lives.
fn watch(master: &str) -> Child {
    let mut watch = Command::new("docker");
    watch
        .args(["exec", &format!("toots-lab-{master}"), "timeout", "300"])
        .args(["docker", "events", "--format", "{{.Actor.Attributes.name}}"])
        .args(["--filter", "type=container", "--filter", "event=create"]);
    let watch = watch.stdout(Stdio::piped()).spawn();
    watch.expect("docker runs")
}

fn race(lab: &Lab, number: usize) {
    let operators = 3 - number % 2;
    let wishes: Vec<usize> = (0..operators)
        .map(|o| 260 + (10 * number + o) % 200)
        .collect();
    let inventories: Vec<PathBuf> = (0..operators).map(|o| wish(lab, o, wishes[o])).collect();
    let watches = lab.masters.map(watch);
    // The Engine answers a moment later.
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    let runs: Vec<Run> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..operators)
            .map(|operator| {
                let inventory = &inventories[operator];
                let apart = Duration::from_millis((17 * number as u64 + 29 * operator as u64) % 51);
                scope.spawn(move || {
                    std::thread::sleep(apart.saturating_sub(began.elapsed()));
                    lab.toots_with(inventory, &["cluster", "up", "--yes", "--output", "json"])
                })
            })
            .collect();
        runs.into_iter()
            .map(|run| run.join().expect("a run"))
            .collect()
    });
    let (done, refused): (Vec<usize>, Vec<usize>) =
        (0..operators).partition(|operator| runs[*operator].code != 7);
    assert_eq!(done.len(), 1, "race {number}: {:?}", codes(&runs));
    let winner = done[0];
    assert_eq!(runs[winner].code, 0, "race {number}: {:?}", codes(&runs));
    for operator in refused {
        let Run { took, stdout, .. } = &runs[operator];
        assert!(*took < ANSWER_LIMIT, "race {number}: after {took:?}");
        let error = runs[operator].result()["error"].to_string();
        for words in [
            "lock held by ",
            "@",
            ": toots cluster up (run ",
            ") since 20",
        ] {
            assert!(error.contains(words), "race {number}: {error}\n{stdout}");
        }
    }
    // The last of the Engines' reports.
    std::thread::sleep(Duration::from_millis(300));
    for (master, mut watch) in lab.masters.iter().zip(watches) {
        // It ends with its output, too.
        let _ = watch.kill();
        let lines = BufReader::new(watch.stdout.take().expect("its output")).lines();
        let created = lines.map_while(Result::ok);
        let created = created.filter(|name| name == "toots-zookeeper").count();
        let _ = watch.wait();
        assert_eq!(created, 1, "race {number}, {master}");
        let env = on(
            master,
            "docker inspect -f '{{.Config.Env}} {{.Args}}' toots-zookeeper",
        );
        let heap = format!("{}m", wishes[winner]);
        assert!(
            env.contains(&heap),
            "race {number}, {master}: {heap} in {env}"
        );
    }
}

fn codes(runs: &[Run]) -> Vec<(i32, &str)> {
    runs.iter()
        .map(|run| (run.code, run.stderr.as_str()))
        .collect()
}

/// A run that waits says for whom, and goes on when the other one is done.
fn wait(lab: &Lab) {
    let (first, second) = (wish(lab, 0, 250), wish(lab, 1, 251));
    let mut running = lab
        .command(&first, &["cluster", "up", "--yes"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("toots runs");
    let is_held = || !on(lab.masters[0], "cat /run/toots/lock").is_empty();
    until("the lock is held", Duration::from_secs(20), is_held);
    let id = on(lab.masters[0], "cat /run/toots/lock");
    let up = [
        "cluster",
        "up",
        "--yes",
        "--lock-wait",
        "5m",
        "--output",
        "plain",
    ];
    let waited = lab.toots_with(&second, &up).expect(0);
    let shown = "waiting for lock: ";
    assert!(waited.stderr.contains(shown), "{id}\n{}", waited.stderr);
    assert_eq!(running.wait().expect("it ends").code(), Some(0));
    lab.toots(&["cluster", "up", "--yes"]).expect(0);
}
