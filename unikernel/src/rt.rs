//! The boot story, from top to bottom, and the loop in which the domain spends its life.

use alloc::format;
use alloc::string::{String, ToString};
use core::pin::pin;
use core::time::Duration;

use stage::runner::{Companion, first, yield_now};
use stage::{Plan, Stage};

use crate::boot::StartInfo;
use crate::executor::{Executor, Spawner};
use crate::host::XenHost;
use crate::hypercall::{ShutdownReason, shutdown};
use crate::lifecycle::Orders;
use crate::memory::heap_stats;
#[cfg(feature = "net")]
use crate::net::{IpConfig, Network};
use crate::time::Waiting;
use crate::xenstore::Client;
use crate::{console, events, time};

/// How long the end waits for xenstore to take the last state.
const FAREWELL: Duration = Duration::from_secs(1);

/// The machine, booted as far as every image needs it: what [`image!`](crate::image) hands on.
pub struct Boot {
    /// What the domain builder said.
    pub info: StartInfo<'static>,
    /// The bytes of the boot module.
    pub module: &'static [u8],
    /// When the first instruction ran, in monotonic time.
    pub entered: Duration,
    /// How long after that the first line stood on the console.
    pub first_line: Duration,
    /// Xenstore.
    pub store: Client,
    /// Starts tasks.
    pub spawner: Spawner,
    executor: Executor,
}

#[cfg(xen_guest)]
mod guest {
    #![expect(unsafe_code, reason = "the machine is set up once")]

    use core::panic::PanicInfo;
    use core::slice;

    use super::{Boot, Client, Executor, Spawner, StartInfo};
    use crate::events::Port;
    use crate::hypercall::{ShutdownReason, shutdown};
    use crate::memory::{Layout, Machine, Mfn, NoMemory, Shared};
    use crate::xenstore::{Driver, XenstorePage};
    use crate::{boot, console, cpu, events, time, traps};

    unsafe extern "Rust" {
        /// What [`image!`](crate::image) defines.
        safe fn grantflow_image(boot: Boot) -> !;
    }

    /// A first line, memory, time, events, console, faults, xenstore; then the image's own.
    pub(crate) fn start(info: StartInfo<'static>, entry_tsc: u64) -> ! {
        let page = |mfn: Mfn| {
            // SAFETY: the toolstack shares the page for the life of the domain, and the builder mapped it.
            unsafe { Shared::new(Machine::linear_address(mfn), 1) }
        };
        let (console_mfn, console_port) = info.console;
        let console_page = page(console_mfn);
        let version = env!("CARGO_PKG_VERSION");
        console::early(
            &console_page,
            console_port,
            format_args!("grantflow {version}"),
        );
        let first_line_tsc = cpu::rdtsc();
        let machine = match start_machine(&info) {
            Ok(machine) => machine,
            Err(error) => {
                console::early(&console_page, console_port, format_args!("error: {error}"));
                shutdown(ShutdownReason::Crash)
            }
        };
        let first_line = time::between(entry_tsc, first_line_tsc);
        let entered = time::now().saturating_sub(time::between(entry_tsc, cpu::rdtsc()));
        match Port::from_start_info(console_port) {
            Ok(port) => console::start(console_page, port),
            Err(_) => shutdown(ShutdownReason::Crash),
        }
        log::info!(
            "{} KiB of memory, {} KiB free; first line {} us after entry, this one {} us",
            info.nr_pages * 4,
            machine.free_frames() * 4,
            first_line.as_micros() as u64,
            time::now().saturating_sub(entered).as_micros() as u64,
        );
        traps::start().expect("Xen takes the trap table");

        let module_start = info.module.start.address().as_mut_ptr::<u8>();
        // SAFETY: the builder loaded the module into these frames, the linear map has them, and nobody writes to them.
        let module = unsafe { slice::from_raw_parts(module_start, info.module_len) };
        let (store_mfn, store_port) = info.store;
        let Ok(port) = Port::from_start_info(store_port) else {
            console::last_words(format_args!("error: no event channel to xenstore"));
            shutdown(ShutdownReason::Crash)
        };
        let executor = Executor::default();
        grantflow_image(Boot {
            module,
            entered,
            first_line,
            store: boot_xenstore(&executor.spawner(), page(store_mfn), port),
            spawner: executor.spawner(),
            executor,
            info,
        })
    }

