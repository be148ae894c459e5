//! Builds an image by the classic builder, which every Engine has. toots writes the request itself:
//! bollard knows neither its limits nor the alphabet in which the Engine reads logins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Request;
use hyper::body::Frame;

use super::answer_lines::{self, refused};
use super::build_context::{BuildContext, PACKAGES_ARGUMENT};
use super::engine::Engine;
use super::error::DockerError;
use super::proxies::Proxies;
use super::transfer::progress_of;
use super::types::RegistryAuth;
use crate::env::FileAccess;
use crate::spec::{PackageVersions, Recipe};

/// Memory of one step, without swap: a build must not take the host's other containers down.
const MAX_MEMORY_BYTES: u64 = 2 << 30;

/// What an image is built from, and how.
#[derive(Debug, Clone, Copy)]
pub struct BuildRequest<'a> {
    pub recipe: &'a Recipe,
    /// The recipe's base, pinned by its digest where that is known.
    pub base: &'a str,
    /// The versions that are asked for; those of others are the recipe's.
    pub packages: &'a PackageVersions,
    /// The login of the base's registry.
    pub auth: Option<&'a RegistryAuth>,
    /// Those of the Engine.
    pub proxies: &'a Proxies,
    /// Where the recipe's local files are.
    pub files: &'a dyn FileAccess,
    /// How long nothing may move.
    pub idle: Duration,
}

impl Engine {
    /// Builds the image of a recipe, and returns its id. `sent` receives the bytes of local files
    /// that were sent and their total, `line` each line that the builder prints, without the logins
    /// of proxies.
    ///
    /// # Errors
    /// When a step fails, the base cannot be pulled, a local file cannot be read or is another one,
    /// or nothing moves for too long.
    pub async fn build(
        &self,
        build: BuildRequest<'_>,
        sent: impl Fn(u64, u64) + Send + 'static,
        mut line: impl FnMut(&str),
    ) -> Result<String, DockerError> {
        let BuildRequest {
            recipe,
            packages,
            proxies,
            files,
            idle,
            ..
        } = build;
        let what = format!("build {}", recipe.image());
        let context = BuildContext::open(recipe, packages, files);
        let context = context.map_err(|error| refused(&what, 0, error.to_string()))?;
        let total = context.local_bytes();
        let counter = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&counter);
        let body = StreamBody::new(context.stream().map(move |chunk| {
            let chunk: Bytes = chunk?;
            let bytes = count.fetch_add(chunk.len() as u64, Ordering::Relaxed) + chunk.len() as u64;
            if total > 0 {
                sent(bytes.min(total), total);
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Frame::data(chunk))
        }));
        let mut request = Request::post(format!("/build?{}", query(&build)))
            .header("content-type", "application/x-tar");
        if let Some(auth) = build.auth {
            request = request.header("x-registry-config", logins(auth));
        }
        let request = request
            .body(body.boxed_unsync())
            .map_err(|error| refused(&what, 0, error.to_string()))?;
        let mut moved = progress_of(counter);
        let response = self.send_large(&what, request, idle, &mut moved).await?;
        let mut id = None;
        let read = answer_lines::read(&what, response, idle, moved, |answer| {
            if let Some(built) = answer.aux.as_ref().and_then(|aux| aux["ID"].as_str()) {
                id = Some(built.to_owned());
            }
            let text = match (&answer.stream, &answer.status, &answer.id) {
                (Some(text), _, _) => text.clone(),
                (None, Some(status), Some(layer)) => format!("{layer}: {status}"),
                (None, Some(status), None) => status.clone(),
                (None, None, _) => String::new(),
            };
            // The builder colours what a step writes to standard error.
            let text = text.replace("\u{1b}[91m", "").replace("\u{1b}[0m", "");
            proxies
                .mask_logins(&text)
                .lines()
                .map(str::trim_end)
                .filter(|text| !text.is_empty())
                .for_each(&mut line);
        });
        match read.await {
            Ok(()) => id.ok_or_else(|| refused(&what, 200, "the builder named no image".into())),
            Err(DockerError::Refused {
                what,
                status,
                message,
            }) => Err(refused(&what, status, proxies.mask_logins(&message))),
            Err(error) => Err(error),
        }
    }
}

fn query(build: &BuildRequest<'_>) -> String {
    let recipe = build.recipe;
    let mut arguments = build.proxies.build_arguments();
    arguments.extend(recipe.arguments.clone());
    arguments.insert("base".into(), build.base.to_owned());
    if !build.packages.is_empty() {
        arguments.insert(PACKAGES_ARGUMENT.into(), build.packages.argument());
    }
    let memory = MAX_MEMORY_BYTES.to_string();
    let hash = recipe.hash();
    let pairs = [
        ("version", "1".to_owned()),
        ("t", recipe.image().0),
        ("rm", "1".into()),
        // Also the containers of steps that failed.
        ("forcerm", "1".into()),
        // The host's own resolver and proxies, and no need for a bridge.
        ("networkmode", "host".into()),
        ("memory", memory.clone()),
        ("memswap", memory),
        ("buildargs", json(&arguments)),
        ("labels", json(&BTreeMap::from([(Recipe::LABEL, hash)]))),
    ];
    serde_urlencoded::to_string(pairs).unwrap_or_default()
}

/// Maps of texts can always be written.
fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Host → login, in the alphabet in which the Engine reads it: it ignores any other without a word.
fn logins(auth: &RegistryAuth) -> String {
    let login = serde_json::json!({
        &auth.server: { "username": auth.username, "password": auth.password.expose() }
    });
    URL_SAFE.encode(login.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{ImageRef, Secret};

    fn recipe() -> Recipe {
        Recipe {
            name: "dnsmasq".into(),
            base: ImageRef("debian:13-slim".into()),
            arguments: [("version".to_owned(), "2.9*".to_owned())].into(),
            files: [
                (
                    "Dockerfile".to_owned(),
                    "ARG base\nFROM ${base}\nRUN true\n".to_owned(),
                ),
                ("packages.sh".to_owned(), "#!/bin/sh\n".to_owned()),
            ]
            .into(),
            local_files: BTreeMap::new(),
        }
    }

    fn query_with(proxies: &Proxies) -> String {
        query(&BuildRequest {
            recipe: &recipe(),
            base: "debian@sha256:ab",
            packages: &PackageVersions::default(),
            auth: None,
            proxies,
            files: &crate::env::MachineFiles,
            idle: Duration::from_secs(1),
        })
    }

    #[test]
    fn arguments_are_encoded_with_the_pinned_base() {
        let query = query_with(&Proxies::default());
        assert!(query.contains("version=1&t=toots%2Fdnsmasq%3A"), "{query}");
        let arguments =
            "buildargs=%7B%22base%22%3A%22debian%40sha256%3Aab%22%2C%22version%22%3A%222.9*%22%7D";
        assert!(query.contains(arguments), "{query}");
    }

    #[test]
    fn proxies_are_arguments_and_nothing_else() {
        let proxies = Proxies {
            http: Some(Secret::new("http://ann:geheim@p:1")),
            ..Proxies::default()
        };
        let query = query_with(&proxies);
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(&query).unwrap();
        for (name, value) in &pairs {
            assert_eq!(value.contains("geheim"), name == "buildargs", "{name}");
        }
        // The name of the image and its label come from the recipe alone.
        let without = query_with(&Proxies::default());
        let without: Vec<(String, String)> = serde_urlencoded::from_str(&without).unwrap();
        for (with, without) in pairs.iter().zip(&without) {
            assert_eq!(with == without, with.0 != "buildargs", "{}", with.0);
        }
    }
}
