//! Examples at the end of `--help`, one constant per command. To add one: a constant here, named by
//! `after_help` of the command's variant. A test parses every line.

macro_rules! examples {
    ($($name:ident: $($line:literal),+;)+) => {
        $(pub(super) const $name: &str = concat!("Examples:", $("\n  toots ", $line),+);)+

        /// Every example without the program's name.
        #[cfg(test)]
        pub(super) const LINES: &[&str] = &[$($($line),+),+];
    };
}

examples! {
    UP: "cluster up", "cluster up -i prod.toml --limit s1 --yes",
        "cluster up --images dc1.tar", "cluster up --output json > run.jsonl";
    CLUSTER_CHECK: "cluster check", "cluster check --output json > findings.jsonl",
        "cluster check --hosts 10.0.0.11,10.0.0.12,10.0.0.13 --user admin";
    PLAN: "cluster plan", "cluster plan --out roll.plan", "cluster plan --exit-code --output plain";
    STATUS: "cluster status", "cluster status --watch", "cluster status --output json";
    REPAIR: "cluster repair m3 --component zookeeper";
    ADD_SLAVE: "cluster add-slave 10.0.0.22 --name s2";
    ADD_EDGE: "cluster add-edge 10.0.0.32 --name e2";
    CHECK: "inventory check -i prod.toml";
    IMPORT: "inventory import Toots.conf";
    RENDER: "render", "render --host m1 --out rendered";
    EXPLAIN: "ssh explain m1";
    TRUST: "ssh trust", "ssh trust m1 m2 --yes";
    OPEN: "open marathon", "open consul --port 9500 --no-browser";
    TUNNEL: "tunnel", "tunnel --listen 127.0.0.1:1081";
    INIT: "init", "init --masters 10.0.0.11,10.0.0.12,10.0.0.13 --out inventory.toml";
    COMPLETIONS: "completions bash";
    BUNDLE_CREATE: "bundle create dc1.tar",
        "bundle create dc1.tar -i prod.toml --platform linux/amd64 --platform linux/arm64";
    BUNDLE_INSPECT: "bundle inspect dc1.tar", "bundle inspect dc1.tar --output json";
    APP_DEPLOY: "app deploy web.yaml --dry-run", "app deploy web.yaml --wait";
    APP_LIST: "app list", "app list --output json";
    APP_SHOW: "app show web";
    APP_SCALE: "app scale web 4 --wait";
    APP_RESTART: "app restart web --wait";
    APP_ROLLBACK: "app rollback web";
    APP_DELETE: "app delete web --yes";
    APP_WEIGHT: "app weight web-canary 50 --wait";
    JOB_DEPLOY: "job deploy nightly.yaml";
    JOB_LIST: "job list";
    JOB_SHOW: "job show nightly";
    JOB_RUN: "job run nightly --wait";
    JOB_DELETE: "job delete nightly --yes";
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Cli;

    #[test]
    fn examples_are_accepted() {
        for line in super::LINES {
            let words = line.split(" > ").next().unwrap_or(line).split(' ');
            let parsed = Cli::try_parse_from(std::iter::once("toots").chain(words));
            assert!(parsed.is_ok(), "{line}: {}", parsed.err().unwrap());
        }
    }
}
