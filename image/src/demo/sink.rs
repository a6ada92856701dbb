//! The far end of the pipeline: where its results arrive in this program, over a vchan or from a broker.

use std::time::{Duration, Instant};

use super::error::DemoError;
use super::figures::Received;
use super::messages::{Counts, Messages};
use super::reader::{self, ForeignReader};
use super::results::Results;
use super::stages::{Outlet, RESULT_EDGE};
use super::verify::Windows;
use crate::broker::{self, Subscriber};
use crate::progress::Progress;
use crate::xl::{DomId, SystemTools, XenStore};

/// How long the foreign reader may take to end after the end of the stream.
const READER_END: Duration = Duration::from_secs(10);

/// How long the last messages may take from the broker, once the gateway has seen them acknowledged.
const LAST_MESSAGES: Duration = Duration::from_secs(10);

/// The far end.
#[derive(Debug)]
pub enum Sink<'t> {
    /// Debian's libxenvchan program in dom0.
    Vchan(VchanSink<'t>),
    /// A subscriber of the broker that the gateway publishes at.
    Broker(BrokerSink),
}

/// The end of a vchan.
#[derive(Debug)]
pub struct VchanSink<'t> {
    // Dropped in this order: its keys are removed once it is gone.
    reader: ForeignReader,
    _keys: Keys<'t>,
    results: Results,
}

/// The end of what a broker delivers.
#[derive(Debug)]
pub struct BrokerSink {
    subscriber: Subscriber,
    messages: Messages,
    /// How many messages the broker has acknowledged, once that is known, and until when they are waited for.
    acknowledged: Option<(u64, Instant)>,
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// Records, at this time.
    Records(Instant),
    /// Nothing of use within the time given.
    Nothing,
    /// The other side, or the program that listens to it, has ended.
    Closed,
}

/// All that arrived.
#[derive(Debug)]
pub struct Delivery {
    /// The windows.
    pub windows: Windows,
    /// What came over the vchan to dom0.
    pub received: Received,
    /// What came from the broker.
    pub counts: Option<Counts>,
    /// How often the foreign reader had to be made to look at its ring.
    pub nudges: u32,
}

/// Removes the foreign reader's keys, which it leaves behind when it is killed.
#[derive(Debug)]
struct Keys<'t>(&'t SystemTools, DomId);

impl Drop for Keys<'_> {
    fn drop(&mut self) {
        // The keys of a domain that is gone harm nobody: no message is worth hiding the one that matters.
        let _ = XenStore::new(&self.0.for_cleanup()).remove(&ForeignReader::keys(self.1));
    }
}

impl<'t> Sink<'t> {
    /// Offers the result edge to `writer` in dom0.
    pub fn vchan(tools: &'t SystemTools, writer: DomId) -> Result<Self, DemoError> {
        let keys = Keys(tools, writer);
        Ok(Self::Vchan(VchanSink {
            reader: ForeignReader::start(writer, RESULT_EDGE)?,
            _keys: keys,
            results: Results::default(),
        }))
    }

    /// Subscribes to what will be published.
    pub fn broker(outlet: &Outlet) -> Result<Self, DemoError> {
        let filter = format!("{}/#", outlet.topic());
        Ok(Self::Broker(BrokerSink {
            subscriber: Subscriber::start(&outlet.broker, &filter)?,
            messages: Messages::default(),
            acknowledged: None,
        }))
    }

    /// Waits up to `patience` for what comes next, and takes it in.
    pub fn next(&mut self, patience: Duration) -> Result<Came, DemoError> {
        match self {
            Self::Vchan(sink) => match sink.reader.next(patience) {
                reader::Heard::Bytes(at, bytes) => {
                    let before = sink.results.readings();
                    sink.results.absorb(&bytes)?;
                    let is_more = sink.results.readings() > before;
                    Ok(if is_more {
                        Came::Records(at)
                    } else {
                        Came::Nothing
                    })
                }
                reader::Heard::Silence => Ok(Came::Nothing),
                reader::Heard::Closed => Ok(Came::Closed),
            },
            Self::Broker(sink) => match sink.subscriber.next(patience) {
                broker::Heard::Message(at, message) => {
                    let is_new = sink.messages.absorb(&message)?;
                    Ok(if is_new {
                        Came::Records(at)
                    } else {
                        Came::Nothing
                    })
                }
                broker::Heard::Silence => Ok(Came::Nothing),
                broker::Heard::Closed => Ok(Came::Closed),
            },
        }
    }

    /// Whether all has come that ever will.
    pub fn has_ended(&self) -> bool {
        match self {
            Self::Vchan(sink) => sink.results.ended(),
            Self::Broker(sink) => sink.acknowledged.is_some_and(|(count, until)| {
                sink.messages.counts().messages >= count || Instant::now() > until
            }),
        }
    }

    /// Windows of which something has arrived.
    pub fn windows(&self) -> usize {
        match self {
            Self::Vchan(sink) => sink.results.windows(),
            Self::Broker(sink) => sink.messages.windows(),
        }
    }

    /// Nothing has come for a while: the foreign reader is made to look at its ring.
    pub fn nudge(&mut self) {
        if let Self::Vchan(sink) = self {
            sink.reader.nudge();
        }
    }

    /// The broker has acknowledged so many messages, and there will be no more.
    pub fn expect(&mut self, acknowledged: u64) {
        if let Self::Broker(sink) = self {
            let until = Instant::now() + LAST_MESSAGES;
            sink.acknowledged.get_or_insert((acknowledged, until));
        }
    }

    /// Ends it, and puts together what arrived.
    pub fn finish(self, progress: &Progress) -> Result<Delivery, DemoError> {
        match self {
            Self::Vchan(mut sink) => {
                let nudges = sink.end_reader(progress)?;
                let arrived = sink.results.finish()?;
                Ok(Delivery {
                    windows: arrived.windows,
                    received: arrived.received,
                    counts: None,
                    nudges,
                })
            }
            Self::Broker(sink) => Ok(Delivery {
                counts: Some(sink.messages.counts()),
                windows: sink.messages.finish()?,
                received: Received::default(),
                nudges: 0,
            }),
        }
    }
}

impl VchanSink<'_> {
    /// Waits for the foreign program's own end. After the end of the stream nothing is lost when it must be killed:
    /// it waits for an event of the close, which it may have taken for an earlier one.
    fn end_reader(&mut self, progress: &Progress) -> Result<u32, DemoError> {
        let deadline = Instant::now() + READER_END;
        while Instant::now() < deadline {
            match self.reader.next(Duration::from_millis(200)) {
                reader::Heard::Closed => break,
                reader::Heard::Bytes(_, bytes) => self.results.absorb(&bytes)?,
                reader::Heard::Silence => {}
            }
        }
        if let Err(error) = self.reader.finish(Duration::from_secs(1)) {
            progress.say(format_args!("the foreign reader: {error}"));
        }
        Ok(self.reader.nudges())
    }
}
