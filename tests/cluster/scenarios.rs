//! The scenarios, in their order.

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
mod options;
mod proof;
mod recipes;
mod repair;
mod secrets;
mod trouble;

use crate::lab::Lab;

pub type Scenario = (&'static str, fn(&Lab));

/// On machines of their own, one after the other, beside the scenarios of [`BESIDE_SPAN`]. Those
/// before need the processor for themselves; a later one stops the registry, and counts bytes.
pub const BESIDE: [Scenario; 8] = [
    ("first_day_with_the_shipped_defaults", day::first),
    ("wrong_first_image_is_corrected", first::wrong_image),
    (
        "early_end_finishes_the_replacement",
        early::in_a_replacement,
    ),
    ("lost_lock_ends_the_work_on_its_host", early::without_lock),
    ("diverged_member_is_repaired", repair::diverged),
    ("lost_data_are_explained", repair::wiped),
    ("images_are_built_by_recipes", recipes::built_once),
    ("engines_that_cannot_be_used_are_refused", engines::refused),
];
pub const BESIDE_SPAN: (&str, &str) = (
    "frozen_edge_is_reported",
    "optional_components_are_added_and_removed",
);

pub const ALL: &[Scenario] = &[
    ("untrusted_host_gets_no_login", first::untrusted),
    ("plan_leaves_fresh_machines_alone", first::plan_fresh),
    ("cases_on_fresh_machines", cases::fresh),
    ("up_resumes_after_a_kill", first::killed_then_up),
    (
        "quorum_and_leaders_agree_with_other_tools",
        proof::other_means,
    ),
    ("second_up_changes_nothing", proof::second_up),
    ("idle_run_needs_few_round_trips", proof::cost),
    ("status_names_leaders_and_versions", proof::status),
    ("cases_on_a_running_cluster", cases::running),
    ("app_answers_through_the_edge", proof::app),
    ("canaries_share_traffic_by_weight", apps::canaries),
    ("scaling_down_loses_no_request", apps::smooth),
    ("failing_app_reports_the_reason", apps::failing),
    ("jobs_run", apps::jobs),
    ("service_tags_configure_the_balancer", edges::tags),
    ("thousand_services", edges::thousand),
    ("reloads_lose_no_request", edges::reloads),
    ("frozen_edge_is_reported", edges::frozen),
    ("other_haproxy_release", edges::other_version),
    ("cluster_is_reachable_from_outside", proof::tunnel),
    ("sshuttle_reaches_the_cluster", proof::sshuttle),
    ("secrets_do_not_leak", secrets::nowhere),
    ("running_containers_need_a_clear_yes", change::consent),
    ("changed_parameter_rolls_one_component", change::parameter),
    ("saved_plan_runs_or_is_refused", change::kept_plan),
    ("half_replaced_server_is_finished", change::half_replaced),
    ("lost_connection_is_reopened", change::cut_off),
    ("refused_pull_fails_before_changes", change::registry),
    ("docker_compose_knows_the_containers", change::compose),
    (
        "add_slave_contacts_masters_and_the_new_host",
        grow::add_slave,
    ),
    ("add_edge", grow::add_edge),
    ("hosts_with_several_roles", grow::several_roles),
    (
        "optional_components_are_added_and_removed",
        options::on_and_off,
    ),
    ("bundle_brings_images_to_both_stores", engines::other_store),
    ("newest_engine_builds_and_loads", engines::newest),
    ("lost_image_comes_from_another_host", engines::lost_image),
    ("registry_serves_applications", options::registry),
    ("missing_storage_is_reported", options::storage),
    ("machine_with_its_own_kernel", kernel::own_kernel),
    ("vpn_client_reaches_the_cluster", options::vpn),
    ("strict_sshd_limits_are_respected", trouble::small_limits),
    ("crash_loop_is_unhealthy", trouble::restarts),
    ("dead_slave_does_not_stop_others", trouble::dead_slave),
    ("second_member_is_not_stopped", trouble::dead_member),
    ("two_dead_masters_block_changes", trouble::two_dead_masters),
];
