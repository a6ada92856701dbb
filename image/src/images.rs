//! The folder of finished images, and what their notes say of them.

use std::fs;
use std::path::{Path, PathBuf};

use stage::note::Description;

use crate::elf::{Image, ReadError};
use crate::pipeline::Catalogue;
use crate::workspace::Workspace;

/// Why the images are not known.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// There is no such folder, or it cannot be read.
    #[error("cannot read the images in {folder}: {source}; `grantflow images` builds them")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is none in the folder.
    #[error("there is no image in {0}; `grantflow images` builds them")]
    None(PathBuf),
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is no ELF file.
    #[error("{path} is no image")]
    NotElf {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
    /// An image does not say what it takes.
    #[error("{path}: {source}")]
    Note {
        /// The file.
        path: PathBuf,
        /// Why.
        source: stage::note::NoteError,
    },
}

/// The folder that was named, or the one beside this program, where an unpacked archive has it, or the workspace's.
pub fn folder(named: Option<&Path>) -> PathBuf {
    let beside = || {
        let program = std::env::current_exe().ok()?;
        Some(program.parent()?.join("images")).filter(|folder| folder.is_dir())
    };
    let of_workspace =
        || Workspace::here().map_or_else(|_| "target/images".into(), |here| here.images());
    named
        .map(Path::to_owned)
        .or_else(beside)
        .unwrap_or_else(of_workspace)
}

/// What each image says of itself, in the folder that was named or the one that is found without.
pub fn known(named: Option<&Path>) -> Result<Catalogue, ImagesError> {
    catalogue(&folder(named))
}

/// What each image of a folder says of itself.
pub fn catalogue(folder: &Path) -> Result<Catalogue, ImagesError> {
    let wrong = |source| ImagesError::Folder {
        folder: folder.to_owned(),
        source,
    };
    let mut images = Catalogue::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let (Some(stem), true) = (
            path.file_stem(),
            path.extension().is_some_and(|end| end == "elf"),
        ) else {
            continue;
        };
        let name = stem.to_string_lossy().into_owned();
        images.insert(name, description(&path)?);
    }
    if images.is_empty() {
        return Err(ImagesError::None(folder.to_owned()));
    }
    Ok(images)
}

/// What an image, or the program of a stage, says of itself.
pub fn description(path: &Path) -> Result<Description, ImagesError> {
    let bytes = fs::read(path).map_err(|source| ImagesError::File {
        path: path.to_owned(),
        source,
    })?;
    let image = Image::read(&bytes).map_err(|source| ImagesError::NotElf {
        path: path.to_owned(),
        source,
    })?;
    let section = image
        .section(".note.Grantflow")
        .map_or(&[][..], |section| section.data);
    stage::note::parse(section).map_err(|source| ImagesError::Note {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_images_says_how_to_build_them() {
        let folder = tempfile::tempdir().unwrap();
        for wrong in [folder.path().join("absent"), folder.path().to_owned()] {
            let error = catalogue(&wrong).unwrap_err().to_string();
            assert!(error.contains("grantflow images"), "{error}");
        }
    }

    #[test]
    fn what_is_no_image_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("sensor.elf"), "no").unwrap();
        let error = catalogue(folder.path()).unwrap_err().to_string();
        assert!(error.contains("sensor.elf is no image"), "{error}");
    }
}
