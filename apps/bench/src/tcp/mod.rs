//! `tcp-bench`: both roles, from the connection to the line that says how it went.
//!
//! The exchange is the same everywhere; an image has its connection from `unikernel::net`, a program on Linux from the kernel.

mod exchange;
#[cfg(xen_guest)]
mod image;
#[cfg(not(xen_guest))]
mod linux;
pub mod parameters;
#[cfg(test)]
mod tests;

#[cfg(xen_guest)]
pub use self::image::main;
#[cfg(not(xen_guest))]
pub use self::linux::main;
pub use self::parameters::TcpBench;

use self::exchange::{Connection, Exchange, ExchangeError};
use self::parameters::Task;
use crate::histogram::Histogram;
use crate::machine::{Machine, Meter};
use crate::report::{Report, Spent, Way};

/// What an exchange has shown.
struct Measured {
    spent: Spent,
    round_trips: Option<Histogram>,
    bytes: (u64, u64),
}

/// The warm-up, and then what is measured; `events` is how many the network has sent and received so far.
async fn measure<C: Connection>(
    task: &Task,
    connection: &C,
    machine: &impl Machine,
    events: impl Fn() -> Option<(u64, u64)>,
) -> Result<Measured, ExchangeError<C::Error>> {
    let mut exchange = Exchange::new(task.load, connection);
    let now = || machine.now();
    if task.load.warm_up > 0 {
        exchange.run(task.load.warm_up, now).await?;
    }
    let before = exchange.bytes();
    let start = Meter::look(machine, events());
    let round_trips = exchange.run(task.load.count, now).await?;
    let spent = start.until(Meter::look(machine, events()));
    let after = exchange.bytes();
    Ok(Measured {
        spent,
        round_trips,
        bytes: (after.0 - before.0, after.1 - before.1),
    })
}

impl Measured {
    fn report(&self, task: &Task) -> Report<'_> {
        Report {
            load: task.load,
            spent: self.spent,
            round_trips: self.round_trips.as_ref(),
            way: Way::Tcp {
                nodelay: task.nodelay,
            },
            bytes: self.bytes,
        }
    }
}
