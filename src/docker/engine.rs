//! The Engine API calls that toots needs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{SystemInfo, SystemVersion};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
    ListContainersOptionsBuilder, ListImagesOptions, LogsOptionsBuilder, PruneImagesOptionsBuilder,
    RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder, TagImageOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::{Request, Response};

use super::connection::{Boxed, Connections};
use super::content::ImageDetail;
use super::error::DockerError;
use super::proxies::Proxies;
use super::types::{
    ContainerDetail, ContainerStatus, EngineInfo, EngineStatus, ImageStatus, RegistryAuth,
};
use crate::host::HostSession;
use crate::spec::{ClusterName, ContainerSpec, Recipe};

/// Default limit of one answer; the streams of pulls have a limit of their own.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// The Engine of one host.
#[derive(Clone)]
pub struct Engine {
    docker: Docker,
    connections: Arc<Connections>,
    answer: Duration,
}

impl Engine {
    /// The Engine at the far end of a session. Opens nothing before the first call.
    #[must_use]
    pub fn over(session: Arc<dyn HostSession>) -> Self {
        let connections = Arc::new(Connections::new(session));
        let of_bollard = Arc::clone(&connections);
        let transport = move |request: BollardRequest| {
            let connections = Arc::clone(&of_bollard);
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
                connections,
                answer: ANSWER_LIMIT,
            },
            // The constructor cannot fail; its signature is shared with the other constructors.
            Err(error) => unreachable!("{error}"),
        }
    }

    pub(super) fn session(&self) -> &dyn HostSession {
        self.connections.session()
    }

    /// Sets the limit of one answer.
    #[must_use]
    pub fn answering_within(self, answer: Duration) -> Self {
        Self { answer, ..self }
    }

    /// Sends a request that bollard does not know.
    pub(super) async fn send(
        &self,
        what: &str,
        request: Request<UnsyncBoxBody<Bytes, Boxed>>,
        limit: Option<usize>,
    ) -> Result<Response<Incoming>, DockerError> {
        let sent = self.connections.send(request, limit).await;
        sent.map_err(|err| DockerError::from_bollard(what, Error::IOError { err }))
    }

    pub(super) fn api(&self) -> &Docker {
        &self.docker
    }

    /// Reads its version, and how it is set up when it tells.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn version(&self) -> Result<EngineStatus, DockerError> {
        let version = answer("ask for the version", self.answer, self.docker.version());
        let info = answer("ask for its settings", self.answer, self.docker.info());
        let (version, info) = tokio::join!(version, info);
        Ok(engine_status(version?, info.ok()))
    }

    /// Lists all containers, stopped ones included.
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

    /// Lists all images.
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
            labels: image.labels.into_iter().collect(),
            size: u64::try_from(image.size).unwrap_or(0),
        };
        Ok(list.into_iter().map(status).collect())
    }

    /// Reads the content of an image, by its id or name.
    ///
    /// # Errors
    /// When the image does not exist.
    pub async fn image_detail(&self, image: &str) -> Result<ImageDetail, DockerError> {
        let what = format!("inspect {image}");
        let image = answer(&what, self.answer, self.docker.inspect_image(image)).await?;
        Ok(image.into())
    }

    /// Removes images that failed or interrupted builds of toots left. Nothing uses them.
    ///
    /// # Errors
    /// When the Engine refuses.
    pub async fn prune_builds(&self) -> Result<(), DockerError> {
        let filters = [
            ("dangling", vec!["true"]),
            ("label", vec![Recipe::LABEL_BUILD]),
        ];
        let options = PruneImagesOptionsBuilder::new()
            .filters(&filters.into())
            .build();
        answer(
            "remove what earlier builds left",
            self.answer,
            self.docker.prune_images(Some(options)),
        )
        .await
        .map(drop)
    }

    /// Reads the details of one container.
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

    /// Creates a container from an image, by its id or name, with labels in addition to its
    /// specification. Does not start it.
    ///
    /// # Errors
    /// When the Engine refuses; an existing container of that name is a conflict.
    pub async fn create(
        &self,
        spec: &ContainerSpec,
        image: &str,
        cluster: &ClusterName,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), DockerError> {
        let name = spec.name();
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let call = self.docker.create_container(
            Some(options),
            super::create::body(spec, image, cluster, labels),
        );
        answer(&format!("create {name}"), self.answer, call)
            .await
            .map(drop)
    }

    /// Starts a container; does nothing when it runs.
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

    /// Stops a container, with SIGKILL after `grace_s` seconds; does nothing when it is stopped.
    /// Only the guard's door may call it: a test holds this.
    ///
    /// # Errors
    /// When the Engine refuses.
    pub async fn stop_container(&self, name: &str, grace_s: u32) -> Result<(), DockerError> {
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

    /// Sends a signal to a container. Only the guard's door may call it: a test holds this.
    ///
    /// # Errors
    /// When the Engine refuses.
    pub async fn send_signal(&self, name: &str, signal: &str) -> Result<(), DockerError> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        answer(
            &format!("send {signal} to {name}"),
            self.answer,
            self.docker.kill_container(name, Some(options)),
        )
        .await
    }

    /// Removes a container that does not run, with its anonymous volumes.
    ///
    /// # Errors
    /// When the Engine refuses, as it does while the container runs.
    pub async fn remove(&self, name: &str) -> Result<(), DockerError> {
        self.remove_container(name, false).await
    }

    /// Ends and removes a container that holds nothing and has no votes: a probe's own one.
    ///
    /// # Errors
    /// When the Engine refuses.
    pub async fn force_remove(&self, name: &str) -> Result<(), DockerError> {
        self.remove_container(name, true).await
    }

    async fn remove_container(&self, name: &str, force: bool) -> Result<(), DockerError> {
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

    /// Reads the last log lines of a container, unescaped.
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

    /// Tags an image, so that it is found by name and people can read the list of images.
    ///
    /// # Errors
    /// When the image does not exist.
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

    /// Asks the registry, through this Engine, for the digest of a reference. Pulls nothing.
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
                message: "the response has no digest".into(),
            })
    }
}

