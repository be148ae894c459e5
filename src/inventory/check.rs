//! Checks across keys: roles, numbers of hosts, and hosts that are the same machine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::error::{MAX_MISTAKES, Problems};
use super::reader::At;
use super::schema::{Raw, RawHost};
use super::types::{Host, Inventory};
use crate::spec::{HostName, Role};

/// Limit of hosts in one inventory.
const MAX_HOSTS: usize = 5000;
const TOO_MANY_HOSTS_HINT: &str = "divide the hosts into several clusters";

type Span = Option<std::ops::Range<usize>>;

/// Builds the inventory; everything that does not fit becomes a problem. `file`: the name with
/// which places start.
pub(super) fn check_inventory(mut raw: Raw, file: &str, problems: &mut Problems<'_>) -> Inventory {
    let hosts: Vec<(Host, Span)> = listed(&raw, problems)
        .into_iter()
        .filter_map(|(name, (roles, span))| {
            Some((host(name, roles, span.clone(), &mut raw, problems)?, span))
        })
        .collect();
    one_each(&hosts, problems);
    jump(&raw, &hosts, problems);
    left_over(&raw, &hosts, problems);
    if let (Some(vip), span) = (raw.network.vip, raw.vip_span.clone()) {
        if !hosts
            .iter()
            .any(|(host, _)| host.roles.contains(&Role::Edge))
        {
            problems.add(
                span.clone(),
                "`vip` needs at least one edge, which holds it",
                Some("add a host to edges, or remove vip".into()),
            );
        }
        vip_fits(vip, span, &hosts, problems);
    }
    Inventory {
        cluster: raw.cluster,
        hosts: hosts.into_iter().map(|(host, _)| host).collect(),
        network: raw.network,
        ssh: raw.ssh,
        docker: raw.docker,
        registry: raw.registry,
        nfs: raw.nfs,
        openvpn: raw.openvpn,
        images: raw.images,
        recipe_arguments: raw.recipe_arguments,
        folders: raw.folders,
        spread_images: raw.spread_images,
        consul: raw.consul,
        switches: raw.switches,
        params: raw.params,
        places: raw
            .places
            .into_iter()
            .map(|(key, (line, column))| (key, format!("{file}:{line}:{column}")))
            .collect(),
        timeouts: raw.timeouts,
    }
}

/// The hosts of all lists in the order of their first mention.
fn listed(raw: &Raw, problems: &mut Problems<'_>) -> Vec<(HostName, (BTreeSet<Role>, Span))> {
    let entries = raw.masters.len() + raw.slaves.len() + raw.edges.len();
    if entries > MAX_HOSTS * Role::ALL.len() {
        problems.add(
            raw.masters_span.clone().or(Some(0..0)),
            format!("too many hosts: {entries} (limit {MAX_HOSTS})"),
            Some(TOO_MANY_HOSTS_HINT.into()),
        );
        return Vec::new();
    }
    let mut out: Vec<(HostName, (BTreeSet<Role>, Span))> = Vec::new();
    let mut index: BTreeMap<HostName, usize> = BTreeMap::new();
    for (role, list) in [
        (Role::Master, &raw.masters),
        (Role::Slave, &raw.slaves),
        (Role::Edge, &raw.edges),
    ] {
        for at in list {
            let Some(name) = name(at, problems) else {
                continue;
            };
            if let Some((_, (roles, _))) = index.get(&name).and_then(|at: &usize| out.get_mut(*at))
            {
                if !roles.insert(role) {
                    let help = Some(format!("remove one of the two from {role}s"));
                    problems.add(
                        at.span.clone(),
                        format!("{name} is listed twice as {role}"),
                        help,
                    );
                }
                continue;
            }
            index.insert(name.clone(), out.len());
            out.push((name, (BTreeSet::from([role]), at.span.clone())));
        }
    }
    if out.len() > MAX_HOSTS {
        problems.add(
            raw.masters_span.clone().or(Some(0..0)),
            format!("too many hosts: {} (limit {MAX_HOSTS})", out.len()),
            Some(TOO_MANY_HOSTS_HINT.into()),
        );
        out.clear();
    }
    out
}

