//! The optional components of a cluster, all at once: an additional edge, DNS on slaves, a load balancer
//! there, Registrator on masters, supervisord, an address held by one of two edges.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::edges::HERE;
use crate::lab::{Lab, containers, http, image, local, on, pull, until};

const VIP: &str = "10.42.7.100";
const RENEWED: &str = "# by a client of DHCP\nnameserver 127.0.0.11\noptions ndots:0\n";
const SECOND_EDGE: &str = "edges = [\"e1\", \"e2\"]";

fn inventory(lab: &Lab) -> std::path::PathBuf {
    lab.changed("options", |text| {
        let text = text
            .replace("edges = [\"e1\"]", SECOND_EDGE)
            .replace("[network]", &format!("[hosts.e2]\naddress = \"10.42.7.32\"\n\n[network]\nvip = \"{VIP}\"\nex_domain = \"apps.lab\""));
        text + "\n[components]\ndnsmasq = true\nsupervisord = true\nbalancer_on_slaves = true\nregistrator_on_masters = true\n"
    })
}

pub fn on_and_off(lab: &Lab) {
    super::grow::add(lab, "add-edge", "e2", "10.42.7.32");
    assert_eq!(http(&["http://10.42.7.32/"]).0, 503, "the new edge answers");
    let options = inventory(lab);
    // Another DNS server of the host is named and left unchanged.
    let dnsmasq = image(lab, "dnsmasq");
    pull(lab, "s1", &dnsmasq);
    on(
        "s1",
        &format!(
            "docker run -d --name other-dns --network host {dnsmasq} --listen-address=10.42.7.21 --bind-interfaces"
        ),
    );
    let taken = lab
        .toots_with(&options, &["cluster", "up", "--yes", "--output", "plain"])
        .expect(4);
    let said = format!("{}{}", taken.stdout, taken.stderr);
    assert!(
        said.contains("port 53/udp (dnsmasq DNS) is in use by container other-dns"),
        "{said}"
    );
    on("s1", "docker rm -f other-dns");
    lab.toots_with(&options, &["cluster", "up", "--yes", "--output", "json"])
        .expect(0);
    let again = lab
        .toots_with(&options, &["cluster", "up", "--output", "json"])
        .expect(0);
    assert_eq!(again.result()["changed"], 0, "{}", again.stdout);

    dns(lab);
    masters_are_published();
    page();
    let (_run, url) =
        super::proof::Serving::new(lab, &options, &["open", "supervisord", "--no-browser"]);
    assert_eq!(http(&[&url]).0, 401, "supervisord at {url}");
    balancer_on_a_slave();
    super::edges::additional_domain();
    address_moves();

    until("healthy", Duration::from_secs(60), || {
        lab.toots_with(&options, &["cluster", "status", "--output", "json"])
            .code
            == 0
    });
    let with_second = lab.changed("options-off", |text| {
        text.replace("edges = [\"e1\"]", SECOND_EDGE).replace(
            "[network]",
            "[hosts.e2]\naddress = \"10.42.7.32\"\n\n[network]",
        )
    });
    lab.toots_with(
        &with_second,
        &["cluster", "up", "--yes", "--output", "json"],
    )
    .expect(0);
    assert_eq!(
        on("s1", "cat /etc/resolv.conf"),
        RENEWED,
        "resolv.conf is what it was last without us"
    );
    assert_eq!(on("s1", "ls /etc/systemd/system | grep toots || true"), "");
    for machine in ["m1", "s1", "e1", "e2"] {
        let left: Vec<String> = containers(machine).into_keys().collect();
        for gone in ["dnsmasq", "supervisord", "keepalived"] {
            assert!(
                !left.contains(&format!("toots-{gone}")),
                "{machine}: {left:?}"
            );
        }
    }
    for edge in ["e1", "e2"] {
        assert!(
            !on(edge, "ip -o addr").contains(VIP),
            "{edge} has given the address up"
        );
    }
    assert_eq!(
        lab.toots_with(&with_second, &["cluster", "up", "--output", "json"])
            .expect(0)
            .result()["changed"],
        0
    );
    lab.remove(&["e2"]);
}

