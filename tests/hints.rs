//! What messages tell an operator to type exists: every command and flag in the clap tree, every key
//! in the inventory's schema. The texts are read from the sources, so that a new one is not missed.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests, which clippy does not take for tests

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use toots::cli::args::Cli;
use toots::spec::{HostName, Part, Remedy, Role};

/// Programs whose own options may stand in a message, up to the end of the command.
const OTHER_PROGRAMS: &[&str] = &[
    "apt",
    "apt-get",
    "curl",
    "df",
    "dnf",
    "docker",
    "docker-compose",
    "du",
    "getent",
    "id",
    "ip",
    "journalctl",
    "ls",
    "nc",
    "ss",
    "ssh",
    "ssh-add",
    "ssh-keygen",
    "ssh-keyscan",
    "stat",
    "sudo",
    "systemctl",
    "timedatectl",
    "visudo",
    "zypper",
];

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// The string literals of a source without its tests, one line each, with escapes resolved.
fn literals(code: &str) -> Vec<String> {
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let mut out = Vec::new();
    let mut chars = code.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if code[at..].starts_with("//") {
            chars.by_ref().find(|(_, c)| *c == '\n');
        } else if code[at..].starts_with("'\"'") {
            chars.by_ref().nth(1);
        } else if c == 'r' && code[at + 1..].starts_with(['"', '#']) {
            let hashes = code[at + 1..].chars().take_while(|c| *c == '#').count();
            let end = format!("\"{}", "#".repeat(hashes));
            let Some(text) = code[at + 1 + hashes..].strip_prefix('"') else {
                continue;
            };
            let length = text.find(&end).unwrap_or(0);
            // Scripts and templates are no messages.
            let skip = 1 + hashes + 1 + length + end.len();
            while chars.peek().is_some_and(|(next, _)| *next < at + skip) {
                chars.next();
            }
        } else if c == '"' {
            let mut text = String::new();
            while let Some((_, c)) = chars.next() {
                match c {
                    '"' => break,
                    '\\' => match chars.next() {
                        Some((_, '\n')) => {
                            while chars.peek().is_some_and(|(_, c)| c.is_whitespace()) {
                                chars.next();
                            }
                        }
                        Some((_, 'n' | 't')) => text.push(' '),
                        Some((_, c)) => text.push(c),
                        None => break,
                    },
                    c => text.push(c),
                }
            }
            out.push(text);
        }
    }
    out
}

fn messages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    let mut out = Vec::new();
    for path in files {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        // Tests that play a host write its programs.
        if name.starts_with("src/host/")
            && ["_tests.rs", "played_host.rs"]
                .iter()
                .any(|end| name.ends_with(end))
        {
            continue;
        }
        let texts = literals(&fs::read_to_string(&path).unwrap());
        // Scripts for hosts are no messages.
        let texts = texts
            .into_iter()
            .filter(|text| !text.contains("command -v"));
        out.extend(texts.map(|text| (name.clone(), text)));
    }
    out
}

/// The words after each `toots ` that begins a command.
fn commands(text: &str) -> Vec<Vec<String>> {
    let starts = text.match_indices("toots ").map(|(at, _)| at);
    let begins =
        |at: &usize| !text[..*at].ends_with(|c: char| c.is_alphanumeric() || "-_/.".contains(c));
    starts
        .filter(begins)
        .map(|at| {
            let rest = &text[at + "toots ".len()..];
            let ends = rest.find([';', '(', ')', '&', '|']).unwrap_or(rest.len());
            rest[..ends].split_whitespace().map(str::to_owned).collect()
        })
        .collect()
}

/// The subcommand that the words name, with the words after it; `None` when the first word is none.
fn subcommand(words: &[String]) -> Option<(clap::Command, &[String])> {
    let mut command = Cli::command();
    let mut taken = 0;
    for word in words {
        let name = word.trim_end_matches([',', '.', ':']);
        let Some(next) = command.find_subcommand(name) else {
            break;
        };
        command = next.clone();
        taken += 1;
    }
    (taken > 0).then(|| (command, &words[taken..]))
}

