//! Every recording of ZooKeeper, by its name: replayed, or listed with the reason.

use super::Held::{self, Listed, Replayed};
use super::{zookeeper_data as data, zookeeper_lists as lists, zookeeper_states as states};

const READ_ONLY: &str = "toots does not render readonlymode.enabled";
const DISK: &str = "a machine's files are never full or read-only in the world";
const RECONFIG: &str = "toots renders reconfigEnabled=false";

const RECORDINGS: [(&str, Held); 51] = [
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
    ("09b-old-leader-reads-and-writes-in-partition", Replayed),
    ("10-follower-peer-ports-blocked", Replayed),
    ("10c-stale-reads-of-cut-follower", Replayed),
    ("10d-stale-read-window", Replayed),
    ("11-rolling-leader-first", Replayed),
    ("11-rolling-leader-last", Replayed),
    ("11-rolling-pause-none", Replayed),
    ("12-full-restart", Replayed),
    ("13-minority-readonlymode", Listed(READ_ONLY)),
    ("13b-readonlymode", Listed(READ_ONLY)),
    ("20-wiped-one-rejoins", Replayed),
    ("20b-wiped-plus-one-with-older-data", Replayed),
    ("21-wiped-two-start-first", Replayed),
    ("21b-wiped-two-epoch-catches-up", Replayed),
    ("21c-silent-divergence", Replayed),
    ("22-wiped-two-while-third-waits", Replayed),
    (
        "23-wiped-two-third-slow",
        Listed(
            "why the third one looped is not known; the world's one cuts its log back and follows",
        ),
    ),
    ("24-db-autocreate-false", Replayed),
    ("24b-db-autocreate-false-with-initialize", Replayed),
    ("24c-db-autocreate-false-one-wiped", Replayed),
    ("25-copied-and-older-data", Replayed),
    ("26-foreign-ensemble-data", Replayed),
    ("26b-foreign-lower-epoch", Replayed),
    ("27-duplicate-myid", Replayed),
    ("27b-duplicate-myid-swap-into-running", Replayed),
    ("28-server-lists-differ", Replayed),
    ("28b-server-lists-disjoint", Replayed),
    ("29-wrong-config-exit-codes", Replayed),
    ("29b-wrong-config-exit-codes", Replayed),
    ("30-datadir-full-and-readonly", Listed(DISK)),
    ("31-datadir-readonly", Listed(DISK)),
    ("31b-datadir-readonly", Listed(DISK)),
    ("32-follower-slow-sync", Replayed),
    ("33-dynamic-reconfiguration", Listed(RECONFIG)),
    ("33b-reconfig-wrong-orders", Listed(RECONFIG)),
    ("34-default-whitelist-and-debian-admin", Replayed),
    ("35-static-3-to-5-and-back", Replayed),
    ("36-replace-member-new-address", Replayed),
];

/// Drives the world into the state of one recording and compares.
async fn replay(name: &'static str) {
    match name {
        "01-startup-1of3" | "02-startup-2of3" | "03-startup-3of3" => states::start_up().await,
        "04-steady" => states::steady().await,
        "05-follower-killed" => states::follower_killed().await,
        "06-leader-killed-1" | "06-leader-killed-2" => states::leader_gone(false).await,
        "06b-leader-SIGTERM" => states::leader_gone(true).await,
        "07-leader-SIGSTOP-30s" => states::leader_frozen().await,
        "07b-follower-SIGSTOP-20s" => states::follower_frozen().await,
        "08-minority-follower-alone" => states::minority(false).await,
        "08-minority-leader-alone" => states::minority(true).await,
        "09-partition-leader-vs-2" | "09b-old-leader-reads-and-writes-in-partition" => {
            states::leader_cut_off().await;
        }
        "10-follower-peer-ports-blocked" => states::follower_cut_off().await,
        "10c-stale-reads-of-cut-follower" | "10d-stale-read-window" => states::stale_reads().await,
        "11-rolling-leader-first" => states::rolling(states::Order::LeaderFirst).await,
        "11-rolling-leader-last" => states::rolling(states::Order::LeaderLast).await,
        "11-rolling-pause-none" => states::rolling(states::Order::WithoutPause).await,
        "12-full-restart" => states::full_restart().await,
        "20-wiped-one-rejoins" => data::one_wiped().await,
        "20b-wiped-plus-one-with-older-data" => data::wiped_and_lagging().await,
        "21-wiped-two-start-first" | "21b-wiped-two-epoch-catches-up" | "21c-silent-divergence" => {
            data::two_wiped_first().await
        }
        "22-wiped-two-while-third-waits" => data::two_wiped_beside_one().await,
        "24-db-autocreate-false" => data::no_initialize().await,
        "24b-db-autocreate-false-with-initialize" => data::initialize().await,
        "24c-db-autocreate-false-one-wiped" => data::one_wiped_without_initialize().await,
        "25-copied-and-older-data" => data::older_copies().await,
        "26-foreign-ensemble-data" => data::foreign(true).await,
        "26b-foreign-lower-epoch" => data::foreign(false).await,
        "27-duplicate-myid" | "27b-duplicate-myid-swap-into-running" => {
            lists::duplicate_number().await;
        }
        "28-server-lists-differ" => lists::lists_differ().await,
        "28b-server-lists-disjoint" => lists::lists_disjoint().await,
        "29-wrong-config-exit-codes" | "29b-wrong-config-exit-codes" => {
            lists::wrong_configurations().await;
        }
        "32-follower-slow-sync" => data::slow_sync().await,
        "34-default-whitelist-and-debian-admin" => lists::default_whitelist().await,
        "35-static-3-to-5-and-back" => data::three_to_five_and_back().await,
        "36-replace-member-new-address" => data::new_address().await,
        _ => panic!("{name} is not replayed"),
    }
}

#[tokio::test(start_paused = true)]
async fn zookeeper_behaves_as_recorded() {
    super::replay_recordings("zookeeper", &RECORDINGS, replay).await;
}
