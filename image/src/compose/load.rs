//! A pipeline's file, read and checked: what every command on it begins with.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::plan::{Plan, plan};
use super::sums::{Sums, sums};
use crate::failure::Failure;
use crate::images;
use crate::pipeline::read::FILE_MAX;
use crate::pipeline::{Catalogue, Pipeline, Problem, Source, Stage, check, hosts, read};

/// Which pipeline, as every command takes it.
#[derive(clap::Args, Debug)]
pub struct FileArgs {
    /// The pipeline's file
    #[arg(value_name = "FILE.toml")]
    pub file: PathBuf,
    /// Folder of the images [default: images beside this program, or where `grantflow images` puts them]
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
}

/// A pipeline without a mistake that can be known before it is started.
#[derive(Debug)]
pub struct Loaded {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// What the images take.
    pub images: Catalogue,
    /// The folder that paths in the file begin in.
    pub folder: PathBuf,
}

impl Loaded {
    /// The part of a host; without a name all of it, if that is one host's.
    pub fn on(self, host: Option<&str>) -> Result<Self, hosts::HostError> {
        let pipeline = hosts::part(&self.pipeline, host)?;
        Ok(Self { pipeline, ..self })
    }

    /// The part of each host by its name, where there are several; otherwise all of it.
    pub fn parts(&self) -> Vec<(Option<String>, Self)> {
        let names = match hosts::hosts(&self.pipeline).as_slice() {
            [] | [_] => vec![None],
            many => many.iter().copied().map(Some).collect(),
        };
        let part = |host: Option<&str>| {
            let pipeline = hosts::part(&self.pipeline, host).ok()?;
            let part = Self {
                pipeline,
                images: self.images.clone(),
                folder: self.folder.clone(),
            };
            Some((host.map(str::to_owned), part))
        };
        names.into_iter().filter_map(part).collect()
    }
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not text.
    #[error("{0}:1:1: this is not UTF-8 text")]
    NotText(String),
    /// The file has mistakes.
    #[error("{told}")]
    Wrong {
        /// The mistakes, with lines and columns.
        mistakes: Vec<Mistake>,
        /// All of them, a line each.
        told: String,
    },
}

/// A mistake, for programs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

impl LoadError {
    /// Of these mistakes in a file.
    fn of(source: &Source<'_>, problems: &[Problem]) -> Self {
        let mut mistakes: Vec<Mistake> = problems
            .iter()
            .map(|problem| {
                let (line, column) = source.place(problem.at.start);
                let message = problem.message.clone();
                Mistake {
                    line,
                    column,
                    message,
                }
            })
            .collect();
        mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
        let told = source.tell_all(problems);
        Self::Wrong { mistakes, told }
    }
}

/// Which part of a pipeline.
#[derive(clap::Args, Debug)]
pub struct HostArgs {
    /// Which of the file's hosts this is, where it names several; as processes all run here without it
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
}

impl HostArgs {
    /// Reads and checks the file as a whole, but for recordings and passwords of other hosts, and takes the part of this one.
    pub fn load(&self, args: &FileArgs) -> Result<Loaded, Failure> {
        let images = images::known(args.images.as_deref())?;
        let host = self.host.as_deref();
        let loaded = load(&args.file, images, host).map_err(Failure::input)?;
        loaded.on(host).map_err(Failure::input)
    }
}

impl FileArgs {
    /// Reads the file and the images, and checks the one against the others.
    pub fn load(&self) -> Result<Loaded, Failure> {
        let images = images::known(self.images.as_deref())?;
        load(&self.file, images, None).map_err(Failure::input)
    }

    /// What has to be done for it.
    pub fn plan(&self, loaded: &Loaded) -> Plan {
        plan(loaded, &images::folder(self.images.as_deref()), &size)
    }

    /// What it takes, unless that fits on no host.
    pub fn sums(&self, loaded: &Loaded, plan: &Plan) -> Result<Sums, LoadError> {
        let sums = sums(plan, &size);
        let problems: Vec<Problem> = sums
            .too_much()
            .iter()
            .filter_map(|too_much| {
                let stage = loaded.pipeline.stage(too_much.stage())?;
                let stage = loaded.pipeline.stages.get(stage)?;
                let memory = stage.memory.as_ref().map(|memory| &memory.at);
                let at = memory.unwrap_or(&stage.name.at);
                Some(Problem::new(at, too_much.to_string()))
            })
            .collect();
        if problems.is_empty() {
            return Ok(sums);
        }
        let text = bytes(&self.file).unwrap_or_default();
        let source = Source {
            name: &self.file.display().to_string(),
            text: &String::from_utf8_lossy(&text),
        };
        Err(LoadError::of(&source, &problems))
    }
}

/// The size of a file, where it can be read.
pub(super) fn size(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|meta| meta.len())
}

/// Reads the file and checks it against these images. The files that it names need be there for one host alone, if that is
/// given.
pub fn load(path: &Path, images: Catalogue, host: Option<&str>) -> Result<Loaded, LoadError> {
    let name = path.display().to_string();
    let bytes = bytes(path).map_err(|source| LoadError::File {
        path: path.to_owned(),
        source,
    })?;
    let text = String::from_utf8(bytes).map_err(|_| LoadError::NotText(name.clone()))?;
    let source = Source {
        name: &name,
        text: &text,
    };
    let fallback = path.file_stem().unwrap_or_default().to_string_lossy();
    let pipeline = read(&text, &fallback).map_err(|problems| LoadError::of(&source, &problems))?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let mut problems = check(&pipeline, &images);
    problems.extend(missing_files(&pipeline, host, &folder));
    if !problems.is_empty() {
        return Err(LoadError::of(&source, &problems));
    }
    Ok(Loaded {
        pipeline,
        images,
        folder,
    })
}

