//! `grantflow render`: what `up` would do, as files for others: `xl` configurations, libvirt domains, systemd units.
//!
//! [`files`] is pure. Nobody supervises what they start but `xl`, libvirt or systemd, so `restart =` becomes their own word for
//! it, without a back-off; a script is what tells the stages of each other.

mod libvirt;
mod peers;
mod systemd;

use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::commands::planned;
use super::load::{FileArgs, HostArgs};
use super::plan::{Plan, Planned};
use crate::failure::Failure;
use crate::output;
use crate::pipeline::Restart;
use crate::xl::{Action, Boot, ConfigError, XlConfig};

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A configuration for `xl create` each, and the script that tells the domains of each other
    Xl,
    /// A domain for `virsh define` each (driver libxl), and the same script
    Libvirt,
    /// The configurations and the script of xl, with units that start and stop them in order
    Systemd,
    /// Everything
    All,
}

/// What `grantflow render` is told.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    host: HostArgs,
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::All)]
    format: Format,
    /// The folder to write into, where the files are to stay: they name each other
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name in the folder.
    pub name: String,
    /// What it says.
    pub text: String,
    /// It is a program.
    pub executable: bool,
}

/// Does it.
pub fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let (_, plan) = planned(&args.file, &args.host)?;
    let folder = std::path::absolute(&args.out)?;
    let broken =
        |path: &Path, error: io::Error| Failure::failed(format!("{}: {error}", path.display()));
    fs::create_dir_all(&folder).map_err(|error| broken(&folder, error))?;
    let mut boots = Vec::new();
    for stage in &plan.stages {
        boots.push(boot(stage, &folder)?);
    }
    let files = files(&plan, &boots, args.format, &folder).map_err(Failure::failed)?;
    for file in &files {
        let path = folder.join(&file.name);
        fs::write(&path, &file.text).map_err(|error| broken(&path, error))?;
        let mode = if file.executable { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .map_err(|error| broken(&path, error))?;
    }
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    if json {
        output::line(json!({ "folder": folder, "files": names }))?;
    } else {
        output::line(format_args!("{}: {}", folder.display(), names.join(" ")))?;
    }
    Ok(())
}

/// What a stage is told, with its module in the folder if it takes one.
fn boot(stage: &Planned, folder: &Path) -> Result<Boot, Failure> {
    let module = folder.join(format!("{}.tar", stage.domain));
    // Passwords may be in it: nobody else may read it, from the beginning.
    let made = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&module);
    made.map_err(|error| Failure::failed(format!("{}: {error}", module.display())))?;
    let mut boot = stage.input.prepare(&module).map_err(Failure::failed)?;
    if boot.ramdisk.as_deref() != Some(module.as_path()) {
        fs::remove_file(&module)?;
    }
    boot.ramdisk = boot.ramdisk.map(std::path::absolute).transpose()?;
    Ok(boot)
}

/// The files of a plan that are to lie in `folder`; `boots` is what its stages are told.
pub fn files(
    plan: &Plan,
    boots: &[Boot],
    format: Format,
    folder: &Path,
) -> Result<Vec<File>, ConfigError> {
    let mut files = Vec::new();
    let is = |formats: &[Format]| format == Format::All || formats.contains(&format);
    for (stage, boot) in plan.stages.iter().zip(boots) {
        let config = config(stage, boot);
        // Either way what `xl` would not take is refused.
        let text = config.render()?;
        if is(&[Format::Xl, Format::Systemd]) {
            files.push(plain(xl_name(stage), text));
        }
        if is(&[Format::Libvirt]) {
            files.push(plain(
                format!("{}.xml", stage.domain),
                libvirt::domain(&config),
            ));
        }
    }
    files.push(peers::script(plan));
    if is(&[Format::Systemd]) {
        files.extend(systemd::units(plan, folder));
    }
    Ok(files)
}

fn plain(name: String, text: String) -> File {
    File {
        name,
        text,
        executable: false,
    }
}

fn xl_name(stage: &Planned) -> String {
    format!("{}.cfg", stage.domain)
}

fn config(stage: &Planned, boot: &Boot) -> XlConfig {
    let (on_poweroff, on_crash) = match stage.restart {
        // A crashed one is kept to look at.
        Restart::Never => (Action::Destroy, Action::Preserve),
        Restart::OnFailure => (Action::Destroy, Action::Restart),
        Restart::Always => (Action::Restart, Action::Restart),
    };
    XlConfig {
        kernel: std::path::absolute(&stage.image).unwrap_or_else(|_| stage.image.clone()),
        on_poweroff,
        on_crash,
        ..stage.config(boot.extra.clone(), boot.ramdisk.clone())
    }
}

#[cfg(test)]
mod tests;
