//! Where a registry is, and which addresses it may refer to.

use std::net::{IpAddr, Ipv4Addr};

use reqwest::Url;

use crate::bundle::name::interface_host;

/// The root of a registry's interface.
#[derive(Debug, Clone)]
pub(in crate::bundle) struct RegistryOrigin {
    base: Url,
}

impl RegistryOrigin {
    /// HTTPS, and HTTP only for registries on this machine's loopback network that have no
    /// certificate authority: what is sent there crosses no network. `None` for a name that is no
    /// host.
    pub(super) fn of_registry(registry: &str, has_ca: bool) -> Option<Self> {
        let host = interface_host(registry);
        let scheme = if is_loopback(host) && !has_ca {
            "http"
        } else {
            "https"
        };
        let base = Url::parse(&format!("{scheme}://{host}/v2/")).ok()?;
        base.has_host().then_some(Self { base })
    }

    /// Whether requests are in clear.
    pub(super) fn is_plain(&self) -> bool {
        self.base.scheme() == "http"
    }

    pub(super) fn is_loopback(&self) -> bool {
        self.base.host_str().is_some_and(is_loopback)
    }

    /// Whether this registry may send the client to this address: HTTPS anywhere, HTTP only from
    /// loopback to loopback.
    pub(super) fn may_refer_to(&self, url: &Url) -> bool {
        match url.scheme() {
            "https" => true,
            "http" => self.is_plain() && url.host_str().is_some_and(is_loopback),
            _ => false,
        }
    }

    /// Whether an answer came from the registry itself and not from where it redirected to.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        (url.host_str(), url.port_or_known_default())
            == (self.base.host_str(), self.base.port_or_known_default())
    }

    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Url {
        self.below(&format!("{repository}/manifests/{reference}"))
    }

    pub(super) fn blob(&self, repository: &str, digest: &str) -> Url {
        self.below(&format!("{repository}/blobs/{digest}"))
    }

    /// Repositories, tags and digests need no escapes: their grammar allows no such character.
    fn below(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{path}"));
        url
    }
}

/// Whether `host[:port]` is in 127.0.0.0/8. `localhost` is taken for 127.0.0.1 by the resolver.
fn is_loopback(host: &str) -> bool {
    let host = host.split(':').next().unwrap_or(host);
    host == "localhost" || host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
}

/// Resolves names: `localhost` without the resolver, the inventory's registry by its address in the
/// inventory when DNS does not know it.
#[derive(Debug, Clone, Default)]
pub(super) struct RegistryResolver {
    /// Name and address of the inventory's registry.
    pub own: Option<(String, IpAddr)>,
}

impl reqwest::dns::Resolve for RegistryResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let own = self.own.clone().filter(|(own, _)| own == name.as_str());
        Box::pin(async move {
            // The port of a URL replaces this one.
            let addresses: Vec<std::net::SocketAddr> = if name.as_str() == "localhost" {
                vec![(Ipv4Addr::LOCALHOST, 0).into()]
            } else {
                match (tokio::net::lookup_host((name.as_str(), 0)).await, own) {
                    (Ok(found), _) => found.collect(),
                    (Err(_), Some((_, address))) => vec![(address, 0).into()],
                    (Err(error), None) => return Err(error.into()),
                }
            };
            Ok(Box::new(addresses.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_asked_in_clear() {
        for (registry, ca, base) in [
            ("docker.io", false, "https://registry-1.docker.io/v2/"),
            ("127.0.0.1:5000", false, "http://127.0.0.1:5000/v2/"),
            ("127.9.9.9", false, "http://127.9.9.9/v2/"),
            ("localhost:5000", false, "http://localhost:5000/v2/"),
            ("127.0.0.1:5000", true, "https://127.0.0.1:5000/v2/"),
            (
                "127.0.0.1.example.com",
                false,
                "https://127.0.0.1.example.com/v2/",
            ),
            ("10.0.0.1:5000", false, "https://10.0.0.1:5000/v2/"),
        ] {
            let origin = RegistryOrigin::of_registry(registry, ca).unwrap();
            assert_eq!(origin.base.as_str(), base);
        }
    }

    #[test]
    fn no_registry_leads_to_clear_text() {
        let url = |text: &str| Url::parse(text).unwrap();
        let remote = RegistryOrigin::of_registry("r.example:5000", false).unwrap();
        assert!(remote.may_refer_to(&url("https://cdn.example/x")));
        assert!(!remote.may_refer_to(&url("http://cdn.example/x")));
        assert!(!remote.may_refer_to(&url("http://127.0.0.1/x")));
        assert!(!remote.may_refer_to(&url("ftp://cdn.example/x")));
        let local = RegistryOrigin::of_registry("127.0.0.1:5000", false).unwrap();
        assert!(local.may_refer_to(&url("http://127.0.0.2:81/x")));
        assert!(!local.may_refer_to(&url("http://10.0.0.1/x")));
        assert!(remote.is_own(&url("https://r.example:5000/a")));
        assert!(!remote.is_own(&url("https://r.example/a")));
        assert_eq!(
            remote.manifest("a/b", "1").as_str(),
            "https://r.example:5000/v2/a/b/manifests/1"
        );
    }
}
