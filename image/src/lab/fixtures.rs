//! What jobs take along from the workspace: images, recorded data, scripts, and C programs compiled on the host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::LabError;
use super::job::Job;
use super::linux_guest;
use super::parts::Parts;
use crate::broker;
use crate::progress::Progress;
use crate::workspace::Workspace;

/// What the Linux guest runs: what is measured beside a unikernel, or meets one.
const GUEST_PROGRAMS: [&str; 9] = [
    "tcp-peer",
    "vcat",
    "conformance",
    "vchan-bench",
    "tcp-bench",
    "udp-bench",
    "libxenvchan-bench",
    "grantflow",
    "filter",
];

/// What cargo is told for programs of the workspace, and which they are. A stage is built as whoever uses it builds it: without
/// vchan's checks.
const OWN_PROGRAMS: [(&[&str], &[&str]); 3] = [
    (
        &["--package=vchan-linux", "--features=conformance", "--bins"],
        &["vcat", "conformance"],
    ),
    (
        &["--package=sensor-aggregator", "--bin=filter"],
        &["filter"],
    ),
    (
        &["--package=bench", "--bins"],
        &["vchan-bench", "tcp-bench", "udp-bench"],
    ),
];

/// What Linux guests are measured with.
const BENCH_PROGRAMS: [&str; 3] = ["vchan-bench", "tcp-bench", "udp-bench"];

/// And with Debian's libxenvchan: a program in C.
const LIBXENVCHAN_PROGRAM: &str = "libxenvchan-bench";

/// The stages that Linux guests run beside unikernels.
const STAGE_PROGRAMS: [&str; 3] = ["sensor", "aggregator", "gateway"];

/// The folder of the lab's scenarios.
pub fn scenario_folder(workspace: &Workspace) -> PathBuf {
    workspace.root.join("image/tests/lab")
}

/// Adds the built images at `images/`; returns their names.
pub fn images(job: &mut Job, workspace: &Workspace) -> Result<Vec<String>, LabError> {
    let mut names = Vec::new();
    for (name, path) in images_in(&workspace.images())? {
        job.file(&format!("images/{name}.elf"), &path)?;
        names.push(name);
    }
    Ok(names)
}

/// The images in a folder, by name; none at all is an error.
pub fn images_in(folder: &Path) -> Result<Vec<(String, PathBuf)>, LabError> {
    let images: Vec<(String, PathBuf)> = files(folder, "elf")
        .into_iter()
        .map(|path| (stem(&path), path))
        .collect();
    if images.is_empty() {
        let message = format!(
            "there are no images in {}: run `grantflow images` first",
            folder.display()
        );
        return Err(LabError::Job(message));
    }
    Ok(images)
}

/// Adds the recorded data at `data/`.
pub fn data(job: &mut Job, workspace: &Workspace) -> Result<(), LabError> {
    for path in files(&workspace.root.join("data"), "csv") {
        job.file(&format!("data/{}.csv", stem(&path)), &path)?;
    }
    Ok(())
}

/// Adds the sample configurations at `examples/`; their paths are those of `/job`.
pub fn examples(job: &mut Job, workspace: &Workspace) -> Result<(), LabError> {
    for path in files(&workspace.root.join("image/examples"), "cfg") {
        job.file(&format!("examples/{}.cfg", stem(&path)), &path)?;
    }
    Ok(())
}

/// Adds what a subscriber of a broker needs, at `bin/`, as far as it is installed here.
pub fn subscriber(job: &mut Job) -> Result<(), LabError> {
    for (name, path) in broker::subscriber_programs() {
        job.program(&format!("bin/{name}"), &path)?;
    }
    Ok(())
}

/// Builds the workspace's own programs for Linux, and adds them at `bin/`; returns where they are.
pub fn own_programs(
    job: &mut Job,
    workspace: &Workspace,
    progress: &Progress,
) -> Result<Vec<PathBuf>, LabError> {
    progress.say("building vcat, the conformance checks, a stage and what measures as programs");
    let mut programs = Vec::new();
    for (arguments, names) in OWN_PROGRAMS {
        build(arguments, workspace)?;
        for name in names {
            let program = workspace.target.join("release").join(name);
            job.program(&format!("bin/{name}"), &program)?;
            programs.push(program);
        }
    }
    let own = std::env::current_exe().map_err(LabError::file("/proc/self/exe"))?;
    job.program("bin/grantflow", &own)?;
    programs.push(own);
    Ok(programs)
}

