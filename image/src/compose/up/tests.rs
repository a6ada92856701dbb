use std::collections::BTreeMap;

use super::*;
use crate::compose::down::{Ending, down};
use crate::compose::record;
use crate::pipeline::Restart;
use crate::xl::BootInput;
use crate::xl::fake::{FakeDomain, FakeHost, Fault};

/// A stage of one MiB that is told `told`.
fn stage(name: &str, told: &str) -> Planned {
    Planned {
        stage: name.into(),
        domain: format!("p-{name}"),
        image: "/images/x.elf".into(),
        memory_mib: 1,
        bridge: None,
        input: BootInput {
            parameters: vec![("told".into(), told.into())],
            ..BootInput::default()
        },
        restart: Restart::OnFailure,
    }
}

/// a -> b -> c -> dom0, `told` to b.
fn chain(told: &str) -> Plan {
    let wire = |name: &str, from, to| Wire {
        name: name.into(),
        from,
        to,
        feedback: false,
    };
    Plan {
        name: "p".into(),
        stages: vec![stage("a", ""), stage("b", told), stage("c", "")],
        wires: vec![
            wire("ab", Some(0), Some(1)),
            wire("bc", Some(1), Some(2)),
            wire("out", Some(2), None),
        ],
    }
}

/// Domains, xenstore, record.
type Snapshot = (Vec<FakeDomain>, BTreeMap<String, String>, Option<Record>);

struct Bench {
    host: FakeHost,
    home: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            host: FakeHost::default(),
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn up(&self, plan: &Plan) -> Result<Changed, ComposeError> {
        self.up_in(plan, Scope::Changed)
    }

    fn up_in(&self, plan: &Plan, scope: Scope<'_>) -> Result<Changed, ComposeError> {
        let mut journal = Journal::open(self.home.path(), "p")?;
        let tools = &self.host;
        super::up(
            Wanted {
                plan,
                file: Path::new("p.toml"),
                scope,
            },
            &mut journal,
            &tools,
            &tools,
            &Progress::silent(),
        )
    }

