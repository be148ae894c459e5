//! Runs the scripts in every shell that hosts have, in folders of the test and with programs that play
//! those of a host. Those that change something are also killed before every line and run again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::played_host::{PlayedHost, ScriptShell, shells, succeeds};
use super::*;
use crate::spec::{DirSpec, FileSpec, Package, PackageManager, Placement};

const LIMIT: Duration = Duration::from_secs(20);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_valid(script: &str) -> bool {
    let mut child = Command::new("dash")
        .arg("-n")
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    drop(stdin.write_all(script.as_bytes()));
    drop(stdin);
    child.wait().unwrap().success()
}

/// The script with a hook before every line at which a command may stand.
fn hooked(script: &str) -> String {
    let lines: Vec<&str> = script.lines().collect();
    let with_hooks = |is_hooked: &dyn Fn(usize) -> bool| {
        let mut text = String::new();
        for (n, line) in lines.iter().enumerate() {
            if is_hooked(n) {
                text.push_str("toots_hook\n");
            }
            text.push_str(line);
            text.push('\n');
        }
        text
    };
    let places: Vec<bool> = (0..lines.len())
        .map(|n| {
            let is_continued = n > 0 && lines[n - 1].ends_with('\\');
            !is_continued && is_valid(&with_hooks(&|at| at == n))
        })
        .collect();
    let hooked = with_hooks(&|n| places[n]);
    assert!(is_valid(&hooked), "{hooked}");
    hooked
}

/// The script that kills itself before its n-th line, counted as they are executed.
fn killed_at(hooked: &str, n: usize) -> String {
    format!(
        "toots_line=0\ntoots_hook() {{ toots_line=$((toots_line + 1)); \
         [ $toots_line != {n} ] || kill -KILL $$; }}\n{hooked}"
    )
}

/// A script, and hosts on which it is to be run.
struct ScriptedChange<'a> {
    script: &'a str,
    host: &'a dyn Fn() -> PlayedHost,
    arguments: &'a dyn Fn(&PlayedHost) -> Vec<String>,
    input: &'a dyn Fn(&PlayedHost) -> Option<Vec<u8>>,
}

impl ScriptedChange<'_> {
    fn run(&self, shell: &ScriptShell, host: &PlayedHost, script: &str) -> Output {
        let arguments = (self.arguments)(host);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let input = (self.input)(host);
        host.run(shell, &host.localized(script), &arguments, input.as_deref())
    }

    /// Runs the script undisturbed; returns what is there then. Killed before any line and run again,
    /// it must leave the same.
    fn check(&self) -> BTreeMap<String, (u32, String)> {
        let hooked = hooked(self.script);
        let mut expected = None;
        for shell in shells() {
            let host = (self.host)();
            let output = self.run(&shell, &host, self.script);
            assert!(output.status.success(), "{shell}: {output:?}");
            let undisturbed = host.contents();
            let expected = expected.get_or_insert_with(|| undisturbed.clone());
            assert_eq!(undisturbed, *expected, "{shell}");
            let mut kills = 0;
            loop {
                let host = (self.host)();
                let output = self.run(&shell, &host, &killed_at(&hooked, kills + 1));
                if output.status.signal().is_none() {
                    assert!(output.status.success(), "{shell}: {output:?}");
                    break;
                }
                kills += 1;
                let output = self.run(&shell, &host, self.script);
                assert!(output.status.success(), "{shell} after {kills}: {output:?}");
                assert_eq!(host.contents(), *expected, "{shell} after {kills}");
            }
            assert!(kills > 0, "{shell}: no line was reached");
        }
        expected.unwrap()
    }
}

