//! The last lines of a guest's console, where xenconsoled logged them.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// As many bytes as a few lines take.
const TAIL_BYTES: u64 = 2_048;

/// As many lines as a person reads.
const TAIL_LINES: usize = 8;

/// Where Xen's own scripts have xenconsoled log.
const FOLDERS: [&str; 2] = ["/var/log/xen/console", "/var/log/xen"];

/// The log of the domain `name`, or where it would be.
pub fn path(name: &str) -> PathBuf {
    let in_folder = |folder: &&str| Path::new(folder).join(format!("guest-{name}.log"));
    let there = FOLDERS.iter().map(in_folder).find(|path| path.exists());
    there.unwrap_or_else(|| in_folder(&FOLDERS[0]))
}

/// Where a log that has become long has gone, beside the one that was begun anew.
pub fn older(log: &Path) -> PathBuf {
    let mut path = log.as_os_str().to_owned();
    path.push(".1");
    path.into()
}

/// The last lines that domain `name` printed; none where xenconsoled keeps no log (`--log=guest` makes it).
pub fn tail(name: &str) -> Vec<String> {
    tail_of(&path(name)).unwrap_or_default()
}

fn tail_of(path: &Path) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(last_lines(&String::from_utf8_lossy(&bytes)))
}

/// What a guest prints is data: control characters would act on the terminal of whoever reads it.
fn last_lines(text: &str) -> Vec<String> {
    let clean = |line: &str| line.chars().filter(|c| !c.is_control()).collect::<String>();
    let lines: Vec<String> = text
        .lines()
        .map(clean)
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines
        .get(lines.len().saturating_sub(TAIL_LINES)..)
        .unwrap_or_default()
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_long_log() -> io::Result<()> {
        let log = tempfile::NamedTempFile::new()?;
        let text: String = (0..1_000).map(|n| format!("line {n}\r\n\n")).collect();
        std::fs::write(log.path(), text)?;
        let lines = tail_of(log.path())?;
        assert_eq!(
            (lines.len(), lines.last().map(String::as_str)),
            (TAIL_LINES, Some("line 999"))
        );
        Ok(())
    }

    #[test]
    fn a_guest_cannot_steer_the_terminal() {
        assert_eq!(last_lines("\x1b[2Jpanicked\x07\n"), ["[2Jpanicked"]);
    }
}
