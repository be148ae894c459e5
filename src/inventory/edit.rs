//! Edits of inventory.toml that keep its comments and order.

use toml_edit::{Array, DocumentMut, Item, Table, value};

use crate::spec::{HostName, Role};

/// Why a file cannot be edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// Not valid TOML.
    #[error("cannot edit the inventory: {0}")]
    Syntax(String),
    /// The value of this key is not a list.
    #[error("cannot edit the inventory: {0} must be a list")]
    NotAList(&'static str),
    /// The value of this key is not a table.
    #[error("cannot edit the inventory: {0} must be a table")]
    NotATable(&'static str),
}

/// Adds a host to a role's list, and a table for it when its address differs from its name or it
/// has settings.
///
/// # Errors
/// When the text is not an inventory.
pub fn add_host(
    text: &str,
    role: Role,
    name: &HostName,
    address: Option<std::net::IpAddr>,
    user: Option<&str>,
    port: Option<u16>,
) -> Result<String, EditError> {
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| EditError::Syntax(error.message().to_owned()))?;
    let key = list_of(role);
    if !document.contains_key(key) {
        insert_list(&mut document, key);
    }
    let list = document
        .get_mut(key)
        .and_then(Item::as_array_mut)
        .ok_or(EditError::NotAList(key))?;
    if !list
        .iter()
        .any(|entry| entry.as_str() == Some(name.as_str()))
    {
        push(list, name.as_str());
    }
    let address = address.filter(|address| address.to_string() != name.as_str());
    if address.is_some() || user.is_some() || port.is_some() {
        let hosts = document.entry("hosts").or_insert_with(|| {
            let mut hosts = Table::new();
            hosts.set_implicit(true);
            Item::Table(hosts)
        });
        let mut table = Table::new();
        if let Some(address) = address {
            table["address"] = value(address.to_string());
        }
        if let Some(user) = user {
            table["user"] = value(user);
        }
        if let Some(port) = port {
            table["port"] = value(i64::from(port));
        }
        match hosts {
            Item::Table(hosts) => {
                table.decor_mut().set_prefix("\n");
                hosts.insert(name.as_str(), Item::Table(table));
            }
            // `hosts = { … }` takes no table header.
            Item::Value(toml_edit::Value::InlineTable(hosts)) => {
                hosts.insert(name.as_str(), table.into_inline_table().into());
            }
            _ => return Err(EditError::NotATable("hosts")),
        }
    }
    Ok(document.to_string())
}

/// Removes a host from one role's list, or from all of them; its own table is removed with its last
/// role. An unknown host is not an error.
///
/// # Errors
/// When the text is not an inventory.
pub fn remove_host(text: &str, role: Option<Role>, name: &HostName) -> Result<String, EditError> {
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| EditError::Syntax(error.message().to_owned()))?;
    let mut stays = false;
    for known in Role::ALL {
        let key = list_of(known);
        let Some(item) = document.get_mut(key) else {
            continue;
        };
        let list = item.as_array_mut().ok_or(EditError::NotAList(key))?;
        let at = list
            .iter()
            .position(|entry| entry.as_str() == Some(name.as_str()));
        match at {
            Some(at) if role.is_none_or(|role| role == known) => take(list, at),
            Some(_) => stays = true,
            None => {}
        }
    }
    if !stays && let Some(hosts) = document.get_mut("hosts").and_then(Item::as_table_like_mut) {
        hosts.remove(name.as_str());
    }
    Ok(document.to_string())
}

fn list_of(role: Role) -> &'static str {
    match role {
        Role::Master => "masters",
        Role::Slave => "slaves",
        Role::Edge => "edges",
    }
}

/// Removes an entry and keeps the comments around it: a comment behind the previous entry is stored
/// in front of this one.
fn take(list: &mut Array, at: usize) {
    let before = list
        .get(at)
        .and_then(|entry| entry.decor().prefix())
        .and_then(|prefix| prefix.as_str())
        .map(str::to_owned);
    list.remove(at);
    let Some(kept) = before.filter(|before| before.contains('#')) else {
        if at == 0
            && let Some(first) = list.get_mut(0)
        {
            let prefix = first
                .decor()
                .prefix()
                .and_then(|prefix| prefix.as_str())
                .unwrap_or("")
                .to_owned();
            if prefix == " " {
                first.decor_mut().set_prefix("");
            }
        }
        return;
    };
    match list.get_mut(at) {
        // The comment of the previous entry, then what stood in front of the next one without the
        // comment of the removed one.
        Some(next) => {
            let own = next
                .decor()
                .prefix()
                .and_then(|prefix| prefix.as_str())
                .unwrap_or("")
                .to_owned();
            let own = own
                .split_once('\n')
                .filter(|(first, _)| first.trim_start().starts_with('#'))
                .map_or(own.clone(), |(_, rest)| format!("\n{rest}"));
            let first = kept.split_once('\n').map_or("", |(first, _)| first);
            next.decor_mut().set_prefix(format!("{first}{own}"));
        }
        None => {
            let first = kept
                .split_once('\n')
                .map_or("", |(first, _)| first)
                .to_owned();
            list.set_trailing(format!("{first}\n"));
            list.set_trailing_comma(true);
        }
    }
}

