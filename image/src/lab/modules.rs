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

/// The same from the text of a kernel's own `modules.dep`, whose files may be packed (`.ko.xz`); `built_in` is the text of its
/// `modules.builtin`. The name of a module that is in neither is the error.
pub fn select_listed<'a>(
    list: &str,
    built_in: &str,
    needed: &[&'a str],
) -> Result<BTreeMap<String, Vec<String>>, &'a str> {
    let lines = || list.lines().filter_map(|line| line.split_once(':'));
    let mut chosen = BTreeMap::new();
    for wanted in needed {
        let name = wanted.replace('-', "_");
        let found = lines().find(|(path, _)| module_name(Path::new(path)).as_ref() == Some(&name));
        let mut built = built_in.lines().map(Path::new).filter_map(module_name);
        let Some((path, needs)) = found else {
            if built.any(|built| built == name) {
                continue;
            }
            return Err(wanted);
        };
        let needs: Vec<String> = needs.split_whitespace().map(str::to_owned).collect();
        for path in &needs {
            let line = lines().find(|(listed, _)| listed == path);
            let deeper = line.map_or("", |(_, needs)| needs).split_whitespace();
            chosen.insert(path.clone(), deeper.map(str::to_owned).collect());
        }
        chosen.insert(path.to_owned(), needs);
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
    let name = unpacked(path.file_name()?.to_str()?).strip_suffix(".ko")?;
    Some(name.replace('-', "_"))
}

/// The name of a module's file without what says how it is packed.
pub fn unpacked(name: &str) -> &str {
    let ends = [".xz", ".zst", ".gz"];
    let end = ends.iter().find(|end| name.ends_with(**end));
    end.and_then(|end| name.strip_suffix(end)).unwrap_or(name)
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
    fn a_kernel_s_own_list_says_what_its_modules_need() {
        let list = "kernel/a/xen-netfront.ko.xz: kernel/b/bus.ko.xz kernel/c/front.ko.xz\n\
                    kernel/b/bus.ko.xz: kernel/c/front.ko.xz\nkernel/c/front.ko.xz:\nkernel/d/other.ko.xz:\n";
        let chosen = select_listed(
            list,
            "kernel/e/xen-evtchn.ko\n",
            &["xen-netfront", "xen-evtchn"],
        );
        let chosen = chosen.unwrap();
        assert_eq!(
            chosen.keys().collect::<Vec<_>>(),
            [
                "kernel/a/xen-netfront.ko.xz",
                "kernel/b/bus.ko.xz",
                "kernel/c/front.ko.xz"
            ]
        );
        assert_eq!(chosen["kernel/b/bus.ko.xz"], ["kernel/c/front.ko.xz"]);
        assert_eq!(select_listed(list, "", &["xen-evtchn"]), Err("xen-evtchn"));
        assert_eq!(unpacked("a/b.ko.zst"), "a/b.ko");
    }

    #[test]
    fn what_is_no_module_depends_on_nothing() {
        assert!(depends(b"not an elf file").is_empty());
    }
}
