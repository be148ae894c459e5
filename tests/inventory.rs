//! The messages about an invalid inventory: one golden message for each kind of mistake, all with
//! their places, in under a second.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests, which clippy does not take for tests

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use toots::desired::{self, Draw, Recorded};
use toots::env::MachineFiles;
use toots::inventory::{Inventory, load, parse};
use toots::playbook::{Playbook, SecretKind};
use toots::spec::{Role, Secret};

const GOOD: &str = "masters = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"]\n";

/// Kind of mistake, and a file that makes it.
fn mistakes() -> Vec<(&'static str, String)> {
    let with = |rest: &str| format!("{GOOD}{rest}");
    let masters = |list: &str| format!("masters = [{list}]\n");
    let quoted = |n: usize| {
        (1..=n)
            .map(|n| format!("\"10.0.0.{n}\""))
            .collect::<Vec<_>>()
            .join(", ")
    };
    vec![
        ("1 empty", String::new()),
        ("1 only comments", "# nothing\n\n".into()),
        ("4 a text for a list", "masters = \"10.0.0.1\"\n".into()),
        ("4 numbers in a list", masters("1, true, \"10.0.0.3\"")),
        ("4 a text for a number", with("[ssh]\nport = \"22\"\n")),
        ("4 a text for a table", with("network = \"eth0\"\n")),
        ("4 a text for a switch", with("[components]\ndnsmasq = \"yes\"\n")),
        ("4 no duration", with("[timeouts]\nconnect = 10\ngate = \"soon\"\n")),
        ("5 misspelt key", format!("{}slavs = []\n", GOOD)),
        ("5 misspelt in a table", with("[network]\nnik = \"eth1\"\n")),
        ("5 misspelt table", with("[netwrok]\nnic = \"eth1\"\n")),
        ("5 in the wrong table", with("[network]\nnic = \"eth1\"\nedges = [\"10.0.0.9\"]\n")),
        (
            "5 keys of Toots.conf",
            "MASTERS = \"10.0.0.1,10.0.0.2,10.0.0.3\"\nNIC = \"eth0\"\nIN_DOMAIN = \"a.b\"\nEX_DOMAIN = \"c.d\"\nVIP = \"10.0.0.9\"\nNFS = \"10.0.0.8:/s\"\nREGISTRY_IP = \"10.0.0.7\"\nCA = \"super.crt\"\n".into(),
        ),
        ("6 no masters", "cluster = \"dc1\"\n".into()),
        ("6 a name without an address", masters("\"m1\", \"10.0.0.2\", \"10.0.0.3\"")),
        ("6 registry without a server", with("[registry]\nusername = \"u\"\npassword_env = \"P\"\n")),
        ("7 a key twice", format!("{GOOD}{GOOD}")),
        ("7 a table twice", with("[ssh]\nport = 22\n[ssh]\nport = 23\n")),
        ("8 a host twice", masters("\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.1\"")),
        ("9 one address in two spellings", masters("\"10.0.0.1\", \"::ffff:10.0.0.1\", \"10.0.0.3\"")),
        ("9 a name and its address", with("slaves = [\"s1\"]\n[hosts.s1]\naddress = \"10.0.0.1\"\n")),
        ("9 short and octal spellings", masters("\"127.1\", \"010.0.0.2\", \"10.0.0.3\"")),
        (
            "9 letter case and final dot",
            with("slaves = [\"s1\", \"S1\", \"s1.\"]\n[hosts.s1]\naddress = \"10.0.0.11\"\n[hosts.S1]\naddress = \"10.0.0.12\"\n[hosts.\"s1.\"]\naddress = \"10.0.0.13\"\n"),
        ),
        ("10 look-alike letters", masters("\"10.0.0.1\", \"m\u{430}ster\", \"10.0.0.3\"")),
        ("10 bidirectional marks", masters("\"10.0.0.1\", \"m\u{202e}2\", \"10.0.0.3\"")),
        ("11 control characters", with("[ssh]\nuser = \"a\\u0000b\"\nproxy_jump = \"x\\n[ssh]\"\n")),
        ("11 newline in a key", with("[hosts]\n\"a\\nb:1:1: all is good\" = 1\n")),
        ("13 more hosts than possible", format!("{GOOD}slaves = [{}]\n", (0..100_000).map(|_| "\"a\",").collect::<String>())),
        ("14 nesting", format!("{GOOD}x = {}{}\n", "[".repeat(10_000), "]".repeat(10_000))),
        ("15 a jump host that is reached through itself", with("[ssh]\nproxy_jump = \"admin@10.0.0.2:22\"\n")),
        ("16 ports", with("[ssh]\nport = 0\n[hosts.\"10.0.0.1\"]\nport = 65536\n[hosts.\"10.0.0.2\"]\nport = -1\n[hosts.\"10.0.0.3\"]\nport = 22.5\n")),
        ("17 addresses that are no host's", masters("\"0.0.0.0\", \"224.0.0.1\", \"127.0.0.1\"")),
        ("17 further ones", masters("\"255.255.255.255\", \"240.0.0.1\", \"fd00::1\"")),
        ("17 listening elsewhere", with("[network]\nlisten_ip = \"192.168.0.1\"\n")),
        ("17 a vip that is taken", with("edges = [\"10.0.0.9\"]\n[network]\nvip = \"10.0.0.9\"\n")),
        ("18 an option for a value", with("[ssh]\nuser = \"-oProxyCommand=x\"\n[network]\nnic = \"-i\"\n")),
        ("18 a path for a name", masters("\"../etc\", \"a/b\", \"root@10.0.0.3\"")),
        ("19 no master in the list", masters("")),
        ("19 one master", masters(&quoted(1))),
        ("19 two masters", masters(&quoted(2))),
        ("19 four masters", masters(&quoted(4))),
        ("19 six masters", masters(&quoted(6))),
        ("19 eight masters", masters(&quoted(8))),
        ("19 nine masters", masters(&quoted(9))),
        ("19 a table of nobody", with("slaves = [\"slave1\"]\n[hosts.slave1]\naddress = \"10.0.0.4\"\n[hosts.slaev1]\nuser = \"x\"\n")),
        ("19 persistent without a role for it", with("[hosts.\"10.0.0.1\"]\npersistent = true\n")),
        ("20 a password in the file", with("[registry]\nserver = \"r:5000\"\nusername = \"u\"\npassword = \"hunter2\"\n")),
        ("20 two sources of a password", with("[registry]\nserver = \"r:5000\"\nusername = \"u\"\npassword_file = \"p\"\npassword_env = \"P\"\n")),
        ("21 domains", with("[network]\nin_domain = \"a b\"\nex_domain = \"-x.example\"\n")),
        ("21 images", with("[images]\nzookeeper = \"zoo keeper\"\nconsul = \"a@sha256:12\"\n")),
        ("21 spread", with("[images]\nspread = \"yes\"\n")),
        ("21 a VPN without certificates", with("[openvpn]\nca = \"ca.crt\"\n")),
        ("21 a VPN's network", with("[openvpn]\nca = \"a\"\ncertificate = \"b\"\nkey = \"c\"\nnetwork = \"10.8.0.1/24\"\n")),
        ("21 an export", with("[nfs]\nexport = \"10.0.0.8:/a,exec\"\n")),
        ("21 privilege", with("[ssh]\nprivilege = \"su\"\n")),
        ("21 names that only the playbook knows", with("[components]\ndnsmask = true\n[images]\nzookeper = \"a\"\n[params.zookeeper]\nheep = \"1g\"\nheap = \"much\"\n[params.nobody]\nx = 1\n")),
        ("21 a registry's switch", with("[components]\nregistry = \"yes\"\n")),
        ("21 a registry's switch misspelt", with("[components]\nregistri = true\n")),
        ("21 arguments of recipes", with("[images.dnsmask]\nversion = \"1\"\n[images.openvpn]\nverson = \"2.6*\"\nbase = \"Debian\"\nversion = 2.6\n")),
        ("21 a file of a recipe, and no digest", with("[images.mesos]\ndeb = \"mesos.deb\"\n")),
        ("21 a digest of a recipe, and no file", with(&format!("[images.mesos]\ndeb_sha256 = \"{}\"\n", "0a".repeat(32)))),
        ("21 a file of a recipe with another digest", with("[images.mesos]\ndeb = \"my mesos.deb\"\ndeb_sha256 = \"d41d8cd98f00b204e9800998ecf8427e\"\n")),
        ("all at once", "masters = [\"10.0.0.1\", \"10.0.0.1\"]\nslavs = []\n[ssh]\nport = 0\n[network]\nnic = 7\n".into()),
    ]
}

