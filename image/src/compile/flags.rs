//! The compiler's flags for an image.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What an image is compiled for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Optimize {
    /// Little memory: what a host runs out of.
    #[default]
    Size,
    /// Many messages a second, in half as much memory again.
    Speed,
}

impl Optimize {
    /// The profile in the workspace's `Cargo.toml`.
    pub(super) fn profile(self) -> &'static str {
        match self {
            Self::Size => "image",
            Self::Speed => "image-speed",
        }
    }
}

/// What makes an image small, each with what it saves.
const SMALL: [&str; 7] = [
    // Chosen by size. What the default threshold inlines costs an image some 2 KB.
    "llvm-args=-inline-threshold=12",
    // A function with a large frame keeps it, even with one caller: in a larger one yet, most of what either holds is beyond
    // the reach of an 8-bit offset: 0.6 to 1.1 KB.
    "llvm-args=-inline-max-stacksize=448",
    // Once more, after all else: what has become the same is one function: 0.6 to 0.7 KB.
    "passes=mergefunc",
    // Sequences that occur more than once become functions: 1 to 2 KB. It leaves alone what uses a red zone.
    "llvm-args=-enable-machine-outliner=always",
    // Loads that are only sometimes redundant are not made so by copies of code: 4 KB.
    "llvm-args=-enable-load-pre=false",
    // Constants are not kept in registers around loops, where the registers are then saved and restored: 1 KB.
    "llvm-args=-disable-machine-licm",
    "llvm-args=-disable-lsr",
];

/// What makes an image of a program: no libc, no start files, no red zone, fixed addresses.
pub(super) fn rust_flags(root: &Path, optimize: Optimize) -> Vec<String> {
    let script = root.join("unikernel/link.ld");
    let mut flags: Vec<String> = ["--cfg", "xen_guest"].map(str::to_owned).to_vec();
    flags.extend(
        registry_sources().map(|folder| format!("--remap-path-prefix={}=", folder.display())),
    );
    let code = [
        "relocation-model=static",
        "no-redzone=yes",
        "force-frame-pointers=no",
        "target-cpu=x86-64-v2",
        "linker-flavor=ld.lld",
        "linker=rust-lld",
        "relro-level=off",
        "jump-tables=no",
    ];
    flags.extend(code.map(|option| format!("-C{option}")));
    match optimize {
        Optimize::Size => flags.extend(SMALL.map(|option| format!("-C{option}"))),
        Optimize::Speed => flags.extend(["--cfg", "for_speed"].map(str::to_owned)),
    }
    flags.push(format!("-Clink-arg=-T{}", script.display()));
    let link = [
        "--build-id=none",
        "-znorelro",
        "-zmax-page-size=4096",
        "--no-eh-frame-hdr",
        "-static",
        "--orphan-handling=error",
        "--gc-sections",
        "--icf=all",
        // Segments follow each other in the file without padding: the domain builder copies them, it does not map the file.
        "--nmagic",
    ];
    flags.extend(link.map(|option| format!("-Clink-arg={option}")));
    flags
}

/// Where cargo keeps the sources of dependencies. Panic messages name files there, and an image should not tell, nor depend on,
/// whose machine it was built on.
fn registry_sources() -> impl Iterator<Item = PathBuf> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    home.and_then(|home| fs::read_dir(home.join("registry/src")).ok())
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
}
