//! What an operator can do about an error. Whatever names a command, an option or a key of the
//! inventory is data, so that one test resolves all of it, and commands get the operator's own
//! inventory in one place.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{HostName, Role, quote};

/// One thing to do. To add one that names a command, an option or a key: a variant, its parts below,
/// and a sample in tests/hints.rs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Remedy {
    /// Advice that names none of these.
    Advice(String),
    /// Look at the host's key and record it.
    TrustHost {
        host: String,
    },
    /// Replace a recorded key, when the new one is right. `remove`: the command that removes it.
    ReplaceHostKey {
        remove: String,
        host: String,
    },
    AcceptNewHostKeys,
    AskPassword,
    AskSudoPassword,
    SetIdentityFile,
    SeeStatus,
    /// A request got no answer.
    SeeEffect,
    BringMemberBack,
    BringUpMasters,
    RepairMember {
        host: HostName,
        component: String,
    },
    AddHost {
        role: Role,
        address: IpAddr,
        name: HostName,
    },
    RollBackApp {
        id: String,
    },
    ShowApp {
        id: String,
    },
    ReplaceDeployment,
    Agree,
    WaitForLock,
    ShowInitOptions,
    WriteInventory,
    /// From a new inventory to a cluster, one command a line.
    RunFirstCommands,
    ImportFormerFile {
        file: String,
    },
    /// A key of Toots.conf in an inventory.
    ReplaceFormerKey {
        key: String,
        place: String,
    },
    SetRegistryCa {
        registry: String,
    },
    CheckRegistryLogin,
    CheckImage {
        registry: String,
        image: String,
    },
    ReachRegistry {
        registry: String,
    },
    AddImage {
        key: String,
    },
    /// An image is nowhere any more, and its recipe has changed.
    BuildAnew {
        recipe: String,
    },
    /// No host can build an image.
    BuildElsewhere,
    /// The Engine of the operator's machine builds for another platform, or there is none.
    BuildWithEngine {
        platforms: String,
    },
    /// A build failed.
    ChangeRecipe {
        recipe: String,
    },
    /// A build ran without the proxy of its Engine, which hides the proxy's login.
    ReachWithoutLogin {
        recipe: String,
    },
    SetInterface {
        host: HostName,
        subject: String,
        interface: String,
    },
    AllowDockerInstallation,
    FreeSpace {
        path: String,
    },
    RestoreAddress {
        host: HostName,
        address: String,
    },
    ReachRegistryFromHere {
        registry: String,
    },
    ChooseImage,
    ChoosePlatform,
    /// A bundle that is not complete.
    ResumeBundle {
        file: String,
        /// Those that were given.
        platforms: Vec<String>,
    },
    CreateBundle {
        file: String,
    },
    /// A bundle lacks a platform.
    CreateBundleFor {
        file: String,
        platforms: Vec<String>,
    },
    BootNfsKernel {
        host: HostName,
    },
    CorrectExport,
}

/// A piece of a remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Text(Cow<'static, str>),
    /// The words of a toots command, and whether it reads an inventory.
    Command {
        words: Vec<String>,
        inventory: bool,
    },
    /// An option, with its dashes.
    Flag(&'static str),
    /// Keys of a table of the inventory, some with ` = value`; none: the table itself.
    Keys {
        table: String,
        keys: Vec<String>,
    },
}

