//! Runs whose images, services or networks do not do what they should.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::run_report::RunReport;
use super::{HOSTS, INVENTORY, NEWER_ZOOKEEPER, UP, empty, healthy, recover, with};
use crate::chaos::on_own_clock;
use crate::directed::at_point;
use crate::docker::Image;
use crate::network::Network;
use crate::services::MISSING_COMMAND;
use crate::state::outline;

/// The new image does not contain its own entrypoint.
#[test]
fn a_replacement_fails_and_is_put_back() {
    on_own_clock(async {
        let life = healthy(21).await;
        let before = outline(&life.world);
        let settings = json!({ "Entrypoint": [MISSING_COMMAND] });
        let image = Image::new("zookeeper", "3.9.6").with_settings(settings);
        life.registry.push("zookeeper:3.9.6", image);
        let report = RunReport::run(&life, &with(NEWER_ZOOKEEPER), UP).await;
        report.record("replacement_put_back");
        report.snapshot("replacement_put_back");
        let stopped = life.judge.stopped();
        assert_eq!(stopped.len(), 1, "no other member is tried: {stopped:#?}");
        let containers = |outline: &[String]| -> Vec<String> {
            let lines = outline.iter().filter(|line| line.contains("running"));
            lines.cloned().collect()
        };
        assert_eq!(containers(&outline(&life.world)), containers(&before));
        recover(&life, INVENTORY).await;
    });
}

/// The wires between the masters.
fn cut_masters(network: &Network, is_cut: bool) {
    for (number, (_, a)) in HOSTS[..3].iter().enumerate() {
        for (_, b) in &HOSTS[number + 1..3] {
            network.cut(*a, *b, is_cut);
        }
    }
}

/// Masters do not reach each other any more when the first container is created.
#[test]
fn a_gate_reaches_its_deadline() {
    on_own_clock(async {
        let life = empty(22);
        let (network, record) = (life.world.network.clone(), life.world.record.clone());
        let is_cut = at_point(
            &life,
            move |_| {
                let changes = record.changes();
                let mut changes = changes.iter();
                changes.any(|change| change.what.contains("/containers/create"))
            },
            move |_| cut_masters(&network, true),
        );
        let report = RunReport::run(&life, INVENTORY, &format!("{UP} --gate-timeout 30s")).await;
        assert!(is_cut.load(Ordering::SeqCst));
        report.record("gate_deadline");
        report.snapshot("gate_deadline");
        assert_eq!(report.exit(), Some(6), "{report}");
        cut_masters(&life.world.network, false);
        recover(&life, INVENTORY).await;
    });
}

/// Marathon's program ends as soon as it starts.
#[test]
fn a_container_is_in_a_crash_loop() {
    on_own_clock(async {
        let life = empty(23);
        let good = Image::new("mesosphere/marathon", "v1.11.24");
        let name = "mesosphere/marathon:v1.11.24";
        life.registry.push(name, Image::new("broken", "1"));
        let report = RunReport::run(&life, INVENTORY, UP).await;
        report.record("crash_loop");
        report.snapshot("crash_loop");
        assert_eq!(report.exit(), Some(6), "{report}");
        // Another image for the same name is used only by who names it otherwise.
        life.registry.push("mesosphere/marathon:good", good);
        recover(
            &life,
            &with("[images]\nmarathon = \"mesosphere/marathon:good\"\n"),
        )
        .await;
    });
}

#[test]
fn a_wrong_first_image_is_corrected() {
    on_own_clock(async {
        let life = empty(24);
        life.registry
            .push("zookeeper:wrong", Image::new("broken", "1"));
        let wrong = with("[images]\nzookeeper = \"zookeeper:wrong\"\n");
        let report = RunReport::run(&life, &wrong, UP).await;
        report.record("wrong_first_image");
        report.snapshot("wrong_first_image");
        let report = RunReport::run(&life, INVENTORY, UP).await;
        report.snapshot("wrong_first_image_corrected");
        report.assert_done();
        recover(&life, INVENTORY).await;
        let corrected = outline(&life.world);
        let other = healthy(24).await;
        assert_eq!(corrected, outline(&other.world));
    });
}

/// Members of another quorum crash with a wrong first image, and no majority of them ever ran.
#[test]
fn a_wrong_first_consul_image_is_corrected() {
    on_own_clock(async {
        let life = empty(25);
        let broken = Image::new("broken", "1");
        life.registry.push("hashicorp/consul:wrong", broken);
        let wrong = with("[images]\nconsul = \"hashicorp/consul:wrong\"\n");
        let report = RunReport::run(&life, &wrong, UP).await;
        assert_eq!(report.exit(), Some(6), "{report}");
        RunReport::run(&life, INVENTORY, UP).await.assert_done();
        recover(&life, INVENTORY).await;
    });
}
