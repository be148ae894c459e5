//! What a build sends to the Engine, and what it shows of the answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use toots::docker::{BuildRequest, DockerError, Engine, Proxies};
use toots::host::{
    BoxStream, Cost, HoldLock, HostAnswer, HostSession, LockAnswer, Operation, OperationError,
    StreamTarget, TransportError,
};
use toots::spec::{HostName, ImageRef, LocalFile, PackageVersions, Recipe, Secret, digest};

/// An Engine that records a request and gives one answer.
struct Play {
    host: HostName,
    answer: String,
    request: Arc<Mutex<Vec<u8>>>,
}

#[async_trait]
impl HostSession for Play {
    fn host(&self) -> &HostName {
        &self.host
    }

    async fn run(&self, operation: Operation) -> Result<HostAnswer, OperationError> {
        panic!("no operation is expected, got {operation:?}")
    }

    async fn hold_lock(&self, _: HoldLock) -> Result<LockAnswer, TransportError> {
        panic!("no lock is expected")
    }

    async fn open(&self, _: StreamTarget) -> Result<BoxStream, TransportError> {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let (answer, request) = (self.answer.clone(), Arc::clone(&self.request));
        tokio::spawn(answer_once(theirs, answer, request));
        Ok(Box::new(ours))
    }

    fn closed(&self) -> bool {
        false
    }

    fn cost(&self) -> Cost {
        Cost::default()
    }

    async fn close(&self) {}
}

async fn answer_once(mut stream: DuplexStream, answer: String, request: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = vec![0; 64 << 10];
    // The last chunk of a chunked body.
    while !request.lock().unwrap().ends_with(b"\r\n0\r\n\r\n") {
        match stream.read(&mut chunk).await {
            Ok(read) if read > 0 => request.lock().unwrap().extend_from_slice(&chunk[..read]),
            _ => return,
        }
    }
    let length = answer.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    let _ = stream.write_all(format!("{head}{answer}").as_bytes()).await;
}

struct Outcome {
    built: Result<String, DockerError>,
    request: Vec<u8>,
    lines: Vec<String>,
    sent: Vec<(u64, u64)>,
}

async fn build(recipe: &Recipe, proxies: &Proxies, answer: &str) -> Outcome {
    build_with(recipe, proxies, &PackageVersions::default(), answer).await
}

async fn build_with(
    recipe: &Recipe,
    proxies: &Proxies,
    packages: &PackageVersions,
    answer: &str,
) -> Outcome {
    let request = Arc::new(Mutex::new(Vec::new()));
    let engine = Engine::over(Arc::new(Play {
        host: HostName::new("m1").unwrap(),
        answer: answer.to_owned(),
        request: Arc::clone(&request),
    }));
    let mut lines = Vec::new();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let progress = Arc::clone(&sent);
    let build = BuildRequest {
        recipe,
        base: "ubuntu:24.04",
        packages,
        auth: None,
        proxies,
        files: &toots::env::MachineFiles,
        idle: Duration::from_secs(20),
    };
    let built = engine
        .build(
            build,
            move |bytes, total| progress.lock().unwrap().push((bytes, total)),
            |line| lines.push(line.to_owned()),
        )
        .await;
    let request = request.lock().unwrap().clone();
    let sent = sent.lock().unwrap().clone();
    Outcome {
        built,
        request,
        lines,
        sent,
    }
}

fn recipe() -> Recipe {
    Recipe {
        name: "mesos".into(),
        base: ImageRef("ubuntu:24.04".into()),
        arguments: BTreeMap::new(),
        files: [("Dockerfile".to_owned(), "FROM ${base}\n".to_owned())].into(),
        local_files: BTreeMap::new(),
    }
}

/// The parameters of a build, and its arguments among them.
fn query(request: &str) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let line = request.lines().next().unwrap();
    let query = line.split(['?', ' ']).nth(2).unwrap();
    let pairs: BTreeMap<String, String> = serde_urlencoded::from_str(query).unwrap();
    let arguments = serde_json::from_str(&pairs["buildargs"]).unwrap();
    (pairs, arguments)
}

/// What the builder gets for these versions: the argument, and the files.
pub async fn sent_with(
    recipe: &Recipe,
    packages: &PackageVersions,
) -> (Option<String>, BTreeMap<String, String>) {
    let answer = "{\"aux\":{\"ID\":\"sha256:1\"}}\r\n";
    let outcome = build_with(recipe, &Proxies::default(), packages, answer).await;
    let head = outcome.request.windows(4).position(|w| w == b"\r\n\r\n");
    let (head, mut body) = outcome.request.split_at(head.unwrap() + 4);
    let (pairs, mut arguments) = query(&String::from_utf8_lossy(head));
    assert_eq!(pairs["t"], recipe.image().0);
    let mut archive = Vec::new();
    loop {
        let end = body.windows(2).position(|w| w == b"\r\n").unwrap();
        let length = std::str::from_utf8(&body[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            break;
        }
        archive.extend(&body[end + 2..end + 2 + length]);
        body = &body[end + length + 4..];
    }
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let text: &mut String = files.entry(name).or_default();
        std::io::Read::read_to_string(&mut entry, text).unwrap();
    }
    (arguments.remove("toots_packages"), files)
}

