//! Rows C3 to C9 of `FAULTS.md`.

use std::time::Duration;

use super::*;
use crate::compose::down::{Ending, down};

#[test]
fn c3_a_name_that_is_another_s_is_left_alone() {
    let bench = Bench::new();
    bench.host.foreign("p-b");
    let before = bench.host.domains();
    assert!(matches!(bench.up(&chain("x")), Err(ComposeError::Taken(name)) if name == "p-b"));
    assert_eq!(bench.host.domains(), before);
}

#[test]
fn c6_more_memory_or_grants_than_there_are_are_refused_before_anything_is_created() {
    let bench = Bench::new();
    let mut plan = chain("x");
    plan.stages[1].memory_mib = 63;
    assert!(matches!(
        bench.up(&plan),
        Err(ComposeError::Memory {
            needed: 66,
            free: 64
        })
    ));
    let mut plan = chain("x");
    let edges = (0..130).map(|edge| (format!("in.e{edge}"), "?,ring=1048576".to_owned()));
    plan.stages[1].input.parameters.extend(edges);
    let told = bench.up(&plan).unwrap_err().to_string();
    assert!(told.contains("gnttab_max_frames="), "{told}");
    assert!(bench.host.domains().is_empty());
}

#[test]
fn c5_a_stage_that_crashes_at_once_undoes_all() {
    struct Crashing<'h>(&'h FakeHost);
    impl Tools for Crashing<'_> {
        fn run(
            &self,
            program: &'static str,
            arguments: &[&str],
        ) -> Result<Vec<u8>, crate::xl::ToolError> {
            let output = self.0.run(program, arguments);
            if arguments.first() == Some(&"create") {
                self.0.end("p-c", 3);
            }
            output
        }
    }
    let bench = Bench::new();
    let mut journal = Journal::open(bench.home.path(), "p").unwrap();
    let tools = Crashing(&bench.host);
    let error = super::up(
        Wanted {
            plan: &chain("x"),
            file: Path::new("p"),
            scope: Scope::Changed,
        },
        &mut journal,
        &tools,
        &tools,
        &Progress::silent(),
    )
    .unwrap_err();
    assert!(
        error.to_string().starts_with("p-c ended at once (crash)"),
        "{error}"
    );
    assert!(bench.host.domains().is_empty());
}

type Start = fn(&Bench);

/// The states that a change may start from.
fn starts() -> [(&'static str, Start); 3] {
    [
        ("nothing", |_| {}),
        ("the pipeline before an edit", |bench| {
            bench.up(&chain("x")).unwrap();
        }),
        ("a pipeline with a crashed stage", |bench| {
            bench.up(&chain("y")).unwrap();
            bench.host.end("p-b", 3);
        }),
    ]
}

/// Whatever the number of calls of a change is, each of them fails once; also where Xen itself can be asked.
fn at_every_call(
    fault: Fault,
    then: impl Fn(&str, usize, &Bench, Snapshot, Result<Changed, ComposeError>),
) {
    let hosts: [fn() -> FakeHost; 2] = [FakeHost::default, FakeHost::whose_xen_answers];
    for ((name, start), host) in starts()
        .into_iter()
        .flat_map(|one| hosts.map(|host| (one, host)))
    {
        let mut call = 0;
        loop {
            let bench = Bench::on(host());
            start(&bench);
            let before = bench.snapshot();
            bench.host.fault_at(call, fault);
            let result = bench.up(&chain("y"));
            if bench.host.mend() <= call {
                assert!(
                    call > 8,
                    "{name}: {call} calls are too few to have been all"
                );
                break;
            }
            then(name, call, &bench, before, result);
            call += 1;
        }
    }
}

/// Nothing of a failed change is left, but perhaps an empty record where there was none.
fn same(before: &Snapshot, after: &Snapshot) -> bool {
    let record = |record: &Option<Record>| record.clone().unwrap_or_default();
    (&before.0, &before.1, record(&before.2)) == (&after.0, &after.1, record(&after.2))
}

/// Each fault at every call leaves all as it was, or the change made.
fn all_or_nothing(faults: &[Fault]) {
    for fault in faults {
        at_every_call(*fault, |name, call, bench, before, result| match result {
            Err(ComposeError::Remains(_)) => {
                // The change was made, and what it replaced is still there; the next command sees to it.
                bench.up(&chain("y")).unwrap();
                assert_eq!(bench.host.domains().len(), 3, "{name}, call {call}");
            }
            Err(error) => {
                assert!(
                    same(&before, &bench.snapshot()),
                    "{name}, call {call}, {error}"
                );
                // And it is not in the way of the next attempt.
                bench.up(&chain("y")).unwrap();
                assert_eq!(
                    bench.host.domain("p-b").extra,
                    "told=y",
                    "{name}, call {call}"
                );
            }
            // A first word that could not be read was asked for again.
            Ok(_) => assert_eq!(
                (bench.host.domain("p-b").extra, bench.host.domains().len()),
                ("told=y".to_owned(), 3),
                "{name}, call {call}"
            ),
        });
    }
}

#[test]
fn c4_a_failure_at_every_call_leaves_all_as_it_was_or_the_change_made() {
    all_or_nothing(&[Fault::Fails, Fault::FailsLate]);
}

#[test]
fn c5_a_call_that_hangs_or_prints_nonsense_or_is_of_no_program_leaves_all_as_it_was_or_the_change_made()
 {
    all_or_nothing(&[
        Fault::Hangs,
        Fault::HangsLate,
        Fault::Garbles,
        Fault::Missing,
    ]);
}

/// A dom0 in which one command of `xl` does nothing, and says that it did.
struct Lying<'h>(&'h FakeHost, &'static str);

impl Tools for Lying<'_> {
    fn run(
        &self,
        program: &'static str,
        arguments: &[&str],
    ) -> Result<Vec<u8>, crate::xl::ToolError> {
        if program == "xl" && arguments.first() == Some(&self.1) {
            return Ok(Vec::new());
        }
        self.0.run(program, arguments)
    }
}

