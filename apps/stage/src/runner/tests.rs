mod feedback;
mod sensors;

use super::*;
use crate::counters::{Counters, EdgeCounters};
use crate::function::{DropCause, Next, Outputs, Setup, Verdict};
use crate::params::{Count, Direction, EdgeKind, Kind, Parameter};
use crate::plan::{Plan, SetupError};
use crate::senml::{END_OF_STREAM, Item, PackQueue, Reading, StreamDecoder, Value};
use crate::state::{Awaited, State};
use crate::testing::{MemoryHost, Network, PipeReader, Stuck};
use crate::{EdgeName, Stage, Timestamp};
use embedded_io_async::{Read as _, Write as _};
use futures_util::future::{join, join_all, join3};
use std::format;
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

/// Emits the numbers from 0 on; every tenth stays out of the output as out of range.
struct Numbers {
    next: u64,
    count: u64,
    pause: Duration,
}

impl Stage for Numbers {
    const NAME: &'static str = "numbers";
    const ABOUT: &'static str = "emits numbers";
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new("count", Kind::Integer, "100", "how many"),
        Parameter::new("pause", Kind::Duration, "0", "between two"),
    ];
    const EDGES: &'static [EdgeKind] = &[EdgeKind::outputs(Count::AtLeastOne, "numbers")];

    fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
        let (count, pause) = (
            setup.params.require("count")?,
            setup.params.require("pause")?,
        );
        Ok(Self {
            next: 0,
            count,
            pause,
        })
    }

    fn poll(&mut self, now: Duration, out: &mut Outputs) -> Next {
        if self.next == self.count {
            return Next::Done;
        }
        let verdict = if self.next % 10 == 9 {
            Verdict::Dropped(DropCause::OutOfRange)
        } else {
            out.emit(&number(self.next))
        };
        out.count(verdict);
        self.next += 1;
        if self.pause.is_zero() {
            Next::Now
        } else {
            Next::At(now + self.pause)
        }
    }
}

fn number(number: u64) -> Reading<'static> {
    let time = Timestamp::from_seconds(1_700_000_000 + number as i64).unwrap();
    Reading::number("numbers", time, number as f64)
}

/// Hands on what it gets, on edges or, without any, on the console; refuses texts.
struct Relay {
    last: Option<f64>,
    console: bool,
}

impl Stage for Relay {
    const NAME: &'static str = "relay";
    const ABOUT: &'static str = "hands readings on";
    const PARAMETERS: &'static [Parameter] = &[];
    const EDGES: &'static [EdgeKind] = &[
        EdgeKind::inputs(Count::AtLeastOne, "in"),
        EdgeKind::outputs(Count::Any, "out"),
    ];

    fn new(setup: &Setup<'_>) -> Result<Self, SetupError> {
        Ok(Self {
            last: None,
            console: setup.outputs.is_empty(),
        })
    }

    fn reading(&mut self, _: usize, reading: &Reading<'_>, out: &mut Outputs) -> Verdict {
        let Value::Number(value) = reading.value else {
            return Verdict::Dropped(DropCause::WrongType);
        };
        self.last = Some(value);
        if self.console {
            out.print(&[*reading]);
            return Verdict::Used;
        }
        out.emit(reading)
    }

    fn finish(&mut self, out: &mut Outputs) {
        if let Some(last) = self.last {
            let verdict = out.emit(&Reading {
                name: "last",
                ..number(0)
            });
            assert_eq!((verdict, last.is_finite()), (Verdict::Used, true));
        }
    }
}

async fn stage<S: Stage>(host: &MemoryHost, command: &str) -> Counters {
    let plan = Plan::new::<S>(command.as_bytes(), b"").unwrap();
    run::<S, _>(&plan, host).await.unwrap()
}

