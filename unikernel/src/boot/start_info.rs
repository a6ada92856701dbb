//! The start-of-day page, checked: `start_info` of `public/xen.h`.

use core::fmt;
use core::ops::Range;

use crate::memory::{Mfn, Pfn, VirtAddr};
use crate::xen_abi::{PAGE_SIZE, SIF_MOD_START_PFN, start_info};

/// What the domain builder told the domain.
#[derive(Clone, Debug)]
pub struct StartInfo<'a> {
    /// The domain's memory, in pages.
    pub nr_pages: usize,
    /// Machine address of shared_info.
    pub shared_info: Mfn,
    /// The xenstore page and its event channel.
    pub store: (Mfn, u32),
    /// The console page and its event channel.
    pub console: (Mfn, u32),
    /// The root page table.
    pub pt_base: VirtAddr,
    /// The p2m list.
    pub mfn_list: VirtAddr,
    /// The first frame that holds nothing: behind the page tables and the boot stack.
    pub first_free: Pfn,
    /// The frames of the module; empty without one.
    pub module: Range<Pfn>,
    /// Bytes of the module.
    pub module_len: usize,
    /// `extra=` of the domain's config, as far as it is sane.
    pub command_line: Result<&'a str, CommandLineError>,
}

/// Why a command line cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandLineError {
    /// 1,023 bytes: `xl` cuts longer ones to this length without a word, so that what is missing cannot be told.
    Full,
    /// Not UTF-8.
    NotText,
}

impl fmt::Display for CommandLineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => {
                "extra: 1,023 bytes, the length to which xl cuts longer ones; put parameters into the module (ramdisk=)"
            }
            Self::NotText => "extra: not UTF-8",
        })
    }
}

impl core::error::Error for CommandLineError {}

/// The longest command line that the page can hold, the byte 0 not counted.
const COMMAND_LINE_MAX: usize = xen_sys::MAX_GUEST_CMDLINE as usize - 1;

impl<'a> StartInfo<'a> {
    /// Reads the page.
    pub fn new(info: &'a start_info, domu_console: (u64, u32), command_line: &'a [u8]) -> Self {
        let tables_end = info.pt_base + (info.nr_pt_frames as usize * PAGE_SIZE) as u64;
        // Behind the page tables lies the boot stack, one page.
        let boot_end = VirtAddr::new(tables_end).add_pages(1);
        let module_pages = (info.mod_len as usize).div_ceil(PAGE_SIZE);
        let module_first = if info.mod_len == 0 {
            Pfn(0)
        } else if info.flags & SIF_MOD_START_PFN != 0 {
            Pfn(info.mod_start as usize)
        } else {
            VirtAddr::new(info.mod_start).linear_pfn().unwrap_or(Pfn(0))
        };
        Self {
            nr_pages: info.nr_pages as usize,
            shared_info: Mfn(info.shared_info / PAGE_SIZE as u64),
            store: (Mfn(info.store_mfn), info.store_evtchn),
            console: (Mfn(domu_console.0), domu_console.1),
            pt_base: VirtAddr::new(info.pt_base),
            mfn_list: VirtAddr::new(info.mfn_list),
            first_free: boot_end.linear_pfn().unwrap_or(Pfn(0)),
            module: module_first..Pfn(module_first.0 + module_pages),
            module_len: info.mod_len as usize,
            command_line: parse_command_line(command_line),
        }
    }
}

fn parse_command_line(bytes: &[u8]) -> Result<&str, CommandLineError> {
    let len = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    if len >= COMMAND_LINE_MAX {
        return Err(CommandLineError::Full);
    }
    let text = bytes.get(..len).unwrap_or_default();
    core::str::from_utf8(text).map_err(|_| CommandLineError::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> [u8; 1024] {
        let mut bytes = [0; 1024];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        bytes
    }

    #[test]
    fn a_command_line_ends_at_its_zero_byte() {
        assert_eq!(
            parse_command_line(&line("rate=max log=debug")),
            Ok("rate=max log=debug")
        );
        assert_eq!(parse_command_line(&line("")), Ok(""));
    }

    #[test]
    fn a_full_command_line_is_refused() {
        let longest = std::string::String::from_utf8(std::vec![b'a'; 1022]).unwrap();
        assert_eq!(parse_command_line(&line(&longest)), Ok(longest.as_str()));
        let cut = std::string::String::from_utf8(std::vec![b'a'; 1023]).unwrap();
        assert_eq!(parse_command_line(&line(&cut)), Err(CommandLineError::Full));
        assert_eq!(
            parse_command_line(&[b'a'; 1024]),
            Err(CommandLineError::Full)
        );
    }

    #[test]
    fn a_command_line_is_text() {
        let mut bytes = line("rate=1");
        bytes[2] = 0xff;
        assert_eq!(parse_command_line(&bytes), Err(CommandLineError::NotText));
    }
}
