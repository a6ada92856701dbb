//! What `grantflow demo` is told, and what is checked of it before anything boots.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stage::params::{Address, FromParam as _};

use super::recompute::{self, CsvError, Series};
use super::stages::{FLOW_SERIES, Outlet, Pipeline, Recordings, WEATHER_SERIES, names};
use super::verify::Windows;
use crate::broker;
use crate::images;
use crate::lab;

/// The port of MQTT without TLS.
const PORT: u16 = 1883;

/// Where the demo runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// In the lab: Xen and dom0 under QEMU, booted for this run
    Lab,
    /// Here: this is a Xen dom0
    Xen,
}

/// What `grantflow demo` is told.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Recording for the flow sensor: CSV, a time column and one value column
    #[arg(long, value_name = "FILE", default_value = "data/water-flow.csv")]
    pub flow: PathBuf,
    /// Recording for the weather sensor: CSV, a time column and pressure, temperature, wind
    #[arg(
        long,
        value_name = "FILE",
        default_value = "data/seattle-weather-hourly-normals.csv"
    )]
    pub weather: PathBuf,
    /// Where to run
    #[arg(long, value_enum, default_value_t = Target::Lab)]
    pub target: Target,
    /// The MQTT 5 broker, as guests and dom0 reach it [default: in the lab a Mosquitto that is started on this
    /// machine's loopback, with a subscriber beside it; on Xen none]
    #[arg(long, value_name = "HOST[:PORT]", value_parser = broker_address)]
    pub broker: Option<Address>,
    /// No broker in the lab either: read the windows from the vchan, in dom0
    #[arg(long, conflicts_with = "broker")]
    pub no_broker: bool,
    /// How the gateway gets its address: `dhcp` or `A.B.C.D/N[,gw=A.B.C.D][,dns=A.B.C.D]`
    #[arg(long, value_name = "IP", default_value = "dhcp")]
    pub ip: String,
    /// The bridge in dom0 that the gateway's network interface joins
    #[arg(long, value_name = "NAME", default_value = "xenbr0")]
    pub bridge: String,
    /// Length of a window, aligned to UTC midnight: 30m, 24h, 7d
    #[arg(long, default_value = "24h")]
    pub window: String,
    /// Folder of the images [default: images beside this program, or where `grantflow images` puts them]
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
    /// Seconds the pipeline may take, from the first `xl create` to its end
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub timeout: u32,
}

/// The demo, checked: everything that can be wrong before a domain exists was right.
#[derive(Debug)]
pub struct Plan {
    /// The recordings, as absolute paths.
    pub recordings: Recordings,
    /// The folder of the images.
    pub images: PathBuf,
    /// The way to a broker, if the results go to one.
    pub outlet: Option<Outlet>,
    /// That broker is yet to be started, and gets another port then.
    pub own_broker: bool,
    /// The stages and edges.
    pub pipeline: Pipeline,
    /// The readings in the recording of each sensor, by the sensor's name.
    pub recorded: BTreeMap<&'static str, u64>,
    /// What must arrive.
    pub expected: Windows,
    /// How long the pipeline may take.
    pub timeout: Duration,
}

/// What is wrong with the command line or the files it names.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// Not a length that windows can have.
    #[error(
        "--window {0}: give a length that divides 24h, such as 30m, or whole days, such as 24h or 7d"
    )]
    Window(String),
    /// A file or folder that is not there.
    #[error("cannot find {path}: {hint}")]
    Absent {
        /// The file.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
    },
    /// A recording that cannot be read.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// Recordings without a single reading.
    #[error("the recordings hold no reading at all")]
    Empty,
}

impl Args {
    /// Reads the recordings, computes what must arrive, and finds the images.
    pub fn check(&self) -> Result<Plan, ArgsError> {
        let window =
            window_seconds(&self.window).ok_or_else(|| ArgsError::Window(self.window.clone()))?;
        let present = |path: &Path, hint| {
            path.canonicalize().map_err(|_| ArgsError::Absent {
                path: path.to_owned(),
                hint,
            })
        };
        let recordings = Recordings {
            flow: present(&self.flow, "name the recording with --flow FILE")?,
            weather: present(&self.weather, "name the recording with --weather FILE")?,
            window: self.window.clone(),
        };
        let flow = recompute::read(&recordings.flow, &names(&FLOW_SERIES))?;
        let weather = recompute::read(&recordings.weather, &names(&WEATHER_SERIES))?;
        let held = |series: &[Series]| series.iter().map(|one| one.readings.len() as u64).sum();
        let recorded = BTreeMap::from([("flow", held(&flow)), ("weather", held(&weather))]);
        let series = [flow, weather].concat();
        let expected = recompute::windows(&series, window);
        if expected.is_empty() {
            return Err(ArgsError::Empty);
        }
        let images = present(
            &images::folder(self.images.as_deref()),
            "build the images first: grantflow images",
        )?;
        let (outlet, own_broker) = self.outlet();
        let pipeline = Pipeline::new(&recordings, outlet.as_ref());
        for stage in &pipeline.stages {
            present(
                &stage.kernel(&images),
                "build the images first: grantflow images",
            )?;
        }
        let timeout = Duration::from_secs(self.timeout.into());
        Ok(Plan {
            recordings,
            images,
            outlet,
            own_broker,
            pipeline,
            recorded,
            expected,
            timeout,
        })
    }

