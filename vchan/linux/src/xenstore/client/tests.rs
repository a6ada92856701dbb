use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::thread::JoinHandle;

use proptest::prelude::*;

use super::*;
use crate::reactor::block_on;
use crate::xenstore::wire::Message;

/// A store of one connection: strict about what it is asked, and told how to answer.
#[derive(Default)]
struct Fake {
    nodes: BTreeMap<String, Vec<u8>>,
    perms: BTreeMap<String, String>,
    /// So many commits are refused.
    conflicts: u32,
    /// An event comes before each reply.
    chatty: bool,
    /// What is changed in every reply.
    lie: Option<fn(&mut Message)>,
}

impl Fake {
    fn answer(&mut self, request: &Message) -> Result<Vec<u8>, &'static str> {
        let text = std::str::from_utf8(&request.payload).map_err(|_| "EINVAL")?;
        let (path, rest) = text.split_once('\0').ok_or("EINVAL")?;
        let ok = Ok(b"OK\0".to_vec());
        match request.kind {
            wire::READ if rest.is_empty() => self.nodes.get(path).cloned().ok_or("ENOENT"),
            wire::WRITE => {
                self.nodes.insert(path.to_owned(), rest.as_bytes().to_vec());
                ok
            }
            wire::SET_PERMS => {
                self.perms.insert(path.to_owned(), rest.to_owned());
                ok
            }
            wire::RM if rest.is_empty() => {
                let below = format!("{path}/");
                self.nodes
                    .retain(|node, _| node != path && !node.starts_with(&below));
                ok
            }
            wire::DIRECTORY if rest.is_empty() => {
                let below = format!("{path}/");
                let nodes = self
                    .nodes
                    .keys()
                    .filter_map(|node| node.strip_prefix(&below));
                let mut names: Vec<&str> = nodes
                    .map(|node| node.split('/').next().unwrap_or(node))
                    .collect();
                names.dedup();
                Ok(names
                    .iter()
                    .flat_map(|name| [name.as_bytes(), b"\0"].concat())
                    .collect())
            }
            wire::WATCH if rest == "watch\0" => ok,
            wire::TRANSACTION_START if text == "\0" => Ok(b"7\0".to_vec()),
            wire::TRANSACTION_END if request.tx_id == 7 && path == "T" => {
                match self.conflicts.checked_sub(1) {
                    Some(left) => {
                        self.conflicts = left;
                        Err("EAGAIN")
                    }
                    None => ok,
                }
            }
            wire::TRANSACTION_END if request.tx_id == 7 && path == "F" => ok,
            wire::IS_DOMAIN_INTRODUCED => Ok(if path == "3" { b"T\0" } else { b"F\0" }.to_vec()),
            _ => Err("EINVAL"),
        }
    }

    /// Answers until the client hangs up; returns what it then holds.
    fn run(mut self) -> (Connection, JoinHandle<Self>) {
        let (ours, mut stream) = UnixStream::pair().unwrap();
        let serving = thread::spawn(move || {
            let (mut decoder, mut piece) = (Decoder::default(), [0; 100]);
            loop {
                let Some(request) = decoder.message().unwrap() else {
                    match stream.read(&mut piece) {
                        Ok(length @ 1..) => decoder.push(&piece[..length]),
                        _ => return self,
                    }
                    continue;
                };
                let answer = self.answer(&request);
                if self.chatty || request.kind == wire::WATCH && answer.is_ok() {
                    send(&mut stream, &event());
                }
                let (kind, payload) = match answer {
                    Ok(payload) => (request.kind, payload),
                    Err(errno) => (wire::ERROR, format!("{errno}\0").into_bytes()),
                };
                let mut reply = Message {
                    kind,
                    payload,
                    ..request
                };
                if let Some(lie) = self.lie {
                    lie(&mut reply);
                }
                send(&mut stream, &reply);
            }
        });
        (Connection::over(ours.into()).unwrap(), serving)
    }
}

fn event() -> Message {
    Message {
        kind: wire::WATCH_EVENT,
        req_id: 0,
        tx_id: 0,
        payload: b"path\0watch\0".to_vec(),
    }
}

