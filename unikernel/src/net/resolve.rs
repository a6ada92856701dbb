//! Names of hosts.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::fmt;
use core::future::poll_fn;
use core::task::Poll;

use smoltcp::socket::dns::{self, GetQueryResultError, QueryHandle};
use smoltcp::wire::{DnsQueryType, IpAddress};

use super::stack::Stack;

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolveError {
    /// It is no name of a host.
    Name,
    /// No server knows it, or none answered.
    NotFound,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "this is no name of a host",
            Self::NotFound => "no DNS server knows it, or none answered",
        })
    }
}

impl core::error::Error for ResolveError {}

/// A question that was asked; taken back when dropped without an answer.
struct Query<'a> {
    stack: &'a Stack,
    // `None` once it is answered, when smoltcp has freed its place.
    handle: Option<QueryHandle>,
}

impl Drop for Query<'_> {
    fn drop(&mut self) {
        if let Some(handle) = self.handle {
            self.stack.look(|inner| {
                let dns = inner.dns;
                inner
                    .sockets
                    .get_mut::<dns::Socket<'_>>(dns)
                    .cancel_query(handle);
            });
        }
    }
}

/// The addresses of `name`, of IPv6 or of IPv4; those of an address written out are itself.
pub async fn resolve(
    stack: &Rc<Stack>,
    name: &str,
    ipv6: bool,
) -> Result<Vec<IpAddress>, ResolveError> {
    if let Ok(address) = name.parse::<core::net::IpAddr>() {
        return Ok(alloc::vec![address.into()]);
    }
    // Servers are told with an IPv4 lease, or given for IPv4.
    stack.configured(false).await;
    let kind = match ipv6 {
        true => DnsQueryType::Aaaa,
        false => DnsQueryType::A,
    };
    let handle = stack.with(|inner| {
        let interface = inner.interface.as_mut().ok_or(ResolveError::NotFound)?;
        inner
            .sockets
            .get_mut::<dns::Socket<'_>>(inner.dns)
            .start_query(interface.context(), name, kind)
            .map_err(|_| ResolveError::Name)
    })?;
    let mut query = Query {
        stack,
        handle: Some(handle),
    };
    poll_fn(|cx| {
        let Some(handle) = query.handle else {
            return Poll::Ready(Err(ResolveError::NotFound));
        };
        let answer = stack.look(|inner| {
            let socket = inner.sockets.get_mut::<dns::Socket<'_>>(inner.dns);
            match socket.get_query_result(handle) {
                Err(GetQueryResultError::Pending) => {
                    socket.register_query_waker(handle, cx.waker());
                    Poll::Pending
                }
                Ok(addresses) => Poll::Ready(Ok(addresses.to_vec())),
                Err(GetQueryResultError::Failed) => Poll::Ready(Err(ResolveError::NotFound)),
            }
        });
        if answer.is_ready() {
            query.handle = None;
        }
        answer
    })
    .await
}