impl Remedy {
    /// Its pieces, in the order of the text.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        match self {
            Self::Advice(advice) => vec![text(advice.clone())],
            Self::TrustHost { host } => vec![run(&["ssh", "trust", host])],
            Self::ReplaceHostKey { remove, host } => vec![
                text(format!("if the new key is right: {remove} && ")),
                run(&["ssh", "trust", host]),
            ],
            Self::AcceptNewHostKeys => vec![
                Part::Flag("--accept-new-host-keys"),
                text(" records keys of unknown hosts"),
            ],
            Self::AskPassword => vec![Part::Flag("--ask-password"), text(" asks for a password")],
            Self::AskSudoPassword => {
                vec![
                    Part::Flag("--ask-sudo-password"),
                    text(" asks once per run"),
                ]
            }
            Self::SetIdentityFile => vec![
                text("set the right key: "),
                keys("ssh", &["identity_files"]),
                text(", or IdentityFile in ssh_config"),
            ],
            Self::SeeStatus => vec![run(&["cluster", "status"])],
            Self::SeeEffect => vec![
                text("the request may have been executed; "),
                run(&["cluster", "status"]),
            ],
            Self::BringMemberBack => vec![
                text("bring the missing member back first ("),
                run(&["cluster", "status"]),
                text(" shows it)"),
            ],
            Self::BringUpMasters => vec![
                text("bring up the masters first: "),
                run(&["cluster", "up"]),
            ],
            Self::RepairMember { host, component } => vec![
                text("to take the majority's data: "),
                run(&["cluster", "repair", host.as_str(), "--component", component]),
            ],
            Self::AddHost {
                role,
                address,
                name,
            } => {
                let (add, address) = (format!("add-{role}"), address.to_string());
                vec![run(&["cluster", &add, &address, "--name", name.as_str()])]
            }
            Self::RollBackApp { id } => vec![
                text("the deployment continues until it succeeds or is replaced; to go back: "),
                run(&["app", "rollback", id]),
            ],
            Self::ShowApp { id } => vec![
                text("the deployment continues ("),
                run(&["app", "show", id]),
                text(")"),
            ],
            Self::ReplaceDeployment => vec![
                text("wait until that deployment ends, or replace it with "),
                Part::Flag("--force"),
            ],
            Self::Agree => vec![text("agree with "), Part::Flag("--yes")],
            Self::WaitForLock => vec![
                text("wait until that run ends, or run again with "),
                Part::Flag("--lock-wait"),
                text(" 10m"),
            ],
            Self::ShowInitOptions => vec![offline(&["init", "--help"])],
            Self::WriteInventory => vec![
                text("name the file with "),
                Part::Flag("-i"),
                text(" FILE, or write one: "),
                offline(&["init", "--masters", "IP,IP,IP", "--out", "inventory.toml"]),
            ],
            Self::RunFirstCommands => vec![
                run(&["inventory", "check"]),
                text("\n  "),
                run(&["ssh", "trust"]),
                text("\n  "),
                run(&["cluster", "check"]),
                text("\n  "),
                run(&["cluster", "plan"]),
                text("\n  "),
                run(&["cluster", "up"]),
            ],
            Self::ImportFormerFile { file } => vec![
                text("this looks like a Toots.conf: "),
                offline(&["inventory", "import", file]),
                text(" > inventory.toml"),
            ],
            Self::ReplaceFormerKey { key, place } => vec![
                text(format!(
                    "{key} is a key of Toots.conf; write {place}, or run: "
                )),
                offline(&["inventory", "import", "Toots.conf"]),
            ],
            Self::SetRegistryCa { registry } => vec![
                text("set "),
                keys("registry", &["ca"]),
                text(format!(" to the certificate authority of {registry}")),
            ],
            Self::CheckRegistryLogin => vec![
                text("check "),
                keys("registry", &["username", "password_file"]),
            ],
            Self::CheckImage { registry, image } => vec![
                text(format!(
                    "check that {registry} has {image}, or set another image in "
                )),
                keys("images", &[]),
            ],
            Self::ReachRegistry { registry } => vec![
                text(format!(
                    "check that the hosts can reach {registry}, or set another image in "
                )),
                keys("images", &[]),
            ],
            Self::AddImage { key } => vec![
                text("add to "),
                keys("images", &[]),
                text(format!(": {key} = \"registry.example.com:5000/{key}:1\"")),
            ],
            Self::BuildAnew { recipe } => vec![
                text("to build it by the present recipe, which replaces its containers, set "),
                keys(&format!("images.{recipe}"), &["base"]),
            ],
            Self::BuildElsewhere => vec![
                text("update Docker on one of the hosts, or name an image in "),
                keys("images", &[]),
            ],
            Self::BuildWithEngine { platforms } => vec![
                text(format!(
                    "use a Docker Engine for {platforms} (DOCKER_HOST=unix://PATH), or name a \
                     finished image in "
                )),
                keys("images", &[]),
                text(": NAME = \"reference\""),
            ],
            Self::ChangeRecipe { recipe } => vec![
                text(
                    "see the builder's last lines and the log; to change the recipe's arguments, set ",
                ),
                keys(&format!("images.{recipe}"), &["base"]),
                text(" or another of them"),
            ],
            Self::ReachWithoutLogin { recipe } => vec![
                text(
                    "Docker does not tell the login of its proxy, so the build ran without that \
                     proxy: give the host a proxy without a login, name servers that it reaches \
                     without one in ",
                ),
                keys(&format!("images.{recipe}"), &[]),
                text(", or a finished image in "),
                keys("images", &[]),
            ],
            Self::SetInterface {
                host,
                subject,
                interface,
            } => vec![
                text(format!("{subject} is on {interface}: set ")),
                keys("network", &[&format!("nic = {interface:?}")]),
                text(" or "),
                keys(&format!("hosts.{host}"), &[]),
            ],
            Self::AllowDockerInstallation => vec![
                text("install Docker 1.10 or later, or set "),
                keys("docker", &["install = true"]),
            ],
            Self::FreeSpace { path } => vec![text(format!(
                "free space on the file system of {path}; see: docker system df, du -xh \
                 --max-depth=2 /var"
            ))],
            Self::RestoreAddress { host, address } => vec![
                text("set "),
                keys(&format!("hosts.{host}"), &["address"]),
                text(format!(" back to {address}")),
            ],
            Self::ReachRegistryFromHere { registry } => vec![
                text(format!(
                    "check that this machine can reach {registry} (a proxy is set in HTTPS_PROXY), \
                     or set another image in "
                )),
                keys("images", &[]),
            ],
            Self::ChooseImage => vec![text("set another image in "), keys("images", &[])],
            Self::ChoosePlatform => vec![
                text("name platforms that every image has with "),
                Part::Flag("--platform"),
                text(", or set another image in "),
                keys("images", &[]),
            ],
            Self::ResumeBundle { file, platforms } => vec![
                text("to resume, run it again: "),
                create_bundle(file, platforms),
            ],
            Self::CreateBundleFor { file, platforms } => {
                vec![text("to add it, run: "), create_bundle(file, platforms)]
            }
            Self::CreateBundle { file } => {
                vec![text("to create one: "), run(&["bundle", "create", file])]
            }
            Self::BootNfsKernel { host } => vec![
                text("boot a kernel with NFS, or remove "),
                keys(&format!("hosts.{host}"), &["persistent = true"]),
            ],
            Self::CorrectExport => vec![
                text("check the server and the firewall in between, or correct "),
                keys("nfs", &["export"]),
                text("; nothing was mounted"),
            ],
        }
    }

    /// What remains of it before there is an inventory, which some commands read.
    #[must_use]
    pub fn without_inventory(self) -> Option<Self> {
        if let Self::ReplaceHostKey { remove, .. } = self {
            return Some(Self::Advice(format!("if the new key is right: {remove}")));
        }
        let reads = |part| matches!(part, Part::Command { inventory, .. } if inventory);
        (!self.parts().into_iter().any(reads)).then_some(self)
    }

    /// The text; commands that read an inventory name this one, unless it is the default.
    #[must_use]
    pub fn text(&self, inventory: Option<&Path>) -> String {
        let option = inventory
            .map(|path| format!(" -i {}", quote(&path.display().to_string())))
            .unwrap_or_default();
        let text_of = |part: Part| match part {
            Part::Text(text) => text.into_owned(),
            Part::Flag(flag) => flag.to_owned(),
            Part::Keys { table, keys } if keys.is_empty() => format!("[{table}]"),
            Part::Keys { table, keys } => format!("{} in [{table}]", list(&keys)),
            Part::Command { words, inventory } => {
                let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
                let option = if inventory { option.as_str() } else { "" };
                format!("toots {}{option}", words.join(" "))
            }
        };
        self.parts().into_iter().map(text_of).collect()
    }
}

