//! xenstore: straight, where this program reaches it, and otherwise through its own programs `xenstore-read`, `-write`, `-list`,
//! `-ls` and `-rm`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use vchan_linux::xenstore::{Connection, Error, Tx};

use super::tools::{ToolError, Tools};

/// What is below a node: values, by paths relative to it.
pub type Tree = BTreeMap<String, String>;

/// Why xenstore could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The program failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// xenstored refused, or the connection to it broke.
    #[error(transparent)]
    Connection(#[from] Error),
    /// The value is not text.
    #[error("the value at {0} is not UTF-8")]
    NotText(String),
}

impl StoreError {
    /// Whether there is no such node, which the programs say in words and with exit code 1.
    fn is_absence(&self) -> bool {
        match self {
            Self::Tool(ToolError::Failed { said, .. }) => {
                (said.contains("could") && said.contains(" path "))
                    || (said.contains("xs_directory (") && said.contains("No such file"))
            }
            Self::Connection(error) => error.is("ENOENT"),
            _ => false,
        }
    }
}

/// The way to xenstore that needs no program: a connection, made when it is first needed and again after it broke.
#[derive(Default)]
pub struct Direct(Mutex<Option<Connection>>);

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Direct")
    }
}

impl From<Connection> for Direct {
    fn from(connection: Connection) -> Self {
        Self(Mutex::new(Some(connection)))
    }
}

impl Direct {
    /// The answer to a request; none where xenstore is out of reach.
    fn ask<T>(
        &self,
        request: impl FnOnce(&mut Connection) -> Result<T, Error>,
    ) -> Option<Result<T, Error>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => Connection::open().ok()?,
        };
        let answer = request(&mut connection);
        // After any other failure, what comes next may be the answer to this one.
        if let Ok(_) | Err(Error::Refused { .. } | Error::Path(_) | Error::TooLong) = answer {
            *kept = Some(connection);
        }
        Some(answer)
    }
}

/// The store of a dom0.
#[derive(Debug)]
pub struct XenStore<'t, T> {
    tools: &'t T,
}

impl<'t, T: Tools> XenStore<'t, T> {
    /// The store behind these tools.
    pub fn new(tools: &'t T) -> Self {
        Self { tools }
    }

    /// The value at `path`, byte for byte; `None` where there is no such node.
    pub fn read(&self, path: &str) -> Result<Option<String>, StoreError> {
        let straight = |store: &mut Connection| store.read(Tx::NONE, path);
        // Raw mode: without it the program escapes line ends and adds one of its own.
        let value = self.ask(straight, ("xenstore-read", &["-R", path]), |bytes| bytes);
        let text =
            |value| String::from_utf8(value).map_err(|_| StoreError::NotText(path.to_owned()));
        present(value)?.map(text).transpose()
    }

    /// Writes `value` at `path`, making parents as needed.
    pub fn write(&self, path: &str, value: &str) -> Result<(), StoreError> {
        let straight = |store: &mut Connection| store.write(Tx::NONE, path, value.as_bytes());
        self.ask(straight, ("xenstore-write", &["--", path, value]), drop)
    }

    /// The names below `path`; none where there is no such node.
    pub fn list(&self, path: &str) -> Result<Vec<String>, StoreError> {
        let straight = |store: &mut Connection| store.directory(Tx::NONE, path);
        let lines = |output: Vec<u8>| {
            let text = String::from_utf8_lossy(&output);
            text.lines().map(str::to_owned).collect()
        };
        let names = self.ask(straight, ("xenstore-list", &[path]), lines);
        Ok(present(names)?.unwrap_or_default())
    }

    /// The values at these paths.
    pub fn read_all(&self, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let straight = |store: &mut Connection| {
            let values = store.read_all(Tx::NONE, paths)?;
            values.into_iter().map(absent).collect()
        };
        if let Some(values) = self.straight(straight)? {
            return Ok(values);
        }
        let read = |path: &String| present(self.run(("xenstore-read", &["-R", path])));
        paths.iter().map(read).collect()
    }

    /// Everything below each of `paths`, by paths relative to it; nothing where there is no such node. Where a program is asked,
    /// values are as it prints them: in ASCII, with a backslash before what is not.
    pub fn trees(&self, paths: &[String]) -> Result<Vec<Tree>, StoreError> {
        if let Some(trees) = self.straight(|store| walk(store, paths))? {
            return Ok(trees);
        }
        let printed = |path: &String| {
            let output = present(self.run(("xenstore-ls", &["-f", path])))?;
            let text = output.unwrap_or_default();
            Ok(printed_tree(&String::from_utf8_lossy(&text), path))
        };
        paths.iter().map(printed).collect()
    }

