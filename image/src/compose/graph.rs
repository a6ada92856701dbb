//! `grantflow graph`.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::load::FileArgs;
use crate::failure::Failure;
use crate::output;
use crate::pipeline::graph;

/// What a picture is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A picture that any browser shows
    Svg,
    /// The language of Graphviz
    Dot,
}

/// What `grantflow graph` is told.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    file: FileArgs,
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Svg)]
    format: Format,
    /// Where to write it; without it to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Does it.
pub fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let loaded = args.file.load()?;
    let picture = match args.format {
        Format::Svg => graph::svg(&loaded.pipeline),
        Format::Dot => graph::dot(&loaded.pipeline),
    };
    match &args.out {
        Some(path) => {
            fs::write(path, picture)
                .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
            if json {
                output::line(json!({ "written": path }))?;
            }
        }
        None if json => output::line(json!({ "picture": picture }))?,
        None => output::write(picture)?,
    }
    Ok(())
}
