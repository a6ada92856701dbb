//! A domain's description as xl.cfg(5) text.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::uuid::Uuid;

/// The longest command line a PV guest receives whole, in bytes: start_info's `cmd_line` has
/// `MAX_GUEST_CMDLINE` = 1,024 (xen.h), one of them the final NUL, and a guest that sees 1,023 bytes cannot know
/// whether `xl` cut the rest.
pub const COMMAND_LINE_MAX: usize = 1_022;

/// What `xl` does with a domain that ended (xl.cfg(5), "EVENT ACTIONS").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Forget the domain.
    Destroy,
    /// Boot it again.
    Restart,
    /// Keep it to look at; it must be destroyed by hand.
    Preserve,
}

impl Action {
    /// The word for it, libvirt's too.
    pub fn word(self) -> &'static str {
        match self {
            Self::Destroy => "destroy",
            Self::Restart => "restart",
            Self::Preserve => "preserve",
        }
    }
}

/// One PV domain, in the words of xl.cfg(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XlConfig {
    /// The name in `xl list`: 1 to 63 of `A-Za-z0-9._-`, not starting with `-`, not a number.
    pub name: String,
    /// The identity of the domain, where it should be known before there is one; else `xl` makes one up.
    pub uuid: Option<Uuid>,
    /// The image.
    pub kernel: PathBuf,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// The command line: the image's parameters.
    pub extra: String,
    /// The module, where the image needs one.
    pub ramdisk: Option<PathBuf>,
    /// The bridge that its network interface joins, where it has one.
    pub bridge: Option<String>,
    /// The CPUs it may run on, where that is not left to Xen: `1`, `2-3`.
    pub cpus: Option<String>,
    /// What happens when the domain powers off.
    pub on_poweroff: Action,
    /// What happens when the domain crashes.
    pub on_crash: Action,
}

/// Why a description has no text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Not a name that `xl` and xenstore can carry.
    #[error(
        "`{0}` is no domain name: use 1 to 63 letters, digits, `.`, `_` or `-`, with a letter in it and no leading `-`"
    )]
    Name(String),
    /// No memory at all.
    #[error("domain {0} has no memory: give it at least 1 MiB")]
    NoMemory(String),
    /// The command line would be cut by `xl` without a word.
    #[error(
        "the command line of {name} has {bytes} bytes and {COMMAND_LINE_MAX} arrive whole: put the parameters into the module"
    )]
    CommandLineTooLong {
        /// The domain.
        name: String,
        /// The length asked for.
        bytes: usize,
    },
    /// A line break or another control character, which no line of the file can hold.
    #[error("`{key}` of a domain holds the control character {character:?}: remove it")]
    ControlCharacter {
        /// The setting.
        key: &'static str,
        /// The character.
        character: char,
    },
    /// Not a name that a bridge can have.
    #[error("`{0}` is no bridge: its name has 1 to 15 letters, digits, `.`, `_` or `-`")]
    Bridge(String),
    /// A path that is not UTF-8.
    #[error("`{0}` is not a path in UTF-8: rename it")]
    PathNotText(PathBuf),
}

impl XlConfig {
    /// A domain that is forgotten when it powers off and kept when it crashes.
    pub fn new(name: impl Into<String>, kernel: impl Into<PathBuf>, memory_mib: u32) -> Self {
        Self {
            name: name.into(),
            uuid: None,
            kernel: kernel.into(),
            memory_mib,
            extra: String::new(),
            ramdisk: None,
            bridge: None,
            cpus: None,
            on_poweroff: Action::Destroy,
            on_crash: Action::Preserve,
        }
    }

    /// The text of the file for `xl create`.
    pub fn render(&self) -> Result<String, ConfigError> {
        if !name_is_valid(&self.name) {
            return Err(ConfigError::Name(self.name.clone()));
        }
        if self.memory_mib == 0 {
            return Err(ConfigError::NoMemory(self.name.clone()));
        }
        if self.extra.len() > COMMAND_LINE_MAX {
            return Err(ConfigError::CommandLineTooLong {
                name: self.name.clone(),
                bytes: self.extra.len(),
            });
        }
        let mut text = String::new();
        line(&mut text, "name", &self.name)?;
        if let Some(uuid) = &self.uuid {
            line(&mut text, "uuid", uuid.as_str())?;
        }
        line(&mut text, "type", "pv")?;
        line(&mut text, "kernel", path_text(&self.kernel)?)?;
        if let Some(ramdisk) = &self.ramdisk {
            line(&mut text, "ramdisk", path_text(ramdisk)?)?;
        }
        let _ = writeln!(text, "memory = {}", self.memory_mib);
        let _ = writeln!(text, "vcpus = 1");
        if !self.extra.is_empty() {
            line(&mut text, "extra", &self.extra)?;
        }
        if let Some(bridge) = &self.bridge {
            if !bridge_is_valid(bridge) {
                return Err(ConfigError::Bridge(bridge.clone()));
            }
            let _ = writeln!(text, "vif = [\"bridge={bridge}\"]");
        }
        if let Some(cpus) = &self.cpus {
            line(&mut text, "cpus", cpus)?;
        }
        line(&mut text, "on_poweroff", self.on_poweroff.word())?;
        line(&mut text, "on_crash", self.on_crash.word())?;
        Ok(text)
    }
}

