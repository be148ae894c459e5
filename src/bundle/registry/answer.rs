//! What the answers of a registry mean.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER};
use serde::Deserialize;

use super::client::RegistryClient;
use super::error::{AttemptError, RegistryError, without_query};
use super::http::read_body;
use crate::bundle::name::ImageName;
use crate::event::escape;

impl RegistryClient {
    /// What a refusal means.
    pub(super) async fn refusal(&self, name: &ImageName, response: Response) -> AttemptError {
        let (status, url) = (response.status(), without_query(response.url()));
        let asked = retry_after(&response);
        let body = read_body(response, 64 * 1024).await.unwrap_or_default();
        let why = explanation(&body)
            .or_else(|| status.canonical_reason().map(str::to_owned))
            .unwrap_or_default();
        let (image, registry) = (name.to_string(), self.registry().to_owned());
        match status.as_u16() {
            401 | 403 => self.denied(name, &why).into(),
            404 => RegistryError::NotFound { image, registry }.into(),
            429 => {
                let error = RegistryError::RateLimited {
                    image,
                    registry,
                    why,
                };
                AttemptError::Transient(error, asked)
            }
            status => {
                let error = RegistryError::Status {
                    image,
                    url,
                    status,
                    why,
                };
                match status {
                    408 | 500 | 502 | 503 | 504 => AttemptError::Transient(error, asked),
                    _ => error.into(),
                }
            }
        }
    }

    pub(super) fn denied(&self, name: &ImageName, why: &str) -> RegistryError {
        RegistryError::Denied {
            image: name.to_string(),
            registry: self.registry().to_owned(),
            why: why.to_owned(),
        }
    }
}

pub(super) fn media_type(response: &Response) -> Option<String> {
    let value = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let value = value.split(';').next().unwrap_or_default().trim();
    // Registries of plain files serve manifests without a type of their own.
    value
        .starts_with("application/vnd.")
        .then(|| value.to_owned())
}

/// The first byte of `Content-Range: bytes FIRST-LAST/TOTAL`.
pub(super) fn range_start(response: &Response) -> Option<u64> {
    let value = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (first, _) = value.strip_prefix("bytes ")?.split_once('-')?;
    first.trim().parse().ok()
}

/// The pause that an answer asks for, in seconds or until a date.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    pause_of(value, jiff::Timestamp::now())
}

fn pause_of(value: &str, now: jiff::Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(value.trim())
        .ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[derive(Deserialize)]
struct ErrorList {
    errors: Vec<ListedError>,
}

#[derive(Deserialize)]
struct ListedError {
    code: Option<String>,
    message: Option<String>,
}

/// The registry's own words, escaped and short.
fn explanation(body: &[u8]) -> Option<String> {
    let list: ErrorList = serde_json::from_slice(body).ok()?;
    let first = list.errors.into_iter().next()?;
    let text = first
        .message
        .filter(|text| !text.is_empty())
        .or(first.code)?;
    let text: String = text.chars().take(200).collect();
    Some(escape(&text.replace('\n', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_seconds_or_dates() {
        let now: jiff::Timestamp = "2026-11-06T08:49:37Z".parse().unwrap();
        assert_eq!(pause_of("30", now), Some(Duration::from_secs(30)));
        let date = "Fri, 06 Nov 2026 08:50:37 GMT";
        assert_eq!(pause_of(date, now), Some(Duration::from_secs(60)));
        let past = "Fri, 06 Nov 2026 08:48:37 GMT";
        assert_eq!(pause_of(past, now), Some(Duration::ZERO));
        assert_eq!(pause_of("soon", now), None);
    }

    #[test]
    fn explanations_are_short_and_harmless() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no\u001b[2J"}]}"#;
        assert_eq!(explanation(body).as_deref(), Some("no\\x1b[2J"));
        assert_eq!(
            explanation(br#"{"errors":[{"code":"DENIED"}]}"#).as_deref(),
            Some("DENIED")
        );
        assert_eq!(explanation(b"<html>"), None);
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(900));
        assert_eq!(
            explanation(long.as_bytes()).map(|text| text.len()),
            Some(200)
        );
    }
}
