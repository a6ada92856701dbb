//! The rim towards scrapers: a small server on a loopback port. Each connection has a thread, a deadline, and one answer.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::http::{self, Body, HEAD_MAX, Request};
use super::text::Format;
use crate::lab::signals;

/// How long a client may take over one request, from its first byte to our last.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many are served at once; those beyond are told to come back.
const CLIENTS: usize = 8;

/// How often to see whether to stop.
const LOOK: Duration = Duration::from_millis(50);

/// Stages tell once a second: whoever asks more often gets what was seen last.
const FRESH: Duration = Duration::from_secs(1);

const ROOT: &str = "grantflow metrics: see /metrics\n";

/// What is served: both formats' text, made anew when asked for.
type Look = Box<dyn Fn(Format) -> Result<String, String> + Send + Sync>;

/// The latest text of each format.
pub struct Metrics {
    look: Look,
    seen: Mutex<[Option<(Instant, String)>; 2]>,
}

impl Metrics {
    /// Metrics that `look` makes.
    pub fn new(look: impl Fn(Format) -> Result<String, String> + Send + Sync + 'static) -> Self {
        Self {
            look: Box::new(look),
            seen: Mutex::default(),
        }
    }

    fn text(&self, format: Format, now: Instant) -> Result<String, String> {
        // Whoever comes while another looks waits for what that one sees.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut seen[usize::from(format == Format::OpenMetrics)];
        match slot {
            Some((at, text)) if now.saturating_duration_since(*at) < FRESH => Ok(text.clone()),
            _ => {
                let text = (self.look)(format)?;
                *slot = Some((now, text.clone()));
                Ok(text)
            }
        }
    }
}

/// The port, which must be one that only this machine reaches: there is neither a password nor encryption.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().is_loopback() {
        let said = format!(
            "{address} is no loopback address, and metrics have no password: use 127.0.0.1 or [::1], and a proxy or a tunnel from elsewhere"
        );
        return Err(io::Error::new(ErrorKind::InvalidInput, said));
    }
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until `stop`.
pub fn serve(listener: &TcpListener, metrics: Metrics, stop: &AtomicBool) -> io::Result<()> {
    let metrics = Arc::new(metrics);
    let clients = Arc::new(AtomicUsize::new(0));
    while !signals::came(stop) {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(LOOK);
                continue;
            }
            // A client that went before it was served; no descriptor free. Either may be better at the next look.
            Err(_) => {
                thread::sleep(LOOK);
                continue;
            }
        };
        // Relaxed, here and below: a count, and nothing that is seen through it.
        if clients.fetch_add(1, Ordering::Relaxed) >= CLIENTS {
            clients.fetch_sub(1, Ordering::Relaxed);
            let _ = turn_away(client);
            continue;
        }
        let (metrics, seat) = (Arc::clone(&metrics), Seat(Arc::clone(&clients)));
        thread::Builder::new().spawn(move || {
            let _seat = seat;
            // A client that goes or stalls is its own fault.
            let _ = answer(client, &metrics);
        })?;
    }
    Ok(())
}

/// One of the places for clients, free again however its thread ends.
struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn turn_away(mut client: TcpStream) -> io::Result<()> {
    client.set_nonblocking(true)?;
    let busy = http::answer(
        "503 Service Unavailable",
        "text/plain",
        "busy\n",
        Body::Sent,
    );
    client.write_all(&busy)
}

fn answer(mut client: TcpStream, metrics: &Metrics) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let until = Instant::now() + PATIENCE;
    let said =
        |status: &str, content: &str| http::answer(status, "text/plain", content, Body::Sent);
    let reply = match head(&mut client, until)? {
        None => said("431 Request Header Fields Too Large", "too long\n"),
        Some(head) => match http::request(&head) {
            Request::Metrics(format, body) => match metrics.text(format, Instant::now()) {
                Ok(text) => http::answer("200 OK", format.content_type(), &text, body),
                Err(error) => said("503 Service Unavailable", &format!("{error}\n")),
            },
            Request::Root => said("200 OK", ROOT),
            Request::NotFound => said("404 Not Found", "see /metrics\n"),
            Request::Method => said("405 Method Not Allowed", "only GET and HEAD\n"),
            Request::Bad => said("400 Bad Request", "not a request\n"),
        },
    };
    let mut left = reply.as_slice();
    while !left.is_empty() {
        client.set_write_timeout(Some(remaining(until)?))?;
        let written = client.write(left)?;
        left = left.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// The head of a request; none if it is too long.
fn head(client: &mut TcpStream, until: Instant) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !http::is_whole(&head) {
        if head.len() >= HEAD_MAX {
            return Ok(None);
        }
        client.set_read_timeout(Some(remaining(until)?))?;
        let count = client.read(&mut chunk)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        head.extend(chunk.iter().take(count));
    }
    Ok(Some(head))
}