#[test]
fn c5_an_xl_that_does_nothing_and_says_it_did_is_found_out() {
    for (command, said) in [
        (
            "create",
            "`xl create` succeeded, and there is no domain p-b",
        ),
        ("rename", "all is as it was before"),
        ("list", "Domain-0 is missing"),
        ("info", "does not say free_memory"),
    ] {
        let bench = Bench::new();
        bench.up(&chain("x")).unwrap();
        let before = bench.snapshot();
        let mut journal = Journal::open(bench.home.path(), "p").unwrap();
        let (lying, honest) = (Lying(&bench.host, command), Lying(&bench.host, ""));
        let wanted = Wanted {
            plan: &chain("y"),
            file: Path::new("p.toml"),
            scope: Scope::Changed,
        };
        let told = super::up(wanted, &mut journal, &lying, &honest, &Progress::silent());
        let told = told.unwrap_err().to_string();
        assert!(told.contains(said), "{command}: {told}");
        drop(journal);
        assert!(same(&before, &bench.snapshot()), "{command}");
    }
}

#[test]
fn c8_a_number_that_is_another_s_by_now_is_left_alone() {
    let bench = Bench::new();
    bench.up(&chain("x")).unwrap();
    let b = bench.host.domain("p-b");
    (&bench.host)
        .run("xl", &["destroy", &b.id.to_string()])
        .unwrap();
    bench.host.next_id(b.id);
    bench.host.foreign("somebody");
    let other = bench.host.domain("somebody");
    assert_eq!(other.id, b.id);
    assert_eq!(bench.up(&chain("x")).unwrap().created, ["b"]);
    assert_eq!(bench.host.domain("somebody"), other);
    assert_eq!(bench.host.value("somebody", &peer_key("ab")), None);
    assert_ne!(bench.host.domain("p-b").id, b.id);
}

#[test]
fn c8_a_successor_with_its_predecessor_s_number_is_another_peer() {
    let bench = Bench::new();
    bench.up(&chain("x")).unwrap();
    let b = bench.host.domain("p-b");
    let peer = || bench.host.value("p-a", &peer_key("ab")).unwrap();
    let before = peer();
    (&bench.host)
        .run("xl", &["destroy", &b.id.to_string()])
        .unwrap();
    bench.host.next_id(b.id);
    bench.up(&chain("x")).unwrap();
    assert_eq!(bench.host.domain("p-b").id, b.id);
    assert_ne!(peer(), before, "the generation is another");
    assert!(peer().starts_with(&format!("{} ", b.id)));
}

#[test]
fn c7_a_composer_killed_at_every_call_is_cleaned_up_after_by_the_next() {
    at_every_call(Fault::Dead, |name, call, bench, _, result| {
        assert!(result.is_err(), "{name}, call {call}");
        bench.up(&chain("y")).unwrap();
        let domains = bench.host.domains();
        let mut names: Vec<&str> = domains.iter().map(|domain| domain.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["p-a", "p-b", "p-c"], "{name}, call {call}");
        assert!(
            domains.iter().all(|domain| domain.ended.is_none()),
            "{name}, call {call}"
        );
        let record = record::look(bench.home.path(), "p").unwrap().unwrap();
        assert!(record.undo.is_empty() && record.replaced.is_empty());
        for (domain, key, peer) in [
            ("p-a", "ab", "p-b"),
            ("p-b", "ab", "p-a"),
            ("p-b", "bc", "p-c"),
            ("p-c", "bc", "p-b"),
        ] {
            let value = bench.host.value(domain, &peer_key(key)).unwrap();
            assert_eq!(
                value.split(' ').next(),
                Some(bench.host.domain(peer).id.to_string().as_str()),
                "{name}, call {call}"
            );
        }
    });
}

#[test]
fn c9_a_pipeline_that_is_down_has_left_nothing() {
    let bench = Bench::new();
    bench.host.foreign("other");
    let before = (bench.host.domains(), bench.host.store());
    for cycle in 0..50 {
        bench.up(&chain(&cycle.to_string())).unwrap();
        if cycle % 2 == 0 {
            bench.host.end("p-b", 3);
            bench.up(&chain("again")).unwrap();
        }
        let journal = Journal::open(bench.home.path(), "p").unwrap();
        let ending = Ending {
            patience: Duration::ZERO,
            look: Duration::ZERO,
        };
        let tools = &bench.host;
        down(journal, ending, &tools, &tools, &Progress::silent()).unwrap();
        assert_eq!(
            (bench.host.domains(), bench.host.store()),
            before,
            "{cycle}"
        );
        assert_eq!(std::fs::read_dir(bench.home.path()).unwrap().count(), 0);
    }
}