/// Names resolve on the slave itself, in its containers, and without dnsmasq.
fn dns(lab: &Lab) {
    let masters = |text: &str| {
        ["10.42.7.11", "10.42.7.12", "10.42.7.13"]
            .iter()
            .all(|address| text.contains(address))
    };
    assert!(
        masters(&on("s1", "dig +short consul.service.consul")),
        "Consul's names"
    );
    assert!(
        masters(&on("s1", "dig +short consul.service.lab.consul")),
        "with the datacenter"
    );
    assert!(
        on("s1", "dig +short +tcp SRV consul.service.consul").contains("8300 m1.node.lab.consul."),
        "SRV over TCP"
    );
    assert!(
        masters(&on(
            "s1",
            "dig +short @10.42.7.21 -p 8600 consul.service.consul"
        )),
        "Consul's own port"
    );
    assert_eq!(
        on("s1", "dig +short anything.consul").trim(),
        "10.42.7.21",
        "the rest of the internal domain is the local balancer's"
    );
    assert_eq!(
        on("s1", "dig +short anything.apps.lab").trim(),
        "10.42.7.21",
        "the additional domain too"
    );
    assert!(
        on("s1", "getent hosts toots-lab-m1").contains("10.42.7.11"),
        "all others by the former servers"
    );
    let inside = format!(
        "docker run --rm --entrypoint getent {} hosts consul.service.consul",
        image(lab, "dnsmasq")
    );
    assert!(
        on("s1", &inside).contains("10.42.7.1"),
        "in a container of the default bridge"
    );

    on("s1", "docker stop toots-dnsmasq");
    let began = Instant::now();
    assert!(
        on("s1", "getent hosts toots-lab-m1").contains("10.42.7.11"),
        "without dnsmasq the host still resolves"
    );
    println!(
        "  a name without dnsmasq: {:.2} s",
        began.elapsed().as_secs_f32()
    );
    on("s1", "docker start toots-dnsmasq");
    // As a DHCP client does at every renewal.
    on("s1", &format!("printf '%s' '{RENEWED}' > /etc/resolv.conf"));
    until("dnsmasq comes first again", Duration::from_secs(15), || {
        on("s1", "grep -m 1 nameserver /etc/resolv.conf").contains("10.42.7.21")
    });
}

fn masters_are_published() {
    for service in ["consul-ui", "marathon", "mesos", "chronos"] {
        until(
            &format!("{service} is in Consul and passes its checks"),
            Duration::from_secs(60),
            || {
                let (_, body) = http(&[&format!(
                    "http://10.42.7.11:8500/v1/health/service/{service}?passing=1"
                )]);
                body.matches("\"ServiceName\"").count() >= 3
                    || body.matches("\"Address\":\"10.42.7.1").count() >= 3
            },
        );
    }
}

/// A stop on supervisord's page stops the container, and the Engine's restart policy does not undo
/// it.
fn page() {
    let password = on("m1", "cat /etc/toots/secrets/supervisord");
    let login = format!("admin:{}", password.trim());
    let ask =
        |host: &str, what: &str| http(&["-u", &login, "-L", &format!("http://{host}:9000/{what}")]);
    assert_eq!(
        http(&["http://10.42.7.21:9000/"]).0,
        401,
        "a login is needed"
    );
    let listed = |host: &str| ask(host, "").1;
    until("the page shows what runs", Duration::from_secs(60), || {
        let page = listed("10.42.7.21");
        page.matches("statusrunning").count() >= 7
    });
    let page = listed("10.42.7.21");
    let at = |name: &str| {
        page.find(&format!("tail.html?processname={name}"))
            .unwrap_or_else(|| panic!("{name} is on the page"))
    };
    assert!(
        at("consul-client") < at("consul-template") && at("consul-template") < at("haproxy"),
        "in their order"
    );

    let state = || {
        on(
            "s1",
            "docker inspect -f '{{.State.Running}}' toots-registrator",
        )
        .trim()
        .to_owned()
    };
    ask(
        "10.42.7.21",
        "index.html?processname=registrator&action=stop",
    );
    until("the container is stopped", Duration::from_secs(30), || {
        state() == "false"
    });
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(state(), "false", "and stays so");
    ask(
        "10.42.7.21",
        "index.html?processname=registrator&action=start",
    );
    until("the container runs", Duration::from_secs(30), || {
        state() == "true"
    });
    let before = containers("s1")["toots-registrator"].1.clone();
    until("the page knows", Duration::from_secs(30), || {
        ask(
            "10.42.7.21",
            "index.html?processname=registrator&action=restart",
        )
        .0 == 200
    });
    until(
        "the container was restarted",
        Duration::from_secs(40),
        || {
            containers("s1")
                .get("toots-registrator")
                .is_some_and(|(_, started)| *started != before)
        },
    );
    assert!(
        ask("10.42.7.21", "logtail/consul-client").0 == 200,
        "the log's end"
    );

    // A member of a quorum continues, whatever the page says.
    let before = containers("m1")["toots-zookeeper"].clone();
    ask("10.42.7.11", "index.html?action=stopall");
    std::thread::sleep(Duration::from_secs(8));
    let after = containers("m1");
    assert_eq!(
        after.get("toots-zookeeper"),
        Some(&before),
        "it was not stopped"
    );
    for name in ["toots-consul-server", "toots-mesos-master"] {
        assert!(after.contains_key(name), "{name} runs");
    }
    for name in ["marathon", "chronos", "registrator"] {
        ask(
            "10.42.7.11",
            &format!("index.html?processname={name}&action=start"),
        );
    }
}

