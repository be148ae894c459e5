//! The Engine's end of HTTP/1.1.

use std::convert::Infallible;

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use super::Engine;
use super::reply::{Body, Reply};
use super::routes::Call;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Serves one connection until its end, or the Engine's. `requester` names who asks, for the record.
pub async fn serve(
    engine: Engine,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    requester: String,
) {
    let Some(number) = engine.service() else {
        // Nobody listens: the connection ends at once.
        return;
    };
    let service = service_fn(|request| answer(engine.clone(), request, requester.clone()));
    let http = hyper::server::conn::http1::Builder::new()
        // It would be the time of the real machine.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        () = engine.end_of(number) => {}
        // A client that goes away is no error of the Engine.
        _ = http => {}
    }
}

async fn answer(
    engine: Engine,
    request: Request<Incoming>,
    requester: String,
) -> Result<Answer, hyper::Error> {
    let (head, body) = request.into_parts();
    // Also a build or a load begins when its archive is there. One that breaks off changes nothing.
    let body = body.collect().await?.to_bytes();
    let login = |name: &str| {
        let value = head.headers.get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let login = login("x-registry-auth").or_else(|| login("x-registry-config"));
    let call = Call::new(
        head.method.as_str(),
        &head.uri.to_string(),
        body,
        login,
        requester,
    );
    let reply = if call.ends_with_client() {
        engine.answer(call).await
    } else {
        // What was received is carried out, whether or not the client waits for the answer.
        let (done, answered) = oneshot::channel();
        let worker = engine.clone();
        engine.spawn_request(async move {
            drop(done.send(worker.answer(call).await));
        });
        match answered.await {
            Ok(reply) => reply,
            // The Engine itself has ended, and its connections with it.
            Err(_) => std::future::pending().await,
        }
    };
    Ok(respond(&engine, reply))
}

fn respond(engine: &Engine, reply: Reply) -> Answer {
    let (kind, body) = match reply.body {
        Body::Empty => ("", Empty::new().boxed_unsync()),
        Body::Json(body) => {
            let body = Full::new(Bytes::from(format!("{body}\n")));
            ("application/json", body.boxed_unsync())
        }
        Body::Bytes(kind, bytes) => (kind, Full::new(bytes).boxed_unsync()),
        Body::Stream(kind, receiver) => {
            let pieces = futures::stream::unfold(receiver, |mut receiver| async move {
                receiver.recv().await.map(|piece| (piece, receiver))
            });
            let frames = pieces.map(|piece| Ok(Frame::data(piece)));
            (kind, StreamBody::new(frames).boxed_unsync())
        }
    };
    let mut response = Response::builder()
        .status(reply.status)
        .header("api-version", engine.api_version())
        .header("server", format!("Docker/{} (linux)", engine.version()));
    if !kind.is_empty() {
        response = response.header("content-type", kind);
    }
    response.body(body).expect("a response")
}