/// The numbers of a stream, and whether it ended as it should; at most `limit` are read.
async fn collect(reader: &mut PipeReader, limit: usize) -> (Vec<f64>, bool) {
    let mut decoder = StreamDecoder::new();
    let mut numbers = Vec::new();
    while numbers.len() < limit {
        match decoder.next_item().unwrap() {
            Item::End => return (numbers, true),
            Item::Pack(pack) => {
                let mut readings = pack.readings(Timestamp::default()).unwrap();
                while let Some(reading) = readings.next_reading().unwrap() {
                    if let Value::Number(value) = reading.value {
                        numbers.push(value);
                    }
                }
            }
            Item::Incomplete => {
                let count = reader.read(decoder.space(100).unwrap()).await.unwrap();
                if count == 0 {
                    break;
                }
                decoder.filled(count);
            }
        }
    }
    (numbers, false)
}

/// Packs of the numbers of a range, by a writer that has sent all before them.
fn packs(numbers: core::ops::Range<u64>) -> Vec<u8> {
    let mut queue = PackQueue::new(100);
    let (mut bytes, mut sealed) = (Vec::new(), Vec::new());
    (0..numbers.start).for_each(|n| queue.push(&number(n)).unwrap());
    queue.take(&mut bytes, &mut sealed);
    numbers.for_each(|n| queue.push(&number(n)).unwrap());
    queue.take(&mut bytes, &mut sealed);
    bytes
}

fn input<'a>(counters: &'a Counters, name: &str) -> &'a EdgeCounters {
    counters.edge(Direction::In, name).unwrap()
}

fn output<'a>(counters: &'a Counters, name: &str) -> &'a EdgeCounters {
    counters.edge(Direction::Out, name).unwrap()
}

fn edge(name: &str) -> EdgeName {
    EdgeName::new(name).unwrap()
}

#[test]
fn a_pipeline_of_three_carries_everything() {
    let network = Network::new();
    let hosts = [(); 2].map(|()| MemoryHost::new(&network));
    let (source, relay, (numbers, ended)) = network
        .block_on(join3(
            stage::<Numbers>(&hosts[0], "out.a=1,ring=1K count=5000"),
            stage::<Relay>(&hosts[1], "in.a=2,ring=1K out.b=3,ring=1K"),
            async { collect(&mut network.open_input("b", 1024).await, usize::MAX).await },
        ))
        .unwrap();
    let expected: Vec<f64> = (0..5000)
        .filter(|n| n % 10 != 9)
        .map(f64::from)
        .chain([0.0])
        .collect();
    assert!(ended);
    assert_eq!(numbers, expected);
    assert_eq!((source.stage.readings_in, source.stage.used), (5000, 4500));
    assert_eq!(source.stage.dropped(DropCause::OutOfRange), 500);
    assert_eq!(
        (relay.stage.readings_in, relay.stage.used, relay.stage.out),
        (4500, 4500, 4501)
    );
    assert_eq!(output(&source, "a").readings, input(&relay, "a").readings);
    assert!(output(&source, "a").events_sent > 0 && input(&relay, "a").events_received > 0);
    let states = hosts[1].states.borrow();
    let waiting = |name| State::Waiting(Awaited::Edge(edge(name)));
    assert_eq!(
        *states,
        [State::Starting, waiting("a"), State::Running, State::Done]
    );
}

#[test]
fn a_peer_that_never_comes_is_waited_for_without_work() {
    let network = Network::new();
    let host = MemoryHost::new(&network);
    assert_eq!(
        network.block_on(stage::<Numbers>(&host, "out.a=1")).err(),
        Some(Stuck)
    );
    assert_eq!(host.state(), Some(State::Waiting(Awaited::Edge(edge("a")))));
    // One publication, and the wait of a second after it.
    assert_eq!(network.now(), PUBLISH_INTERVAL);
}

// R22 of FAULTS.md.
#[test]
fn a_full_output_stops_its_inputs() {
    let network = Network::new();
    let hosts = [(); 2].map(|()| MemoryHost::new(&network));
    let run = join3(
        stage::<Numbers>(&hosts[0], "out.a=1,ring=1K count=100000"),
        stage::<Relay>(&hosts[1], "in.a=2,ring=1K out.b=3,ring=1K"),
        async {
            let _unread = network.open_input("b", 1024).await;
            core::future::pending::<()>().await;
        },
    );
    assert!(network.block_on(run).is_err());
    let published = hosts[0].published.borrow();
    let made = published.last().unwrap().1.stage.readings_in;
    // Two rings of 1 KiB, and a few buffers of half that, of some 13 bytes a reading.
    assert!((100..1000).contains(&made), "{made}");
}

