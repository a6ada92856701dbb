//! A program from its start to its end.

use std::fs;
use std::panic;
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use rustix::time::{ClockId, clock_gettime};
use stage::runner::Companion;
use stage::state::State;
use stage::{Plan, Stage};
use vchan_linux::block_on;
use vchan_linux::local::Folder;
use vchan_linux::xenstore::{Connection, Tx};

use crate::arguments::{Arguments, Request, parse};
use crate::console::{Console, last_words, one_line, start_log};
use crate::help;
use crate::host::ProcessHost;
use crate::keys::Keys;
use crate::net::Network;
use crate::orders::Orders;
use crate::place::{InFolder, OnXen, Place};
use crate::tcp::OverTcp;

/// Runs stage `S` as this program: what its `main` is.
pub fn run<S: Stage>() -> ExitCode {
    program::<S, ()>(|| ())
}

/// The same for a stage whose results leave over the network: `companion` is what carries them.
pub fn run_beside<S: Stage, C: Companion<S>>(companion: impl FnOnce(Network) -> C) -> ExitCode {
    program::<S, C>(|| companion(Network))
}

fn program<S: Stage, C: Companion<S>>(companion: impl FnOnce() -> C) -> ExitCode {
    // One line, and then the process aborts.
    panic::set_hook(Box::new(|info| last_words(&info.to_string())));
    start_log();
    let arguments = match parse(std::env::args_os().skip(1)) {
        Ok(Request::Help) => {
            let console = Console::of_process();
            // Whoever has stopped reading knows enough.
            let _ = block_on(console.line(help::text::<S>().trim_end()));
            return ExitCode::SUCCESS;
        }
        Ok(Request::Run(arguments)) => arguments,
        Err(error) => return fail(&error.to_string()),
    };
    if !stay_with_parent(arguments.parent) {
        return ExitCode::FAILURE;
    }
    match stage::<S, C>(&arguments, companion) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Says why the program ends.
fn fail(message: &str) -> ExitCode {
    last_words(&format!("error: {message}"));
    ExitCode::FAILURE
}

/// From now on the process ends with its parent. `false` if that has ended already.
fn stay_with_parent(parent: Option<i32>) -> bool {
    let Some(parent) = parent else { return true };
    // It cannot fail with a signal that exists; and if it did, the next question would still be asked.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    getppid().map(Pid::as_raw_pid) == Some(parent)
}

fn stage<S: Stage, C: Companion<S>>(
    arguments: &Arguments,
    companion: impl FnOnce() -> C,
) -> Result<(), String> {
    let mut own = None;
    let keys = if arguments.xen {
        let mut store = Connection::open().map_err(|error| error.to_string())?;
        own = Some(own_domain(&mut store)?);
        match &arguments.keys {
            Some(folder) => Keys::in_folder(folder),
            None => Keys::in_xenstore(store).map_err(|error| error.to_string())?,
        }
    } else {
        match &arguments.keys {
            Some(folder) => Keys::in_folder(folder),
            None => Keys::nowhere(),
        }
    };
    if !arguments.tcp.is_empty() {
        let place = |plan: &Plan<'_>| OverTcp::new(&arguments.tcp, plan);
        return with_keys::<S, C, _>(arguments, keys, companion, place);
    }
    if let Some(own) = own {
        return with_keys::<S, C, _>(arguments, keys, companion, |_| Ok(OnXen { own }));
    }
    with_keys::<S, C, _>(arguments, keys, companion, |plan| {
        let folder = match &arguments.meet {
            Some(folder) => Folder::at(folder),
            None => Folder::of_user(),
        };
        Ok(InFolder {
            folder: folder.map_err(|error| error.to_string())?,
            own: plan.stage_name::<S>().to_owned(),
        })
    })
}

fn own_domain(store: &mut Connection) -> Result<u16, String> {
    let value = store
        .read(Tx::NONE, "domid")
        .map_err(|error| error.to_string())?;
    let number = str::from_utf8(&value)
        .ok()
        .and_then(|text| text.parse().ok());
    number.ok_or_else(|| "xenstore tells no number of this domain".to_owned())
}

/// What fails before the runner has the stage is told as a state too.
fn with_keys<S: Stage, C: Companion<S>, P: Place>(
    arguments: &Arguments,
    keys: Keys,
    companion: impl FnOnce() -> C,
    place: impl FnOnce(&Plan<'_>) -> Result<P, String>,
) -> Result<(), String> {
    let prepared = prepare::<S>(arguments).and_then(|plan| {
        let place = place(&plan)?;
        let orders = Orders::new().map_err(|error| format!("signals: {error}"))?;
        Ok((plan, place, orders))
    });
    let (plan, place, orders) = prepared.inspect_err(|error| {
        keys.write(
            "data/grantflow/state",
            &State::Failed(one_line(error)).to_string(),
        );
    })?;
    log::set_max_level(plan.log_level());
    if S::NETWORK && plan.params.is_given("ip") {
        log::info!("ip= is for images: a process has this host's network");
    }
    let host = ProcessHost::new(place, keys, orders, Console::of_process());
    let run = stage::runner::run_beside::<S, _, C>(&plan, &host, companion());
    let counters = block_on(run).map_err(|error| error.to_string())?;
    let cpu = cpu_time();
    log::info!(
        "done; {} readings in, {} out; {:.3} s of CPU",
        counters.stage.readings_in,
        counters.stage.out,
        cpu.as_secs_f64()
    );
    Ok(())
}

fn prepare<S: Stage>(arguments: &Arguments) -> Result<Plan<'_>, String> {
    let module: &'static [u8] = match &arguments.module {
        // As long as the process, which runs one stage.
        Some(path) => fs::read(path)
            .map_err(|error| format!("--module: {}: {error}", path.display()))?
            .leak(),
        None => &[],
    };
    Plan::of_text::<S>(&arguments.parameters, module).map_err(|error| error.to_string())
}

/// CPU time that the process has used so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
