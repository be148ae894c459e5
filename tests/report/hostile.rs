//! What no run of the world can send: any event in any order, hostile texts, and any width.

use std::time::Duration;

use proptest::prelude::*;
use toots::report::{
    Plain, PlanChange, PlanHostView, ViewState, ending, json_line, permanent_lines, plan_text,
    render, status_json, status_table,
};
use toots::spec::{HostName, Role};

use crate::any::{any_event, any_status};
use crate::without_colour;

/// A file that somebody wrote on a host.
#[test]
fn plan_diffs_are_escaped() {
    let diff = "--- /etc/toots/zoo.cfg\n+++ /etc/toots/zoo.cfg\n@@ -1,2 +1,2 @@\n tickTime=2000\n-\x1b[2Jbad\n+syncLimit=5\n\n";
    let change = PlanChange {
        symbol: '~',
        what: "file /etc/toots/zoo.cfg".into(),
        reason: "content differs".into(),
        diff: Some(diff.into()),
    };
    let host = PlanHostView {
        host: HostName::new("m1").unwrap(),
        roles: vec![Role::Master],
        changes: vec![change],
        records: Vec::new(),
    };
    let text = plan_text(std::slice::from_ref(&host), false);
    assert!(
        text.contains("\n      -\\x1b[2Jbad\n      +syncLimit=5\n"),
        "{text}"
    );
    let coloured = plan_text(&[host], true);
    assert!(coloured.contains("\x1b[32m+syncLimit=5"));
    assert_eq!(without_colour(&coloured), text);
}

fn harmless(text: &str) -> Result<(), TestCaseError> {
    prop_assert!(
        text.chars().all(|c| c == '\n' || !c.is_control()),
        "{text:?}"
    );
    prop_assert!(!text.contains('\u{202e}'), "{text:?}");
    Ok(())
}

fn fits(text: &str, width: usize) -> Result<(), TestCaseError> {
    for line in text.lines() {
        prop_assert!(
            unicode_width::UnicodeWidthStr::width(line) <= width,
            "{width}: {line:?}"
        );
    }
    harmless(text)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_events_in_any_order_are_shown_harmlessly_and_within_the_width(
        events in prop::collection::vec(any_event(), 0..30), width in 1..130usize, height in 0..12usize, gap in 0..7_000u64,
    ) {
        let (mut state, mut plain) = (ViewState::default(), Plain::default());
        for (i, event) in (0u64..).zip(&events) {
            let at = Duration::from_millis(i * gap);
            state.apply(event, at);
            let view = render(&state, width, height, at, false);
            fits(&view, width)?;
            prop_assert!(view.lines().count() <= height);
            fits(&permanent_lines(event, width, false).join("\n"), width)?;
            for line in plain.lines(event, &state, at).into_iter().chain(plain.heartbeat(&state, at)) {
                harmless(&line)?;
                prop_assert!(!line.contains('\n'));
            }
            let json = json_line(event, jiff::Timestamp::UNIX_EPOCH);
            harmless(&json)?;
            prop_assert!(!json.contains('\n') && serde_json::from_str::<serde_json::Value>(&json).is_ok());
        }
        fits(&ending(&state, 1_000, width, false), width)?;
    }

    #[test]
    fn any_status_fits_its_width(report in any_status(), width in 1..130usize) {
        fits(&status_table(&report, width, false), width)?;
        harmless(&status_json(&report))?;
    }
}
