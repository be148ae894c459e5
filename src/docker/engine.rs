//! The calls that toots needs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
    ListContainersOptionsBuilder, ListImagesOptions, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder, TagImageOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use futures::StreamExt as _;

use super::connection::Connections;
use super::error::DockerError;
use super::types::{ContainerDetail, ContainerStatus, EngineStatus, ImageStatus, RegistryAuth};
use crate::spec::{ClusterName, ContainerSpec};
use crate::transport::Session;

/// An answer is due within this unless told otherwise; streams of pulls have a limit of their own.
const ANSWER: Duration = Duration::from_secs(30);

/// The Engine of one host.
#[derive(Clone)]
pub struct Engine {
    docker: Docker,
    answer: Duration,
}

impl Engine {
    /// The Engine at the other end of a session. Nothing is opened before the first call.
    #[must_use]
    pub fn over(session: Arc<dyn Session>) -> Self {
        let connections = Arc::new(Connections::new(session));
        let transport = move |request: BollardRequest| {
            let connections = Arc::clone(&connections);
            async move {
                connections
                    .request(request)
                    .await
                    .map_err(|err| Error::IOError { err })
            }
        };
        let built = Docker::connect_with_custom_transport(
            transport,
            Some("http://docker"),
            3600,
            API_DEFAULT_VERSION,
        );
        match built {
            Ok(docker) => Self {
                docker,
                answer: ANSWER,
            },
            // The constructor has no failing path; its signature only shares the type of the other constructors.
            Err(error) => unreachable!("{error}"),
        }
    }

    /// Sets the limit of one answer.
    #[must_use]
    pub fn answering_within(self, answer: Duration) -> Self {
        Self { answer, ..self }
    }

    pub(super) fn api(&self) -> &Docker {
        &self.docker
    }

