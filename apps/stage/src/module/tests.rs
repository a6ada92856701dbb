use super::*;
use proptest::prelude::*;
use std::boxed::Box;
use std::format;
use std::vec;
use std::vec::Vec;

/// An archive entry, written from the table of the standard.
fn entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut header);
    header.extend_from_slice(content);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

fn seal(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn parse(bytes: Vec<u8>) -> Result<Module, ModuleError> {
    Module::parse(Box::leak(bytes.into_boxed_slice()))
}

#[test]
fn an_archive_is_taken_apart() {
    let archive = [
        entry("./", b'5', b""),
        entry("params", b'0', b"a=1\n"),
        entry("./data.csv", b'0', &[b'x'; 513]),
        entry("secret", 0, b""),
        vec![0; 1024],
    ]
    .concat();
    let module = parse(archive).unwrap();
    assert_eq!(module.params, Some(&b"a=1\n"[..]));
    assert_eq!(module.data, Some(&[b'x'; 513][..]));
    assert_eq!(module.secret, Some(&b""[..]));
}

#[test]
fn bare_bytes_are_data() {
    assert_eq!(
        parse(b"time,a\n".to_vec()).unwrap().data,
        Some(&b"time,a\n"[..])
    );
    assert_eq!(
        parse(b"time,a\n\0\0\0".to_vec()).unwrap().data,
        Some(&b"time,a\n"[..])
    );
    assert_eq!(parse(vec![0; 600]).unwrap().data, Some(&b""[..]));
    assert_eq!(parse(Vec::new()), Ok(Module::default()));
}

#[test]
fn an_end_without_zero_blocks_or_padding_is_an_end() {
    let mut archive = entry("params", b'0', b"a=1");
    assert_eq!(parse(archive.clone()).unwrap().params, Some(&b"a=1"[..]));
    archive.truncate(515);
    assert_eq!(parse(archive).unwrap().params, Some(&b"a=1"[..]));
}

#[test]
fn wrong_archives_say_why() {
    let mut cut = entry("params", b'0', b"a=1");
    cut.truncate(514);
    assert_eq!(parse(cut), Err(ModuleError::Cut));
    let cut = [entry("params", b'0', b"a=1"), vec![1; 100]].concat();
    assert_eq!(parse(cut), Err(ModuleError::Cut));
    let mut damaged = entry("params", b'0', b"");
    damaged[0] = b'q';
    assert_eq!(parse(damaged), Err(ModuleError::Header));
    let mut size = entry("params", b'0', b"");
    size[124..136].copy_from_slice(b"77777777777\0");
    seal(&mut size);
    assert_eq!(parse(size), Err(ModuleError::Cut));
    let mut size = entry("params", b'0', b"");
    size[124] = b'-';
    seal(&mut size);
    assert_eq!(parse(size), Err(ModuleError::Header));
    let name = |name: &str| String::from(name);
    assert_eq!(
        parse(entry("data", b'0', b"")),
        Err(ModuleError::Unknown { name: name("data") })
    );
    assert_eq!(
        parse(entry("secret", b'2', b"")),
        Err(ModuleError::NotAFile {
            name: name("secret")
        })
    );
    let twice = [entry("secret", b'0', b""), entry("secret", b'0', b"")].concat();
    assert_eq!(
        parse(twice),
        Err(ModuleError::Twice {
            name: name("secret")
        })
    );
}

#[test]
fn a_secret_is_not_shown() {
    let module = parse(entry("secret", b'0', b"hunter2")).unwrap();
    let shown = format!("{module:?}");
    assert!(
        !shown.contains("104, 117") && !shown.contains("hunter2"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn damaged_archives_are_answered(at in 0usize..2048, byte in any::<u8>(), end in 0usize..2048) {
        let mut archive = [entry("params", b'0', b"a=1"), entry("data.csv", b'0', b"x")].concat();
        archive[at] = byte;
        archive.truncate(end);
        let _ = parse(archive);
    }
}