#[test]
fn while_a_stage_idles_nothing_is_held_back() {
    let network = Network::new();
    let host = MemoryHost::new(&network);
    let arrivals = async {
        let mut reader = network.open_input("a", 1024).await;
        let mut times = Vec::new();
        loop {
            let (numbers, _) = collect(&mut reader, 1).await;
            if numbers.is_empty() {
                return times;
            }
            times.push(network.now());
        }
    };
    let command = "out.a=1 count=9 pause=10ms";
    let (_, times) = network
        .block_on(join(stage::<Numbers>(&host, command), arrivals))
        .unwrap();
    assert_eq!(
        times,
        (0..9)
            .map(|n| Duration::from_millis(10 * n))
            .collect::<Vec<_>>()
    );
}

#[test]
fn counters_are_published_at_most_once_a_second_and_at_the_end() {
    let network = Network::new();
    let host = MemoryHost::new(&network);
    let reader = async { collect(&mut network.open_input("a", 1024).await, usize::MAX).await };
    let command = "out.a=1 count=400 pause=10ms";
    let (counters, _) = network
        .block_on(join(stage::<Numbers>(&host, command), reader))
        .unwrap();
    let published = host.published.take();
    let (last, before) = published.split_last().unwrap();
    assert!((4..=5).contains(&before.len()));
    assert!(
        before
            .windows(2)
            .all(|pair| pair[1].0 - pair[0].0 >= PUBLISH_INTERVAL)
    );
    assert_eq!(last.1, counters);
}

// R9 of FAULTS.md.
#[test]
fn a_lost_writer_makes_the_edge_stale_and_its_half_pack_is_dropped() {
    let network = Network::new();
    let host = MemoryHost::new(&network);
    let writers = async {
        let mut first = network.open_output("a").await;
        first.write_all(&packs(0..20)).await.unwrap();
        let half = packs(20..30);
        first.write_all(&half[..half.len() - 3]).await.unwrap();
        first.drained().await;
        drop(first);
        let mut second = network.open_output("a").await;
        assert_eq!(host.state(), Some(State::Stale(edge("a"))));
        // The same writer again: 30 to 39 got lost on the way, too.
        second.write_all(&packs(40..50)).await.unwrap();
        second.write_all(&[END_OF_STREAM]).await.unwrap();
        second.drained().await;
    };
    let (counters, ()) = network
        .block_on(join(stage::<Relay>(&host, "in.a=1"), writers))
        .unwrap();
    let edge_counters = input(&counters, "a");
    assert_eq!(edge_counters.half_packs, 1);
    assert_eq!(edge_counters.reconnects, 1);
    assert_eq!(
        (
            edge_counters.readings + edge_counters.lost,
            edge_counters.bad_packs
        ),
        (50, 0)
    );
    assert!(edge_counters.readings >= 30, "{edge_counters:?}");
    assert_eq!(host.console.borrow().len() as u64, edge_counters.readings);
    assert_eq!(host.state(), Some(State::Done));
}

/// R13: a writer that is there and says nothing makes the edge stale after the time that the edge gives it, and is read on as
/// if nothing had been, half a pack included.
#[test]
fn r13_a_silent_writer_makes_the_edge_stale_and_is_read_on() {
    let network = Network::new();
    let host = MemoryHost::new(&network);
    let writer = async {
        let mut writer = network.open_output("a").await;
        let all = packs(0..30);
        let (begin, rest) = all.split_at(all.len() - 3);
        writer.write_all(begin).await.unwrap();
        let mut now = network.now();
        network.sleep_until(now + Duration::from_secs(4)).await;
        assert_eq!(host.state(), Some(State::Running));
        network.sleep_until(now + Duration::from_secs(6)).await;
        assert_eq!(host.state(), Some(State::Stale(edge("a"))));
        writer.write_all(rest).await.unwrap();
        writer.drained().await;
        now = network.now();
        network.sleep_until(now + Duration::from_secs(1)).await;
        assert_eq!(host.state(), Some(State::Running));
        writer.write_all(&[END_OF_STREAM]).await.unwrap();
        writer.drained().await;
    };
    let (counters, ()) = network
        .block_on(join(stage::<Relay>(&host, "in.a=1,stale=5s"), writer))
        .unwrap();
    let counters = input(&counters, "a");
    assert_eq!((counters.readings, counters.lost), (30, 0));
    assert_eq!((counters.half_packs, counters.reconnects), (0, 0));
    assert_eq!(host.state(), Some(State::Done));
}