fn engine_status(version: SystemVersion, info: Option<SystemInfo>) -> EngineStatus {
    let components = version.components.unwrap_or_default();
    EngineStatus {
        version: version.version.unwrap_or_default(),
        api: version.api_version.unwrap_or_default(),
        min_api: version.min_api_version.unwrap_or_default(),
        platform: match (version.os, version.arch) {
            (Some(os), Some(arch)) => format!("{os}/{arch}"),
            _ => String::new(),
        },
        is_podman: components.iter().any(|c| c.name.starts_with("Podman")),
        info: info.map(|info| {
            let options = info.security_options.unwrap_or_default();
            let has = |name: &str| {
                options
                    .iter()
                    .any(|o| o.split(',').any(|part| part == name))
            };
            EngineInfo {
                root: info.docker_root_dir.unwrap_or_default(),
                has_containerd_store: info
                    .driver_status
                    .into_iter()
                    .flatten()
                    .flatten()
                    .any(|text| text == "io.containerd.snapshotter.v1"),
                is_rootless: has("name=rootless"),
                remaps_users: has("name=userns"),
                proxies: Proxies::new(info.http_proxy, info.https_proxy, info.no_proxy),
            }
        }),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn status(version: &str, info: Option<&str>) -> EngineStatus {
        engine_status(
            serde_json::from_str(version).unwrap(),
            info.map(|info| serde_json::from_str(info).unwrap()),
        )
    }

    /// Fields as Docker Engine 20.10 and Podman 4.3 answer them.
    #[test]
    fn an_engine_tells_what_it_is() {
        let docker = status(
            r#"{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12",
                "Os":"linux","Arch":"arm64",
                "Components":[{"Name":"Engine","Version":"20.10.24"}]}"#,
            Some(
                r#"{"DockerRootDir":"/srv/docker","SecurityOptions":["name=apparmor",
                    "name=seccomp,profile=default","name=rootless","name=userns"],
                    "HttpProxy":"http://p:1","HttpsProxy":"","NoProxy":"10.0.0.1"}"#,
            ),
        );
        assert!(!docker.is_podman && docker.platform == "linux/arm64");
        let info = docker.info.unwrap();
        assert_eq!(info.root, "/srv/docker");
        assert!(info.is_rootless && info.remaps_users);
        let proxies = Proxies::new(Some("http://p:1".into()), None, Some("10.0.0.1".into()));
        assert_eq!(info.proxies, proxies);
        let podman = status(
            r#"{"Version":"4.3.1","ApiVersion":"1.41",
                "Components":[{"Name":"Podman Engine","Version":"4.3.1"},{"Name":"Conmon","Version":"2.1.6"}]}"#,
            Some(r#"{"SecurityOptions":["name=seccomp,profile=default"]}"#),
        );
        assert!(podman.is_podman);
        assert_eq!(podman.info, Some(EngineInfo::default()));
        assert_eq!(status("{}", None), EngineStatus::default());
    }
}