#[tokio::test]
async fn versions_are_asked_for_beside_the_recipe() {
    let script = "exists() { true; }\ninstall() { true; }\ninstall \"$@\"\n";
    let mut recipe = recipe();
    recipe.files.insert("packages.sh".into(), script.into());
    let (argument, files) = sent_with(&recipe, &PackageVersions::default()).await;
    assert_eq!((argument, files["packages.sh"].as_str()), (None, script));
    assert!(!files["Dockerfile"].contains("ARG"));

    let packages = PackageVersions::parse("dnsmasq-base 2.91-1\n");
    let (argument, files) = sent_with(&recipe, &packages).await;
    assert_eq!(argument.as_deref(), Some("dnsmasq-base=2.91-1"));
    assert!(files["Dockerfile"].ends_with("ARG toots_packages\n"));
    let script = &files["packages.sh"];
    let place = |text: &str| script.find(text).unwrap();
    assert!(place("install() {") < place("toots_packages"));
    assert!(place("toots_packages") < place("install \"$@\""));
}

#[tokio::test]
async fn a_proxys_login_is_shown_nowhere() {
    let proxies = Proxies {
        http: Some(Secret::new("http://ann:geheim@proxy:3128")),
        https: Some(Secret::new("ann:geheim@proxy:3128")),
        exceptions: Some("10.0.0.0/8".into()),
    };
    let printed = "env: http_proxy=http://ann:geheim@proxy:3128 (password geheim)";
    let answer = serde_json::json!({ "stream": format!("{printed}\n") });
    let error = serde_json::json!({ "errorDetail": { "message": printed } });
    let outcome = build(&recipe(), &proxies, &format!("{answer}\r\n{error}\r\n")).await;

    // The builder gets it, by the arguments that stay out of an image's history.
    let request = String::from_utf8_lossy(&outcome.request);
    let (pairs, arguments) = query(&request);
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "FTP_PROXY"] {
        assert_eq!(arguments[name], "http://ann:geheim@proxy:3128", "{name}");
    }
    for name in ["https_proxy", "HTTPS_PROXY"] {
        assert_eq!(arguments[name], "ann:geheim@proxy:3128", "{name}");
    }
    assert_eq!(arguments["NO_PROXY"], "10.0.0.0/8");
    assert!(!pairs["labels"].contains("geheim") && !pairs["t"].contains("geheim"));
    let body = request.split_once("\r\n\r\n").unwrap().1;
    assert!(body.contains("FROM ${base}") && !body.contains("geheim"));

    // What becomes events and log.
    let masked = "env: http_proxy=http://xxxxx:xxxxx@proxy:3128 (password xxxxx)";
    assert_eq!(outcome.lines, [masked]);
    let error = outcome.built.unwrap_err();
    assert!(format!("{error}").contains(masked), "{error}");
    assert!(!format!("{error:?} {proxies:?}").contains("geheim"));
}

#[tokio::test]
async fn local_files_are_streamed_with_their_progress() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mesos.deb");
    let content = b"a package ".repeat(100_000);
    std::fs::write(&path, &content).unwrap();
    let with = |sha256| Recipe {
        local_files: [(
            "deb".to_owned(),
            LocalFile {
                path: path.clone(),
                sha256,
            },
        )]
        .into(),
        ..recipe()
    };
    let answer =
        "{\"stream\":\"Step 1/1 : FROM ${base}\\n\"}\r\n{\"aux\":{\"ID\":\"sha256:1\"}}\r\n";
    let none = Proxies::default();
    let outcome = build(&with(digest(&content)), &none, answer).await;
    assert_eq!(outcome.built.unwrap(), "sha256:1");
    assert_eq!(outcome.lines, ["Step 1/1 : FROM ${base}"]);
    let total = content.len() as u64;
    assert_eq!(outcome.sent.last(), Some(&(total, total)));
    assert!(outcome.sent.len() > 4, "{:?}", outcome.sent);
    let head = outcome.request.len() - content.len();
    assert!(head < 16 << 10, "the file is sent once, {head} bytes more");

    // Changed between the check and the build: the archive does not come to its end.
    let outcome = build(&with(digest(b"another")), &none, answer).await;
    let error = outcome.built.unwrap_err();
    let mut causes = vec![error.to_string()];
    let mut next = std::error::Error::source(&error);
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    let changed = "changed after its digest was checked";
    assert!(
        causes.iter().any(|cause| cause.contains(changed)),
        "{causes:?}"
    );
    assert!(!outcome.request.ends_with(b"\r\n0\r\n\r\n"));
}
