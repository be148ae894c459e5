//! Pulls an image on one host.

use std::time::Duration;

use super::run_context::{RegistryLogin, RunContext};
use super::work::StepRun;
use crate::docker::RegistryAuth;
use crate::event::Failure;
use crate::spec::{ImageRef, Remedy};

/// Pause before the second attempt of a failed pull. It outlasts short faults: a busy registry, an
/// Engine's cached view of /etc/hosts (5 s).
const RETRY_DELAY: Duration = Duration::from_secs(6);

impl StepRun<'_> {
    /// Pulls an image, twice when the first attempt fails.
    pub async fn pull(&self, image: &ImageRef, digest: Option<&str>) -> Result<(), Box<Failure>> {
        let (cx, host) = (self.work.cx, self.host);
        let reference = image.reference(digest);
        let progress = self.progress();
        let auth = login(cx, image);
        let idle = cx.timeouts.pull_idle;
        let pull = || host.engine.pull(&reference, auth.as_ref(), idle, &progress);
        let mut pulled = pull().await;
        if let Err(error) = &pulled
            && !host.session.closed()
        {
            tracing::warn!(host = %host.info.name, %error, "retrying the pull");
            tokio::time::sleep(RETRY_DELAY).await;
            pulled = pull().await;
        }
        pulled.map_err(|error| {
            let mut failure = self.fail(&error);
            failure.hints = vec![pull_hint(image, &failure.cause.join(": "))];
            failure
        })?;
        if digest.is_some() {
            // A pull by digest leaves the image without a name.
            let tagged = host
                .engine
                .tag(&reference, image.repository(), image.tag())
                .await;
            tagged.map_err(|error| self.fail(&error))?;
        }
        Ok(())
    }
}

/// What to do about a failed pull, by the Engine's own words.
pub(super) fn pull_hint(image: &ImageRef, why: &str) -> Remedy {
    let registry = image.registry().unwrap_or("the public registry").to_owned();
    let own = image.registry().is_some();
    let why = why.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
    let reach = if own {
        format!("check that the hosts can reach {registry}").into()
    } else {
        Remedy::ReachRegistry {
            registry: registry.clone(),
        }
    };
    if says(&["x509", "certificate"]) {
        Remedy::SetRegistryCa { registry }
    } else if says(UNREACHABLE) {
        reach
    } else if says(&[
        "unauthorized",
        "authentication required",
        "no basic auth",
        "denied",
    ]) && own
    {
        Remedy::CheckRegistryLogin
    } else if says(&["not found", "manifest unknown", "denied", "unauthorized"]) {
        let image = image.to_string();
        Remedy::CheckImage { registry, image }
    } else if own {
        format!("check that the hosts can reach {registry}").into()
    } else {
        Remedy::ReachRegistry { registry }
    }
}

/// Words of a registry that is down or cannot be reached. They come before those about credentials:
/// a token service that is down denies access too.
const UNREACHABLE: &[&str] = &[
    "dial tcp",
    "connection refused",
    "connection reset",
    "no such host",
    "no route to host",
    "timeout",
    "deadline exceeded",
    "502 bad gateway",
    "503 service unavailable",
    "504 gateway",
];

/// The credentials for an image, when it comes from the inventory's registry.
pub(super) fn login(cx: &RunContext, image: &ImageRef) -> Option<RegistryAuth> {
    registry_login(cx.registry.as_ref(), image)
}

/// The credentials for an image, when it comes from this registry.
pub(super) fn registry_login(
    registry: Option<&RegistryLogin>,
    image: &ImageRef,
) -> Option<RegistryAuth> {
    let login = registry.filter(|login| image.registry() == Some(&login.server))?;
    Some(RegistryAuth {
        username: login.username.clone(),
        password: login.password.clone(),
        server: login.server.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of Docker Engine 20.10 and 28.
    #[test]
    fn hints_follow_the_engines_words() {
        let own = ImageRef("registry.example.com:5000/zookeeper:3.9".into());
        let public = ImageRef("zookeeper:3.9".into());
        for (image, why, part) in [
            (
                &own,
                "Get \"https://registry.example.com:5000/v2/\": x509: certificate signed by unknown \
                 authority",
                "set ca in [registry]",
            ),
            (
                &own,
                "no basic auth credentials",
                "username and password_file",
            ),
            (
                &own,
                "dial tcp 10.0.0.5:5000: connect: connection refused",
                "can reach registry.example.com:5000",
            ),
            (
                &own,
                "unauthorized: Get \"https://auth.example.com/token\": dial tcp 10.0.0.6:443: \
                 connect: connection refused",
                "can reach registry.example.com:5000",
            ),
            (
                &own,
                "received unexpected HTTP status: 503 Service Unavailable",
                "can reach registry.example.com:5000",
            ),
            (
                &own,
                "manifest for x not found: manifest unknown",
                "set another image",
            ),
            (
                &public,
                "pull access denied for x, repository does not exist or may require 'docker login'",
                "set another image",
            ),
            (
                &public,
                "dial tcp: lookup registry-1: no such host",
                "can reach the public registry",
            ),
        ] {
            let hint = pull_hint(image, why).to_string();
            assert!(hint.contains(part), "{why}: {hint}");
        }
    }
}
