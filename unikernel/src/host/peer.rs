//! Who is at the other end of an edge.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use stage::runner::OpenError;
use stage::{Edge, Peer};

use crate::time::Waiting;
use crate::xenstore::{self, Client, Errno, Listening, Request, parse_decimal};

/// Who is at the other end of an edge: known from the start, or named by dom0 in `grantflow/peer/EDGE` as `DOMID GENERATION`.
pub(super) enum PeerSource {
    Fixed(u16),
    Named(NamedPeer),
}

pub(super) struct NamedPeer {
    store: Client,
    path: String,
    watch: Listening,
    /// A look at the value, under way: kept here, since a wait may be dropped in between. The first one is asked for together
    /// with the watch.
    look: Option<Request<Vec<u8>>>,
    current: Option<(u16, u32)>,
}

impl PeerSource {
    /// Asks what has to be asked, and returns without an answer.
    pub(super) fn new(store: &Client, edge: &Edge) -> Self {
        match edge.peer {
            Peer::Domain(id) => Self::Fixed(id),
            Peer::Ask => Self::Named(NamedPeer::new(store, edge.name.as_str())),
        }
    }

    /// The peer's domain; waits until dom0 names one.
    pub(super) async fn domain(&mut self, waiting: &Waiting) -> Result<u16, OpenError> {
        match self {
            Self::Fixed(id) => Ok(*id),
            Self::Named(named) => named.domain(waiting).await,
        }
    }

    /// Waits until dom0 names another peer, or another generation of it. Without xenstore nobody is named any more.
    pub(super) fn changed(&mut self) -> impl Future<Output = ()> {
        let mut named = match self {
            Self::Fixed(_) => None,
            Self::Named(named) => Some((named.current, named)),
        };
        poll_fn(move |cx| {
            let Some((before, named)) = &mut named else {
                return Poll::Pending;
            };
            while named.current == *before {
                if ready!(named.poll_look(cx)).is_err() {
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        })
    }
}

/// Waits until dom0 names the peer of `edge`.
pub async fn named_peer(store: &Client, edge: &str) -> Result<u16, OpenError> {
    NamedPeer::new(store, edge).domain(&Rc::default()).await
}

impl NamedPeer {
    fn new(store: &Client, edge: &str) -> Self {
        let path = format!("grantflow/peer/{edge}");
        Self {
            watch: store.watch(&path).into(),
            look: Some(store.read(&path)),
            store: store.clone(),
            path,
            current: None,
        }
    }

    async fn domain(&mut self, waiting: &Waiting) -> Result<u16, OpenError> {
        let mut wait = None;
        loop {
            if let Some((id, _)) = self.current {
                return Ok(id);
            }
            poll_fn(|cx| self.poll_look(cx))
                .await
                .map_err(store_error)?;
            // The first look is our own time.
            wait.get_or_insert_with(|| waiting.begin());
        }
    }

    /// Reads the value anew once it may have changed. The first look does not use up the watch's first event: a change that came
    /// after the look may be merged with it.
    fn poll_look(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), xenstore::Error>> {
        if self.look.is_none() {
            ready!(self.watch.poll_changed(cx))?;
        }
        let look = self.look.get_or_insert_with(|| self.store.read(&self.path));
        let value = ready!(Pin::new(look).poll(cx));
        self.look = None;
        self.current = match value {
            Ok(value) => parse_peer(&value),
            Err(xenstore::Error::Store(Errno::ENOENT | Errno::EACCES)) => None,
            Err(error) => return Poll::Ready(Err(error)),
        };
        Poll::Ready(Ok(()))
    }
}

/// `DOMID GENERATION`, strictly.
fn parse_peer(value: &[u8]) -> Option<(u16, u32)> {
    let space = value.iter().position(|&byte| byte == b' ')?;
    let (domain, generation) = value.split_at(space);
    let domain = u16::try_from(parse_decimal(domain).ok()?).ok()?;
    let generation = parse_decimal(generation.get(1..)?).ok()?;
    Some((domain, generation))
}

fn store_error(error: xenstore::Error) -> OpenError {
    OpenError(format!("xenstore: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xenstore::fake::World;
    use stage::Direction;
    use stage::params::{COMMON, Params};

    const NODE: &str = "grantflow/peer/flow";

    fn named(world: &World) -> PeerSource {
        let params = Params::parse("in.flow=?", COMMON).unwrap();
        let edges = params.edges(Direction::In).unwrap();
        PeerSource::new(&world.client, &edges[0])
    }

    fn current(peer: &PeerSource) -> Option<(u16, u32)> {
        match peer {
            PeerSource::Named(named) => named.current,
            PeerSource::Fixed(_) => panic!("a peer to ask for"),
        }
    }

    // R14 of FAULTS.md.
    #[test]
    fn a_change_is_told_once_and_the_same_pair_again_is_none() {
        let world = World::new();
        let mut peer = named(&world);
        for value in ["7 1", "7 2"] {
            assert_eq!(world.try_run(peer.changed()), None);
            world.store.set(NODE, value);
            world.run(peer.changed());
            assert_eq!(current(&peer), parse_peer(value.as_bytes()));
        }
        world.store.set(NODE, "7 2");
        assert_eq!(world.try_run(peer.changed()), None);
        world.store.set(NODE, "nonsense");
        world.run(peer.changed());
        assert_eq!(current(&peer), None);
    }

    #[test]
    fn a_wait_that_is_dropped_takes_no_news_with_it() {
        let world = World::new();
        let mut peer = named(&world);
        assert_eq!(world.try_run(peer.changed()), None);
        world.store.hold.set(true);
        world.store.set(NODE, "7 1");
        // The watch's event is used up, and the value asked for and not yet told.
        assert_eq!(world.try_run(peer.changed()), None);
        assert_eq!(world.store.held(), 1);
        world.store.release_reversed();
        world.run(peer.changed());
        assert_eq!(current(&peer), Some((7, 1)));
    }

    #[test]
    fn without_xenstore_nobody_is_named_any_more() {
        let world = World::new();
        let mut peer = named(&world);
        assert_eq!(world.try_run(peer.changed()), None);
        world.kill_driver();
        for _ in 0..2 {
            assert_eq!(world.try_run(peer.changed()), None);
        }
        let error = world.run(peer.domain(&Waiting::default())).unwrap_err();
        assert!(error.0.starts_with("xenstore: "), "{error}");
    }

    #[test]
    fn a_peer_is_two_strict_numbers() {
        assert_eq!(parse_peer(b"7 1"), Some((7, 1)));
        assert_eq!(parse_peer(b"0 4294967295"), Some((0, u32::MAX)));
        for bad in [
            &b""[..],
            b"7",
            b"7 ",
            b" 7 1",
            b"7  1",
            b"70000 1",
            b"7 1\0",
            b"7 -1",
            b"7 1 2",
        ] {
            assert_eq!(parse_peer(bad), None, "{bad:?}");
        }
    }
}
