//! Who comes after whom.

use std::collections::{BTreeMap, BTreeSet};

use super::ComponentName;

/// The components of a cluster, and what each waits for. The hosts follow from it: those that run a
/// component come after those that run one before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComponentOrder(BTreeMap<ComponentName, BTreeSet<ComponentName>>);

impl ComponentOrder {
    /// The order of these components, each with those that it comes after. What is not among them is
    /// not waited for.
    pub fn new<'a>(
        components: impl Iterator<Item = (&'a ComponentName, &'a [ComponentName])>,
    ) -> Self {
        let components: BTreeMap<_, _> = components.collect();
        let present = |name: &&ComponentName| components.contains_key(*name);
        let after = components.iter().map(|(name, after)| {
            let after = after.iter().filter(present).cloned().collect();
            ((*name).clone(), after)
        });
        Self(after.collect())
    }

    /// What a component comes after.
    pub fn before(&self, name: &ComponentName) -> impl Iterator<Item = &ComponentName> {
        self.0.get(name).into_iter().flatten()
    }

    /// What a component still waits for, of those that take part.
    #[must_use]
    pub fn missing(
        &self,
        name: &ComponentName,
        present: &BTreeSet<ComponentName>,
        passed: &BTreeSet<ComponentName>,
    ) -> Vec<&ComponentName> {
        let before = self.before(name);
        before
            .filter(|before| present.contains(*before) && !passed.contains(*before))
            .collect()
    }

    /// Sorts by this order; what it leaves open stays as it is.
    #[must_use]
    pub fn sort<T>(&self, mut items: Vec<T>, name: impl Fn(&T) -> &ComponentName) -> Vec<T> {
        let mut sorted = Vec::with_capacity(items.len());
        while !items.is_empty() {
            let left: BTreeSet<&ComponentName> = items.iter().map(&name).collect();
            let waits = |item: &T| self.before(name(item)).any(|before| left.contains(before));
            // Without a cycle, one of the rest waits for none of the others.
            let next = items.iter().position(|item| !waits(item)).unwrap_or(0);
            sorted.push(items.remove(next));
        }
        sorted
    }

    /// A component that comes after itself.
    #[must_use]
    pub fn find_cycle(&self) -> Option<&ComponentName> {
        self.0.keys().find(|name| {
            let mut seen = BTreeSet::new();
            let mut next: Vec<&ComponentName> = self.before(name).collect();
            while let Some(before) = next.pop() {
                if seen.insert(before) {
                    next.extend(self.before(before));
                }
            }
            seen.contains(*name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> ComponentName {
        ComponentName::new(name).unwrap()
    }

    fn order(after: &[(&str, &[&str])]) -> ComponentOrder {
        let after: Vec<(ComponentName, Vec<ComponentName>)> = after
            .iter()
            .map(|(component, after)| (name(component), after.iter().map(|a| name(a)).collect()))
            .collect();
        ComponentOrder::new(after.iter().map(|(name, after)| (name, after.as_slice())))
    }

    #[test]
    fn components_wait_for_those_before_them() {
        let order = order(&[
            ("marathon", &["mesos", "consul"]),
            ("mesos", &["zookeeper"]),
            ("zookeeper", &["not-there"]),
            ("consul", &[]),
        ]);
        let names = ["marathon", "mesos", "zookeeper", "consul"].map(name);
        let sorted = order.sort(names.to_vec(), |name| name);
        assert_eq!(
            sorted,
            ["zookeeper", "mesos", "consul", "marathon"].map(name)
        );
        let (present, none) = (BTreeSet::from(names), BTreeSet::new());
        let missing = order.missing(&name("marathon"), &present, &none);
        assert_eq!(missing, [&name("consul"), &name("mesos")]);
        assert!(
            order
                .missing(&name("zookeeper"), &present, &none)
                .is_empty()
        );
        let passed = [name("consul"), name("mesos")].into();
        assert!(
            order
                .missing(&name("marathon"), &present, &passed)
                .is_empty()
        );
        // What no host runs is not waited for.
        let alone = [name("marathon")].into();
        assert!(order.missing(&name("marathon"), &alone, &none).is_empty());
        assert_eq!(order.find_cycle(), None);
    }

    #[test]
    fn a_cycle_is_found() {
        let order = order(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &["a"])]);
        assert_eq!(order.find_cycle(), Some(&name("b")));
        // It still sorts everything.
        let sorted = order.sort(["a", "b", "c", "d"].map(name).to_vec(), |name| name);
        assert_eq!(sorted.len(), 4);
    }
}
