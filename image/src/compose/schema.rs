//! `grantflow schema`.

use std::path::PathBuf;

use crate::failure::Failure;
use crate::pipeline::schema;
use crate::{images, output};

/// What `grantflow schema` is told.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Folder of the images [default: images beside this program, or where `grantflow images` puts them]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
}

/// Does it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let known = images::known(args.images.as_deref())?;
    output::line(format_args!("{:#}", schema(&known)))?;
    Ok(())
}
