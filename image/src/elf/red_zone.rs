//! The red zone: memory below the stack pointer, which Xen overwrites when it delivers an exception to a guest.
//!
//! `-Cno-redzone` keeps our own code out of it, not the prebuilt objects of `core` that the linker may bring. So the
//! finished image is read instruction by instruction. This is a linear reading, not a proof: an access through an
//! index register or a copy of the stack pointer passes.

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use super::read::Image;

/// One access below the stack pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Below {
    /// The function.
    pub function: String,
    /// The instruction's address.
    pub address: u64,
    /// The register it counts from.
    pub register: &'static str,
    /// How far below.
    pub distance: u64,
}

impl std::fmt::Display for Below {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            function,
            address,
            register,
            distance,
        } = self;
        write!(
            f,
            "{function} uses the red zone: [{register}-{distance:#x}] at {address:#x}"
        )
    }
}

/// Every access below the stack pointer in the functions of an image.
pub fn accesses(image: &Image<'_>) -> Vec<Below> {
    functions(image)
        .iter()
        .flat_map(|function| scan(&function.name, function.address, function.code))
        .collect()
}

struct Function<'data> {
    name: String,
    address: u64,
    code: &'data [u8],
}

/// The executable sections cut at their symbols; what stands before the first symbol goes by the section's name.
fn functions<'data>(image: &Image<'data>) -> Vec<Function<'data>> {
    let mut found = Vec::new();
    for section in image
        .sections
        .iter()
        .filter(|section| section.executable() && !section.zeroed())
    {
        let end = section.address.saturating_add(section.data.len() as u64);
        let inside = |address: u64| (section.address..end).contains(&address);
        let mut starts: Vec<(u64, String)> = vec![(section.address, section.name.clone())];
        let named = image
            .symbols
            .iter()
            .filter(|symbol| !symbol.undefined && !symbol.name.is_empty());
        starts.extend(named.filter(|s| inside(s.address)).map(|symbol| {
            (
                symbol.address,
                format!("{:#}", rustc_demangle::demangle(&symbol.name)),
            )
        }));
        // Stable: of several names for one address the last stays, which is never the section's where there is another.
        starts.sort_by_key(|(address, _)| *address);
        let ends = starts
            .iter()
            .skip(1)
            .map(|(address, _)| *address)
            .chain([end]);
        for ((address, name), end) in starts.iter().zip(ends) {
            let range = offset(*address, section.address)..offset(end, section.address);
            let code = section.data.get(range).unwrap_or_default();
            found.push(Function {
                name: name.clone(),
                address: *address,
                code,
            });
        }
    }
    found
}

fn offset(address: u64, from: u64) -> usize {
    usize::try_from(address.saturating_sub(from)).unwrap_or(usize::MAX)
}

/// How deep a function's stack gets, as its instructions stand one after the other.
#[derive(Debug, Default)]
struct Depth {
    now: i64,
    deepest: i64,
    /// Depth at `mov rbp, rsp`, where the function keeps a frame pointer.
    frame: Option<i64>,
}

impl Depth {
    fn follow(&mut self, instruction: &Instruction) {
        match instruction.mnemonic() {
            Mnemonic::Push | Mnemonic::Pushfq => self.grow(8),
            Mnemonic::Pop | Mnemonic::Popfq => self.grow(-8),
            Mnemonic::Sub if moves_stack(instruction) => self.grow(immediate(instruction)),
            Mnemonic::Add if moves_stack(instruction) => self.grow(-immediate(instruction)),
            // An alignment takes at most as much as it rounds to.
            Mnemonic::And if moves_stack(instruction) => self.grow(-immediate(instruction) - 1),
            Mnemonic::Lea
                if instruction.op0_register() == Register::RSP
                    && counts_from(instruction, Register::RSP) =>
            {
                self.grow(-(instruction.memory_displacement64().cast_signed()));
            }
            Mnemonic::Mov if copies_stack_to_frame(instruction) => self.frame = Some(self.now),
            _ => {}
        }
        if instruction.mnemonic() == Mnemonic::Ret {
            self.now = 0;
        }
    }

    fn grow(&mut self, by: i64) {
        self.now = self.now.saturating_add(by).max(0);
        self.deepest = self.deepest.max(self.now);
    }
}

fn moves_stack(instruction: &Instruction) -> bool {
    instruction.op0_kind() == OpKind::Register && instruction.op0_register() == Register::RSP
}

/// `mov rbp, rsp`: from here on rbp is a frame pointer.
fn copies_stack_to_frame(instruction: &Instruction) -> bool {
    matches!(instruction.code(), Code::Mov_rm64_r64 | Code::Mov_r64_rm64)
        && instruction.op0_register() == Register::RBP
        && instruction.op1_register() == Register::RSP
}