fn text(text: impl Into<Cow<'static, str>>) -> Part {
    Part::Text(text.into())
}

/// A command that reads an inventory.
fn run(words: &[&str]) -> Part {
    Part::Command {
        words: words.iter().map(ToString::to_string).collect(),
        inventory: true,
    }
}

/// A command that reads none.
fn create_bundle(file: &str, platforms: &[String]) -> Part {
    let mut words = vec!["bundle", "create", file];
    words.extend(platforms.iter().flat_map(|p| ["--platform", p.as_str()]));
    run(&words)
}

fn offline(words: &[&str]) -> Part {
    Part::Command {
        words: words.iter().map(ToString::to_string).collect(),
        inventory: false,
    }
}

fn keys(table: &str, keys: &[&str]) -> Part {
    Part::Keys {
        table: table.to_owned(),
        keys: keys.iter().map(ToString::to_string).collect(),
    }
}

fn list(words: &[String]) -> String {
    match words {
        [head @ .., last] if !head.is_empty() => format!("{} and {last}", head.join(", ")),
        words => words.concat(),
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(None))
    }
}

impl From<Remedy> for String {
    fn from(remedy: Remedy) -> Self {
        remedy.to_string()
    }
}

impl From<String> for Remedy {
    fn from(advice: String) -> Self {
        Self::Advice(advice)
    }
}

impl From<&str> for Remedy {
    fn from(advice: &str) -> Self {
        Self::Advice(advice.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_the_inventory_that_they_read() {
        let path = Some(Path::new("prod/a b.toml"));
        let trust = Remedy::ReplaceHostKey {
            remove: "ssh-keygen -R m1".into(),
            host: "m1".into(),
        };
        assert_eq!(
            trust.text(path),
            "if the new key is right: ssh-keygen -R m1 && toots ssh trust m1 -i 'prod/a b.toml'"
        );
        assert_eq!(
            Remedy::BringMemberBack.text(path),
            "bring the missing member back first (toots cluster status -i 'prod/a b.toml' shows it)"
        );
        assert_eq!(Remedy::ShowInitOptions.text(path), "toots init --help");
        assert_eq!(Remedy::SeeStatus.to_string(), "toots cluster status");
    }

    #[test]
    fn commands_that_read_an_inventory_are_left_out() {
        let host = "m1".to_owned();
        assert_eq!(
            Remedy::TrustHost { host: host.clone() }.without_inventory(),
            None
        );
        let agree = Remedy::AcceptNewHostKeys;
        assert_eq!(agree.clone().without_inventory(), Some(agree));
        let remove = "ssh-keygen -R m1".into();
        let replace = Remedy::ReplaceHostKey { remove, host }.without_inventory();
        assert_eq!(
            replace.unwrap().to_string(),
            "if the new key is right: ssh-keygen -R m1"
        );
    }

    #[test]
    fn its_json_is_its_text() {
        let json = serde_json::to_string(&Remedy::CheckRegistryLogin).unwrap();
        assert_eq!(json, "\"check username and password_file in [registry]\"");
        let advice: Remedy = serde_json::from_str(&json).unwrap();
        assert!(matches!(advice, Remedy::Advice(_)));
    }
}
