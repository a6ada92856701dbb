//! What `grantflow top` shows, and what keys do to it. Pure: keys and snapshots in, lines out.

use super::rates::{History, Rates};
use super::view::{self, Line, Order, Tone};
use crate::compose::snapshot::Snapshot;

/// What a user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The end.
    Quit,
    /// Another order of stages.
    Sort,
    /// That figures stand still, or go on.
    Pause,
    /// To know the keys, or not any more.
    Help,
    /// To see what is so many lines further down; further up where it is negative.
    Scroll(isize),
}

const HELP: [&str; 16] = [
    "q, Esc, Ctrl-C  end; the pipeline runs on",
    "s               sort stages: as in the file, faults, CPU, readings first",
    "p, space        let the figures stand still, and go on",
    "arrows, j, k    scroll",
    "h, ?            this, and back",
    "",
    "in/s out/s      readings that a stage takes in and emits in a second",
    "drop/s          readings that it dropped; `grantflow metrics` tells causes",
    "wake/s          events that woke it",
    "rst rec         how often it was started again, its edges connected anew",
    "rdgs/s B/s      readings and bytes over an edge in a second",
    "full            how much of its ring is unread; unknown after a reconnect",
    "wait            share of the time that its writer waited for room",
    "lost            readings that were sent and never arrived",
    "",
    "Stages tell once a second; rates are over the last five.",
];

/// What is shown.
#[derive(Debug, Default)]
pub struct Screen {
    history: History,
    /// What was seen when figures were made to stand still.
    frozen: Option<(Snapshot, Rates)>,
    order: Order,
    help: bool,
    scroll: usize,
    /// Why there is nothing new.
    trouble: String,
}

impl Screen {
    /// Takes in what was seen, or why nothing could be.
    pub fn saw(&mut self, seen: Result<Snapshot, String>) {
        match seen {
            Ok(snapshot) => {
                self.history.add(snapshot);
                self.trouble.clear();
            }
            Err(trouble) => self.trouble = trouble,
        }
    }

    /// Does what a key says; false if that is to end.
    pub fn press(&mut self, key: Key) -> bool {
        match key {
            Key::Quit => return false,
            Key::Sort => self.order = self.order.next(),
            Key::Help => self.help = !self.help,
            Key::Pause => {
                self.frozen = match self.frozen.take() {
                    Some(_) => None,
                    None => self
                        .history
                        .latest()
                        .map(|(last, rates)| (last.clone(), rates)),
                }
            }
            Key::Scroll(lines) => self.scroll = self.scroll.saturating_add_signed(lines),
        }
        true
    }

    /// Just `height` lines of at most `width`.
    pub fn lines(&mut self, width: usize, height: usize) -> Vec<Line> {
        let seen = match &self.frozen {
            Some((snapshot, rates)) => Some((snapshot, rates.clone())),
            None => self.history.latest(),
        };
        let plain = |text: &str| Line {
            text: text.to_owned(),
            tone: Tone::Plain,
        };
        let (title, body) = match &seen {
            _ if self.help => ("keys and columns".to_owned(), HELP.map(plain).into()),
            Some((snapshot, rates)) => (
                view::title(snapshot, rates),
                view::lines(snapshot, rates, self.order, width),
            ),
            None => ("looking".to_owned(), Vec::new()),
        };
        // Between the title, an empty line, and the line of keys.
        let room = height.saturating_sub(3);
        self.scroll = self.scroll.min(body.len().saturating_sub(room));
        let mut lines = vec![plain(&title), plain("")];
        lines.extend(body.into_iter().skip(self.scroll).take(room));
        lines.resize(height.saturating_sub(1), plain(""));
        lines.push(self.foot());
        lines.truncate(height);
        lines.into_iter().map(|line| line.cut(width)).collect()
    }

    fn foot(&self) -> Line {
        if !self.trouble.is_empty() {
            return Line {
                text: self.trouble.clone(),
                tone: Tone::Fault,
            };
        }
        let paused = if self.frozen.is_some() {
            "  PAUSED"
        } else {
            ""
        };
        Line {
            text: format!(
                "q end  s sort: {}  p pause  h help{paused}",
                self.order.word()
            ),
            tone: Tone::Heading,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::pipeline;

    fn shown(screen: &mut Screen, width: usize, height: usize) -> Vec<String> {
        let lines = screen.lines(width, height);
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_screen_is_full_at_any_size_and_nothing_stands_beyond_it() {
        let mut screen = Screen::default();
        for step in 0..4 {
            for (width, height) in [(80, 24), (200, 60), (20, 5), (1, 1), (0, 0), (80, 2)] {
                let lines = shown(&mut screen, width, height);
                assert_eq!(lines.len(), height);
                assert!(
                    lines.iter().all(|line| line.len() <= width),
                    "{width}x{height}: {lines:#?}"
                );
            }
            match step {
                0 => screen.saw(Ok(pipeline(10, 1_000))),
                1 => screen.saw(Err("\x1b[2J`xl list -v` failed\n".repeat(9))),
                _ => assert!(screen.press(Key::Help)),
            }
        }
    }

    #[test]
    fn twenty_four_lines_of_eighty_hold_the_help_and_a_small_pipeline_whole() {
        let mut screen = Screen::default();
        screen.saw(Ok(pipeline(10, 1_000)));
        screen.saw(Ok(pipeline(12, 3_000)));
        let lines = shown(&mut screen, 80, 24);
        assert_eq!(lines[0], "water: 2 stages, 2 up; rates over 2.0 s");
        assert!(
            lines[3].starts_with("flow        3   1000   1000"),
            "{lines:#?}"
        );
        assert_eq!(lines[23], "q end  s sort: file  p pause  h help");
        screen.press(Key::Help);
        let help = shown(&mut screen, 80, 24);
        assert_eq!(help[2..18], HELP);
    }

    #[test]
    fn keys_sort_pause_scroll_and_end() {
        let mut screen = Screen::default();
        screen.saw(Ok(pipeline(10, 1_000)));
        assert!(screen.press(Key::Pause) && screen.press(Key::Sort));
        screen.saw(Ok(pipeline(12, 3_000)));
        let paused = shown(&mut screen, 80, 24);
        assert!(
            paused[0].ends_with("over 0.0 s")
                && paused[23].ends_with("sort: faults  p pause  h help  PAUSED")
        );
        screen.press(Key::Pause);
        assert!(shown(&mut screen, 80, 24)[0].ends_with("over 2.0 s"));
        // Six lines of tables, of which four have room.
        screen.press(Key::Scroll(100));
        assert!(shown(&mut screen, 80, 7)[2].starts_with("windows"));
        screen.press(Key::Scroll(-1));
        assert!(shown(&mut screen, 80, 7)[2].starts_with("flow"));
        screen.press(Key::Scroll(-100));
        assert!(shown(&mut screen, 80, 7)[2].starts_with("stage"));
        assert!(!screen.press(Key::Quit));
    }

    #[test]
    fn trouble_is_told_until_it_is_over() {
        let mut screen = Screen::default();
        screen.saw(Err("`xl list -v` failed".into()));
        assert_eq!(shown(&mut screen, 80, 24)[23], "`xl list -v` failed");
        screen.saw(Ok(pipeline(10, 1_000)));
        assert!(shown(&mut screen, 80, 24)[23].starts_with("q end"));
    }
}
