//! What a pipeline's file may hold: its tables, their keys, and what each value looks like.

/// A key of a table.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// Whether it must be there.
    pub required: bool,
    /// What holds without it, as the file would write it; empty where that depends.
    pub default: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
}

/// A table of the file.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its name; empty for what stands before all tables.
    pub name: &'static str,
    /// `[[name]]`, any number of them, rather than `[name]`.
    pub many: bool,
    /// What it is for, in one line.
    pub help: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Any text without control characters.
    Text,
    /// The name of a pipeline, a stage or a host: part of a domain's name.
    Name,
    /// The name of an edge: part of a path that libxenvchan has little room for.
    EdgeName,
    /// A path, below the folder of the file.
    File,
    /// A bridge of dom0.
    Bridge,
    /// HOST:PORT.
    Address,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number of MiB.
    Mebibytes,
    /// The size of a ring: a number of bytes, or text such as "64K".
    Ring,
    /// A span of time, not none.
    Span,
    /// true or false.
    Flag,
    /// A table of parameters for the image.
    Parameters,
}

/// The longest name of a stage and of a pipeline: with a dash between, no longer than a domain's name may be.
pub const NAME_MAX: usize = 31;

/// The most memory of a stage, in MiB.
pub const MEMORY_MAX: u32 = 1 << 20;

const fn required(name: &'static str, shape: Shape, help: &'static str) -> Key {
    Key {
        name,
        shape,
        required: true,
        default: "",
        help,
    }
}

const fn optional(name: &'static str, shape: Shape, help: &'static str) -> Key {
    Key {
        required: false,
        ..required(name, shape, help)
    }
}

/// When a stage that has ended is started again.
pub const RESTARTS: &[&str] = &["never", "on-failure", "always"];

/// What the writer of an edge does while it has no room.
pub const POLICIES: &[&str] = &["block", DROP_NEWEST];

/// It leaves out what it would send, and counts it.
pub const DROP_NEWEST: &str = "drop-newest";

/// What is logged, as images take it.
pub const LOG_LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// All tables.
pub const TABLES: &[Table] = &[
    Table {
        name: "",
        many: false,
        help: "a sensing pipeline of grantflow",
        keys: &[optional(
            "name",
            Shape::Name,
            "name of the pipeline, with which the names of its domains begin; without it the name of the file",
        )],
    },
    Table {
        name: "stage",
        many: true,
        help: "a function in a domain of its own",
        keys: &[
            required("name", Shape::Name, "name of the stage, once in the file"),
            required("app", Shape::Name, "image that it runs"),
            optional(
                "memory",
                Shape::Mebibytes,
                "memory in MiB; without it what the image and its data need",
            ),
            optional(
                "restart",
                Shape::Choice(RESTARTS),
                "when it is started again after it has ended",
            ),
            optional(
                "host",
                Shape::Name,
                "host that runs it, where there are several",
            ),
            optional(
                "data",
                Shape::File,
                "recorded data, CSV, that the image finds in its module",
            ),
            optional(
                "secret",
                Shape::File,
                "file of passwords for the image, never on a command line",
            ),
            optional(
                "parameters",
                Shape::Parameters,
                "what the image is told, as its note lists it",
            ),
        ],
    },
    Table {
        name: "edge",
        many: true,
        help: "readings from one stage to another",
        keys: &[
            optional(
                "name",
                Shape::EdgeName,
                "name, once in the file; without it the name of the stage it comes from",
            ),
            required("from", Shape::Name, "stage that writes, or dom0"),
            required("to", Shape::Name, "stage that reads, or dom0"),
            optional(
                "ring",
                Shape::Ring,
                "bytes that may be on their way, from 1K to 1M",
            ),
            optional(
                "stale",
                Shape::Span,
                "how long its writer may say nothing before the reader says that the edge is stale",
            ),
            Key {
                default: "false",
                ..optional(
                    "feedback",
                    Shape::Flag,
                    "whether it closes a circle on purpose",
                )
            },
            Key {
                default: "\"block\"",
                ..optional(
                    "policy",
                    Shape::Choice(POLICIES),
                    "what its writer does without room or reader: wait, or leave out and count what it would send",
                )
            },
        ],
    },
    Table {
        name: "broker",
        many: false,
        help: "the MQTT 5 broker for stages that want one",
        keys: &[
            required(
                "address",
                Shape::Address,
                "HOST:PORT as the stages reach it",
            ),
            optional(
                "secret",
                Shape::File,
                "file with user name and password for stages that name no secret of their own",
            ),
        ],
    },
    Table {
        name: "network",
        many: false,
        help: "how stages with a network are connected",
        keys: &[
            Key {
                default: "\"xenbr0\"",
                ..optional(
                    "bridge",
                    Shape::Bridge,
                    "bridge of dom0 that their interfaces join",
                )
            },
            Key {
                default: "\"dhcp\"",
                ..optional(
                    "ip",
                    Shape::Text,
                    "address: dhcp or A.B.C.D/N[,gw=A.B.C.D][,dns=A.B.C.D]",
                )
            },
        ],
    },
    Table {
        name: "defaults",
        many: false,
        help: "what holds for stages and edges that do not say otherwise",
        keys: &[
            optional("memory", Shape::Mebibytes, "memory of a stage in MiB"),
            Key {
                default: "\"on-failure\"",
                ..optional(
                    "restart",
                    Shape::Choice(RESTARTS),
                    "when a stage is started again after it has ended",
                )
            },
            optional("host", Shape::Name, "host of a stage"),
            Key {
                default: "\"16K\"",
                ..optional(
                    "ring",
                    Shape::Ring,
                    "bytes that may be on their way on an edge",
                )
            },
            Key {
                default: "\"info\"",
                ..optional(
                    "log",
                    Shape::Choice(LOG_LEVELS),
                    "what stages log on their consoles",
                )
            },
        ],
    },
];

/// The table of a name.
pub fn table(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name)
}
