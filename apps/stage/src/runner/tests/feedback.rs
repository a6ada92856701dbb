//! Circles of edges: one of them is a feedback edge, and neither end of it waits for the other; and edges that drop.

use super::*;

/// What was sent on an edge is what was received and what either end counts as lost.
fn balanced(writer: &Counters, reader: &Counters, name: &str) {
    let (sent, received) = (output(writer, name), input(reader, name));
    assert_eq!(
        sent.readings,
        received.readings + received.lost + sent.lost,
        "{name}: {sent:?} {received:?}"
    );
}

/// Everything that a tail gets goes back to the head, which hands it on to the tail again, through the smallest of rings.
#[test]
fn a_circle_that_is_full_does_not_stop_the_way_forward_and_ends_with_its_source() {
    let network = Network::new();
    let hosts = [(); 3].map(|()| MemoryHost::new(&network));
    let (source, head, tail, (numbers, ended)) = network
        .block_on(futures_util::future::join4(
            stage::<Numbers>(&hosts[0], "out.a=1,ring=1K count=5000"),
            stage::<Relay>(
                &hosts[1],
                "in.a=2,ring=1K in.back=3,ring=1K,feedback out.mid=3,ring=1K",
            ),
            stage::<Relay>(
                &hosts[2],
                "in.mid=2,ring=1K out.back=2,ring=1K,feedback out.b=0,ring=1K",
            ),
            async { collect(&mut network.open_input("b", 1024).await, usize::MAX).await },
        ))
        .unwrap();
    assert!(ended);
    // Each number comes out in its turn, among those that have been round before.
    let mut turn = (0..5000).filter(|n| n % 10 != 9).map(f64::from).peekable();
    for number in numbers {
        turn.next_if_eq(&number);
    }
    assert_eq!(turn.next(), None);
    assert!(output(&tail, "back").lost > 0, "the circle was never full");
    balanced(&source, &head, "a");
    balanced(&head, &tail, "mid");
    balanced(&tail, &head, "back");
    for host in hosts {
        assert_eq!(host.state(), Some(State::Done));
    }
}

#[test]
fn what_a_reader_has_no_room_for_is_lost_the_newest_first_and_the_writer_goes_on() {
    // Whether the edge leads back, or its writer was told not to wait.
    for how in ["feedback", "drop=newest"] {
        no_room(how);
    }
}

fn no_room(how: &str) {
    let command = format!("in.a=2,ring=1K out.back=3,ring=1K,{how} out.b=0");
    let network = Network::new();
    let hosts = [(); 2].map(|()| MemoryHost::new(&network));
    let stages = join(
        stage::<Numbers>(&hosts[0], "out.a=1,ring=1K count=5000"),
        stage::<Relay>(&hosts[1], &command),
    );
    let readers = async {
        let mut silent = network.open_input("back", 1024).await;
        let mut reader = network.open_input("b", 1024).await;
        let (numbers, _) = collect(&mut reader, usize::MAX).await;
        (numbers.len(), collect(&mut silent, usize::MAX).await.0)
    };
    let ((_, relay), (forward, back)) = network.block_on(join(stages, readers)).unwrap();
    assert_eq!(forward, 4_501);
    let (back_edge, kept) = (output(&relay, "back"), back.len() as u64);
    assert_eq!(back_edge.readings, 4_501);
    assert_eq!(back_edge.lost + kept, 4_501);
    let first: Vec<f64> = (0..5000)
        .filter(|n| n % 10 != 9)
        .take(50)
        .map(f64::from)
        .collect();
    assert_eq!(back[..50], first);
    assert!(kept < 500, "{kept}");
}

