//! Progress of long work, told on standard error so that standard output stays for results.

use std::fmt;
use std::time::{Duration, Instant};

use crate::output;

/// Says what is going on, with the time since the work began.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    start: Instant,
    silent: bool,
}

impl Progress {
    /// Starts the clock.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            silent: false,
        }
    }

    /// A progress that says nothing, for callers that speak for themselves.
    pub fn silent() -> Self {
        Self {
            start: Instant::now(),
            silent: true,
        }
    }

    /// One line: what begins or was reached now.
    pub fn say(&self, what: impl fmt::Display) {
        if !self.silent {
            output::tell(format_args!("[{}] {what}", Elapsed(self.start.elapsed())));
        }
    }

    /// The time since the work began.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// A duration as a person reads it: `4.2 s`, `3 min 05 s`, in a column of constant width.
pub struct Elapsed(pub Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        let text = if seconds < 60.0 {
            format!("{seconds:.1} s")
        } else {
            let whole = self.0.as_secs();
            format!("{} min {:02} s", whole / 60, whole % 60)
        };
        write!(f, "{text:>8}")
    }
}

/// A number of bytes as a person reads it: `612 B`, `4.5 KiB`, `70.6 MiB`.
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        let text = match self.0 {
            0..1024 => format!("{} B", self.0),
            1024..1_048_576 => format!("{:.1} KiB", bytes / 1024.0),
            _ => format!("{:.1} MiB", bytes / 1_048_576.0),
        };
        f.pad(&text)
    }
}

/// A count with a comma before every three digits.
pub struct Thousands(pub u64);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_one_width_up_to_a_minute_and_name_their_units() {
        assert_eq!(
            Elapsed(Duration::from_millis(4_230)).to_string(),
            "   4.2 s"
        );
        assert_eq!(
            Elapsed(Duration::from_millis(59_900)).to_string(),
            "  59.9 s"
        );
        assert_eq!(Elapsed(Duration::from_secs(185)).to_string(), "3 min 05 s");
    }

    #[test]
    fn sizes_change_their_unit_at_powers_of_1024() {
        assert_eq!(Bytes(1023).to_string(), "1023 B");
        assert_eq!(Bytes(1024).to_string(), "1.0 KiB");
        assert_eq!(format!("{:>10}", Bytes(74_000_000)), "  70.6 MiB");
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        let texts: Vec<String> = [0, 999, 1_000, 1_234_567]
            .map(|n| Thousands(n).to_string())
            .into();
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
