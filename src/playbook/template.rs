//! Strict templates: an undefined value is an error with file and line.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use super::certificate;
use super::files::{Playbook, PlaybookError};

/// The values that templates may use. A clone shares them: those of the cluster are converted once,
/// not once per host and file.
#[derive(Debug, Clone, Default)]
pub struct TemplateValues(BTreeMap<String, Value>);

impl TemplateValues {
    /// Sets a value; it replaces one of the same name.
    pub fn insert(&mut self, name: &str, value: &serde_json::Value) {
        self.0.insert(name.to_owned(), Value::from(Serde(value)));
    }

    fn context(&self) -> Value {
        Value::from_pairs(
            self.0
                .iter()
                .map(|(name, value)| (name.as_str(), value.clone())),
        )
    }
}

/// Renders the texts of a playbook.
pub struct Renderer {
    environment: Environment<'static>,
}

impl Renderer {
    /// A renderer with all templates of the playbook.
    ///
    /// # Errors
    /// When the syntax of a template is invalid.
    pub fn new(playbook: &Playbook) -> Result<Self, PlaybookError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // Names like `x.json.j2` would otherwise turn on JSON escaping.
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        let syntax = SyntaxConfig::builder()
            .keep_trailing_newline(true)
            .build()
            .map_err(|error| fail("invalid syntax", &error))?;
        environment.set_syntax(syntax);
        certificate::add_filters(&mut environment);
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
    /// When it does not exist or uses an undefined value.
    pub fn file(&self, name: &str, values: &TemplateValues) -> Result<String, PlaybookError> {
        self.environment
            .get_template(name)
            .and_then(|template| template.render(values.context()))
            .map_err(|error| fail(name, &error))
    }

    /// Renders a text of a `component.toml`.
    ///
    /// # Errors
    /// When it uses an undefined value.
    pub fn text(
        &self,
        name: &str,
        text: &str,
        values: &TemplateValues,
    ) -> Result<String, PlaybookError> {
        // Most texts are plain.
        if !text.contains('{') {
            return Ok(text.to_owned());
        }
        self.environment
            .render_str(text, values.context())
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
