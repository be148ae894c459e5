//! Command lines reach the simulated hosts.

use std::sync::Arc;

use std::net::Ipv4Addr;

use tokio::task::LocalSet;
use toots::cli::{self, Env};
use toots::env::memory::MemoryMachine;

use crate::world::World;

const INVENTORY: &str = "masters = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"]\n";

fn world() -> World {
    let hosts = ["m1", "m2", "m3"];
    let address = |n: usize| Ipv4Addr::new(10, 0, 0, u8::try_from(n + 1).unwrap());
    let hosts = hosts.iter().enumerate();
    let hosts: Vec<_> = hosts.map(|(n, name)| (*name, address(n))).collect();
    World::new(1, &hosts, &[])
}

/// Runs a command line on a machine of its own; its exit code and output.
async fn run(world: &World, line: &str) -> (Option<u8>, String) {
    let now = "2027-01-15T08:00:00Z".parse().unwrap();
    let machine = MemoryMachine::new(1, now);
    machine.files.add("inventory.toml", INVENTORY);
    let env = Env {
        machine: machine.machine(),
        dialler: Arc::new(world.dialler(&world.controller("desk"))),
    };
    let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let exit = LocalSet::new()
        .run_until(machine.tasks.contain(cli::run(argv, env)))
        .await;
    let output = machine.terminal.output() + &machine.terminal.error();
    (exit, output)
}

#[tokio::test(start_paused = true)]
async fn a_command_line_observes_each_host() {
    let world = world();
    world.machine("m3").cut_power();
    let (exit, output) = run(&world, "toots cluster status").await;
    let begun: Vec<String> = world
        .record
        .entries()
        .into_iter()
        .filter(|entry| entry.who.starts_with("desk") && entry.what.starts_with("begin Observe"))
        .map(|entry| entry.host)
        .collect();
    assert!(exit.is_some_and(|code| code != 0), "{exit:?}");
    assert!(output.contains("10.0.0.3"), "{output}");
    assert!(begun.contains(&"m1".to_owned()) && begun.contains(&"m2".to_owned()));
    assert!(!begun.contains(&"m3".to_owned()), "it has no power");
}
