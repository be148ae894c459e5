//! The weight of an application among those that share a service name.

use serde_json::{Map, Value};

use super::NoTags;

/// The application's `env` with a new weight in every list of tags that Registrator reads
/// (`SERVICE_TAGS`, `SERVICE_8080_TAGS`).
///
/// # Errors
/// When there is no such list, so no load balancer serves it.
pub fn weighted(app: &Value, weight: u16) -> Result<Map<String, Value>, NoTags> {
    let mut env = app["env"].as_object().cloned().unwrap_or_default();
    let mut found = false;
    for (name, value) in &mut env {
        let Some(tags) = value
            .as_str()
            .filter(|_| name.starts_with("SERVICE_") && name.ends_with("TAGS"))
        else {
            continue;
        };
        let others = tags
            .split(',')
            .map(str::trim)
            .filter(|tag| !tag.is_empty() && !tag.starts_with("weight="));
        let weighted: Vec<String> = others
            .map(str::to_owned)
            .chain([format!("weight={weight}")])
            .collect();
        found = true;
        *value = Value::String(weighted.join(","));
    }
    if found { Ok(env) } else { Err(NoTags) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_weight_changes() {
        let app = json!({"env": {"SERVICE_TAGS": "haproxy, weight=1,haproxy_route=/a", "SERVICE_9_TAGS": "haproxy", "A": "weight=1", "S": {"secret": "x"}}});
        let env = weighted(&app, 7).unwrap();
        assert_eq!(
            Value::Object(env),
            json!({"SERVICE_TAGS": "haproxy,haproxy_route=/a,weight=7", "SERVICE_9_TAGS": "haproxy,weight=7", "A": "weight=1", "S": {"secret": "x"}})
        );
        assert!(weighted(&json!({}), 7).is_err());
    }
}
