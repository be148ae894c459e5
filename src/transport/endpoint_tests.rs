use super::*;

#[test]
fn hops_are_split() {
    let hop = |t: &str| {
        split_hop(t)
            .map(|(u, h, p)| (u.unwrap_or_default(), h, p.unwrap_or_default()))
            .ok()
    };
    let want = |u: &str, h: &str, p: u16| Some((u.to_owned(), h.to_owned(), p));
    assert_eq!(hop("b"), want("", "b", 0));
    assert_eq!(hop("u@b:2222"), want("u", "b", 2222));
    assert_eq!(hop("u@x@[fe80::1]:22"), want("u@x", "fe80::1", 22));
    assert_eq!(hop("fe80::1"), want("", "fe80::1", 0));
    assert_eq!(hop("ssh://u@b:1/"), want("u", "b", 1));
    for bad in [
        "",
        "u@",
        "b:0",
        "b:x",
        "-oProxyCommand=x",
        "[b",
        "[b]x",
        "-u@b",
    ] {
        assert_eq!(hop(bad), None, "{bad}");
    }
}

#[test]
fn durations_are_parsed() {
    for (text, want) in [
        ("10", Some(10)),
        ("1m30", Some(90)),
        ("1h", Some(3600)),
        ("none", Some(0)),
        ("", None),
        ("x", None),
        ("m", None),
    ] {
        assert_eq!(time(text).map(|d| d.as_secs()), want, "{text}");
    }
    assert_eq!(time("99999999999999999999"), None);
}

#[test]
fn the_inventory_goes_before_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    std::fs::write(&file, "Host m1\n HostName 10.0.0.%%\n User file\n Port 1\n IdentityFile ~/file\n ProxyJump b1,u@b2:3\n").unwrap();
    let shared = SshOptions {
        config_files: Some(vec![file]),
        home: Some("/h".into()),
        ..SshOptions::default()
    };
    let mut host = HostSettings::new(HostName::new("m1").unwrap());
    let got = Endpoint::resolve(&host, &shared).unwrap();
    assert_eq!(
        (got.host.as_str(), got.user.as_str(), got.port),
        ("10.0.0.%", "file", 1)
    );
    assert_eq!(got.identity_files, [PathBuf::from("/h/file")]);
    assert_eq!(
        got.proxy,
        Proxy::Jump(vec!["b1".to_owned(), "u@b2:3".to_owned()])
    );
    assert_eq!(got.user_known_hosts.len(), 2);
    host.known_hosts_files = Some(Vec::new());
    host.user = Some("ops".to_owned());
    host.port = Some(2);
    host.proxy_jump = Some("none".to_owned());
    host.identity_files = vec!["/first".into()];
    let got = Endpoint::resolve(&host, &shared).unwrap();
    assert_eq!(
        (got.user.as_str(), got.port, got.proxy.clone()),
        ("ops", 2, Proxy::Direct)
    );
    assert!(got.user_known_hosts.is_empty());
    assert_eq!(
        got.identity_files,
        [PathBuf::from("/first"), PathBuf::from("/h/file")]
    );
}
