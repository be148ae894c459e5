//! Images that toots builds: on one host, for all.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use super::day::MASTERS;
use crate::lab::{Lab, Run, containers, on};

const UP: [&str; 5] = ["cluster", "up", "--yes", "--output", "json"];

/// Host and title of each step that brought an image of toots'.
fn brought(run: &Run) -> Vec<(String, String)> {
    let events = run.events();
    let steps = events
        .iter()
        .filter(|event| event["type"] == "step-finished");
    steps
        .filter_map(|event| {
            let step = event["step"].as_str()?;
            let (way, image) = step.split_once(" toots/")?;
            let name = image.split(':').next()?;
            Some((event["host"].as_str()?.to_owned(), format!("{way} {name}")))
        })
        .collect()
}

fn count(brought: &[(String, String)], what: &str) -> usize {
    brought.iter().filter(|(_, step)| step == what).count()
}

/// The ids of a recipe's images on a host.
fn images(machine: &str, recipe: &str) -> Vec<String> {
    let ids = on(
        machine,
        &format!("docker images -q --no-trunc toots/{recipe}"),
    );
    ids.lines().map(str::to_owned).collect()
}

/// What builds leave when they do not end.
fn leftovers(machine: &str) -> String {
    on(
        machine,
        "docker images -q --filter dangling=true --filter label=toots.build; \
         docker ps -aq --filter label=toots.build --filter status=exited",
    )
}

/// One host builds an image, the others load it from there; a changed argument builds one image and
/// replaces one component; what was removed by hand comes back from a host that has it. supervisord
/// runs on every host, so that all need its image.
pub fn built_once(lab: &Lab) {
    let masters = lab.inventory.clone();
    let table = "[images.supervisord]\n";
    let with = |name: &str, argument: &str| {
        let text = std::fs::read_to_string(&masters).expect("the inventory");
        let text = text.replace(table, &format!("{table}{argument}"));
        let path = masters.with_file_name(format!("{name}.toml"));
        let text = format!("{text}\n[components]\nsupervisord = true\n");
        std::fs::write(&path, text).expect("an inventory");
        path
    };
    let supervisord = with("recipes", "");
    killed(lab, &supervisord);
    let run = lab.toots_with(&supervisord, &UP).expect(0);
    let steps = brought(&run);
    assert_eq!(count(&steps, "build supervisord"), 1, "{steps:?}");
    assert_eq!(
        count(&steps, "load supervisord"),
        MASTERS.len() - 1,
        "{steps:?}"
    );
    let first = images(MASTERS[0], "supervisord");
    assert_eq!(first.len(), 1);
    for machine in MASTERS {
        assert_eq!(images(machine, "supervisord"), first, "{machine}");
        assert_eq!(leftovers(machine), "", "{machine}");
    }
    for machine in MASTERS {
        let recorded = on(machine, "cat /etc/toots/packages/supervisord-*");
        let is_package = |line: &str| line.starts_with("supervisor ");
        assert!(recorded.lines().any(is_package), "{machine}: {recorded}");
    }
    println!("  built and loaded in {:.1} s", run.took.as_secs_f32());
    let again = lab.toots_with(&supervisord, &UP).expect(0);
    assert_eq!(again.result()["changed"], 0);

    removed_by_hand(lab, &supervisord, &first);
    failed(lab, &with("recipe-fails", "version = \"0.0.1\"\n"));
    argument(lab, &with("recipe-argument", "version = \"4.2*\"\n"));
    lab.toots(&UP).expect(0);
}

/// toots is killed while the image is built: nothing of the build stays, and nothing was replaced.
fn killed(lab: &Lab, inventory: &Path) {
    let mut run = lab
        .command(inventory, &UP)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("toots runs");
    let lines = BufReader::new(run.stdout.take().expect("its events")).lines();
    let is_output = |line: &String| line.contains("step-progress") && line.contains("\"line\"");
    let mut output = lines.map_while(Result::ok).filter(is_output);
    // In the middle of the longest step.
    output
        .find(|line| line.contains("Get:"))
        .expect("the builder's lines");
    run.kill().expect("it runs");
    run.wait().expect("it ends");
    assert_eq!(images(MASTERS[0], "supervisord"), [""; 0]);
}

fn removed_by_hand(lab: &Lab, inventory: &Path, first: &[String]) {
    on(
        MASTERS[1],
        "docker rm -f toots-supervisord && docker image prune -af",
    );
    let run = lab.toots_with(inventory, &UP).expect(0);
    let supervisord = (MASTERS[1].to_owned(), "load supervisord".to_owned());
    assert_eq!(brought(&run), [supervisord], "without a build");
    assert_eq!(images(MASTERS[1], "supervisord"), first);
}

/// A failed build leaves the cluster as it is, and shows why.
fn failed(lab: &Lab, inventory: &Path) {
    let before: Vec<_> = MASTERS.map(containers).into();
    let run = lab
        .toots_with(inventory, &["cluster", "up", "--yes", "--output", "plain"])
        .expect(5);
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(
        said.contains("'0.0.1' for 'supervisor' was not found")
            && said.contains("[images.supervisord]"),
        "{said}"
    );
    let after: Vec<_> = MASTERS.map(containers).into();
    assert_eq!(before, after);
    assert_eq!(
        leftovers(MASTERS[0]).lines().count(),
        0,
        "steps that failed"
    );
}

fn argument(lab: &Lab, inventory: &Path) {
    let before: Vec<_> = MASTERS.map(containers).into();
    let run = lab.toots_with(inventory, &UP).expect(0);
    let steps = brought(&run);
    assert_eq!(
        (count(&steps, "build supervisord"), steps.len()),
        (1, MASTERS.len()),
        "{steps:?}"
    );
    for (machine, before) in MASTERS.iter().zip(before) {
        for (name, container) in containers(machine) {
            let is_same = before.get(&name) == Some(&container);
            assert_eq!(is_same, name != "toots-supervisord", "{machine}: {name}");
        }
    }
}
