//! `grantflow images`: one cargo call per image, then the stripped file, its debug file, and the checks.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use serde::Deserialize;
use serde_json::json;

use crate::elf::{Image, Report, strip};
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;
use crate::workspace::{Package, Workspace};

mod flags;

pub use flags::Optimize;
use flags::rust_flags;

/// The prebuilt `core` and `alloc` of this target are what an image is made of.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What `grantflow images` is told.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The images to build; all of them if none is named
    names: Vec<String>,
    /// The most that a stripped image should take [default: what its package says, or 153600]
    #[arg(long, value_name = "BYTES")]
    size_goal: Option<u64>,
    /// Fail if an image is above the size goal, rather than say so
    #[arg(long)]
    strict_size: bool,
    /// Only say which images there are
    #[arg(long)]
    list: bool,
}

/// An image that the workspace declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The package it comes from.
    pub package: String,
    /// The program in it, and the image's name.
    pub name: String,
    /// The most that it should take, stripped, in bytes.
    pub size_goal: u64,
    /// Whether its package asked for the network stack.
    pub network: bool,
    /// Whether it serves this project's own tests alone.
    pub is_for_tests: bool,
    /// What it is compiled for.
    pub optimize: Optimize,
}

/// `[package.metadata.grantflow]`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Metadata {
    images: Vec<String>,
    #[serde(default = "default_size_goal")]
    size_goal: u64,
    #[serde(default)]
    for_tests: bool,
    #[serde(default)]
    optimize: Optimize,
}

fn default_size_goal() -> u64 {
    150 * 1024
}

/// Why an image did not come to be.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A package's metadata is not what it should be.
    #[error(
        "{package}/Cargo.toml: [package.metadata.grantflow] wants images = [\"PROGRAM\", ...], and may have size-goal = BYTES, \
         optimize = \"speed\" and for-tests = true: {said}"
    )]
    Metadata {
        /// The package.
        package: String,
        /// What is wrong.
        said: serde_json::Error,
    },
    /// A name in the metadata has no program.
    #[error(
        "{package}/Cargo.toml names an image {name}, but there is no program src/bin/{name}.rs"
    )]
    NoProgram {
        /// The package.
        package: String,
        /// The name.
        name: String,
    },
    /// The user asked for an image that is not declared.
    #[error("there is no image {name}; there are: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Cargo failed; it has said why.
    #[error("cargo did not build {0}; its message stands above")]
    Cargo(String),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What the linker made is not an ELF file.
    #[error("{name}: {source}")]
    Unreadable {
        /// The image.
        name: String,
        /// Why.
        source: crate::elf::ReadError,
    },
}

/// Builds and checks the images, prints a table, and fails if one is not fit to boot.
pub fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let workspace = Workspace::here()?;
    let declared = declared(&workspace.packages).map_err(Failure::input)?;
    let chosen = choose(&declared, &args.names).map_err(Failure::input)?;
    if args.list {
        return Ok(list(&chosen, json)?);
    }
    let progress = Progress::new();
    let mut reports = Vec::new();
    for source in &chosen {
        progress.say(format_args!("building {}", source.name));
        let goal = match args.size_goal {
            None if source.is_for_tests => u64::MAX,
            None => source.size_goal,
            Some(goal) => goal,
        };
        reports.push(build(&workspace, source, goal)?);
    }
    if json {
        output::line(json!({ "images": reports }))?;
    } else {
        output::write(table(&reports))?;
    }
    let unfit = |report: &&Report| !report.passed() || (args.strict_size && report.above_goal > 0);
    let failed = reports.iter().filter(unfit).count();
    match failed {
        0 => Ok(()),
        _ => Err(Failure::failed(format!(
            "{failed} of {} images are not fit to boot",
            reports.len()
        ))),
    }
}