/// Appends an entry in the style of the previous one: on a line of its own when that one has one.
fn push(list: &mut Array, name: &str) {
    let prefix = list
        .iter()
        .last()
        .and_then(|last| last.decor().prefix())
        .and_then(|prefix| prefix.as_str())
        .map(str::to_owned);
    list.push(name);
    let last = list.len() - 1;
    if let Some(entry) = list.get_mut(last) {
        let own_line = prefix
            .filter(|prefix| prefix.contains('\n'))
            .map(|prefix| format!("\n{}", prefix.rsplit('\n').next().unwrap_or("")));
        entry.decor_mut().set_prefix(
            own_line.unwrap_or_else(|| if last == 0 { String::new() } else { " ".into() }),
        );
    }
}

/// Inserts a missing list at the top, after the masters, because everything after a table header
/// belongs to that table.
fn insert_list(document: &mut DocumentMut, key: &str) {
    document.insert(key, value(Array::new()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_comments_and_order() {
        let text = "# ours\nmasters = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"] # three\nslaves = [\n  \"10.0.0.4\", # old\n]\n\n[network]\nnic = \"eth1\" # private\n";
        let name = HostName::new("10.0.0.5").unwrap();
        let out = add_host(
            text,
            Role::Slave,
            &name,
            Some("10.0.0.5".parse().unwrap()),
            None,
            None,
        )
        .unwrap();
        assert!(
            out.contains("# ours")
                && out.contains("# three")
                && out.contains("# private")
                && out.contains("# old"),
            "{out}"
        );
        let inventory = super::super::parse(&out, "x", std::path::Path::new(".")).unwrap();
        assert_eq!(inventory.with_role(Role::Slave).count(), 2);
        assert_eq!(
            add_host(&out, Role::Slave, &name, None, None, None).unwrap(),
            out,
            "twice is once"
        );
    }

    #[test]
    fn removing_a_host_keeps_other_comments() {
        let text = "# ours\nmasters = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"] # three\nslaves = [\n  \"s1\", # first\n  \"s2\", # second\n  \"s3\", # third\n]\nedges = [\"s2\"]\n\n# of s1\n[hosts.s1]\naddress = \"10.0.0.11\"\n\n[hosts.s2]\naddress = \"10.0.0.12\" # ours\n\n[hosts.s3]\naddress = \"10.0.0.13\"\n\n[network]\nnic = \"eth1\" # private\n";
        let name = |name: &str| HostName::new(name).unwrap();
        let hosts = |text: &str| {
            let inventory = super::super::parse(text, "x", std::path::Path::new("."))
                .unwrap_or_else(|errors| panic!("{errors}\n{text}"));
            inventory
                .with_role(Role::Slave)
                .map(|host| host.name.to_string())
                .collect::<Vec<_>>()
        };
        for (gone, left, comments) in [
            ("s1", ["s2", "s3"], ["# second", "# third"]),
            ("s2", ["s1", "s3"], ["# first", "# third"]),
            ("s3", ["s1", "s2"], ["# first", "# second"]),
        ] {
            let out = remove_host(text, None, &name(gone)).unwrap();
            assert_eq!(hosts(&out), left, "{out}");
            for comment in ["# ours", "# three", "# private"].iter().chain(&comments) {
                assert!(out.contains(comment), "{gone} took {comment} along:\n{out}");
            }
            assert!(!out.contains(&format!("[hosts.{gone}]")), "{out}");
        }
        let out = remove_host(text, Some(Role::Slave), &name("s2")).unwrap();
        assert!(
            out.contains("[hosts.s2]") && out.contains("edges = [\"s2\"]"),
            "it still is an edge:\n{out}"
        );
        assert_eq!(remove_host(text, None, &name("nobody")).unwrap(), text);
    }

    #[test]
    fn adds_a_list_and_a_table() {
        let text =
            "masters = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"]\n\n[network]\nnic = \"eth1\"\n";
        let name = HostName::new("e1").unwrap();
        let out = add_host(
            text,
            Role::Edge,
            &name,
            Some("10.0.0.9".parse().unwrap()),
            Some("admin"),
            Some(2222),
        )
        .unwrap();
        let inventory = super::super::parse(&out, "x", std::path::Path::new(".")).unwrap();
        let host = inventory.host("e1").unwrap();
        assert_eq!(
            (
                host.user.as_deref(),
                host.port,
                host.address.to_string().as_str()
            ),
            (Some("admin"), Some(2222), "10.0.0.9")
        );
    }

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("edit_error", EditError, hints: |_| Vec::new(), {
            EditError::Syntax(_) => EditError::Syntax("expected a value".into()),
            EditError::NotAList(_) => EditError::NotAList("slaves"),
            EditError::NotATable(_) => EditError::NotATable("hosts"),
        });
    }
}