    /// The way to a broker, if the results go to one, and whether that broker is yet to be started.
    fn outlet(&self) -> (Option<Outlet>, bool) {
        let own = self.target == Target::Lab && !self.no_broker && self.broker.is_none();
        let broker = match own {
            true => Some(lab::outside(PORT)),
            false => self.broker.clone(),
        };
        let outlet = broker.map(|broker| Outlet {
            broker,
            ip: self.ip.clone(),
            bridge: self.bridge.clone(),
            run: broker::unique(),
        });
        (outlet, own)
    }
}

fn broker_address(text: &str) -> Result<Address, String> {
    let hint = "give HOST or HOST:PORT, an IPv6 address with a port in brackets";
    Address::parse(text, Some(PORT)).ok_or_else(|| hint.to_owned())
}

/// The length in seconds, where the aggregator takes it: windows begin at midnight, so they divide a day or are days.
fn window_seconds(text: &str) -> Option<i64> {
    const DAY: i64 = 86_400;
    let length = Duration::from_param(text).filter(|length| length.subsec_nanos() == 0)?;
    let seconds = i64::try_from(length.as_secs())
        .ok()
        .filter(|seconds| *seconds > 0)?;
    (DAY % seconds == 0 || seconds % DAY == 0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn args(line: &[&str]) -> Args {
        let line = std::iter::once("demo").chain(line.iter().copied());
        <Cli as clap::Parser>::try_parse_from(line)
            .unwrap_or_else(|error| panic!("{error}"))
            .args
    }

    #[test]
    fn windows_divide_a_day_or_are_days() {
        assert_eq!(
            ["24h", "90s", "7d"].map(window_seconds),
            [Some(86_400), Some(90), Some(604_800)]
        );
        assert_eq!(
            ["0", "500ms", "24", "h", "7h", "36h", "24h; reboot"].map(window_seconds),
            [None; 7]
        );
    }

    #[test]
    fn where_results_go_depends_on_the_target_and_can_be_said() {
        let goes = |line: &[&str]| match args(line).outlet() {
            (Some(outlet), own) => format!("{} {own}", outlet.broker),
            (None, own) => format!("dom0 {own}"),
        };
        assert_eq!(goes(&[]), "10.0.2.2:1883 true");
        assert_eq!(goes(&["--no-broker"]), "dom0 false");
        assert_eq!(goes(&["--target", "xen"]), "dom0 false");
        assert_eq!(goes(&["--broker", "b.example"]), "b.example:1883 false");
        let line = ["demo", "--broker", "b:x"];
        assert!(<Cli as clap::Parser>::try_parse_from(line).is_err());
    }

    #[test]
    fn a_recording_that_is_not_there_is_named_with_its_option() {
        let error = args(&["--flow", "/no/such.csv"])
            .check()
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "cannot find /no/such.csv: name the recording with --flow FILE"
        );
    }

    #[test]
    fn missing_images_say_how_to_build_them() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("flow.csv", "Time,flow\n2022-03-20T11:00:00+01:00,1\n")?;
        write("weather.csv", "date,p,t,w\n2010-01-01T01:00:00,1,2,3\n")?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let args = |target| {
            let (flow, weather) = (path("flow.csv"), path("weather.csv"));
            args(&[
                "--flow",
                &flow,
                "--weather",
                &weather,
                "--images",
                &path(""),
                "--target",
                target,
            ])
        };
        write("sensor.elf", "x")?;
        let error = args("xen").check().unwrap_err().to_string();
        assert!(
            error.contains("aggregator.elf: build the images first"),
            "{error}"
        );
        write("aggregator.elf", "x")?;
        assert_eq!(args("xen").check()?.expected.len(), 4);
        let error = args("lab").check().unwrap_err().to_string();
        assert!(error.contains("gateway.elf: build"), "{error}");
        Ok(())
    }
}
