//! The emulated machine: QEMU with software emulation, Xen as its kernel, dom0 as Xen's module.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::error::LabError;
use crate::progress::Progress;

/// The emulator's program.
pub const QEMU: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";
const TAIL_LINES: usize = 15;

/// Where dom0's console goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Console<'a> {
    /// Into this file; its last lines are kept for error messages.
    Log(&'a Path),
    /// To the terminal, which belongs to the guest until it powers off (Ctrl-A x ends QEMU).
    Terminal,
}

/// Room for translated code, in MiB; QEMU would take a gigabyte beside the machine's own memory.
const TRANSLATIONS: u32 = 320;

/// How an emulated machine is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardware {
    /// Its memory, in MiB.
    pub memory: u32,
    /// What dom0 gets of it.
    pub dom0_memory: u32,
    /// Its time goes by the instructions that it has carried out, two a nanosecond at most, and its CPUs take turns. What is
    /// measured there tells how much work something is, whatever else keeps the host busy; it says nothing of waits and caches.
    pub counted: bool,
}

/// QEMU's arguments. `xen.elf`, `vmlinuz` and `initrd` are names in its folder, so that no path needs quoting.
pub fn arguments(hardware: Hardware, terminal: bool) -> Vec<OsString> {
    let threads = if hardware.counted { "single" } else { "multi" };
    let accelerator = format!("tcg,thread={threads},tb-size={TRANSLATIONS}");
    let memory = hardware.memory.to_string();
    let dom0_memory = hardware.dom0_memory;
    // dom0 has the first CPU and its guests the second: otherwise an event to dom0 may take the CPU from the guest that sends it.
    // Memory is fresh from the host: clearing it again would only make all of it resident. Of the mitigations only the eager
    // switch of floating-point state stays: with the lazy one, domains see each other's SSE registers under QEMU 7.2's TCG
    // (a few in 100,000 checks of a busy dom0; none in as many with the eager one), and their heaps break.
    let xen = format!(
        "console=com1 com1=115200,8n1 dom0_mem={dom0_memory}M,max:{dom0_memory}M dom0_max_vcpus=1 dom0_vcpus_pin \
         bootscrub=0 spec-ctrl=no,eager-fpu xpti=off loglvl=warning guest_loglvl=all"
    );
    let mut words = vec![
        "-accel",
        &accelerator,
        "-smp",
        "2",
        "-m",
        &memory,
        "-no-reboot",
    ];
    if hardware.counted {
        // Idle time is real time: timers of dom0 and of guests go on as they would.
        words.extend(["-icount", "shift=1,sleep=on"]);
    }
    // SMAP, SMEP and PKU stop a PV dom0 in its first instructions; LA57 confuses Xen. AVX is new in QEMU 7.2's
    // emulation, and nothing in the lab gains by it.
    words.extend(["-cpu", "max,-smap,-smep,-pku,-la57,-avx"]);
    // Leases begin past dom0's own address, so that no guest is given it.
    words.extend(["-nic", "user,model=e1000,dhcpstart=10.0.2.32"]);
    words.extend(if terminal {
        &["-nographic", "-serial", "mon:stdio"][..]
    } else {
        &["-display", "none", "-serial", "stdio", "-monitor", "none"]
    });
    words.extend(["-kernel", "xen.elf", "-append", &xen]);
    words.extend([
        "-initrd",
        "vmlinuz console=hvc0 loglevel=4 mitigations=off,initrd",
    ]);
    words.into_iter().map(OsString::from).collect()
}

/// Makes sure that QEMU is there: installs it as root, saying so, and otherwise says how to.
pub fn ensure(progress: &Progress) -> Result<(), LabError> {
    for (program, package) in [(QEMU, PACKAGE), ("setpriv", "util-linux")] {
        if in_path(program) {
            continue;
        }
        let missing = LabError::MissingTool { program, package };
        if !rustix::process::geteuid().is_root() {
            return Err(missing);
        }
        progress.say(format_args!(
            "{program} is missing: apt-get install -y --no-install-recommends {package}"
        ));
        if !install(package, apt_get) || !in_path(program) {
            return Err(missing);
        }
    }
    Ok(())
}

/// Installs `package`, whether it worked; a machine without lists of packages, or with old ones, fetches them in between.
fn install(package: &str, apt_get: impl Fn(&[&str]) -> bool) -> bool {
    let install = || apt_get(&["install", "-y", "-qq", "--no-install-recommends", package]);
    // A source that has nothing to do with the package may fail to update.
    install() || {
        apt_get(&["update", "-qq"]);
        install()
    }
}

