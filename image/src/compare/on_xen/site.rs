//! Where a comparison runs: a dom0, what guests are made of, and what stands and falls with the run.
//!
//! Everything that is made here is gone when the [`Site`] is dropped, also after a stop by a signal.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::bridge::Bridge;
pub use super::trouble::Trouble;
use crate::compare::catalogue::Contestant;
use crate::compare::guest;
use crate::compare::results::{About, Event, Failed, Sample, Subject};
use crate::lab::signals;
use crate::xl::{
    DomId, Domain, DomainGuard, Tools, Uuid, XenStore, Xl, XlConfig, console, uuid::Mark,
};

/// What domains of a comparison are called begins so.
pub const PREFIX: &str = "gf-compare-";

/// And their identities begin so: who has only the name is somebody else's.
pub const MARK: Mark = *b"gf-cmp";

/// How long what takes a second or two on a quiet machine may take.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How often to look whether something has come about; each look costs dom0 a part of a millisecond.
pub const LOOK: Duration = Duration::from_millis(50);

/// How often to look whether the domain that is waited for still lives.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// What a contestant is set up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Messages between two guests.
    Pair,
    /// The life of one guest.
    Life,
}

/// What guests are made of.
#[derive(Debug, Clone)]
pub struct Kit {
    /// The folder of the unikernels' images.
    pub images: PathBuf,
    /// The folder of the Linux guest: `vmlinuz`, `initramfs`, and in `setup` a few words on how both were made.
    pub linux: PathBuf,
    /// A folder for files of the run, which its owner removes.
    pub scratch: PathBuf,
    /// The CPUs of Xen, of which the first is dom0's and the others are the guests'.
    pub cpus: u32,
    /// Xen's tracer, where there is one.
    pub xentrace: Option<PathBuf>,
}

/// A Linux guest that takes orders.
#[derive(Debug)]
pub struct LinuxGuest {
    /// Its name, without [`PREFIX`].
    pub name: String,
    /// Its number.
    pub id: DomId,
    /// Its address on the site's bridge.
    pub address: String,
    orders: u32,
}

/// A dom0 at work.
pub struct Site<'t> {
    tools: &'t dyn Tools,
    stop: &'t AtomicBool,
    guard: DomainGuard<&'t dyn Tools>,
    claimed: BTreeSet<String>,
    bridge: Option<Bridge<'t>>,
    cleanup: &'t dyn Tools,
    folder: TempDir,
    /// Set-ups that were told, part by part.
    told: BTreeMap<Contestant, BTreeMap<Part, String>>,
    failures: BTreeSet<(Subject, u32)>,
    looked_after: Cell<Instant>,
    listener: &'t mut dyn FnMut(Event),
    /// What guests are made of.
    pub kit: Kit,
    /// How long to wait for what takes seconds; shorter in tests.
    pub patience: Duration,
}

impl fmt::Debug for Site<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("kit", &self.kit)
            .finish_non_exhaustive()
    }
}

impl<'t> Site<'t> {
    /// A site that has nothing yet. `cleanup` must work after a stop was asked for; `listener` hears every event.
    pub fn new(
        (tools, cleanup): (&'t dyn Tools, &'t dyn Tools),
        stop: &'t AtomicBool,
        kit: Kit,
        listener: &'t mut dyn FnMut(Event),
    ) -> io::Result<Self> {
        Ok(Self {
            tools,
            stop,
            guard: DomainGuard::new(cleanup),
            claimed: BTreeSet::new(),
            bridge: None,
            cleanup,
            folder: tempfile::Builder::new()
                .prefix("site-")
                .tempdir_in(&kit.scratch)?,
            told: BTreeMap::new(),
            failures: BTreeSet::new(),
            looked_after: Cell::new(Instant::now()),
            listener,
            kit,
            patience: PATIENCE,
        })
    }

