//! A dom0 for tests: domains and a xenstore in memory, behind the programs' command lines.

use std::cell::RefCell;
use std::collections::BTreeMap;

use std::time::Duration;

use vchan_linux::xen::DomainInfo;

use super::tools::{ToolError, Tools};
use super::toolstack::HostInfo;
use super::uuid::Uuid;

/// What a call does instead of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails.
    Fails,
    /// It does its work, and fails.
    FailsLate,
    /// It does not end, is killed for it, and has not done its work.
    Hangs,
    /// The same, and its work is done.
    HangsLate,
    /// It does its work, says that it did, and prints what is no answer.
    Garbles,
    /// It does nothing, says that it did, and prints nothing.
    Lies,
    /// There is no such program, this once.
    Missing,
    /// This call and all after it do nothing: the composer is dead.
    Dead,
}

/// A domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeDomain {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u16,
    /// Its identity.
    pub uuid: String,
    /// Its command line.
    pub extra: String,
    /// MiB.
    pub memory: u64,
    /// The code of `xl list -v` for why it ended.
    pub ended: Option<u8>,
}

#[derive(Debug, Default)]
struct State {
    domains: Vec<FakeDomain>,
    store: BTreeMap<String, String>,
    calls: usize,
    last_id: u16,
    fault: Option<(usize, Fault)>,
    /// Whether Xen itself can be asked.
    answers: bool,
}

/// The dom0.
#[derive(Debug, Default)]
pub struct FakeHost(RefCell<State>);

impl FakeHost {
    /// One whose Xen can be asked without `xl`, as long as no fault is in the way.
    pub fn whose_xen_answers() -> Self {
        let host = Self::default();
        host.0.borrow_mut().answers = true;
        host
    }

    /// Whether Xen itself answers this call, which counts as one where it can be asked at all.
    fn xen_answers(&self) -> Result<bool, ToolError> {
        let mut state = self.0.borrow_mut();
        if !state.answers {
            return Ok(false);
        }
        match state.fault_of_this_call() {
            None => Ok(true),
            Some(Fault::Dead) => Err(ToolError::Stopped),
            Some(_) => Ok(false),
        }
    }

    /// The call of this number, from 0 and counted from now on, goes wrong.
    pub fn fault_at(&self, call: usize, fault: Fault) {
        let mut state = self.0.borrow_mut();
        state.calls = 0;
        state.fault = Some((call, fault));
    }

    /// From now on everything works; how many calls there were since a fault was asked for.
    pub fn mend(&self) -> usize {
        let mut state = self.0.borrow_mut();
        state.fault = None;
        std::mem::take(&mut state.calls)
    }

    /// A domain that nobody of ours has made.
    pub fn foreign(&self, name: &str) {
        let uuid = "00000000-0000-4000-8000-0000000000ff".to_owned();
        self.0
            .borrow_mut()
            .add(name.to_owned(), uuid, String::new(), 1);
    }

    /// The next domain gets this number, as if Xen had come round to it.
    pub fn next_id(&self, id: u16) {
        self.0.borrow_mut().last_id = id - 1;
    }

    /// A domain ends.
    pub fn end(&self, name: &str, code: u8) {
        for domain in &mut self.0.borrow_mut().domains {
            if domain.name == name {
                domain.ended = Some(code);
            }
        }
    }

    /// All domains, in the order of their creation.
    pub fn domains(&self) -> Vec<FakeDomain> {
        self.0.borrow().domains.clone()
    }

    /// The domain of a name.
    pub fn domain(&self, name: &str) -> FakeDomain {
        let found = self
            .domains()
            .into_iter()
            .find(|domain| domain.name == name);
        found.unwrap_or_else(|| panic!("no domain {name}: {:?}", self.domains()))
    }

    /// The value below a domain of this name.
    pub fn value(&self, name: &str, key: &str) -> Option<String> {
        let path = format!("/local/domain/{}/{key}", self.domain(name).id);
        self.0.borrow().store.get(&path).cloned()
    }

