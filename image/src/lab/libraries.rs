//! Shared libraries: which ones a program needs, found in a tree of unpacked packages or on the host.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use object::elf;
use object::read::elf::{Dyn, FileHeader};

use super::error::LabError;

const INTERPRETER: &str = "ld-linux-x86-64.so.2";
const FOLDERS: [&str; 5] = [
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu",
    "lib64",
    "usr/lib64",
    "usr/lib/xen-common/lib",
];

/// The names after `DT_NEEDED` in an ELF file; `None` for a file that is not a 64-bit ELF file.
pub fn needed(file: &[u8]) -> Option<Vec<String>> {
    let header = elf::FileHeader64::<object::Endianness>::parse(file).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, file).ok()?;
    let Some((entries, link)) = sections.dynamic(endian, file).ok()? else {
        return Some(Vec::new());
    };
    let strings = sections.strings(endian, file, link).ok()?;
    let names = entries
        .iter()
        .filter(|entry| entry.d_tag(endian) == elf::DT_NEEDED);
    let names = names.filter_map(|entry| entry.string(endian, strings).ok());
    Some(
        names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect(),
    )
}

/// Where libraries are looked for: folders that look like `/`.
#[derive(Debug, Clone)]
pub struct Search {
    roots: Vec<PathBuf>,
}

impl Search {
    /// Looks into these roots in this order.
    pub fn new(roots: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            roots: roots.into_iter().collect(),
        }
    }

    /// Every library that these files need, and that those need: name → file.
    ///
    /// The program interpreter is among them where any library is.
    pub fn resolve<'a>(
        &self,
        files: impl IntoIterator<Item = &'a Path>,
    ) -> Result<BTreeMap<String, PathBuf>, LabError> {
        let mut found = BTreeMap::new();
        let mut open: Vec<PathBuf> = files.into_iter().map(Path::to_owned).collect();
        while let Some(path) = open.pop() {
            let bytes = fs::read(&path).map_err(LabError::file(&path))?;
            for name in needed(&bytes).unwrap_or_default() {
                if found.contains_key(&name) {
                    continue;
                }
                let Some(library) = self.find(&name) else {
                    let what = format!("{name}, needed by {},", path.display());
                    return Err(LabError::MissingPart { what });
                };
                open.push(library.clone());
                found.insert(name, library);
            }
        }
        if !found.is_empty() && !found.contains_key(INTERPRETER) {
            let interpreter = self
                .find(INTERPRETER)
                .ok_or_else(|| LabError::MissingPart {
                    what: INTERPRETER.to_owned(),
                })?;
            found.insert(INTERPRETER.to_owned(), interpreter);
        }
        Ok(found)
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        let candidates = self.roots.iter().flat_map(|root| {
            FOLDERS
                .iter()
                .map(move |folder| root.join(folder).join(name))
        });
        candidates.into_iter().find(|path| path.is_file())
    }
}

/// Where a library of this name stands in dom0.
pub fn place(name: &str) -> String {
    match name {
        INTERPRETER => format!("lib64/{name}"),
        _ => format!("lib/x86_64-linux-gnu/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_needs_the_c_library_and_its_interpreter() {
        let own = std::env::current_exe().unwrap();
        let found = Search::new([PathBuf::from("/")])
            .resolve([own.as_path()])
            .unwrap();
        assert!(found.contains_key("libc.so.6"), "{found:?}");
        assert_eq!(place(INTERPRETER), "lib64/ld-linux-x86-64.so.2");
        assert!(found.contains_key(INTERPRETER), "{found:?}");
    }

    #[test]
    fn a_script_needs_nothing_and_a_missing_library_is_named() {
        assert_eq!(needed(b"#!/bin/sh\necho"), None);
        let own = std::env::current_exe().unwrap();
        let error = Search::new([PathBuf::from("/nonexistent")])
            .resolve([own.as_path()])
            .unwrap_err()
            .to_string();
        assert!(error.contains(".so"), "{error}");
    }
}
