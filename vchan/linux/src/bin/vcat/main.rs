//! `vcat`: bytes between a channel and pipes, files, programs and UNIX sockets.

mod arguments;
mod ends;
mod pump;
mod stop;

use std::env;
use std::fmt::Display;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use vchan_linux::platform::Rendezvous;
use vchan_linux::{
    ConnectError, ConnectOptions, Endpoint, OfferOptions, block_on, block_until, local,
    sleep_until, xen,
};

use arguments::{Address, Arguments, Asked, HELP, Side};
use ends::Ends;
use stop::Stop;

/// How soon to try again to join an offer that was an old one.
const AGAIN: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let arguments = match arguments::parse(env::args_os().skip(1)) {
        Ok(Asked::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Version) => {
            println!("vcat {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Work(arguments)) => arguments,
        Err(error) => {
            eprintln!("vcat: {error}\n(vcat --help tells more)");
            return ExitCode::from(2);
        }
    };
    match work(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Wrong::Usage(error)) => {
            eprintln!("vcat: {error}");
            ExitCode::from(2)
        }
        Err(Wrong::Failed(error)) => {
            eprintln!("vcat: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whose fault it is.
enum Wrong {
    /// The command line's.
    Usage(String),
    /// The world's.
    Failed(String),
}

impl From<String> for Wrong {
    fn from(error: String) -> Self {
        Self::Failed(error)
    }
}

fn usage(error: impl Display) -> Wrong {
    Wrong::Usage(error.to_string())
}

fn text(error: impl Display) -> String {
    error.to_string()
}

fn work(arguments: &Arguments) -> Result<(), Wrong> {
    let stop = Stop::new().map_err(text)?;
    match &arguments.address {
        Address::Xen(domain, path) => {
            let meeting = xen::Meeting::new(*domain, path).map_err(usage)?;
            join(&meeting, arguments, &stop)
        }
        Address::Local(name) => {
            let folder = local::Folder::of_user().map_err(text)?;
            let meeting = local::Meeting::new(&folder, name).map_err(usage)?;
            join(&meeting, arguments, &stop)
        }
    }
}

fn join<R>(rendezvous: &R, arguments: &Arguments, stop: &Stop) -> Result<(), Wrong>
where
    R: Rendezvous,
    R::Memory: Send + Sync,
    R::Events: Send + Sync,
    R::Published: Send + Sync,
{
    let listening = ends::prepare(&arguments.what)?;
    let made = async {
        match arguments.side {
            Side::Listen => listen(rendezvous, arguments).await,
            Side::Connect => connect(rendezvous, arguments).await,
        }
    };
    let made = stop.unless(made);
    let made = match arguments.wait {
        None => block_on(made),
        Some(limit) => block_until(Instant::now() + limit, made)
            .ok_or_else(|| format!("no peer has come within {} s", limit.as_secs_f64()))?,
    };
    let endpoint = made.ok_or_else(|| "ended by a signal, before a peer had come".to_owned())??;
    let stats = endpoint.stats();
    if arguments.verbose {
        let layout = endpoint.layout();
        let (left, right) = (layout.left_size(), layout.right_size());
        eprintln!("vcat: connected; rings of {left} and {right} bytes");
    }
    let Some(mut ends) = Ends::open(&arguments.what, listening.as_ref(), stop)? else {
        return Err("ended by a signal, before a connection had come"
            .to_owned()
            .into());
    };
    let pumped = pump::pump(endpoint, &mut ends, arguments, stop).map_err(text);
    if arguments.verbose {
        let moved = stats.counters();
        eprintln!(
            "vcat: {} bytes sent, {} received; {} events sent, {} seen",
            moved.bytes_written, moved.bytes_read, moved.events_sent, moved.events_received
        );
    }
    let finished = ends.finish();
    pumped?;
    Ok(finished?)
}

async fn listen<R: Rendezvous>(
    rendezvous: &R,
    arguments: &Arguments,
) -> Result<Endpoint<R>, String> {
    let options = OfferOptions::from(arguments.layout);
    let endpoint = Endpoint::offer(rendezvous, options).await.map_err(text)?;
    if arguments.verbose {
        eprintln!("vcat: offered; waiting for a client");
    }
    endpoint.connected().await.map_err(text)?;
    Ok(endpoint)
}

async fn connect<R: Rendezvous>(
    rendezvous: &R,
    arguments: &Arguments,
) -> Result<Endpoint<R>, String> {
    let options = ConnectOptions {
        accept_used: arguments.used,
    };
    let mut told = false;
    loop {
        let error = match Endpoint::connect(rendezvous, options).await {
            Ok(endpoint) => return Ok(endpoint),
            Err(error) => error,
        };
        match error {
            // What is left of a channel whose client or server has gone: the next offer will take its place.
            ConnectError::Bind(_)
            | ConnectError::MapControl(_)
            | ConnectError::PeerClosed(_)
            | ConnectError::Used(_) => {}
            _ => return Err(text(error)),
        }
        if !told {
            eprintln!("vcat: waiting for a new offer; {error}");
            told = true;
        }
        sleep_until(Instant::now() + AGAIN).await;
    }
}