struct Masked;

impl Draw for Masked {
    fn file(&self, path: &Path) -> Option<Vec<u8>> {
        std::fs::read(path).ok()
    }

    fn cluster_id(&self) -> String {
        "id".into()
    }

    fn secret(&self, _kind: SecretKind) -> Secret {
        Secret::new(Secret::MASK)
    }
}

/// What `toots inventory check` would report.
fn said(text: &str) -> Result<Inventory, String> {
    let inventory =
        parse(text, "inventory.toml", Path::new("/etc")).map_err(|errors| errors.to_string())?;
    let playbook = Playbook::load(None).unwrap();
    desired::build(&inventory, &playbook, &Recorded::default(), &Masked)
        .map_err(|error| error.to_string())?;
    Ok(inventory)
}

#[test]
fn every_mistake_has_its_message() {
    let mut text_of_messages = String::new();
    for (kind, text) in mistakes() {
        let began = Instant::now();
        let message = said(&text)
            .err()
            .unwrap_or_else(|| panic!("{kind} was accepted:\n{text}"));
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{kind} took {:?}",
            began.elapsed()
        );
        assert!(!message.contains("hunter2"), "{message}");
        assert!(
            message.chars().all(|c| c == '\n' || !c.is_control()),
            "{kind}: {message:?}"
        );
        let _ = writeln!(text_of_messages, "--- {kind}\n{message}\n");
    }
    insta::assert_snapshot!("inventory_mistakes", text_of_messages);
}