    /// Writes a value below a domain of this name.
    pub fn set(&self, name: &str, key: &str, value: &str) {
        let path = format!("/local/domain/{}/{key}", self.domain(name).id);
        self.0.borrow_mut().store.insert(path, value.to_owned());
    }

    /// All of xenstore.
    pub fn store(&self) -> BTreeMap<String, String> {
        self.0.borrow().store.clone()
    }
}

impl State {
    fn add(&mut self, name: String, uuid: String, extra: String, memory: u64) {
        self.last_id += 1;
        let id = self.last_id;
        self.domains.push(FakeDomain {
            name: name.clone(),
            id,
            uuid: uuid.clone(),
            extra,
            memory,
            ended: None,
        });
        let vm = format!("/local/domain/{id}/vm");
        self.store.insert(vm, format!("/vm/{uuid}"));
        self.store.insert(format!("/local/domain/{id}/name"), name);
    }

    /// Counts a call, and says what goes wrong with it.
    fn fault_of_this_call(&mut self) -> Option<Fault> {
        let call = self.calls;
        self.calls += 1;
        let (at, fault) = self.fault?;
        (at == call || (fault == Fault::Dead && call > at)).then_some(fault)
    }

    fn remove(&mut self, id: &str) {
        self.domains.retain(|domain| domain.id.to_string() != id);
        let below = format!("/local/domain/{id}/");
        self.store.retain(|path, _| !path.starts_with(&below));
    }

    fn run(&mut self, program: &str, arguments: &[&str]) -> Result<Vec<u8>, ToolError> {
        let failed = |said: &str| {
            Err(ToolError::Failed {
                command: format!("{program} {}", arguments.join(" ")),
                status: "exit status: 1".into(),
                said: said.into(),
            })
        };
        match (program, arguments) {
            ("xl", ["list", "-v"]) => return Ok(self.list()),
            ("xl", ["info"]) => return Ok(b"host : fake\nfree_memory            : 64\n".to_vec()),
            ("xl", ["create", "-q", "-e", path]) => {
                let text = std::fs::read_to_string(path).unwrap_or_default();
                let field = |key: &str| {
                    let line = text
                        .lines()
                        .find_map(|line| line.strip_prefix(&format!("{key} = ")));
                    line.unwrap_or_default().trim_matches('"').to_owned()
                };
                let name = field("name");
                if self.domains.iter().any(|domain| domain.name == name) {
                    return failed("Domain with name already exists.");
                }
                let memory = field("memory").parse().unwrap_or(0);
                self.add(name, field("uuid"), field("extra"), memory);
                let state = format!("/local/domain/{}/data/grantflow/state", self.last_id);
                self.store.insert(state, "starting".to_owned());
            }
            ("xl", ["rename", id, name]) => {
                for domain in self
                    .domains
                    .iter_mut()
                    .filter(|domain| domain.id.to_string() == *id)
                {
                    domain.name = (*name).to_owned();
                    let path = format!("/local/domain/{id}/name");
                    self.store.insert(path, (*name).to_owned());
                }
            }
            ("xl", ["destroy", id]) => self.remove(id),
            ("xl", ["shutdown", id]) => {
                // It drains, and with it everyone who reads from it.
                let is_asked = self
                    .domains
                    .iter()
                    .any(|domain| domain.id.to_string() == *id);
                for domain in self.domains.iter_mut().filter(|_| is_asked) {
                    domain.ended.get_or_insert(0);
                }
            }
            ("xenstore-read", ["-R", path]) => {
                return match self.store.get(*path) {
                    Some(value) => Ok(value.clone().into_bytes()),
                    None => failed(&format!("xenstore-read: couldn't read path {path}")),
                };
            }
            ("xenstore-write", ["--", path, value]) => {
                self.store.insert((*path).into(), (*value).into());
            }
            ("xenstore-rm", [path]) => {
                let below = format!("{path}/");
                self.store
                    .retain(|known, _| known != path && !known.starts_with(&below));
            }
            ("xenstore-list", [path]) => {
                let below = format!("{path}/");
                let names: std::collections::BTreeSet<&str> = self
                    .store
                    .keys()
                    .filter_map(|known| known.strip_prefix(&below)?.split('/').next())
                    .collect();
                if names.is_empty() {
                    return failed(&format!("xenstore-list: could not list path {path}"));
                }
                return Ok(names
                    .into_iter()
                    .fold(String::new(), |all, name| all + name + "\n")
                    .into_bytes());
            }
            ("xenstore-ls", ["-f", path]) => {
                let below = format!("{path}/");
                let nodes = self
                    .store
                    .iter()
                    .filter(|(known, _)| known.starts_with(&below));
                let text: String = nodes
                    .map(|(known, value)| format!("{known} = \"{}\"\n", value.escape_default()))
                    .collect();
                if text.is_empty() {
                    let said =
                        format!("xenstore-ls: xs_directory ({path}): No such file or directory");
                    return failed(&said);
                }
                return Ok(text.into_bytes());
            }
            _ => return failed("no such command"),
        }
        Ok(Vec::new())
    }

