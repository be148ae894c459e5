//! The questions of `toots init` on a terminal: those of the old shell tool's menus.

use std::io;
use std::net::IpAddr;

use crate::env::Terminal;
use crate::inventory::Draft;

/// Switches of optional components, with their questions.
const SWITCHES: [(&str, &str); 4] = [
    ("balancer_on_slaves", "Run HAProxy on slaves?"),
    ("dnsmasq", "Run a DNS server (dnsmasq) on slaves?"),
    ("registrator_on_masters", "Run Registrator on masters?"),
    (
        "supervisord",
        "Serve supervisord's page on every host (needs an image)?",
    ),
];

/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 64 << 10;

/// Questions go to standard error: standard output is the inventory.
struct Menu<'a>(&'a dyn Terminal);

impl Menu<'_> {
    fn show(&self, text: &str) -> io::Result<()> {
        self.0.write_error(text.as_bytes())
    }

    /// Asks for a text; an empty answer is the default.
    async fn text(&self, question: &str, default: &str) -> io::Result<String> {
        let shown = if default.is_empty() {
            String::new()
        } else {
            format!(" [{default}]")
        };
        self.show(&format!("{question}{shown}: "))?;
        let line = self.0.read_line(MAX_ANSWER_BYTES).await?;
        if line.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let line = String::from_utf8(line).map_err(io::Error::other)?;
        let answer = line.trim();
        Ok(if answer.is_empty() {
            default.to_owned()
        } else {
            answer.to_owned()
        })
    }

    /// Asks until the answer can be parsed; an empty answer is allowed.
    async fn parsed<T>(
        &self,
        question: &str,
        wrong: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> io::Result<T> {
        loop {
            let answer = self.text(question, "").await?;
            match parse(&answer) {
                Some(value) => return Ok(value),
                None => self.show(&format!("  {wrong}\n"))?,
            }
        }
    }

    async fn addresses(
        &self,
        question: &str,
        fits: impl Fn(usize) -> bool,
        wrong: &str,
    ) -> io::Result<Vec<IpAddr>> {
        self.parsed(question, wrong, |text| {
            let words = text.split([',', ' ']).filter(|word| !word.is_empty());
            words
                .map(|word| word.parse().ok())
                .collect::<Option<Vec<IpAddr>>>()
                .filter(|list| fits(list.len()))
        })
        .await
    }

    async fn yes(&self, question: &str) -> io::Result<bool> {
        let answer = self.text(question, "no").await?;
        Ok(matches!(answer.as_str(), "y" | "Y" | "yes"))
    }
}

/// Asks for everything that the flags do not set.
///
/// # Errors
/// When the input ends before the last answer.
pub(super) async fn ask(mut draft: Draft, terminal: &dyn Terminal) -> io::Result<Draft> {
    let menu = Menu(terminal);
    menu.show("An empty answer keeps the default.\n")?;
    let masters = menu.addresses(
        "Masters (three, five or seven addresses)",
        |n| matches!(n, 3 | 5 | 7),
        "three, five or seven IP addresses",
    );
    draft.masters = masters.await?;
    menu.show("Install mode\n  1. Master\n  2. Master + Slave\n  3. Master + Slave + Edge\n")?;
    let mode = menu.parsed("The masters are [1]", "1, 2 or 3", |text| match text {
        "" | "1" => Some(1),
        "2" => Some(2),
        "3" => Some(3),
        _ => None,
    });
    let mode = mode.await?;
    let others = "IP addresses separated by commas";
    let roles: [(&mut Vec<IpAddr>, &str, u8); 2] = [
        (&mut draft.slaves, "Additional slaves (addresses)", 2),
        (&mut draft.edges, "Additional edges (addresses)", 3),
    ];
    for (list, question, from) in roles {
        if mode >= from {
            list.extend(&draft.masters);
        }
        list.extend(menu.addresses(question, |_| true, others).await?);
    }
    for (answer, question, default) in [
        (
            &mut draft.user,
            "SSH user (default: that of ssh_config, else your own name)",
            "",
        ),
        (&mut draft.cluster, "Cluster name", "dc1"),
        (
            &mut draft.nic,
            "Network interface that holds the addresses (default: any, and eth0 for a virtual address)",
            "",
        ),
        (
            &mut draft.in_domain,
            "Internal domain (Consul's DNS)",
            "consul",
        ),
        (&mut draft.ex_domain, "External domain (edges)", ""),
        (
            &mut draft.nfs,
            "NFS export for persistent slaves (server:/path)",
            "",
        ),
        (&mut draft.registry, "Private registry (host:port)", ""),
    ] {
        let text = menu
            .text(question, answer.as_deref().unwrap_or(default))
            .await?;
        *answer = Some(text).filter(|text| !text.is_empty());
    }
    if draft.registry.is_some() {
        let ca = menu
            .text("CA certificate of the registry (file)", "")
            .await?;
        draft.ca = Some(ca).filter(|text| !text.is_empty());
    }
    if !draft.edges.is_empty() {
        let none_or_address = |text: &str| {
            if text.is_empty() {
                Some(None)
            } else {
                text.parse().ok().map(Some)
            }
        };
        let vip = menu.parsed(
            "Virtual IP address of the edges",
            "an IP address, or nothing",
            none_or_address,
        );
        draft.vip = vip.await?;
    }
    for (switch, question) in SWITCHES {
        if menu.yes(question).await? {
            draft.switches.push(switch.to_owned());
        }
    }
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::memory::MemoryTerminal;

    fn typed(answers: &str) -> MemoryTerminal {
        let terminal = MemoryTerminal::default();
        terminal.type_text(answers);
        terminal
    }

    #[tokio::test]
    async fn answers_become_a_good_inventory() {
        let answers = "10.0.0.1,10.0.0.2\n10.0.0.1, 10.0.0.2 10.0.0.3\n4\n2\n10.0.0.9\n10.0.0.31\nops\nprod\n\ncluster.example\nexample.com\n\n\nx\n10.0.0.100\nno\nyes\n\n\n";
        let terminal = typed(answers);
        let draft = ask(Draft::default(), &terminal).await.unwrap();
        let said = terminal.error();
        assert!(
            said.contains("three, five or seven IP addresses\n")
                && said.contains("1, 2 or 3\n")
                && said.contains("an IP address, or nothing\n"),
            "{said}"
        );
        assert_eq!(
            (draft.slaves.len(), draft.edges.len(), draft.switches),
            (4, 1, vec!["dnsmasq".to_owned()])
        );
        let text = crate::inventory::draft(&Draft {
            switches: Vec::new(),
            ..ask(Draft::default(), &typed(answers)).await.unwrap()
        });
        let inventory = crate::inventory::parse(&text, "x", std::path::Path::new(".")).unwrap();
        assert_eq!(
            (inventory.cluster.as_str(), inventory.hosts.len()),
            ("prod", 5)
        );
        assert_eq!(inventory.ssh.user.as_deref(), Some("ops"));
        assert_eq!(
            ask(Draft::default(), &typed("")).await.unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }
}
