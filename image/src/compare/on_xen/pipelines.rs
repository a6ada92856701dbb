//! Whole pipelines of two guests: a sensor as fast as it is taken, and what reads it.
//!
//! Rates are of all readings on dom0's clock, from when the source is let go, its reader waiting, until the last result is here: from
//! the first result on would leave out what a sender's buffers hold by then, which in TCP's is megabytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use stage::senml::{Item, StreamDecoder};

use super::reader::{Reader, Readings, Received, Writer};
use super::sensors::{self, DOM0, is_linux};
use super::site::{LinuxGuest, Site, Trouble};
use crate::broker::{Broker, BrokerError, Heard, Subscriber};
use crate::compare::catalogue::Contestant;
use crate::xl::DomId;

/// Readings that the aggregator gets, and the window that it makes of so many: one a second.
const READINGS: u64 = 240_000;
const WINDOW: &str = "20m";

/// Readings that are published.
const PUBLISHED: u64 = 48_000;

/// MiB of a unikernel, and of a Linux guest, which has all programs of the comparison.
const UNIKERNEL_MEMORY: u32 = 4;
const LINUX_MEMORY: u32 = 192;

/// Domains: of the source, and of what reads it.
const UNIKERNELS: [&str; 2] = ["source", "sink"];
const LINUX_GUESTS: [&str; 2] = ["linux-source", "linux-sink"];
const SOURCE: &str = "10.98.76.40";
const SINK: Ipv4Addr = Ipv4Addr::new(10, 98, 76, 41);
const UNIKERNEL_SINK: &str = "10.98.76.43";

/// Where edges over TCP meet: the aggregator's input and dom0.
const FLOW_PORT: u16 = 7001;
const WINDOWS_PORT: u16 = 7002;

/// How long a run may take.
const RUN: Duration = Duration::from_secs(240);

/// Where messages go.
const TOPIC: &str = "compare/readings";

/// Rings between the two, the same for all.
const RING: &str = "64K";

/// The Linux guests, which stay from one run to the next.
#[derive(Debug, Default)]
pub struct Pipelines {
    linux: Option<[LinuxGuest; 2]>,
    /// Why no broker can be had, which is said once.
    no_broker: Option<String>,
}

/// What reads the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sink {
    /// Windows, to a reader in dom0.
    Aggregator,
    /// Messages, to a broker at this port of dom0.
    Gateway(u16),
}

impl Sink {
    fn function(self) -> &'static str {
        match self {
            Self::Aggregator => "aggregator",
            Self::Gateway(_) => "gateway",
        }
    }

    fn readings(self) -> u64 {
        match self {
            Self::Aggregator => READINGS,
            Self::Gateway(_) => PUBLISHED,
        }
    }

    /// What its function is told, beside its edges.
    fn parameters(self) -> String {
        match self {
            Self::Aggregator => format!("out.windows=0 window={WINDOW}"),
            Self::Gateway(port) => {
                format!("broker={DOM0}:{port} topic={TOPIC} format=cbor client-id=compare")
            }
        }
    }

    fn source_parameters(self) -> String {
        format!("signal=walk seed=18 every=1s count={}", self.readings())
    }
}

impl Pipelines {
    /// Readings a second from the source to the aggregator, and what that made of them.
    pub fn aggregator(
        &mut self,
        site: &mut Site<'_>,
        contestant: Contestant,
    ) -> Result<(f64, Received), Trouble> {
        let sink = Sink::Aggregator;
        let (begun, received) = self.with_pipeline(site, contestant, sink, |this, site, ids| {
            let name = names(contestant)[1];
            let mut reader = match contestant {
                Contestant::LinuxTcp => {
                    Reader::over_tcp(SocketAddr::from((DOM0, WINDOWS_PORT)), u64::MAX)?
                }
                _ => Reader::over_vchan(Writer::Domain(ids[1].0), "windows", u64::MAX)?,
            };
            let begun = this.begin(site, contestant, sink, ids)?;
            let received = reader.all(site, name, RUN);
            Ok((begun, this.end(site, contestant, received)?))
        })?;
        Ok((rate(READINGS, received.last - begun), received))
    }

    /// Readings a second from the source to the broker, and a digest of what a subscriber got.
    pub fn broker(
        &mut self,
        site: &mut Site<'_>,
        contestant: Contestant,
    ) -> Result<(f64, String), Trouble> {
        if let Some(why) = &self.no_broker {
            return Err(Trouble::new(why));
        }
        sensors::bridge(site)?;
        let started = Broker::start_at(DOM0);
        let broker = match started {
            Err(error @ BrokerError::Missing { .. }) => {
                let why = format!("no broker in dom0: {error}");
                site.warn(format_args!("{why}; source to broker is not measured"));
                self.no_broker = Some(why.clone());
                return Err(Trouble::Failed(why));
            }
            started => started.map_err(Trouble::new)?,
        };
        let address = broker.address();
        let mut subscriber = Subscriber::start(&address, TOPIC).map_err(Trouble::new)?;
        let sink = Sink::Gateway(address.port);
        let (begun, published) =
            self.with_pipeline(site, contestant, sink, |this, site, ids| {
                let begun = this.begin(site, contestant, sink, ids)?;
                let published = published(site, names(contestant)[1], &mut subscriber);
                Ok((begun, this.end(site, contestant, published)?))
            })?;
        Ok((rate(PUBLISHED, published.last - begun), published.digest))
    }

