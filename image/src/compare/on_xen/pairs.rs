//! Two guests of a kind, and messages between them.
//!
//! Unikernels are created for each run and end with it. Linux guests are booted once, and are idle while others run.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::cpu::CpuTime;
use super::site::{LinuxGuest, Site, Trouble};
use super::trace::Trace;
use super::xentrace::Tracing;
use crate::compare::catalogue::Contestant;
use crate::compare::guest;
use crate::compare::ways::{Setting, Way};
use crate::xl::DomId;

/// What a Linux guest of a pair has, in MiB.
pub const LINUX_MEMORY: u32 = 192;

/// How long the other end of a run that failed may take to notice.
const SOON: Duration = Duration::from_secs(3);

/// How often a pair of Linux guests that does not come up is booted before it is given up.
const BOOTS: u32 = 3;

/// A channel's rings, each way, for all that use vchan: the longest that libxenvchan makes, which hold the longest message.
const RING: u64 = 1 << 20;

/// Where a server of TCP or UDP listens.
const PORT: u16 = 5001;

/// Runs of the pair that streams beside another one: longer than any run.
const STREAM: Load = Load {
    echo: false,
    size: 64 << 10,
    count: 1 << 20,
    warm_up: 0,
    check: false,
    traced: false,
};

/// What goes through a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Each message is sent back.
    pub echo: bool,
    /// Bytes in a message.
    pub size: u64,
    /// Messages that are measured.
    pub count: u64,
    /// Messages before them.
    pub warm_up: u64,
    /// Every byte that comes is compared with what was sent.
    pub check: bool,
    /// Xen traces hypercalls meanwhile.
    pub traced: bool,
}

impl Load {
    /// As all bench programs take it.
    fn words(&self) -> String {
        let mode = if self.echo { "echo" } else { "sink" };
        let mut words = format!("mode={mode} size={} count={}", self.size, self.count);
        if self.warm_up > 0 {
            words += &format!(" warm-up={}", self.warm_up);
        }
        if self.check {
            words += " check=on";
        }
        words
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Ran {
    /// What the end that waited says.
    pub server: Answer,
    /// What the end that began says.
    pub client: Answer,
    /// CPU time from before the first message until both had answered.
    pub cpu: CpuTime,
    /// Both guests: the server, the client.
    pub guests: [DomId; 2],
    /// What Xen has traced in that time, and in how many seconds, where it was to.
    pub traced: Option<(Trace, f64)>,
}

/// What is looked at from before the first message until both ends have answered.
struct Meter {
    guests: [DomId; 2],
    before: CpuTime,
    tracing: Option<Tracing>,
}

impl Meter {
    fn begin(site: &Site<'_>, guests: [DomId; 2], load: &Load) -> Result<Self, Trouble> {
        let tracing = load.traced.then(|| Tracing::begin(site)).transpose()?;
        Ok(Self {
            guests,
            before: CpuTime::now(site, &guests)?,
            tracing,
        })
    }

    fn end(self, site: &Site<'_>, server: Answer, client: Answer) -> Result<Ran, Trouble> {
        Ok(Ran {
            server,
            client,
            cpu: CpuTime::now(site, &self.guests)?.since(self.before),
            guests: self.guests,
            traced: self.tracing.map(Tracing::end).transpose()?,
        })
    }
}

/// Which of the two pairs of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// The one that is measured.
    Measured,
    /// The one that streams beside it.
    Beside,
}

impl Which {
    fn names(self) -> [&'static str; 2] {
        match self {
            Self::Measured => ["server", "client"],
            Self::Beside => ["load-server", "load-client"],
        }
    }

    fn linux_names(self) -> [&'static str; 2] {
        match self {
            Self::Measured => ["linux-server", "linux-client"],
            Self::Beside => ["linux-load-server", "linux-load-client"],
        }
    }

    /// The last parts of addresses on the site's bridge: server and client of unikernels, then of Linux guests.
    fn addresses(self) -> [String; 4] {
        let first = match self {
            Self::Measured => 10,
            Self::Beside => 20,
        };
        [0, 1, 2, 3].map(|number| format!("10.98.76.{}", first + number))
    }
}

/// Two Linux guests that take orders.
#[derive(Debug)]
struct LinuxPair {
    server: LinuxGuest,
    client: LinuxGuest,
    programs: BTreeSet<String>,
}

/// The pairs of a run.
#[derive(Debug, Default)]
pub struct Pairs {
    linux: Option<LinuxPair>,
    linux_beside: Option<LinuxPair>,
    boots: u32,
    given_up: Option<String>,
}

/// The program of a Linux guest that moves messages this way.
fn program(way: Way) -> &'static str {
    match way.contestant {
        Contestant::LinuxLibxenvchan => "libxenvchan-bench",
        Contestant::LinuxTcp => "tcp-bench",
        Contestant::LinuxUdp => "udp-bench",
        _ => "vchan-bench",
    }
}

