//! What an idle ensemble and an idle cluster cost: steps of their members in virtual time, since
//! thousands of lives must fit into minutes.

use super::consul_lab::{ALL, LONG, until_healthy};
use super::lab::{Cs, seconds};
use super::zookeeper_states;

const MINUTES: u64 = 10;

/// Steps of one member in a minute, rounded up.
fn per_member(steps: u64, members: u64) -> u64 {
    steps.div_ceil(members * MINUTES)
}

#[tokio::test(start_paused = true)]
async fn an_idle_ensemble_costs_little() {
    let (lab, _) = zookeeper_states::three().await;
    let before = lab.ensemble.steps();
    seconds(60.0 * f64::from(u32::try_from(MINUTES).unwrap())).await;
    let steps = per_member(lab.ensemble.steps() - before, 3);
    println!("zookeeper: {steps} steps of a member in an idle minute");
    assert!(steps <= 10, "{steps}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_cluster_costs_little() {
    let (mut lab, _) = super::consul_lab::three().await;
    for machine in [4, 5] {
        lab.start_consul(&Cs::client(machine));
    }
    until_healthy(&lab, &ALL, LONG).await;
    seconds(60.0).await;
    let before = lab.cluster.steps();
    seconds(60.0 * f64::from(u32::try_from(MINUTES).unwrap())).await;
    let steps = per_member(lab.cluster.steps() - before, 5);
    println!("consul: {steps} steps of an agent in an idle minute");
    assert!(steps <= 20, "{steps}");
}