fn remaining(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// A server that counts how often it looked.
    struct Server {
        address: SocketAddr,
        looks: Arc<AtomicUsize>,
        stop: Arc<AtomicBool>,
        thread: Option<thread::JoinHandle<()>>,
    }

    impl Server {
        fn new(text: Result<&'static str, &'static str>) -> Self {
            let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let address = listener.local_addr().unwrap();
            let (looks, stop) = (
                Arc::new(AtomicUsize::new(0)),
                Arc::new(AtomicBool::new(false)),
            );
            let (counted, until) = (Arc::clone(&looks), Arc::clone(&stop));
            let metrics = Metrics::new(move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
                text.map(str::to_owned).map_err(str::to_owned)
            });
            let thread = thread::spawn(move || serve(&listener, metrics, &until).unwrap());
            Self {
                address,
                looks,
                stop,
                thread: Some(thread),
            }
        }

        fn ask(&self, request: &[u8]) -> String {
            let mut client = TcpStream::connect(self.address).unwrap();
            client.write_all(request).unwrap();
            let mut answer = Vec::new();
            // An answer that ends a request half-way may be followed by a reset.
            let _ = client.read_to_end(&mut answer);
            String::from_utf8(answer).unwrap()
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.stop.store(true, Ordering::Relaxed);
            self.thread.take().map(thread::JoinHandle::join);
        }
    }

    #[test]
    fn many_scrapes_are_one_look_and_that_holds_for_a_second() {
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&looks);
        let metrics =
            Metrics::new(move |_| Ok(counted.fetch_add(1, Ordering::Relaxed).to_string()));
        let begin = Instant::now();
        let at = |millis| metrics.text(Format::OpenMetrics, begin + Duration::from_millis(millis));
        assert_eq!(
            [at(0), at(999), at(1_000)],
            ["0", "0", "1"].map(|text| Ok(text.to_owned()))
        );
        assert_eq!(metrics.text(Format::Prometheus, begin), Ok("2".to_owned()));
    }

    #[test]
    fn each_request_is_answered_whole() {
        let server = Server::new(Ok("a 1\n"));
        let answer = server.ask(b"GET /metrics HTTP/1.1\r\n\r\n");
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\na 1\n"),
            "{answer}"
        );
        assert!(server.ask(b"GET / HTTP/1.1\r\n\r\n").ends_with(ROOT));
        assert!(
            server
                .ask(b"PUT /metrics HTTP/1.1\r\n\r\n")
                .contains("Allow: GET, HEAD")
        );
    }

    #[test]
    fn a_look_that_fails_is_told_and_tried_again() {
        let server = Server::new(Err("`xl list -v` did not end"));
        for _ in 0..2 {
            let answer = server.ask(b"GET /metrics HTTP/1.1\r\n\r\n");
            assert!(
                answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("did not end\n"),
                "{answer}"
            );
        }
        assert_eq!(server.looks.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn who_sends_too_much_or_nothing_keeps_nobody_else_waiting() {
        let server = Server::new(Ok("a 1\n"));
        let endless = vec![b'x'; HEAD_MAX + 1];
        let idle: Vec<TcpStream> = (1..CLIENTS)
            .map(|_| TcpStream::connect(server.address).unwrap())
            .collect();
        assert!(server.ask(&endless).starts_with("HTTP/1.1 431 "));
        // Its seat is free a moment after its answer.
        let served = || {
            server
                .ask(b"GET /metrics HTTP/1.1\r\n\r\n")
                .starts_with("HTTP/1.1 200 ")
        };
        assert!((0..100).any(|_| served() || {
            thread::sleep(LOOK);
            false
        }));
        drop(idle);
    }

    #[test]
    fn only_this_machine_is_served() {
        let error = bind(([0, 0, 0, 0], 0).into()).unwrap_err().to_string();
        assert!(error.contains("no loopback address"), "{error}");
        assert!(bind(([127, 0, 0, 1], 0).into()).is_ok());
    }
}
