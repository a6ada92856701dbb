//! The programs of stages: built by cargo, or in a folder; and what they say of themselves.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::compile::{self, declared};
use crate::failure::Failure;
use crate::images;
use crate::pipeline::hosts::part;
use crate::pipeline::{Catalogue, read};
use crate::progress::Progress;
use crate::workspace::Workspace;

/// The profile of the workspace's `Cargo.toml` that they are built with.
const PROFILE: &str = "process";

/// What runs the stages.
#[derive(Debug)]
pub struct Programs {
    /// Where the programs are, each with the name of its app.
    pub folder: PathBuf,
    /// What they take.
    pub catalogue: Catalogue,
}

/// Why a program is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ProgramsError {
    /// Cargo failed; it has said why.
    #[error("cargo did not build {0}; its message stands above")]
    Cargo(String),
    /// The folder that was named has none.
    #[error("there is no program of a stage in {}; `cargo build --release` makes them in target/release", .0.display())]
    None(PathBuf),
}

impl Programs {
    /// Those of the pipeline in `file`, or of its part for a host: in the folder that was named, or built now.
    pub fn of(
        file: &Path,
        host: Option<&str>,
        named: Option<&Path>,
        progress: &Progress,
    ) -> Result<Self, Failure> {
        match named {
            Some(folder) => Self::in_folder(folder),
            None => Self::build(&apps(file, host), progress),
        }
    }

    fn in_folder(folder: &Path) -> Result<Self, Failure> {
        let mut catalogue = Catalogue::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_program = fs::metadata(entry.path())
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o100 != 0);
            // Other programs may lie there too.
            if is_program
                && !name.contains('.')
                && let Ok(description) = images::description(&entry.path())
            {
                catalogue.insert(name, description);
            }
        }
        if catalogue.is_empty() {
            return Err(Failure::input(ProgramsError::None(folder.to_owned())));
        }
        Ok(Self {
            folder: folder.to_owned(),
            catalogue,
        })
    }

    /// Builds the programs of these apps. Of the others that could be built nothing but the name is known.
    fn build(apps: &BTreeSet<String>, progress: &Progress) -> Result<Self, Failure> {
        let workspace = Workspace::here().map_err(|error| {
            Failure::input(format!(
                "{error}; or name a folder of built programs: --programs DIR"
            ))
        })?;
        let declared = declared(&workspace.packages).map_err(Failure::input)?;
        let wanted: Vec<&compile::Source> = declared
            .iter()
            .filter(|source| apps.contains(&source.name))
            .collect();
        let mut catalogue: Catalogue = declared
            .iter()
            .map(|source| (source.name.clone(), Default::default()))
            .collect();
        let names: Vec<&str> = wanted.iter().map(|source| source.name.as_str()).collect();
        let Some(first) = wanted.first() else {
            return Ok(Self {
                folder: workspace.target,
                catalogue,
            });
        };
        progress.say(format_args!("building {}", names.join(", ")));
        let failed = || ProgramsError::Cargo(names.join(", "));
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--profile", PROFILE]);
        cargo.args(["--message-format", "json-render-diagnostics"]);
        for source in &wanted {
            cargo.args(["--package", &source.package, "--bin", &source.name]);
        }
        let output = cargo
            .current_dir(&workspace.root)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|_| failed())?;
        if !output.status.success() {
            return Err(failed().into());
        }
        let program = |name: &str| compile::executable(&output.stdout, name).ok_or_else(failed);
        let folder = program(&first.name)?;
        for name in names.iter().copied() {
            catalogue.insert(name.to_owned(), images::description(&program(name)?)?);
        }
        Ok(Self {
            folder: folder.parent().unwrap_or(&folder).to_owned(),
            catalogue,
        })
    }
}

/// The apps that a file names. One with mistakes names none: they are told when it is loaded.
fn apps(file: &Path, host: Option<&str>) -> BTreeSet<String> {
    let text = crate::compose::load::bytes(file).ok();
    let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
    let pipeline = text.and_then(|text| read(&text, "pipeline").ok());
    let pipeline = pipeline.and_then(|whole| match host {
        Some(_) => part(&whole, host).ok(),
        None => Some(whole),
    });
    let stages = pipeline.into_iter().flat_map(|pipeline| pipeline.stages);
    stages.map(|stage| stage.app.value).collect()
}
