//! `grantflow top`: a pipeline as it runs, on a terminal. The rim: keys, the terminal, a thread that looks.

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Color, Print, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    self, Clear, ClearType, DisableLineWrap, EnableLineWrap, EnterAlternateScreen,
    LeaveAlternateScreen,
};
use crossterm::{cursor, execute, queue};

use super::document;
use super::rates::rates;
use super::screen::{Key, Screen};
use super::view::{self, Line, Order, Tone};
use super::{Looker, Which};
use crate::compose::snapshot::Snapshot;
use crate::failure::Failure;
use crate::lab::signals;
use crate::output;

/// How soon a key, a signal or news is answered.
const LOOK: Duration = Duration::from_millis(100);

/// The width of what is printed once.
const WIDTH: usize = 100;

/// What `grantflow top` is told.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Seconds between looks; with --once, over which rates are
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Print it once, over one interval; so it is without a terminal, and with --json
    #[arg(long)]
    once: bool,
}

/// Does it.
pub fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let looker = Looker::new(&args.which)?;
    let interval = Duration::from_secs(args.interval);
    if args.once || json || !io::stdout().is_terminal() {
        let (before, after) = sample(&looker, interval)?;
        let rates = rates(&before, &after).unwrap_or_default();
        if json {
            let document = serde_json::to_string(&document::document(&after, &rates))?;
            return Ok(output::line(document)?);
        }
        output::line(view::title(&after, &rates))?;
        for line in view::lines(&after, &rates, Order::File, WIDTH) {
            output::line(line.text)?;
        }
        return Ok(());
    }
    let stop = looker.stop();
    let name = looker.name().to_owned();
    let seen = watch(looker, interval);
    show(&name, &seen, &stop)
}

/// Two looks with so much time between.
pub fn sample(looker: &Looker, interval: Duration) -> Result<(Snapshot, Snapshot), Failure> {
    let begin = Instant::now();
    let look = || {
        let down = || Failure::failed(format!("{} is down", looker.name()));
        looker.look(begin.elapsed())?.ok_or_else(down)
    };
    let before = look()?;
    let until = Instant::now() + interval;
    let stop = looker.stop();
    while Instant::now() < until {
        if signals::came(&stop) {
            return Err(Failure::failed("stopped by a signal"));
        }
        thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
    }
    Ok((before, look()?))
}

/// Looks in a thread of its own: an `xl` that hangs must not hold up the keys.
fn watch(looker: Looker, interval: Duration) -> Receiver<Result<Option<Snapshot>, String>> {
    let (sender, receiver) = sync_channel(1);
    thread::spawn(move || {
        let begin = Instant::now();
        loop {
            let seen = looker
                .look(begin.elapsed())
                .map_err(|error| error.to_string());
            if sender.send(seen).is_err() {
                return;
            }
            thread::sleep(interval);
        }
    });
    receiver
}

fn show(
    name: &str,
    seen: &Receiver<Result<Option<Snapshot>, String>>,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let mut screen = Screen::default();
    let terminal = Terminal::take()?;
    let mut shown = None;
    loop {
        match seen.try_recv() {
            Ok(Ok(Some(snapshot))) => screen.saw(Ok(snapshot)),
            Ok(Ok(None)) => {
                drop(terminal);
                return Ok(output::line(format_args!("{name} is down"))?);
            }
            Ok(Err(trouble)) => screen.saw(Err(trouble)),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                return Err(Failure::failed("what looks at the pipeline has ended"));
            }
        }
        let (width, height) = terminal::size()?;
        let lines = screen.lines(width.into(), height.into());
        let now = Some((width, height, lines));
        if now != shown {
            shown = now;
            if let Some((_, _, lines)) = &shown {
                draw(&mut io::stdout().lock(), lines)?;
            }
        }
        if signals::came(stop) {
            return Ok(());
        }
        if event::poll(LOOK)?
            && let Some(key) = key(&event::read()?)
            && !screen.press(key)
        {
            return Ok(());
        }
    }
}

/// What a key means. Any other event has us draw again, for a terminal of another size.
fn key(event: &Event) -> Option<Key> {
    let Event::Key(key) = event else {
        return None;
    };
    if key.kind == KeyEventKind::Release {
        return None;
    }
    Some(match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::Quit,
        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
        KeyCode::Char('s') => Key::Sort,
        KeyCode::Char('p' | ' ') => Key::Pause,
        KeyCode::Char('h' | '?') => Key::Help,
        KeyCode::Down | KeyCode::Char('j') => Key::Scroll(1),
        KeyCode::Up | KeyCode::Char('k') => Key::Scroll(-1),
        KeyCode::PageDown => Key::Scroll(10),
        KeyCode::PageUp => Key::Scroll(-10),
        _ => return None,
    })
}

/// Writes the lines of a screen, in one piece.
fn draw(out: &mut impl Write, lines: &[Line]) -> io::Result<()> {
    let mut frame = Vec::new();
    for (row, line) in (0..).zip(lines) {
        queue!(frame, cursor::MoveTo(0, row))?;
        match line.tone {
            Tone::Plain => {}
            Tone::Heading => queue!(frame, SetAttribute(Attribute::Bold))?,
            Tone::Fault => queue!(frame, SetForegroundColor(Color::Red))?,
        }
        queue!(
            frame,
            Print(&line.text),
            SetAttribute(Attribute::Reset),
            Clear(ClearType::UntilNewLine)
        )?;
    }
    out.write_all(&frame)?;
    out.flush()
}

/// The terminal while it is ours.
struct Terminal;

impl Terminal {
    /// Takes it; a panic gives it back before it speaks.
    fn take() -> io::Result<Self> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
        terminal::enable_raw_mode()?;
        let taken = Self;
        execute!(
            io::stdout(),
            EnterAlternateScreen,
            DisableLineWrap,
            cursor::Hide
        )?;
        Ok(taken)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// As it was. What fails here has no terminal to be told on.
fn give_back() {
    let _ = execute!(
        io::stdout(),
        cursor::Show,
        EnableLineWrap,
        LeaveAlternateScreen
    );
    let _ = terminal::disable_raw_mode();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossterm::event::KeyEvent;

    #[test]
    fn each_line_has_a_row_and_its_tone_ends_with_it() {
        let line = |text: &str, tone| Line {
            text: text.into(),
            tone,
        };
        let lines = [
            line("a", Tone::Heading),
            line("b", Tone::Fault),
            line("", Tone::Plain),
        ];
        let mut out = Vec::new();
        draw(&mut out, &lines).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\x1b[1;1H\x1b[1ma\x1b[0m\x1b[K\x1b[2;1H\x1b[38;5;9mb\x1b[0m\x1b[K\x1b[3;1H\x1b[0m\x1b[K"
        );
    }

    #[test]
    fn keys_are_what_the_help_says() {
        let press = |code, modifiers| key(&Event::Key(KeyEvent::new(code, modifiers)));
        let plain = |code| press(code, KeyModifiers::NONE);
        assert_eq!(plain(KeyCode::Char('q')), Some(Key::Quit));
        assert_eq!(plain(KeyCode::Esc), Some(Key::Quit));
        let ctrl_c = press(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!((ctrl_c, plain(KeyCode::Char('c'))), (Some(Key::Quit), None));
        assert_eq!(plain(KeyCode::Char(' ')), Some(Key::Pause));
        assert_eq!(plain(KeyCode::Char('?')), Some(Key::Help));
        assert_eq!(plain(KeyCode::Down), Some(Key::Scroll(1)));
        assert_eq!(key(&Event::Resize(1, 1)), None);
    }
}