/// Plays systemd: units that are enabled, running or failed are files in its state.
const SYSTEMCTL: &str = r#"
for unit; do :; done
case $1 in
  daemon-reload) ls "$units" > "$state/known" ;;
  enable) grep -qx "$unit" "$state/known" && : > "$state/$unit.enabled" ;;
  reset-failed) rm -f "$state/$unit.failed" ;;
  restart) [ ! -e "$state/$unit.failed" ] && [ ! -e "$state/broken" ] && : > "$state/$unit.running" ;;
  disable) [ -e "$units/$unit" ] && rm -f "$state/$unit.enabled" "$state/$unit.running" ;;
  status) echo "$unit is broken" ;;
esac"#;

const UNIT: &str = "toots-a.service";

fn with_unit(is_running: bool) -> PlayedHost {
    let host = PlayedHost::new();
    host.program("systemctl", SYSTEMCTL);
    host.write(&format!("etc/systemd/system/{UNIT}"), "[Unit]\n");
    let states: &[&str] = if is_running {
        &["enabled", "running"]
    } else {
        &["failed"]
    };
    for state in states {
        host.write(&format!("state/{UNIT}.{state}"), "");
    }
    host.write(
        "state/known",
        if is_running { "toots-a.service\n" } else { "" },
    );
    host
}

#[test]
fn every_script_is_valid_in_every_shell() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/host/scripts");
    let mut scripts = 0;
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let text = fs::read_to_string(&path).unwrap();
        match path.extension().unwrap().to_str().unwrap() {
            "sh" => {
                assert!(text.starts_with("# shellcheck shell=sh\n"), "{path:?}");
                for shell in shells() {
                    let name = path.to_str().unwrap();
                    assert!(succeeds(&[shell.words, &["-n", name]].concat()), "{name}");
                }
                scripts += 1;
            }
            "bash" => assert!(text.starts_with("# shellcheck shell=bash\n"), "{path:?}"),
            "pl" => assert!(text.contains("use strict;")),
            other => panic!("{other}"),
        }
    }
    assert!(scripts > 10);
}

#[test]
fn a_unit_is_started_and_its_failure_shown() {
    let host = || with_unit(false);
    let change = ScriptedChange {
        script: ssh::START_UNIT,
        host: &host,
        arguments: &|_| vec![UNIT.into()],
        input: &|_| None,
    };
    let contents = change.check();
    let is_in_state = |name: &str| contents.contains_key(&format!("state/{UNIT}.{name}"));
    assert!(is_in_state("enabled") && is_in_state("running") && !is_in_state("failed"));
    for shell in shells() {
        let host = with_unit(false);
        host.write("state/broken", "");
        let output = host.run(&shell, ssh::START_UNIT, &[UNIT], None);
        assert_eq!(output.status.code(), Some(1), "{shell}");
        assert_eq!(text(&output.stderr), "toots-a.service is broken\n");
    }
}

#[test]
fn a_unit_is_removed() {
    let host = || with_unit(true);
    let change = ScriptedChange {
        script: ssh::REMOVE_UNIT,
        host: &host,
        arguments: &|_| vec![UNIT.into()],
        input: &|_| None,
    };
    let contents = change.check();
    assert!(contents.keys().all(|path| !path.contains(UNIT)));
    assert_eq!(contents["state/known"].1, "", "systemd was told");
}

#[test]
fn a_file_is_removed() {
    let host = || {
        let host = PlayedHost::new();
        host.write("-it's", "x");
        host
    };
    let change = ScriptedChange {
        script: ssh::REMOVE_FILE,
        host: &host,
        arguments: &|host| vec![host.path("-it's").display().to_string()],
        input: &|_| None,
    };
    assert!(!change.check().contains_key("-it's"));
}

fn owner(host: &PlayedHost) -> (u32, u32) {
    let meta = host.0.path().metadata().unwrap();
    (meta.uid(), meta.gid())
}

