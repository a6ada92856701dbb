//! An edge across hosts: a gateway with `end=on drop=never` and an `mqtt-in` with `end=on`, at one real broker.

use futures_util::future::join3;
use gateway::{Downlink, MqttIn};
use stage::counters::Counters;
use stage::senml::{Item, StreamDecoder};
use stage::testing::PipeReader;

use super::host::number;
use super::*;

/// Which broker, and what an `mqtt-in` is told beside.
fn command_in(broker: &Broker, rest: &str) -> String {
    format!(
        "broker=127.0.0.1:{} client-id=way-in out.b=1 {rest}",
        broker.port()
    )
}

fn command_out(broker: &Broker, rest: &str) -> String {
    format!(
        "broker=127.0.0.1:{} topic=edge/flow format=cbor end=on drop=never {rest}",
        broker.port()
    )
}

async fn run_out(host: &RealHost, command: &str) -> Counters {
    let plan = Plan::new::<Gateway>(command.as_bytes(), module(None)).expect("a plan");
    run_beside(&plan, host, Uplink::new(TcpNet))
        .await
        .expect("a gateway that ends well")
}

async fn run_in(host: &RealHost, command: &str) -> Counters {
    let plan = Plan::new::<MqttIn>(command.as_bytes(), module(None)).expect("a plan");
    run_beside(&plan, host, Downlink::new(TcpNet))
        .await
        .expect("an mqtt-in that ends well")
}

/// Reads values until the stream ends (then `true`), closes, or has given so many.
async fn collect(reader: &mut PipeReader, values: &mut Vec<u32>, limit: usize) -> bool {
    let mut decoder = StreamDecoder::new();
    while values.len() < limit {
        match decoder.next_item().expect("a stream") {
            Item::End => return true,
            Item::Pack(pack) => {
                let mut readings = pack.readings(Timestamp::default()).expect("a pack");
                while let Some(reading) = readings.next_reading().expect("a reading") {
                    let stage::Value::Number(value) = reading.value else {
                        panic!("{reading:?}");
                    };
                    values.push(value as u32);
                }
            }
            Item::Incomplete => {
                let space = decoder.space(100).expect("space");
                let Ok(count) = embedded_io_async::Read::read(reader, space).await;
                if count == 0 {
                    return false;
                }
                decoder.filled(count);
            }
        }
    }
    false
}

/// The writer begins before anybody has subscribed; the broker goes away and comes back, without what it had in memory.
pub fn edge() -> Result<(), Failed> {
    let mut broker = Broker::start("")?;
    let (out, into) = (RealHost::new(), RealHost::new());
    let (command_out, command_in) = (
        command_out(&broker, "in.a=1"),
        command_in(&broker, "topic=edge/flow end=on"),
    );
    let mut values = Vec::new();
    let other = async {
        let mut writer = out.network.open_output("a").await;
        feed(&mut writer, "s", 0..100).await;
        until("nobody", || out.own("nobody") > 0).await;
        let mut reader = into.network.open_input("b", 1024).await;
        assert!(!collect(&mut reader, &mut values, 100).await);
        for round in 1..=3 {
            until("running", || into.state() == State::Running).await;
            broker.stop().expect("an end");
            until("waiting", || {
                into.state() == State::Waiting(Awaited::Broker)
            })
            .await;
            for number in 0..50 {
                feed(&mut writer, "s", [round * 100 + number]).await;
            }
            broker.again().expect("a broker");
            for number in 50..100 {
                feed(&mut writer, "s", [round * 100 + number]).await;
            }
        }
        write(&mut writer, &[END_OF_STREAM]).await;
        assert!(
            collect(&mut reader, &mut values, usize::MAX).await,
            "no end of stream"
        );
    };
    let late = async {
        until("nobody", || out.own("nobody") > 0).await;
        run_in(&into, &command_in).await
    };
    let (sent, received, ()) = block_on(join3(run_out(&out, &command_out), late, other));
    assert_eq!(values, (0..400).collect::<Vec<_>>());
    assert_eq!((sent.stage.used, received.stage.used), (400, 400));
    assert_eq!(number(&received.own, "lost"), 0, "{}", received.own);
    assert_eq!(number(&received.own, "connections"), 4, "{}", received.own);
    assert!(received.stage.balanced() && sent.stage.balanced());
    Ok(())
}

