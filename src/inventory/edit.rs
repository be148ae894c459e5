//! Edits of the file that keep its comments and order.

use toml_edit::{Array, DocumentMut, Item, Table, value};

use crate::spec::{HostName, Role};

/// Why a file cannot be edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// Not TOML any more.
    #[error("edit the inventory: {0}")]
    Syntax(String),
    /// A key is not what an inventory has there.
    #[error("edit the inventory: {0} is not a list")]
    NotAList(&'static str),
}

/// Adds a host to a role's list, with a table of its own when it has more than an address for a name.
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
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| EditError::Syntax(error.message().to_owned()))?;
    let key = match role {
        Role::Master => "masters",
        Role::Slave => "slaves",
        Role::Edge => "edges",
    };
    if !document.contains_key(key) {
        insert_list(&mut document, key);
    }
    let list = document.get_mut(key).and_then(Item::as_array_mut).ok_or(EditError::NotAList(key))?;
    if !list.iter().any(|entry| entry.as_str() == Some(name.as_str())) {
        push(list, name.as_str());
    }
    let address = address.filter(|address| address.to_string() != name.as_str());
    if address.is_some() || user.is_some() || port.is_some() {
        let hosts = document.entry("hosts").or_insert_with(|| {
            let mut hosts = Table::new();
            hosts.set_implicit(true);
            Item::Table(hosts)
        });
        let hosts = hosts.as_table_mut().ok_or(EditError::NotAList("hosts"))?;
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
        table.decor_mut().set_prefix("\n");
        hosts.insert(name.as_str(), Item::Table(table));
    }
    Ok(document.to_string())
}

/// An entry in the style of the one before it: on a line of its own when that one has one.
fn push(list: &mut Array, name: &str) {
    let prefix = list.iter().last().and_then(|last| last.decor().prefix()).and_then(|prefix| prefix.as_str()).map(str::to_owned);
    list.push(name);
    let last = list.len() - 1;
    if let Some(entry) = list.get_mut(last) {
        let own_line =
            prefix.filter(|prefix| prefix.contains('\n')).map(|prefix| format!("\n{}", prefix.rsplit('\n').next().unwrap_or("")));
        entry.decor_mut().set_prefix(own_line.unwrap_or_else(|| if last == 0 { String::new() } else { " ".into() }));
    }
}

/// A list that is not there yet belongs at the top, after the masters, since everything after a table header is that table's.
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
        let out = add_host(text, Role::Slave, &name, Some("10.0.0.5".parse().unwrap()), None, None).unwrap();
        assert!(out.contains("# ours") && out.contains("# three") && out.contains("# private") && out.contains("# old"), "{out}");
        let inventory = super::super::parse(&out, "x", std::path::Path::new(".")).unwrap();
        assert_eq!(inventory.with_role(Role::Slave).count(), 2);
        assert_eq!(add_host(&out, Role::Slave, &name, None, None, None).unwrap(), out, "twice is once");
    }

    #[test]
    fn adds_a_list_and_a_table() {
        let text = "masters = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"]\n\n[network]\nnic = \"eth1\"\n";
        let name = HostName::new("e1").unwrap();
        let out = add_host(text, Role::Edge, &name, Some("10.0.0.9".parse().unwrap()), Some("admin"), Some(2222)).unwrap();
        let inventory = super::super::parse(&out, "x", std::path::Path::new(".")).unwrap();
        let host = inventory.host("e1").unwrap();
        assert_eq!((host.user.as_deref(), host.port, host.address.to_string().as_str()), (Some("admin"), Some(2222), "10.0.0.9"));
    }
}