    /// What is called on in dom0.
    pub fn tools(&self) -> &'t dyn Tools {
        self.tools
    }

    /// `xl`.
    pub fn xl(&self) -> Xl<'_, &'t dyn Tools> {
        Xl::new(&self.tools)
    }

    /// xenstore.
    pub fn store(&self) -> XenStore<'_, &'t dyn Tools> {
        XenStore::new(&self.tools)
    }

    /// A folder for files that are gone at the end.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file of this name in the folder of images; how to build it, if it is not there.
    pub fn image(&self, name: &str) -> Result<PathBuf, Trouble> {
        let path = self.kit.images.join(format!("{name}.elf"));
        if path.is_file() {
            return Ok(path);
        }
        Err(Trouble::Failed(format!(
            "there is no image {}: `grantflow images` builds it",
            path.display()
        )))
    }

    /// The CPUs for guests, as `cpus =` takes them: the same for all, whatever runs in them.
    pub fn cpus(&self) -> Option<String> {
        match self.kit.cpus {
            // There is only one, dom0's too.
            0 | 1 => None,
            2 => Some("1".to_owned()),
            many => Some(format!("1-{}", many - 1)),
        }
    }

    /// The CPU of one of a pair's guests, 0 or 1, the same whatever runs in them: dom0 has the first CPU, and each of the two the next
    /// one, beginning anew where there are no more.
    pub fn cpu_of(&self, end: u32) -> Option<String> {
        match self.kit.cpus {
            0 | 1 => None,
            cpus => Some(((1 + end) % cpus).to_string()),
        }
    }

    /// The same in words, for set-ups.
    pub fn placement(&self) -> String {
        match (self.cpu_of(0), self.cpu_of(1)) {
            (Some(server), Some(client)) => format!(
                "one vCPU, the server's on CPU {server} of {}, the client's on CPU {client}",
                self.kit.cpus
            ),
            _ => "one vCPU, on the machine's only CPU".to_owned(),
        }
    }

    // ---- What is told.

    /// Tells whoever makes the report.
    pub fn tell(&mut self, event: Event) {
        (self.listener)(event);
    }

    /// Tells a figure.
    pub fn sample(&mut self, subject: Subject, round: u32, value: f64) {
        self.tell(Event::Sample(Sample {
            subject,
            round,
            value,
        }));
    }

    /// Tells that there is no figure, and why; once of each.
    pub fn failed(&mut self, subject: Subject, round: u32, reason: &str) {
        if !self.failures.insert((subject.clone(), round)) {
            return;
        }
        let reason = one_line(reason);
        self.tell(Event::Failed(Failed {
            subject,
            round,
            reason,
        }));
    }

    /// Tells what makes figures doubtful.
    pub fn warn(&mut self, what: impl fmt::Display) {
        self.tell(Event::Warning(what.to_string()));
    }

    /// Tells how a contestant is set up for this part of the comparison, the first time, beside what was told of other parts.
    pub fn about(&mut self, id: Contestant, part: Part, setup: impl FnOnce(&Self) -> String) {
        let told = self.told.get(&id);
        if told.is_some_and(|parts| parts.contains_key(&part)) {
            return;
        }
        let setup = setup(self);
        let parts = self.told.entry(id).or_default();
        parts.insert(part, setup);
        let setup = joined(parts.values());
        self.tell(Event::About(About {
            id,
            name: id.name().to_owned(),
            setup,
        }));
    }

    // ---- Waiting.

    /// An error if the user has asked to stop.
    pub fn go_on(&self) -> Result<(), Trouble> {
        match signals::came(self.stop) {
            true => Err(Trouble::Stopped),
            false => Ok(()),
        }
    }

    /// Looks again and again until there is something, for `patience` at most; `what` says what did not come about.
    pub fn until<V>(
        &self,
        patience: Duration,
        what: impl Fn() -> String,
        mut look: impl FnMut() -> Result<Option<V>, Trouble>,
    ) -> Result<V, Trouble> {
        let end = Instant::now() + patience;
        loop {
            self.go_on()?;
            if let Some(found) = look()? {
                return Ok(found);
            }
            if Instant::now() >= end {
                let seconds = patience.as_secs();
                return Err(Trouble::Failed(format!("{} within {seconds} s", what())));
            }
            thread::sleep(LOOK);
        }
    }

    // ---- Domains.

    /// `PREFIX` and the name, as `xl list` shows it.
    pub fn full_name(name: &str) -> String {
        format!("{PREFIX}{name}")
    }

    /// A unikernel of this image, for [`create`](Self::create): it stays, to look at, when it has ended.
    pub fn unikernel(
        &self,
        name: &str,
        image: &str,
        memory_mib: u32,
        extra: &str,
    ) -> Result<XlConfig, Trouble> {
        let mut config = XlConfig::new(Self::full_name(name), self.image(image)?, memory_mib);
        config.extra = extra.to_owned();
        Ok(config)
    }

    /// `xl create`: returns when the domain is built and running. `cpus` is the site's unless the configuration has another.
    /// A domain of the same name has to be [destroyed](Self::destroy) before.
    pub fn create(&mut self, config: XlConfig) -> Result<DomId, Trouble> {
        let (path, name) = self.configure(config)?;
        self.start(&path)?;
        self.id(&name)
    }

    /// `xl create` of what [`configure`](Self::configure) wrote, and nothing beside it.
    pub fn start(&self, path: &Path) -> Result<(), Trouble> {
        let created = self.xl().create(path);
        created.map_err(|error| self.misplaced(error.into()))
    }

    /// The same, but the domain waits for [`unpause`](Self::unpause) before its first instruction.
    pub fn create_paused(&mut self, config: XlConfig) -> Result<DomId, Trouble> {
        let (path, name) = self.configure(config)?;
        let text = path.to_string_lossy();
        let created = self.tools.run("xl", &["create", "-q", "-e", "-p", &text]);
        created.map_err(|error| self.misplaced(error.into()))?;
        self.id(&name)
    }

    /// What to do where `xl` is told by its own file to keep guests off the CPUs that they have here.
    fn misplaced(&self, trouble: Trouble) -> Trouble {
        match trouble {
            // As xl says it (apply_global_affinity_masks, tools/xl/xl_vcpu.c).
            Trouble::Failed(reason) if reason.contains("hard affinity map is empty") => {
                Trouble::Failed(format!(
                    "{reason}: xl.conf's vm.cpumask or vm.pv.cpumask leaves guests none of the CPUs that compare places \
                     them on ({}); widen or remove it for the comparison",
                    self.guests_cpus()
                ))
            }
            other => other,
        }
    }

    /// All CPUs on which a guest of a comparison is placed.
    fn guests_cpus(&self) -> String {
        match (self.cpus(), self.cpu_of(0), self.cpu_of(1)) {
            // Of two CPUs, one of a pair's guests has dom0's.
            (Some(_), Some(server), Some(client)) if self.kit.cpus == 2 => {
                format!("{server} and {client}")
            }
            (Some(cpus), ..) => cpus,
            _ => "0".to_owned(),
        }
    }

    /// Lets a paused domain go.
    pub fn unpause(&self, id: DomId) -> Result<(), Trouble> {
        self.tools.run("xl", &["unpause", &id.to_string()])?;
        Ok(())
    }

    /// Writes the configuration, with a name that is under guard and memory that is there; returns its path and the name.
    pub fn configure(&mut self, mut config: XlConfig) -> Result<(PathBuf, String), Trouble> {
        self.go_on()?;
        if !self.claimed.contains(&config.name) {
            self.guard.claim([config.name.as_str()])?;
            self.claimed.insert(config.name.clone());
        }
        let free = self.xl().info()?.free_mib;
        if free < u64::from(config.memory_mib) {
            let memory = config.memory_mib;
            return Err(Trouble::Failed(format!(
                "no memory for {}: it takes {memory} MiB, and {free} MiB are free; end other domains, or give dom0 less",
                config.name
            )));
        }
        if config.uuid.is_none() {
            config.uuid = Some(Uuid::marked(MARK).map_err(Trouble::new)?);
        }
        if config.cpus.is_none() {
            config.cpus = self.cpus();
        }
        let path = self.folder().join(format!("{}.cfg", config.name));
        let write = || fs::write(&path, config.render()?).map_err(Trouble::file(&path));
        write()?;
        // What an earlier domain of this name has said is not this one's.
        let _ = fs::remove_file(console::path(&config.name));
        Ok((path, config.name))
    }

    fn id(&self, name: &str) -> Result<DomId, Trouble> {
        let found = self.xl().find(name)?;
        let gone = || Trouble::Failed(format!("{name} is gone as soon as it was created"));
        found.map(|domain| domain.id).ok_or_else(gone)
    }

    /// The domain of this name (without [`PREFIX`]), if there is one.
    pub fn domain(&self, name: &str) -> Result<Option<Domain>, Trouble> {
        Ok(self.xl().find(&Self::full_name(name))?)
    }

    /// Ends the domain of this name at once; none is fine too.
    pub fn destroy(&self, name: &str) -> Result<(), Trouble> {
        if let Some(domain) = self.domain(name)? {
            self.xl().destroy(domain.id)?;
        }
        Ok(())
    }

    /// Names a peer to a unikernel that waits for dom0's word: `edge` of domain `of` leads to `peer`.
    pub fn introduce(&self, of: DomId, edge: &str, peer: DomId) -> Result<(), Trouble> {
        let path = format!("/local/domain/{of}/grantflow/peer/{edge}");
        Ok(self.store().write(&path, &format!("{peer} 1"))?)
    }

    /// Waits until the domain of this name prints a line that `wanted` takes for an answer. A line of an error, a crash, and the
    /// end of the domain without an answer are failures that tell what it said last.
    pub fn heard<V>(
        &self,
        name: &str,
        patience: Duration,
        wanted: impl Fn(&str) -> Option<V>,
    ) -> Result<V, Trouble> {
        let full = Self::full_name(name);
        let mut looked_after = Instant::now();
        let mut ended = false;
        let silent = || format!("{full} did not answer{}", self.last_words(name));
        self.until(patience, silent, || {
            let text = fs::read(console::path(&full)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            // The last line may be half of one, but of a domain that says no more.
            let whole = match text.rfind('\n') {
                Some(end) if !ended => &text[..end],
                None if !ended => "",
                _ => &text,
            };
            for line in whole.lines() {
                let line = line.trim_end();
                if let Some(answer) = wanted(line) {
                    return Ok(Some(answer));
                }
                if let Some(error) = error_line(line) {
                    return Err(Trouble::Failed(format!("{full}: {error}")));
                }
            }
            if ended {
                let last = self.last_words(name);
                return Err(Trouble::Failed(format!(
                    "{full} ended without an answer{last}"
                )));
            }
            if looked_after.elapsed() >= LOOK_AFTER {
                looked_after = Instant::now();
                ended = self
                    .domain(name)?
                    .is_none_or(|domain| domain.ended.is_some());
            }
            Ok(None)
        })
    }

    /// What a domain said last, to end a message with: `: "..."`, or where consoles are kept.
    pub fn last_words(&self, name: &str) -> String {
        let full = Self::full_name(name);
        match console::tail(&full).last() {
            Some(line) => format!(", and said last: {line}"),
            None if console::path(&full).exists() => ", and printed nothing".to_owned(),
            None => {
                ", and no console of it is kept: xenconsoled has to run with --log=guest (Debian: \
                 XENCONSOLED_TRACE=guest in /etc/default/xen)"
                    .to_owned()
            }
        }
    }

    // ---- The network.

    /// The bridge of this run, made when it is first needed: nothing else is on it.
    pub fn bridge(&mut self) -> Result<&'static str, Trouble> {
        if self.bridge.is_none() {
            self.bridge = Some(Bridge::new(self.tools, self.cleanup)?);
        }
        Ok(super::bridge::NAME)
    }

    // ---- Linux guests.

    /// A Linux guest, for [`create`](Self::create); with an address it is on the site's bridge.
    pub fn linux_config(
        &mut self,
        name: &str,
        memory_mib: u32,
        address: &str,
    ) -> Result<XlConfig, Trouble> {
        let part = |file: &str| {
            let path = self.kit.linux.join(file);
            path.is_file().then_some(path).ok_or_else(|| {
                Trouble::Failed(format!(
                    "there is no Linux guest in {}: it takes vmlinuz and initramfs there",
                    self.kit.linux.display()
                ))
            })
        };
        let (kernel, initramfs) = (part(guest::KERNEL)?, part(guest::INITRAMFS)?);
        let mut config = XlConfig::new(Self::full_name(name), kernel, memory_mib);
        config.ramdisk = Some(initramfs);
        config.extra = LINUX_COMMAND_LINE.to_owned();
        if !address.is_empty() {
            config.extra += &format!(" address={address}/24");
            config.bridge = Some(self.bridge()?.to_owned());
        }
        Ok(config)
    }

    /// Boots a Linux guest, on these CPUs if not on the site's; it takes orders once [`ready`](Self::ready) has returned.
    pub fn boot_linux(
        &mut self,
        name: &str,
        memory_mib: u32,
        address: &str,
        cpus: Option<String>,
    ) -> Result<LinuxGuest, Trouble> {
        let mut config = self.linux_config(name, memory_mib, address)?;
        config.cpus = cpus;
        let id = self.create(config)?;
        Ok(LinuxGuest {
            name: name.to_owned(),
            id,
            address: address.to_owned(),
            orders: 0,
        })
    }

    /// Waits until a Linux guest that was booted takes orders.
    pub fn ready(&self, guest: &mut LinuxGuest) -> Result<(), Trouble> {
        self.order(guest, "true")?;
        let obeyed = self.obeyed(guest, self.patience).map(drop);
        obeyed.map_err(|trouble| trouble.of("the Linux guest did not boot"))
    }

    /// Tells a Linux guest what to do next: a command line of its shell, of at most one line.
    pub fn order(&self, guest: &mut LinuxGuest, command: &str) -> Result<(), Trouble> {
        guest.orders += 1;
        let path = format!("/local/domain/{}/data/run", guest.id);
        let order = format!("{} {command}", guest.orders);
        Ok(self.store().write(&path, &order)?)
    }

    /// Waits until a Linux guest has carried out its last order; returns the last line that this printed. A command that failed,
    /// a guest that ended and one that takes too long are failures.
    pub fn obeyed(&self, guest: &LinuxGuest, patience: Duration) -> Result<String, Trouble> {
        let name = &guest.name;
        let silent = || {
            let full = Self::full_name(name);
            format!("{full} did not do its work{}", self.last_words(name))
        };
        self.until(patience, silent, || self.has_obeyed(guest))
    }

    /// Whether it has carried out its last order, well or not.
    pub fn is_idle(&self, guest: &LinuxGuest) -> Result<bool, Trouble> {
        Ok(self.status(guest)?.is_some())
    }

    /// With which status the last order has ended, if it has.
    fn status(&self, guest: &LinuxGuest) -> Result<Option<String>, Trouble> {
        let path = format!("/local/domain/{}/data/ran", guest.id);
        let ran = self.store().read(&path)?.unwrap_or_default();
        let status = ran
            .split_once(' ')
            .filter(|(order, _)| *order == guest.orders.to_string());
        Ok(status.map(|(_, status)| status.to_owned()))
    }

    /// The same without waiting: `None` while it is at work.
    pub fn has_obeyed(&self, guest: &LinuxGuest) -> Result<Option<String>, Trouble> {
        let full = Self::full_name(&guest.name);
        let Some(status) = self.status(guest)? else {
            if self.has_ended(guest)? {
                let last = self.last_words(&guest.name);
                return Err(Trouble::Failed(format!("{full} has ended{last}")));
            }
            return Ok(None);
        };
        let path = format!("/local/domain/{}/data/said", guest.id);
        let said = self.store().read(&path)?.unwrap_or_default();
        match status.as_str() {
            "0" => Ok(Some(said)),
            status => Err(Trouble::Failed(format!(
                "it ended with {status} in {full}: {said}"
            ))),
        }
    }

    /// Whether a domain is gone or has ended; looked at now and then only, since it costs dom0 more than a look into xenstore.
    fn has_ended(&self, guest: &LinuxGuest) -> Result<bool, Trouble> {
        if self.looked_after.get().elapsed() < LOOK_AFTER {
            return Ok(false);
        }
        self.looked_after.set(Instant::now());
        let domain = self.domain(&guest.name)?;
        Ok(domain.is_none_or(|domain| domain.ended.is_some()))
    }
}

/// How Linux guests are booted, beside their address. With Xen's own clock source a look at the clock may be a system call, which is
/// no part of the work that is compared.
pub const LINUX_COMMAND_LINE: &str =
    "console=hvc0 quiet mitigations=off clocksource=tsc tsc=reliable";

/// What a unikernel's last line says after `error:`, `panic:` and the like.
fn error_line(line: &str) -> Option<&str> {
    let words = ["error: ", "panic", "fault", "abort"];
    // After the time and the level, where it has them.
    let text = line.rsplit_once("] ").map_or(line, |(_, text)| text);
    words
        .iter()
        .any(|word| text.starts_with(word))
        .then_some(text)
}

/// The lines of all parts, each once.
fn joined<'p>(parts: impl Iterator<Item = &'p String>) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in parts.flat_map(|part| part.lines()) {
        if !line.is_empty() && !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// What a guest says is data: one line without control characters, and not a long one.
fn one_line(text: &str) -> String {
    const MOST: usize = 400;
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    clean.trim().chars().take(MOST).collect()
}