    /// All there is, numbers of domains aside; and that the record says nothing is under way.
    fn snapshot(&self) -> Snapshot {
        let record = record::look(self.home.path(), "p").unwrap();
        (self.host.domains(), self.host.store(), record)
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.home.path().join("p"))
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn everyone_is_created_once_and_told_of_its_peers() {
    let bench = Bench::new();
    let changed = bench.up(&chain("x")).unwrap();
    assert_eq!(changed.created, ["a", "b", "c"]);
    let names: Vec<String> = bench
        .host
        .domains()
        .into_iter()
        .map(|domain| domain.name)
        .collect();
    assert_eq!(names, ["p-a", "p-b", "p-c"]);
    for (domain, key, peer) in [
        ("p-a", "ab", "p-b"),
        ("p-b", "ab", "p-a"),
        ("p-b", "bc", "p-c"),
        ("p-c", "bc", "p-b"),
    ] {
        let expected = format!("{} 1", bench.host.domain(peer).id);
        assert_eq!(
            bench.host.value(domain, &peer_key(key)),
            Some(expected),
            "{domain} {key}"
        );
    }
    assert_eq!(
        bench.host.value("p-c", &peer_key("out")),
        None,
        "dom0 is known to all"
    );
    assert_eq!(
        bench.files(),
        ["lock", "record.json"],
        "no configuration and no secret is left"
    );
}

#[test]
fn the_same_again_changes_nothing() {
    let bench = Bench::new();
    bench.up(&chain("x")).unwrap();
    let before = bench.snapshot();
    let changed = bench.up(&chain("x")).unwrap();
    assert_eq!((changed.created.len(), changed.kept.len()), (0, 3));
    assert_eq!(bench.snapshot(), before);
}

#[test]
fn an_edit_replaces_what_it_is_about_and_tells_the_neighbours() {
    let bench = Bench::new();
    bench.up(&chain("x")).unwrap();
    let before = bench.host.domains();
    let changed = bench.up(&chain("y")).unwrap();
    assert_eq!(
        (changed.created, changed.kept),
        (vec!["b".to_owned()], vec!["a".to_owned(), "c".to_owned()])
    );
    assert_eq!(bench.host.domain("p-a"), before[0]);
    assert_eq!(bench.host.domain("p-c"), before[2]);
    let b = bench.host.domain("p-b");
    assert_eq!(b.extra, "told=y");
    assert_eq!(bench.host.domains().len(), 3, "the old one is gone");
    for (domain, key) in [("p-a", "ab"), ("p-c", "bc")] {
        assert_eq!(
            bench.host.value(domain, &peer_key(key)),
            Some(format!("{} 2", b.id))
        );
    }
}

#[test]
fn what_is_not_in_the_file_any_more_goes() {
    let bench = Bench::new();
    bench.up(&chain("x")).unwrap();
    let mut plan = chain("x");
    plan.stages.truncate(2);
    plan.wires.truncate(1);
    let changed = bench.up(&plan).unwrap();
    assert_eq!(changed.removed, ["c"]);
    let names: Vec<String> = bench
        .host
        .domains()
        .into_iter()
        .map(|domain| domain.name)
        .collect();
    assert_eq!(names, ["p-a", "p-b"]);
}

#[test]
fn a_stage_that_has_ended_is_created_anew() {
    let bench = Bench::new();
    bench.up(&chain("x")).unwrap();
    bench.host.end("p-b", 3);
    assert_eq!(bench.up(&chain("x")).unwrap().created, ["b"]);
    assert_eq!(bench.host.domain("p-b").ended, None);
    assert_eq!(bench.host.domains().len(), 3);
}

#[test]
fn a_stage_that_is_restarted_gets_another_domain_and_no_other_does() {
    let bench = Bench::new();
    bench.up(&chain("x")).unwrap();
    let before = bench.host.domains();
    let changed = bench
        .up_in(&chain("x"), Scope::Only(&["b".into()]))
        .unwrap();
    assert_eq!(
        (changed.created, changed.kept.len()),
        (vec!["b".to_owned()], 2)
    );
    assert_ne!(bench.host.domain("p-b").uuid, before[1].uuid);
    assert_eq!(bench.host.domain("p-a"), before[0]);
    let record = record::look(bench.home.path(), "p").unwrap().unwrap();
    let restarts: Vec<u32> = record.stages.iter().map(|stage| stage.restarts).collect();
    assert_eq!(restarts, [0, 1, 0]);
    let error = bench
        .up_in(&chain("x"), Scope::Only(&["d".into()]))
        .unwrap_err();
    assert!(
        error.to_string().contains("`d`; there are: a, b, c"),
        "{error}"
    );
}

#[test]
fn what_is_out_of_scope_is_left_as_it_is_ended_or_edited() {
    let bench = Bench::new();
    bench.up(&chain("x")).unwrap();
    bench.host.end("p-a", 0);
    bench.host.end("p-c", 3);
    let before = bench.host.domains();
    let changed = bench
        .up_in(&chain("y"), Scope::Only(&["c".into()]))
        .unwrap();
    assert_eq!(changed.created, ["c"]);
    assert_eq!(bench.host.domain("p-a"), before[0]);
    assert_eq!(bench.host.domain("p-b"), before[1]);
    let changed = bench.up(&chain("y")).unwrap();
    assert_eq!(changed.created, ["a", "b"], "an edit is not forgotten");
}

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

/// Whatever the number of calls of a change is, each of them fails once.
fn at_every_call(
    fault: Fault,
    then: impl Fn(&str, usize, &Bench, Snapshot, Result<Changed, ComposeError>),
) {
    for (name, start) in starts() {
        let mut call = 0;
        loop {
            let bench = Bench::new();
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