#[test]
fn a_new_writer_counts_from_its_own_start() {
    let network = Network::new();
    let host = MemoryHost::new(&network);
    let writers = async {
        // The third had sent three readings to somebody else.
        for numbers in [0..10, 0..10, 3..8] {
            let mut writer = network.open_output("a").await;
            writer.write_all(&packs(numbers)).await.unwrap();
            writer.drained().await;
        }
        network
            .open_output("a")
            .await
            .write_all(&[END_OF_STREAM])
            .await
            .unwrap();
    };
    let (counters, ()) = network
        .block_on(join(stage::<Relay>(&host, "in.a=1"), writers))
        .unwrap();
    assert_eq!(
        (input(&counters, "a").readings, input(&counters, "a").lost),
        (25, 3)
    );
}

#[test]
fn bad_packs_are_counted_and_what_is_no_cbor_closes_the_edge() {
    let network = Network::new();
    let host = MemoryHost::new(&network);
    let writers = async {
        let mut writer = network.open_output("a").await;
        writer.write_all(&packs(0..5)).await.unwrap();
        // Two records, the first without a value.
        writer
            .write_all(&[0x82, 0xA1, 0x00, 0x61, b'x', 0xA0])
            .await
            .unwrap();
        writer.write_all(&packs(7..9)).await.unwrap();
        writer.write_all(&[0xFF; 3]).await.unwrap();
        while writer.write(&[0]).await.unwrap() > 0 {}
        network
            .open_output("a")
            .await
            .write_all(&[END_OF_STREAM])
            .await
            .unwrap();
    };
    let (counters, ()) = network
        .block_on(join(stage::<Relay>(&host, "in.a=1"), writers))
        .unwrap();
    let edge = input(&counters, "a");
    assert_eq!(
        (edge.readings, edge.lost, edge.bad_packs, edge.reconnects),
        (7, 2, 2, 1)
    );
    assert!(counters.stage.balanced());
}

#[test]
fn the_word_to_stop_ends_in_order() {
    let network = Network::new();
    let hosts = [(); 2].map(|()| MemoryHost::new(&network));
    let (source, relay, ()) = network
        .block_on(join3(
            stage::<Numbers>(&hosts[0], "out.a=1 count=1000000 pause=1ms"),
            stage::<Relay>(&hosts[1], "in.a=2"),
            async {
                network.sleep_until(Duration::from_millis(2500)).await;
                hosts[0].stop();
            },
        ))
        .unwrap();
    assert!((2400..2600).contains(&source.stage.readings_in));
    assert_eq!(input(&relay, "a").readings, output(&source, "a").readings);
    assert_eq!((input(&relay, "a").lost, output(&source, "a").lost), (0, 0));
    assert_eq!(
        hosts.map(|host| host.state()),
        [Some(State::Done), Some(State::Done)]
    );
}

#[test]
fn at_its_end_a_source_gives_a_silent_reader_five_seconds() {
    let network = Network::new();
    let host = MemoryHost::new(&network);
    let (counters, ended) = network
        .block_on(join(
            async {
                let counters = stage::<Numbers>(&host, "out.a=1 count=500").await;
                (counters, network.now())
            },
            async {
                let _silent = network.open_input("a", 16 << 10).await;
                network.sleep_until(Duration::from_secs(60)).await;
            },
        ))
        .unwrap()
        .0;
    assert_eq!(ended, DRAIN_PATIENCE);
    assert_eq!(
        (output(&counters, "a").readings, output(&counters, "a").lost),
        (450, 450)
    );
}

