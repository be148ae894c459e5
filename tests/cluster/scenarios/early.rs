//! Runs that are asked to end in the middle of a replacement.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Lab, is_long, local, on};

/// The signals that end a run, with the exit code that follows.
const SIGNALS: [(&str, i32); 3] = [("INT", 130), ("TERM", 143), ("HUP", 129)];

/// What the Engine reports of a replacement, in this order: the former container is asked to stop,
/// ends and gets another name; the new one is created and started; the former one is removed.
const ACTIONS: [&str; 6] = ["kill", "die", "rename", "create", "start", "destroy"];

/// What ends a run in the middle of a replacement.
#[derive(Clone, Copy)]
enum Cause {
    Signal(&'static str),
    /// Of the whole run.
    Deadline(Duration),
}

/// What a short run tries, while the former container is there and while none is. The simulated world
/// tries an interruption and a deadline at every request.
const SHORT_CAUSES: [(&str, &str); 2] = [("kill", "INT"), ("create", "deadline")];

/// A signal or the deadline comes at an action of a replacement of a ZooKeeper member: the replacement is
/// finished, no other begins, and the next run goes on from there.
pub fn in_a_replacement(lab: &Lab) {
    let mut heaps = 300..;
    for at in ACTIONS {
        for signal in SIGNALS.into_iter().map(Some).chain([None]) {
            let cause = signal.map_or("deadline", |(name, _)| name);
            if !is_long() && !SHORT_CAUSES.contains(&(at, cause)) {
                continue;
            }
            let heap = heaps.next().expect("a number");
            let ended = match signal {
                Some((name, code)) => end_one(lab, Cause::Signal(name), at, code, heap),
                // On a busy machine the deadline may pass before the action.
                None => [6, 12, 24].into_iter().find_map(|limit| {
                    let cause = Cause::Deadline(Duration::from_secs(limit));
                    end_one(lab, cause, at, 8, heap)
                }),
            };
            ended.expect("a member is replaced");
        }
    }
    lab.toots(&["cluster", "up", "--yes"]).expect(0);
}

/// Another program takes the lock of the host at an action of a replacement: once the run reads of it,
/// nothing more is sent to that host, which is named, and the next run goes on from there. A short run
/// tries the action while no container is there.
pub fn without_lock(lab: &Lab) {
    let actions = if is_long() { &ACTIONS[..] } else { &["create"] };
    for (heap, at) in (400..).zip(actions) {
        lose_one(lab, at, heap);
    }
    lab.toots(&["cluster", "up", "--yes"]).expect(0);
}

/// The Engine's reports about ZooKeeper's containers on every master, while it lives.
struct Reports {
    watches: Vec<Child>,
    received: Receiver<(&'static str, String)>,
}

impl Reports {
    fn listen(lab: &Lab) -> Self {
        let (sender, received) = channel();
        let watch = |master: &'static str| {
            let mut watch = Command::new("docker")
                .args(["exec", &format!("toots-lab-{master}"), "timeout", "60"])
                .args(["docker", "events"])
                .args(["--filter", "type=container", "--format"])
                .arg("{{.Action}} {{.Actor.Attributes.name}}")
                .stdout(Stdio::piped())
                .spawn()
                .expect("docker runs");
            let lines = BufReader::new(watch.stdout.take().expect("its output")).lines();
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in lines.map_while(Result::ok) {
                    let Some((action, name)) = line.split_once(' ') else {
                        continue;
                    };
                    if name.starts_with("toots-zookeeper")
                        && sender.send((master, action.to_owned())).is_err()
                    {
                        break;
                    }
                }
            });
            watch
        };
        let watches = lab.masters.into_iter().map(watch).collect();
        // The Engine answers a moment later.
        std::thread::sleep(Duration::from_millis(300));
        Self { watches, received }
    }

    /// Passes over what came so far.
    fn forget(&self) {
        while self.received.try_recv().is_ok() {}
    }

    /// The actions on a host since then.
    fn seen(&self, host: &str) -> Vec<String> {
        let rest = std::iter::from_fn(|| self.received.try_recv().ok());
        rest.filter(|(on, _)| *on == host)
            .map(|(_, action)| action)
            .collect()
    }

    /// Waits for an action on a host.
    fn wait_for(&self, host: &str, action: &str) {
        let limit = Duration::from_secs(60);
        loop {
            let (on, seen) = self.received.recv_timeout(limit).expect(action);
            if (on, seen.as_str()) == (host, action) {
                break;
            }
        }
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        for watch in &mut self.watches {
            // It ends with its output, too.
            let _ = watch.kill();
            let _ = watch.wait();
        }
    }
}

/// A run that replaces ZooKeeper's members.
struct Replacement {
    run: Child,
    reports: Reports,
    began: Instant,
    events: Box<dyn Iterator<Item = Value>>,
    /// Warnings, failures and the result before the first replacement.
    passed: Vec<Value>,
}

const STEP: &str = "replace toots-zookeeper";

