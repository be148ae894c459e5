//! Machines for which there is no inventory yet.

use std::net::IpAddr;
use std::path::Path;

use super::check::is_ensemble;
use super::draft::{Draft, draft};
use super::error::InventoryErrors;
use super::load::parse_any_number;
use super::types::Inventory;

/// The inventory that `toots init` would write for these machines. As many as can be masters are
/// masters; with any other number nobody has a role.
///
/// # Errors
/// All mistakes, without a place: there is no file.
pub fn candidates(
    machines: &[IpAddr],
    user: Option<&str>,
    port: Option<u16>,
) -> Result<Inventory, InventoryErrors> {
    let text = draft(&Draft {
        masters: machines.to_vec(),
        user: user.map(str::to_owned),
        ..Draft::default()
    });
    let inventory = parse_any_number(&text, "the machines", Path::new("."));
    let mut inventory = inventory.map_err(InventoryErrors::without_places)?;
    inventory.ssh.port = port;
    if !is_ensemble(machines.len()) {
        for host in &mut inventory.hosts {
            host.roles.clear();
        }
    }
    Ok(inventory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Role;

    fn machines(n: u8) -> Vec<IpAddr> {
        (1..=n).map(|n| [10, 0, 0, n].into()).collect()
    }

    #[test]
    fn as_many_as_can_be_masters_are_masters() {
        for n in 1..=9 {
            let inventory = candidates(&machines(n), Some("ops"), Some(2222)).unwrap();
            let expected = if [3, 5, 7].contains(&n) { n } else { 0 };
            let masters = inventory.with_role(Role::Master).count();
            assert_eq!(masters, usize::from(expected));
            assert_eq!(inventory.hosts.len(), usize::from(n));
            assert_eq!(inventory.ssh.user.as_deref(), Some("ops"));
            assert_eq!(inventory.ssh.port, Some(2222));
        }
    }

    #[test]
    fn mistakes_have_no_place() {
        let text =
            |machines: &[IpAddr], user| candidates(machines, user, None).unwrap_err().to_string();
        let loopback = text(&[[127, 0, 0, 1].into()], None);
        assert!(
            loopback.starts_with("the machines: address of 127.0.0.1 cannot be 127.0.0.1: it is"),
            "{loopback}"
        );
        let user = text(&machines(3), Some("a b"));
        assert!(
            user.starts_with("the machines: `user` must be a login name"),
            "{user}"
        );
        let twice = text(&[[10, 0, 0, 1].into(), [10, 0, 0, 1].into()], None);
        assert!(
            twice.starts_with("the machines: 10.0.0.1 is listed twice"),
            "{twice}"
        );
    }
}
