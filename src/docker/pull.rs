//! Pulls with progress summed over layers, aborted when no data arrives, not by total time.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::StreamExt as _;

use super::engine::Engine;
use super::error::DockerError;
use super::types::RegistryAuth;

impl Engine {
    /// Pulls an image. `progress` receives the bytes so far and, once known, the total.
    ///
    /// # Errors
    /// When the Engine or the registry refuses, or no data arrives for `idle`.
    pub async fn pull(
        &self,
        reference: &str,
        auth: Option<&RegistryAuth>,
        idle: Duration,
        progress: impl Fn(u64, Option<u64>),
    ) -> Result<(), DockerError> {
        let what = format!("pull {reference}");
        let options = CreateImageOptionsBuilder::new()
            .from_image(reference)
            .build();
        let mut stream = std::pin::pin!(self.api().create_image(
            Some(options),
            None,
            auth.map(super::engine::credentials)
        ));
        let mut layers: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        loop {
            let next = tokio::time::timeout(idle, stream.next()).await;
            let info = match next {
                Err(_) => return Err(DockerError::Deadline { what, limit: idle }),
                Ok(None) => return Ok(()),
                Ok(Some(Err(error))) => return Err(DockerError::from_bollard(&what, error)),
                Ok(Some(Ok(info))) => info,
            };
            // Only fetched bytes count; unpacking reports progress of its own.
            let (Some(id), Some("Downloading"), Some(detail)) =
                (info.id, info.status.as_deref(), info.progress_detail)
            else {
                continue;
            };
            let number = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
            layers.insert(id, (number(detail.current), number(detail.total)));
            let (done, total) = layers
                .values()
                .fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
            progress(done, (total > 0).then_some(total));
        }
    }
}
