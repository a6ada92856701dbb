//! One stage by itself.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::convert::Infallible;

use embedded_io_async::{Read as _, Write as _};

use super::{MemoryHost, Network, PipeReader};
use crate::function::Stage;
use crate::params::{Direction, takes};
use crate::plan::Plan;
use crate::runner::join::Join;
use crate::runner::{Host as _, RunError, run};
use crate::senml::{END_OF_STREAM, Item, PackQueue, Reading, StreamDecoder, json};

/// What becomes of one task.
enum Ended {
    Stage(Result<(), RunError>),
    Read(Vec<String>),
    Written,
}

/// What stage `S` makes of these readings: a line of SenML JSON for each reading that it emits, or, where it has no output, what
/// it prints. An edge is called `in`, the other one `out`; a stage without inputs is given none of the readings. The error is what
/// a stage that does not start says.
pub fn through<S: Stage>(
    parameters: &str,
    readings: &[Reading<'_>],
) -> Result<Vec<String>, String> {
    let network = Network::new();
    let host = MemoryHost::new(&network);
    let (reads, writes) = const {
        let reads = takes(S::EDGES, Direction::In);
        (reads, takes(S::EDGES, Direction::Out))
    };
    let edges = [(reads, "in.in=0 "), (writes, "out.out=0 ")];
    let mut command: String = edges
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, text)| *text)
        .collect();
    command.push_str(parameters);
    let plan = Plan::of_text::<S>(&command, b"").map_err(|error| error.to_string())?;
    let bytes = packs(readings)?;
    let mut tasks: Join<'_, Ended> = Join::new();
    if reads {
        tasks.push(async {
            let mut writer = network.open_output("in").await;
            // It ends with the stage.
            let _ = writer.write_all(&bytes).await;
            crate::runner::Writer::drained(&mut writer).await;
            Ended::Written
        });
    }
    if writes {
        tasks.push(async {
            let reader = network.open_input("out", 16 << 10).await;
            Ended::Read(lines(reader, &host).await.unwrap_or_default())
        });
    }
    tasks.push(async { Ended::Stage(run::<S, _>(&plan, &host).await.map(drop)) });
    let mut emitted = None;
    let all = async {
        while let Some(ended) = tasks.next().await {
            match ended {
                Ended::Stage(outcome) => outcome.map_err(|error| error.to_string())?,
                Ended::Read(lines) => emitted = Some(lines),
                Ended::Written => {}
            }
        }
        Ok::<(), String>(())
    };
    network.block_on(all).map_err(|stuck| stuck.to_string())??;
    Ok(emitted.unwrap_or_else(|| host.console.take()))
}

/// The readings as they come over an edge.
fn packs(readings: &[Reading<'_>]) -> Result<Vec<u8>, String> {
    let (mut all, mut bytes, mut sealed) = (Vec::new(), Vec::new(), Vec::new());
    let mut queue = PackQueue::new(4096);
    for reading in readings {
        queue
            .push(reading)
            .map_err(|error| format!("{reading:?}: {error}"))?;
        if queue.is_full() {
            queue.take(&mut bytes, &mut sealed);
            all.extend_from_slice(&bytes);
        }
    }
    queue.take(&mut bytes, &mut sealed);
    all.extend_from_slice(&bytes);
    all.push(END_OF_STREAM);
    Ok(all)
}

/// Every reading of an edge as a line.
async fn lines(
    mut reader: PipeReader,
    host: &MemoryHost,
) -> Result<Vec<String>, Box<dyn core::error::Error>> {
    let mut decoder = StreamDecoder::new();
    let mut lines = Vec::new();
    loop {
        let count = reader
            .read(decoder.space(4096)?)
            .await
            .unwrap_or_else(|never: Infallible| match never {});
        if count == 0 {
            return Ok(lines);
        }
        decoder.filled(count);
        loop {
            match decoder.next_item()? {
                Item::Incomplete => break,
                Item::End => return Ok(lines),
                Item::Pack(pack) => {
                    let mut readings = pack.readings(host.wall_clock())?;
                    while let Some(reading) = readings.next_reading()? {
                        let mut line = String::new();
                        json::line(&[reading], &mut line);
                        lines.push(line.trim_end().to_string());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::function::{DropCause, Next, Outputs, Setup, Verdict};
    use crate::params::{Count, EdgeKind, Kind, Parameter};
    use crate::plan::SetupError;

    /// Emits every reading twice, or prints it.
    struct Twice;

    impl Stage for Twice {
        const NAME: &'static str = "twice";
        const ABOUT: &'static str = "";
        const PARAMETERS: &'static [Parameter] = &[Parameter::new("fail", Kind::Integer, "0", "")];
        const EDGES: &'static [EdgeKind] = &[
            EdgeKind::inputs(Count::One, ""),
            EdgeKind::outputs(Count::One, ""),
        ];

        fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
            match setup.params.require::<u64>("fail")? {
                0 => Ok(Self),
                _ => Err(SetupError::Function("it was told to".into())),
            }
        }

        fn reading(&mut self, _: usize, reading: &Reading<'_>, out: &mut Outputs) -> Verdict {
            if reading.name == "no" {
                return Verdict::Dropped(DropCause::WrongType);
            }
            let _ = out.emit(reading);
            out.emit(reading)
        }
    }

    /// Makes one reading, and prints it.
    struct Source;

    impl Stage for Source {
        const NAME: &'static str = "source";
        const ABOUT: &'static str = "";
        const PARAMETERS: &'static [Parameter] = &[];
        const EDGES: &'static [EdgeKind] = &[];

        fn new(_: &Setup<'_>) -> Result<Self, SetupError> {
            Ok(Self)
        }

        fn poll(&mut self, _: core::time::Duration, out: &mut Outputs) -> Next {
            out.print(&[Reading::number("a", Timestamp::default(), 1.0)]);
            Next::Done
        }
    }

    #[test]
    fn more_readings_than_a_ring_holds_come_out_in_their_order() {
        let time = Timestamp::from_seconds(1_767_225_600).unwrap();
        let names: Vec<String> = (0..5000).map(|number| format!("n{number}")).collect();
        let mut readings: Vec<Reading<'_>> = names
            .iter()
            .map(|name| Reading::number(name, time, 1.0))
            .collect();
        readings.insert(7, Reading::number("no", time, 1.0));
        let lines = through::<Twice>("", &readings).unwrap();
        assert_eq!(lines.len(), 10_000);
        assert!(lines[9_999].contains("\"n4999\"") && lines[14].contains("\"n7\""));
    }

    #[test]
    fn a_source_that_prints_has_no_edges() {
        assert_eq!(through::<Source>("", &[]).unwrap().len(), 1);
    }

    #[test]
    fn a_stage_that_does_not_start_says_why() {
        assert_eq!(
            through::<Twice>("fail=1", &[]).unwrap_err(),
            "it was told to"
        );
        assert!(
            through::<Twice>("fail=x", &[])
                .unwrap_err()
                .starts_with("fail: ")
        );
    }
}
