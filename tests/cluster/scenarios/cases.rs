//! Cases of tests/cases that need the lab. Each is a program that exits 0 when toots behaves as its
//! first lines say; a line `# needs the lab: STATE` names the state in which it runs.

use std::path::Path;

use crate::lab::Lab;

/// On machines that were not brought up yet.
pub fn fresh(lab: &Lab) {
    run_all(lab, &lab.inventory, "fresh");
}

/// On a running cluster.
pub fn running(lab: &Lab) {
    run_all(lab, &lab.inventory, "running");
}

fn run_all(lab: &Lab, inventory: &Path, state: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the cases")
        .map(|entry| entry.expect("a case").path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let mut ran = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a text");
        if !text
            .lines()
            .any(|line| line == format!("# needs the lab: {state}"))
        {
            continue;
        }
        let file = file.file_name().expect("a name").to_string_lossy();
        let machine = ["toots-lab-m1", "10.42.7.11"].map(Path::new);
        run(lab, &file, [&[inventory], &machine[..]].concat());
        ran += 1;
    }
    assert!(ran > 0, "no case needs {state}");
}

/// Runs one case.
fn run<'a>(lab: &Lab, file: &str, arguments: impl IntoIterator<Item = &'a Path>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases")
        .join(file);
    let is_python = path.extension().is_some_and(|extension| extension == "py");
    let output = std::process::Command::new(if is_python { "python3" } else { "bash" })
        .arg(&path)
        .arg(lab.program())
        .args(arguments)
        .output()
        .expect("it runs");
    println!("  {file}: {}", output.status);
    assert!(
        output.status.success(),
        "{file}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
