//! A port of this machine that leads to one address in the cluster.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;

use super::way::{Way, client};

/// Serves until it is dropped. A connection that cannot be made ends, and is said in the log.
pub async fn forward(
    listener: TcpListener,
    way: Arc<Way>,
    address: String,
    port: u16,
) -> Infallible {
    loop {
        let mut near = client(&listener).await;
        let (way, address) = (Arc::clone(&way), address.clone());
        tokio::spawn(async move {
            match way.open(&address, port).await {
                // Either side may end it at any time.
                Ok(mut far) => drop(copy_bidirectional(&mut near, &mut far).await),
                Err(error) => tracing::warn!(%address, port, %error, "not forwarded"),
            }
        });
    }
}
