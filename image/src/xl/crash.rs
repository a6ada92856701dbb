//! What the hypervisor logged when it ended a domain itself, because the domain could not: `xl dmesg`, read.

use std::fmt;

use super::toolstack::DomId;

/// How far from the stack pointer an exception frame reaches, in bytes: five words, an error code, and alignment.
const FRAME: u64 = 64;

/// Where a domain was when Xen ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash {
    /// The instruction.
    pub rip: u64,
    /// The stack pointer.
    pub rsp: u64,
    /// The address of the last page fault.
    pub cr2: u64,
}

impl Crash {
    /// The last one of this domain in the log.
    pub fn find(log: &str, domain: DomId) -> Option<Self> {
        let begin = log.rfind(&format!("Domain {domain} (vcpu#0) crashed"))?;
        let block = log.get(begin..)?;
        let hexadecimal = |text: &str| {
            let end = text.find(|c: char| !c.is_ascii_hexdigit())?;
            u64::from_str_radix(text.get(..end)?, 16).ok()
        };
        let after = |mark: &str| {
            let (_, text) = block.split_once(mark)?;
            hexadecimal(text)
        };
        Some(Self {
            rip: after(":[<")?,
            rsp: after("rsp: ")?,
            cr2: after("cr2: ")?,
        })
    }

    /// Xen could not even push the frame of an exception: the stack has ended.
    pub fn is_stack_overflow(&self) -> bool {
        self.cr2.abs_diff(self.rsp) <= FRAME
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rip, rsp, cr2 } = self;
        if self.is_stack_overflow() {
            write!(f, "stack overflow at {rip:#x}, stack pointer {rsp:#x}")
        } else {
            write!(f, "fault at {rip:#x}, last bad address {cr2:#x}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
(XEN) Domain 1 (vcpu#0) crashed on cpu#1:
(XEN) RIP:    e033:[<0000000000000001>]
(XEN) rbp: 0000000000364083   rsp: 0000000000000002   r8:  000000000035a0f8
(XEN) cr3: 000000003f047000   cr2: 0000000000000003
(XEN) domain_crash_sync called from entry.S: fault at ffff82d0403602d0 x86_64/entry.S#domain_crash_page_fault_6x8+0/0x4
(XEN) Domain 1 (vcpu#0) crashed on cpu#1:
(XEN) ----[ Xen-4.17.7  x86_64  debug=n  Not tainted ]----
(XEN) CPU:    1
(XEN) RIP:    e033:[<0000000000334faa>]
(XEN) RFLAGS: 0000000000000287   EM: 1   CONTEXT: pv guest (d1v0)
(XEN) rbp: 0000000000364083   rsp: 0000000000359fe0   r8:  000000000035a0f8
(XEN) cr3: 000000003f047000   cr2: 0000000000359fe8
";

    #[test]
    fn the_last_crash_of_a_domain_as_xen_4_17_logs_it() {
        let crash = Crash::find(LOG, DomId(1)).unwrap();
        assert_eq!(
            (crash.rip, crash.rsp, crash.cr2),
            (0x33_4faa, 0x35_9fe0, 0x35_9fe8)
        );
        assert_eq!(Crash::find(LOG, DomId(11)), None);
        for cut in ["", "Domain 1 (vcpu#0) crashed", "rsp: ", "RIP:    e033:[<"] {
            assert_eq!(Crash::find(cut, DomId(1)), None, "{cut}");
        }
    }

    #[test]
    fn a_frame_that_finds_no_room_is_a_stack_overflow() {
        let crash = Crash::find(LOG, DomId(1)).unwrap();
        assert_eq!(
            crash.to_string(),
            "stack overflow at 0x334faa, stack pointer 0x359fe0"
        );
        let other = Crash { cr2: 16, ..crash };
        assert_eq!(
            other.to_string(),
            "fault at 0x334faa, last bad address 0x10"
        );
    }
}
