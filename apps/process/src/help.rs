//! What `--help` says, from what the stage declares. Pure.

use core::fmt::Write as _;

use stage::params::{COMMON, NETWORK};
use stage::{Direction, Kind, Parameter, Stage};

/// How wide a line may be.
const WIDTH: usize = 90;

const OPTIONS: &str = "\
Options:
  --module FILE   what an image gets as its module: the recording, or a ustar archive of params,
                  data.csv and secret
  --keys DIR      folder for state and counters (data/grantflow/...), and for the names of peers
                  (grantflow/peer/EDGE); without it nothing is told
  --meet DIR      folder in which edges meet, of mode 700
                  [default: $XDG_RUNTIME_DIR/grantflow/vchan]
  --xen           on Xen, in dom0 or a Linux guest: edges over Xen's devices, keys in xenstore,
                  which one stage of a domain can have; others of it get a folder with --keys
  --tcp EDGE=ADDRESS:PORT
                  edges over TCP, this one at that address, where its reading side listens; once for
                  each edge; whom PEER names does not matter then, and --xen is for keys alone
  --parent PID    end with this process, which started it
  -h, --help      this text

An edge whose PEER is a number, any of them, meets whoever takes its other end by its name:
`vcat listen local:EDGE`. With --xen the number is a domain's.

SIGTERM or Ctrl-C ends it in order: what has arrived is worked off, and the end of the stream
marked. A second one ends it at once.
";

/// The whole text for stage `S`.
pub fn text<S: Stage>() -> String {
    let mut text = format!("{}: {}\n\n", S::NAME, S::ABOUT);
    let _ = writeln!(text, "Usage: {} [OPTIONS] [KEY=VALUE]...\n", S::NAME);
    if !S::EDGES.is_empty() {
        text.push_str("Edges:\n");
    }
    for edge in S::EDGES {
        let direction = match edge.direction {
            Direction::In => "in",
            Direction::Out => "out",
        };
        let head = format!("{direction}.EDGE=PEER ({} of them)", edge.count.word());
        entry(&mut text, &head, edge.help);
    }
    if !S::PARAMETERS.is_empty() {
        text.push_str("\nParameters:\n");
        S::PARAMETERS
            .iter()
            .for_each(|one| parameter(&mut text, one));
    }
    text.push_str("\nParameters of every stage:\n");
    let network = if S::NETWORK { NETWORK } else { &[] };
    COMMON
        .iter()
        .chain(network)
        .for_each(|one| parameter(&mut text, one));
    text.push('\n');
    text.push_str(OPTIONS);
    text
}

/// A parameter as one entry of such a text.
pub fn parameter(text: &mut String, parameter: &Parameter) {
    let kind = match &parameter.kind {
        Kind::Choice(words) => words.join("|"),
        other => other.word().to_uppercase(),
    };
    let mut head = format!("{}={kind}", parameter.name);
    if !parameter.unit.is_empty() {
        let _ = write!(head, " ({})", parameter.unit);
    }
    if !parameter.default.is_empty() {
        let _ = write!(head, " [default: {}]", parameter.default);
    }
    entry(text, &head, parameter.help);
}

/// A head, and what it is for, indented and broken.
fn entry(text: &mut String, head: &str, help: &str) {
    let _ = writeln!(text, "  {head}");
    text.push_str("     ");
    let mut width = 5;
    for word in help.split(' ') {
        if width > 5 && width + 1 + word.len() > WIDTH {
            text.push_str("\n     ");
            width = 5;
        }
        text.push(' ');
        text.push_str(word);
        width += 1 + word.len();
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use stage::params::Count;
    use stage::{DropCause, EdgeKind, Outputs, Reading, Setup, SetupError, Verdict};

    use super::*;

    struct Scale;

    impl Stage for Scale {
        const NAME: &'static str = "scale";
        const ABOUT: &'static str = "multiplies every value by a factor";
        const PARAMETERS: &'static [Parameter] = &[
            Parameter::new("factor", Kind::Number, "1", "what each value is multiplied by, which is explained here at a length that no screen has room for in one line").in_unit("1/s"),
            Parameter::new("mode", Kind::Choice(&["a", "b"]), "", "how"),
        ];
        const EDGES: &'static [EdgeKind] =
            &[EdgeKind::inputs(Count::AtLeastOne, "readings to scale")];

        fn new(_: &Setup<'_>) -> Result<Self, SetupError> {
            Ok(Self)
        }

        fn reading(&mut self, _: usize, _: &Reading<'_>, _: &mut Outputs) -> Verdict {
            Verdict::Dropped(DropCause::WrongType)
        }
    }

    #[test]
    fn every_parameter_and_edge_is_told_and_fits_a_screen() {
        let text = text::<Scale>();
        for told in [
            "scale: multiplies every value by a factor\n",
            "  in.EDGE=PEER (1.. of them)\n      readings to scale\n",
            "  factor=NUMBER (1/s) [default: 1]\n      what each value",
            "  mode=a|b\n      how\n",
            "  stage=TEXT\n",
            "--module FILE",
        ] {
            assert!(text.contains(told), "{told} in {text}");
        }
        assert!(!text.contains("ip=NETWORK"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        assert!(text.lines().all(|line| line.trim_end() == line), "{text}");
    }
}
