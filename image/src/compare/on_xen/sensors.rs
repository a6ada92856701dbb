//! One sensor in a guest of its own, and its reader in dom0: what is measured of a guest's life is measured of this pair.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::reader::{Reader, Writer};
use super::site::{LINUX_COMMAND_LINE, Site, Trouble};
use crate::compare::catalogue::Contestant;
use crate::compare::guest;
use crate::xl::XlConfig;

/// What the sensor's domain is called.
pub const NAME: &str = "sensor";

/// The edge to its reader.
const EDGE: &str = "first";

/// MiB of a unikernel that has one sensor.
pub const UNIKERNEL_MEMORY: u32 = 1;

/// MiB of a Linux guest for the same where its least is not what is looked for: enough, and soon built.
pub const LINUX_MEMORY: u32 = 128;

/// Dom0's own address on the site's bridge, and where its reader listens.
pub const DOM0: Ipv4Addr = Ipv4Addr::new(10, 98, 76, 1);
const PORT: u16 = 7000;
const SENSOR: &str = "10.98.76.30/24";

/// What the Linux guest of one sensor loads.
const VCHAN_MODULES: &str = "xen-evtchn xen-gntalloc xen-gntdev";
const TCP_MODULES: &str = "xen-netfront";

/// Readings of a sensor that ends.
pub const COUNT: u64 = 1000;

/// A sensor of a contestant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sensor {
    /// Whose.
    pub contestant: Contestant,
    /// Of its domain, in MiB.
    pub memory: u32,
    /// Whether it goes on until it is destroyed, a thousand readings a second, or ends after [`COUNT`] readings.
    pub is_endless: bool,
}

/// The kernel and initramfs of a Linux guest that has one sensor, or what is missing.
pub fn linux_parts(site: &Site<'_>) -> Result<[PathBuf; 2], Trouble> {
    let part = |name: &str| {
        let path = site.kit.linux.join(name);
        match path.is_file() {
            true => Ok(path),
            false => Err(Trouble::new(format_args!(
                "there is no {}: it is made where the program sensor is beside grantflow or in bin there",
                path.display()
            ))),
        }
    };
    Ok([part(guest::KERNEL)?, part(guest::SENSOR_INITRAMFS)?])
}

impl Sensor {
    /// A sensor that ends, in what is enough for it.
    pub fn new(contestant: Contestant) -> Self {
        let memory = match is_linux(contestant) {
            true => LINUX_MEMORY,
            false => UNIKERNEL_MEMORY,
        };
        Self {
            contestant,
            memory,
            is_endless: false,
        }
    }

    /// What its function is told, whatever it runs on.
    fn parameters(self) -> String {
        let pace = match self.is_endless {
            true => "count=0 rate=1000".to_owned(),
            false => format!("count={COUNT} rate=max"),
        };
        format!("out.{EDGE}=0 signal=walk seed=18 {pace}")
    }

    /// Its domain. A Linux guest has the program as the only thing that it runs.
    pub fn config(self, site: &mut Site<'_>) -> Result<XlConfig, Trouble> {
        let parameters = self.parameters();
        if !is_linux(self.contestant) {
            return site.unikernel(NAME, "sensor", self.memory, &parameters);
        }
        let [kernel, initramfs] = linux_parts(site)?;
        let mut config = XlConfig::new(Site::full_name(NAME), kernel, self.memory);
        config.ramdisk = Some(initramfs);
        if self.contestant == Contestant::LinuxTcp {
            config.bridge = Some(bridge(site)?.to_owned());
        }
        config.extra = self.linux_words();
        Ok(config)
    }

    /// The command line of a Linux guest.
    fn linux_words(self) -> String {
        let (modules, place, network) = match self.contestant {
            Contestant::LinuxTcp => (
                TCP_MODULES,
                format!("--tcp {EDGE}={DOM0}:{PORT}"),
                format!(" address={SENSOR}"),
            ),
            _ => (VCHAN_MODULES, "--xen".to_owned(), String::new()),
        };
        let parameters = self.parameters();
        format!(
            "{LINUX_COMMAND_LINE} modules=\"{modules}\"{network} program=\"/bin/sensor {place} {parameters}\""
        )
    }

    /// How it is set up, for readers.
    pub fn setup(self, site: &Site<'_>) -> String {
        let placement = match site.cpus() {
            Some(cpus) => format!("one vCPU, cpus=\"{cpus}\""),
            None => "one vCPU".to_owned(),
        };
        match is_linux(self.contestant) {
            false => format!("one sensor: its image, memory={UNIKERNEL_MEMORY}, {placement}"),
            true => format!(
                "one sensor: the kernel of dom0, modules, busybox as the first process, the program and its libraries in an \
                 initramfs packed by gzip; memory={LINUX_MEMORY} where the least is not looked for; {LINUX_COMMAND_LINE}; {placement}"
            ),
        }
    }

    /// A reader that waits for the sensor of a domain that is yet to be created.
    pub fn reader(self, most: u64) -> Result<Reader, Trouble> {
        match self.contestant {
            Contestant::LinuxTcp => Reader::over_tcp(SocketAddr::from((DOM0, PORT)), most),
            _ => Reader::over_vchan(Writer::ToCome(Site::full_name(NAME)), EDGE, most),
        }
    }
}

/// Whether it is a Linux guest.
pub fn is_linux(contestant: Contestant) -> bool {
    matches!(contestant, Contestant::LinuxVchan | Contestant::LinuxTcp)
}

/// The site's bridge, on which dom0 has an address.
pub fn bridge(site: &mut Site<'_>) -> Result<&'static str, Trouble> {
    let bridge = site.bridge()?;
    let address = format!("{DOM0}/24");
    site.tools()
        .run("ip", &["addr", "replace", &address, "dev", bridge])?;
    Ok(bridge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xl::config::COMMAND_LINE_MAX;

    #[test]
    fn the_same_sensor_runs_on_linux_over_vchan_or_tcp() {
        let words = |contestant, is_endless| {
            let sensor = Sensor {
                is_endless,
                ..Sensor::new(contestant)
            };
            (sensor.parameters(), sensor.linux_words())
        };
        let (ours, _) = words(Contestant::UnikernelVchan, false);
        let (_, vchan) = words(Contestant::LinuxVchan, false);
        let (_, tcp) = words(Contestant::LinuxTcp, false);
        assert!(
            vchan.ends_with(&format!(" program=\"/bin/sensor --xen {ours}\"")),
            "{vchan}"
        );
        assert!(vchan.contains(" modules=\"xen-evtchn xen-gntalloc xen-gntdev\" "));
        assert!(!vchan.contains("address="));
        assert!(
            tcp.ends_with(&format!(
                " modules=\"xen-netfront\" address=10.98.76.30/24 \
                 program=\"/bin/sensor --tcp first=10.98.76.1:7000 {ours}\""
            )),
            "{tcp}"
        );
        let (endless, words) = words(Contestant::LinuxTcp, true);
        assert!(endless.contains(" count=0 rate=1000"));
        assert!(words.len() < COMMAND_LINE_MAX);
    }
}
