//! Connections by name.

use alloc::rc::Rc;
use core::fmt;

use smoltcp::wire::IpEndpoint;

use super::resolve::{ResolveError, resolve};
use super::stack::Stack;
use super::tcp::{TcpError, TcpOptions, TcpStream};

/// Why there is no connection to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// Its name has no address.
    Resolve(ResolveError),
    /// The last of its addresses takes no connection.
    Tcp(TcpError),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => error.fmt(f),
            Self::Tcp(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ConnectError {}

/// Connects to `port` of `host`, which is a name or an address: to the first of its addresses that takes the connection, those
/// of IPv6 only where a name has none of IPv4.
pub async fn connect(
    stack: &Rc<Stack>,
    host: &str,
    port: u16,
    options: &TcpOptions,
) -> Result<TcpStream, ConnectError> {
    let addresses = match resolve(stack, host, false).await {
        Err(ResolveError::NotFound) => resolve(stack, host, true).await,
        found => found,
    };
    let mut outcome = Err(ConnectError::Resolve(ResolveError::NotFound));
    for address in addresses.map_err(ConnectError::Resolve)? {
        let remote = IpEndpoint::new(address, port);
        outcome = TcpStream::connect(stack, remote, options)
            .await
            .map_err(ConnectError::Tcp);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}
