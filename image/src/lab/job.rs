//! A job: the files that dom0 finds in `/job`, and what running it may cost.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cpio::Archive;
use super::error::LabError;
use super::libraries::{self, Search};
use super::parts::Parts;

/// What dom0 is given to do. It runs `/job/run.sh` with `/job` as its folder; what that leaves in `/out` comes back.
#[derive(Debug, Clone)]
pub struct Job {
    files: Vec<JobFile>,
    programs: Vec<PathBuf>,
    /// Memory of the whole emulated machine, in MiB.
    pub memory: u32,
    /// Memory of dom0 out of that, in MiB.
    pub dom0_memory: u32,
    /// Its time goes by the instructions that it carries out; see [`Hardware`](super::qemu::Hardware).
    pub counted: bool,
    /// How long the machine may run, boot and job together.
    pub timeout: Duration,
}

#[derive(Debug, Clone)]
struct JobFile {
    place: String,
    mode: u32,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Bytes(Vec<u8>),
    Path(PathBuf),
}

impl Job {
    /// A job of one bash script; 1,024 MiB of memory, of which dom0 gets 512, and ten minutes.
    ///
    /// With QEMU's own needs that is 1.5 GB on the host.
    pub fn new(script: &str) -> Self {
        let mut job = Self {
            files: Vec::new(),
            programs: Vec::new(),
            memory: 1024,
            dom0_memory: 512,
            counted: false,
            timeout: Duration::from_secs(600),
        };
        job.bytes("run.sh", 0o755, script.as_bytes());
        job
    }

    /// The job in this folder, which has a `run.sh`.
    pub fn from_folder(folder: &Path) -> Result<Self, LabError> {
        let script = folder.join("run.sh");
        if !script.is_file() {
            let message = format!(
                "{} is missing: a job is a folder with a run.sh for dom0's bash",
                script.display()
            );
            return Err(LabError::Job(message));
        }
        let mut job = Self::new("");
        job.files.clear();
        job.folder("", folder)?;
        for file in &mut job.files {
            if file.place == "run.sh" {
                file.mode |= 0o755;
            }
        }
        Ok(job)
    }

    /// Adds a file with this content at `/job/PLACE`.
    pub fn bytes(&mut self, place: &str, mode: u32, content: &[u8]) {
        self.files.push(JobFile {
            place: place.to_owned(),
            mode,
            content: Content::Bytes(content.to_vec()),
        });
    }

    /// Adds a copy of this file at `/job/PLACE`.
    pub fn file(&mut self, place: &str, source: &Path) -> Result<(), LabError> {
        let meta = fs::metadata(source).map_err(LabError::file(source))?;
        let mode = meta.permissions().mode();
        self.files.push(JobFile {
            place: place.to_owned(),
            mode,
            content: Content::Path(source.to_owned()),
        });
        Ok(())
    }

    /// Adds a copy of a whole folder at `/job/PLACE`; links are followed.
    pub fn folder(&mut self, place: &str, source: &Path) -> Result<(), LabError> {
        for (name, entry) in entries(source)? {
            let below = if place.is_empty() {
                name
            } else {
                format!("{place}/{name}")
            };
            if entry.is_dir() {
                self.folder(&below, &entry)?;
            } else {
                self.file(&below, &entry)?;
            }
        }
        Ok(())
    }

    /// Adds a program of the host at `/job/PLACE`, with the shared libraries that dom0 lacks.
    pub fn program(&mut self, place: &str, source: &Path) -> Result<(), LabError> {
        self.file(place, source)?;
        self.programs.push(source.to_owned());
        Ok(())
    }

    /// Writes the job's part of dom0's initramfs: `/init`, `/job.env` with these lines, `/job` and libraries.
    pub(super) fn write(
        &self,
        parts: &Parts,
        environment: &str,
        out: impl Write,
    ) -> Result<(), LabError> {
        let wrong = || LabError::file("the job's archive");
        let mut archive = Archive::new(out);
        archive
            .file("init", 0o755, include_bytes!("init.sh"))
            .map_err(wrong())?;
        archive
            .file("job.env", 0o600, environment.as_bytes())
            .map_err(wrong())?;
        for file in &self.files {
            let place = format!("job/{}", file.place);
            match &file.content {
                Content::Bytes(bytes) => archive.file(&place, file.mode, bytes).map_err(wrong())?,
                Content::Path(path) => {
                    let bytes = fs::read(path).map_err(LabError::file(path))?;
                    archive.file(&place, file.mode, &bytes).map_err(wrong())?;
                }
            }
        }
        let search = Search::new([parts.tree(), PathBuf::from("/")]);
        for (name, path) in search.resolve(self.programs.iter().map(PathBuf::as_path))? {
            if !parts.libraries().contains(&name) {
                let bytes = fs::read(&path).map_err(LabError::file(&path))?;
                archive
                    .file(&libraries::place(&name), 0o755, &bytes)
                    .map_err(wrong())?;
            }
        }
        archive
            .finish()
            .and_then(|mut out| out.flush())
            .map_err(wrong())
    }

    /// Refuses memory that cannot work before anything is booted.
    pub(super) fn check(&self) -> Result<(), LabError> {
        let message = match () {
            () if self.dom0_memory < 256 => format!(
                "{} MiB for dom0 is too little; 256 is the least",
                self.dom0_memory
            ),
            // Xen's own heap and its tables for the machine's frames.
            () if self.memory < self.dom0_memory + 160 => format!(
                "{} MiB of memory leave nothing for guests: dom0 takes {}, Xen 160",
                self.memory, self.dom0_memory
            ),
            () => return Ok(()),
        };
        Err(LabError::Job(message))
    }
}

/// `SECONDS`, for command lines.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: u64 = text
        .parse()
        .map_err(|_| format!("{text} is not a whole number of seconds"))?;
    Ok(Duration::from_secs(seconds))
}

/// A one-time word that nobody on this machine can guess.
pub(super) fn token() -> Result<String, LabError> {
    let read = || -> io::Result<[u8; 16]> {
        let mut bytes = [0; 16];
        io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(LabError::file("/dev/urandom"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Names and paths of what a folder holds, in order, so that archives of the same things are the same.
pub(super) fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, LabError> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(LabError::file(folder))?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    let named = |path: PathBuf| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        Some((name, path))
    };
    Ok(paths.into_iter().filter_map(named).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_script_is_no_job() {
        let folder = tempfile::tempdir().unwrap();
        let error = Job::from_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("run.sh"), "{error}");
    }

    #[test]
    fn the_script_becomes_executable_and_folders_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("run.sh"), "true\n").unwrap();
        fs::create_dir(folder.path().join("images")).unwrap();
        fs::write(folder.path().join("images/a.elf"), "x").unwrap();
        let job = Job::from_folder(folder.path()).unwrap();
        let places: Vec<&str> = job.files.iter().map(|file| file.place.as_str()).collect();
        assert_eq!(places, ["images/a.elf", "run.sh"]);
        assert_eq!(job.files[1].mode & 0o111, 0o111);
        assert_eq!(job.files[0].mode & 0o111, 0);
    }

    #[test]
    fn memory_that_leaves_no_room_for_guests_is_refused() {
        let mut job = Job::new("true");
        assert!(job.check().is_ok());
        job.memory = 600;
        assert!(job.check().unwrap_err().to_string().contains("600 MiB"));
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let (one, two) = (token().unwrap(), token().unwrap());
        assert_eq!(one.len(), 32);
        assert_ne!(one, two);
    }
}
