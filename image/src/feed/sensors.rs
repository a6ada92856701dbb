//! The sensors that Linux knows: hwmon (Documentation/hwmon/sysfs-interface.rst) and IIO (Documentation/ABI/testing/sysfs-bus-iio).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stage::senml::MAX_NAME;
use stage::{Reading, Timestamp, Value};
use vchan_linux::sleep_until;

use super::format::Sink;
use super::source::Bad;

/// What hwmon measures: the beginning of a file's name, the size of its unit, the unit.
const HWMON: [(&str, f64, &str); 6] = [
    ("temp", 1e-3, "Cel"),
    ("fan", 1.0, "1/min"),
    ("in", 1e-3, "V"),
    ("curr", 1e-3, "A"),
    ("power", 1e-6, "W"),
    ("humidity", 1e-3, "%RH"),
];

/// What IIO measures, once offset and scale are applied: kind of channel, the size of IIO's unit, the unit. Of other kinds the
/// unit is one that SenML has no name for.
const IIO: [(&str, f64, &str); 24] = [
    ("accel", 1.0, "m/s2"),
    ("altvoltage", 1e-3, "V"),
    ("angl", 1.0, "rad"),
    ("capacitance", 1e-9, "F"),
    ("count", 1.0, "count"),
    ("current", 1e-3, "A"),
    ("distance", 1.0, "m"),
    ("electricalconductivity", 1.0, "S/m"),
    ("energy", 1.0, "J"),
    ("gravity", 1.0, "m/s2"),
    ("humidityrelative", 1e-3, "%RH"),
    ("illuminance", 1.0, "lx"),
    ("magn", 1e-4, "T"),
    ("ph", 1.0, "pH"),
    ("positionrelative", 1e-3, "%"),
    ("power", 1e-3, "W"),
    ("pressure", 1e3, "Pa"),
    ("resistance", 1.0, "Ohm"),
    ("rot", 1.0, "deg"),
    ("steps", 1.0, "count"),
    ("temp", 1e-3, "Cel"),
    ("velocity", 1.0, "m/s"),
    ("voltage", 1e-3, "V"),
    ("weight", 1.0, "g"),
];

/// Sensors, asked at equal intervals.
#[derive(Debug)]
pub struct Sensors {
    root: PathBuf,
    every: Duration,
    next: Instant,
    /// How often still; for ever, if none is said.
    rounds: Option<u64>,
}

/// One channel of one device.
#[derive(Debug, Clone, PartialEq)]
struct Channel {
    /// `DEVICE:CHANNEL`.
    name: String,
    unit: &'static str,
    /// What the file's number is multiplied by after `offset` was added.
    scale: f64,
    offset: f64,
    file: PathBuf,
    /// A file that says 1 while the sensor is broken.
    fault: Option<PathBuf>,
}

impl Sensors {
    /// The sensors below `root`, which is `/` but for tests, asked now and then every `every`, `rounds` times in all.
    pub fn new(root: &Path, every: Duration, rounds: Option<u64>) -> Self {
        Self {
            root: root.to_owned(),
            every,
            next: Instant::now(),
            rounds,
        }
    }

    /// The names of all there are.
    pub fn names(&self) -> Vec<String> {
        let channels = channels(&self.root);
        channels.into_iter().map(|channel| channel.name).collect()
    }

    /// Waits until they are due.
    pub async fn ready(&mut self) {
        sleep_until(self.next).await;
    }

    /// Asks each once; whether that was not the last time.
    pub fn take(&mut self, time: Timestamp, bad: &mut Bad, emit: Sink<'_>) -> bool {
        // Those that were plugged in meanwhile are asked too.
        for channel in channels(&self.root) {
            let said = channel.read().and_then(|value| {
                let reading = Reading {
                    name: &channel.name,
                    unit: channel.unit,
                    time,
                    value: Value::Number(value),
                };
                emit(&reading).map_err(|error| error.to_string())
            });
            if let Err(why) = said {
                bad.note(&channel.name, why);
            }
        }
        // What was slow is not made up for.
        self.next = (self.next + self.every).max(Instant::now());
        self.rounds = self.rounds.map(|rounds| rounds.saturating_sub(1));
        self.rounds != Some(0)
    }
}

impl Channel {
    fn read(&self) -> Result<f64, String> {
        if self.fault.as_deref().and_then(number) == Some(1.0) {
            return Err("it says that it is broken".into());
        }
        let text = fs::read_to_string(&self.file).map_err(|error| error.to_string())?;
        match stage::decimal::parse(text.trim().as_bytes()) {
            Some(value) => Ok((value + self.offset) * self.scale),
            None => Err(format!("`{}` is not a number", text.trim().escape_debug())),
        }
    }
}

