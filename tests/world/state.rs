//! What a cluster's hosts are, as far as a later run finds it: containers, images, files, units, ports
//! and locks; and what services keep for others.

use std::collections::{BTreeMap, BTreeSet};

use crate::docker::{ContainerForm, ImageForm};
use crate::files::Node;
use crate::host::machine::Machine;
use crate::host::units::Unit;
use crate::life::Life;
use crate::world::World;

/// One host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostState {
    pub containers: BTreeMap<String, ContainerForm>,
    /// Path → mode, and content of what toots placed.
    pub files: BTreeMap<String, String>,
    pub images: Vec<ImageForm>,
    pub units: BTreeMap<String, Unit>,
    pub packages: BTreeSet<String>,
    pub is_locked: bool,
}

/// Folders in which toots keeps its own files, then those for what is to be gone soon.
const FOLDERS: [&str; 6] = [
    "/etc/toots",
    "/etc/systemd/system",
    "/etc/docker",
    "/run",
    "/tmp",
    "/var/tmp",
];
const OWN_FOLDERS: usize = 3;
const HOSTS: &str = "/etc/hosts";
/// What services write into their own folders below this one is theirs.
const DATA: &str = "/var/lib/toots/";
const STAGED: &str = ".toots-new";

fn is_kept(path: &str) -> bool {
    let is_below = |folder: &str| {
        let rest = path.strip_prefix(folder);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let of_data = path.strip_prefix(DATA);
    FOLDERS.iter().any(|folder| is_below(folder))
        || of_data.is_some_and(|rest| !rest.contains('/'))
        || path.ends_with(STAGED)
        || path == HOSTS
}

impl HostState {
    pub fn read(machine: &Machine) -> Self {
        let tree = machine.files();
        let mut files = BTreeMap::new();
        for path in tree.below("").into_iter().filter(|path| is_kept(path)) {
            let text = match tree.node(&path) {
                Some(Node::Dir { mode, .. }) => format!("{mode:o}"),
                Some(Node::File { bytes, mode, .. }) => {
                    format!("{mode:o} {}", String::from_utf8_lossy(&bytes))
                }
                None => continue,
            };
            files.insert(path, text);
        }
        let state = machine.state();
        Self {
            containers: machine.engine.forms(),
            files,
            images: machine.engine.images(),
            units: machine.units.units(),
            packages: state.packages.clone(),
            is_locked: machine.lock.is_held(),
        }
    }

    /// What is the same in each life that ended well: no ids, no secrets, no times.
    pub fn outline(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, form) in &self.containers {
            let (command, contains) = (&form.body["Cmd"], &form.contains);
            let is_running = form.is_running;
            lines.push(format!("{name} {contains} {command} running: {is_running}"));
        }
        let is_own = |path: &str| {
            let mut folders = FOLDERS[..OWN_FOLDERS].iter();
            folders.any(|folder| path.starts_with(folder)) || path == HOSTS
        };
        for (path, text) in self.files.iter().filter(|(path, _)| is_own(path)) {
            // Of the file that is not toots' own, its first word.
            let shown = text.split(' ').nth(usize::from(path == HOSTS));
            let shown = shown.unwrap_or_default();
            // Images that a run loaded or built are noted by it.
            lines.push(format!("{path} {shown}"));
        }
        lines
    }

    /// Everything, with marks for what each life draws anew.
    fn whole_outline(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, form) in &self.containers {
            let ContainerForm {
                contains,
                body,
                is_running,
                ..
            } = form;
            // By its id or by its digest, it is the image that contains this.
            let mut body = body.clone();
            body["Image"].take();
            lines.push(format!("{name} {contains} running: {is_running} {body}"));
        }
        let files = self.files.iter();
        lines.extend(files.map(|(path, text)| format!("{path} {text}")));
        lines.extend(self.images.iter().filter_map(image_line));
        let units = self.units.iter();
        lines.extend(units.map(|(name, unit)| format!("{name} {unit:?}")));
        let packages = self.packages.iter();
        lines.extend(packages.map(|package| format!("package {package}")));
        lines.extend(self.is_locked.then(|| "locked".to_owned()));
        lines.iter().map(|line| without_own(line)).collect()
    }

    /// Everything, as it is.
    fn lines(&self) -> Vec<String> {
        let Self {
            containers,
            files,
            images,
            units,
            packages,
            is_locked,
        } = self;
        let mut lines = Vec::new();
        for (name, form) in containers {
            let (state, contains, body) = (form.state, &form.contains, &form.body);
            lines.push(format!("{name} {contains} {state:?} {body}"));
        }
        lines.extend(files.iter().map(|(path, text)| format!("{path} {text}")));
        for ImageForm {
            id, tags, pulled, ..
        } in images
        {
            lines.push(format!("{id} {tags:?} {pulled:?}"));
        }
        lines.push(format!("{units:?} {packages:?} {is_locked}"));
        lines
    }

    /// One number for all of it.
    pub fn fingerprint(&self) -> u64 {
        use std::hash::{Hash as _, Hasher as _};
        // Its keys are the same in every process.
        let mut hasher = std::hash::DefaultHasher::new();
        for (name, form) in &self.containers {
            (name, form.is_running, form.body.to_string()).hash(&mut hasher);
        }
        self.files.hash(&mut hasher);
        for image in &self.images {
            (&image.id, &image.tags, &image.pulled).hash(&mut hasher);
        }
        self.units.hash(&mut hasher);
        self.packages.hash(&mut hasher);
        self.is_locked.hash(&mut hasher);
        hasher.finish()
    }
}

