//! Every refusal of `cluster up`: its words, where they stand in the sources, and why no life meets those
//! that none meets. `supplied` has lives for those to which faults do not lead.

use std::fs;
use std::path::Path;

pub struct Refusal {
    /// A file of the sources or of recorded messages.
    pub source: &'static str,
    /// Words of it that no other one has.
    pub text: &'static str,
    /// Why no life meets it; empty for those that one must meet.
    pub unmet: &'static str,
}

const fn met(source: &'static str, text: &'static str) -> Refusal {
    unmet(source, text, "")
}

const fn unmet(source: &'static str, text: &'static str, unmet: &'static str) -> Refusal {
    Refusal {
        source,
        text,
        unmet,
    }
}

const PREFLIGHT: &str = "src/plan/preflight.rs";
const REQUIREMENTS: &str = "src/plan/requirements.rs";
const VERSIONS: &str = "src/spec/versions.rs";
const DISKS: &str = "src/plan/disks.rs";
const IMAGES: &str = "src/plan/images.rs";
const IDENTITY: &str = "src/plan/recorded.rs";
const CHECKS: &str = "src/engine/checks.rs";
const CONSENT: &str = "src/engine/consent.rs";
const STOP: &str = "tests/messages/stop_error.snap";
const MASTER_LISTS: &str = "tests/messages/masters_error.snap";
const LOCK: &str = "tests/messages/lock_error.snap";
const SAVED: &str = "tests/messages/saved_plan_error.snap";

const ENGINE: &str = "the simulated Engines are Docker Engines of one version";
const SESSIONS: &str = "no simulated host limits the sessions of a connection; tests/ssh tries it";
const BUNDLES: &str = "lives have no bundle; tests/bundle.rs and the lab try them";
const LISTS: &str = "the simulated members list what toots wrote; tests/plan tries other lists";
const LEAVING: &str = "no host stops being a master yet; unit tests of the guard try it";
const DATA: &str = "no playbook changes such an argument; tests/plan.rs tries it";
const RECORDS: &str = "nobody copies the records of a host in a life; tests/plan.rs tries it";
const EARLIER: &str = "the command line reads the file before it contacts a host";
const SCOPE: &str = "`up` has all hosts in scope; `cluster add` is another command";
const TERMINAL: &str = "no life has a terminal on which somebody declines";

pub const REFUSALS: &[Refusal] = &[
    met(PREFLIGHT, "machine id is the same as on"),
    met(PREFLIGHT, "unsupported system: /etc/os-release is missing"),
    met(PREFLIGHT, "unsupported architecture"),
    met(PREFLIGHT, "memory must be at least"),
    met(PREFLIGHT, "clock is "),
    met(PREFLIGHT, "is not an address of any interface"),
    met(PREFLIGHT, ", which has "),
    met(PREFLIGHT, "network interface "),
    met(PREFLIGHT, "Docker is not installed"),
    met(PREFLIGHT, "and no supported package manager was found"),
    met(PREFLIGHT, "the Docker Engine does not answer"),
    unmet(
        PREFLIGHT,
        "no SSH session is left for the Docker Engine",
        SESSIONS,
    ),
    unmet(PREFLIGHT, "answers in an unknown form", ENGINE),
    unmet(PREFLIGHT, "must be a Docker Engine", ENGINE),
    unmet(PREFLIGHT, "Docker must be 1.10 or later", ENGINE),
    unmet(PREFLIGHT, "Docker runs rootless", ENGINE),
    unmet(PREFLIGHT, "Docker remaps users", ENGINE),
    met(PREFLIGHT, "any more, which an earlier toots built"),
    met(PREFLIGHT, " is in use by "),
    met(PREFLIGHT, "needs systemd, which does not run on this host"),
    met(PREFLIGHT, "has no NFS client"),
    met(PREFLIGHT, "cannot connect to the NFS server"),
    met(PREFLIGHT, "cannot connect to {}"),
    unmet(REQUIREMENTS, "and is to start with", DATA),
    met(REQUIREMENTS, " (cgroup v"),
    unmet(REQUIREMENTS, "supports API", ENGINE),
    met(REQUIREMENTS, "is mounted as private"),
    met(VERSIONS, "must not run:"),
    met(VERSIONS, "is older than "),
    met(VERSIONS, "cannot follow "),
    met(DISKS, "free space for "),
    met(DISKS, " (it builds "),
    unmet(IMAGES, "has no images for", BUNDLES),
    unmet(IMAGES, "no host can build", ENGINE),
    met(IDENTITY, "belongs to another cluster with the same name"),
    met(IDENTITY, ", the inventory describes "),
    unmet(IDENTITY, "was installed as", RECORDS),
    unmet(IDENTITY, "is also recorded on", RECORDS),
    met(CHECKS, "creating a cluster requires all masters"),
    unmet(CHECKS, "never came up on the masters", SCOPE),
    met(CONSENT, "there is no terminal to ask on"),
    unmet(
        CONSENT,
        "declined: nothing was changed on any host",
        TERMINAL,
    ),
    met(STOP, " members of zookeeper synced"),
    unmet(STOP, "is still a member of", LEAVING),
    unmet(STOP, "are unknown, so", LEAVING),
    met(MASTER_LISTS, "toots does not change the set of masters yet"),
    met(
        MASTER_LISTS,
        "toots does not change the address of a master yet",
    ),
    unmet(MASTER_LISTS, "no reachable master has it recorded", LISTS),
    unmet(MASTER_LISTS, "but the running members list it as", LISTS),
    unmet(MASTER_LISTS, "do not confirm the newest record", LISTS),
    unmet(
        MASTER_LISTS,
        "the running members list different masters",
        LISTS,
    ),
    met(LOCK, "lock held by"),
    met(LOCK, "flock is missing"),
    met(SAVED, "the inventory file changed since it was saved"),
    met(SAVED, "the hosts changed since it was saved"),
    unmet(SAVED, "cannot read the plan", EARLIER),
    unmet(SAVED, "format must be", EARLIER),
];

