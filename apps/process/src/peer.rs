//! Who is at the other end of an edge.

use core::future::poll_fn;
use core::task::{Context, Poll, ready};
use std::rc::Rc;

use stage::runner::OpenError;
use stage::{Edge, Peer};

use crate::keys::{Keys, KeysError, Watch};

/// The other end of an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// By number, from the start.
    Number(u16),
    /// As it was named: a stage, or the number of a domain.
    Name(String),
}

/// Who is at the other end of an edge: known from the start, or named in `grantflow/peer/EDGE` as `WHO GENERATION`.
pub(crate) enum PeerSource {
    Fixed(u16),
    Named(NamedPeer),
}

pub(crate) struct NamedPeer {
    keys: Rc<Keys>,
    key: String,
    watch: Watch,
    current: Option<(String, u32)>,
}

impl PeerSource {
    pub(crate) fn new(keys: &Rc<Keys>, edge: &Edge) -> Result<Self, OpenError> {
        let key = format!("grantflow/peer/{}", edge.name);
        Ok(match edge.peer {
            Peer::Domain(id) => Self::Fixed(id),
            Peer::Ask => Self::Named(NamedPeer::new(keys, key).map_err(|error| {
                OpenError(format!("{}.{}: {error}", edge.direction, edge.name))
            })?),
        })
    }

    /// The peer; waits until one is named.
    pub(crate) async fn who(&mut self) -> Result<Who, OpenError> {
        match self {
            Self::Fixed(id) => Ok(Who::Number(*id)),
            Self::Named(named) => named.name().await.map(Who::Name),
        }
    }

    /// Waits until another peer is named, or another generation of it. Where nobody can be asked any more, nobody is named.
    pub(crate) fn changed(&mut self) -> impl Future<Output = ()> {
        let mut named = match self {
            Self::Fixed(_) => None,
            Self::Named(named) => Some((named.current.clone(), named)),
        };
        poll_fn(move |context| {
            let Some((before, named)) = &mut named else {
                return Poll::Pending;
            };
            while named.current == *before {
                if ready!(named.poll_look(context)).is_err() {
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        })
    }
}

impl NamedPeer {
    fn new(keys: &Rc<Keys>, key: String) -> Result<Self, KeysError> {
        // The watch comes first, so that no change falls between the look and the watch.
        let watch = keys.watch(&key)?;
        let current = parse(keys.read(&key)?);
        Ok(Self {
            keys: Rc::clone(keys),
            key,
            watch,
            current,
        })
    }

    async fn name(&mut self) -> Result<String, OpenError> {
        loop {
            if let Some((name, _)) = &self.current {
                return Ok(name.clone());
            }
            let look = poll_fn(|context| self.poll_look(context)).await;
            look.map_err(|error| OpenError(error.to_string()))?;
        }
    }

    /// Reads the value anew once it may have changed.
    fn poll_look(&mut self, context: &mut Context<'_>) -> Poll<Result<(), KeysError>> {
        ready!(self.watch.poll_changed(context))?;
        self.current = parse(self.keys.read(&self.key)?);
        Poll::Ready(Ok(()))
    }
}

/// `WHO GENERATION`, strictly.
fn parse(value: Option<String>) -> Option<(String, u32)> {
    let value = value?;
    let (who, generation) = value.split_once(' ')?;
    let is_number = !generation.is_empty() && generation.bytes().all(|b| b.is_ascii_digit());
    let generation = generation.parse().ok().filter(|_| is_number)?;
    (!who.is_empty()).then(|| (who.to_owned(), generation))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use stage::Direction;
    use stage::params::{COMMON, Params};
    use vchan_linux::{block_on, block_until};

    use super::*;

    fn edge(text: &str) -> Edge {
        let params = Params::parse(text, COMMON).unwrap();
        params.edges(Direction::In).unwrap().remove(0)
    }

    #[test]
    fn a_peer_is_a_name_and_a_strict_number() {
        let read = |text: &str| parse(Some(text.to_owned()));
        assert_eq!(read("source 3"), Some(("source".to_owned(), 3)));
        for bad in [
            "",
            "source",
            "source ",
            " 1",
            "source  1",
            "source +1",
            "source 1 2",
            "source 4294967296",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        assert_eq!(parse(None), None);
    }

    #[test]
    fn a_change_of_name_or_generation_is_told_and_the_same_pair_again_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Rc::new(Keys::in_folder(folder.path()));
        let mut peer = PeerSource::new(&keys, &edge("in.flow=?")).unwrap();
        let set = |value| keys.write("grantflow/peer/flow", value);
        set("a 1");
        assert_eq!(block_on(peer.who()), Ok(Who::Name("a".into())));
        let mut told = |value| {
            set(value);
            let deadline = Instant::now() + Duration::from_millis(20);
            block_until(deadline, peer.changed()).is_some()
        };
        assert!(!told("a 1"));
        assert!(told("a 2"));
        assert!(told("b 2"));
        assert!(told("nonsense"), "then there is none");
    }

    #[test]
    fn without_anyone_to_ask_a_question_mark_is_an_error_that_says_what_to_do() {
        let keys = Rc::new(Keys::nowhere());
        let error = PeerSource::new(&keys, &edge("in.flow=?")).err().unwrap();
        assert!(
            error.0.starts_with("in.flow: nobody") && error.0.contains("--keys"),
            "{error}"
        );
        let mut peer = PeerSource::new(&keys, &edge("in.flow=7")).unwrap();
        assert_eq!(block_on(peer.who()), Ok(Who::Number(7)));
    }
}