const PROGRAMS: [&str; 5] = [
    "vchan-bench",
    "libxenvchan-bench",
    "tcp-bench",
    "udp-bench",
    ETHTOOL,
];

/// Switches segmentation offload of an interface.
const ETHTOOL: &str = "ethtool";

/// Has an interface take segments of up to 64 KiB at once, or one by one, and then goes on. A connection goes by what its interface
/// takes when it is made.
fn switch_gso(on: bool) -> String {
    let word = if on { "on" } else { "off" };
    format!("{ETHTOOL} -K eth0 tso {word} gso {word} && ")
}

/// MiB of a unikernel.
pub fn unikernel_memory(way: Way) -> u32 {
    if way.is_vchan() { 12 } else { 8 }
}

impl Pairs {
    /// Sends a load one way or there and back.
    pub fn run(&mut self, site: &mut Site<'_>, way: Way, load: &Load) -> Result<Ran, Trouble> {
        let ran = match way.is_linux() {
            true => self.linux(site, way, load),
            false => unikernels(site, Which::Measured, way, load),
        }?;
        for (answer, who) in [(&ran.server, "server"), (&ran.client, "client")] {
            if (answer.size, answer.count) != (load.size, load.count) {
                return Err(Trouble::Failed(format!(
                    "the {who} did other work than it was given: {} messages of {} bytes",
                    answer.count, answer.size
                )));
            }
            if load.check && answer.checked == Some(false) {
                return Err(Trouble::Failed(format!(
                    "the {who} did not look at what came"
                )));
            }
        }
        Ok(ran)
    }

    /// The same while a second pair of the same kind streams.
    pub fn run_loaded(
        &mut self,
        site: &mut Site<'_>,
        way: Way,
        load: &Load,
    ) -> Result<Ran, Trouble> {
        let stream = Load {
            size: STREAM.size.min(way.longest()),
            ..STREAM
        };
        if way.is_linux() {
            self.begin_linux_stream(site, way, &stream)?;
            let ran = self.run(site, way, load);
            let ended = self.end_linux_stream(site, way);
            return ran.and_then(|ran| ended.map(|()| ran));
        }
        let ran = begin_unikernels(site, Which::Beside, way, &stream)
            .and_then(|begun| begun.go(site))
            .and_then(|()| self.run(site, way, load));
        for name in Which::Beside.names() {
            site.destroy(name)?;
        }
        ran
    }

    /// Ends the Linux guests: what comes needs their memory. They are booted again when they are needed.
    pub fn clear(&mut self, site: &Site<'_>) -> Result<(), Trouble> {
        self.linux = None;
        self.linux_beside = None;
        for which in [Which::Measured, Which::Beside] {
            for name in which.linux_names() {
                site.destroy(name)?;
            }
        }
        Ok(())
    }

    fn linux(&mut self, site: &mut Site<'_>, way: Way, load: &Load) -> Result<Ran, Trouble> {
        let pair = self.booted(site)?;
        let ran = pair.run(site, way, load);
        // One of the two may wait for the other for long.
        if matches!(ran, Err(Trouble::Failed(_))) && !pair.is_idle(site)? {
            self.clear(site)?;
        }
        ran
    }

    /// The pair that is measured.
    fn booted(&mut self, site: &mut Site<'_>) -> Result<&mut LinuxPair, Trouble> {
        if let Some(reason) = &self.given_up {
            return Err(Trouble::Failed(reason.clone()));
        }
        if self.linux.is_none() {
            self.boots += 1;
            match LinuxPair::boot(site, Which::Measured) {
                Ok(pair) => {
                    self.boots = 0;
                    self.linux = Some(pair);
                }
                Err(Trouble::Failed(reason)) => {
                    self.clear(site)?;
                    if self.boots >= BOOTS {
                        self.given_up = Some(reason.clone());
                    }
                    return Err(Trouble::Failed(reason));
                }
                Err(stopped) => return Err(stopped),
            }
        }
        let none = || Trouble::new("there is no pair of Linux guests");
        self.linux.as_mut().ok_or_else(none)
    }

    fn begin_linux_stream(
        &mut self,
        site: &mut Site<'_>,
        way: Way,
        stream: &Load,
    ) -> Result<(), Trouble> {
        if self.linux_beside.is_none() {
            self.linux_beside = Some(LinuxPair::boot(site, Which::Beside)?);
        }
        let Some(pair) = &mut self.linux_beside else {
            return Ok(());
        };
        pair.can(way)?;
        let [server, client] = pair.commands(way, stream);
        for (guest, command) in [(&mut pair.server, server), (&mut pair.client, client)] {
            site.order(guest, &format!("({command}) >/dev/null 2>&1 & true"))?;
            site.obeyed(guest, site.patience)?;
        }
        Ok(())
    }

