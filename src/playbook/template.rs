//! Strict templates: an undefined value is an error that names file and line.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use super::files::{Playbook, PlaybookError};

/// What templates may refer to.
pub type Values = BTreeMap<String, serde_json::Value>;

/// Renders a playbook's texts.
pub struct Renderer {
    environment: Environment<'static>,
}

impl Renderer {
    /// A renderer with all templates of the playbook.
    ///
    /// # Errors
    /// When a template's syntax is wrong.
    pub fn new(playbook: &Playbook) -> Result<Self, PlaybookError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // Names like `x.json.j2` would otherwise turn on JSON escaping.
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        let syntax = SyntaxConfig::builder()
            .keep_trailing_newline(true)
            .build()
            .map_err(|error| fail("the syntax", &error))?;
        environment.set_syntax(syntax);
        for (name, text) in playbook
            .templates
            .iter()
            .filter(|(name, _)| !name.ends_with(".toml"))
        {
            environment
                .add_template_owned(name.clone(), text.clone())
                .map_err(|error| fail(name, &error))?;
        }
        Ok(Self { environment })
    }

    /// Renders a file of the playbook.
    ///
    /// # Errors
    /// When it does not exist or refers to an undefined value.
    pub fn file(&self, name: &str, values: &Values) -> Result<String, PlaybookError> {
        self.environment
            .get_template(name)
            .and_then(|template| template.render(Value::from(Serde(values))))
            .map_err(|error| fail(name, &error))
    }

    /// Renders a text of a `component.toml`.
    ///
    /// # Errors
    /// When it refers to an undefined value.
    pub fn text(&self, name: &str, text: &str, values: &Values) -> Result<String, PlaybookError> {
        self.environment
            .render_str(text, Value::from(Serde(values)))
            .map_err(|error| fail(name, &error))
    }
}

fn fail(file: &str, error: &minijinja::Error) -> PlaybookError {
    let file = match (error.name(), error.line()) {
        (Some(name), Some(line)) if name != "<string>" => format!("{name}:{line}"),
        _ => file.to_owned(),
    };
    let why = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    PlaybookError::Template { file, why }
}