    /// Removes `path` and all below it; a node that is not there is no error.
    pub fn remove(&self, path: &str) -> Result<(), StoreError> {
        let straight = |store: &mut Connection| store.rm(Tx::NONE, path);
        present(self.ask(straight, ("xenstore-rm", &[path]), drop)).map(drop)
    }

    /// Straight, or by the program of this name with these arguments, whose output `read` understands.
    fn ask<V>(
        &self,
        straight: impl FnOnce(&mut Connection) -> Result<V, Error>,
        call: (&'static str, &[&str]),
        read: impl FnOnce(Vec<u8>) -> V,
    ) -> Result<V, StoreError> {
        match self.straight(straight)? {
            Some(answer) => Ok(answer),
            None => Ok(read(self.run(call)?)),
        }
    }

    /// Nothing, where xenstore is reached by programs alone.
    fn straight<V>(
        &self,
        request: impl FnOnce(&mut Connection) -> Result<V, Error>,
    ) -> Result<Option<V>, StoreError> {
        let answer = self.tools.xenstore()?.and_then(|store| store.ask(request));
        Ok(answer.transpose()?)
    }

    fn run(&self, (program, arguments): (&'static str, &[&str])) -> Result<Vec<u8>, StoreError> {
        Ok(self.tools.run(program, arguments)?)
    }
}

/// What is below each of `roots`, one level after the other. A node that goes meanwhile is none.
fn walk(store: &mut Connection, roots: &[String]) -> Result<Vec<Tree>, Error> {
    let mut trees = vec![Tree::new(); roots.len()];
    // Whose they are, and their paths.
    let mut level: Vec<(usize, String)> = roots.iter().cloned().enumerate().collect();
    while !level.is_empty() {
        let (owners, paths): (Vec<usize>, Vec<String>) = level.into_iter().unzip();
        let all = store.directory_all(Tx::NONE, &paths)?;
        let mut below = Vec::new();
        for ((owner, path), names) in owners.into_iter().zip(paths).zip(all) {
            let names = absent(names)?.unwrap_or_default();
            below.extend(names.iter().map(|name| (owner, format!("{path}/{name}"))));
        }
        let (owners, paths): (Vec<usize>, Vec<String>) = below.into_iter().unzip();
        let values = store.read_all(Tx::NONE, &paths)?;
        level = Vec::new();
        for ((owner, path), value) in owners.into_iter().zip(paths).zip(values) {
            let Some(value) = absent(value)? else {
                continue;
            };
            if let (Some(tree), Some(root)) = (trees.get_mut(owner), roots.get(owner)) {
                let name = path.strip_prefix(root.as_str()).unwrap_or(&path);
                let value = String::from_utf8_lossy(&value).into_owned();
                tree.insert(name.trim_start_matches('/').to_owned(), value);
            }
            level.push((owner, path));
        }
    }
    Ok(trees)
}

/// Tells "there is no such node" from other refusals.
fn absent<V>(answer: Result<V, Error>) -> Result<Option<V>, Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is("ENOENT") => Ok(None),
        Err(error) => Err(error),
    }
}

/// The same as `xenstore-ls -f` prints it.
fn printed_tree(text: &str, path: &str) -> Tree {
    let nodes = text.lines().filter_map(|line| {
        let (name, value) = line
            .strip_prefix(path)?
            .strip_prefix('/')?
            .split_once(" = \"")?;
        Some((name.to_owned(), value.strip_suffix('"')?.to_owned()))
    });
    nodes.collect()
}