fn balancer_on_a_slave() {
    let status = on(
        "s1",
        "curl -s -o /dev/null -w '%{http_code}' -H 'Host: nobody.service.consul' http://10.42.7.21/",
    );
    assert_eq!(status, "503", "the slave's own balancer answers");
}

/// The address moves to the other edge when its holder's HAProxy or its holder stops.
fn address_moves() {
    let holder = || -> Vec<&str> {
        ["e1", "e2"]
            .into_iter()
            .filter(|edge| on(edge, "ip -o addr").contains(VIP))
            .collect()
    };
    // The kernel of a frozen holder still accepts connections, so a client must not wait long.
    let answers = || http(&["-m", "1", &format!("http://{VIP}/")]).0 == 503;
    assert_eq!(holder().len(), 1);
    let moved = |what: &str, first: &str, away: &dyn Fn(), back: &dyn Fn()| {
        let began = Instant::now();
        away();
        // A new connection each time: an open one does not outlive its edge.
        until(what, Duration::from_secs(10), || {
            began.elapsed() > Duration::from_secs(1) && answers()
        });
        let took = began.elapsed();
        println!("  {what}: answered again after {:.1} s", took.as_secs_f32());
        back();
        let other = if first == "e1" { "e2" } else { "e1" };
        until(
            "the other edge holds it alone",
            Duration::from_secs(20),
            || holder() == [other],
        );
    };
    let first = holder()[0].to_owned();
    moved(
        "HAProxy stopped",
        &first,
        &|| drop(on(&first, "docker stop -t 1 toots-haproxy")),
        &|| drop(on(&first, "docker start toots-haproxy")),
    );
    // It does not move back by itself.
    std::thread::sleep(Duration::from_secs(4));
    let second = holder()[0].to_owned();
    assert_ne!(first, second);
    for (what, away, back) in [("frozen", "pause", "unpause"), ("killed", "kill", "start")] {
        let machine = format!("toots-lab-{}", holder()[0]);
        let began = Instant::now();
        local(&["docker", away, &machine]);
        until("the other edge answers", Duration::from_secs(10), answers);
        println!(
            "  the holder {what}: answered again after {:.1} s",
            began.elapsed().as_secs_f32()
        );
        local(&["docker", back, &machine]);
        until("one holds it again", Duration::from_secs(60), || {
            let running = ["e1", "e2"].iter().all(|edge| {
                std::process::Command::new("docker")
                    .args(["exec", &format!("toots-lab-{edge}"), "true"])
                    .output()
                    .is_ok_and(|o| o.status.success())
            });
            running && holder().len() == 1
        });
    }
}

