//! `cluster status`: the current state of every host and service, as a table and as one JSON
//! object.

use super::ending::{service_faults, service_table, web_addresses};
use super::json::to_json;
use super::line::Tone;
use super::table::{Row, table};
use super::text::{clean, count, wrap};
use crate::event::{HostStatusView, StatusReport};

/// The JSON object of `status --output json`, with its newline.
#[must_use]
pub fn status_json(report: &StatusReport) -> String {
    to_json(report) + "\n"
}

/// The status as text, each line at most `width` columns.
#[must_use]
pub fn status_table(report: &StatusReport, width: usize, colour: bool) -> String {
    let unknown = report.hosts.iter().filter(|h| h.error.is_some()).count();
    let bad = report.services.iter().filter(|s| !s.row.healthy).count();
    let containers: usize = report.hosts.iter().map(|h| h.components.len()).sum();
    let mut title = format!(
        "{} is {}: ",
        report.cluster,
        if report.healthy {
            "healthy"
        } else {
            "not healthy"
        }
    );
    title.push_str(&format!(
        "{}, {}",
        count(report.hosts.len(), "host"),
        count(containers, "container")
    ));
    if unknown > 0 {
        title.push_str(&format!(", {unknown} unreachable"));
    }
    if bad > 0 {
        title.push_str(&format!(", {} not proven", count(bad, "service")));
    }
    let tone = if report.healthy {
        Tone::Good
    } else {
        Tone::Bad
    };
    let services: Vec<_> = report.services.iter().map(|s| s.row.clone()).collect();
    let mut blocks = vec![
        wrap(&title, width, "", "  ")
            .into_iter()
            .map(|l| tone.paint(&l, colour))
            .collect(),
        host_table(&report.hosts, width, colour),
        report
            .hosts
            .iter()
            .flat_map(|h| unreachable(h, width))
            .collect(),
        service_table(&services, width, colour),
    ];
    blocks.extend(service_faults(&services, width, colour));
    blocks.push(web_addresses(&report.web, width));
    let blocks: Vec<_> = blocks
        .into_iter()
        .filter(|b| !b.is_empty())
        .map(|b| b.join("\n"))
        .collect();
    blocks.join("\n\n") + "\n"
}

fn unreachable(host: &HostStatusView, width: usize) -> Vec<String> {
    let why = host
        .error
        .as_ref()
        .map(|e| format!("{} is unreachable: {}", host.host, clean(e)));
    why.iter()
        .flat_map(|w| wrap(w, width, "  ", "    "))
        .collect()
}

fn host_table(hosts: &[HostStatusView], width: usize, colour: bool) -> Vec<String> {
    let or = |text: &Option<String>| text.as_deref().map_or_else(|| "–".into(), clean);
    let mut rows: Vec<Row> = Vec::new();
    for host in hosts {
        let name = host.host.to_string();
        let dash = || "–".to_owned();
        if host.error.is_some() {
            rows.push((
                vec![
                    name.clone(),
                    dash(),
                    "unreachable".into(),
                    dash(),
                    dash(),
                    dash(),
                ],
                Tone::Bad,
            ));
        }
        for c in &host.components {
            let unhealthy = c.state != "running" || c.health.as_deref().is_some_and(|h| h != "ok");
            let cells = vec![
                name.clone(),
                clean(c.component.as_str()),
                clean(&c.state),
                or(&c.health),
                or(&c.role),
                or(&c.version),
            ];
            rows.push((cells, if unhealthy { Tone::Bad } else { Tone::Normal }));
        }
    }
    if rows.is_empty() {
        return Vec::new();
    }
    table(
        &["host", "component", "state", "health", "role", "version"],
        &rows,
        width,
        colour,
    )
}