/// Whether `xl` and xenstore can carry the name, and `xl` will not take it for a domain id.
fn name_is_valid(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().any(|b| b.is_ascii_alphabetic())
        && is_plain(name)
}

/// Whether an interface can have the name (IFNAMSIZ, if.h), and `xl` will not take it for more than a name.
fn bridge_is_valid(name: &str) -> bool {
    (1..=15).contains(&name.len()) && is_plain(name)
}

fn is_plain(name: &str) -> bool {
    name.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn path_text(path: &Path) -> Result<&str, ConfigError> {
    path.to_str()
        .ok_or_else(|| ConfigError::PathNotText(path.to_owned()))
}

/// `key = "value"`: `xl` undoes a backslash before a quote or a backslash, and knows no way to end a line in between.
fn line(text: &mut String, key: &'static str, value: &str) -> Result<(), ConfigError> {
    if let Some(character) = value.chars().find(|c| c.is_control()) {
        return Err(ConfigError::ControlCharacter { key, character });
    }
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    let _ = writeln!(text, "{key} = \"{escaped}\"");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sensor() -> XlConfig {
        XlConfig {
            extra: "out.flow=? rate=max name.1=\"water flow\"".into(),
            ramdisk: Some("/srv/flow.csv".into()),
            on_poweroff: Action::Preserve,
            ..XlConfig::new("sensor-1", "/srv/sensor.elf", 1)
        }
    }

    #[test]
    fn a_sensor_reads_as_one_would_write_it_by_hand() {
        let expected = r#"name = "sensor-1"
type = "pv"
kernel = "/srv/sensor.elf"
ramdisk = "/srv/flow.csv"
memory = 1
vcpus = 1
extra = "out.flow=? rate=max name.1=\"water flow\""
on_poweroff = "preserve"
on_crash = "preserve"
"#;
        assert_eq!(sensor().render().as_deref(), Ok(expected));
    }

    #[test]
    fn a_command_line_that_xl_would_cut_is_refused_at_the_first_byte_too_many() {
        let mut config = sensor();
        config.extra = "x".repeat(COMMAND_LINE_MAX);
        assert!(config.render().is_ok());
        config.extra.push('x');
        assert_eq!(
            config.render(),
            Err(ConfigError::CommandLineTooLong {
                name: "sensor-1".into(),
                bytes: 1_023
            })
        );
    }

    #[test]
    fn names_that_xl_would_misread_are_refused() {
        for name in [
            "",
            "17",
            "-v",
            "two words",
            "a/b",
            "ümlaut",
            &"n".repeat(64),
        ] {
            let config = XlConfig {
                name: name.to_owned(),
                ..sensor()
            };
            assert_eq!(config.render(), Err(ConfigError::Name(name.to_owned())));
        }
        assert!(
            XlConfig {
                name: "n".repeat(63),
                ..sensor()
            }
            .render()
            .is_ok()
        );
    }

    #[test]
    fn an_interface_joins_a_bridge_and_nothing_else_is_taken_for_one() {
        let on = |bridge: &str| XlConfig {
            bridge: Some(bridge.to_owned()),
            ..sensor()
        };
        let text = on("xenbr0").render().unwrap_or_default();
        assert!(!text.contains("\ncpus"), "left to Xen: {text}");
        assert!(text.contains("vif = [\"bridge=xenbr0\"]\n"), "{text}");
        for name in ["", "a,script=x", "a\"]", "sixteen-letters-"] {
            assert_eq!(on(name).render(), Err(ConfigError::Bridge(name.to_owned())));
        }
    }

    #[test]
    fn a_domain_keeps_to_its_cpus() {
        let pinned = XlConfig {
            cpus: Some("2-3".into()),
            ..sensor()
        };
        let text = pinned.render().unwrap_or_default();
        assert!(
            text.contains("vcpus = 1\n") && text.contains("cpus = \"2-3\"\n"),
            "{text}"
        );
    }

    #[test]
    fn a_value_cannot_start_a_line_of_its_own() {
        let config = XlConfig {
            extra: "a=1\non_crash=\"restart\"".into(),
            ..sensor()
        };
        assert_eq!(
            config.render(),
            Err(ConfigError::ControlCharacter {
                key: "extra",
                character: '\n'
            })
        );
    }

    #[test]
    fn backslashes_and_quotes_in_a_path_survive_the_quoting() {
        let config = XlConfig {
            kernel: r#"/srv/a\"b.elf"#.into(),
            ..sensor()
        };
        assert!(
            config
                .render()
                .unwrap_or_default()
                .contains(r#"kernel = "/srv/a\\\"b.elf""#)
        );
    }

    #[test]
    fn a_domain_needs_memory() {
        assert_eq!(
            XlConfig {
                memory_mib: 0,
                ..sensor()
            }
            .render(),
            Err(ConfigError::NoMemory("sensor-1".into()))
        );
    }
}
