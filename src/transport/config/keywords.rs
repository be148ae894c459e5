//! Every keyword of ssh_config(5), with what toots makes of it.
//!
//! Source: ssh_config(5) of OpenSSH 10.0 (Debian 13), the keywords that Debian's patches add, and
//! the deprecated ones that `ssh` still accepts. To add one: a line in the table of its kind.

use super::values::Takes;

/// What toots makes of a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It has the effect that it has in `ssh`; the name is the current one.
    Honoured(&'static str, Takes),
    /// It does not change how toots connects, or toots is stricter anyway.
    Harmless,
    /// toots would connect differently from `ssh`, so a value in effect is refused.
    Refused(&'static str),
    Unknown,
}

const HONOURED: [(&str, Takes); 27] = [
    ("hostname", Takes::One),
    ("user", Takes::One),
    ("port", Takes::One),
    ("identityfile", Takes::Each),
    ("identitiesonly", Takes::One),
    ("identityagent", Takes::One),
    ("certificatefile", Takes::Each),
    ("proxyjump", Takes::Rest),
    ("proxycommand", Takes::Rest),
    ("connecttimeout", Takes::One),
    ("serveraliveinterval", Takes::One),
    ("serveralivecountmax", Takes::One),
    ("userknownhostsfile", Takes::Line),
    ("globalknownhostsfile", Takes::Line),
    ("revokedhostkeys", Takes::One),
    ("requiredrsasize", Takes::One),
    ("casignaturealgorithms", Takes::One),
    ("hostkeyalias", Takes::One),
    ("hashknownhosts", Takes::One),
    ("hostkeyalgorithms", Takes::One),
    ("kexalgorithms", Takes::One),
    ("ciphers", Takes::One),
    ("macs", Takes::One),
    ("pubkeyacceptedalgorithms", Takes::One),
    ("addressfamily", Takes::One),
    ("bindaddress", Takes::One),
    ("ignoreunknown", Takes::Rest),
];

/// Refused keywords, with the values that have no effect.
pub(in crate::transport) const REFUSED: [(&str, &[&str]); 5] = [
    ("knownhostscommand", &["none"]),
    ("bindinterface", &["none"]),
    ("canonicalizehostname", &["no", "false"]),
    ("proxyusefdpass", &["no", "false"]),
    ("refuseconnection", &["none"]),
];

/// Names of honoured keywords that OpenSSH has renamed.
const RENAMED: [(&str, &str); 1] = [("pubkeyacceptedkeytypes", "pubkeyacceptedalgorithms")];

const HARMLESS: &str = "
addkeystoagent batchmode canonicaldomains canonicalizefallbacklocal canonicalizemaxdots
canonicalizepermittedcnames channeltimeout checkhostip clearallforwardings compression
connectionattempts controlmaster controlpath controlpersist dynamicforward enableescapecommandline
enablesshkeysign escapechar exitonforwardfailure fingerprinthash forkafterauthentication
forwardagent forwardx11 forwardx11timeout forwardx11trusted gatewayports gssapiauthentication
gssapidelegatecredentials hostbasedacceptedalgorithms hostbasedauthentication ipqos
kbdinteractiveauthentication kbdinteractivedevices localcommand localforward loglevel logverbose
nohostauthenticationforlocalhost numberofpasswordprompts obscurekeystroketiming
passwordauthentication permitlocalcommand permitremoteopen pkcs11provider preferredauthentications
pubkeyauthentication rekeylimit remotecommand remoteforward requesttty securitykeyprovider sendenv
sessiontype setenv stdinnull streamlocalbindmask streamlocalbindunlink stricthostkeychecking
syslogfacility tag tcpkeepalive tunnel tunneldevice updatehostkeys verifyhostkeydns versionaddendum
visualhostkey warnweakcrypto xauthlocation
gssapiclientidentity gssapikexalgorithms gssapikeyexchange gssapirenewalforcesrekey
gssapiserveridentity gssapitrustdns
afstokenpassing challengeresponseauthentication cipher compressionlevel dsaauthentication
fallbacktorsh globalknownhostsfile2 hostbasedkeytypes keepalive kerberosauthentication
kerberostgtpassing keyboardinteractiveauthentication protocol rhostsauthentication
rhostsrsaauthentication rsaauthentication skeyauthentication smartcarddevice tisauthentication
usekeychain useprivilegedport useroaming usersh userknownhostsfile2";

/// Looks up a keyword in lower case.
pub(super) fn meaning(keyword: &str) -> Meaning {
    let keyword = RENAMED
        .iter()
        .find(|(old, _)| *old == keyword)
        .map_or(keyword, |(_, new)| new);
    let honoured = HONOURED.iter().find(|(name, _)| *name == keyword);
    let refused = REFUSED.iter().find(|(name, _)| *name == keyword);
    match (honoured, refused) {
        (Some((name, takes)), _) => Meaning::Honoured(name, *takes),
        (None, Some((name, _))) => Meaning::Refused(name),
        (None, None) if HARMLESS.split_whitespace().any(|name| name == keyword) => {
            Meaning::Harmless
        }
        (None, None) => Meaning::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_have_a_single_meaning() {
        let mut names: Vec<&str> = HARMLESS.split_whitespace().collect();
        names.extend(HONOURED.iter().map(|(name, _)| *name));
        names.extend(REFUSED.iter().map(|(name, _)| *name));
        names.extend(RENAMED.iter().map(|(old, _)| *old));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(meaning("revokedhostkey"), Meaning::Unknown);
    }
}