/// Tells "there is no such node" from failures.
fn present<V>(answer: Result<V, StoreError>) -> Result<Option<V>, StoreError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_absence() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::thread;

    use vchan_linux::xenstore::Message;
    use vchan_linux::xenstore::wire::{self, Decoder};

    use super::*;

    /// A store of one level that answers as the programs of Xen 4.17 do.
    #[derive(Default)]
    struct Fake(RefCell<BTreeMap<String, String>>);

    impl Tools for Fake {
        fn run(&self, program: &'static str, arguments: &[&str]) -> Result<Vec<u8>, ToolError> {
            let fail = |said: String| {
                Err(ToolError::Failed {
                    command: program.into(),
                    status: "exit status: 1".into(),
                    said,
                })
            };
            let mut nodes = self.0.borrow_mut();
            match (program, arguments) {
                ("xenstore-read", ["-R", path]) => match nodes.get(*path) {
                    Some(value) => Ok(value.clone().into_bytes()),
                    None => fail(format!("xenstore-read: couldn't read path {path}")),
                },
                ("xenstore-write", ["--", path, value]) => {
                    nodes.insert((*path).into(), (*value).into());
                    Ok(Vec::new())
                }
                ("xenstore-list", [path]) => {
                    fail(format!("xenstore-list: could not list path {path}"))
                }
                ("xenstore-rm", [path]) => match nodes.remove(*path) {
                    Some(_) => Ok(Vec::new()),
                    None => fail(format!("xenstore-rm: could not remove path {path}")),
                },
                _ => fail("xenstore: connection refused".into()),
            }
        }
    }

    fn paths<const N: usize>(paths: [&str; N]) -> [String; N] {
        paths.map(str::to_owned)
    }

    #[test]
    fn a_value_comes_back_whole_and_a_missing_node_is_none() {
        let fake = Fake::default();
        let store = XenStore::new(&fake);
        assert!(store.write("/a", "-1\n2\n").is_ok());
        assert_eq!(store.read("/a").ok(), Some(Some("-1\n2\n".into())));
        assert_eq!(store.read("/b").ok(), Some(None));
        assert_eq!(store.list("/b").ok(), Some(Vec::new()));
        assert!(store.remove("/a").is_ok() && store.remove("/a").is_ok());
        assert_eq!(store.read("/a").ok(), Some(None));
    }

    #[test]
    fn a_tree_comes_with_relative_paths_and_what_is_no_node_is_none() {
        struct Prints(&'static str);
        impl Tools for Prints {
            fn run(&self, program: &'static str, _: &[&str]) -> Result<Vec<u8>, ToolError> {
                match self.0 {
                    "" => Err(ToolError::Failed {
                        command: program.into(),
                        status: "exit status: 1".into(),
                        said: "xenstore-ls: xs_directory (/a): No such file or directory".into(),
                    }),
                    text => Ok(text.into()),
                }
            }
        }
        let printed =
            "/a/b = \"\"\n/a/b/c = \"say \"x = \"y\"\\n\"\n/ab/d = \"1\"\n/a/e:\n/a/f = \"cut\n";
        let tree = &XenStore::new(&Prints(printed))
            .trees(&paths(["/a"]))
            .unwrap()[0];
        let nodes: Vec<(&str, &str)> = tree.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(nodes, [("b", ""), ("b/c", r#"say "x = "y"\n"#)]);
        let none = XenStore::new(&Prints(""))
            .trees(&paths(["/a", "/b"]))
            .unwrap();
        assert_eq!(none, [Tree::new(), Tree::new()]);
    }

    #[test]
    fn a_store_that_cannot_be_reached_is_an_error() {
        struct Down;
        impl Tools for Down {
            fn run(&self, program: &'static str, _: &[&str]) -> Result<Vec<u8>, ToolError> {
                let said = "xenstore-read: xs_open: Connection refused".into();
                Err(ToolError::Failed {
                    command: program.into(),
                    status: "exit status: 1".into(),
                    said,
                })
            }
        }
        assert!(XenStore::new(&Down).read("/a").is_err());
    }

    /// The program must not be needed.
    struct Straight(Direct);

    impl Tools for Straight {
        fn run(&self, program: &'static str, _: &[&str]) -> Result<Vec<u8>, ToolError> {
            Err(ToolError::Missing(program))
        }

        fn xenstore(&self) -> Result<Option<&Direct>, ToolError> {
            Ok(Some(&self.0))
        }
    }

    /// A store that answers each request, by its kind and path, with these kinds and payloads, and hangs up then.
    fn answering(
        answers: Vec<(u32, &'static [u8])>,
    ) -> (Straight, thread::JoinHandle<Vec<String>>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let daemon = thread::spawn(move || {
            let mut asked = Vec::new();
            let mut decoder = Decoder::default();
            for (kind, payload) in answers {
                let request = loop {
                    if let Some(request) = decoder.message().unwrap() {
                        break request;
                    }
                    let mut piece = [0; 100];
                    let length = theirs.read(&mut piece).unwrap();
                    decoder.push(&piece[..length]);
                };
                let text = String::from_utf8(request.payload.clone()).unwrap();
                asked.push(format!("{} {}", request.kind, text.replace('\0', " ")));
                let reply = Message {
                    kind,
                    payload: payload.to_vec(),
                    ..request
                };
                theirs.write_all(&reply.bytes().unwrap()).unwrap();
            }
            asked
        });
        let connection = Connection::over(ours.into()).unwrap();
        (Straight(connection.into()), daemon)
    }

    #[test]
    fn what_is_reached_straight_needs_no_program() {
        let (tools, daemon) = answering(vec![
            (wire::WRITE, b"OK\0"),
            (wire::READ, b"-1\n2\n"),
            (wire::ERROR, b"ENOENT\0"),
            (wire::DIRECTORY, b"a\0b\0"),
            (wire::ERROR, b"ENOENT\0"),
            (wire::ERROR, b"ENOENT\0"),
            (wire::ERROR, b"EACCES\0"),
            (wire::READ, b"\xff"),
        ]);
        let store = XenStore::new(&tools);
        store.write("/a", "-1\n2\n").unwrap();
        assert_eq!(store.read("/a").unwrap().as_deref(), Some("-1\n2\n"));
        assert_eq!(store.read("/b").unwrap(), None);
        assert_eq!(store.list("/").unwrap(), ["a", "b"]);
        assert_eq!(store.list("/b").unwrap(), Vec::<String>::new());
        store.remove("/b").unwrap();
        let refused = store.write("/c", "").unwrap_err().to_string();
        assert!(refused.contains("EACCES"), "{refused}");
        assert!(matches!(store.read("/d"), Err(StoreError::NotText(path)) if path == "/d"));
        let asked = daemon.join().unwrap();
        assert_eq!(asked[0], format!("{} /a -1\n2\n", wire::WRITE));
        assert_eq!(asked[3], format!("{} / ", wire::DIRECTORY));
    }

    #[test]
    fn trees_are_walked_straight_and_what_goes_meanwhile_is_left_out() {
        let (tools, daemon) = answering(vec![
            (wire::DIRECTORY, b"state\0stats\0gone\0"),
            (wire::ERROR, b"ENOENT\0"),
            (wire::DIRECTORY, b"state\0"),
            (wire::READ, b"running"),
            (wire::READ, b""),
            (wire::ERROR, b"ENOENT\0"),
            (wire::READ, b"done"),
            (wire::DIRECTORY, b""),
            (wire::DIRECTORY, b"stage\0"),
            (wire::ERROR, b"ENOENT\0"),
            (wire::READ, b"in=1"),
            (wire::DIRECTORY, b""),
        ]);
        let store = XenStore::new(&tools);
        let trees = store.trees(&paths(["/a", "/none", "/c"])).unwrap();
        let nodes: Vec<Vec<(&str, &str)>> = trees
            .iter()
            .map(|tree| tree.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect())
            .collect();
        let first = [("state", "running"), ("stats", ""), ("stats/stage", "in=1")];
        assert_eq!(nodes, [&first[..], &[], &[("state", "done")]]);
        let asked = daemon.join().unwrap();
        assert_eq!(asked[6], format!("{} /c/state ", wire::READ));
        assert_eq!(asked[10], format!("{} /a/stats/stage ", wire::READ));
    }

    #[test]
    fn values_are_read_together_and_a_refusal_is_none_of_absence() {
        let (tools, daemon) = answering(vec![
            (wire::READ, b"\xff"),
            (wire::ERROR, b"ENOENT\0"),
            (wire::READ, b""),
            (wire::ERROR, b"EACCES\0"),
        ]);
        let store = XenStore::new(&tools);
        let values = store.read_all(&paths(["/a", "/b", "/c"])).unwrap();
        assert_eq!(values, [Some(b"\xff".to_vec()), None, Some(Vec::new())]);
        assert!(store.read_all(&paths(["/d"])).is_err());
        daemon.join().unwrap();
        let fake = Fake::default();
        let store = XenStore::new(&fake);
        store.write("/a", "x").unwrap();
        let values = store.read_all(&paths(["/a", "/b"])).unwrap();
        assert_eq!(values, [Some(b"x".to_vec()), None]);
    }

    #[test]
    fn a_connection_that_broke_is_not_used_again() {
        let (tools, daemon) = answering(vec![(wire::READ, b"1")]);
        let store = XenStore::new(&tools);
        assert_eq!(store.read("/a").unwrap().as_deref(), Some("1"));
        daemon.join().unwrap();
        assert!(matches!(store.read("/a"), Err(StoreError::Connection(_))));
        assert!(tools.0.0.lock().unwrap().is_none());
    }
}