/// Whether `apt-get` did what its arguments say.
fn apt_get(arguments: &[&str]) -> bool {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// A running machine; it is stopped when dropped, and dies with the thread that started it.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    tail: Arc<Mutex<VecDeque<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Machine {
    /// Starts the machine whose parts lie in `folder`.
    ///
    /// Linux tells QEMU when the *thread* that starts it ends: call this from the thread that waits for the job.
    pub fn start(
        folder: &Path,
        hardware: Hardware,
        console: Console<'_>,
    ) -> Result<Self, LabError> {
        let terminal = console == Console::Terminal;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", QEMU])
            .args(arguments(hardware, terminal))
            .current_dir(folder);
        if !terminal {
            // Its own process group: Ctrl-C is for us, and we tell QEMU.
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .process_group(0);
        }
        let mut child = command.spawn().map_err(|_| LabError::MissingTool {
            program: "setpriv",
            package: "util-linux",
        })?;
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let mut readers = Vec::new();
        if let Console::Log(path) = console {
            let log = Arc::new(Mutex::new(
                File::create(path).map_err(LabError::file(path))?,
            ));
            if let Some(stdout) = child.stdout.take() {
                readers.push(follow(stdout, Arc::clone(&log), Arc::clone(&tail)));
            }
            if let Some(stderr) = child.stderr.take() {
                readers.push(follow(stderr, log, Arc::clone(&tail)));
            }
        }
        Ok(Self {
            child,
            tail,
            readers,
        })
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, LabError> {
        self.child.try_wait().map_err(LabError::file(QEMU))
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> Result<ExitStatus, LabError> {
        self.child.wait().map_err(LabError::file(QEMU))
    }

    /// Stops it at once.
    pub fn stop(&mut self) {
        // Both fail only for a process that is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            // A reader that panicked has nothing more to say.
            let _ = reader.join();
        }
    }

    /// The last lines of its console and its standard error.
    pub fn tail(&self) -> String {
        let lines = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.is_empty() {
            return "  (nothing)".to_owned();
        }
        lines
            .iter()
            .map(|line| format!("  {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
    }
}

fn follow(
    from: impl Read + Send + 'static,
    log: Arc<Mutex<File>>,
    tail: Arc<Mutex<VecDeque<String>>>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(
            reader.by_ref().take(4096).read_until(b'\n', &mut line),
            Ok(1..)
        ) {
            let text = printable(&line);
            // A log that cannot be written must not stop the machine; its tail is still kept.
            let _ = writeln!(log.lock().unwrap_or_else(PoisonError::into_inner), "{text}");
            if !text.is_empty() {
                let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
                if tail.len() == TAIL_LINES {
                    tail.pop_front();
                }
                tail.push_back(text);
            }
            line.clear();
        }
    })
}

/// A console line without line ends, colours and other control characters.
pub fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut kept = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            // A control sequence (ECMA-48): ESC [ parameters, ended by a byte from @ to ~.
            '\u{1b}' => {
                if characters.next() == Some('[') {
                    let _ = characters.by_ref().find(|c| ('@'..='~').contains(c));
                }
            }
            '\t' => kept.push(' '),
            _ if character.is_control() => {}
            _ => kept.push(character),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    fn hardware(counted: bool) -> Hardware {
        Hardware {
            memory: 1024,
            dom0_memory: 512,
            counted,
        }
    }

    #[test]
    fn counted_time_takes_one_thread() {
        let words = |counted| {
            let words = arguments(hardware(counted), false);
            words.join(std::ffi::OsStr::new(" ")).into_string().unwrap()
        };
        let counted = words(true);
        assert!(
            counted.contains("thread=single") && counted.contains("-icount"),
            "{counted}"
        );
        let plain = words(false);
        assert!(
            plain.contains("thread=multi") && !plain.contains("-icount"),
            "{plain}"
        );
    }

    #[test]
    fn the_machine_gets_the_memory_it_was_given_and_xen_keeps_dom0_to_its_share() {
        let words: Vec<String> = arguments(hardware(false), false)
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect();
        let after =
            |flag: &str| words[words.iter().position(|word| word == flag).unwrap() + 1].clone();
        assert_eq!(after("-m"), "1024");
        assert!(after("-append").contains("dom0_mem=512M,max:512M"));
        assert_eq!(after("-serial"), "stdio");
    }

    #[test]
    fn a_terminal_keeps_the_way_out_of_qemu() {
        let words: Vec<String> = arguments(hardware(false), true)
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect();
        assert!(
            words.contains(&"mon:stdio".to_owned()) && words.contains(&"-nographic".to_owned()),
            "{words:?}"
        );
        assert!(!words.contains(&"-monitor".to_owned()), "{words:?}");
    }

    #[test]
    fn a_failed_installation_is_tried_again_with_fresh_lists() {
        // apt-get knows the package once it has updated, if `there`.
        let calls = |updated: bool, there: bool| {
            let (updated, calls) = (Cell::new(updated), RefCell::new(Vec::new()));
            let installed = install("qemu-system-x86", |arguments| {
                calls.borrow_mut().push(arguments.join(" "));
                if arguments.first() == Some(&"update") {
                    updated.set(true);
                }
                arguments.first() == Some(&"install") && updated.get() && there
            });
            (installed, calls.into_inner())
        };
        let install = "install -y -qq --no-install-recommends qemu-system-x86";
        let again = vec![
            install.to_owned(),
            "update -qq".to_owned(),
            install.to_owned(),
        ];
        assert_eq!(calls(true, true), (true, vec![install.to_owned()]));
        assert_eq!(calls(false, true), (true, again.clone()));
        assert_eq!(calls(false, false), (false, again));
    }

    #[test]
    fn console_lines_lose_colours_and_line_ends() {
        assert_eq!(
            printable(b"\x1b[2J\x1b[1;31mpanic\x1b[0m\tnow\r\n"),
            "panic now"
        );
    }
}
