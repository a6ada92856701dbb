//! Kernel modules: the few that dom0 loads, what they need, and the `modules.dep` that tells modprobe.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection};

use super::error::LabError;

/// What dom0 loads at boot; each brings what it depends on.
pub const AT_BOOT: [&str; 8] = [
    "xen-evtchn",
    "xen-gntdev",
    "xen-gntalloc",
    "xenfs",
    "xen-privcmd",
    "xen-netback",
    "bridge",
    "e1000",
];

/// What a job may want beside them.
pub const AT_HAND: [&str; 3] = ["tun", "sch_netem", "xen-blkback"];

/// The modules to take along: path below the module folder → what it depends on, in modprobe's order. The `needed` ones are
/// files or built into the kernel; a `welcome` one that is no file is left out without a word.
pub fn select(
    folder: &Path,
    needed: &[&str],
    welcome: &[&str],
) -> Result<BTreeMap<String, Vec<String>>, LabError> {
    let mut files = BTreeMap::new();
    walk(folder, folder, &mut files)?;
    let mut chosen = BTreeMap::new();
    for (index, name) in needed.iter().chain(welcome).enumerate() {
        let name = name.replace('-', "_");
        if files.contains_key(&name) {
            choose(folder, &name, &files, &mut chosen)?;
        } else if index < needed.len() && !built_in(folder, &name) {
            return Err(LabError::MissingPart {
                what: format!("kernel module {name}"),
            });
        }
    }
    Ok(chosen)
}

/// The text of `modules.dep`.
pub fn dependency_file(chosen: &BTreeMap<String, Vec<String>>) -> String {
    chosen
        .iter()
        .map(|(path, needs)| format!("{path}: {}\n", needs.join(" ")))
        .collect()
}

/// Adds a module and everything it needs.
fn choose(
    folder: &Path,
    name: &str,
    files: &BTreeMap<String, String>,
    chosen: &mut BTreeMap<String, Vec<String>>,
) -> Result<String, LabError> {
    let path = files.get(name).ok_or_else(|| LabError::MissingPart {
        what: format!("kernel module {name}"),
    })?;
    if chosen.contains_key(path) {
        return Ok(path.clone());
    }
    let full = folder.join(path);
    let bytes = fs::read(&full).map_err(LabError::file(&full))?;
    let mut load = Vec::new();
    for dependency in depends(&bytes) {
        let path = choose(folder, &dependency, files, chosen)?;
        append_loading(&mut load, &path, chosen);
    }
    // modprobe loads a line from its end to its start.
    load.reverse();
    chosen.insert(path.clone(), load);
    Ok(path.clone())
}

/// Appends a module to the order of loading, after what it needs itself.
fn append_loading(load: &mut Vec<String>, path: &str, chosen: &BTreeMap<String, Vec<String>>) {
    let needs = chosen.get(path).map(Vec::as_slice).unwrap_or_default();
    for module in needs.iter().rev().map(String::as_str).chain([path]) {
        if !load.iter().any(|loaded| loaded == module) {
            load.push(module.to_owned());
        }
    }
}

/// The `depends=` line of a module's `.modinfo` section, names with underscores as the kernel spells them.
fn depends(module: &[u8]) -> Vec<String> {
    let Ok(file) = object::File::parse(module) else {
        return Vec::new();
    };
    let Some(section) = file.section_by_name(".modinfo") else {
        return Vec::new();
    };
    let info = section.data().unwrap_or_default();
    let line = info
        .split(|byte| *byte == 0)
        .find_map(|line| line.strip_prefix(b"depends="));
    let names = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
    names
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

fn built_in(folder: &Path, name: &str) -> bool {
    let list = fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
    list.lines()
        .filter_map(|line| module_name(Path::new(line)))
        .any(|found| found == name)
}

fn module_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.strip_suffix(".ko")?;
    Some(name.replace('-', "_"))
}

fn walk(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) -> Result<(), LabError> {
    for entry in fs::read_dir(folder).map_err(LabError::file(folder))? {
        let path: PathBuf = entry.map_err(LabError::file(folder))?.path();
        if path.is_dir() {
            walk(root, &path, files)?;
        } else if let (Some(name), Ok(below)) = (module_name(&path), path.strip_prefix(root)) {
            files.insert(name, below.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modprobe_reads_one_line_per_module() {
        let chosen = BTreeMap::from([
            ("kernel/net/llc.ko".to_owned(), vec![]),
            (
                "kernel/net/stp.ko".to_owned(),
                vec!["kernel/net/llc.ko".to_owned()],
            ),
        ]);
        assert_eq!(
            dependency_file(&chosen),
            "kernel/net/llc.ko: \nkernel/net/stp.ko: kernel/net/llc.ko\n"
        );
    }

    #[test]
    fn a_module_is_loaded_after_what_it_needs_whichever_was_named_first() {
        let chosen = BTreeMap::from([
            ("llc".to_owned(), vec![]),
            ("stp".to_owned(), vec!["llc".to_owned()]),
        ]);
        for order in [["llc", "stp"], ["stp", "llc"]] {
            let mut load = Vec::new();
            order
                .iter()
                .for_each(|path| append_loading(&mut load, path, &chosen));
            assert_eq!(load, ["llc", "stp"]);
        }
    }

    #[test]
    fn names_use_underscores_whatever_the_file_is_called() {
        assert_eq!(
            module_name(Path::new("a/xen-netback.ko")).as_deref(),
            Some("xen_netback")
        );
        assert_eq!(module_name(Path::new("a/modules.dep")), None);
    }

    #[test]
    fn what_is_no_module_depends_on_nothing() {
        assert!(depends(b"not an elf file").is_empty());
    }
}