/// Two files, one of them in a new folder, a folder and a block for /etc/hosts.
fn placed(host: &PlayedHost) -> Vec<u8> {
    let (uid, gid) = owner(host);
    let file = |name: &str, mode, content: &str| FileSpec {
        path: host.path(name).display().to_string(),
        mode,
        uid,
        gid,
        content: content.into(),
        secret: false,
        place: Placement::Always,
    };
    let dir = DirSpec {
        path: host
            .path("data/of a")
            .display()
            .to_string()
            .replace(' ', "-"),
        mode: 0o750,
        uid,
        gid,
    };
    place::pack(&Place {
        dirs: vec![dir],
        files: vec![
            file("etc/toots/b/c/secret", 0o600, "hidden\n"),
            file("etc/toots/a.conf", 0o644, "new\n"),
        ],
        hosts_entries: Some(vec![("10.0.0.1".into(), "m1".into())]),
        deadline: LIMIT,
    })
    .unwrap()
}

#[test]
fn files_are_placed() {
    let host = || {
        let host = PlayedHost::new();
        host.write("etc/toots/a.conf", "former\n");
        let block = "# toots begin\n10.0.0.9 m9\n# toots end\n";
        host.write(
            "etc/hosts",
            &format!("127.0.0.1 localhost\n{block}::1 six\n"),
        );
        host
    };
    let change = ScriptedChange {
        script: ssh::PLACE,
        host: &host,
        arguments: &|_| Vec::new(),
        input: &|host| Some(placed(host)),
    };
    let contents = change.check();
    let entry = |mode, text: &str| (mode, text.to_owned());
    assert_eq!(contents["etc/toots/a.conf"], entry(0o644, "new\n"));
    assert_eq!(contents["etc/toots/b/c/secret"], entry(0o600, "hidden\n"));
    assert_eq!(contents["data/of-a"].0, 0o750);
    let hosts = "127.0.0.1 localhost\n::1 six\n# toots begin\n10.0.0.1 m1\n# toots end\n";
    assert_eq!(contents["etc/hosts"].1, hosts);
    let is_left = |path: &&String| path.contains(".stage") || path.contains("toots-new");
    assert_eq!(contents.keys().find(is_left), None);
}

/// What one attempt staged is removed by the next one, whatever that writes.
#[test]
fn staged_files_that_an_earlier_attempt_left_are_removed() {
    let hooked = hooked(ssh::PLACE);
    let nothing = place::pack(&Place {
        dirs: Vec::new(),
        files: Vec::new(),
        hosts_entries: None,
        deadline: LIMIT,
    });
    let nothing = nothing.unwrap();
    for shell in shells() {
        let mut staged = 0;
        for n in 1.. {
            let host = PlayedHost::new();
            host.write("etc/hosts", "");
            let script = host.localized(&killed_at(&hooked, n));
            let output = host.run(&shell, &script, &[], Some(&placed(&host)));
            if output.status.signal().is_none() {
                break;
            }
            let is_staged = |path: &String| path.ends_with("secret.toots-new");
            staged += usize::from(host.contents().keys().any(is_staged));
            let script = host.localized(ssh::PLACE);
            let output = host.run(&shell, &script, &[], Some(&nothing));
            assert!(output.status.success(), "{output:?}");
            assert!(!host.contents().keys().any(is_staged), "{shell} after {n}");
        }
        assert!(staged > 0, "{shell}");
    }
}

#[test]
fn links_and_folders_are_not_replaced_by_files() {
    for shell in shells() {
        for is_link in [true, false] {
            let host = PlayedHost::new();
            host.write("etc/toots/target", "kept\n");
            if is_link {
                symlink("target", host.path("etc/toots/a.conf")).unwrap();
            } else {
                fs::create_dir(host.path("etc/toots/a.conf")).unwrap();
            }
            let script = host.localized(ssh::PLACE);
            let output = host.run(&shell, &script, &[], Some(&placed(&host)));
            assert_eq!(output.status.code(), Some(20), "{shell}: {output:?}");
            assert!(text(&output.stderr).contains("a.conf is a"));
            let contents = host.contents();
            assert_eq!(contents["etc/toots/target"].1, "kept\n");
            let is_left = |path: &&String| path.contains(".stage") || path.contains("toots-new");
            assert_eq!(contents.keys().find(is_left), None, "{shell}");
        }
    }
}