    /// Ends the Linux guests.
    pub fn clear(&mut self, site: &Site<'_>) -> Result<(), Trouble> {
        if self.linux.take().is_none() {
            return Ok(());
        }
        LINUX_GUESTS.iter().try_for_each(|name| site.destroy(name))
    }

    /// Does something with a pipeline whose domains are there; unikernels wait for dom0's word.
    fn with_pipeline<'t, V>(
        &mut self,
        site: &mut Site<'t>,
        contestant: Contestant,
        sink: Sink,
        work: impl FnOnce(&mut Self, &mut Site<'t>, [DomId; 2]) -> Result<V, Trouble>,
    ) -> Result<V, Trouble> {
        if is_linux(contestant) {
            let ids = self.linux(site)?;
            let outcome = work(self, site, ids);
            if outcome.is_err() {
                // What still runs in them would be in the way of the next run.
                let _ = self.clear(site);
            }
            return outcome;
        }
        let outcome = unikernels(site, sink).and_then(|ids| work(self, site, ids));
        let destroyed = UNIKERNELS.iter().try_for_each(|name| site.destroy(name));
        let value = outcome?;
        destroyed.map(|()| value)
    }

    /// The Linux guests, booted if they are not there.
    fn linux(&mut self, site: &mut Site<'_>) -> Result<[DomId; 2], Trouble> {
        let guests = match &mut self.linux {
            Some(guests) => guests,
            none => {
                for name in LINUX_GUESTS {
                    site.destroy(name)?;
                }
                sensors::bridge(site)?;
                let [source, sink] = LINUX_GUESTS;
                let mut guests = [
                    site.boot_linux(source, LINUX_MEMORY, SOURCE, None)?,
                    site.boot_linux(sink, LINUX_MEMORY, &SINK.to_string(), None)?,
                ];
                for guest in &mut guests {
                    site.ready(guest)?;
                }
                none.insert(guests)
            }
        };
        Ok([guests[0].id, guests[1].id])
    }

    /// Lets the source begin once its reader waits; when that was.
    fn begin(
        &mut self,
        site: &Site<'_>,
        contestant: Contestant,
        sink: Sink,
        ids: [DomId; 2],
    ) -> Result<Instant, Trouble> {
        let Some([source, reader]) = self.linux.as_mut().filter(|_| is_linux(contestant)) else {
            for id in ids {
                waits(site, id)?;
            }
            let begun = Instant::now();
            site.introduce(ids[1], "flow", ids[0])?;
            return Ok(begun);
        };
        let [to_source, to_sink] = orders(contestant, sink, ids);
        // What an earlier program has told of itself is not this one's.
        site.store().remove(&state(ids[1]))?;
        site.order(reader, &to_sink)?;
        waits(site, ids[1])?;
        let begun = Instant::now();
        site.order(source, &to_source)?;
        Ok(begun)
    }

    /// That both have ended as they should, and what came of it.
    fn end<V>(
        &self,
        site: &Site<'_>,
        contestant: Contestant,
        outcome: Result<V, Trouble>,
    ) -> Result<V, Trouble> {
        let value = outcome?;
        if let Some(guests) = self.linux.as_ref().filter(|_| is_linux(contestant)) {
            for guest in guests {
                site.obeyed(guest, site.patience)?;
            }
        }
        Ok(value)
    }
}

/// Where a stage tells its state.
fn state(of: DomId) -> String {
    format!("/local/domain/{of}/data/grantflow/state")
}

/// Waits until the stage of a domain has started, and waits for its peers.
fn waits(site: &Site<'_>, id: DomId) -> Result<(), Trouble> {
    let silent = || format!("the stage of domain {id} did not start");
    site.until(site.patience, silent, || {
        let state = site.store().read(&state(id))?.unwrap_or_default();
        if state.starts_with("failed") {
            return Err(Trouble::new(format_args!("domain {id}: {state}")));
        }
        Ok(state.starts_with("waiting").then_some(()))
    })
}

fn names(contestant: Contestant) -> [&'static str; 2] {
    match is_linux(contestant) {
        true => LINUX_GUESTS,
        false => UNIKERNELS,
    }
}

