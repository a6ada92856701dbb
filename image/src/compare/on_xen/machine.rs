//! On what it runs, as dom0 sees it.

use std::collections::BTreeMap;
use std::fs;

use super::site::Trouble;
use crate::compare::results::Machine;
use crate::xl::Tools;

/// Asks `xl info` and the kernel.
pub fn look(tools: &dyn Tools) -> Result<Machine, Trouble> {
    let info = tools.run("xl", &["info"])?;
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Ok(read(&String::from_utf8_lossy(&info), &cpu))
}

/// Reads `xl info` and `/proc/cpuinfo`: both `key : value`, a line each.
fn read(info: &str, cpuinfo: &str) -> Machine {
    let value = |text: &str, wanted: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(key, _)| key.trim() == wanted);
        let (_, value) = found.next()?;
        Some(value.trim().to_owned())
    };
    let info = |wanted| value(info, wanted).unwrap_or_default();
    let mut more = BTreeMap::new();
    for (key, name) in [
        ("xen_commandline", "Xen's command line"),
        ("xen_scheduler", "scheduler"),
    ] {
        let said = info(key);
        if !said.is_empty() {
            more.insert(name.to_owned(), said);
        }
    }
    Machine {
        cpu: value(cpuinfo, "model name").unwrap_or_default(),
        cpus: info("nr_cpus").parse().unwrap_or(1),
        memory_mib: info("total_memory").parse().unwrap_or(0),
        emulator: None,
        xen: info("xen_version"),
        dom0_kernel: info("release"),
        load: None,
        more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xl_4_17_prints_is_read() {
        let info = "host                   : dom0\nrelease                : 6.1.0-40-amd64\nnr_cpus                : 2\n\
            total_memory           : 1023\nxen_version            : 4.17.6-pre\nxen_scheduler          : credit2\n\
            xen_commandline        : console=com1 dom0_mem=512M,max:512M\n";
        let machine = read(
            info,
            "processor\t: 0\nmodel name\t: QEMU TCG CPU version 2.5+\n",
        );
        assert_eq!((machine.cpus, machine.memory_mib), (2, 1023));
        assert_eq!(machine.cpu, "QEMU TCG CPU version 2.5+");
        assert_eq!(
            (machine.xen.as_str(), machine.dom0_kernel.as_str()),
            ("4.17.6-pre", "6.1.0-40-amd64")
        );
        assert_eq!(machine.more["scheduler"], "credit2");
        assert_eq!(read("", "").cpus, 1);
    }
}