/// An id or digest, a key, and a time have at least so many characters.
const ID_CHARS: usize = 12;
const KEY_CHARS: usize = 24;
const TIME_CHARS: usize = 18;
/// What stands for a time.
const TIME: &str = "@";

/// The program in an image, and its names: the digests that a registry gave it, else its tags. The tag
/// of a pulled image is for people only: it is missing after a run that was cut off before it gave it.
/// What a build that was cut off leaves is its builder's cache: it has no name and no label. The base of
/// a build stays where it was built, which another host may be after a cut.
fn image_line(form: &ImageForm) -> Option<String> {
    let ImageForm { tags, pulled, .. } = form;
    let names = if pulled.is_empty() { tags } else { pulled };
    let labels = form.image.settings()["Labels"].take();
    let is_cache = names.is_empty() && labels.is_null();
    let contains = form.image.program().unwrap_or_default();
    (!is_cache && !form.is_build_base).then(|| format!("image {contains} {names:?} {labels}"))
}

/// A text without what each life draws anew: ids, digests, keys and times.
fn without_own(text: &str) -> String {
    replace_own(text, |mark, _| mark.to_owned())
}

/// Replaces what each life draws anew, by its mark and itself.
fn replace_own(text: &str, mut replace: impl FnMut(&'static str, &str) -> String) -> String {
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        if let Some((mark, length)) = own_at_start(rest) {
            shown += &replace(mark, &rest[..length]);
            rest = &rest[length..];
            continue;
        }
        // The rest of a word is no beginning of an id.
        let word = run_length(rest, |c| c.is_ascii_alphanumeric());
        let (word, more) = rest.split_at(word.max(first.len_utf8()));
        shown += word;
        rest = more;
    }
    shown
}

/// What stands for the id, key or time with which a text begins, and its length.
fn own_at_start(text: &str) -> Option<(&'static str, usize)> {
    let time = run_length(text, |c| c.is_ascii_digit() || "-:.TZ".contains(c));
    if time > TIME_CHARS && text[..time].contains('T') {
        return Some((TIME, time));
    }
    let key = run_length(text, |c| c.is_ascii_alphanumeric() || "+/".contains(c));
    if key >= KEY_CHARS && text[key..].starts_with('=') {
        return Some(("#", key));
    }
    let id = run_length(text, |c| {
        c == '-' || c.is_ascii_digit() || ('a'..='f').contains(&c)
    });
    (id >= ID_CHARS).then_some(("#", id))
}

fn run_length(text: &str, fits: impl Fn(char) -> bool) -> usize {
    text.find(|c: char| !fits(c)).unwrap_or(text.len())
}

/// Every host by name.
pub fn states(world: &World) -> BTreeMap<String, HostState> {
    let machines = world.machines().iter();
    machines
        .map(|machine| (machine.name.clone(), HostState::read(machine)))
        .collect()
}

/// What every life that ended well has.
pub fn outline(world: &World) -> Vec<String> {
    outline_by(world, HostState::outline)
}

