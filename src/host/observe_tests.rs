//! Runs the script on this machine, with folders of the test in place of the host's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use tokio::net::{TcpSocket, TcpStream};

use super::observation::Observation;
use super::operation::Observe;
use super::parse::reading;
use super::played_host::{run_with_input, shells, succeeds};
use super::ssh::observation;

const NONCE: &str = "0123456789abcdef";
const MAX_PROCESSES: usize = 40;

/// Folders that play /etc/toots and /etc/systemd/system.
struct Folders(tempfile::TempDir);

impl Folders {
    fn new() -> Self {
        let folders = Self(tempfile::tempdir().unwrap());
        for folder in [folders.managed(), folders.units()] {
            fs::create_dir(folder).unwrap();
        }
        folders
    }

    fn managed(&self) -> PathBuf {
        self.0.path().join("toots")
    }

    fn units(&self) -> PathBuf {
        self.0.path().join("units")
    }

    /// Writes a managed file and returns its path.
    fn write(&self, name: &str, content: &[u8], mode: u32) -> String {
        let path = self.managed().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    }

    fn script(&self, request: &Observe) -> String {
        observation(NONCE, request)
            .replace("/etc/toots", &self.managed().display().to_string())
            .replace("/etc/systemd/system", &self.units().display().to_string())
    }
}

fn run(program: &mut Command, script: &str) -> Output {
    let output = run_with_input(program, script.as_bytes());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    output
}

fn read_with(shell: &[&str], script: &str) -> Observation {
    let output = run(Command::new(shell[0]).args(&shell[1..]).arg("-s"), script);
    reading(&output.stdout, NONCE, 0).unwrap()
}

#[test]
fn reads_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.conf");
    fs::write(&file, "hello\n").unwrap();
    let (dir, file) = (dir.path().display().to_string(), file.display().to_string());
    let request = Observe {
        paths: vec![file.clone(), dir.clone(), "/nowhere".into()],
        data_dirs: vec![dir.clone(), "/nowhere".into()],
        reach: vec![("127.0.0.1".into(), 1)],
        ..Observe::default()
    };
    let host = read_with(&["sh"], &observation(NONCE, &request));
    let facts = &host.facts;
    assert!(
        facts.mem_total_kib > 0
            && facts.cpus > 0
            && facts.disk_free_data_kib > 0
            && facts.disk_free_docker_kib > 0
            && facts.clock_offset_ms > 0
    );
    assert!(facts.nics.contains_key("lo"));
    let uname = |flag| {
        let output = Command::new("uname").arg(flag).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(
        [&facts.hostname, &facts.kernel, &facts.arch],
        [&uname("-n"), &uname("-r"), &uname("-m")]
    );
    assert_eq!(
        host.files[&file].content.as_deref(),
        Some(b"hello\n".as_slice())
    );
    assert_eq!(
        host.files[&file].sha256.as_deref(),
        Some(crate::spec::digest(b"hello\n").as_str())
    );
    assert_eq!(host.files[&dir].kind, 'd');
    assert_eq!(host.has_data, BTreeSet::from([dir]));
    assert_eq!(
        facts.reaches.get("127.0.0.1 port 1"),
        Some(&true),
        "refused at once is reached"
    );
}

#[test]
fn an_answer_that_is_cut_short_is_refused() {
    let script = observation(NONCE, &Observe::default());
    let output = run(Command::new("sh").arg("-s"), &script).stdout;
    assert!(reading(&output, NONCE, 0).is_ok());
    for bytes in [2, 20, 200] {
        let cut = &output[..output.len() - bytes];
        assert!(reading(cut, NONCE, 0).is_err(), "{bytes}");
    }
    assert!(
        reading(&output, "other", 0).is_err(),
        "a block of another nonce does not count"
    );
}

