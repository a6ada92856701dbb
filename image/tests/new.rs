//! `grantflow new` in a checkout: what it makes is a member that cargo, rustfmt and `grantflow images` know.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

/// A workspace of the same packages, whose sources are this one's.
fn checkout(place: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in ["Cargo.toml", "Cargo.lock", "rustfmt.toml"] {
        fs::copy(root.join(file), place.join(file)).unwrap();
    }
    for folder in ["apps", "image", "image/pipelines"] {
        fs::create_dir(place.join(folder)).unwrap();
    }
    fs::copy(
        root.join("image/Cargo.toml"),
        place.join("image/Cargo.toml"),
    )
    .unwrap();
    let mut linked = vec![
        "vchan".into(),
        "unikernel".into(),
        "image/src".into(),
        "image/tests".into(),
    ];
    for app in fs::read_dir(root.join("apps")).unwrap() {
        let app = app.unwrap().file_name().into_string().unwrap();
        linked.push(format!("apps/{app}"));
    }
    for path in linked {
        symlink(
            fs::canonicalize(root.join(&path)).unwrap(),
            place.join(&path),
        )
        .unwrap();
    }
}

fn run(program: &str, arguments: &[&str], place: &Path) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(place);
    command.env("CARGO_NET_OFFLINE", "true").output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_new_stage_is_known_and_formatted_and_made_once() {
    let grantflow = env!("CARGO_BIN_EXE_grantflow");
    let place = tempfile::tempdir().unwrap();
    checkout(place.path());
    // As long as a name may be: lines get no longer than this.
    let name = "a-name-that-is-as-long-as-names";
    let made = run(grantflow, &["new", name], place.path());
    assert!(made.status.success(), "{}", told(&made));
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(
        said.contains(&format!("--target process image/pipelines/{name}.toml")),
        "{said}"
    );

    let images = run(grantflow, &["images", "--list"], place.path());
    let listed = String::from_utf8_lossy(&images.stdout).into_owned();
    assert!(listed.contains(name), "{listed}{}", told(&images));
    let formatted = run(env!("CARGO"), &["fmt", "-p", name, "--check"], place.path());
    if told(&formatted).contains("is not installed") {
        eprintln!("rustfmt is not installed: the check of the form is SKIPPED");
    } else {
        let differs = String::from_utf8_lossy(&formatted.stdout).into_owned();
        assert!(formatted.status.success(), "{differs}{}", told(&formatted));
    }

    let again = run(grantflow, &["new", name], place.path());
    assert_eq!(again.status.code(), Some(2), "{}", told(&again));
    let elsewhere = tempfile::tempdir().unwrap();
    let refused = run(grantflow, &["new", "mine"], elsewhere.path());
    assert!(!refused.status.success());
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}