fn takes(command: &clap::Command, flag: &str) -> bool {
    command
        .get_arguments()
        .any(|argument| argument.get_long() == Some(flag))
        || command.get_subcommands().any(|sub| takes(sub, flag))
}

/// Long options in a text that belong to toots.
fn own_flags(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut foreign = false;
    for word in text.split_whitespace() {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '-');
        if OTHER_PROGRAMS.contains(&bare) {
            foreign = true;
        } else if bare == "toots" {
            foreign = false;
        }
        let flag = bare.strip_prefix("--").unwrap_or_default();
        let flag = flag
            .split(|c: char| !c.is_ascii_lowercase() && c != '-')
            .next()
            .unwrap_or("");
        if flag.len() > 1 && !flag.starts_with('-') && !foreign {
            out.push(flag.to_owned());
        }
        if word.ends_with([';', ',', ')']) {
            foreign = false;
        }
    }
    out
}

/// Words that stand before a table without being one of its keys.
const NOT_KEYS: &[&str] = &["above", "belong", "missing"];

/// Keys that a text places in a table: `username and password_file in [registry]`.
fn keys(text: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (at, _) in text.match_indices(" in [") {
        let table = text[at + " in [".len()..]
            .split(']')
            .next()
            .unwrap_or_default();
        if table.contains(['{', '.']) {
            continue;
        }
        let before = text[..at].replace(" = true", "").replace(" = false", "");
        let mut words = before.split_whitespace().rev().peekable();
        while let Some(word) = words.next() {
            let key = word.trim_matches(['`', ',']);
            if key.is_empty()
                || NOT_KEYS.contains(&key)
                || !key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            {
                break;
            }
            out.push((table.to_owned(), key.to_owned()));
            let joined = words.next_if(|word| ["and", "or"].contains(word)).is_some();
            if !joined && !words.peek().is_some_and(|word| word.ends_with(',')) {
                break;
            }
        }
    }
    out
}

/// Files whose texts may name a command: what they write explains itself to whoever finds it on a
/// host or in a folder.
const NAMING_COMMANDS: [&str; 3] = [
    "src/spec/remedy.rs",
    "src/desired/compose.rs",
    "src/inventory/draft.rs",
];

