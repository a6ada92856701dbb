//! The calls of `xl`, and what `xl list` says.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use vchan_linux::xen::{DomainInfo, PhysInfo};

use super::crash::Crash;
use super::store::{StoreError, XenStore};
use super::tools::{ToolError, Tools};
use super::uuid::Uuid;

/// A domain's number; 0 is dom0 (`domid_t`, xen.h).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct DomId(pub u16);

impl fmt::Display for DomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a domain ended (`SHUTDOWN_*`, sched.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ShutdownReason {
    /// It finished: 0.
    Poweroff,
    /// It wants to be started again: 1.
    Reboot,
    /// It was saved: 2.
    Suspend,
    /// It failed: 3.
    Crash,
    /// A reason this tool gives no name.
    Other(u8),
}

impl ShutdownReason {
    /// Whether the domain ended because its work was done.
    pub fn is_orderly(self) -> bool {
        self == Self::Poweroff
    }

    fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Poweroff,
            1 => Self::Reboot,
            2 => Self::Suspend,
            3 => Self::Crash,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for ShutdownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poweroff => f.write_str("poweroff"),
            Self::Reboot => f.write_str("reboot"),
            Self::Suspend => f.write_str("suspend"),
            Self::Crash => f.write_str("crash"),
            Self::Other(code) => write!(f, "reason {code}"),
        }
    }
}

/// A domain, as Xen or `xl list -v` tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Its name; none at all where nobody gave it one, or it is no text.
    pub name: String,
    /// Its number.
    pub id: DomId,
    /// Its identity; none where `xl` knows of none (dom0).
    pub uuid: Option<Uuid>,
    /// Its memory in KiB; whole MiB where `xl` told.
    pub memory_kib: u64,
    /// The CPU time it used: to the nanosecond, or to a tenth of a second where `xl` told.
    pub cpu_time: Duration,
    /// Why it ended, when it has.
    pub ended: Option<ShutdownReason>,
    /// Whether it is being taken apart.
    pub dying: bool,
}

impl Domain {
    /// What Xen says of the domain of this name.
    fn new(name: String, info: &DomainInfo) -> Self {
        Self {
            name,
            id: DomId(info.domain),
            uuid: Some(info.handle.into()),
            // As `xl list` counts it.
            memory_kib: (info.tot_pages + info.outstanding_pages) * PAGE_KIB,
            cpu_time: info.cpu_time,
            ended: info.shutdown.map(ShutdownReason::from_code),
            dying: info.dying,
        }
    }

    /// Its memory in whole MiB, as `xl list` tells it.
    pub fn memory_mib(&self) -> u64 {
        self.memory_kib / KIB
    }
}

/// Who told of domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ToldBy {
    /// Xen itself.
    Xen,
    /// `xl list -v`.
    Xl,
}

impl ToldBy {
    /// The least difference of CPU time that it tells.
    pub const fn resolution(self) -> Duration {
        match self {
            Self::Xen => Duration::from_nanos(1),
            Self::Xl => Duration::from_millis(100),
        }
    }
}

/// The domains of a host at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// All of them, dom0 too, by number.
    pub domains: Vec<Domain>,
    /// Who told.
    pub by: ToldBy,
}

/// What a host has, as far as it bounds domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostInfo {
    /// MiB that no domain has.
    pub free_mib: u64,
    /// Frames that a domain's grant table may have.
    pub grant_frames: u64,
}

/// `gnttab_max_frames=` of Xen's command line where it is not given (`opt_max_grant_frames`, xen/common/grant_table.c).
const GRANT_FRAMES: u64 = 64;

const KIB: u64 = 1 << 10;

/// KiB of a page.
const PAGE_KIB: u64 = 4;

impl HostInfo {
    /// What Xen says of the host's memory, and its own command line.
    pub(super) fn new(memory: &PhysInfo, command_line: &str) -> Self {
        // As `xl info` counts it.
        let free = memory.free_pages.saturating_sub(memory.outstanding_pages);
        Self {
            free_mib: free * PAGE_KIB / KIB,
            grant_frames: grant_frames(command_line),
        }
    }
}