// R22 of FAULTS.md.
#[test]
fn a_slow_reader_has_all_the_time_it_needs() {
    let network = Network::new();
    let host = MemoryHost::new(&network);
    let reader = async {
        let mut reader = network.open_input("a", 16 << 10).await;
        let mut bytes = 0;
        loop {
            network
                .sleep_until(network.now() + Duration::from_secs(4))
                .await;
            match reader.read(&mut [0; 512]).await.unwrap() {
                0 => return bytes,
                count => bytes += count as u64,
            }
        }
    };
    let command = "out.a=1 count=500";
    let (counters, bytes) = network
        .block_on(join(stage::<Numbers>(&host, command), reader))
        .unwrap();
    let sent = output(&counters, "a");
    assert_eq!((sent.readings, sent.lost, sent.bytes), (450, 0, bytes));
}

#[test]
fn a_stop_that_finds_a_silent_reader_counts_the_loss() {
    let network = Network::new();
    let host = MemoryHost::new(&network);
    let (counters, received) = network
        .block_on(join(
            stage::<Numbers>(&host, "out.a=1,ring=1K count=5000"),
            async {
                let mut reader = network.open_input("a", 1024).await;
                let (numbers, _) = collect(&mut reader, 100).await;
                host.stop();
                network.sleep_until(Duration::from_secs(60)).await;
                // What the reader took out of the ring but not out of its packs is lost as well.
                numbers.len() as u64
            },
        ))
        .unwrap();
    let edge = output(&counters, "a");
    assert!(edge.lost > 0 && edge.readings > received, "{edge:?}");
    assert!(edge.readings - edge.lost >= received, "{edge:?}");
    assert_eq!(host.state(), Some(State::Done));
    let ended = host.published.borrow().last().unwrap().0;
    assert!(ended <= 2 * DRAIN_PATIENCE, "{ended:?}");
}

#[test]
fn a_reader_that_goes_away_is_replaced_and_every_reading_accounted_for() {
    let network = Network::new();
    let hosts = [(); 2].map(|()| MemoryHost::new(&network));
    let (source, (first, relay)) = network
        .block_on(join(
            stage::<Numbers>(&hosts[0], "out.a=1,ring=1K count=5000"),
            async {
                let mut reader = network.open_input("a", 1024).await;
                let (first, _) = collect(&mut reader, 100).await;
                // By then the ring is full, and is left so.
                network.sleep_until(Duration::from_secs(1)).await;
                drop(reader);
                (
                    first.len() as u64,
                    stage::<Relay>(&hosts[1], "in.a=2,ring=1K").await,
                )
            },
        ))
        .unwrap();
    let (sent, received) = (output(&source, "a"), input(&relay, "a"));
    assert_eq!((sent.readings, sent.lost, sent.reconnects), (4500, 0, 1));
    // The second reader knows nothing of the first, so all before it is a gap to it.
    assert_eq!(received.readings + received.lost, sent.readings);
    assert!(
        received.lost >= first && received.half_packs == 0,
        "{received:?}"
    );
}

/// R12: a writer that has room and nothing to write looks for its reader all the same.
#[test]
fn r12_a_reader_that_goes_away_is_missed_before_there_is_anything_to_write() {
    let network = Network::new();
    let host = MemoryHost::new(&network);
    let hour = Duration::from_secs(3600);
    let readers = async {
        let mut reader = network.open_input("a", 1024).await;
        collect(&mut reader, 1).await;
        drop(reader);
        let mut second = network.open_input("a", 1024).await;
        assert!(network.now() < hour, "{:?}", network.now());
        collect(&mut second, usize::MAX).await
    };
    let (counters, (rest, _)) = network
        .block_on(join(
            stage::<Numbers>(&host, "out.a=1 count=3 pause=1h"),
            readers,
        ))
        .unwrap();
    assert_eq!(rest.len(), 2);
    assert_eq!(output(&counters, "a").reconnects, 1);
}

