//! xenstore through its own programs `xenstore-read`, `-write`, `-list`, `-ls` and `-rm`.

use std::collections::BTreeMap;

use super::tools::{ToolError, Tools};

/// Why xenstore could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The program failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The value is not text.
    #[error("the value at {0} is not UTF-8")]
    NotText(String),
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
        // Raw mode: without it the program escapes line ends and adds one of its own.
        match absent(self.tools.run("xenstore-read", &["-R", path]))? {
            Some(value) => {
                let text =
                    String::from_utf8(value).map_err(|_| StoreError::NotText(path.to_owned()))?;
                Ok(Some(text))
            }
            None => Ok(None),
        }
    }

    /// Writes `value` at `path`, making parents as needed.
    pub fn write(&self, path: &str, value: &str) -> Result<(), StoreError> {
        self.tools.run("xenstore-write", &["--", path, value])?;
        Ok(())
    }

    /// The names below `path`; none where there is no such node.
    pub fn list(&self, path: &str) -> Result<Vec<String>, StoreError> {
        let output = absent(self.tools.run("xenstore-list", &[path]))?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&output)
            .lines()
            .map(str::to_owned)
            .collect())
    }

    /// Everything below `path`, by paths relative to it; nothing where there is no such node. Values are as the program prints
    /// them: in ASCII, with a backslash before what is not.
    pub fn tree(&self, path: &str) -> Result<BTreeMap<String, String>, StoreError> {
        let output = absent(self.tools.run("xenstore-ls", &["-f", path]))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&output);
        let nodes = text.lines().filter_map(|line| {
            let (name, value) = line
                .strip_prefix(path)?
                .strip_prefix('/')?
                .split_once(" = \"")?;
            Some((name.to_owned(), value.strip_suffix('"')?.to_owned()))
        });
        Ok(nodes.collect())
    }

    /// Removes `path` and all below it; a node that is not there is no error.
    pub fn remove(&self, path: &str) -> Result<(), StoreError> {
        absent(self.tools.run("xenstore-rm", &[path]))?;
        Ok(())
    }
}

/// Tells "there is no such node" (the programs say so and end with 1) from failures.
fn absent(result: Result<Vec<u8>, ToolError>) -> Result<Option<Vec<u8>>, ToolError> {
    match result {
        Ok(output) => Ok(Some(output)),
        Err(ToolError::Failed { said, .. })
            if (said.contains("could") && said.contains(" path "))
                || (said.contains("xs_directory (") && said.contains("No such file")) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

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
        let tree = XenStore::new(&Prints(printed)).tree("/a").unwrap();
        let nodes: Vec<(&str, &str)> = tree.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(nodes, [("b", ""), ("b/c", r#"say "x = "y"\n"#)]);
        assert!(XenStore::new(&Prints("")).tree("/a").unwrap().is_empty());
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
}
