//! Forwards a local port to one address in the cluster.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;

use super::gateway::{Gateway, client};
use crate::env;

/// Serves until it is dropped. A connection that cannot be opened ends, with a line in the log.
pub async fn forward(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    address: String,
    port: u16,
) -> Infallible {
    loop {
        let mut near = client(&listener).await;
        let (gateway, address) = (Arc::clone(&gateway), address.clone());
        env::spawn(async move {
            match gateway.open(&address, port).await {
                // Either side may close it at any time.
                Ok(mut far) => drop(copy_bidirectional(&mut near, &mut far).await),
                Err(error) => tracing::warn!(%address, port, %error, "forwarding failed"),
            }
        });
    }
}
