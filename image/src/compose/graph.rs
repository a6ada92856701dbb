//! `grantflow graph`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::load::FileArgs;
use super::snapshot::Snapshot;
use crate::failure::Failure;
use crate::output;
use crate::pipeline::graph::{self, Mark, Marks};
use crate::pipeline::hosts;
use crate::watch::rates::{Rates, rates};
use crate::watch::view::{figure, is_lossy};
use crate::watch::{Looker, Which, top};

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
    /// Draw how it is while it runs: states, readings a second, and faults in red
    #[arg(long)]
    live: bool,
    /// With --live, over how many seconds rates are
    #[arg(long, value_name = "S", default_value_t = 2, requires = "live", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Where to write it; without it to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Does it.
pub fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let loaded = args.file.load()?;
    let marks = if args.live {
        let which = Which {
            pipeline: Some(loaded.pipeline.name.value.clone()),
        };
        let interval = Duration::from_secs(args.interval);
        let (before, after) = top::sample(&Looker::new(&which)?, interval)?;
        marks(&after, &rates(&before, &after).unwrap_or_default())
    } else {
        Marks::default()
    };
    let whole = hosts::bridged(&loaded.pipeline);
    let picture = match args.format {
        Format::Svg => graph::svg(&whole, &marks),
        Format::Dot => graph::dot(&whole, &marks),
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

/// What a picture says of a pipeline that runs.
fn marks(snapshot: &Snapshot, rates: &Rates) -> Marks {
    let stages = snapshot.stages.iter().map(|stage| {
        let mark = Mark {
            text: stage.state.clone(),
            is_fault: stage.phase.is_fault(),
        };
        (stage.stage.clone(), mark)
    });
    let edges = snapshot.edges.iter().enumerate().map(|(place, edge)| {
        let rates = rates.edges.get(place).copied().unwrap_or_default();
        let mut text = format!("{}/s", figure(rates.readings));
        if let lost @ 1.. = edge.lost() {
            text += &format!(", {} lost", figure(Some(lost as f64)));
        }
        let waits = format!("stale {}", edge.name);
        let reader = snapshot
            .stages
            .iter()
            .find(|stage| edge.to.as_ref() == Some(&stage.stage));
        let mark = Mark {
            text,
            is_fault: is_lossy(edge, &rates) || reader.is_some_and(|stage| stage.state == waits),
        };
        (edge.name.clone(), mark)
    });
    Marks {
        stages: stages.collect(),
        edges: edges.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::snapshot::Phase;
    use crate::watch::testing::pipeline;

    #[test]
    fn an_edge_shows_its_rate_and_is_at_fault_while_it_loses_or_waits_for_its_writer() {
        let mark = |change: fn(&mut Snapshot)| {
            let (before, mut after) = (pipeline(10, 1_000), pipeline(14, 5_000));
            change(&mut after);
            let marks = marks(&after, &rates(&before, &after).unwrap());
            let edge = &marks.edges["readings"];
            let stage = &marks.stages["windows"];
            (
                edge.text.clone(),
                edge.is_fault,
                stage.text.clone(),
                stage.is_fault,
            )
        };
        let is =
            |edge: &str, bad, stage: &str, faulty| (edge.to_owned(), bad, stage.to_owned(), faulty);
        assert_eq!(mark(|_| {}), is("1000/s", false, "running", false));
        let lossy = mark(|now| {
            now.edges[0].reader.as_mut().unwrap().lost = 3;
            let counters = now.stages[1].counters.as_mut().unwrap();
            counters.edges[0].counters.lost = 3;
        });
        assert_eq!(lossy, is("1000/s, 3 lost", true, "running", false));
        let stale = mark(|now| {
            now.stages[1].phase = Phase::Stale;
            now.stages[1].state = "stale readings".into();
        });
        assert_eq!(stale, is("1000/s", true, "stale readings", true));
    }
}
