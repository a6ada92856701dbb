//! Windows out of the aggregator's SenML stream.

use stage::Timestamp;
use stage::senml::{Item, Pack, PackError, StreamDecoder, StreamError, Value};

use super::figures::Received;
use super::gathered::{FigureError, Gathered};
use super::verify::Windows;

/// Takes in the bytes of the result edge.
#[derive(Debug, Default)]
pub struct Results {
    decoder: StreamDecoder,
    gathered: Gathered,
    received: Received,
    ended: bool,
}

/// All that arrived.
#[derive(Debug, PartialEq)]
pub struct Arrived {
    /// The windows.
    pub windows: Windows,
    /// What they came in.
    pub received: Received,
}

/// Why bytes are no results.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ResultsError {
    /// No sequence of packs.
    #[error("the results are no CBOR sequence of SenML packs")]
    Stream(#[from] StreamError),
    /// A pack that is no SenML.
    #[error("a pack of results is no SenML (RFC 8428)")]
    Pack(#[from] PackError),
    /// Records that are not those of windows.
    #[error(transparent)]
    Figure(#[from] FigureError),
    /// A record without a number.
    #[error("`{0}` has no number as its value")]
    Value(String),
    /// A pack whose `seq` is missing, or lower than what was sent before.
    #[error("a pack says that {said:?} readings were sent before it, and {before} were")]
    Sequence {
        /// What it says.
        said: Option<u64>,
        /// What is known.
        before: u64,
    },
    /// Bytes after the end of the stream.
    #[error("the results go on after the end of their stream")]
    AfterEnd,
    /// No end of stream, or half a pack before it.
    #[error("the results end without an end of stream")]
    NoEnd,
}

impl Results {
    /// Takes in bytes as they come.
    pub fn absorb(&mut self, bytes: &[u8]) -> Result<(), ResultsError> {
        if self.ended && !bytes.is_empty() {
            return Err(ResultsError::AfterEnd);
        }
        self.received.bytes += bytes.len() as u64;
        let space = self.decoder.space(bytes.len())?;
        for (place, byte) in space.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.decoder.filled(bytes.len());
        let Self {
            decoder,
            gathered,
            received,
            ended,
        } = self;
        loop {
            match decoder.next_item()? {
                Item::Incomplete => break,
                Item::End | Item::Pack(_) if *ended => return Err(ResultsError::AfterEnd),
                Item::End => *ended = true,
                Item::Pack(pack) => take(pack, gathered, received)?,
            }
        }
        if *ended && decoder.is_within_pack() {
            Err(ResultsError::AfterEnd)
        } else {
            Ok(())
        }
    }

    /// Whether the end of the stream has come.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Records that have arrived.
    pub fn readings(&self) -> u64 {
        self.received.readings
    }

    /// Windows of which something has arrived.
    pub fn windows(&self) -> usize {
        self.gathered.len()
    }

    /// All windows, each complete, of a stream that has ended.
    pub fn finish(self) -> Result<Arrived, ResultsError> {
        if !self.ended {
            return Err(ResultsError::NoEnd);
        }
        Ok(Arrived {
            windows: self.gathered.finish()?,
            received: self.received,
        })
    }
}

/// Takes in one pack.
fn take(
    pack: Pack<'_>,
    gathered: &mut Gathered,
    received: &mut Received,
) -> Result<(), ResultsError> {
    // Windows are of recorded time, so no stamp is relative to now.
    let mut readings = pack.readings(Timestamp::default())?;
    let before = received.readings + received.lost;
    while let Some(reading) = readings.next_reading()? {
        received.readings += 1;
        let Value::Number(value) = reading.value else {
            return Err(ResultsError::Value(reading.name.to_owned()));
        };
        gathered.add(reading.name, reading.time.seconds(), value)?;
    }
    received.packs += 1;
    let said = readings.seq();
    let gap = said
        .and_then(|said| said.checked_sub(before))
        .ok_or(ResultsError::Sequence { said, before })?;
    received.lost += gap;
    Ok(())
}

#[cfg(test)]
mod tests {
    use stage::senml::{END_OF_STREAM, PackQueue, Reading};

    use super::super::gathered::FIGURES;
    use super::super::verify::{Window, WindowKey};
    use super::*;

    const DAY: i64 = 86_400;

    /// A pack for each of these windows of series `wind`, their figures being `value` and what follows it.
    fn packs(starts: &[i64], figures: &[&str]) -> Vec<u8> {
        let (mut queue, mut bytes, mut sealed) = (PackQueue::new(4_096), Vec::new(), Vec::new());
        let mut all = Vec::new();
        for start in starts {
            for (value, figure) in (7..).zip(figures) {
                let time = Timestamp::from_seconds(*start).unwrap();
                queue
                    .push(&Reading::number(
                        &format!("wind:{figure}"),
                        time,
                        f64::from(value),
                    ))
                    .unwrap();
            }
            queue.take(&mut bytes, &mut sealed);
            all.extend_from_slice(&bytes);
        }
        all
    }

    fn ended(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.push(END_OF_STREAM);
        bytes
    }

    fn arrived(bytes: &[u8]) -> Result<Arrived, ResultsError> {
        let mut results = Results::default();
        results.absorb(bytes)?;
        results.finish()
    }

    fn key(start: i64) -> WindowKey {
        WindowKey {
            series: "wind".into(),
            start,
        }
    }

    const STARTS: [i64; 2] = [14_000 * DAY, 14_001 * DAY];

    #[test]
    fn windows_arrive_whole_however_the_bytes_are_cut() {
        let bytes = ended(packs(&STARTS, &FIGURES));
        let whole = arrived(&bytes).unwrap();
        let window = Window {
            count: 7,
            mean: 8.0,
            min: 9.0,
            max: 10.0,
            deviation: 11.0,
            missing: Some(12),
            flagged: 13,
        };
        assert_eq!(
            whole.windows,
            STARTS.map(|start| (key(start), window)).into()
        );
        let length = bytes.len() as u64;
        assert_eq!(
            whole.received,
            Received {
                bytes: length,
                packs: 2,
                readings: 14,
                lost: 0
            }
        );

        let mut piecewise = Results::default();
        for byte in &bytes {
            assert!(!piecewise.ended());
            piecewise.absorb(std::slice::from_ref(byte)).unwrap();
        }
        assert_eq!(piecewise.finish(), Ok(whole));
    }

    #[test]
    fn a_window_may_say_nothing_of_missing_readings_but_must_have_every_other_figure() {
        for left_out in FIGURES {
            let figures: Vec<&str> = FIGURES
                .into_iter()
                .filter(|figure| *figure != left_out)
                .collect();
            let end = arrived(&ended(packs(&STARTS[..1], &figures)));
            if left_out == "missing" {
                assert_eq!(end.unwrap().windows[&key(STARTS[0])].missing, None);
            } else {
                assert_eq!(
                    end,
                    Err(ResultsError::Figure(FigureError::Incomplete {
                        window: key(STARTS[0]),
                        figure: left_out
                    }))
                );
            }
        }
    }

    #[test]
    fn a_pack_that_did_not_come_is_counted_by_the_next() {
        let both = packs(&STARTS, &FIGURES);
        let first = packs(&STARTS[..1], &FIGURES).len();
        let second = arrived(&ended(both[first..].to_vec())).unwrap();
        assert_eq!((second.received.readings, second.received.lost), (7, 7));
        let mut again = both[..first].to_vec();
        again.extend(packs(&STARTS[1..], &FIGURES));
        assert_eq!(
            arrived(&ended(again)),
            Err(ResultsError::Sequence {
                said: Some(0),
                before: 7
            })
        );
    }

    #[test]
    fn a_figure_that_arrives_twice_is_refused() {
        let end = arrived(&ended(packs(&STARTS[..1], &["count", "mean", "count"])));
        assert_eq!(
            end,
            Err(ResultsError::Figure(FigureError::Twice {
                window: key(STARTS[0]),
                figure: "count"
            }))
        );
    }

    #[test]
    fn records_that_no_window_has_are_refused_by_name() {
        let end = arrived(&ended(packs(&STARTS[..1], &["median"])));
        assert_eq!(
            end,
            Err(ResultsError::Figure(FigureError::Unknown(
                "wind:median".into()
            )))
        );
    }

    #[test]
    fn a_stream_must_end_and_then_be_silent() {
        let bytes = packs(&STARTS, &FIGURES);
        assert_eq!(arrived(&bytes), Err(ResultsError::NoEnd));
        assert_eq!(arrived(&bytes[..bytes.len() - 1]), Err(ResultsError::NoEnd));
        let after = [ended(bytes.clone()), vec![END_OF_STREAM]].concat();
        assert_eq!(arrived(&after), Err(ResultsError::AfterEnd));
        let half = [ended(bytes.clone()), bytes[..3].to_vec()].concat();
        assert_eq!(arrived(&half), Err(ResultsError::AfterEnd));
        let mut results = Results::default();
        results.absorb(&ended(bytes)).unwrap();
        assert_eq!(
            results.absorb(&[END_OF_STREAM]),
            Err(ResultsError::AfterEnd)
        );
    }

    #[test]
    fn bytes_that_are_no_senml_are_refused() {
        assert!(matches!(arrived(b"hello"), Err(ResultsError::Stream(_))));
        assert!(matches!(
            arrived(&[0x81, 0x01, END_OF_STREAM]),
            Err(ResultsError::Pack(_))
        ));
    }
}