/// Two inputs and a circle: the end of both is the end, whatever the feedback edge does; what comes on it then is lost.
#[test]
fn a_stage_ends_with_its_inputs_and_what_still_comes_back_is_lost() {
    let network = Network::new();
    let host = MemoryHost::new(&network);
    let writers = async {
        let mut back = network.open_output("back").await;
        back.write_all(&packs(0..10)).await.unwrap();
        back.drained().await;
        let (mut a, mut b) = (
            network.open_output("a").await,
            network.open_output("b").await,
        );
        a.write_all(&[END_OF_STREAM]).await.unwrap();
        a.drained().await;
        network.sleep_until(Duration::from_secs(1)).await;
        assert_eq!(host.state(), Some(State::Running));
        // The stage has room for none of these before it hears of its end.
        back.write_all(&packs(10..30)).await.unwrap();
        b.write_all(&[END_OF_STREAM]).await.unwrap();
        b.drained().await;
        // Never marked as ended.
        core::future::pending::<()>().await;
    };
    let command = "in.a=1 in.b=1 in.back=1,feedback";
    let stage = async {
        let stage = core::pin::pin!(stage::<Relay>(&host, command));
        first(stage, core::pin::pin!(writers)).await.unwrap()
    };
    let counters = network.block_on(stage).unwrap();
    let back = input(&counters, "back");
    assert_eq!(back.readings + back.lost, 30, "{back:?}");
    assert!(back.readings >= 10, "{back:?}");
    assert_eq!(counters.stage.readings_in, back.readings);
    assert!(counters.stage.balanced());
}

/// A function that has said its last is given nothing more.
#[test]
fn nothing_is_handed_to_a_function_that_has_finished() {
    struct Finished(bool);
    impl crate::Stage for Finished {
        const NAME: &'static str = "finished";
        const ABOUT: &'static str = "";
        const PARAMETERS: &'static [Parameter] = &[];
        const EDGES: &'static [EdgeKind] = &[
            EdgeKind::inputs(Count::Any, ""),
            EdgeKind::outputs(Count::Any, ""),
        ];
        fn new(_: &Setup<'_>) -> Result<Self, SetupError> {
            Ok(Self(false))
        }
        fn reading(&mut self, _: usize, _: &Reading<'_>, _: &mut Outputs) -> Verdict {
            assert!(!self.0);
            Verdict::Used
        }
        fn pack_ended(&mut self, _: usize, _: &mut Outputs) {
            assert!(!self.0);
        }
        fn finish(&mut self, out: &mut Outputs) {
            self.0 = true;
            let _ = out.emit(&number(0));
        }
    }
    let network = Network::new();
    let host = MemoryHost::new(&network);
    let peers = async {
        let mut back = network.open_output("back").await;
        let mut a = network.open_output("a").await;
        let mut reader = network.open_input("b", 1024).await;
        // Both in the same turn, when the stage waits for either.
        network.sleep_until(Duration::from_secs(1)).await;
        a.write_all(&[END_OF_STREAM]).await.unwrap();
        back.write_all(&packs(0..40)).await.unwrap();
        collect(&mut reader, usize::MAX).await
    };
    let stage = stage::<Finished>(&host, "in.a=1 in.back=1,feedback out.b=1");
    let (counters, (numbers, ended)) = network.block_on(join(stage, peers)).unwrap();
    let back = input(&counters, "back");
    assert_eq!((numbers.len(), ended), (1, true));
    assert_eq!(counters.stage.readings_in, back.readings);
    assert_eq!((back.readings, back.lost), (0, 40));
}

#[test]
fn a_writer_whose_reader_never_came_ends_all_the_same() {
    let network = Network::new();
    let hosts = [(); 2].map(|()| MemoryHost::new(&network));
    let (_, relay) = network
        .block_on(join(
            stage::<Numbers>(&hosts[0], "out.a=1 count=100"),
            stage::<Relay>(&hosts[1], "in.a=2 out.back=1,feedback"),
        ))
        .unwrap();
    let back = output(&relay, "back");
    assert_eq!((back.readings, back.lost), (91, 91));
    assert_eq!(hosts[1].state(), Some(State::Done));
}
