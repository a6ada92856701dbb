extern crate std;

use alloc::{vec, vec::Vec};

use proptest::prelude::*;

use crate::xenstore::{error::Errno, wire::*};

/// The messages in `pieces`, and the violation that ended them.
fn decode<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Message>, Option<ProtocolViolation>) {
    let mut decoder = Decoder::new();
    let mut messages = Vec::new();
    for mut piece in pieces {
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => {
                    assert!(piece.is_empty(), "bytes left behind");
                    break;
                }
                Err(violation) => {
                    assert_eq!(
                        decoder.next(&mut &[0; 64][..]),
                        Err(violation),
                        "a violation is final"
                    );
                    return (messages, Some(violation));
                }
            }
        }
    }
    (messages, None)
}

fn split<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let mut pieces = Vec::new();
    let mut start = 0;
    for cut in cuts.into_iter().chain([bytes.len()]) {
        pieces.push(&bytes[start..cut]);
        start = cut;
    }
    pieces
}

fn message() -> impl Strategy<Value = Message> {
    let payload = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => proptest::collection::vec(any::<u8>(), PAYLOAD_MAX - 2..=PAYLOAD_MAX),
    ];
    (0u32..40, any::<u32>(), any::<u32>(), payload).prop_map(|(number, req_id, tx_id, payload)| {
        Message {
            header: Header {
                message_type: MessageType::from_u32(number),
                req_id,
                tx_id,
            },
            payload,
        }
    })
}

proptest! {
    #[test]
    fn messages_survive_any_split(
        messages in proptest::collection::vec(message(), 0..6),
        cuts in proptest::collection::vec(any::<usize>(), 0..20),
    ) {
        let mut bytes = Vec::new();
        for message in &messages {
            bytes.extend(encode(message.header, &[&message.payload]).unwrap());
        }
        prop_assert_eq!(decode(split(&bytes, &cuts)), (messages.clone(), None));
        prop_assert_eq!(decode(bytes.chunks(1)), (messages, None));
    }

    #[test]
    fn hostile_bytes_mean_the_same_in_any_split(
        // Small numbers often, so that some lengths are within the limit.
        bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(16), any::<u8>()], 0..600),
        cuts in proptest::collection::vec(any::<usize>(), 0..20),
    ) {
        let whole = decode([&bytes[..]]);
        prop_assert!(whole.1.is_none_or(|violation| violation.len as usize > PAYLOAD_MAX));
        prop_assert_eq!(&decode(split(&bytes, &cuts)), &whole);
        prop_assert_eq!(&decode(bytes.chunks(1)), &whole);
    }

    #[test]
    fn decimals_are_what_display_prints(number: u32, garbage in proptest::collection::vec(any::<u8>(), 0..12)) {
        let mut digits = Vec::new();
        push_decimal(number, &mut digits);
        prop_assert_eq!(str::from_utf8(&digits).unwrap(), alloc::format!("{number}"));
        prop_assert_eq!(parse_decimal(&digits), Ok(number));
        if let Ok(number) = parse_decimal(&garbage) {
            prop_assert_eq!(str::from_utf8(&garbage).unwrap(), alloc::format!("{number}"));
        }
    }

    #[test]
    fn permissions_round_trip(letter in 0usize..4, domid: u16, garbage in proptest::collection::vec(any::<u8>(), 0..8)) {
        let access = [Access::None, Access::Read, Access::Write, Access::Both][letter];
        let permission = Permission::new(access, domid);
        let mut entry = Vec::new();
        permission.push_to(&mut entry);
        prop_assert_eq!(entry.pop(), Some(0));
        prop_assert_eq!(Permission::parse(&entry), Some(permission));
        if let Some(permission) = Permission::parse(&garbage) {
            let mut again = Vec::new();
            permission.push_to(&mut again);
            prop_assert_eq!(&again[..again.len() - 1], &garbage[..]);
        }
    }
}

#[test]
fn a_read_request_byte_for_byte() {
    let header = Header {
        message_type: MessageType::Read,
        req_id: 0x0102_0304,
        tx_id: 5,
    };
    assert_eq!(
        encode(header, &[b"domid", b"\0"]).unwrap(),
        [
            &[2, 0, 0, 0, 4, 3, 2, 1, 5, 0, 0, 0, 6, 0, 0, 0][..],
            b"domid\0"
        ]
        .concat()
    );
}

/// The numbers of `enum xsd_sockmsg_type`, written down once more.
#[test]
fn message_types_have_the_numbers_of_xs_wire_h() {
    use MessageType::*;
    let table = [
        (1, Directory),
        (2, Read),
        (3, GetPerms),
        (4, Watch),
        (5, Unwatch),
        (6, TransactionStart),
        (7, TransactionEnd),
        (11, Write),
        (12, Mkdir),
        (13, Rm),
        (14, SetPerms),
        (15, WatchEvent),
        (16, Error),
    ];
    for (number, message_type) in table {
        assert_eq!(
            (MessageType::from_u32(number), message_type.to_u32()),
            (message_type, number)
        );
    }
    for number in [0, 8, 10, 17, 0xffff, u32::MAX] {
        assert_eq!(MessageType::from_u32(number), Other(number));
        assert_eq!(Other(number).to_u32(), number);
    }
}

