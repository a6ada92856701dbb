//! Sensors that are dead, late, twice there, too fast, or of another kind, as the stage that reads them sees it.

use super::*;

/// S1: a sensor that reads once a second and dies in silence is told to be stale within two of its periods, and its last reading is
/// never given again.
#[test]
fn s1_a_dead_sensor_is_stale_within_two_periods_and_its_last_reading_is_not_repeated() {
    let network = Network::new();
    let host = MemoryHost::new(&network);
    let sensor = async {
        let mut writer = network.open_output("a").await;
        for n in 0..10 {
            let second = network.now() + Duration::from_secs(1);
            writer.write_all(&packs(n..n + 1)).await.unwrap();
            network.sleep_until(second).await;
            assert_eq!(host.state(), Some(State::Running));
        }
        // Its last reading came a second ago.
        network
            .sleep_until(network.now() + Duration::from_millis(999))
            .await;
        assert_eq!(host.state(), Some(State::Stale(edge("a"))));
        let day = network.now() + Duration::from_secs(86_400);
        network.sleep_until(day).await;
        assert_eq!(host.console.borrow().len(), 10);
        writer.write_all(&packs(10..11)).await.unwrap();
        writer.write_all(&[END_OF_STREAM]).await.unwrap();
        writer.drained().await;
    };
    let (counters, ()) = network
        .block_on(join(stage::<Relay>(&host, "in.a=1,stale=1500ms"), sensor))
        .unwrap();
    assert_eq!(input(&counters, "a").readings, 11);
}

/// One pack of the numbers of a range, which says that `seq` readings were sent before it.
fn pack_at(seq: u64, numbers: core::ops::Range<u64>) -> Vec<u8> {
    let plain = packs(numbers);
    // `seq` of a writer that has sent nothing stands there as the text and a 0.
    let mark = *b"\x63seq";
    let at = plain.windows(4).position(|window| window == mark).unwrap() + 4;
    let mut pack = plain[..at].to_vec();
    assert!(plain[at] < 24, "a short number");
    pack.push(0x1B);
    pack.extend_from_slice(&seq.to_be_bytes());
    pack.extend_from_slice(&plain[at + 1..]);
    pack
}

/// S3: gaps are counted, a number that went round or went back is that of a writer that begins anew, and no number stops the edge.
#[test]
fn s3_gaps_are_counted_and_a_sequence_that_wraps_goes_on() {
    let network = Network::new();
    let host = MemoryHost::new(&network);
    let sensor = async {
        let mut writer = network.open_output("a").await;
        let last = u64::MAX - 2;
        for (seq, numbers) in [
            (0, 0..3),
            // Four are missing.
            (7, 0..3),
            // A pack that came twice: nothing is missing, and its readings are there again.
            (0, 0..3),
            // All numbers but the last few: what a broken or hostile writer says is counted, and held at the most.
            (last, 0..3),
            (0, 0..3),
            (3, 0..3),
        ] {
            writer.write_all(&pack_at(seq, numbers)).await.unwrap();
        }
        writer.write_all(&[END_OF_STREAM]).await.unwrap();
        writer.drained().await;
        last
    };
    let (counters, last) = network
        .block_on(join(stage::<Relay>(&host, "in.a=1"), sensor))
        .unwrap();
    let edge = input(&counters, "a");
    assert_eq!((edge.readings, edge.bad_packs), (18, 0));
    assert_eq!(edge.lost, 4 + (last - 3));
    assert!(counters.stage.balanced());
}

/// The numbers of a whole stream.
fn decoded(bytes: &[u8]) -> Vec<f64> {
    let mut decoder = StreamDecoder::new();
    let mut numbers = Vec::new();
    for piece in bytes.chunks(100) {
        decoder.space(piece.len()).unwrap()[..piece.len()].copy_from_slice(piece);
        decoder.filled(piece.len());
        while let Item::Pack(pack) = decoder.next_item().unwrap() {
            let mut readings = pack.readings(Timestamp::default()).unwrap();
            while let Some(reading) = readings.next_reading().unwrap() {
                numbers.extend(match reading.value {
                    Value::Number(number) => Some(number),
                    _ => None,
                });
            }
        }
    }
    numbers
}

