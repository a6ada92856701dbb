//! Each kind of xenstore request, checked by its answer.

use alloc::format;
use alloc::string::{String, ToString};

use unikernel::xenstore::{Access, Client, Errno, Error, Permission, parse_decimal};

use crate::Report;

/// Does all of it; the first answer that is not as it should be ends it.
pub async fn round_trip(report: &Report) -> Result<(), String> {
    let store = report.store();
    values(store)
        .await
        .map_err(|error| format!("values: {error}"))?;
    report.say("values", "ok").await;
    permissions(store)
        .await
        .map_err(|error| format!("permissions: {error}"))?;
    report.say("permissions", "ok").await;
    watch(store)
        .await
        .map_err(|error| format!("watch: {error}"))?;
    report.say("watch", "ok").await;
    transaction(store)
        .await
        .map_err(|error| format!("transaction: {error}"))?;
    report.say("transaction", "ok").await;
    pipelined(store)
        .await
        .map_err(|error| format!("pipelined: {error}"))?;
    report.say("pipelined", "ok").await;
    Ok(())
}

/// An answer that is not as it should be.
struct Wrong(String);

impl core::fmt::Display for Wrong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

fn same<T: PartialEq + core::fmt::Debug>(got: T, expected: T) -> Result<(), Wrong> {
    if got == expected {
        return Ok(());
    }
    Err(Wrong(format!("{got:?} instead of {expected:?}")))
}

async fn values(store: &Client) -> Result<(), Wrong> {
    store.write("data/probe/tree/a", "one").await?;
    store.write("data/probe/tree/b", [0xff, 0, 1]).await?;
    store.mkdir("data/probe/tree/c").await?;
    same(store.read("data/probe/tree/a").await?.as_slice(), b"one")?;
    same(
        store.read("data/probe/tree/b").await?.as_slice(),
        &[0xff, 0, 1],
    )?;
    let mut names = store.directory("data/probe/tree").await?;
    names.sort();
    same(names.join(" ").as_str(), "a b c")?;
    store.rm("data/probe/tree").await?;
    same(
        store.read("data/probe/tree/a").await,
        Err(Error::Store(Errno::ENOENT)),
    )?;
    same(
        store.write("/local/domain/0/probe", "no").await,
        Err(Error::Store(Errno::EACCES)),
    )
}

async fn permissions(store: &Client) -> Result<(), Wrong> {
    let own = store.read("domid").await?;
    let own = parse_decimal(&own)
        .ok()
        .and_then(|id| u16::try_from(id).ok());
    let own = own.ok_or_else(|| Wrong("the domain's own id is no number".into()))?;
    let entries = [
        Permission::new(Access::None, own),
        Permission::new(Access::Read, 0),
    ];
    store.write("data/probe/shown", "x").await?;
    store.set_perms("data/probe/shown", &entries).await?;
    let got = store.get_perms("data/probe/shown").await?;
    same(got.as_slice(), &entries)
}

async fn watch(store: &Client) -> Result<(), Wrong> {
    let mut watch = store.watch("data/probe/watched").await?;
    watch.changed().await?;
    store.write("data/probe/watched/below", "1").await?;
    same(watch.changed().await?.as_str(), "data/probe/watched/below")
}

async fn transaction(store: &Client) -> Result<(), Wrong> {
    store.write("data/probe/count", "1").await?;
    let lost = store.begin().await?;
    same(lost.read("data/probe/count").await?.as_slice(), b"1")?;
    // Somebody else, who is quicker.
    store.write("data/probe/count", "2").await?;
    lost.write("data/probe/count", "99").await?;
    same(lost.commit().await, Err(Error::Store(Errno::EAGAIN)))?;
    same(store.read("data/probe/count").await?.as_slice(), b"2")?;

    let mut tries = 0;
    store
        .transaction(async |transaction| {
            tries += 1;
            let count = transaction.read("data/probe/count").await?;
            if tries == 1 {
                store.write("data/probe/count", "3").await?;
            }
            let next = parse_decimal(&count).unwrap_or(0) + 1;
            transaction
                .write("data/probe/count", next.to_string())
                .await
        })
        .await?;
    same(tries, 2)?;
    same(store.read("data/probe/count").await?.as_slice(), b"4")?;

    let dropped = store.begin().await?;
    dropped.write("data/probe/count", "5").await?;
    drop(dropped);
    same(store.read("data/probe/count").await?.as_slice(), b"4")
}

/// More requests at once than xenstored answers at once: none is lost, all share few round trips.
async fn pipelined(store: &Client) -> Result<(), Wrong> {
    let before = store.round_trips();
    let mut requests = alloc::vec::Vec::new();
    for number in 0..100 {
        requests.push(store.write(&format!("data/probe/many/{number}"), format!("{number}")));
    }
    for request in requests {
        request.await?;
    }
    same(store.round_trips() - before, 1)?;
    for number in [0, 57, 99] {
        let value = store.read(&format!("data/probe/many/{number}")).await?;
        same(value, number.to_string().into_bytes())?;
    }
    Ok(store.rm("data/probe/many").await?)
}