/// A command in a message is a remedy: only those are resolved, and get the operator's inventory.
#[test]
fn only_remedies_name_commands() {
    let is_command = |words: &Vec<String>| subcommand(words).is_some();
    let found: Vec<String> = messages()
        .into_iter()
        .filter(|(file, _)| {
            !NAMING_COMMANDS.contains(&file.as_str()) && !file.starts_with("src/cli/args")
        })
        .filter(|(_, text)| commands(text).iter().any(is_command))
        .map(|(file, text)| format!("{file}: {text}"))
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn flags_in_messages_exist() {
    let root = Cli::command();
    let mut wrong = BTreeSet::new();
    let mut seen = 0;
    for (file, text) in messages() {
        for flag in own_flags(&text) {
            seen += 1;
            if !takes(&root, &flag) && !["help", "version"].contains(&flag.as_str()) {
                wrong.insert(format!("{file}: no command has --{flag}: {text}"));
            }
        }
    }
    let wrong: Vec<String> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(seen > 10, "{seen}");
}

#[test]
fn keys_in_messages_exist() {
    let mut wrong = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (file, text) in messages() {
        for (table, key) in keys(&text) {
            seen.insert((table.clone(), key.clone()));
            let inventory = format!(
                "masters = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"]\n[{table}]\n{key} = []\n"
            );
            // A value of a wrong type: a key that exists is refused for its value alone.
            let error = toots::inventory::parse(&inventory, "i.toml", Path::new("."));
            let why = error.err().map(|e| e.to_string()).unwrap_or_default();
            if why.contains("unknown") {
                wrong.insert(format!("{file}: {key} in [{table}]: {text}: {why}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "\n{}",
        wrong.into_iter().collect::<Vec<_>>().join("\n")
    );
    assert!(!seen.is_empty(), "the scan finds keys");
}

#[test]
fn wrong_commands_flags_and_keys_are_seen() {
    let code = "let x = \"run again with --no-such\"; // \"--comment\"\nlet y = \"set \\\"a\\\"\";";
    assert_eq!(literals(code), ["run again with --no-such", "set \"a\""]);
    assert_eq!(own_flags("run docker ps --all; then --yes"), ["yes"]);
    assert_eq!(
        commands("bring it back (toots cluster status shows it)")[0][..2],
        ["cluster", "status"]
    );
    assert_eq!(
        keys("check username and password_file in [registry]"),
        [
            ("registry".into(), "password_file".into()),
            ("registry".into(), "username".into()),
        ]
    );
}

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

/// One of each remedy.
fn remedies() -> Vec<Remedy> {
    let samples = vec![
        Remedy::Advice("start it".into()),
        Remedy::TrustHost { host: "m1".into() },
        Remedy::ReplaceHostKey {
            remove: "ssh-keygen -R m1".into(),
            host: "m1".into(),
        },
        Remedy::AcceptNewHostKeys,
        Remedy::AskPassword,
        Remedy::AskSudoPassword,
        Remedy::SetIdentityFile,
        Remedy::SeeStatus,
        Remedy::SeeEffect,
        Remedy::BringMemberBack,
        Remedy::BringUpMasters,
        Remedy::RepairMember {
            host: host("m1"),
            component: "zookeeper".into(),
        },
        Remedy::AddHost {
            role: Role::Slave,
            address: [10, 0, 0, 9].into(),
            name: host("s9"),
        },
        Remedy::RollBackApp { id: "/web".into() },
        Remedy::ShowApp { id: "/web".into() },
        Remedy::ReplaceDeployment,
        Remedy::Agree,
        Remedy::WaitForLock,
        Remedy::ShowInitOptions,
        Remedy::WriteInventory,
        Remedy::RunFirstCommands,
        Remedy::ImportFormerFile {
            file: "Toots.conf".into(),
        },
        Remedy::ReplaceFormerKey {
            key: "NIC".into(),
            place: "nic = \"…\" in [network]".into(),
        },
        Remedy::SetRegistryCa {
            registry: "r.example.com".into(),
        },
        Remedy::CheckRegistryLogin,
        Remedy::FreeSpace {
            path: "/var/lib/docker".into(),
        },
        Remedy::CheckImage {
            registry: "r.example.com".into(),
            image: "web:1".into(),
        },
        Remedy::ReachRegistry {
            registry: "r.example.com".into(),
        },
        Remedy::AddImage {
            key: "mesos".into(),
        },
        Remedy::BuildAnew {
            recipe: "dnsmasq".into(),
        },
        Remedy::BuildElsewhere,
        Remedy::BuildWithEngine {
            platforms: "linux/arm64".into(),
        },
        Remedy::ChangeRecipe {
            recipe: "dnsmasq".into(),
        },
        Remedy::ReachWithoutLogin {
            recipe: "mesos".into(),
        },
        Remedy::SetInterface {
            host: host("m1"),
            subject: "10.0.0.1".into(),
            interface: "ens3".into(),
        },
        Remedy::AllowDockerInstallation,
        Remedy::RestoreAddress {
            host: host("m1"),
            address: "10.0.0.1".into(),
        },
        Remedy::ReachRegistryFromHere {
            registry: "r.example.com".into(),
        },
        Remedy::ChooseImage,
        Remedy::ChoosePlatform,
        Remedy::ResumeBundle {
            file: "dc1.tar".into(),
            platforms: vec!["linux/amd64".into(), "linux/arm64".into()],
        },
        Remedy::CreateBundle {
            file: "dc1.tar".into(),
        },
        Remedy::CreateBundleFor {
            file: "dc1.tar".into(),
            platforms: vec!["linux/amd64".into(), "linux/arm64".into()],
        },
        Remedy::BootNfsKernel { host: host("m1") },
        Remedy::CorrectExport,
    ];
    let name = |remedy: &Remedy| -> String {
        let text = format!("{remedy:?}");
        text.split([' ', '(', '{']).next().unwrap().to_owned()
    };
    let names: BTreeSet<String> = samples.iter().map(name).collect();
    let source = include_str!("../src/spec/remedy.rs");
    let (_, variants) = source.split_once("pub enum Remedy {").unwrap();
    let (variants, _) = variants.split_once("\n}").unwrap();
    let defined: BTreeSet<String> = variants
        .lines()
        .filter(|line| line.starts_with("    ") && line.trim().starts_with(char::is_uppercase))
        .map(|line| {
            let name = line.trim().split([' ', '(', '{', ',']).next();
            name.unwrap().to_owned()
        })
        .collect();
    assert_eq!(names, defined, "one sample of each remedy");
    samples
}

#[test]
fn every_remedy_resolves() {
    let command = Cli::command();
    for part in remedies().iter().flat_map(Remedy::parts) {
        match part {
            Part::Text(text) => {
                assert!(
                    commands(&text).is_empty() && own_flags(&text).is_empty(),
                    "{text}"
                );
            }
            Part::Command { words, inventory } => {
                let (command, _) = subcommand(&words).expect("a command");
                let reads = command.get_arguments().any(|a| a.get_id() == "inventory");
                assert_eq!(reads, inventory, "{words:?}");
            }
            Part::Flag("-i") => {}
            Part::Flag(flag) => {
                let flag = flag.trim_start_matches("--");
                assert!(takes(&command, flag), "--{flag}");
            }
            Part::Keys { table, keys } => {
                for key in keys {
                    let key = key.split(" = ").next().unwrap();
                    let text =
                        format!("masters = [\"m1\", \"m2\", \"m3\"]\n[{table}]\n{key} = []\n");
                    let error = toots::inventory::parse(&text, "i.toml", Path::new("."));
                    let why = error.unwrap_err().to_string();
                    assert!(!why.contains("unknown"), "{key} in [{table}]: {why}");
                }
            }
        }
    }
}

/// Every command of a remedy, pasted: it is understood, and reads the inventory that it names.
#[test]
fn pasted_commands_run() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("my cluster.toml");
    // A port on which nothing listens, so that each command ends at once.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let hosts: String = (1..=3)
        .map(|n| format!("[hosts.m{n}]\naddress = \"10.0.0.{n}\"\nssh = \"127.0.0.1\"\n"))
        .collect();
    let components = ["chronos", "consul", "marathon", "mesos-master", "zookeeper"];
    let images = components.map(|name| format!("{name} = \"127.0.0.1:{port}/{name}:1\"\n"));
    let text = format!(
        "masters = [\"m1\", \"m2\", \"m3\"]\n[ssh]\nport = {port}\nconfig_file = \"/dev/null\"\n{hosts}\
         [images]\n{}",
        images.concat()
    );
    std::fs::write(&file, text).unwrap();
    std::fs::write(
        dir.path().join("Toots.conf"),
        "MASTERS=10.0.0.1,10.0.0.2,10.0.0.3\n",
    )
    .unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_toots"));
    let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
    let mut ran = 0;
    for remedy in remedies() {
        let text = remedy.text(Some(&file));
        let Some(Part::Command { .. }) = remedy
            .parts()
            .into_iter()
            .find(|part| matches!(part, Part::Command { .. }))
        else {
            continue;
        };
        let begin = text.find("toots ").unwrap();
        let end = text[begin..]
            .find([')', '>'])
            .map_or(text.len(), |end| begin + end);
        let line = text[begin..end]
            .replace(" shows it", "")
            .replace("IP,IP,IP", "10.0.0.1,10.0.0.2,10.0.0.3");
        let output = std::process::Command::new("sh")
            .args(["-c", &line])
            .current_dir(dir.path())
            .env_clear()
            .env("HOME", dir.path())
            .env("PATH", &path)
            // No public registry is asked.
            .env("HTTPS_PROXY", format!("http://127.0.0.1:{port}"))
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let code = output.status.code();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            matches!(code, Some(0 | 3 | 4 | 6)),
            "{line}: {code:?}: {error}"
        );
        ran += 1;
    }
    assert!(ran > 8, "{ran} commands ran");
}