#[test]
fn hostile_files_are_neither_mistaken_nor_followed() {
    let folders = Folders::new();
    let outside = folders.0.path().join("outside");
    fs::write(&outside, "of the host").unwrap();
    let open = folders.write("a.conf", format!("\n{NONCE} os\nID=x\n").as_bytes(), 0o644);
    let closed = folders.write("b.conf", b"closed", 0o640);
    let large = folders.write("large", &[b'x'; 64 * 1024 + 1], 0o644);
    let full = folders.write("full", &[b'x'; 64 * 1024], 0o644);
    let secret = folders.write("secrets/gossip", b"s3cret\n", 0o600);
    let escaped = folders.write(r"a\x2db.mount", b"unit", 0o644);
    let long = folders.write(&format!("{}/f", ["d"; 120].join("/")), b"deep", 0o644);
    folders.write("white space", b"x", 0o644);
    folders.write("white folder /f", b"x", 0o644);
    folders.write(
        &format!("x\n81a4 644 0 0 {}", outside.display()),
        b"x",
        0o644,
    );
    folders.write(".stage/f", b"x", 0o644);
    let (link, twin) = (
        folders.managed().join("link"),
        folders.managed().join("twin"),
    );
    symlink(&outside, &link).unwrap();
    fs::hard_link(&open, &twin).unwrap();
    let [link, twin] = [link, twin].map(|path| path.display().to_string());
    for shell in shells() {
        let host = read_with(shell.words, &folders.script(&Observe::default()));
        let content = |path: &str| host.files[path].content.clone();
        let files: BTreeSet<&str> = host
            .files
            .iter()
            .filter(|(_, file)| file.kind == 'f')
            .map(|(path, _)| path.as_str())
            .collect();
        let expected = [
            &open, &closed, &large, &full, &secret, &escaped, &long, &twin,
        ];
        assert_eq!(files, expected.map(String::as_str).into(), "{shell}");
        for path in files {
            let digest = crate::spec::digest(&fs::read(path).unwrap());
            assert_eq!(host.files[path].sha256, Some(digest), "{path}");
        }
        assert_eq!((content(&closed), content(&large)), (None, None));
        assert_eq!(content(&full).unwrap().len(), 64 * 1024);
        assert_eq!(content(&open), Some(fs::read(&open).unwrap()));
        assert_eq!(content(&twin), content(&open), "a second name");
        assert_eq!(content(&secret), Some(b"s3cret\n".into()));
        assert_eq!(content(&escaped), Some(b"unit".into()));
        assert_eq!(content(&long), Some(b"deep".into()));
        let link = &host.files[&link];
        assert_eq!(
            (link.kind, &link.content, &link.sha256),
            ('l', &None, &None)
        );
        assert_ne!(host.facts.os_id, "x");
    }
}

#[tokio::test]
async fn a_port_without_an_answer_hides_no_other_port() {
    // Of a full backlog the kernel drops every further request, like a firewall.
    let full = TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(tokio::spawn(TcpStream::connect(address)));
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ports = [1, address.port(), 2, open.local_addr().unwrap().port()];
    let request = Observe {
        reach: ports.map(|port| ("127.0.0.1".to_owned(), port)).into(),
        ..Observe::default()
    };
    let script = observation(NONCE, &request);
    let answer = tokio::task::spawn_blocking(move || read_with(&["sh"], &script));
    let reaches = answer.await.unwrap().facts.reaches;
    let name = |port: u16| format!("127.0.0.1 port {port}");
    let expected: BTreeMap<String, bool> = ports
        .map(|port| (name(port), port != address.port()))
        .into();
    assert_eq!(reaches, expected);
}

/// Runs the script with only these tools in its path.
fn observe_with(tools: &Path) -> Observation {
    let script = observation(NONCE, &Observe::default());
    let (before, after) = script.split_once("export LC_ALL=C").unwrap();
    let (_, after) = after.split_once('\n').unwrap();
    let path = tools.display();
    let script = format!("{before}export LC_ALL=C PATH={path}\n{after}");
    read_with(&["/bin/sh"], &script)
}

#[test]
fn listeners_are_found_without_ss() {
    let tools = tempfile::tempdir().unwrap();
    for folder in ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name() != "ss" && entry.file_name() != "docker" {
                let to = tools.path().join(entry.file_name());
                drop(symlink(entry.path(), to));
            }
        }
    }
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let six = std::net::TcpListener::bind("[::1]:0").ok();
    let host = observe_with(tools.path());
    let mut wanted = vec![
        ("tcp", tcp.local_addr().unwrap()),
        ("udp", udp.local_addr().unwrap()),
    ];
    wanted.extend(six.map(|six| ("tcp", six.local_addr().unwrap())));
    for (protocol, address) in wanted {
        let found = host.listeners.iter().find(|listener| {
            listener.protocol == protocol
                && listener.address == address.ip()
                && listener.port == address.port()
        });
        let found = found.unwrap_or_else(|| panic!("{protocol} {address}"));
        assert_eq!(found.pid, Some(std::process::id()));
        assert!(found.process.is_some());
    }
    assert_eq!(host.facts.docker_root, "/var/lib/docker");
}

#[test]
fn listeners_are_matched_to_their_containers() {
    let dir = tempfile::tempdir().unwrap();
    let (slice, id) = ("/system.slice", "0123456789abcdef".repeat(4));
    for (pid, path) in [("7", slice.to_owned()), ("8", format!("/{id}"))] {
        fs::create_dir(dir.path().join(pid)).unwrap();
        let lines = format!("2:cpu:{path}\n1:name=systemd:{path}\n");
        fs::write(dir.path().join(pid).join("cgroup"), lines).unwrap();
    }
    let ss = r#"tcp LISTEN 0 1 *:81 *:* users:(("haproxy",pid=8,fd=3),("x",pid=7,fd=3))"#;
    let script = observation(NONCE, &Observe::default())
        .replace("ss -H -lntup", &format!("echo '{ss}'"))
        .replace("if have ss", "if true")
        .replace(
            r#"file = "/proc/""#,
            &format!(r#"file = "{}/""#, dir.path().display()),
        );
    let answer = read_with(&["sh"], &script);
    assert_eq!(answer.owners, BTreeMap::from([(8, id)]));
    assert_eq!(answer.listeners[0].holders, [8, 7]);
}

/// A process that holds a listening socket.
struct ListeningProcess(Child);

impl ListeningProcess {
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::os::fd::OwnedFd::from(listener);
        let mut sleep = Command::new("sleep");
        Self(sleep.arg("600").stdin(socket).spawn().unwrap())
    }
}

