//! The proxies of an Engine, for what its builds fetch. The Engine uses them for its own pulls
//! only.

use std::collections::BTreeMap;

use crate::spec::Secret;

/// What an Engine puts in place of a login.
const HIDDEN_LOGIN: &str = "xxxxx:xxxxx";

/// The proxies of an Engine, as far as it tells them. Engines hide the logins in most of them, but
/// not in a text that they cannot read as an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proxies {
    pub http: Option<Secret>,
    pub https: Option<Secret>,
    /// Names and addresses for which no proxy is used.
    pub exceptions: Option<String>,
}

impl Proxies {
    pub(super) fn new(
        http: Option<String>,
        https: Option<String>,
        exceptions: Option<String>,
    ) -> Self {
        let some = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        Self {
            http: some(http).map(Secret::new),
            https: some(https).map(Secret::new),
            exceptions: some(exceptions),
        }
    }

    /// Whether a proxy wants a login that the Engine does not tell, so that builds cannot use it.
    #[must_use]
    pub fn hides_login(&self) -> bool {
        let proxies = [&self.http, &self.https];
        proxies.into_iter().flatten().any(is_hidden)
    }

    /// The arguments of a build, in both cases, because programs read either. The builder knows
    /// these names: they stay out of the image's history.
    pub(super) fn build_arguments(&self) -> BTreeMap<String, String> {
        let usable = |proxy: &Option<Secret>| proxy.clone().filter(|proxy| !is_hidden(proxy));
        let (http, https) = (usable(&self.http), usable(&self.https));
        // An Engine has none for other protocols. With a single proxy these would also be used by
        // programs for the protocol for which the Engine uses none.
        let other = http.clone().filter(|_| https.is_some());
        let text = |proxy: Option<Secret>| proxy.map(|proxy| proxy.expose().to_owned());
        let values = [
            ("no_proxy", self.exceptions.clone()),
            ("http_proxy", text(http)),
            ("https_proxy", text(https)),
            ("ftp_proxy", text(other.clone())),
            ("all_proxy", text(other)),
        ];
        values
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .flat_map(|(name, value)| {
                [
                    (name.to_owned(), value.clone()),
                    (name.to_ascii_uppercase(), value),
                ]
            })
            .collect()
    }

    /// A text that a build printed, without the proxies' logins.
    #[must_use]
    pub fn mask_logins(&self, text: &str) -> String {
        let proxies = [&self.http, &self.https].into_iter().flatten();
        let logins = proxies.filter_map(|proxy| login(proxy.expose()));
        logins.fold(text.to_owned(), |text, login| {
            let password = login.split_once(':').map_or("", |(_, password)| password);
            let text = text.replace(login, HIDDEN_LOGIN);
            // A short one is a part of other words.
            if password.len() < 4 {
                text
            } else {
                text.replace(password, "xxxxx")
            }
        })
    }
}

fn is_hidden(proxy: &Secret) -> bool {
    login(proxy.expose()) == Some(HIDDEN_LOGIN)
}

/// `user:password` of an address.
fn login(proxy: &str) -> Option<&str> {
    let address = proxy.split_once("://").map_or(proxy, |(_, rest)| rest);
    let (login, _) = address.rsplit_once('@')?;
    Some(login).filter(|login| !login.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(http: &str, https: &str) -> Proxies {
        Proxies::new(
            Some(http.into()),
            Some(https.into()),
            Some("10.0.0.1".into()),
        )
    }

    #[test]
    fn arguments_have_both_cases() {
        let both = proxies("http://p:1", "http://p:2").build_arguments();
        let lower = [
            "all_proxy",
            "ftp_proxy",
            "http_proxy",
            "https_proxy",
            "no_proxy",
        ];
        let values = [
            "http://p:1",
            "http://p:1",
            "http://p:1",
            "http://p:2",
            "10.0.0.1",
        ];
        let upper = lower.map(str::to_ascii_uppercase);
        let names = upper.into_iter().chain(lower.map(str::to_owned));
        let expected = names.zip(values.iter().cycle().map(|value| (*value).to_owned()));
        assert_eq!(both, expected.collect());
        // Nothing is sent through a proxy that the Engine does not use for it.
        let names: Vec<String> = proxies("http://p:1", "")
            .build_arguments()
            .into_keys()
            .collect();
        assert_eq!(names, ["HTTP_PROXY", "NO_PROXY", "http_proxy", "no_proxy"]);
        assert_eq!(Proxies::default().build_arguments(), BTreeMap::new());
    }

    #[test]
    fn a_hidden_login_is_not_used() {
        let hidden = proxies("http://xxxxx:xxxxx@p:1", "http://p:2");
        assert!(hidden.hides_login());
        let names: Vec<String> = hidden.build_arguments().into_keys().collect();
        assert_eq!(
            names,
            ["HTTPS_PROXY", "NO_PROXY", "https_proxy", "no_proxy"]
        );
        assert!(!proxies("http://ann:secret@p:1", "").hides_login());
    }

    #[test]
    fn logins_are_masked() {
        // Engines leave the login in what they cannot read as an address.
        let own = proxies("ann:geheim@p:1", "http://bob:a@p:2");
        assert!(!format!("{own:?}").contains("geheim"));
        let line = "via http://ann:geheim@p:1 (geheim) and http://bob:a@p:2, a proxy";
        assert_eq!(
            own.mask_logins(line),
            "via http://xxxxx:xxxxx@p:1 (xxxxx) and http://xxxxx:xxxxx@p:2, a proxy"
        );
    }
}
