//! The gateway and `mqtt-in` against a real Mosquitto on loopback, over TCP and in real time.

mod across;
mod broker;
mod host;

use std::collections::BTreeMap;
use std::time::Duration;

use async_io::{Timer, block_on};
use broker::{Broker, Subscriber};
use futures_util::future::{Either, join, select};
use gateway::{Gateway, Uplink};
use host::{RealHost, TcpNet, lines_since, log_lines, module};
use libtest_mimic::{Arguments, Failed, Trial};
use stage::counters::Counters;
use stage::runner::run_beside;
use stage::senml::{END_OF_STREAM, PackQueue};
use stage::state::{Awaited, State};
use stage::testing::PipeWriter;
use stage::{DropCause, Plan, Reading, Timestamp};

/// A scenario.
type Scenario = fn() -> Result<(), Failed>;

fn main() {
    let arguments = Arguments::from_args();
    log_lines();
    let missing = broker::missing();
    if let Some(missing) = missing {
        eprintln!(
            "{missing} is not installed: the tests against a real broker are IGNORED (apt-get install mosquitto mosquitto-clients)"
        );
    }
    let scenarios: [(&str, Scenario); 9] = [
        ("a_restart_loses_nothing_that_fits_the_queue", restart),
        (
            "a_wrong_password_is_one_line_and_then_waited_out",
            wrong_password,
        ),
        ("the_will_tells_of_a_gateway_that_was_destroyed", will),
        (
            "a_message_beyond_the_packet_size_of_the_broker_is_counted",
            too_large,
        ),
        (
            "an_edge_across_hosts_carries_every_reading_once_and_its_end",
            across::edge,
        ),
        ("what_a_broker_forgot_is_counted_as_lost", across::forgotten),
        (
            "the_broker_keeps_what_comes_while_mqtt_in_is_away",
            across::away,
        ),
        (
            "the_reader_of_an_edge_that_is_stopped_leaves_nothing_at_the_broker",
            across::stopped,
        ),
        (
            "a_reader_that_takes_nothing_holds_the_broker_back",
            across::held_back,
        ),
    ];
    let trials = scenarios
        .map(|(name, scenario)| Trial::test(name, scenario).with_ignored_flag(missing.is_some()));
    libtest_mimic::run(&arguments, trials.into()).exit();
}

/// How long anything may take before a scenario fails; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a condition, and fails if it does not come.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "{what}: not within a minute");
        Timer::after(Duration::from_millis(5)).await;
    }
}

/// Runs a gateway beside something else, which ends first or with it.
fn beside<T>(
    host: &RealHost,
    command: &str,
    secret: Option<&str>,
    other: impl Future<Output = T>,
) -> (Counters, T) {
    let plan = Plan::new::<Gateway>(command.as_bytes(), module(secret)).expect("a plan");
    let gateway = run_beside(&plan, host, Uplink::new(TcpNet));
    let (counters, value) = block_on(join(gateway, other));
    (counters.expect("a gateway that ends well"), value)
}

async fn feed(writer: &mut PipeWriter, series: &str, values: impl IntoIterator<Item = u32>) {
    let mut queue = PackQueue::new(64 << 10);
    for value in values {
        let time = Timestamp::from_seconds(1_700_000_000 + i64::from(value)).expect("a time");
        let reading = Reading::number(series, time, f64::from(value));
        queue.push(&reading).expect("a reading");
    }
    let (mut bytes, mut sealed) = (Vec::new(), Vec::new());
    queue.take(&mut bytes, &mut sealed);
    write(writer, &bytes).await;
}

async fn write(writer: &mut PipeWriter, bytes: &[u8]) {
    let Ok(()) = embedded_io_async::Write::write_all(writer, bytes)
        .await
        .map_err(drop)
    else {
        panic!("the gateway has closed its edge");
    };
}

/// The values of messages by their ids; the same id must say the same.
fn values(lines: &[broker::Line]) -> BTreeMap<String, Vec<u32>> {
    let mut messages = BTreeMap::new();
    for line in lines {
        let json: serde_json::Value = serde_json::from_str(&line.payload).expect("JSON");
        let records = json.as_array().expect("a pack").iter();
        let values: Vec<u32> = records
            .map(|record| record["v"].as_f64().expect("a number") as u32)
            .collect();
        let known = messages
            .entry(line.id.clone())
            .or_insert_with(|| values.clone());
        assert_eq!(*known, values, "another message under an old id");
    }
    messages
}

/// How often the broker restarts.
const ROUNDS: u32 = 3;

