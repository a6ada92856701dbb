//! From the bytes of an ELF file to a plain description of it.

use object::LittleEndian;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, Sym};

type Header = elf::FileHeader64<LittleEndian>;
const LITTLE: LittleEndian = LittleEndian;

/// An ELF file, as far as images go.
#[derive(Debug, Clone, Default)]
pub struct Image<'data> {
    /// `ET_EXEC` for x86-64, as against a library, an object or another machine.
    pub executable: bool,
    /// Where the ELF header says to begin.
    pub entry: u64,
    /// The program headers.
    pub segments: Vec<Segment<'data>>,
    /// The section headers, the null one left out.
    pub sections: Vec<Section<'data>>,
    /// The symbol table.
    pub symbols: Vec<Symbol>,
    /// What stands in the segments of notes.
    pub notes: Vec<Note<'data>>,
}

/// What a program header is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentKind {
    /// `PT_LOAD`.
    Load,
    /// `PT_NOTE`.
    Note,
    /// `PT_INTERP`: a program interpreter is wanted.
    Interpreter,
    /// `PT_DYNAMIC`: a dynamic linker is wanted.
    Dynamic,
    /// Anything else.
    Other,
}

/// A program header.
#[derive(Debug, Clone)]
pub struct Segment<'data> {
    /// What it is for.
    pub kind: SegmentKind,
    /// Its first address.
    pub address: u64,
    /// Its bytes in memory.
    pub memory_size: u64,
    /// Its bytes in the file.
    pub data: &'data [u8],
    /// Where these begin in the file.
    pub offset: u64,
    /// May be written.
    pub writable: bool,
    /// May be executed.
    pub executable: bool,
}

impl Segment<'_> {
    /// Whether this address lies in it.
    pub fn contains(&self, address: u64) -> bool {
        address
            .checked_sub(self.address)
            .is_some_and(|offset| offset < self.memory_size)
    }
}

/// A section header.
#[derive(Debug, Clone)]
pub struct Section<'data> {
    /// Its name.
    pub name: String,
    /// `sh_type`.
    pub kind: u32,
    /// `sh_flags`.
    pub flags: u64,
    /// Its first address.
    pub address: u64,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its size in memory.
    pub size: u64,
    /// Its alignment.
    pub align: u64,
    /// Its bytes; none for `SHT_NOBITS`.
    pub data: &'data [u8],
}

impl Section<'_> {
    /// Part of the running image.
    pub fn allocated(&self) -> bool {
        self.flags & elf::SHF_ALLOC.0 != 0
    }

    /// May be written while running.
    pub fn writable(&self) -> bool {
        self.flags & elf::SHF_WRITE.0 != 0
    }

    /// Holds instructions.
    pub fn executable(&self) -> bool {
        self.flags & elf::SHF_EXECINSTR.0 != 0
    }

    /// Zeroes that the file does not hold.
    pub fn zeroed(&self) -> bool {
        self.kind == elf::SHT_NOBITS.0
    }

    /// A table of relocations.
    pub fn relocations(&self) -> bool {
        self.kind == elf::SHT_REL.0 || self.kind == elf::SHT_RELA.0
    }
}

/// A symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: u64,
    /// Its size; 0 for what hand-written assembly left open.
    pub size: u64,
    /// Nothing in the file defines it.
    pub undefined: bool,
}

/// A note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note<'data> {
    /// Whose note it is.
    pub name: &'data [u8],
    /// What it says, in the words of its owner.
    pub kind: u32,
    /// The content.
    pub content: &'data [u8],
}

/// Why a file is no image.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The headers contradict the format or the file.
    #[error("not a 64-bit little-endian ELF file, or a broken one: {0}")]
    Broken(#[from] object::read::Error),
    /// A segment is longer than the file.
    #[error("a segment reaches past the end of the file")]
    CutShort,
}

impl<'data> Image<'data> {
    /// Reads the headers, the symbols and the notes of a file.
    pub fn read(file: &'data [u8]) -> Result<Self, ReadError> {
        let header = Header::parse(file)?;
        let endian = header.endian()?;
        let mut image = Image {
            executable: header.e_type(endian) == elf::ET_EXEC
                && header.e_machine(endian) == elf::EM_X86_64,
            entry: header.e_entry(endian),
            ..Image::default()
        };
        for segment in header.program_headers(endian, file)? {
            image.segments.push(read_segment(segment, file)?);
            if let Some(mut notes) = segment.notes(endian, file)? {
                while let Some(note) = notes.next()? {
                    image.notes.push(Note {
                        name: note.name(),
                        kind: note.n_type(endian).0,
                        content: note.desc(),
                    });
                }
            }
        }
        let sections = header.sections(endian, file)?;
        for section in sections.iter().skip(1) {
            image.sections.push(Section {
                name: String::from_utf8_lossy(sections.section_name(endian, section)?).into_owned(),
                kind: section.sh_type(endian).0,
                flags: section.sh_flags(endian).0,
                address: section.sh_addr(endian),
                offset: section.sh_offset(endian),
                size: section.sh_size(endian),
                align: section.sh_addralign(endian),
                data: section.data(endian, file)?,
            });
        }
        let symbols = sections.symbols(endian, file, elf::SHT_SYMTAB)?;
        for symbol in symbols.iter().skip(1) {
            image.symbols.push(Symbol {
                name: String::from_utf8_lossy(symbol.name(endian, symbols.strings())?).into_owned(),
                address: symbol.st_value(endian),
                size: symbol.st_size(endian),
                undefined: symbol.is_undefined(endian),
            });
        }
        Ok(image)
    }

    /// The section of this name.
    pub fn section(&self, name: &str) -> Option<&Section<'data>> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The segments that Xen loads.
    pub fn loads(&self) -> impl Iterator<Item = &Segment<'data>> {
        self.segments
            .iter()
            .filter(|segment| segment.kind == SegmentKind::Load)
    }
}

fn read_segment<'data>(
    segment: &elf::ProgramHeader64<LittleEndian>,
    file: &'data [u8],
) -> Result<Segment<'data>, ReadError> {
    let flags = segment.p_flags(LITTLE).0;
    Ok(Segment {
        kind: match segment.p_type(LITTLE) {
            elf::PT_LOAD => SegmentKind::Load,
            elf::PT_NOTE => SegmentKind::Note,
            elf::PT_INTERP => SegmentKind::Interpreter,
            elf::PT_DYNAMIC => SegmentKind::Dynamic,
            _ => SegmentKind::Other,
        },
        address: segment.p_vaddr(LITTLE),
        memory_size: segment.p_memsz(LITTLE),
        data: segment
            .data(LITTLE, file)
            .map_err(|()| ReadError::CutShort)?,
        offset: segment.p_offset(LITTLE),
        writable: flags & elf::PF_W.0 != 0,
        executable: flags & elf::PF_X.0 != 0,
    })
}
