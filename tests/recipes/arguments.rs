//! The arguments of recipes: declared by their Dockerfiles, and the files that some of them name.

use std::fs;
use std::path::Path;
use std::process::Command;

use toots::desired::{self, Desired, Draw, Recorded};
use toots::inventory;
use toots::playbook::{ImageSource, Playbook, SecretKind};
use toots::spec::{DefaultImages, Secret, digest};

const MASTERS: &str = "masters = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"]\n";

struct Fixed;

impl Draw for Fixed {
    fn file(&self, path: &Path) -> Option<Vec<u8>> {
        std::fs::read(path).ok()
    }

    fn cluster_id(&self) -> String {
        "c".into()
    }

    fn secret(&self, _: SecretKind) -> Secret {
        Secret::new("c2VjcmV0")
    }
}

/// Others would be unused, which the builder reports and the operator does not see.
#[test]
fn every_argument_is_declared() {
    let playbook = Playbook::load(None).unwrap();
    assert!(playbook.recipes.len() >= 5);
    for (name, recipe) in &playbook.recipes {
        let dockerfile = &recipe.files["Dockerfile"];
        let declared = dockerfile
            .lines()
            .filter_map(|line| line.strip_prefix("ARG "));
        let mut declared: Vec<&str> = declared.filter(|name| *name != "base").collect();
        declared.sort_unstable();
        let arguments: Vec<&String> = recipe.arguments.keys().collect();
        assert_eq!(declared, arguments, "{name}");
        // A file is copied only where there is one.
        for file in &recipe.file_arguments {
            assert!(dockerfile.contains(&format!(" {file}* ")), "{name}");
        }
    }
}

/// The desired state of a cluster whose masters use the recipe.
fn with_recipe(folder: &Path, deb: &str, sha256: &str) -> Desired {
    let mut playbook = Playbook::load(None).unwrap();
    let recipe = "mesos".to_owned();
    playbook.components.get_mut("mesos-master").unwrap().image = ImageSource::Recipe { recipe };
    let text = format!(
        "{MASTERS}[images.mesos]\ndeb = {deb:?}\ndeb_sha256 = {sha256:?}\nversion = \"\"\n"
    );
    let inventory = inventory::parse(&text, "i.toml", folder).unwrap();
    desired::build(&inventory, &playbook, &Recorded::default(), &Fixed).unwrap()
}

fn record(desired: &Desired) -> String {
    let mut files = desired.hosts[0].files.iter();
    let file = files.find(|file| file.path == DefaultImages::PATH).unwrap();
    String::from_utf8(file.content.clone()).unwrap()
}

#[test]
fn paths_do_not_change_the_image() {
    let sha256 = digest(b"mesos");
    let ann = with_recipe(Path::new("/home/ann"), "mesos.deb", &sha256);
    let bob = with_recipe(Path::new("/srv"), "/tmp/bobs.deb", &sha256);
    let wanted = |desired: &Desired| {
        let (image, wanted) = desired
            .recipes
            .iter()
            .find(|(i, _)| i.as_str().contains("mesos"))?;
        Some((image.clone(), wanted.recipe.clone()))
    };
    let ((image, recipe), (same, other)) = (wanted(&ann).unwrap(), wanted(&bob).unwrap());
    assert_eq!(image, same);
    assert_eq!(record(&ann), record(&bob));
    assert!(record(&ann).contains(&sha256) && !record(&ann).contains("mesos.deb"));
    let path = |recipe: &toots::spec::Recipe| recipe.local_files["deb"].path.clone();
    assert_eq!(path(&recipe), Path::new("/home/ann/mesos.deb"));
    assert_eq!(path(&other), Path::new("/tmp/bobs.deb"));
    let json = serde_json::to_string(&recipe).unwrap();
    assert!(!json.contains("/home/ann"), "{json}");

    let another = with_recipe(Path::new("/home/ann"), "mesos.deb", &digest(b"other"));
    assert_ne!(wanted(&another).unwrap().0, image);
}

/// Runs `up`, which contacts no host when the inventory is invalid.
fn up(folder: &Path, arguments: &str) -> (Option<i32>, String) {
    let file = folder.join("inventory.toml");
    fs::write(&file, format!("{MASTERS}[images.mesos]\n{arguments}")).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_toots"))
        .args(["cluster", "up", "--yes", "-i"])
        .arg(&file)
        .env("HOME", folder)
        .env("XDG_STATE_HOME", folder)
        .output()
        .unwrap();
    let text = String::from_utf8(run.stderr).unwrap();
    (
        run.status.code(),
        text.replace(&folder.display().to_string(), "FOLDER"),
    )
}

#[test]
fn a_file_is_checked_before_any_host_is_contacted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("mesos.deb"), "mesos").unwrap();
    let (found, wanted) = (digest(b"mesos"), digest(b"other"));
    let with = |path: &str| {
        up(
            folder,
            &format!("deb = {path:?}\ndeb_sha256 = {wanted:?}\n"),
        )
    };

    let (code, text) = with("mesos.deb");
    let expected = format!(
        "FOLDER/inventory.toml:3:1: FOLDER/mesos.deb must have the SHA-256 {wanted}, got {found}\n"
    );
    assert!(code == Some(2) && text.contains(&expected), "{text}");
    assert!(text.contains("correct deb_sha256"), "{text}");

    let (code, text) = with("gone.deb");
    let expected = "FOLDER/inventory.toml:3:1: cannot read FOLDER/gone.deb: No such file";
    assert!(code == Some(2) && text.contains(expected), "{text}");

    let (code, text) = with(".");
    let expected = "FOLDER/inventory.toml:3:1: cannot read FOLDER/.: it must be a regular file";
    assert!(code == Some(2) && text.contains(expected), "{text}");

    let (code, text) = up(folder, "deb = \"mesos.deb\"\n");
    let expected = "FOLDER/inventory.toml:3:1: `deb` needs `deb_sha256`, the digest of that file";
    assert!(code == Some(2) && text.contains(expected), "{text}");
    assert!(text.contains("sha256sum FOLDER/mesos.deb"), "{text}");
}
