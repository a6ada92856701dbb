//! Bytes over vchan: sent, received, echoed, and compared by count and checksum.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use core::fmt::Display;

use futures_util::future::join;
use unikernel::host::named_peer;
use unikernel::stage::params::Size;
use unikernel::stage::{Direction, Edge, Peer, Plan};
use unikernel::vchan::{ConnectOptions, Endpoint, Layout, Meeting, OfferOptions, Reader, Writer};
use unikernel::xenstore::{Client, parse_decimal};

use crate::Report;
use crate::stream::{Source, Sum};

/// How much is handed to the ring at once: no power of two, so that every ring wraps in the middle of a piece.
const PIECE: usize = 5003;

/// What is sent.
pub struct Order {
    bytes: u64,
    seed: u64,
}

/// Does `work` on each edge, one after the other, and says what came of it under the edge's name.
pub async fn each(
    plan: &Plan<'_>,
    report: &Report,
    work: impl AsyncFn(Endpoint<Meeting>, &Order) -> Result<String, String>,
) -> Result<(), String> {
    let Size(bytes) = plan.params.require("bytes").map_err(text)?;
    let back: Option<Size> = plan.params.get("back").map_err(text)?;
    let seed = plan.params.require("seed").map_err(text)?;
    for edge in plan.inputs.iter().chain(&plan.outputs) {
        let at_edge = |message: String| format!("edge {}: {message}", edge.name);
        let endpoint = open(report.store(), edge, back).await.map_err(at_edge)?;
        let layout = endpoint.layout();
        let ring = u64::from(layout.left_size().max(layout.right_size()));
        let order = Order {
            bytes: bytes + 3 * ring,
            seed,
        };
        let stats = endpoint.stats();
        let result = work(endpoint, &order).await.map_err(at_edge)?;
        let events = stats.counters();
        log::info!(
            "edge {}: rings 2^{} and 2^{}, {} events sent, {} seen",
            edge.name,
            layout.left_order(),
            layout.right_order(),
            events.events_sent,
            events.events_received,
        );
        report.say(&format!("edge/{}", edge.name), result).await;
    }
    Ok(())
}

fn text(error: impl Display) -> String {
    error.to_string()
}

async fn open(
    store: &Client,
    edge: &Edge,
    back: Option<Size>,
) -> Result<Endpoint<Meeting>, String> {
    let name = edge.name.as_str();
    let own = store.read("domid").await.map_err(text)?;
    let own = domain(&own).ok_or("the domain's own id is no number")?;
    let peer = match edge.peer {
        Peer::Domain(id) => id,
        Peer::Ask => named_peer(store, name).await.map_err(text)?,
    };
    match edge.direction {
        Direction::In => {
            let meeting = Meeting::as_server(store, own, peer, name);
            let ring = edge.ring as usize;
            // The way back is as large, unless both would claim the same place in the control page.
            let small = ring <= Layout::default().right_size() as usize;
            let same = if small { 0 } else { ring };
            let back = back.map_or(same, |Size(bytes)| bytes as usize);
            let layout = Layout::for_sizes(ring, back).map_err(text)?;
            let endpoint = Endpoint::offer(&meeting, OfferOptions::from(layout))
                .await
                .map_err(text)?;
            endpoint.connected().await.map_err(text)?;
            Ok(endpoint)
        }
        Direction::Out => {
            let meeting = Meeting::as_client(store, own, peer, name);
            Endpoint::connect(&meeting, ConnectOptions::default())
                .await
                .map_err(text)
        }
    }
}

/// A domain's id.
pub fn domain(digits: &[u8]) -> Option<u16> {
    u16::try_from(parse_decimal(digits).ok()?).ok()
}

/// Sends, waits until all is read, and closes.
pub async fn source(endpoint: Endpoint<Meeting>, order: &Order) -> Result<String, String> {
    let (_reader, mut writer) = endpoint.split();
    let sum = send(&mut writer, order).await?;
    writer.drained().await.map_err(text)?;
    Ok(format!("sent {}", sum.text()))
}

/// Ends the domain while the channel is open.
pub async fn panic(_endpoint: Endpoint<Meeting>, _: &Order) -> Result<String, String> {
    panic!("as do=panic-connected asked")
}

/// Receives to the end.
pub async fn sink(endpoint: Endpoint<Meeting>, _: &Order) -> Result<String, String> {
    let (mut reader, _writer) = endpoint.split();
    let mut sum = Sum::default();
    let mut piece = vec![0; PIECE];
    loop {
        match reader.read(&mut piece).await.map_err(text)? {
            0 => return Ok(format!("received {}", sum.text())),
            count => sum.add(&piece[..count]),
        }
    }
}

/// Sends back what comes, to the end.
pub async fn echo(endpoint: Endpoint<Meeting>, _: &Order) -> Result<String, String> {
    let (mut reader, mut writer) = endpoint.split();
    let mut sum = Sum::default();
    let mut piece = vec![0; PIECE];
    loop {
        let count = reader.read(&mut piece).await.map_err(text)?;
        if count == 0 {
            return Ok(format!("echoed {}", sum.text()));
        }
        sum.add(&piece[..count]);
        write_all(&mut writer, &piece[..count]).await?;
    }
}

/// Sends, and receives as much at the same time: from a peer that echoes, the same bytes.
pub async fn exchange(endpoint: Endpoint<Meeting>, order: &Order) -> Result<String, String> {
    let (mut reader, mut writer) = endpoint.split();
    let (sent, received) = join(send(&mut writer, order), receive(&mut reader, order.bytes)).await;
    let (sent, received) = (sent?.text(), received?.text());
    if sent != received {
        return Err(format!("sent {sent}, but received {received}"));
    }
    Ok(format!("exchanged {sent}"))
}

async fn send(writer: &mut Writer<Meeting>, order: &Order) -> Result<Sum, String> {
    let mut source = Source::new(order.seed);
    let mut sum = Sum::default();
    let mut piece = vec![0; PIECE];
    let mut left = order.bytes;
    while left > 0 {
        let count = left.min(PIECE as u64) as usize;
        source.fill(&mut piece[..count]);
        sum.add(&piece[..count]);
        write_all(writer, &piece[..count]).await?;
        left -= count as u64;
    }
    Ok(sum)
}

async fn receive(reader: &mut Reader<Meeting>, bytes: u64) -> Result<Sum, String> {
    let mut sum = Sum::default();
    let mut piece = vec![0; PIECE];
    let mut left = bytes;
    while left > 0 {
        let count = left.min(PIECE as u64) as usize;
        match reader.read(&mut piece[..count]).await.map_err(text)? {
            0 => return Err(format!("the stream ended after {}", sum.text())),
            count => {
                sum.add(&piece[..count]);
                left -= count as u64;
            }
        }
    }
    Ok(sum)
}

async fn write_all(writer: &mut Writer<Meeting>, mut data: &[u8]) -> Result<(), String> {
    while !data.is_empty() {
        let written = writer.write(data).await.map_err(text)?;
        data = &data[written..];
    }
    Ok(())
}
