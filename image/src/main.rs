//! The command line of the host tool.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use grantflow::failure::Failure;
use grantflow::{compare, compile, compose, demo, dist, feed, lab, new, output, watch};
use signal_hook::consts::SIGPIPE;

/// Builds, boots and checks pipelines of small Xen PV unikernels that exchange data over vchan.
///
/// Exit codes: 0 done, 1 failed, 2 wrong input.
#[derive(Debug, Parser)]
#[command(name = "grantflow", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the unikernel images and check that Xen will boot them
    Images(compile::Args),
    /// Check a pipeline's file: everything that is wrong with it, at once
    ///
    /// Reads a pipeline's file and holds it against what the images say of themselves: tables and keys, parameters and their
    /// kinds, edges and their counts, circles, files. Says everything that is wrong at once, as FILE:LINE:COLUMN; of a file without
    /// mistakes it prints what each stage takes: memory, pages that others map, event channels, bytes of its command line.
    Check(compose::check::Args),
    /// Draw a pipeline's file
    ///
    /// Draws the stages of a pipeline's file and the edges between them, with the sizes of their rings. With --live it draws how
    /// they are while the pipeline runs here: states, readings a second, what was lost; what is at fault is red.
    Graph(compose::graph::Args),
    /// Make what runs what a pipeline's file says, all of it or nothing
    ///
    /// Makes what runs what the file says, all of it or nothing: a failure at any step restores what was before. Run again after
    /// an edit, it replaces only the stages that changed, while the others connect to the new ones. Run again without one, it
    /// changes nothing.
    Up(compose::commands::UpArgs),
    /// Say how the stages of a pipeline are
    Status(compose::commands::WhichArgs),
    /// Show a pipeline as it runs
    ///
    /// Shows a pipeline as it runs: readings, drops, wakes and CPU of each stage, what goes over each edge, how full its ring is, how
    /// long its writer waits, and what was lost. h tells keys and columns. Without a terminal it prints one interval and ends.
    Top(watch::top::Args),
    /// Answer Prometheus on a loopback port
    ///
    /// Answers Prometheus on a loopback port, in OpenMetrics or in the older text format, as it asks: readings, bytes, events,
    /// blocked time, losses and reconnects of each end of each edge; state, memory, CPU time, restarts and drops of each stage.
    /// `grantflow metrics --once --format prometheus | promtool check metrics` prints and checks them once.
    Metrics(watch::metrics::Args),
    /// Start again what ends against its will in a running pipeline
    ///
    /// Starts again the stages of a running pipeline that crash, are destroyed, or end, as restart = "never", "on-failure" or
    /// "always" says: after a second, and ever later if that does not help. `grantflow up` starts it.
    Supervise(compose::supervise::Args),
    /// Print what the stages of a pipeline print
    ///
    /// Prints the consoles of a pipeline's stages, each line after the name of its stage. Xen logs consoles where xenconsoled
    /// was started with --log=guest (Debian: XENCONSOLED_TRACE=guest in /etc/default/xen). Of processes the last MiB of each is
    /// kept while their pipeline runs, and --follow ends with it.
    Logs(compose::logs::Args),
    /// Give stages of a pipeline new domains
    ///
    /// Gives a stage a new domain; its neighbours are told, and connect to it. No other stage restarts.
    Restart(compose::commands::RestartArgs),
    /// End a pipeline, drained or at once
    ///
    /// Asks the sources to end and waits until the end of their streams has gone through; then every domain of the pipeline is
    /// destroyed, and nothing of it is left.
    Down(compose::commands::DownArgs),
    /// Write a pipeline as xl configurations, libvirt domains and systemd units
    ///
    /// Writes what `up` would start as files that do without this program: a configuration for `xl create` or a domain for `virsh
    /// define` (driver libxl) for each stage, units of systemd that start and stop them in order, and NAME-peers.sh, which tells
    /// the domains of each other: run it once they are created, or with --watch beside them, as the unit does. What crashes is
    /// restarted by xl or libvirt, as restart = says, at once and without end.
    Render(compose::render::Args),
    /// Make a stage of one's own, which builds and runs at once
    ///
    /// Makes the crate apps/NAME with a function of thirty lines and a test, and the pipeline image/pipelines/NAME.toml with it
    /// between a source and a console, and adds the crate to the workspace. Says what to call next.
    New(new::Args),
    /// Write readings of this machine into a stage: standard input, a file that grows, a serial port, sensors
    ///
    /// In dom0 or a Linux guest, writes readings into an input edge of a stage, over vchan. They come as lines on standard input, of
    /// a file that grows or of a serial port, or from the machine's own sensors. At the end of the input, and at Ctrl-C, the stream
    /// is ended in order. A reader that restarts is met again; what nobody has read is counted, and makes the exit code 1. Lines
    /// that cannot be read are counted, the first ones told.
    Feed(feed::command::Args),
    /// Print the JSON Schema of a pipeline's file
    ///
    /// Prints the JSON Schema of a pipeline's file, with the parameters of the images there are. An editor that knows TOML
    /// completes and checks by it: `#:schema ./pipeline.schema.json` in the first line of the file.
    Schema(compose::schema::Args),
    /// Boot a real Xen with a Debian dom0 in QEMU and run things there
    #[command(subcommand)]
    Lab(lab::command::LabCommand),
    /// Run recorded sensor data through a pipeline of unikernels, to a broker, and check every result
    ///
    /// Two sensors replay recordings, an aggregator makes windows of them, and a gateway publishes the windows at an MQTT
    /// broker, where a subscriber gets them. Without a broker dom0 reads them from the vchan with Debian's
    /// vchan-socket-proxy. Every window is recomputed from the recordings; the last line is `verified N of N windows`, or
    /// the run fails. `grantflow images` builds what it boots.
    Demo(demo::Args),
    /// Compare unikernels with Linux guests that do the same work
    ///
    /// The same application code in unikernels and in Linux guests on the same Xen: vchan, Debian's libxenvchan, TCP of the
    /// unikernel and of Linux, UDP. Contestants take turns, each figure is taken in several rounds, and the report shows medians
    /// with their spread, what failed, and how everything was set up. Ctrl-C ends it early; what was measured is reported.
    Compare(compare::command::Args),
    /// Print a completion script: `grantflow completions bash > /etc/bash_completion.d/grantflow`
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Write manual pages, one for each command, into a folder: `grantflow man /usr/local/share/man/man1`
    Man {
        /// The folder
        folder: PathBuf,
    },
    /// Pack tool, images, recordings and sample configurations into one archive for a dom0 without Rust
    ///
    /// Unpacked in any dom0, `./grantflow demo --target xen` runs from its folder. Build the images first.
    Dist(dist::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let exit = match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !output::reader_is_gone() {
                output::tell(format_args!("grantflow: {failure}"));
            }
            ExitCode::from(failure.exit_code())
        }
    };
    if output::reader_is_gone() {
        // It does not return; should the system refuse, the exit code has to do.
        let _ = signal_hook::low_level::emulate_default_handler(SIGPIPE);
    }
    exit
}

fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Images(args) => compile::run(args, cli.json),
        Command::Check(args) => compose::check::run(args, cli.json),
        Command::Graph(args) => compose::graph::run(args, cli.json),
        Command::Up(args) => compose::commands::run_up(args, cli.json),
        Command::Status(args) => compose::commands::run_status(args, cli.json),
        Command::Top(args) => watch::top::run(args, cli.json),
        Command::Metrics(args) => watch::metrics::run(args, cli.json),
        Command::Supervise(args) => compose::supervise::run(args),
        Command::Logs(args) => compose::logs::run(args),
        Command::Restart(args) => compose::commands::run_restart(args, cli.json),
        Command::Down(args) => compose::commands::run_down(args, cli.json),
        Command::Render(args) => compose::render::run(args, cli.json),
        Command::New(args) => new::run(args, cli.json),
        Command::Feed(args) => feed::command::execute(args, cli.json),
        Command::Schema(args) => compose::schema::run(args),
        Command::Lab(command) => lab::command::execute(command, cli.json),
        Command::Demo(args) => demo::run(args, cli.json),
        Command::Compare(args) => compare::command::run(args, cli.json),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "grantflow", &mut script);
            Ok(output::write(String::from_utf8_lossy(&script))?)
        }
        Command::Man { folder } => Ok(clap_mangen::generate_to(Cli::command(), folder)?),
        Command::Dist(args) => dist::run(args, cli.json),
    }
}
