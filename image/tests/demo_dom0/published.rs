//! The same with a broker: the gateway is the first domain, and a subscriber gets its messages.

use std::fmt::Write as _;
use std::process::Command;

use grantflow::demo::verify::{WindowKey, Windows};

use super::fake::{Outcome, complained, printed};
use super::{RECORDS, Scene, WINDOWS, encode, figures};

const BOOT: &str = "00112233445566ff";

/// A dom0 whose gateway publishes these windows and counts so many messages acknowledged.
fn scene(windows: &Windows, acknowledged: usize) -> Outcome<Scene> {
    let scene = Scene::new()?;
    let records = windows.len() * RECORDS;
    let length = encode(windows)?.len();
    let edge =
        |bytes: usize, readings: usize| format!("bytes={bytes} packs=4 readings={readings} sent=2");
    let stage = |taken: usize, out: usize| format!("in={taken} used={taken} out={out} heap=9000");
    let own = format!(
        "accepted={acknowledged} resent=0 acknowledged={acknowledged} queue=0 large=0 refused=0 end=0 address-ms=40"
    );
    let nodes = [
        ("1/data/grantflow/stats/stage", stage(records, records)),
        ("1/data/grantflow/stats/own", own),
        ("1/data/grantflow/stats/in/windows", edge(length, records)),
        ("2/data/grantflow/stats/stage", stage(13, records)),
        ("2/data/grantflow/stats/in/flow", edge(100, 4)),
        ("2/data/grantflow/stats/in/weather", edge(300, 9)),
        ("2/data/grantflow/stats/out/windows", edge(length, records)),
        ("3/data/grantflow/stats/stage", stage(4, 4)),
        ("3/data/grantflow/stats/out/flow", edge(100, 4)),
        ("4/data/grantflow/stats/stage", stage(9, 9)),
        ("4/data/grantflow/stats/out/weather", edge(300, 9)),
    ];
    std::fs::remove_dir_all(scene.dom0.path("store"))?;
    for (node, text) in nodes {
        scene
            .dom0
            .write(&format!("store/local/domain/{node}"), text)?;
    }
    scene.dom0.write("messages", messages(windows))?;
    Ok(scene)
}

/// One message for each window, as mosquitto_sub prints them; the last comes twice.
fn messages(windows: &Windows) -> String {
    let mut text = String::new();
    let mut last = String::new();
    for ((WindowKey { series, start }, window), sequence) in windows.iter().zip(1..) {
        let records: Vec<String> = figures(window)
            .map(|(figure, value)| {
                format!("{{\"n\":\"{series}:{figure}\",\"t\":{start},\"v\":{value:?}}}")
            })
            .collect();
        let payload: String = format!("[{}]", records.join(","))
            .bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        last = format!("message\tgrantflow/demo/{series}\tid:{BOOT}-{sequence}\t{payload}\n");
        text.push_str(&last);
    }
    let _ = write!(text, "{last}");
    text
}

fn demo(scene: &Scene) -> Command {
    let mut command = scene.demo();
    command.args(["--broker", "broker.example:1884", "--bridge", "br0"]);
    command
}

fn windows() -> Outcome<Windows> {
    Ok(Scene::new()?.windows)
}

#[test]
fn what_the_subscriber_gets_is_verified() -> Outcome {
    let scene = scene(&windows()?, WINDOWS)?;
    let output = demo(&scene).output()?;
    let text = printed(&output);
    assert!(output.status.success(), "{text}{}", complained(&output));
    for part in [
        "gateway after its start: address 40 ms",
        "broker broker.example:1884: 8 messages acknowledged; a subscriber in dom0 got 8, ",
        "1 twice, 0 never",
        "balance: in = used + dropped in 4 stages, sent = received + lost on 3 edges",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(text.ends_with("verified 8 of 8 windows\n"), "{text}");
    let config = std::fs::read_to_string(scene.dom0.path("configs/demo-gateway.cfg"))?;
    assert!(config.contains("vif = [\"bridge=br0\"]"), "{config}");
    let asked = std::fs::read_to_string(scene.dom0.path("subscriber-arguments"))?;
    assert!(asked.contains("-h broker.example -p 1884"), "{asked}");
    // The edge of the results has two ends among the stages now.
    let peer = |path: &str| scene.dom0.stored(&format!("/local/domain/{path}"));
    assert_eq!(peer("1/grantflow/peer/windows")?, "2 1");
    assert_eq!(peer("2/grantflow/peer/windows")?, "1 1");
    Ok(())
}

#[test]
fn a_message_that_never_comes_fails_the_run() -> Outcome {
    let all = windows()?;
    let scene = scene(&all, WINDOWS)?;
    let some: Windows = all.into_iter().skip(1).collect();
    scene.dom0.write("messages", messages(&some))?;
    let output = demo(&scene).output()?;
    assert_eq!(output.status.code(), Some(1));
    let text = printed(&output);
    for part in [
        "balance broken: broker: 8 messages acknowledged, but 7 arrived",
        "balance broken: broker: 56 readings used by the gateway, but 49 arrived",
        "verified 7 of 8 windows",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    Ok(())
}

#[test]
fn a_gateway_that_crashed_ends_the_wait() -> Outcome {
    let scene = scene(&windows()?, WINDOWS)?;
    scene.dom0.write("messages", "")?;
    scene
        .dom0
        .write("end.demo-gateway", "---sc- 0.1 0001 3 -")?;
    let output = demo(&scene).output()?;
    assert_eq!(output.status.code(), Some(1));
    let complaint = complained(&output);
    assert!(
        complaint.contains("domain demo-gateway ended with `crash`"),
        "{complaint}"
    );
    Ok(())
}