impl Replacement {
    fn start(inventory: &Path, lab: &Lab, more: &[&str]) -> Self {
        let reports = Reports::listen(lab);
        let mut arguments = vec!["cluster", "up", "--yes", "--output", "json"];
        arguments.extend(more);
        let mut run = lab
            .command(inventory, &arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("toots runs");
        let lines = BufReader::new(run.stdout.take().expect("its events")).lines();
        let events =
            lines.map(|line| serde_json::from_str(&line.expect("a line")).expect("an event"));
        Self {
            run,
            reports,
            began: Instant::now(),
            events: Box::new(events),
            passed: Vec::new(),
        }
    }

    /// The host of the first replacement; `None` when the run ended without one.
    fn first_host(&mut self) -> Option<String> {
        for event in self.events.by_ref() {
            if is_begin(&event) {
                return Some(event["host"].as_str().expect("its host").to_owned());
            }
            if ["warning", "host-failed", "result"].contains(&event["type"].as_str().unwrap_or(""))
            {
                self.passed.push(event);
            }
        }
        None
    }

    fn signal(&self, name: &str) {
        local(&["kill", &format!("-{name}"), &self.run.id().to_string()]);
    }

    /// Stops the run at an action of a host's Engine.
    fn hold_at(&self, host: &str, action: &str) {
        self.reports.wait_for(host, action);
        self.signal("STOP");
    }

    /// The events of the rest of the run and its exit code.
    fn finish(&mut self) -> (Vec<Value>, Option<i32>) {
        let rest = self.events.by_ref().collect();
        (rest, self.run.wait().expect("it ends").code())
    }
}

fn is_begin(event: &Value) -> bool {
    event["type"] == "step-started" && event["step"] == STEP
}

fn with_heap(lab: &Lab, heap: usize) -> PathBuf {
    lab.changed("early", |text| {
        format!("{text}\n[params.zookeeper]\nheap = \"{heap}m\"\n")
    })
}

/// One run that is ended at this action. `None` when the deadline passed before it.
fn end_one(lab: &Lab, cause: Cause, at: &str, code: i32, heap: usize) -> Option<()> {
    let limit;
    let (name, more) = match cause {
        Cause::Signal(name) => (name, vec![]),
        Cause::Deadline(deadline) => {
            limit = format!("{}s", deadline.as_secs());
            ("deadline", vec!["--timeout", &limit])
        }
    };
    let cause_at = format!("{name} at {at}");
    let mut replacement = Replacement::start(&with_heap(lab, heap), lab, &more);
    let Some(host) = replacement.first_host() else {
        let (_, ended) = replacement.finish();
        assert_eq!(ended, Some(8), "{cause_at}: {:#?}", replacement.passed);
        return None;
    };
    match cause {
        Cause::Signal(name) => {
            replacement.reports.wait_for(&host, at);
            replacement.signal(name);
        }
        Cause::Deadline(deadline) => {
            replacement.hold_at(&host, at);
            let passed = deadline + Duration::from_millis(200);
            std::thread::sleep(passed.saturating_sub(replacement.began.elapsed()));
            replacement.signal("CONT");
        }
    }
    let (rest, ended) = replacement.finish();
    assert_eq!(ended, Some(code), "{cause_at}: {rest:?}");
    let begun = rest.iter().filter(|event| is_begin(event));
    assert_eq!(begun.count(), 0, "{cause_at}: nothing new begins");
    let result = rest.last().expect("a result");
    assert_eq!(
        (&result["type"], &result["exit_code"]),
        (&"result".into(), &code.into())
    );
    // By Docker itself: one member, the new one, and it runs.
    let heaps = on(
        &host,
        "docker ps -a --filter name=zookeeper --format '{{.Names}} {{.State}}'; \
             docker inspect -f '{{.Config.Env}}' toots-zookeeper",
    );
    assert!(
        heaps.starts_with("toots-zookeeper running\n[") && heaps.contains(&format!("-Xmx{heap}m")),
        "{cause_at} on {host}: {heaps}"
    );
    for other in lab.masters.iter().filter(|other| **other != host) {
        let env = on(other, "docker inspect -f '{{.Config.Env}}' toots-zookeeper");
        assert!(
            !env.contains(&format!("-Xmx{heap}m")),
            "{cause_at}: {other} was touched"
        );
    }
    Some(())
}

/// One run that loses the lock of a host at this action.
fn lose_one(lab: &Lab, at: &str, heap: usize) {
    let inventory = with_heap(lab, heap);
    let mut replacement = Replacement::start(&inventory, lab, &[]);
    let Some(host) = replacement.first_host() else {
        panic!("no member is replaced: {:#?}", replacement.passed)
    };
    replacement.hold_at(&host, at);
    // Whoever waits for the lock has it as soon as its holder is gone.
    on(
        &host,
        "sh -c 'echo $$ > /run/thief; exec flock /run/toots/lock sleep 60' > /dev/null 2>&1 & \
         sleep 0.2; kill \"$(sed -n 2p /run/toots/lock)\"; sleep 1",
    );
    replacement.reports.forget();
    replacement.signal("CONT");
    let (rest, ended) = replacement.finish();
    assert_eq!(ended, Some(5), "lost lock at {at}: {rest:?}");
    let result = rest.last().expect("a result");
    assert_eq!(
        result["hosts"][&host]["outcome"], "failed",
        "{at}: {result}"
    );
    // The answer to the action may have come before the run was held: then a single further action was
    // decided before the run could read of its loss.
    let sent = replacement.reports.seen(&host);
    let mut later = ACTIONS.iter().skip_while(|action| **action != at).skip(1);
    let is_next = |action: &String| later.any(|later| later == action);
    assert!(
        sent.len() <= 1 && sent.iter().all(is_next),
        "after the loss at {at}: {sent:?}"
    );
    on(&host, "pkill -P $(cat /run/thief); rm /run/thief");
    drop(replacement);
    let next = ["cluster", "up", "--yes", "--limit", &host];
    lab.toots_with(&inventory, &next).expect(0);
    let members = on(
        &host,
        "docker ps -a --filter name=zookeeper --format '{{.Names}} {{.State}}'",
    );
    assert_eq!(members.trim(), "toots-zookeeper running", "{at}");
}