    fn end_linux_stream(&mut self, site: &Site<'_>, way: Way) -> Result<(), Trouble> {
        let Some(pair) = &mut self.linux_beside else {
            return Ok(());
        };
        // None is left of a client that failed, and then it streamed nothing. Without it a server may end before it is told to.
        let kill = format!("killall {}", program(way));
        site.order(&mut pair.client, &kill)?;
        site.obeyed(&pair.client, site.patience)
            .map_err(|trouble| trouble.of("the pair beside did not stream"))?;
        site.order(&mut pair.server, &format!("{kill} 2>&1 || true"))?;
        site.obeyed(&pair.server, site.patience)?;
        Ok(())
    }
}

impl LinuxPair {
    fn boot(site: &mut Site<'_>, which: Which) -> Result<Self, Trouble> {
        let [_, _, at_server, at_client] = which.addresses();
        let [server, client] = which.linux_names();
        let [server_cpu, client_cpu] = [site.cpu_of(0), site.cpu_of(1)];
        let mut server = site.boot_linux(server, LINUX_MEMORY, &at_server, server_cpu)?;
        let mut client = site.boot_linux(client, LINUX_MEMORY, &at_client, client_cpu)?;
        for guest in [&mut server, &mut client] {
            site.ready(guest)?;
        }
        let names = PROGRAMS.join(" ");
        site.order(
            &mut server,
            &format!(
                "for p in {names}; do command -v $p >/dev/null && printf '%s ' $p; done; echo"
            ),
        )?;
        let said = site.obeyed(&server, site.patience)?;
        Ok(Self {
            server,
            client,
            programs: said.split_whitespace().map(str::to_owned).collect(),
        })
    }

    /// Whether it has what this way takes.
    fn can(&self, way: Way) -> Result<(), Trouble> {
        let has = |program: &str| self.programs.contains(program);
        let missing = match way.setting {
            _ if !has(program(way)) => program(way),
            Setting::Tcp { .. } if !has(ETHTOOL) => ETHTOOL,
            _ => return Ok(()),
        };
        Err(Trouble::Failed(format!(
            "the Linux guest has no program {missing}: it was made without"
        )))
    }

