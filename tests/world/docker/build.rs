//! Builds by the classic builder: instructions in order, an image after each stage.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Engine;
use super::dockerfile::{self, Instruction};
use super::image::{Image, append};
use super::lifecycle::until_closed;
use super::pull::login;
use super::references::Reference;
use super::reply::{Lines, Reply, no_space};

/// How the steps of builds go, as a test wishes it.
#[derive(Debug, Clone, Default)]
pub struct BuildManner {
    /// How long each step takes.
    pub step_time: Duration,
    /// A step with this text fails with this code.
    pub failing: Option<(String, i64)>,
    /// Lines that each RUN prints.
    pub prints: Vec<String>,
}

/// What is built so far.
struct Stage {
    layers: Vec<Bytes>,
    settings: Value,
    arguments: BTreeMap<String, String>,
}

pub struct BuildQuery {
    pub tag: String,
    pub arguments: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub login: Option<String>,
}

impl Engine {
    /// Builds an image. A client that goes away ends the step that runs: the builder works in the
    /// request's context (facts/images.md, section 1).
    pub(super) fn build(&self, query: BuildQuery, context: &[u8]) -> Reply {
        let Some(text) = dockerfile_of(context) else {
            return Reply::failed(500, "Cannot locate specified Dockerfile: Dockerfile");
        };
        let mut steps = match dockerfile::parse(&text) {
            Ok(steps) if !steps.is_empty() => steps,
            Ok(_) => return Reply::failed(500, "the Dockerfile (Dockerfile) cannot be empty"),
            Err(why) => return Reply::failed(400, why),
        };
        // The labels of the request are the last step.
        let labels = query.labels.iter();
        let labels: Vec<String> = labels
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        if !labels.is_empty() {
            steps.push(Instruction {
                keyword: "LABEL".into(),
                rest: labels.join(" "),
            });
        }
        let (lines, reply) = Lines::new();
        let engine = self.clone();
        self.spawn_request(async move {
            let mut stage = Stage {
                layers: Vec::new(),
                settings: json!({}),
                arguments: BTreeMap::new(),
            };
            until_closed(&lines, async {
                if let Err(detail) = engine.carry_out(&lines, &query, &steps, &mut stage).await {
                    let message = detail["message"].clone();
                    lines
                        .send(json!({ "errorDetail": detail, "error": message }))
                        .await;
                }
            })
            .await;
        });
        reply
    }

    /// Carries the steps out, names the image and says its id. A step that fails leaves what was built
    /// before it as an image without a name.
    async fn carry_out(
        &self,
        lines: &Lines,
        query: &BuildQuery,
        steps: &[Instruction],
        stage: &mut Stage,
    ) -> Result<(), Value> {
        let text = |text: &str| json!({ "stream": text });
        let mut id = String::new();
        for (n, step) in steps.iter().enumerate() {
            let (at, all) = (n + 1, steps.len());
            lines
                .send(text(&format!("Step {at}/{all} : {}", step.text())))
                .await;
            lines.send(text("\n")).await;
            // What a failure leaves is removed by `docker image prune` only.
            self.step(lines, query, step, stage).await?;
            if step.keyword != "ARG" {
                let former = std::mem::replace(&mut id, self.store(stage));
                self.replace_step(&former, &id);
                let short = id.get(7..19).unwrap_or_default().to_owned();
                lines.send(text(&format!(" ---> {short}\n"))).await;
            }
        }
        lines.send(json!({ "aux": { "ID": id } })).await;
        let short = id.get(7..19).unwrap_or_default();
        lines
            .send(text(&format!("Successfully built {short}\n")))
            .await;
        if !query.tag.is_empty() {
            let reference = Reference::parse(&query.tag);
            let name = reference.text();
            {
                let mut state = self.lock();
                state.images.name(&id, &reference);
                self.tell_of_image(&mut state, &id, "tag", &name);
            }
            lines
                .send(text(&format!("Successfully tagged {name}\n")))
                .await;
        }
        Ok(())
    }

    /// The image after a step. Those before it are its hidden parents, which lists leave out, so that
    /// only the last one is kept.
    fn store(&self, stage: &Stage) -> String {
        let now = self.now();
        let created = now.to_string();
        let image = Image::from_layers(stage.layers.clone(), stage.settings.clone(), &created);
        self.lock().images.add(image, None, now)
    }

