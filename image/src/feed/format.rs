//! What a line says. Pure: the time is what the caller says.

use stage::senml::is_name;
use stage::{Reading, Timestamp, Value};

use super::csv::{Columns, Csv};
use super::senml;

/// A format of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A time and values, as the image `sensor` takes them; the first line may be a header
    Csv,
    /// A SenML pack in JSON, or one record of it (RFC 8428)
    Senml,
    /// A number alone, stamped with the time at which it came
    Numbers,
}

/// Why a line is no reading.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadLine {
    /// It is longer than a line may be.
    #[error("longer than {} KiB", super::lines::LONGEST >> 10)]
    TooLong,
    /// Not a number.
    #[error("not a number")]
    NotNumber,
    /// A row of another shape, or with a field that is none.
    #[error("{0}")]
    Row(String),
    /// Not UTF-8.
    #[error("not UTF-8 text")]
    NotText,
    /// Not a pack in JSON.
    #[error(transparent)]
    Json(#[from] stage::senml::JsonError),
    /// A pack with a record that is none.
    #[error(transparent)]
    Pack(#[from] stage::senml::PackError),
    /// A reading that SenML cannot carry.
    #[error("{0}")]
    Unsendable(#[from] stage::senml::EncodeError),
}

/// Where readings go.
pub type Sink<'s> = &'s mut dyn FnMut(&Reading<'_>) -> Result<(), BadLine>;

/// Reads lines of one format.
#[derive(Debug)]
pub enum Parser {
    /// Rows, with what their columns are.
    Csv(Csv),
    /// Packs.
    SenMl,
    /// Numbers of this name and unit.
    Numbers {
        /// Their series.
        name: String,
        /// Their unit; empty for none.
        unit: String,
    },
}

impl Parser {
    /// For this format, with what was said of names and units.
    pub fn new(format: Format, columns: Columns) -> Result<Self, String> {
        match format {
            Format::Csv => Ok(Self::Csv(Csv::new(columns))),
            Format::Senml if columns.is_empty() => Ok(Self::SenMl),
            Format::Senml => Err(
                "SenML says its names and units itself: leave --name, --unit and --time out".into(),
            ),
            Format::Numbers => {
                let (name, unit) = columns.only()?;
                if !is_name(&name) {
                    return Err("numbers need a name: --name NAME".into());
                }
                Ok(Self::Numbers { name, unit })
            }
        }
    }

    /// What comes next is another file, which may have a header.
    pub fn begin_anew(&mut self) {
        if let Self::Csv(csv) = self {
            csv.begin_anew();
        }
    }

    /// The readings of a line, of a pack with a mistake those before it. A blank line has none.
    pub fn line(&mut self, text: &[u8], now: Timestamp, emit: Sink<'_>) -> Result<(), BadLine> {
        let text = text.trim_ascii();
        if text.is_empty() {
            return Ok(());
        }
        match self {
            Self::Csv(csv) => csv.row(text, emit),
            Self::SenMl => senml::pack(text, now, emit),
            Self::Numbers { name, unit } => {
                let value = stage::decimal::parse(text).ok_or(BadLine::NotNumber)?;
                emit(&Reading {
                    name,
                    unit,
                    time: now,
                    value: Value::Number(value),
                })
            }
        }
    }
}