#[test]
fn each_problem_has_a_place_and_a_suggestion() {
    for (kind, text) in mistakes() {
        let Err(errors) = parse(&text, "x", Path::new(".")) else {
            continue;
        };
        for problem in &errors.problems {
            assert!(problem.at.is_some(), "{kind}: {problem:?}");
            assert!(
                problem.help.is_some() || kind == "14 nesting",
                "{kind}: {problem:?}"
            );
        }
    }
}

#[test]
fn files_that_are_no_inventory_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8], mode: u32| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let huge = file("huge", b"", 0o600);
    std::fs::OpenOptions::new()
        .write(true)
        .open(&huge)
        .unwrap()
        .set_len(100 * 1024 * 1024)
        .unwrap();
    let cases = [
        ("2 not UTF-8", file("latin", b"# gr\xfcn\n", 0o600)),
        (
            "2 not UTF-8 further down",
            file("latin2", b"masters = []\nx = \"\xff\"\n", 0o600),
        ),
        ("12 a hundred megabytes", huge),
        ("20 a fifo", fifo),
        ("20 an endless device", "/dev/zero".into()),
        ("20 a folder", folder.path().to_owned()),
        ("20 nothing", folder.path().join("nothing")),
        (
            "20 everyone may write it",
            file("open", GOOD.as_bytes(), 0o666),
        ),
    ];
    let mut text_of_messages = String::new();
    for (kind, path) in cases {
        let began = Instant::now();
        let message = load(&MachineFiles, None, &path).unwrap_err().to_string();
        assert!(began.elapsed() < Duration::from_secs(1), "{kind}");
        let _ = writeln!(
            text_of_messages,
            "--- {kind}\n{}\n",
            message.replace(folder.path().to_str().unwrap(), "DIR")
        );
    }
    insta::assert_snapshot!("inventory_files", text_of_messages);
}

#[test]
fn byte_order_marks_and_carriage_returns_are_accepted() {
    let text = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
    assert_eq!(parse(&text, "x", Path::new(".")).unwrap().hosts.len(), 3);
    let wrong = parse(&format!("{text}[ssh]\r\nprot = 1\r\n"), "x", Path::new(".")).unwrap_err();
    assert_eq!(wrong.problems[0].at, Some((3, 1)), "{wrong}");
}

#[test]
fn five_thousand_hosts_are_read_in_time() {
    let slaves: String = (0..4997)
        .map(|n| format!("\"10.{}.{}.{}\", ", 1 + n / 60_000, n / 250 % 250, n % 250))
        .collect();
    let began = Instant::now();
    let inventory = parse(&format!("{GOOD}slaves = [{slaves}]\n"), "x", Path::new(".")).unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        (
            inventory.hosts.len(),
            inventory.with_role(Role::Slave).count()
        ),
        (5000, 4997)
    );
}

