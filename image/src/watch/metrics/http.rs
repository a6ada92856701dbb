//! As much of HTTP/1.1 as a scraper needs. Pure: a request's head in, an answer out.

use super::text::Format;

/// The longest head of a request.
pub const HEAD_MAX: usize = 8 << 10;

/// What a request comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// The metrics; without them, for HEAD, only what stands before.
    Metrics(Format, Body),
    /// What this is.
    Root,
    /// Nothing is there.
    NotFound,
    /// It is not asked for by GET or HEAD.
    Method,
    /// It is no request.
    Bad,
}

/// Whether the answer has a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// It has.
    Sent,
    /// The client asked not to get it.
    Left,
}

/// Whether these bytes hold a whole head.
pub fn is_whole(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|end| end == b"\r\n\r\n") || bytes.windows(2).any(|end| end == b"\n\n")
}

/// Reads a head.
pub fn request(head: &[u8]) -> Request {
    let Ok(text) = std::str::from_utf8(head) else {
        return Request::Bad;
    };
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Request::Bad;
    };
    if !version.starts_with("HTTP/1.") {
        return Request::Bad;
    }
    let body = match method {
        "GET" => Body::Sent,
        "HEAD" => Body::Left,
        _ => return Request::Method,
    };
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    match path {
        "/metrics" => {
            let headers = lines.filter_map(|line| line.split_once(':'));
            let accept = headers
                .filter(|(name, _)| name.eq_ignore_ascii_case("accept"))
                .map(|(_, value)| value.trim())
                .next();
            Request::Metrics(Format::accepted(accept.unwrap_or_default()), body)
        }
        "/" => Request::Root,
        _ => Request::NotFound,
    }
}

/// An answer, whole; the connection ends with it.
pub fn answer(status: &str, content_type: &str, content: &str, body: Body) -> Vec<u8> {
    let length = content.len();
    let allow = if status.starts_with("405") {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{allow}Connection: close\r\n\r\n"
    );
    let content = match body {
        Body::Sent => content,
        Body::Left => "",
    };
    (head + content).into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn metrics_are_there_for_who_asks_as_scrapers_do() {
        let open = Request::Metrics(Format::OpenMetrics, Body::Sent);
        let older = Request::Metrics(Format::Prometheus, Body::Sent);
        for (head, expected) in [
            (
                "GET /metrics HTTP/1.1\r\nHost: x\r\naccept:  application/openmetrics-text;version=1.0.0\r\n\r\n",
                open,
            ),
            ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", older),
            (
                "GET /metrics HTTP/1.1\r\nX-Accept: application/openmetrics-text\r\n\r\n",
                older,
            ),
            (
                "HEAD /metrics HTTP/1.1\n\n",
                Request::Metrics(Format::Prometheus, Body::Left),
            ),
            ("GET / HTTP/1.1\r\n\r\n", Request::Root),
            (
                "GET /metrics/../etc/passwd HTTP/1.1\r\n\r\n",
                Request::NotFound,
            ),
            ("POST /metrics HTTP/1.1\r\n\r\n", Request::Method),
            ("GET /metrics HTTP/2\r\n\r\n", Request::Bad),
            ("GET  /metrics HTTP/1.1\r\n\r\n", Request::Bad),
            ("GET /metrics\r\n\r\n", Request::Bad),
            ("\r\n\r\n", Request::Bad),
        ] {
            assert!(is_whole(head.as_bytes()), "{head:?}");
            assert_eq!(request(head.as_bytes()), expected, "{head:?}");
        }
        assert!(!is_whole(b"GET /metrics HTTP/1.1\r\nHost: x\r\n"));
        assert_eq!(request(b"\xff\r\n\r\n"), Request::Bad);
    }

    #[test]
    fn an_answer_says_how_long_it_is_and_head_gets_none() {
        let whole = String::from_utf8(answer("200 OK", "text/plain", "abc", Body::Sent)).unwrap();
        assert!(whole.contains("\r\nContent-Length: 3\r\n") && whole.ends_with("\r\n\r\nabc"));
        let head = String::from_utf8(answer("200 OK", "text/plain", "abc", Body::Left)).unwrap();
        assert!(head.contains("\r\nContent-Length: 3\r\n") && head.ends_with("\r\n\r\n"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (is_whole(&bytes), request(&bytes));
        }
    }
}
