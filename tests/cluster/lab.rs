//! The lab for tests: toots as a process, and access to the machines by other means than toots.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

pub const MASTERS: [&str; 3] = ["m1", "m2", "m3"];

/// A cluster of the lab's machines.
#[derive(Clone)]
pub struct Lab {
    /// Where the lab's own files are.
    pub folder: PathBuf,
    pub inventory: PathBuf,
    /// Names in the inventory, and of the machines.
    pub masters: [&'static str; 3],
    /// All machines of the cluster.
    pub machines: &'static [&'static str],
    /// Machines that a scenario may start, and removes.
    pub guests: &'static [&'static str],
    /// Containers beside the machines that a scenario may start, and removes.
    pub clients: &'static [&'static str],
}

/// One run of toots.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

/// The schema of events.
pub fn schema() -> &'static jsonschema::Validator {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let text = include_str!("../../docs/events.schema.json");
        let schema = serde_json::from_str(text).expect("the schema");
        jsonschema::validator_for(&schema).expect("the schema")
    })
}

impl Run {
    pub fn start(mut command: Command) -> Self {
        let began = Instant::now();
        let output = command.stdin(Stdio::null()).output();
        let output = output.expect("toots runs");
        let words = command.get_args().map(|word| word.to_string_lossy());
        let words: Vec<_> = words.collect();
        name_slow(began, &format!("toots {}", words.join(" ")));
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: began.elapsed(),
        }
    }

    /// Asserts the exit code of the run, and shows both outputs otherwise.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            code,
            "\n{}\n--- stdout\n{}\n--- stderr\n{}",
            self.troubles().join("\n"),
            self.stdout,
            self.stderr
        );
        self
    }

    /// The events that name a fault, in short: a record of a test run keeps its first lines only.
    fn troubles(&self) -> Vec<String> {
        let keys = ["failure", "outcome", "missing", "faults", "error", "hints"];
        let named = |line: &str| {
            let event: Value = serde_json::from_str(line).ok()?;
            let failed = event["failure"].is_object()
                || event["faults"].is_array()
                || event["error"].is_string();
            let fields = keys.iter().filter(|key| !event[**key].is_null());
            let text: Vec<String> = fields.map(|key| format!("{key} {}", event[*key])).collect();
            let text: String = text.join(", ").chars().take(900).collect();
            let host = event["host"].as_str().unwrap_or("-");
            failed.then(|| format!("  {} {host}: {text}", event["type"].as_str().unwrap_or("")))
        };
        self.stdout.lines().filter_map(named).collect()
    }

    /// The events of `--output json`, each held against the schema in docs/.
    pub fn events(&self) -> Vec<Value> {
        let event = |line: &str| -> Value {
            let event =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if let Err(error) = schema().validate(&event) {
                panic!("{error}: {line}");
            }
            event
        };
        self.stdout.lines().map(event).collect()
    }

    pub fn result(&self) -> Value {
        self.events().pop().expect("a result")
    }
}

/// Prints what took long, so that a run says where its time went.
fn name_slow(began: Instant, what: &str) {
    if began.elapsed() > Duration::from_secs(8) {
        let short: String = what.chars().take(160).collect();
        println!(
            "  {:.0} s: {}",
            began.elapsed().as_secs_f32(),
            short.replace('\n', " ")
        );
    }
}

/// Whether `tests/run --long` asked for every combination.
pub fn is_long() -> bool {
    std::env::var_os("TOOTS_LONG").is_some()
}

impl Lab {
    pub fn find() -> Option<Self> {
        let inventory = PathBuf::from(std::env::var_os("TOOTS_LAB")?);
        Some(Self {
            folder: inventory.parent()?.to_owned(),
            inventory,
            masters: MASTERS,
            machines: &["m1", "m2", "m3", "s1", "e1"],
            guests: &["s2", "t1", "t2", "t3", "e2"],
            clients: &["outside", "vpn-client"],
        })
    }

    /// The toots under test.
    pub fn program(&self) -> &'static Path {
        Path::new(env!("CARGO_BIN_EXE_toots"))
    }

    pub fn command(&self, inventory: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_toots"));
        command.args(args).arg("-i").arg(inventory);
        command
    }

    pub fn toots_with(&self, inventory: &Path, args: &[&str]) -> Run {
        Run::start(self.command(inventory, args))
    }

    pub fn toots(&self, args: &[&str]) -> Run {
        self.toots_with(&self.inventory, args)
    }

    /// A changed copy of the inventory among the lab's files; its relative paths stay valid.
    pub fn changed(&self, name: &str, change: impl Fn(&str) -> String) -> PathBuf {
        let text = std::fs::read_to_string(&self.inventory).expect("the inventory");
        let path = self.folder.join(format!(".lab/{name}.toml"));
        let text = change(&text).replace("\".lab/", "\"");
        std::fs::write(&path, text).expect("a changed inventory");
        path
    }

    /// `vagrant/demo WORDS`
    #[track_caller]
    pub fn demo(&self, words: &[&str]) {
        let (demo, began) = (self.folder.join("demo"), Instant::now());
        let output = Command::new(demo)
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("vagrant/demo runs");
        assert!(
            output.status.success(),
            "vagrant/demo {words:?}: {}",
            text(&output)
        );
        name_slow(began, &format!("vagrant/demo {}", words.join(" ")));
    }

    /// Starts machines, and leaves those of other lanes alone.
    #[track_caller]
    pub fn start(&self, machines: &[&str]) {
        self.demo(&[&["start"], machines].concat());
    }

    /// Removes machines that were added to the cluster.
    #[track_caller]
    pub fn remove(&self, machines: &[&str]) {
        for machine in machines {
            // Agents that end by their stop signal leave Mesos. The machine may be stopped, or absent.
            let stop = "docker ps -q --filter label=toots.cluster | xargs -r docker stop";
            let name = format!("toots-lab-{machine}");
            let words = ["exec", &name, "sh", "-c", stop];
            drop(Command::new("docker").args(words).output());
        }
        self.demo(&[&["remove"], machines].concat());
        for machine in machines {
            force_leave(machine, &address(self.masters[0]));
        }
    }
}