fn host(
    name: HostName,
    roles: BTreeSet<Role>,
    span: Span,
    raw: &mut Raw,
    problems: &mut Problems<'_>,
) -> Option<Host> {
    let table = raw.hosts.remove(name.as_str()).unwrap_or_default();
    let address = address(&name, &table, span, problems)?;
    let listen_ip = table
        .listen_ip
        .as_ref()
        .or(raw.listen_ip.as_ref())
        .map(|at| at.value);
    if let Some(listen) = listen_ip
        && listen != address
        && !listen.is_unspecified()
    {
        // That of [network] is reported once, not for every host.
        let at = table
            .listen_ip
            .as_ref()
            .map(|at| at.span.clone())
            .or_else(|| raw.listen_ip.take().map(|at| at.span))
            .flatten();
        let help = format!(
            "remove listen_ip to listen on {address}, or write listen_ip = \"0.0.0.0\" to listen on every address"
        );
        problems.add(
            at,
            format!("{name} has the address {address} but would listen on {listen} only"),
            Some(help),
        );
    }
    if table.persistent && !roles.contains(&Role::Slave) {
        let help = format!("add {name} to slaves, or remove persistent");
        problems.add(
            table.span.clone(),
            format!("{name} is persistent but not a slave: only slaves store data of applications"),
            Some(help),
        );
    }
    let nic = table.nic.or_else(|| raw.nic.clone());
    Some(Host {
        listen_ip: listen_ip.unwrap_or(address),
        nic_is_used: nic.is_some() || raw.network.vip.is_some() || raw.openvpn.is_some(),
        nic: nic.unwrap_or_else(|| "eth0".to_owned()),
        name,
        address,
        roles,
        ssh: table.ssh,
        port: table.port,
        user: table.user,
        persistent: table.persistent,
    })
}

/// Rejects two hosts with one address, or with names that differ only in case: Consul takes `A` and
/// `a` for the same node.
fn one_each(hosts: &[(Host, Span)], problems: &mut Problems<'_>) {
    let mut addresses: BTreeMap<IpAddr, &HostName> = BTreeMap::new();
    let mut names: BTreeMap<String, &HostName> = BTreeMap::new();
    for (host, span) in hosts {
        let plain = host
            .name
            .as_str()
            .trim_end_matches('.')
            .to_lowercase()
            .replace(['.', ':'], "-");
        if let Some(other) = addresses.insert(host.address, &host.name) {
            problems.add(
                span.clone(),
                format!("{} and {other} have the same address: {}", host.name, host.address),
                Some(
                    "one machine is one host: to give it several roles, list the same name in several lists"
                        .into(),
                ),
            );
        } else if let Some(other) = names.insert(plain, &host.name) {
            problems.add(
                span.clone(),
                format!("{} and {other} are the same name in Consul, which ignores letter case, '.' and '-'", host.name),
                Some("rename one of them".into()),
            );
        }
    }
}

/// Rejects a jump host that is reached through itself.
fn jump(raw: &Raw, hosts: &[(Host, Span)], problems: &mut Problems<'_>) {
    for hop in raw.ssh.proxy_jump.iter().flat_map(|jump| jump.split(',')) {
        let hop = hop.rsplit_once('@').map_or(hop, |(_, host)| host);
        let same = |host: &&(Host, Span)| {
            let host = &host.0;
            let dialled = host.ssh.clone().unwrap_or_else(|| host.address.to_string());
            hop == dialled
                || hop
                    .strip_prefix(&dialled)
                    .is_some_and(|rest| rest.starts_with(':'))
        };
        if let Some((host, _)) = hosts.iter().find(same) {
            let help = "use a jump host outside the cluster, or set it for single hosts in your ssh_config".to_owned();
            problems.add(
                raw.jump_span.clone(),
                format!("proxy_jump of {} leads through the host itself", host.name),
                Some(help),
            );
        }
    }
}

/// Rejects tables of hosts without a role.
fn left_over(raw: &Raw, hosts: &[(Host, Span)], problems: &mut Problems<'_>) {
    for (name, table) in raw.hosts.iter().take(MAX_MISTAKES) {
        let near = hosts
            .iter()
            .map(|(host, _)| (strsim::jaro_winkler(name, host.name.as_str()), &host.name))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let help = match near.filter(|near| near.0 > 0.8) {
            Some((_, near)) => format!("did you mean [hosts.{near}]?"),
            None => format!("add {name} to masters, slaves or edges"),
        };
        problems.add(
            table.span.clone(),
            format!("[hosts.{name}] describes a host that is not in masters, slaves or edges"),
            Some(help),
        );
    }
}

/// Rejects a virtual IP address that belongs to a host.
fn vip_fits(vip: IpAddr, span: Span, hosts: &[(Host, Span)], problems: &mut Problems<'_>) {
    if let Some(why) = unusable(vip) {
        problems.add(
            span,
            format!("`vip` cannot be {vip}: it {why}"),
            Some("write a free address in the network of the edges".into()),
        );
    } else if let Some((host, _)) = hosts.iter().find(|(host, _)| host.address == vip) {
        problems.add(
            span,
            format!("`vip` is the address of {}", host.name),
            Some("write a free address in the network of the edges".into()),
        );
    }
}

