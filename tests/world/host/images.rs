//! Gives and takes images as `give_image.pl` and `take_image.pl` do, with the Engines of both hosts.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::io::{DuplexStream, ReadHalf, WriteHalf};

use super::task::HostTask;

const ACCEPT_LIMIT: Duration = Duration::from_secs(20);
const MAX_TOKEN_BYTES: u64 = 100;

type Input = BufReader<ReadHalf<DuplexStream>>;

async fn line(input: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> String {
    let mut line = String::new();
    drop(input.take(MAX_TOKEN_BYTES).read_line(&mut line).await);
    line.trim_end_matches('\n').to_owned()
}

/// Sends the host's Engine one request.
async fn ask_engine(
    task: &HostTask,
    method: &str,
    uri: &str,
    body: Bytes,
) -> Result<Response<Incoming>, String> {
    if !task.machine.state().engine_runs {
        return Err("cannot connect to the Docker daemon".to_owned());
    }
    let (near, far) = tokio::io::duplex(64 * 1024);
    // What the host received before is what it works on: its own requests are part of that.
    let run = format!("host of {}", task.link.controller.name());
    task.machine.serve_engine(far, &run);
    let http = hyper::client::conn::http1::handshake(TokioIo::new(near));
    let (mut sender, connection) = http.await.map_err(|error| error.to_string())?;
    task.machine.spawn(async move { drop(connection.await) });
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "docker")
        .header("content-type", "application/x-tar")
        .body(Full::new(body));
    let request = request.map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await;
    answer.map_err(|error| error.to_string())
}

async fn body(answer: Response<Incoming>) -> Result<Bytes, String> {
    let status = answer.status();
    let body = answer.into_body().collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    if status == StatusCode::OK {
        Ok(body)
    } else {
        Err(String::from_utf8_lossy(&body).into_owned())
    }
}

/// An image that one other host may take.
pub struct GivenImage {
    pub address: Ipv4Addr,
    pub peer: Ipv4Addr,
    pub image: String,
}

pub async fn give(task: &HostTask, given: &GivenImage, stream: DuplexStream) -> Result<(), String> {
    let (input, mut output) = tokio::io::split(stream);
    let mut input: Input = BufReader::new(input);
    let token = line(&mut input).await;
    if token.is_empty() {
        return Err("no token".to_owned());
    }
    let network = &task.machine.network;
    let port = task.machine.state().new_port();
    let listener = network.listen(given.address, port);
    let mut listener =
        listener.map_err(|error| format!("cannot listen at {}: {error}", given.address))?;
    drop(output.write_all(format!("{port}\n").as_bytes()).await);
    let accepted = async {
        loop {
            let (taker, from) = listener.accept().await;
            let mut taker = BufReader::new(taker);
            if from == given.peer && line(&mut taker).await == token {
                return taker.into_inner();
            }
        }
    };
    let accepted = tokio::time::timeout(ACCEPT_LIMIT, accepted).await;
    let mut taker = accepted.map_err(|_| "killed by signal ALRM".to_owned())?;
    task.step("taker accepted").await;
    let uri = format!("/images/{}/get", given.image);
    let saved = ask_engine(task, "GET", &uri, Bytes::new()).await;
    let saved = body(saved.map_err(|error| format!("docker save failed: {error}"))?).await?;
    let sent = taker.write_all(&saved).await;
    sent.map_err(|error| format!("the other host left: {error}"))?;
    drop(taker.shutdown().await);
    task.step("image given").await;
    Ok(())
}

pub async fn take(
    task: &HostTask,
    address: Ipv4Addr,
    port: u16,
    stream: DuplexStream,
) -> Result<(), String> {
    let (input, mut output): (_, WriteHalf<DuplexStream>) = tokio::io::split(stream);
    let mut input: Input = BufReader::new(input);
    let token = line(&mut input).await;
    let network = &task.machine.network;
    let connected = network.connect(task.machine.address, address, port).await;
    let cannot = |error| format!("cannot connect to {address}:{port}: {error}");
    let mut giver = connected.map_err(cannot)?;
    drop(giver.write_all(format!("{token}\n").as_bytes()).await);
    let mut image = Vec::new();
    let read = giver.read_to_end(&mut image).await;
    if read.is_err() || image.is_empty() {
        return Err(format!("{address} sent nothing"));
    }
    drop(
        output
            .write_all(format!("{}\n", image.len()).as_bytes())
            .await,
    );
    task.step("image received").await;
    let loaded = ask_engine(task, "POST", "/images/load?quiet=1", image.into()).await;
    let loaded = loaded.map_err(|error| format!("docker load failed: {error}"))?;
    let loaded = body(loaded).await;
    let loaded = loaded.map_err(|error| format!("docker load failed: {error}"))?;
    for message in serde_json::Deserializer::from_slice(&loaded)
        .into_iter::<serde_json::Value>()
        .map_while(Result::ok)
    {
        let text = message["stream"].as_str().unwrap_or_default();
        drop(output.write_all(text.as_bytes()).await);
    }
    task.step("image loaded").await;
    Ok(())
}