/// S5: a source ten times as fast as it was said to be, and then a burst: it is slowed down and nothing is lost; on an edge that may
/// not slow down anybody, what is too much is lost and counted. What waits is bounded in both.
#[test]
fn s5_ten_times_the_rate_is_slowed_down_or_shed_and_counted() {
    for (feedback, writes_all) in [("", true), (",feedback", false)] {
        let network = Network::new();
        let host = MemoryHost::new(&network);
        let command = format!("out.a=1,ring=1K{feedback} count=20000 pause=1ms");
        // A relay that is held up by its own reader, who takes some hundred readings a second of the thousand that are made.
        let slow = MemoryHost::new(&network);
        let reader = async {
            let mut reader = network.open_input("b", 1024).await;
            let mut bytes = Vec::new();
            let mut piece = [0; 130];
            loop {
                let count = reader.read(&mut piece).await.unwrap();
                bytes.extend_from_slice(&piece[..count]);
                if count == 0 {
                    return decoded(&bytes);
                }
                let pause = Duration::from_millis(100);
                network.sleep_until(network.now() + pause).await;
            }
        };
        let relay = stage::<Relay>(&slow, "in.a=1,ring=1K out.b=1,ring=1K");
        let reader = async { join(relay, reader).await.1 };
        let (counters, numbers) = network
            .block_on(join(stage::<Numbers>(&host, &command), reader))
            .unwrap();
        let sent = output(&counters, "a");
        assert_eq!(sent.readings, 18_000);
        assert_eq!(sent.lost == 0, writes_all, "{sent:?}");
        // And the last, which the relay repeats.
        let (last, numbers) = numbers.split_last().unwrap();
        assert_eq!((*last, numbers.len() as u64 + sent.lost), (0.0, 18_000));
        let ordered = numbers.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(ordered, "what was not shed stays in order");
        let took = network.now();
        assert_eq!(took > Duration::from_secs(60), writes_all, "{took:?}");
    }
}

/// S5: a writer of another version of SenML, or of fields that must be understood and are not, is refused with the reason, pack by pack.
#[test]
fn s5_another_version_and_unknown_fields_are_refused_and_counted() {
    let network = Network::new();
    let host = MemoryHost::new(&network);
    let sensor = async {
        let mut writer = network.open_output("a").await;
        writer.write_all(&packs(0..5)).await.unwrap();
        // {-1: 11, 0: "x", 2: 1}, and {0: "x", 2: 1, "must_": 1}.
        let version = [0x81, 0xA3, 0x20, 0x0B, 0x00, 0x61, b'x', 0x02, 0x01];
        let must = [0x81, 0xA3, 0x00, 0x61, b'x', 0x02, 0x01, 0x65];
        writer.write_all(&version).await.unwrap();
        writer.write_all(&must).await.unwrap();
        writer.write_all(b"must_\x01").await.unwrap();
        // The version that is known, said aloud: {-1: 10, -2: "x", -3: 1700000000, 2: 1}.
        let known = [
            0x81, 0xA4, 0x20, 0x0A, 0x21, 0x61, b'x', 0x22, 0x1A, 0x65, 0x53, 0xF1, 0x00, 0x02,
            0x01,
        ];
        writer.write_all(&known).await.unwrap();
        writer.write_all(&[END_OF_STREAM]).await.unwrap();
        writer.drained().await;
    };
    let (counters, ()) = network
        .block_on(join(stage::<Relay>(&host, "in.a=1"), sensor))
        .unwrap();
    let edge = input(&counters, "a");
    assert_eq!((edge.readings, edge.lost, edge.bad_packs), (6, 2, 2));
    assert_eq!(edge.reconnects, 0);
}
