//! Everything that is to say about one image: its sizes, and what is wrong with it.

use serde::Serialize;

use super::read::Image;
use super::{layout, network, notes, red_zone};

/// Bytes by use, once loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// Instructions.
    pub text: u64,
    /// Constants and notes.
    pub rodata: u64,
    /// Initialised data.
    pub data: u64,
    /// Zeroed data.
    pub bss: u64,
}

impl Sizes {
    /// The sizes of an image's sections.
    pub fn of(image: &Image<'_>) -> Self {
        let mut sizes = Self::default();
        for section in image.sections.iter().filter(|section| section.allocated()) {
            let part = match () {
                () if section.executable() => &mut sizes.text,
                () if section.zeroed() => &mut sizes.bss,
                () if section.writable() => &mut sizes.data,
                () => &mut sizes.rodata,
            };
            *part += section.size;
        }
        sizes
    }
}

/// The judgement about one image.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The image's name.
    pub name: String,
    /// Bytes of the stripped file.
    pub size: u64,
    /// Bytes by use.
    pub sizes: Sizes,
    /// What was looked at, and what is wrong with it.
    pub checks: Vec<Check>,
    /// How many bytes the stripped file is above the goal.
    pub above_goal: u64,
}

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// What is wrong; empty for a pass.
    pub wrong: Vec<String>,
}

impl Report {
    /// Judges an image. `image` is the file with its symbols, `size` that of the stripped one, `goal` the most that it should
    /// have; `network` says whether its package asked for TCP/IP.
    pub fn new(name: &str, image: &Image<'_>, size: u64, goal: u64, network: bool) -> Self {
        let below = red_zone::accesses(image)
            .iter()
            .map(ToString::to_string)
            .collect();
        let checks = vec![
            Check {
                name: "static",
                wrong: layout::not_static(image),
            },
            Check {
                name: "complete",
                wrong: layout::incomplete(image),
            },
            Check {
                name: "Xen notes",
                wrong: notes::wrong_for_xen(image),
            },
            Check {
                name: "description",
                wrong: notes::wrong_description(image),
            },
            Check {
                name: "red zone",
                wrong: below,
            },
            Check {
                name: "network",
                wrong: if network {
                    Vec::new()
                } else {
                    network::unasked(image)
                },
            },
        ];
        Self {
            name: name.to_owned(),
            size,
            sizes: Sizes::of(image),
            checks,
            above_goal: size.saturating_sub(goal),
        }
    }

    /// Nothing is wrong.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.wrong.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_count_by_use_and_unloaded_ones_not_at_all() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let image = Image::read(&file).unwrap();
        let sizes = Sizes::of(&image);
        let text: u64 = image
            .sections
            .iter()
            .filter(|s| [".text", ".init", ".fini", ".plt", ".plt.got"].contains(&s.name.as_str()))
            .map(|s| s.size)
            .sum();
        assert_eq!(sizes.text, text);
        let total = sizes.text + sizes.rodata + sizes.data + sizes.bss;
        assert!(total < file.len() as u64, "debug information is not loaded");
    }

    #[test]
    fn the_size_goal_itself_is_met() {
        let above = |goal| Report::new("a", &Image::default(), 100, goal, false).above_goal;
        assert_eq!((above(101), above(100), above(99)), (0, 0, 1));
    }
}
