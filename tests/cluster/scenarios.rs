//! The scenarios, in their order.

mod apps;
mod change;
mod edges;
mod first;
mod grow;
mod kernel;
mod options;
mod proof;
mod secrets;
mod trouble;

use crate::lab::Lab;

type Scenario = (&'static str, fn(&Lab));

pub const ALL: &[Scenario] = &[
    (
        "a_host_that_is_not_trusted_is_not_spoken_to",
        first::untrusted,
    ),
    ("plan_of_fresh_machines_changes_nothing", first::plan_fresh),
    ("killed_in_the_middle_then_up", first::killed_then_up),
    ("quorum_and_leaders_by_other_means", proof::other_means),
    ("second_up_changes_nothing", proof::second_up),
    ("an_idle_run_costs_few_round_trips", proof::cost),
    ("status_names_leaders_and_versions", proof::status),
    ("an_app_is_reached_through_the_edge", proof::app),
    ("canaries_share_by_weight", apps::canaries),
    ("scaling_down_loses_no_request", apps::smooth),
    ("an_app_that_does_not_run_says_why", apps::failing),
    ("jobs_are_deployed_and_run", apps::jobs),
    ("tags_lead_through_the_balancer", edges::tags),
    ("a_thousand_services", edges::thousand),
    ("reloads_lose_no_request", edges::reloads),
    ("a_frozen_edge_is_named", edges::frozen),
    ("another_line_of_haproxy", edges::other_version),
    ("the_cluster_is_reached_from_outside", proof::tunnel),
    ("sshuttle_leads_into_the_cluster", proof::sshuttle),
    ("secrets_are_found_nowhere", secrets::nowhere),
    ("a_changed_parameter_rolls_one_component", change::parameter),
    ("a_kept_plan_is_done_or_refused", change::kept_plan),
    ("two_runs_at_once_exclude_each_other", change::locked),
    (
        "a_lost_connection_is_made_anew_and_looked_through",
        change::cut_off,
    ),
    (
        "what_the_registry_refuses_is_said_before_any_change",
        change::registry,
    ),
    ("docker_compose_knows_the_containers", change::compose),
    ("add_slave_contacts_it_and_the_masters", grow::add_slave),
    ("docker_is_installed_where_it_is_absent", grow::install),
    ("add_edge", grow::add_edge),
    ("machines_with_several_roles", grow::several_roles),
    ("optional_components_come_and_go", options::on_and_off),
    ("storage_that_is_not_there_is_said", options::storage),
    ("a_kernel_of_its_own", kernel::of_its_own),
    ("a_vpn_client_reaches_the_cluster", options::vpn),
    ("small_limits_of_sshd_are_enough", trouble::small_limits),
    ("ending_again_and_again_is_an_illness", trouble::restarts),
    ("a_dead_slave_does_not_stop_the_others", trouble::dead_slave),
    ("a_dead_member_is_not_made_two", trouble::dead_member),
    ("two_dead_masters_change_nothing", trouble::two_dead_masters),
];
