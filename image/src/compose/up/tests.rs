use std::collections::BTreeMap;

use super::*;
use crate::compose::record;
use crate::pipeline::Restart;
use crate::xl::BootInput;
use crate::xl::fake::{FakeDomain, FakeHost, Fault};

mod faults;

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
        Self::on(FakeHost::default())
    }

    fn on(host: FakeHost) -> Self {
        Self {
            host,
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