/// All channels, in the order of their names, no two of the same.
fn channels(root: &Path) -> Vec<Channel> {
    let mut all = Vec::new();
    for (folder, prefix, of_device) in [
        (
            "sys/class/hwmon",
            "hwmon",
            hwmon as fn(&Path, &str) -> Vec<Channel>,
        ),
        ("sys/bus/iio/devices", "iio:device", iio),
    ] {
        for name in files(&root.join(folder)) {
            if name.starts_with(prefix) {
                let device = root.join(folder).join(&name);
                let known = word(&device.join("name")).unwrap_or_else(|| plain(&name));
                all.extend(of_device(&device, &known));
            }
        }
    }
    all.sort_by(|one, other| (&one.name, &one.file).cmp(&(&other.name, &other.file)));
    // Two devices of one kind: the second one's number is told.
    let mut seen = BTreeSet::new();
    for channel in &mut all {
        if !seen.insert(channel.name.clone()) {
            let device = channel.file.parent().and_then(Path::file_name);
            let device = plain(&device.unwrap_or_default().to_string_lossy());
            channel.name = cut(&format!("{}:{device}", channel.name));
            seen.insert(channel.name.clone());
        }
    }
    all
}

fn hwmon(device: &Path, known: &str) -> Vec<Channel> {
    let mut found = Vec::new();
    for file in files(device) {
        let Some(item) = file.strip_suffix("_input") else {
            continue;
        };
        let kind = item.trim_end_matches(|c: char| c.is_ascii_digit());
        let Some((_, scale, unit)) = HWMON.iter().find(|(name, ..)| *name == kind) else {
            continue;
        };
        let label = word(&device.join(format!("{item}_label"))).unwrap_or_else(|| item.to_owned());
        let fault = device.join(format!("{item}_fault"));
        found.push(Channel {
            name: cut(&format!("{known}:{label}")),
            unit,
            scale: *scale,
            offset: 0.0,
            file: device.join(&file),
            fault: fault.exists().then_some(fault),
        });
    }
    found
}

fn iio(device: &Path, known: &str) -> Vec<Channel> {
    let files = files(device);
    let mut found = Vec::new();
    for file in &files {
        let Some(item) = file.strip_prefix("in_") else {
            continue;
        };
        let (item, is_raw) = match (item.strip_suffix("_raw"), item.strip_suffix("_input")) {
            (Some(item), _) => (item, true),
            // What is there both ways is told once.
            (_, Some(item)) if !files.contains(&format!("in_{item}_raw")) => (item, false),
            _ => continue,
        };
        let kind: String = item.chars().take_while(char::is_ascii_alphabetic).collect();
        let (_, size, unit) = IIO
            .iter()
            .find(|(name, ..)| *name == kind)
            .unwrap_or(&("", 1.0, ""));
        // The channel's own, or one that all of its kind share.
        let shared = |what: &str| {
            let own = number(&device.join(format!("in_{item}_{what}")));
            own.or_else(|| number(&device.join(format!("in_{kind}_{what}"))))
        };
        let (scale, offset) = match is_raw {
            true => (
                shared("scale").unwrap_or(1.0),
                shared("offset").unwrap_or(0.0),
            ),
            false => (1.0, 0.0),
        };
        let label = word(&device.join(format!("in_{item}_label"))).unwrap_or_else(|| plain(item));
        found.push(Channel {
            name: cut(&format!("{known}:{label}")),
            unit,
            scale: scale * size,
            offset,
            file: device.join(file),
            fault: None,
        });
    }
    found
}

/// The names in a folder, in order; none where it is not there.
fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

fn number(file: &Path) -> Option<f64> {
    let text = fs::read_to_string(file).ok()?;
    stage::decimal::parse(text.trim().as_bytes())
}

/// What a file says, as a part of a SenML name; none where it says nothing.
fn word(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    Some(plain(text.trim())).filter(|word| !word.is_empty())
}

/// With the letters that SenML has for names, the first of which is no sign.
fn plain(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let word: String = text
        .chars()
        .take(64)
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    word.trim_start_matches(['-', '.', '_']).to_owned()
}

