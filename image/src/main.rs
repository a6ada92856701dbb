//! The command line of the host tool.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use grantflow::failure::Failure;
use grantflow::{compile, compose, demo, dist, lab, output};
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
    Check(compose::check::Args),
    /// Draw a pipeline's file
    Graph(compose::graph::Args),
    /// Make what runs what a pipeline's file says, all of it or nothing
    Up(compose::commands::UpArgs),
    /// Say how the stages of a pipeline are
    Status(compose::commands::WhichArgs),
    /// Start again what ends against its will in a running pipeline
    Supervise(compose::supervise::Args),
    /// Print what the stages of a pipeline print
    Logs(compose::logs::Args),
    /// Give stages of a pipeline new domains
    Restart(compose::commands::RestartArgs),
    /// End a pipeline, drained or at once
    Down(compose::commands::DownArgs),
    /// Print the JSON Schema of a pipeline's file
    Schema(compose::schema::Args),
    /// Boot a real Xen with a Debian dom0 in QEMU and run things there
    #[command(subcommand)]
    Lab(lab::command::LabCommand),
    /// Run recorded sensor data through a pipeline of unikernels, to a broker, and check every result
    Demo(demo::Args),
    /// Pack tool, images, recordings and sample configurations into one archive for a dom0 without Rust
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
        Command::Supervise(args) => compose::supervise::run(args),
        Command::Logs(args) => compose::logs::run(args),
        Command::Restart(args) => compose::commands::run_restart(args, cli.json),
        Command::Down(args) => compose::commands::run_down(args, cli.json),
        Command::Schema(args) => compose::schema::run(args),
        Command::Lab(command) => lab::command::execute(command, cli.json),
        Command::Demo(args) => demo::run(args, cli.json),
        Command::Dist(args) => dist::run(args, cli.json),
    }
}