    fn list(&self) -> Vec<u8> {
        let mut text =
            String::from("Name ID Mem VCPUs State Time(s) UUID Reason-Code Security Label\n");
        text += "Domain-0 0 512 1 r----- 1.0 00000000-0000-0000-0000-000000000000 - -\n";
        for domain in &self.domains {
            let (state, code) = match domain.ended {
                Some(code) => ("---s--", code.to_string()),
                None => ("-b----", "-".to_owned()),
            };
            let FakeDomain {
                name,
                id,
                memory,
                uuid,
                ..
            } = domain;
            text += &format!("{name} {id} {memory} 1 {state} 0.1 {uuid} {code} -\n");
        }
        text.into_bytes()
    }
}

impl Tools for &FakeHost {
    fn run(&self, program: &'static str, arguments: &[&str]) -> Result<Vec<u8>, ToolError> {
        let mut state = self.0.borrow_mut();
        match state.fault_of_this_call() {
            None => state.run(program, arguments),
            Some(Fault::Dead) => Err(ToolError::Stopped),
            Some(Fault::Missing) => Err(ToolError::Missing(program)),
            Some(Fault::Lies) => Ok(Vec::new()),
            Some(Fault::Garbles) => {
                state.run(program, arguments)?;
                Ok(b"\x1b[2J\xff\0 Password: 1 2 3\nat all\n".to_vec())
            }
            Some(fault) => {
                if matches!(fault, Fault::FailsLate | Fault::HangsLate) {
                    state.run(program, arguments)?;
                }
                if matches!(fault, Fault::Hangs | Fault::HangsLate) {
                    return Err(ToolError::TimedOut {
                        command: program.into(),
                        seconds: 120,
                    });
                }
                Err(ToolError::Failed {
                    command: program.into(),
                    status: "exit status: 1".into(),
                    said: "a fault of the test".into(),
                })
            }
        }
    }

    fn domains(&self) -> Result<Option<Vec<DomainInfo>>, ToolError> {
        if !self.xen_answers()? {
            return Ok(None);
        }
        let dom0 = DomainInfo {
            domain: 0,
            handle: [0; 16],
            tot_pages: 512 << 8,
            outstanding_pages: 0,
            cpu_time: Duration::from_secs(1),
            shutdown: None,
            dying: false,
        };
        let domains = self.0.borrow().domains.clone();
        let others = domains.iter().map(|domain| DomainInfo {
            domain: domain.id,
            handle: Uuid::try_from(domain.uuid.clone()).unwrap().bytes(),
            tot_pages: domain.memory << 8,
            shutdown: domain.ended,
            ..dom0
        });
        Ok(Some(std::iter::once(dom0).chain(others).collect()))
    }

    fn host(&self) -> Result<Option<HostInfo>, ToolError> {
        Ok(self.xen_answers()?.then_some(HostInfo {
            free_mib: 64,
            grant_frames: 64,
        }))
    }
}
