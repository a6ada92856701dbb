//! The arrows between the packages: who may depend on whom, and which sources may name a platform.

use std::fs;
use std::path::{Path, PathBuf};

use grantflow::workspace::Workspace;

/// What each package may depend on. A package without a line here fails the check: it gets one first, or declares images.
const ARROWS: [(&str, &[&str]); 11] = [
    ("vchan", &[]),
    ("vchan-linux", &["vchan"]),
    ("vchan-no-panic", &["vchan"]),
    ("unikernel", &["vchan", "stage"]),
    ("stage", &[]),
    ("process", &["stage", "vchan-linux"]),
    ("sensor-aggregator", &["stage", "unikernel", "process"]),
    ("gateway", &["stage", "unikernel", "process"]),
    ("probe", &["stage", "unikernel"]),
    (
        "bench",
        &["vchan", "stage", "unikernel", "vchan-linux", "process"],
    ),
    ("grantflow", &["stage", "vchan-linux"]),
];

/// The same for a stage of one's own.
const OF_A_STAGE: [&str; 3] = ["stage", "unikernel", "process"];

/// The crates that tie a program to one platform, as sources name them.
const PLATFORMS: [&str; 3] = ["unikernel::", "vchan_linux::", "process::"];

fn workspace() -> Workspace {
    Workspace::around(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// `PACKAGE -> DEPENDENCY` for every arrow that is not allowed, dependencies for tests and build scripts included.
fn forbidden(workspace: &Workspace) -> Vec<String> {
    let ours: Vec<&str> = workspace
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut found = Vec::new();
    for package in &workspace.packages {
        let listed = ARROWS.iter().find(|(name, _)| *name == package.name);
        let has_images = !package.metadata["grantflow"]["images"].is_null();
        let allowed = match listed {
            Some((_, allowed)) => *allowed,
            None if has_images => &OF_A_STAGE,
            None => {
                found.push(format!("{} -> ? (give it a line in ARROWS)", package.name));
                continue;
            }
        };
        for dependency in &package.dependencies {
            // A package may ask for itself with other features in its own tests.
            let inside =
                ours.contains(&dependency.name.as_str()) && dependency.name != package.name;
            if inside && !allowed.contains(&dependency.name.as_str()) {
                found.push(format!("{} -> {}", package.name, dependency.name));
            }
        }
    }
    found
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_package_depends_on_one_it_may_not_know() {
    assert_eq!(forbidden(&workspace()), Vec::<String>::new());
}

#[test]
fn a_stage_of_one_s_own_has_its_arrows_and_no_others() {
    let mut workspace = workspace();
    let scale = workspace
        .packages
        .iter_mut()
        .find(|package| package.name == "scale")
        .unwrap();
    scale.name = "mine".into();
    assert_eq!(forbidden(&workspace), Vec::<String>::new());
    workspace
        .packages
        .iter_mut()
        .for_each(|package| package.metadata = serde_json::Value::Null);
    assert_eq!(
        forbidden(&workspace),
        ["mine -> ? (give it a line in ARROWS)"]
    );
}

#[test]
fn an_arrow_that_is_not_in_the_table_is_found() {
    let mut workspace = workspace();
    let stage = workspace
        .packages
        .iter_mut()
        .find(|package| package.name == "stage")
        .unwrap();
    stage.dependencies.push(grantflow::workspace::Dependency {
        name: "unikernel".into(),
        kind: None,
        path: None,
        features: Vec::new(),
    });
    stage.dependencies.push(grantflow::workspace::Dependency {
        name: "log".into(),
        kind: None,
        path: None,
        features: Vec::new(),
    });
    assert_eq!(forbidden(&workspace), ["stage -> unikernel"]);
}

/// The functions themselves know no platform; only the short `main` of each program does.
#[test]
fn functions_name_no_platform_outside_their_programs() {
    let root = workspace().root;
    let mut all = Vec::new();
    sources(&root.join("apps/sensor-aggregator/src"), &mut all);
    sources(&root.join("apps/gateway/src"), &mut all);
    sources(&root.join("apps/stage/src"), &mut all);
    assert!(
        !all.is_empty(),
        "the functions have moved: this check has to follow"
    );
    let tied: Vec<&PathBuf> = all
        .iter()
        .filter(|path| !path.components().any(|part| part.as_os_str() == "bin"))
        .filter(|path| {
            let text = fs::read_to_string(path).unwrap();
            PLATFORMS.iter().any(|platform| text.contains(platform))
        })
        .collect();
    assert_eq!(tied, Vec::<&PathBuf>::new());
}

/// A program's `main` ties a function to a platform and does nothing else.
#[test]
fn programs_of_functions_are_short() {
    let mut programs = Vec::new();
    sources(
        &workspace().root.join("apps/sensor-aggregator/src/bin"),
        &mut programs,
    );
    for program in programs {
        let lines = fs::read_to_string(&program).unwrap().lines().count();
        assert!(lines <= 40, "{} has {lines} lines", program.display());
    }
}