/// In two pieces, as a socket may hand them over. A client that has hung up is no matter.
fn send(stream: &mut UnixStream, message: &Message) {
    let bytes = message.bytes().unwrap();
    let (one, other) = bytes.split_at(bytes.len().min(17));
    let _ = stream.write_all(one).and_then(|()| stream.write_all(other));
}

#[test]
fn nodes_are_written_read_listed_and_removed() {
    for chatty in [false, true] {
        let (mut store, serving) = Fake {
            chatty,
            ..Fake::default()
        }
        .run();
        store.write(Tx::NONE, "a/b", b"one").unwrap();
        store.write(Tx::NONE, "a/c/d", b"").unwrap();
        store.set_perms(Tx::NONE, "a/b", 0, 5).unwrap();
        assert_eq!(store.read(Tx::NONE, "a/b").unwrap(), b"one");
        assert_eq!(store.directory(Tx::NONE, "a").unwrap(), ["b", "c"]);
        assert!(store.directory(Tx::NONE, "b").unwrap().is_empty());
        store.rm(Tx::NONE, "a/c").unwrap();
        let error = store.read(Tx::NONE, "a/c/d").unwrap_err();
        assert!(error.is("ENOENT"));
        assert_eq!(
            error.to_string(),
            "xenstored refused reading of a/c/d: ENOENT"
        );
        assert!(store.is_domain_introduced(3).unwrap());
        assert!(!store.is_domain_introduced(4).unwrap());
        assert!(matches!(store.read(Tx::NONE, "a//b"), Err(Error::Path(_))));
        let long = vec![b'x'; wire::PAYLOAD_MAX];
        assert!(matches!(
            store.write(Tx::NONE, "a", &long),
            Err(Error::TooLong)
        ));
        drop(store);
        let fake = serving.join().unwrap();
        assert_eq!(fake.perms["a/b"], "n0\0r5\0");
        assert_eq!(fake.nodes.len(), 1);
    }
}

// R30 of FAULTS.md.
#[test]
fn a_transaction_is_tried_again_and_not_for_ever() {
    for (conflicts, tries) in [(0, 1), (3, 4), (u32::MAX, TRIES)] {
        let (mut store, serving) = Fake {
            conflicts,
            ..Fake::default()
        }
        .run();
        let mut tried = 0;
        let result = store.transaction(|store, tx| {
            tried += 1;
            store.write(tx, "a", b"1")
        });
        assert_eq!(tried, tries);
        assert_eq!(result.is_ok(), tries < TRIES, "{result:?}");
        drop(store);
        serving.join().unwrap();
    }
    let (mut store, _serving) = Fake::default().run();
    let result = store.transaction(|store, tx| store.read(tx, "missing"));
    assert!(
        result.is_err_and(|error| error.is("ENOENT")),
        "given up, and said so"
    );
    store
        .write(Tx::NONE, "a", b"the connection is of use")
        .unwrap();
}

#[test]
fn a_watch_fires_at_first_and_again_with_each_change() {
    let (client, mut server) = UnixStream::pair().unwrap();
    let mut store = Connection::over(client.into()).unwrap();
    let serving = thread::spawn(move || {
        let mut request = [0; 100];
        assert!(server.read(&mut request).unwrap() > 16);
        let reply = Message {
            kind: wire::WATCH,
            req_id: 1,
            tx_id: 0,
            payload: b"OK\0".to_vec(),
        };
        send(&mut server, &reply);
        send(&mut server, &event());
        server
    });
    store.watch("a").unwrap();
    block_on(store.changed()).unwrap();
    let mut server = serving.join().unwrap();
    let soon = || Instant::now() + Duration::from_millis(20);
    assert!(crate::block_until(soon(), store.changed()).is_none());
    send(&mut server, &event());
    block_on(store.changed()).unwrap();
    drop(server);
    assert!(matches!(block_on(store.changed()), Err(Error::Broken(_))));
}