fn restart() -> Result<(), Failed> {
    let mut broker = Broker::start("")?;
    let mut subscriber = Subscriber::start(&broker, "grantflow/#")?;
    let host = RealHost::new();
    let command = format!("broker=127.0.0.1:{} in.a=1", broker.port());
    let other = async {
        let mut writer = host.network.open_output("a").await;
        for round in 0..ROUNDS {
            until("running", || host.state() == State::Running).await;
            for number in 0..100 {
                feed(&mut writer, "s", [round * 1000 + number]).await;
            }
            // It takes no more, so that messages are in flight when it ends.
            broker.signal("STOP").expect("a signal");
            for number in 100..200 {
                feed(&mut writer, "s", [round * 1000 + number]).await;
            }
            until("a flight", || {
                host.own("published") >= host.own("acknowledged") + 100
            })
            .await;
            broker.stop().expect("an end");
            until("waiting", || {
                host.state() == State::Waiting(Awaited::Broker)
            })
            .await;
            feed(&mut writer, "s", [round * 1000 + 200]).await;
            broker.again().expect("a broker");
        }
        write(&mut writer, &[END_OF_STREAM]).await;
    };
    let (counters, ()) = beside(&host, &command, None, other);
    let mut lines = Vec::new();
    let expected: Vec<u32> = (0..ROUNDS)
        .flat_map(|round| (0..=200).map(move |number| round * 1000 + number))
        .collect();
    block_on(until("every message", || {
        lines.extend(subscriber.lines());
        values(&lines).len() >= expected.len()
    }));
    let mut all: Vec<u32> = values(&lines).into_values().flatten().collect();
    all.sort_unstable();
    assert_eq!(all, expected);
    assert_eq!(counters.stage.used, expected.len() as u64);
    assert!(counters.stage.balanced());
    assert_eq!(
        host::number(&counters.own, "connections"),
        u64::from(ROUNDS) + 1
    );
    assert!(
        host::number(&counters.own, "resent") > 0,
        "{}",
        counters.own
    );
    Ok(())
}

fn wrong_password() -> Result<(), Failed> {
    let broker = Broker::start("allow_anonymous false\npassword_file {folder}/passwords\n")?;
    broker.password("me", "other")?;
    let host = RealHost::new();
    let command = format!("broker=127.0.0.1:{} in.a=1", broker.port());
    let before = lines_since(0).len();
    let other = async {
        let mut writer = host.network.open_output("a").await;
        feed(&mut writer, "s", [7]).await;
        until("a refusal", || !refusals(before).is_empty()).await;
        assert_eq!(host.state(), State::Waiting(Awaited::Broker));
        broker.password("me", "secret").expect("a password");
        until("running", || host.state() == State::Running).await;
        write(&mut writer, &[END_OF_STREAM]).await;
    };
    let (counters, ()) = beside(&host, &command, Some("me:secret"), other);
    assert_eq!(counters.stage.used, 1);
    let refusals = refusals(before);
    let expected = format!(
        "WARN broker 127.0.0.1:{} refuses the connection: not authorized (0x87); trying again in ",
        broker.port()
    );
    assert!(
        refusals.iter().all(|line| line.starts_with(&expected)),
        "{refusals:?}"
    );
    assert!(refusals.len() <= 3, "{refusals:?}");
    assert!(
        !lines_since(before)
            .iter()
            .any(|line| line.contains("secret"))
    );
    Ok(())
}

fn refusals(before: usize) -> Vec<String> {
    let lines = lines_since(before).into_iter();
    lines.filter(|line| line.contains("refuses")).collect()
}

fn will() -> Result<(), Failed> {
    let broker = Broker::start("")?;
    let mut subscriber = Subscriber::start(&broker, "state/#")?;
    let host = RealHost::new();
    let command = format!("broker=127.0.0.1:{} in.a=1 will=state/me", broker.port());
    let mut lines = Vec::new();
    let mut seen = |text: &str| {
        lines.extend(subscriber.lines());
        lines
            .last()
            .is_some_and(|line: &broker::Line| line.payload == text)
    };
    let plan = Plan::new::<Gateway>(command.as_bytes(), module(None)).expect("a plan");
    let gateway = run_beside(&plan, &host, Uplink::new(TcpNet));
    let watch = async {
        let _writer = host.network.open_output("a").await;
        until("running", || seen("running")).await;
    };
    // Dropped half-way: its connection closes without a word.
    let ended = block_on(select(Box::pin(gateway), Box::pin(watch)));
    assert!(
        matches!(ended, Either::Right(_)),
        "the gateway ended by itself"
    );
    drop(ended);
    block_on(until("lost", || seen("lost")));
    Ok(())
}

fn too_large() -> Result<(), Failed> {
    let broker = Broker::start("max_packet_size 2000\n")?;
    let mut subscriber = Subscriber::start(&broker, "grantflow/#")?;
    let host = RealHost::new();
    let command = format!("broker=127.0.0.1:{} in.a=1", broker.port());
    let other = async {
        let mut writer = host.network.open_output("a").await;
        feed(&mut writer, "large", 0..200).await;
        feed(&mut writer, "small", 0..2).await;
        write(&mut writer, &[END_OF_STREAM]).await;
    };
    let (counters, ()) = beside(&host, &command, None, other);
    let mut lines = Vec::new();
    block_on(until("the small message", || {
        lines.extend(subscriber.lines());
        lines
            .iter()
            .any(|line: &broker::Line| line.topic == "grantflow/small")
    }));
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (
            counters.stage.used,
            counters.stage.dropped(DropCause::Undelivered)
        ),
        (2, 200)
    );
    assert_eq!(host::number(&counters.own, "large"), 1);
    Ok(())
}
