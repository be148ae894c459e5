//! Runs that do not begin, or do not go on, because something is in their way.

use std::sync::Arc;
use std::time::Duration;

use super::run_report::RunReport;
use super::{HOSTS, INVENTORY, NEWER_CONSUL, NEWER_ZOOKEEPER, UP, empty, healthy, recover, with};
use crate::chaos::on_own_clock;
use crate::directed::at_point;
use crate::life::Operator;

/// A master dies when the locks are taken: the rest would be no majority without another member.
#[test]
fn the_guard_refuses() {
    on_own_clock(async {
        let life = healthy(1).await;
        let machine = Arc::clone(life.world.machine("10.0.0.13"));
        at_point(
            &life,
            |point| point.name.starts_with("lock answered"),
            move |_| machine.cut_power(),
        );
        let report = RunReport::run(&life, &with(NEWER_ZOOKEEPER), UP).await;
        report.record("guard_refuses");
        report.snapshot("guard_refuses");
        let stopped = life.judge.stopped();
        assert!(stopped.is_empty(), "VIOLATION {stopped:#?}");
        assert!(matches!(report.exit(), Some(4..=6)), "{report}");
        recover(&life, &with(NEWER_ZOOKEEPER)).await;
    });
}

#[test]
fn the_lock_is_held() {
    on_own_clock(async {
        let life = empty(2);
        let first = life.run(INVENTORY, UP);
        let second = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            RunReport::run(&life, INVENTORY, UP).await
        };
        let (first, report) = tokio::join!(biased; first, second);
        report.record("lock_held");
        report.snapshot("lock_held");
        assert_eq!((first.exit, report.exit()), (Some(0), Some(7)), "{report}");
        assert_eq!(report.changed(), 0, "{report}");
        recover(&life, INVENTORY).await;
    });
}

#[test]
fn the_plan_is_stale() {
    on_own_clock(async {
        let life = healthy(3).await;
        let inventory = with(NEWER_CONSUL);
        let planner = life.operator(&[("inventory.toml", &inventory)]);
        let desk = planner.desk();
        let line = "toots cluster plan --out plan.json --output json";
        let planned = RunReport::run_as(&life, planner, line).await;
        planned.record("plan");
        assert_eq!(planned.exit(), Some(0), "{planned}");
        let plan = desk.files.contents()[std::path::Path::new("/work/plan.json")].clone();
        let plan = String::from_utf8(plan).expect("text");
        // Somebody removes a container in the meantime.
        life.world.machine("10.0.0.22").engine.wipe();
        let files = [("inventory.toml", inventory.as_str()), ("plan.json", &plan)];
        let operator: Operator = life.operator(&files);
        let line = "toots cluster up --yes --plan plan.json --output json";
        let report = RunReport::run_as(&life, operator, line).await;
        report.record("stale_plan");
        report.snapshot("stale_plan");
        assert_eq!((report.exit(), report.changed()), (Some(4), 0), "{report}");
        recover(&life, &inventory).await;
    });
}

/// A plan is carried out while inventory and hosts are those of the plan, and once.
#[test]
fn a_saved_plan_is_carried_out_once() {
    on_own_clock(async {
        let life = healthy(5).await;
        let inventory = with(NEWER_CONSUL);
        let planner = life.operator(&[("inventory.toml", &inventory)]);
        let desk = planner.desk();
        let line = "toots cluster plan --out plan.json --output json";
        RunReport::run_as(&life, planner, line).await.assert_done();
        let plan = desk.files.contents()[std::path::Path::new("/work/plan.json")].clone();
        let plan = String::from_utf8(plan).expect("text");
        for (inventory, exit) in [
            (with(NEWER_ZOOKEEPER), 4),
            (inventory.clone(), 0),
            (inventory.clone(), 4),
        ] {
            let files = [("inventory.toml", inventory.as_str()), ("plan.json", &plan)];
            let line = "toots cluster up --yes --plan plan.json --output json";
            let report = RunReport::run_as(&life, life.operator(&files), line).await;
            assert_eq!(report.exit(), Some(exit), "{report}");
            assert_eq!(report.changed() == 0, exit == 4, "{report}");
        }
        recover(&life, &inventory).await;
    });
}

/// Containers that run are interrupted after a clear yes only.
#[test]
fn only_a_clear_yes_interrupts_containers() {
    on_own_clock(async {
        let life = healthy(6).await;
        let inventory = with(NEWER_CONSUL);
        let line = "toots cluster up --output plain";
        // Enter, and the end of the input.
        let refusals = ["\n", "n\n", "maybe\n", ""].map(|answer| (answer, 4));
        for (answer, exit) in refusals.into_iter().chain([("yes\n", 0)]) {
            let operator = life.operator(&[("inventory.toml", &inventory)]);
            operator.desk().terminal.resize(80, 40);
            operator.desk().terminal.type_text(answer);
            let before = life.world.record.changes().len();
            let ending = operator.run(line).await;
            let shown = format!("{answer:?}: {}{}", ending.output, ending.error);
            assert_eq!(ending.exit, Some(exit), "{shown}");
            assert!(shown.contains("[y/N]"), "{shown}");
            if exit == 4 {
                assert!(shown.contains("nothing was changed"), "{shown}");
                let changes = &life.world.record.changes()[before..];
                assert!(changes.is_empty(), "VIOLATION {shown}: {changes:#?}");
            }
        }
        recover(&life, &inventory).await;
    });
}

#[test]
fn two_masters_are_dead() {
    on_own_clock(async {
        let life = healthy(4).await;
        for name in ["10.0.0.12", "10.0.0.13"] {
            life.world.machine(name).cut_power();
        }
        let report = RunReport::run(&life, &with(NEWER_CONSUL), UP).await;
        report.record("two_masters_dead");
        report.snapshot("two_masters_dead");
        assert_eq!((report.exit(), report.changed()), (Some(3), 0), "{report}");
        let outcomes = HOSTS.map(|(name, _)| report.outcome(name));
        let expected = ["ok", "unreachable", "unreachable", "ok", "ok"];
        assert_eq!(outcomes, expected, "{report}");
        recover(&life, &with(NEWER_CONSUL)).await;
    });
}