/// A broker that is killed without a file of what it had: what it lost is counted, the rest keeps its order.
pub fn forgotten() -> Result<(), Failed> {
    let mut broker = Broker::start("persistence false\n")?;
    let (out, into) = (RealHost::new(), RealHost::new());
    let (command_out, command_in) = (
        command_out(&broker, "in.a=1"),
        command_in(&broker, "topic=edge/flow end=on"),
    );
    let mut values = Vec::new();
    let other = async {
        let mut writer = out.network.open_output("a").await;
        let mut reader = into.network.open_input("b", 1024).await;
        for round in 0..3 {
            for number in 0..100 {
                feed(&mut writer, "s", [round * 100 + number]).await;
            }
            broker.signal("KILL").expect("a signal");
            broker.stop().expect("an end");
            broker.again().expect("a broker");
        }
        write(&mut writer, &[END_OF_STREAM]).await;
        assert!(
            collect(&mut reader, &mut values, usize::MAX).await,
            "no end of stream"
        );
    };
    let (sent, received, ()) = block_on(join3(
        run_out(&out, &command_out),
        run_in(&into, &command_in),
        other,
    ));
    assert!(values.is_sorted_by(|one, next| one < next), "{values:?}");
    let lost = number(&received.own, "lost");
    assert_eq!(values.len() as u64, received.stage.used);
    assert_eq!(
        sent.stage.used,
        received.stage.used + lost,
        "{}",
        received.own
    );
    Ok(())
}

/// Runs an `mqtt-in` until it has emitted so many values, and stops it; `running` is called once it runs.
fn visit(command: &str, count: usize, running: impl FnOnce()) -> (Counters, Vec<u32>) {
    let (host, mut values) = (RealHost::new(), Vec::new());
    let reader = async {
        let mut reader = host.network.open_input("b", 1024).await;
        until("running", || host.state() == State::Running).await;
        running();
        collect(&mut reader, &mut values, count).await;
        host.stop();
        // Until it has ended, and with it the edge.
        collect(&mut reader, &mut Vec::new(), usize::MAX).await
    };
    let (counters, ended) = block_on(join(run_in(&host, command), reader));
    assert!(ended, "no end of stream");
    (counters, values)
}

/// A message of one reading.
fn message(value: u32) -> String {
    format!(r#"[{{"n":"s","t":{},"v":{value}}}]"#, 1_700_000_000 + value)
}

/// The reader of an edge that was told to stop leaves nothing at the broker: an end that came later would end the next run.
pub fn stopped() -> Result<(), Failed> {
    let broker = Broker::start("")?;
    let command = command_in(&broker, "topic=in/x end=on");
    for value in [1, 3] {
        let publish = || broker.publish("in/x", &message(value)).expect("a message");
        assert_eq!(visit(&command, 1, publish).1, [value]);
        broker.publish("in/x", &message(value + 1))?;
        broker.publish("in/x", "[]")?;
    }
    Ok(())
}

/// While it is away the broker keeps what comes; packs of either kind are taken, and what is none is counted.
pub fn away() -> Result<(), Failed> {
    let broker = Broker::start("")?;
    let command = command_in(&broker, "topic=in/+");
    let publish = || broker.publish("in/x", &message(0)).expect("a message");
    assert_eq!(visit(&command, 1, publish).1, [0]);
    for payload in [
        r#"[{"n":"s","t":1700000001,"v":1},{"n":"s","t":1700000002,"v":2}]"#,
        "no pack",
        "[]",
        r#"[{"n":"s","t":1700000003,"v":3},{"n":"?","v":9}]"#,
        r#"[{"n":"s","t":1700000003,"v":3}]"#,
    ] {
        broker.publish("in/y", payload)?;
    }
    let (counters, values) = visit(&command, 3, || ());
    assert_eq!(values, [1, 2, 3]);
    assert_eq!(
        (
            counters.stage.used,
            counters.stage.dropped(DropCause::Malformed)
        ),
        (3, 2)
    );
    assert_eq!(
        (
            number(&counters.own, "malformed"),
            number(&counters.own, "forgotten")
        ),
        (2, 0)
    );
    Ok(())
}

/// A reader that takes nothing holds the broker back: it keeps what was not accepted.
pub fn held_back() -> Result<(), Failed> {
    let broker = Broker::start("")?;
    let (out, into) = (RealHost::new(), RealHost::new());
    let (command_out, command_in) = (
        command_out(&broker, "in.a=1,ring=4K"),
        command_in(&broker, "topic=edge/flow end=on"),
    );
    let mut values = Vec::new();
    let other = async {
        let mut reader = into.network.open_input("b", 1024).await;
        until("running", || into.state() == State::Running).await;
        let mut writer = out.network.open_output("a").await;
        for round in 0..200 {
            feed(
                &mut writer,
                "s",
                (0..100).map(|number| round * 100 + number),
            )
            .await;
        }
        write(&mut writer, &[END_OF_STREAM]).await;
        until("all published", || out.state() == State::Done).await;
        let counters = into.counters();
        let accepted = number(&counters.own, "accepted");
        assert!(accepted < 50, "{}", counters.own);
        assert!(
            collect(&mut reader, &mut values, usize::MAX).await,
            "no end of stream"
        );
    };
    let (_, received, ()) = block_on(join3(
        run_out(&out, &command_out),
        run_in(&into, &command_in),
        other,
    ));
    assert_eq!(values, (0..20_000).collect::<Vec<_>>());
    assert_eq!(number(&received.own, "connections"), 1, "{}", received.own);
    Ok(())
}
