//! The demo's broker and subscriber: real programs, if they are installed.

use std::process::Command;
use std::time::Duration;

use grantflow::broker::{Broker, BrokerError, Heard, Subscriber};
use grantflow::demo::messages::Messages;
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let missing = match Broker::start().and_then(|broker| Subscriber::start(&broker.address(), "#"))
    {
        Err(error @ BrokerError::Missing { .. }) => {
            eprintln!("{error}: the test of the demo's broker is IGNORED");
            true
        }
        _ => false,
    };
    let trial = Trial::test(
        "every_message_comes_and_the_windows_are_those_sent",
        every_message,
    );
    libtest_mimic::run(&arguments, vec![trial.with_ignored_flag(missing)]).exit();
}

/// How many are sent, each by a program of its own.
const MESSAGES: u64 = 20;

fn every_message() -> Result<(), Failed> {
    let broker = Broker::start()?;
    let mut subscriber = Subscriber::start(&broker.address(), "grantflow/#")?;
    for sequence in 1..=MESSAGES {
        publish(broker.address().port, sequence)?;
    }
    let mut messages = Messages::default();
    while messages.counts().messages < MESSAGES {
        match subscriber.next(Duration::from_secs(30)) {
            Heard::Message(_, message) => {
                messages.absorb(&message)?;
            }
            other => return Err(format!("{other:?} after {:?}", messages.counts()).into()),
        }
    }
    let counts = messages.counts();
    assert_eq!((counts.again, counts.lost), (0, 0));
    let windows = messages.finish()?;
    assert_eq!(windows.len() as u64, MESSAGES);
    assert!(
        windows
            .values()
            .zip(1..)
            .all(|(window, sequence)| window.count == sequence)
    );
    Ok(())
}

/// One window, as a gateway would publish it.
fn publish(port: u16, sequence: u64) -> Result<(), Failed> {
    let start = 1_700_006_400 + sequence * 86_400;
    let payload = format!(
        r#"[{{"bn":"wind:","bt":{start},"n":"count","v":{sequence}}},{{"n":"mean","v":1}},{{"n":"min","v":1}},
        {{"n":"max","v":1}},{{"n":"stddev_pop","v":0}},{{"n":"flagged","v":0}}]"#
    );
    let id = format!("00112233445566ff-{sequence}");
    let status = Command::new("mosquitto_pub")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-V",
            "5",
            "-q",
            "1",
        ])
        .args([
            "-t",
            "grantflow/wind",
            "-D",
            "publish",
            "user-property",
            "id",
            &id,
            "-m",
            &payload,
        ])
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err("mosquitto_pub failed".into())
    }
}
