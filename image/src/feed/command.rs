//! The command line of `grantflow feed`.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::json;
use stage::params::{EdgeName, FromParam as _};
use vchan_linux::block_on;
use vchan_linux::local::Folder;

use super::bytes::{Bytes, Growing, Serial};
use super::csv::Columns;
use super::edge::Readers;
use super::format::{Format, Parser};
use super::run::{Fed, run};
use super::sensors::Sensors;
use super::source::Source;
use super::stop::Stop;
use super::target::{Domain, Local, Stage, To, stage_of};
use crate::compose::commands::{by_blame, known};
use crate::compose::process::nest;
use crate::compose::record::Record;
use crate::failure::Failure;
use crate::output;
use crate::xl::SystemTools;

/// How long a program of Xen may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `grantflow feed` is told.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Whom to feed: EDGE or PIPELINE/EDGE, an edge with from = "dom0" of a pipeline that is up; DOMID/EDGE, an input edge of a
    /// domain, which names this one as its peer (in.EDGE=0 for dom0); or local:NAME, a process of this host
    #[arg(long)]
    to: To,
    #[command(flatten)]
    from: From,
    /// What a line says
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// A series' name: of a value column by its number from 1 or its header, of numbers alone without COLUMN
    #[arg(long, value_name = "[COLUMN=]NAME")]
    name: Vec<String>,
    /// A series' unit, of RFC 8428 or RFC 8798, likewise
    #[arg(long, value_name = "[COLUMN=]UNIT")]
    unit: Vec<String>,
    /// The column of the time, by its header [default: the first that holds one]
    #[arg(long, value_name = "HEADER")]
    time: Option<String>,
    /// The speed of the serial port
    #[arg(long, default_value_t = 9600, requires = "serial")]
    baud: u32,
    /// How often to ask the sensors: 500ms, 10s, 1m
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = span, requires = "sensors")]
    every: Duration,
    /// How often in all [default: until Ctrl-C]
    #[arg(long, value_name = "N", requires = "sensors", value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,
    /// Look for sensors below another folder than /
    #[arg(long, value_name = "DIR", default_value = "/", requires = "sensors")]
    root: PathBuf,
}

/// Where readings come from: standard input, if nothing is said.
#[derive(clap::Args, Debug)]
#[group(multiple = false)]
struct From {
    /// Read this file from its beginning and go on as it grows, is renamed or emptied, until Ctrl-C
    #[arg(long, value_name = "FILE")]
    follow: Option<PathBuf>,
    /// Read this serial port, eight bits and no parity; when it is pulled out, wait until it is back
    #[arg(long, value_name = "DEVICE")]
    serial: Option<PathBuf>,
    /// Ask the sensors of this machine: hwmon's and IIO's
    #[arg(long)]
    sensors: bool,
}

fn span(text: &str) -> Result<Duration, String> {
    Duration::from_param(text)
        .filter(|span| !span.is_zero())
        .ok_or_else(|| "a span is written like 500ms, 10s or 1m".into())
}

/// Does it.
pub fn execute(args: &Args, json: bool) -> Result<(), Failure> {
    let source = source(args)?;
    let stop = Stop::at_signals()?;
    let fed = match &args.to {
        To::Local(name) => {
            let folder = Folder::of_user()?;
            let name = name.clone();
            feed(source, Local { folder, name }, &stop)?
        }
        To::Domain(domain, edge) => feed(source, Domain(*domain, *edge), &stop)?,
        To::Pipeline(pipeline, edge) => {
            let (pipeline, processes) = known(pipeline.as_deref()).map_err(by_blame)?;
            if let Some(processes) = processes {
                let readers = of_processes(&pipeline, processes.record(), *edge)?;
                return end(&feed(source, readers, &stop)?, json);
            }
            let tools = SystemTools::new(Arc::new(AtomicBool::new(false)), PATIENCE);
            let edge = *edge;
            let mut stage = Stage {
                pipeline,
                edge,
                tools,
            };
            // A wrong edge is told before a reader is waited for.
            stage.now().map_err(Failure::input)?;
            feed(source, stage, &stop)?
        }
    };
    end(&fed, json)
}

/// A process that reads from dom0 meets whoever writes by the name of the edge alone, where all of its pipeline meet.
fn of_processes(pipeline: &str, record: &Record, edge: EdgeName) -> Result<Local, Failure> {
    stage_of(record, edge.as_str()).map_err(Failure::input)?;
    Ok(Local {
        folder: Folder::at(nest::path(pipeline).join(nest::MEET))?,
        name: edge.to_string(),
    })
}

fn end(fed: &Fed, json: bool) -> Result<(), Failure> {
    if json {
        output::line(json!(fed))?;
    } else {
        output::tell(told(fed));
    }
    match fed.sent.lost {
        0 => Ok(()),
        lost => Err(Failure::failed(format!(
            "{lost} readings were lost: nobody has read them"
        ))),
    }
}

fn feed(source: Source, readers: impl Readers, stop: &Stop) -> Result<Fed, Failure> {
    block_on(run(source, readers, stop)).map_err(Failure::failed)
}

fn source(args: &Args) -> Result<Source, Failure> {
    let split = |list: &[String]| list.iter().map(|text| Columns::split(text)).collect();
    let columns = Columns {
        time: args.time.clone(),
        names: split(&args.name),
        units: split(&args.unit),
    };
    columns.check().map_err(Failure::input)?;
    let From {
        follow,
        serial,
        sensors,
    } = &args.from;
    if *sensors {
        if !columns.is_empty() {
            return Err(Failure::input("sensors have names and units of their own"));
        }
        let sensors = Sensors::new(&args.root, args.every, args.rounds);
        let names = sensors.names();
        if names.is_empty() {
            return Err(Failure::input(format!(
                "there is no sensor in {0}/sys/class/hwmon and {0}/sys/bus/iio/devices; is a driver loaded?",
                args.root.display().to_string().trim_end_matches('/')
            )));
        }
        output::tell(format_args!("sensors: {}", names.join(", ")));
        return Ok(Source::Sensors(sensors));
    }
    let parser = Parser::new(args.format, columns).map_err(Failure::input)?;
    let at =
        |path: &Path, error: std::io::Error| Failure::input(format!("{}: {error}", path.display()));
    let bytes = match (follow, serial) {
        (Some(path), _) => Bytes::Growing(Growing::new(path)),
        (_, Some(path)) => {
            Bytes::Serial(Serial::open(path, args.baud).map_err(|error| at(path, error))?)
        }
        _ => {
            let own = std::io::stdin().as_fd().try_clone_to_owned()?;
            Bytes::Pipe(Arc::new(File::from(own)))
        }
    };
    Ok(Source::lines(bytes, parser))
}

fn told(fed: &Fed) -> String {
    let count = |number: u64, what: &str| match number {
        0 => String::new(),
        number => format!(", {number} {what}"),
    };
    format!(
        "{} readings fed{}{}{}",
        fed.sent.readings,
        count(fed.sent.lost, "lost"),
        count(fed.bad, "not read"),
        count(fed.sent.readers.saturating_sub(1), "reconnects")
    )
}
