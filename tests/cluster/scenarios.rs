//! The scenarios: two lanes beside each other, each with a base cluster on machines of its own.
//!
//! One more is a function and its line in a lane. It begins from the base cluster, needs no other
//! scenario, and leaves the base as it was: the harness proves that, and a scenario after which it
//! differs has failed.

mod apps;
mod cases;
mod change;
mod day;
mod early;
mod edges;
mod engines;
mod first;
mod grow;
mod kernel;
mod locks;
mod options;
mod proof;
mod recipes;
mod repair;
mod secrets;
mod trouble;

use crate::lab::Lab;

pub struct Scenario {
    pub name: &'static str,
    pub run: fn(&Lab),
    pub begin: Begin,
}

/// Where a scenario begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// On machines without anything of toots'. These come first, in the order of their lane, and leave
    /// the cluster that they like.
    Fresh,
    /// From the base cluster.
    Base,
    /// From the base cluster, while no other lane runs: it stops the registry, or measures.
    BaseAlone,
}

pub struct Lane {
    /// The cluster of its scenarios.
    pub lab: fn(&Lab) -> Lab,
    pub scenarios: &'static [Scenario],
}

const fn fresh(name: &'static str, run: fn(&Lab)) -> Scenario {
    let begin = Begin::Fresh;
    Scenario { name, run, begin }
}

const fn base(name: &'static str, run: fn(&Lab)) -> Scenario {
    let begin = Begin::Base;
    Scenario { name, run, begin }
}

const fn alone(name: &'static str, run: fn(&Lab)) -> Scenario {
    let begin = Begin::BaseAlone;
    Scenario { name, run, begin }
}

pub static LANES: [Lane; 2] = [
    Lane {
        lab: Lab::clone,
        scenarios: &[
            fresh("untrusted_host_gets_no_login", first::untrusted),
            fresh("plan_leaves_fresh_machines_alone", first::plan_fresh),
            fresh("cases_on_fresh_machines", cases::fresh),
            fresh("up_resumes_after_a_kill", first::killed_then_up),
            base(
                "quorum_and_leaders_agree_with_other_tools",
                proof::other_means,
            ),
            base("second_up_changes_nothing", proof::second_up),
            base("status_names_leaders_and_versions", proof::status),
            base("cases_on_a_running_cluster", cases::running),
            base("app_answers_through_the_edge", proof::app),
            base("canaries_share_traffic_by_weight", apps::canaries),
            base("scaling_down_loses_no_request", apps::smooth),
            base("failing_app_reports_the_reason", apps::failing),
            base("jobs_run", apps::jobs),
            base("service_tags_configure_the_balancer", edges::tags),
            base("thousand_services", edges::thousand),
            base("reloads_lose_no_request", edges::reloads),
            base("frozen_edge_is_reported", edges::frozen),
            base("other_haproxy_release", edges::other_version),
            base("cluster_is_reachable_from_outside", proof::tunnel),
            base("sshuttle_reaches_the_cluster", proof::sshuttle),
            base("secrets_do_not_leak", secrets::nowhere),
            base("refused_pull_fails_before_changes", change::registry),
            base("docker_compose_knows_the_containers", change::compose),
            base(
                "add_slave_contacts_masters_and_the_new_host",
                grow::add_slave,
            ),
            base("hosts_with_several_roles", grow::several_roles),
            base(
                "optional_components_are_added_and_removed",
                options::on_and_off,
            ),
            base("registry_serves_applications", options::registry),
            base("missing_storage_is_reported", options::storage),
            base("machine_with_its_own_kernel", kernel::own_kernel),
            base("vpn_client_reaches_the_cluster", options::vpn),
            base("crash_loop_is_unhealthy", trouble::restarts),
            alone("idle_run_needs_few_round_trips", proof::cost),
            alone("bundle_brings_images_to_both_stores", engines::other_store),
            alone("newest_engine_builds_and_loads", engines::newest),
            alone("lost_image_comes_from_another_host", engines::lost_image),
        ],
    },
    Lane {
        lab: day::three_masters,
        scenarios: &[
            fresh("first_day_with_the_shipped_defaults", day::first),
            base("running_containers_need_a_clear_yes", change::consent),
            base("changed_parameter_rolls_one_component", change::parameter),
            base("strict_sshd_limits_are_respected", trouble::small_limits),
            base(
                "early_end_finishes_the_replacement",
                early::in_a_replacement,
            ),
            base("lost_lock_ends_the_work_on_its_host", early::without_lock),
            base("racing_operators_exclude_each_other", locks::races),
            base("diverged_member_is_repaired", repair::diverged),
            base("lost_data_are_explained", repair::wiped),
            base("images_are_built_by_recipes", recipes::built_once),
            base("engines_that_cannot_be_used_are_refused", engines::refused),
        ],
    },
];
