//! `grantflow new NAME`: a stage of one's own, made from the workspace's example (`apps/scale`), which is built, tested and linted
//! like everything else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use toml::de::DeTable;

use crate::failure::Failure;
use crate::output;
use crate::pipeline::keys::NAME_MAX;
use crate::workspace::Workspace;

/// The example's name, which is all that differs, and the name of its type.
const EXAMPLE: (&str, &str) = ("scale", "Scale");

/// Its files, by their paths in the workspace.
const FILES: [(&str, &str); 4] = [
    (
        "apps/scale/Cargo.toml",
        include_str!("../../apps/scale/Cargo.toml"),
    ),
    (
        "apps/scale/src/lib.rs",
        include_str!("../../apps/scale/src/lib.rs"),
    ),
    (
        "apps/scale/src/bin/scale.rs",
        include_str!("../../apps/scale/src/bin/scale.rs"),
    ),
    (
        "image/pipelines/scale.toml",
        include_str!("../pipelines/scale.toml"),
    ),
];

/// What a workspace of this project has.
const OURS: [&str; 3] = ["stage", "process", "unikernel"];

/// Names that Rust or cargo has for something else.
const TAKEN: &str = "abstract alloc as async await become box break build const continue core crate deps do dyn else enum \
    examples extern false final fn for gen if impl in incremental let loop macro match mod move mut override priv pub ref return \
    self static std struct super test trait true try type typeof unsafe unsized use virtual where while yield";

/// What `grantflow new` is told.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The stage's name: of crate, program, image and pipeline
    name: String,
}

/// Why there is no new stage.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// Not a name.
    #[error(
        "`{0}` is no name of a stage: 1 to {NAME_MAX} of a-z, 0-9 and -, a letter first, no - last and no two together"
    )]
    Name(String),
    /// A name that means something else.
    #[error("`{name}` is taken: {by}; name the stage otherwise")]
    Taken {
        /// The name.
        name: String,
        /// By what.
        by: String,
    },
    /// Not a workspace of this project.
    #[error("{} is no workspace of this project: it has no package {package}; run grantflow new in a checkout", root.display())]
    Foreign {
        /// The workspace.
        root: PathBuf,
        /// What it lacks.
        package: &'static str,
    },
    /// The list of members is not where it is looked for.
    #[error("cannot find members = [...] in {}: add \"{member}\" there yourself, and run grantflow new again", .manifest.display())]
    Members {
        /// The file.
        manifest: PathBuf,
        /// What to add.
        member: String,
    },
    /// A file could not be written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Does it.
pub fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let workspace = Workspace::here()?;
    let made = make(&workspace, &args.name).map_err(|error| match error {
        NewError::File { .. } => Failure::failed(error),
        other => Failure::input(other),
    })?;
    let name = &args.name;
    let next = [
        format!("cargo test -p {name}"),
        format!("grantflow up --target process image/pipelines/{name}.toml"),
        format!("grantflow images {name}"),
    ];
    if json {
        output::line(json!({ "name": name, "files": made, "next": next }))?;
        return Ok(());
    }
    output::line(format_args!("made {}; what comes next:", made.join(", ")))?;
    for command in next {
        output::line(format_args!("    {command}"))?;
    }
    Ok(())
}

/// Makes the stage, or nothing; the files that it made.
fn make(workspace: &Workspace, name: &str) -> Result<Vec<String>, NewError> {
    check_name(name)?;
    let root = &workspace.root;
    let has = |package: &str| workspace.packages.iter().any(|one| one.name == package);
    if let Some(package) = OURS.into_iter().find(|package| !has(package)) {
        return Err(NewError::Foreign {
            root: root.clone(),
            package,
        });
    }
    check_free(workspace, name)?;
    let manifest = root.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(at(&manifest))?;
    let member = format!("apps/{name}");
    let text = with_member(&text, &member).ok_or_else(|| NewError::Members {
        manifest: manifest.clone(),
        member,
    })?;
    let files: Vec<(String, String)> = FILES
        .iter()
        .map(|(path, content)| (path.replace(EXAMPLE.0, name), renamed(content, name)))
        .collect();
    let written = write(root, &files).and_then(|()| replace(&manifest, &text));
    written.inspect_err(|_| remove(root, name))?;
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

fn check_name(name: &str) -> Result<(), NewError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let fits = (1..=NAME_MAX).contains(&name.len())
        && name.bytes().all(plain)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && !name.contains("--");
    if !fits {
        return Err(NewError::Name(name.escape_debug().to_string()));
    }
    if TAKEN.split_ascii_whitespace().any(|taken| taken == name) {
        return Err(NewError::Taken {
            name: name.to_owned(),
            by: "Rust or cargo has another meaning for it".to_owned(),
        });
    }
    Ok(())
}

