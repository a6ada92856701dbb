//! The life of guests: what is measured of one guest rather than of a pair, and of whole pipelines.

use std::collections::BTreeMap;
use std::fs;

use super::pipelines::Pipelines;
use super::reader::Received;
use super::sensors::{self, COUNT, NAME, Sensor};
use super::site::{Part, Site, Trouble};
use super::{boot, fit, memory, recovery};
use crate::compare::catalogue::{Contestant, Measure};

/// What is known from one figure to the next.
#[derive(Debug, Default)]
pub struct Life {
    quick: bool,
    outputs: Outputs,
    least_memory: BTreeMap<Contestant, u32>,
    pipelines: Pipelines,
}

impl Life {
    /// Nothing is known yet.
    pub fn new(quick: bool) -> Self {
        Self {
            quick,
            ..Self::default()
        }
    }

    /// Whether only what the goals need is looked for, and less exactly.
    pub fn is_quick(&self) -> bool {
        self.quick
    }

    /// Takes one figure, in the measure's unit.
    pub fn run(
        &mut self,
        site: &mut Site<'_>,
        contestant: Contestant,
        measure: Measure,
    ) -> Result<f64, Trouble> {
        let is_pipeline = matches!(
            measure,
            Measure::PipelineAggregator | Measure::PipelineBroker
        );
        if !is_pipeline {
            self.clear(site)?;
        }
        site.about(contestant, Part::Life, |site| {
            Sensor::new(contestant).setup(site)
        });
        match measure {
            Measure::CreateToFirstRecord => boot::from_create(self, site, contestant),
            Measure::EntryToFirstRecord => boot::from_entry(self, site, contestant),
            Measure::ImageSize => image_size(site, contestant),
            Measure::LeastMemory => Ok(f64::from(self.least_memory(site, contestant)?)),
            Measure::Fit => Ok(fit::in_machine(self, site, contestant)? as f64),
            Measure::Recovery => recovery::of_sensor(self, site, contestant),
            Measure::PipelineAggregator => {
                let (rate, received) = self.pipelines.aggregator(site, contestant)?;
                self.outputs
                    .agree("aggregator", contestant, &received.digest)?;
                Ok(rate)
            }
            Measure::PipelineBroker => {
                let (rate, digest) = self.pipelines.broker(site, contestant)?;
                self.outputs.agree("broker", contestant, &digest)?;
                Ok(rate)
            }
            _ => Err(Trouble::new(format_args!(
                "{} is not measured of {}",
                measure.id(),
                contestant.id()
            ))),
        }
    }

    /// Ends the guests that stay from one figure to the next.
    pub fn clear(&mut self, site: &Site<'_>) -> Result<(), Trouble> {
        self.pipelines.clear(site)
    }

    /// Does something with the sensor's domain, which is not there before and afterwards.
    pub fn with_sensor<'t, V>(
        &mut self,
        site: &mut Site<'t>,
        work: impl FnOnce(&mut Self, &mut Site<'t>) -> Result<V, Trouble>,
    ) -> Result<V, Trouble> {
        site.destroy(NAME)?;
        let outcome = work(self, site);
        let destroyed = match outcome {
            // What was wrong comes first, and cleaning up is done at the end too.
            Err(_) => site.destroy(NAME).or(Ok(())),
            Ok(_) => site.destroy(NAME),
        };
        destroyed.and(outcome)
    }

    /// That all readings of a sensor that ends have come, the same as from every other contestant.
    pub fn agree_on_sensor(
        &mut self,
        contestant: Contestant,
        received: &Received,
    ) -> Result<(), Trouble> {
        if received.readings != COUNT {
            return Err(Trouble::new(format_args!(
                "{} readings came of {COUNT}",
                received.readings
            )));
        }
        self.outputs.agree("sensor", contestant, &received.digest)
    }

    /// The least memory of a sensor, looked for if it is not known yet.
    pub fn least_memory(
        &mut self,
        site: &mut Site<'_>,
        contestant: Contestant,
    ) -> Result<u32, Trouble> {
        if let Some(least) = self.least_memory.get(&contestant) {
            return Ok(*least);
        }
        let least = memory::of_sensor(self, site, contestant)?;
        self.least_memory.insert(contestant, least);
        Ok(least)
    }
}

/// Bytes that `xl create` is given to load: of the image, or of kernel and initramfs.
fn image_size(site: &Site<'_>, contestant: Contestant) -> Result<f64, Trouble> {
    let files = match sensors::is_linux(contestant) {
        true => sensors::linux_parts(site)?.to_vec(),
        false => vec![site.image("sensor")?],
    };
    let mut bytes = 0;
    for file in files {
        bytes += fs::metadata(&file).map_err(Trouble::file(&file))?.len();
    }
    Ok(bytes as f64)
}

/// What contestants gave out for the same input: the first of them says what the others have to.
#[derive(Debug, Default)]
struct Outputs(BTreeMap<&'static str, (Contestant, String)>);

impl Outputs {
    fn agree(
        &mut self,
        of: &'static str,
        contestant: Contestant,
        digest: &str,
    ) -> Result<(), Trouble> {
        let (first, known) = self
            .0
            .entry(of)
            .or_insert_with(|| (contestant, digest.to_owned()));
        if known == digest {
            return Ok(());
        }
        Err(Trouble::new(format_args!(
            "other output than {}: {} instead of {} (SHA-256 of the readings)",
            first.id(),
            short(digest),
            short(known)
        )))
    }
}

fn short(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contestant_whose_output_differs_is_told_from_whose() {
        let mut outputs = Outputs::default();
        let (ours, theirs) = (Contestant::UnikernelVchan, Contestant::LinuxTcp);
        outputs.agree("sensor", ours, "aa").unwrap();
        outputs.agree("sensor", theirs, "aa").unwrap();
        outputs.agree("broker", theirs, "bb").unwrap();
        let error = outputs.agree("sensor", theirs, "ab").unwrap_err();
        assert_eq!(
            error.to_string(),
            "other output than unikernel-vchan: ab instead of aa (SHA-256 of the readings)"
        );
    }
}
