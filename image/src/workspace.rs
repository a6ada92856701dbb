//! Where the tool finds the workspace it serves: root folder, packages, target folder, from `cargo metadata`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// A cargo workspace as `cargo metadata` tells it.
#[derive(Debug, Deserialize)]
pub struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    #[serde(rename = "workspace_root")]
    pub root: PathBuf,
    /// Where cargo puts what it builds.
    #[serde(rename = "target_directory")]
    pub target: PathBuf,
    /// The members of the workspace.
    pub packages: Vec<Package>,
}

/// One member of the workspace.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// The name in its `Cargo.toml`.
    pub name: String,
    /// Its dependencies, of every kind.
    #[serde(default)]
    pub dependencies: Vec<Dependency>,
    /// What it builds.
    #[serde(default)]
    pub targets: Vec<Target>,
    /// `[package.metadata]`, `null` where there is none.
    #[serde(default)]
    pub metadata: serde_json::Value,
}

/// One dependency of a package.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// The name of the package depended on.
    pub name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    pub kind: Option<String>,
    /// The folder of a path dependency.
    pub path: Option<PathBuf>,
    /// The features that are asked for.
    #[serde(default)]
    pub features: Vec<String>,
}

/// One library, program, test or example of a package.
#[derive(Debug, Deserialize)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// `bin`, `lib`, `test`, ...
    pub kind: Vec<String>,
}

/// Why the workspace is not known.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// Cargo could not be started.
    #[error("cannot run cargo ({0}): install Rust from https://rustup.rs and put cargo into PATH")]
    NoCargo(#[source] std::io::Error),
    /// Cargo found no workspace, or a broken one.
    #[error("cargo metadata failed in {dir}: {said}; run grantflow inside the project's folder")]
    Refused {
        /// Where it was run.
        dir: String,
        /// The last line of what cargo said.
        said: String,
    },
    /// What cargo printed is not what this tool reads.
    #[error("cannot read the output of cargo metadata")]
    Unreadable(#[from] serde_json::Error),
}

impl Workspace {
    /// Asks cargo about the workspace around `dir`.
    pub fn around(dir: &Path) -> Result<Self, WorkspaceError> {
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["metadata", "--format-version", "1", "--no-deps"])
            .current_dir(dir)
            .output()
            .map_err(WorkspaceError::NoCargo)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said
                .lines()
                .rfind(|line| !line.trim().is_empty())
                .unwrap_or("no message")
                .trim()
                .to_owned();
            return Err(WorkspaceError::Refused {
                dir: dir.display().to_string(),
                said,
            });
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Asks cargo about the workspace around the current folder.
    pub fn here() -> Result<Self, WorkspaceError> {
        Self::around(Path::new("."))
    }

    /// The folder of finished images.
    pub fn images(&self) -> PathBuf {
        self.target.join("images")
    }
}