const SUFFIX: &str = ".old-x";

fn with_folders() -> PlayedHost {
    let host = PlayedHost::new();
    host.write("data/file", "x");
    host.write("it's log/file", "y");
    host
}

fn folders(host: &PlayedHost) -> Vec<String> {
    let names = ["data", "it's log", "missing"];
    let paths = names.map(|name| host.path(name).display().to_string());
    [vec![SUFFIX.to_owned()], paths.into()].concat()
}

#[test]
fn folders_get_other_names() {
    let change = ScriptedChange {
        script: ssh::MOVE_ASIDE,
        host: &with_folders,
        arguments: &folders,
        input: &|_| None,
    };
    let contents = change.check();
    assert!(
        contents.contains_key("data.old-x/file") && contents.contains_key("it's log.old-x/file")
    );
    assert!(!contents.contains_key("data") && !contents.contains_key("it's log"));
}

#[test]
fn a_failed_move_is_undone() {
    for shell in shells() {
        let host = with_folders();
        // Something that is no folder stands where the second one would go, so that it fails.
        host.write("it's log.old-x", "");
        let before = host.contents();
        let arguments = folders(&host);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = host.run(&shell, ssh::MOVE_ASIDE, &arguments, None);
        assert!(!output.status.success(), "{shell}");
        assert_eq!(host.contents(), before, "{shell}");
    }
}

/// Writes its name and its arguments into the log of the played host.
const LOGGED: &str = "echo \"${0##*/} $*\" >> \"$state/log\"";

#[test]
fn packages_are_installed_by_each_manager() {
    let apt = "apt-get -o DPkg::Lock::Timeout=300";
    let apt_install = format!("{apt} install -qy --no-install-recommends");
    let docker = [
        (
            PackageManager::Apt,
            format!(
                "{apt} update -q\napt-cache show docker-cli\n{apt_install} docker.io docker-cli\n"
            ),
        ),
        (PackageManager::Dnf, "dnf install -qy moby-engine\n".into()),
        (
            PackageManager::Zypper,
            "zypper --non-interactive install docker\n".into(),
        ),
        (
            PackageManager::Apk,
            "apk add docker\nrc-update add docker default\nrc-service docker start\n".into(),
        ),
    ];
    let client = [
        (
            PackageManager::Apt,
            format!("{apt} update -q\n{apt_install} nfs-common\n"),
        ),
        (PackageManager::Dnf, "dnf install -qy nfs-utils\n".into()),
        (
            PackageManager::Zypper,
            "zypper --non-interactive install nfs-client\n".into(),
        ),
        (PackageManager::Apk, "apk add nfs-utils\n".into()),
    ];
    let programs = [
        "apt-get",
        "apt-cache",
        "dnf",
        "zypper",
        "apk",
        "rc-update",
        "rc-service",
        "docker",
        "systemctl",
    ];
    for shell in shells() {
        for (package, expected) in [("docker", &docker), ("nfs-client", &client)] {
            for (manager, expected) in expected {
                let host = PlayedHost::new();
                fs::create_dir_all(host.path("run/systemd/system")).unwrap();
                for program in programs {
                    host.program(program, LOGGED);
                }
                let script = host.localized(ssh::INSTALL);
                let output = host.run(&shell, &script, &[package, manager.program()], None);
                assert!(output.status.success(), "{shell}: {output:?}");
                let started = if package == "docker" {
                    "systemctl enable --now docker\ndocker version\n"
                } else {
                    ""
                };
                let log = fs::read_to_string(host.path("state/log")).unwrap();
                assert_eq!(log, format!("{expected}{started}"), "{shell}");
            }
        }
    }
}

