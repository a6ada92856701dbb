//! Messages of every length over rings of every order, with a C program on libxenvchan in dom0 (`vchan-matrix`) at the other end,
//! which goes through the same cases.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Display;

use unikernel::stage::Plan;
use unikernel::vchan::{
    ConnectOptions, Endpoint, Layout, Meeting, OfferOptions, Reader, Role, WriteError, Writer,
};
use unikernel::xenstore::Client;

use crate::Report;
use crate::channel::domain;

/// Whom the channels are with.
const DOM0: u16 = 0;

/// Messages each way, four of each length.
const MESSAGES: usize = 4 * 9;

fn text(error: impl Display) -> String {
    error.to_string()
}

/// The pairs of orders that libxenvchan makes, or, without `all`, those of small rings.
fn layouts(all: bool) -> impl Iterator<Item = Layout> {
    let pairs = (10..=20u16).flat_map(|left| (10..=20u16).map(move |right| (left, right)));
    let made = pairs.filter_map(|(left, right)| {
        let made = Layout::for_sizes(1 << left, 1 << right).ok()?;
        (made.left_order() == left && made.right_order() == right).then_some(made)
    });
    made.filter(move |layout| {
        let (left, right) = (layout.left_order(), layout.right_order());
        all || left == right && left <= 17 || left.max(right) <= 13
    })
}

/// Goes through all cases, and says how many they were; `count=1` is for all orders.
pub async fn run(plan: &Plan<'_>, report: &Report) -> Result<(), String> {
    let all: u64 = plan.params.require("count").map_err(text)?;
    let store = report.store();
    let own = store.read("domid").await.map_err(text)?;
    let own = domain(&own).ok_or("the domain's own id is no number")?;
    // What the C program makes too.
    let data =
        (0..(2u32 << 20) + MESSAGES as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8);
    let data: Vec<u8> = data.collect();
    let mut cases = 0;
    let mut bytes = 0;
    for role in [Role::Server, Role::Client] {
        for layout in layouts(all != 0) {
            bytes += one(store, own, role, layout, cases, &data)
                .await
                .map_err(|error| format!("case {cases}, {role:?}, {layout:?}: {error}"))?;
            cases += 1;
        }
    }
    report
        .say("matrix", format!("{cases} channels, {bytes} bytes"))
        .await;
    Ok(())
}

async fn one(
    store: &Client,
    own: u16,
    role: Role,
    layout: Layout,
    case: usize,
    data: &[u8],
) -> Result<usize, String> {
    let name = format!("m{case}");
    let (left, right) = (layout.left_size() as usize, layout.right_size() as usize);
    let (endpoint, incoming, outgoing) = match role {
        Role::Server => {
            let meeting = Meeting::as_server(store, own, DOM0, &name);
            let offer = Endpoint::offer(&meeting, OfferOptions::from(layout)).await;
            let endpoint = offer.map_err(text)?;
            endpoint.connected().await.map_err(text)?;
            (endpoint, left, right)
        }
        Role::Client => {
            let meeting = Meeting::as_client(store, own, DOM0, &name);
            let joined = Endpoint::connect(&meeting, ConnectOptions::default()).await;
            (joined.map_err(text)?, right, left)
        }
    };
    if endpoint.layout() != layout {
        return Err(format!("its rings are {:?}", endpoint.layout()));
    }
    let (mut reader, mut writer) = endpoint.split();
    let mut bytes = 0;
    for (number, len, whole) in messages(outgoing) {
        let message = &data[number..number + len];
        if whole {
            writer.send(message).await.map_err(text)?;
        } else {
            write_all(&mut writer, message).await.map_err(text)?;
        }
        bytes += len;
    }
    let mut came = vec![0; 2 * incoming];
    for (number, len, whole) in messages(incoming) {
        let message = &mut came[..len];
        if whole {
            reader.recv(message).await.map_err(text)?;
        } else {
            read_exactly(&mut reader, message).await?;
        }
        if *message != data[number..number + len] {
            return Err(format!("message {number} of {len} bytes came changed"));
        }
        bytes += len;
    }
    // Who ends it, and when.
    match case % 4 {
        0 => writer.drained().await.map_err(text)?,
        1 => {
            let end = reader.read(&mut [0]).await.map_err(text)?;
            if end != 0 {
                return Err("no end".into());
            }
        }
        2 => loop {
            match writer.write(data).await {
                Ok(_) => {}
                Err(WriteError::PeerClosed) => break,
                Err(error) => return Err(text(error)),
            }
        },
        _ => read_exactly(&mut reader, &mut came[..incoming / 3 + case]).await?,
    }
    Ok(bytes)
}

/// Number and length of the messages over a ring of this size, and whether we send or take them as a whole: two of four, of which
/// the C program does one so.
fn messages(ring: usize) -> impl Iterator<Item = (usize, usize, bool)> {
    let half = ring / 2;
    let lengths = [
        0,
        1,
        half - 1,
        half,
        half + 1,
        ring - 1,
        ring,
        ring + 1,
        2 * ring,
    ];
    (0..MESSAGES).filter_map(move |number| {
        let len = lengths[number / 4];
        let there = match number % 4 {
            1 | 2 => len <= ring,
            _ => len > 0,
        };
        there.then_some((number, len, number % 4 >= 2 && len <= ring))
    })
}

async fn write_all(writer: &mut Writer<Meeting>, mut data: &[u8]) -> Result<(), WriteError> {
    while !data.is_empty() {
        let written = writer.write(data).await?;
        data = &data[written..];
    }
    Ok(())
}

async fn read_exactly(reader: &mut Reader<Meeting>, mut out: &mut [u8]) -> Result<(), String> {
    while !out.is_empty() {
        match reader.read(out).await.map_err(text)? {
            0 => return Err(format!("the stream ended {} bytes early", out.len())),
            read => out = &mut out[read..],
        }
    }
    Ok(())
}
