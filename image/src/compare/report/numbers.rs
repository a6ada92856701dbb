//! Values as a reader reads them: three digits and a unit. Pure.

use crate::compare::catalogue::Measure;

/// A value of a measure.
pub fn value(measure: Measure, value: f64) -> String {
    match measure.unit() {
        "bytes/s" => prefixed(value, "B/s"),
        "ns" => seconds(value / 1e9),
        "s" => seconds(value),
        "bytes" => bytes(value),
        "1" => digits(value),
        unit => format!("{} {unit}", digits(value)),
    }
}

/// How many times: `512×`.
pub fn times(ratio: f64) -> String {
    format!("{}\u{d7}", digits(ratio))
}

/// The same beside a goal: where it falls short of that, with as many digits as it takes to see it.
pub fn times_of(ratio: f64, goal: f64) -> String {
    let digits = (2..6).map(|places| format!("{ratio:.places$}"));
    let mut seen = digits.filter(|text| text.parse().is_ok_and(|shown: f64| shown < goal));
    match seen.next() {
        Some(text) if times(ratio) == times(goal) => format!("{text}\u{d7}"),
        _ => times(ratio),
    }
}

/// A size of messages: `64 B`, `64 KiB`; what no power of 1024 divides is left in bytes.
pub fn size(bytes: u64) -> String {
    match bytes {
        0 => "0 B".to_owned(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} B"),
    }
}

/// A share: `31 %`, which no line breaks.
pub fn percent(share: f64) -> String {
    format!("{}\u{a0}%", digits(share * 100.0))
}

fn prefixed(value: f64, unit: &str) -> String {
    let steps = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match steps.iter().find(|(step, _)| value >= step * 0.9995) {
        Some((step, prefix)) => format!("{} {prefix}{unit}", digits(value / step)),
        None => format!("{} {unit}", digits(value)),
    }
}

fn bytes(value: f64) -> String {
    let steps = [
        (1_073_741_824.0, "GiB"),
        (1_048_576.0, "MiB"),
        (1024.0, "KiB"),
    ];
    match steps.iter().find(|(step, _)| value >= *step) {
        Some((step, unit)) => format!("{} {unit}", digits(value / step)),
        None => format!("{} B", digits(value)),
    }
}

/// A time given in seconds.
pub fn seconds(value: f64) -> String {
    let steps = [(1.0, "s"), (1e-3, "ms"), (1e-6, "\u{b5}s")];
    match steps.iter().find(|(step, _)| value >= step * 0.9995) {
        Some((step, unit)) => format!("{} {unit}", digits(value / step)),
        None if value == 0.0 => "0 s".to_owned(),
        None => format!("{} ns", digits(value / 1e-9)),
    }
}

/// Three significant digits, more before the point if there are; a power of ten where that would be long.
pub fn digits(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "no number".to_owned();
    }
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(0.000_999_5..1e7).contains(&size) {
        return format!("{value:.2e}");
    }
    let places = match size {
        99.95.. => 0,
        9.995.. => 1,
        0.9995.. => 2,
        0.099_95.. => 3,
        0.009_995.. => 4,
        _ => 5,
    };
    let text = format!("{value:.places$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        grouped(&text)
    }
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && digits.len() > 4 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_falls_short_by_a_hair_is_seen_to() {
        assert_eq!(times_of(4.997_9, 5.0), "4.998\u{d7}");
        assert_eq!(times_of(4.9, 5.0), "4.9\u{d7}");
        assert_eq!(times_of(5.000_1, 5.0), "5\u{d7}");
        assert_eq!(times_of(499.8, 500.0), "499.80\u{d7}");
        assert_eq!(times_of(4.999_999_9, 5.0), "5\u{d7}", "a millionth is none");
    }

    #[test]
    fn values_have_three_digits_and_their_unit() {
        for (measure, at, text) in [
            (Measure::Throughput, 1.4e9, "1.4 GB/s"),
            (Measure::Throughput, 999_900.0, "1 MB/s"),
            (Measure::Throughput, 12.0, "12 B/s"),
            (Measure::RttP50, 350.0, "350 ns"),
            (Measure::RttP50, 9_123.0, "9.12 \u{b5}s"),
            (Measure::RttMax, 1.2e9, "1.2 s"),
            (Measure::ImageSize, 137_000.0, "134 KiB"),
            (Measure::LeastMemory, 56.0, "56 MiB"),
            (Measure::Fit, 192.0, "192"),
            (Measure::PipelineBroker, 20_400.0, "20,400 readings/s"),
            (Measure::EventsPerMessage, 0.045, "0.045"),
            (Measure::Throughput, 1e300, "1.00e288 TB/s"),
            (Measure::Recovery, 0.0, "0 s"),
        ] {
            assert_eq!(value(measure, at), text);
        }
    }

    #[test]
    fn ratios_sizes_and_shares() {
        assert_eq!(
            [times(512.4), times(1.5), times(12_345.0)],
            ["512\u{d7}", "1.5\u{d7}", "12,345\u{d7}"]
        );
        assert_eq!(
            [size(64), size(1024), size(65_536), size(1500)],
            ["64 B", "1 KiB", "64 KiB", "1500 B"]
        );
        assert_eq!(percent(0.314), "31.4\u{a0}%");
    }
}