#[test]
fn a_package_that_cannot_be_installed_is_a_failure() {
    for shell in shells() {
        for (package, manager) in [
            ("docker", "apt-get"),
            ("docker", "dnf"),
            ("nfs-client", "apk"),
        ] {
            let host = PlayedHost::new();
            for program in ["apt-get", "dnf", "apk"] {
                host.program(program, "echo no; exit 1");
            }
            let script = host.localized(ssh::INSTALL);
            let output = host.run(&shell, &script, &[package, manager], None);
            assert!(!output.status.success(), "{shell}: {package} {manager}");
            assert!(text(&output.stderr).starts_with("no\n"), "{output:?}");
        }
    }
}

#[test]
fn the_lock_is_held_until_the_input_ends() {
    for shell in shells() {
        let host = PlayedHost::new();
        let has_flock = Command::new(shell.words[0])
            .args(&shell.words[1..])
            .args(["-c", "command -v flock"])
            .env("PATH", host.path_variable(Some(&shell)))
            .output();
        if !has_flock.unwrap().status.success() {
            println!("skipped: {shell} has no flock");
            continue;
        }
        let folder = host.path("lock").display().to_string();
        let mut child = Command::new(shell.words[0])
            .args(&shell.words[1..])
            .args([
                "-c",
                ssh::HOLD_LOCK,
                "toots",
                "ann",
                &folder,
                "9",
                "no-such-server",
            ])
            .env("PATH", host.path_variable(Some(&shell)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut line = [0; 7];
        output.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"locked\n", "{shell}");
        for _ in 0..2 {
            input.write_all(b".").unwrap();
            output.read_exact(&mut line[..2]).unwrap();
            assert_eq!(&line[..2], b".\n", "{shell}");
        }
        drop(input);
        output.read_to_end(&mut Vec::new()).unwrap();
        assert!(child.wait().unwrap().success(), "{shell}");
        assert_eq!(fs::read_to_string(host.path("lock/lock")).unwrap(), "");
    }
}

#[test]
fn questions_are_answered_in_every_shell() {
    for shell in shells() {
        let host = PlayedHost::new();
        host.program("ip", "echo \"$*\"");
        host.program("docker-compose", "echo \"$*\"");
        host.program("docker", "cat");
        let run = |script: &str, arguments: &[&str], input: Option<&[u8]>| {
            let output = host.run(&shell, &host.localized(script), arguments, input);
            assert!(output.status.success(), "{shell}: {output:?}");
            text(&output.stdout)
        };
        assert_eq!(run(ssh::ADDRESSES, &[], None), "-o addr show\n");
        assert_eq!(
            run(ssh::COMPOSE_HASHES, &[], None),
            "",
            "no folder of toots"
        );
        fs::create_dir_all(host.path("etc/toots")).unwrap();
        let hashes = run(ssh::COMPOSE_HASHES, &[], None);
        assert_eq!(hashes, "-f compose.yaml config --hash=*\n");
        assert_eq!(run(ssh::DIAL_ENGINE, &[], Some(b"both ways")), "both ways");
        let runs = "work dir/slaves/s/frameworks/f/executors/t 1/runs/latest";
        host.write(&format!("{runs}/stdout"), "out\n");
        host.write(&format!("{runs}/stderr"), "err\n");
        let work_dir = host.path("work dir").display().to_string();
        assert_eq!(run(ssh::TASK_LOG, &[&work_dir, "t 1"], None), "out\nerr\n");
        assert_eq!(run(ssh::TASK_LOG, &[&work_dir, "t"], None), "");
        host.write("state/it's", "now taken 1\n");
        let state = host.path("state/it's").display().to_string();
        let state = run(ssh::READ_STATE, &[&state], None);
        let (record, now) = state.trim_end().split_once('\n').unwrap();
        assert_eq!(record, "now taken 1");
        assert!(now.parse::<jiff::Timestamp>().is_ok(), "{now}");
    }
}

/// This machine as a host, with the programs of a played one.
fn local(host: &PlayedHost) -> std::sync::Arc<dyn HostSession> {
    std::sync::Arc::new(local_host(Some(host.path_variable(None))))
}

#[tokio::test]
async fn operations_have_typed_answers() {
    let host = with_folders();
    let listing = "2: eth1    inet 10.0.0.31/24 brd 10.0.0.255 scope global eth1\n\
                   2: eth1    inet6 fd00::64/128 scope global\n3: x";
    host.write("state/listing", listing);
    host.program("ip", "cat \"$state/listing\"");
    let session = local(&host);
    let deadline = LIMIT;
    let addresses = session.perform(HostAddresses { deadline }).await.unwrap();
    let expected = ["10.0.0.31".parse().unwrap(), "fd00::64".parse().unwrap()];
    assert_eq!(addresses, expected.into());

    let path = host.path("data/file").display().to_string();
    let read = |path: String| ReadState { path, deadline };
    let state = session.perform(read(path.clone())).await;
    assert!(
        matches!(state, Err(OperationError::Answer { .. })),
        "no end of line"
    );
    host.write("data/file", "x\ny\n");
    let state = session.perform(read(path.clone())).await.unwrap();
    assert_eq!(state.record, b"x\ny");
    let missing = session.perform(read("/nowhere".into())).await;
    let Err(OperationError::Failed {
        status: 1, stderr, ..
    }) = missing
    else {
        panic!("{missing:?}");
    };
    assert!(text(&stderr).contains("/nowhere"));

    let dirs = folders(&host)[1..].to_vec();
    let suffix = SUFFIX.to_owned();
    let moved = session
        .perform(MoveAside {
            dirs,
            suffix,
            deadline,
        })
        .await;
    let moved = moved.unwrap();
    let expected = ["data.old-x", "it's log.old-x"].map(|name| host.path(name));
    let paths: Vec<PathBuf> = moved
        .iter()
        .map(|folder| PathBuf::from(&folder.path))
        .collect();
    assert_eq!(paths, expected);
    assert!(moved.iter().all(|folder| folder.kib.is_some()));

    let path = host.path("data.old-x/file").display().to_string();
    session
        .perform(RemoveFile { path, deadline })
        .await
        .unwrap();
    assert!(!host.path("data.old-x/file").exists());
    let log = TaskLog {
        work_dir: host.path("none").display().to_string(),
        task: "no such task".into(),
    };
    assert_eq!(session.perform(log).await.unwrap(), "");
}

#[tokio::test]
async fn a_failed_operation_shows_what_its_program_printed() {
    let host = PlayedHost::new();
    host.program("apk", "echo 'no such package'; exit 7");
    let install = Install {
        package: Package::NfsClient,
        manager: PackageManager::Apk,
        deadline: LIMIT,
    };
    let error = local(&host).perform(install).await.unwrap_err();
    let OperationError::Failed {
        status, ref stderr, ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((status, text(stderr).as_str()), (7, "no such package\n"));
    assert_eq!(error.to_string(), "command exited with status 7");
}

#[tokio::test]
async fn streams_through_the_engines_command_go_both_ways() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let host = PlayedHost::new();
    host.program("docker", "echo \"$*\"; cat");
    let mut stream = local(&host)
        .open(StreamTarget::EngineCommand)
        .await
        .unwrap();
    stream.write_all(b"ping").await.unwrap();
    let mut answer = [0; 22];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"system dial-stdio\nping");
}

#[test]
fn a_path_that_the_manifest_could_misread_is_refused() {
    let request = |path: &str| Place {
        dirs: vec![DirSpec {
            path: path.into(),
            mode: 0o755,
            uid: 0,
            gid: 0,
        }],
        files: Vec::new(),
        hosts_entries: None,
        deadline: LIMIT,
    };
    assert!(place::pack(&request("/etc/a")).is_ok());
    for path in ["etc/a", "/etc/a b", "/etc/../a", "/etc/a\nf 0777 0 0 0 /b"] {
        assert!(place::pack(&request(path)).is_err(), "{path:?}");
    }
    assert_eq!(Operation::from(request("/a")).name(), "Place");
}