/// What Xen's command line says of grant tables.
fn grant_frames(command_line: &str) -> u64 {
    let mut frames = command_line
        .split_ascii_whitespace()
        .filter_map(|setting| setting.strip_prefix("gnttab_max_frames="))
        .filter_map(|frames| frames.parse().ok());
    // Xen goes by the last one.
    frames.next_back().unwrap_or(GRANT_FRAMES)
}

/// Why a call of `xl` did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum XlError {
    /// `xl` itself failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The names of domains could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file of the configuration is no text path.
    #[error("`{0}` is not a path in UTF-8: rename it")]
    PathNotText(String),
    /// `xl list` printed something this tool does not read.
    #[error("cannot read this of `xl list -v`: {0:?}")]
    UnreadableList(String),
    /// `xl info` did not say how much memory is free.
    #[error("`xl info` does not say free_memory in a way that this tool reads")]
    UnreadableInfo,
}

/// The toolstack of a dom0.
#[derive(Debug)]
pub struct Xl<'t, T> {
    tools: &'t T,
}

impl<'t, T: Tools> Xl<'t, T> {
    /// The toolstack behind these tools.
    pub fn new(tools: &'t T) -> Self {
        Self { tools }
    }

    /// `xl create CONFIG`: returns when the domain is built and running. No process of `xl` stays to act on the domain's end
    /// (`-e`), so that an ended domain is kept until this tool destroys it.
    pub fn create(&self, config: &Path) -> Result<(), XlError> {
        let path = config
            .to_str()
            .ok_or_else(|| XlError::PathNotText(config.display().to_string()))?;
        self.tools.run("xl", &["create", "-q", "-e", path])?;
        Ok(())
    }

    /// `xl destroy ID`: ends the domain at once. One that went by itself meanwhile is no failure.
    pub fn destroy(&self, domain: DomId) -> Result<(), XlError> {
        match self.tools.run("xl", &["destroy", &domain.to_string()]) {
            Err(ToolError::Failed { said, .. }) if said.contains("Non-existant domain") => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// `xl shutdown ID`: asks the domain to end (control/shutdown).
    pub fn shutdown(&self, domain: DomId) -> Result<(), XlError> {
        self.tools.run("xl", &["shutdown", &domain.to_string()])?;
        Ok(())
    }

    /// `xl rename ID NAME`.
    pub fn rename(&self, domain: DomId, name: &str) -> Result<(), XlError> {
        self.tools
            .run("xl", &["rename", &domain.to_string(), name])?;
        Ok(())
    }

    /// What the host has: Xen's word, or that of `xl info`.
    pub fn info(&self) -> Result<HostInfo, XlError> {
        if let Some(host) = self.tools.host()? {
            return Ok(host);
        }
        let output = self.tools.run("xl", &["info"])?;
        parse_info(&String::from_utf8_lossy(&output)).ok_or(XlError::UnreadableInfo)
    }

    /// Every domain there is.
    pub fn list(&self) -> Result<Vec<Domain>, XlError> {
        Ok(self.look()?.domains)
    }

    /// Every domain there is, and who told of them: Xen, or `xl list -v`.
    pub fn look(&self) -> Result<Look, XlError> {
        let (domains, by) = match self.tools.domains()? {
            Some(told) => (self.named(&told)?, ToldBy::Xen),
            None => {
                let output = self.tools.run("xl", &["list", "-v"])?;
                (parse_list(&String::from_utf8_lossy(&output))?, ToldBy::Xl)
            }
        };
        // Who asks is in one of them.
        if !domains.iter().any(|domain| domain.id == DomId(0)) {
            return Err(XlError::UnreadableList("Domain-0 is missing".to_owned()));
        }
        Ok(Look { domains, by })
    }

    /// Xen knows numbers; names stand in xenstore, where no domain can write.
    fn named(&self, told: &[DomainInfo]) -> Result<Vec<Domain>, XlError> {
        let path = |info: &DomainInfo| format!("/local/domain/{}/name", info.domain);
        let paths: Vec<String> = told.iter().map(path).collect();
        let names = XenStore::new(self.tools).read_all(&paths)?;
        let name = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap_or_default());
        let named = names.into_iter().zip(told);
        Ok(named
            // One that is no text is nobody's of ours.
            .map(|(value, info)| Domain::new(name(value).unwrap_or_default(), info))
            .collect())
    }

    /// Where a domain was when Xen ended it, if Xen has logged that (`xl dmesg`).
    pub fn crash(&self, domain: DomId) -> Option<Crash> {
        let log = self.tools.run("xl", &["dmesg"]).ok()?;
        Crash::find(&String::from_utf8_lossy(&log), domain)
    }

    /// The domain of a name.
    pub fn find(&self, name: &str) -> Result<Option<Domain>, XlError> {
        Ok(self.list()?.into_iter().find(|domain| domain.name == name))
    }
}

/// Reads `xl info`: `key : value`, a line each.
fn parse_info(text: &str) -> Option<HostInfo> {
    let value = |wanted: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(key, _)| key.trim() == wanted);
        found.next().map(|(_, value)| value.trim())
    };
    Some(HostInfo {
        free_mib: value("free_memory")?.parse().ok()?,
        grant_frames: grant_frames(value("xen_commandline").unwrap_or_default()),
    })
}