/// The images that the packages declare, in their order.
pub fn declared(packages: &[Package]) -> Result<Vec<Source>, CompileError> {
    let mut found = Vec::new();
    for package in packages {
        let Some(ours) = package.metadata.get("grantflow") else {
            continue;
        };
        let ours: Metadata =
            serde_json::from_value(ours.clone()).map_err(|said| CompileError::Metadata {
                package: package.name.clone(),
                said,
            })?;
        let network = package.dependencies.iter().any(|dependency| {
            dependency.name == "unikernel" && dependency.features.iter().any(|name| name == "net")
        });
        for name in ours.images {
            let program = package
                .targets
                .iter()
                .any(|t| t.name == name && t.kind.iter().any(|kind| kind == "bin"));
            if !program {
                return Err(CompileError::NoProgram {
                    package: package.name.clone(),
                    name,
                });
            }
            found.push(Source {
                package: package.name.clone(),
                name,
                size_goal: ours.size_goal,
                network,
                is_for_tests: ours.for_tests,
                optimize: ours.optimize,
            });
        }
    }
    Ok(found)
}

fn choose(declared: &[Source], names: &[String]) -> Result<Vec<Source>, CompileError> {
    if names.is_empty() {
        return Ok(declared.to_vec());
    }
    let find = |name: &String| {
        let found = declared.iter().find(|source| source.name == *name).cloned();
        found.ok_or_else(|| CompileError::Unknown {
            name: name.clone(),
            known: declared
                .iter()
                .map(|source| source.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        })
    };
    names.iter().map(find).collect()
}

fn list(sources: &[Source], json: bool) -> io::Result<()> {
    if json {
        let all: Vec<_> = sources
            .iter()
            .map(|s| json!({ "name": s.name, "package": s.package }))
            .collect();
        return output::line(json!({ "images": all }));
    }
    for source in sources {
        output::line(format_args!("{:<16} {}", source.name, source.package))?;
    }
    Ok(())
}

fn build(workspace: &Workspace, source: &Source, goal: u64) -> Result<Report, CompileError> {
    let program = cargo(workspace, source)?;
    let file = fs::read(&program).map_err(|source| CompileError::File {
        path: program.clone(),
        source,
    })?;
    let image = Image::read(&file).map_err(|error| CompileError::Unreadable {
        name: source.name.clone(),
        source: error,
    })?;
    let debug_name = format!("{}.debug", source.name);
    let stripped = strip(&file, &image, &debug_name);
    let folder = workspace.images();
    fs::create_dir_all(&folder).map_err(|source| CompileError::File {
        path: folder.clone(),
        source,
    })?;
    write(&folder, &debug_name, &file)?;
    write(&folder, &format!("{}.elf", source.name), &stripped)?;
    Ok(Report::new(
        &source.name,
        &image,
        stripped.len() as u64,
        goal,
        source.network,
    ))
}

/// Writes beside and renames, so that nobody ever boots half an image.
fn write(folder: &Path, name: &str, content: &[u8]) -> Result<(), CompileError> {
    let path = folder.join(name);
    let beside = folder.join(format!(".{name}.new"));
    fs::write(&beside, content)
        .and_then(|()| fs::rename(&beside, &path))
        .map_err(|source| CompileError::File { path, source })
}

/// One artifact of `cargo build --message-format json`.
#[derive(Deserialize)]
struct Artifact {
    target: ArtifactTarget,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct ArtifactTarget {
    name: String,
}

/// One call per image, so that the features of one do not end up in another.
fn cargo(workspace: &Workspace, source: &Source) -> Result<PathBuf, CompileError> {
    let failed = || CompileError::Cargo(source.name.clone());
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--profile",
            source.optimize.profile(),
            "--target",
            TARGET,
            "--message-format",
            "json-render-diagnostics",
        ])
        .args(["--package", &source.package, "--bin", &source.name])
        .arg("--target-dir")
        .arg(workspace.target.join("guest"))
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            rust_flags(&workspace.root, source.optimize).join("\u{1f}"),
        )
        .env_remove("RUSTFLAGS")
        .current_dir(&workspace.root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|_| failed())?;
    if !output.status.success() {
        return Err(failed());
    }
    executable(&output.stdout, &source.name).ok_or_else(failed)
}