fn immediate(instruction: &Instruction) -> i64 {
    match instruction.op1_kind() {
        OpKind::Immediate8to64 | OpKind::Immediate32to64 => instruction.immediate(1).cast_signed(),
        _ => 0,
    }
}

/// A memory operand `[register + displacement]` without index.
fn counts_from(instruction: &Instruction, register: Register) -> bool {
    let memory =
        (0..instruction.op_count()).any(|operand| instruction.op_kind(operand) == OpKind::Memory);
    memory && instruction.memory_base() == register && instruction.memory_index() == Register::None
}

fn scan(name: &str, address: u64, code: &[u8]) -> Vec<Below> {
    let decode = || Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut depth = Depth::default();
    decode()
        .iter()
        .for_each(|instruction| depth.follow(&instruction));
    let below = |instruction: &Instruction, register: Register, text: &'static str, room: i64| {
        let displacement = instruction.memory_displacement64().cast_signed();
        let outside = counts_from(instruction, register) && displacement < -room;
        outside.then(|| Below {
            function: name.to_owned(),
            address: instruction.ip(),
            register: text,
            distance: displacement.unsigned_abs(),
        })
    };
    let touches = |instruction: &Instruction| {
        !matches!(instruction.mnemonic(), Mnemonic::Lea | Mnemonic::Nop)
    };
    let from_stack = decode()
        .into_iter()
        .filter(touches)
        .filter_map(|i| below(&i, Register::RSP, "rsp", 0));
    let room = depth.frame.map(|frame| depth.deepest - frame);
    let from_frame = decode()
        .into_iter()
        .filter(touches)
        .filter_map(|i| below(&i, Register::RBP, "rbp", room?));
    from_stack.chain(from_frame).collect()
}

#[cfg(test)]
mod tests {
    use super::super::read::{Section, Symbol};
    use super::*;

    #[test]
    fn a_store_below_the_stack_pointer_is_found_and_its_address_alone_is_not() {
        // mov [rsp-8], rax; lea rax, [rsp-8]; nop [rsp-8]; ret
        let code = [
            0x48, 0x89, 0x44, 0x24, 0xf8, 0x48, 0x8d, 0x44, 0x24, 0xf8, 0x0f, 0x1f, 0x44, 0x24,
            0xf8, 0xc3,
        ];
        let found = scan("leaf", 0x1000, &code);
        assert_eq!(
            found,
            [Below {
                function: "leaf".into(),
                address: 0x1000,
                register: "rsp",
                distance: 8
            }]
        );
        assert_eq!(
            found[0].to_string(),
            "leaf uses the red zone: [rsp-0x8] at 0x1000"
        );
    }

    #[test]
    fn what_stands_above_the_stack_pointer_is_fine() {
        // sub rsp, 16; mov [rsp+8], rax; add rsp, 16; ret
        let code = [
            0x48, 0x83, 0xec, 0x10, 0x48, 0x89, 0x44, 0x24, 0x08, 0x48, 0x83, 0xc4, 0x10, 0xc3,
        ];
        assert_eq!(scan("f", 0, &code), []);
    }

    #[test]
    fn a_frame_pointer_reaches_as_far_as_the_frame() {
        // push rbp; mov rbp, rsp; sub rsp, 16; mov [rbp-16], rax; pop rbp; ret
        let inside = [
            0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10, 0x48, 0x89, 0x45, 0xf0, 0x5d, 0xc3,
        ];
        assert_eq!(scan("f", 0, &inside), []);
        // The same without `sub rsp, 16`: the store is below the stack pointer.
        let outside = [0x55, 0x48, 0x89, 0xe5, 0x48, 0x89, 0x45, 0xf0, 0x5d, 0xc3];
        assert_eq!(scan("f", 0, &outside)[0].register, "rbp");
    }

    #[test]
    fn rbp_without_a_frame_is_a_register_like_others() {
        // mov [rbp-64], rax; ret
        assert_eq!(scan("f", 0, &[0x48, 0x89, 0x45, 0xc0, 0xc3]), []);
    }

    #[test]
    fn the_function_is_named_by_the_symbol_before_the_access() {
        let code = [0xc3, 0x48, 0x89, 0x44, 0x24, 0xf8, 0xc3];
        let section = Section {
            name: ".text".to_owned(),
            kind: object::elf::SHT_PROGBITS.0,
            flags: object::elf::SHF_EXECINSTR.0 | object::elf::SHF_ALLOC.0,
            address: 0x30_0000,
            offset: 0,
            size: 7,
            align: 16,
            data: &code,
        };
        let symbol = |name: &str, address| Symbol {
            name: name.to_owned(),
            address,
            size: 0,
            undefined: false,
        };
        let image = Image {
            sections: vec![section],
            symbols: vec![symbol("second", 0x30_0001), symbol("first", 0x30_0000)],
            ..Image::default()
        };
        let found = accesses(&image);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].function.as_str(), found[0].address),
            ("second", 0x30_0001)
        );
    }
}