/// Has cargo build some of them.
fn build(arguments: &[&str], workspace: &Workspace) -> Result<(), LabError> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release"])
        .args(arguments)
        .current_dir(&workspace.root)
        .output()
        .map_err(LabError::file("cargo"))?;
    if !output.status.success() {
        return Err(LabError::Command {
            command: format!("cargo build --release {}", arguments.join(" ")),
            said: first_lines(&output.stderr),
            hint: "",
        });
    }
    Ok(())
}

/// Compiles the C programs beside the scenarios against Debian's own Xen libraries, and adds them at `bin/`.
///
/// A program's line `// libraries: NAME ...` says what it is linked with. Without a C compiler there are no programs,
/// which is said aloud; scenarios that want one skip themselves. Returns what was compiled.
pub fn c_programs(
    job: &mut Job,
    workspace: &Workspace,
    into: &Path,
    progress: &Progress,
) -> Result<Vec<PathBuf>, LabError> {
    let sources = files(&scenario_folder(workspace), "c");
    if sources.is_empty() {
        return Ok(Vec::new());
    }
    if Command::new("gcc").arg("--version").output().is_err() {
        progress.say("no gcc on this machine: scenarios that want a C program will be skipped (apt-get install gcc libc6-dev)");
        return Ok(Vec::new());
    }
    let tree = Parts::ensure(progress)?.tree();
    let mut programs = Vec::new();
    for source in sources {
        let program = into.join(stem(&source));
        c_program(&source, &program, &tree)?;
        job.program(&format!("bin/{}", stem(&source)), &program)?;
        programs.push(program);
    }
    Ok(programs)
}