    /// Whether both have done what they were told, soon, so that they can be told something else.
    fn is_idle(&self, site: &Site<'_>) -> Result<bool, Trouble> {
        let end = Instant::now() + site.patience.min(SOON);
        loop {
            if site.is_idle(&self.server)? && site.is_idle(&self.client)? {
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
            thread::sleep(SOON / 50);
        }
    }

    fn run(&mut self, site: &Site<'_>, way: Way, load: &Load) -> Result<Ran, Trouble> {
        self.can(way)?;
        let [server, client] = self.commands(way, load);
        let guests = [self.server.id, self.client.id];
        let meter = Meter::begin(site, guests, load)?;
        site.order(&mut self.server, &server)?;
        site.order(&mut self.client, &client)?;
        let mut said = [None, None];
        let waiting = || format!("{way} did not end");
        let [server, client] = site.until(site.patience, waiting, || {
            for (guest, said) in [&self.server, &self.client].into_iter().zip(&mut said) {
                if said.is_none() {
                    *said = site.has_obeyed(guest)?;
                }
            }
            Ok(match &said {
                [Some(server), Some(client)] => Some([server.clone(), client.clone()]),
                _ => None,
            })
        })?;
        let read = |text: &str| {
            let none = || Trouble::Failed(format!("{way} gave no figures but: {text}"));
            Answer::read(text).ok_or_else(none)
        };
        meter.end(site, read(&server)?, read(&client)?)
    }

    /// What the server and the client are told.
    fn commands(&self, way: Way, load: &Load) -> [String; 2] {
        let (program, words) = (program(way), load.words());
        let (server, client) = (self.server.id, self.client.id);
        if way.is_vchan() {
            let api = way.setting.word();
            return [
                format!(
                    "{program} role=server peer={client} path=data/vchan/{client}/bench {words} api={api} ring={RING}"
                ),
                format!(
                    "{program} role=client peer={server} path=/local/domain/{server}/data/vchan/{client}/bench {words} api={api}"
                ),
            ];
        }
        let (before, after) = match way.setting {
            Setting::Tcp { nodelay, gso } => (
                switch_gso(gso),
                format!(" nodelay={}", if nodelay { "on" } else { "off" }),
            ),
            _ => (String::new(), String::new()),
        };
        [
            format!("{before}{program} role=server addr=0.0.0.0:{PORT} {words}{after}"),
            format!(
                "{before}{program} role=client addr={}:{PORT} {words}{after}",
                self.server.address
            ),
        ]
    }
}

/// A pair of unikernels before its first message.
struct Begun {
    way: Way,
    which: Which,
    guests: [DomId; 2],
}

impl Begun {
    /// The first message may go.
    fn go(&self, site: &Site<'_>) -> Result<(), Trouble> {
        let [server, client] = self.guests;
        if self.way.is_vchan() {
            site.introduce(server, EDGE, client)?;
            site.introduce(client, EDGE, server)
        } else {
            site.unpause(client)
        }
    }
}

/// The name of the channel of `vchan-bench`.
const EDGE: &str = "vchan-bench";

fn unikernels(site: &mut Site<'_>, which: Which, way: Way, load: &Load) -> Result<Ran, Trouble> {
    let ran = begin_unikernels(site, which, way, load).and_then(|begun| {
        let meter = Meter::begin(site, begun.guests, load)?;
        begun.go(site)?;
        let [server, client] = begun.which.names();
        let client = site.heard(client, site.patience, Answer::read)?;
        let server = site.heard(server, site.patience, Answer::read)?;
        meter.end(site, server, client)
    });
    for name in which.names() {
        site.destroy(name)?;
    }
    ran
}

/// Creates both, so far that a word or an `unpause` has them begin.
fn begin_unikernels(
    site: &mut Site<'_>,
    which: Which,
    way: Way,
    load: &Load,
) -> Result<Begun, Trouble> {
    let memory = unikernel_memory(way);
    let words = load.words();
    let [server, client] = which.names();
    if way.is_vchan() {
        let api = way.setting.word();
        let line = format!("role=server {words} api={api} ring={RING}");
        let mut config = site.unikernel(server, "vchan-bench", memory, &line)?;
        config.cpus = site.cpu_of(0);
        let server = site.create(config)?;
        let line = format!("role=client {words} api={api}");
        let mut config = site.unikernel(client, "vchan-bench", memory, &line)?;
        config.cpus = site.cpu_of(1);
        let client = site.create(config)?;
        return Ok(Begun {
            way,
            which,
            guests: [server, client],
        });
    }
    let [at_server, at_client, ..] = which.addresses();
    let bridge = site.bridge()?;
    let line = format!("role=server addr=0.0.0.0:{PORT} {words} ip={at_server}/24");
    let mut config = site.unikernel(server, "tcp-bench", memory, &line)?;
    config.bridge = Some(bridge.to_owned());
    config.cpus = site.cpu_of(0);
    let server_id = site.create(config)?;
    let line = format!("role=client addr={at_server}:{PORT} {words} ip={at_client}/24");
    let mut config = site.unikernel(client, "tcp-bench", memory, &line)?;
    config.bridge = Some(bridge.to_owned());
    config.cpus = site.cpu_of(1);
    let client_id = site.create_paused(config)?;
    site.heard(server, site.patience, |line| {
        line.contains("listening on port").then_some(())
    })?;
    Ok(Begun {
        way,
        which,
        guests: [server_id, client_id],
    })
}

/// How a contestant is set up, for readers.
pub fn setup(site: &Site<'_>, contestant: Contestant) -> String {
    let placement = site.placement();
    let rings = "rings of 1 MiB each way";
    let linux = || {
        let recipe = std::fs::read_to_string(site.kit.linux.join(guest::SETUP)).unwrap_or_default();
        let recipe = recipe.trim();
        let recipe = if recipe.is_empty() {
            "made by hand, no word on how"
        } else {
            recipe
        };
        format!(
            "Linux guest: {recipe}; command line `{}`; {LINUX_MEMORY} MiB; {placement}; \
             booted once and idle while others run",
            super::site::LINUX_COMMAND_LINE
        )
    };
    match contestant {
        Contestant::UnikernelVchan => {
            format!("image vchan-bench, 12 MiB; {rings}; {placement}; created for each run")
        }
        Contestant::UnikernelTcp => format!(
            "image tcp-bench, smoltcp over netfront, 8 MiB; buffers of 256 KiB; on a bridge of its own in dom0; \
             {placement}; created for each run"
        ),
        Contestant::LinuxVchan => {
            format!("program vchan-bench on vchan-linux; {rings}\n{}", linux())
        }
        Contestant::LinuxLibxenvchan => format!(
            "program libxenvchan-bench on Debian's libxenvchan, blocking calls; {rings}\n{}",
            linux()
        ),
        Contestant::LinuxTcp => format!(
            "program tcp-bench, the kernel's TCP over netfront, netback and a bridge of its own in dom0; \
             no-gso: `ethtool -K eth0 tso off gso off` in both\n{}",
            linux()
        ),
        Contestant::LinuxUdp => format!(
            "program udp-bench, the kernel's UDP over netfront, netback and a bridge of its own in dom0\n{}",
            linux()
        ),
        _ => String::new(),
    }
}