impl Refusal {
    /// What of its words does not follow from the life.
    fn fixed(&self) -> &'static str {
        let parts = self.text.split(['{', '}']);
        parts.max_by_key(|part| part.len()).unwrap_or_default()
    }

    pub fn is_in(&self, printed: &str) -> bool {
        match self.text {
            // The server of NFS has words of its own.
            "cannot connect to {}" => printed.contains("cannot connect to 10."),
            _ => printed.contains(self.fixed()),
        }
    }
}

/// A file and what each of its refusals has, without white space. Of the errors of recorded messages
/// those are left out that refuse nothing by themselves.
const SOURCES: [(&str, &[&str], usize); 12] = [
    (PREFLIGHT, &["self.add(true,", "fatal:true,"], 0),
    (DISKS, &["self.add(true,", "fatal:true,"], 0),
    (IMAGES, &["fatal:true,"], 0),
    // One of them has the words of a version's refusal, and one is a warning for some.
    (REQUIREMENTS, &["self.add(true,", "self.add(!"], 1),
    (VERSIONS, &["why:format!("], 0),
    // Records that cannot be read have the words of the record's own errors.
    (IDENTITY, &["why:format!(", "=>refuse("], 1),
    (
        CHECKS,
        &["ExitCode::REFUSED,text", "ExitCode::UNREACHABLE,text"],
        0,
    ),
    (CONSENT, &["Consent::Declined=>", "Consent::NotAsked=>"], 0),
    (STOP, &["StopError::"], 1),
    (MASTER_LISTS, &["MastersError::"], 0),
    (LOCK, &["LockError::"], 1),
    (SAVED, &["SavedPlanError::"], 0),
];

fn read(source: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let text = fs::read_to_string(path).expect("a file");
    // Without its tests.
    text.split("#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn sources_and_list_name_the_same_refusals() {
    for (source, marks, others) in SOURCES {
        let text = read(source);
        let dense: String = text.split_whitespace().collect();
        let marked: usize = marks.iter().map(|mark| dense.matches(mark).count()).sum();
        let listed: Vec<&Refusal> = REFUSALS.iter().filter(|r| r.source == source).collect();
        assert_eq!(listed.len() + others, marked, "{source}");
        for refusal in listed {
            let words = refusal.fixed();
            assert!(text.contains(words), "{source} has no {words:?}");
        }
    }
    let is_read = |refusal: &Refusal| SOURCES.iter().any(|(source, ..)| *source == refusal.source);
    assert!(REFUSALS.iter().all(is_read));
}
