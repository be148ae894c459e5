//! Sequences of requests, drawn from a seed, that a real Engine and the simulated one must answer alike:
//! status, the fields that toots reads, and the end state.

mod draw;

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use self::draw::{CONTAINERS, Call, Draw, OwnImage, Step, load};
use crate::chaos::on_own_clock;
use crate::docker::Payload;
use crate::random::Random;
use crate::readings::{Reading, container, refusal};

/// How long the state must stay the same before the next request, so that a sequence has one answer.
const QUIET: Duration = Duration::from_millis(300);
const SETTLE_LIMIT: Duration = Duration::from_secs(8);
/// When the second request of a pair is sent, while the first is under way.
const MEANWHILE: Duration = Duration::from_millis(400);
const STEPS: usize = 14;

/// The first seed of sequences that `TOOTS_SEED` gives.
pub fn given_seed() -> Option<u64> {
    let given = std::env::var("TOOTS_SEED").ok();
    given.map(|text| text.parse().expect("TOOTS_SEED must be a number"))
}

/// The first seed of new sequences: another one in each run, above those that are recorded.
pub fn first_seed(recorded: u64) -> u64 {
    given_seed().unwrap_or_else(|| rand::random_range(recorded..u64::from(u32::MAX)))
}

/// Lives on a clock of its own, beside a runtime that talks to what is real.
pub fn simulate_apart<L: Future<Output = String>>(
    life: impl FnOnce() -> L + Send + 'static,
) -> String {
    let life = std::thread::spawn(move || on_own_clock(life()));
    life.join().expect("a life")
}

/// Sends requests to one Engine.
pub trait Client {
    /// The pause between two looks at what changes.
    const PAUSE: Duration;

    async fn send(&self, method: &str, uri: &str, payload: Payload) -> (u16, Vec<u8>);
}

/// Lives a sequence on an Engine; returns a line for each step and the end state. Names begin with
/// `prefix`, which nothing else on the Engine has.
pub async fn live(client: &impl Client, seed: u64, prefix: &str, base: &str) -> String {
    let image = OwnImage::on(client, prefix, base).await;
    let life = Life {
        client,
        prefix,
        image: &image,
    };
    let mut draw = Draw {
        random: Random::new(seed),
        prefix,
        image: &image,
    };
    let mut lines = String::new();
    life.send(load(&image, true)).await;
    for n in 0..STEPS {
        let line = life.step(draw.step(n)).await;
        let _ = writeln!(lines, "{line}");
    }
    lines += &life.end().await;
    lines
}

/// The answers to a pair of requests. Which of two removals or stops is the first is chance, as is
/// whether the second finds the container, or finds it running.
fn without_chance(words: &str, one: &str, other: &str) -> String {
    let pair = [one, other].map(|answer| answer.split(' ').next().unwrap_or_default());
    match pair.contains(&"204") {
        true if words.matches("remove by force").count() == 2 => "204, gone".into(),
        true if words.matches("stop").count() == 2 => "204, 204".into(),
        _ => format!("{one}, {other}"),
    }
}

struct Life<'a, C> {
    client: &'a C,
    prefix: &'a str,
    image: &'a OwnImage,
}

impl<C: Client> Life<'_, C> {
    async fn step(&self, step: Step) -> String {
        let first = step.first.words.clone();
        let words = step.words();
        // Between two runs its network is gone and the Engine refuses, else it renames: chance.
        if words.contains("rename") && self.loops(&first).await {
            return format!("{words}: loops");
        }
        let Some(second) = step.meanwhile else {
            return format!("{words}: {}", self.send(step.first).await);
        };
        let later = async {
            // Two removals or stops at once; else the first request is under way for longer.
            if second.words != first {
                tokio::time::sleep(MEANWHILE).await;
            }
            self.send(second).await
        };
        let (one, other) = tokio::join!(self.send(step.first), later);
        format!("{words}: {}", without_chance(&words, &one, &other))
    }

    /// Whether the container that a call names is in a crash loop.
    async fn loops(&self, words: &str) -> bool {
        let name = words.split(' ').nth(1).unwrap_or_default();
        let uri = format!("/containers/{}{name}/json", self.prefix);
        let (status, body) = self.client.send("GET", &uri, Payload::None).await;
        status == 200 && container(&serde_json::from_slice(&body).expect("JSON")).ends_with("loops")
    }

    /// Sends a call and reads its answer, once nothing changes any more.
    async fn send(&self, call: Call) -> String {
        let (status, body) = self.client.send(call.method, &call.uri, call.payload).await;
        let read = match status {
            200 => call.reading.read(&body),
            400.. => refusal(&body),
            _ => String::new(),
        };
        let changes = ["start", "kill"]
            .iter()
            .any(|word| call.words.starts_with(word));
        if changes && status == 204 {
            self.settle().await;
        }
        let read = read
            .replace(&self.image.id(), "ID")
            .replace(self.prefix, "");
        format!("{status} {read}").trim_end().to_owned()
    }

    /// Waits until the containers stay as they are.
    async fn settle(&self) {
        let mut former = String::new();
        let mut quiet = Duration::ZERO;
        let mut waited = Duration::ZERO;
        let pause = C::PAUSE;
        while quiet < QUIET && waited < SETTLE_LIMIT {
            tokio::time::sleep(pause).await;
            waited += pause;
            let (now, is_limited) = self.containers().await;
            let is_same = now == former && !is_limited;
            quiet = if is_same {
                quiet + pause
            } else {
                Duration::ZERO
            };
            former = now;
        }
    }

    /// The state of all containers, and whether one is on its way to its last restart.
    async fn containers(&self) -> (String, bool) {
        let mut lines = String::new();
        let mut is_limited = false;
        for name in CONTAINERS {
            let uri = format!("/containers/{}{name}/json", self.prefix);
            let (status, body) = self.client.send("GET", &uri, Payload::None).await;
            if status == 200 {
                let body: Value = serde_json::from_slice(&body).expect("JSON");
                let tries = body["HostConfig"]["RestartPolicy"]["MaximumRetryCount"].as_i64();
                let state = container(&body);
                is_limited |= tries > Some(0) && state.ends_with("loops");
                let _ = writeln!(lines, "end {}", state.replace(self.prefix, ""));
            }
        }
        (lines, is_limited)
    }

    /// The end state; removes what the sequence made.
    async fn end(&self) -> String {
        let mut lines = self.containers().await.0;
        for name in CONTAINERS {
            let uri = format!("/containers/{}{name}?force=true&v=true", self.prefix);
            self.client.send("DELETE", &uri, Payload::None).await;
        }
        let uri = format!("/images/{}", self.image.id());
        let (status, body) = self
            .client
            .send("GET", &format!("{uri}/json"), Payload::None)
            .await;
        if status == 200 {
            let image = Reading::Image.read(&body).replace(self.prefix, "");
            let _ = writeln!(lines, "end image {image}");
        }
        let uri = format!("{uri}?force=true");
        self.client.send("DELETE", &uri, Payload::None).await;
        lines
    }
}
