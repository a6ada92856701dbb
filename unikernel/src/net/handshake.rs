//! The xenbus states of the front end (`io/xenbus.h`): what was seen goes in, what to do comes out. Pure.
//!
//! Ours and the back end's state stand in xenstore. The normal way: the back end waits ([`InitWait`](XenbusState::InitWait)), we
//! publish rings and say *Connected*, it maps them and says *Connected*. The way back: either side says *Closing*, both end in
//! *Closed*; from there a device that is still online starts anew, and one that was detached vanishes with its nodes.

/// `enum xenbus_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum XenbusState {
    /// No state, or one that nobody knows.
    Unknown = 0,
    /// Begins.
    Initialising = 1,
    /// Waits for the other side's details.
    InitWait = 2,
    /// Has published its details.
    Initialised = 3,
    /// Works.
    Connected = 4,
    /// Is being taken down.
    Closing = 5,
    /// Is down.
    Closed = 6,
    /// Is given other resources.
    Reconfiguring = 7,
    /// Was given other resources.
    Reconfigured = 8,
}

impl XenbusState {
    /// As it stands in a node.
    pub fn parse(value: &[u8]) -> Self {
        match value {
            b"1" => Self::Initialising,
            b"2" => Self::InitWait,
            b"3" => Self::Initialised,
            b"4" => Self::Connected,
            b"5" => Self::Closing,
            b"6" => Self::Closed,
            b"7" => Self::Reconfiguring,
            b"8" => Self::Reconfigured,
            _ => Self::Unknown,
        }
    }

    /// The digit that stands in a node.
    pub fn digit(self) -> [u8; 1] {
        [b'0' + self as u8]
    }
}

/// What xenstore says about the device now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The back end's state; `None` without a device.
    pub backend: Option<XenbusState>,
    /// The toolstack does not want the device gone.
    pub online: bool,
}

/// Where the front end stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Front {
    /// There is no device.
    #[default]
    Absent,
    /// Waits for the back end to wait for us.
    Initialising,
    /// Rings are published.
    Offered,
    /// Frames go both ways.
    Connected,
    /// Waits for the back end to let go.
    Closing,
    /// Down, and waits for a reason to begin anew.
    Closed,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Act {
    /// Nothing, until something else is seen.
    Wait,
    /// Make rings and publish them.
    Offer,
    /// Use the rings.
    Up,
    /// Stop using the rings, and announce this state.
    Down(XenbusState),
    /// Announce this state.
    Announce(XenbusState),
    /// The device is gone: let go of everything, and announce nothing.
    Forget,
}