fn cut(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up tree of these files.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join("sys").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    /// `NAME=VALUE UNIT` of each reading, and how many could not be read.
    fn read(root: &tempfile::TempDir) -> (Vec<String>, u64) {
        let mut sensors = Sensors::new(root.path(), Duration::ZERO, Some(1));
        let (mut found, mut bad) = (Vec::new(), Bad::default());
        let more = sensors.take(Timestamp::from_nanos(1 << 60), &mut bad, &mut |reading| {
            assert!(stage::senml::is_name(reading.name), "{reading:?}");
            let Value::Number(value) = reading.value else {
                panic!("{reading:?}")
            };
            found.push(format!(
                "{}={} {}",
                reading.name,
                (value * 1e6).round() / 1e6,
                reading.unit
            ));
            Ok(())
        });
        assert!(!more);
        (found, bad.count())
    }

    #[test]
    fn hwmon_is_told_in_its_units_with_its_labels() {
        let root = tree(&[
            ("class/hwmon/hwmon0/name", "coretemp\n"),
            ("class/hwmon/hwmon0/temp1_input", "42500\n"),
            ("class/hwmon/hwmon0/temp1_label", "Package id 0\n"),
            ("class/hwmon/hwmon0/temp1_max", "99000\n"),
            ("class/hwmon/hwmon1/name", "nct 6775\n"),
            ("class/hwmon/hwmon1/fan2_input", "1210\n"),
            ("class/hwmon/hwmon1/in0_input", "1016\n"),
            ("class/hwmon/hwmon1/curr1_input", "250\n"),
            ("class/hwmon/hwmon1/power1_input", "1500000\n"),
            ("class/hwmon/hwmon1/humidity1_input", "45200\n"),
            ("class/hwmon/hwmon1/pwm1", "3\n"),
            ("class/hwmon/hwmon2/temp1_input", "-500\n"),
        ]);
        let expected = [
            "coretemp:Package_id_0=42.5 Cel",
            "hwmon2:temp1=-0.5 Cel",
            "nct_6775:curr1=0.25 A",
            "nct_6775:fan2=1210 1/min",
            "nct_6775:humidity1=45.2 %RH",
            "nct_6775:in0=1.016 V",
            "nct_6775:power1=1.5 W",
        ];
        assert_eq!(read(&root), (expected.map(str::to_owned).to_vec(), 0));
    }

    #[test]
    fn iio_is_scaled_by_its_own_or_its_kind_s_scale() {
        let root = tree(&[
            ("bus/iio/devices/iio:device0/name", "bme280"),
            ("bus/iio/devices/iio:device0/in_temp_input", "21500"),
            ("bus/iio/devices/iio:device0/in_pressure_input", "101.325"),
            (
                "bus/iio/devices/iio:device0/in_humidityrelative_input",
                "45123",
            ),
            ("bus/iio/devices/iio:device1/name", "ads1015"),
            ("bus/iio/devices/iio:device1/in_voltage0_raw", "100"),
            ("bus/iio/devices/iio:device1/in_voltage1_raw", "100"),
            ("bus/iio/devices/iio:device1/in_voltage1_scale", "3"),
            ("bus/iio/devices/iio:device1/in_voltage_scale", "2"),
            ("bus/iio/devices/iio:device1/in_voltage_offset", "-10"),
            ("bus/iio/devices/iio:device1/in_accel_x_raw", "5"),
            ("bus/iio/devices/iio:device1/in_accel_scale", "0.5"),
            ("bus/iio/devices/iio:device1/in_anglvel_z_raw", "7"),
            ("bus/iio/devices/iio:device1/in_temp_raw", "2"),
            ("bus/iio/devices/iio:device1/in_temp_input", "9"),
            ("bus/iio/devices/trigger0/in_temp_raw", "2"),
        ]);
        let expected = [
            "ads1015:accel_x=2.5 m/s2",
            "ads1015:anglvel_z=7 ",
            "ads1015:temp=0.002 Cel",
            "ads1015:voltage0=0.18 V",
            "ads1015:voltage1=0.27 V",
            "bme280:humidityrelative=45.123 %RH",
            "bme280:pressure=101325 Pa",
            "bme280:temp=21.5 Cel",
        ];
        assert_eq!(read(&root), (expected.map(str::to_owned).to_vec(), 0));
    }

    #[test]
    fn what_is_broken_hostile_or_twice_there_keeps_no_other_from_being_read() {
        let root = tree(&[
            ("class/hwmon/hwmon0/name", "\u{1b}[2J:/..\n"),
            ("class/hwmon/hwmon0/temp1_input", "x\u{1b}\n"),
            ("class/hwmon/hwmon0/temp2_input", "5000"),
            ("class/hwmon/hwmon0/temp2_fault", "1"),
            ("class/hwmon/hwmon0/temp3_input/x", ""),
            ("class/hwmon/hwmon0/temp4_input", "4000"),
            ("class/hwmon/hwmon1/name", "disk"),
            ("class/hwmon/hwmon1/temp1_input", "1000"),
            ("class/hwmon/hwmon2/name", "disk"),
            ("class/hwmon/hwmon2/temp1_input", "2000"),
        ]);
        let (found, bad) = read(&root);
        assert_eq!(
            found,
            [
                "2J_____..:temp4=4 Cel",
                "disk:temp1=1 Cel",
                "disk:temp1:hwmon2=2 Cel"
            ]
            .map(|one| one.replace("_____", "__"))
        );
        assert_eq!(bad, 3);
        assert_eq!(read(&tree(&[])), (Vec::new(), 0));
    }
}
