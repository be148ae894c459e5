//! Ctrl-C in each phase.

use std::sync::atomic::Ordering;

use super::run_report::RunReport;
use super::{INVENTORY, UP, empty, recover};
use crate::chaos::on_own_clock;
use crate::directed::at_point;
use crate::host::controller::ControllerFault;

/// The phases of a first `up`, in order.
async fn phases(seed: u64) -> Vec<String> {
    let life = empty(seed);
    let report = RunReport::run(&life, INVENTORY, UP).await;
    report.assert_done();
    let mut phases: Vec<String> = Vec::new();
    for event in report.of_type("phase-started") {
        let phase = event["phase"].as_str().expect("a name").to_owned();
        if !phases.contains(&phase) {
            phases.push(phase);
        }
    }
    phases
}

#[test]
fn each_phase_can_be_cancelled() {
    let phases = on_own_clock(phases(31));
    println!("{phases:?}");
    for (number, phase) in phases.iter().enumerate() {
        on_own_clock(async {
            let life = empty(31);
            let operator = life.operator(&[("inventory.toml", INVENTORY)]);
            let (desk, controller) = (operator.desk(), operator.controller.clone());
            let begun = format!("\"type\":\"phase-started\",\"phase\":\"{phase}\"");
            let is_done = at_point(
                &life,
                move |_| desk.terminal.output().contains(&begun),
                move |_| controller.suffer(ControllerFault::Interrupted),
            );
            let report = RunReport::run_as(&life, operator, UP).await;
            if phase == "images" {
                report.record("cancelled");
            }
            report.snapshot(&format!("cancelled_{number:02}_{phase}"));
            // No point follows the beginning of a phase that asks no host.
            let is_done = is_done.load(Ordering::SeqCst);
            println!("{phase}: {is_done} {:?}", report.exit());
            assert_eq!(
                report.exit(),
                Some(if is_done { 130 } else { 0 }),
                "{phase}: {report}"
            );
            recover(&life, INVENTORY).await;
        });
    }
}
