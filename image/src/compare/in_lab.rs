//! A comparison in the lab: the same program, run in the dom0 of a Xen that is booted for it. What it tells comes out live, so
//! that an end that comes too early costs nothing that was measured before.

use std::path::Path;
use std::time::Duration;

use super::guest;
use super::results::{Event, Scope};
use crate::failure::Failure;
use crate::lab::linux_guest::Guest;
use crate::lab::parts::Parts;
use crate::lab::{self, Job, Stream, fixtures};
use crate::output;
use crate::progress::Progress;
use crate::workspace::Workspace;

/// What the lab's machine gets beside its steps.
const BESIDE: Duration = Duration::from_secs(300);

/// What a step may take on a slow machine.
const STEP: Duration = Duration::from_secs(30);

/// Memory of the machine, in MiB: dom0, Xen, two Linux guests and unikernels, or four where pairs stream beside others.
const QUICK_MEMORY: u32 = 1_280;
const MEMORY: u32 = 1_792;

/// What the emulated machine is called in the results.
pub fn emulator() -> Option<String> {
    let output = std::process::Command::new(lab::qemu::QEMU)
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text
        .split_whitespace()
        .skip_while(|word| *word != "version");
    let version = words.nth(1)?;
    Some(format!("QEMU {version} (TCG)"))
}

/// Runs it; `listener` hears what it tells. An error says why it ended early.
pub fn run(
    scope: &Scope,
    images: &Path,
    steps: usize,
    progress: &Progress,
    listener: &mut dyn FnMut(Event),
) -> Result<(), Failure> {
    let scratch = tempfile::Builder::new()
        .prefix("grantflow-compare-")
        .tempdir()?;
    let mut job = Job::new(&script(scope));
    job.memory = if scope.quick { QUICK_MEMORY } else { MEMORY };
    job.timeout = BESIDE + STEP * u32::try_from(steps).unwrap_or(u32::MAX);
    furnish(&mut job, images, scratch.path(), progress).map_err(Failure::failed)?;
    let mut reader = Reader::default();
    let results = scratch.path().join("results");
    let outcome = lab::run(
        &job,
        &results,
        progress,
        &mut |stream, bytes| match stream {
            Stream::Stdout => reader.take(bytes, listener),
            Stream::Stderr => lab::pass_on(stream, bytes),
        },
    )
    .map_err(Failure::failed)?;
    match outcome.status {
        0 => Ok(()),
        status => Err(Failure::failed(format!(
            "the comparison in the lab ended with status {status}; see above"
        ))),
    }
}

/// This program, the images, and the Linux guest.
fn furnish(
    job: &mut Job,
    images: &Path,
    scratch: &Path,
    progress: &Progress,
) -> Result<(), lab::LabError> {
    let own = std::env::current_exe().map_err(lab::LabError::file("/proc/self/exe"))?;
    job.program("grantflow", &own)?;
    for (name, path) in fixtures::images_in(images)? {
        job.file(&format!("images/{name}.elf"), &path)?;
    }
    let parts = Parts::ensure(progress)?;
    let workspace = Workspace::here().map_err(|error| lab::LabError::Job(error.to_string()))?;
    let programs = fixtures::compared(&workspace, scratch, progress)?;
    fixtures::mosquitto(job, progress)?;
    fixtures::subscriber(job)?;
    let setup = format!(
        "Debian's kernel {}, an initramfs of busybox and the programs alone, no disk; mitigations=off as in dom0, \
         console hvc0, quiet",
        parts.kernel_release()
    );
    let made = guest::make(&Guest::of_parts(&parts)?, &programs, &setup)?;
    for left_out in made.left_out {
        progress.say(left_out);
    }
    for (name, bytes) in made.files {
        job.bytes(&format!("linux-guest/{name}"), 0o644, &bytes);
    }
    Ok(())
}

fn script(scope: &Scope) -> String {
    let mut words = format!("--rounds {}", scope.rounds);
    if scope.quick {
        words += " --quick";
    }
    if !scope.only.is_empty() {
        // Words of the catalogue: letters, digits and dashes.
        words += &format!(" --only {}", scope.only.join(","));
    }
    format!(
        "#!/bin/bash
# The lab keeps guests off dom0's CPU; the comparison places them itself.
sed -i '/^vm.cpumask/d' /etc/xen/xl.conf
export PATH=/job/bin:$PATH
exec ./grantflow compare --target xen --events --images images --linux-guest linux-guest {words}
"
    )
}

/// Lines of events out of pieces.
#[derive(Debug, Default)]
struct Reader {
    partial: Vec<u8>,
}

impl Reader {
    /// Takes what came; what is no event is shown to the person who waits.
    fn take(&mut self, bytes: &[u8], listener: &mut dyn FnMut(Event)) {
        self.partial.extend(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(event) => listener(event),
                Err(_) => output::tell(lab::qemu::printable(&line)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_out_of_pieces_and_whatever_else_is_printed() {
        let mut reader = Reader::default();
        let mut heard = Vec::new();
        for piece in [
            &b"{\"warning\":\"a"[..],
            b" word\"}\nnoise\n\"comp",
            b"lete\"\n{\"warning\":",
        ] {
            reader.take(piece, &mut |event| heard.push(event));
        }
        assert_eq!(heard, [Event::Warning("a word".into()), Event::Complete]);
    }

    #[test]
    fn the_script_hands_the_scope_on() {
        let scope = |quick, only: &[&str]| Scope {
            quick,
            only: only.iter().map(|&word| word.to_owned()).collect(),
            rounds: 4,
        };
        let all = script(&scope(false, &[]));
        assert!(
            all.contains("--rounds 4\n") && !all.contains("--only"),
            "{all}"
        );
        let some = script(&scope(true, &["linux-tcp", "throughput"]));
        assert!(
            some.contains("--quick --only linux-tcp,throughput"),
            "{some}"
        );
    }
}
