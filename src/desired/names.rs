//! Keys of the inventory that only the playbook can check: switches, images, parameters.

use std::collections::BTreeSet;

use crate::inventory::Inventory;
use crate::playbook::{Playbook, PlaybookError};
use crate::spec::{ComponentName, shown};

/// Refuses a name that no component has, with the nearest one that exists.
pub(super) fn check(inventory: &Inventory, playbook: &Playbook) -> Result<(), PlaybookError> {
    let components = || playbook.components.values();
    let switches: BTreeSet<&str> = components()
        .flat_map(|c| c.on.options.keys())
        .map(String::as_str)
        .collect();
    let own = components().map(|c| c.image_key.as_deref().unwrap_or(c.name.as_str()));
    let images: BTreeSet<&str> = own
        .chain(components().flat_map(|c| c.extra_images.keys().map(String::as_str)))
        .collect();
    let tunable: BTreeSet<&str> = components()
        .filter(|c| !c.params.is_empty())
        .map(|c| c.name.as_str())
        .collect();

    let mut problems = Problems {
        inventory,
        found: Vec::new(),
    };
    for switch in &inventory.switches {
        problems.unknown("components", switch, "is no optional component", &switches);
    }
    for image in inventory.images.keys() {
        problems.unknown(
            "images",
            image,
            "is no component and no further image of one",
            &images,
        );
    }
    for (component, values) in &inventory.params {
        let Some(known) = playbook
            .components
            .get(component)
            .map(|c| &c.params)
            .filter(|params| !params.is_empty())
        else {
            problems.unknown(
                "params",
                component,
                "is no component with parameters",
                &tunable,
            );
            continue;
        };
        let names: BTreeSet<&str> = known.keys().map(String::as_str).collect();
        for (name, value) in values {
            let key = format!("{component}.{name}");
            match known.get(name) {
                Some(param) if param.fits(value) => {}
                Some(param) => problems.add(
                    "params",
                    &key,
                    format!("{name} = {value:?} is not {}", param.wanted()),
                    None,
                ),
                None => {
                    let hint = nearest(name, &names);
                    problems.add(
                        "params",
                        &key,
                        format!("{component} has no parameter {name:?}"),
                        Some(hint),
                    );
                }
            }
        }
    }
    let problems = problems.found;
    if problems.is_empty() {
        Ok(())
    } else {
        Err(PlaybookError::Inventory { problems })
    }
}

/// Refuses a component without a default image for which the inventory names none.
pub(super) fn images(
    inventory: &Inventory,
    playbook: &Playbook,
    used: &BTreeSet<ComponentName>,
) -> Result<(), PlaybookError> {
    let mut problems = Problems {
        inventory,
        found: Vec::new(),
    };
    for component in playbook
        .components
        .values()
        .filter(|component| component.image.is_empty() && used.contains(&component.name))
    {
        let key = component
            .image_key
            .as_deref()
            .unwrap_or(component.name.as_str());
        if !inventory.images.contains_key(key) {
            let switch = component
                .on
                .options
                .keys()
                .find(|switch| inventory.switches.contains(*switch))
                .cloned()
                .unwrap_or_default();
            let hint = format!("add to [images]: {key} = \"registry.example.com:5000/{key}:1\"");
            problems.add(
                "components",
                &switch,
                format!("{} has no public image", component.name),
                Some(hint),
            );
        }
    }
    let problems = problems.found;
    if problems.is_empty() {
        Ok(())
    } else {
        Err(PlaybookError::Inventory { problems })
    }
}

struct Problems<'a> {
    inventory: &'a Inventory,
    found: Vec<String>,
}

impl Problems<'_> {
    fn unknown(&mut self, table: &str, name: &str, what: &str, known: &BTreeSet<&str>) {
        if !known.contains(name) {
            self.add(
                table,
                name,
                format!("{name:?} {what}"),
                Some(nearest(name, known)),
            );
        }
    }

    fn add(&mut self, table: &str, key: &str, what: String, hint: Option<String>) {
        let key = format!("{table}.{key}");
        let place = self
            .inventory
            .places
            .get(&key)
            .map_or_else(|| format!("[{table}]"), Clone::clone);
        let hint = hint
            .map(|hint| format!("\n  hint: {hint}"))
            .unwrap_or_default();
        self.found.push(shown(&format!("{place}: {what}{hint}")));
    }
}

fn nearest(name: &str, known: &BTreeSet<&str>) -> String {
    let best = known
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match best.filter(|best| best.0 > 0.8) {
        Some((_, near)) => format!("did you mean {near}?"),
        None => format!(
            "there are {}",
            known.iter().copied().collect::<Vec<_>>().join(", ")
        ),
    }
}