/// Where cargo has put the program of this name, by what it printed.
pub(crate) fn executable(printed: &[u8], name: &str) -> Option<PathBuf> {
    let text = String::from_utf8_lossy(printed);
    text.lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
        .filter(|artifact| artifact.target.name == name)
        .find_map(|artifact| artifact.executable)
}

fn table(reports: &[Report]) -> String {
    let mut text = format!(
        "{:<14} {:>9} {:>8} {:>8} {:>8} {:>8}  checks\n",
        "image", "stripped", "text", "rodata", "data", "bss"
    );
    for report in reports {
        let sizes = report.sizes;
        let wrong = report
            .checks
            .iter()
            .filter(|check| !check.wrong.is_empty())
            .count();
        let verdict = match wrong {
            0 => format!("{} passed", report.checks.len()),
            _ => format!("{wrong} of {} FAILED", report.checks.len()),
        };
        text.push_str(&format!(
            "{:<14} {:>9} {:>8} {:>8} {:>8} {:>8}  {verdict}\n",
            report.name, report.size, sizes.text, sizes.rodata, sizes.data, sizes.bss
        ));
        if report.above_goal > 0 {
            text.push_str(&format!(
                "  above the size goal by {} bytes\n",
                report.above_goal
            ));
        }
        for check in &report.checks {
            for wrong in &check.wrong {
                text.push_str(&format!("  {}: {wrong}\n", check.name));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Sizes;
    use crate::elf::report::Check;
    use crate::workspace::Target;

    fn package(name: &str, metadata: serde_json::Value, bins: &[&str]) -> Package {
        let target = |name: &&str| Target {
            name: (*name).to_owned(),
            kind: vec!["bin".to_owned()],
        };
        let targets = bins.iter().map(target).collect();
        Package {
            name: name.to_owned(),
            dependencies: Vec::new(),
            targets,
            metadata,
        }
    }

    #[test]
    fn images_are_what_the_metadata_names() {
        let packages = [
            package("stage", serde_json::Value::Null, &[]),
            package(
                "app",
                json!({ "grantflow": { "images": ["sensor", "aggregator"] } }),
                &["sensor", "aggregator"],
            ),
        ];
        let found = declared(&packages).unwrap();
        assert_eq!(
            found.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
            ["sensor", "aggregator"]
        );
        assert_eq!(choose(&found, &["aggregator".to_owned()]).unwrap().len(), 1);
        let error = choose(&found, &["sensors".to_owned()])
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "there is no image sensors; there are: sensor, aggregator"
        );
    }

    #[test]
    fn metadata_that_names_nothing_sensible_is_refused() {
        let typo = declared(&[package(
            "app",
            json!({ "grantflow": { "image": "x" } }),
            &[],
        )])
        .unwrap_err();
        assert!(typo.to_string().contains("images = ["), "{typo}");
        let gone = declared(&[package(
            "app",
            json!({ "grantflow": { "images": ["x"] } }),
            &[],
        )])
        .unwrap_err();
        assert!(gone.to_string().contains("src/bin/x.rs"), "{gone}");
    }

    #[test]
    fn the_table_fits_a_screen_and_names_what_is_wrong() {
        let report = Report {
            name: "aggregator".to_owned(),
            size: 123_456,
            sizes: Sizes {
                text: 90_000,
                rodata: 20_000,
                data: 400,
                bss: 131_072,
            },
            checks: vec![
                Check {
                    name: "static",
                    wrong: vec![],
                },
                Check {
                    name: "red zone",
                    wrong: vec!["f uses the red zone".to_owned()],
                },
            ],
            above_goal: 3_456,
        };
        let text = table(&[report]);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(
            text.contains("1 of 2 FAILED") && text.contains("  red zone: f uses the red zone"),
            "{text}"
        );
        assert!(
            text.contains("  above the size goal by 3456 bytes\n"),
            "{text}"
        );
    }
}