    fn start_machine(info: &StartInfo<'_>) -> Result<&'static Machine, NoMemory> {
        let layout = Layout {
            nr_pages: info.nr_pages,
            mfn_list: info.mfn_list,
            pt_base: info.pt_base,
            first_free: info.first_free,
            module: info.module.clone(),
            guard: boot::guard_page(),
        };
        // SAFETY: this is the boot, nothing was allocated, and the layout is what Xen said.
        let machine = unsafe { Machine::start(&layout) }?;
        let shared_info = machine.map_xen_frame(info.shared_info)?;
        time::start(shared_info);
        events::start(shared_info);
        Ok(machine)
    }

    /// Connects to xenstore; the connection is a task of its own.
    fn boot_xenstore(spawner: &Spawner, page: Shared, port: Port) -> Client {
        let (store, driver): (Client, Driver<XenstorePage>) =
            Client::new(XenstorePage::new(page, port));
        spawner.spawn(async move {
            let broken = driver.run().await;
            log::error!("xenstore: {broken}");
        });
        store
    }

    #[panic_handler]
    fn panic(info: &PanicInfo<'_>) -> ! {
        match info.location() {
            Some(place) => {
                console::last_words(format_args!("panic at {place}: {}", info.message()))
            }
            None => console::last_words(format_args!("panic: {}", info.message())),
        }
        console::drain();
        shutdown(ShutdownReason::Crash)
    }

    /// What the prebuilt `core` and `alloc` name for unwinding, which images never do.
    #[unsafe(no_mangle)]
    extern "C" fn rust_eh_personality() {}

    /// As above.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Resume() -> ! {
        shutdown(ShutdownReason::Crash)
    }
}

#[cfg(xen_guest)]
pub(crate) use guest::start;

impl Boot {
    /// Runs `main` and whatever it spawns, for ever: `main` ends the domain.
    pub fn run(mut self, main: impl Future<Output = ()> + 'static) -> ! {
        self.executor.spawner().spawn(main);
        loop {
            events::dispatch();
            let deadline = time::wake_sleepers();
            if !self.executor.run_ready() {
                events::sleep(deadline);
            }
        }
    }
}

/// Runs stage `S` on the machine, and ends the domain when it ends.
pub fn run<S: Stage + 'static>(boot: Boot) -> ! {
    run_beside::<S, ()>(boot, |_| Ok(()))
}

