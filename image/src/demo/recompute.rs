//! Every window computed anew from the recorded data, by means that share nothing with the stages: the `csv` crate
//! splits the rows, `jiff` reads the stamps, and the maths takes two passes over the values of a window.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::verify::{Window, WindowKey, Windows};

/// Nanoseconds in a second.
const NANOSECONDS: i128 = 1_000_000_000;

/// A recorded series.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The SenML name.
    pub name: String,
    /// The readings in the order of the file: a stamp in nanoseconds since 1970, and a value.
    pub readings: Vec<(i128, f64)>,
}

/// Why recorded data cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CsvError {
    /// The file cannot be read or is no CSV.
    #[error("cannot read {path}")]
    Csv {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: csv::Error,
    },
    /// A stamp that is neither RFC 3339 nor a local time.
    #[error(
        "{path}:{line}: `{stamp}` is no time; write 2022-03-20T11:00:00+01:00, or no offset for UTC"
    )]
    Stamp {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What stands there.
        stamp: String,
    },
    /// A value that is no number.
    #[error("{path}:{line}: `{value}` is no number")]
    Value {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What stands there.
        value: String,
    },
    /// The header has another number of value columns than the series asked for.
    #[error(
        "{path} has {found} value columns after the time, and {expected} are used ({names}): give the right file"
    )]
    Columns {
        /// The file.
        path: PathBuf,
        /// What it has.
        found: usize,
        /// What is needed.
        expected: usize,
        /// The names of the series.
        names: String,
    },
}

/// Reads a recording: one time column, then one value column for each name.
pub fn read(path: &Path, names: &[&str]) -> Result<Vec<Series>, CsvError> {
    let broken = |source| CsvError::Csv {
        path: path.to_owned(),
        source,
    };
    let mut reader = csv::Reader::from_path(path).map_err(broken)?;
    let found = reader.headers().map_err(broken)?.len().saturating_sub(1);
    if found != names.len() {
        let names_text = names.join(", ");
        return Err(CsvError::Columns {
            path: path.to_owned(),
            found,
            expected: names.len(),
            names: names_text,
        });
    }
    let mut series: Vec<Series> = names
        .iter()
        .map(|name| Series {
            name: (*name).to_owned(),
            readings: Vec::new(),
        })
        .collect();
    for record in reader.records() {
        let record = record.map_err(broken)?;
        let line = record.position().map_or(0, csv::Position::line);
        let mut cells = record.iter();
        let stamp = cells.next().unwrap_or_default();
        let stamp_error = || CsvError::Stamp {
            path: path.to_owned(),
            line,
            stamp: stamp.to_owned(),
        };
        let nanoseconds = parse_stamp(stamp).ok_or_else(stamp_error)?;
        // A sensor has nothing to send for an empty cell.
        for (one, cell) in series
            .iter_mut()
            .zip(cells)
            .filter(|(_, cell)| !cell.trim().is_empty())
        {
            let value: Option<f64> = cell
                .trim()
                .parse()
                .ok()
                .filter(|value: &f64| value.is_finite());
            let value_error = || CsvError::Value {
                path: path.to_owned(),
                line,
                value: cell.to_owned(),
            };
            one.readings
                .push((nanoseconds, value.ok_or_else(value_error)?));
        }
    }
    Ok(series)
}

/// Nanoseconds since 1970; a stamp without an offset is UTC.
fn parse_stamp(text: &str) -> Option<i128> {
    if let Ok(stamp) = text.parse::<Timestamp>() {
        return Some(stamp.as_nanosecond());
    }
    let local: DateTime = text.parse().ok()?;
    TimeZone::UTC
        .to_timestamp(local)
        .ok()
        .map(Timestamp::as_nanosecond)
}

/// The windows of `seconds` each, aligned to 1970-01-01T00:00:00Z and so to every UTC midnight; one for each series
/// and window with at least one reading.
///
/// A window should hold `seconds / spacing` readings. The spacing of a series, as the window sees it, is the greatest
/// common divisor of the distances between all its stamps up to the window's end (crate `stage`, room `window`); with
/// fewer than two stamps there is none, and nothing is said of missing readings.
pub fn windows(series: &[Series], seconds: i64) -> Windows {
    let length = i128::from(seconds) * NANOSECONDS;
    let mut windows = Windows::new();
    for one in series {
        let mut groups: BTreeMap<i128, Vec<(i128, f64)>> = BTreeMap::new();
        for reading in &one.readings {
            groups
                .entry(reading.0.div_euclid(length))
                .or_default()
                .push(*reading);
        }
        let mut stamps: Vec<i128> = Vec::new();
        for (index, readings) in groups {
            stamps.extend(readings.iter().map(|(stamp, _)| *stamp));
            stamps.sort_unstable();
            let present = readings.len() as i128;
            let missing = spacing(&stamps).map(|spacing| (length / spacing - present).max(0));
            let values: Vec<f64> = readings.into_iter().map(|(_, value)| value).collect();
            // Both fit by far: stamps of `jiff` lie within 10,000 years.
            let start = i64::try_from(index * i128::from(seconds)).unwrap_or(i64::MAX);
            let missing = missing.and_then(|missing| u64::try_from(missing).ok());
            windows.insert(
                WindowKey {
                    series: one.name.clone(),
                    start,
                },
                summarize(&values, missing),
            );
        }
    }
    windows
}

/// The greatest common divisor of the distances between neighbours, which divides every other distance too.
fn spacing(sorted: &[i128]) -> Option<i128> {
    let distances = sorted
        .windows(2)
        .filter_map(|pair| Some(pair.last()? - pair.first()?));
    distances
        .filter(|distance| *distance > 0)
        .reduce(greatest_common_divisor)
}

