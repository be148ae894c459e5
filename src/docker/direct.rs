//! Images from one host to another, past this machine: one host listens for a moment, the other one
//! connects, and their Docker commands do the rest.
//!
//! Perl is what every Debian and Ubuntu has without a package; where it or the way between the hosts
//! is missing, callers send the image through this machine. What arrives is not trusted: compare it
//! with what was expected.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines, Take};

use super::engine::Engine;
use crate::host::{BoxStream, StreamTarget, TransportError};
use crate::spec::{Secret, shown};

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
    /// Loads an image of this Engine on another host's. `token`: a new secret that proves the one to
    /// the other. `progress` receives the bytes so far. Returns
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
        token: Secret,
        progress: impl Fn(u64),
    ) -> Result<Option<String>, TransportError> {
        let giver = StreamTarget::GiveImage {
            address: route.from,
            peer: route.to,
            image: image.to_owned(),
            token: token.clone(),
        };
        let mut giver = lines(self.session().open(giver).await?);
        let port = next_line(&mut giver, "listen", LISTEN_LIMIT).await?;
        let port = port.and_then(|port| port.parse().ok());
        let port = port.ok_or_else(|| TransportError::Command("perl printed no port".into()))?;
        let taker = StreamTarget::TakeImage {
            address: route.from,
            port,
            token,
        };
        let mut taker = lines(to.session().open(taker).await?);
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
}

fn lines(stream: BoxStream) -> ScriptLines {
    BufReader::new(stream.take(MAX_OUTPUT_BYTES)).lines()
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