/// Compiles one of them, against the headers and libraries in the lab's `tree`.
fn c_program(source: &Path, program: &Path, tree: &Path) -> Result<(), LabError> {
    let libraries = tree.join("usr/lib/x86_64-linux-gnu");
    let text = fs::read_to_string(source).map_err(LabError::file(source))?;
    let output = Command::new("gcc")
        .args(["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-o"])
        .args([program, source])
        .arg("-isystem")
        .arg(tree.join("usr/include"))
        .arg("-L")
        .arg(&libraries)
        .arg(format!("-Wl,-rpath-link,{}", libraries.display()))
        .args(linked(&text).map(|name| format!("-l{name}")))
        .output()
        .map_err(LabError::file("gcc"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(LabError::Command {
        command: format!("gcc {}", source.display()),
        said: first_lines(&output.stderr),
        hint: "",
    })
}

/// What Linux guests of a comparison run, as far as it is in one of these folders.
pub fn compared_in(folders: &[PathBuf]) -> Vec<PathBuf> {
    let names = BENCH_PROGRAMS.into_iter().chain([LIBXENVCHAN_PROGRAM]);
    let names = names.chain(STAGE_PROGRAMS);
    let find = |name: &str| {
        let mut places = folders.iter().map(|folder| folder.join(name));
        places.find(|path| path.is_file())
    };
    names.filter_map(find).collect()
}

/// Builds what Linux guests of a comparison run: bench programs, of which one goes into the folder `into`, and stages.
pub fn compared(
    workspace: &Workspace,
    into: &Path,
    progress: &Progress,
) -> Result<Vec<PathBuf>, LabError> {
    let mut programs = bench_programs(workspace, into, progress)?;
    programs.extend(stage_programs(workspace, progress)?);
    Ok(programs)
}

/// Builds what Linux guests are measured with: the workspace's bench programs, and the same on Debian's libxenvchan, which goes
/// into the folder `into`. What cannot be built is left out, which is said aloud; its contestant fails then, and says why.
fn bench_programs(
    workspace: &Workspace,
    into: &Path,
    progress: &Progress,
) -> Result<Vec<PathBuf>, LabError> {
    progress.say("building the bench programs for Linux guests");
    let bins = BENCH_PROGRAMS.map(|name| format!("--bin={name}"));
    let arguments: Vec<&str> = std::iter::once("--package=bench")
        .chain(bins.iter().map(String::as_str))
        .collect();
    build(&arguments, workspace)?;
    let release = workspace.target.join("release");
    let mut programs = BENCH_PROGRAMS.map(|name| release.join(name)).to_vec();
    let source = scenario_folder(workspace).join(format!("{LIBXENVCHAN_PROGRAM}.c"));
    let program = into.join(LIBXENVCHAN_PROGRAM);
    let compiled = Parts::ensure(progress).and_then(|parts| match broker::find("gcc") {
        Some(_) => c_program(&source, &program, &parts.tree()),
        None => Err(LabError::MissingTool {
            program: "gcc",
            package: "gcc libc6-dev",
        }),
    });
    match compiled {
        Ok(()) => programs.push(program),
        Err(error) => progress.say(format_args!("no libxenvchan-bench: {error}")),
    }
    Ok(programs)
}

/// Builds stages as programs for Linux guests, optimised for speed as whoever compares them would: returns where they are.
fn stage_programs(workspace: &Workspace, progress: &Progress) -> Result<Vec<PathBuf>, LabError> {
    progress.say("building sensor, aggregator and gateway as programs for Linux guests");
    let packages = ["--package=sensor-aggregator", "--package=gateway"];
    let bins = STAGE_PROGRAMS.map(|name| format!("--bin={name}"));
    let arguments: Vec<&str> = packages
        .into_iter()
        .chain(bins.iter().map(String::as_str))
        .collect();
    build(&arguments, workspace)?;
    let built = STAGE_PROGRAMS.map(|name| workspace.target.join("release").join(name));
    Ok(built.into())
}

/// Adds the Linux guest, with those of these programs that it is there for.
pub fn linux_guest(
    job: &mut Job,
    mut programs: Vec<PathBuf>,
    progress: &Progress,
) -> Result<(), LabError> {
    programs.retain(|program| GUEST_PROGRAMS.contains(&stem(program).as_str()));
    linux_guest::add(job, &Parts::ensure(progress)?, &programs)
}

/// What a broker in dom0 takes beside a [`subscriber`], with the packages of Debian.
const MOSQUITTO: [(&str, &str); 3] = [
    ("mosquitto", "mosquitto"),
    ("mosquitto_passwd", "mosquitto"),
    ("mosquitto_pub", "mosquitto-clients"),
];

/// Adds the Mosquitto of this machine at `bin/`: the broker, its passwords, a publisher.
///
/// What is not installed is left out, which is said aloud; scenarios that want it skip themselves.
pub fn mosquitto(job: &mut Job, progress: &Progress) -> Result<(), LabError> {
    for (program, package) in MOSQUITTO {
        match broker::find(program) {
            Some(path) => job.program(&format!("bin/{program}"), &path)?,
            None => progress.say(format_args!(
                "no {program} on this machine: scenarios that want it will be skipped (apt-get install {package})"
            )),
        }
    }
    Ok(())
}

/// What a compiler's message begins with.
fn first_lines(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    said.lines().take(5).collect::<Vec<_>>().join("\n")
}

fn linked(source: &str) -> impl Iterator<Item = &str> {
    source
        .lines()
        .filter_map(|line| line.strip_prefix("// libraries:"))
        .flat_map(str::split_whitespace)
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == extension) && path.is_file());
    // A name that begins with a dot is a file still being written.
    paths.retain(|path| !stem(path).starts_with('.'));
    paths.sort();
    paths
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_names_its_libraries_in_a_comment() {
        let source = "// Reads a ring.\n// libraries: xenvchan xenstore\n#include <stdio.h>\n";
        assert_eq!(linked(source).collect::<Vec<_>>(), ["xenvchan", "xenstore"]);
        assert_eq!(linked("int main;").count(), 0);
    }

    #[test]
    fn files_are_sorted_and_half_written_ones_left_out() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.elf", "a.elf", ".c.elf", "a.debug"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let names: Vec<String> = files(folder.path(), "elf")
            .iter()
            .map(|path| stem(path))
            .collect();
        assert_eq!(names, ["a", "b"]);
    }
}