/// Whether so many masters can be a cluster's.
pub(super) fn is_ensemble(masters: usize) -> bool {
    matches!(masters, 3 | 5 | 7)
}

/// Rejects an even number of masters: it tolerates no more failures than the odd number below it,
/// and a Mesos log with an even number never initialises.
pub(super) fn check_masters(raw: &Raw, problems: &mut Problems<'_>) {
    let n = raw.masters.len();
    let span = raw.masters_span.clone();
    if span.is_none() {
        return;
    }
    let tolerates = |n: usize| n.saturating_sub(1) / 2;
    let (what, help) = match n {
        n if is_ensemble(n) => return,
        0 => (
            "`masters` is empty".to_owned(),
            "list three, five or seven masters".to_owned(),
        ),
        1 | 2 => (
            format!(
                "{n} master{} tolerate{} no failure: a majority of {n} is {}",
                if n == 1 { "" } else { "s" },
                if n == 1 { "s" } else { "" },
                n / 2 + 1
            ),
            "list three masters, which tolerate one failure".to_owned(),
        ),
        n if n > 7 && n % 2 == 1 => (
            format!("{n} masters make every write slower without need"),
            "list at most seven masters, which tolerate three failures".to_owned(),
        ),
        n => (
            format!(
                "{n} masters tolerate {} failure{}, the same as {}: a majority of {n} is {}",
                tolerates(n),
                if tolerates(n) == 1 { "" } else { "s" },
                n - 1,
                n / 2 + 1
            ),
            if n > 7 {
                "list at most seven masters: more make every write slower".to_owned()
            } else {
                format!("list {} or {}", n - 1, n + 1)
            },
        ),
    };
    problems.add(span, what, Some(help));
}

fn name(at: &At<String>, problems: &mut Problems<'_>) -> Option<HostName> {
    match HostName::new(at.value.as_str()) {
        Ok(name) => Some(name),
        Err(error) => {
            let help = match at.value.contains(['@', '/']) {
                true => "user and port belong in [ssh] or [hosts.NAME]",
                false => "write a short name such as \"m1\", or the address",
            };
            problems.add(at.span.clone(), error.to_string(), Some(help.to_owned()));
            None
        }
    }
}

fn address(
    name: &HostName,
    table: &RawHost,
    span: Span,
    problems: &mut Problems<'_>,
) -> Option<IpAddr> {
    let own = name.as_str().parse::<IpAddr>().map(plain);
    let (address, span) = match (&table.address, own) {
        (Some(at), Ok(own)) if plain(at.value) != own => {
            let help = format!("remove the address, or list the host by a name instead of {name}");
            problems.add(
                at.span.clone(),
                format!(
                    "{name} is an address, but its table sets another one: {}",
                    at.value
                ),
                Some(help),
            );
            return None;
        }
        (Some(at), _) => (plain(at.value), at.span.clone()),
        (None, Ok(own)) => (own, span),
        (None, Err(_)) => {
            let digits = name
                .as_str()
                .chars()
                .all(|c| c.is_ascii_digit() || c == '.');
            let help = if digits {
                "write an IPv4 address: four numbers from 0 to 255, without leading zeros"
                    .to_owned()
            } else {
                format!("add a table: [hosts.{name}] with address = \"10.0.0.11\"")
            };
            problems.add(span, format!("{name} has no address"), Some(help));
            return None;
        }
    };
    if let Some(why) = unusable(address) {
        let help = "write the address at which the other hosts reach it".to_owned();
        problems.add(
            span,
            format!("address of {name} cannot be {address}: it {why}"),
            Some(help),
        );
        return None;
    }
    if address.is_ipv6() {
        let help = format!(
            "write its IPv4 address; [hosts.NAME] ssh = \"{address}\" still connects over IPv6"
        );
        problems.add(
            span,
            format!(
                "address of {name} must be IPv4, because Mesos listens on IPv4 only, got {address}"
            ),
            Some(help),
        );
        return None;
    }
    Some(address)
}

/// An IPv4 address written as an IPv6 address is that IPv4 address.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

fn unusable(address: IpAddr) -> Option<&'static str> {
    match address {
        a if a.is_unspecified() => Some("means every address"),
        a if a.is_loopback() => Some("is the loopback address, which no other host can reach"),
        a if a.is_multicast() => Some("is a multicast address"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("is the broadcast address"),
        IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.octets()[0] >= 240 => Some("is reserved"),
        _ => None,
    }
}