fn greatest_common_divisor(a: i128, b: i128) -> i128 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// Two passes: the mean first, then the distances to it.
fn summarize(values: &[f64], missing: Option<u64>) -> Window {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / count;
    Window {
        count: values.len() as u64,
        missing,
        mean,
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        deviation: variance.sqrt(),
        // What a recording may hold is finite, and the demo gives no ranges.
        flagged: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const DAY: i64 = 86_400;

    fn recording(text: &str, names: &[&str]) -> Result<Vec<Series>, CsvError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        read(file.path(), names)
    }

    /// A series of readings at these hours since 1970, with these values.
    fn hourly(readings: &[(i128, f64)]) -> Vec<Series> {
        let readings = readings
            .iter()
            .map(|(hour, value)| (hour * 3_600 * NANOSECONDS, *value))
            .collect();
        vec![Series {
            name: "a".into(),
            readings,
        }]
    }

    fn missing(readings: &[(i128, f64)]) -> Vec<Option<u64>> {
        windows(&hourly(readings), DAY)
            .values()
            .map(|window| window.missing)
            .collect()
    }

    #[test]
    fn figures_worked_out_by_hand() {
        let all = windows(
            &hourly(&[
                (0, 2.0),
                (1, 4.0),
                (2, 4.0),
                (3, 4.0),
                (4, 5.0),
                (5, 5.0),
                (6, 7.0),
                (7, 9.0),
            ]),
            DAY,
        );
        let key = WindowKey {
            series: "a".into(),
            start: 0,
        };
        let expected = Window {
            count: 8,
            missing: Some(16),
            mean: 5.0,
            min: 2.0,
            max: 9.0,
            deviation: 2.0,
            flagged: 0,
        };
        assert_eq!(all, Windows::from([(key, expected)]));
    }

    #[test]
    fn the_spacing_is_what_all_stamps_so_far_agree_on() {
        assert_eq!(missing(&[(0, 1.0)]), [None], "one stamp has no spacing");
        assert_eq!(
            missing(&[(0, 1.0), (12, 1.0)]),
            [Some(0)],
            "every twelve hours"
        );
        assert_eq!(
            missing(&[(0, 1.0), (12, 1.0), (25, 1.0)]),
            [Some(0), Some(23)],
            "hourly from the second day on"
        );
        assert_eq!(
            missing(&[(25, 1.0), (0, 1.0), (12, 1.0)]),
            [Some(0), Some(23)],
            "whatever their order"
        );
        assert_eq!(
            missing(&[(12, 1.0), (0, 1.0)]),
            [Some(0)],
            "backwards within a day"
        );
        assert_eq!(
            missing(&[(0, 1.0), (0, 2.0)]),
            [None],
            "the same stamp twice"
        );
    }

    #[test]
    fn stamps_are_utc_or_say_how_far_from_it() -> Result<(), CsvError> {
        let stamps = [
            "1970-01-01T01:00:00+01:00",
            "1970-01-01T00:00:01",
            "1970-01-01 00:00:02.5",
            "1969-12-31T23:59:59Z",
        ];
        let text = format!(
            "t,v\n{}",
            stamps.map(|stamp| format!("{stamp},1\n")).concat()
        );
        let read: Vec<i128> = recording(&text, &["a"])?[0]
            .readings
            .iter()
            .map(|(stamp, _)| *stamp)
            .collect();
        assert_eq!(read, [0, NANOSECONDS, NANOSECONDS * 5 / 2, -NANOSECONDS]);
        Ok(())
    }

    #[test]
    fn a_reading_before_1970_falls_into_the_window_before() {
        let starts: Vec<i64> = windows(&hourly(&[(-1, 1.0), (0, 1.0)]), DAY)
            .keys()
            .map(|key| key.start)
            .collect();
        assert_eq!(starts, [-DAY, 0]);
    }

    #[test]
    fn an_empty_cell_is_no_reading_of_its_series_alone() -> Result<(), CsvError> {
        let series = recording(
            "t,a,b\n1970-01-01T00:00:00Z,,2\n1970-01-01T01:00:00Z,1, \n",
            &["a", "b"],
        )?;
        assert_eq!(
            (series[0].readings.len(), series[1].readings.as_slice()),
            (1, [(0, 2.0)].as_slice())
        );
        Ok(())
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        let said = |text| recording(text, &["a"]).unwrap_err().to_string();
        assert!(said("t,v\n1970-01-01T00:00:00Z,1\nsoon,2\n").contains(":3: `soon` is no time"));
        assert!(said("t,v\n1970-01-01T00:00:00Z,NaN\n").contains(":2: `NaN` is no number"));
        assert!(said("t,v,w\n").contains("has 2 value columns after the time, and 1 are used (a)"));
        let short = recording("t,v\n1970-01-01T00:00:00Z\n", &["a"]).unwrap_err();
        assert!(matches!(short, CsvError::Csv { .. }), "{short}");
    }

    #[test]
    fn the_recordings_of_this_project_have_1153_days() -> Result<(), CsvError> {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data");
        let mut series = read(&data.join("water-flow.csv"), &["flow"])?;
        series.extend(read(
            &data.join("seattle-weather-hourly-normals.csv"),
            &["pressure", "temperature", "wind"],
        )?);
        let windows = windows(&series, DAY);
        assert_eq!(windows.len(), 1_153);
        let missing: u64 = windows.values().filter_map(|window| window.missing).sum();
        let readings: u64 = windows.values().map(|window| window.count).sum();
        // Every window is of 24 hours, and all recordings are hourly from their first day on.
        assert_eq!(
            (readings, readings + missing),
            (1_268 + 3 * 8_759, 1_153 * 24)
        );
        Ok(())
    }
}