/// Reads `xl list -v`: name, id, memory, vcpus, state, time, uuid, reason code, security label.
fn parse_list(text: &str) -> Result<Vec<Domain>, XlError> {
    text.lines()
        .skip(1)
        .filter(|line| !line.trim().is_empty())
        .map(|line| parse_line(line).ok_or_else(|| XlError::UnreadableList(line.to_owned())))
        .collect()
}

fn parse_line(line: &str) -> Option<Domain> {
    let mut fields = line.split_ascii_whitespace();
    let name = fields.next()?.to_owned();
    let id = DomId(fields.next()?.parse().ok()?);
    let memory_mib: u64 = fields.next()?.parse().ok()?;
    let _vcpus: u32 = fields.next()?.parse().ok()?;
    let state = fields.next()?;
    let cpu_time = Duration::try_from_secs_f64(fields.next()?.parse().ok()?).ok()?;
    let uuid = Uuid::try_from(fields.next()?.to_owned()).ok();
    let reason = fields.next()?;
    // The state column is `rbpscd`, a dash for each flag that is off; the reason stands only for a domain that ended.
    let shut_down = state.contains(['s', 'c']);
    let ended = shut_down.then(|| {
        reason
            .parse()
            .map_or(ShutdownReason::Other(u8::MAX), ShutdownReason::from_code)
    });
    Some(Domain {
        name,
        id,
        uuid,
        memory_kib: memory_mib.checked_mul(KIB)?,
        cpu_time,
        ended,
        dying: state.contains('d'),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
Name                                        ID   Mem VCPUs\tState\tTime(s)   UUID                            Reason-Code\tSecurity Label
Domain-0                                     0   512     2     r-----      33.3 00000000-0000-0000-0000-000000000000        -                -
t-one                                        1   128     1     ---s--       8.5 c521b7c1-cb50-4aee-901d-ea53cfed144f        0                -
t-two                                        2     1     1     ---sc-       0.1 c521b7c1-cb50-4aee-901d-ea53cfed144e        3                -
t-six                                        6     0     1     --ps-d       0.1 c521b7c1-cb50-4aee-901d-ea53cfed144d        1                -
";

    #[test]
    fn a_list_as_xl_4_17_prints_it() {
        let domains = parse_list(LIST).unwrap_or_default();
        let read: Vec<_> = domains
            .iter()
            .map(|d| (d.name.as_str(), d.id.0, d.ended, d.dying))
            .collect();
        assert_eq!(
            read,
            [
                ("Domain-0", 0, None, false),
                ("t-one", 1, Some(ShutdownReason::Poweroff), false),
                ("t-two", 2, Some(ShutdownReason::Crash), false),
                ("t-six", 6, Some(ShutdownReason::Reboot), true),
            ]
        );
        let one = &domains[1];
        assert_eq!((one.memory_kib, one.memory_mib()), (128 * 1024, 128));
        assert_eq!(one.cpu_time, Duration::from_millis(8_500));
    }

    #[test]
    fn what_the_host_has_as_xl_4_17_prints_it() {
        let info = |settings: &str| {
            let text = format!(
                "total_memory           : 1023\nfree_memory            : 498\nxen_commandline        : console=com1 {settings}\n"
            );
            parse_info(&text).map(|info| (info.free_mib, info.grant_frames))
        };
        assert_eq!(info("dom0_mem=512M,max:512M"), Some((498, 64)));
        assert_eq!(
            info("gnttab_max_frames=32 gnttab_max_frames=8"),
            Some((498, 8))
        );
        assert_eq!(parse_info("free_memory : lots\n"), None);
        assert_eq!(parse_info(""), None);
    }

    /// A Xen that answers, and names in xenstore: none of domain 3, one of domain 4 that is no text.
    struct Answers(Vec<DomainInfo>);

    impl Tools for Answers {
        fn run(&self, program: &'static str, arguments: &[&str]) -> Result<Vec<u8>, ToolError> {
            match arguments {
                ["-R", "/local/domain/0/name"] => Ok(b"Domain-0".to_vec()),
                ["-R", "/local/domain/2/name"] => Ok(b"t two".to_vec()),
                ["-R", "/local/domain/4/name"] => Ok(b"\xff".to_vec()),
                ["-R", path] => Err(ToolError::Failed {
                    command: program.into(),
                    status: "exit status: 1".into(),
                    said: format!("xenstore-read: couldn't read path {path}"),
                }),
                _ => Err(ToolError::Missing(program)),
            }
        }

        fn domains(&self) -> Result<Option<Vec<DomainInfo>>, ToolError> {
            Ok(Some(self.0.clone()))
        }
    }

    fn info(domain: u16, shutdown: Option<u8>) -> DomainInfo {
        DomainInfo {
            domain,
            handle: [0xC5; 16],
            tot_pages: 300,
            outstanding_pages: 12,
            cpu_time: Duration::from_nanos(1_234_567_891),
            shutdown,
            dying: domain == 3,
        }
    }

    #[test]
    fn what_xen_says_itself_is_a_list_too_and_needs_no_xl() {
        let told = vec![
            info(0, None),
            info(2, Some(3)),
            info(3, None),
            info(4, None),
        ];
        let look = Xl::new(&Answers(told)).look().unwrap();
        assert_eq!(look.by, ToldBy::Xen);
        let names: Vec<&str> = look.domains.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["Domain-0", "t two", "", ""]);
        let two = &look.domains[1];
        let uuid = two.uuid.as_ref().map(Uuid::as_str);
        assert_eq!(uuid, Some("c5c5c5c5-c5c5-c5c5-c5c5-c5c5c5c5c5c5"));
        assert_eq!((two.memory_kib, two.memory_mib()), (1248, 1));
        assert_eq!(two.cpu_time, Duration::from_nanos(1_234_567_891));
        assert_eq!((two.ended, two.dying), (Some(ShutdownReason::Crash), false));
        assert!(look.domains[2].dying && look.domains[2].ended.is_none());
        let without = Xl::new(&Answers(vec![info(1, None)])).list();
        assert!(matches!(without, Err(XlError::UnreadableList(_))));
    }

    #[test]
    fn what_is_free_is_what_nobody_has_claimed() {
        let memory = |free_pages, outstanding_pages| PhysInfo {
            total_pages: 10_000,
            free_pages,
            outstanding_pages,
        };
        let host = HostInfo::new(&memory(1_000, 489), "x gnttab_max_frames=8");
        assert_eq!((host.free_mib, host.grant_frames), (1, 8));
        assert_eq!(HostInfo::new(&memory(1, 2), "").free_mib, 0);
    }

    #[test]
    fn a_line_that_is_no_domain_is_an_error_that_shows_it() {
        let broken = format!("{LIST}Password:\n");
        assert!(
            matches!(parse_list(&broken), Err(XlError::UnreadableList(line)) if line == "Password:")
        );
    }
}
