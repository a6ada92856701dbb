//! The network of this host: TCP by the kernel's sockets, in the reactor that the edges wait in.

use core::task::Poll;
use core::time::Duration;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::thread;

use embedded_io_async::{ErrorType, Read, Write};
use stage::runner::Net;
use vchan_linux::{Readable, Writable};

/// How long one address of a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The network.
#[derive(Debug, Clone, Copy, Default)]
pub struct Network;

/// A TCP connection.
#[derive(Debug)]
pub struct Stream(Arc<Socket>);

#[derive(Debug)]
struct Socket(TcpStream);

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Stream {
    /// Over a socket that waits for nothing.
    pub(crate) fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self(Arc::new(Socket(socket))))
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.0.0
    }
}

/// What a thread finds out, and who is to be told.
#[derive(Default)]
struct Answer {
    outcome: Option<io::Result<TcpStream>>,
    waker: Option<Waker>,
}

impl Net for Network {
    type Stream = Stream;
    type Error = io::Error;

    async fn configured(&self, _: &str) {}

    /// Names and connections are the resolver's and the kernel's, in a thread: neither can be waited for otherwise. One that is
    /// not waited for any longer ends by itself.
    async fn connect(&self, host: &str, port: u16) -> io::Result<Stream> {
        let answer = Arc::new(Mutex::new(Answer::default()));
        let (told, host) = (Arc::clone(&answer), host.to_owned());
        let work = move || {
            let outcome = connect(&host, port);
            let mut answer = told.lock().unwrap_or_else(PoisonError::into_inner);
            answer.outcome = Some(outcome);
            if let Some(waker) = answer.waker.take() {
                waker.wake();
            }
        };
        thread::Builder::new().name("connect".into()).spawn(work)?;
        let stream = core::future::poll_fn(|context| {
            let mut answer = answer.lock().unwrap_or_else(PoisonError::into_inner);
            match answer.outcome.take() {
                Some(outcome) => Poll::Ready(outcome),
                None => {
                    answer.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await?;
        Stream::new(stream)
    }

    fn random(&self) -> u64 {
        // Its keys are the kernel's random numbers.
        RandomState::new().build_hasher().finish()
    }
}

/// To the first address of the host that takes the connection.
fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut outcome = Err(io::Error::new(
        ErrorKind::NotFound,
        "the name has no address",
    ));
    for address in (host, port).to_socket_addrs()? {
        outcome = TcpStream::connect_timeout(&address, PATIENCE);
        if outcome.is_ok() {
            break;
        }
    }
    let stream = outcome?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl ErrorType for Stream {
    type Error = io::Error;
}

impl Read for Stream {
    async fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&self.0.0).read(out) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    Readable::new(Arc::<Socket>::clone(&self.0)).await;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl Write for Stream {
    async fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        loop {
            match (&self.0.0).write(data) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    Writable::new(Arc::<Socket>::clone(&self.0)).await;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// The kernel goes on delivering after the end of the connection, and of the process.
    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use vchan_linux::{block_on, block_until};

    use super::*;

    #[test]
    fn bytes_go_both_ways_by_name_and_a_read_that_waits_can_be_dropped() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let echo = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = vec![0; 1 << 20];
            stream.read_exact(&mut bytes).unwrap();
            stream.write_all(&bytes).unwrap();
        });
        let mut stream = block_on(Network.connect("localhost", port)).unwrap();
        let soon = Instant::now() + Duration::from_millis(20);
        assert!(block_until(soon, stream.read(&mut [0; 8])).is_none());
        let bytes: Vec<u8> = (0..1 << 20).map(|n: u32| n as u8).collect();
        let mut back = vec![0; 1 << 20];
        block_on(async {
            stream.write_all(&bytes).await.unwrap();
            stream.read_exact(&mut back).await.unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        });
        assert!(back == bytes);
        echo.join().unwrap();
    }

    #[test]
    fn where_nobody_listens_there_is_an_error() {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let error = block_on(Network.connect("127.0.0.1", port)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        // Nobody waits for this one.
        drop(block_until(
            Instant::now(),
            Network.connect("127.0.0.1", port),
        ));
    }
}