/// Nothing in the workspace has the name, neither package nor program, dependency nor file.
fn check_free(workspace: &Workspace, name: &str) -> Result<(), NewError> {
    let taken = |by: String| {
        Err(NewError::Taken {
            name: name.to_owned(),
            by,
        })
    };
    // A crate's name has _ where its package's has -.
    let is_it = |other: &str| other.replace('_', "-") == name;
    for package in &workspace.packages {
        if is_it(&package.name) || package.targets.iter().any(|target| is_it(&target.name)) {
            return taken(format!("package {} has it", package.name));
        }
    }
    let lock = fs::read_to_string(workspace.root.join("Cargo.lock")).unwrap_or_default();
    let mut dependencies = lock
        .lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    if dependencies.any(is_it) {
        return taken("a dependency in Cargo.lock has it".to_owned());
    }
    for path in [
        format!("apps/{name}"),
        format!("image/pipelines/{name}.toml"),
    ] {
        if fs::symlink_metadata(workspace.root.join(&path)).is_ok() {
            return taken(format!("{path} exists"));
        }
    }
    Ok(())
}

/// A file of the example as that of stage `name`.
fn renamed(content: &str, name: &str) -> String {
    let (old, old_type) = EXAMPLE;
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    });
    content
        .replace(old_type, &words.collect::<String>())
        .replace(
            &format!("{old}::"),
            &format!("{}::", name.replace('-', "_")),
        )
        .replace(old, name)
}

