//! What can be reached from each of vchan's calls, in the machine code of `../src`, which is built as an image is, but for speed:
//! no panic, and no allocation.
//!
//! This is a proof, as far as the compiler is right: a check that it could not show to be idle is still there and leads to a
//! panic. So it holds for every caller, every answer of the platform and every value that a peer stores. It says nothing about
//! the platform's own code, nor about the calls of lent memory (`RingSlice`), which panic beyond its end as slices do.

use std::collections::{HashMap, HashSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use object::read::archive::ArchiveFile;
use object::{
    File, Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionIndex, SymbolSection,
};

/// The one panic that stays: a future is polled after it was done, which is the caller's mistake. The compiler puts it in front
/// of every `async fn`, and does not see that `run` never gets there.
const MISUSE: &str = "panic_const_async_fn_resumed";

/// A section with code or data of one function or constant, or a function that nobody defines.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Node {
    Section(SectionIndex),
    Outside(String),
}

/// What refers to what.
struct Graph {
    names: HashMap<SectionIndex, String>,
    functions: HashMap<String, SectionIndex>,
    edges: HashMap<SectionIndex, Vec<Node>>,
}

impl Graph {
    fn of(file: &File<'_>) -> Self {
        let names = file.sections().map(|section| {
            let name = section.name().unwrap_or_default().to_owned();
            (section.index(), name)
        });
        let functions = file.symbols().filter_map(|symbol| {
            let name = symbol.name().ok()?.to_owned();
            Some((name, symbol.section_index()?))
        });
        let edges = file.sections().map(|section| {
            let target = |target| match target {
                RelocationTarget::Symbol(index) => {
                    let symbol = file.symbol_by_index(index).unwrap();
                    match symbol.section() {
                        SymbolSection::Section(section) => Node::Section(section),
                        _ => Node::Outside(symbol.name().unwrap().to_owned()),
                    }
                }
                other => panic!("a relocation to {other:?}"),
            };
            let targets = section.relocations().map(|(_, to)| target(to.target()));
            (section.index(), targets.collect())
        });
        Self {
            names: names.collect(),
            functions: functions.collect(),
            edges: edges.collect(),
        }
    }

    /// How `from` gets to each function that nobody defines: the names on the way.
    fn ways(&self, from: &str) -> HashMap<String, Vec<String>> {
        let start = *self.functions.get(from).expect(from);
        let mut seen = HashSet::from([start]);
        let mut open = vec![(start, Vec::new())];
        let mut found = HashMap::new();
        while let Some((section, mut way)) = open.pop() {
            let name = &self.names[&section];
            if name.contains(MISUSE) {
                continue;
            }
            way.push(name.clone());
            for target in &self.edges[&section] {
                match target {
                    Node::Section(next) if seen.insert(*next) => open.push((*next, way.clone())),
                    Node::Section(_) => {}
                    Node::Outside(name) => drop(found.insert(name.clone(), way.clone())),
                }
            }
        }
        found
    }
}

/// Builds the library and reads it.
fn graph() -> &'static Graph {
    static GRAPH: OnceLock<Graph> = OnceLock::new();
    GRAPH.get_or_init(|| {
        let archive = fs::read(build()).unwrap();
        let parts = ArchiveFile::parse(&*archive).unwrap();
        // All of it is one member of the archive, the library's own: whole-program optimisation leaves no other a use.
        let ours = parts.members().map(|part| part.unwrap()).filter(|part| {
            let name = String::from_utf8_lossy(part.name());
            name.starts_with("vchan_no_panic")
        });
        let ours: Vec<_> = ours.map(|part| part.data(&*archive).unwrap()).collect();
        let [only] = ours[..] else {
            panic!("{} members are ours", ours.len());
        };
        Graph::of(&File::parse(only).unwrap())
    })
}

fn build() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-panic");
    let output = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--locked",
            "--lib",
            "--profile",
            "image-speed",
            "--features",
            "linked",
        ])
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .arg("--target-dir")
        .arg(&folder)
        // What the caller builds with, coverage for instance, is no part of this.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    folder.join("image-speed/libvchan_no_panic.a")
}

/// The calls by name, as the library has them.
fn calls() -> Vec<&'static str> {
    let names = graph().functions.keys().map(String::as_str);
    let mut names: Vec<_> = names.filter(|name| name.starts_with("call_")).collect();
    names.sort_unstable();
    assert_eq!(names.len(), 30, "{names:?}");
    names
}

/// The calls that get to a function, and how.
fn calls_that_reach(end: &str) -> Vec<(&'static str, Vec<String>)> {
    let ways = calls().into_iter().map(|call| (call, graph().ways(call)));
    ways.filter_map(|(call, mut ways)| Some((call, ways.remove(end)?)))
        .collect()
}

#[test]
fn no_call_can_panic() {
    assert_eq!(calls_that_reach("vchan_panics"), []);
}

#[test]
fn no_call_allocates() {
    assert_eq!(calls_that_reach("vchan_allocates"), []);
    assert_eq!(calls_that_reach("vchan_deallocates"), []);
}

/// What leaves the library is the platform, and what compilers take for given.
#[test]
fn no_call_leads_to_a_place_unknown() {
    for call in calls() {
        for (name, way) in graph().ways(call) {
            let known =
                name.starts_with("platform_") || ["memcpy", "memset", "memmove"].contains(&&*name);
            assert!(known, "{call} leads to {name} by {way:?}");
        }
    }
}

/// Where there is a way, it is found.
#[test]
fn what_can_panic_or_allocate_is_found() {
    for (control, end) in [
        ("control_indexes", "vchan_panics"),
        ("control_divides", "vchan_panics"),
        ("control_slices_lent_memory", "vchan_panics"),
        ("control_allocates", "vchan_allocates"),
        ("control_frees", "vchan_deallocates"),
        ("call_try_read", "platform_copy_out"),
        ("call_send", "platform_copy_in"),
    ] {
        assert!(
            graph().ways(control).contains_key(end),
            "{control} to {end}"
        );
    }
}
