//! How an image's parameters reach it: on the command line, or in its module when they would not fit.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::config::COMMAND_LINE_MAX;

/// What an image is told at boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootInput {
    /// Keys and values, in the order they are written.
    pub parameters: Vec<(String, String)>,
    /// The recorded data.
    pub data: Option<PathBuf>,
    /// A file of passwords, which must not stand on a command line.
    pub secret: Option<PathBuf>,
}

/// The same, as settings of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// For `extra =`.
    pub extra: String,
    /// For `ramdisk =`.
    pub ramdisk: Option<PathBuf>,
}

/// Why parameters cannot reach an image.
#[derive(Debug, thiserror::Error)]
pub enum BootInputError {
    /// A key that would read as something else.
    #[error("`{0}` is no parameter name: no spaces, no quotes, no `=`")]
    Key(String),
    /// A value that cannot be written between double quotes.
    #[error(
        "the value of `{0}` holds a double quote or a control character, which a parameter cannot carry"
    )]
    Value(String),
    /// The archive could not be made.
    #[error("cannot write the module {path}; is the disk full?")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file for the archive could not be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl BootInput {
    /// Writes the parameters as `extra` and passes the data as it is, when that fits; writes the ustar archive
    /// `archive` (`params`, `data.csv`, `secret`) otherwise.
    pub fn prepare(&self, archive: &Path) -> Result<Boot, BootInputError> {
        let line = command_line(&self.parameters)?;
        if line.len() <= COMMAND_LINE_MAX && self.secret.is_none() {
            return Ok(Boot {
                extra: line,
                ramdisk: self.data.clone(),
            });
        }
        self.write_archive(&line, archive)?;
        Ok(Boot {
            extra: String::new(),
            ramdisk: Some(archive.to_owned()),
        })
    }

    fn write_archive(&self, line: &str, path: &Path) -> Result<(), BootInputError> {
        let broken = |source| BootInputError::Archive {
            path: path.to_owned(),
            source,
        };
        let mut archive = tar::Builder::new(File::create(path).map_err(broken)?);
        append(&mut archive, "params", line.as_bytes()).map_err(broken)?;
        for (name, file) in [("data.csv", &self.data), ("secret", &self.secret)] {
            if let Some(file) = file {
                let bytes = std::fs::read(file).map_err(|source| BootInputError::File {
                    path: file.clone(),
                    source,
                })?;
                append(&mut archive, name, &bytes).map_err(broken)?;
            }
        }
        archive
            .into_inner()
            .and_then(|file| file.sync_all())
            .map_err(broken)
    }
}

fn append<W: io::Write>(archive: &mut tar::Builder<W>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o400);
    archive.append_data(&mut header, name, bytes)
}

/// `key=value key="a value with spaces"`, as the images read it.
pub fn command_line(parameters: &[(String, String)]) -> Result<String, BootInputError> {
    let words: Result<Vec<String>, BootInputError> = parameters
        .iter()
        .map(|(key, value)| word(key, value))
        .collect();
    Ok(words?.join(" "))
}

fn word(key: &str, value: &str) -> Result<String, BootInputError> {
    let breaks_a_key = |c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '=';
    if key.is_empty() || key.contains(breaks_a_key) {
        return Err(BootInputError::Key(key.to_owned()));
    }
    if value.contains(|c: char| c == '"' || c.is_control()) {
        return Err(BootInputError::Value(key.to_owned()));
    }
    if value.is_empty() || value.contains(char::is_whitespace) {
        Ok(format!("{key}=\"{value}\""))
    } else {
        Ok(format!("{key}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn only_values_that_need_quotes_get_them() {
        let line = command_line(&pairs(&[
            ("rate", "max"),
            ("name.1", "water flow"),
            ("log", ""),
        ]));
        assert_eq!(
            line.ok().as_deref(),
            Some(r#"rate=max name.1="water flow" log="""#)
        );
    }

    #[test]
    fn a_value_cannot_smuggle_in_a_second_parameter() {
        for (key, value) in [
            ("a", "\"x"),
            ("a", "x\ny"),
            ("a b", "1"),
            ("", "1"),
            ("a=b", "1"),
            ("a\"", "1"),
        ] {
            assert!(
                command_line(&pairs(&[(key, value)])).is_err(),
                "{key}={value}"
            );
        }
    }

    #[test]
    fn what_fits_travels_on_the_command_line_and_the_data_as_it_is() -> Result<(), BootInputError> {
        let data = Some(PathBuf::from("/data/flow.csv"));
        let input = BootInput {
            parameters: pairs(&[("a", &"x".repeat(1_020))]),
            data: data.clone(),
            secret: None,
        };
        let boot = input.prepare(Path::new("/nowhere/archive.tar"))?;
        assert_eq!((boot.extra.len(), boot.ramdisk), (1_022, data));
        Ok(())
    }

    #[test]
    fn one_byte_more_and_everything_goes_into_an_archive() -> Result<(), Box<dyn std::error::Error>>
    {
        let folder = tempfile::tempdir()?;
        let (data, archive) = (
            folder.path().join("in.csv"),
            folder.path().join("module.tar"),
        );
        std::fs::write(&data, "time,value\n1,2\n")?;
        let parameters = pairs(&[("a", &"x".repeat(1_021))]);
        let boot = BootInput {
            parameters,
            data: Some(data),
            secret: None,
        }
        .prepare(&archive)?;
        assert_eq!(
            boot,
            Boot {
                extra: String::new(),
                ramdisk: Some(archive.clone())
            }
        );

        let mut seen = Vec::new();
        for entry in tar::Archive::new(File::open(&archive)?).entries()? {
            let mut entry = entry?;
            assert!(entry.header().as_ustar().is_some());
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            seen.push((entry.path()?.display().to_string(), text));
        }
        let params = format!("a={}", "x".repeat(1_021));
        assert_eq!(
            seen,
            [
                ("params".to_owned(), params),
                ("data.csv".to_owned(), "time,value\n1,2\n".to_owned())
            ]
        );
        Ok(())
    }

    #[test]
    fn a_secret_never_stands_on_the_command_line() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let (secret, archive) = (folder.path().join("s"), folder.path().join("module.tar"));
        std::fs::write(&secret, "user:password")?;
        let boot = BootInput {
            secret: Some(secret),
            ..BootInput::default()
        }
        .prepare(&archive)?;
        assert_eq!((boot.extra.as_str(), boot.ramdisk), ("", Some(archive)));
        Ok(())
    }
}