/// No more of the file than [`read`] refuses for its length.
pub(super) fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(FILE_MAX)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The data and passwords that are not there.
fn missing_files(pipeline: &Pipeline, host: Option<&str>, folder: &Path) -> Vec<Problem> {
    let elsewhere = |stage: &&Stage| {
        let named = stage.host.as_ref().map(|host| host.value.as_str());
        host.is_some() && named != host
    };
    let named = pipeline
        .stages
        .iter()
        .filter(|stage| !elsewhere(stage))
        .flat_map(|stage| [&stage.data, &stage.secret])
        .chain(pipeline.broker.iter().map(|broker| &broker.secret));
    named
        .flatten()
        .filter_map(|file| {
            let path = folder.join(&file.value);
            let said = match fs::metadata(&path) {
                Ok(meta) if meta.is_file() => return None,
                Ok(_) => format!("{} is no file", path.display()),
                Err(error) => format!(
                    "cannot find {}: {error}; paths begin in the folder of this file",
                    path.display()
                ),
            };
            Some(Problem::new(&file.at, said))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::images;

    fn told(content: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.toml");
        fs::write(&path, content).unwrap();
        match load(&path, images(), None) {
            Ok(_) => String::new(),
            Err(error) => error
                .to_string()
                .replace(&format!("{}/", folder.path().display()), ""),
        }
    }

    #[test]
    fn files_that_are_not_there_are_told_where_they_are_named() {
        let text =
            "[[stage]]\nname = \"a\"\napp = \"filter\"\ndata = \"gone.csv\"\nsecret = \".\"\n";
        let told = told(text.as_bytes());
        let lines: Vec<&str> = told.lines().collect();
        assert!(
            lines[0].starts_with("p.toml:4:8: cannot find gone.csv: "),
            "{told}"
        );
        assert_eq!(lines[1], "p.toml:5:10: . is no file");
    }

    #[test]
    fn files_of_other_hosts_need_not_be_here() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.toml");
        let stage = |name, host| {
            format!("[[stage]]\nname = \"{name}\"\napp = \"filter\"\nhost = \"{host}\"\n")
        };
        let text = format!(
            "{}data = \"gone.csv\"\n{}",
            stage("x", "a"),
            stage("y", "b")
        );
        fs::write(&path, text).unwrap();
        let load = |host| load(&path, images(), host);
        assert!(load(None).is_err() && load(Some("a")).is_err());
        assert!(load(Some("b")).is_ok());
    }

    #[test]
    fn what_is_no_text_or_no_file_is_refused() {
        assert_eq!(told(b"\xff\xfe"), "p.toml:1:1: this is not UTF-8 text");
        let long = vec![b' '; FILE_MAX + 1];
        assert!(told(&long).contains("at most"));
        assert!(load(Path::new("/nowhere/p.toml"), images(), None).is_err());
        assert!(load(Path::new("/"), images(), None).is_err());
    }

    #[test]
    fn c1_ten_mebibytes_are_refused_by_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.toml");
        fs::File::create(&path).unwrap().set_len(10 << 20).unwrap();
        assert_eq!(bytes(&path).unwrap().len(), FILE_MAX + 1);
        let told = load(&path, images(), None).unwrap_err().to_string();
        assert!(told.contains("a pipeline's has 1048576 at most"), "{told}");
    }

    #[test]
    fn c6_a_stage_that_does_not_fit_into_its_memory_is_told_where_that_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let image = fs::File::create(place("filter.elf")).unwrap();
        image.set_len(200 << 10).unwrap();
        let args = FileArgs {
            file: place("p.toml"),
            images: Some(folder.path().to_owned()),
        };
        let sums = |memory: u32| {
            let text = format!(
                "[[stage]]\nname = \"a\"\napp = \"filter\"\nmemory = {memory}\n[[edge]]\nfrom = \"dom0\"\nto = \"a\"\nname = \"e\"\nring = \"1M\"\n"
            );
            fs::write(&args.file, text).unwrap();
            let loaded = load(&args.file, images(), None).unwrap();
            args.sums(&loaded, &args.plan(&loaded))
        };
        let told = sums(1).unwrap_err().to_string();
        assert!(
            told.contains(
                "p.toml:4:10: `a` has 1 MiB, and its image, data and rings alone take 1224 KiB"
            ),
            "{told}"
        );
        assert_eq!(sums(2).unwrap().stages[0].grants, 1 + 256 + 8);
    }

    #[test]
    fn mistakes_come_for_programs_too_in_the_order_of_the_file() {
        let source = Source {
            name: "p",
            text: "a\nb\n",
        };
        let problems = [
            Problem::new(&(2..3), "second"),
            Problem::new(&(0..1), "first"),
        ];
        let LoadError::Wrong { mistakes, .. } = LoadError::of(&source, &problems) else {
            panic!("not that kind")
        };
        let order: Vec<(usize, &str)> = mistakes
            .iter()
            .map(|one| (one.line, one.message.as_str()))
            .collect();
        assert_eq!(order, [(1, "first"), (2, "second")]);
    }
}
