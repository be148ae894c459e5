//! What no single key shows: roles, numbers, and hosts that are one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::error::Problems;
use super::reader::At;
use super::schema::{Raw, RawHost};
use super::types::{Host, Inventory};
use crate::spec::{HostName, Role};

/// More hosts than this are a mistake in the file.
const MOST_HOSTS: usize = 5000;

/// Builds the inventory; everything that does not fit is a problem.
pub(super) fn check(mut raw: Raw, problems: &mut Problems<'_>) -> Inventory {
    masters(&raw, problems);
    let mut order: Vec<(HostName, BTreeSet<Role>, Option<std::ops::Range<usize>>)> = Vec::new();
    for (role, list) in [(Role::Master, &raw.masters), (Role::Slave, &raw.slaves), (Role::Edge, &raw.edges)] {
        let mut seen: BTreeMap<&str, ()> = BTreeMap::new();
        for at in list {
            if seen.insert(&at.value, ()).is_some() {
                problems.add(at.span.clone(), format!("{} is listed twice as {role}", at.value), None);
                continue;
            }
            let Some(name) = name(at, problems) else { continue };
            match order.iter_mut().find(|(known, _, _)| *known == name) {
                Some((_, roles, _)) => drop(roles.insert(role)),
                None => order.push((name, BTreeSet::from([role]), at.span.clone())),
            }
        }
    }
    if order.len() > MOST_HOSTS {
        problems.add(raw.masters_span.clone(), format!("it lists {} hosts, at most {MOST_HOSTS} are possible", order.len()), None);
        order.clear();
    }
    let mut hosts: Vec<Host> = Vec::new();
    let mut by_address: BTreeMap<IpAddr, HostName> = BTreeMap::new();
    for (name, roles, span) in order {
        let table = raw.hosts.remove(name.as_str()).unwrap_or_default();
        let Some(address) = address(&name, &table, span.clone(), problems) else { continue };
        if let Some(other) = by_address.insert(address, name.clone()) {
            problems.add(
                span.clone(),
                format!("{name} has the address of {other}: {address}"),
                Some("one machine is one host; give it several roles by listing the same name".into()),
            );
        }
        hosts.push(Host {
            listen_ip: table.listen_ip.or(raw.listen_ip).unwrap_or(address),
            nic: table.nic.unwrap_or_else(|| raw.nic.clone()),
            name,
            address,
            roles,
            ssh: table.ssh,
            port: table.port,
            user: table.user,
            persistent: table.persistent,
        });
    }
    for (name, table) in &raw.hosts {
        let listed: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        let near = listed.iter().map(|known| (strsim::jaro_winkler(name, known), *known)).max_by(|a, b| a.0.total_cmp(&b.0));
        let help = near.filter(|near| near.0 > 0.8).map(|near| format!("did you mean [hosts.{}]?", near.1));
        problems.add(table.span.clone(), format!("[hosts.{name}] describes a host that no role lists"), help);
    }
    Inventory {
        cluster: raw.cluster,
        hosts,
        network: raw.network,
        ssh: raw.ssh,
        docker: raw.docker,
        registry: raw.registry,
        nfs: raw.nfs,
        images: raw.images,
        consul: raw.consul,
        options: raw.options,
        timeouts: raw.timeouts,
    }
}

/// An even number tolerates no more failures than the odd one below it, and a Mesos log of an even number never initialises.
fn masters(raw: &Raw, problems: &mut Problems<'_>) {
    let n = raw.masters.len();
    let span = raw.masters_span.clone();
    if span.is_none() {
        return;
    }
    let tolerates = |n: usize| n.saturating_sub(1) / 2;
    let (what, help) = match n {
        3 | 5 | 7 => return,
        0 => ("it lists no masters".to_owned(), "list three, five or seven".to_owned()),
        1 | 2 => (
            format!(
                "{n} master{} tolerate{} no failure: a majority of {n} is {}",
                if n == 1 { "" } else { "s" },
                if n == 1 { "s" } else { "" },
                n / 2 + 1
            ),
            "list three masters: they go on when one fails".to_owned(),
        ),
        n if n > 7 => {
            (format!("{n} masters make every write slower without need"), "list seven at most: they go on when three fail".to_owned())
        }
        n => (
            format!(
                "{n} masters tolerate {} failure{}, the same as {}: a majority of {n} is {}",
                tolerates(n),
                if tolerates(n) == 1 { "" } else { "s" },
                n - 1,
                n / 2 + 1
            ),
            format!("list {} or {}", n - 1, n + 1),
        ),
    };
    problems.add(span, what, Some(help));
}

fn name(at: &At<String>, problems: &mut Problems<'_>) -> Option<HostName> {
    match HostName::new(at.value.as_str()) {
        Ok(name) => Some(name),
        Err(error) => {
            let help = at.value.contains(['@', '/']).then(|| "user and port belong in [ssh] or [hosts.NAME]".to_owned());
            problems.add(at.span.clone(), error.to_string(), help);
            None
        }
    }
}

fn address(name: &HostName, table: &RawHost, span: Option<std::ops::Range<usize>>, problems: &mut Problems<'_>) -> Option<IpAddr> {
    let (address, span) = match (&table.address, name.as_str().parse::<IpAddr>()) {
        (Some(at), Ok(own)) if at.value != own => {
            problems.add(at.span.clone(), format!("{name} is an address itself, and its table names another: {}", at.value), None);
            return None;
        }
        (Some(at), _) => (at.value, at.span.clone()),
        (None, Ok(own)) => (own, span),
        (None, Err(_)) => {
            let digits = name.as_str().chars().all(|c| c.is_ascii_digit() || c == '.');
            let help = if digits {
                "write an IPv4 address with four numbers of 0 to 255".to_owned()
            } else {
                format!("add a table: [hosts.{name}] with address = \"10.0.0.11\"")
            };
            problems.add(span, format!("{name} has no address"), Some(help));
            return None;
        }
    };
    let plain = match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    };
    let why = match plain {
        a if a.is_unspecified() => "means every address",
        a if a.is_loopback() => "is the machine itself: no other host reaches it",
        a if a.is_multicast() => "is a multicast address",
        IpAddr::V4(Ipv4Addr::BROADCAST) => "is the broadcast address",
        _ => return Some(plain),
    };
    problems.add(span, format!("{name} cannot have the address {address}: it {why}"), None);
    None
}