fn outline_by(world: &World, outline: impl Fn(&HostState) -> Vec<String>) -> Vec<String> {
    let states = states(world);
    let lines = states.iter().flat_map(|(name, state)| {
        let lines = outline(state).into_iter();
        lines.map(move |line| format!("{name}: {line}"))
    });
    lines.collect()
}

/// A run that is killed during Consul's proof by writing leaves its keys, which no later run removes.
const PROOF_KEY: &str = "toots/proof-";

/// How many keys of proofs are left.
pub fn count_proof_keys(life: &Life) -> usize {
    let keys = life.judge.tables().consul.committed_keys();
    let keys = keys.unwrap_or_default().into_iter();
    keys.filter(|key| key.starts_with(PROOF_KEY)).count()
}

/// What each life draws anew, and files of services repeat.
fn secrets(world: &World) -> BTreeSet<String> {
    let machines = world.machines().iter();
    let contents = machines.flat_map(|machine| {
        let paths = machine.files().below("/etc/toots/secrets").into_iter();
        paths.filter_map(|path| machine.files().text(&path))
    });
    let contents = contents.map(|text| text.trim().to_owned());
    contents.filter(|text| !text.is_empty()).collect()
}

/// All that a further run finds, as one number. Ids and keys are numbered in the order in which they
/// occur, so that two lives that drew other ones are alike, and one that mixes them is not.
pub fn aftermath(life: &Life) -> u64 {
    use std::hash::{Hash as _, Hasher as _};
    let mut numbers = BTreeMap::new();
    let mut number = |mark: &'static str, own: &str| match mark {
        TIME => TIME.to_owned(),
        _ => {
            let next = numbers.len();
            let number = numbers.entry(own.to_owned()).or_insert(next);
            format!("{mark}{number}")
        }
    };
    let mut hasher = std::hash::DefaultHasher::new();
    let mut add = |line: &str| replace_own(line, &mut number).hash(&mut hasher);
    for (host, state) in states(&life.world) {
        add(&host);
        state.lines().iter().for_each(|line| add(line));
    }
    for machine in life.world.machines() {
        let ports = life.world.network.ports(machine.address).into_iter();
        let ports: Vec<u16> = ports.map(|(port, _)| port).collect();
        add(&format!("{ports:?}"));
    }
    let tables = life.judge.tables();
    add(&format!("{:?}", tables.ensemble.committed_paths()));
    add(&format!("{:?}", tables.consul.committed_keys()));
    add(&format!("{:?}", tables.leaders()));
    add(&format!("{:?}", life.world.record.under_way()));
    hasher.finish()
}

/// The same with all that is on hosts, and with what their services keep for others.
pub fn whole_outline(life: &Life) -> Vec<String> {
    let mut lines = outline_by(&life.world, HostState::whole_outline);
    for machine in life.world.machines() {
        let ports = life.world.network.ports(machine.address).into_iter();
        lines.extend(ports.map(|(port, _)| format!("{}: port {port}", machine.name)));
    }
    let tables = life.judge.tables();
    let paths = tables.ensemble.committed_paths().unwrap_or_default();
    let keys = tables.consul.committed_keys().unwrap_or_default();
    let keys = keys.iter().filter(|key| !key.starts_with(PROOF_KEY));
    let nodes = paths.iter().map(|path| format!("node {path}"));
    let keys = keys.map(|key| format!("key {key}"));
    // Elections number their nodes.
    let is_digit = |c: char| c.is_ascii_digit();
    let without_numbers = |line: String| without_own(&line).replace(is_digit, "");
    lines.extend(nodes.chain(keys).map(without_numbers));
    let secrets = secrets(&life.world);
    let without_secrets = |line: &String| {
        let hide = |line: String, secret: &String| line.replace(secret, "#");
        secrets.iter().fold(line.clone(), hide)
    };
    lines.iter().map(without_secrets).collect()
}

#[test]
fn what_each_life_draws_is_marked() {
    assert_eq!(without_own("toots/mesos:838c8a188027648e"), "toots/mesos:#");
    assert_eq!(without_own("at 2027-01-15T08:00:12Z, m1"), "at @, m1");
    let key = "encrypt = pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvMwy7Cu5I=";
    assert_eq!(without_own(key), "encrypt = #=");
    let name = "zookeeper 3.9.5 on 10.0.0.11:2181, decade";
    assert_eq!(without_own(name), name);
}