/// Two unikernels: the source connected to a sink that waits for dom0 to say so.
fn unikernels(site: &mut Site<'_>, sink: Sink) -> Result<[DomId; 2], Trouble> {
    let [source, reader] = UNIKERNELS;
    for name in UNIKERNELS {
        site.destroy(name)?;
    }
    let mut extra = format!("in.flow=?,ring={RING} {}", sink.parameters());
    let bridge = match sink {
        Sink::Aggregator => None,
        Sink::Gateway(_) => Some(sensors::bridge(site)?.to_owned()),
    };
    if bridge.is_some() {
        extra += &format!(" ip={UNIKERNEL_SINK}/24");
    }
    let mut config = site.unikernel(reader, sink.function(), UNIKERNEL_MEMORY, &extra)?;
    config.bridge = bridge;
    let reader = site.create(config)?;
    let extra = format!("out.flow={reader} {}", sink.source_parameters());
    let config = site.unikernel(source, "sensor", UNIKERNEL_MEMORY, &extra)?;
    Ok([site.create(config)?, reader])
}

/// What Linux guests are told to run: the source and the sink.
fn orders(contestant: Contestant, sink: Sink, ids: [DomId; 2]) -> [String; 2] {
    let over_tcp = contestant == Contestant::LinuxTcp;
    let (from, to, windows) = match over_tcp {
        true => (
            format!("--xen --tcp flow={SINK}:{FLOW_PORT}"),
            format!("--xen --tcp flow=0.0.0.0:{FLOW_PORT}"),
            format!(" --tcp windows={DOM0}:{WINDOWS_PORT}"),
        ),
        false => ("--xen".to_owned(), "--xen".to_owned(), String::new()),
    };
    let windows = match sink {
        Sink::Aggregator => windows,
        Sink::Gateway(_) => String::new(),
    };
    let [source, reader] = ids;
    [
        format!(
            "sensor {from} out.flow={reader} {}",
            sink.source_parameters()
        ),
        format!(
            "{} {to}{windows} in.flow={source},ring={RING} {}",
            sink.function(),
            sink.parameters()
        ),
    ]
}

/// What a subscriber gets: all that is published, each message once.
fn published(
    site: &Site<'_>,
    gateway: &str,
    subscriber: &mut Subscriber,
) -> Result<Received, Trouble> {
    let mut readings = Readings::default();
    let mut seen = std::collections::BTreeSet::new();
    let mut first: Option<Instant> = None;
    let full = Site::full_name(gateway);
    let silent = || format!("not all of {full} came{}", site.last_words(gateway));
    site.until(RUN, silent, || {
        loop {
            let (at, message) = match subscriber.next(Duration::ZERO) {
                Heard::Message(at, message) => (at, message),
                Heard::Silence => return Ok(None),
                Heard::Closed => return Err(Trouble::new("the subscriber has ended")),
            };
            // Delivery is at least once.
            if !seen.insert(message.id) {
                continue;
            }
            let wrong = |error: String| Trouble::new(format_args!("a message of {full}: {error}"));
            take(&mut readings, &message.payload).map_err(wrong)?;
            let first = *first.get_or_insert(at);
            if readings.count >= PUBLISHED {
                return Ok(Some(Received {
                    first,
                    last: at,
                    readings: readings.count,
                    digest: std::mem::take(&mut readings).digest(),
                }));
            }
        }
    })
}

/// Takes in a payload, which is one pack.
fn take(readings: &mut Readings, payload: &[u8]) -> Result<(), String> {
    let mut decoder = StreamDecoder::new();
    let space = decoder
        .space(payload.len())
        .map_err(|error| error.to_string())?;
    space
        .get_mut(..payload.len())
        .ok_or("too long")?
        .copy_from_slice(payload);
    decoder.filled(payload.len());
    match decoder.next_item().map_err(|error| error.to_string())? {
        Item::Pack(pack) => readings.take(pack),
        _ => Err("no whole pack".to_owned()),
    }
}

/// Readings a second.
fn rate(readings: u64, span: Duration) -> f64 {
    readings as f64 / span.as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_guests_do_what_unikernels_do_over_vchan_or_tcp() {
        let ids = [DomId(4), DomId(5)];
        let [source, sink] = orders(Contestant::LinuxVchan, Sink::Aggregator, ids);
        assert_eq!(
            source,
            "sensor --xen out.flow=5 signal=walk seed=18 every=1s count=240000"
        );
        assert_eq!(
            sink,
            "aggregator --xen in.flow=4,ring=64K out.windows=0 window=20m"
        );
        let [source, sink] = orders(Contestant::LinuxTcp, Sink::Gateway(1234), ids);
        assert!(source.starts_with("sensor --xen --tcp flow=10.98.76.41:7001 out.flow=5 "));
        assert!(sink.starts_with(
            "gateway --xen --tcp flow=0.0.0.0:7001 in.flow=4,ring=64K broker=10.98.76.1:1234 "
        ));
        let [_, sink] = orders(Contestant::LinuxTcp, Sink::Aggregator, ids);
        assert!(sink.contains(" --tcp windows=10.98.76.1:7002 "), "{sink}");
    }
}
