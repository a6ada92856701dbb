//! `grantflow metrics`: what a pipeline counts, for Prometheus.
//!
//! * [`text`] is a snapshot as OpenMetrics; `families` says what it has.
//! * [`http`] reads requests, [`serve`] is the server.

mod families;
pub mod http;
pub mod serve;
pub mod text;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;

use super::Looker;
use crate::failure::Failure;
use crate::output;

/// Where metrics are, unless told otherwise.
const PORT: u16 = 9464;

/// What `grantflow metrics` is told.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    which: super::Which,
    /// Loopback address and port to answer on
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)))]
    listen: SocketAddr,
    /// Print them once to standard output instead
    #[arg(long, conflicts_with = "listen")]
    once: bool,
    /// How --once writes; scrapers say themselves what they want
    #[arg(long, value_enum, default_value_t = text::Format::OpenMetrics, requires = "once")]
    format: text::Format,
}

/// Does it.
pub fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let looker = Looker::new(&args.which)?;
    if args.once {
        let snapshot = looker.look(Duration::ZERO)?;
        let text = text::text(looker.name(), snapshot.as_ref(), args.format);
        if json {
            output::line(json!({ "metrics": text }))?;
        } else {
            output::write(text)?;
        }
        return Ok(());
    }
    let listener = serve::bind(args.listen).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidInput => Failure::input(error),
        _ => Failure::failed(format!(
            "{}: {error}; --listen names another port",
            args.listen
        )),
    })?;
    let address = listener.local_addr()?;
    if json {
        output::line(json!({ "listening": address.to_string() }))?;
    } else {
        output::tell(format_args!(
            "metrics of {} at http://{address}/metrics until Ctrl-C",
            looker.name()
        ));
    }
    let stop = looker.stop();
    let metrics = serve::Metrics::new(move |format| {
        let snapshot = looker
            .look(Duration::ZERO)
            .map_err(|error| error.to_string())?;
        Ok(text::text(looker.name(), snapshot.as_ref(), format))
    });
    Ok(serve::serve(&listener, metrics, &stop)?)
}
