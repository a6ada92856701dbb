//! A small xenstored for the tests, behind a ring of 1,024 bytes each way, and the executor that runs a client on it.
//!
//! It looks at its ring only after a `notify`, and wakes the driver only when it changed the ring itself, so a
//! notification or a wake-up that is missing ends a test with "stalled".

extern crate std;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    format,
    rc::Rc,
    string::{String, ToString},
    sync::Arc,
    task::Wake,
    vec,
    vec::Vec,
};
use core::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, Waker},
};

use super::{
    client::Client,
    driver::{Transport, TransportError},
    error::Broken,
    wire::{self, Decoder, Header, Message, MessageType},
};

const RING_SIZE: usize = 1024;

type Tree = BTreeMap<String, (Vec<u8>, Vec<u8>)>;

/// What the guest sees of the ring, and the daemon behind it.
#[derive(Default)]
pub struct Store {
    req: RefCell<VecDeque<u8>>,
    rsp: RefCell<VecDeque<u8>>,
    /// The guest has notified the daemon.
    notified: Cell<bool>,
    /// The daemon has notified the guest, which has not waited since.
    event: Cell<bool>,
    guest: RefCell<Option<Waker>>,
    pub notifications: Cell<u32>,
    /// The most bytes that the guest can read or write at once; 0 is no limit.
    pub piece: Cell<usize>,
    pub transport_error: Cell<Option<&'static str>>,
    decoder: RefCell<Decoder>,
    /// Replies and events that wait for room in the ring.
    backlog: RefCell<VecDeque<u8>>,
    /// Replies held back while `hold` is set.
    held: RefCell<Vec<Message>>,
    pub hold: Cell<bool>,
    /// Errno names to answer with before anything else is done, for requests of the type.
    pub refusals: RefCell<Vec<(MessageType, &'static str)>>,
    pub tree: RefCell<Tree>,
    pub watches: RefCell<Vec<(String, String)>>,
    pub transactions: RefCell<BTreeMap<u32, Tree>>,
    last_tx_id: Cell<u32>,
    /// Commits to refuse with EAGAIN.
    pub conflicts: Cell<u32>,
    /// Types of the requests in the order they came.
    pub log: RefCell<Vec<MessageType>>,
    pub most_unanswered: Cell<usize>,
}

impl Transport for Rc<Store> {
    fn try_read(&self, out: &mut [u8]) -> Result<usize, TransportError> {
        if let Some(reason) = self.transport_error.get() {
            return Err(TransportError(reason));
        }
        let mut rsp = self.rsp.borrow_mut();
        let count = out.len().min(rsp.len()).min(self.piece());
        for (to, from) in out.iter_mut().zip(rsp.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }

    fn try_write(&self, data: &[u8]) -> Result<usize, TransportError> {
        let mut req = self.req.borrow_mut();
        let count = data.len().min(RING_SIZE - req.len()).min(self.piece());
        req.extend(&data[..count]);
        Ok(count)
    }

    fn notify(&self) {
        self.notified.set(true);
        self.notifications.set(self.notifications.get() + 1);
    }

    async fn wait(&self) {
        poll_fn(|cx| {
            if self.event.take() {
                return Poll::Ready(());
            }
            *self.guest.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Store {
    fn piece(&self) -> usize {
        match self.piece.get() {
            0 => usize::MAX,
            piece => piece,
        }
    }

    /// The daemon's turn; returns whether it had anything to do.
    fn serve(&self) -> bool {
        if !self.notified.take() {
            return false;
        }
        let arrived: Vec<u8> = self.req.borrow_mut().drain(..).collect();
        let mut input = arrived.as_slice();
        loop {
            let message = self.decoder.borrow_mut().next(&mut input);
            match message.expect("a guest that keeps the limit") {
                Some(message) => self.answer(message),
                None => break,
            }
        }
        if !arrived.is_empty() {
            self.wake_guest();
        }
        self.flush() || !arrived.is_empty()
    }

    /// Moves what waits into the ring.
    fn flush(&self) -> bool {
        let (mut rsp, mut backlog) = (self.rsp.borrow_mut(), self.backlog.borrow_mut());
        let count = backlog.len().min(RING_SIZE - rsp.len());
        rsp.extend(backlog.drain(..count));
        drop((rsp, backlog));
        if count > 0 {
            self.wake_guest();
        }
        count > 0
    }

    /// The daemon's event.
    pub fn wake_guest(&self) {
        self.event.set(true);
        if let Some(waker) = self.guest.take() {
            waker.wake();
        }
    }

    /// Raw bytes from the daemon.
    pub fn inject(&self, bytes: &[u8]) {
        self.backlog.borrow_mut().extend(bytes);
        self.flush();
    }

    /// A change by another domain.
    pub fn set(&self, path: &str, value: &str) {
        self.tree
            .borrow_mut()
            .insert(path.to_string(), (value.into(), b"n0\0".to_vec()));
        self.fire(path);
        self.flush();
    }

    /// A removal by another domain, of a node and all below it.
    #[cfg(feature = "net")]
    pub fn remove(&self, path: &str) {
        let below = format!("{path}/");
        self.tree
            .borrow_mut()
            .retain(|key, _| key != path && !key.starts_with(&below));
        self.fire(path);
        self.flush();
    }

    /// Sends the replies that were held back, last first.
    pub fn release_reversed(&self) {
        self.hold.set(false);
        for reply in self.held.take().into_iter().rev() {
            self.send(&reply);
        }
        self.flush();
    }

    pub fn held(&self) -> usize {
        self.held.borrow().len()
    }

    fn send(&self, message: &Message) {
        let bytes =
            wire::encode(message.header, &[&message.payload]).expect("a reply within the limit");
        self.backlog.borrow_mut().extend(bytes);
    }

    fn fire(&self, path: &str) {
        for (watched, token) in self.watches.borrow().iter() {
            if path == watched
                || path
                    .strip_prefix(watched.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
            {
                self.send_event(path, token);
            }
        }
    }

    fn send_event(&self, path: &str, token: &str) {
        let header = Header {
            message_type: MessageType::WatchEvent,
            req_id: 0,
            tx_id: 0,
        };
        self.send(&Message {
            header,
            payload: format!("{path}\0{token}\0").into_bytes(),
        });
    }

    fn answer(&self, request: Message) {
        let Header {
            message_type,
            req_id,
            tx_id,
        } = request.header;
        self.log.borrow_mut().push(message_type);
        let mut events = Vec::new();
        let result = self.act(&request, &mut events);
        let (message_type, payload) = match result {
            Ok(payload) => (message_type, payload),
            Err(errno) => (MessageType::Error, format!("{errno}\0").into_bytes()),
        };
        let reply = Message {
            header: Header {
                message_type,
                req_id,
                tx_id,
            },
            payload,
        };
        if self.hold.get() {
            self.held.borrow_mut().push(reply);
            self.most_unanswered
                .set(self.most_unanswered.get().max(self.held()));
        } else {
            self.send(&reply);
        }
        for path in events {
            self.fire(&path);
        }
    }

    fn act(&self, request: &Message, events: &mut Vec<String>) -> Result<Vec<u8>, &'static str> {
        let Header {
            message_type,
            tx_id,
            ..
        } = request.header;
        let refusal = self
            .refusals
            .borrow()
            .iter()
            .position(|(refused, _)| *refused == message_type);
        if let Some(index) = refusal {
            return Err(self.refusals.borrow_mut().remove(index).1);
        }
        let mut parts = request.payload.splitn(2, |byte| *byte == 0);
        let path = String::from_utf8(parts.next().unwrap_or_default().to_vec()).expect("ASCII");
        let rest = parts.next().expect("a NUL after the first string");
        let ok = b"OK\0".to_vec();
        match message_type {
            MessageType::Watch => {
                let token = String::from_utf8(rest.strip_suffix(b"\0").expect("NUL").to_vec())
                    .expect("ASCII");
                self.watches
                    .borrow_mut()
                    .push((path.clone(), token.clone()));
                self.send_event(&path, &token);
                return Ok(ok);
            }
            MessageType::Unwatch => {
                let token = rest.strip_suffix(b"\0").expect("NUL");
                let mut watches = self.watches.borrow_mut();
                let index = watches
                    .iter()
                    .position(|(watched, own)| *watched == path && own.as_bytes() == token);
                watches.remove(index.ok_or("ENOENT")?);
                return Ok(ok);
            }
            MessageType::TransactionStart => {
                self.last_tx_id.set(self.last_tx_id.get() + 1);
                let tx_id = self.last_tx_id.get();
                self.transactions
                    .borrow_mut()
                    .insert(tx_id, self.tree.borrow().clone());
                return Ok(format!("{tx_id}\0").into_bytes());
            }
            MessageType::TransactionEnd => {
                let tree = self
                    .transactions
                    .borrow_mut()
                    .remove(&tx_id)
                    .ok_or("ENOENT")?;
                if path == "T" {
                    if self.conflicts.get() > 0 {
                        self.conflicts.set(self.conflicts.get() - 1);
                        return Err("EAGAIN");
                    }
                    let old = self.tree.replace(tree);
                    let new = self.tree.borrow();
                    events.extend(
                        new.iter()
                            .filter(|(path, node)| old.get(*path) != Some(node))
                            .map(|(p, _)| p.clone()),
                    );
                }
                return Ok(ok);
            }
            _ => {}
        }
        let mut transactions = self.transactions.borrow_mut();
        let mut live = self.tree.borrow_mut();
        let tree = if tx_id == 0 {
            &mut *live
        } else {
            transactions.get_mut(&tx_id).ok_or("ENOENT")?
        };
        let node = tree.get(&path);
        match message_type {
            MessageType::Read => return Ok(node.ok_or("ENOENT")?.0.clone()),
            MessageType::GetPerms => return Ok(node.ok_or("ENOENT")?.1.clone()),
            MessageType::Directory => {
                let below = format!("{path}/");
                let names: Vec<_> = tree
                    .keys()
                    .filter_map(|key| key.strip_prefix(&below))
                    .collect();
                return Ok(names
                    .iter()
                    .flat_map(|name| [name.as_bytes(), b"\0"].concat())
                    .collect());
            }
            MessageType::Write => {
                let perms = node.map_or(b"n7\0".to_vec(), |node| node.1.clone());
                tree.insert(path.clone(), (rest.to_vec(), perms));
            }
            MessageType::Mkdir => {
                tree.entry(path.clone())
                    .or_insert((vec![], b"n7\0".to_vec()));
            }
            MessageType::Rm => {
                let below = format!("{path}/");
                tree.retain(|key, _| *key != path && !key.starts_with(&below));
            }
            MessageType::SetPerms => tree.get_mut(&path).ok_or("ENOENT")?.1 = rest.to_vec(),
            _ => return Err("ENOSYS"),
        }
        if tx_id == 0 {
            events.push(path);
        }
        Ok(ok)
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A store, a client on it, and the client's driver.
pub struct World {
    pub store: Rc<Store>,
    pub client: Client,
    driver: RefCell<Option<Pin<Box<dyn Future<Output = Broken>>>>>,
    driver_flag: Arc<Flag>,
    pub ended: Cell<Option<Broken>>,
}

impl World {
    pub fn new() -> Self {
        let store = Rc::new(Store::default());
        let (client, driver) = Client::new(store.clone());
        Self {
            store,
            client,
            driver: RefCell::new(Some(Box::pin(driver.run()))),
            driver_flag: Arc::new(Flag(AtomicBool::new(true))),
            ended: Cell::new(None),
        }
    }

    /// Drops the driver's task.
    pub fn kill_driver(&self) {
        self.driver.take();
    }

    /// Runs `main` to its end; `None` when nothing moves any more.
    pub fn try_run<R>(&self, main: impl Future<Output = R>) -> Option<R> {
        let mut main = pin!(main);
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(flag.clone());
        loop {
            let mut moved = false;
            if flag.0.swap(false, Ordering::Relaxed) {
                moved = true;
                if let Poll::Ready(result) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Some(result);
                }
            }
            moved |= self.turn();
            if !moved {
                return None;
            }
        }
    }

    /// One turn of driver and daemon; returns whether anything moved.
    fn turn(&self) -> bool {
        let mut moved = false;
        if self.driver_flag.0.swap(false, Ordering::Relaxed) {
            moved = true;
            let waker = Waker::from(self.driver_flag.clone());
            let mut driver = self.driver.borrow_mut();
            let ended = driver
                .as_mut()
                .map(|driver| driver.as_mut().poll(&mut Context::from_waker(&waker)));
            if let Some(Poll::Ready(broken)) = ended {
                self.ended.set(Some(broken));
                *driver = None;
            }
        }
        moved | self.store.serve()
    }

    /// Runs `main` to its end.
    pub fn run<R>(&self, main: impl Future<Output = R>) -> R {
        self.try_run(main)
            .expect("stalled: a notification or a wake-up is missing")
    }

    /// Lets driver and daemon do all they can.
    pub fn settle(&self) {
        while self.turn() {}
    }
}
