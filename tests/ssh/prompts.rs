//! Questions on a real terminal, read from its screen: each stays until it is answered, none shows
//! a secret, and every way out gives the terminal back.

use std::time::{Duration, Instant};

use super::lab::{Sshd, keygen, ready};
use super::privilege::{Rule, sudo};
use super::pty::{Terminal, WIDTHS};
use super::users::Account;

const SECRET: &str = "sentinel-word";

fn start(sshd: &Sshd, width: u16, words: &str) -> Terminal {
    Terminal::start(sshd.dir.path(), width, words)
}

/// An inventory of three masters, all of them this server.
pub fn inventory(sshd: &Sshd, more: &str) -> String {
    let known = sshd.known_right("ed25519");
    let mut text = format!(
        "masters = [\"m1\", \"m2\", \"m3\"]\n[ssh]\nconfig_file = \"/dev/null\"\n\
         known_hosts_files = [{known:?}]\n{more}\n"
    );
    for n in 1..=3 {
        text += &format!(
            "[hosts.m{n}]\naddress = \"10.0.0.{n}\"\nssh = \"127.0.0.1\"\nport = {}\n",
            sshd.port
        );
    }
    let path = sshd.at("inventory.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn locked_key(sshd: &Sshd) -> String {
    let key = sshd.at("locked");
    if !key.exists() {
        keygen(&key, "ed25519", SECRET);
        let public = std::fs::read(sshd.at("locked.pub")).unwrap();
        std::fs::write(sshd.at("authorized_keys"), public).unwrap();
    }
    key.display().to_string()
}

#[test]
fn passphrase_is_asked_and_hidden() {
    if !ready() {
        return;
    }
    let sshd = Sshd::start(&["ed25519"], "");
    let key = locked_key(&sshd);
    let inventory = inventory(
        &sshd,
        &format!("user = \"root\"\nidentity_files = [{key:?}]"),
    );
    for width in WIDTHS {
        let words = format!("cluster plan --output live -i '{inventory}'");
        let mut terminal = start(&sshd, width, &words);
        terminal.assert_question_stays(&format!("passphrase of {key}:"));
        terminal.enter(format!("{SECRET}\n"));
        let text = terminal.finish(SECRET);
        assert!(!text.contains("wrong passphrase"), "{text}");
    }
}

#[test]
fn interrupted_question_gives_the_terminal_back() {
    if !ready() {
        return;
    }
    let sshd = Sshd::start(&["ed25519"], "");
    let key = locked_key(&sshd);
    let inventory = inventory(
        &sshd,
        &format!("user = \"root\"\nidentity_files = [{key:?}]"),
    );
    for command in ["cluster plan", "cluster status", "cluster up --yes"] {
        let words = format!("{command} -i '{inventory}'");
        let mut terminal = start(&sshd, 60, &words);
        terminal.assert_question_stays("passphrase of");
        let asked = Instant::now();
        terminal.enter("\x03");
        terminal.wait_for("code 130");
        assert!(asked.elapsed() < Duration::from_secs(2), "{command}");
        terminal.finish(SECRET);
    }
}

#[test]
fn login_password_is_asked_and_hidden() {
    if !ready() {
        return;
    }
    let Some(user) = Account::new("tootspr", SECRET) else {
        return;
    };
    let sshd = Sshd::start(
        &["ed25519"],
        "PasswordAuthentication yes\nPubkeyAuthentication no\n",
    );
    let inventory = inventory(&sshd, &format!("user = {:?}", user.name));
    for width in WIDTHS {
        let words = format!("cluster plan --ask-password --output live -i '{inventory}'");
        let mut terminal = start(&sshd, width, &words);
        terminal.assert_question_stays("password of tootspr (first for m");
        terminal.enter(format!("{SECRET}\n"));
        let text = terminal.finish(SECRET);
        assert!(!text.contains("denied"), "{text}");
    }
}

#[test]
fn sudo_password_is_asked_and_hidden() {
    if !ready() || !sudo() {
        return;
    }
    let Some(user) = Account::new("tootspq", SECRET) else {
        return;
    };
    let _rule = Rule::new("tootspq", "tootspq ALL=(ALL) ALL");
    let sshd = Sshd::start(&["ed25519"], "");
    let key = sshd.at("id").display().to_string();
    let keys = format!("user = {:?}\nidentity_files = [{key:?}]", user.name);
    let inventory = inventory(&sshd, &keys);
    for width in WIDTHS {
        let words = format!("cluster plan --ask-sudo-password --output live -i '{inventory}'");
        let mut terminal = start(&sshd, width, &words);
        terminal.assert_question_stays("sudo password of tootspq (first for m");
        terminal.enter(format!("{SECRET}\n"));
        let text = terminal.finish(SECRET);
        assert!(!text.contains("denied"), "{text}");
    }
}

#[test]
fn only_a_clear_yes_records_a_host_key() {
    if !ready() {
        return;
    }
    let sshd = Sshd::start(&["ed25519"], "");
    let inventory = inventory(&sshd, "user = \"root\"");
    let known = sshd.at("known_hosts");
    for width in WIDTHS {
        for (answer, recorded) in [
            ("\n", false),
            ("no\n", false),
            ("\x04", false),
            ("y\n", true),
            ("\x03", false),
        ] {
            std::fs::write(&known, "").unwrap();
            let mut terminal = start(&sshd, width, &format!("ssh trust m1 -i '{inventory}'"));
            terminal.assert_question_stays("[y/N]");
            terminal.enter(answer);
            let code = match answer {
                "\x03" => "code 130",
                _ if recorded => "code 0",
                _ => "code 3",
            };
            terminal.wait_for(code);
            terminal.finish(SECRET);
            let text = std::fs::read_to_string(&known).unwrap();
            assert_eq!(!text.is_empty(), recorded, "{answer:?}: {text}");
        }
    }
}

#[test]
fn interrupted_menu_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("inventory.toml");
    for width in WIDTHS {
        for answers in [&[][..], &["10.0.0.1,10.0.0.2,10.0.0.3\n", "2\n"][..]] {
            let words = format!("init --out '{}'", out.display());
            let mut terminal = Terminal::start(dir.path(), width, &words);
            terminal.wait_for("Masters (three, five or seven addresses):");
            for answer in answers {
                terminal.enter(answer);
            }
            if !answers.is_empty() {
                terminal.wait_for("Additional slaves (addresses):");
            }
            terminal.enter("\x03");
            terminal.wait_for("code 130");
            terminal.finish(SECRET);
            assert!(!out.exists());
        }
    }
}

