//! `grantflow check`.

use serde_json::json;

use super::load::{FileArgs, LoadError, load};
use super::sums::Sums;
use crate::failure::Failure;
use crate::pipeline::hosts::hosts;
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
    let checked = load(&args.file.file, known, None).and_then(|loaded| {
        let mut sums = Vec::new();
        for (host, part) in loaded.parts() {
            sums.push((host, args.file.sums(&part, &args.file.plan(&part))?));
        }
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
    let hosts = hosts(&loaded.pipeline);
    let (stages, edges) = (loaded.pipeline.stages.len(), loaded.pipeline.edges.len());
    if json {
        output::line(
            json!({ "name": loaded.pipeline.name.value, "stages": stages, "edges": edges, "hosts": hosts, "mistakes": [], "sums": sums_json(&sums) }),
        )?;
    } else {
        output::line(format_args!(
            "{}: {stages} stages, {edges} edges{}, no mistakes",
            loaded.pipeline.name.value,
            match hosts.len() {
                0 | 1 => String::new(),
                many => format!(", {many} hosts"),
            }
        ))?;
        for (host, sums) in &sums {
            if let Some(host) = host {
                output::line(format_args!("on {host}:"))?;
            }
            output::write(sums)?;
        }
    }
    Ok(())
}

/// The sums of the one host, or of each by its name.
fn sums_json(sums: &[(Option<String>, Sums)]) -> serde_json::Value {
    let mut hosts = serde_json::Map::new();
    for (host, sums) in sums {
        match host {
            None => return json!(sums),
            Some(host) => drop(hosts.insert(host.clone(), json!(sums))),
        }
    }
    hosts.into()
}
