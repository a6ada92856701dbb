//! The boot module (`ramdisk=`): a ustar archive (POSIX.1-2017, pax, "ustar Interchange Format") with
//! any of the files `params`, `data.csv` and `secret`, or bare bytes, which are `data.csv`.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

/// The files of the module. They stay where the loader put them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Module {
    /// Parameters, as on the command line.
    pub params: Option<&'static [u8]>,
    /// Recorded readings.
    pub data: Option<&'static [u8]>,
    /// A password or key.
    pub secret: Option<&'static [u8]>,
}

/// Shows lengths alone: the secret must not come into a log.
impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |file: Option<&[u8]>| file.map(<[u8]>::len);
        f.debug_struct("Module")
            .field("params", &length(self.params))
            .field("data", &length(self.data))
            .field("secret", &length(self.secret))
            .finish()
    }
}

const BLOCK: usize = 512;

impl Module {
    /// Reads a module; no bytes at all are a module without files.
    pub fn parse(bytes: &'static [u8]) -> Result<Self, ModuleError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        match bytes.get(257..263) {
            Some(b"ustar\0" | b"ustar ") => Self::parse_archive(bytes),
            // Xen counts a module in whole pages: the zeros behind the text are not of it.
            _ => Ok(Self {
                data: Some(trim_zeros(bytes)),
                ..Self::default()
            }),
        }
    }

    fn parse_archive(bytes: &'static [u8]) -> Result<Self, ModuleError> {
        let mut module = Self::default();
        let mut rest = bytes;
        loop {
            // Two zero blocks end an archive; one, or the end of the bytes, is taken for them.
            let Some((header, body)) = rest.split_at_checked(BLOCK) else {
                return if rest.is_empty() {
                    Ok(module)
                } else {
                    Err(ModuleError::Cut)
                };
            };
            if header.iter().all(|b| *b == 0) {
                return Ok(module);
            }
            let entry = Entry::parse(header)?;
            let (content, after) = split_content(body, entry.size)?;
            module.place(&entry, content)?;
            rest = after;
        }
    }

    fn place(&mut self, entry: &Entry<'_>, content: &'static [u8]) -> Result<(), ModuleError> {
        let name = entry.name.strip_prefix("./").unwrap_or(entry.name);
        match entry.kind {
            b'0' | 0 => {}
            // Folders, and the extended headers that archivers write for times and owners.
            b'5' | b'g' | b'x' => return Ok(()),
            _ => {
                return Err(ModuleError::NotAFile {
                    name: name.to_owned(),
                });
            }
        }
        let slot = match name {
            "params" => &mut self.params,
            "data.csv" => &mut self.data,
            "secret" => &mut self.secret,
            _ => {
                return Err(ModuleError::Unknown {
                    name: name.to_owned(),
                });
            }
        };
        match slot.replace(content) {
            None => Ok(()),
            Some(_) => Err(ModuleError::Twice {
                name: name.to_owned(),
            }),
        }
    }
}

/// The content, and what follows its last block.
fn split_content(
    body: &'static [u8],
    size: usize,
) -> Result<(&'static [u8], &'static [u8]), ModuleError> {
    let (content, _) = body.split_at_checked(size).ok_or(ModuleError::Cut)?;
    let padded = size
        .checked_next_multiple_of(BLOCK)
        .ok_or(ModuleError::Cut)?;
    // A last file may lack its padding.
    Ok((content, body.get(padded..).unwrap_or_default()))
}

struct Entry<'a> {
    name: &'a str,
    kind: u8,
    size: usize,
}

impl<'a> Entry<'a> {
    /// `header` is one block long.
    fn parse(header: &'a [u8]) -> Result<Self, ModuleError> {
        let sum = octal(&header[148..156]).ok_or(ModuleError::Header)?;
        let as_if_blank = |at: usize| {
            if (148..156).contains(&at) {
                b' '
            } else {
                header[at]
            }
        };
        let counted: usize = (0..BLOCK).map(|at| usize::from(as_if_blank(at))).sum();
        if sum != counted || !header[257..262].eq(b"ustar") {
            return Err(ModuleError::Header);
        }
        let name = &header[..100];
        let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        Ok(Self {
            name: core::str::from_utf8(&name[..end]).map_err(|_| ModuleError::Header)?,
            kind: header[156],
            size: octal(&header[124..136]).ok_or(ModuleError::Header)?,
        })
    }
}

/// An octal number, ended by a NUL, a space or the end of its field.
fn octal(field: &[u8]) -> Option<usize> {
    let field = field.trim_ascii_start();
    let end = field
        .iter()
        .position(|b| matches!(b, 0 | b' '))
        .unwrap_or(field.len());
    if end == 0 || field[end..].iter().any(|b| !matches!(b, 0 | b' ')) {
        return None;
    }
    field[..end]
        .iter()
        .try_fold(0usize, |number, digit| match digit {
            b'0'..=b'7' => number
                .checked_mul(8)?
                .checked_add(usize::from(digit - b'0')),
            _ => None,
        })
}

fn trim_zeros(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0);
    end.and_then(|last| bytes.get(..=last)).unwrap_or_default()
}

/// Why a module cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// The archive ends within a file.
    #[error("module: the archive is cut short; make it anew")]
    Cut,
    /// A header that is not ustar's, or whose sum is wrong.
    #[error("module: a damaged header in the archive; make it with tar --format=ustar")]
    Header,
    /// A file that has no meaning here.
    #[error("module: \"{name}\" in the archive; it may hold params, data.csv and secret")]
    Unknown {
        /// The file's name.
        name: String,
    },
    /// A link or a device.
    #[error("module: \"{name}\" in the archive is not a plain file")]
    NotAFile {
        /// The entry's name.
        name: String,
    },
    /// The same file twice.
    #[error("module: \"{name}\" is in the archive twice")]
    Twice {
        /// The file's name.
        name: String,
    },
}

#[cfg(test)]
mod tests;
