//! The cost of reading an inventory and describing every host: time and memory of
//! `toots inventory check` by the number of hosts, and the time of `ansible-inventory` for the same
//! hosts where it is installed. Run: `cargo bench --bench inventory`.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

const SIZES: [usize; 4] = [100, 300, 1000, 5000];
const RUNS: usize = 5;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    println!("hosts   toots   memory   ansible-inventory   ratio");
    for hosts in SIZES {
        let addresses: Vec<String> = (0..hosts)
            .map(|n| format!("10.1.{}.{}", n / 250, n % 250 + 1))
            .collect();
        let (masters, slaves) = addresses.split_at(3);
        let toml = format!("masters = {masters:?}\nslaves = {slaves:?}\n");
        let file = dir.path().join("inventory.toml");
        std::fs::write(&file, toml).unwrap();
        let list = dir.path().join("hosts.ini");
        let ini = format!(
            "[masters]\n{}\n[slaves]\n{}\n",
            masters.join("\n"),
            slaves.join("\n")
        );
        std::fs::write(&list, ini).unwrap();

        let toots = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_toots"));
            command.args(["inventory", "check", "-i"]).arg(&file);
            command
        };
        let own = fastest(toots).unwrap();
        let memory = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() / 1024;
        let rival = fastest(|| {
            let mut command = Command::new("ansible-inventory");
            command.arg("-i").arg(&list).arg("--list");
            command
        });
        let (rival, ratio) = match rival {
            Some(rival) => (
                format!("{rival:.2?}"),
                format!("{:.0}", rival.as_secs_f64() / own.as_secs_f64()),
            ),
            None => ("not installed".into(), "–".into()),
        };
        println!("{hosts:>5}  {own:>6.0?}  {memory:>3} MiB  {rival:>18}  {ratio:>6}");
    }
}

/// The fastest of several runs; `None` when the program is not installed.
fn fastest(command: impl Fn() -> Command) -> Option<Duration> {
    let run = |_| {
        let began = Instant::now();
        let status = command()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .ok()?;
        assert!(status.success());
        Some(began.elapsed())
    };
    (0..RUNS)
        .map(run)
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .min()
}
