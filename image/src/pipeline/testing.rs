//! Images for tests.

use stage::note::{Description, EdgeLine, ParameterLine};
use stage::params::Direction;

use super::Catalogue;

/// What the notes of a few images say.
pub fn images() -> Catalogue {
    let parameter = |name: &str, kind: &str| ParameterLine {
        name: name.into(),
        kind: kind.into(),
        default: String::new(),
        unit: String::new(),
        help: String::new(),
    };
    let edge = |direction, count: &str| EdgeLine {
        direction,
        count: count.into(),
        help: String::new(),
    };
    let common = [
        parameter("stage", "text"),
        parameter("in.EDGE", "edge"),
        parameter("out.EDGE", "edge"),
    ];
    let image = |app: &str, more: &[ParameterLine], edges: &[EdgeLine]| {
        let description = Description {
            app: app.into(),
            about: String::new(),
            parameters: common.iter().chain(more).cloned().collect(),
            edges: edges.to_vec(),
        };
        (app.to_owned(), description)
    };
    [
        image(
            "sensor",
            &[
                parameter("rate", "text"),
                parameter("signal", "choice:csv|sine"),
                parameter("name.COL", "text"),
            ],
            &[edge(Direction::Out, "1..")],
        ),
        image(
            "filter",
            &[parameter("window", "duration")],
            &[edge(Direction::In, "0.."), edge(Direction::Out, "0..")],
        ),
        image(
            "gateway",
            &[
                parameter("ip", "network"),
                parameter("broker", "text"),
                parameter("client-id", "text"),
            ],
            &[edge(Direction::In, "1")],
        ),
        image(
            "mqtt-in",
            &[
                parameter("ip", "network"),
                parameter("broker", "text"),
                parameter("client-id", "text"),
            ],
            &[edge(Direction::Out, "1..")],
        ),
    ]
    .into()
}