/// The machines of the lab share a kernel. Where it has no NFS client, the mount itself cannot be
/// shown, and a run reports that.
pub fn storage(lab: &Lab) {
    let exported = |server: &str| {
        lab.changed("storage", |text| {
            text.replace("[hosts.s1]\n", "[hosts.s1]\npersistent = true\n")
                + &format!("\n[nfs]\nexport = \"{server}:/store\"\n")
        })
    };
    let kernel = on(
        "s1",
        "grep -qw nfs4 /proc/filesystems && echo yes || echo no",
    );
    if kernel.trim() == "no" {
        // A server is there, by its port; only the kernel lacks support.
        let _server = TcpListener::bind((HERE, 2049)).expect("the port of NFS");
        let run = lab
            .toots_with(
                &exported(HERE),
                &["cluster", "up", "--yes", "--output", "plain"],
            )
            .expect(4);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(
            said.contains(&format!(
                "has no NFS client, {HERE}:/store cannot be mounted"
            )) && !said.contains("cannot connect"),
            "{said}"
        );
    }
    let inventory = exported("10.42.7.250");
    let before = containers("s1");
    let run = lab
        .toots_with(&inventory, &["cluster", "up", "--yes", "--output", "plain"])
        .expect(4);
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(
        said.contains(
            "cannot connect to the NFS server of 10.42.7.250:/store (10.42.7.250 port 2049)"
        ),
        "{said}"
    );
    assert!(
        run.took < Duration::from_secs(15),
        "an absent server is not waited for: {:?}",
        run.took
    );
    assert_eq!(containers("s1"), before, "nothing was changed");
    if kernel.trim() == "no" {
        assert!(said.contains("has no NFS client"), "{said}");
        println!("skipped: the mount of NFS storage, since this kernel has no NFS client");
    }
    let unit = lab
        .toots_with(&inventory, &["render", "--host", "s1"])
        .expect(0)
        .stdout;
    let unit = unit
        .split("# s1 /etc/systemd/system/var-store.mount\n")
        .nth(1)
        .and_then(|rest| rest.split("\n# s1 ").next())
        .expect("the unit");
    on(
        "s1",
        &format!(
            "mkdir -p /tmp/unit && cat > /tmp/unit/var-store.mount <<'END'\n{unit}\nEND\nsystemd-analyze verify /tmp/unit/var-store.mount"
        ),
    );
}

/// Creates a certificate authority, a server certificate and a client certificate.
fn certificates(folder: &std::path::Path) {
    let script = "set -e; cd \"$1\"; umask 077
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=vpn-ca -keyout vpn-ca.key -out vpn-ca.crt
        for name in server client; do
          openssl req -newkey rsa:2048 -nodes -subj /CN=vpn-$name -keyout vpn-$name.key -out vpn-$name.csr
          printf 'extendedKeyUsage=%sAuth\\nkeyUsage=digitalSignature' $name > vpn-$name.ext
          openssl x509 -req -in vpn-$name.csr -CA vpn-ca.crt -CAkey vpn-ca.key -CAcreateserial -days 2 -extfile vpn-$name.ext -out vpn-$name.crt
        done";
    local(&["sh", "-c", script, "sh", &folder.display().to_string()]);
}