#[test]
fn many_are_asked_at_once_and_each_is_answered_for_itself() {
    for (chatty, is_socket) in [(false, true), (true, true), (true, false)] {
        let nodes = (0..100).filter(|number| number % 3 != 0);
        let nodes = nodes.map(|number| (format!("a/{number}/x"), vec![number]));
        let fake = Fake {
            chatty,
            nodes: nodes.collect(),
            ..Fake::default()
        };
        let (mut store, serving) = fake.run();
        store.is_socket = is_socket;
        let paths: Vec<String> = (0..100).map(|number| format!("a/{number}/x")).collect();
        let values = store.read_all(Tx::NONE, &paths).unwrap();
        assert_eq!(values.len(), 100);
        for (number, value) in values.into_iter().enumerate() {
            match value {
                Ok(value) => assert_eq!((value, number % 3 != 0), (vec![number as u8], true)),
                Err(error) => assert!(error.is("ENOENT") && number % 3 == 0, "{error}"),
            }
        }
        let paths = ["a/1", "a/3", "a/4"].map(str::to_owned);
        let names = store.directory_all(Tx::NONE, &paths).unwrap();
        let names: Vec<Vec<String>> = names.into_iter().map(Result::unwrap).collect();
        assert_eq!(names, [vec!["x".to_owned()], vec![], vec!["x".to_owned()]]);
        assert!(store.read_all(Tx::NONE, &[]).unwrap().is_empty());
        // One that cannot be sent is found before any is.
        let wrong = ["a/1/x".to_owned(), String::new()];
        assert!(matches!(
            store.read_all(Tx::NONE, &wrong),
            Err(Error::Path(_))
        ));
        assert_eq!(store.read(Tx::NONE, "a/1/x").unwrap(), [1]);
        drop(store);
        serving.join().unwrap();
    }
}

#[test]
fn one_lie_among_many_replies_is_none_to_any() {
    let lies: [fn(&mut Message); 3] = [
        |reply| reply.req_id += u32::from(reply.req_id == 2),
        |reply| reply.tx_id += u32::from(reply.req_id == 3),
        |reply| reply.kind += u32::from(reply.req_id == 1),
    ];
    for lie in lies {
        let fake = Fake {
            nodes: [("a".to_owned(), Vec::new())].into(),
            lie: Some(lie),
            ..Fake::default()
        };
        let (mut store, serving) = fake.run();
        let paths = vec!["a".to_owned(); 3];
        assert!(matches!(
            store.read_all(Tx::NONE, &paths),
            Err(Error::Reply)
        ));
        drop(store);
        serving.join().unwrap();
    }
}

#[test]
fn replies_that_are_none_are_refused() {
    let lies: [fn(&mut Message); 4] = [
        |reply| reply.req_id += 1,
        |reply| reply.tx_id += 1,
        |reply| reply.kind = wire::RM,
        |reply| reply.payload = b"OK".to_vec(),
    ];
    for lie in lies {
        let (mut store, _serving) = Fake {
            lie: Some(lie),
            ..Fake::default()
        }
        .run();
        let error = store.write(Tx::NONE, "a", b"").unwrap_err();
        assert!(matches!(error, Error::Reply), "{error}");
    }
    let (mut store, _serving) = Fake {
        lie: Some(|reply| {
            (reply.kind, reply.payload) = (wire::ERROR, b"\x1b[2J far too long a name\0".to_vec());
        }),
        ..Fake::default()
    }
    .run();
    let error = store.write(Tx::NONE, "a", b"").unwrap_err().to_string();
    assert_eq!(error, "xenstored refused writing of a: ?[2J?far?too?lon");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes instead of a reply: an error, and no wait once the stream has ended.
    #[test]
    fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..200), small: bool) {
        let mut bytes = bytes;
        if small && bytes.len() >= 16 {
            bytes[13..16].fill(0);
        }
        let (client, mut server) = UnixStream::pair().unwrap();
        let mut store = Connection::over(client.into()).unwrap();
        server.write_all(&bytes).unwrap();
        server.shutdown(std::net::Shutdown::Write).unwrap();
        prop_assert!(store.read(Tx::NONE, "a").is_err());
    }
}
