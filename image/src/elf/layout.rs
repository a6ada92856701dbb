//! Whether an image stands on its own: static, complete, and never writable and executable at once.

use super::read::{Image, SegmentKind};

/// What a loader other than Xen's would have to do, one sentence each.
pub fn not_static(image: &Image<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    if !image.executable {
        wrong.push("not an executable (ET_EXEC) for x86-64".to_owned());
    }
    for segment in &image.segments {
        match segment.kind {
            SegmentKind::Interpreter => {
                wrong.push("wants a program interpreter (PT_INTERP)".to_owned())
            }
            SegmentKind::Dynamic => wrong.push("wants a dynamic linker (PT_DYNAMIC)".to_owned()),
            SegmentKind::Load if segment.writable && segment.executable => {
                wrong.push(format!(
                    "the segment at {:#x} is writable and executable",
                    segment.address
                ));
            }
            _ => {}
        }
    }
    if image.loads().next().is_none() {
        wrong.push("has nothing to load".to_owned());
    }
    wrong
}

/// Relocations that nobody would apply, and symbols that nobody defines.
pub fn incomplete(image: &Image<'_>) -> Vec<String> {
    let relocations = image
        .sections
        .iter()
        .filter(|section| section.relocations() && section.size > 0);
    let relocations = relocations.map(|section| format!("relocations in {}", section.name));
    let undefined = image
        .symbols
        .iter()
        .filter(|symbol| symbol.undefined && !symbol.name.is_empty());
    let undefined = undefined.map(|symbol| {
        format!(
            "undefined symbol {:#}",
            rustc_demangle::demangle(&symbol.name)
        )
    });
    relocations.chain(undefined).collect()
}

#[cfg(test)]
mod tests {
    use super::super::read::{Section, Segment, Symbol};
    use super::*;

    fn segment(kind: SegmentKind, writable: bool, executable: bool) -> Segment<'static> {
        Segment {
            kind,
            address: 0x30_0000,
            memory_size: 4096,
            data: &[],
            offset: 0,
            writable,
            executable,
        }
    }

    fn good() -> Image<'static> {
        Image {
            executable: true,
            segments: vec![segment(SegmentKind::Load, false, true)],
            ..Image::default()
        }
    }

    #[test]
    fn a_static_image_has_no_faults() {
        assert!(not_static(&good()).is_empty());
        assert!(incomplete(&good()).is_empty());
    }

    #[test]
    fn each_need_of_a_loader_is_named() {
        let mut image = good();
        image
            .segments
            .push(segment(SegmentKind::Interpreter, false, false));
        image
            .segments
            .push(segment(SegmentKind::Dynamic, true, false));
        image.segments.push(segment(SegmentKind::Load, true, true));
        image.executable = false;
        let wrong = not_static(&image).join("; ");
        for word in [
            "ET_EXEC",
            "PT_INTERP",
            "PT_DYNAMIC",
            "writable and executable",
        ] {
            assert!(wrong.contains(word), "{word} in {wrong}");
        }
        assert!(
            not_static(&Image {
                executable: true,
                ..Image::default()
            })[0]
                .contains("nothing to load")
        );
    }

    #[test]
    fn relocations_and_undefined_symbols_are_named() {
        let mut image = good();
        let section = |name: &str, size| Section {
            name: name.to_owned(),
            kind: object::elf::SHT_RELA.0,
            flags: 0,
            address: 0,
            offset: 0,
            size,
            align: 8,
            data: &[],
        };
        image.sections = vec![section(".rela.dyn", 24), section(".rela.empty", 0)];
        image.symbols = vec![Symbol {
            name: "memcpy".to_owned(),
            address: 0,
            size: 0,
            undefined: true,
        }];
        assert_eq!(
            incomplete(&image),
            ["relocations in .rela.dyn", "undefined symbol memcpy"]
        );
    }
}