    fn replace_step(&self, former: &str, id: &str) {
        if former == id {
            return;
        }
        let mut state = self.lock();
        let used: Vec<String> = state.containers.iter().map(|c| c.image.clone()).collect();
        state.images.images.retain(|stored| {
            let is_named = !stored.tags.is_empty() || !stored.pulled.is_empty();
            stored.id != former || is_named || used.contains(&stored.id)
        });
    }

    async fn step(
        &self,
        lines: &Lines,
        query: &BuildQuery,
        step: &Instruction,
        stage: &mut Stage,
    ) -> Result<(), Value> {
        let manner = self.build_manner();
        let expanded = dockerfile::expand(&step.rest, &stage.arguments);
        match step.keyword.as_str() {
            "ARG" => {
                let (name, default) = match step.rest.split_once('=') {
                    Some((name, default)) => (name, Some(default.trim_matches('"'))),
                    None => (step.rest.as_str(), None),
                };
                let given = query.arguments.get(name).map(String::as_str).or(default);
                if let Some(value) = given {
                    stage.arguments.insert(name.to_owned(), value.to_owned());
                }
                return Ok(());
            }
            "FROM" => return self.begin(lines, query, &expanded, stage).await,
            _ => {}
        }
        if dockerfile::has_layer(step) {
            lines
                .send(json!({ "stream": " ---> Running in 0123456789ab\n" }))
                .await;
            tokio::time::sleep(manner.step_time).await;
            if step.keyword == "RUN" {
                for line in &manner.prints {
                    lines.send(json!({ "stream": format!("{line}\n") })).await;
                }
            }
            if let Some((_, code)) = manner.failing.filter(|(part, _)| step.rest.contains(part)) {
                let why = format!(
                    "The command '/bin/sh -c {}' returned a non-zero code: {code}",
                    step.rest
                );
                return Err(json!({ "code": code, "message": why }));
            }
            if self.lock().is_disk_full {
                return Err(json!({ "message": no_space("layer.tar") }));
            }
            // Times are in it, so that no two builds are alike.
            let content = format!(
                "{} at {} on {}",
                step.text(),
                self.now(),
                self.machine().name
            );
            let program = Reference::parse(&query.tag).repository;
            stage.layers.push(step_layer(&content, &program));
        } else {
            dockerfile::apply(step, &expanded, &mut stage.settings);
        }
        Ok(())
    }

    /// Begins a stage on an image that the Engine has, else on one that it pulls.
    async fn begin(
        &self,
        lines: &Lines,
        query: &BuildQuery,
        rest: &str,
        stage: &mut Stage,
    ) -> Result<(), Value> {
        let name = rest.split_whitespace().next().unwrap_or_default();
        let base = Reference::parse(name).text();
        self.lock().build_bases.insert(base);
        let error = |why: String| json!({ "message": why });
        let found = self
            .lock()
            .images
            .find(name)
            .map(|stored| stored.image.clone());
        let image = match found {
            _ if name == "scratch" => None,
            Some(image) => Some(image),
            None => {
                let reference = Reference::parse(name);
                let registry = reference.repository.split('/').next().unwrap_or_default();
                let login = query
                    .login
                    .as_ref()
                    .and_then(|header| login(header, registry));
                let published = self.registry().find(&reference, login.as_ref());
                let published = published.map_err(|fault| error(fault.answer(&reference).1))?;
                let image = published.image.clone();
                self.fetch(lines, &reference, published)
                    .await
                    .map_err(error)?;
                Some(image)
            }
        };
        stage.layers = image
            .as_ref()
            .map_or_else(Vec::new, |image| image.layers.clone());
        stage.settings = image.map_or_else(|| json!({}), |image| image.settings());
        Ok(())
    }
}

/// What a step wrote. In the end the image contains the program after which it is called.
fn step_layer(content: &str, program: &str) -> Bytes {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "step", content.as_bytes());
    if !program.is_empty() {
        append(&mut tar, "program", format!("{program} built").as_bytes());
    }
    tar.into_inner().expect("an archive").into()
}

fn dockerfile_of(context: &[u8]) -> Option<String> {
    for entry in tar::Archive::new(context).entries().ok()? {
        let mut entry = entry.ok()?;
        let path = entry.path().ok()?.display().to_string();
        if path.trim_start_matches("./") == "Dockerfile" {
            let mut text = String::new();
            entry.read_to_string(&mut text).ok()?;
            return Some(text);
        }
    }
    None
}
