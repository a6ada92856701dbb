//! `grantflow lab shell`: a prompt in dom0, with the images and a configuration for each at hand.

use std::io::IsTerminal;

use super::error::LabError;
use super::job::Job;
use super::parts::Parts;
use super::qemu::{self, Console, Hardware, Machine};
use super::scratch::Scratch;
use super::{fixtures, run, signals};
use crate::progress::Progress;
use crate::workspace::Workspace;

/// Boots the lab and gives the terminal to dom0 until its shell ends.
pub fn shell(
    workspace: &Workspace,
    memory: u32,
    dom0_memory: u32,
    progress: &Progress,
) -> Result<(), LabError> {
    let mut job = Job::new("true\n");
    job.memory = memory;
    job.dom0_memory = dom0_memory;
    job.check()?;
    let interrupted = signals::watch()?;
    qemu::ensure(progress)?;
    let parts = Parts::ensure(progress)?;
    // A lab without images is still a Xen to look around in.
    let images = fixtures::images(&mut job, workspace).unwrap_or_default();
    fixtures::examples(&mut job, workspace)?;
    fixtures::data(&mut job, workspace)?;
    job.bytes("welcome", 0o644, welcome(&images).as_bytes());

    let folder = Scratch::new()?;
    run::assemble(&job, &parts, &environment(), folder.path())?;
    progress.say("booting Xen and dom0; the shell's end, or Ctrl-A x, ends the lab");
    let mut machine = Machine::start(
        folder.path(),
        Hardware {
            memory,
            dom0_memory,
            counted: false,
        },
        Console::Terminal,
    )?;
    loop {
        if machine.ended()?.is_some() {
            return Ok(());
        }
        if signals::came(&interrupted) {
            return Err(LabError::Interrupted);
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// The size of the terminal, which a serial line cannot tell dom0.
fn environment() -> String {
    let size = std::io::stdin()
        .is_terminal()
        .then(|| rustix::termios::tcgetwinsize(std::io::stdin()).ok())
        .flatten();
    // A terminal that does not know its own size says 0.
    let size = size
        .map(|size| (size.ws_row, size.ws_col))
        .filter(|(rows, columns)| *rows > 0 && *columns > 0);
    let (rows, columns) = size.unwrap_or((24, 80));
    format!("MODE=shell\nROWS={rows}\nCOLUMNS={columns}\n")
}

fn welcome(images: &[String]) -> String {
    let images = match images {
        [] => "none; build them with `grantflow images`".to_owned(),
        _ => images.join(", "),
    };
    format!(
        "\n  This is dom0 of a real Xen.\n  \
         /job/images                    {images}\n  \
         xl list                        the domains\n  \
         xl create -c examples/X.cfg    boot one with its console (Ctrl-] leaves it)\n  \
         xenstore-ls                    what they say about themselves\n  \
         exit                           power off\n\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_welcome_names_the_images_and_fits_a_screen() {
        let text = welcome(&["sensor".into(), "aggregator".into()]);
        assert!(text.contains("sensor, aggregator"));
        assert!(text.lines().all(|line| line.len() < 80), "{text}");
        assert!(welcome(&[]).contains("grantflow images"));
    }
}