#[test]
fn payloads_end_at_4096_bytes() {
    let header = Header {
        message_type: MessageType::Write,
        req_id: 1,
        tx_id: 0,
    };
    assert_eq!(
        encode(header, &[&[0; 4000], &[0; 96]]).unwrap().len(),
        HEADER_SIZE + 4096
    );
    assert_eq!(
        encode(header, &[&[0; 4000], &[0; 97]]),
        Err(PayloadTooLong(4097))
    );

    let mut announced = encode(header, &[]).unwrap();
    announced[12..].copy_from_slice(&4096u32.to_le_bytes());
    assert_eq!(decode([&announced[..]]), (vec![], None));
    announced[12..].copy_from_slice(&4097u32.to_le_bytes());
    assert_eq!(
        decode([&announced[..]]),
        (vec![], Some(ProtocolViolation { len: 4097 }))
    );
    announced[12..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(
        decode([&announced[..]]),
        (vec![], Some(ProtocolViolation { len: u32::MAX }))
    );
}

#[test]
fn errno_names() {
    for (name, errno) in [
        ("EINVAL", Errno::EINVAL),
        ("EAGAIN", Errno::EAGAIN),
        ("E2BIG", Errno::E2BIG),
        ("EQUOTA", Errno::EQUOTA),
    ] {
        assert_eq!(
            Errno::from_payload(alloc::format!("{name}\0").as_bytes()),
            errno
        );
        assert_eq!(Errno::from_payload(name.as_bytes()), errno);
        assert_eq!(errno.name(), name);
    }
    assert_eq!(Errno::from_payload(b"EUCLEAN\0").name(), "EUCLEAN");
    assert_eq!(Errno::from_payload(b"\x1b[2J\0\xff").name(), "?[2J??");
    assert_eq!(
        Errno::from_payload(&[b'E'; 4096]).name(),
        "EEEEEEEEEEEEEEEE"
    );
    assert_eq!(Errno::from_payload(b"").name(), "");
}

#[test]
fn decimals_are_strict() {
    assert_eq!(parse_decimal(b"0"), Ok(0));
    assert_eq!(parse_decimal(b"4294967295"), Ok(u32::MAX));
    assert_eq!(parse_decimal(b"4294967296"), Err(DecimalError::TooBig));
    assert_eq!(parse_decimal(&[b'9'; 4096]), Err(DecimalError::TooBig));
    assert_eq!(parse_decimal(b""), Err(DecimalError::Empty));
    for bad in [
        "12abc", "-1", "+1", " 1", "1 ", "1\n", "1\0", "01", "00", "0x10", "1_000", "\u{0661}",
    ] {
        assert_eq!(
            parse_decimal(bad.as_bytes()),
            Err(DecimalError::NotDecimal),
            "{bad:?}"
        );
    }
}

#[test]
fn permissions_are_strict() {
    assert_eq!(
        Permission::parse(b"n0"),
        Some(Permission::new(Access::None, 0))
    );
    assert_eq!(
        Permission::parse(b"r5"),
        Some(Permission::new(Access::Read, 5))
    );
    assert_eq!(
        Permission::parse(b"b65535"),
        Some(Permission::new(Access::Both, 65535))
    );
    for bad in [
        "", "r", "5", "x5", "R5", "r65536", "r-1", "r5 ", "rw5", "r05",
    ] {
        assert_eq!(Permission::parse(bad.as_bytes()), None, "{bad:?}");
    }
    let list = [
        Permission::new(Access::None, 7),
        Permission::new(Access::Read, 3),
    ];
    assert_eq!(parse_permissions(b"n7\0r3\0"), Some(list.to_vec()));
    assert_eq!(parse_permissions(b"n7\0\0r3\0"), None);
}

#[test]
fn paths_are_those_of_xenstore_txt() {
    for good in [
        "/",
        "a",
        "data/vchan/0/out",
        "/local/domain/3/device/vif/0/state",
        "@releaseDomain",
        "a-b_c@d",
    ] {
        assert_eq!(check_path(good), Ok(()), "{good:?}");
    }
    assert_eq!(check_path(""), Err(PathError::Empty));
    for bad in ["a b", "a\0b", "a.b", "caf\u{e9}", "a:b", "~"] {
        assert_eq!(check_path(bad), Err(PathError::Character), "{bad:?}");
    }
    for bad in ["//", "a//b", "a/", "/a/"] {
        assert_eq!(check_path(bad), Err(PathError::Slash), "{bad:?}");
    }
    let long = "a".repeat(ABS_PATH_MAX);
    assert_eq!(check_path(&long[..REL_PATH_MAX]), Ok(()));
    assert_eq!(
        check_path(&long[..REL_PATH_MAX + 1]),
        Err(PathError::TooLong)
    );
    assert_eq!(check_path(&alloc::format!("/{}", &long[1..])), Ok(()));
    assert_eq!(
        check_path(&alloc::format!("/{long}")),
        Err(PathError::TooLong)
    );
}

#[test]
fn directories() {
    assert_eq!(parse_directory(b""), Some(vec![]));
    assert_eq!(parse_directory(b"\0"), Some(vec![]));
    assert_eq!(
        parse_directory(b"0\0state\0"),
        Some(vec!["0".into(), "state".into()])
    );
    assert_eq!(parse_directory(b"\xff\0"), None);
}