#[test]
fn the_example_is_good_and_names_every_key() {
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/inventory.toml.example"
    ))
    .unwrap();
    said(&text).unwrap_or_else(|message| panic!("{message}"));
    // With every commented key enabled it must be valid too, so that none of them is outdated.
    let text_of_messages: String = text
        .lines()
        .map(|line| line.strip_prefix("#= ").unwrap_or(line))
        .flat_map(|line| [line, "\n"])
        .collect();
    let inventory =
        said(&text_of_messages).unwrap_or_else(|message| panic!("{message}\n{text_of_messages}"));
    let playbook = Playbook::load(None).unwrap();
    for switch in playbook
        .components
        .values()
        .flat_map(|component| component.on.options.keys())
    {
        assert!(
            inventory.switches.contains(switch),
            "[components] of the example does not show {switch}"
        );
    }
    for component in playbook.components.values() {
        for name in component.params.keys() {
            let shown = inventory
                .params
                .get(component.name.as_str())
                .is_some_and(|params| params.contains_key(name));
            assert!(
                shown,
                "the example does not show {name} of [params.{}]",
                component.name
            );
        }
    }
    // The keys are those of the schema: a misspelt key in each table lists all of them.
    for table in [
        "network",
        "ssh",
        "docker",
        "registry",
        "nfs",
        "openvpn",
        "consul",
        "timeouts",
        "hosts.\"10.0.0.1\"",
    ] {
        let message = parse(&format!("{GOOD}[{table}]\nqqqq = 1\n"), "x", Path::new("."))
            .unwrap_err()
            .to_string();
        let known = message
            .split("known keys: ")
            .nth(1)
            .and_then(|rest| rest.lines().next())
            .unwrap_or_else(|| panic!("{message}"));
        for key in known.split(", ") {
            let there = text.lines().any(|line| {
                line.trim_start_matches("#= ")
                    .split_once(" = ")
                    .is_some_and(|(name, _)| name == key)
            });
            assert!(
                there || key == "password_env",
                "{key} of [{table}] is not in the example"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes give an answer in bounded time, without a control character.
    #[test]
    fn no_text_panics(text in prop_oneof![".{0,200}", "(\\PC|\n|\"|\\[|\\]|=|#|,|'){0,300}"]) {
        if let Err(errors) = parse(&text, "x", Path::new(".")) {
            let message = errors.to_string();
            prop_assert!(message.chars().all(|c| c == '\n' || !c.is_control()), "{message:?}");
        }
    }

    /// A valid file with one stretch replaced still gives an answer, and every place lies inside
    /// the file.
    #[test]
    fn no_damage_panics(at in 0usize..600, cut in 0usize..40, put in "(\\PC|\n|\"|\\[|=){0,12}") {
        let whole = "cluster = \"dc1\"\nmasters = [\"m1\", \"10.0.0.2\", \"10.0.0.3\"]\nslaves = [\"10.0.0.3\"]\nedges = []\n[hosts.m1]\naddress = \"10.0.0.1\"\nport = 22\n[network]\nnic = \"eth1\"\nvip = \"10.0.0.9\"\n[ssh]\nuser = \"a\"\nidentity_files = [\"k\"]\n[registry]\nserver = \"r:5000\"\nusername = \"u\"\npassword_file = \"p\"\n[images]\nconsul = \"c:1\"\n[timeouts]\nconnect = \"3s\"\n";
        let at = at.min(whole.len());
        let end = (at + cut).min(whole.len());
        let text = format!("{}{put}{}", &whole[..at], &whole[end..]);
        if let Err(errors) = parse(&text, "x", Path::new(".")) {
            let lines = text.split('\n').count();
            prop_assert!(!errors.problems.is_empty());
            prop_assert!(errors.problems.iter().filter_map(|problem| problem.at).all(|(line, column)| line <= lines && column >= 1));
        }
    }
}

/// An operator who opens a host to everyone is told which ports are then open.
#[test]
fn what_a_host_opens_to_the_world_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inventory.toml");
    std::fs::write(
        &path,
        format!("{GOOD}\n[hosts.\"10.0.0.2\"]\nlisten_ip = \"0.0.0.0\"\n"),
    )
    .unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_toots"))
        .args(["inventory", "check", "-i"])
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 1, "{said}");
    for part in [
        "warning: 10.0.0.2 listens on every address",
        "2181/tcp (zookeeper clients)",
        "8080/tcp (marathon HTTP)",
        "5050/tcp (mesos-master HTTP)",
    ] {
        assert!(lines[0].contains(part), "{part}: {said}");
    }
    assert!(
        !said.contains("8301") && !said.contains("2182"),
        "what is bound to one address all the same: {said}"
    );
}
