//! What `vchan-bench` is told. Pure.

use alloc::format;
use alloc::string::{String, ToString};

use ::vchan::Layout;
use ::vchan::keys::BASE_MAX;
use stage::params::{FromParam, MAX_DOMAIN, Peer, Size};
use stage::{EdgeKind, Kind, Parameter, Plan, Setup, SetupError, Stage};

use crate::parameters::{self, Load, Mode, Role};

/// The parameters of `vchan-bench`. Its channel is no edge: no readings go through. As a stage it would end at once.
#[derive(Debug)]
pub struct VchanBench;

/// What the channel is called where nothing else is said: the last word of its path, and the key below `grantflow/peer`.
pub const NAME: &str = "vchan-bench";

/// The only format there is.
pub const WIRE: &str = "stock";

/// By which calls of the library messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `send` and `recv`: a message at once.
    Packet,
    /// `write` and `read`: as much as there is room for, and as there is.
    Stream,
    /// `reserve` and `peek`: messages are made and looked at where they lie in the ring.
    ZeroCopy,
}

impl Api {
    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Packet => "packet",
            Self::Stream => "stream",
            Self::ZeroCopy => "zerocopy",
        }
    }
}

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// What goes through.
    pub load: Load,
    /// By which calls.
    pub api: Api,
    /// Who is at the other end.
    pub peer: Peer,
    /// Where the channel stands in xenstore, if not where it always does.
    path: Option<String>,
    /// The rings that we offer as a server.
    pub layout: Layout,
}

impl Stage for VchanBench {
    const NAME: &'static str = NAME;
    const ABOUT: &'static str = "measures vchan, also with a libxenvchan program at the other end";
    const PARAMETERS: &'static [Parameter] = &[
        parameters::ROLE,
        Parameter::new(
            "peer",
            Kind::Text,
            "?",
            "domain id of the other end, or ? to wait for dom0's word in grantflow/peer/vchan-bench",
        ),
        Parameter::new(
            "path",
            Kind::Text,
            "",
            "where the channel stands in xenstore if not at /local/domain/SERVER/data/vchan/CLIENT/vchan-bench; a server may leave \
             out /local/domain/SERVER/; 49 bytes at most, since libxenvchan cuts longer ones",
        ),
        parameters::MODE,
        parameters::size("64"),
        parameters::COUNT,
        parameters::WARM_UP,
        Parameter::new(
            "ring",
            Kind::Size,
            "64K",
            "bytes of each ring, 1K to 1M, rounded up as libxenvchan does; the server's to say",
        ),
        Parameter::new(
            "api",
            Kind::Choice(&["packet", "stream", "zerocopy"]),
            "packet",
            "how messages go: each at once, as a stream, or made and looked at where they lie in the ring",
        ),
        Parameter::new(
            "wire",
            Kind::Choice(&[WIRE, "auto"]),
            WIRE,
            "wire format: libxenvchan's, or the best that both ends know, which is the same today",
        ),
        parameters::CHECK,
        #[cfg(not(xen_guest))]
        parameters::TIMEOUT,
    ];
    const EDGES: &'static [EdgeKind] = &[];

    fn new(_: &Setup<'_>) -> Result<Self, SetupError> {
        Ok(Self)
    }
}

impl Task {
    /// Reads the parameters.
    pub fn new(plan: &Plan<'_>) -> Result<Self, String> {
        let load = Load::new(plan)?;
        if load.role == Role::Client && plan.params.is_given("ring") {
            return Err("ring= is the server's to say; leave it out with role=client".into());
        }
        let Size(ring) = plan.params.require("ring").map_err(|e| e.to_string())?;
        let ring = usize::try_from(ring).unwrap_or(usize::MAX);
        let task = Self {
            load,
            api: match plan.params.text("api") {
                Some("stream") => Api::Stream,
                Some("zerocopy") => Api::ZeroCopy,
                _ => Api::Packet,
            },
            peer: peer(plan.params.text("peer").unwrap_or_default())?,
            path: plan.params.text("path").map(String::from),
            layout: Layout::for_sizes(ring, ring).map_err(|e| format!("ring=: {e}"))?,
        };
        if let Some(path) = &task.path {
            well_formed(path, load.role)?;
        }
        if load.role == Role::Server {
            task.fits(task.layout)?;
        }
        Ok(task)
    }

    /// The path at which domain `own` meets domain `peer`.
    pub fn meeting_place(&self, own: u16, peer: u16) -> Result<String, String> {
        let path = match (&self.path, self.load.role) {
            (Some(path), _) => path.clone(),
            (None, Role::Server) => format!("data/vchan/{peer}/{NAME}"),
            (None, Role::Client) => format!("/local/domain/{peer}/data/vchan/{own}/{NAME}"),
        };
        let absolute = match path.starts_with('/') {
            true => path.clone(),
            false => format!("/local/domain/{own}/{path}"),
        };
        if absolute.len() > BASE_MAX {
            let len = absolute.len();
            return Err(format!(
                "path: {absolute} has {len} bytes; take one of {BASE_MAX} at most, since libxenvchan cuts longer ones"
            ));
        }
        Ok(path)
    }

    /// Whether a message can stand in the rings that it has to pass at once.
    pub fn fits(&self, layout: Layout) -> Result<(), String> {
        let ring = match self.load.mode {
            Mode::Sink => layout.left_size(),
            Mode::Echo => layout.left_size().min(layout.right_size()),
        };
        let size = self.load.size;
        if self.api == Api::Stream || size <= u64::from(ring) {
            return Ok(());
        }
        Err(format!(
            "size={size} does not fit into a ring of {ring} bytes at once; give the server a larger ring=, or api=stream"
        ))
    }
}