/// The answers to all questions, from the masters to the switches.
const ANSWERS: &str = "10.0.0.1,10.0.0.2,10.0.0.3\n\n\n\nops\n\n\n\n\n\n\n\n\n\n\n";

#[test]
fn answered_menu_writes_a_new_inventory_and_names_the_next_commands() {
    for (width, option, file) in [
        (WIDTHS[0], "", "inventory.toml"),
        (WIDTHS[1], "--out 'my cluster.toml'", "my cluster.toml"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join(file);
        let mut terminal = Terminal::start(dir.path(), width, &format!("init {option}"));
        terminal.wait_for("Masters (three, five or seven addresses):");
        terminal.enter(ANSWERS);
        terminal.wait_for("code 0");
        let text = terminal.finish(SECRET);
        let named = match option {
            "" => String::new(),
            _ => " -i 'my cluster.toml'".to_owned(),
        };
        assert!(text.contains(&format!("wrote {file}; next:")), "{text}");
        for words in [
            "inventory check",
            "ssh trust",
            "cluster check",
            "cluster plan",
            "cluster up",
        ] {
            assert!(text.contains(&format!("toots {words}{named}")), "{text}");
        }
        let written = std::fs::read_to_string(&out).unwrap();
        assert!(written.contains("user = \"ops\"\n"), "{written}");
        let (inventory, _) = toots::inventory::load(&toots::env::MachineFiles, None, &out).unwrap();
        assert_eq!(inventory.hosts.len(), 3);
    }
}

#[test]
fn init_on_a_terminal_replaces_no_file_and_asks_nothing_then() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("inventory.toml");
    for words in ["init", "init --masters 10.0.0.1,10.0.0.2,10.0.0.3"] {
        std::fs::write(&out, "mine\n").unwrap();
        let mut terminal = Terminal::start(dir.path(), 60, words);
        terminal.wait_for("code 2");
        let text = terminal.finish(SECRET);
        assert!(
            text.contains("cannot write inventory.toml: it already exists"),
            "{text}"
        );
        assert!(!text.contains("Masters"), "{text}");
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "mine\n");
    }
}
