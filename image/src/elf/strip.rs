//! The file that Xen loads: headers, segments and the names of their sections, without symbols and debug information.

use flate2::Crc;

use super::read::{Image, Section};

const EHDR: usize = 64;
const SHDR: usize = 64;
const SHT_PROGBITS: u32 = 1;
const SHT_STRTAB: u32 = 3;

/// Removes what is not loaded, and adds `.gnu_debuglink`, by which debuggers find `debug_name` beside the image.
///
/// The segments keep their place in the file, so nothing about the boot changes.
pub fn strip(file: &[u8], image: &Image<'_>, debug_name: &str) -> Vec<u8> {
    let loaded = image
        .segments
        .iter()
        .map(|segment| segment.offset + segment.data.len() as u64)
        .max()
        .unwrap_or(0);
    let loaded = usize::try_from(loaded)
        .unwrap_or(usize::MAX)
        .clamp(EHDR.min(file.len()), file.len());
    let mut out = file.get(..loaded).unwrap_or_default().to_vec();
    let kept: Vec<&Section<'_>> = image
        .sections
        .iter()
        .filter(|section| section.allocated())
        .collect();

    let mut names = vec![0u8];
    let mut headers = vec![0u8; SHDR];
    for section in &kept {
        let name = add_name(&mut names, &section.name);
        header(
            &mut headers,
            name,
            section.kind,
            section.flags,
            section.address,
            section.offset,
            section.size,
            section.align,
        );
    }
    let link = debug_link(file, debug_name);
    let name = add_name(&mut names, ".gnu_debuglink");
    let at = append(&mut out, &link, 4);
    header(
        &mut headers,
        name,
        SHT_PROGBITS,
        0,
        0,
        at,
        link.len() as u64,
        4,
    );
    let name = add_name(&mut names, ".shstrtab");
    let at = append(&mut out, &names, 1);
    header(
        &mut headers,
        name,
        SHT_STRTAB,
        0,
        0,
        at,
        names.len() as u64,
        1,
    );
    let table = append(&mut out, &headers, 8);

    // e_shoff, e_shentsize, e_shnum and e_shstrndx of the ELF header (gABI, "ELF Header").
    let count = headers.len() / SHDR;
    put(&mut out, 0x28, &table.to_le_bytes());
    put(&mut out, 0x3a, &(SHDR as u16).to_le_bytes());
    put(
        &mut out,
        0x3c,
        &u16::try_from(count).unwrap_or(0).to_le_bytes(),
    );
    put(
        &mut out,
        0x3e,
        &u16::try_from(count - 1).unwrap_or(0).to_le_bytes(),
    );
    out
}

/// The name of the file with the symbols, padded, and the CRC-32 of its content (GDB manual, "Separate Debug Files").
fn debug_link(debug_file: &[u8], name: &str) -> Vec<u8> {
    let mut link = name.as_bytes().to_vec();
    link.resize((name.len() + 1).next_multiple_of(4), 0);
    let mut crc = Crc::new();
    crc.update(debug_file);
    link.extend(crc.sum().to_le_bytes());
    link
}

fn add_name(names: &mut Vec<u8>, name: &str) -> u32 {
    let at = names.len();
    names.extend(name.as_bytes());
    names.push(0);
    u32::try_from(at).unwrap_or(0)
}

fn append(out: &mut Vec<u8>, data: &[u8], align: usize) -> u64 {
    out.resize(out.len().next_multiple_of(align), 0);
    let at = out.len() as u64;
    out.extend(data);
    at
}

#[expect(
    clippy::too_many_arguments,
    reason = "the fields of Elf64_Shdr, in their order"
)]
fn header(
    out: &mut Vec<u8>,
    name: u32,
    kind: u32,
    flags: u64,
    address: u64,
    offset: u64,
    size: u64,
    align: u64,
) {
    out.extend(name.to_le_bytes());
    out.extend(kind.to_le_bytes());
    for field in [flags, address, offset, size] {
        out.extend(field.to_le_bytes());
    }
    // sh_link and sh_info, which only tables of symbols and relocations use; sh_entsize comes last.
    out.extend([0; 8]);
    out.extend(align.to_le_bytes());
    out.extend([0; 8]);
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stripped_program_keeps_its_segments_and_loses_its_symbols() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let before = Image::read(&file).unwrap();
        let stripped = strip(&file, &before, "test.debug");
        assert!(stripped.len() < file.len());
        let after = Image::read(&stripped).unwrap();
        assert!(after.symbols.is_empty() && !before.symbols.is_empty());
        let loads = |image: &Image<'_>| -> Vec<(u64, Vec<u8>)> {
            image
                .loads()
                .map(|segment| (segment.address, segment.data.to_vec()))
                .collect()
        };
        let (mut before_loads, mut after_loads) = (loads(&before), loads(&after));
        // The first segment holds the ELF header, whose section fields change.
        for first in [&mut before_loads[0].1, &mut after_loads[0].1] {
            first[0x28..0x30].fill(0);
            first[0x3a..0x40].fill(0);
        }
        assert_eq!(before_loads, after_loads);
        let allocated = before
            .sections
            .iter()
            .filter(|section| section.allocated())
            .map(|s| s.name.clone());
        let names: Vec<String> = after
            .sections
            .iter()
            .map(|section| section.name.clone())
            .collect();
        assert_eq!(
            names,
            allocated
                .chain([".gnu_debuglink".into(), ".shstrtab".into()])
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn the_link_names_the_debug_file_and_carries_its_checksum() {
        let link = debug_link(b"123456789", "a.debug");
        // The check value of CRC-32: 0xcbf43926.
        assert_eq!(
            link,
            [&b"a.debug\0"[..], &0xcbf4_3926u32.to_le_bytes()].concat()
        );
    }
}