fn peer(text: &str) -> Result<Peer, String> {
    let id = || {
        let id = u16::try_from(u64::from_param(text)?).ok()?;
        (id <= MAX_DOMAIN).then_some(id)
    };
    match text {
        "?" => Ok(Peer::Ask),
        _ => id()
            .map(Peer::Domain)
            .ok_or_else(|| format!("peer={text} is not a domain id from 0 to {MAX_DOMAIN}, or ?")),
    }
}

/// What xenstore takes as a path, and a client as one of another domain.
fn well_formed(path: &str, role: Role) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_@".contains(&byte);
    let relative = path.strip_prefix('/').unwrap_or(path);
    let legal = |word: &str| !word.is_empty() && word.bytes().all(plain);
    if !relative.split('/').all(legal) {
        return Err(format!(
            "path={path} is no path of xenstore: words of A-Z a-z 0-9 - _ @ with / between"
        ));
    }
    if role == Role::Client && relative == path {
        return Err(format!(
            "path={path} is one in our own folder; a client gives all of it, as in /local/domain/SERVER/{path}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::tests::{read, refuses};

    fn task(line: &'static str) -> Result<Task, String> {
        read::<VchanBench, _>(line, Task::new)
    }

    #[test]
    fn the_contract_is_read() {
        let line = "role=client peer=7 path=/local/domain/7/data/vchan/9/x mode=echo size=64 count=7 api=zerocopy wire=auto";
        let task = self::task(line).unwrap();
        let load = task.load;
        assert_eq!((load.role, load.mode), (Role::Client, Mode::Echo));
        assert_eq!((load.size, load.count, load.total()), (64, 7, 448));
        assert_eq!((task.api, task.peer), (Api::ZeroCopy, Peer::Domain(7)));
        let path = task.meeting_place(9, 7).unwrap();
        assert_eq!(path, "/local/domain/7/data/vchan/9/x");
        let words = ["packet", "stream", "zerocopy"];
        let apis = [
            "api=packet size=1K",
            "api=stream size=1K",
            "api=zerocopy size=1K",
        ];
        for (word, line) in words.into_iter().zip(apis) {
            assert_eq!(self::task(line).unwrap().api.word(), word);
        }
    }

    #[test]
    fn nothing_has_to_be_said() {
        let task = self::task("").unwrap();
        assert_eq!((task.load.role, task.peer), (Role::Server, Peer::Ask));
        assert_eq!(task.api, Api::Packet);
        let orders = (task.layout.left_order(), task.layout.right_order());
        assert_eq!(orders, (16, 16));
        assert_eq!(
            task.meeting_place(3, 4).unwrap(),
            "data/vchan/4/vchan-bench"
        );
        let client = self::task("role=client").unwrap();
        assert_eq!(
            client.meeting_place(4, 3).unwrap(),
            "/local/domain/3/data/vchan/4/vchan-bench"
        );
        // The longest that can come of it.
        assert!(client.meeting_place(MAX_DOMAIN, MAX_DOMAIN).is_ok());
    }

    #[test]
    fn libxenvchan_finds_every_path_that_is_taken() {
        let line = "path=data/vchan/0/123456789-1234567890";
        // `/local/domain/7/` and 33 bytes are 49.
        assert!(task(line).unwrap().meeting_place(7, 0).is_ok());
        let error = task(line).unwrap().meeting_place(70, 0).unwrap_err();
        assert!(error.contains("50 bytes; take one of 49"), "{error}");
    }

    #[test]
    fn a_message_that_goes_at_once_fits_the_rings() {
        // Rings of 1 KiB are one of 1 KiB, and one of 2 KiB for what comes back.
        assert!(task("ring=1K size=1024 mode=echo").is_ok());
        assert!(task("ring=1K size=1025 mode=echo").is_err());
        assert!(task("ring=1K size=1M mode=echo api=stream").is_ok());
        let client = task("role=client size=5000").unwrap();
        let layout = |left, right| Layout::new(left, right).unwrap();
        assert!(client.fits(layout(13, 11)).is_ok());
        assert!(client.fits(layout(11, 13)).is_err());
        let client = task("role=client size=5000 mode=echo").unwrap();
        assert!(client.fits(layout(13, 11)).is_err());
        assert!(client.fits(layout(13, 13)).is_ok());
    }

    #[test]
    fn nonsense_is_refused_and_named() {
        let lines = [
            ("role=both", "role"),
            ("peer=32752", "peer=32752"),
            ("peer=-1", "peer=-1"),
            ("peer=+1", "peer=+1"),
            ("path=data//x", "path=data//x"),
            ("path=data/x/", "path=data/x/"),
            ("path=\"data/a b\"", "path="),
            (
                "role=client path=data/vchan/3/x",
                "/local/domain/SERVER/data/vchan/3/x",
            ),
            ("role=client ring=64K", "role=client"),
            ("ring=2M", "ring="),
            ("size=128K", "api=stream"),
            ("size=0", "size"),
            ("count=0", "count"),
            ("api=fast", "api"),
            ("wire=own", "wire"),
            ("check=maybe", "check"),
            ("ip=dhcp", "ip"),
        ];
        refuses(task, &lines);
    }
}
