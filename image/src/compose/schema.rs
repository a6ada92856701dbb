//! `grantflow schema`.

use std::path::PathBuf;

use crate::failure::Failure;
use crate::pipeline::schema;
use crate::{images, output};

/// What `grantflow schema` is told.
///
/// Prints the JSON Schema of a pipeline's file, with the parameters of the images there are. An editor that knows TOML
/// completes and checks by it: `#:schema ./pipeline.schema.json` in the first line of the file.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Folder of the images [default: images beside this program, or where `grantflow images` puts them]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
}

/// Does it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let known = images::catalogue(&images::folder(args.images.as_deref()))?;
    output::line(format_args!("{:#}", schema(&known)))?;
    Ok(())
}
