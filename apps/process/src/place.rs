//! Where the two ends of an edge meet.

use core::fmt::Display;

use stage::{Direction, Edge, EdgeName};
use vchan_linux::platform::Rendezvous;
use vchan_linux::{ConnectOptions, Endpoint, Layout, OfferOptions, local, xen};

use crate::channel::Link;
use crate::peer::Who;
use crate::ring::Ring;

/// A place where edges meet.
#[expect(
    async_fn_in_trait,
    reason = "a stage runs on one thread: futures need not be Send"
)]
pub trait Place {
    /// An open edge, as long as its peer stays the same.
    type Link: Link;

    /// Opens an edge to a peer, which it waits for as long as it takes.
    async fn open(&self, edge: &Edge, peer: &Who) -> Result<Self::Link, Failure>;
}

/// Why an edge was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It may work another time.
    Passing(String),
    /// It never will.
    Final(String),
}

impl Failure {
    /// What may work another time.
    pub fn passing(error: impl Display) -> Self {
        Self::Passing(error.to_string())
    }
}

/// A place with many meetings over vchan.
pub trait Meetings {
    /// One of them.
    type Meeting: Rendezvous<Error: Display>;

    /// The meeting of an edge with a peer; its reading side is the server. The error is one line.
    fn meeting(
        &self,
        direction: Direction,
        edge: EdgeName,
        peer: &Who,
    ) -> Result<Self::Meeting, String>;
}

impl<M: Meetings> Place for M {
    type Link = Ring<M::Meeting>;

    async fn open(&self, edge: &Edge, peer: &Who) -> Result<Self::Link, Failure> {
        let wrong = |error: String| Failure::Final(format!("edge {}: {error}", edge.name));
        let meeting = self.meeting(edge.direction, edge.name, peer);
        let meeting = meeting.map_err(wrong)?;
        let endpoint = match edge.direction {
            Direction::In => {
                let layout = Layout::for_sizes(edge.ring as usize, 0);
                let layout = layout.map_err(|error| wrong(error.to_string()))?;
                let endpoint = Endpoint::offer(&meeting, OfferOptions::from(layout))
                    .await
                    .map_err(Failure::passing)?;
                endpoint.connected().await.map_err(Failure::passing)?;
                endpoint
            }
            Direction::Out => Endpoint::connect(&meeting, ConnectOptions::default())
                .await
                .map_err(Failure::passing)?,
        };
        Ok(Ring::new(endpoint))
    }
}

/// A folder of this host. An edge meets as `READER.EDGE`; one whose peer is a number, whichever, as `EDGE` alone, where any
/// program can take its other end.
pub struct InFolder {
    /// The folder.
    pub folder: local::Folder,
    /// The name of this stage.
    pub own: String,
}

/// The name of an edge's meeting in a folder.
pub fn name(reader: &str, edge: &str) -> String {
    format!("{reader}.{edge}")
}

impl Meetings for InFolder {
    type Meeting = local::Meeting;

    fn meeting(
        &self,
        direction: Direction,
        edge: EdgeName,
        peer: &Who,
    ) -> Result<local::Meeting, String> {
        let name = match (peer, direction) {
            (Who::Number(_), _) => edge.to_string(),
            (Who::Name(_), Direction::In) => name(&self.own, edge.as_str()),
            (Who::Name(peer), Direction::Out) => name(peer, edge.as_str()),
        };
        local::Meeting::new(&self.folder, &name).map_err(|error| error.to_string())
    }
}

/// A Xen host, seen from one of its domains.
pub struct OnXen {
    /// The number of this domain.
    pub own: u16,
}

impl Meetings for OnXen {
    type Meeting = xen::Meeting;

    fn meeting(
        &self,
        direction: Direction,
        edge: EdgeName,
        peer: &Who,
    ) -> Result<xen::Meeting, String> {
        let peer = match peer {
            Who::Number(id) => *id,
            Who::Name(name) => name
                .parse()
                .map_err(|_| format!("\"{}\" is no number of a domain", name.escape_debug()))?,
        };
        let (server, client) = match direction {
            Direction::In => (self.own, peer),
            Direction::Out => (peer, self.own),
        };
        let path = format!("/local/domain/{server}/data/vchan/{client}/{edge}");
        xen::Meeting::new(peer, &path).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(
        place: &impl Meetings<Meeting: core::fmt::Debug>,
        direction: Direction,
        peer: &Who,
    ) -> String {
        match place.meeting(direction, EdgeName::new("flow").unwrap(), peer) {
            Ok(meeting) => format!("{meeting:?}"),
            Err(error) => error,
        }
    }

    #[test]
    fn both_ends_of_an_edge_meet_at_the_same_place() {
        let folder = tempfile::tempdir().unwrap();
        let place = |own: &str| InFolder {
            folder: local::Folder::at(folder.path().join("meet")).unwrap(),
            own: own.into(),
        };
        let name = |name: &str| Who::Name(name.into());
        let reader = told(&place("b"), Direction::In, &name("a"));
        assert_eq!(reader, told(&place("a"), Direction::Out, &name("b")));
        assert!(reader.contains("/meet/b.flow"), "{reader}");
        let other = told(&place("c"), Direction::In, &name("a"));
        assert_ne!(reader, other, "another reader of an edge of that name");
        let open = told(&place("a"), Direction::Out, &Who::Number(0));
        assert!(open.contains("/meet/flow\""), "{open}");
        assert!(told(&place("a"), Direction::Out, &name("../x")).contains("is no name"));

        let (five, seven) = (OnXen { own: 5 }, OnXen { own: 7 });
        assert_eq!(
            told(&five, Direction::In, &name("7")),
            "xen:7:/local/domain/5/data/vchan/7/flow"
        );
        assert_eq!(
            told(&seven, Direction::Out, &Who::Number(5)),
            "xen:5:/local/domain/5/data/vchan/7/flow"
        );
        assert!(told(&five, Direction::In, &name("a\x1b")).contains("a\\u{1b}"));
    }
}
