//! What a person or a program reads of a run. The events are those of recorded runs; invented are those
//! that no run sends in this order or with these texts (`hostile`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests, which clippy does not take for tests

use std::time::Duration;

#[path = "report/any.rs"]
mod any;
#[path = "report/endings.rs"]
mod endings;
#[path = "report/hostile.rs"]
mod hostile;
#[path = "report/json.rs"]
mod json;
#[path = "report/live.rs"]
mod live;
#[path = "report/plain.rs"]
mod plain;
#[path = "report/recorded.rs"]
mod recorded;
#[path = "report/reporter.rs"]
mod reporter;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn without_colour(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + part.split_once('m').unwrap().1)
}
