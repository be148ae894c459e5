//! The recordings by name, and how each is held to.

use super::recorded::Replay;
use super::{agents, edge, frameworks, masters, others, recorded_registrator};
use super::{replays, replays_edge, replays_failures, replays_frameworks};

pub enum How {
    /// Brought about in the world; the replay counts what it compared.
    Replayed(fn() -> Replay),
    /// By a test of its own.
    Shown(fn()),
    Listed(&'static str),
}

use How::{Listed, Replayed, Shown};

macro_rules! replay {
    ($($path:ident)::+) => {
        Replayed(|| Box::pin($($path)::+()))
    };
}

const NOT_ASKED: &str = "toots asks for none of it, and it changes nothing that it asks for";
const NOT_SET: &str = "needs settings that toots does not make";
const FROZEN: &str = "a frozen process: the world's processes end, they do not stop and go on";
const APPLICATIONS: &str =
    "tasks, applications and jobs: no gate, probe or recipe of toots asks for them";
const RAW: &str = "the raw log of a run that another recording tells";
const SCRIPT: &str = "about files of the host, which the scripts of toots change, not a program";
const ENGINE: &str = "about the Engine, which is simulated elsewhere";
const KERNEL: &str = "about the kernel or the network below the programs";
const OPERATOR: &str = "day-two calls of an operator, which toots does not send yet";

pub const TABLE: &[(&str, How)] = &[
    // Mesos 1.11.
    ("mesos/m-single-leader", replay!(replays::single_leader)),
    ("mesos/m-3-leader", replay!(replays::leader)),
    ("mesos/m-3-nonleader", replay!(replays::standby)),
    ("mesos/m-no-leader", replay!(replays::no_leader)),
    (
        "mesos/m-leader-registry-not-recovered",
        replay!(replays::one_initialised_one_wiped),
    ),
    ("mesos/m-3-leader-with-agent", replay!(replays::with_agent)),
    (
        "mesos/m-3-leader-with-task",
        Shown(frameworks::each_has_a_single_leader_that_everybody_names_and_mesos_lists),
    ),
    ("mesos/m-auth-noauth", Listed(NOT_SET)),
    ("mesos/a-registered", replay!(replays::agent_registered)),
    ("mesos/a-with-task", Listed(APPLICATIONS)),
    (
        "mesos/a-no-master",
        replay!(replays::agent_without_a_master),
    ),
    ("mesos/behaviour/acls-not-permissive", Listed(NOT_SET)),
    ("mesos/behaviour/agent-api-calls", Listed(NOT_ASKED)),
    ("mesos/behaviour/agent-drain-grace", Listed(OPERATOR)),
    ("mesos/behaviour/agent-drain-with-task", Listed(OPERATOR)),
    ("mesos/behaviour/agent-gone-usr1", Listed(OPERATOR)),
    (
        "mesos/behaviour/agent-recovering-answers",
        Listed(APPLICATIONS),
    ),
    (
        "mesos/behaviour/agent-restart-changes",
        Shown(agents::an_agent_with_other_attributes_does_not_start),
    ),
    (
        "mesos/behaviour/agent-restart-with-task",
        Shown(agents::a_restarted_agent_is_the_same),
    ),
    (
        "mesos/behaviour/agent-wrong-flags",
        Listed("an agent reads its flags as a master does, which is replayed"),
    ),
    (
        "mesos/behaviour/http-details",
        replay!(replays::http_details),
    ),
    (
        "mesos/behaviour/maintenance-weights-quota-flow",
        Listed(OPERATOR),
    ),
    ("mesos/behaviour/master-env-and-file-flags", Listed(NOT_SET)),
    ("mesos/behaviour/master-work-dir-in-use", Listed(NOT_SET)),
    (
        "mesos/behaviour/master-wrong-flags-aborts",
        Shown(masters::wrong_starts_end_with_the_recorded_codes),
    ),
    (
        "mesos/behaviour/master-wrong-flags",
        Shown(masters::wrong_starts_end_with_the_recorded_codes),
    ),
    (
        "mesos/behaviour/poll-1-initialised-1-wiped",
        replay!(replays::one_initialised_one_wiped),
    ),
    (
        "mesos/behaviour/poll-2-masters-quorum2",
        replay!(replays::two_masters),
    ),
    (
        "mesos/behaviour/poll-4-masters-quorum3",
        replay!(replays::four_then_five),
    ),
    (
        "mesos/behaviour/poll-4-then-5-masters-quorum3",
        replay!(replays::four_then_five),
    ),
    (
        "mesos/behaviour/poll-agent-registers-without-log-quorum",
        replay!(replays_failures::agent_registers_alone),
    ),
    (
        "mesos/behaviour/poll-agent-sigkill-clean",
        Shown(agents::an_agent_that_stays_away_is_unreachable_and_comes_back_as_itself),
    ),
    (
        "mesos/behaviour/poll-agent-sigkill",
        Shown(agents::an_agent_that_stays_away_is_unreachable_and_comes_back_as_itself),
    ),
    (
        "mesos/behaviour/poll-failover-agents-m1",
        Shown(agents::a_new_master_waits_for_the_agents_that_the_former_had),
    ),
    (
        "mesos/behaviour/poll-failover-agents-m2",
        Shown(agents::a_new_master_waits_for_the_agents_that_the_former_had),
    ),
    (
        "mesos/behaviour/poll-failover-with-agents",
        Shown(agents::a_new_master_waits_for_the_agents_that_the_former_had),
    ),
    (
        "mesos/behaviour/poll-fresh-3-at-once",
        replay!(replays::fresh_three_at_once),
    ),
    (
        "mesos/behaviour/poll-leader-sigkill",
        replay!(replays_failures::leader_sigkill),
    ),
    ("mesos/behaviour/poll-leader-sigstop", Listed(FROZEN)),
    (
        "mesos/behaviour/poll-leader-sigterm",
        replay!(replays_failures::leader_sigterm),
    ),
    (
        "mesos/behaviour/poll-leader-znode-deleted",
        replay!(replays_failures::leader_node_deleted),
    ),
    (
        "mesos/behaviour/poll-one-of-three",
        replay!(replays_failures::alone),
    ),
    (
        "mesos/behaviour/poll-restart-2of3-initialised",
        replay!(replays::restart_two_of_three),
    ),
    (
        "mesos/behaviour/poll-start-3-masters",
        replay!(replays::one_after_the_other),
    ),
    (
        "mesos/behaviour/poll-wiped-master-rejoins",
        replay!(replays::wiped_rejoins),
    ),
    (
        "mesos/behaviour/poll-write-without-log-quorum",
        replay!(replays_failures::alone),
    ),
    (
        "mesos/behaviour/poll-zk-gone-agent",
        replay!(replays::zookeeper_gone_for_an_agent),
    ),
    (
        "mesos/behaviour/poll-zk-gone",
        replay!(replays_failures::zookeeper_gone),
    ),
    (
        "mesos/behaviour/poll-zk-quorum-lost",
        replay!(replays_failures::zookeeper_quorum_lost),
    ),
    (
        "mesos/behaviour/poll-zk-rolling-restart",
        replay!(replays_failures::zookeeper_rolling_restart),
    ),
    ("mesos/behaviour/registry-after-gone", Listed(OPERATOR)),
    (
        "mesos/behaviour/scheduler-v1-session-drain",
        Listed(OPERATOR),
    ),
    ("mesos/behaviour/scheduler-v1-session", Listed(NOT_ASKED)),
    (
        "mesos/behaviour/zombie-leader-after-quorum-back",
        replay!(replays_failures::alone),
    ),
    (
        "mesos/behaviour/zookeeper-nodes-3-masters",
        replay!(replays::zookeeper_nodes),
    ),
    ("mesos/behaviour/zookeeper-nodes-with-auth", Listed(NOT_SET)),
    // ClusterD: the same answers.
    ("clusterd/m-3-leader", replay!(replays::leader)),
    ("clusterd/m-3-nonleader", replay!(replays::standby)),
    (
        "clusterd/m-3-leader-with-task",
        Shown(frameworks::each_has_a_single_leader_that_everybody_names_and_mesos_lists),
    ),
    (
        "clusterd/failover",
        replay!(replays_failures::leader_sigkill),
    ),
    (
        "clusterd/zookeeper-frozen",
        replay!(replays_failures::zookeeper_gone),
    ),
    (
        "clusterd/zookeeper-nodes-3-masters",
        replay!(replays::zookeeper_nodes),
    ),
    ("clusterd/executor-without-cni-flags", Listed(APPLICATIONS)),
    (
        "clusterd/a-cgroup1-registered",
        replay!(replays::agent_registered),
    ),
    ("clusterd/a-cgroup2-with-task", Listed(APPLICATIONS)),
    ("clusterd/a-engine29-with-tasks", Listed(APPLICATIONS)),
    ("clusterd/a-cgroup2-tasks-cfs", Listed(KERNEL)),
    ("clusterd/cgroup2-files", Listed(KERNEL)),
    ("clusterd/engine29", Listed(ENGINE)),
    ("clusterd/inspect-task", Listed(ENGINE)),
    ("clusterd/runs", Listed(KERNEL)),
    // Marathon 1.11.24.
    ("marathon/agent-lost", Listed(APPLICATIONS)),
    ("marathon/auth", Listed(NOT_SET)),
    ("marathon/docker-inspect-bridge", Listed(ENGINE)),
    ("marathon/docker-inspect-host", Listed(ENGINE)),
    (
        "marathon/failover",
        replay!(replays_frameworks::marathon_failover),
    ),
    (
        "marathon/flags",
        replay!(replays_frameworks::marathon_flags),
    ),
    (
        "marathon/leader-empty",
        replay!(replays_frameworks::marathon_leader),
    ),
    (
        "marathon/leader-mesos-master-killed",
        replay!(replays_frameworks::marathon_mesos_killed),
    ),
    (
        "marathon/leader-no-mesos-master",
        replay!(replays_frameworks::marathon_without_mesos),
    ),
    ("marathon/leader", Listed(APPLICATIONS)),
    (
        "marathon/no-leader",
        replay!(replays_frameworks::marathon_no_leader),
    ),
    (
        "marathon/standby",
        replay!(replays_frameworks::marathon_standby),
    ),
    (
        "marathon/startup",
        replay!(replays_frameworks::marathon_startup),
    ),
    ("marathon/task-env-mesos-cmd", Listed(NOT_ASKED)),
    (
        "marathon/zk-gone",
        replay!(replays_frameworks::marathon_zookeeper_gone),
    ),
    (
        "marathon/zookeeper-tree",
        replay!(replays_frameworks::marathon_nodes),
    ),
    // Chronos.
    ("chronos-3.0.2/docker-inspect-chronos-task", Listed(ENGINE)),
    (
        "chronos-3.0.2/failover",
        replay!(replays_frameworks::chronos_failover),
    ),
    (
        "chronos-3.0.2/flags",
        replay!(replays_frameworks::chronos_flags),
    ),
    (
        "chronos-3.0.2/leader-empty",
        replay!(replays_frameworks::chronos_leader),
    ),
    (
        "chronos-3.0.2/leader-no-mesos-master",
        replay!(replays_frameworks::chronos_without_mesos),
    ),
    ("chronos-3.0.2/leader", Listed(APPLICATIONS)),
    (
        "chronos-3.0.2/standby",
        replay!(replays_frameworks::chronos_standby),
    ),
    ("chronos-3.0.2/task-env", Listed(NOT_ASKED)),
    ("chronos-3.0.2/zookeeper-tree", Listed(NOT_ASKED)),
    ("chronos-2.5.1/docker-inspect-chronos-task", Listed(ENGINE)),
    (
        "chronos-2.5.1/leader-empty",
        replay!(replays_frameworks::chronos_second),
    ),
    (
        "chronos-2.5.1/leader",
        replay!(replays_frameworks::chronos_second),
    ),
    (
        "chronos-2.5.1/standby",
        Listed("toots installs 3.0.2, whose standby is replayed"),
    ),
    ("chronos-2.5.1/task-env", Listed(NOT_ASKED)),
    (
        "registrator/recorded",
        Shown(recorded_registrator::containers_are_registered_as_recorded),
    ),
    // The edge.
    (
        "edge/consul-accepts-names",
        replay!(replays_edge::hostile_names),
    ),
    (
        "edge/consul-limit-refused",
        Listed("a limit of Consul's, which toots raises"),
    ),
    ("edge/ct-consul-down-default-retry", Listed(NOT_SET)),
    (
        "edge/ct-consul-down-once",
        replay!(replays_edge::consul_away_at_the_start),
    ),
    ("edge/ct-errors-raw", Listed(RAW)),
    ("edge/ct-errors", replay!(replays_edge::broken_template)),
    (
        "edge/ct-hostile-names",
        replay!(replays_edge::hostile_names),
    ),
    (
        "edge/ct-maint-perms",
        Listed("maintenance and file modes: the catalogue's trait has neither"),
    ),
    (
        "edge/ct-scale",
        Listed("how long it takes on a real machine"),
    ),
    ("edge/ct-servers-gone-3-attempts", Listed(NOT_SET)),
    ("edge/ct-servers-gone-default-retry", Listed(NOT_SET)),
    (
        "edge/ct-servers-gone-renders",
        replay!(replays_edge::servers_gone),
    ),
    (
        "edge/ct-servers-gone-retry-forever",
        replay!(replays_edge::servers_gone),
    ),
    ("edge/ct-signals", replay!(replays_edge::signals)),
    ("edge/haproxy-bind-raw", Listed(RAW)),
    ("edge/haproxy-c-accepts", replay!(replays_edge::checks)),
    ("edge/haproxy-maps-bind", replay!(replays_edge::maps)),
    ("edge/haproxy-master-raw", Listed(RAW)),
    (
        "edge/haproxy-master",
        Shown(edge::an_edge_goes_on_with_what_it_has_when_consul_or_a_configuration_fails),
    ),
    (
        "edge/haproxy-more",
        Listed("the runtime interface, which toots does not use"),
    ),
    (
        "edge/haproxy-reload-load",
        Listed("how many requests a real machine loses"),
    ),
    ("edge/haproxy-vv", Listed(NOT_ASKED)),
    // The other programs.
    ("options/compose1-api-created-version", Listed(ENGINE)),
    ("options/compose1-api-created", Listed(ENGINE)),
    ("options/compose1-hash-inputs", Listed(ENGINE)),
    ("options/compose1-own", Listed(ENGINE)),
    ("options/compose2-api-created", Listed(ENGINE)),
    ("options/compose2-own", Listed(ENGINE)),
    ("options/dns-resolved", Listed(SCRIPT)),
    (
        "options/dnsmasq-answers",
        Listed("answers to names: toots asks only whether the port is open"),
    ),
    (
        "options/dnsmasq-failures",
        Listed("answers to names: toots asks only whether the port is open"),
    ),
    (
        "options/dnsmasq-variants",
        Shown(others::they_do_not_start_from_a_broken_configuration),
    ),
    ("options/keepalived-arp-strict", Listed(KERNEL)),
    ("options/keepalived-arp", Listed(KERNEL)),
    ("options/keepalived-caps", Listed(KERNEL)),
    (
        "options/keepalived-failover",
        Shown(edge::a_single_edge_holds_the_address_and_another_takes_it_over),
    ),
    (
        "options/keepalived-failover2",
        replay!(replays_edge::keepalived_killed),
    ),
    ("options/keepalived-fast", Listed(NOT_SET)),
    (
        "options/keepalived-stale-pid",
        Listed("toots gives it a fresh /run with each start"),
    ),
    (
        "options/keepalived-traps",
        replay!(replays_edge::keepalived_passwords),
    ),
    ("options/nfs", Listed(SCRIPT)),
    (
        "options/openvpn",
        Shown(others::they_start_from_what_toots_renders_and_answer),
    ),
    (
        "options/registry-errors",
        Listed("pulls and pushes, which the Engine does"),
    ),
    ("options/registry-hosts", Listed(SCRIPT)),
    ("options/registry-mirror-gc", Listed(NOT_SET)),
    ("options/resolv-bindmount", Listed(SCRIPT)),
    ("options/resolv-restart", Listed(SCRIPT)),
    ("options/sshuttle", Listed(SCRIPT)),
    (
        "options/supervisord-mirror",
        Listed("what its page shows of containers: toots asks only for the login"),
    ),
    (
        "options/supervisord-wrappers",
        Listed("what its page shows of containers: toots asks only for the login"),
    ),
    ("options/vm-nfs", Listed(SCRIPT)),
];
