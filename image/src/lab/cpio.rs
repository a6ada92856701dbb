//! The initramfs format: a `newc` cpio archive (Linux `Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::collections::BTreeSet;
use std::io::{self, Write};

const MODE_DIR: u32 = 0o040_000;
const MODE_FILE: u32 = 0o100_000;
const MODE_LINK: u32 = 0o120_000;

/// An archive being written. Missing parent folders are added, owned by root, mode 755.
pub struct Archive<W> {
    out: W,
    inode: u32,
    folders: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    /// Begins an archive.
    pub fn new(out: W) -> Self {
        Self {
            out,
            inode: 0,
            folders: BTreeSet::new(),
        }
    }

    /// Adds a folder and its parents.
    pub fn dir(&mut self, path: &str) -> io::Result<()> {
        let path = path.trim_matches('/');
        if path.is_empty() || self.folders.contains(path) {
            return Ok(());
        }
        self.parent(path)?;
        self.folders.insert(path.to_owned());
        self.entry(path, MODE_DIR | 0o755, &[])
    }

    /// Adds a file with these permission bits.
    pub fn file(&mut self, path: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        let path = path.trim_matches('/');
        self.parent(path)?;
        self.entry(path, MODE_FILE | (mode & 0o7777), data)
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, to: &str) -> io::Result<()> {
        let path = path.trim_matches('/');
        self.parent(path)?;
        self.entry(path, MODE_LINK | 0o777, to.as_bytes())
    }

    /// Ends the archive and hands its writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.raw("TRAILER!!!", 0, 1, &[])?;
        Ok(self.out)
    }

    fn parent(&mut self, path: &str) -> io::Result<()> {
        match path.rsplit_once('/') {
            Some((parent, _)) => self.dir(parent),
            None => Ok(()),
        }
    }

    fn entry(&mut self, path: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        self.inode += 1;
        let links = if mode & 0o170_000 == MODE_DIR { 2 } else { 1 };
        self.raw(path, mode, links, data)
    }

    fn raw(&mut self, name: &str, mode: u32, links: u32, data: &[u8]) -> io::Result<()> {
        let too_big = || {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{name} is larger than 4 GiB"),
            )
        };
        let size = u32::try_from(data.len()).map_err(|_| too_big())?;
        let name_size = u32::try_from(name.len() + 1).map_err(|_| too_big())?;
        write!(
            self.out,
            "070701{:08X}{mode:08X}{:08X}{:08X}{links:08X}{:08X}{size:08X}",
            self.inode, 0, 0, 0
        )?;
        // Device numbers of the file and of a node, then the name's length and the unused checksum.
        write!(
            self.out,
            "{:08X}{:08X}{:08X}{:08X}{name_size:08X}{:08X}",
            0, 0, 0, 0, 0
        )?;
        self.out.write_all(name.as_bytes())?;
        self.pad(110 + name.len() + 1, 1)?;
        self.out.write_all(data)?;
        self.pad(data.len(), 0)
    }

    /// Zeroes up to the next multiple of four, after `nul` of them that belong to the name.
    fn pad(&mut self, length: usize, nul: usize) -> io::Result<()> {
        let zeroes = [0u8; 4];
        let count = nul + length.next_multiple_of(4) - length;
        self.out.write_all(&zeroes[..count])
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    fn field(archive: &[u8], at: usize, index: usize) -> u32 {
        let start = at + 6 + index * 8;
        u32::from_str_radix(std::str::from_utf8(&archive[start..start + 8]).unwrap(), 16).unwrap()
    }

    #[test]
    fn entries_are_aligned_to_four_bytes_and_carry_their_parents_first() {
        let mut archive = Archive::new(Vec::new());
        archive
            .file("/etc/xen/xl.conf", 0o640, b"autoballoon")
            .unwrap();
        archive.symlink("bin/sh", "bash").unwrap();
        let bytes = archive.finish().unwrap();
        let mut names = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 6], b"070701", "header at {at}");
            let (size, name_size) = (
                field(&bytes, at, 6) as usize,
                field(&bytes, at, 11) as usize,
            );
            let name = std::str::from_utf8(&bytes[at + 110..at + 110 + name_size - 1])
                .unwrap()
                .to_owned();
            let data = (at + 110 + name_size).next_multiple_of(4);
            names.push((
                name,
                field(&bytes, at, 1),
                bytes[data..data + size].to_vec(),
            ));
            at = (data + size).next_multiple_of(4);
        }
        assert_eq!(at, bytes.len());
        let expected: [(&str, u32, &[u8]); 6] = [
            ("etc", 0o040_755, b""),
            ("etc/xen", 0o040_755, b""),
            ("etc/xen/xl.conf", 0o100_640, b"autoballoon"),
            ("bin", 0o040_755, b""),
            ("bin/sh", 0o120_777, b"bash"),
            ("TRAILER!!!", 0, b""),
        ];
        let found: Vec<(&str, u32, &[u8])> = names
            .iter()
            .map(|(name, mode, data)| (name.as_str(), *mode, data.as_slice()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_folder_given_twice_stands_once() {
        let mut archive = Archive::new(Vec::new());
        archive.dir("a/b").unwrap();
        archive.dir("/a/b/").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(
            bytes
                .windows(6)
                .filter(|window| window == b"070701")
                .count(),
            3
        );
    }
}