/// The same for a stage whose results leave over the network: `companion` is what carries them.
#[cfg(feature = "net")]
pub fn run_with_network<S, C>(boot: Boot, companion: impl FnOnce(Network) -> C + 'static) -> !
where
    S: Stage + 'static,
    C: Companion<S> + 'static,
{
    let (store, spawner) = (boot.store.clone(), boot.spawner.clone());
    run_beside::<S, C>(boot, move |plan| {
        let config = IpConfig::parse(plan.ip().unwrap_or_default());
        let config = config.map_err(|error| error.to_string())?;
        Ok(companion(Network::start(&store, &spawner, config)))
    })
}

fn run_beside<S, C>(
    boot: Boot,
    companion: impl FnOnce(&Plan<'_>) -> Result<C, String> + 'static,
) -> !
where
    S: Stage + 'static,
    C: Companion<S> + 'static,
{
    let store = boot.store.clone();
    let times = (boot.entered, boot.first_line);
    let module = boot.module;
    let command_line = boot.info.command_line;
    boot.run(async move {
        let outcome = run_stage::<S, C>(&store, times, command_line, module, companion).await;
        let reason = match outcome {
            Ok(reason) => reason,
            Err(message) => fail(&store, &message).await,
        };
        farewell(&store).await;
        end(reason)
    })
}

async fn run_stage<S: Stage, C: Companion<S>>(
    store: &Client,
    (entered, first_line): (Duration, Duration),
    command_line: Result<&'static str, crate::boot::CommandLineError>,
    module: &'static [u8],
    companion: impl FnOnce(&Plan<'_>) -> Result<C, String>,
) -> Result<ShutdownReason, String> {
    let orders = Orders::new(store);
    // Requests are on their way while what follows is computed.
    yield_now().await;
    let command_line = command_line.map_err(|error| error.to_string())?;
    let plan =
        Plan::new::<S>(command_line.as_bytes(), module).map_err(|error| error.to_string())?;
    log::set_max_level(plan.log_level());
    let companion = companion(&plan)?;

    let counted = store.clone();
    let report = move |waiting: &Waiting| {
        let boot = stage::boot::Boot {
            first_line: micros(first_line),
            running: micros(time::now().saturating_sub(entered)),
            waiting: micros(waiting.total()),
            round_trips: counted.round_trips().into(),
            round_trip: micros(waiting.shortest_answer().unwrap_or_default()),
        };
        log::info!(
            "running {} us after entry, {} us of them waiting; {} xenstore round trips, one took {} us",
            boot.running,
            boot.waiting,
            boot.round_trips,
            boot.round_trip,
        );
        let node = format!("data/grantflow/{}", stage::boot::NODE);
        drop(counted.write(&node, boot.to_string()));
    };
    let own = events::own_domain().map_err(|error| error.to_string())?;
    let edges = plan.inputs.iter().chain(&plan.outputs);
    let host = XenHost::new(store.clone(), orders, own, edges, report);
    yield_now().await;
    stage::runner::run_beside::<S, _, C>(&plan, &host, companion)
        .await
        .map_err(|error| error.to_string())?;
    log::info!("done; heap high-water {} bytes", heap_stats().high_water);
    Ok(host.orders().reason())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Says why the domain ends, on the console and in xenstore.
async fn fail(store: &Client, message: &str) -> ShutdownReason {
    console::last_words(format_args!("error: {message}"));
    drop(store.write("data/grantflow/state", format!("failed {message}")));
    ShutdownReason::Crash
}

/// Waits, for a bounded time, until xenstore has taken what was written last: requests are answered in order.
async fn farewell(store: &Client) {
    let patience = time::sleep_until(time::now() + FAREWELL);
    first(pin!(store.read("domid")), pin!(patience)).await;
}

fn end(reason: ShutdownReason) -> ! {
    console::drain();
    shutdown(reason)
}

/// What an image's program says on a host, where it can do nothing.
pub fn explain(name: &str) -> alloc::string::String {
    format!(
        "{name} is a function of a Xen unikernel: `make images` builds target/images/{name}.elf, which `xl create` boots"
    )
}

/// Makes a bootable image of a [`Stage`](stage::Stage): the entry that the library OS calls, and the ELF note that lists the
/// stage's parameters and edges. On a host the same program says how to build the image.
///
/// ```
/// # use sensor as my_crate;
/// # mod sensor {}
/// // In a program of its own: `unikernel::image!(my_crate::Scale);`
/// ```
///
/// A stage whose results leave over the network names what carries them, a function from `unikernel::net::Network` to its
/// [`Companion`](stage::runner::Companion): `unikernel::image!(gateway::Gateway, beside = uplink);`
#[macro_export]
macro_rules! image {
    ($stage:ty) => {
        $crate::image!($stage, $crate::rt::run::<$stage>);
    };
    ($stage:ty, beside = $companion:expr) => {
        $crate::image!($stage, |boot| {
            $crate::rt::run_with_network::<$stage, _>(boot, $companion)
        });
    };
    ($stage:ty, $main:expr) => {
        #[cfg(xen_guest)]
        const _: () = {
            #[allow(unsafe_code, reason = "the name that the library OS calls")]
            #[unsafe(no_mangle)]
            fn grantflow_image(boot: $crate::rt::Boot) -> ! {
                $main(boot)
            }

            #[allow(unsafe_code, reason = "a section that tools read")]
            #[used]
            #[unsafe(link_section = ".note.Grantflow")]
            static NOTE: $crate::stage::note::Note<{ $crate::stage::note::length::<$stage>() }> =
                $crate::stage::note::encode::<$stage, _>();
        };

        #[cfg(not(xen_guest))]
        fn main() {
            let _: fn($crate::rt::Boot) -> ! = $main;
            println!(
                "{}",
                $crate::rt::explain(<$stage as $crate::stage::Stage>::NAME)
            );
        }
    };
}
