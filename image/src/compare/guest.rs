//! What a comparison boots as Linux guests: the files of a folder, made of what is at hand.

use std::fs;
use std::path::{Path, PathBuf};

use crate::lab::linux_guest::Guest;
use crate::lab::{LabError, least_guest};

/// The kernel of both.
pub const KERNEL: &str = "vmlinuz";

/// The root of the guest that has all programs and takes orders.
pub const INITRAMFS: &str = "initramfs";

/// The root of the guest that has one sensor and nothing else.
pub const SENSOR_INITRAMFS: &str = "sensor-initramfs";

/// A few words on how they were made, for readers of a report.
pub const SETUP: &str = "setup";

/// The program that [`SENSOR_INITRAMFS`] is made for.
const SENSOR: &str = "sensor";

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// Name in the folder → content.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// Programs that are not in it, each with the reason in one line.
    pub left_out: Vec<String>,
}

/// Makes them of this guest, with those of these programs of the host that find their libraries.
pub fn make(guest: &Guest, programs: &[PathBuf], setup: &str) -> Result<Made, LabError> {
    let mut kept = Vec::new();
    let mut left_out = Vec::new();
    for program in programs {
        match guest.libraries(&[program]) {
            Ok(_) => kept.push(program.clone()),
            Err(error) => {
                let name = program.file_name().unwrap_or_default().to_string_lossy();
                left_out.push(format!("the Linux guest has no {name}: {error}"));
            }
        }
    }
    let kernel = guest.kernel();
    let mut files = vec![
        (KERNEL, fs::read(kernel).map_err(LabError::file(kernel))?),
        (INITRAMFS, guest.initramfs(&kept)?),
        (SETUP, setup.as_bytes().to_vec()),
    ];
    let sensor = kept.iter().find(|program| program.ends_with(SENSOR));
    if let Some(sensor) = sensor {
        files.push((SENSOR_INITRAMFS, least_guest::initramfs(guest, sensor)?));
    }
    Ok(Made { files, left_out })
}

impl Made {
    /// Writes them into a folder.
    pub fn write(&self, folder: &Path) -> Result<(), LabError> {
        for (name, bytes) in &self.files {
            let path = folder.join(name);
            fs::write(&path, bytes).map_err(|error| {
                // A part of it would boot, and fail for no reason that anybody sees.
                let _ = fs::remove_file(&path);
                LabError::file(&path)(error)
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    /// A machine on which all is installed, and no library.
    fn machine(root: &Path) -> Guest {
        let put = |path: &str, content: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        for path in ["boot/vmlinuz-6.1", "bin/busybox", "usr/bin/xenstore"] {
            put(path, "no ELF file");
        }
        put("sbin/ethtool", "no ELF file");
        let names = ["netfront", "evtchn", "gntalloc", "gntdev", "privcmd"];
        let built_in = names.map(|name| format!("kernel/xen-{name}.ko\n"));
        put("lib/modules/6.1/modules.builtin", &built_in.concat());
        put("lib/modules/6.1/modules.dep", "");
        Guest::of_machine(root, "6.1").unwrap()
    }

    #[test]
    fn what_lacks_its_libraries_is_left_out_and_named_and_the_rest_is_made() {
        let root = tempfile::tempdir().unwrap();
        let guest = machine(root.path());
        let sensor = root.path().join("sensor");
        fs::write(&sensor, "linked with nothing").unwrap();
        let own = std::env::current_exe().unwrap();
        let made = make(&guest, &[own, sensor.clone()], "by a test").unwrap();
        let folder = tempfile::tempdir().unwrap();
        made.write(folder.path()).unwrap();
        let file = |name: &str| fs::read(folder.path().join(name)).unwrap();
        assert_eq!(file(KERNEL), b"no ELF file");
        assert_eq!(file(SETUP), b"by a test");
        let all = file(INITRAMFS);
        let has = |part: &[u8]| all.windows(part.len()).any(|window| window == part);
        assert!(has(b"bin/sensor\0") && has(b"linked with nothing"));
        // Packed.
        assert_eq!(file(SENSOR_INITRAMFS)[..2], [0x1F, 0x8B]);
        assert_eq!(made.left_out.len(), 1);
        let said = &made.left_out[0];
        assert!(
            said.starts_with("the Linux guest has no grantflow"),
            "{said}"
        );
        assert!(said.contains("needed by"), "{said}");
        // On a full disk, nothing is left that would boot in part.
        let full = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", full.path().join(INITRAMFS)).unwrap();
        let said = Failure::failed(made.write(full.path()).unwrap_err()).to_string();
        assert!(said.contains("No space left on device"), "{said}");
        assert!(full.path().join(INITRAMFS).symlink_metadata().is_err());
        // Without the program, there is no guest for it.
        let made = make(&guest, &[], "").unwrap();
        assert!(made.files.iter().all(|(name, _)| *name != SENSOR_INITRAMFS));
    }
}
