//! The effective settings of a host and their origins.

use super::endpoint::{Endpoint, Proxy};

/// One line of the explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The keyword of ssh_config.
    pub keyword: &'static str,
    /// The effective value.
    pub value: String,
    /// File and line, the inventory's key, or "default".
    pub origin: String,
}

/// Every effective value, in the terms of ssh_config.
pub(super) fn explain_settings(endpoint: &Endpoint) -> Vec<Explained> {
    let mut lines = Vec::new();
    let mut add = |keyword: &'static str, value: String| {
        let origin = endpoint
            .values
            .origin(&keyword.to_ascii_lowercase())
            .to_string();
        lines.push(Explained {
            keyword,
            value,
            origin,
        });
    };
    add("HostName", endpoint.host.clone());
    add("Port", endpoint.port.to_string());
    add("User", endpoint.user.clone());
    match &endpoint.proxy {
        Proxy::Direct => add("ProxyJump", "none".to_owned()),
        Proxy::Jump(hops) => add("ProxyJump", hops.join(",")),
        Proxy::Command(command) => add("ProxyCommand", command.clone()),
    }
    add(
        "ConnectTimeout",
        format!("{}s", endpoint.connect_timeout.as_secs()),
    );
    add(
        "ServerAliveInterval",
        format!("{}s", endpoint.keepalive.as_secs()),
    );
    add("ServerAliveCountMax", endpoint.keepalive_max.to_string());
    add(
        "HostKeyAlias",
        endpoint
            .host_key_alias
            .clone()
            .unwrap_or_else(|| "none".to_owned()),
    );
    add("IdentitiesOnly", yes_no(endpoint.identities_only));
    add(
        "IdentityAgent",
        endpoint
            .agent
            .as_ref()
            .map_or_else(|| "none".to_owned(), |p| p.display().to_string()),
    );
    add("HashKnownHosts", yes_no(endpoint.hash_known_hosts));
    add(
        "AddressFamily",
        match endpoint.way.only_v6 {
            None => "any",
            Some(true) => "inet6",
            Some(false) => "inet",
        }
        .to_owned(),
    );
    add(
        "BindAddress",
        endpoint
            .way
            .from
            .map_or_else(|| "any".to_owned(), |a| a.to_string()),
    );
    for (keyword, key) in ALGORITHMS {
        add(
            keyword,
            endpoint.values.first(key).unwrap_or("default").to_owned(),
        );
    }
    for (keyword, files) in [
        (
            "IdentityFile",
            if endpoint.identity_files.is_empty() {
                &endpoint.default_identity_files
            } else {
                &endpoint.identity_files
            },
        ),
        ("CertificateFile", &endpoint.certificate_files),
        ("UserKnownHostsFile", &endpoint.user_known_hosts),
        ("GlobalKnownHostsFile", &endpoint.global_known_hosts),
    ] {
        // `none` values are not listed, so the origins belong to the others.
        let said: Vec<_> = endpoint
            .values
            .origins(&keyword.to_ascii_lowercase())
            .iter()
            .filter(|(v, _)| !v.eq_ignore_ascii_case("none"))
            .collect();
        for (index, file) in files.iter().enumerate() {
            let origin = said
                .get(index)
                .map_or_else(|| "default".to_owned(), |(_, o)| o.to_string());
            lines.push(Explained {
                keyword,
                value: file.display().to_string(),
                origin,
            });
        }
    }
    lines
}

const ALGORITHMS: [(&str, &str); 5] = [
    ("HostKeyAlgorithms", "hostkeyalgorithms"),
    ("KexAlgorithms", "kexalgorithms"),
    ("Ciphers", "ciphers"),
    ("MACs", "macs"),
    ("PubkeyAcceptedAlgorithms", "pubkeyacceptedalgorithms"),
];

fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::HostName;
    use crate::transport::{HostSettings, SshOptions};

    #[test]
    fn every_value_says_where_it_came_from() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        std::fs::write(
            &file,
            "IdentityFile none\nIdentityFile /k1\nHost m*\n  Port 2222\n",
        )
        .unwrap();
        let shared = SshOptions {
            config_files: Some(vec![file.clone()]),
            home: Some("/h".into()),
            ..SshOptions::default()
        };
        let host = HostSettings {
            user: Some("ops".to_owned()),
            ..HostSettings::new(HostName::new("m1").unwrap())
        };
        let lines = explain_settings(&Endpoint::resolve(&host, &shared).unwrap());
        let find = |k: &str| {
            lines
                .iter()
                .find(|l| l.keyword == k)
                .map(|l| (l.value.clone(), l.origin.clone()))
                .unwrap()
        };
        assert_eq!(
            find("Port"),
            ("2222".to_owned(), format!("{}:4", file.display()))
        );
        assert_eq!(
            find("User"),
            ("ops".to_owned(), "inventory (user)".to_owned())
        );
        assert_eq!(
            find("IdentityFile"),
            ("/k1".to_owned(), format!("{}:2", file.display()))
        );
        assert_eq!(
            find("UserKnownHostsFile"),
            ("/h/.ssh/known_hosts".to_owned(), "default".to_owned())
        );
    }
}
