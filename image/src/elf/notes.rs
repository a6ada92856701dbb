//! The notes by which Xen knows how to boot an image (`xen/include/public/elfnote.h`), and the project's own.

use super::read::{Image, Note};

const ENTRY: u32 = 1;
const HYPERCALL_PAGE: u32 = 2;
const VIRT_BASE: u32 = 3;
const PADDR_OFFSET: u32 = 4;
const XEN_VERSION: u32 = 5;
const GUEST_OS: u32 = 6;
const LOADER: u32 = 8;

const PAGE: u64 = 4096;

/// What Xen's domain builder would stumble over, one sentence each.
pub fn wrong_for_xen(image: &Image<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (kind, name, expected) in [
        (XEN_VERSION, "XEN_VERSION", Some("xen-3.0")),
        (LOADER, "LOADER", Some("generic")),
        (GUEST_OS, "GUEST_OS", None),
    ] {
        match (text(image, kind), expected) {
            (None, _) => wrong.push(format!("note {name} is missing")),
            (Some(found), Some(expected)) if found != expected => {
                wrong.push(format!("note {name} is {found:?}, not {expected:?}"));
            }
            (Some(_), _) => {}
        }
    }
    match number(image, ENTRY) {
        None => wrong.push("note ENTRY is missing".to_owned()),
        Some(entry) if !executable_at(image, entry) => {
            wrong.push(format!(
                "note ENTRY, {entry:#x}, is in no executable segment"
            ));
        }
        Some(_) => {}
    }
    match number(image, VIRT_BASE) {
        None => wrong.push("note VIRT_BASE is missing".to_owned()),
        Some(base) => {
            if let Some(below) = image.loads().find(|segment| segment.address < base) {
                wrong.push(format!(
                    "a segment at {:#x} lies below note VIRT_BASE, {base:#x}",
                    below.address
                ));
            }
            if number(image, PADDR_OFFSET) != Some(base) {
                wrong.push(format!("note PADDR_OFFSET is not VIRT_BASE, {base:#x}"));
            }
        }
    }
    if let Some(page) = number(image, HYPERCALL_PAGE)
        && (!page.is_multiple_of(PAGE) || !executable_at(image, page))
    {
        wrong.push(format!(
            "note HYPERCALL_PAGE, {page:#x}, is no page of an executable segment"
        ));
    }
    wrong
}

/// What is wrong with the note that describes the image's parameters and edges.
pub fn wrong_description(image: &Image<'_>) -> Vec<String> {
    let Some(section) = image.section(".note.Grantflow") else {
        return vec![
            "section .note.Grantflow is missing; the image's program must emit its note".to_owned(),
        ];
    };
    stage::note::parse(section.data)
        .err()
        .map(|error| error.to_string())
        .into_iter()
        .collect()
}

fn executable_at(image: &Image<'_>, address: u64) -> bool {
    image
        .loads()
        .any(|segment| segment.executable && segment.contains(address))
}

fn xen_note<'image>(image: &'image Image<'_>, kind: u32) -> Option<&'image Note<'image>> {
    image
        .notes
        .iter()
        .find(|note| note.name == b"Xen" && note.kind == kind)
}

fn text<'image>(image: &'image Image<'_>, kind: u32) -> Option<&'image str> {
    let content = xen_note(image, kind)?.content;
    std::str::from_utf8(content.strip_suffix(b"\0")?).ok()
}

/// Numbers take four or eight bytes, whichever the image chose.
fn number(image: &Image<'_>, kind: u32) -> Option<u64> {
    let content = xen_note(image, kind)?.content;
    match content.len() {
        4 => Some(u32::from_le_bytes(content.try_into().ok()?).into()),
        8 => Some(u64::from_le_bytes(content.try_into().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::{Segment, SegmentKind};
    use super::*;

    const BASE: &[u8] = &0x30_0000u64.to_le_bytes();
    const INSIDE: &[u8] = &0x30_1000u32.to_le_bytes();

    fn note(kind: u32, content: &'static [u8]) -> Note<'static> {
        Note {
            name: b"Xen",
            kind,
            content,
        }
    }

    fn good() -> Image<'static> {
        let segment = Segment {
            kind: SegmentKind::Load,
            address: 0x30_0000,
            memory_size: 0x2000,
            data: &[],
            offset: 0,
            writable: false,
            executable: true,
        };
        let notes = vec![
            note(XEN_VERSION, b"xen-3.0\0"),
            note(LOADER, b"generic\0"),
            note(GUEST_OS, b"grantflow\0"),
            note(ENTRY, INSIDE),
            note(VIRT_BASE, BASE),
            note(PADDR_OFFSET, BASE),
            note(HYPERCALL_PAGE, INSIDE),
        ];
        Image {
            executable: true,
            segments: vec![segment],
            notes,
            ..Image::default()
        }
    }

    #[test]
    fn good_notes_have_no_faults() {
        assert_eq!(wrong_for_xen(&good()), Vec::<String>::new());
    }

    #[test]
    fn a_note_that_is_missing_or_says_something_else_is_named() {
        for (kind, name) in [
            (XEN_VERSION, "XEN_VERSION"),
            (LOADER, "LOADER"),
            (ENTRY, "ENTRY"),
            (VIRT_BASE, "VIRT_BASE"),
        ] {
            let mut image = good();
            image.notes.retain(|note| note.kind != kind);
            assert!(
                wrong_for_xen(&image).iter().any(|line| line.contains(name)),
                "{name} missing"
            );
            image.notes.push(note(kind, b"\xff\xff\xff\0"));
            assert!(
                wrong_for_xen(&image).iter().any(|line| line.contains(name)),
                "{name} wrong"
            );
        }
    }

    #[test]
    fn addresses_outside_the_code_are_refused() {
        let mut image = good();
        image.segments[0].executable = false;
        let wrong = wrong_for_xen(&image).join("; ");
        assert!(
            wrong.contains("ENTRY") && wrong.contains("HYPERCALL_PAGE"),
            "{wrong}"
        );
        let mut image = good();
        image.segments[0].address = 0x10_0000;
        image.segments[0].memory_size = 0x40_0000;
        assert!(wrong_for_xen(&image)[0].contains("below note VIRT_BASE"));
    }

    #[test]
    fn an_image_without_a_description_is_refused() {
        assert!(wrong_description(&good())[0].contains(".note.Grantflow"));
    }
}
