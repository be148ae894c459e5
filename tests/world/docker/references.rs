//! How images are called.

/// A reference in the Engine's short form: without the public registry's name, with a tag unless it
/// has a digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    pub repository: String,
    pub tag: Option<String>,
    pub digest: Option<String>,
}

impl Reference {
    pub fn parse(text: &str) -> Self {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.to_owned())),
            None => (text, None),
        };
        let (repository, tag) = match name.rsplit_once(':') {
            // A colon before a slash is that of a port.
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag.to_owned())),
            _ => (name, None),
        };
        let tag = match (&digest, tag) {
            (None, None) => Some("latest".to_owned()),
            (_, tag) => tag,
        };
        Self {
            repository: short(repository).to_owned(),
            tag,
            digest,
        }
    }

    /// `repository:tag`, or `repository@digest`.
    pub fn text(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => format!("{}@{digest}", self.repository),
            (None, Some(tag)) => format!("{}:{tag}", self.repository),
            (None, None) => self.repository.clone(),
        }
    }

    /// Why it cannot be a name.
    pub fn fault(&self) -> Option<&'static str> {
        let is_lower = |part: &str| !part.chars().any(|c| c.is_ascii_uppercase());
        // The name of a registry may have capitals.
        let path = self.repository.split('/').skip(1);
        let is_valid = match self.repository.contains('/') {
            true => path.into_iter().all(is_lower),
            false => is_lower(&self.repository),
        };
        match (self.repository.is_empty(), is_valid) {
            (true, _) => Some("invalid reference format"),
            (_, false) => Some("invalid reference format: repository name must be lowercase"),
            _ => None,
        }
    }
}

fn short(repository: &str) -> &str {
    let hub = ["docker.io/", "index.docker.io/"];
    let without = hub.iter().find_map(|host| repository.strip_prefix(host));
    match without {
        Some(rest) => rest.strip_prefix("library/").unwrap_or(rest),
        None => repository,
    }
}

/// The digits of an id, or of the beginning of one.
pub fn id_digits(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let is_id = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
    is_id.then_some(digits)
}

/// A name as messages repeat it.
pub fn shown(text: &str) -> String {
    match text.starts_with("sha256:") {
        true => text.to_owned(),
        false => Reference::parse(text).text(),
    }
}
