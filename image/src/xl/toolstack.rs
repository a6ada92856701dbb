//! The calls of `xl`, and what `xl list` says.

use std::fmt;
use std::path::Path;

use super::crash::Crash;
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

/// One line of `xl list -v`.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: DomId,
    /// Its identity; none where `xl` knows of none (dom0).
    pub uuid: Option<Uuid>,
    /// Its memory in MiB.
    pub memory_mib: u64,
    /// The CPU time it used, in seconds.
    pub cpu_seconds: f64,
    /// Why it ended, when it has.
    pub ended: Option<ShutdownReason>,
    /// Whether it is being taken apart.
    pub dying: bool,
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

/// Why a call of `xl` did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum XlError {
    /// `xl` itself failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
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

    /// What the host has (`xl info`).
    pub fn info(&self) -> Result<HostInfo, XlError> {
        let output = self.tools.run("xl", &["info"])?;
        parse_info(&String::from_utf8_lossy(&output)).ok_or(XlError::UnreadableInfo)
    }

    /// Every domain there is.
    pub fn list(&self) -> Result<Vec<Domain>, XlError> {
        let output = self.tools.run("xl", &["list", "-v"])?;
        let domains = parse_list(&String::from_utf8_lossy(&output))?;
        // Who asks is in one of them.
        if !domains.iter().any(|domain| domain.id == DomId(0)) {
            return Err(XlError::UnreadableList("Domain-0 is missing".to_owned()));
        }
        Ok(domains)
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
    let settings = value("xen_commandline").unwrap_or_default();
    let mut frames = settings
        .split_ascii_whitespace()
        .filter_map(|setting| setting.strip_prefix("gnttab_max_frames="))
        .filter_map(|frames| frames.parse().ok());
    Some(HostInfo {
        free_mib: value("free_memory")?.parse().ok()?,
        // Xen goes by the last one.
        grant_frames: frames.next_back().unwrap_or(GRANT_FRAMES),
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
    let memory_mib = fields.next()?.parse().ok()?;
    let _vcpus: u32 = fields.next()?.parse().ok()?;
    let state = fields.next()?;
    let cpu_seconds = fields.next()?.parse().ok()?;
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
        memory_mib,
        cpu_seconds,
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
        assert_eq!((domains[1].memory_mib, domains[1].cpu_seconds), (128, 8.5));
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

    #[test]
    fn a_line_that_is_no_domain_is_an_error_that_shows_it() {
        let broken = format!("{LIST}Password:\n");
        assert!(
            matches!(parse_list(&broken), Err(XlError::UnreadableList(line)) if line == "Password:")
        );
    }
}
