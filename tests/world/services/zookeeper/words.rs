//! The four-letter words.

use std::fmt::Write as _;

use super::ensemble::{Ensemble, State};
use super::member::{Key, Member, Stage};

const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";

/// Every word of the real server; others are no words at all.
const WORDS: [&str; 16] = [
    "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst",
    "srvr", "stat", "wchc", "wchs",
];

pub fn is_word(word: &[u8]) -> bool {
    WORDS.iter().any(|known| known.as_bytes() == word)
}

/// What a member answers to a word.
pub fn answer(ensemble: &Ensemble, key: Key, version: &str, word: &str) -> String {
    let state = ensemble.lock();
    let Some(member) = state.members.get(&key) else {
        return String::new();
    };
    let allowed = &member.config.whitelist;
    if !allowed.iter().any(|known| known == "*" || known == word) {
        return format!("{word} is not executed because it is not in the whitelist.\n");
    }
    match word {
        "ruok" => "imok".into(),
        "isro" if member.is_serving() => "rw".into(),
        "isro" => "null".into(),
        _ if !member.is_serving() => NOT_SERVING.into(),
        "srvr" | "stat" => server(member, version),
        "mntr" => monitor(&state, key, version),
        "conf" => configuration(member),
        "hash" => member
            .store
            .tree
            .digests
            .iter()
            .fold(String::new(), |text, (zxid, digest)| {
                format!("{text}{zxid:x}: {digest}\n")
            }),
        _ => String::new(),
    }
}

pub fn version_line(version: &str) -> String {
    format!("{version}-0000000000000000000000000000000000000000, built on 2026-01-01 00:00 UTC")
}

/// `leader`, `follower` or `standalone`.
pub fn mode(member: &Member) -> &'static str {
    if member.config.is_standalone() {
        "standalone"
    } else if member.is_leading() {
        "leader"
    } else {
        "follower"
    }
}

fn server(member: &Member, version: &str) -> String {
    format!(
        "Zookeeper version: {}\nLatency min/avg/max: 0/0.0/0\nReceived: 1\nSent: 1\nConnections: 1\nOutstanding: 0\nZxid: {:#x}\nMode: {}\nNode count: {}\n",
        version_line(version),
        member.shown_zxid(),
        mode(member),
        member.store.tree.nodes.len()
    )
}

/// What a leader counts of its learners.
pub struct Learners {
    pub count: usize,
    /// Also those that still copy, or that were cut off a moment ago.
    pub synced: usize,
    pub non_voting: usize,
}

pub fn learners(state: &State, key: Key) -> Option<Learners> {
    let member = state.members.get(&key)?;
    let heard = &member.leading()?.heard;
    let stage = |learner: &Key| {
        let (leader, stage) = state.members.get(learner)?.leader()?;
        (leader == key).then_some(stage)
    };
    let is_voter = |learner: &Key| {
        let learner = state.members.get(learner);
        learner.is_some_and(|learner| member.config.is_voter(learner.config.id))
    };
    let synced: Vec<&Key> = heard
        .keys()
        .filter(|learner| stage(learner) != Some(Stage::Connecting))
        .collect();
    Some(Learners {
        count: heard.len(),
        synced: synced.len(),
        non_voting: synced.iter().filter(|learner| !is_voter(learner)).count(),
    })
}

fn monitor(state: &State, key: Key, version: &str) -> String {
    let member = &state.members[&key];
    let tree = &member.store.tree;
    let mode = mode(member);
    let mut text = format!(
        "zk_version\t{}\nzk_server_state\t{mode}\n",
        version_line(version)
    );
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "zk_{name}\t{value}");
    };
    match mode {
        "leader" => line("peer_state", &"leading - broadcast"),
        "follower" => line("peer_state", &"following - broadcast"),
        _ => {}
    }
    line("ephemerals_count", &tree.ephemerals());
    line(
        "outstanding_requests",
        &usize::from(!member.store.is_applied()),
    );
    line("znode_count", &tree.nodes.len());
    line("global_sessions", &tree.sessions.len());
    line("approximate_data_size", &tree.data_size());
    if !member.config.is_standalone() {
        line("quorum_size", &member.config.voters().count());
    }
    line("digest_mismatches_count", &tree.mismatches);
    if let Some(learners) = learners(state, key).filter(|_| mode == "leader") {
        line("learners", &learners.count);
        line("synced_followers", &learners.synced);
        line("synced_non_voting_followers", &learners.non_voting);
        line("synced_observers", &0);
        line("pending_syncs", &0);
    }
    text
}

fn configuration(member: &Member) -> String {
    let config = &member.config;
    let mut text = format!(
        "clientPort={}\nsecureClientPort=-1\ndataDir={}\ndataDirSize=0\ndataLogDir={}\ndataLogSize=0\ntickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\nclientPortListenBacklog=-1\nserverId={}\n",
        config.client_port,
        config.named_dirs.0,
        config.named_dirs.1,
        config.tick.as_millis(),
        config.max_connections,
        config.tick.as_millis() * 2,
        config.tick.as_millis() * 20,
        config.id,
    );
    if let Some(own) = config.servers.get(&config.id) {
        let _ = write!(
            text,
            "initLimit={}\nsyncLimit={}\nelectionAlg=3\nelectionPort={}\nquorumPort={}\npeerType=0\nmembership: \n",
            config.init_limit, config.sync_limit, own.election_port, own.quorum_port
        );
        for (id, line) in &config.servers {
            let _ = writeln!(text, "server.{id}={}", line.text());
        }
        text += "version=0";
    }
    text
}
