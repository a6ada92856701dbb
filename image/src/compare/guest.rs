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
            fs::write(&path, bytes).map_err(LabError::file(&path))?;
        }
        Ok(())
    }
}
