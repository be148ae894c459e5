//! The program behind each entry of supervisord's page, with a scripted Engine.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[derive(Default)]
struct Engine {
    running: bool,
    /// Requests that change something.
    changes: Vec<String>,
}

fn answer(mut stream: UnixStream, engine: &Mutex<Engine>) -> std::io::Result<()> {
    let mut line = String::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    reader.read_line(&mut line)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let request = line.trim_end_matches(" HTTP/1.1\r\n").to_owned();
    let mut engine = engine.lock().unwrap();
    let body = match request.split_once(' ') {
        Some(("POST", path)) => {
            engine.running = path.ends_with("/start");
            engine.changes.push(request);
            return stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        }
        Some((_, path)) if path.contains("/logs") => "\u{1}\0\0\0\0\0\0\u{6}hello\n".to_owned(),
        _ => format!(
            "{{\"State\":{{\"Running\":{},\"Restarting\":false}}}}",
            engine.running
        ),
    };
    drop(engine);
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

struct Program {
    child: Child,
    engine: Arc<Mutex<Engine>>,
    _folder: tempfile::TempDir,
}

impl Program {
    /// `None`: no python3 here.
    fn start(how: &str, running: bool) -> Option<Self> {
        Command::new("python3").arg("--version").output().ok()?;
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine");
        let listener = UnixListener::bind(&socket).unwrap();
        let engine = Arc::new(Mutex::new(Engine {
            running,
            changes: Vec::new(),
        }));
        let state = Arc::clone(&engine);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that is gone is not a failure of the Engine.
                let _ = answer(stream, &state);
            }
        });
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks/supervisord/container.py");
        let child = Command::new("python3")
            .args(["-B".as_ref(), script.as_os_str()])
            .args([how, "some"])
            .env("TOOTS_ENGINE", &socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self {
            child,
            engine,
            _folder: folder,
        })
    }

    fn changes(&self) -> Vec<String> {
        self.engine.lock().unwrap().changes.clone()
    }

    fn soon(&self, what: impl Fn(&Self) -> bool) -> bool {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            if what(self) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    fn terminate(&self) {
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
    }

    fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        while began.elapsed() < within {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn page_programs_start_and_stop_their_containers() {
    let Some(mut program) = Program::start("run", false) else {
        println!("skipped: no python3 here");
        return;
    };
    assert!(
        program.soon(|program| program.changes() == ["POST /containers/toots-some/start"]),
        "{:?}",
        program.changes()
    );
    std::thread::sleep(Duration::from_secs(1));
    program.terminate();
    let status = program
        .ended(Duration::from_secs(12))
        .expect("it ends after its container");
    assert!(status.success());
    assert_eq!(
        program.changes(),
        [
            "POST /containers/toots-some/start",
            "POST /containers/toots-some/stop"
        ]
    );
}

#[test]
fn page_cannot_stop_quorum_members() {
    let Some(mut program) = Program::start("guarded", true) else {
        println!("skipped: no python3 here");
        return;
    };
    std::thread::sleep(Duration::from_secs(1));
    program.terminate();
    assert!(
        program.ended(Duration::from_secs(2)).is_none(),
        "it continues"
    );
    assert!(program.changes().is_empty(), "{:?}", program.changes());
}

#[test]
fn a_container_that_stops_elsewhere_is_not_started_again() {
    let Some(mut program) = Program::start("run", true) else {
        println!("skipped: no python3 here");
        return;
    };
    std::thread::sleep(Duration::from_secs(1));
    program.engine.lock().unwrap().running = false;
    assert!(
        program
            .ended(Duration::from_secs(12))
            .expect("it ends")
            .success()
    );
    assert!(program.changes().is_empty(), "{:?}", program.changes());
}