#[test]
fn a_reader_that_goes_away_at_the_end_loses_what_it_left() {
    let network = Network::new();
    let host = MemoryHost::new(&network);
    let (counters, ()) = network
        .block_on(join(stage::<Numbers>(&host, "out.a=1 count=500"), async {
            let reader = network.open_input("a", 16 << 10).await;
            network.sleep_until(Duration::from_secs(2)).await;
            drop(reader);
        }))
        .unwrap();
    assert_eq!(
        (output(&counters, "a").readings, output(&counters, "a").lost),
        (450, 450)
    );
    assert_eq!(host.state(), Some(State::Done));
}

#[test]
fn a_hundred_inputs_at_once() {
    let network = Network::new();
    let sources: Vec<MemoryHost> = (0..100).map(|_| MemoryHost::new(&network)).collect();
    let relay = MemoryHost::new(&network);
    let inputs: Vec<String> = (0..100).map(|n| format!("in.{n}=1")).collect();
    let runs = sources.iter().enumerate().map(|(n, host)| async move {
        stage::<Numbers>(host, &format!("out.{n}=1 count=300")).await
    });
    let (counters, _) = network
        .block_on(join(
            stage::<Relay>(&relay, &inputs.join(" ")),
            join_all(runs),
        ))
        .unwrap();
    assert_eq!(counters.stage.readings_in, 100 * 270);
    assert!(
        counters
            .edges
            .iter()
            .all(|edge| edge.counters.readings == 270)
    );
}

#[test]
fn results_wait_for_the_console() {
    let network = Network::new();
    let hosts = [(); 2].map(|()| MemoryHost::new(&network));
    hosts[1].console_is_read.set(false);
    let (_, relay, held_back) = network
        .block_on(join3(
            stage::<Numbers>(&hosts[0], "out.a=1 count=2000"),
            stage::<Relay>(&hosts[1], "in.a=2"),
            async {
                network.sleep_until(Duration::from_secs(100)).await;
                let held_back = hosts[1]
                    .published
                    .borrow()
                    .last()
                    .unwrap()
                    .1
                    .stage
                    .readings_in;
                hosts[1].read_console();
                held_back
            },
        ))
        .unwrap();
    assert!(held_back < 100, "{held_back}");
    assert_eq!(relay.stage.readings_in, 1800);
    assert_eq!(hosts[1].console.borrow().len(), 1800);
}

#[test]
fn a_stop_does_not_wait_for_a_console_that_nobody_reads() {
    let network = Network::new();
    let hosts = [(); 2].map(|()| MemoryHost::new(&network));
    hosts[1].console_is_read.set(false);
    let run = join3(
        stage::<Numbers>(&hosts[0], "out.a=1,ring=1K count=2000"),
        stage::<Relay>(&hosts[1], "in.a=2,ring=1K"),
        async {
            network.sleep_until(Duration::from_secs(10)).await;
            hosts[1].stop();
            network.sleep_until(Duration::from_secs(30)).await;
            assert_eq!(hosts[1].state(), Some(State::Done));
            assert_eq!(
                hosts[0].state(),
                Some(State::Waiting(Awaited::Edge(edge("a"))))
            );
            hosts[0].stop();
        },
    );
    let (source, relay, ()) = network.block_on(run).unwrap();
    let (sent, received) = (output(&source, "a"), input(&relay, "a"));
    assert_eq!(sent.readings, received.readings + received.lost + sent.lost);
    assert_eq!(
        hosts.map(|host| host.state()),
        [Some(State::Done), Some(State::Done)]
    );
}

#[test]
fn a_function_that_cannot_be_made_fails_with_one_line() {
    struct Broken;
    impl Stage for Broken {
        const NAME: &'static str = "broken";
        const ABOUT: &'static str = "";
        const PARAMETERS: &'static [Parameter] = &[];
        const EDGES: &'static [EdgeKind] = &[];
        fn new(_: &Setup<'_>) -> Result<Self, SetupError> {
            Err(SetupError::Function("data.csv: empty".into()))
        }
    }
    let network: Rc<Network> = Network::new();
    let host = MemoryHost::new(&network);
    let plan = Plan::new::<Broken>(b"", b"").unwrap();
    assert!(
        network
            .block_on(run::<Broken, _>(&plan, &host))
            .unwrap()
            .is_err()
    );
    assert_eq!(host.state(), Some(State::Failed("data.csv: empty".into())));
}
