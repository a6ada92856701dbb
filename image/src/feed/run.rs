//! A source and an edge, until one of them ends or somebody says stop.

use serde::Serialize;

use super::edge::{Edge, Readers, Sent};
use super::source::{Bad, Source};
use super::stop::Stop;
use vchan_linux::first;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fed {
    /// What has become of the readings.
    #[serde(flatten)]
    pub sent: Sent,
    /// Lines, or sensors, that could not be read.
    pub bad: u64,
}

/// Feeds the edge until the source ends or `stop` is asked for, and ends the stream in order.
pub async fn run<P: Readers>(mut source: Source, readers: P, stop: &Stop) -> Result<Fed, String> {
    let mut edge = Edge::new(readers);
    let mut bad = Bad::default();
    loop {
        let ready = async {
            source.ready().await;
            Ok(())
        };
        // A reader that goes while nothing comes has a successor, which need not wait for the next reading.
        match stop.unless(first(ready, edge.follow())).await {
            None => break,
            Some(done) => done?,
        }
        let more = source.take(&mut bad, &mut |reading| Ok(edge.push(reading)?))?;
        match stop.unless(edge.send()).await {
            None => break,
            Some(done) => done?,
        }
        if !more {
            // The end is told to a reader too that nothing was sent to.
            stop.unless(edge.meet()).await.transpose()?;
            break;
        }
    }
    let sent = edge.finish().await;
    let bad = bad.count();
    Ok(Fed { sent, bad })
}

#[cfg(test)]
mod tests;