pub fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs a command on the operator's machine.
#[track_caller]
pub fn local(words: &[&str]) -> String {
    let began = Instant::now();
    let output = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output()
        .expect("the command runs");
    assert!(output.status.success(), "{words:?}: {}", text(&output));
    name_slow(began, &words.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command on a machine, without SSH.
#[track_caller]
pub fn on(machine: &str, command: &str) -> String {
    local(&[
        "docker",
        "exec",
        &format!("toots-lab-{machine}"),
        "sh",
        "-c",
        command,
    ])
}

/// Has Consul forget an agent that is gone: else it stays in the catalogue for days.
pub fn force_leave(node: &str, master: &str) {
    let leave = format!("http://{master}:8500/v1/agent/force-leave/{node}");
    http(&["-X", "PUT", &leave]);
}

/// The address of a machine whose name ends in its number, inside the cluster.
pub fn address(machine: &str) -> String {
    let (role, number) = machine.split_at(1);
    let group = match role {
        "m" => 1,
        "s" => 2,
        "d" => 6,
        _ => 3,
    };
    format!("10.42.7.{group}{number}")
}

/// Container name → (id, started at) on a machine.
pub fn containers(machine: &str) -> BTreeMap<String, (String, String)> {
    let listing = on(
        machine,
        "docker inspect -f '{{.Name}} {{.Id}} {{.State.StartedAt}}' $(docker ps -q) 2>/dev/null || true",
    );
    listing
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((
                words.next()?.trim_start_matches('/').to_owned(),
                (words.next()?.to_owned(), words.next()?.to_owned()),
            ))
        })
        .collect()
}

/// Waits until the condition holds.
#[track_caller]
pub fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < limit, "after {limit:?} still not: {what}");
        std::thread::sleep(Duration::from_millis(300));
    }
    name_slow(began, &format!("until {what}"));
}

/// An HTTP request with curl; status and body.
pub fn http(arguments: &[&str]) -> (u16, String) {
    let output = Command::new("curl")
        .args(["-s", "-m", "10", "-w", "\n%{http_code}"])
        .args(arguments)
        .output()
        .expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
    (status.trim().parse().unwrap_or(0), body.to_owned())
}

/// The reference of an image of the lab's registry, by its key in `[images]` or its name there.
pub fn image(lab: &Lab, key: &str) -> String {
    let text = std::fs::read_to_string(&lab.inventory).expect("the inventory");
    let named = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{key} = \""))?.strip_suffix('"'));
    let registry = text
        .lines()
        .find_map(|line| line.strip_prefix("server = \"")?.strip_suffix('"'))
        .expect("the registry");
    named.map_or_else(|| format!("{registry}/lab/{key}:1"), str::to_owned)
}

/// Pulls an image on a machine that does not have it yet, and removes the credentials afterwards.
pub fn pull(lab: &Lab, machine: &str, image: &str) {
    let Some(server) = image
        .split_once('/')
        .map(|(server, _)| server)
        .filter(|server| server.contains(':'))
    else {
        return;
    };
    let password = std::fs::read_to_string(lab.folder.join(".lab/registry-password"))
        .expect("the registry's password");
    let password = password.trim();
    on(
        machine,
        &format!(
            "export DOCKER_CONFIG=$(mktemp -d) && printf %s '{password}' | docker login -u lab --password-stdin {server} \
             && docker pull {image}; code=$?; rm -r \"$DOCKER_CONFIG\"; exit $code"
        ),
    );
}

/// A client of an edge that keeps its connection, as browsers do.
pub struct Edge {
    address: String,
    host: String,
    connection: Option<BufReader<TcpStream>>,
}

impl Edge {
    pub fn new(address: &str, host: &str) -> Self {
        Self {
            address: address.to_owned(),
            host: host.to_owned(),
            connection: None,
        }
    }

    /// Status and body. A connection that the edge closed while it was idle is recreated, as
    /// clients do.
    pub fn get(&mut self, path: &str) -> std::io::Result<(u16, String)> {
        if let Some(connection) = self.connection.take()
            && let Ok(answer) = self.ask(connection, path)
        {
            return Ok(answer);
        }
        let stream = TcpStream::connect((self.address.as_str(), 80))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        self.ask(BufReader::new(stream), path)
    }

    fn ask(
        &mut self,
        mut connection: BufReader<TcpStream>,
        path: &str,
    ) -> std::io::Result<(u16, String)> {
        let short = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        connection
            .get_mut()
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host).as_bytes())?;
        let (mut line, mut length, mut close) = (String::new(), 0, false);
        connection.read_line(&mut line)?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(short)?;
        loop {
            line.clear();
            connection.read_line(&mut line)?;
            let header = line.trim().to_ascii_lowercase();
            match header.split_once(": ") {
                Some(("content-length", n)) => length = n.parse().map_err(|_| short())?,
                Some(("connection", how)) => close = how == "close",
                _ if header.is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        connection.read_exact(&mut body)?;
        self.connection = (!close).then_some(connection);
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}
