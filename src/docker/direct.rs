//! Images from one host to another, past this machine: one host listens for a moment, the other one
//! connects, and their Docker commands do the rest.
//!
//! Perl is what every Debian and Ubuntu has without a package; where it or the way between the hosts
//! is missing, callers send the image through this machine. What arrives is not trusted: compare it
//! with what was expected.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines, Take,
};

use super::engine::Engine;
use crate::spec::{quote, shown};
use crate::transport::{BoxStream, Target, TransportError};

const GIVE: &str = include_str!("give_image.pl");
const TAKE: &str = include_str!("take_image.pl");

/// Limit of what a script prints, in bytes: a line each second, for a day.
const MAX_OUTPUT_BYTES: u64 = 1 << 20;

/// The lines that a script prints.
type ScriptLines = Lines<BufReader<Take<BoxStream>>>;

/// Limit until the giving host listens.
const LISTEN_LIMIT: Duration = Duration::from_secs(15);

/// The addresses of the two hosts for each other.
#[derive(Debug, Clone, Copy)]
pub struct DirectRoute {
    /// Where the host listens that has the image.
    pub from: Ipv4Addr,
    /// From where the other one comes; nobody else is served.
    pub to: Ipv4Addr,
}

impl Engine {
    /// Loads an image of this Engine on another host's. `progress` receives the bytes so far. Returns
    /// the id of an image without a name.
    ///
    /// # Errors
    /// When one of the two hosts cannot take part, they do not reach each other, or nothing moves for
    /// `idle`. The other host may have loaded the image nevertheless.
    pub async fn give(
        &self,
        to: &Self,
        route: DirectRoute,
        image: &str,
        idle: Duration,
        progress: impl Fn(u64),
    ) -> Result<Option<String>, TransportError> {
        let token = format!("{:032x}", rand::random::<u128>());
        let DirectRoute { from, to: peer } = route;
        let arguments = [&from.to_string(), &peer.to_string(), image];
        let mut giver = self.perl(GIVE, &arguments, &token).await?;
        let port = next_line(&mut giver, "listen", LISTEN_LIMIT).await?;
        let port = port.filter(|port| port.parse::<u16>().is_ok());
        let port = port.ok_or_else(|| TransportError::Command("perl printed no port".into()))?;
        let mut taker = to.perl(TAKE, &[&from.to_string(), &port], &token).await?;
        let mut id = None;
        while let Some(line) = next_line(&mut taker, "load an image", idle).await? {
            if let Ok(bytes) = line.parse() {
                progress(bytes);
            } else if let Some(loaded) = line.strip_prefix("Loaded image ID: ") {
                id = Some(loaded.to_owned());
            }
        }
        Ok(id)
    }

    /// Starts a script of Perl as root, with a first line of input.
    async fn perl(
        &self,
        script: &str,
        arguments: &[&str],
        input: &str,
    ) -> Result<ScriptLines, TransportError> {
        let arguments: Vec<String> = arguments.iter().map(|argument| quote(argument)).collect();
        let command = Target::Command {
            command: format!("perl -e {} {}", quote(script), arguments.join(" ")),
            privileged: true,
        };
        let mut stream = self.session().open(command).await?;
        let input = format!("{input}\n");
        let sent = async {
            stream.write_all(input.as_bytes()).await?;
            stream.flush().await
        };
        sent.await.map_err(|error| failed(&error))?;
        Ok(BufReader::new(stream.take(MAX_OUTPUT_BYTES)).lines())
    }
}

async fn next_line(
    lines: &mut ScriptLines,
    what: &str,
    limit: Duration,
) -> Result<Option<String>, TransportError> {
    let line = tokio::time::timeout(limit, lines.next_line()).await;
    let line = line.map_err(|_| TransportError::Deadline {
        what: what.to_owned(),
        limit,
    })?;
    line.map_err(|error| failed(&error))
}

fn failed(error: &std::io::Error) -> TransportError {
    TransportError::Command(shown(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpStream;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::{Child, Command, Stdio};

    use super::{GIVE, TAKE};

    const IMAGE: &[u8] = &[7; 700_000];

    /// A folder with a `docker` that saves a file and loads into another one; `None` without Perl.
    fn docker() -> Option<tempfile::TempDir> {
        let perl = Command::new("perl")
            .arg("-v")
            .stdout(Stdio::null())
            .status();
        if perl.is_err() {
            println!("skipped: perl is not installed");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker");
        let script = "#!/bin/sh\ncd \"${0%/*}\" && case $1 in\n  save) cat \"$2\" ;;\n  \
                      load) cat > loaded && echo 'Loaded image ID: sha256:1' ;;\nesac\n";
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join("image"), IMAGE).unwrap();
        Some(folder)
    }

    fn start(folder: &Path, script: &str, arguments: &[&str], token: &str) -> Child {
        let path = std::env::var("PATH").unwrap();
        let mut child = Command::new("perl")
            .args(["-e", script])
            .args(arguments)
            .env("PATH", format!("{}:{path}", folder.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{token}").unwrap();
        child
    }

    fn read_port(giver: &mut Child) -> String {
        let mut line = String::new();
        let mut output = BufReader::new(giver.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    #[test]
    fn an_image_is_given_and_taken() {
        let Some(folder) = docker() else { return };
        let local = "127.0.0.1";
        let mut giver = start(folder.path(), GIVE, &[local, local, "image"], "t0ken");
        let port = read_port(&mut giver);
        // Neither silence nor another token gets anything, and both do not end it.
        for words in ["\n", "another\n"] {
            let mut stranger = TcpStream::connect(format!("{local}:{port}")).unwrap();
            stranger.write_all(words.as_bytes()).unwrap();
            let mut got = Vec::new();
            stranger.read_to_end(&mut got).unwrap();
            assert_eq!(got, b"");
        }
        let taker = start(folder.path(), TAKE, &[local, &port], "t0ken");
        let output = taker.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.ends_with("Loaded image ID: sha256:1\n"), "{text}");
        assert_eq!(fs::read(folder.path().join("loaded")).unwrap(), IMAGE);
        assert!(giver.wait().unwrap().success());
    }

    #[test]
    fn another_address_gets_nothing() {
        let Some(folder) = docker() else { return };
        let local = "127.0.0.1";
        let mut giver = start(folder.path(), GIVE, &[local, "127.0.0.2", "image"], "t0ken");
        let port = read_port(&mut giver);
        let taker = start(folder.path(), TAKE, &[local, &port], "t0ken");
        let output = taker.wait_with_output().unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text, "127.0.0.1 sent nothing\n");
        giver.kill().unwrap();
        giver.wait().unwrap();
    }

    #[test]
    fn what_cannot_be_saved_is_an_error_on_both_sides() {
        let Some(folder) = docker() else { return };
        let local = "127.0.0.1";
        let mut giver = start(folder.path(), GIVE, &[local, local, "absent"], "t0ken");
        let port = read_port(&mut giver);
        let taker = start(folder.path(), TAKE, &[local, &port], "t0ken");
        assert!(!taker.wait_with_output().unwrap().status.success());
        let output = giver.wait_with_output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.ends_with("docker save failed\n"), "{text}");
    }
}
