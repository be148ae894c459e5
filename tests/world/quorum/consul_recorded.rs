//! Every recording of Consul, by its name: replayed, or listed with the reason.

use super::Held::{self, Listed, Replayed};
use super::{consul_data as data, consul_members as members, consul_states as states};

const DISK: &str = "a machine's files are never full in the world";
const PORTS: &str = "the world's network cuts machines, not single ports";
const ORDER: &str =
    "depends on the order in which the gossip tells of two members that come at once";

const RECORDINGS: [(&str, Held); 41] = [
    ("01-startup-1of3", Replayed),
    ("02-startup-2of3", Replayed),
    ("03-startup-3of3", Replayed),
    ("04-steady", Replayed),
    ("05-follower-killed", Replayed),
    ("06-leader-killed-1", Replayed),
    ("06-leader-killed-2", Replayed),
    ("06b-leader-SIGTERM", Replayed),
    ("07-leader-SIGSTOP-30s", Replayed),
    ("07b-follower-SIGSTOP-20s", Replayed),
    ("08-minority-follower-alone", Replayed),
    ("08-minority-leader-alone", Replayed),
    ("09-partition-leader-vs-2", Replayed),
    ("10-follower-cut", Replayed),
    ("10b-follower-rpc-port-only-blocked", Listed(PORTS)),
    ("10c-follower-8300-blocked-with-writes", Listed(PORTS)),
    ("11-rolling-leader-first", Replayed),
    ("11-rolling-leader-last", Replayed),
    ("11-rolling-no-wait", Replayed),
    ("11b-leader-transfer", Replayed),
    ("11c-transfer-then-restart", Replayed),
    ("12-full-restart", Replayed),
    ("13-wiped-one-same-ip-name", Replayed),
    ("14-wiped-two-of-three", Listed(ORDER)),
    ("14b-wiped-two-how-long-stuck", Listed(ORDER)),
    ("15-peers-json-recovery-1-survivor", Replayed),
    ("16-wiped-plus-lagging-loses-acked-writes", Replayed),
    ("17-two-wiped-third-down-then-back", Replayed),
    ("20-raft-multiplier-1", Replayed),
    ("20-raft-multiplier-5", Replayed),
    ("21-graceful-leave", Replayed),
    ("22-autopilot-dead-server-cleanup", Replayed),
    ("22b-replace-dead-member", Replayed),
    ("23-force-leave-and-remove-peer", Replayed),
    ("24-grow-3-to-5-and-back", Replayed),
    (
        "25-identity-conflicts",
        Listed("two machines with one node id: toots neither makes nor repairs such a state"),
    ),
    ("26-foreign-key-dc-expect", Replayed),
    ("27-client-agent", Replayed),
    ("28-wrong-config-exit-codes", Replayed),
    ("28b-wrong-config-exit-codes", Replayed),
    ("29-data-dir-full-at-run-time", Listed(DISK)),
];

/// Drives the world into the state of one recording and compares.
async fn replay(name: &'static str) {
    match name {
        "01-startup-1of3" | "02-startup-2of3" | "03-startup-3of3" => states::start_up().await,
        "04-steady" => states::steady().await,
        "05-follower-killed" | "22-autopilot-dead-server-cleanup" => {
            states::follower_killed().await;
        }
        "06-leader-killed-1" | "06-leader-killed-2" => states::leader_gone(false).await,
        "06b-leader-SIGTERM" => states::leader_gone(true).await,
        "07-leader-SIGSTOP-30s" => states::leader_frozen().await,
        "07b-follower-SIGSTOP-20s" => states::follower_frozen().await,
        "08-minority-follower-alone" => states::follower_alone().await,
        "08-minority-leader-alone" => states::leader_alone().await,
        "09-partition-leader-vs-2" => states::leader_cut_off().await,
        "10-follower-cut" => states::follower_cut_off().await,
        "11-rolling-leader-first" => states::rolling(states::Order::LeaderFirst).await,
        "11-rolling-leader-last" => states::rolling(states::Order::LeaderLast).await,
        "11-rolling-no-wait" => states::rolling(states::Order::WithoutPause).await,
        "11b-leader-transfer" | "11c-transfer-then-restart" => states::transfer().await,
        "12-full-restart" => data::full_restart().await,
        "13-wiped-one-same-ip-name" => data::one_wiped().await,
        "15-peers-json-recovery-1-survivor" => data::recovery().await,
        "16-wiped-plus-lagging-loses-acked-writes" => data::wiped_and_lagging().await,
        "17-two-wiped-third-down-then-back" => data::two_wiped().await,
        "20-raft-multiplier-1" => states::election_times(1).await,
        "20-raft-multiplier-5" => states::election_times(5).await,
        "21-graceful-leave" => members::leave().await,
        "22b-replace-dead-member" => members::replace_dead().await,
        "23-force-leave-and-remove-peer" => members::remove_by_hand().await,
        "24-grow-3-to-5-and-back" => members::grow_and_shrink().await,
        "26-foreign-key-dc-expect" => members::strangers().await,
        "27-client-agent" => members::client().await,
        "28-wrong-config-exit-codes" | "28b-wrong-config-exit-codes" => {
            members::wrong_configurations().await;
        }
        _ => panic!("{name} is not replayed"),
    }
}

#[tokio::test(start_paused = true)]
async fn consul_behaves_as_recorded() {
    super::replay_recordings("consul", &RECORDINGS, replay).await;
}
