//! Accounts for a test, removed when it is over.

use std::io::Write;
use std::process::{Command, Stdio};

/// A plain account with a password.
pub struct Account {
    pub name: &'static str,
}

impl Account {
    /// Creates the account; prints why when that is impossible here.
    pub fn new(name: &'static str, password: &str) -> Option<Self> {
        let made = Command::new("useradd")
            .args(["-m", "-s", "/bin/sh", name])
            .output();
        match made {
            Ok(out) if out.status.success() || out.status.code() == Some(9) => {}
            other => {
                println!("skipped: no account can be made here ({other:?})");
                return None;
            }
        }
        let account = Self { name };
        let mut child = Command::new("chpasswd")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(format!("{name}:{password}\n").as_bytes())
            .unwrap();
        assert!(child.wait().unwrap().success());
        Some(account)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = Command::new("userdel")
            .args(["-r", "-f", self.name])
            .output();
    }
}
