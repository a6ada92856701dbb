//! Pages that were given up while their peer still maps them: neither they nor their references may be used until it lets go.
//! Pure.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// After so many tries in vain a line says who keeps pages. They are made at heartbeats, and before pages are granted anew.
pub(super) const ALARM: u32 = 10;

/// Pages as they were granted: what holds them, and the references by which the peer may map them.
#[derive(Debug)]
pub(super) struct Offered<P> {
    pub pages: P,
    pub references: Vec<u32>,
    pub peer: u16,
    /// How many times their end was tried in vain, up to the alarm.
    tries: u32,
}

/// Who keeps how many pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alarm {
    pub peer: u16,
    pub pages: usize,
}

/// The pages that are kept. It has room for all that are offered, so that to give one up needs no memory.
#[derive(Debug)]
pub(super) struct Quarantine<P> {
    kept: Vec<Offered<P>>,
    /// How many are offered now.
    offers: usize,
    /// How many were ever kept.
    ever: u64,
}

impl<P> Offered<P> {
    pub(super) const fn new(peer: u16, pages: P, references: Vec<u32>) -> Self {
        Self {
            pages,
            references,
            peer,
            tries: 0,
        }
    }

    /// Ends what can be ended; whether the peer still maps some of it. The pages stay together until all are free.
    fn remains(&mut self, end: &mut impl FnMut(u32) -> bool) -> bool {
        self.references.retain(|&reference| !end(reference));
        !self.references.is_empty()
    }

    /// Counts one try in vain; whether it is the one that is told.
    fn failed(&mut self) -> bool {
        let due = self.tries + 1 == ALARM;
        self.tries = ALARM.min(self.tries + 1);
        due
    }
}

impl<P> Quarantine<P> {
    pub(super) const fn new() -> Self {
        Self {
            kept: Vec::new(),
            offers: 0,
            ever: 0,
        }
    }

    /// Makes room for one more offer.
    pub(super) fn reserve(&mut self) -> Result<(), TryReserveError> {
        self.kept.try_reserve(self.offers + 1)?;
        self.offers += 1;
        Ok(())
    }

    /// Takes an offer back; `end` makes a reference invalid, unless the peer maps its page.
    pub(super) fn give_up(&mut self, mut offered: Offered<P>, mut end: impl FnMut(u32) -> bool) {
        self.offers -= 1;
        if offered.remains(&mut end) {
            self.ever += 1;
            self.kept.push(offered);
        }
    }

    /// Tries again to end what is kept, and lets go of what is free; who is to be told of, one at a time.
    pub(super) fn retry(
        &mut self,
        mut end: impl FnMut(u32) -> bool,
        count: impl Fn(&P) -> usize,
    ) -> Option<Alarm> {
        let mut alarm = None;
        self.kept.retain_mut(|offered| {
            let remains = offered.remains(&mut end);
            // A second one on the same try waits for the next.
            if remains && alarm.is_none() && offered.failed() {
                alarm = Some(Alarm {
                    peer: offered.peer,
                    pages: count(&offered.pages),
                });
            }
            remains
        });
        alarm
    }

    /// What is kept now.
    pub(super) fn kept(&self) -> impl Iterator<Item = &P> {
        self.kept.iter().map(|offered| &offered.pages)
    }

    /// How many offers were ever kept.
    pub(super) const fn ever(&self) -> u64 {
        self.ever
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::rc::Rc;
    use std::vec;

    /// A peer, by the references whose pages it maps.
    struct Peer(BTreeSet<u32>);

    impl Peer {
        fn end(&mut self) -> impl FnMut(u32) -> bool {
            |reference| !self.0.contains(&reference)
        }
    }

    /// R21: pages whose grant does not end are not reused before it does, are tried again, and are told of once.
    #[test]
    fn r21_pages_that_a_peer_still_maps_are_kept_until_it_lets_go() {
        let mut quarantine = Quarantine::new();
        let mut peer = Peer(BTreeSet::from([12, 13, 20]));
        let pages = [Rc::new(3), Rc::new(1), Rc::new(1)];
        for _ in &pages {
            quarantine.reserve().unwrap();
        }
        let room = quarantine.kept.capacity();
        let references = [vec![11, 12, 13], vec![20], vec![30]];
        for (page, references) in pages.iter().zip(references) {
            let offered = Offered::new(7, Rc::clone(page), references);
            quarantine.give_up(offered, peer.end());
        }
        assert_eq!(
            quarantine.kept.capacity(),
            room,
            "to give up needs no memory"
        );
        // Whoever holds the pages beside us holds the only other count of them.
        let held = || pages.each_ref().map(|page| Rc::strong_count(page) - 1);
        assert_eq!(held(), [1, 1, 0]);
        assert_eq!(quarantine.ever(), 2);

        let retry = |quarantine: &mut Quarantine<Rc<usize>>, peer: &mut Peer| {
            quarantine.retry(peer.end(), |pages| **pages)
        };
        let told: Vec<Alarm> = (0..5 * ALARM)
            .filter_map(|_| retry(&mut quarantine, &mut peer))
            .collect();
        let alarm = |pages| Alarm { peer: 7, pages };
        assert_eq!(told, [alarm(3), alarm(1)], "once each");
        assert_eq!(held(), [1, 1, 0]);

        // One page of three keeps the other two: they are one run.
        peer.0.remove(&12);
        assert_eq!(retry(&mut quarantine, &mut peer), None);
        assert_eq!(held(), [1, 1, 0]);
        peer.0.remove(&13);
        retry(&mut quarantine, &mut peer);
        assert_eq!(held(), [0, 1, 0]);
        peer.0.clear();
        retry(&mut quarantine, &mut peer);
        assert_eq!((held(), quarantine.ever()), ([0, 0, 0], 2));
    }
}
