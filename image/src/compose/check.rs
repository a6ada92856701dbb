//! `grantflow check`.

use serde_json::json;

use super::load::{FileArgs, LoadError, load};
use crate::failure::Failure;
use crate::{images, output};

/// What `grantflow check` is told.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    file: FileArgs,
}

/// Does it.
pub fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let known = images::known(args.file.images.as_deref())?;
    let checked = load(&args.file.file, known).and_then(|loaded| {
        let sums = args.file.sums(&loaded, &args.file.plan(&loaded))?;
        Ok((loaded, sums))
    });
    let (loaded, sums) = match checked {
        Ok(checked) => checked,
        Err(LoadError::Wrong { mistakes, told }) => {
            if json {
                output::line(json!({ "mistakes": mistakes }))?;
            }
            let many = match mistakes.len() {
                1 => "one thing is".to_owned(),
                many => format!("{many} things are"),
            };
            return Err(Failure::input(format!("{many} wrong\n{told}")));
        }
        Err(other) => return Err(Failure::input(other)),
    };
    let (stages, edges) = (loaded.pipeline.stages.len(), loaded.pipeline.edges.len());
    if json {
        output::line(
            json!({ "name": loaded.pipeline.name.value, "stages": stages, "edges": edges, "mistakes": [], "sums": sums }),
        )?;
    } else {
        output::line(format_args!(
            "{}: {stages} stages, {edges} edges, no mistakes",
            loaded.pipeline.name.value
        ))?;
        output::write(sums)?;
    }
    Ok(())
}