    /// Its version.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn version(&self) -> Result<EngineStatus, DockerError> {
        let version = answer("ask for the version", self.answer, self.docker.version()).await?;
        Ok(EngineStatus {
            version: version.version.unwrap_or_default(),
            api: version.api_version.unwrap_or_default(),
            min_api: version.min_api_version.unwrap_or_default(),
        })
    }

    /// All containers, also those that do not run.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn containers(&self) -> Result<Vec<ContainerStatus>, DockerError> {
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let list = answer(
            "list the containers",
            self.answer,
            self.docker.list_containers(Some(options)),
        )
        .await?;
        let status = |c: bollard::models::ContainerSummary| ContainerStatus {
            id: c.id.unwrap_or_default(),
            name: c
                .names
                .and_then(|names| names.into_iter().next())
                .unwrap_or_default()
                .trim_start_matches('/')
                .to_owned(),
            image: c.image.unwrap_or_default(),
            image_id: c.image_id.unwrap_or_default(),
            state: c.state.map(|state| state.to_string()).unwrap_or_default(),
            status: c.status.unwrap_or_default(),
            labels: c.labels.unwrap_or_default().into_iter().collect(),
        };
        Ok(list.into_iter().map(status).collect())
    }

    /// All images.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn images(&self) -> Result<Vec<ImageStatus>, DockerError> {
        let list = answer(
            "list the images",
            self.answer,
            self.docker.list_images(None::<ListImagesOptions>),
        )
        .await?;
        let status = |image: bollard::models::ImageSummary| ImageStatus {
            id: image.id,
            tags: image.repo_tags,
            digests: image.repo_digests,
            size: u64::try_from(image.size).unwrap_or(0),
        };
        Ok(list.into_iter().map(status).collect())
    }

    /// One container in detail.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn inspect(&self, name: &str) -> Result<ContainerDetail, DockerError> {
        let what = format!("inspect {name}");
        let detail = answer(
            &what,
            self.answer,
            self.docker
                .inspect_container(name, None::<InspectContainerOptions>),
        )
        .await?;
        let state = detail.state.unwrap_or_default();
        Ok(ContainerDetail {
            id: detail.id.unwrap_or_default(),
            started_at: state.started_at.unwrap_or_default(),
            restart_count: detail.restart_count.unwrap_or(0),
            running: state.running.unwrap_or(false),
            restarting: state.restarting.unwrap_or(false),
            exit_code: state.exit_code.unwrap_or(0),
            oom_killed: state.oom_killed.unwrap_or(false),
        })
    }

    /// Creates a container, with more labels than its specification has; it does not run yet. One of the same name is a conflict.
    ///
    /// # Errors
    /// When the Engine refuses.
    pub async fn create(
        &self,
        spec: &ContainerSpec,
        cluster: &ClusterName,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), DockerError> {
        let name = spec.name();
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let call = self
            .docker
            .create_container(Some(options), super::create::body(spec, cluster, labels));
        answer(&format!("create {name}"), self.answer, call)
            .await
            .map(drop)
    }

    /// Starts a container; one that runs is left alone.
    ///
    /// # Errors
    /// When the Engine refuses.
    pub async fn start(&self, name: &str) -> Result<(), DockerError> {
        answer(
            &format!("start {name}"),
            self.answer,
            self.docker
                .start_container(name, None::<StartContainerOptions>),
        )
        .await
    }

    /// Stops a container, with SIGKILL after `grace_s` seconds; one that does not run is left alone.
    ///
    /// # Errors
    /// When the Engine refuses.
    pub async fn stop(&self, name: &str, grace_s: u32) -> Result<(), DockerError> {
        let options = StopContainerOptionsBuilder::new()
            .t(i32::try_from(grace_s).unwrap_or(i32::MAX))
            .build();
        let limit = self.answer + Duration::from_secs(u64::from(grace_s));
        answer(
            &format!("stop {name}"),
            limit,
            self.docker.stop_container(name, Some(options)),
        )
        .await
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the Engine refuses.
    pub async fn kill(&self, name: &str, signal: &str) -> Result<(), DockerError> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        answer(
            &format!("send {signal} to {name}"),
            self.answer,
            self.docker.kill_container(name, Some(options)),
        )
        .await
    }

    /// Removes a container, with its anonymous volumes.
    ///
    /// # Errors
    /// When the Engine refuses, or it runs and `force` is false.
    pub async fn remove(&self, name: &str, force: bool) -> Result<(), DockerError> {
        let options = RemoveContainerOptionsBuilder::new()
            .force(force)
            .v(true)
            .build();
        answer(
            &format!("remove {name}"),
            self.answer,
            self.docker.remove_container(name, Some(options)),
        )
        .await
    }

    /// Renames a container.
    ///
    /// # Errors
    /// When the Engine refuses.
    pub async fn rename(&self, name: &str, to: &str) -> Result<(), DockerError> {
        let options = RenameContainerOptionsBuilder::new().name(to).build();
        answer(
            &format!("rename {name} to {to}"),
            self.answer,
            self.docker.rename_container(name, options),
        )
        .await
    }

    /// The last lines of a container's output, as it wrote them.
    ///
    /// # Errors
    /// When the Engine refuses.
    pub async fn logs_tail(&self, name: &str, lines: u32) -> Result<String, DockerError> {
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .tail(&lines.to_string())
            .build();
        let what = format!("read the log of {name}");
        let mut stream = std::pin::pin!(self.docker.logs(name, Some(options)));
        let mut out = String::new();
        let read = async {
            while let Some(chunk) = stream.next().await {
                let chunk: LogOutput =
                    chunk.map_err(|error| DockerError::from_bollard(&what, error))?;
                out.push_str(&String::from_utf8_lossy(&chunk.into_bytes()));
                if out.len() > 256 * 1024 {
                    break;
                }
            }
            Ok(())
        };
        tokio::time::timeout(self.answer, read)
            .await
            .map_err(|_| DockerError::Deadline {
                what: what.clone(),
                limit: self.answer,
            })??;
        Ok(out)
    }

    /// Gives an image a name besides its digest, so that what asks for the name finds it here and people can read the list of images.
    ///
    /// # Errors
    /// When the image is not there.
    pub async fn tag(&self, image: &str, repository: &str, tag: &str) -> Result<(), DockerError> {
        let options = TagImageOptionsBuilder::new()
            .repo(repository)
            .tag(tag)
            .build();
        answer(
            &format!("tag {image}"),
            self.answer,
            self.docker.tag_image(image, Some(options)),
        )
        .await
    }

    /// The digest behind a reference, asked of its registry through this Engine; nothing is pulled.
    ///
    /// # Errors
    /// When the registry or the Engine refuses.
    pub async fn distribution_digest(
        &self,
        reference: &str,
        auth: Option<&RegistryAuth>,
    ) -> Result<String, DockerError> {
        let what = format!("ask the registry for {reference}");
        let call = self
            .docker
            .inspect_registry_image(reference, auth.map(credentials));
        answer(&what, self.answer, call)
            .await?
            .descriptor
            .digest
            .ok_or_else(|| DockerError::Refused {
                what,
                status: 200,
                message: "the answer holds no digest".into(),
            })
    }
}

pub(super) fn credentials(auth: &RegistryAuth) -> DockerCredentials {
    DockerCredentials {
        username: Some(auth.username.clone()),
        password: Some(auth.password.expose().to_owned()),
        serveraddress: Some(auth.server.clone()),
        ..DockerCredentials::default()
    }
}

async fn answer<T>(
    what: &str,
    limit: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, DockerError> {
    match tokio::time::timeout(limit, call).await {
        Err(_) => Err(DockerError::Deadline {
            what: what.to_owned(),
            limit,
        }),
        Ok(Err(error)) => Err(DockerError::from_bollard(what, error)),
        Ok(Ok(value)) => Ok(value),
    }
}
