use super::*;
use crate::params::{Count, ParamError, ParamProblem};
use crate::{Setup, SetupError};
use proptest::prelude::*;
use std::vec;

struct Example;

impl Stage for Example {
    const NAME: &'static str = "example";
    const ABOUT: &'static str = "shows a note";
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new("mode", Kind::Choice(&["a", "b"]), "a", "how"),
        Parameter::new("every", Kind::Duration, "", "how often").in_unit("s"),
    ];
    const EDGES: &'static [EdgeKind] = &[EdgeKind::inputs(Count::AtLeastOne, "readings")];
    const NETWORK: bool = true;

    fn new(_: &Setup<'_>) -> Result<Self, SetupError> {
        Err(ParamError::from(ParamProblem::NotText).into())
    }
}

static NOTE: Note<{ length::<Example>() }> = encode::<Example, _>();

fn line(fields: [&str; 5]) -> ParameterLine {
    let [name, kind, default, unit, help] = fields.map(String::from);
    ParameterLine {
        name,
        kind,
        default,
        unit,
        help,
    }
}

#[test]
fn the_note_reads_back() {
    let description = parse(&NOTE.0).unwrap();
    assert_eq!(
        (description.app.as_str(), description.about.as_str()),
        ("example", "shows a note")
    );
    let names: Vec<&str> = description
        .parameters
        .iter()
        .map(|p| p.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["stage", "log", "in.EDGE", "out.EDGE", "ip", "mode", "every"]
    );
    assert_eq!(
        description.parameters[5],
        line(["mode", "choice:a|b", "a", "", "how"])
    );
    assert_eq!(
        description.parameters[6],
        line(["every", "duration", "", "s", "how often"])
    );
    let edge = EdgeLine {
        direction: Direction::In,
        count: "1..".into(),
        help: "readings".into(),
    };
    assert_eq!(description.edges, [edge]);
}

#[test]
fn the_header_is_that_of_an_elf_note() {
    let text = NOTE.0.len() - HEADER;
    assert_eq!(NOTE.0[..4], 10u32.to_le_bytes());
    let length = u32::from_le_bytes(NOTE.0[4..8].try_into().unwrap()) as usize;
    assert_eq!(length.next_multiple_of(4), text);
    assert_eq!(NOTE.0[8..24], *b"\x01\0\0\0Grantflow\0\0\0");
    assert_eq!(align_of_val(&NOTE), 4);
}

#[test]
fn other_notes_are_passed_over() {
    let mut section = vec![
        4, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, b'X', b'e', b'n', 0, 7, 0, 0, 0,
    ];
    assert_eq!(parse(&section), Err(NoteError::Absent));
    section.extend_from_slice(&NOTE.0);
    assert_eq!(parse(&section).map(|d| d.app), Ok("example".into()));
    assert_eq!(parse(&[]), Err(NoteError::Absent));
}

#[test]
fn wrong_notes_say_why() {
    let note = |text: &[u8]| {
        let mut bytes = NOTE.0[..HEADER].to_vec();
        bytes[4..8].copy_from_slice(&u32::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(text);
        parse(&bytes)
    };
    assert_eq!(note(b"grantflow\t2\n"), Err(NoteError::Version));
    assert_eq!(
        note(b"grantflow\t1\nparam\tx\n"),
        Err(NoteError::Line { line: 2 })
    );
    assert_eq!(
        note(b"grantflow\t1\nlater\tx\nedge\tup\t1\tx\n"),
        Err(NoteError::Line { line: 3 })
    );
    assert_eq!(note(b"\xFF"), Err(NoteError::NotText));
    assert_eq!(parse(&NOTE.0[..40]), Err(NoteError::Cut));
    assert_eq!(parse(&[0xFF; 12]), Err(NoteError::Cut));
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn damaged_notes_are_answered(at in 0..NOTE.0.len(), byte in any::<u8>()) {
        let mut bytes = NOTE.0;
        bytes[at] = byte;
        let _ = parse(&bytes);
    }
}
