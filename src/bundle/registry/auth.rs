//! Login at a registry: Basic, and tokens of the service that the registry names.

use http_auth::ParamValue;
use http_auth::parser::ChallengeParser;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;

use super::client::RegistryClient;
use super::error::{AttemptError, RegistryError, from_http, without_query};
use super::http::{BodyError, read_body};
use crate::bundle::ImageName;
use crate::event::escape;

/// A token has a few KB.
const MAX_TOKEN_BYTES: u64 = 256 * 1024;

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
enum LoginChallenge {
    /// A token of this service.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
    Basic,
}

/// The challenge of an answer; a token before a password.
fn challenge(headers: &HeaderMap) -> Option<LoginChallenge> {
    let mut found = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(value) = value.to_str() else { continue };
        // What follows a mistake in the list is not read.
        for challenge in ChallengeParser::new(value).map_while(Result::ok) {
            let param = |name: &str| {
                let mut params = challenge.params.iter();
                let (_, value) = params.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
                Some(ParamValue::to_unescaped(value))
            };
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                let Some(realm) = param("realm") else {
                    continue;
                };
                return Some(LoginChallenge::Bearer {
                    realm,
                    service: param("service"),
                    scope: param("scope"),
                });
            }
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                found = Some(LoginChallenge::Basic);
            }
        }
    }
    found
}

/// The answer of a token service: either name is in use.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

impl RegistryClient {
    /// The value of `Authorization` that answers this refusal.
    pub(super) async fn authorize(
        &self,
        name: &ImageName,
        headers: &HeaderMap,
    ) -> Result<HeaderValue, AttemptError> {
        let denied = |why: &str| self.denied(name, why);
        match challenge(headers) {
            None => Err(denied("no login is offered").into()),
            Some(LoginChallenge::Basic) => {
                let login = self.basic_login();
                login.ok_or_else(|| denied("it needs a login").into())
            }
            Some(LoginChallenge::Bearer {
                realm,
                service,
                scope,
            }) => {
                let url = Url::parse(&realm)
                    .ok()
                    .filter(|url| self.origin().may_refer_to(url));
                let Some(mut url) = url else {
                    return Err(RegistryError::Insecure {
                        registry: self.registry().to_owned(),
                        why: format!("it asks for a login at {}", escape(&realm)),
                    }
                    .into());
                };
                let scope =
                    scope.unwrap_or_else(|| format!("repository:{}:pull", name.repository()));
                let mut query = url.query_pairs_mut();
                if let Some(service) = service {
                    query.append_pair("service", &service);
                }
                query.append_pair("scope", &scope);
                drop(query);
                self.fetch_token(name, url).await
            }
        }
    }

    async fn fetch_token(&self, name: &ImageName, url: Url) -> Result<HeaderValue, AttemptError> {
        let shown = without_query(&url);
        let mut request = self.http().get(url);
        if let Some(login) = self.basic_login() {
            request = request.header(reqwest::header::AUTHORIZATION, login);
        }
        let response = self.send(request, &shown).await?;
        if !response.status().is_success() {
            return Err(self.refusal(name, response).await);
        }
        let malformed = |why: &str| RegistryError::Malformed {
            image: name.to_string(),
            url: shown.clone(),
            why: why.to_owned(),
        };
        let body = match read_body(response, MAX_TOKEN_BYTES).await {
            Ok(body) => body,
            Err(BodyError::TooLong) => return Err(malformed("the token is too long").into()),
            Err(BodyError::Http(error)) => return Err(from_http(&shown, &error)),
        };
        let answer: TokenAnswer =
            serde_json::from_slice(&body).map_err(|_| malformed("it is no token"))?;
        let token = answer
            .token
            .or(answer.access_token)
            .filter(|token| !token.is_empty());
        let mut value = token
            .and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok())
            .ok_or_else(|| malformed("it is no token"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&'static str]) -> Option<LoginChallenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        challenge(&headers)
    }

    #[test]
    fn a_token_is_preferred() {
        let bearer = LoginChallenge::Bearer {
            realm: "https://auth.example/token".into(),
            service: Some("r.example, \"main\"".into()),
            scope: None,
        };
        let value = r#"bearer realm="https://auth.example/token",service="r.example, \"main\"""#;
        assert_eq!(read(&[value]), Some(bearer));
        let both = read(&["Basic realm=\"a\", Bearer realm=\"https://a/t\",scope=\"x\""]);
        assert!(matches!(both, Some(LoginChallenge::Bearer { .. })));
        assert_eq!(read(&["Basic realm=\"a\""]), Some(LoginChallenge::Basic));
        assert_eq!(
            read(&["Negotiate", "Basic realm=\"a\""]),
            Some(LoginChallenge::Basic)
        );
        assert_eq!(read(&["Bearer service=\"a\""]), None);
        assert_eq!(read(&["=?="]), None);
        assert_eq!(read(&[]), None);
    }
}