/// A client in a namespace of its own reaches the cluster's hosts through an edge, and nothing
/// without a certificate does.
pub fn vpn(lab: &Lab) {
    let folder = lab.folder.join(".lab");
    certificates(&folder);
    let inventory = lab.changed("vpn", |text| {
        text.to_owned()
            + "\n[openvpn]\nca = \"vpn-ca.crt\"\ncertificate = \"vpn-server.crt\"\nkey = \"vpn-server.key\"\nnetwork = \"10.99.0.0/24\"\n"
    });
    let missing = lab.changed("vpn-missing", |text| {
        text.to_owned() + "\n[openvpn]\nca = \"vpn-ca.crt\"\ncertificate = \"nowhere.crt\"\nkey = \"vpn-server.key\"\n"
    });
    let refused = lab
        .toots_with(&missing, &["cluster", "up", "--yes"])
        .expect(2);
    assert!(
        refused.stderr.contains("certificate of [openvpn]")
            && refused.stderr.contains("nowhere.crt: No such file"),
        "{}",
        refused.stderr
    );
    lab.toots_with(&inventory, &["cluster", "up", "--yes", "--output", "json"])
        .expect(0);
    assert_eq!(
        lab.toots_with(&inventory, &["cluster", "up", "--output", "json"])
            .expect(0)
            .result()["changed"],
        0
    );
    assert!(!on("e1", "docker inspect toots-openvpn").contains("PRIVATE KEY"));

    let network = local(&[
        "docker",
        "inspect",
        "-f",
        "{{range $name, $net := .NetworkSettings.Networks}}{{$name}} {{end}}",
        "toots-lab-e1",
    ]);
    let network = network
        .split_whitespace()
        .find(|name| name.contains("10.42.7"))
        .expect("the lab's network")
        .to_owned();
    let client = "toots-lab-vpn-client";
    let remove = || {
        drop(
            std::process::Command::new("docker")
                .args(["rm", "-f", client])
                .output(),
        )
    };
    remove();
    let mount = format!("{}:/vpn:ro", folder.display());
    let start = "exec openvpn --client --dev tun --proto udp --remote 10.42.7.31 1194 --nobind --remote-cert-tls server --ca /vpn/vpn-ca.crt --cert /vpn/vpn-client.crt --key /vpn/vpn-client.key";
    local(&[
        "docker",
        "run",
        "-d",
        "--name",
        client,
        "--label",
        "toots-lab",
        "--network",
        &network,
        "--device",
        "/dev/net/tun",
        "--cap-add",
        "NET_ADMIN",
        "-v",
        &mount,
        "--entrypoint",
        "sh",
        "toots-lab/openvpn",
        "-c",
        start,
    ]);
    let inside = |command: &str| {
        let output = std::process::Command::new("docker")
            .args(["exec", client, "bash", "-c", command])
            .output()
            .expect("docker runs");
        crate::lab::text(&output)
    };
    until("the client is connected", Duration::from_secs(30), || {
        inside("ip -o addr show tun0").contains("10.99.0.")
    });
    until(
        "its routes lead through the tunnel",
        Duration::from_secs(10),
        || inside("ip route get 10.42.7.11").contains("dev tun0"),
    );
    let asked = inside(
        "exec 3<>/dev/tcp/10.42.7.11/8500; printf 'GET /v1/status/leader HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n' >&3; cat <&3",
    );
    assert!(
        asked.contains("200 OK") && asked.contains(":8300"),
        "a host of the cluster answers: {asked}"
    );
    remove();
    lab.toots(&["cluster", "up", "--yes", "--output", "json"])
        .expect(0);
    assert!(
        !on("e1", "iptables-save").contains("10.99.0.0"),
        "its rules are gone"
    );
}

/// An application's image goes through the cluster's registry: pushed from one host, pulled on another.
pub fn registry(lab: &Lab) {
    let inventory = lab.changed("own-registry", |text| {
        text.to_owned() + "\n[components]\nregistry = true\n"
    });
    lab.toots_with(&inventory, &["cluster", "up", "--yes", "--output", "json"])
        .expect(0);
    let again = lab
        .toots_with(&inventory, &["cluster", "up", "--output", "json"])
        .expect(0);
    assert_eq!(again.result()["changed"], 0, "{}", again.stdout);
    let webapp = image(lab, "webapp");
    pull(lab, "m1", &webapp);
    let app = "registry.service.consul:5000/app:1";
    on(
        "m1",
        &format!(
            "export DOCKER_CONFIG=$(mktemp -d) && docker login -u toots --password-stdin registry.service.consul:5000 \
             < /etc/toots/secrets/registry_password && docker tag {webapp} {app} && docker push {app}; \
             code=$?; rm -r \"$DOCKER_CONFIG\"; exit $code"
        ),
    );
    // With the login that the agent gives to its tasks.
    on(
        "s1",
        &format!(
            "export DOCKER_CONFIG=$(mktemp -d) && cp /etc/toots/mesos-slave/docker.json \"$DOCKER_CONFIG/config.json\" \
             && docker pull {app}; code=$?; rm -r \"$DOCKER_CONFIG\"; exit $code"
        ),
    );
    on("s1", &format!("docker rmi {app}"));
    let refused = on(
        "s1",
        &format!("DOCKER_CONFIG=$(mktemp -d) docker pull {app} 2>&1 || true"),
    );
    assert!(refused.contains("no basic auth credentials"), "{refused}");
    lab.toots(&["cluster", "up", "--yes", "--output", "json"])
        .expect(0);
    let gone = on(
        "m1",
        "docker ps -a --format '{{.Names}}'; ls /var/lib/toots/registry",
    );
    assert!(!gone.contains("toots-registry"), "{gone}");
    assert!(gone.contains("docker"), "the images stay: {gone}");
}
