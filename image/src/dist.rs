//! `grantflow dist`: everything that a dom0 without Rust needs, in one archive.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::compile::{self, CompileError};
use crate::failure::Failure;
use crate::lab::fixtures;
use crate::output;
use crate::progress::{Bytes, Progress};
use crate::workspace::Workspace;

/// The folder in the archive.
const NAME: &str = concat!("grantflow-", env!("CARGO_PKG_VERSION"));

/// What `sha256sum -c` reads.
const SUMS: &str = "SHA256SUMS";

/// What `grantflow dist` is told.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The archive to write [default: dist/grantflow-VERSION.tar.gz in the target folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub enum DistError {
    /// A file is missing or cannot be written.
    #[error("{path}: {source}{hint}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// The workspace declares images that it does not have.
    #[error(transparent)]
    Images(#[from] CompileError),
}

/// One file of the archive.
struct Entry {
    place: String,
    mode: u32,
    content: Vec<u8>,
}

/// Packs the archive and says where it is.
pub fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let workspace = Workspace::here()?;
    let progress = Progress::new();
    let scratch = tempfile::tempdir()?;
    let programs =
        fixtures::compared(&workspace, scratch.path(), &progress).map_err(Failure::failed)?;
    let archive = archive(&workspace, &programs).map_err(Failure::failed)?;
    let path = args.out.clone().unwrap_or_else(|| {
        let file = format!("{NAME}.tar.gz");
        workspace.target.join("dist").join(file)
    });
    write(&path, &archive).map_err(Failure::failed)?;
    if json {
        output::line(json!({ "archive": path, "bytes": archive.len() }))?;
    } else {
        let size = Bytes(archive.len() as u64);
        output::line(format_args!("{} ({size})", path.display()))?;
    }
    Ok(())
}

/// The archive, packed; `programs` are those of Linux guests that a comparison boots.
pub fn archive(workspace: &Workspace, programs: &[PathBuf]) -> Result<Vec<u8>, DistError> {
    pack(NAME, &collect(workspace, programs)?).map_err(file("the archive", ""))
}

/// The program that runs, the images, programs for Linux, and the files that go along, in the order of their places.
fn collect(workspace: &Workspace, programs: &[PathBuf]) -> Result<Vec<Entry>, DistError> {
    let program = std::env::current_exe().map_err(file("grantflow", ""))?;
    let mut entries = vec![read(&program, "grantflow", 0o755, "")?];
    for source in compile::declared(&workspace.packages)? {
        if source.is_for_tests {
            continue;
        }
        let image = format!("{}.elf", source.name);
        let hint = "; build the images first: grantflow images";
        let path = workspace.images().join(&image);
        entries.push(read(&path, &format!("images/{image}"), 0o644, hint)?);
    }
    for program in programs {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        entries.push(read(program, &format!("bin/{name}"), 0o755, "")?);
    }
    let folders = [("data", "data"), ("image/examples", "examples")];
    for (folder, place) in folders {
        for path in files(&workspace.root.join(folder))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            entries.push(read(&path, &format!("{place}/{name}"), 0o644, "")?);
        }
    }
    for name in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        entries.push(read(&workspace.root.join(name), name, 0o644, "")?);
    }
    entries.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(entries)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, DistError> {
    let entries = fs::read_dir(folder).map_err(file(folder, ""))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths: Result<Vec<PathBuf>, _> = paths.collect();
    let mut paths = paths.map_err(file(folder, ""))?;
    paths.retain(|path| path.is_file());
    Ok(paths)
}

fn read(path: &Path, place: &str, mode: u32, hint: &'static str) -> Result<Entry, DistError> {
    Ok(Entry {
        place: place.to_owned(),
        mode,
        content: fs::read(path).map_err(file(path, hint))?,
    })
}

fn file(path: impl Into<PathBuf>, hint: &'static str) -> impl FnOnce(std::io::Error) -> DistError {
    let path = path.into();
    move |source| DistError::File { path, source, hint }
}

/// The same files make the same archive: no times, no owners.
fn pack(name: &str, entries: &[Entry]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    let sums = Entry {
        place: SUMS.to_owned(),
        mode: 0o644,
        content: checksums(entries).into_bytes(),
    };
    for entry in entries.iter().chain([&sums]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(entry.content.len() as u64);
        header.set_mode(entry.mode);
        header.set_mtime(0);
        let place = format!("{name}/{}", entry.place);
        archive.append_data(&mut header, place, entry.content.as_slice())?;
    }
    archive.into_inner()?.finish()
}

fn checksums(entries: &[Entry]) -> String {
    let line = |entry: &Entry| {
        let digest: String = Sha256::digest(&entry.content)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{digest}  {}\n", entry.place)
    };
    entries.iter().map(line).collect()
}

/// Writes beside and renames, so that nobody ever unpacks half an archive.
fn write(path: &Path, content: &[u8]) -> Result<(), DistError> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(file(folder, ""))?;
    let mut beside = tempfile::NamedTempFile::new_in(folder).map_err(file(folder, ""))?;
    beside
        .write_all(content)
        .map_err(file(path, "; make room for it"))?;
    beside
        .persist(path)
        .map_err(|error| file(path, "")(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn entry(place: &str, mode: u32, content: &[u8]) -> Entry {
        Entry {
            place: place.to_owned(),
            mode,
            content: content.to_vec(),
        }
    }

    #[test]
    fn the_archive_has_each_file_with_its_mode_and_its_sum() {
        let entries = [
            entry("grantflow", 0o755, b"program"),
            entry("images/a.elf", 0o644, b""),
        ];
        let packed = pack("x-1", &entries).unwrap();
        assert_eq!(packed, pack("x-1", &entries).unwrap());
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
        let found: Vec<(String, u32, String)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let place = entry.path().unwrap().display().to_string();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                (place, entry.header().mode().unwrap(), text)
            })
            .collect();
        // The second sum is that of no bytes (FIPS 180-4).
        let sums = "\
1310ca2c8932dbd118668bd97442558a3e1f546b5e15c69699dfbd6024f548d8  grantflow
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  images/a.elf
";
        assert_eq!(
            found,
            [
                ("x-1/grantflow".into(), 0o755, "program".into()),
                ("x-1/images/a.elf".into(), 0o644, String::new()),
                ("x-1/SHA256SUMS".into(), 0o644, sums.into()),
            ]
        );
    }

    #[test]
    fn an_image_that_is_missing_says_how_to_build_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.elf");
        let hint = "; build the images first: grantflow images";
        let error = read(&path, "images/a.elf", 0o644, hint).err().unwrap();
        assert!(error.to_string().ends_with(hint), "{error}");
    }
}