impl Drop for ListeningProcess {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Processes and programs started, as traced by strace. A thread is not a process.
fn count_started(trace: &str) -> (usize, usize) {
    let (mut processes, mut programs) = (0, 0);
    let mut threads = BTreeSet::new();
    for line in trace.lines() {
        let pid = line.split(' ').next().unwrap_or("");
        let is_thread = line.contains("CLONE_THREAD");
        if line.contains("unfinished ...>") {
            if is_thread {
                threads.insert(pid);
            }
            continue;
        }
        let Some((call, result)) = line.rsplit_once(" = ") else {
            continue;
        };
        if call.contains("execve") {
            programs += usize::from(result.trim() == "0");
        } else if !threads.remove(pid) && !is_thread && !result.starts_with('-') {
            processes += 1;
        }
    }
    (processes, programs)
}

/// What a host has at most: 100 files, 20 containers, 6 units, and 6 masters and a server to reach.
fn fill(folders: &Folders) -> (Vec<ListeningProcess>, Observe) {
    for n in 0..100 {
        let (name, mode) = match n % 10 {
            0 => (format!("secrets/{n}"), 0o600),
            1 => (format!("containers/{n}.json"), 0o600),
            _ => (format!("component-{}/{n}.conf", n % 10), 0o644),
        };
        folders.write(&name, format!("{n}\n").as_bytes(), mode);
    }
    for n in 0..6 {
        let unit = folders.units().join(format!("toots-{n}.service"));
        fs::write(unit, "# Written by toots.\n[Unit]\n").unwrap();
    }
    let peers = (2..8).flat_map(|peer| (1..5).map(move |port| (peer, port)));
    let reach = peers
        .chain([(8, 1), (8, 2), (8, 3)])
        .map(|(peer, port)| (format!("127.0.0.{peer}"), port));
    let request = Observe {
        paths: vec!["/etc/hosts".into(), "/nowhere".into()],
        data_dirs: (0..6).map(|n| format!("/var/lib/{n}")).collect(),
        reach: reach.collect(),
        ..Observe::default()
    };
    (
        (0..20).map(|_| ListeningProcess::start()).collect(),
        request,
    )
}

/// Observes the filled folders under strace. Returns the processes and programs started.
fn trace_with(
    shell: &[&str],
    folders: &Folders,
    request: &Observe,
    holders: &[ListeningProcess],
) -> (usize, usize) {
    let trace = folders.0.path().join("trace");
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-e", "signal=none", "-o"])
        .arg(&trace)
        .args(["-e", "trace=clone,clone3,fork,vfork,execve"])
        .args(shell)
        .arg("-s");
    let output = run(&mut strace, &folders.script(request));
    let host = reading(&output.stdout, NONCE, 0).unwrap();
    let contents = host.files.values().filter(|file| file.content.is_some());
    assert_eq!(contents.count(), 101, "with /etc/hosts");
    assert_eq!(host.units.len(), 6);
    assert_eq!(host.facts.reaches.len(), 27);
    assert!(host.facts.reaches.values().all(|reached| *reached));
    let pids: BTreeSet<u32> = holders.iter().map(|holder| holder.0.id()).collect();
    let listeners = host.listeners.iter().filter_map(|listener| listener.pid);
    assert_eq!(listeners.filter(|pid| pids.contains(pid)).count(), 20);
    count_started(&fs::read_to_string(&trace).unwrap())
}

#[test]
fn few_processes_are_started() {
    if !succeeds(&["strace", "-f", "-o", "/dev/null", "true"]) {
        println!("skipped: strace is missing or not allowed");
        return;
    }
    let folders = Folders::new();
    let (holders, request) = fill(&folders);
    for shell in shells() {
        // While listeners of other tests end, the script reads them again: up to three attempts.
        let mut attempts = (0..3).map(|_| trace_with(shell.words, &folders, &request, &holders));
        let few = attempts.find(|(processes, programs)| {
            println!("{shell}: {processes} processes, {programs} programs");
            let few = 1..=MAX_PROCESSES;
            few.contains(processes) && few.contains(programs)
        });
        assert!(few.is_some(), "{shell}: more than {MAX_PROCESSES}");
    }
}