/// The manifest with one member more; `None` if its list is not found.
fn with_member(text: &str, member: &str) -> Option<String> {
    let list = |text: &str| -> Option<Vec<String>> {
        let table = DeTable::parse(text).ok()?.into_inner();
        let members = table.get("workspace")?.as_ref().get("members")?.as_ref();
        let members = members.as_array()?.iter();
        let members = members.map(|one| one.as_ref().as_str().map(str::to_owned));
        members.collect()
    };
    let mut wanted = list(text)?;
    let (before, after) = text.split_once("members = [")?;
    let (members, rest) = after.split_once(']')?;
    let content = members.trim_end();
    let comma = if content.is_empty() || content.ends_with(',') {
        ""
    } else {
        ","
    };
    let space = if content.contains('\n') {
        "\n    "
    } else {
        " "
    };
    let end = &members[content.len()..];
    let changed = format!("{before}members = [{content}{comma}{space}\"{member}\"{end}]{rest}");
    wanted.push(member.to_owned());
    (list(&changed)? == wanted).then_some(changed)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> NewError {
    let path = path.to_owned();
    |source| NewError::File { path, source }
}

fn write(root: &Path, files: &[(String, String)]) -> Result<(), NewError> {
    for (path, content) in files {
        let path = root.join(path);
        let folder = path.parent().unwrap_or(root);
        fs::create_dir_all(folder).map_err(at(folder))?;
        fs::write(&path, content).map_err(at(&path))?;
    }
    Ok(())
}

/// Whole or not at all.
fn replace(path: &Path, text: &str) -> Result<(), NewError> {
    let beside = path.with_extension("toml.new");
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    written.map_err(at(path))
}

/// Takes away again what was made: none of it was there before.
fn remove(root: &Path, name: &str) {
    let _ = fs::remove_dir_all(root.join("apps").join(name));
    let _ = fs::remove_file(root.join(format!("image/pipelines/{name}.toml")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Package;

    fn workspace(root: &Path) -> Workspace {
        let manifest = "[workspace]\nmembers = [\"vchan\", \"image\"]\n";
        fs::write(root.join("Cargo.toml"), manifest).unwrap();
        fs::write(
            root.join("Cargo.lock"),
            "[[package]]\nname = \"iced-x86\"\n",
        )
        .unwrap();
        let package = |name: &str| Package {
            name: name.into(),
            dependencies: Vec::new(),
            targets: Vec::new(),
            metadata: serde_json::Value::Null,
        };
        Workspace {
            root: root.into(),
            target: root.join("target"),
            packages: OURS.iter().map(|name| package(name)).collect(),
        }
    }

    fn everything(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push((path.clone(), fs::read(&path).unwrap()));
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn the_example_is_itself_a_stage_of_its_name() {
        for (_, content) in FILES {
            assert_eq!(renamed(content, EXAMPLE.0), content);
            assert!(!renamed(content, "x-ray").to_lowercase().contains(EXAMPLE.0));
        }
    }

    #[test]
    fn a_new_stage_is_a_member_of_the_workspace_with_a_pipeline() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = workspace(folder.path());
        let made = make(&workspace, "leak-2-detector").unwrap();
        assert_eq!(
            made,
            [
                "apps/leak-2-detector/Cargo.toml",
                "apps/leak-2-detector/src/lib.rs",
                "apps/leak-2-detector/src/bin/leak-2-detector.rs",
                "image/pipelines/leak-2-detector.toml"
            ]
        );
        let read = |path: &str| fs::read_to_string(folder.path().join(path)).unwrap();
        assert!(read("Cargo.toml").contains("\"image\", \"apps/leak-2-detector\"]"));
        assert!(read(&made[1]).contains("pub struct Leak2Detector {"));
        assert!(read(&made[2]).contains("process::main!(leak_2_detector::Leak2Detector);"));
        assert!(read(&made[0]).contains("images = [\"leak-2-detector\"]"));
        assert!(read(&made[3]).contains("app = \"leak-2-detector\""));
    }

    #[test]
    fn bad_names_taken_names_and_other_places_are_refused_and_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = workspace(folder.path());
        fs::create_dir_all(folder.path().join("apps/there")).unwrap();
        let before = everything(folder.path());
        let long = "x".repeat(32);
        for name in [
            "", "A", "a_b", "-a", "a-", "a--b", "1a", "../x", "a/b", "a\x1b", &long, "match",
            "core", "deps", "stage", "iced-x86", "there",
        ] {
            let error = make(&workspace, name).unwrap_err().to_string();
            assert!(!error.contains('\x1b'), "{error}");
            assert!(everything(folder.path()) == before, "{name}");
        }
        let foreign = Workspace {
            packages: Vec::new(),
            ..workspace
        };
        let error = make(&foreign, "mine").unwrap_err().to_string();
        assert!(error.contains("no package stage"), "{error}");
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = workspace(folder.path());
        // A file where a folder has to be.
        fs::write(folder.path().join("image"), "").unwrap();
        let before = everything(folder.path());
        assert!(matches!(
            make(&workspace, "mine"),
            Err(NewError::File { .. })
        ));
        assert!(everything(folder.path()) == before);
        fs::remove_file(folder.path().join("image")).unwrap();
        make(&workspace, "mine").unwrap();
    }

    #[test]
    fn a_list_in_any_form_gets_one_member_more() {
        for (list, expected) in [
            ("[]", "[ \"apps/x\"]"),
            ("[\"a\"]", "[\"a\", \"apps/x\"]"),
            (
                "[\"a\",\n    \"b\",\n]",
                "[\"a\",\n    \"b\",\n    \"apps/x\"\n]",
            ),
        ] {
            let text = format!("[workspace]\nmembers = {list}\nresolver = \"3\"\n");
            let changed = with_member(&text, "apps/x").unwrap();
            assert_eq!(changed, text.replace(list, expected));
        }
        for none in ["[workspace]\n", "[workspace]\nmembers = [\"a]b\"]\n", "["] {
            assert_eq!(with_member(none, "apps/x"), None);
        }
    }
}