impl Front {
    /// One step. `fault`: the rings are not to be used any more. `again`: a device that is closed may begin anew.
    pub fn step(self, seen: Seen, fault: bool, again: bool) -> (Self, Act) {
        use XenbusState as State;
        let Some(backend) = seen.backend else {
            return match self {
                Self::Absent => (self, Act::Wait),
                _ => (Self::Absent, Act::Forget),
            };
        };
        let running = matches!(
            backend,
            State::Connected | State::Reconfiguring | State::Reconfigured
        );
        let closing = matches!(backend, State::Closing | State::Closed);
        match self {
            // A new device: the toolstack has written our first state for us.
            Self::Absent => Self::Initialising.step(seen, fault, again),
            Self::Initialising => match backend {
                State::InitWait => (Self::Offered, Act::Offer),
                // It still deals with rings of another life.
                State::Initialised => (Self::Closing, Act::Announce(State::Closing)),
                _ if running => (Self::Closing, Act::Announce(State::Closing)),
                _ => (self, Act::Wait),
            },
            Self::Offered if backend == State::Connected && !fault => (Self::Connected, Act::Up),
            Self::Offered if closing || fault => (Self::Closing, Act::Down(State::Closing)),
            Self::Offered => (self, Act::Wait),
            Self::Connected if running && !fault => (self, Act::Wait),
            Self::Connected => (Self::Closing, Act::Down(State::Closing)),
            Self::Closing if running || backend == State::Initialised => (self, Act::Wait),
            Self::Closing => (Self::Closed, Act::Announce(State::Closed)),
            Self::Closed if seen.online && again && !running && backend != State::Closing => {
                (Self::Initialising, Act::Announce(State::Initialising))
            }
            Self::Closed => (self, Act::Wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use XenbusState as State;
    use proptest::prelude::*;

    const ALL: [State; 9] = [
        State::Unknown,
        State::Initialising,
        State::InitWait,
        State::Initialised,
        State::Connected,
        State::Closing,
        State::Closed,
        State::Reconfiguring,
        State::Reconfigured,
    ];

    fn seen(backend: State) -> Seen {
        Seen {
            backend: Some(backend),
            online: true,
        }
    }

    const GONE: Seen = Seen {
        backend: None,
        online: false,
    };

    fn walk(steps: &[(Seen, Front, Act)]) {
        let mut front = Front::default();
        for (number, (seen, next, act)) in steps.iter().enumerate() {
            let step = front.step(*seen, false, true);
            assert_eq!(step, (*next, *act), "step {number}");
            front = step.0;
        }
    }

    #[test]
    fn states_are_single_digits() {
        for state in ALL {
            assert_eq!(State::parse(&state.digit()), state);
        }
        for odd in [&b""[..], b"4 ", b"44", b"9", b"x", b"\xff"] {
            assert_eq!(State::parse(odd), State::Unknown);
        }
    }

    #[test]
    fn a_device_connects() {
        walk(&[
            (GONE, Front::Absent, Act::Wait),
            (seen(State::Initialising), Front::Initialising, Act::Wait),
            (seen(State::InitWait), Front::Offered, Act::Offer),
            (seen(State::InitWait), Front::Offered, Act::Wait),
            (seen(State::Connected), Front::Connected, Act::Up),
            (seen(State::Connected), Front::Connected, Act::Wait),
        ]);
    }

    #[test]
    fn a_device_is_detached_and_attached() {
        let going = |backend| Seen {
            backend: Some(backend),
            online: false,
        };
        walk(&[
            (seen(State::InitWait), Front::Offered, Act::Offer),
            (seen(State::Connected), Front::Connected, Act::Up),
            (
                going(State::Closing),
                Front::Closing,
                Act::Down(State::Closing),
            ),
            (
                going(State::Closing),
                Front::Closed,
                Act::Announce(State::Closed),
            ),
            (going(State::Closed), Front::Closed, Act::Wait),
            (GONE, Front::Absent, Act::Forget),
            (GONE, Front::Absent, Act::Wait),
            (seen(State::InitWait), Front::Offered, Act::Offer),
        ]);
    }

    #[test]
    fn a_back_end_that_comes_back_is_met_again() {
        walk(&[
            (seen(State::InitWait), Front::Offered, Act::Offer),
            (seen(State::Connected), Front::Connected, Act::Up),
            // Unloaded, and loaded again before we looked.
            (
                seen(State::InitWait),
                Front::Closing,
                Act::Down(State::Closing),
            ),
            (
                seen(State::InitWait),
                Front::Closed,
                Act::Announce(State::Closed),
            ),
            (
                seen(State::InitWait),
                Front::Initialising,
                Act::Announce(State::Initialising),
            ),
            (seen(State::InitWait), Front::Offered, Act::Offer),
        ]);
    }

    #[test]
    fn a_fault_closes_and_begins_anew_only_if_allowed() {
        let connected = Front::Connected.step(seen(State::Connected), true, true);
        assert_eq!(connected, (Front::Closing, Act::Down(State::Closing)));
        assert_eq!(
            Front::Closing.step(seen(State::Connected), true, true),
            (Front::Closing, Act::Wait)
        );
        assert_eq!(
            Front::Closing.step(seen(State::Closing), true, true),
            (Front::Closed, Act::Announce(State::Closed))
        );
        assert_eq!(
            Front::Closed.step(seen(State::Closed), false, false),
            (Front::Closed, Act::Wait)
        );
        assert_eq!(
            Front::Closed.step(seen(State::Closed), false, true),
            (Front::Initialising, Act::Announce(State::Initialising))
        );
    }

    #[test]
    fn rings_of_another_life_are_closed_first() {
        assert_eq!(
            Front::Initialising.step(seen(State::Connected), false, true),
            (Front::Closing, Act::Announce(State::Closing))
        );
    }

    proptest! {
        /// Whatever is seen: rings are used only between `Up` and the next `Down` or `Forget`, and between two `Offer`s lies
        /// one of the two.
        #[test]
        fn no_order_of_states_leaves_rings_in_use_by_mistake(
            steps in proptest::collection::vec((0usize..10, any::<bool>(), 0u8..10), 1..60),
        ) {
            let (mut front, mut offered, mut up) = (Front::default(), false, false);
            for (backend, online, fault) in steps {
                let now = Seen { backend: ALL.get(backend).copied(), online };
                let (next, act) = front.step(now, fault == 0, true);
                match act {
                    Act::Offer => { prop_assert!(!offered); offered = true; }
                    Act::Up => { prop_assert!(offered && !up); up = true; }
                    Act::Down(_) => { prop_assert!(offered); (offered, up) = (false, false); }
                    Act::Forget => (offered, up) = (false, false),
                    Act::Wait | Act::Announce(_) => {}
                }
                prop_assert_eq!(up, next == Front::Connected);
                front = next;
            }
        }
    }
}
